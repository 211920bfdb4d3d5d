"""Reference solutions of the continuous dynamics, by SciPy's DOP853 at tight tolerances.

Networks with kinks (relu, leaky_relu) are integrated from kink to kink by `kinks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval

from .._base import checks
from .._base.floating import underflowing
from .._base.types import Array, ArrayLike, Float64Array
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential, is_potential
from .dynamics import Dynamics
from .events import solve
from .gated import GatedLoss, kinked, other_kinks
from .kinks import Descent, Inertia, Limits, SlidingMode

# The first interval tried for the series at t = 0, in units of the shortest time scale, and the number of halvings.
_FRACTION, _HALVINGS = 0.01, 100

_Gradient = Callable[[Array], Float64Array]
_Force = Callable[[Array, Array], Float64Array]  # ∇U at (x, v); along kinks it depends on the velocity


@dataclass(frozen=True, eq=False)
class Flow:
    """A continuous trajectory at chosen times.

    Attributes
    ----------
    t : ndarray, shape (R,)
        Times.
    x, v : ndarray, shape (R, P)
        Position and velocity ẋ.
    sliding : tuple of SlidingMode
        Sliding along kinks of a network: sample, layer, neuron, start and end. Empty for a smooth loss, and where momentum
        carries the flow across.
    n_crossings : int
        Kinks crossed: pre-activations that changed sign on a sample.
    """

    t: Float64Array
    x: Float64Array
    v: Float64Array
    sliding: tuple[SlidingMode, ...] = ()
    n_crossings: int = 0


@underflowing
def reference_flow(
    U: Potential,
    dynamics: Dynamics,
    x0: ArrayLike,
    t: ArrayLike,
    *,
    velocity: ArrayLike | None = None,
    t0: float = 0.0,
    rtol: float = 1e-12,
    atol: float = 1e-13,
    max_evaluations: int = 10_000_000,
) -> Flow:
    """Return the solution of m ẍ + (γ + α/t) ẋ + ∇U(x) = 0 at the times `t`.

    Parameters
    ----------
    U : Potential
        A network's loss, with or without kinks (see Notes), or any smooth function. Kinks of other potentials are not
        resolved: the tolerance is missed, and the step size goes to zero where a gradient flow slides along one.
    dynamics : Dynamics
        (m, γ, α).
    x0 : array_like, shape (P,)
        Position at t0.
    t : array_like, shape (R,)
        Increasing times ≥ t0.
    velocity : array_like, shape (P,), optional
        Velocity at t0, zero by default; not for m = 0.
    t0 : float
        Initial time.
    rtol, atol : float
        Tolerances of DOP853, rtol ≥ 2.3e-14.
    max_evaluations : int
        Limit on the number of gradients; an explicit method would not finish a problem that is stiff on the scale of `t`.

    Returns
    -------
    Flow

    Raises
    ------
    ValueError
        If an argument is out of range, a velocity is given where friction is infinite (α > 0, t0 = 0), or U has kinks other than
        those at z = 0 between two straight lines ("hard_tanh", "elu(0.5)").
    RuntimeError
        If DOP853 fails, for example where ∇U is not finite, or needs more than `max_evaluations`.

    Notes
    -----
    With α > 0 the equation is singular at t = 0. There the solution with ẋ(0) = 0 is the series
    x = x_0 + a_2t² + a_3t³ + a_4t⁴ + a_5t⁵ + O(t⁶); comparing powers of t, with H the Hessian at x_0,

        2(m + α)a_2 = −∇U,  3(2m + α)a_3 = −2γa_2,  4(3m + α)a_4 = −3γa_3 − Ha_2,  5(4m + α)a_5 = −4γa_4 − Ha_3.

    It is used up to a time ε at which its defect R in the equation of motion changes neither x nor v by more than the
    tolerances: |R|ε²/m and |R|ε/m bound its errors.

    For networks with relu or leaky_relu ∇U jumps where a neuron's pre-activation on a sample is zero. The flow is integrated
    between these kinks, at which the activation pattern changes. Gradient flow is
    Filippov's solution of ẋ ∈ −∂U [1]_, the limit of gradient descent with small steps: where the field points towards a kink
    from both sides, x slides along it. The neuron then has a slope on that sample, between those of the two sides, that keeps
    the pre-activation at zero; sliding ends when that slope reaches one of theirs. U with any such slopes has the same
    symmetries, so that laws hold while sliding too; `Flow.sliding` lists the intervals. At a concave kink, where the field
    points away on both sides, the solution is not unique, and the neuron stays off.

    Momentum crosses a kink whose pre-activation z has a rate ż ≠ 0. At z = ż = 0, as at a start from rest with biases of
    zero, the same decision is made with z̈ in place of ż, and the flow slides if both sides pull towards the kink. With
    friction, a flow near such a kink oscillates about it with ever smaller period and amplitude.

    Each crossing takes some 23 gradients in NumPy. Gradient flow of 20-32-32-10 neurons on 120 samples to t = 2 crosses 417
    kinks and slides along 41, in 5 seconds on one core.

    References
    ----------
    .. [1] A. F. Filippov, "Differential Equations with Discontinuous Righthand Sides", Kluwer 1988.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.eye(1))
    >>> flow = nl.reference_flow(U, nl.ND, [1.0], [1.0, 2.0])
    >>> bool(np.abs(flow.x[:, 0] - np.cos(flow.t)).max() < 1e-11)
    True
    """
    is_potential(U)
    checks.instance(dynamics, "dynamics", Dynamics, "a Dynamics such as nl.GF")
    x = checks.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    rtol = checks.real(rtol, "rtol", minimum=100 * np.finfo(np.float64).eps)  # SciPy's own limit
    atol = checks.real(atol, "atol", minimum=0.0, strict=True)
    times = checks.times(t)
    start = checks.real(t0, "t0", minimum=0.0)
    limits = Limits(rtol, atol, checks.integer(max_evaluations, "max_evaluations", minimum=1))
    if times.size == 0 or times[0] < start:
        raise ValueError(f"t must hold times >= t0={start:g}, got {checks.describe(t)}")
    if not np.isfinite(U.gradient(x)).all():
        raise RuntimeError(f"∇U is not finite at x0, got {checks.describe(U.gradient(x))}")
    moving = velocity is not None
    v = checks.shaped(velocity, "velocity", x.shape).astype(np.float64) if moving else np.zeros_like(x)  # type: ignore[arg-type]
    if dynamics.mass == 0 and moving:
        raise ValueError("velocity is not accepted with mass = 0: gradient flow is first order")
    if dynamics.mass > 0 and dynamics.alpha > 0 and start == 0 and v.any():
        raise ValueError(
            "velocity must be zero at t0 = 0 where the friction α/t is infinite; give t0 > 0 to start moving"
        )
    if (other := other_kinks(U)) is not None:
        raise ValueError(
            f"U has the activation {other!r}, whose kinks reference_flow does not follow; expected smooth ones, or kinks at "
            "z = 0 between two straight lines, such as 'relu'"
        )
    if kinked(U):
        return _across_kinks(GatedLoss(cast(NetworkPotential, U)), dynamics, x, v, times, start, limits)
    if dynamics.mass == 0:
        path = solve_smooth(lambda _, x: -_gradient(U.gradient, x) / dynamics.gamma, x, times, start, limits)
        return Flow(times, path, np.array([-U.gradient(point) / dynamics.gamma for point in path]))
    if start > 0 or dynamics.alpha == 0:
        return _second_order(U, dynamics, x, v, times, start, limits)
    return _from_rest(
        lambda x, _: U.gradient(x),
        lambda x, v: True,
        dynamics,
        x,
        times,
        limits,
        lambda x, v, t, t0: _second_order(U, dynamics, x, v, t, t0, limits),
    )


def _across_kinks(
    loss: GatedLoss, dynamics: Dynamics, x: Float64Array, v: Float64Array, t: Float64Array, t0: float, limits: Limits
) -> Flow:
    if dynamics.mass == 0:
        descent = Descent(loss, x, limits, dynamics.gamma, t0)
        path = solve(descent, descent.onto(x), t)
        return Flow(t, path.y, path.rate, path.sliding, path.n_crossings)
    inertia = Inertia(loss, np.concatenate([x, v]), limits, dynamics, t0)

    def go_on(x: Float64Array, v: Float64Array, t: Float64Array, t0: float) -> Flow:
        inertia.now = t0
        path = solve(inertia, np.concatenate([x, v]), t)
        return Flow(t, path.y[:, : x.size], path.y[:, x.size :], path.sliding, path.n_crossings)

    if t0 > 0 or dynamics.alpha == 0:
        return go_on(x, v, t, t0)

    def force(x: Array, v: Array) -> Float64Array:
        return inertia.slide(np.concatenate([x, v]))[0]

    def stays(x: Array, v: Array) -> bool:
        return bool(inertia.margins(np.concatenate([x, v])).min() > 0)

    flow = _from_rest(force, stays, dynamics, x, t, limits, go_on)
    inertia.now = float(t[-1])
    return replace(flow, sliding=inertia.ended())


def _from_rest(
    force: _Force,
    inside: Callable[[Array, Array], bool],
    dynamics: Dynamics,
    x: Float64Array,
    t: Float64Array,
    limits: Limits,
    go_on: Callable[[Float64Array, Float64Array, Float64Array, float], Flow],
) -> Flow:
    """Return the flow from rest at t = 0 with friction α/t: the series first, while its states are `inside`, then `go_on`."""
    series = _series(lambda x: force(x, np.zeros_like(x)), dynamics, x)
    end = _series_end(force, inside, dynamics, series, limits)
    early = t <= end
    x_early, v_early, _ = _evaluate(series, t[early])
    if early.all():
        return Flow(t, x_early, v_early)
    x_end, v_end, _ = _evaluate(series, np.array([end]))
    late = go_on(x_end[0], v_end[0], t[~early], end)
    return Flow(t, np.vstack([x_early, late.x]), np.vstack([v_early, late.v]), late.sliding, late.n_crossings)


def _second_order(
    U: Potential, dynamics: Dynamics, x: Array, v: Array, t: Float64Array, t0: float, limits: Limits
) -> Flow:
    P = x.size

    def motion(time: float, state: Float64Array) -> Float64Array:
        velocity = state[P:]
        force = -_gradient(U.gradient, state[:P]) - float(dynamics.friction(time)) * velocity
        return np.concatenate([velocity, force / dynamics.mass])

    path = solve_smooth(motion, np.concatenate([x, v]), t, t0, limits)
    return Flow(t, path[:, :P], path[:, P:])


def solve_smooth(
    motion: Callable[[float, Float64Array], Float64Array],
    start: Array,
    t: Float64Array,
    t0: float,
    limits: Limits,
) -> Float64Array:
    """Return the states at the times `t`, shape (R, n)."""
    from scipy.integrate import solve_ivp

    left = limits.max_evaluations

    def counted(time: float, state: Float64Array) -> Float64Array:
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError(
                f"DOP853 needs more than max_evaluations={limits.max_evaluations} and is at t = {time:g}"
            )
        return motion(time, state)

    if t[-1] == t0:
        return np.asarray(start, dtype=np.float64)[None].copy()
    with np.errstate(over="ignore", invalid="ignore"):  # reported as the failure of DOP853
        solution = solve_ivp(counted, (t0, t[-1]), start, method="DOP853", t_eval=t, rtol=limits.rtol, atol=limits.atol)
    if not solution.success:
        raise RuntimeError(f"DOP853 stopped after {len(solution.t)} of {t.size} times: {solution.message}")
    return np.asarray(solution.y.T, dtype=np.float64)


def _series(gradient: _Gradient, dynamics: Dynamics, x: Array) -> Float64Array:
    """Return the coefficients of the powers of t in x(t) near t = 0, shape (6, P)."""
    m, gamma, alpha = dynamics.mass, dynamics.gamma, dynamics.alpha
    # along kinks the terms of a_4 and a_5 that depend on the velocity are omitted: the larger defect shortens the series
    a2 = -gradient(x) / (2 * (m + alpha))
    a3 = -2 * gamma * a2 / (3 * (2 * m + alpha))
    a4 = -(3 * gamma * a3 + _hessian_times(gradient, x, a2)) / (4 * (3 * m + alpha))
    a5 = -(4 * gamma * a4 + _hessian_times(gradient, x, a3)) / (5 * (4 * m + alpha))
    series = np.stack([x, np.zeros_like(x), a2, a3, a4, a5])
    if not np.isfinite(series).all():
        raise RuntimeError("no series at t = 0: ∇U is not finite near x0")
    return series


def _evaluate(series: Float64Array, t: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return x, v and ẍ of shape (R, P) at the times (R,)."""
    x, v, acceleration = (np.asarray(polyval(t, polyder(series, order)).T, np.float64) for order in range(3))
    return x, v, acceleration


