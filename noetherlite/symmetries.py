"""Symmetries of a potential: affine fields g(x) = Gx + ξ with ⟨g(x), ∇U(x)⟩ = 0 for all x (GU (16)).

A family of generators shares one object: n_h scalings, n_h × n_h matrices, one field per output column. Component c has
the generator g_c(x) = G_c x + ξ_c, and everything follows from the forms B_c(a, b) = ⟨G_c a, b⟩ and T_c(b) = ⟨ξ_c, b⟩:

    quantity Q = ½B(x, x) + T(x) (G symmetric),   charge J = B(x, v) + T(v),   source S = B(v, v).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from . import _validate
from ._kernels import layout
from ._types import Array, ArrayLike, Float64Array
from .network import Block, Network
from .potentials import NetworkPotential, Potential


def expm(A: Float64Array) -> Float64Array:
    """exp(A); SciPy is imported when it is first needed, to keep the import of the package light."""
    from scipy.linalg import expm as scipy_expm

    return np.asarray(scipy_expm(A))


class Row(NamedTuple):
    """A family as the kernels know it: a line of `layout.Laws`."""

    kind: int
    where: tuple[int, ...]
    degree: float = 0.0


class Family(ABC):
    """A family of affine symmetries; x, v, a, b have shape (..., P), results (..., *shape).

    Attributes
    ----------
    name : str
        "scaling:1", "linear:2", "rotation", "translation:b", …; the key in `Trajectory.laws`.
    shape : tuple of int
        Shape of the family's components, for example (n_h,).
    symmetric : bool
        Whether the G_c are symmetric, so that a quantity Q with Q̇ = J exists.
    n_params : int
        P.
    """

    name: str
    shape: tuple[int, ...]
    symmetric: bool
    n_params: int

    @property
    def n_generators(self) -> int:
        """Number of components."""
        return int(np.prod(self.shape))

    @abstractmethod
    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return B(a, b) = ⟨Ga, b⟩."""

    def translation(self, b: Array) -> Float64Array:
        """Return T(b) = ⟨ξ, b⟩."""
        return np.zeros((*np.shape(b)[:-1], *self.shape))

    @abstractmethod
    def generator(self, x: ArrayLike) -> Float64Array:
        """Return the fields g_c(x), shape (n_generators, P), for x of shape (P,)."""

    @abstractmethod
    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x moved by the finite group element exp(Σ_c strength_c g_c); strength has shape `shape` or is a number."""

    @abstractmethod
    def row(self) -> Row:
        """Return the kernels' description."""

    def quantity(self, x: ArrayLike) -> Float64Array:
        """Return Q(x) = ½⟨x, Gx⟩ + ⟨ξ, x⟩; NaN where G is not symmetric."""
        x = self._vectors(x, "x")
        if not self.symmetric:
            return np.full((*x.shape[:-1], *self.shape), np.nan)
        return 0.5 * self.pair(x, x) + self.translation(x)

    def charge(self, x: ArrayLike, v: ArrayLike) -> Float64Array:
        """Return J = ⟨g(x), v⟩."""
        x, v = self._vectors(x, "x"), self._vectors(v, "v")
        return self.pair(x, v) + self.translation(v)

    def source(self, v: ArrayLike) -> Float64Array:
        """Return S = ⟨Gv, v⟩."""
        v = self._vectors(v, "v")
        return self.pair(v, v)

    def _vectors(self, x: ArrayLike, name: str) -> Array:
        out = np.asarray(x, dtype=np.float64)
        if out.ndim < 1 or out.shape[-1] != self.n_params:
            raise ValueError(f"{name} must have shape (..., {self.n_params}), got {out.shape}")
        return out

    def _point(self, x: ArrayLike) -> Array:
        return _validate.shaped(x, "x", (self.n_params,))

    def _strength(self, strength: ArrayLike) -> Float64Array:
        out = np.asarray(strength, dtype=np.float64)
        if out.shape not in ((), self.shape):
            raise ValueError(f"strength must be a number or have shape {self.shape}, got {out.shape}")
        return np.broadcast_to(out, self.shape)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.n_generators} generators>"


