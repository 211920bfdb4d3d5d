"""Download of one file of known size and SHA-256: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from .._base import progress
from .._base.files import replacing

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without an answer


def download(url: str, destination: Path, *, size: int, sha256: str) -> None:
    """Download `url` to `destination`, with a progress bar on stderr.

    The bytes go to a temporary file in the same folder, which takes its final name only after its length and
    checksum were found right and it was flushed to disk. On any failure, an interrupt included, it is removed, and a
    file that was there before is left as it was.

    Parameters
    ----------
    url : str
        Address of the file.
    destination : pathlib.Path
        Where to put it; missing folders are made.
    size : int
        Its length in bytes. No more than that is ever read.
    sha256 : str
        Its checksum, in hexadecimal.

    Raises
    ------
    OSError
        If the server cannot be reached or refuses, or the bytes have another length or checksum than expected.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(destination) as file:
            found = _receive(url, file, size)
            if found != sha256:
                raise OSError(f"its SHA-256 is {found}, expected {sha256}")
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = str(error) or type(error).__name__
        raise OSError(f"{destination.name} could not be downloaded from {url} to {destination}: {reason}") from error


def _receive(url: str, file: IO[bytes], size: int) -> str:
    """Copy the body of `url` into `file` and return its SHA-256; it must be `size` bytes long."""
    digest = hashlib.sha256()
    received = 0
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        announced = response.headers.get("Content-Length")
        if announced is not None and announced != str(size):
            raise OSError(f"the server announces {announced} bytes, expected {size}")
        with progress.bar(size, "B", unit_scale=True, desc=Path(url).name) as bar:
            while received <= size and (chunk := response.read(min(_CHUNK, size + 1 - received))):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if received != size:
        found = f"{received} bytes" if received < size else f"more than {size} bytes"
        raise OSError(f"the server sent {found}, expected {size}")
    return digest.hexdigest()
