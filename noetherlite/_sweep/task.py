"""What happens where a member of a sweep is computed, and processes of one thread each to compute it in."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .._base import checks
from .._base.threads import single_threaded

_SETTINGS = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Outcome(NamedTuple):
    """What became of a member; an exception comes as text, as not every exception can travel between processes."""

    result: dict[str, Any] | None
    error: str
    traceback: str
    seconds: float


def compute(function: Callable[..., Any], parameters: dict[str, Any], seed: np.random.SeedSequence) -> Outcome:
    """Return what `function` made of a member's parameters, or how it failed."""
    began = time.perf_counter()
    try:
        result = as_result(function(**parameters, rng=seed))
    except (Exception, SystemExit) as error:
        return failure(error, time.perf_counter() - began)
    return Outcome(result, "", "", time.perf_counter() - began)


def compute_alone(function: Callable[..., Any], parameters: dict[str, Any], seed: np.random.SeedSequence) -> Outcome:
    """Return `compute(…)` by one thread: others compute other members."""
    with single_threaded():
        return compute(function, parameters, seed)


def failure(error: BaseException, seconds: float = 0.0) -> Outcome:
    """Return the outcome of a member whose computation raised an exception."""
    last = "".join(traceback.format_exception_only(error)).strip()
    return Outcome(None, last, "".join(traceback.format_exception(error)), seconds)


def as_result(result: Any) -> dict[str, Any]:
    """Return a member's result as it comes back from a file: scalars of Python and arrays of NumPy."""
    if not isinstance(result, Mapping):
        raise TypeError(
            f"a member's result must be a mapping of names to numbers and arrays, got {checks.describe(result)}"
        )
    found = {}
    for name, value in result.items():
        array = np.asarray(value)
        if not isinstance(name, str) or array.dtype.kind not in "biufcU":
            raise TypeError(
                f"result[{name!r}] must be a number, a string or an array of them, got {checks.describe(value)}"
            )
        found[name] = array if array.ndim else array.item()
    return found


@contextmanager
def processes(n: int) -> Iterator[Executor]:
    """Open an executor of n new processes with one thread each.

    Numba and BLAS libraries read their numbers of threads once, from the environment that a process starts with. Ctrl-C in a
    terminal, which every process gets, ends them at once and without a word: the first process knows what to do.
    """
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(dict.fromkeys(_SETTINGS, "1"))
    executor = ProcessPoolExecutor(
        n,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
