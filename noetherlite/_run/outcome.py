"""The Trajectory of finished runs, from their states and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.layout import EVALUATIONS, PHASE, STEPS_DONE
from .._kernels.pointwise import is_recorded
from .._symmetry.records import read, rounding
from .exactness import blown_up
from .on_demand import unread
from .plan import specify
from .runs import Runs
from .trajectory import BLEW_UP, Member, Trajectory


def member(runs: Runs, e: int, stopped: str) -> Member:
    """Return status, message and number of gradients of run e; `stopped` is the cause of a stop, or ''."""
    records, counts = layout.views(runs.records, e), runs.state.counts[e]
    done, steps = int(counts[STEPS_DONE]), records.last
    if counts[PHASE] == layout.DIVERGED:
        # The loss is evaluated by the record of the last step, or by the gradient of the next one.
        recording = is_recorded(done, records.every, steps) and done not in records.step
        status, message = "diverged", f"the loss stopped being finite at step {done if recording else done + 1}"
    elif stopped:
        status, message = "stopped", f"stopped by {stopped} after {done} of {steps} steps"
    else:
        blew_up = blown_up(runs.plan, runs.algorithms[e], runs.x0[e], records)
        how = "" if runs.plan.reduction is None else f", layer 1 in {runs.plan.reduction}"
        status, message = "completed", f"completed {steps} steps{how}{f', {blew_up}' if blew_up else ''}"
        if runs.algorithms[e].is_implicit:
            message += f", its equations solved to {_left_by_solver(runs)[e]:.1e}"
    return Member(status, message, int(counts[EVALUATIONS]) * (2 if runs.algorithms[e].sam else 1))


def _left_by_solver(runs: Runs) -> Float64Array:
    """Return the largest error that the solver of implicit steps has left in each run, infinite for those that diverged."""
    left = runs.state.moment.max(axis=1).astype(np.float64)
    return np.where(runs.state.counts[:, PHASE] == layout.DIVERGED, np.inf, left)


def trajectory(runs: Runs, stopped: Mapping[int, str]) -> Trajectory:
    """Return the trajectory of the runs; `stopped` has the cause of each stop, and no entry for runs that were not started.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C came before anything was recorded.
    """
    plan, records, E = runs.plan, runs.records, len(runs)
    finished = runs.state.counts[:, STEPS_DONE] == records.last
    begun = runs.state.counts[:, PHASE] != layout.NEW
    members = tuple(member(runs, e, stopped.get(e, "" if begun[e] and finished[e] else "Ctrl-C")) for e in range(E))
    count = Counter(m.status for m in members)
    if (records.step < 0).all() and count["stopped"] == E:
        raise KeyboardInterrupt("Ctrl-C before anything was recorded")
    quantity, params = runs.in_theta()
    if params is not None:
        params[records.step < 0] = np.nan  # a new file holds zeros
    step = np.minimum(np.arange(records.step.shape[1]) * records.every, records.last)[None].repeat(E, axis=0)
    with np.errstate(over="ignore"):  # times of records after a divergence may be infinite
        t = np.stack([a.times(runs.t0, row) for a, row in zip(runs.algorithms, step, strict=True)])
    blew_up = sum(BLEW_UP in m.message for m in members)
    message = ", ".join(f"{count[s]} {s}" for s in ("completed", "diverged", "stopped") if count[s])
    x, v = runs.ends()
    x[~begun] = v[~begun] = np.nan
    seeded = plan.batch is not None or runs.algorithms[0].has_noise
    keys = [int(stream.key) for stream in runs.streams] if seeded else None
    recorded, round_off = records._replace(quantity=quantity), rounding(records.step, plan.drawn, plan.dtype)
    return Trajectory(
        t=t,
        step=step,
        loss=records.loss,
        energy=records.loss + records.excess,
        laws=unread(lambda: read(plan.watched, runs.algorithms, t, recorded, runs.state.sizes, round_off)),
        x=x,
        v=v,
        params=params,
        status=next(s for s in ("diverged", "stopped", "completed") if count[s]),
        message=f"{message}, {BLEW_UP}: {blew_up}" if blew_up else message,
        n_gradients=sum(m.n_gradients for m in members),
        specification=specify(plan, runs.algorithms, records.last, runs.t0, records.every, batch_keys=keys),
        members=members,
        observed=runs.observed,
        solver_residual=_left_by_solver(runs) if runs.algorithms[0].is_implicit else None,
    )


def alone(ensemble: Trajectory) -> Trajectory:
    """Return the run of an ensemble of one, with the specification of a single run."""
    specification = dict(ensemble.specification)
    arguments = dict(specification["arguments"])
    keys = arguments.pop("batch_keys")
    specification["arguments"] = {**arguments, "batch_key": None if keys is None else keys[0]}
    return ensemble.member(0, specification)
