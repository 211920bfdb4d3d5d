"""The normals ∇z of kinks, layer by layer: no array has a row for every parameter and a column for every kink.

∇z of kink k with respect to W_h is the outer product of δ_k = ∂z/∂z_h and the activations a_k below, so that the inner product
of two normals is the sum over layers of (δ_k·δ_l)(a_k·a_l + 1), with 1 for the bias.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array

# Below it the Gram matrix of unit normals, whose condition number is that of the normals squared, is not good enough.
_INDEPENDENT = 1e-6


class Block(NamedTuple):
    """One layer's part of K normals."""

    offsets: tuple[int, int, int]  # of W, b and β among the parameters; negative where there is none
    delta: Array  # ∂z/∂z_h, shape (K, n_h)
    below: Array  # activations, shape (K, n_(h−1))
    d_beta: Array | None  # ∂z/∂β_h, shape (K, n_h)


class Normals:
    """N = (∇z_1 … ∇z_K), shape (P, K)."""

    def __init__(self, n_params: int, blocks: list[Block]) -> None:
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
        """Return the smallest w that makes |g + Nw| smallest, and g + Nw."""
        inverse = self._inverse
        if inverse is None:
            w = _least_squares(self.dense(), -g)
            return w, g + self.combined(w)
        w = np.zeros(len(inverse))
        for _ in range(2):  # once more for the digits that the square of the condition number has cost
            step = -inverse @ self.along(g)
            w, g = w + step, g + self.combined(step)
        return w, g

    def shift(self, rates: Float64Array) -> Float64Array:
        """Return the smallest v with Nᵀv = `rates`."""
        if self._inverse is None:
            return np.asarray(np.linalg.lstsq(self.dense().T, rates, rcond=None)[0])
        return self.combined(self._inverse @ rates)

    @cached_property
    def _inverse(self) -> Float64Array | None:
        """The inverse of the Gram matrix, or None where normals are too close to dependent."""
        sizes = np.sqrt(np.diagonal(self.gram))
        if not sizes.all():
            return None
        values, vectors = np.linalg.eigh(self.gram / np.outer(sizes, sizes))
        if values[0] < _INDEPENDENT:
            return None
        vectors = vectors / sizes[:, None]
        return np.asarray((vectors / values) @ vectors.T)


def _least_squares(A: Float64Array, b: Float64Array) -> Float64Array:
    """Return the smallest w that makes |Aw − b| smallest, for many rows and few columns, of which some may depend on others."""
    K = A.shape[1]
    R = np.asarray(np.linalg.qr(np.column_stack([A, b]), mode="r"))
    return np.asarray(np.linalg.lstsq(R[:K, :K], R[:K, K], rcond=None)[0])
