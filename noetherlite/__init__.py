"""noetherlite: conserved quantities of neural-network training, to round-off.

The walk of the data: `Network` + `Dataset` → potential → `integrate(algorithm)` → `Trajectory` → laws → plots and files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._base.versions import version

if TYPE_CHECKING:
    from . import arch, bounds, convert, datasets, exact, figures, lagrangian, ntk, plot, potentials, tensors, testing
    from ._base.gpu import DeviceError
    from ._check.check import check
    from ._check.monitor import Monitor
    from ._check.verdict import Report
    from ._motion.adagrad import AdaGrad
    from ._motion.adam import Adam
    from ._motion.baoab import BAOAB
    from ._motion.base import Algorithm
    from ._motion.conformal_leapfrog import ConformalLeapfrog
    from ._motion.dynamics import GF, NAGF, ND, Dynamics
    from ._motion.exponentiated_gradient import ExponentiatedGradient
    from ._motion.flow import Flow, reference_flow
    from ._motion.gradient_descent import GD
    from ._motion.heavy_ball import HeavyBall
    from ._motion.implicit_midpoint import ImplicitMidpoint
    from ._motion.kinks import SlidingMode
    from ._motion.langevin import SGLD, Langevin
    from ._motion.leapfrog import Leapfrog
    from ._motion.lion import Lion
    from ._motion.muon import Muon
    from ._motion.nesterov import NAGD
    from ._motion.nesterov_momentum import Nesterov
    from ._motion.projected_descent import ProjectedGD
    from ._motion.rmsprop import RMSProp
    from ._motion.runge_kutta import RK4
    from ._motion.sam import SAM
    from ._motion.schedule import schedule
    from ._motion.sign_descent import SignGD
    from ._motion.steepest_descent import SteepestDescent
    from ._motion.yoshida import Yoshida
    from ._problem.activations import Activation
    from ._problem.dataset import Dataset
    from ._problem.network import Network
    from ._problem.parametrization import Setup, parametrization
    from ._problem.sharpness import hessian_product, sharpness
    from ._run.checkpoint import CheckpointError
    from ._run.ensemble import ensemble
    from ._run.integrate import DivergenceError, integrate
    from ._run.memory import memory
    from ._run.resume import resume
    from ._run.supervisor import Snapshot
    from ._run.trajectory import Trajectory, load
    from ._show.page import report
    from ._sweep.result import Sweep, SweepMember
    from ._sweep.sweep import load_sweep, sweep
    from ._symmetry.affine import Symmetry
    from ._symmetry.find import defect as symmetry_defect
    from ._symmetry.find import find as symmetries
    from ._symmetry.finite import DiscreteSymmetry, discrete_symmetries
    from ._symmetry.formulas import Law, law
    from ._symmetry.invariant import Invariant, InvariantRecord, invariants
    from ._symmetry.rebalance import rebalance
    from ._symmetry.records import LawRecord
    from ._symmetry.teleport import noise_equilibrium, teleport
    from ._tensors.scan import scan, scan_pairs
    from ._tensors.watch import watch
    from ._theory.counting import LawCount, count_laws
    from ._theory.discovery import Discovery, discover
    from ._theory.drift import Drift, drift
    from ._theory.polynomials import ConservedPolynomial, conserved_polynomials

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
# Those that have other names in their file.
_HOMES |= {"symmetries": "_symmetry.find:find", "symmetry_defect": "_symmetry.find:defect"}

# Constants, classes, functions and faces.
__all__ = sorted(_HOMES, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def __dir__() -> list[str]:
    """Return the public names, imported or not, and no module of the machinery."""
    return [*_HOMES, *(name for name in globals() if name.startswith("__"))]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, and keep it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = (
        getattr(importlib.import_module(f"{__name__}.{home}"), attribute or name)
        if home
        else importlib.import_module(f"{__name__}.{name}")
    )
    return value
