"""How many threads a run uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numba

from . import checks

# Threads of a run that asks for no number; numba's setting where this is None.
_DEFAULT: ContextVar[int | None] = ContextVar("_DEFAULT", default=None)


def threads(n_threads: int | None) -> int:
    """Return how many threads to use: numba's setting (NUMBA_NUM_THREADS) unless a number is given."""
    settings: Any = numba.config
    if n_threads is None:
        n_threads = _DEFAULT.get() or int(settings.NUMBA_NUM_THREADS)
    n_threads = checks.integer(n_threads, "n_threads", minimum=1)
    return 1 if settings.DISABLE_JIT else n_threads


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let runs that ask for no number of threads use one."""
    token = _DEFAULT.set(1)
    try:
        yield
    finally:
        _DEFAULT.reset(token)
