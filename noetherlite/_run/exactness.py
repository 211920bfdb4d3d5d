"""How far the exact discrete laws are from round-off: in a state that is taken up, and in a run that blew up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout, reference
from .._motion.base import Algorithm
from .._symmetry.family import Family
from .trajectory import BLEW_UP

if TYPE_CHECKING:
    from .plan import Plan
    from .runs import Runs

_ROUNDINGS = 16  # per step, of the largest numbers in a law


def objection(runs: Runs, e: int) -> str:
    """Return why the state of run e cannot be one of the run from its start, '' if it can, or has not begun.

    The algorithm's laws are exact, so that all they may be off by is round-off: a few roundings a step, in numbers that may
    have been larger before, for which half of the digits are allowed.
    """
    plan, algorithm, x0 = runs.plan, runs.algorithms[e], runs.x0[e]
    state, records = layout.views(runs.state, e), layout.views(runs.records, e)
    dual = plan.problem is not None and plan.problem.dual >= 0
    if state.counts[layout.PHASE] != layout.RUNNING or dual:
        return ""
    kernel, done = runs.kernels[e], int(state.counts[layout.STEPS_DONE])
    oracle = reference.Run(_unasked, kernel, plan.laws, runs.streams[e], state, records)
    with np.errstate(over="ignore", invalid="ignore"):
        defects = [("discrete residual", oracle.defect())]
        if algorithm.law_of == "J":  # which the kernels then keep from step to step
            defects.append(("charge", state.charge - oracle.charge(state.x, state.v)))
    eps = float(np.finfo(plan.dtype).eps)
    allowed = max(eps**0.5, _ROUNDINGS * eps * done)
    ends = [x0, state.x] if plan.reduction is None else [x0]
    scales = [_sizes(plan, algorithm, x) for x in ends]
    for name, defect in defects:
        for s, own, *sizes in zip(plan.watched, _by_law(plan.watched, defect), *scales, strict=True):
            off = float(np.abs(own).max(initial=0.0))
            if off > allowed * max(sizes):
                return f"at step {done} the {name} of {s.name!r} is off by {off:.2g}, in numbers of {max(sizes):.2g}"
    return ""


def blown_up(plan: Plan, algorithm: Algorithm, x0: Array, records: layout.Records) -> str:
    """Return in words that the numbers of a run have lost what it started with, '' if they have not.

    That is so where the loss rose above the energy of the start by more than half of the digits there are, or where
    round-off in an exact law is more than all that the law could have started from.
    """
    written = records.step >= 0
    if not written.any():
        return ""
    loss, eps = records.loss[written], float(np.finfo(plan.dtype).eps)
    energy = abs(float(loss[0] + records.excess[written][0]))
    if loss.max() * eps**0.5 > energy > 0:
        return f"{BLEW_UP}: the loss rose from {loss[0]:.3g} to {loss.max():.3g}"
    worst = _by_law(plan.watched, np.abs(records.discrete[written]).max(axis=0, initial=0.0))
    for s, own, size in zip(plan.watched, worst, _sizes(plan, algorithm, x0), strict=True):
        off = float(own.max(initial=0.0))
        if off > size > 0:
            return f"{BLEW_UP}: round-off in the exact law of {s.name!r} rose to {off:.2g}, where it started from {size:.2g}"
    return ""


def _sizes(plan: Plan, algorithm: Algorithm, x: Array) -> list[float]:
    """Return for each law how large its terms can be at x: |g(x)||x|; for a law of J over the time per step."""
    if not np.isfinite(x).all():
        return [np.inf for _ in plan.watched]
    factor = 1 / algorithm.dt if algorithm.has_velocity else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        length = factor * float(np.linalg.norm(x))
        return [float(np.max(s.norm(x), initial=0.0)) * length for s in plan.watched]


def _by_law(families: list[Family], components: Float64Array) -> list[Float64Array]:
    """Return the parts of an array of all components, one for each law."""
    ends = np.cumsum([s.n_generators for s in families])
    return np.split(components, ends[:-1]) if families else []


def _unasked(x: Array, chosen: object) -> tuple[float, Array]:
    raise AssertionError("no gradient is needed to judge a state")
