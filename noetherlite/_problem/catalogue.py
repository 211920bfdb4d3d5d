"""The catalogue of activations: one entry is all that is known of one, its functions for kernels and oracle included.

A scalar function is compiled for CPU and GPU: it may use `math`, NumPy's types and `_kernels/pointwise.py`, takes numbers of
either precision, and lets a NaN pass through (`0.0 if z < 0 else z` does, `z if z > 0 else 0.0` does not). The functions of
arrays are the oracle's, written independently in NumPy; they take complex z where σ is smooth, so that gradients can be
checked by complex step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._base import checks
from .._kernels import functions, pointwise
from .._kernels.jit import inlined

Array = NDArray[Any]


class Pieces(NamedTuple):
    """σ(z) = high·z^degree for z > 0 and low·z^degree for z < 0."""

    degree: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is known of the activations of one name, and need not be known anywhere else.

    Attributes
    ----------
    examples : tuple of str
        How it may be written.
    sigma, d_sigma : callable
        σ(c, z) and σ′(c, z, a) of numbers, a = σ(c, z); c is the parameter.
    sigma_array, d_sigma_array : callable
        (c, z) ↦ σ and (c, z) ↦ σ′ of arrays, the oracle's.
    in_place : bool
        Whether σ′ is a function of σ alone, so that z is not kept: d_sigma then gets a in the place of z.
    parameter : callable or None
        (c, as it is written, where) ↦ c, or a ValueError; None if it takes none.
    default : float or None
        c where none is written; None if it then has none.
    required : bool
        Whether c must be written.
    d_parameter, d_parameter_array : callable or None
        (c, z) ↦ ∂σ/∂c of numbers and of arrays, where c is trained, one per neuron, if none is written; σ(c/λ, λz) = λσ(c, z)
        then.
    pieces : callable or None
        c ↦ σ on both sides of 0, if it is a power there.
    has_smooth_limit : bool
        Whether the kernel at infinite width is to be had by Gauss and Hermite's rule.
    parity : int
        1 where σ(−z) = σ(z), −1 where σ(−z) = −σ(z), 0 where neither holds; of those that have pieces these decide.
    """

    examples: tuple[str, ...]
    sigma: functions.Scalar
    d_sigma: functions.Scalar
    sigma_array: Callable[[Any, Array], Array]
    d_sigma_array: Callable[[Any, Array], Array]
    in_place: bool = False
    parameter: Callable[[float, str, str], float] | None = None
    default: float | None = None
    required: bool = False
    d_parameter: functions.Scalar | None = None
    d_parameter_array: Callable[[Any, Array], Array] | None = None
    pieces: Callable[[float], Pieces] | None = None
    has_smooth_limit: bool = False
    parity: int = 0

    def __post_init__(self) -> None:
        if (self.d_parameter is None) != (self.d_parameter_array is None):
            raise TypeError(
                f"activation {self.examples[0]!r} needs both of d_parameter and d_parameter_array, or neither"
            )

    @cached_property
    def code(self) -> int:
        """The kernels' number."""
        return functions.number(
            functions.ACTIVATIONS,
            functions.Sigma(
                inlined(self.sigma),
                inlined(self.d_sigma),
                None if self.d_parameter is None else inlined(self.d_parameter),
                self.in_place,
                self.sigma_array,
                self.d_sigma_array,
                self.d_parameter_array,
            ),
        )

    @property
    def example(self) -> str:
        """The first with a parameter."""
        return next(e for e in self.examples if "(" in e)


# --- parameters ---


def _label(text: str) -> str:
    return f"the parameter of activation {text!r}"


def _any(value: float, inside: str, text: str) -> float:
    return checks.real(value, _label(text))


def _slope(value: float, inside: str, text: str) -> float:
    value = checks.real(value, _label(text), minimum=0.0, strict=True)
    if value >= 1:
        raise ValueError(f"activation={text!r}: the slope must lie in 0 < a < 1")
    return value


def _power(value: float, inside: str, text: str) -> float:
    return checks.real(value, _label(text), minimum=1.0)


def _integer_power(value: float, inside: str, text: str) -> float:
    value = _power(value, inside, text)
    if value != int(value):
        raise ValueError(
            f"activation={text!r}: z^p needs an integer p, as z may be negative; repu({inside}) takes any p >= 1"
        )
    return value


# --- functions of more than a line: of numbers, then of arrays ---


def _repu(c: float, z: float) -> Any:
    if z < 0:
        return 0.0
    return z * z if c == 2 else np.float64(z) ** c  # of doubles: a power in single precision is crude on a GPU


