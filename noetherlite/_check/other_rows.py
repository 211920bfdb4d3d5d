"""Rows that are running averages of the parameters, or another number of steps apart than declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._problem.potentials import Potential
from .case import Case, explained
from .replay import walk
from .rounding import Rounding

_FARTHEST = 32  # largest number of steps between rows that is tried
# Weights of the newest parameters in an average that are tried first; Newton's method refines the best of them.
_WEIGHTS = np.geomspace(1e-4, 0.9, 25)
_NEWTON = 12
_NUDGE = 1e-6  # step in the logarithm of the weight, for differences

_Weight = Callable[[int], float]  # number of a row ↦ weight of the newest parameters in it


@np.errstate(over="ignore", invalid="ignore")
def averages(U: Potential, algorithm: Algorithm, cases: Sequence[Case]) -> str:
    """Recognise averages e_k = e_{k−1} + w_k(x_k − e_{k−1}) of parameters x_k that take the steps of gradient descent."""
    cases = [case for case in cases if case.record > 1]  # the first rows depend on how the average was initialised
    if algorithm.has_velocity or algorithm.has_schedule or algorithm.needs_work or not cases:
        return ""
    rounding = Rounding(U, 0.0)

    def remainder(case: Case, weight: _Weight) -> Float64Array:
        """Return w(x_{k+1} − x_k + η∇U(x_k)) for the parameters x of which the rows are averages."""
        previous, current, following = case.rows
        w, next_w = weight(case.record), weight(case.record + 1)
        x = previous + (current - previous) / w
        if not np.isfinite(x).all():
            return np.full_like(x, np.inf)
        force = rounding.of(case.batch).gradient(x) + algorithm.weight_decay * x  # type: ignore[arg-type]
        return np.asarray(next_w * (current - x + algorithm.dt * force) + following - current)

    def explains_all(weight: _Weight) -> bool:
        errors = [algorithm.dt * float(np.linalg.norm(case.recorded - case.expected)) for case in cases]
        return all(
            explained(float(np.linalg.norm(remainder(case, weight))), size, algorithm.dt * case.noise)
            for case, size in zip(cases, errors, strict=True)
        )

    for first in (0, 1):
        if explains_all(lambda k, first=first: 1 / (k + first)):  # type: ignore[misc]
            return "rows are means of all parameters so far, not the parameters themselves"
    for weights in (_constant, _corrected):
        w = _fitted(lambda w, weights=weights: remainder(cases[0], weights(w)))  # type: ignore[misc]
        if w < 1 and explains_all(weights(w)):
            return f"rows are running averages of the parameters with a decay of {1 - w:.4g}, not the parameters themselves"
    return ""


def _constant(w: float) -> _Weight:
    return lambda k: w


def _corrected(w: float) -> _Weight:
    """Return the weights of averages that began at zero with row 1 and are divided by their sum."""
    return lambda k: w / (1 - (1 - w) ** k)


def _fitted(remainder: Callable[[float], Float64Array]) -> float:
    """Return the weight with the smallest remainder, by Gauss–Newton steps in its logarithm from the best of `_WEIGHTS`."""
    sizes = [float(np.linalg.norm(remainder(w))) for w in _WEIGHTS]
    u = float(np.log(_WEIGHTS[int(np.argmin(sizes))]))
    for _ in range(_NEWTON):
        value = remainder(float(np.exp(u)))
        slope = (remainder(float(np.exp(u + _NUDGE))) - value) / _NUDGE
        square = float(slope @ slope)
        if not 0 < square < np.inf:
            break
        u -= float(np.clip(slope @ value / square, -1.0, 1.0))
    return float(np.exp(u))


@np.errstate(over="ignore", invalid="ignore")
def apart(U: Potential, algorithm: Algorithm, every: int, t0: float, cases: Sequence[Case]) -> str:
    """Recognise rows that are another number of steps apart; for methods with a velocity, only from rest at row 0."""
    if any(batch is not None for case in cases for batch in case.batches):
        return ""
    if algorithm.has_schedule or algorithm.needs_work or not algorithm.starts_anywhere:
        return ""
    if not algorithm.has_velocity:
        starts = [(case, case.rows[case.here], case.rows[case.here + 1 : case.here + 2]) for case in cases]
    else:
        starts = [(case, case.rows[0], case.rows[1:]) for case in cases[:1] if case.record == case.here]
    if not starts:
        return ""
    numbers = set(range(1, max(_FARTHEST, 2 * every) + 1)) - {every}
    for case, start, following in starts:
        numbers = _fitting(U, algorithm, every, t0, case, start, following, numbers)
    return f"rows are {min(numbers)} steps apart, not {every}: every={min(numbers)}" if numbers else ""


def _fitting(
    U: Potential,
    algorithm: Algorithm,
    every: int,
    t0: float,
    case: Case,
    start: Float64Array,
    following: Float64Array,
    numbers: set[int],
) -> set[int]:
    """Return those of the numbers of steps that lead from a row at rest to the rows that follow."""
    if not numbers:
        return numbers

    def gradient(_: int, y: Float64Array) -> Float64Array:
        return U.gradient(y) if np.isfinite(y).all() else np.full_like(y, np.nan)

    x, v, path = start, np.zeros_like(start), {0: start}
    for j in range(max(*numbers, every) * len(following)):
        x, v = walk(algorithm, x, v, t0 + j * algorithm.dt, 1, gradient)
        path[j + 1] = x
        if not np.isfinite(x).all():
            break

    def miss(m: int) -> float:
        ends = [m * (i + 1) for i in range(len(following))]
        if ends[-1] not in path:
            return np.inf
        return float(np.linalg.norm([path[end] - row for end, row in zip(ends, following, strict=True)]))

    error = miss(every)
    if not np.isfinite(error):
        return set()
    return {m for m in numbers if explained(miss(m), error, case.noise * algorithm.reach * m)}
