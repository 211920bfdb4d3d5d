"""The gradients that an algorithm takes at recorded positions: of sharpness-aware minimisation, clipped, with decays and rates by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._motion.recorded import NO_RATE, clipped
from .._problem.blocks import blocks_of
from .._problem.potentials import Potential


class Forces:
    """The gradients that an algorithm takes, and the rates and decays of the blocks.

    Attributes
    ----------
    shares : ndarray, shape (P,), or 1.0
        The rates relative to the largest.
    metric : ndarray, shape (P,), or 1.0
        What the gradients that positions imply are divided by: the shares, and round-off where they are 0.
    """

    def __init__(self, U: Potential, algorithm: Algorithm) -> None:
        if algorithm.ratios_change:
            raise ValueError(
                f"lr must keep the ratios between blocks for a check; got {algorithm}, where they differ from step to step"
            )
        self.algorithm, self.numbers = algorithm, algorithm.kernel(0.0, blocks_of(U))
        self.shares: Any = self.numbers.shares if self.numbers.shares.size else 1.0
        self.metric: Any = np.maximum(self.shares, NO_RATE) if self.numbers.metric else 1.0
        self._decay: Any = self.numbers.weight_decay
        if self.numbers.decays.size:
            self._decay = self.numbers.weight_decay * self.numbers.decays

    def point(self, V: Potential, x: Float64Array) -> Float64Array:
        """Return the point where a step from x takes the gradient of V."""
        if not self.algorithm.sam:
            return x
        gradient = V.gradient(x)
        size = float(np.linalg.norm(gradient))
        return x + (self.algorithm.sam / size if size > 0 else 0.0) * gradient

    def clip(self, gradient: Float64Array) -> Float64Array:
        """Return ∇U no longer than the algorithm says."""
        return clipped(self.algorithm, gradient)

    def seen(self, gradient: Float64Array) -> Float64Array:
        """Return a clipped ∇U as far as positions determine it: nothing in blocks that a rate of 0 freezes, which must not move."""
        return self.clip(gradient) * (np.asarray(self.shares) > 0)

    def decay(self, x: Float64Array) -> Float64Array:
        """Return λx of the decay that is part of the gradient."""
        return np.asarray(self._decay * x)

    def of_displacement(self, d: Float64Array) -> Float64Array:
        """Return a displacement in the metric, as the force is that makes it; 0 in blocks that a rate of 0 freezes."""
        return np.asarray(d * (np.asarray(self.shares) > 0) / self.metric)
