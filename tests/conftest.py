"""What every test run shares: a cache of compiled kernels in the project's folder, one thread of BLAS, and no display."""

import os
import signal
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent

# Before anything imports NumPy, numba or matplotlib, which read these once. Threads of BLAS wait busily for each other: on
# processors that other tests need, a small singular value decomposition then takes a hundred times as long.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_ROOT / ".numba_cache"))
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["MPLBACKEND"] = "Agg"

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
