"""noetherlite: conserved quantities of neural-network training, to round-off.

The walk of the data: `Network` + `Dataset` → potential → `integrate(algorithm)` → `Trajectory` → laws → plots and files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._base.versions import version

if TYPE_CHECKING:  # `as` its own name: to type checkers a module exports what it imports so, and nothing else
    from . import arch as arch
    from . import bounds as bounds
    from . import convert as convert
    from . import datasets as datasets
    from . import exact as exact
    from . import figures as figures
    from . import lagrangian as lagrangian
    from . import ntk as ntk
    from . import plot as plot
    from . import potentials as potentials
    from . import tensors as tensors
    from . import testing as testing
    from ._base.gpu import DeviceError as DeviceError
    from ._check.check import check as check
    from ._check.monitor import Monitor as Monitor
    from ._check.verdict import Report as Report
    from ._motion.adagrad import AdaGrad as AdaGrad
    from ._motion.adam import Adam as Adam
    from ._motion.baoab import BAOAB as BAOAB
    from ._motion.base import Algorithm as Algorithm
    from ._motion.conformal_leapfrog import ConformalLeapfrog as ConformalLeapfrog
    from ._motion.dynamics import GF as GF
    from ._motion.dynamics import NAGF as NAGF
    from ._motion.dynamics import ND as ND
    from ._motion.dynamics import Dynamics as Dynamics
    from ._motion.exponentiated_gradient import ExponentiatedGradient as ExponentiatedGradient
    from ._motion.flow import Flow as Flow
    from ._motion.flow import reference_flow as reference_flow
    from ._motion.gradient_descent import GD as GD
    from ._motion.heavy_ball import HeavyBall as HeavyBall
    from ._motion.implicit_midpoint import ImplicitMidpoint as ImplicitMidpoint
    from ._motion.kinks import SlidingMode as SlidingMode
    from ._motion.langevin import SGLD as SGLD
    from ._motion.langevin import Langevin as Langevin
    from ._motion.leapfrog import Leapfrog as Leapfrog
    from ._motion.lion import Lion as Lion
    from ._motion.muon import Muon as Muon
    from ._motion.nesterov import NAGD as NAGD
    from ._motion.nesterov_momentum import Nesterov as Nesterov
    from ._motion.projected_descent import ProjectedGD as ProjectedGD
    from ._motion.rmsprop import RMSProp as RMSProp
    from ._motion.runge_kutta import RK4 as RK4
    from ._motion.sam import SAM as SAM
    from ._motion.schedule import schedule as schedule
    from ._motion.sign_descent import SignGD as SignGD
    from ._motion.steepest_descent import SteepestDescent as SteepestDescent
    from ._motion.yoshida import Yoshida as Yoshida
    from ._problem.activations import Activation as Activation
    from ._problem.dataset import Dataset as Dataset
    from ._problem.network import Network as Network
    from ._problem.parametrization import Setup as Setup
    from ._problem.parametrization import parametrization as parametrization
    from ._problem.sharpness import hessian_product as hessian_product
    from ._problem.sharpness import sharpness as sharpness
    from ._run.checkpoint import CheckpointError as CheckpointError
    from ._run.ensemble import ensemble as ensemble
    from ._run.integrate import DivergenceError as DivergenceError
    from ._run.integrate import integrate as integrate
    from ._run.memory import memory as memory
    from ._run.resume import resume as resume
    from ._run.supervisor import Snapshot as Snapshot
    from ._run.trajectory import Trajectory as Trajectory
    from ._run.trajectory import load as load
    from ._show.page import report as report
    from ._sweep.result import Sweep as Sweep
    from ._sweep.result import SweepMember as SweepMember
    from ._sweep.sweep import load_sweep as load_sweep
    from ._sweep.sweep import sweep as sweep
    from ._symmetry.affine import Symmetry as Symmetry
    from ._symmetry.find import symmetries as symmetries
    from ._symmetry.find import symmetry_defect as symmetry_defect
    from ._symmetry.finite import DiscreteSymmetry as DiscreteSymmetry
    from ._symmetry.finite import discrete_symmetries as discrete_symmetries
    from ._symmetry.formulas import Law as Law
    from ._symmetry.formulas import law as law
    from ._symmetry.invariant import Invariant as Invariant
    from ._symmetry.invariant import InvariantRecord as InvariantRecord
    from ._symmetry.invariant import invariants as invariants
    from ._symmetry.rebalance import rebalance as rebalance
    from ._symmetry.records import LawRecord as LawRecord
    from ._symmetry.teleport import noise_equilibrium as noise_equilibrium
    from ._symmetry.teleport import teleport as teleport
    from ._tensors.scan import scan as scan
    from ._tensors.scan import scan_pairs as scan_pairs
    from ._tensors.watch import watch as watch
    from ._theory.counting import LawCount as LawCount
    from ._theory.counting import count_laws as count_laws
    from ._theory.discovery import Discovery as Discovery
    from ._theory.discovery import discover as discover
    from ._theory.drift import Drift as Drift
    from ._theory.drift import drift as drift
    from ._theory.polynomials import ConservedPolynomial as ConservedPolynomial
    from ._theory.polynomials import conserved_polynomials as conserved_polynomials

__version__ = version()

# The public names of every file, and the faces, imported when they are first asked for.
_HOMES = {
    name: home
    for home, names in {
        "": "arch bounds convert datasets exact figures lagrangian ntk plot potentials tensors testing",
        "_base.gpu": "DeviceError",
        "_check.check": "check",
        "_check.monitor": "Monitor",
        "_check.verdict": "Report",
        "_motion.adagrad": "AdaGrad",
        "_motion.adam": "Adam",
        "_motion.baoab": "BAOAB",
        "_motion.base": "Algorithm",
        "_motion.conformal_leapfrog": "ConformalLeapfrog",
        "_motion.dynamics": "GF NAGF ND Dynamics",
        "_motion.exponentiated_gradient": "ExponentiatedGradient",
        "_motion.flow": "Flow reference_flow",
        "_motion.gradient_descent": "GD",
        "_motion.heavy_ball": "HeavyBall",
        "_motion.implicit_midpoint": "ImplicitMidpoint",
        "_motion.kinks": "SlidingMode",
        "_motion.langevin": "SGLD Langevin",
        "_motion.leapfrog": "Leapfrog",
        "_motion.lion": "Lion",
        "_motion.muon": "Muon",
        "_motion.nesterov": "NAGD",
        "_motion.nesterov_momentum": "Nesterov",
        "_motion.projected_descent": "ProjectedGD",
        "_motion.rmsprop": "RMSProp",
        "_motion.runge_kutta": "RK4",
        "_motion.sam": "SAM",
        "_motion.schedule": "schedule",
        "_motion.sign_descent": "SignGD",
        "_motion.steepest_descent": "SteepestDescent",
        "_motion.yoshida": "Yoshida",
        "_problem.activations": "Activation",
        "_problem.dataset": "Dataset",
        "_problem.network": "Network",
        "_problem.parametrization": "Setup parametrization",
        "_problem.sharpness": "hessian_product sharpness",
        "_run.checkpoint": "CheckpointError",
        "_run.ensemble": "ensemble",
        "_run.integrate": "DivergenceError integrate",
        "_run.memory": "memory",
        "_run.resume": "resume",
        "_run.supervisor": "Snapshot",
        "_run.trajectory": "Trajectory load",
        "_show.page": "report",
        "_sweep.result": "Sweep SweepMember",
        "_sweep.sweep": "load_sweep sweep",
        "_symmetry.affine": "Symmetry",
        "_symmetry.find": "symmetries symmetry_defect",
        "_symmetry.finite": "DiscreteSymmetry discrete_symmetries",
        "_symmetry.formulas": "Law law",
        "_symmetry.invariant": "Invariant InvariantRecord invariants",
        "_symmetry.rebalance": "rebalance",
        "_symmetry.records": "LawRecord",
        "_symmetry.teleport": "noise_equilibrium teleport",
        "_tensors.scan": "scan scan_pairs",
        "_tensors.watch": "watch",
        "_theory.counting": "LawCount count_laws",
        "_theory.discovery": "Discovery discover",
        "_theory.drift": "Drift drift",
        "_theory.polynomials": "ConservedPolynomial conserved_polynomials",
    }.items()
    for name in names.split()
}
# Constants, classes, functions and faces.
__all__ = sorted(_HOMES, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def __dir__() -> list[str]:
    """Return the public names, imported or not, and no module of the machinery."""
    return [*_HOMES, *(name for name in globals() if name.startswith("__"))]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, and keep it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    value = globals()[name] = (
        getattr(importlib.import_module(f"{__name__}.{home}"), name)
        if home
        else importlib.import_module(f"{__name__}.{name}")
    )
    return value
