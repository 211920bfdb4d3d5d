"""Linear layers."""

from __future__ import annotations

import numpy as np

from .._base.floating import unit
from .._base.products import times_transposed
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout
from .._problem.network import Network
from . import written
from .blocks import transposed
from .family import KernelLaw, expm
from .hidden import Hidden
from .written import DynamicsNotation, Entry, Formula, braced, dot, following, weights


class LinearLayer(Hidden):
    """GL(n_h) of a hidden layer with linear activation: (W_h, b_h, W_{h+1}) ↦ (AW_h, Ab_h, W_{h+1}A⁻¹) (GU §5, Table 4).

    Component (i, j) belongs to the matrix unit E_ij, so charges and sources are n_h × n_h matrices,
    J = ẆWᵀ + ḃbᵀ − UᵀU̇ with W = W_h and U = W_{h+1}. Q = ½(WWᵀ + bbᵀ − UᵀU) is symmetric, and Q̇ = ½(J + Jᵀ). The skew
    part of J belongs to the generators E_ij − E_ji, rotations among neurons, which have no Q.

    Parameters
    ----------
    network : Network
        Its activation in layer h must be linear(c), or polynomial(1); otherwise `objection` is set.
    h : int
        Hidden layer, 1 … L−1.
    """

    symmetric = True  # Q is a symmetric matrix: entry (i, j) belongs to the symmetric part of the generator
    quantity_degree = 2.0
    reducible = True

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        activation = network.activations[h - 1]
        if not activation.is_linear:
            self.objection = f"activation {str(activation)!r} is not linear"
        self.name, self.shape = f"linear:{h}", (network.widths[h],) * 2

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U."""
        out = self._W.of(b) @ transposed(self._W.of(a)) - transposed(self._U.of(a)) @ self._U.of(b)
        if self._b is not None:
            out = out + self._b.of(b)[..., :, None] * self._b.of(a)[..., None, :]
        return np.asarray(out)

    def quantity_rate(self, charge: Float64Array) -> Float64Array:
        """Return Q̇ = ½(J + Jᵀ)."""
        return np.asarray(0.5 * (charge + transposed(charge)))

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return (E_ij W, E_ij b, −U E_ij) in the order of the matrix entries, shape (n_h², P)."""
        x, n = self._point(x), self.shape[0]
        out = np.zeros((n, n, self.n_params))
        for i in range(n):
            for j in range(n):
                self._W.of(out[i, j])[i] = self._W.of(x)[j]
                self._U.of(out[i, j])[:, j] = -self._U.of(x)[:, i]
                if self._b is not None:
                    self._b.of(out[i, j])[i] = self._b.of(x)[j]
        return out.reshape(n * n, self.n_params)

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x with the layer transformed by A = exp(strength), strength an n_h × n_h matrix."""
        exponent = self._strength(strength)
        return self.transformed(self._point(x), expm(exponent), expm(-exponent))

    def transformed(self, x: Array, A: Array, inverse: Array) -> Float64Array:
        """Return x with the layer transformed by a matrix A, given with its inverse."""
        out = x.astype(np.float64)
        self._W.of(out)[:] = A @ self._W.of(x)
        self._U.of(out)[:] = self._U.of(x) @ inverse
        if self._b is not None:
            self._b.of(out)[:] = A @ self._b.of(x)
        return out

    def grams(self, x: Array) -> tuple[Float64Array, Float64Array]:
        """Return WWᵀ + bbᵀ and UᵀU, of which Q is half the difference."""
        W, U = self._W.of(x), self._U.of(x)
        incoming = W @ W.T if self._b is None else W @ W.T + np.outer(self._b.of(x), self._b.of(x))
        return np.asarray(incoming, np.float64), np.asarray(U.T @ U, np.float64)

    def incoming_quantity(self, W: Array) -> Float64Array:
        """Return ½WWᵀ, flat."""
        return np.asarray(0.5 * times_transposed(W, W)).ravel()

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return (|w_j|² + b_j² + |u_i|²)^½ for E_ij, with w_j row j of W and u_i column i of U."""
        x = self._point(x)
        scale = unit(x)
        x = x / scale
        incoming, outgoing = (self._W.of(x) ** 2).sum(axis=1), (self._U.of(x) ** 2).sum(axis=0)
        if self._b is not None:
            incoming = incoming + self._b.of(x) ** 2
        return np.asarray(scale * np.sqrt(outgoing[:, None] + incoming), dtype=np.float64)

    def kernel(self) -> KernelLaw:
        return KernelLaw(layout.LINEAR_LAYER, self._where())

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        return {"linear": lambda motion, h, bias, _: entry(motion, h, bias)}

    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law of all matrix units."""
        return entry(motion, str(self.h), self.network.bias)


def entry(motion: DynamicsNotation, h: str, bias: bool) -> Formula:
    """Return the law of all matrix units."""
    W, U, b = weights(h), weights(following(h)), f"b_{braced(h)}"
    dW, dU, db = (dot(a) for a in (W, U, b))

    def form(left: tuple[str, str, str], right: tuple[str, str, str]) -> str:
        middle = f" + {left[1]}{written.transposed(right[1])}" if bias else ""
        return f"{left[0]}{written.transposed(right[0])}{middle} - {written.transposed(right[2])}{left[2]}"

    still, moving = (W, b, U), (dW, db, dU)
    if motion.first_order:
        return rf"{form(still, still)} = \mathrm{{const}}", "GU Table 4, (42)"
    return motion.balanced(form(moving, still), form(moving, moving)), "GU Table 4, (41), (43)"
