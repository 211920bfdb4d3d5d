"""Rows that are not what they are taken for: running averages of the parameters, or rows that are other numbers of steps apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._problem.potentials import Potential
from .case import Case, explained
from .replay import walk
from .rounding import Rounding

_FARTHEST = 32  # steps between rows that are tried
# Weights of the newest parameters in an average that are tried first; between two of them Newton's steps find the way.
_WEIGHTS = np.geomspace(1e-4, 0.9, 25)
_NEWTON = 12
_NUDGE = 1e-6  # of the logarithm of the weight, for differences

_Weight = Callable[[int], float]  # number of a row ↦ weight of the newest parameters in it


@np.errstate(over="ignore", invalid="ignore")
def averages(U: Potential, algorithm: Algorithm, cases: Sequence[Case]) -> str:
    """Recognise averages e_k = e_{k−1} + w_k(x_k − e_{k−1}) of parameters x_k that take the steps of gradient descent."""
    cases = [case for case in cases if case.record > 1]  # before that an average may begin otherwise
    if algorithm.has_velocity or not cases:
        return ""
    rounding = Rounding(U, 0.0)

    def left(case: Case, weight: _Weight) -> Float64Array:
        """Return w(x_{k+1} − x_k + η∇U(x_k)) with the parameters that the rows are averages of."""
        before, here, after = case.rows
        now, then = weight(case.record), weight(case.record + 1)
        x = before + (here - before) / now
        if not np.isfinite(x).all():
            return np.full_like(x, np.inf)
        force = rounding.of(case.batch).gradient(x) + algorithm.weight_decay * x  # type: ignore[arg-type]
        return np.asarray(then * (here - x + algorithm.dt * force) + after - here)

    def all_are(weight: _Weight) -> bool:
        off = [algorithm.dt * float(np.linalg.norm(case.got - case.want)) for case in cases]
        return all(
            explained(float(np.linalg.norm(left(case, weight))), size, algorithm.dt * case.noise)
            for case, size in zip(cases, off, strict=True)
        )

    for first in (0, 1):
        if all_are(lambda k, first=first: 1 / (k + first)):  # type: ignore[misc]
            return "rows are means of all parameters so far, not the parameters themselves"
    for of in (_constant, _corrected):
        w = _fitted(lambda w, of=of: left(cases[0], of(w)))  # type: ignore[misc]
        if w < 1 and all_are(of(w)):
            return f"rows are running averages of the parameters with a decay of {1 - w:.4g}, not the parameters themselves"
    return ""


def _constant(w: float) -> _Weight:
    return lambda k: w


def _corrected(w: float) -> _Weight:
    """Return the weights of averages that began at zero with row 1 and are divided by their sum."""
    return lambda k: w / (1 - (1 - w) ** k)


def _fitted(left: Callable[[float], Float64Array]) -> float:
    """Return the weight that leaves least, by Gauss and Newton's steps of its logarithm from the best of those tried."""
    sizes = [float(np.linalg.norm(left(w))) for w in _WEIGHTS]
    u = float(np.log(_WEIGHTS[int(np.argmin(sizes))]))
    for _ in range(_NEWTON):
        here = left(float(np.exp(u)))
        slope = (left(float(np.exp(u + _NUDGE))) - here) / _NUDGE
        square = float(slope @ slope)
        if not 0 < square < np.inf:
            break
        u -= float(np.clip(slope @ here / square, -1.0, 1.0))
    return float(np.exp(u))


@np.errstate(over="ignore", invalid="ignore")
def apart(U: Potential, algorithm: Algorithm, every: int, t0: float, cases: Sequence[Case]) -> str:
    """Recognise rows that are all another number of steps apart; those of methods with a velocity from rest at row 0."""
    if any(batch is not None for case in cases for batch in case.batches):
        return ""
    if not algorithm.has_velocity:
        starts = [(case, case.rows[case.here], case.rows[case.here + 1 : case.here + 2]) for case in cases]
    else:
        starts = [(case, case.rows[0], case.rows[1:]) for case in cases[:1] if case.record == case.here]
    if not starts:
        return ""
    found = set(range(1, max(_FARTHEST, 2 * every) + 1)) - {every}
    for case, start, following in starts:
        found = _fitting(U, algorithm, every, t0, case, start, following, found)
    return f"rows are {min(found)} steps apart, not {every}: every={min(found)}" if found else ""


def _fitting(
    U: Potential,
    algorithm: Algorithm,
    every: int,
    t0: float,
    case: Case,
    start: Float64Array,
    following: Float64Array,
    tried: set[int],
) -> set[int]:
    """Return which of the numbers of steps lead from a row at rest to those that follow."""
    if not tried:
        return tried

    def gradient(_: int, y: Float64Array) -> Float64Array:
        return U.gradient(y) if np.isfinite(y).all() else np.full_like(y, np.nan)

    x, v, path = start, np.zeros_like(start), {0: start}
    for j in range(max(*tried, every) * len(following)):
        x, v = walk(algorithm, x, v, t0 + j * algorithm.dt, 1, gradient)
        path[j + 1] = x
        if not np.isfinite(x).all():
            break

    def miss(m: int) -> float:
        ends = [m * (i + 1) for i in range(len(following))]
        if ends[-1] not in path:
            return np.inf
        return float(np.linalg.norm([path[end] - row for end, row in zip(ends, following, strict=True)]))

    off = miss(every)
    if not np.isfinite(off):
        return set()
    return {m for m in tried if explained(miss(m), off, case.noise * algorithm.reach * m)}
