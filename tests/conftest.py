"""What every test run shares: a cache of compiled kernels that belongs to exactly these sources, and no display."""

import hashlib
import os
import signal
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _kernels_digest():
    """Numba looks at a function's own file only, so an edit of a function it calls elsewhere would go unnoticed."""
    digest = hashlib.sha256()
    for file in sorted((_ROOT / "noetherlite" / "_kernels").glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


# Before anything imports numba or matplotlib, which read these once.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_ROOT / ".numba_cache" / _kernels_digest()))
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
