"""What every test run shares: a cache of compiled kernels in the project's folder, one thread of BLAS, and no display."""

import functools
import gc
import importlib
import math
import os
import signal
import subprocess
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
# What JAX compiles here runs a few dozen times.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
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


@pytest.fixture
def unrendered(request, monkeypatch):
    """Pictures are drawn on their axes, and not rendered, which takes longer than the runs that they show; `rendered` excepts a test."""
    if "rendered" not in request.fixturenames:
        from problems import leave_unrendered

        leave_unrendered(monkeypatch)


@pytest.fixture
def rendered():
    """With pictures, in a file whose other tests are `unrendered`."""


@pytest.hookimpl(trylast=True)  # of what options have chosen
def pytest_collection_modifyitems(config, items):
    """Refuse names of tests that change from process to process, and leave out what makes no sense here."""
    addresses = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if addresses:
        raise pytest.UsageError(
            f"processes of pytest-xdist would not agree on the name of {addresses[0]}: give it an id"
        )
    left_out = {item for item in items if _WITHOUT_COMPILER and item.get_closest_marker("needs_jit")}
    if sys.gettrace() is not None:
        _untraced_cases.update(_seldom_reach_a_line(item for item in items if item not in left_out))
        # Without the compiler only lines are of interest, but for a GPU's simulator: all other cases are run with it.
        if _WITHOUT_COMPILER:
            left_out |= {item for item in _untraced_cases if not item.get_closest_marker("gpu")}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes():
    """Compile the kernels before several processes run tests: each would compile those that all of them need first."""
    if not _WITHOUT_COMPILER and not Path(os.environ["NUMBA_CACHE_DIR"]).exists():
        subprocess.run([sys.executable, "-m", "noetherlite", "warmup"], check=True, stdout=subprocess.DEVNULL)


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
_untraced_cases = set()


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


def _seldom_reach_a_line(items):
    """Return the cases of tests that are not traced: seldom does one reach a line that none of those before it has.

    Without the compiler the first 12 are traced. With it, which makes lines of kernels invisible, the 1st, 2nd, 4th, 9th, 16th, 25th …
    are, as often the cases are algorithms, in which neighbours are alike, and none of a test that is marked `uncounted`.
    """
    cases: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        case = cases[test]
        if _WITHOUT_COMPILER:
            left_out = case > 12
        else:
            left_out = (case != 2 and math.isqrt(case) ** 2 != case) or item.get_closest_marker("uncounted")
        if left_out:
            yield item


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
    runner.runtestprotocol = _untraced(runner.runtestprotocol, lambda item, **_: item in _untraced_cases)
