"""The Trajectory of finished runs, from their states and records."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._base.types import Float64Array, IntArray
from .._kernels import layout
from .._kernels.layout import EVALUATIONS, PHASE, STEPS_DONE
from .._kernels.pointwise import is_recorded
from .._motion.base import Algorithm
from .._symmetry.records import LawRecord, read, rounding
from .exactness import blown_up
from .on_demand import Unread
from .plan import Plan, specify
from .runs import Runs
from .trajectory import BLEW_UP, Member, Trajectory, of_run

# Bytes of x up to which every attribute that can be computed later is left unread.
_SMALL = 1 << 16


def members(runs: Runs, causes: Sequence[str]) -> tuple[Member, ...]:
    """Return status, message and number of gradients of each run; `causes` has the cause of each stop, or ''."""
    blow_ups = blown_up(runs)
    return tuple(_member(runs, e, cause, blow_ups[e]) for e, cause in enumerate(causes))


def _member(runs: Runs, e: int, stopped: str, blew_up: str) -> Member:
    counts, steps = runs.state.counts[e], runs.records.last
    done = int(counts[STEPS_DONE])
    if counts[PHASE] == layout.DIVERGED:
        # The loss is evaluated by the record of the last step, or by the gradient of the next one.
        recording = is_recorded(done, runs.records.every, steps) and done not in runs.records.step[e]
        status, message = "diverged", f"the loss stopped being finite at step {done if recording else done + 1}"
        if runs.algorithms[e].is_implicit and not recording:
            message += ", in the iterations that solve its equations; they may converge at smaller steps"
    elif stopped:
        status, message = "stopped", f"stopped by {stopped} after {done} of {steps} steps"
    else:
        how = f", {runs.plan.reduced}" if runs.plan.reduced else ""
        status, message = "completed", f"completed {steps} steps{how}{f', {blew_up}' if blew_up else ''}"
        if runs.algorithms[e].is_implicit:
            message += f", its equations solved to {_left_by_solver(runs)[e]:.1e}"
    return Member(status, message, _gradients(runs, e))


def _gradients(runs: Runs, e: int) -> int:
    """Return the number of gradients of a run, of which minibatches are counted once where a step takes several of them."""
    algorithm, evaluations = runs.algorithms[e], int(runs.state.counts[e, EVALUATIONS])
    if algorithm.is_implicit and runs.plan.drawn < runs.plan.n_samples:
        first = min(algorithm.grad_accumulation, evaluations)
        return first + (evaluations - first) * algorithm.gradients_per_step
    return evaluations * (2 if algorithm.sam else 1)


def _left_by_solver(runs: Runs) -> Float64Array:
    """Return the largest error that the solver of implicit steps has left in each run, infinite for those that diverged."""
    left = runs.state.moment.max(axis=1).astype(np.float64)
    return np.where(runs.state.counts[:, PHASE] == layout.DIVERGED, np.inf, left)


def trajectory(runs: Runs, stopped: Mapping[int, str], single: bool) -> Trajectory:
    """Return the trajectory of the ensemble, or of its only run if `single`.

    `stopped` has the cause of each stop, and no entry for runs that were not started.

    KeyboardInterrupt if Ctrl-C came before anything was recorded.
    """
    plan, records, state, E = runs.plan, runs.records, runs.state, len(runs)
    layout.blank(records)
    done, phases = state.counts[:, STEPS_DONE].tolist(), state.counts[:, PHASE].tolist()
    begun = [phase != layout.NEW for phase in phases]
    ended = [begun[e] and done[e] == records.last for e in range(E)]
    causes = [stopped.get(e, "" if ended[e] else "Ctrl-C") for e in range(E)]
    if all(causes) and (records.step < 0).all():
        raise KeyboardInterrupt("Ctrl-C before anything was recorded")
    params = runs.params()
    if params is not None:
        params[records.step < 0] = np.nan  # a new file holds zeros
    x, v = runs.ends()
    if not all(begun):
        x[np.logical_not(begun)] = v[np.logical_not(begun)] = np.nan
    # An unread value keeps the arrays alive that it is computed from. Of a large run only the laws stay unread, which need no vectors of P numbers.
    small = state.x.nbytes <= _SMALL

    def later(value: Unread) -> Any:
        return value if small else value.read()

    of_each = Unread(lambda: members(runs, causes))
    times = Unread(functools.partial(_times, runs.algorithms, runs.t0, records))
    specification = later(Unread(lambda: _specification(runs, single)))
    values: dict[str, Any] = {
        "t": later(times),
        "step": later(Unread(lambda: _steps(records))),
        "loss": records.loss,
        "energy": records.loss + records.excess,
        "laws": Unread(functools.partial(_laws, plan, runs.algorithms, times, records, runs.constants(), state.sizes)),
        "x": x,
        "v": v,
        "params": params,
        "members": later(of_each),
        "observed": runs.observed,
        "solver_residual": _left_by_solver(runs) if runs.algorithms[0].is_implicit else None,
    }
    if single:
        return of_run(values, 0, specification)
    return Trajectory(
        status=later(Unread(lambda: _status(of_each.read()))),
        message=later(Unread(lambda: _message(of_each.read()))),
        n_gradients=later(Unread(lambda: sum(m.n_gradients for m in of_each.read()))),
        specification=specification,
        **values,
    )


def _steps(records: layout.Records) -> IntArray:
    """Return the steps of all records, whether they were reached or not."""
    E, rows = records.step.shape
    return np.minimum(np.arange(rows) * records.every, records.last)[None].repeat(E, axis=0)


def _times(algorithms: Sequence[Algorithm], t0: float, records: layout.Records) -> Float64Array:
    """Return the times of these steps; after a divergence they may be infinite."""
    with np.errstate(over="ignore"):
        return np.stack([a.times(t0, row) for a, row in zip(algorithms, _steps(records), strict=True)])


def _laws(
    plan: Plan,
    algorithms: Sequence[Algorithm],
    times: Unread,
    records: layout.Records,
    constants: Float64Array | None,
    sizes: Float64Array,
) -> dict[str, LawRecord]:
    if constants is not None:
        records = records._replace(quantity=records.quantity + constants)
    return read(plan.watched, algorithms, times.read(), records, sizes, rounding(records.step, plan.drawn, plan.dtype))


def _status(members: Sequence[Member]) -> str:
    """Return the worst status of the runs, "diverged" before "stopped"."""
    return next(s for s in ("diverged", "stopped", "completed") if any(m.status == s for m in members))


def _message(members: Sequence[Member]) -> str:
    """Return the number of runs by the way they ended."""
    count, blew_up = Counter(m.status for m in members), sum(BLEW_UP in m.message for m in members)
    message = ", ".join(f"{count[s]} {s}" for s in ("completed", "diverged", "stopped") if count[s])
    return f"{message}, {BLEW_UP}: {blew_up}" if blew_up else message


def _specification(runs: Runs, single: bool) -> dict[str, Any]:
    plan, records = runs.plan, runs.records
    seeded = plan.batch is not None or runs.algorithms[0].has_noise
    each = [int(stream.key) for stream in runs.streams] if seeded else None
    keys = {"batch_key": each and each[0]} if single else {"batch_keys": each}
    return specify(plan, runs.algorithms, records.last, runs.t0, records.every, keys)
