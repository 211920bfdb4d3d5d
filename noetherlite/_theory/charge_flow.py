"""The continuous-time equation of a quantity whose law is broken (Kunin et al. 2021; theory §10).

Heavy ball at finite step h follows mẍ + (1 − β)ẋ + ∇U + λx = 0 with m = ½h(1 + β). Paired with g(x), where
⟨g, ∇U⟩ = 0 and ⟨g(x), x⟩ = κQ, that is the equation of a driven and damped oscillator,

    m Q̈ + (1 − β) Q̇ + κλ Q = m B(ẋ, ẋ),

with κ = 2 for scalings and linear layers, where Q̇ is B(x, ẋ) or its symmetric part ½(B_ij + B_ji), and κ = 1 and B = 0 for
translations. β = 0 is gradient descent.
"""

from __future__ import annotations

import numpy as np

from .._base.floating import rangeless
from .._base.types import Float64Array, IntArray
from .._motion.base import Algorithm
from .._symmetry.family import expm

_EQUAL = 8 * float(np.finfo(np.float64).eps)


def constants(algorithm: Algorithm, kappa: float) -> tuple[float, float, float]:
    """Return (m, 1 − β, κλ)."""
    beta = algorithm.momentum
    return 0.5 * algorithm.dt * (1 + beta), 1 - beta, kappa * algorithm.weight_decay


def damping(algorithm: Algorithm, kappa: float) -> str:
    """Return the kind of damping: "overdamped", "critically damped" or "underdamped"."""
    m, friction, spring = constants(algorithm, kappa)
    difference = friction**2 - 4 * m * spring
    if abs(difference) <= _EQUAL * friction**2:
        return "critically damped"
    return "overdamped" if difference > 0 else "underdamped"


@rangeless
def second_order(
    algorithm: Algorithm,
    kappa: float,
    step: IntArray,
    start: Float64Array,
    rate: Float64Array,
    square: Float64Array,
) -> Float64Array:
    """Return Q(t) of shape (R, K) by the equation above, at the steps k (R,), times kh, of a `GD` or `HeavyBall`.

    `start` and `rate` (K,) are Q and ⟨∇Q, v⟩ at t_0, v the initial velocity; `square` (R − 1, K) is the mean of B(ẋ, ẋ) over each
    interval, taken as constant within it.

    The difference of the initial velocity v from that of the slow motion decays within a few steps. It displaces Q by
    hβ/(1 − β) times itself in the run, and by m/(1 − β) times in the equation; the two agree for
    Q̇(t_0) = (2β⟨∇Q, v⟩ − κλQ)/(1 + β).
    """
    m, friction, spring = constants(algorithm, kappa)
    beta = algorithm.momentum
    generator = np.array([[0, 1, 0], [-spring / m, -friction / m, 1], [0, 0, 0]])
    state = np.array([start, (2 * beta * rate - spring * start) / (1 + beta)])
    return _integrate(generator * algorithm.dt, step, state, square)


@rangeless
def first_order(
    algorithm: Algorithm, kappa: float, step: IntArray, start: Float64Array, square: Float64Array
) -> Float64Array:
    """Return Q(t) to first order in h, without inertia: Q = e^{−ωt}Q_0 + m/(1 − β) ∫ e^{−ω(t−s)} B(ẋ, ẋ) ds, ω = κλ/(1 − β).

    Parameters and shapes are those of `second_order`.
    """
    m, friction, spring = constants(algorithm, kappa)
    generator = np.array([[-spring / friction, m / friction], [0, 0]])
    return _integrate(generator * algorithm.dt, step, start[None], square)


def _integrate(generator: Float64Array, step: IntArray, state: Float64Array, drive: Float64Array) -> Float64Array:
    """Return the first component at all steps of dz/dk = generator (z, f), from z = state (n, K), with f = drive[r] in interval r.

    It takes one matrix exponential per interval length, for any damping.
    """
    n, intervals = len(state), np.diff(step)
    flow = {k: expm(generator * k)[:n] for k in np.unique(intervals)}
    values = [state[0]]
    for k, f in zip(intervals, drive, strict=True):
        state = flow[k][:, :n] @ state + flow[k][:, n:] * f
        values.append(state[0])
    return np.array(values)
