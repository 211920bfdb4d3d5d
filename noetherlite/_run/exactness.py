"""Tests of the exact discrete laws against round-off: of a restored state, and of a run that may have blown up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .._base.products import square
from .._base.types import Array, Float64Array
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


def blown_up(plan: Plan, algorithm: Algorithm, x0: Array, records: layout.Records) -> str:
    """Return a message if round-off in a run exceeds the size of its initial values, else ''.

    The criterion: the loss rose above the initial energy by more than the factor 1/√ε, or the residual of an exact law
    exceeds the size of the law's terms at the start.
    """
    written = records.step >= 0
    if not written.any():
        return ""
    loss, eps = records.loss[written], float(np.finfo(plan.dtype).eps)
    energy = abs(float(loss[0] + records.excess[written][0]))
    if loss.max() * eps**0.5 > energy > 0:
        return f"{BLEW_UP}: the loss rose from {loss[0]:.3g} to {loss.max():.3g}"
    if not plan.watched:
        return ""
    discrete = records.discrete if written.all() else records.discrete[written]
    worst = np.maximum(discrete.max(axis=0), -discrete.min(axis=0))  # of many numbers, of which |…| would be a copy
    errors = np.maximum.reduceat(worst, plan.laws.start[:-1]).tolist()
    with np.errstate(over="ignore", invalid="ignore"):
        half = 0.5 * _step_length(algorithm, x0)
        if all(error <= half * s.least_norm(x0) < np.inf for s, error in zip(plan.watched, errors, strict=True)):
            return ""  # as of nearly all runs
    for s, error, size in zip(plan.watched, errors, _law_sizes(plan, algorithm, x0), strict=True):
        if error > size > 0:
            return f"{BLEW_UP}: round-off in the exact law of {s.name!r} rose to {error:.2g}, where it started from {size:.2g}"
    return ""


def _law_sizes(plan: Plan, algorithm: Algorithm, x: Array) -> list[float]:
    """Return the size of each law's terms at x: |g(x)||x|, divided by the time per step for a law of J."""
    if not np.isfinite(x).all():
        return [np.inf for _ in plan.watched]
    with np.errstate(over="ignore", invalid="ignore"):
        length = _step_length(algorithm, x)
        return [float(np.max(s.norm(x), initial=0.0)) * length for s in plan.watched]


def _step_length(algorithm: Algorithm, x: Array) -> float:
    """Return |x|, divided by the time per step for a law of J."""
    return (
        algorithm.largest_metric
        * math.sqrt(square(np.asarray(x, np.float64)))
        * (1 / algorithm.dt if algorithm.has_velocity else 1.0)
    )


def _split_by_law(families: list[Family], components: Float64Array) -> list[Float64Array]:
    """Split an array of all components into one array per law."""
    ends = np.cumsum([s.n_generators for s in families])
    return np.split(components, ends[:-1]) if families else []


def _no_gradient(x: Array, samples: object) -> tuple[float, Array]:
    raise AssertionError("no gradient is needed to judge a state")
