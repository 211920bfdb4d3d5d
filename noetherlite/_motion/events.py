"""Integration of a flow with kinks by DOP853, piece by piece between the times at which the activation pattern changes.

A piece ends at the first root of a margin (a pre-activation, for example) along the dense output of a step.
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

_UNIT = 4 * float(np.finfo(np.float64).eps)  # relative tolerance of a root
_GRAZE = 0.1  # a margin whose interpolated minimum in a step is below this fraction of its ends is evaluated there


class Solution(NamedTuple):
    """States at the requested times, sliding modes, and the number of crossings."""

    y: Float64Array  # (R, n)
    rate: Float64Array  # ẏ, (R, n)
    sliding: tuple[SlidingMode, ...]
    n_crossings: int


def solve(motion: PatternFlow, y: Float64Array, t: Float64Array) -> Solution:
    """Return the states at the times `t` ≥ `motion.now`."""
    from scipy.integrate import DOP853

    states, rates = np.empty((2, t.size, y.size))
    done = int(np.searchsorted(t, motion.now, side="right"))
    states[:done], rates[:done] = y, motion.field(0.0, y)
    step: float | None = None
    while done < t.size:
        end = float(t[-1] - motion.now)
        first = None if step is None else min(step, end)
        solver = DOP853(motion.field, 0.0, y, end, rtol=motion.limits.rtol, atol=motion.limits.atol, first_step=first)
        step_start, event = _Edge(motion, solver.y, solver.f), None
        while event is None and solver.status == "running":
            message = solver.step()
            if solver.status == "failed":
                raise RuntimeError(f"DOP853 stopped after {done} of {t.size} times: {message}")
            step_end = _Edge(motion, solver.y, solver.f)
            path = cache(solver.dense_output)  # made on demand, as it takes three gradients
            event = _first_event(motion, path, (solver.t_old, solver.t), step_start, step_end)
            u = solver.t if event is None else event
            ended = solver.status == "finished" and event is None
            passed = t.size if ended else int(np.searchsorted(t, motion.now + u, side="right"))
            if passed > done:
                for k in range(done, passed):
                    states[k] = motion.onto(path()(min(t[k] - motion.now, u)))
                    rates[k] = motion.field(t[k] - motion.now, states[k])
                done = passed
            solver.y, step_start = motion.onto(solver.y), step_end
        if event is not None:
            y, step = path()(event), solver.h_abs
            margins = motion.margins(y)
            motion.now += event
            y = motion.arrive(y, np.where(margins <= max(margins.min(), 0.0), -1.0, 1.0))
        else:
            motion.now += end
    return Solution(states, rates, motion.ended(), motion.crossings.total())


class _Edge:
    """The margins and their rates at the start or the end of a step."""

    def __init__(self, motion: PatternFlow, y: Float64Array, rate: Float64Array) -> None:
        self.margins = motion.margins(y)
        self.rates = motion.closing(y, rate)


def _first_event(
    motion: PatternFlow, output: Callable[[], DenseOutput], step: tuple[float, float], first: _Edge, last: _Edge
) -> float | None:
    """Return the first time in the step at which a margin is 0, or None."""
    from scipy.optimize import brentq

    start, end = step
    if first.margins.min() <= 0:
        return start
    minima = _minima(first, last, end - start)
    if last.margins.min() > 0 and not minima:
        return None
    path, n = output(), first.rates.size
    # positions take a gradient, and are evaluated within the step only if one has reached its bound
    margins = motion.margins if last.margins[n:].min(initial=1.0) <= 0 else motion.distances

    def root(k: int, late: float) -> float:
        def margin(u: float) -> float:
            return motion.distance(path(u), k) if k < n else float(motion.position_margins(path(u))[k - n])

        # a distance computed alone may differ by round-off from the same computed with all, and so have another sign
        at_start, at_end = margin(start), margin(late)
        if at_start <= 0 or at_end >= 0:
            return start if at_start <= 0 else late
        return float(brentq(margin, start, late, xtol=_UNIT * late, rtol=_UNIT))

    finite = np.where(np.isfinite(first.margins), first.margins, 1.0)
    ended: list[int] = []
    for late in [*(start + du for du in minima), end]:
        # the root of one margin is the event, unless another margin is negative there, whose earlier root is then computed
        while (now := margins(path(late))).min() <= 0 and (k := int((now / finite[: now.size]).argmin())) not in ended:
            late = root(k, late)
            ended.append(k)
        if ended:
            return late
    return None  # margins are negative nowhere, or by round-off only


def _minima(first: _Edge, last: _Edge, h: float) -> list[float]:
    """Return the times, from the start of a step, of small minima of margins that first decrease and then increase.

    A margin is approximated by the cubic through its values and rates at the two ends of the step.
    """
    n = first.rates.size
    m0, m1, d0, d1 = first.margins[:n], last.margins[:n], h * first.rates, h * last.rates
    turning = np.flatnonzero((d0 < 0) & (d1 > 0) & np.isfinite(m0) & (np.minimum(m0, m1) > 0))
    m0, m1, d0, d1 = m0[turning], m1[turning], d0[turning], d1[turning]
    # m = m0 + d0 s + q s² + c s³ at its minimum
    q, c = 3 * (m1 - m0) - 2 * d0 - d1, 2 * (m0 - m1) + d0 + d1
    s = np.clip(-d0 / (q + np.sqrt(np.maximum(q * q - 3 * c * d0, 0.0))), 0.0, 1.0)
    low = m0 + s * (d0 + s * (q + s * c)) < _GRAZE * np.minimum(m0, m1)
    return [float(u) for u in np.unique(h * s[low])]
