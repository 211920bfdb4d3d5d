"""Tests of the exact discrete laws against round-off: of a restored state, and of a run that may have blown up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base.products import lengths
from .._base.types import Array, BoolArray, Float64Array
from .._kernels import layout, reference
from .._motion.base import Algorithm
from .._symmetry.family import Family
from .trajectory import BLEW_UP

if TYPE_CHECKING:
    from .plan import Plan
    from .runs import Runs

_ROUNDINGS = 16  # rounding errors per step, in units of ε times the largest term of a law


def objection(runs: Runs, e: int) -> str:
    """Return the reason why the state of run e contradicts the exact laws, '' if it does not or the run has not begun.

    A correct state satisfies them to round-off: a few roundings per step of the terms' present size, or √ε of it, as the terms
    may have been larger before.
    """
    plan, algorithm, x0 = runs.plan, runs.algorithms[e], runs.x0[e]
    state, records = layout.views(runs.state, e), layout.views(runs.records, e)
    dual = plan.problem is not None and plan.problem.dual >= 0
    if state.counts[layout.PHASE] != layout.RUNNING or dual:
        return ""
    kernel, done = runs.kernels[e], int(state.counts[layout.STEPS_DONE])
    oracle = reference.Run(_no_gradient, runs.method, kernel, plan.laws, runs.streams[e], state, records)
    with np.errstate(over="ignore", invalid="ignore"):
        defects = [("discrete residual", oracle.defect())]
        if algorithm.law_of == "J":  # which the kernels then keep from step to step
            defects.append(("charge", state.charge - oracle.charge(state.x, state.v)))
    eps = float(np.finfo(plan.dtype).eps)
    allowed = max(eps**0.5, _ROUNDINGS * eps * done)
    ends = [x0, state.x] if plan.reduction is None else [x0]
    scales = [_law_sizes(plan, algorithm, x) for x in ends]
    for name, defect in defects:
        for s, part, *sizes in zip(plan.watched, _split_by_law(plan.watched, defect), *scales, strict=True):
            error = float(np.abs(part).max(initial=0.0))
            if error > allowed * max(sizes):
                return f"at step {done} the {name} of {s.name!r} is off by {error:.2g}, in numbers of {max(sizes):.2g}"
    return ""


def blown_up(runs: Runs) -> list[str]:
    """Return for each run a message if its round-off exceeds the size of its initial values, else ''.

    The criterion: the loss rose above the initial energy by more than the factor 1/√ε, or the residual of an exact law
    exceeds the size of the law's terms at the start.
    """
    calm = _surely_calm(runs).tolist()
    return ["" if calm[e] else _blown_up(runs, e) for e in range(len(runs))]


def _surely_calm(runs: Runs) -> BoolArray:
    """Return which runs have certainly not blown up, (E,), by lower bounds of the laws' terms: in few operations nearly all."""
    plan, records, x0 = runs.plan, runs.records, runs.x0
    calm: BoolArray = np.all(records.step >= 0, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.abs(records.loss[:, 0] + records.excess[:, 0])
        calm &= ~_rose(plan, records.loss.max(axis=1), energy)
        if plan.watched:
            # of many numbers, of which |…| would be a copy
            worst = np.maximum(records.discrete.max(axis=1), -records.discrete.min(axis=1))
            errors = np.maximum.reduceat(worst, plan.laws.start[:-1], axis=1)
            half = 0.5 * _step_lengths(runs.algorithms, x0)
            for s, error in zip(plan.watched, errors.T, strict=True):
                size = half * s.least_norm(x0)
                calm &= (error <= size) & (size < np.inf)
    return calm


def _blown_up(runs: Runs, e: int) -> str:
    """Return `blown_up` of run e."""
    plan, records = runs.plan, layout.views(runs.records, e)
    written = records.step >= 0
    if not written.any():
        return ""
    loss = records.loss[written]
    energy = abs(float(loss[0] + records.excess[written][0]))
    if _rose(plan, loss.max(), energy):
        return f"{BLEW_UP}: the loss rose from {loss[0]:.3g} to {loss.max():.3g}"
    parts = _split_by_law(plan.watched, np.abs(records.discrete[written]).max(axis=0))
    for s, part, size in zip(plan.watched, parts, _law_sizes(plan, runs.algorithms[e], runs.x0[e]), strict=True):
        error = float(part.max(initial=0.0))
        if error > size > 0:
            return f"{BLEW_UP}: round-off in the exact law of {s.name!r} rose to {error:.2g}, where it started from {size:.2g}"
    return ""


def _rose(plan: Plan, loss: Any, energy: Any) -> Any:
    """Return whether the largest loss of a run, or of each, exceeds the initial energy by more than the factor 1/√ε."""
    return (loss * float(np.finfo(plan.dtype).eps ** 0.5) > energy) & (energy > 0)


def _law_sizes(plan: Plan, algorithm: Algorithm, x: Array) -> list[float]:
    """Return the size of each law's terms at x: |g(x)||x|, divided by the time per step for a law of J."""
    if not np.isfinite(x).all():
        return [np.inf for _ in plan.watched]
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(_step_lengths([algorithm], x[None])[0])
        return [float(np.max(s.norm(x), initial=0.0)) * length for s in plan.watched]


def _step_lengths(algorithms: Sequence[Algorithm], x: Array) -> Float64Array:
    """Return |x| of each run, (E,) for x (E, P), divided by the time per step for a law of J."""
    rates = [a.largest_metric * (1 / a.dt if a.has_velocity else 1.0) for a in algorithms]
    return np.array(rates) * lengths(np.asarray(x, np.float64))


def _split_by_law(families: list[Family], components: Float64Array) -> list[Float64Array]:
    """Split an array of all components into one array per law."""
    ends = np.cumsum([s.n_generators for s in families])
    return np.split(components, ends[:-1]) if families else []


def _no_gradient(x: Array, samples: object) -> tuple[float, Array]:
    raise AssertionError("no gradient is needed to judge a state")