class _Hidden(Family):
    """What the two symmetries of a hidden layer h share: the blocks W_h, b_h, β_h, W_{h+1} in θ."""

    def __init__(self, network: Network, h: int) -> None:
        self.h = _validate.integer(h, "h", minimum=1, maximum=network.n_layers - 1)
        self.network, self.n_params = network, network.n_params
        self._W, self._U = _required(network, f"W{h}"), _required(network, f"W{h + 1}")
        self._b, self._beta = network.block(f"b{h}"), network.block(f"beta{h}")

    def _where(self) -> tuple[int, ...]:
        n, m = self._W.shape
        b, beta = (-1 if block is None else block.start for block in (self._b, self._beta))
        return (n, self._W.start, m, b, beta, self._U.start, self._U.shape[0])


class NeuronScaling(_Hidden):
    """Scaling of each neuron of hidden layer h, (w, b, u) ↦ (λw, λb, λ^{−p}u) [β ↦ β/λ] (GU §4, Tables 2 and 3).

    Q_i = ½(|w|² + b² − p|u|² [− β²]) with w the incoming row, b the bias, u the outgoing column of neuron i.

    Parameters
    ----------
    network : Network
        Its activation in layer h must be homogeneous of some degree p, or swish with trained β.
    h : int
        Hidden layer, 1 … L−1.

    Raises
    ------
    ValueError
        If the activation has no scaling symmetry.
    """

    symmetric = True

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        activation = network.activations[h - 1]
        if activation.degree is None:
            raise ValueError(f"scaling:{h} does not hold: activation {str(activation)!r} is not homogeneous")
        self.degree = activation.degree
        self.name, self.shape = f"scaling:{h}", (network.widths[h],)

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return ⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ [− β_a β_b] per neuron."""
        out = (_cut(a, self._W) * _cut(b, self._W)).sum(axis=-1)
        out = out - self.degree * (_cut(a, self._U) * _cut(b, self._U)).sum(axis=-2)
        if self._b is not None:
            out = out + _cut(a, self._b) * _cut(b, self._b)
        if self._beta is not None:
            out = out - _cut(a, self._beta) * _cut(b, self._beta)
        return np.asarray(out)

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return (w, b, −p u [, −β]) of each neuron, zero elsewhere, shape (n_h, P)."""
        x = self._point(x)
        out = np.zeros((self.n_generators, self.n_params))
        for i in range(self.n_generators):
            _cut(out[i], self._W)[i] = _cut(x, self._W)[i]
            _cut(out[i], self._U)[:, i] = -self.degree * _cut(x, self._U)[:, i]
            if self._b is not None:
                _cut(out[i], self._b)[i] = _cut(x, self._b)[i]
            if self._beta is not None:
                _cut(out[i], self._beta)[i] = -_cut(x, self._beta)[i]
        return out

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x with neuron i scaled by λ_i = exp(strength_i)."""
        out, factor = self._point(x).copy(), np.exp(self._strength(strength))
        _cut(out, self._W)[:] *= factor[:, None]
        _cut(out, self._U)[:] *= factor**-self.degree
        if self._b is not None:
            _cut(out, self._b)[:] *= factor
        if self._beta is not None:
            _cut(out, self._beta)[:] /= factor
        return out

    def row(self) -> Row:
        """Return the kernels' description."""
        return Row(layout.SCALING, self._where(), self.degree)


