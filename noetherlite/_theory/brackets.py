"""Lie brackets of the vector fields of a network's flows at one point, modulo the prime 2⁶¹ − 1.

A flow on one sample follows the gradient of φ = ⟨c, f(θ; x)⟩, with c the derivative of the loss. The fields ∇φ over all x,
c and activation patterns span, at every θ, the fields of all data sets and losses. All are polynomials in θ, so that their
brackets can be evaluated without rounding: derivatives are taken by jets, and nothing is divided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._arch import numbers
from .._base.types import Float64Array
from .._kernels import modular, reference
from .._kernels.modular import PRIME
from .._problem.activations import Activation, such_as
from .._problem.network import Network

Residues = NDArray[np.uint64]
F = TypeVar("F")


class Bracketed(Protocol):
    """A set of fields of which random brackets can be drawn."""

    size: int
    patience: int

    def brackets(self, rng: np.random.Generator, point: Residues, depth: int) -> Iterator[Residues]:
        """Yield brackets of `depth` random fields at a point of shape (size,), without end."""

    def motions(self, rng: np.random.Generator) -> Iterator[tuple[Residues, Residues]]:
        """Yield random points and a field at each, both of shape (n, size), without end."""


class Samples(NamedTuple):
    """Inputs and their activation patterns."""

    inputs: Residues  # x, shape (S, n_0)
    gates: Residues  # factor of σ for each hidden neuron, shape (S, n_1 + … + n_{L−1})


class Field(NamedTuple):
    """A vector field: Σ ∇φ over samples, plus, for momentum, `drift` times the free motion."""

    samples: Samples
    outputs: Residues  # c, shape (S, n_L)
    drift: np.uint64


class Fields:
    """The fields of a network's flow.

    The field of gradient flow is ∇φ on θ. With momentum the state is (θ, p) with p = μẋ: ∇φ acts on p, and p on θ, up to
    factors that depend on time alone, which do not change the span.

    On one side of zero σ(z) = gate·z^degree, with gate 0 or 1 (or the slope of a leaky ReLU) by the sample's activation
    pattern. φ is affine in each gate, so that φ at any gates is a combination of φ at patterns, and gates may be drawn from
    the whole field F_p: one random sample represents all inputs with all patterns. If `samples` are given, a field is a
    random combination of their fields.
    """

    patience = 1  # random brackets in the span that show that all of their depth are

    def __init__(self, network: Network, momentum: bool, samples: Samples | None = None) -> None:
        self.samples = samples
        self.n_params, self.momentum = network.n_params, momentum
        self.size = network.n_params * (2 if momentum else 1)
        self.widths = np.array(network.widths, np.int64)
        self.offsets = network.problem(np.empty((0, network.widths[0])), None, "float64").offsets
        self.degrees = np.array([int(a.degree or 1) for a in network.activations], dtype=np.int64)
        hidden = network.widths[1:-1]
        self.piecewise = np.repeat([a.is_piecewise for a in network.activations], hidden).astype(bool)
        self.gates = np.repeat(np.array([_gate(a)[0] for a in network.activations], np.uint64), hidden)

    def random(self, rng: np.random.Generator, drift: bool) -> Field:
        """Draw a field; with `drift`, and momentum, it includes the free motion."""
        samples = self.samples
        if samples is None:
            inputs, drawn = residues(rng, self.widths[0]), residues(rng, self.gates.size)
            samples = Samples(inputs[None], np.where(self.piecewise, drawn, self.gates)[None])
        outputs = residues(rng, len(samples.inputs) * self.widths[-1]).reshape(-1, self.widths[-1])
        return Field(samples, outputs, residues(rng, 1)[0] if drift and self.momentum else np.uint64(0))

    def at(self, field: Field, point: Residues) -> Residues:
        """Return the field at jets of shape (size, 2ᵏ), in that shape."""
        value = np.zeros_like(point)
        theta, force = point[: self.n_params], value[-self.n_params :]
        for x, gates, c in zip(*field.samples, field.outputs, strict=True):
            modular.add_gradient(self.widths, self.offsets, self.degrees, gates, x, c, theta, force)
        if self.momentum:
            modular.scale(field.drift, point[self.n_params :], value[: self.n_params])
        return value

    def brackets(self, rng: np.random.Generator, point: Residues, depth: int) -> Iterator[Residues]:
        """Yield brackets of `depth` random fields at a point of shape (size,), without end."""
        while True:
            chain = [self.random(rng, drift=k > 0) for k in range(depth)]
            yield bracket(self.at, chain, point[:, None])[:, 0]

    def motions(self, rng: np.random.Generator) -> Iterator[tuple[Residues, Residues]]:
        """Yield random points and a field at each, both of shape (n, size), without end."""
        while True:
            point = residues(rng, self.size)
            yield point[None], self.at(self.random(rng, drift=True), point[:, None])[None, :, 0]


def bracket(at: Callable[[F, Residues], Residues], fields: Sequence[F], point: Residues) -> Residues:
    """Return [Y_d, [… [Y_2, Y_1]]] at jets of shape (…, 2ᵏ), for `fields` (Y_1, …, Y_d), in that shape.

    With [Y, B] = B′Y − Y′B both derivatives are the ε-parts of B(x + εY(x)) and Y(x + εB(x)).
    """
    outer, inner = fields[-1], fields[:-1]
    value = at(outer, point)
    if not inner:
        return value
    width = point.shape[-1]
    moved = bracket(at, inner, np.concatenate([point, value], axis=-1))
    brackets, first = moved[..., :width], moved[..., width:]
    second = at(outer, np.concatenate([point, brackets], axis=-1))[..., width:]
    return np.where(first >= second, first - second, first + (np.uint64(PRIME) - second))


def _gate(activation: Activation) -> tuple[np.uint64, np.uint64]:
    """Return the factor of z^degree for z > 0 and for z < 0."""
    assert activation.pieces is not None
    return residue(activation.pieces.high), residue(activation.pieces.low)


def check_activations(net: Network) -> None:
    """Raise if f is not a polynomial in θ on every activation pattern, or not affine in the gates."""
    piecewise = ""
    for h, activation in enumerate(net.activations, start=1):
        if not activation.is_polynomial:
            raise ValueError(
                f"net: activation {str(activation)!r} of layer {h} is not piecewise polynomial; expected "
                f"{such_as(lambda a: a.is_polynomial)} or another integer power"
            )
        if piecewise and activation.degree != 1:
            raise ValueError(
                f"net: activation {str(activation)!r} of layer {h} comes after {piecewise}; expected no degree above 1 "
                "after a piecewise activation"
            )
        if activation.is_piecewise:
            piecewise = f"{str(activation)!r} of layer {h}"


def samples_at(network: Network, theta: Float64Array, X: Float64Array) -> Samples:
    """Return the inputs X and their activation patterns at θ, which are constant in a neighbourhood of θ.

    ValueError if a pre-activation is zero up to round-off, but not identically zero near θ.
    """
    problem = network.problem(X, None, "float64")
    a, gates = X, []
    for h, (W, b, _) in enumerate(reference.layers(problem, theta)[:-1], start=1):
        bias = 0.0 if b is None else b
        with np.errstate(over="ignore", invalid="ignore"):
            z, reach = a @ W.T + bias, np.abs(a) @ np.abs(W).T + np.abs(bias)
        if not np.isfinite(reach).all():
            raise ValueError(f"theta and X have pre-activations beyond the range of a double in layer {h}; scale them")
        on, off = _gate(network.activations[h - 1])
        if on != off:
            moves = np.any(a, axis=1)[:, None] | (b is not None)  # a bias moves z even where no signal does
            on_kink = moves & (np.abs(z) <= W.shape[1] * h * float(np.finfo(np.float64).eps) * reach)
            if on_kink.any():
                n, i = np.argwhere(on_kink)[0]
                raise ValueError(
                    f"theta lies on a kink: sample {n} has pre-activation {z[n, i]:.2g} in neuron {i} of layer {h}; expected "
                    "parameters near which the activation patterns do not change"
                )
        gates.append(np.where(z > 0, on, off))
        a = reference.sigma(problem.activation[h - 1], problem.parameter[h - 1], z)
    inputs = np.array([[residue(value) for value in row] for row in X], np.uint64)
    return Samples(inputs, np.concatenate([np.empty((len(X), 0), np.uint64), *gates], axis=1))


class Span:
    """A growing subspace of F_pⁿ, stored in echelon form."""

    def __init__(self, size: int) -> None:
        self._rows = np.zeros((size, size), np.uint64)
        self._pivots = np.zeros(size, np.int64)
        self.dimension = 0

    def add(self, vector: Residues) -> bool:
        """Add a vector and return whether it was not in the span before."""
        is_new = self.dimension < len(self._rows) and modular.insert(
            self._rows, self._pivots, self.dimension, np.array(vector, np.uint64)
        )
        self.dimension += bool(is_new)
        return bool(is_new)

    def orthogonal(self) -> Residues:
        """Return a basis of the vectors orthogonal to the span: one for each coordinate that is not a pivot, and 1 there."""
        free = np.setdiff1d(np.arange(len(self._rows)), self._pivots[: self.dimension])
        basis = np.empty((free.size, len(self._rows)), np.uint64)
        modular.null_space(self._rows, self._pivots, self.dimension, free, basis)
        return basis

    def extend(self, vectors: Iterator[Residues], largest: int, patience: int) -> None:
        """Add vectors up to `largest` dimensions, or until `patience` of them in a row were in the span."""
        misses = 0
        while self.dimension < largest and misses < patience:
            misses = 0 if self.add(next(vectors)) else misses + 1


def residues(rng: np.random.Generator, n: int) -> Residues:
    """Draw n elements of the field."""
    return rng.integers(0, PRIME, n, dtype=np.uint64)


def residue(value: float) -> np.uint64:
    """Return the residue of a float, exactly: a float is a fraction."""
    return np.uint64(numbers.residue(Fraction(value)))
