"""Runs in progress: how a run is driven to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from .._base.types import Array, IntArray
from .._kernels import layout, pointwise
from .._kernels.layout import EVALUATIONS, PHASE, STEPS_DONE
from .._motion.algorithms import Algorithm
from . import exactness
from .backends import Engine
from .plan import Plan, new_state

# Compiled calls are kept to about this many seconds, so that Ctrl-C and the progress bar stay responsive.
_CALL_SECONDS = 0.25


class Run:
    """One run from (x, v) at time t0; `records` is filled, in coordinates of the plan."""

    def __init__(
        self,
        engine: Engine,
        algorithm: Algorithm,
        x: Array,
        v: Array,
        t0: float,
        records: layout.Records,
        batches: layout.Batches,
    ) -> None:
        plan = self.plan = engine.plan
        self.algorithm, self._records, self.batches = algorithm, records, batches
        self.kernel, self.x0 = algorithm.kernel(t0), x
        laws = plan.laws
        if plan.reduction is not None:
            self.start = plan.reduction.enter(x)
            if plan.reduction.by_samples:
                laws = laws._replace(Z0=self.start.C.astype(plan.dtype))
            x, v = plan.reduction.coordinates(self.start), np.zeros(plan.n_params)
        n_parts = layout.N_PARTS if records.parts.size else 0
        with np.errstate(over="ignore"):  # in float32 the start can be infinite: its loss is not finite, and says so
            x, v = x.astype(plan.dtype), v.astype(plan.dtype)
        self._state = new_state(x, v, int(laws.start[-1]), n_parts)
        self.advance, self._bring = engine.advance(self.kernel, laws, batches, self._state, records)

    @property
    def state(self) -> layout.State:
        """The present state."""
        self._bring()
        return self._state

    @property
    def records(self) -> layout.Records:
        """What has been recorded."""
        self._bring()
        return self._records

    @property
    def loss(self) -> float:
        """The loss of the last gradient."""
        return float(self._state.loss[0])

    def restore(self, saved: dict[str, Array]) -> None:
        """Take up the run from a copy of its state; what its records have of later steps is forgotten."""
        if saved["counts"][PHASE] != layout.NEW:
            for name, array in saved.items():
                getattr(self._state, name)[...] = array
        rewind(self._state, self._records, self.batches)

    @property
    def steps_done(self) -> int:
        """Steps taken."""
        return int(self._state.counts[STEPS_DONE])

    @property
    def at_record(self) -> bool:
        """Whether the present step is one that is recorded."""
        return self.steps_done % self._records.every == 0 or self.steps_done == self._records.last

    @property
    def recorded(self) -> bool:
        """Whether there is a record."""
        return bool((self.records.step >= 0).any())

    @property
    def finished(self) -> bool:
        """Whether all steps are taken."""
        return self.steps_done == self._records.last

    @property
    def n_gradients(self) -> int:
        """Gradients evaluated."""
        return int(self._state.counts[EVALUATIONS])

    @property
    def diverged(self) -> bool:
        """Whether the loss has stopped being finite."""
        return bool(self._state.counts[PHASE] == layout.DIVERGED)

    def x(self) -> Array:
        """Return the present parameters."""
        reduction = self.plan.reduction
        if reduction is None:
            return self.state.x.copy()
        return reduction.leave(self.start, self.state.x).astype(self.plan.dtype)

    def defect(self) -> float:
        """Return the largest exact discrete residual of the last record, 0 without laws."""
        row = -1 if self.finished else self.steps_done // self.records.every
        return float(np.abs(self.records.discrete[row]).max(initial=0.0))

    def copy(self) -> layout.State:
        """Return a copy of the present state."""
        return self.state._replace(**{name: a.copy() for name, a in self.state._asdict().items()})

    def velocity(self) -> Array:
        """Return the present ẋ, which is −∇U for gradient descent."""
        v = self.state.v.copy() if self.algorithm.has_velocity else -self.state.gradient
        return v if self.plan.reduction is None else self.plan.reduction.velocity(v).astype(self.plan.dtype)

    def drive(self, pace: Pace, tick: Callable[[int], str], pauses: Callable[[], Iterable[int]] = tuple) -> str:
        """Advance until all steps are taken; return who stopped it before, or ''. See `drive`."""
        return drive(
            self.advance, pace, self._records.last, lambda: self.steps_done, lambda: self.diverged, tick, pauses
        )

    def outcome(self, stopped: str) -> tuple[str, str]:
        """Return the run's status, and the same in words."""
        return outcome(self.plan, self.algorithm, self.x0, self.records, self._state.counts, stopped)

    def in_theta(self) -> layout.Records:
        """Return the records with quantities and parameters in the coordinates of θ."""
        r, reduction = self.records, self.plan.reduction
        if reduction is None:
            return r
        params = reduction.leave(self.start, r.params).astype(self.plan.dtype) if r.params.size else r.params
        return r._replace(quantity=r.quantity + reduction.constants(self.plan.watched, self.start), params=params)


