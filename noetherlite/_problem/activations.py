"""An activation σ of a network: how it is written, and what follows from its entry in the catalogue (theory: GU §4, Tables 2 and 3)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from . import custom
from .catalogue import CATALOGUE, EXAMPLES, SYNONYMS
from .kind import Kind, Pieces


@dataclass(frozen=True)
class Activation:
    """An activation σ of a hidden layer.

    Attributes
    ----------
    name : str
        "linear", "relu", "tanh", …: a name of the catalogue.
    parameter : float or None
        c of linear(c), a of leaky_relu(a), p of polynomial(p) and repu(p), α of elu(α) and celu(α), β of swish(β); None where there is none,
        in particular for "swish", whose β is trained, one per neuron.

    Raises
    ------
    ValueError, TypeError
        If the name is not known, or the parameter is missing or out of range.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.Activation("leaky_relu", 0.1).degree
    1.0
    """

    name: str
    parameter: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in custom.CUSTOM:
            checks.one_of(self.name, "name", CATALOGUE)
        kind, value = self.kind, self.parameter
        if value is None:
            if kind.required:
                raise ValueError(f"parameter=None: {self.name} needs one, for example {kind.example!r}")
            object.__setattr__(self, "parameter", kind.default)
            return
        if kind.parameter is None:
            raise ValueError(f"parameter={checks.describe(value)}: {self.name} takes none")
        value = checks.real(value, "parameter")
        object.__setattr__(self, "parameter", kind.parameter(value, f"{value:g}", f"{self.name}({value:g})"))

    @classmethod
    def custom(cls, f: Callable[[float], float], df: Callable[[float], float]) -> Activation:
        """Return a user-defined activation.

        Parameters
        ----------
        f, df : callable
            σ(z) and σ′(z) of one number, which numba can compile: `math`, NumPy's functions of numbers, conditions. They are
            compiled into the same loops as the others, and kept on disk by their content.

        Returns
        -------
        Activation
            For `Network(widths, activation=...)`. Its name contains that of f and a digest of everything that f and df refer to, so
            that a checkpoint continues with the same functions only. It is taken to be smooth, and to have no scaling symmetry.

        Raises
        ------
        ValueError
            If df is not the derivative of f (measured by differences at 32 points), f is not finite there, or f(nan) is not nan.
        TypeError
            If f or df is not a function, numba cannot compile it, or it refers to an object whose content cannot be hashed.

        Examples
        --------
        >>> import math, noetherlite as nl
        >>> def mexican_hat(z):
        ...     return (1 - z * z) * math.exp(-z * z / 2)
        >>> def slope(z):
        ...     return z * (z * z - 3) * math.exp(-z * z / 2)
        >>> net = nl.Network([2, 3, 2], nl.Activation.custom(mexican_hat, slope))
        >>> str(net.activations[0]).rpartition(":")[0]
        'custom:mexican_hat'
        """
        return cls(custom.register(f, df))

    @property
    def kind(self) -> Kind:
        """Its row of the catalogue."""
        return CATALOGUE.get(self.name) or custom.CUSTOM[self.name]

    @property
    def pieces(self) -> Pieces | None:
        """σ on both sides of 0, if it is a power there."""
        pieces = self.kind.pieces
        return None if pieces is None else pieces(self.constant)

    @property
    def degree(self) -> float | None:
        """The degree p of σ(λz) = λ^p σ(z) for λ > 0 (for swish with β ↦ β/λ); None without scaling symmetry."""
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
        """Whether σ is the same power of z on both sides of 0, with different factors."""
        pieces = self.pieces
        return pieces is not None and pieces.low != pieces.high

    @property
    def is_kinked(self) -> bool:
        """Whether σ′ jumps at 0."""
        return self.is_piecewise and self.degree == 1

    @property
    def has_other_kinks(self) -> bool:
        """Whether σ′ jumps somewhere, for a σ that is not a power of z on either side of 0."""
        return self.kind.kinked is not None and self.kind.kinked(self.constant)

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
        mirrored = pieces.low * (-1) ** int(pieces.degree) if pieces.degree % 1 == 0 else math.nan
        return int(mirrored == pieces.high) - int(mirrored == -pieces.high)

    @property
    def has_limit(self) -> bool:
        """Whether the kernel at infinite width is known."""
        known = self.kind.mean_rule or self.kind.expectations is not None or self.pieces is not None
        return bool(known) and not self.trainable

    @property
    def trainable(self) -> bool:
        """Whether the layer has a trainable β per neuron."""
        return self.kind.d_parameter is not None and self.parameter is None

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
        c = 1.0 if self.parameter is None else self.parameter
        mean = _gaussian_mean if self.kind.analytic else _gaussian_mean_by_pieces
        return mean(lambda g: self.kind.sigma_array(c, g) ** 2)

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}({self.parameter:g})"


def _gaussian_mean(f: Callable[[Float64Array], Float64Array]) -> float:
    """E[f(g)] for a standard normal g by the trapezoidal rule: exact to round-off for f analytic within 0.01 of the axis."""
    nodes, step = np.linspace(-14, 14, 2**14 + 1, retstep=True)
    return float(np.sum(f(nodes) * np.exp(-0.5 * nodes**2)) * step / math.sqrt(2 * math.pi))


def _gaussian_mean_by_pieces(f: Callable[[Float64Array], Float64Array]) -> float:
    """E[f(g)] by Gauss and Legendre's rule between integers, where f may have kinks."""
    points, weights = np.polynomial.legendre.leggauss(32)
    nodes = np.arange(-14, 14)[:, None] + 0.5 * (1 + points)
    return float(np.sum(0.5 * weights * f(nodes) * np.exp(-0.5 * nodes**2)) / math.sqrt(2 * math.pi))


def such_as(fits: Callable[[Activation], bool]) -> str:
    """Return the examples that fit, as messages have them."""
    return ", ".join(repr(example) for example in EXAMPLES if fits(parse(example)))


def parse(text: str | Activation) -> Activation:
    """Return the activation written as `text`, for example "leaky_relu(0.1)".

    ValueError if the name is unknown (the message lists the known ones) or the parameter is missing or out of range: 0
    < a < 1 for leaky_relu, an integer p ≥ 1 for polynomial, p ≥ 1 for repu.
    """
    if isinstance(text, Activation):
        return text
    match = re.fullmatch(r"\s*([a-z_]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text) if isinstance(text, str) else None
    if isinstance(text, str) and text.startswith(custom.PREFIX):
        if text not in custom.CUSTOM:
            raise ValueError(
                f"activation={text!r} is a user-defined function, of which only a digest is known; expected "
                "nl.Activation.custom to have been called with the same functions before"
            )
        return Activation(text)
    if match is not None and match[2] is None and match[1] in SYNONYMS:
        return parse(SYNONYMS[match[1]])
    if match is None or match[1] not in CATALOGUE:
        meant = match[1] if match else getattr(text, "__name__", text)  # a function, such as numpy.tanh
        hint = checks.suggestion(meant, [*CATALOGUE, *SYNONYMS]) if isinstance(meant, str) else ""
        known = [example for kind in CATALOGUE.values() for example in kind.examples[: 1 if kind.default else None]]
        raise ValueError(
            f"activation={checks.describe(text)} is not known{hint}; expected one of {', '.join(map(repr, known))}"
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