class LinearLayer(_Hidden):
    """GL(n_h) of a hidden layer with linear activation: (W_h, b_h, W_{h+1}) ↦ (AW_h, Ab_h, W_{h+1}A⁻¹) (GU §5, Table 4).

    Component (i, j) belongs to the matrix unit E_ij, so charges and sources are n_h × n_h matrices,
    J = ẆWᵀ + ḃbᵀ − UᵀU̇ with W = W_h and U = W_{h+1}.

    Parameters
    ----------
    network : Network
        Its activation in layer h must be linear(c).
    h : int
        Hidden layer, 1 … L−1.

    Raises
    ------
    ValueError
        If the activation is not linear.
    """

    symmetric = True  # Q is a symmetric matrix: for E_ij with i ≠ j it belongs to the symmetric part of the generator

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        activation = network.activations[h - 1]
        if activation.name != "linear":
            raise ValueError(f"linear:{h} does not hold: activation {str(activation)!r} is not linear")
        self.name, self.shape = f"linear:{h}", (network.widths[h],) * 2

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U."""
        out = _cut(b, self._W) @ _T(_cut(a, self._W)) - _T(_cut(a, self._U)) @ _cut(b, self._U)
        if self._b is not None:
            out = out + _cut(b, self._b)[..., :, None] * _cut(a, self._b)[..., None, :]
        return np.asarray(out)

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return (E_ij W, E_ij b, −U E_ij) in the order of the matrix entries, shape (n_h², P)."""
        x, n = self._point(x), self.shape[0]
        out = np.zeros((n, n, self.n_params))
        for i in range(n):
            for j in range(n):
                _cut(out[i, j], self._W)[i] = _cut(x, self._W)[j]
                _cut(out[i, j], self._U)[:, j] = -_cut(x, self._U)[:, i]
                if self._b is not None:
                    _cut(out[i, j], self._b)[i] = _cut(x, self._b)[j]
        return out.reshape(n * n, self.n_params)

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x with the layer transformed by A = exp(strength), strength an n_h × n_h matrix."""
        x, exponent = self._point(x), self._strength(strength)
        A, inverse = expm(exponent), expm(-exponent)
        out = x.copy()
        _cut(out, self._W)[:] = A @ _cut(x, self._W)
        _cut(out, self._U)[:] = _cut(x, self._U) @ inverse
        if self._b is not None:
            _cut(out, self._b)[:] = A @ _cut(x, self._b)
        return out

    def row(self) -> Row:
        """Return the kernels' description."""
        return Row(layout.LINEAR_LAYER, self._where())


class DataRotation(Family):
    """Rotations of the input, W_1 ↦ W_1 R, R ∈ SO(n_0), where the data are invariant (GU §6, Table 5).

    J = W_1ᵀẆ_1 − Ẇ_1ᵀW_1, a skew n_0 × n_0 matrix; component (i, j) belongs to A = E_ij − E_ji. The source is zero.

    Parameters
    ----------
    network : Network
        A network of any depth. Whether its data are invariant is for the caller to know: see `find`.
    """

    symmetric = False

    def __init__(self, network: Network) -> None:
        self.network, self.n_params = network, network.n_params
        self._W = _required(network, "W1")
        self.name, self.shape = "rotation", (network.widths[0],) * 2

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return a_Wᵀ b_W − b_Wᵀ a_W."""
        product = _T(_cut(a, self._W)) @ _cut(b, self._W)
        return np.asarray(product - _T(product))

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return W_1 (E_ij − E_ji) in the order of the matrix entries, shape (n_0², P)."""
        x, n = self._point(x), self.shape[0]
        out = np.zeros((n, n, self.n_params))
        for i in range(n):
            for j in range(n):
                _cut(out[i, j], self._W)[:, j] += _cut(x, self._W)[:, i]
                _cut(out[i, j], self._W)[:, i] -= _cut(x, self._W)[:, j]
        return out.reshape(n * n, self.n_params)

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x with W_1 ↦ W_1 exp(strength − strengthᵀ), strength an n_0 × n_0 matrix."""
        out, exponent = self._point(x).copy(), self._strength(strength)
        _cut(out, self._W)[:] = _cut(out, self._W) @ expm(exponent - exponent.T)
        return out

    def row(self) -> Row:
        """Return the kernels' description."""
        m, n = self._W.shape
        return Row(layout.ROTATION, (n, self._W.start, m, -1, -1, -1, 0))


