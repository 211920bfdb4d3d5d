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

# Every public name and where it is, imported when it is first asked for: "room.file", "room.file:name there", or "" for a face.
_HOMES = {
    "BAOAB": "_motion.baoab",
    "GD": "_motion.gradient_descent",
    "GF": "_motion.dynamics",
    "NAGD": "_motion.nesterov",
    "NAGF": "_motion.dynamics",
    "ND": "_motion.dynamics",
    "RK4": "_motion.runge_kutta",
    "SAM": "_motion.sam",
    "SGLD": "_motion.langevin",
    "Activation": "_problem.activations",
    "AdaGrad": "_motion.adagrad",
    "Adam": "_motion.adam",
    "Algorithm": "_motion.base",
    "CheckpointError": "_run.checkpoint",
    "ConformalLeapfrog": "_motion.conformal_leapfrog",
    "ConservedPolynomial": "_theory.polynomials",
    "Dataset": "_problem.dataset",
    "DeviceError": "_base.gpu",
    "Discovery": "_theory.discovery",
    "DiscreteSymmetry": "_symmetry.finite",
    "DivergenceError": "_run.integrate",
    "Drift": "_theory.drift",
    "Dynamics": "_motion.dynamics",
    "ExponentiatedGradient": "_motion.exponentiated_gradient",
    "Flow": "_motion.flow",
    "HeavyBall": "_motion.heavy_ball",
    "ImplicitMidpoint": "_motion.implicit_midpoint",
    "Invariant": "_symmetry.invariant",
    "InvariantRecord": "_symmetry.invariant",
    "Langevin": "_motion.langevin",
    "Law": "_symmetry.formulas",
    "LawCount": "_theory.counting",
    "LawRecord": "_symmetry.records",
    "Leapfrog": "_motion.leapfrog",
    "Lion": "_motion.lion",
    "Monitor": "_check.monitor",
    "Muon": "_motion.muon",
    "Nesterov": "_motion.nesterov_momentum",
    "Network": "_problem.network",
    "ProjectedGD": "_motion.projected_descent",
    "RMSProp": "_motion.rmsprop",
    "Report": "_check.verdict",
    "Setup": "_problem.parametrization",
    "SignGD": "_motion.sign_descent",
    "SlidingMode": "_motion.kinks",
    "Snapshot": "_run.supervisor",
    "SteepestDescent": "_motion.steepest_descent",
    "Sweep": "_sweep.result",
    "SweepMember": "_sweep.result",
    "Symmetry": "_symmetry.affine",
    "Trajectory": "_run.trajectory",
    "Yoshida": "_motion.yoshida",
    "arch": "",
    "bounds": "",
    "check": "_check.check",
    "conserved_polynomials": "_theory.polynomials",
    "convert": "",
    "count_laws": "_theory.counting",
    "datasets": "",
    "discover": "_theory.discovery",
    "discrete_symmetries": "_symmetry.finite",
    "drift": "_theory.drift",
    "ensemble": "_run.ensemble",
    "exact": "",
    "figures": "",
    "hessian_product": "_problem.sharpness",
    "integrate": "_run.integrate",
    "invariants": "_symmetry.invariant",
    "lagrangian": "",
    "law": "_symmetry.formulas",
    "load": "_run.trajectory",
    "load_sweep": "_sweep.sweep",
    "memory": "_run.memory",
    "noise_equilibrium": "_symmetry.teleport",
    "ntk": "",
    "parametrization": "_problem.parametrization",
    "plot": "",
    "potentials": "",
    "rebalance": "_symmetry.rebalance",
    "reference_flow": "_motion.flow",
    "report": "_show.page",
    "resume": "_run.resume",
    "scan": "_tensors.scan",
    "scan_pairs": "_tensors.scan",
    "schedule": "_motion.schedule",
    "sharpness": "_problem.sharpness",
    "sweep": "_sweep.sweep",
    "symmetries": "_symmetry.find:find",
    "symmetry_defect": "_symmetry.find:defect",
    "teleport": "_symmetry.teleport",
    "tensors": "",
    "testing": "",
    "watch": "_tensors.watch",
}

__all__ = list(_HOMES)


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
