"""Memory and disk: what is too large for this machine is refused before it is touched."""

from __future__ import annotations

import math
import os
import shutil
import tempfile

import numpy as np

from ._types import Array

# Recorded parameters of more bytes than this go to a memory-mapped temporary file.
PARAMS_IN_MEMORY = 1 << 30


def installed() -> float:
    """Return the bytes of memory that this machine has; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def refuse_beyond_memory(n_bytes: float) -> None:
    """Raise a MemoryError for a run that would hold more than there is: the system would kill the process instead."""
    refuse_beyond(n_bytes, installed(), "this machine has", "fewer laws")


def refuse_beyond(n_bytes: float, room: float, whose: str, instead: str) -> None:
    """Raise a MemoryError for a run that would hold more than `room` bytes."""
    if n_bytes > room:
        raise MemoryError(
            f"the run would hold {n_bytes / 1e9:.3g} GB and {whose} {room / 1e9:.3g} GB; "
            f"record less often by record_every, or {instead}"
        )


def parameters(shape: tuple[int, ...], dtype: str) -> Array:
    """Return memory for parameters: a file without a name where it is large, gone with the array.

    Raises
    ------
    MemoryError
        If there is no room for the file: writing to it would kill the process.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= PARAMS_IN_MEMORY:
        return np.full(shape, np.nan, dtype)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if n_bytes > free:
        raise MemoryError(
            f"the recorded parameters would take {n_bytes / 1e9:.3g} GB and {tempfile.gettempdir()!r} has {free / 1e9:.3g} GB free; "
            "record less often by record_every"
        )
    with tempfile.TemporaryFile(prefix="noetherlite-") as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
