"""The asv suite: what `asv run` measures. The workloads are those of benchmarks/peers.py, written once, there.

Names that begin with time_ are timed by asv, track_ return a number, peakmem_ are watched by the process's peak memory.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where peers is: asv looks for this package alone
