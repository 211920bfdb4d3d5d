"""The one loop over all steps of all runs, in calls that are short enough to be looked at in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .backends import KINDS, Backend
from .runs import Runs
from .watch import Watch

# Compiled calls are kept to about this many seconds, so that Ctrl-C and the progress bar stay responsive.
_CALL_SECONDS = 0.25


def drive(runs: Runs, watch: Watch, n_threads: int) -> None:
    """Advance all runs to their ends, or until they are stopped; `watch.stopped` says by whom.

    Lanes, a thread each, take the runs one after the other, or the one lane all of them where the backend advances them together.
    """
    kind, E = KINDS[runs.plan.backend], len(runs)
    groups = [slice(0, E)] if kind.together else [slice(e, e + 1) for e in range(E)]
    lanes = min(n_threads, len(groups))
    waiting, pace = iter(groups), Pace()

    def lane() -> None:
        backend: Backend | None = None
        for group in waiting:
            try:
                backend = backend or kind(runs, n_threads // lanes)
                stopped = _advance(runs, group, backend, watch, pace)
            except KeyboardInterrupt:
                stopped = "Ctrl-C"
            if backend is not None:
                backend.collect()
            watch.ended(group, stopped)
            if watch.halted:
                return

    with watch:
        try:
            if lanes == 1:
                lane()
            else:
                _side_by_side(lane, lanes, watch)
        except KeyboardInterrupt:  # pressed again: what the runs have recorded until now is kept
            watch.halted = True


def _side_by_side(lane: Callable[[], None], lanes: int, watch: Watch) -> None:
    """Run the lanes in threads; where one fails, or Ctrl-C is pressed again, the others stop too."""
    with ThreadPoolExecutor(lanes) as pool:
        try:
            for future in [pool.submit(lane) for _ in range(lanes)]:
                future.result()
        finally:
            watch.halted = True


def _advance(runs: Runs, group: slice, backend: Backend, watch: Watch, pace: Pace) -> str:
    """Advance a group of runs to its end; return who stopped it before, or ''."""
    last, taken = runs.records.last, 0
    backend.prepare(group)
    backend.advance(0)
    while not runs.diverged(group):
        stopped = watch.look(group, taken, backend)
        done = runs.steps_done(group)
        if stopped or done == last:
            return stopped
        taken = min(pace.steps, last - done, *(every - done % every for every in watch.pauses()))
        began = time.perf_counter()
        backend.advance(taken)
        pace.adapt(taken, time.perf_counter() - began)
    return ""


class Pace:
    """How many steps a call may take; found on the way, and shared by the lanes."""

    def __init__(self) -> None:
        self.steps = 1

    def adapt(self, taken: int, elapsed: float) -> None:
        """Learn from a call of `taken` steps that took `elapsed` seconds."""
        if elapsed > 2 * _CALL_SECONDS:
            self.steps = max(1, self.steps // 2)
        elif taken == self.steps and elapsed < _CALL_SECONDS:
            self.steps *= 2 if elapsed > _CALL_SECONDS / 8 else 8
