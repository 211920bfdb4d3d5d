"""The gradients that the steps of an algorithm imply: its update rule solved for ∇U (theory §6).

Recorded positions alone fix, at every step, where the algorithm took its gradient and what that gradient was. A symmetry
demands ⟨g(y_k), F_k⟩ = 0 of it, which is the exact discrete law whatever the step size or the minibatch; with full batches
F_k is ∇U(y_k) itself. What the steps imply of weight decay, λy_k, is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._base.types import Float64Array, IntArray
from .._motion.base import Algorithm


@dataclass(frozen=True, eq=False)
class Implied:
    """What K steps of a recording say about the gradient.

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
    """What K steps of a recording say.

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
        Round-off of |got|.
    span : ndarray, shape (K, P), or None
        How far hidden steps lead; None where there are none and ⟨g, got⟩ = 0 exactly.
    """

    record: IntArray
    t: Float64Array
    points: Float64Array
    got: Float64Array
    want: Float64Array | None
    noise: Float64Array
    span: Float64Array | None = None

    def part(self, chosen: slice) -> Steps:
        """Return some of the steps."""
        return Steps(
            self.record[chosen],
            self.t[chosen],
            self.points[chosen],
            self.got[chosen],
            None if self.want is None else self.want[chosen],
            self.noise[chosen],
            None if self.span is None else self.span[chosen],
        )


def implied(algorithm: Algorithm, x: Float64Array, t0: float, velocity: Float64Array | None = None) -> Implied:
    """Return the gradients that positions x (R, P), one row per step from time t0 on, imply.

    `velocity` is that of a heavy ball at the first row; without it the first gradient is that of a start from rest where
    t0 = 0, and is not told otherwise.
    """
    record, points, gradient = algorithm.implied_gradients(x, t0, velocity)
    return Implied(record, points, gradient - algorithm.weight_decay * points)
