"""The normals ∇z of kinks, layer by layer, without an array of one row per parameter and one column per kink.

∇z of kink k with respect to W_h is the outer product of δ_k = ∂z/∂z_h and the activations a_k below, so that the inner product
of two normals is the sum over layers of (δ_k·δ_l)(a_k·a_l + 1), with 1 for the bias.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array

# Least eigenvalue bound of the Gram matrix of unit normals for which its inverse is used; below it, a QR factorisation is.
_INDEPENDENT = 1e-6
# Bound above which one projection is accurate; below it a second one restores the digits lost to the condition number.
_ORTHOGONAL = 0.1
_ROWS = 256  # rows of a block in `triangle`


class LayerPart(NamedTuple):
    """The components of K normals that belong to one layer."""

    offsets: tuple[int, int, int]  # of W, b and β in θ; negative where absent
    delta: Array  # ∂z/∂z_h, shape (K, n_h)
    below: Array  # activations, shape (K, n_(h−1))
    d_beta: Array | None  # ∂z/∂β_h, shape (K, n_h)


class Normals:
    """N = (∇z_1 … ∇z_K), shape (P, K)."""

    def __init__(self, n_params: int, blocks: list[LayerPart]) -> None:
        self.n_params, self.blocks = n_params, blocks

    def dense(self) -> Float64Array:
        """Return N."""
        out = np.zeros((len(self.blocks[0].delta), self.n_params))
        for (W, b, beta), delta, below, d_beta in self.blocks:
            n, m = delta.shape[1], below.shape[1]
            out[:, W : W + n * m] = (delta[:, :, None] * below[:, None, :]).reshape(-1, n * m)
            if b >= 0:
                out[:, b : b + n] = delta
            if d_beta is not None:
                out[:, beta : beta + n] = d_beta
        return out.T

    @cached_property
    def gram(self) -> Float64Array:
        """NᵀN, shape (K, K)."""
        out = np.zeros((len(self.blocks[0].delta),) * 2)
        for (_, b, _), delta, below, d_beta in self.blocks:
            out += (delta @ delta.T) * (below @ below.T + (b >= 0))
            if d_beta is not None:
                out += d_beta @ d_beta.T
        return out

    def along(self, v: Float64Array) -> Float64Array:
        """Return Nᵀv."""
        out = np.zeros(len(self.blocks[0].delta))
        for (W, b, beta), delta, below, d_beta in self.blocks:
            n, m = delta.shape[1], below.shape[1]
            out += np.einsum("kn,kn->k", below @ v[W : W + n * m].reshape(n, m).T, delta)
            if b >= 0:
                out += delta @ v[b : b + n]
            if d_beta is not None:
                out += d_beta @ v[beta : beta + n]
        return out

    def combined(self, w: Float64Array) -> Float64Array:
        """Return Nw."""
        out = np.zeros(self.n_params)
        for (W, b, beta), delta, below, d_beta in self.blocks:
            n, m = delta.shape[1], below.shape[1]
            out[W : W + n * m] = ((delta * w[:, None]).T @ below).ravel()
            if b >= 0:
                out[b : b + n] = w @ delta
            if d_beta is not None:
                out[beta : beta + n] = w @ d_beta
        return out

    def project(self, g: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the w of least norm that minimises |g + Nw|, and g + Nw."""
        if self._solver is None:
            w = _least_squares(self.dense(), -g)
            return w, g + self.combined(w)
        inverse, rounds = self._solver
        w = np.zeros(len(inverse))
        for _ in range(rounds):
            step = -inverse @ self.along(g)
            w, g = w + step, g + self.combined(step)
        return w, g

    def shift(self, rates: Float64Array) -> Float64Array:
        """Return the v of least norm with Nᵀv = `rates`."""
        if self._solver is None:
            R = triangle(self.dense())
            return self.combined(np.linalg.lstsq(R, np.linalg.lstsq(R.T, rates, rcond=None)[0], rcond=None)[0])
        return self.combined(self._solver[0] @ rates)

    @cached_property
    def _solver(self) -> tuple[Float64Array, int] | None:
        """The inverse of the Gram matrix and the number of projections, or None for normals that are nearly dependent."""
        sizes = np.sqrt(np.diagonal(self.gram))
        if not sizes.all():
            return None
        scale = sizes[:, None] * sizes
        try:
            inverse = np.linalg.inv(self.gram / scale)
        except np.linalg.LinAlgError:
            return None
        bound = np.abs(inverse).sum(axis=1).max(initial=0.0)  # at least 1/λ, λ the smallest eigenvalue
        if not bound * _INDEPENDENT <= 1:
            return None
        return inverse / scale, 1 if bound * _ORTHOGONAL <= 1 else 2


def triangle(A: Float64Array) -> Float64Array:
    """Return R of A = QR for many rows and few columns.

    Rows are factorised block by block: for larger blocks BLAS uses threads, whose synchronisation takes far longer.
    """
    n, K = A.shape
    rows = max(_ROWS, 4 * K)
    while n > rows:
        blocks = np.zeros((-(-n // rows) * rows, K))
        blocks[:n] = A
        A = np.asarray(np.linalg.qr(blocks.reshape(-1, rows, K), mode="r")).reshape(-1, K)
        n = len(A)
    return np.asarray(np.linalg.qr(A, mode="r"))


def _least_squares(A: Float64Array, b: Float64Array) -> Float64Array:
    """Return the w of least norm that minimises |Aw − b|, for many rows and few, possibly dependent, columns."""
    K = A.shape[1]
    R = triangle(np.column_stack([A, b]))
    return np.asarray(np.linalg.lstsq(R[:K, :K], R[:K, K], rcond=None)[0])
