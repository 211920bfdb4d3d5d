"""IDX, the file format of MNIST: a type, dimensions and entries, all big-endian."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file, gzipped or not.

    Raises
    ------
    ValueError
        If it is not IDX, is damaged, or is of another length than its header says.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from None
    return parse(content, str(path))


def parse(content: bytes, name: str) -> NDArray[Any]:
    """Return the array of the content of an IDX file; errors call it `name`."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or not content[3]:
        raise ValueError(
            f"{name} is no IDX file: it begins with {content[:4]!r}, expected two zero bytes, a type and dimensions"
        )
    dtype, n_dimensions = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * n_dimensions
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + dtype.itemsize * math.prod(shape)
    if len(content) != expected:
        raise ValueError(
            f"{name} holds {len(content)} bytes; its header, for an array of shape {shape}, asks for {expected}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
