"""What every test run shares: a cache of compiled kernels in the project's folder, one thread of BLAS, and no display."""

import functools
import gc
import importlib
import math
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent

# Before anything imports NumPy, numba or matplotlib, which read these once. Threads of BLAS wait busily for each other: on
# processors that other tests need, a small singular value decomposition then takes a hundred times as long.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_ROOT / ".numba_cache"))
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["MPLBACKEND"] = "Agg"
# Also where the environment asks for the opposite: else each of the many processes that tests start compiles all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_WITHOUT_COMPILER = os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"

# Shells start background jobs with Ctrl-C ignored, and some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def jax():
    """JAX in double precision, for one test."""
    module = pytest.importorskip("jax")
    before = module.config.jax_enable_x64
    module.config.update("jax_enable_x64", True)
    yield module
    module.config.update("jax_enable_x64", before)


def pytest_collection_modifyitems(config, items):
    """Refuse names of tests that change from process to process, and leave out what makes no sense where nothing is compiled."""
    addresses = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if addresses:
        raise pytest.UsageError(
            f"processes of pytest-xdist would not agree on the name of {addresses[0]}: give it an id"
        )
    if not _WITHOUT_COMPILER:
        return
    slow = [item for item in items if item.get_closest_marker("needs_jit")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Seldom go through all objects for cyclic garbage, never while tests are collected."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(5_000, 10, 100)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    """Go through all objects for garbage a last time: pytest would do so five times and Python, which frees each of them, thrice."""
    gc.collect()
    gc.freeze()


# --- where lines are counted: tracing doubles the time of Python's code -----------------------------------------------------

# What imports take long of: the code of others, none of which imports this library.
_OTHERS = {
    "flax",
    "hypothesis",
    "jax",
    "keras",
    "matplotlib",
    "numba",
    "optax",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
}
_cases: Counter[str] = Counter()


def _untraced(function, applies=lambda *_, **__: True):
    """Return `function` without tracing in it: in this thread, or in threads that begin."""

    @functools.wraps(function)
    def untraced(*arguments, **more):
        tracer = sys.gettrace()
        if tracer is None or not applies(*arguments, **more):
            return function(*arguments, **more)
        of_threads = threading.gettrace()
        sys.settrace(None)
        threading.settrace(None)
        try:
            return function(*arguments, **more)
        finally:
            threading.settrace(of_threads)
            sys.settrace(tracer)
            _nothing()

    return untraced


def _nothing():
    """Be called: with this the tracer goes on, which knows of calls alone."""


def _is_left_out(item, **_):
    """Whether this case of a test is not traced; seldom does one reach a line that none of those before it has.

    Traced are the first 12, and where the compiler makes lines of kernels invisible the 1st, 2nd, 4th, 9th, 16th, 25th …: often the
    cases are algorithms, in which neighbours are alike.
    """
    test = item.nodeid.partition("[")[0]
    _cases[test] += 1
    case = _cases[test]
    return case > 12 if _WITHOUT_COMPILER else case != 2 and math.isqrt(case) ** 2 != case


def _lock_quickly(tracer):
    """Let coverage's tracer in C, which locks its data at every call of a function, call the lock and no method in Python."""
    collector = getattr(getattr(tracer, "lock_data", None), "__self__", None)
    lock = getattr(collector, "data_lock", None)
    if lock is not None:
        for each in (tracer, collector):  # the collector begins the tracers of other threads
            each.lock_data, each.unlock_data = lock.acquire, lock.release


def pytest_configure(config):
    """Leave out what is none of this library's code, the compiler, drawing and imports, and most cases of a test."""
    if sys.gettrace() is None:
        return
    _lock_quickly(sys.gettrace())
    from _pytest import runner
    from _pytest.assertion import rewrite
    from matplotlib.figure import Figure
    from numba.core import compiler

    bootstrap = importlib._bootstrap
    bootstrap._find_and_load = _untraced(bootstrap._find_and_load, lambda name, _: name.partition(".")[0] in _OTHERS)
    rewrite._rewrite_test = _untraced(rewrite._rewrite_test)
    compiler.compile_extra = _untraced(compiler.compile_extra)
    Figure.savefig = _untraced(Figure.savefig)
    runner.runtestprotocol = _untraced(runner.runtestprotocol, _is_left_out)
