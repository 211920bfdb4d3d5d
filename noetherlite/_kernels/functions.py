"""The functions that kernels are given: activations and losses, of numbers and in NumPy, and potentials.

The catalogues of the rooms above register them here, and a Problem holds their numbers. Loops over them are compiled for
those in use alone: on the CPU each by itself, called by its address; on a GPU a kernel for each selection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

Scalar = Callable[..., Any]
Arrays = Callable[..., NDArray[Any]]


class Sigma(NamedTuple):
    """An activation σ(c, z); c is the layer's parameter, or the neuron's β.

    The scalar functions must compile for CPU and GPU alike, and let NaN pass through; they know nothing of the others.
    """

    value: Scalar  # (c, z) ↦ σ
    slope: Scalar  # (c, z, a) ↦ σ′, with a = σ(c, z); where `in_place`, z is a
    d_parameter: Scalar | None  # (c, z) ↦ ∂σ/∂c, for those whose c can be trained
    in_place: bool  # whether σ′ is a function of σ alone, so that z need not be kept
    value_array: Arrays  # (c, z) ↦ σ, also of complex z where σ is smooth
    slope_array: Arrays  # (c, z) ↦ σ′
    d_parameter_array: Arrays | None  # (c, z) ↦ ∂σ/∂c
    flops: int = 0  # what σ and σ′ of a number count as, beside the products, where samples are shared out to threads
    identity: float | None = None  # c with which σ(c, z) = z, and passes on the CPU leave it out


class Loss(NamedTuple):
    """A loss ℓ of a sample's outputs f: Σ_i value(c, f_i, y_i), or −Σ_i y_i log softmax(f)_i; there y may be a label."""

    value: Scalar | None  # (c, f, y) ↦ ℓ of one output; None for that of softmax(f)
    slope: Scalar | None  # (c, f, y) ↦ ∂ℓ/∂f of one output
    arrays: Callable[..., tuple[NDArray[Any], NDArray[Any]]]  # (c, f, y) ↦ ℓ, of samples or of outputs, and ∂ℓ/∂f
    weighted: bool = False  # whether targets have one column more: what ℓ of a sample is multiplied by


class Analytic(NamedTuple):
    """A potential without data; both functions compile for the CPU, and are called as Python functions by the oracle."""

    value: Callable[..., Any]  # x (P,) ↦ U(x)
    gradient: Callable[..., Any]  # x, out (P,) ↦ None: out ← ∇U(x)


ACTIVATIONS: list[Sigma] = []
LOSSES: list[Loss] = []
POTENTIALS: list[Analytic] = []


def number(table: list[Any], functions: Any) -> int:
    """Return the number of these functions in a table, which they enter where they are new."""
    if functions not in table:
        table.append(functions)
    return table.index(functions)
