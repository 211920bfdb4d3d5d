"""noetherlite: conserved quantities of neural-network training, to round-off.

The walk of the data: `Network` + `Dataset` → potential → `integrate(algorithm)` → `Trajectory` → laws → plots and files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._base.versions import version
from ._motion import bounds
from ._motion.algorithms import GD, NAGD, Algorithm, ConformalLeapfrog, HeavyBall, Leapfrog
from ._motion.dynamics import GF, NAGF, ND, Dynamics
from ._motion.flow import Flow, reference_flow
from ._motion.kinks import SlidingMode
from ._problem import data, potentials
from ._problem.data import Dataset
from ._problem.network import Network
from ._run.checkpoint import CheckpointError
from ._run.device import DeviceError
from ._run.ensemble import ensemble
from ._run.integrate import DivergenceError, Snapshot, integrate
from ._run.memory import memory
from ._run.resume import resume
from ._run.trajectory import Trajectory, load
from ._show import plots
from ._sweep.sweep import Sweep, SweepMember, load_sweep, sweep
from ._symmetry.find import Symmetry
from ._symmetry.find import defect as symmetry_defect
from ._symmetry.find import find as symmetries
from ._symmetry.rebalance import rebalance
from ._symmetry.records import LawRecord
from ._theory import lagrangian

if TYPE_CHECKING:
    from . import ntk, tensors
    from ._check import asserts, convert
    from ._check.check import check
    from ._check.monitor import Monitor
    from ._check.verdict import Report
    from ._show import figures
    from ._show.page import report
    from ._symmetry.formulas import Law, law
    from ._tensors.found import scan, scan_pairs
    from ._tensors.watch import watch
    from ._theory.counting import LawCount, count_laws
    from ._theory.discovery import Discovery, discover
    from ._theory.drift import Drift, drift

__version__ = version()

__all__ = [
    "GD",
    "GF",
    "NAGD",
    "NAGF",
    "ND",
    "Algorithm",
    "CheckpointError",
    "ConformalLeapfrog",
    "Dataset",
    "DeviceError",
    "Discovery",
    "DivergenceError",
    "Drift",
    "Dynamics",
    "Flow",
    "HeavyBall",
    "Law",
    "LawCount",
    "LawRecord",
    "Leapfrog",
    "Monitor",
    "Network",
    "Report",
    "SlidingMode",
    "Snapshot",
    "Sweep",
    "SweepMember",
    "Symmetry",
    "Trajectory",
    "bounds",
    "check",
    "convert",
    "count_laws",
    "datasets",
    "discover",
    "drift",
    "ensemble",
    "figures",
    "integrate",
    "lagrangian",
    "law",
    "load",
    "load_sweep",
    "memory",
    "ntk",
    "plot",
    "potentials",
    "rebalance",
    "reference_flow",
    "report",
    "resume",
    "scan",
    "scan_pairs",
    "sweep",
    "symmetries",
    "symmetry_defect",
    "tensors",
    "testing",
    "watch",
]


_LAZY = {
    "Discovery": "_theory.discovery",
    "Drift": "_theory.drift",
    "Law": "_symmetry.formulas",
    "LawCount": "_theory.counting",
    "Monitor": "_check.monitor",
    "Report": "_check.verdict",
    "check": "_check.check",
    "convert": "convert",
    "count_laws": "_theory.counting",
    "discover": "_theory.discovery",
    "drift": "_theory.drift",
    "figures": "figures",
    "law": "_symmetry.formulas",
    "ntk": "ntk",
    "report": "_show.page",
    "scan": "_tensors.found",
    "scan_pairs": "_tensors.found",
    "tensors": "tensors",
    "testing": "testing",
    "watch": "_tensors.watch",
}


def __dir__() -> list[str]:
    """Return the public names, those not imported yet among them, and no module of the machinery."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


def __getattr__(name: str) -> object:
    """Import what not every program needs when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    return module if name == _LAZY[name] else getattr(module, name)
