"""Limits of memory and disk, checked before a run allocates."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .types import Array

# Recorded parameters beyond this many bytes are kept in a memory-mapped temporary file.
PARAMS_IN_MEMORY = 1 << 30
# No limit is as low as this many bytes, and to look for limits in files takes as long as a small run.
_CERTAIN = 1 << 20


def installed() -> float:
    """Return the physical memory of this machine in bytes; infinity where the system does not report it."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def allowed(membership: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the memory limit of a container or batch system in bytes; infinity without a limit.

    A process beyond it is killed. It is the smallest limit of the process's Linux control groups, version 1 and 2, and of
    their parents. Each line of `membership` is NUMBER:CONTROLLERS:/PATH/OF/THE/GROUP; version 2 has
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
    """Return the number in a file; infinity if the file is missing or contains "max"."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return math.inf


def refuse_beyond_memory(n_bytes: float) -> None:
    """Raise MemoryError for a run that needs more memory than there is: the system would kill the process."""
    if n_bytes <= _CERTAIN:
        return
    available, owner = min((installed(), "this machine has"), (allowed(), "this process's control group may have"))
    refuse_beyond(n_bytes, available, owner, "fewer laws")


def refuse_beyond(n_bytes: float, available: float, owner: str, instead: str) -> None:
    """Raise MemoryError if n_bytes > available; `owner` names the limit, and `instead` a remedy, in words."""
    if n_bytes > available:
        raise MemoryError(
            f"the run would hold {n_bytes / 1e9:.3g} GB and {owner} {available / 1e9:.3g} GB; "
            f"record less often by record_every, or {instead}"
        )


def parameters(shape: tuple[int, ...], dtype: str) -> Array:
    """Return an array for recorded parameters: in memory, or if large in an unnamed file that is deleted with the array.

    MemoryError if the disk has no room for the file: writing to the map would kill the process.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= PARAMS_IN_MEMORY:
        array = np.empty(shape, dtype)
        array.fill(np.nan)
        return array
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if n_bytes > free:
        raise MemoryError(
            f"the recorded parameters would take {n_bytes / 1e9:.3g} GB and {tempfile.gettempdir()!r} has {free / 1e9:.3g} GB free; "
            "record less often by record_every"
        )
    with tempfile.TemporaryFile(prefix="noetherlite-") as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
