"""Start-up: importing the package, and the way to the first step with and without compiled code on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

FIRST_STEP = """
import numpy as np, noetherlite as nl
net = nl.Network([4, 8, 3])
U = net.potential(np.ones((8, 4)), np.zeros(8, int))
nl.integrate(U, nl.GD(0.1), net.init(rng=0), 1)
"""


def first_step(cache):
    """Return the seconds that a new process takes to its first step, its compiled code kept in the folder `cache`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", FIRST_STEP], env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True)
    return time.perf_counter() - began


def timeraw_import():
    return "import noetherlite"


def timeraw_import_numba():
    """The floor: numba is imported with the package."""
    return "import numba"


class FirstStep:
    timeout = 600

    def setup_cache(self):
        with tempfile.TemporaryDirectory() as cache:
            return [first_step(cache) for _ in range(4)]

    def track_cold(self, seconds):
        return seconds[0]

    def track_warm(self, seconds):
        return min(seconds[1:])

    setup_cache.timeout = 600
    track_cold.unit = track_warm.unit = "s"
