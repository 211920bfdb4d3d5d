"""The gradients that the steps of an algorithm imply: its update rule solved for ∇U (theory §6).

Recorded positions alone fix, at every step, where the algorithm took its gradient and what that gradient was. A symmetry
demands ⟨g(y_k), F_k⟩ = 0 of it, which is the exact discrete law whatever the step size or the minibatch; with full batches
F_k is ∇U(y_k) itself. What the steps imply of weight decay, λy_k, is taken away.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ._types import Float64Array, IntArray
from .algorithms import GD, NAGD, Algorithm, ConformalLeapfrog, HeavyBall, Leapfrog


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


def implied(algorithm: Algorithm, x: Float64Array, t0: float) -> Implied:
    """Return the gradients that positions x (R, P), one row per step from time t0 on, imply.

    Raises
    ------
    ValueError
        If there are too few rows for one gradient.
    TypeError
        If the algorithm is not known here.
    """
    if isinstance(algorithm, GD):
        out = _gradient_descent(algorithm, x)
    elif isinstance(algorithm, HeavyBall):
        out = _heavy_ball(algorithm, x, t0)
    elif isinstance(algorithm, NAGD):
        out = _nesterov(algorithm, x, t0)
    elif isinstance(algorithm, Leapfrog | ConformalLeapfrog):
        out = _leapfrog(algorithm, x, t0)
    else:
        raise TypeError(f"dynamics={algorithm} has no update rule that can be checked; give its Dynamics instead")
    if out.record.size == 0:
        raise ValueError(f"params has {x.shape[0]} rows, too few for one step of {algorithm}")
    decay = algorithm.weight_decay
    return dataclasses.replace(out, gradient=out.gradient - decay * out.points, gain=out.gain + decay)


def _gradient_descent(algorithm: GD, x: Float64Array) -> Implied:
    """x_{k+1} = x_k − ηF(x_k)."""
    return Implied(np.arange(x.shape[0] - 1), x[:-1], (x[:-1] - x[1:]) / algorithm.lr, 2 / algorithm.lr)


def _heavy_ball(algorithm: HeavyBall, x: Float64Array, t0: float) -> Implied:
    """v_{k+1} = βv_k − F(x_k) with v_k = (x_k − x_{k−1})/h; from rest at t = 0 also v_0 = 0."""
    v = np.diff(x, axis=0) / algorithm.dt
    if t0 == 0:
        v = np.concatenate([np.zeros_like(x[:1]), v])
    record = np.arange(0 if t0 == 0 else 1, x.shape[0] - 1)
    return Implied(record, x[record], algorithm.momentum * v[:-1] - v[1:], 2 * (1 + algorithm.momentum) / algorithm.dt)


def _nesterov(algorithm: NAGD, x: Float64Array, t0: float) -> Implied:
    """x_{k+1} = y_k − sF(y_k) with y_k = x_k + β_k(x_k − x_{k−1}); from rest at t = 0 also y_0 = x_0."""
    k = t0 / algorithm.dt + np.arange(1, x.shape[0] - 1)
    beta = ((k - 1) / (k + algorithm.alpha - 1))[:, None]
    record, points = np.arange(1, x.shape[0] - 1), x[1:-1] + beta * (x[1:-1] - x[:-2])
    if t0 == 0:
        record, points = np.arange(x.shape[0] - 1), np.concatenate([x[:1], points])
    return Implied(record, points, (points - x[record + 1]) / algorithm.lr, 4 / algorithm.lr)


def _leapfrog(algorithm: Leapfrog | ConformalLeapfrog, x: Float64Array, t0: float) -> Implied:
    """v_{k+½} = ρv_{k−½} − (h/2m)(1 + ρ)F(x_k), ρ = μ(τ_{k−1})/μ(τ_k) with τ_k = t_k + h/2: the two half kicks at x_k."""
    h, dynamics = algorithm.dt, algorithm.dynamics
    v = np.diff(x, axis=0) / h
    middle = t0 + (np.arange(v.shape[0]) + 0.5) * h
    rho = dynamics.fading(middle[:-1], middle[1:])[:, None]
    gradient = 2 * dynamics.mass / h * (rho * v[:-1] - v[1:]) / (1 + rho)
    return Implied(np.arange(1, x.shape[0] - 1), x[1:-1], gradient, 4 * dynamics.mass / h**2)
