"""Many steps of a potential of few parameters at a time, with its state in registers.

A step of a few dependent operations takes less time than to read the rows of a schedule. Here the rows of a step are put together
when they are compiled, for an algorithm, a potential and a number of parameters; loops over these are unrolled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .. import layout, schedule
from ..discrete_laws import first_share
from ..jit import compiled, inlined, merged
from ..layout import EVALUATIONS, PHASE, STEPS_DONE
from ..rules import Method, Move, coordinate_of
from .analytic import function_of
from .intrinsics import array_on_stack
from .placed import address_of_code, algorithm_at, state_at

MOST = 16  # parameters
MOST_ROWS = 32  # of a step: deeper nests of functions have names that LLVM takes for one another
LONG = 1 << 17  # steps of a run that are worth the second that compiling takes

KNOWN = {schedule.PASS, schedule.FINISH, schedule.UPDATE, schedule.COUNT}
Rows = tuple[tuple[int, ...], ...]
# algorithm (layout.Algorithm), address of the problem, counts (3,), x, v, g, y, moment (P,) each, loss ↦ the loss after a phase
Phase = Callable[..., float]


def rows_of(problem: layout.Problem, program: schedule.Program, n_params: int, steps: int) -> Rows:
    """Return the rows of a step, empty if runs are not stepped in this way.

    They are if the potential has no data and few parameters, there are no laws to sum, steps are many, and a step has few rows.
    """
    if problem.kind in (layout.NETWORK, layout.LINEAR_NETWORK) or n_params > MOST or steps < LONG:
        return ()
    rows = tuple(map(tuple, program.rows[program.step : program.record].tolist()))
    return rows if len(rows) <= MOST_ROWS and all(row[schedule.OP] in KNOWN for row in rows) else ()


def _move(move: Move, P: int) -> Phase:
    coefficients, visit = move.coefficients, merged(coordinate_of(move))

    def phase(algorithm, problem, counts, x, v, g, y, moment, loss):
        c, first = coefficients(algorithm, counts[STEPS_DONE]), first_share(algorithm, counts[STEPS_DONE])
        shares, block, decays = algorithm.shares, algorithm.block, algorithm.decays
        for i in range(P):
            visit(c, x, v, g, y, moment, shares, first, block, decays, i)
        return loss

    return phase


def _evaluation(kind: int, at_y: bool, P: int) -> Phase:
    function = function_of(kind)
    potential = inlined(getattr(function, "py_func", function))

    def phase(algorithm, problem, counts, x, v, g, y, moment, loss):
        at = y if at_y else x
        loss = potential(problem, 0, 0, at, g)
        if algorithm.weight_decay != 0:
            for i in range(P):
                g[i] += algorithm.weight_decay * at[i]
        counts[EVALUATIONS] += 1
        return loss

    return phase


def _then(first: Phase, second: Phase) -> Phase:
    def both(algorithm, problem, counts, x, v, g, y, moment, loss):
        loss = first(algorithm, problem, counts, x, v, g, y, moment, loss)
        return second(algorithm, problem, counts, x, v, g, y, moment, loss) if math.isfinite(loss) else loss

    return both


def _step(method: Method, kind: int, P: int, rows: Rows) -> Phase:
    """Return the phases of a step one after the other, until the loss is not finite."""
    phases = []
    for row in rows:
        if row[schedule.OP] == schedule.UPDATE:
            rule = method.all_rules[row[schedule.A]]
            assert isinstance(rule, Move)
            phases.append(inlined(_move(rule, P)))
        elif row[schedule.OP] == schedule.PASS:
            phases.append(inlined(_evaluation(kind, row[schedule.VECTOR] == schedule.Y, P)))
    return functools.reduce(lambda first, second: inlined(_then(first, second)), phases)


@functools.cache
def stretch(method: Method, kind: int, P: int, dtype: str, rows: Rows) -> Any:
    """Return the compiled function of many steps: addresses of algorithm, problem and state, number of steps ↦ 0.0."""
    step, array, number = _step(method, kind, P, rows), array_on_stack(P, dtype), np.empty(0, dtype)

    @compiled
    def steps(algorithm_address, problem_address, state_address, n):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        counts, loss, has_moment = state.counts, state.loss[0], state.moment.size > 0
        x, v, g, y, moment = array(), array(), array(), array(), array()
        for i in range(P):
            x[i], v[i], g[i], y[i] = state.x[i], state.v[i], state.gradient[i], state.y[i]
            moment[i] = state.moment[i] if has_moment else 0
        for _ in range(n):
            loss = step(algorithm, problem_address, counts, x, v, g, y, moment, loss)
            if not math.isfinite(loss):
                counts[PHASE] = layout.DIVERGED
                break
            counts[STEPS_DONE] += 1
        for i in range(P):
            state.x[i], state.v[i], state.gradient[i], state.y[i] = x[i], v[i], g[i], y[i]
            if has_moment:
                state.moment[i] = moment[i]
        state.loss[0] = loss
        return 0.0

    return steps


def address_of_stretch(method: Method, kind: int, P: int, dtype: str, rows: Rows) -> Any:
    """Return where the machine code of a stretch of steps lies, compiled or read from disk if need be."""
    i = numba.int64
    return address_of_code(stretch(method, kind, P, dtype, rows), (i, i, i, i))
