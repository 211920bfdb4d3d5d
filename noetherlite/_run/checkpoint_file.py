"""The file format of a checkpoint: an .npz without pickle, followed by its digest; the previous checkpoint is kept."""

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
    """Return the path of the previous checkpoint, in the same folder: run.ckpt.npz ↦ run.ckpt.previous.npz."""
    path = followed(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write(target: Path, header: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write a checkpoint; at every moment `target` is either the previous or this one, complete.

    If it cannot be written, an OSError leaves the previous checkpoint unchanged.
    """
    target = followed(target)
    first = np.array(json.dumps({"format": FORMAT, "schema": SCHEMA, **header}))
    with replacing(target) as file:
        np.savez(file, header=first, **content)
        file.flush()
        digest = _digest(file, file.seek(0, os.SEEK_END))
        file.seek(0, os.SEEK_END)
        file.write(_MARK + digest)
        if target.exists():
            _keep_previous(target)
    _sync_folder(target.parent)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (header, arrays) of a checkpoint.

    FileNotFoundError if there is no such file; ValueError if it is not a checkpoint, or its digest does not fit: the message names the
    previous checkpoint, if there is one.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _TAIL
        file.seek(max(size, 0))
        tail = file.read()
        if size < 0 or not tail.startswith(_MARK):
            raise ValueError(f"path={str(path)!r} is not a checkpoint, or was cut short{_previous_hint(path)}")
        if tail[len(_MARK) :] != _digest(file, size):
            raise ValueError(
                f"path={str(path)!r} is not as it was written: its digest is another{_previous_hint(path)}"
            )
    try:
        content = arrays(path)
        header = json.loads(str(content.pop("header")))
        if header["format"] != FORMAT:
            raise ValueError(f"it is a {header['format']}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"path={str(path)!r} is not a checkpoint: {error}{_previous_hint(path)}") from error
    if header["schema"] > SCHEMA:
        raise ValueError(f"path={str(path)!r} has format {header['schema']}; this version reads up to {SCHEMA}")
    if header["schema"] == 1:  # schema 1 stored `begun` apart from the phase, which was one less
        content["state/counts"][:, 2] = np.where(content.pop("begun"), content["state/counts"][:, 2] + 1, 0)
    return header, content


def tidy(target: Path) -> None:
    """Remove the temporary files that killed processes left beside `target`."""
    for written in (target, previous(target)):
        for file in leftovers(written):
            file.unlink(missing_ok=True)


def _digest(file: IO[bytes], size: int) -> bytes:
    """Return the SHA-256 of the first `size` bytes, in hexadecimal."""
    file.seek(0)
    sha, remaining = hashlib.sha256(), size
    while remaining:
        piece = file.read(min(remaining, 1 << 20))
        if not piece:
            break
        sha.update(piece)
        remaining -= len(piece)
    return sha.hexdigest().encode()


def _keep_previous(target: Path) -> None:
    """Link the present checkpoint to the path of the previous one; `target` stays in place."""
    earlier = previous(target)
    copy = temporary(earlier)
    try:
        try:
            os.link(target, copy)
        except OSError:  # the file system has no hard links
            shutil.copyfile(target, copy)
        os.replace(copy, earlier)
    finally:
        copy.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk; systems that cannot open folders do so by themselves."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _previous_hint(path: Path) -> str:
    earlier = previous(path)
    return f"; the checkpoint before it is {str(earlier)!r}" if earlier.exists() else ""
