"""Reader of IDX files of unsigned bytes (the format of MNIST and its relatives), plain or gzipped.

A file's header is compared with what is expected of it before memory is spent on what it announces.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def decode(data: bytes, name: str, *, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the array of known shape in an IDX file.

    Parameters
    ----------
    data : bytes
        Content of the file; gzip is recognised by its first two bytes.
    name : str
        Name of the file, for error messages.
    shape : tuple of int
        Shape that the file must have. A gzipped file is never inflated beyond the size that follows from it, and not
        beyond its header before its header was found right.

    Returns
    -------
    numpy.ndarray of shape `shape`
        Array of dtype uint8, read-only.

    Raises
    ------
    ValueError
        If the file is not IDX of unsigned bytes, announces another shape, holds more or less than it announces, or is
        a damaged gzip.
    """
    source = _Gzip(data, name) if data.startswith(_GZIP_MAGIC) else _Plain(data)
    expected = bytes([0, 0, _UNSIGNED_BYTE, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    header = source.read(len(expected))
    if header != expected:
        raise ValueError(
            f"{name} is not an IDX file of unsigned bytes of shape {shape}: "
            f"its header is {header.hex(' ', 4)}, expected {expected.hex(' ', 4)}"
        )
    size = math.prod(shape)
    payload = source.read(size)
    if len(payload) < size:
        raise ValueError(f"{name} is truncated: shape {shape} needs {size} bytes, found {len(payload)}")
    if source.more():
        raise ValueError(f"{name} is longer than its shape {shape} allows")
    return np.frombuffer(payload, dtype=np.uint8).reshape(shape)


class _Plain:
    """Bytes, read from the front."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        out, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return out

    def more(self) -> bool:
        """Return whether anything is left."""
        return len(self._rest) > 0


class _Gzip:
    """One gzip member, inflated no further than it is read."""

    def __init__(self, data: bytes, name: str) -> None:
        self._rest = data
        self._name = name
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: expect a gzip header and check its CRC

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        if size == 0:
            return b""  # zlib takes a maximum of 0 for no maximum
        try:
            out = self._inflate.decompress(self._rest, size)
        except zlib.error as error:
            raise ValueError(f"{self._name} is a damaged gzip file: {error}") from None
        self._rest = self._inflate.unconsumed_tail
        return out

    def more(self) -> bool:
        """Return whether anything is left; a gzip that breaks off before its checksum is an error."""
        if self.read(1):
            return True
        if not self._inflate.eof:
            raise ValueError(f"{self._name} is a damaged gzip file: it breaks off before its checksum")
        return len(self._inflate.unused_data) > 0
