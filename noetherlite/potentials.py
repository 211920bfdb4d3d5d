"""Potentials U(x): networks on data, analytic ones, and functions of one's own."""

from ._problem.network import NetworkPotential
from ._problem.potentials import Callable, Harmonic, Potential, Radial

__all__ = [
    "Callable",
    "Harmonic",
    "NetworkPotential",
    "Potential",
    "Radial",
]