def rewind(state: layout.State, records: layout.Records, batches: layout.Batches) -> None:
    """Forget what records have of steps after the state's, and draw the order of its samples.

    Records are not copied with the state: while other runs are waited for they go on.
    """
    done, evaluations = int(state.counts[STEPS_DONE]), int(state.counts[EVALUATIONS])
    records.step[records.step > (-1 if state.counts[PHASE] == layout.NEW else done)] = -1
    for name in ("loss", "excess", "quantity", "charge", "integral", "discrete"):
        getattr(records, name)[records.step < 0] = np.nan
    per_epoch = batches.order.size // batches.size
    if evaluations % per_epoch:
        pointwise.shuffle(batches.key, evaluations // per_epoch, batches.order)


def outcome(
    plan: Plan,
    algorithm: Algorithm,
    x0: Array,
    records: layout.Records,
    counts: IntArray,
    stopped: str,
) -> tuple[str, str]:
    """Return the status of a run from x0 with these records and counts, and the same in words."""
    done, steps = int(counts[STEPS_DONE]), records.last
    if counts[PHASE] == layout.DIVERGED:
        # Found by the record of a step that is done, or by the gradient of the next one.
        recording = (done % records.every == 0 or done == steps) and done not in records.step
        return "diverged", f"the loss stopped being finite at step {done if recording else done + 1}"
    if stopped:
        return "stopped", f"stopped by {stopped} after {done} of {steps} steps"
    blew_up = exactness.blown_up(plan, algorithm, x0, records)
    how = "" if plan.reduction is None else f", layer 1 in {plan.reduction}"
    return "completed", f"completed {steps} steps{how}{f', {blew_up}' if blew_up else ''}"


def drive(
    advance: Callable[[int], None],
    pace: Pace,
    last: int,
    steps_done: Callable[[], int],
    over: Callable[[], bool],
    tick: Callable[[int], str],
    pauses: Callable[[], Iterable[int]],
) -> str:
    """Advance until step `last`, or until it is over; return who stopped it before, or ''.

    `tick` is told how many steps have just been taken, 0 at first, and returns who wants to stop, or ''; no multiple of
    the numbers that `pauses` returns is passed without it.
    """
    taken = 0
    advance(0)
    while not over():
        stopped = tick(taken)
        left = last - steps_done()
        if stopped or left == 0:
            return stopped
        taken = min(pace.steps, left, *(every - steps_done() % every for every in pauses()))
        began = time.perf_counter()
        advance(taken)
        pace.adapt(taken, time.perf_counter() - began)
    return ""


class Pace:
    """How many steps a compiled call may take; found on the way, and shared by runs of one kind."""

    def __init__(self) -> None:
        self.steps = 1

    def adapt(self, taken: int, elapsed: float) -> None:
        """Learn from a call of `taken` steps that took `elapsed` seconds."""
        if elapsed > 2 * _CALL_SECONDS:
            self.steps = max(1, self.steps // 2)
        elif taken == self.steps and elapsed < _CALL_SECONDS:
            self.steps *= 2 if elapsed > _CALL_SECONDS / 8 else 8
