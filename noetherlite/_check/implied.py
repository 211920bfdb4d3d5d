"""The gradients that the steps of an algorithm imply: its update rule solved for ∇U (theory §6).

Recorded positions determine the point y_k at which each step took its gradient, and the gradient F_k. A symmetry implies
⟨g(y_k), F_k⟩ = 0, the exact discrete law for any step size and any minibatch; with full batches F_k = ∇U(y_k). The weight
decay λy_k is subtracted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._base.types import Float64Array, IntArray
from .._motion.base import Algorithm
from .._motion.heavy_ball import HeavyBall
from .._motion.noisy import Noisy
from .forces import Forces


class Implied(NamedTuple):
    """The gradients that K steps of a recording imply."""

    record: IntArray  # shape (K,): row of the recording that each gradient belongs to
    points: Float64Array  # shape (K, P): where it was taken, y_k
    gradient: Float64Array  # shape (K, P): its value F_k


class Steps(NamedTuple):
    """K steps of a recording: implied and expected gradients, with their round-off."""

    record: IntArray  # shape (K,): row of the recording from which each step is taken
    t: Float64Array  # shape (K,): its time
    points: Float64Array  # shape (K, P): where the gradient was taken
    recorded: Float64Array  # shape (K, P): the gradient that the step implies
    expected: Float64Array | None  # shape (K, P), or None: the gradient of U; None where the batches are not known
    noise: Float64Array  # shape (K,): round-off of |recorded|, the tolerance of |recorded − expected|
    # shape (K, P), or None: displacement over the unrecorded steps; None without such steps, where ⟨g, recorded⟩ = 0
    # exactly
    span: Float64Array | None = None

    def part(self, steps: slice) -> Steps:
        """Return a slice of the steps."""
        return Steps._make(None if array is None else array[steps] for array in self)


def implied(
    algorithm: Algorithm,
    forces: Forces,
    x: Float64Array,
    t0: float,
    velocity: Float64Array | None = None,
    noise: Float64Array | None = None,
    first: int = 0,
) -> Implied:
    """Return the gradients that positions x (R, P), one row per step from time t0 on, imply.

    `velocity` is that of a heavy ball at the first row. Without it, a start at t0 = 0 is taken to be from rest, and a later
    start implies no first gradient. `noise` are the normal numbers (R − 1, P) of the steps, `first` the
    number of the first of them.
    """
    if isinstance(algorithm, Noisy) and noise is not None:
        record, points, gradient = algorithm.gradients_with(x, noise, t0, velocity)
    elif isinstance(algorithm, HeavyBall) and forces.ratios_change:
        shares = np.array([forces.numbers.shares_at(first + i) for i in range(len(x) - 1)]).reshape(len(x) - 1, -1)
        record, points, gradient = algorithm.implied_gradients(x, t0, velocity, shares)
    else:
        record, points, gradient = algorithm.implied_gradients(x, t0, velocity)
    return Implied(record, points, gradient / forces.metric - forces.seen_decay(points))
