"""Files that appear complete or not at all."""

from __future__ import annotations

import math
import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

# A file's arrays may take so many bytes, and so many times what the file has: deflated zeros could take a thousand times that.
_SMALL = 1 << 26
_MOST_INFLATED = 100


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `target`; at the end flush it to disk and rename it, on an error remove it."""
    # Not by tempfile, which makes files that nobody else may read: results have the permissions of any new file.
    name = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    made = name.open("x+b")
    try:
        with made as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an .npz file, by their names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no .npz file, is damaged, would take far more memory than the file is large, or holds Python objects,
        which are never unpickled.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
            if size > _SMALL + _MOST_INFLATED * path.stat().st_size:
                raise ValueError(f"its parts announce {size:,} bytes, far more than the file has")
            return {part.filename.removesuffix(".npy"): _array(archive, part) for part in archive.infolist()}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged file
        raise ValueError(f"path={str(path)!r} is not a readable .npz file: {error}") from error


def _array(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Any:
    """Return one array, after comparing what its header announces with the bytes there are."""
    with archive.open(part) as file:
        version = np.lib.format.read_magic(file)
        if version > (2, 0):
            raise ValueError(f"{part.filename} has version {version} of the format; expected up to 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != part.file_size - file.tell():
            raise ValueError(f"{part.filename} announces shape {shape} of {dtype}, and has {part.file_size} bytes")
    with archive.open(part) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
