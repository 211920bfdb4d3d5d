"""The loop over all steps of all runs, divided into backend calls of about a quarter of a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from .backends import KINDS, Backend
from .runs import Runs
from .supervisor import Supervisor

# Compiled calls are kept to about this many seconds, so that Ctrl-C and the progress bar stay responsive.
_CALL_SECONDS = 0.25


def drive(runs: Runs, supervisor: Supervisor, n_threads: int) -> None:
    """Advance all runs to their ends, or until they are stopped; `supervisor.stopped` has the causes.

    A group is one run, or all of them if the backend advances them together. Lanes, one thread each, take group after group.
    """
    kind, E = KINDS[runs.plan.backend], len(runs)
    groups = [slice(0, E)] if kind.together else [slice(e, e + 1) for e in range(E)]
    lanes, pace = min(n_threads, len(groups)), Pace()
    waiting = [deque(groups[len(groups) * k // lanes : len(groups) * (k + 1) // lanes]) for k in range(lanes)]

    def run_lane(lane: int) -> None:
        backend: Backend | None = None
        while group := _next(waiting, lane):
            try:
                backend = backend or kind(runs, n_threads // lanes)
                stopped = _advance_group(runs, group, backend, supervisor, pace)
            except KeyboardInterrupt:
                stopped = "Ctrl-C"
            if backend is not None:
                backend.collect()
            supervisor.ended(group, stopped)
            if supervisor.halted:
                return
        if backend is not None:
            backend.close()

    with supervisor:
        try:
            if lanes == 1:
                run_lane(0)
            else:
                supervisor.defer_interrupts()
                _run_in_threads(run_lane, lanes, supervisor)
        except KeyboardInterrupt:  # the second Ctrl-C: the records written until now are kept
            supervisor.halted = True


def _next(waiting: list[deque[slice]], lane: int) -> slice | None:
    """Return the next group of a lane, or the last of the lane that has most of them left; None where none is left.

    States of neighbouring runs lie in one line of the cache, which two processors would take from each other at every step.
    """
    with suppress(IndexError):  # another lane may have been faster
        return waiting[lane].popleft() if waiting[lane] else max(waiting, key=len).pop()
    return None


def _run_in_threads(run_lane: Callable[[int], None], lanes: int, supervisor: Supervisor) -> None:
    """Run the lanes in threads; if one raises, or at the second Ctrl-C, the others stop too."""
    with ThreadPoolExecutor(lanes) as pool:
        try:
            for future in [pool.submit(run_lane, lane) for lane in range(lanes)]:
                future.result()
        finally:
            supervisor.halted = True


def _advance_group(runs: Runs, group: slice, backend: Backend, supervisor: Supervisor, pace: Pace) -> str:
    """Advance a group of runs to its end; return the cause if it was stopped, else ''."""

    def due() -> int:
        done = runs.steps_done(group)
        return min(pace.steps, runs.records.last - done, *(every - done % every for every in supervisor.pauses()))

    backend.prepare(group)
    taken = 0 if supervisor.sees_starts else due()
    while True:
        began = time.perf_counter()
        backend.advance(taken)
        pace.adapt(taken, time.perf_counter() - began)
        if runs.diverged(group):
            return ""
        stopped = supervisor.look(group, taken, backend)
        taken = due()
        if stopped or taken == 0:
            return stopped
        supervisor.defer_interrupts()  # after the first call, as many runs have no more of them


class Pace:
    """Number of steps per call, adapted to the measured time; shared by the lanes."""

    def __init__(self) -> None:
        self.steps = 1

    def adapt(self, taken: int, elapsed: float) -> None:
        """Adapt the number to a call of `taken` steps that took `elapsed` seconds."""
        if elapsed > 2 * _CALL_SECONDS:
            self.steps = max(1, self.steps // 2)
        elif taken == self.steps and elapsed < _CALL_SECONDS:
            self.steps *= 2 if elapsed > _CALL_SECONDS / 8 else 8