def _series_end(
    force: _Force,
    inside: Callable[[Array, Array], bool],
    dynamics: Dynamics,
    series: Float64Array,
    limits: Limits,
) -> float:
    """Return the time up to which the series is within the tolerances, and its states are `inside`."""
    x0, _, a2, *_ = series
    size, m = float(np.linalg.norm(a2)), dynamics.mass
    if size == 0:
        return np.inf  # a critical point
    steepest = float(np.linalg.norm(_hessian_times(lambda x: force(x, np.zeros_like(x)), x0, a2)))
    rates = [dynamics.gamma / m, np.sqrt(steepest / (m * size)), np.sqrt(size)]
    for end in _FRACTION / max(rates) * 0.5 ** np.arange(_HALVINGS):
        x, v, acceleration = (value[0] for value in _evaluate(series, np.array([end])))
        defect = np.abs(m * acceleration + dynamics.friction(end) * v + _gradient(force, x, v))
        if (
            (defect * end**2 <= m * (limits.atol + limits.rtol * np.abs(x))).all()
            and (defect * end <= m * (limits.atol + limits.rtol * np.abs(v))).all()
            and inside(x, v)
        ):
            return float(end)
    raise RuntimeError("no series at t = 0 solves the equation of motion: ∇U is not continuous at x0")


def _gradient(gradient: Callable[..., Float64Array], x: Array, *v: Array) -> Float64Array:
    """Return ∇U(x); raise RuntimeError if x is not finite, as DOP853 would never end on NaN."""
    if not np.isfinite(x).all():
        raise RuntimeError("DOP853 stopped: ∇U is not finite on its way, or grows too fast")
    return gradient(x, *v)


def _hessian_times(gradient: _Gradient, x: Array, a: Array) -> Float64Array:
    """Return Ha by a central difference of ∇U."""
    size = float(np.linalg.norm(a))
    if size == 0:
        return np.zeros(x.size)
    step = np.finfo(np.float64).eps ** (1 / 3) * (1 + float(np.linalg.norm(x))) / size
    with np.errstate(invalid="ignore"):  # ∞ − ∞, reported by `_series`
        return np.asarray((gradient(x + step * a) - gradient(x - step * a)) / (2 * step))
