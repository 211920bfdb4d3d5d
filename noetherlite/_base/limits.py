"""Memory and disk: what is too large for this machine is refused before it is touched."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .types import Array

# Recorded parameters of more bytes than this go to a memory-mapped temporary file.
PARAMS_IN_MEMORY = 1 << 30


def installed() -> float:
    """Return the bytes of memory that this machine has; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def allowed(membership: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the bytes of memory that a container or a batch system lets this process have; infinity without a limit.

    At that limit the process would be killed. It is the smallest of the process's control groups, of both versions of
    Linux's, and of those above them. Each line of `membership` is NUMBER:CONTROLLERS:/PATH/OF/THE/GROUP; version 2 has
    number 0 and no controllers. In a container the path may be the host's, and the group itself is what is mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    limit = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = mounted / controllers
            group = root / os.path.normpath("/" + path).lstrip("/")  # a namespace may show /../..
            for folder in (group, *group.parents):
                if folder.is_relative_to(root):
                    limit = min(limit, *(_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")))
    return limit


def _number(file: Path) -> float:
    """Return the number in a file, infinity where there is no such file or it says "max"."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return math.inf


def refuse_beyond_memory(n_bytes: float) -> None:
    """Raise a MemoryError for a run that would hold more than there is: the system would kill the process instead."""
    room, whose = min((installed(), "this machine has"), (allowed(), "this process's control group may have"))
    refuse_beyond(n_bytes, room, whose, "fewer laws")


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
