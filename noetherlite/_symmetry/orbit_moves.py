"""Group elements that bring one hidden layer to given charges: scalings of its neurons, or a matrix for a linear layer (theory §11)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array
from .._problem.balance import scaling_to
from .._problem.network import Network
from .hidden import Hidden
from .linear_layer import LinearLayer
from .scaling import NeuronScaling


class OrbitMove(ABC):
    """A group element of one layer, improved until the layer has its target charge."""

    layer: Hidden

    @abstractmethod
    def check_reachable(self, x: Float64Array) -> None:
        """Raise ValueError if the orbit of x does not contain the target."""

    @abstractmethod
    def miss(self, x: Float64Array) -> Float64Array:
        """Return |Q − target| in units of the squares that Q is made of, per neuron."""

    @abstractmethod
    def improve(self, x: Float64Array) -> Float64Array:
        """Multiply by the group element that brings x to the target, and return x moved by it."""

    @abstractmethod
    def apply(self, x: Float64Array) -> Float64Array:
        """Return x moved by the group element."""

    @property
    @abstractmethod
    def exponent(self) -> float:
        """Largest |log| of a factor by which activations or weights are multiplied."""

    @property
    @abstractmethod
    def rounding(self) -> float:
        """Relative error of the charges after the move, in units of `ROUND_OFF`."""


class NeuronMove(OrbitMove):
    """Scalings of the neurons of a layer.

    Parameters
    ----------
    layer : NeuronScaling
        The layer's symmetry.
    target : array_like
        Q of each neuron, a number or shape (n_h,).
    """

    layer: NeuronScaling

    def __init__(self, layer: NeuronScaling, target: ArrayLike) -> None:
        values = checks.array(target, f"targets[{layer.name!r}]", ndim=(0, 1))
        if values.ndim == 1 and values.shape != layer.shape:
            raise ValueError(
                f"targets[{layer.name!r}] must be a number or have shape {layer.shape}, got {values.shape}"
            )
        self.layer, self.target = layer, np.broadcast_to(values, layer.shape).astype(np.float64)
        self.strength = np.zeros(layer.shape)

    def check_reachable(self, x: Float64Array) -> None:
        """Raise if a neuron has no incoming or no outgoing parameters and a target of the sign that these would give."""
        target, (incoming, outgoing, beta) = self.target, self.layer.squares(x)
        no_plus, no_minus = incoming == 0, outgoing + beta == 0
        unreachable = (no_plus & (target > 0)) | (no_minus & (target < 0)) | ((no_plus != no_minus) & (target == 0))
        if unreachable.any():
            i = int(np.argmax(unreachable))
            zero = [text for text, is_zero in (("incoming", no_plus[i]), ("outgoing", no_minus[i])) if is_zero]
            sign = "zero" if len(zero) == 2 else "negative" if no_plus[i] else "positive"
            raise ValueError(
                f"targets[{self.layer.name!r}]: neuron {i} cannot reach {target[i]:g}: its {' and '.join(zero)} parameters are all "
                f"zero, so its charge stays {sign} under every scaling"
            )

    def miss(self, x: Float64Array) -> Float64Array:
        incoming, outgoing, beta = self.layer.squares(x)
        size = 0.5 * (incoming + self.layer.degree * outgoing + beta)
        return np.abs(self.layer.quantity(x) - self.target) / np.where(size > 0, size, 1.0)

    def improve(self, x: Float64Array) -> Float64Array:
        """Scale every neuron to its target."""
        step = scaling_to(*self.layer.squares(x), self.layer.degree, self.target)
        if not np.isfinite(step).all():
            i = int(np.argmin(np.isfinite(step)))
            raise ValueError(
                f"targets[{self.layer.name!r}]: squares of the incoming and outgoing weights of neuron {i}, or its target, differ beyond "
                "the range of a double"
            )
        self.strength += step
        return self.layer.apply(x, step)

    def apply(self, x: Float64Array) -> Float64Array:
        """Return x with all neurons scaled."""
        return self.layer.apply(x, self.strength)

    @property
    def exponent(self) -> float:
        """The largest p|log λ|."""
        return float(self.layer.degree * np.abs(self.strength).max())

    @property
    def rounding(self) -> float:
        """1 + p|log λ|: a relative rounding ε of s = log λ is one of |s|ε in λ, and of p|s|ε in λ^{−p}."""
        return 1 + self.exponent


class LayerMove(OrbitMove):
    """A matrix A of a linear layer, (W_h, b_h, W_{h+1}) ↦ (AW_h, Ab_h, W_{h+1}A⁻¹), that makes Q = cI.

    With P = W_hW_hᵀ + b_hb_hᵀ and R = W_{h+1}ᵀW_{h+1}, M = AᵀA solves MPM − 2cM − R = 0. For c = 0 it is the geometric mean
    M = P⁻¹ # R of matrices.

    Parameters
    ----------
    layer : LinearLayer
        The layer's symmetry.
    target : float
        c.
    """

    layer: LinearLayer

    def __init__(self, layer: LinearLayer, target: ArrayLike) -> None:
        self.layer, self.target = layer, checks.real(target, f"targets[{layer.name!r}]")
        self.A = self.inverse = np.eye(layer.shape[0])

    def check_reachable(self, x: Float64Array) -> None:
        """Raise if the incoming or the outgoing weights have not the rank that the target needs."""
        n, h = self.layer.shape[0], self.layer.h
        names = f"W{h} and b{h}" if self.layer.network.bias else f"weights W{h}", f"weights W{h + 1}"
        for matrix, needed, name in zip(self.layer.grams(x), (self.target >= 0, self.target <= 0), names, strict=True):
            rank = int(np.linalg.matrix_rank(matrix, hermitian=True))
            if needed and rank < n:
                raise ValueError(
                    f"targets[{self.layer.name!r}]: the layer cannot reach {self.target:g} times the identity: "
                    f"{name} have rank {rank}, fewer than its {n} neurons"
                )

    def miss(self, x: Float64Array) -> Float64Array:
        """Return the largest |Q − cI| of each row, in units of the mean square that Q is made of."""
        P, R = self.layer.grams(x)
        size = 0.5 * float(np.trace(P) + np.trace(R)) / len(P)
        return np.asarray(np.abs(0.5 * (P - R) - self.target * np.eye(len(P))).max(axis=1) / size)

    def improve(self, x: Float64Array) -> Float64Array:
        """Multiply by A = M^½."""
        P, R = self.layer.grams(x)
        # K = M⁻¹ solves KRK + 2cK − P = 0, the same equation for −c
        M = riccati(P, R, self.target) if self.target >= 0 else riccati(R, P, -self.target)
        step, step_inverse = _half_powers(M) if self.target >= 0 else _half_powers(M)[::-1]
        self.A, self.inverse = step @ self.A, self.inverse @ step_inverse
        return self.layer.transformed(x, step, step_inverse)

    def apply(self, x: Float64Array) -> Float64Array:
        """Return x with the layer transformed by A."""
        return self.layer.transformed(x, self.A, self.inverse)

    @property
    def exponent(self) -> float:
        """The largest |log| of a singular value of A."""
        return float(np.abs(np.log(np.linalg.svd(self.A, compute_uv=False))).max())

    @property
    def rounding(self) -> float:
        """The condition number of A times the number of neurons."""
        return float(len(self.A) * np.linalg.cond(self.A))


def _half_powers(M: Array) -> tuple[Float64Array, Float64Array]:
    """Return M^½ and M^{−½} of M > 0."""
    values, vectors = np.linalg.eigh(M)
    return (vectors * values**0.5) @ vectors.T, (vectors * values**-0.5) @ vectors.T


def riccati(P: Array, R: Array, c: float) -> Float64Array:
    """Return the positive M with MPM − 2cM − R = 0 for P > 0, R ≥ 0, c ≥ 0: P^{−½}(c + (c² + P^½RP^½)^½)P^{−½}.

    Powers of two are taken out, 4^i of P and 2^k of M, hence 4^i 2^k of c and 4^{i + k} of R: squares of c and products of P and R
    need be no doubles.
    """
    i, j = (int(np.frexp(np.abs(a).max())[1]) // 2 for a in (P, R))
    k = max(j - i, math.frexp(c)[1] - 2 * i) if c else j - i
    P, R, c = np.ldexp(P, -2 * i), np.ldexp(R, -2 * (i + k)), math.ldexp(c, -2 * i - k)
    root, inverse = _half_powers(P)
    squares, modes = np.linalg.eigh(root @ R @ root)
    middle = (modes * (c + np.sqrt(c**2 + np.maximum(squares, 0.0)))) @ modes.T
    M = inverse @ middle @ inverse
    return np.asarray(np.ldexp(0.5 * (M + M.T), k))


def movable(network: Network) -> list[NeuronScaling | LinearLayer]:
    """Return the symmetries of the hidden layers along which parameters move: GL of linear ones, scalings of homogeneous ones."""
    out: list[NeuronScaling | LinearLayer] = []
    for h in range(1, network.n_layers):
        both = LinearLayer(network, h), NeuronScaling(network, h)
        out += [layer for layer in both if not layer.objection][:1]
    return out


def moves(network: Network, targets: dict[str, ArrayLike]) -> list[OrbitMove]:
    """Return the move of every layer that `targets` names, in the order of the layers."""
    symmetries: dict[str, NeuronScaling | LinearLayer] = {}
    for h in range(1, network.n_layers):
        symmetries |= {s.name: s for s in (NeuronScaling(network, h), LinearLayer(network, h))}
    holding = [name for name, s in symmetries.items() if not s.objection]
    out: dict[int, OrbitMove] = {}
    for name, target in targets.items():
        if name in symmetries and symmetries[name].objection:
            raise ValueError(f"targets: {name!r} is not a symmetry of {network!r}: {symmetries[name].objection}")
        if not holding:
            raise ValueError(f"targets={name!r} is not known; {network!r} has no scalings and no linear layers")
        layer = symmetries[checks.one_of(name, "targets", holding)]
        if layer.h in out:
            raise ValueError(f"targets name layer {layer.h} twice: {out[layer.h].layer.name!r} and {name!r}")
        out[layer.h] = NeuronMove(layer, target) if isinstance(layer, NeuronScaling) else LayerMove(layer, target)
    return [out[h] for h in sorted(out)]