def _d_repu(c: float, z: float, a: float) -> Any:
    if c == 2:
        return c * z if z > 0 else 0.0
    return c * np.float64(z) ** (c - 1) if z > 0 else 0.0


def _d_swish(c: float, z: float, a: float) -> Any:
    s = pointwise.logistic(c * z)
    return s + c * z * s * (1 - s)


def _swish_by_beta(c: float, z: float) -> Any:
    s = pointwise.logistic(c * z)
    return z * z * s * (1 - s)


def _logistic(z: Array) -> Array:
    with np.errstate(over="ignore"):  # exp(large) = inf gives the logistic function's limit 0
        return np.asarray(1 / (1 + np.exp(-z)))


def _swish_array(c: Any, z: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(z / (1 + np.exp(-c * z)))


def _d_swish_array(c: Any, z: Array) -> Array:
    s = _logistic(c * z)
    return np.asarray(s + c * z * s * (1 - s))


def _swish_by_beta_array(c: Any, z: Array) -> Array:
    s = _logistic(c * z)
    return np.asarray(z * z * s * (1 - s))


CATALOGUE = {
    "linear": Kind(
        examples=("linear", "linear(0.7)"),
        sigma=lambda c, z: c * z,
        d_sigma=lambda c, z, a: c,
        sigma_array=lambda c, z: np.asarray(c * z),
        d_sigma_array=lambda c, z: np.full_like(z, c),
        in_place=True,
        parameter=_any,
        default=1.0,
        pieces=lambda c: Pieces(1.0, c, c),
    ),
    "relu": Kind(
        examples=("relu",),
        sigma=lambda c, z: 0.0 if z < 0 else z,
        d_sigma=lambda c, z, a: 1.0 if z > 0 else 0.0,
        sigma_array=lambda c, z: np.where(z.real < 0, 0, z),
        d_sigma_array=lambda c, z: np.where(z > 0, 1.0, 0.0),
        in_place=True,
        pieces=lambda _: Pieces(1.0, 0.0, 1.0),
    ),
    "leaky_relu": Kind(
        examples=("leaky_relu(0.1)",),
        sigma=lambda c, z: z if z > 0 else c * z,
        d_sigma=lambda c, z, a: 1.0 if z > 0 else c,
        sigma_array=lambda c, z: np.where(z.real > 0, z, c * z),
        d_sigma_array=lambda c, z: np.where(z > 0, 1.0, c),
        in_place=True,
        parameter=_slope,
        required=True,
        pieces=lambda a: Pieces(1.0, a, 1.0),
    ),
    "polynomial": Kind(
        examples=("polynomial(2)",),
        sigma=lambda c, z: z * z if c == 2 else pointwise.power(z, int(c)),
        d_sigma=lambda c, z, a: c * z if c == 2 else c * pointwise.power(z, int(c) - 1),
        sigma_array=lambda c, z: np.asarray(z ** int(c)),
        d_sigma_array=lambda c, z: np.asarray(c * z ** int(c - 1)),
        parameter=_integer_power,
        required=True,
        pieces=lambda p: Pieces(p, 1.0, 1.0),
    ),
    "repu": Kind(
        examples=("repu(3)",),
        sigma=_repu,
        d_sigma=_d_repu,
        sigma_array=lambda c, z: np.where(z.real < 0, 0, z) ** (int(c) if c == int(c) else c),
        d_sigma_array=lambda c, z: np.where(z > 0, c * np.maximum(z, 0) ** (c - 1), 0.0),
        parameter=_power,
        required=True,
        pieces=lambda p: Pieces(p, 0.0, 1.0),
    ),
    "swish": Kind(
        examples=("swish", "swish(1.0)"),
        sigma=lambda c, z: z * pointwise.logistic(c * z),
        d_sigma=_d_swish,
        sigma_array=_swish_array,
        d_sigma_array=_d_swish_array,
        d_parameter=_swish_by_beta,
        d_parameter_array=_swish_by_beta_array,
        parameter=_any,
    ),
    "tanh": Kind(
        examples=("tanh",),
        sigma=lambda c, z: math.tanh(np.float64(z)),
        d_sigma=lambda c, z, a: 1 - a * a,
        sigma_array=lambda c, z: np.tanh(z),
        d_sigma_array=lambda c, z: 1 - np.tanh(z) ** 2,
        in_place=True,
        has_smooth_limit=True,
        parity=-1,
    ),
}
EXAMPLES = tuple(example for kind in CATALOGUE.values() for example in kind.examples)
