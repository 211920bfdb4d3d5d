"""Records of a flow, taken with any spacing, held against its laws and its equation of motion (theory §3, §4.5).

Whoever took the steps, they were no longer than the spacing of the records. A method of first order or better then errs by
no more than what its gradients, taken up to two records away from where they are used, would change: the tolerance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import ArrayLike, BoolArray, Float64Array
from .._motion.dynamics import Dynamics
from .._problem.potentials import Potential
from .._symmetry.family import Family
from .rows import ROUND_OFF, Motion, Row, blocks_of, gradients, norms, times

# Nesterov's gradient is taken one step ahead, and differences look half a step to each side.
_RECORDS = 2
# Where left and right sums of the force differ by more than this part of it, the records are too far apart for any bound.
_RESOLVED = 0.5
_TOO_FAR = "the records are too far apart: between them the force changes by half of itself and more"
# Two steps or more between records of spacing Δt are stable without oscillating where λΔt/γ, or Δt√(λ/m), is below this: then
# a hidden step has half of it at most. Beyond, an oscillation may have the period of the records, and not be seen in them.
_STIFF = 2.0
_ITERATIONS = 2  # of the direction of largest curvature, from that of the record before


# So many steps between records may round x each, which kicks the velocity by ε|x|/2 over the time of a step; kicks add up, as
# small steps are rounded to the same side for long. In units of 2ε|x| over the spacing:
_HIDDEN = 10
_KICKS = _HIDDEN**2 / 4


@dataclass(frozen=True)
class Path:
    """A recording of a flow.

    Attributes
    ----------
    t : ndarray, shape (R,)
        Times.
    x, v, force : ndarray, shape (R, P)
        Positions, velocities, and −∇U(x).
    eps : float
        Machine ε of the positions.
    noise : ndarray, shape (R,)
        Round-off of |v|.
    """

    t: Float64Array
    x: Float64Array
    v: Float64Array
    force: Float64Array
    eps: float
    noise: Float64Array


def path(
    U: Potential, x: Float64Array, t: Float64Array, dynamics: Dynamics, velocity: ArrayLike | None, eps: float
) -> Path:
    """Return the recording with its velocities: those given, else differences of second order in the spacing."""
    from_rest = dynamics.alpha > 0 and t[0] == 0
    if velocity is not None:
        if dynamics.mass == 0:
            raise ValueError("velocity is not accepted with mass = 0: gradient flow is first order")
        v = checks.shaped(velocity, "velocity", x.shape).astype(np.float64)
        if from_rest and v[0].any():
            raise ValueError("velocity must be zero at t[0] = 0, where the friction α/t is infinite")
        return Path(t, x, v, -gradients(U, x), eps, eps * np.linalg.norm(v, axis=1))
    if t.size < 3:
        raise ValueError(f"params must have at least three rows for differences of second order, got {t.size}")
    v = np.gradient(x, t, axis=0, edge_order=2)
    if from_rest:
        v[0] = 0.0
    return Path(t, x, v, -gradients(U, x), eps, 2 * eps * np.linalg.norm(x, axis=1) / np.gradient(t))


def check_flow(
    U: Potential, path: Path, dynamics: Dynamics, families: Iterable[Family], energy: bool
) -> tuple[list[Row], list[Motion]]:
    """Return the rows of the laws and of the motion."""
    obstacle = "" if _resolved(path) else _TOO_FAR
    law = _first_order if dynamics.mass == 0 else _second_order
    laws = [law(s, path, dynamics, obstacle) for s in families]
    if energy:
        laws.append(_energy(U, path, dynamics, obstacle))
    motion = _motion(U, path, dynamics, np.zeros(path.t.size, dtype=bool))
    if not any(row.verdict == "broken" for row in [*laws, *motion]):
        return laws, motion
    stiffness = _stiffness(U, path, dynamics)
    stiff = stiffness > _STIFF
    if not stiff.any():
        return laws, motion
    k = int(np.argmax(stiff))
    why = (
        f"curvature or friction times spacing is {stiffness[k]:.2g} from t = {path.t[k]:.4g} on, where it must be below {_STIFF:g}: "
        "what happens between the records may not be seen in them"
    )
    laws = [dataclasses.replace(row, obstacle=why) if row.first and row.first[0] >= k else row for row in laws]
    return laws, _motion(U, path, dynamics, stiff)


def _stiffness(U: Potential, path: Path, dynamics: Dynamics) -> Float64Array:
    """Return λΔt/γ, or the larger of Δt√(λ/m) and 2γΔt/m, at every record, λ the largest curvature, by power iteration from the direction of the force."""
    out, direction = np.empty(path.t.size), path.force[0].copy()
    spacing = np.append(np.diff(path.t), path.t[-1] - path.t[-2])
    for k, x in enumerate(path.x):
        curvature = 0.0
        for _ in range(_ITERATIONS if k else 8 * _ITERATIONS):
            size = float(np.linalg.norm(direction))
            if not 0 < size < np.inf:
                direction = np.random.default_rng(0).standard_normal(U.n_params)
                size = float(np.linalg.norm(direction))
            step = np.finfo(np.float64).eps ** (1 / 3) * (float(np.linalg.norm(x)) + 1)
            direction = (-U.gradient(x + step / size * direction) - path.force[k]) / -step
            curvature = float(np.linalg.norm(direction))
        out[k] = curvature
    with np.errstate(invalid="ignore"):
        if dynamics.mass == 0:
            scaled = spacing * out / dynamics.gamma
        else:  # friction that stops a velocity within a spacing is seen by no difference of positions either
            scaled = spacing * np.maximum(np.sqrt(out / dynamics.mass), _STIFF * dynamics.gamma / dynamics.mass)
    return np.where(np.isfinite(scaled), scaled, np.inf)


def _resolved(path: Path) -> bool:
    change = np.linalg.norm(np.diff(path.force, axis=0), axis=1)
    size = _intervals(np.linalg.norm(path.force, axis=1), path.t)
    return bool(np.diff(path.t) @ change <= _RESOLVED * size.sum())


def _first_order(s: Family, path: Path, dynamics: Dynamics, obstacle: str) -> Row:
    """∫⟨g(x), dx⟩ by the trapezoidal rule, which is Q − Q_0 for G symmetric.

    Gradient descent with one step per record makes it ½ΣB(Δx, Δx) exactly, a quarter of the tolerance.
    """
    step, length = np.diff(path.x, axis=0), norms(s, path.x)
    drift = s.charge(0.5 * (path.x[1:] + path.x[:-1]), step)
    shift = np.maximum(np.abs(s.source(step)), _misplaced(s, path) / dynamics.gamma).sum(axis=0)
    round_off = ROUND_OFF * path.eps * times(np.linalg.norm(path.x, axis=1), length).sum(axis=0)
    scale = _intervals(times(np.linalg.norm(path.force, axis=1) / dynamics.gamma, length), path.t).sum(axis=0)
    return _row(s.name, path, _summed(drift), _RECORDS * shift + round_off, scale, obstacle)


def _second_order(s: Family, path: Path, dynamics: Dynamics, obstacle: str) -> Row:
    """μJ − μ_0J_0 − ∫μS ds."""
    mu, length = dynamics.law_weight(path.t), norms(s, path.x)
    if (mu == 1).all():  # no friction, or μ is no double: then that of the last record is the unit
        mu = dynamics.fading(path.t, path.t[-1])
    charge, source = times(mu, s.charge(path.x, path.v)), times(mu, s.source(path.v))
    residual = charge - charge[0] - _summed(_intervals(source, path.t))
    shift = _left_right(source, path.t).sum(axis=0) + np.abs(np.diff(charge, axis=0)).max(axis=0)
    shift += times(mu[1:], _misplaced(s, path)).sum(axis=0) / dynamics.mass
    round_off = _KICKS * times(mu * path.noise, length).sum(axis=0)
    scale = _intervals(times(mu * np.linalg.norm(path.force, axis=1) / dynamics.mass, length), path.t).sum(axis=0)
    return _row(s.name, path, residual, _RECORDS * shift + round_off, scale, obstacle)


def _misplaced(s: Family, path: Path) -> Float64Array:
    """Return Δt|⟨g(x), ∇U⟩| with g at one end of each interval and ∇U at the other, where alone it is not zero."""
    step = np.diff(path.x, axis=0)
    ends = [np.abs(s.pair(step, force)) for force in (path.force[1:], path.force[:-1])]
    return times(np.diff(path.t), np.maximum(*ends))


def _energy(U: Potential, path: Path, dynamics: Dynamics, obstacle: str) -> Row:
    """E − E_0 + ∫c|ẋ|² ds."""
    values = np.array([U.value(x) for x in path.x])
    kinetic, rate = dynamics.energy(path.v, 0.0), dynamics.energy_rate(path.t, path.v)
    residual = kinetic - kinetic[0] + values - values[0] - _summed(_intervals(rate, path.t))
    work = np.abs((np.diff(path.force, axis=0) * path.v[1:]).sum(axis=1))
    shift = np.diff(path.t) @ (work + np.abs(np.diff(rate))) + np.abs(np.diff(kinetic)).max()
    speed = np.linalg.norm(path.v, axis=1)
    braking = np.divide(-rate, speed, out=np.zeros_like(rate), where=speed > 0)
    noise = dynamics.mass * (speed * path.noise).max() + _intervals(2 * braking * path.noise, path.t).sum()
    round_off = ROUND_OFF * (noise + path.eps * np.abs(values).sum())
    scale = _intervals(np.linalg.norm(path.force, axis=1) * speed, path.t).sum()
    return _row("time", path, residual[:, None], np.array([_RECORDS * shift + round_off]), np.array([scale]), obstacle)


def _motion(U: Potential, path: Path, dynamics: Dynamics, stiff: BoolArray) -> list[Motion]:
    """mΔẋ + ∫cẋ ds less ∫−∇U ds, over each interval; without a bound beside records that are `stiff`."""
    unseen = _nearby(np.where(stiff[1:] | stiff[:-1], np.inf, 0.0))
    dt, ahead, first_order = np.diff(path.t), _change_ahead(U, path, dynamics), dynamics.mass == 0
    slack = np.zeros(dt.size)  # of the friction, in a time that is wrong by one record
    noise = dynamics.gamma * path.noise[1:] * dt if first_order else _KICKS / ROUND_OFF * dynamics.mass * path.noise[1:]
    c = dynamics.friction(path.t)
    braking = c if first_order else np.where(path.v.any(axis=1), c, 0.0)
    if not first_order:
        slack = dt * np.abs(np.diff(c))
    out = []
    for block in blocks_of(U):  # one at a time: all of them together are as large as the recording
        part = (slice(None), slice(block.start, block.stop))
        force, v = path.force[part], path.v[part]
        want = _intervals(force, path.t)
        shift = times(dt, np.maximum(np.abs(np.diff(force, axis=0)), ahead[part]))
        if first_order:
            got = dynamics.gamma * np.diff(path.x[part], axis=0)
        else:
            got = dynamics.mass * np.diff(v, axis=0) + _intervals(times(braking, v), path.t)
            shift += times(c[1:], _left_right(v, path.t))
        scale = np.linalg.norm(want, axis=1)
        with np.errstate(invalid="ignore"):  # infinite friction on a block at rest, at t = 0: no bound
            nearby = _nearby(np.linalg.norm(shift, axis=1) + slack * np.linalg.norm(v[1:], axis=1))
        bound = np.where(nearby <= _RESOLVED * scale, _RECORDS * nearby + ROUND_OFF * noise, np.inf) + unseen
        out.append(Motion.compared(block, path.t[:-1], got, want, bound, scale, 1))
    return out


def _change_ahead(U: Potential, path: Path, dynamics: Dynamics) -> Float64Array:
    """Return by how much the force changes over a step as long as each interval.

    Where a sample sits on a kink of relu, steps land on either side in turn, and the records may have seen one side only.
    """
    out = np.empty((path.t.size - 1, U.n_params))
    for k, dt in enumerate(np.diff(path.t)):
        v = path.force[k] / dynamics.gamma if dynamics.mass == 0 else path.v[k]
        out[k] = np.abs(-U.gradient(path.x[k] + dt * v) - path.force[k])
    out[~np.isfinite(out)] = np.inf
    return out


def _nearby(values: Float64Array) -> Float64Array:
    """Return the largest of each value and its neighbours up to `_RECORDS` away."""
    padded = np.pad(values, _RECORDS)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * _RECORDS + 1).max(axis=1))


def _row(
    name: str, path: Path, residual: Float64Array, tolerance: Float64Array, scale: Float64Array, obstacle: str
) -> Row:
    """Return the row of a law whose tolerance and scale are those of the whole recording."""
    tolerance, scale = np.broadcast_to(tolerance, residual.shape), np.broadcast_to(scale, residual.shape)
    return Row.of(name, path.t, residual, tolerance, scale, 1, obstacle)


def _intervals(rate: Float64Array, t: Float64Array) -> Float64Array:
    """Return ∫rate dt over each interval by the trapezoidal rule."""
    return times(0.5 * np.diff(t), rate[1:] + rate[:-1])


def _left_right(rate: Float64Array, t: Float64Array) -> Float64Array:
    """Return what left and right sums of rate differ by, interval by interval."""
    return times(np.diff(t), np.abs(np.diff(rate, axis=0)))


def _summed(steps: Float64Array) -> Float64Array:
    """Return the sums from the start, with a zero before the first step."""
    return np.concatenate([np.zeros((1, *steps.shape[1:])), np.cumsum(steps, axis=0)])
