"""The catalogue of activations σ: what is known of each (theory: GU §4, Tables 2 and 3)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .._kernels import layout


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
    code : int
        The kernels' number. The scalar pair σ, σ′ is in `_kernels/pointwise.py`, for arrays in `_kernels/reference.py`.
    examples : tuple of str
        How it may be written.
    parameter : callable or None
        (c, as it is written, where) ↦ c, or a ValueError; None if it takes none.
    default : float or None
        c where none is written; None if it then has none.
    required : bool
        Whether c must be written.
    trained : bool
        Whether c is trained, one per neuron, where none is written; σ(c/λ, λz) = λσ(c, z) then.
    pieces : callable or None
        c ↦ σ on both sides of 0, if it is a power there.
    value : callable or None
        (c, z) ↦ σ of arrays, for those that have no pieces: initialisation averages it over normal z.
    slope : callable or None
        σ(z) ↦ σ′(z), where the kernel at infinite width is to be had by Gauss and Hermite's rule.
    parity : int
        1 where σ(−z) = σ(z), −1 where σ(−z) = −σ(z), 0 where neither holds; of those that have pieces these decide.
    """

    code: int
    examples: tuple[str, ...]
    parameter: Callable[[float, str, str], float] | None = None
    default: float | None = None
    required: bool = False
    trained: bool = False
    pieces: Callable[[float], Pieces] | None = None
    value: Callable[[float, Float64Array], Float64Array] | None = None
    slope: Callable[[Float64Array], Float64Array] | None = None
    parity: int = 0

    def __post_init__(self) -> None:
        if (self.pieces is None) == (self.value is None):
            raise TypeError(f"activation {self.examples[0]!r} lacks `pieces`, or `value` where it has none")

    @property
    def example(self) -> str:
        """The first with a parameter."""
        return next(e for e in self.examples if "(" in e)


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


CATALOGUE = {
    "linear": Kind(
        code=layout.LINEAR,
        examples=("linear", "linear(0.7)"),
        parameter=_any,
        default=1.0,
        pieces=lambda c: Pieces(1.0, c, c),
    ),
    "relu": Kind(
        code=layout.RELU,
        examples=("relu",),
        pieces=lambda _: Pieces(1.0, 0.0, 1.0),
    ),
    "leaky_relu": Kind(
        code=layout.LEAKY_RELU,
        examples=("leaky_relu(0.1)",),
        parameter=_slope,
        required=True,
        pieces=lambda a: Pieces(1.0, a, 1.0),
    ),
    "polynomial": Kind(
        code=layout.POLYNOMIAL,
        examples=("polynomial(2)",),
        parameter=_integer_power,
        required=True,
        pieces=lambda p: Pieces(p, 1.0, 1.0),
    ),
    "repu": Kind(
        code=layout.REPU,
        examples=("repu(3)",),
        parameter=_power,
        required=True,
        pieces=lambda p: Pieces(p, 0.0, 1.0),
    ),
    "swish": Kind(
        code=layout.SWISH,
        examples=("swish", "swish(1.0)"),
        parameter=_any,
        trained=True,
        value=lambda beta, z: 0.5 * z * (1 + np.tanh(0.5 * beta * z)),
    ),
    "tanh": Kind(
        code=layout.TANH,
        examples=("tanh",),
        value=lambda _, z: np.tanh(z),
        slope=lambda a: 1 - a**2,
        parity=-1,
    ),
}
EXAMPLES = tuple(example for kind in CATALOGUE.values() for example in kind.examples)


