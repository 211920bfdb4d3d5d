"""The gradients that the steps of an algorithm imply: its update rule solved for ∇U (theory §6).

Recorded positions determine the point y_k at which each step took its gradient, and the gradient F_k. A symmetry implies
⟨g(y_k), F_k⟩ = 0, the exact discrete law for any step size and any minibatch; with full batches F_k = ∇U(y_k). The weight
decay λy_k is subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._base.types import Float64Array, IntArray
from .._motion.base import Algorithm
from .forces import Forces


@dataclass(frozen=True, eq=False)
class Implied:
    """The gradients that K steps of a recording imply.

    Attributes
    ----------
    record : ndarray of int, shape (K,)
        Row of the recording that each gradient belongs to.
    points : ndarray, shape (K, P)
        Where it was taken, y_k.
    gradient : ndarray, shape (K, P)
        Its value F_k.
    """

    record: IntArray
    points: Float64Array
    gradient: Float64Array


@dataclass(frozen=True)
class Steps:
    """K steps of a recording: implied and expected gradients, with their round-off.

    Attributes
    ----------
    record : ndarray of int, shape (K,)
        Row of the recording from which each step is taken.
    t : ndarray, shape (K,)
        Its time.
    points : ndarray, shape (K, P)
        Where the gradient was taken.
    got : ndarray, shape (K, P)
        The gradient that the step implies.
    want : ndarray, shape (K, P), or None
        The gradient of U; None where the batches are not known.
    noise : ndarray, shape (K,)
        Round-off of |got|, the tolerance of |got − want|.
    span : ndarray, shape (K, P), or None
        Displacement over the unrecorded steps; None without such steps, where ⟨g, got⟩ = 0 exactly.
    """

    record: IntArray
    t: Float64Array
    points: Float64Array
    got: Float64Array
    want: Float64Array | None
    noise: Float64Array
    span: Float64Array | None = None

    def part(self, steps: slice) -> Steps:
        """Return a slice of the steps."""
        return Steps(
            self.record[steps],
            self.t[steps],
            self.points[steps],
            self.got[steps],
            None if self.want is None else self.want[steps],
            self.noise[steps],
            None if self.span is None else self.span[steps],
        )


def implied(
    algorithm: Algorithm, forces: Forces, x: Float64Array, t0: float, velocity: Float64Array | None = None
) -> Implied:
    """Return the gradients that positions x (R, P), one row per step from time t0 on, imply.

    `velocity` is that of a heavy ball at the first row. Without it, a start at t0 = 0 is taken to be from rest, and a later
    start implies no first gradient.
    """
    record, points, gradient = algorithm.implied_gradients(x, t0, velocity)
    decay = forces.decay(points) * (np.asarray(forces.shares) > 0)
    return Implied(record, points, gradient / forces.metric - decay)
