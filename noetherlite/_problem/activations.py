"""The catalogue of activations σ and their degrees of homogeneity (theory: GU §4, Tables 2 and 3)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .._kernels import layout


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
    def degree(self) -> float | None:
        """P with σ(λz) = λ^p σ(z) for λ > 0 (for swish with β ↦ β/λ), or None: no scaling symmetry."""
        if self.name in ("polynomial", "repu"):
            return self.parameter
        return None if self.name == "tanh" or (self.name == "swish" and not self.trainable) else 1.0

    @property
    def trainable(self) -> bool:
        """Whether the layer has a trainable β per neuron."""
        return self.name == "swish" and self.parameter is None

    @property
    def code(self) -> int:
        """The kernels' number for σ."""
        return _CODES[self.name]

    @property
    def constant(self) -> float:
        """The kernels' parameter of σ; unused where β is trained."""
        return 0.0 if self.parameter is None else self.parameter

    def second_moment(self) -> float:
        """E[σ(g)²] for a standard normal g (β = 1 where it is trained)."""
        if self.name == "tanh":
            return _gaussian_mean(lambda g: np.tanh(g) ** 2)
        if self.name == "swish":
            beta = 1.0 if self.parameter is None else self.parameter
            return _gaussian_mean(lambda g: (0.5 * g * (1 + np.tanh(0.5 * beta * g))) ** 2)
        p = self.degree or 1.0
        moment = 2**p * math.gamma(p + 0.5) / math.sqrt(math.pi)  # E[|g|^{2p}]
        if self.name in ("relu", "repu"):
            return moment / 2
        if self.name == "leaky_relu":
            return (1 + self.constant**2) / 2
        return self.constant**2 if self.name == "linear" else moment

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}({self.parameter:g})"


def _gaussian_mean(f: Callable[[Float64Array], Float64Array]) -> float:
    """E[f(g)] for a standard normal g by the trapezoidal rule: exact to round-off for f analytic within 0.01 of the axis."""
    nodes, step = np.linspace(-14, 14, 2**14 + 1, retstep=True)
    return float(np.sum(f(nodes) * np.exp(-0.5 * nodes**2)) * step / math.sqrt(2 * math.pi))


_CODES = {
    "linear": layout.LINEAR,
    "relu": layout.RELU,
    "leaky_relu": layout.LEAKY_RELU,
    "polynomial": layout.POLYNOMIAL,
    "repu": layout.REPU,
    "swish": layout.SWISH,
    "tanh": layout.TANH,
}
_EXAMPLES = (
    "linear",
    "linear(0.7)",
    "relu",
    "leaky_relu(0.1)",
    "polynomial(2)",
    "repu(3)",
    "swish",
    "swish(1.0)",
    "tanh",
)


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
    if match is None or match[1] not in _CODES:
        meant = match[1] if match else getattr(text, "__name__", None)  # a function, such as numpy.tanh
        hint = checks.suggestion(meant, _CODES) if isinstance(meant, str) else ""
        raise ValueError(
            f"activation={checks.describe(text)} is not known{hint}; expected one of {', '.join(map(repr, _EXAMPLES))}"
        )
    name, inside = match[1], match[2]
    if inside is None:
        if name in ("leaky_relu", "polynomial", "repu"):
            raise ValueError(f"activation={text!r} needs its parameter, for example {_example(name)!r}")
        return Activation(name, 1.0 if name == "linear" else None)
    if name in ("relu", "tanh"):
        raise ValueError(f"activation={text!r} takes no parameter; expected {name!r}")
    return Activation(name, _parameter(name, inside, text))


def _parameter(name: str, inside: str, text: str) -> float:
    try:
        value = float(inside)
    except ValueError:
        raise ValueError(
            f"activation={text!r}: {inside!r} is not a number; expected for example {_example(name)!r}"
        ) from None
    label = f"the parameter of activation {text!r}"
    if name == "leaky_relu":
        value = checks.real(value, label, minimum=0.0, strict=True)
        if value >= 1:
            raise ValueError(f"activation={text!r}: the slope must lie in 0 < a < 1")
        return value
    if name in ("polynomial", "repu"):
        value = checks.real(value, label, minimum=1.0)
        if name == "polynomial" and value != int(value):
            raise ValueError(
                f"activation={text!r}: z^p needs an integer p, as z may be negative; repu({inside}) takes any p >= 1"
            )
        return value
    return checks.real(value, label)


def _example(name: str) -> str:
    return next(e for e in _EXAMPLES if e.startswith(name + "("))
