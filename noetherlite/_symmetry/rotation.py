"""Rotations of the data."""

from __future__ import annotations

from typing import Self

import numpy as np

from .._base.floating import unit
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout
from .._problem.network import Network
from . import written
from .blocks import required, transposed
from .family import Family, KernelLaw, expm
from .written import DynamicsNotation, Entry, Formula, dot


class DataRotation(Family):
    """Rotations of the input, W_1 ↦ W_1 R, R ∈ SO(n_0), for data that are invariant (GU §6, Table 5).

    J = W_1ᵀẆ_1 − Ẇ_1ᵀW_1, a skew n_0 × n_0 matrix; component (i, j) belongs to A = E_ij − E_ji. The source is zero.

    Parameters
    ----------
    network : Network
        A network of any depth. Whether its data are invariant is measured by `nl.symmetries`.
    """

    symmetric = False
    batchwise = False
    measured = True
    skew = True
    quantity_degree = None
    condition = "the data are invariant under rotations, which a run measures"

    def __init__(self, network: Network) -> None:
        self.network, self.n_params = network, network.n_params
        self._W = required(network, "W1")
        self.name, self.shape = "rotation", (network.widths[0],) * 2

    @classmethod
    def of(cls, network: Network) -> list[Self]:
        """Return the rotations of a network with two inputs or more."""
        return [cls(network)] if network.widths[0] > 1 else []

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return a_Wᵀ b_W − b_Wᵀ a_W."""
        product = transposed(self._W.of(a)) @ self._W.of(b)
        return np.asarray(product - transposed(product))

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return W_1 (E_ij − E_ji) in the order of the matrix entries, shape (n_0², P)."""
        x, n = self._point(x), self.shape[0]
        out = np.zeros((n, n, self.n_params))
        for i in range(n):
            for j in range(n):
                self._W.of(out[i, j])[:, j] += self._W.of(x)[:, i]
                self._W.of(out[i, j])[:, i] -= self._W.of(x)[:, j]
        return out.reshape(n * n, self.n_params)

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x with W_1 ↦ W_1 exp(strength − strengthᵀ), strength an n_0 × n_0 matrix."""
        out, exponent = self._point(x).astype(np.float64), self._strength(strength)
        self._W.of(out)[:] = self._W.of(out) @ expm(exponent - exponent.T)
        return out

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return (|column i of W_1|² + |column j|²)^½, and 0 where i = j."""
        W = self._W.of(self._point(x))
        scale = unit(W)
        square = ((W / scale) ** 2).sum(axis=0)
        out = scale * np.sqrt(square[:, None] + square)
        return np.where(np.eye(square.size, dtype=bool), 0.0, out).astype(np.float64)

    def kernel(self) -> KernelLaw:
        m, n = self._W.shape
        return KernelLaw(layout.ROTATION, (n, self._W.start, m, -1, -1, -1, 0))

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        return {"rotation": lambda motion, *_: entry(motion)}

    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law of all rotations."""
        return entry(motion)


def entry(motion: DynamicsNotation) -> Formula:
    """Return the law of all rotations."""
    W, dW = "W_1", dot("W_1")
    if motion.first_order:
        return f"{written.transposed(W)}{dW} - {written.transposed(dW)}{W} = 0", "GU Table 5"
    return motion.conserved(f"{written.transposed(W)}{dW} - {written.transposed(dW)}{W}"), "GU Table 5, (47), (48)"