@dataclass(frozen=True)
class Activation:
    """An activation σ of a hidden layer.

    Attributes
    ----------
    name : str
        "linear", "relu", "leaky_relu", "polynomial", "repu", "swish" or "tanh".
    parameter : float or None
        c of linear(c), a of leaky_relu(a), p of polynomial(p) and repu(p), β of swish(β); None where there is none,
        in particular for "swish", whose β is trained, one per neuron.
    """

    name: str
    parameter: float | None = None

    @property
    def kind(self) -> Kind:
        """Its row of the catalogue."""
        return CATALOGUE[self.name]

    @property
    def pieces(self) -> Pieces | None:
        """σ on both sides of 0, if it is a power there."""
        pieces = self.kind.pieces
        return None if pieces is None else pieces(self.constant)

    @property
    def degree(self) -> float | None:
        """P with σ(λz) = λ^p σ(z) for λ > 0 (for swish with β ↦ β/λ), or None: no scaling symmetry."""
        pieces = self.pieces
        if pieces is not None:
            return pieces.degree
        return 1.0 if self.trainable else None

    @property
    def is_linear(self) -> bool:
        """Whether σ(z) = cz."""
        pieces = self.pieces
        return pieces is not None and pieces == (1.0, pieces.low, pieces.low)

    @property
    def is_piecewise(self) -> bool:
        """Whether σ is another power of z on either side of 0."""
        pieces = self.pieces
        return pieces is not None and pieces.low != pieces.high

    @property
    def is_kinked(self) -> bool:
        """Whether σ′ jumps at 0."""
        return self.is_piecewise and self.degree == 1

    @property
    def is_polynomial(self) -> bool:
        """Whether σ is a polynomial on either side of 0."""
        return self.pieces is not None and self.pieces.degree % 1 == 0

    @property
    def parity(self) -> int:
        """1 where σ(−z) = σ(z), −1 where σ(−z) = −σ(z), else 0."""
        pieces = self.pieces
        if pieces is None:
            return self.kind.parity
        return 0 if self.is_piecewise else -1 if pieces.degree % 2 else 1

    @property
    def has_limit(self) -> bool:
        """Whether the kernel at infinite width is known."""
        return self.is_linear or self.is_kinked or self.kind.slope is not None

    @property
    def trainable(self) -> bool:
        """Whether the layer has a trainable β per neuron."""
        return self.kind.trained and self.parameter is None

    @property
    def code(self) -> int:
        """The kernels' number for σ."""
        return self.kind.code

    @property
    def constant(self) -> float:
        """The kernels' parameter of σ; unused where β is trained."""
        return 0.0 if self.parameter is None else self.parameter

    def second_moment(self) -> float:
        """E[σ(g)²] for a standard normal g (β = 1 where it is trained)."""
        if self.pieces is not None:
            p, low, high = self.pieces
            both = (low**2 + high**2) / 2
            if p == 1 and low != 0:
                return both  # E[g²] = 1, of which Γ below is a rounding: kept for relu, so that its runs are the same to the bit
            return both * 2**p * math.gamma(p + 0.5) / math.sqrt(math.pi)  # E[|g|^{2p}]
        value, c = self.kind.value, 1.0 if self.parameter is None else self.parameter
        assert value is not None
        return _gaussian_mean(lambda g: value(c, g) ** 2)

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}({self.parameter:g})"


def _gaussian_mean(f: Callable[[Float64Array], Float64Array]) -> float:
    """E[f(g)] for a standard normal g by the trapezoidal rule: exact to round-off for f analytic within 0.01 of the axis."""
    nodes, step = np.linspace(-14, 14, 2**14 + 1, retstep=True)
    return float(np.sum(f(nodes) * np.exp(-0.5 * nodes**2)) * step / math.sqrt(2 * math.pi))


def such_as(fits: Callable[[Activation], bool]) -> str:
    """Return the examples that fit, as messages have them."""
    return ", ".join(repr(example) for example in EXAMPLES if fits(parse(example)))


def parse(text: str | Activation) -> Activation:
    """Return the activation written as `text`, for example "leaky_relu(0.1)".

    Raises
    ------
    ValueError
        If the name is unknown (the message lists the known ones) or the parameter is missing or out of range:
        0 < a < 1 for leaky_relu, an integer p ≥ 1 for polynomial, p ≥ 1 for repu.
    """
    if isinstance(text, Activation):
        return text
    match = re.fullmatch(r"\s*([a-z_]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text) if isinstance(text, str) else None
    if match is None or match[1] not in CATALOGUE:
        meant = match[1] if match else getattr(text, "__name__", None)  # a function, such as numpy.tanh
        hint = checks.suggestion(meant, CATALOGUE) if isinstance(meant, str) else ""
        raise ValueError(
            f"activation={checks.describe(text)} is not known{hint}; expected one of {', '.join(map(repr, EXAMPLES))}"
        )
    name, inside = match[1], match[2]
    kind = CATALOGUE[name]
    if inside is None:
        if kind.required:
            raise ValueError(f"activation={text!r} needs its parameter, for example {kind.example!r}")
        return Activation(name, kind.default)
    if kind.parameter is None:
        raise ValueError(f"activation={text!r} takes no parameter; expected {name!r}")
    try:
        value = float(inside)
    except ValueError:
        raise ValueError(
            f"activation={text!r}: {inside!r} is not a number; expected for example {kind.example!r}"
        ) from None
    return Activation(name, kind.parameter(value, inside, text))
