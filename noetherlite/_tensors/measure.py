"""Contractions of gradients at several points along the legs of a hypothesis, each measured once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .._base.floating import rms
from .._base.types import Array, Float64Array, IntArray
from .law import Law
from .legs import Leg, gathered, sums

Draw = tuple[Mapping[str, Array], Mapping[str, Array]]
_COLUMNS = 8192  # of two tensors that are widened to double precision at a time


class Measurements:
    """The contractions of legs at the given draws (params, grads)."""

    def __init__(self, draws: Sequence[Draw], eps: float) -> None:
        self.draws, self.eps = draws, eps
        self._plain: dict[tuple[str, Leg], Float64Array] = {}
        self._skew: dict[tuple[Leg, bytes], Float64Array] = {}

    def size(self, leg: Leg) -> float:
        """Return the largest root mean square that the gradient of what a leg sees has."""
        return max(float(rms(leg.seen(g[leg.tensor]))) for _, g in self.draws)

    def column(self, field: str, leg: Leg) -> tuple[Float64Array, Float64Array]:
        """Return Σ_rest G_i X_i ("scale") or Σ_rest G_i ("translate") and its scale, shape (draws, components) each."""
        key = (field, leg.plain)
        if key not in self._plain:
            pairs = [(leg.seen(x[leg.tensor]), leg.seen(g[leg.tensor])) for x, g in self.draws]
            self._plain[key] = np.array([sums(field, leg.plain, x, g) for x, g in pairs])
        total, g2, y2 = np.moveaxis(gathered(leg, self._plain[key]), 1, 0)
        return total, np.sqrt(g2 * y2)

    def skew(self, leg: Leg, pairs: IntArray) -> tuple[Float64Array, Float64Array]:
        """Return entries of M − Mᵀ of a leg at pairs of components, (2, m), and their scale; shape (draws, m) each."""
        key = (leg, pairs.tobytes())
        if key not in self._skew:
            rows, places = np.unique(pairs, return_inverse=True)
            self._skew[key] = np.array(
                [
                    _skew(leg.some_rows(x[leg.tensor], rows), leg.some_rows(g[leg.tensor], rows), places.reshape(2, -1))
                    for x, g in self.draws
                ]
            )
        value, scale = np.moveaxis(self._skew[key], 1, 0)
        return value, scale

    def residuals(self, law: Law, sampled: bool = False) -> Iterator[float]:
        """Yield for every draw the largest defect of a law relative to its scale."""
        for x, g in self.draws:
            defect, scale = law.defect(x, g, sampled=sampled)
            yield float((np.abs(defect) / np.maximum(scale, np.finfo(float).tiny)).max(initial=0.0))


def _skew(x: Array, g: Array, pairs: IntArray) -> Float64Array:
    """Return entries at pairs, (2, m), of M − Mᵀ, M = g xᵀ in double precision, and the size of their terms; shape (2, m)."""
    M, g2, x2 = np.zeros((len(g), len(g))), np.zeros(len(g)), np.zeros(len(g))
    for start in range(0, g.shape[1], _COLUMNS):
        a, b = (rows[:, start : start + _COLUMNS].astype(np.float64, copy=False) for rows in (x, g))
        M += b @ a.T
        g2 += np.einsum("ij,ij->i", b, b)
        x2 += np.einsum("ij,ij->i", a, a)
    i, j = pairs
    scale = np.sqrt(np.outer(g2 + g2.mean(), x2))
    return np.stack([M[i, j] - M[j, i], scale[i, j] + scale[j, i]])
