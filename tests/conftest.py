"""What every test run shares: a cache of compiled kernels in the project's folder, and no display."""

import os
import signal
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

# Before anything imports numba or matplotlib, which read these once.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_ROOT / ".numba_cache"))
os.environ["MPLBACKEND"] = "Agg"

# Shells start background jobs with Ctrl-C ignored, and some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Leave out what makes no sense where nothing is compiled."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") == "0":
        return
    slow = [item for item in items if item.get_closest_marker("needs_jit")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
