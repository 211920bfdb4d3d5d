"""E runs of a plan: algorithms, initial values, states and records. A single run is an ensemble of one."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout, pointwise
from .._kernels.layout import EVALUATIONS, PHASE, STEPS_DONE
from .._motion.base import Algorithm
from .._problem.blocks import blocks_of
from .._symmetry.records import refuse_mixed
from .observe import Observables
from .plan import Plan


def _numbers(algorithm: Algorithm, t0: float, blocks: tuple[Any, ...]) -> layout.Algorithm:
    """Return the numbers that an algorithm's rules read, from a cache if they contain no array of rates or decays."""
    few = not (algorithm.has_schedule or algorithm.has_blocks)
    return _cached_numbers(algorithm, t0, blocks) if few else algorithm.kernel(t0, blocks)


@functools.lru_cache(maxsize=64)
def _cached_numbers(algorithm: Algorithm, t0: float, blocks: tuple[Any, ...]) -> layout.Algorithm:
    return algorithm.kernel(t0, blocks)


class Runs:
    """E runs of a plan; every array has a leading axis of runs.

    Tuples have an entry for each run; `x0` and `v0` have the shape (E, P); `streams` are the minibatches.
    """

    def __init__(
        self,
        plan: Plan,
        algorithms: tuple[Algorithm, ...],
        x0: Float64Array,
        v0: Float64Array,
        t0: float,
        records: layout.Records,
        streams: tuple[layout.Batches, ...],
        observables: Observables | None = None,
    ) -> None:
        self.plan, self.algorithms, self.x0, self.v0, self.t0 = plan, algorithms, x0, v0, t0
        self.records, self.streams = records, streams
        self.observables = observables
        # the values of the observables, (E, R, …), NaN where they are not known yet
        self.observed: dict[str, Array] = {} if observables is None else observables.empty(*records.step.shape)
        self.method = algorithms[0].method  # the algorithms are of one class
        blocks = tuple(blocks_of(plan.U))
        self.kernels = tuple(_numbers(a, t0, blocks) for a in algorithms)
        for numbers in self.kernels:
            refuse_mixed(plan.watched, numbers)
        work = max(a.work(plan.n_params, blocks) for a in algorithms)
        # in the coordinates of the plan; zeros until `begin` is called for a new run
        self.state = plan.state(len(algorithms), records.parts.shape[1] > 0, self.method.has_moment, work)

    def __len__(self) -> int:
        return len(self.algorithms)

    def begin(self, e: int) -> layout.Laws:
        """Set the state of run e to its start, unless it has begun; return the laws with their values at the start."""
        plan, state = self.plan, self.state
        laws, x, v = plan.laws, self.x0[e], self.v0[e]
        if plan.reduction is not None:
            start = plan.reduction.enter(x)
            x, v = plan.reduction.coordinates(start), np.zeros(1)  # from rest
            if plan.reduction.by_samples:
                laws = laws._replace(Z0=start.C.astype(plan.dtype))
        if state.counts[e, PHASE] == layout.NEW:
            with np.errstate(over="ignore"):  # in float32 the start can be infinite; the run then diverges at once
                state.x[e], state.v[e] = x, v
        return laws

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Set the states of the runs that have begun to copies, which have a leading axis of runs.

        Records later than a run's copied state are erased: the run may have gone on after the copy, until the file was
        written.
        """
        begun = saved["counts"][:, PHASE] != layout.NEW
        for name, array in saved.items():
            getattr(self.state, name)[begun] = array[begun]
        for e, (records, batches) in enumerate(zip(self.each_record(), self.streams, strict=True)):
            counts = self.state.counts[e]
            done, evaluations = int(counts[STEPS_DONE]), int(counts[EVALUATIONS])
            records.step[records.step > (-1 if counts[PHASE] == layout.NEW else done)] = -1
            for name in layout.RECORDED:
                getattr(records, name)[records.step < 0] = np.nan
            for values in self.observed.values():
                values[e, records.step < 0] = np.nan
            epoch, first = pointwise.minibatch(evaluations, batches.size, batches.order.size)
            if first:
                pointwise.shuffle(batches.key, epoch, batches.order)

    def each_record(self) -> list[layout.Records]:
        """Return the records of each run, as views."""
        return [layout.views(self.records, e) for e in range(len(self))]

    def steps_done(self, group: slice) -> int:
        """Return the number of steps that a group has taken; runs that diverged stopped earlier."""
        return int(max(self.state.counts[group, STEPS_DONE].tolist()))

    def diverged(self, group: slice) -> bool:
        """Return whether all runs of a group have diverged."""
        return set(self.state.counts[group, PHASE].tolist()) == {layout.DIVERGED}

    def at_record(self, group: slice) -> bool:
        """Return whether the present step of a group is a recorded one."""
        done = self.steps_done(group)
        return bool(pointwise.is_recorded(done, self.records.every, self.records.last))

    def row(self, e: int) -> int:
        """Return the row of the present or the last record of run e."""
        done = int(self.state.counts[e, STEPS_DONE])
        return -1 if done == self.records.last else done // self.records.every

    def defect(self, e: int) -> float:
        """Return the largest exact discrete residual of run e's last record, 0 without laws."""
        return float(np.abs(self.records.discrete[e, self.row(e)]).max(initial=0.0))

    def observe(self, group: slice) -> None:
        """Record the observables of a group at its present step, which is a recorded one."""
        if self.observables is None:
            return
        for e in range(group.start, group.stop):
            if self.state.counts[e, PHASE] == layout.RUNNING:
                for name, value in self.observables.values(self.x(e)).items():
                    self.observed[name][e, self.row(e)] = value

    def x(self, e: int) -> Array:
        """Return a copy of the present parameters of run e."""
        reduction = self.plan.reduction
        x: Array = self.state.x[e]
        if reduction is None:
            return x.copy()
        return reduction.leave(reduction.enter(self.x0[e]), x).astype(self.plan.dtype)

    def velocity(self, e: int) -> Array:
        """Return a copy of the present ẋ of run e, which is −∇U for gradient descent."""
        v: Array = self.state.v[e].copy() if self.algorithms[e].has_velocity else -self.state.gradient[e]
        if self.plan.reduction is not None:
            v = self.plan.reduction.velocity(v).astype(self.plan.dtype)
        return v

    def ends(self) -> tuple[Array, Array]:
        """Return x and ẋ of all runs in θ, shape (E, P); without a reduction these are the states' arrays, to save memory."""
        if self.plan.reduction is None:
            state = self.state
            return state.x, state.v if self.algorithms[0].has_velocity else np.negative(
                state.gradient, out=state.gradient
            )
        E = range(len(self))
        return np.stack([self.x(e) for e in E]), np.stack([self.velocity(e) for e in E])

    def constants(self) -> Float64Array | None:
        """Return the quantities in θ minus the recorded ones of each run, (E, 1, K); None where they are the same."""
        plan, reduction = self.plan, self.plan.reduction
        if reduction is None or not plan.watched:
            return None
        return np.stack([reduction.constants(plan.watched, reduction.enter(x0))[None] for x0 in self.x0])

    def params(self) -> Array | None:
        """Return the recorded parameters in θ, None if there are none; without a reduction no copy is made."""
        plan, r, reduction = self.plan, self.records, self.plan.reduction
        if reduction is None or not r.params.size:
            return r.params if r.params.size else None
        params = np.full((*r.step.shape, plan.U.n_params), np.nan, plan.dtype)
        for e, x0 in enumerate(self.x0):
            start = reduction.enter(x0)
            for row in range(r.step.shape[1]):  # row by row: all at once would need twice the memory
                params[e, row] = reduction.leave(start, r.params[e, row])
        return params
