"""The continuous dynamics themselves, by SciPy's DOP853 at tight tolerances: what the algorithms are measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import _validate
from ._types import Array, ArrayLike, Float64Array
from .dynamics import Dynamics
from .potentials import Potential

# The series at t = 0 is used up to this fraction of the problem's own times: its error is of the sixth power of it.
_FRACTION = 0.01


@dataclass(frozen=True, eq=False)
class Flow:
    """A continuous trajectory at chosen times.

    Attributes
    ----------
    t : ndarray, shape (R,)
        Times.
    x, v : ndarray, shape (R, P)
        Position and velocity ẋ.
    """

    t: Float64Array
    x: Float64Array
    v: Float64Array


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
) -> Flow:
    """Return the solution of m ẍ + (γ + α/t) ẋ + ∇U(x) = 0 at the times `t`.

    Parameters
    ----------
    U : Potential
        Smooth: at kinks of ∇U (relu) the tolerance is not reached.
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
        Tolerances of DOP853.

    Returns
    -------
    Flow

    Raises
    ------
    ValueError
        If an argument is out of range, or a velocity is given where friction is infinite (α > 0, t0 = 0).
    RuntimeError
        If DOP853 fails, for example where ∇U is not finite.

    Notes
    -----
    With α > 0 the equation is singular at t = 0. There the solution with ẋ(0) = 0 is the series
    x = x_0 + a_2t² + a_3t³ + a_4t⁴ + a_5t⁵ + O(t⁶); comparing powers of t, with H the Hessian at x_0,

        2(m + α)a_2 = −∇U,  3(2m + α)a_3 = −2γa_2,  4(3m + α)a_4 = −3γa_3 − Ha_2,  5(4m + α)a_5 = −4γa_4 − Ha_3.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.eye(1))
    >>> flow = nl.reference_flow(U, nl.ND, [1.0], [1.0, 2.0])
    >>> bool(np.abs(flow.x[:, 0] - np.cos(flow.t)).max() < 1e-11)
    True
    """
    x = _validate.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    times = _validate.times(t)
    start = _validate.real(t0, "t0", minimum=0.0)
    if times.size == 0 or times[0] < start:
        raise ValueError(f"t must hold times >= t0={start:g}, got {_validate.describe(t)}")
    moving = velocity is not None
    v = _validate.shaped(velocity, "velocity", x.shape).astype(np.float64) if moving else np.zeros_like(x)  # type: ignore[arg-type]
    if dynamics.mass == 0:
        if moving:
            raise ValueError("velocity is not accepted with mass = 0: gradient flow is first order")
        return _first_order(U, dynamics, x, times, start, rtol, atol)
    if start > 0 or dynamics.alpha == 0:
        return _second_order(U, dynamics, x, v, times, start, rtol, atol)
    if v.any():
        raise ValueError(
            "velocity must be zero at t0 = 0 where the friction α/t is infinite; give t0 > 0 to start moving"
        )
    series, end = _series(U, dynamics, x)
    early = times <= end
    x_early, v_early = series(times[early, None])
    if early.all():
        return Flow(times, x_early, v_early)
    x_end, v_end = series(np.array([[end]]))
    late = _second_order(U, dynamics, x_end[0], v_end[0], times[~early], end, rtol, atol)
    return Flow(times, np.vstack([x_early, late.x]), np.vstack([v_early, late.v]))


def _first_order(
    U: Potential, dynamics: Dynamics, x: Array, t: Float64Array, t0: float, rtol: float, atol: float
) -> Flow:
    path = _solve(lambda _, x: -U.gradient(x) / dynamics.gamma, x, t, t0, rtol, atol)
    return Flow(t, path, np.array([-U.gradient(point) / dynamics.gamma for point in path]))


def _second_order(
    U: Potential, dynamics: Dynamics, x: Array, v: Array, t: Float64Array, t0: float, rtol: float, atol: float
) -> Flow:
    P = x.size

    def motion(time: float, state: Float64Array) -> Float64Array:
        velocity = state[P:]
        force = -U.gradient(state[:P]) - float(dynamics.friction(time)) * velocity
        return np.concatenate([velocity, force / dynamics.mass])

    path = _solve(motion, np.concatenate([x, v]), t, t0, rtol, atol)
    return Flow(t, path[:, :P], path[:, P:])


def _solve(
    motion: Callable[[float, Float64Array], Float64Array],
    start: Array,
    t: Float64Array,
    t0: float,
    rtol: float,
    atol: float,
) -> Float64Array:
    """Return the states at the times `t`, shape (R, n)."""
    from scipy.integrate import solve_ivp

    if t[-1] == t0:
        return np.asarray(start, dtype=np.float64)[None].copy()
    solution = solve_ivp(motion, (t0, t[-1]), start, method="DOP853", t_eval=t, rtol=rtol, atol=atol)
    if not solution.success:
        raise RuntimeError(f"DOP853 stopped after {len(solution.t)} of {t.size} times: {solution.message}")
    return np.asarray(solution.y.T, dtype=np.float64)


def _series(
    U: Potential, dynamics: Dynamics, x: Array
) -> tuple[Callable[[Float64Array], tuple[Float64Array, Float64Array]], float]:
    """Return t (R, 1) ↦ (x, v) near t = 0, and the time up to which it is used."""
    m, gamma, alpha = dynamics.mass, dynamics.gamma, dynamics.alpha
    a2 = -U.gradient(x) / (2 * (m + alpha))
    a3 = -2 * gamma * a2 / (3 * (2 * m + alpha))
    a4 = -(3 * gamma * a3 + _hessian_times(U, x, a2)) / (4 * (3 * m + alpha))
    a5 = -(4 * gamma * a4 + _hessian_times(U, x, a3)) / (5 * (4 * m + alpha))

    def series(t: Float64Array) -> tuple[Float64Array, Float64Array]:
        position = x + t**2 * (a2 + t * (a3 + t * (a4 + t * a5)))
        return position, t * (2 * a2 + t * (3 * a3 + t * (4 * a4 + t * 5 * a5)))

    size = float(np.linalg.norm(a2))
    if size == 0:
        return series, np.inf  # a critical point: nothing ever moves
    rates = [gamma / m, np.sqrt(np.linalg.norm(_hessian_times(U, x, a2)) / (m * size)), np.sqrt(size)]
    return series, _FRACTION / max(rates)


def _hessian_times(U: Potential, x: Array, a: Array) -> Float64Array:
    """Return Ha by a central difference of ∇U."""
    size = float(np.linalg.norm(a))
    if size == 0:
        return np.zeros(x.size)
    step = np.finfo(np.float64).eps ** (1 / 3) * (1 + float(np.linalg.norm(x))) / size
    return np.asarray((U.gradient(x + step * a) - U.gradient(x - step * a)) / (2 * step))
