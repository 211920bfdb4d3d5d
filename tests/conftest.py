"""What every test run shares: a cache of compiled kernels in the project's folder, one thread of BLAS, and no display."""

import os
import signal
import sys
import threading
from collections import Counter
from contextlib import contextmanager
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
    if os.environ.get("NUMBA_DISABLE_JIT", "0") == "0":
        return
    slow = [item for item in items if item.get_closest_marker("needs_jit")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


# --- where lines are counted: tracing doubles the time of Python's code -----------------------------------------------------

# Of each test so many cases are traced; the others run at full speed, as seldom does one reach a line that none of these has.
TRACED_CASES = 12
_cases: Counter[str] = Counter()


@contextmanager
def _untraced(module):
    """Trace nothing in this thread, `sys`, or in threads that begin, `threading`."""
    tracer = module.gettrace()
    module.settrace(None)
    try:
        yield
    finally:
        module.settrace(tracer)


def pytest_configure(config):
    """Leave the compiler and the drawing out, whose code is none of this library's."""
    if sys.gettrace() is not None:
        from matplotlib.figure import Figure
        from numba.core import compiler

        compiler.compile_extra = _untraced(sys)(compiler.compile_extra)
        Figure.savefig = _untraced(sys)(Figure.savefig)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Leave the later cases of a test out."""
    test = item.nodeid.partition("[")[0]
    _cases[test] += 1
    if sys.gettrace() is None or _cases[test] <= TRACED_CASES:
        return (yield)
    with _untraced(sys), _untraced(threading):
        return (yield)
