"""Potentials U(x): networks on data, analytic ones of the literature, and user-defined functions."""

from ._problem.committee import CommitteeMachine
from ._problem.field_potentials import DiagonalLinear, LogSumExp, PhaseRetrieval, TensorDecomposition
from ._problem.linear_products import MatrixCompletion, MatrixFactorization, MatrixSensing
from ._problem.network import NetworkPotential
from ._problem.potentials import Callable, Compiled, Harmonic, Potential, Radial

__all__ = [
    "Callable",
    "CommitteeMachine",
    "Compiled",
    "DiagonalLinear",
    "Harmonic",
    "LogSumExp",
    "MatrixCompletion",
    "MatrixFactorization",
    "MatrixSensing",
    "NetworkPotential",
    "PhaseRetrieval",
    "Potential",
    "Radial",
    "TensorDecomposition",
]
