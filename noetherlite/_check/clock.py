"""The times of a recording's rows, and the algorithms whose steps they may be."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.precision import of_dtype, precision
from .._base.types import ArrayLike, Float64Array
from .._motion.algorithms import ALGORITHMS
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics

_DOUBLE = float(np.finfo(np.float64).eps)


def read_times(t: ArrayLike | None, n: int, may_pause: bool = False) -> tuple[Float64Array, float]:
    """Return the times of n rows, and the machine ε of their numbers; the same twice only where a rate may be zero."""
    row_times: Float64Array = np.asarray(checks.array(t, "t", ndim=1), np.float64) if may_pause else checks.times(t)  # type: ignore[arg-type]
    if row_times.size and (row_times[0] < 0 or (np.diff(row_times) < 0).any()):
        raise ValueError(f"t must be non-negative and not decrease, got {checks.describe(t)}")
    if row_times.size != n:
        raise ValueError(f"t must have one time for each of the {n} rows of params, got {row_times.size}")
    if n < 2:
        raise ValueError(f"params must have at least two rows, got {n}")
    numbers = checks.numpy_array(t, "t")
    return row_times, max(precision(numbers) if numbers.any() else _DOUBLE, of_dtype(t))  # type: ignore[arg-type]


def start_time(algorithm: Algorithm, t0: float | None) -> float:
    """Return the time of the first row: 0 where it is not given."""
    if t0 is None and algorithm.singular_start:
        raise ValueError(
            f"t must be given with {algorithm}: its friction depends on the time of the first row, which is not 0"
        )
    return 0.0 if t0 is None else checks.real(t0, "t0", minimum=0.0)


def time_tolerance(dt: float, t: Float64Array, eps: float) -> Float64Array:
    """Return the tolerance of intervals of length dt: the round-off of t, and a millionth of dt."""
    return np.asarray(1e-6 * dt + 4 * eps * t)


def evenly_spaced(t: Float64Array, eps: float) -> Float64Array:
    """Return evenly spaced times if t is such up to rounding in a format shorter than float64, else t."""
    dt = float(t[-1] - t[0]) / (t.size - 1)
    if eps <= _DOUBLE or (np.abs(np.diff(t) - dt) > time_tolerance(dt, t[1:], eps)).any():
        return t
    return np.asarray(t[0] + dt * np.arange(t.size))


def first_step(algorithm: Algorithm, t0: float, eps: float) -> int:
    """Return the number of the step from a row at time t0, counted from the start of a run at 0.

    ValueError if the times of a schedule do not pass t0.
    """
    if not algorithm.rates:
        return round(t0 / algorithm.dt)
    if algorithm.singular_start:
        return 0  # its runs begin later
    times = algorithm.times(0.0, np.arange(len(algorithm.rates) + 1))
    first = int(np.argmin(np.abs(times - t0)))
    if abs(times[first] - t0) > 1e-6 * algorithm.dt + 4 * eps * t0:
        raise ValueError(f"t must begin with a time of the schedule, a sum of its first rates; got t[0] = {t0:.9g}")
    return first


def check_schedule(t: Float64Array, algorithm: Algorithm, every: int, eps: float) -> None:
    """Raise ValueError unless the rows are `every` steps of a schedule apart, the first rate of which is the first row's."""
    times = algorithm.times(float(t[0]), every * np.arange(t.size))
    wrong = np.abs(t - times) > time_tolerance(algorithm.dt, t, eps)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ValueError(
            f"t must be the sums of the rates of {algorithm}, {every} a row: t[{k}] = {times[k]:.9g}; got {t[k]:.9g}"
        )


def last_interval_is_short(t: Float64Array, algorithm: Algorithm, every: int, eps: float) -> bool:
    """Return whether the last row is fewer than `every` steps after the one before it; all other rows must be `every` apart.

    ValueError if the times do not advance by `every` steps of the algorithm.
    """
    step = every * algorithm.dt
    wrong = np.abs(np.diff(t) - step) > time_tolerance(step, t[1:], eps)
    last = float(t[-1] - t[-2]) / algorithm.dt
    if wrong[-1] and not wrong[:-1].any() and t.size > 2 and every > 1:
        allowed = float(time_tolerance(step, t[1:], eps)[-1]) / algorithm.dt
        if 1 <= round(last) < every and abs(last - round(last)) <= allowed:
            return True
    if wrong.any():
        k = int(np.argmax(wrong))
        apart = float(t[k + 1] - t[k])
        interval = f"one step of {algorithm}" if every == 1 else f"{every} steps of {algorithm}"
        raise ValueError(
            f"t must advance by {step:g} a row, {interval}, got t[{k + 1}] - t[{k}] = {apart:.9g};"
            " give every= for rows that are some steps apart, or a Dynamics such as nl.GF for records with steps between them"
        )
    return False


def candidates(dynamics: Dynamics, t: Float64Array) -> list[Algorithm]:
    """Return the algorithms for `dynamics` whose step is the spacing of the rows; none if the spacing is uneven."""
    dt = float(t[-1] - t[0]) / (t.size - 1)
    if t.size < 3 or (np.abs(np.diff(t) - dt) > time_tolerance(dt, t[1:], _DOUBLE)).any():
        return []
    algorithms = (kind.following(dynamics, dt, float(t[0])) for kind in ALGORITHMS.values())
    return [algorithm for algorithm in algorithms if algorithm is not None]
