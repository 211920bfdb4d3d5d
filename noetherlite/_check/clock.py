"""The clock of a recording: which times its rows have, and of which algorithm they may be the steps."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.precision import of_dtype, precision
from .._base.types import ArrayLike, Float64Array
from .._motion.algorithms import ALGORITHMS
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics

_DOUBLE = float(np.finfo(np.float64).eps)


def times(t: ArrayLike | None, n: int) -> tuple[Float64Array, float]:
    """Return the times of n rows, and the machine ε of their numbers."""
    when = checks.times(t)  # type: ignore[arg-type]
    if when.size != n:
        raise ValueError(f"t must have one time for each of the {n} rows of params, got {when.size}")
    if n < 2:
        raise ValueError(f"params must have at least two rows, got {n}")
    held = np.asarray(t)
    return when, max(precision(held) if held.any() else _DOUBLE, of_dtype(held))


def start(algorithm: Algorithm, t0: float | None) -> float:
    """Return the time of the first row: 0 where it is not given."""
    if t0 is None and algorithm.singular_start:
        raise ValueError(
            f"t must be given with {algorithm}: its friction depends on the time of the first row, which is not 0"
        )
    return 0.0 if t0 is None else checks.real(t0, "t0", minimum=0.0)


def spread(dt: float, t: Float64Array, eps: float) -> Float64Array:
    """Return by how much intervals may differ from dt: what the round-off of t makes of them, and a millionth."""
    return np.asarray(1e-6 * dt + 4 * eps * t[1:])


def even(t: Float64Array, eps: float) -> Float64Array:
    """Return t, or the evenly spaced times that it was before it was rounded to fewer digits than float64 has."""
    dt = float(t[-1] - t[0]) / (t.size - 1)
    if eps <= _DOUBLE or (np.abs(np.diff(t) - dt) > spread(dt, t, eps)).any():
        return t
    return np.asarray(t[0] + dt * np.arange(t.size))


def last_is_short(t: Float64Array, algorithm: Algorithm, every: int, eps: float) -> bool:
    """Return whether the last row is fewer than `every` steps after the one before it; all others must be `every` apart.

    Raises
    ------
    ValueError
        If times are not those of the algorithm.
    """
    step = every * algorithm.dt
    wrong = np.abs(np.diff(t) - step) > spread(step, t, eps)
    last = float(t[-1] - t[-2]) / algorithm.dt
    if wrong[-1] and not wrong[:-1].any() and t.size > 2 and every > 1:
        allowed = float(spread(step, t, eps)[-1]) / algorithm.dt
        if 1 <= round(last) < every and abs(last - round(last)) <= allowed:
            return True
    if wrong.any():
        k = int(np.argmax(wrong))
        apart = float(t[k + 1] - t[k])
        one = f"one step of {algorithm}" if every == 1 else f"{every} steps of {algorithm}"
        raise ValueError(
            f"t must advance by {step:g} a row, {one}, got t[{k + 1}] - t[{k}] = {apart:.9g};"
            " give every= for rows that are some steps apart, or a Dynamics such as nl.GF for records with steps between them"
        )
    return False


def candidates(dynamics: Dynamics, t: Float64Array) -> list[Algorithm]:
    """Return the algorithms for `dynamics` of which the rows may be steps: those that advance by the spacing, if it is even."""
    dt = float(t[-1] - t[0]) / (t.size - 1)
    if t.size < 3 or (np.abs(np.diff(t) - dt) > spread(dt, t, _DOUBLE)).any():
        return []
    found = (kind.following(dynamics, dt, float(t[0])) for kind in ALGORITHMS.values())
    return [algorithm for algorithm in found if algorithm is not None]