class OutputTranslation(Family):
    """One constant added to all logits leaves softmax unchanged: ξ = all of b_L, or column j of W_L (theory §4.4).

    Parameters
    ----------
    network : Network
        Its loss must be "nll".
    block : {"b", "W"}
        Which parameters move: the last bias, or each column of the last weight matrix.

    Raises
    ------
    ValueError
        If the loss is not "nll", or the network has no bias.
    """

    symmetric = True  # G = 0

    def __init__(self, network: Network, block: str) -> None:
        block = _validate.one_of(block, "block", ("b", "W"))
        if network.loss != "nll":
            raise ValueError(f"translation:{block} does not hold: it needs loss='nll', got {network.loss!r}")
        if block == "b" and not network.bias:
            raise ValueError("translation:b does not hold: the network has no bias")
        self.network, self.n_params = network, network.n_params
        self._block = _required(network, f"{block}{network.n_layers}")
        self.name = f"translation:{block}"
        self.shape = (1,) if block == "b" else (self._block.shape[1],)

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return 0: G = 0."""
        return np.zeros((*np.shape(a)[:-1], *self.shape))

    def translation(self, b: Array) -> Float64Array:
        """Return Σ_i b_L[i], or the column sums of W_L."""
        return np.asarray(_cut(b, self._block).sum(axis=-len(self._block.shape))).reshape(
            *np.shape(b)[:-1], *self.shape
        )

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return ξ of each component, shape (n_generators, P), whatever x is."""
        self._point(x)
        out = np.zeros((self.n_generators, self.n_params))
        columns = np.eye(self.n_generators)
        for j in range(self.n_generators):
            _cut(out[j], self._block)[:] = columns[j]
        return out

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x + Σ_c strength_c ξ_c."""
        out = self._point(x).copy()
        _cut(out, self._block)[:] += self._strength(strength)
        return out

    def row(self) -> Row:
        """Return the kernels' description."""
        return Row(layout.TRANSLATION, (self.n_generators, self._block.start, self._block.shape[0], -1, -1, -1, 0))


class Symmetry(Family):
    """A symmetry given by the user: g(x) = Gx + ξ on any potential.

    Parameters
    ----------
    G : array_like, shape (P, P)
        Linear part.
    xi : array_like, shape (P,), optional
        Constant part, zero by default.
    name : str
        Key in `Trajectory.laws`.

    Raises
    ------
    ValueError
        If G is not a square matrix, or ξ does not fit it.
    """

    def __init__(self, G: ArrayLike, xi: ArrayLike | None = None, name: str = "affine") -> None:
        self.G = _validate.array(G, "G", ndim=2)
        if self.G.shape[0] != self.G.shape[1] or self.G.shape[0] == 0:
            raise ValueError(f"G must be a square matrix (P, P), got {self.G.shape}")
        self.n_params = self.G.shape[0]
        self.xi = np.zeros(self.n_params) if xi is None else _validate.shaped(xi, "xi", (self.n_params,))
        self.symmetric = bool(np.array_equal(self.G, self.G.T))
        self.name, self.shape = str(name), (1,)

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return ⟨Ga, b⟩."""
        return np.asarray(((a @ self.G.T) * b).sum(axis=-1, keepdims=True))

    def translation(self, b: Array) -> Float64Array:
        """Return ⟨ξ, b⟩."""
        return np.asarray((b * self.xi).sum(axis=-1, keepdims=True))

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return Gx + ξ, shape (1, P)."""
        return np.asarray(self.G @ self._point(x) + self.xi)[None]

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x moved along the flow of g for the time `strength`, by the exponential of the affine map."""
        P = self.n_params
        affine = np.zeros((P + 1, P + 1))
        affine[:P, :P], affine[:P, P] = self.G, self.xi
        moved = expm(float(self._strength(strength)[0]) * affine) @ np.append(self._point(x), 1.0)
        return np.asarray(moved[:P])

    def row(self) -> Row:
        """Return the kernels' description; `where` is completed with the matrix's number."""
        return Row(layout.AFFINE, (0, -1, 0, -1, -1, -1, 0))


def _cut(x: Array, block: Block) -> Array:
    """The block's array as a view into x of shape (..., P)."""
    return x[..., block.start : block.stop].reshape(*x.shape[:-1], *block.shape)


def _T(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def _required(network: Network, name: str) -> Block:
    block = network.block(name)
    if block is None:
        raise ValueError(f"{network!r} has no parameters {name}")
    return block


def find(U: Potential) -> list[Family]:
    """Return the catalogue's affine symmetries of a potential, found from its activations and its loss."""
    if not isinstance(U, NetworkPotential):
        return []
    network = U.network
    found: list[Family] = []
    for h, activation in enumerate(network.activations, start=1):
        if activation.degree is not None:
            found.append(NeuronScaling(network, h))
        if activation.name == "linear":
            found.append(LinearLayer(network, h))
    if network.loss == "nll":
        found += [OutputTranslation(network, block) for block in (("b", "W") if network.bias else ("W",))]
    return found
