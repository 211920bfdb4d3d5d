"""The number of threads of a run, and the processors that they begin on."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import numba

from . import checks

# Default number of threads of a run; None stands for numba's setting.
_DEFAULT: ContextVar[int | None] = ContextVar("_DEFAULT", default=None)


def threads(n_threads: int | None) -> int:
    """Return the number of threads: `n_threads`, or by default numba's setting (NUMBA_NUM_THREADS)."""
    settings: Any = numba.config
    if n_threads is None:
        n_threads = _DEFAULT.get() or int(settings.NUMBA_NUM_THREADS)
    n_threads = checks.integer(n_threads, "n_threads", minimum=1)
    return 1 if settings.DISABLE_JIT else n_threads


@contextmanager
def single_threaded() -> Iterator[None]:
    """Context in which the default number of threads is 1."""
    token = _DEFAULT.set(1)
    try:
        yield
    finally:
        _DEFAULT.reset(token)


def _processor_of_caller() -> Any:
    """Return the function that tells the processor of the calling thread; None where threads cannot be given processors."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


_processor = _processor_of_caller()


def keep_apart(helpers: Sequence[threading.Thread]) -> None:
    """Keep threads that have begun off the processor of the calling one, for as long as they live, where Linux can do so.

    After a pause it often starts a thread on the processor of the thread that made it, and moves one of them after some 4 ms.
    """
    if _processor is None:
        return
    others = os.sched_getaffinity(0) - {_processor()}
    for helper in helpers:
        if others and helper.native_id:
            with suppress(OSError):  # as a sandbox may forbid it: to share a processor is slow, not wrong
                os.sched_setaffinity(helper.native_id, others)
