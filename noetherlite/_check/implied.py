"""The gradients that the steps of an algorithm imply: its update rule solved for ∇U (theory §6).

Recorded positions alone fix, at every step, where the algorithm took its gradient and what that gradient was. A symmetry
demands ⟨g(y_k), F_k⟩ = 0 of it, which is the exact discrete law whatever the step size or the minibatch; with full batches
F_k is ∇U(y_k) itself. What the steps imply of weight decay, λy_k, is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._base.types import Float64Array, IntArray
from .._motion.base import Algorithm
from .._motion.conformal_leapfrog import ConformalLeapfrog
from .._motion.gradient_descent import GD
from .._motion.heavy_ball import HeavyBall
from .._motion.leapfrog import Leapfrog
from .._motion.nesterov import NAGD


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
    gain : float
        Round-off ε|x| of the positions makes up to ε·gain·|x| in F.
    """

    record: IntArray
    points: Float64Array
    gradient: Float64Array
    gain: float


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


_Found = tuple[IntArray, Float64Array, Float64Array]  # record, points, F with weight decay in it


def fewest_rows(algorithm: Algorithm, known_start: bool) -> int:
    """Return how many rows a gradient takes; `known_start` is a start from rest at t = 0, or with a known velocity.

    Raises
    ------
    TypeError
        If the algorithm is not known here.
    """
    if not isinstance(algorithm, GD | HeavyBall | NAGD | Leapfrog | ConformalLeapfrog):
        raise TypeError(f"dynamics={algorithm} has no update rule that can be checked; give its Dynamics instead")
    return 2 if isinstance(algorithm, GD) or (known_start and isinstance(algorithm, HeavyBall | NAGD)) else 3


def implied(algorithm: Algorithm, x: Float64Array, t0: float, velocity: Float64Array | None = None) -> Implied:
    """Return the gradients that positions x (R, P), one row per step from time t0 on, imply.

    `velocity` is that of a heavy ball at the first row; without it the first gradient is that of a start from rest where
    t0 = 0, and is not told otherwise.
    """
    if isinstance(algorithm, GD):
        record, points, gradient = _gradient_descent(algorithm, x)
    elif isinstance(algorithm, HeavyBall):
        start = np.zeros_like(x[0]) if velocity is None and t0 == 0 else velocity
        record, points, gradient = _heavy_ball(algorithm, x, start)
    elif isinstance(algorithm, NAGD):
        record, points, gradient = _nesterov(algorithm, x, t0)
    else:
        assert isinstance(algorithm, Leapfrog | ConformalLeapfrog)
        record, points, gradient = _leapfrog(algorithm, x, t0)
    return Implied(record, points, gradient - algorithm.weight_decay * points, gain(algorithm))


def gain(algorithm: Algorithm) -> float:
    """Return what round-off ε|x| of the positions makes in F, over ε|x|."""
    h, decay = algorithm.dt, algorithm.weight_decay
    if isinstance(algorithm, GD):
        return 2 / h + decay
    if isinstance(algorithm, HeavyBall):
        return 2 * (1 + algorithm.momentum) / h + decay
    return 4 * algorithm.dynamics.mass / h**2 + decay


def _gradient_descent(algorithm: GD, x: Float64Array) -> _Found:
    """x_{k+1} = x_k − ηF(x_k)."""
    return np.arange(x.shape[0] - 1), x[:-1], (x[:-1] - x[1:]) / algorithm.lr


def _heavy_ball(algorithm: HeavyBall, x: Float64Array, start: Float64Array | None) -> _Found:
    """v_{k+1} = βv_k − F(x_k) with v_k = (x_k − x_{k−1})/h, and v_0 where it is known."""
    v = np.diff(x, axis=0) / algorithm.dt
    if start is not None:
        v = np.concatenate([start[None], v])
    record = np.arange(start is None, x.shape[0] - 1)
    return record, x[record], algorithm.momentum * v[:-1] - v[1:]


def _nesterov(algorithm: NAGD, x: Float64Array, t0: float) -> _Found:
    """x_{k+1} = y_k − sF(y_k) with y_k = x_k + β_k(x_k − x_{k−1}); from rest at t = 0 also y_0 = x_0."""
    k = t0 / algorithm.dt + np.arange(1, x.shape[0] - 1)
    beta = ((k - 1) / (k + algorithm.alpha - 1))[:, None]
    record, points = np.arange(1, x.shape[0] - 1), x[1:-1] + beta * (x[1:-1] - x[:-2])
    if t0 == 0:
        record, points = np.arange(x.shape[0] - 1), np.concatenate([x[:1], points])
    return record, points, (points - x[record + 1]) / algorithm.lr


def _leapfrog(algorithm: Leapfrog | ConformalLeapfrog, x: Float64Array, t0: float) -> _Found:
    """v_{k+½} = ρv_{k−½} − (h/2m)(1 + ρ)F(x_k), ρ = μ(τ_{k−1})/μ(τ_k) with τ_k = t_k + h/2: the two half kicks at x_k."""
    h, dynamics = algorithm.dt, algorithm.dynamics
    v = np.diff(x, axis=0) / h
    middle = t0 + (np.arange(v.shape[0]) + 0.5) * h
    rho = dynamics.fading(middle[:-1], middle[1:])[:, None]
    gradient = 2 * dynamics.mass / h * (rho * v[:-1] - v[1:]) / (1 + rho)
    return np.arange(1, x.shape[0] - 1), x[1:-1], gradient
