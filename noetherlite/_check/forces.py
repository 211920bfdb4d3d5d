"""The gradients that an algorithm takes at recorded positions: of sharpness-aware minimisation, clipped, with decays and rates by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base.types import Float64Array, IntArray
from .._motion.base import Algorithm
from .._motion.recorded import NO_RATE, clipped, gains
from .._problem.blocks import blocks_of
from .._problem.potentials import Potential

# What programs add to |∇U| where sharpness-aware minimisation divides by it; here nothing is, so that check allows for it.
ASCENT_EPS = 1e-12


class Forces:
    """The gradients that an algorithm takes, and the rates and decays of the blocks.

    Attributes
    ----------
    shares : ndarray, shape (P,), or 1.0
        The rates relative to the largest.
    metric : ndarray, shape (P,), or 1.0
        What the gradients that positions imply are divided by: the shares, and round-off where they are 0.
    ratios_change : bool
        Whether each step has shares of its own, `numbers.shares_at` the step; `shares` and `metric` are then 1.
    """

    def __init__(self, U: Potential, algorithm: Algorithm) -> None:
        self.algorithm, self.numbers = algorithm, algorithm.kernel(0.0, blocks_of(U))
        self.ratios_change = self.numbers.block.size > 0
        self.shares: Any = self.numbers.shares if self.numbers.shares.size and not self.ratios_change else 1.0
        self.metric: Any = np.maximum(self.shares, NO_RATE) if self.numbers.metric else 1.0
        self._decay: Any = self.numbers.weight_decay
        if self.numbers.decays.size:
            self._decay = self.numbers.weight_decay * self.numbers.decays

    def gains(self, steps: IntArray) -> Float64Array:
        """Return the gain of these steps, larger where a block's share of the rate is small, in the step before too."""
        gain = gains(self.algorithm, steps)
        if not self.ratios_change:
            return gain
        least = np.maximum(self.numbers.shares.reshape(self.numbers.rates.size, -1).min(axis=1), NO_RATE)
        return np.asarray(gain / np.minimum(least[steps], least[np.maximum(steps - 1, 0)]))

    def point(self, V: Potential, x: Float64Array, eps: float = 0.0) -> Float64Array:
        """Return the point where a step from x takes the gradient of V; `eps` is added to the length that an ascent divides by."""
        if not self.algorithm.sam:
            return x
        gradient = V.gradient(x)
        size = float(np.linalg.norm(gradient))
        return x + (self.algorithm.sam / (size + eps) if size > 0 else 0.0) * gradient

    def last_point(self, V: Potential, algorithm: Algorithm, x: Float64Array) -> Float64Array:
        """Return the point of the last gradient of V in an implicit step from x, at the first rate of `algorithm`.

        The step is taken with that gradient, whether the iterations have converged to the midpoint or not.
        """
        points = []

        def force(_: int, y: Float64Array) -> Float64Array:
            points.append(y)
            return self.force(V.gradient(y), y)

        algorithm.walk(x, np.zeros_like(x), 0.0, 1, force, lambda y: y)
        return points[-1]

    def force(self, gradient: Float64Array, y: Float64Array) -> Float64Array:
        """Return ∇U(y) + λy with the gradient clipped, times the rates relative to the largest."""
        return np.asarray(self.shares * (self.clip(gradient) + self.decay(y)))

    def clip(self, gradient: Float64Array) -> Float64Array:
        """Return ∇U no longer than the algorithm says."""
        return clipped(self.algorithm, gradient)

    def seen(self, gradient: Float64Array) -> Float64Array:
        """Return a clipped ∇U as far as positions determine it: nothing in blocks that a rate of 0 freezes, which must not move."""
        return self.clip(gradient) * (np.asarray(self.shares) > 0)

    def decay(self, x: Float64Array) -> Float64Array:
        """Return λx of the decay that is part of the gradient."""
        return np.asarray(self._decay * x)

    def seen_decay(self, x: Float64Array) -> Float64Array:
        """Return the λx that positions determine: nothing in blocks that a rate of 0 freezes."""
        return np.asarray(self.decay(x) * (np.asarray(self.shares) > 0))

    def of_displacement(self, d: Float64Array) -> Float64Array:
        """Return a displacement in the metric, as the force is that makes it; 0 in blocks that a rate of 0 freezes."""
        return np.asarray(d * (np.asarray(self.shares) > 0) / self.metric)
