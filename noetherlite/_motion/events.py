"""The solution of a flow with kinks, smooth piece by smooth piece: DOP853 between the times at which the pattern changes.

A piece's end is the first root of one of the motion's margins, a pre-activation for example, along a step's dense output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._base.types import Float64Array
from .kinks import PatternFlow, SlidingMode

if TYPE_CHECKING:
    from scipy.integrate import DenseOutput

_UNIT = 4 * float(np.finfo(np.float64).eps)  # how exactly a root is found
_GRAZE = 0.1  # a step in which a margin may fall below this part of its ends' is looked at where it is smallest


class Solution(NamedTuple):
    """States and what happened on the way."""

    y: Float64Array  # (R, n)
    rate: Float64Array  # ẏ, (R, n)
    sliding: tuple[SlidingMode, ...]
    n_crossings: int


def solve(motion: PatternFlow, y: Float64Array, t: Float64Array) -> Solution:
    """Return the states at the times `t`, of which none is before `motion.now`."""
    from scipy.integrate import DOP853

    states, rates = np.empty((2, t.size, y.size))
    done = int(np.searchsorted(t, motion.now, side="right"))
    states[:done], rates[:done] = y, motion.field(0.0, y)
    step: float | None = None
    while done < t.size:
        end = float(t[-1] - motion.now)
        first = None if step is None else min(step, end)
        solver = DOP853(motion.field, 0.0, y, end, rtol=motion.how.rtol, atol=motion.how.atol, first_step=first)
        before, event = _Edge(motion, solver.y, solver.f), None
        while event is None and solver.status == "running":
            message = solver.step()
            if solver.status == "failed":
                raise RuntimeError(f"DOP853 stopped after {done} of {t.size} times: {message}")
            after = _Edge(motion, solver.y, solver.f)
            path = cache(solver.dense_output)  # costs three gradients, where it is wanted
            event = _first_event(motion, path, (solver.t_old, solver.t), before, after)
            u = solver.t if event is None else event
            ended = solver.status == "finished" and event is None
            passed = t.size if ended else int(np.searchsorted(t, motion.now + u, side="right"))
            if passed > done:
                for k in range(done, passed):
                    states[k] = motion.onto(path()(min(t[k] - motion.now, u)))
                    rates[k] = motion.field(t[k] - motion.now, states[k])
                done = passed
            solver.y, before = motion.onto(solver.y), after
        if event is not None:
            y, step = path()(event), solver.h_abs
            margins = motion.margins(y)
            motion.now += event
            y = motion.arrive(y, np.where(margins <= max(margins.min(), 0.0), -1.0, 1.0))
        else:
            motion.now += end
    return Solution(states, rates, motion.ended(), motion.crossings.total())


class _Edge:
    """A step's beginning or end: margins, and their rates where these are wanted."""

    def __init__(self, motion: PatternFlow, y: Float64Array, rate: Float64Array) -> None:
        self.margins = motion.margins(y)
        self.rates = motion.closing(y, rate)


def _first_event(
    motion: PatternFlow, output: Callable[[], DenseOutput], step: tuple[float, float], before: _Edge, after: _Edge
) -> float | None:
    """Return the first time in the step at which a margin is 0, or None."""
    from scipy.optimize import brentq

    start, end = step
    if before.margins.min() <= 0:
        return start
    closest = _closest(before, after, end - start)
    if after.margins.min() > 0 and not closest:
        return None
    path, n = output(), before.rates.size
    # positions cost a gradient, and are looked at in between only if one has come to its end
    margins = motion.margins if after.margins[n:].min(initial=1.0) <= 0 else motion.distances

    def root(k: int, late: float) -> float:
        def margin(u: float) -> float:
            return motion.distance(path(u), k) if k < n else float(motion.holds(path(u))[k - n])

        # one distance alone may differ by round-off from the same among all, and so be passed already, or not yet
        first, last = margin(start), margin(late)
        if first <= 0 or last >= 0:
            return start if first <= 0 else late
        return float(brentq(margin, start, late, xtol=_UNIT * late, rtol=_UNIT))

    finite = np.where(np.isfinite(before.margins), before.margins, 1.0)
    ended: list[int] = []
    for late in [*(start + du for du in closest), end]:
        # one margin has a smooth root; it is the event unless others are passed before, which are then looked at in turn
        while (now := margins(path(late))).min() <= 0 and (k := int((now / finite[: now.size]).argmin())) not in ended:
            late = root(k, late)
            ended.append(k)
        if ended:
            return late
    return None  # no margin is passed, or by round-off alone


def _closest(before: _Edge, after: _Edge, h: float) -> list[float]:
    """Return the times after a step's beginning at which margins that fall first and rise later may be least.

    A margin is taken as the cubic of its values and rates at the step's two ends.
    """
    n = before.rates.size
    m0, m1, d0, d1 = before.margins[:n], after.margins[:n], h * before.rates, h * after.rates
    turning = np.flatnonzero((d0 < 0) & (d1 > 0) & np.isfinite(m0) & (np.minimum(m0, m1) > 0))
    m0, m1, d0, d1 = m0[turning], m1[turning], d0[turning], d1[turning]
    # m = m0 + d0 s + q s² + c s³, at the root of its derivative at which it is least
    q, c = 3 * (m1 - m0) - 2 * d0 - d1, 2 * (m0 - m1) + d0 + d1
    s = np.clip(-d0 / (q + np.sqrt(np.maximum(q * q - 3 * c * d0, 0.0))), 0.0, 1.0)
    low = m0 + s * (d0 + s * (q + s * c)) < _GRAZE * np.minimum(m0, m1)
    return [float(u) for u in np.unique(h * s[low])]
