"""Computation of one member of a sweep, and a pool of processes with one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .._base import checks
from .._base.interrupt import as_a_whole
from .._base.threads import single_threaded

_THREAD_SETTINGS = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Outcome(NamedTuple):
    """Result or error of a member; exceptions are kept as text, because not every exception can be pickled."""

    result: dict[str, Any] | None
    error: str
    traceback: str
    seconds: float


def compute(function: Callable[..., Any], parameters: dict[str, Any], seed: np.random.SeedSequence) -> Outcome:
    """Return the outcome of `function` for a member's parameters."""
    began = time.perf_counter()
    try:
        with as_a_whole():
            result = as_result(function(**parameters, rng=seed))
    except (Exception, SystemExit) as error:
        return failure(error, time.perf_counter() - began)
    return Outcome(result, "", "", time.perf_counter() - began)


def compute_alone(function: Callable[..., Any], parameters: dict[str, Any], seed: np.random.SeedSequence) -> Outcome:
    """Return `compute(…)` with one thread by default: other threads or processes compute other members."""
    with single_threaded():
        return compute(function, parameters, seed)


def failure(error: BaseException, seconds: float = 0.0) -> Outcome:
    """Return the outcome of a member whose computation raised an exception."""
    last = "".join(traceback.format_exception_only(error)).strip()
    return Outcome(None, last, "".join(traceback.format_exception(error)), seconds)


def as_result(result: Any) -> dict[str, Any]:
    """Return a member's result in the form read from a file: Python scalars and NumPy arrays."""
    checks.instance(result, "a member's result", Mapping, "a mapping of names to numbers and arrays")
    values = {}
    for name, value in result.items():
        array = checks.numpy_array(value, f"result[{name!r}]")
        if not isinstance(name, str) or array.dtype.kind not in "biufcU":
            raise TypeError(
                f"result[{name!r}] must be a number, a string or an array of them, got {checks.describe(value)}"
            )
        values[name] = array if array.ndim else array.item()
    return values


def _begin_worker() -> None:
    """Let Ctrl-C end this process silently, and end it with the main process, which cannot shut its pool down when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    main_process = multiprocessing.parent_process()
    assert main_process  # a worker of a pool has one
    main_process.join()
    os._exit(1)  # at once: nobody is left to take the result


@contextmanager
def processes(n: int) -> Iterator[Executor]:
    """Open an executor of n new processes with one thread each.

    Numba and BLAS libraries read their number of threads once, from the environment of a process at its start. Ctrl-C in a
    terminal reaches every process: it ends the pool's processes silently, and the main process handles it.
    """
    previous = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))
    executor = ProcessPoolExecutor(
        n,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
