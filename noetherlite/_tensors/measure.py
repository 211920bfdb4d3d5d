"""Contractions of gradients at several points along the legs of a hypothesis, each measured once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._base.types import Array, Float64Array
from .law import Law, Member
from .legs import Leg, gathered, sums

Draw = tuple[Mapping[str, Array], Mapping[str, Array]]


class Measurements:
    """What legs show at the given draws (params, grads)."""

    def __init__(self, draws: Sequence[Draw], eps: float) -> None:
        self.draws, self.eps = draws, eps
        self._plain: dict[tuple[str, Leg], Float64Array] = {}

    def column(self, field: str, leg: Leg) -> tuple[Float64Array, Float64Array]:
        """Return Σ_rest G_i X_i ("scale") or Σ_rest G_i ("translate") and its scale, shape (draws, components) each."""
        key = (field, leg.plain)
        if key not in self._plain:
            self._plain[key] = np.array([sums(field, leg.plain, x[leg.tensor], g[leg.tensor]) for x, g in self.draws])
        total, g2, y2 = np.moveaxis(gathered(leg, self._plain[key]), 1, 0)
        return total, np.sqrt(g2 * y2)

    def skew(self, leg: Leg, blocks: tuple[int, ...], acting: int) -> tuple[Float64Array, Float64Array]:
        """Return entries of M − Mᵀ within blocks of a leg and their scale, for all draws together."""
        law = Law("rotate", (Member(leg, 1.0),), blocks, acting)
        pairs = [law.defect(x, g, sampled=True) for x, g in self.draws]
        return np.concatenate([p[0].reshape(-1) for p in pairs]), np.concatenate([p[1].reshape(-1) for p in pairs])

    def residual(self, law: Law, sampled: bool = False) -> float:
        """Return the largest defect of a law relative to its scale."""
        worst = 0.0
        for x, g in self.draws:
            defect, scale = law.defect(x, g, sampled=sampled)
            worst = max(worst, float((np.abs(defect) / np.maximum(scale, np.finfo(float).tiny)).max(initial=0.0)))
        return worst
