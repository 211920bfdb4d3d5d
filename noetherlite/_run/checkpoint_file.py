"""The file of a checkpoint: an .npz without pickle, with a digest at its end, and the one before it kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._base.files import arrays, followed, leftovers, replacing, temporary

FORMAT, SCHEMA = "noetherlite checkpoint", 2
_MARK = b"\nnoetherlite sha256 "
_TAIL = len(_MARK) + 64


def previous(path: Path) -> Path:
    """Return where the checkpoint before the one at `path` is kept, beside the file itself: run.ckpt.npz ↦ run.ckpt.previous.npz."""
    path = followed(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write(target: Path, header: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Write a checkpoint; at every moment `target` is the one before or this one, complete.

    Raises
    ------
    OSError
        If it cannot be written; what was there is still there.
    """
    target = followed(target)
    first = np.array(json.dumps({"format": FORMAT, "schema": SCHEMA, **header}))
    with replacing(target) as file:
        np.savez(file, header=first, **held)
        file.flush()
        digest = _digest(file, file.seek(0, os.SEEK_END))
        file.seek(0, os.SEEK_END)
        file.write(_MARK + digest)
        if target.exists():
            _keep(target)
    _sync(target.parent)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (header, arrays) of a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no checkpoint, or not as it was written; the message names the one before it where there is one.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _TAIL
        file.seek(max(size, 0))
        tail = file.read()
        if size < 0 or not tail.startswith(_MARK):
            raise ValueError(f"path={str(path)!r} is not a checkpoint, or was cut short{_hint(path)}")
        if tail[len(_MARK) :] != _digest(file, size):
            raise ValueError(f"path={str(path)!r} is not as it was written: its digest is another{_hint(path)}")
    try:
        held = arrays(path)
        header = json.loads(str(held.pop("header")))
        if header["format"] != FORMAT:
            raise ValueError(f"it is a {header['format']}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"path={str(path)!r} is not a checkpoint: {error}{_hint(path)}") from error
    if header["schema"] > SCHEMA:
        raise ValueError(f"path={str(path)!r} has format {header['schema']}; this version reads up to {SCHEMA}")
    if header["schema"] == 1:  # beside the states it said which had begun; the phase of those was one less
        held["state/counts"][:, 2] = np.where(held.pop("begun"), held["state/counts"][:, 2] + 1, 0)
    return header, held


def tidy(target: Path) -> None:
    """Remove what writers of `target` that were killed have left beside it."""
    for written in (target, previous(target)):
        for left in leftovers(written):
            left.unlink(missing_ok=True)


def _digest(file: IO[bytes], size: int) -> bytes:
    """Return the SHA-256 of the first `size` bytes, in hexadecimal."""
    file.seek(0)
    found, left = hashlib.sha256(), size
    while left:
        piece = file.read(min(left, 1 << 20))
        if not piece:
            break
        found.update(piece)
        left -= len(piece)
    return found.hexdigest().encode()


def _keep(target: Path) -> None:
    """Give the present checkpoint its second name, without taking the first away."""
    kept = previous(target)
    beside = temporary(kept)
    try:
        try:
            os.link(target, beside)
        except OSError:  # a file system without links
            shutil.copyfile(target, beside)
        os.replace(beside, kept)
    finally:
        beside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Write the folder's names to disk; some systems cannot open folders, and do so by themselves."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _hint(path: Path) -> str:
    kept = previous(path)
    return f"; the checkpoint before it is {str(kept)!r}" if kept.exists() else ""
