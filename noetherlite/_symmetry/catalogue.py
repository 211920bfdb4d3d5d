"""The catalogue: scalings, linear layers, data rotations and output translations of a network (theory §4)."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.floating import unit
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout
from .._problem.network import Block, Network
from .family import Family, Row, expm


class _Hidden(Family):
    """What the two symmetries of a hidden layer h share: the blocks W_h, b_h, β_h, W_{h+1} in θ."""

    def __init__(self, network: Network, h: int) -> None:
        self.h = checks.integer(h, "h", minimum=1, maximum=network.n_layers - 1)
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
        Its activation in layer h must be homogeneous of some degree p, or swish with trained β; p = 1 is taken, and
        `objection` set, where it is not.
    h : int
        Hidden layer, 1 … L−1.
    """

    symmetric = True

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        activation = network.activations[h - 1]
        if activation.degree is None:
            self.objection = f"activation {str(activation)!r} is not homogeneous"
        self.degree = 1.0 if activation.degree is None else activation.degree
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
        out, factor = self._point(x).astype(np.float64), np.exp(self._strength(strength))
        _cut(out, self._W)[:] *= factor[:, None]
        _cut(out, self._U)[:] *= factor**-self.degree
        if self._b is not None:
            _cut(out, self._b)[:] *= factor
        if self._beta is not None:
            _cut(out, self._beta)[:] /= factor
        return out

    def squares(self, x: ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return |w|² + b², |u|² and β² per neuron, each of shape (n_h,)."""
        x = self._point(x).astype(np.float64)
        b, beta = (np.zeros(self.shape) if block is None else _cut(x, block) for block in (self._b, self._beta))
        incoming, outgoing = (_cut(x, self._W) ** 2).sum(axis=1) + b**2, (_cut(x, self._U) ** 2).sum(axis=0)
        return np.asarray(incoming), np.asarray(outgoing), np.asarray(beta**2)

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return (|w|² + b² + p²|u|² [+ β²])^½ per neuron."""
        x = self._point(x)
        scale = unit(x)
        incoming, outgoing, beta = self.squares(x / scale)
        return np.asarray(scale * np.sqrt(incoming + self.degree**2 * outgoing + beta), dtype=np.float64)

    def row(self) -> Row:
        """Return the kernels' description."""
        return Row(layout.SCALING, self._where(), self.degree)


class LinearLayer(_Hidden):
    """GL(n_h) of a hidden layer with linear activation: (W_h, b_h, W_{h+1}) ↦ (AW_h, Ab_h, W_{h+1}A⁻¹) (GU §5, Table 4).

    Component (i, j) belongs to the matrix unit E_ij, so charges and sources are n_h × n_h matrices,
    J = ẆWᵀ + ḃbᵀ − UᵀU̇ with W = W_h and U = W_{h+1}. Q = ½(WWᵀ + bbᵀ − UᵀU) is symmetric and Q̇ = ½(J + Jᵀ): that is J on the
    diagonal; off it the skew part of J is of the generators E_ij − E_ji, rotations among neurons, which have no Q.

    Parameters
    ----------
    network : Network
        Its activation in layer h must be linear(c), or polynomial(1); `objection` is set where it is not.
    h : int
        Hidden layer, 1 … L−1.
    """

    symmetric = True  # Q is a symmetric matrix: for E_ij with i ≠ j it belongs to the symmetric part of the generator

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        activation = network.activations[h - 1]
        if not activation.is_linear:
            self.objection = f"activation {str(activation)!r} is not linear"
        self.name, self.shape = f"linear:{h}", (network.widths[h],) * 2

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U."""
        out = _cut(b, self._W) @ _T(_cut(a, self._W)) - _T(_cut(a, self._U)) @ _cut(b, self._U)
        if self._b is not None:
            out = out + _cut(b, self._b)[..., :, None] * _cut(a, self._b)[..., None, :]
        return np.asarray(out)

    def quantity_rate(self, charge: Float64Array) -> Float64Array:
        """Return Q̇ = ½(J + Jᵀ)."""
        return np.asarray(0.5 * (charge + _T(charge)))

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
        out = x.astype(np.float64)
        _cut(out, self._W)[:] = A @ _cut(x, self._W)
        _cut(out, self._U)[:] = _cut(x, self._U) @ inverse
        if self._b is not None:
            _cut(out, self._b)[:] = A @ _cut(x, self._b)
        return out

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return (|w_j|² + b_j² + |u_i|²)^½ for E_ij, with w_j row j of W and u_i column i of U."""
        x = self._point(x)
        scale = unit(x)
        x = x / scale
        incoming, outgoing = (_cut(x, self._W) ** 2).sum(axis=1), (_cut(x, self._U) ** 2).sum(axis=0)
        if self._b is not None:
            incoming = incoming + _cut(x, self._b) ** 2
        return np.asarray(scale * np.sqrt(outgoing[:, None] + incoming), dtype=np.float64)

    def row(self) -> Row:
        """Return the kernels' description."""
        return Row(layout.LINEAR_LAYER, self._where())


class DataRotation(Family):
    """Rotations of the input, W_1 ↦ W_1 R, R ∈ SO(n_0), where the data are invariant (GU §6, Table 5).

    J = W_1ᵀẆ_1 − Ẇ_1ᵀW_1, a skew n_0 × n_0 matrix; component (i, j) belongs to A = E_ij − E_ji. The source is zero.

    Parameters
    ----------
    network : Network
        A network of any depth. Whether its data are invariant is measured by `symmetries.find`.
    """

    symmetric = False
    batchwise = False
    measured = True

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
        out, exponent = self._point(x).astype(np.float64), self._strength(strength)
        _cut(out, self._W)[:] = _cut(out, self._W) @ expm(exponent - exponent.T)
        return out

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return (|column i of W_1|² + |column j|²)^½, and 0 where i = j."""
        W = _cut(self._point(x), self._W)
        scale = unit(W)
        square = ((W / scale) ** 2).sum(axis=0)
        out = scale * np.sqrt(square[:, None] + square)
        return np.where(np.eye(square.size, dtype=bool), 0.0, out).astype(np.float64)

    def row(self) -> Row:
        """Return the kernels' description."""
        m, n = self._W.shape
        return Row(layout.ROTATION, (n, self._W.start, m, -1, -1, -1, 0))


class OutputTranslation(Family):
    """One constant added to all logits leaves softmax unchanged: ξ = all of b_L, or column j of W_L (theory §4.4).

    Parameters
    ----------
    network : Network
        Its loss must be "nll"; `objection` is set where it is not.
    block : {"b", "W"}
        Which parameters move: the last bias, or each column of the last weight matrix.

    Raises
    ------
    ValueError
        If the network has no bias that could move.
    """

    symmetric = True  # G = 0

    def __init__(self, network: Network, block: str) -> None:
        block = checks.one_of(block, "block", ("b", "W"))
        if network.loss != "nll":
            self.objection = f"it needs loss='nll', the network has {network.loss!r}"
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
        out = self._point(x).astype(np.float64)
        _cut(out, self._block)[:] += self._strength(strength)
        return out

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return √n_L for every component."""
        self._point(x)
        return np.full(self.shape, self._block.shape[0] ** 0.5, dtype=np.float64)

    def norm_within(self, x: Array, block: slice) -> Float64Array:
        """Return √n_L in the block that moves, zero in others."""
        return np.asarray(self.norm(x) * (block.start == self._block.start))

    def row(self) -> Row:
        """Return the kernels' description."""
        return Row(layout.TRANSLATION, (self.n_generators, self._block.start, self._block.shape[0], -1, -1, -1, 0))


def _cut(x: Array, block: Block) -> Array:
    """Return the block's array as a view into x of shape (..., P)."""
    return x[..., block.start : block.stop].reshape(*x.shape[:-1], *block.shape)


def _T(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def _required(network: Network, name: str) -> Block:
    block = network.block(name)
    if block is None:
        raise ValueError(f"{network!r} has no parameters {name}")
    return block
