"""The number of threads of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
