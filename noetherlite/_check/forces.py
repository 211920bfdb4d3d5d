"""The gradients that an algorithm takes at recorded positions: of sharpness-aware minimisation, clipped, with decays and rates by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._motion.recorded import clipped
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential


class Forces:
    """What an algorithm makes of ∇U, and how rates and decays differ from block to block.

    Attributes
    ----------
    metric, rates : ndarray, shape (P,), or 1.0
        What multiplies ∇U + λx because of the blocks' rates, and what multiplies the steps of optimisers instead.
    """

    def __init__(self, U: Potential, algorithm: Algorithm) -> None:
        blocks = U.network.blocks if isinstance(U, NetworkPotential) else ()
        self.algorithm, self.numbers = algorithm, algorithm.kernel(0.0, blocks)
        shares: Any = self.numbers.shares if self.numbers.shares.size else 1.0
        self.metric: Any = shares if self.numbers.metric else 1.0
        self.rates: Any = 1.0 if self.numbers.metric else shares
        self._decay: Any = self.numbers.weight_decay
        if self.numbers.decays.size:
            self._decay = self.numbers.weight_decay * self.numbers.decays

    def point(self, V: Potential, x: Float64Array) -> Float64Array:
        """Return where the gradient of V is taken by a step from x."""
        if not self.algorithm.sam:
            return x
        gradient = V.gradient(x)
        size = float(np.linalg.norm(gradient))
        return x + (self.algorithm.sam / size if size > 0 else 0.0) * gradient

    def clip(self, gradient: Float64Array) -> Float64Array:
        """Return ∇U no longer than the algorithm says."""
        return clipped(self.algorithm, gradient)

    def decay(self, x: Float64Array) -> Float64Array:
        """Return λx of the decay that is part of the gradient."""
        return np.asarray(self._decay * x)
