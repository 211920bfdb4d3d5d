"""Monitoring of runs between backend calls: progress bar, callback, checkpoints and Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._base.interrupt import Interrupt, raise_if_part
from .._base.progress import bar as progress_bar
from .._base.types import Array
from .._kernels.layout import STEPS_DONE
from .backends import Backend
from .checkpoint import UNWRITTEN, CheckpointWriter
from .runs import Runs


@dataclass(frozen=True)
class Snapshot:
    """The argument of a callback, at a record; the arrays are copies."""

    step: int
    t: float
    loss: float
    x: Array
    v: Array


class Supervisor:
    """Monitor that the driver calls between backend calls; a context in which Ctrl-C can be deferred to the next record.

    Parameters
    ----------
    runs : Runs
        The runs.
    progress : bool
        Whether to show a bar: steps of all runs, their rate and time left, the loss, and the largest exact discrete residual.
    callback : callable, optional
        Called with a `Snapshot` of the one run at every record.
    writer : CheckpointWriter, optional
        Writes checkpoints.

    Attributes
    ----------
    halted : bool
        Whether no further run is to be started.
    stopped : dict of int to str
        The cause of a run's stop before its end, '' if it was not stopped, by its number; no entry for runs not started.
    """

    def __init__(
        self,
        runs: Runs,
        progress: bool = False,
        callback: Callable[[Snapshot], object] | None = None,
        writer: CheckpointWriter | None = None,
    ) -> None:
        self.runs, self.callback, self.writer = runs, callback, writer
        self.stopped: dict[int, str] = {}
        self.halted = False
        self._interrupt = Interrupt()
        self._lock = threading.Lock()
        self._bar: Any = None
        if progress:  # "compiling" is shown until the first call: for seconds on the first run ever, else for no time
            self._bar = progress_bar(len(runs) * runs.records.last, "step")
            self._bar.set_description("compiling")
        self._compiling = True

    def __enter__(self) -> Supervisor:
        if self.sees_starts or self.writer is not None:
            self.defer_interrupts()
        return self

    def defer_interrupts(self) -> None:
        """Defer Ctrl-C from now on to the next record, in the main thread; until then it ends the run after a backend call."""
        self._interrupt.defer()

    def __exit__(self, *error: object) -> None:
        self._interrupt.restore()
        if self._bar is not None:
            self._bar.close()

    def look(self, group: slice, taken: int, backend: Backend) -> str:
        """Process a group of runs after `taken` steps, 0 at first; return the cause if it must stop, else ''."""
        runs, writer = self.runs, self.writer
        looks, several = self._has_observers and runs.at_record(group), group.stop - group.start > 1
        if (self._bar is not None and not several) or looks:
            backend.collect()
        if looks:
            with self._lock:  # user functions are called by one thread at a time
                runs.observe(group)
        if self._bar is not None:
            self._update_bar(group, taken * (group.stop - group.start))
        if self.callback is not None and looks and self.callback(self._snapshot(group.start)):
            return "the callback"
        if writer is not None and taken:
            writer.update(group, backend.collect)
            if writer.error:
                return UNWRITTEN
        ends = self.halted or (self._interrupt.requested and runs.at_record(group))
        return "Ctrl-C" if ends and runs.steps_done(group) < runs.records.last else ""

    @property
    def sees_starts(self) -> bool:
        """Whether `look` must be called before the first step."""
        return self._bar is not None or self._has_observers

    @property
    def _has_observers(self) -> bool:
        """Whether user functions are called at every record."""
        return self.callback is not None or bool(self.runs.observed)

    def pauses(self) -> tuple[int, ...]:
        """Return step intervals: `look` must be called at every multiple of each."""
        at_records = self._has_observers or self._interrupt.requested
        grid = () if self.writer is None else self.writer.grid
        return (*grid, self.runs.records.every) if at_records else grid

    def ended(self, group: slice, stopped: str) -> None:
        """Note that a group has reached its end, or the cause of its stop."""
        for e in range(group.start, group.stop):
            self.stopped[e] = stopped
        if self.writer is not None:
            self.writer.take(group)
        if self._bar is not None:
            self._update_bar(
                group, sum(self.runs.records.last - int(n) for n in self.runs.state.counts[group, STEPS_DONE])
            )
        self.halted = self.halted or bool(stopped) or self._interrupt.requested

    def raise_if_part(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed, even in the last step, in runs that are a part of something."""
        if self._interrupt.requested or "Ctrl-C" in self.stopped.values():
            raise_if_part()

    def _update_bar(self, group: slice, taken: int) -> None:
        with self._lock:
            if self._compiling:
                self._compiling = False
                self._bar.set_description("")
                self._bar.reset()
                self._bar.update(int(self.runs.state.counts[:, STEPS_DONE].sum()))
            else:
                self._bar.update(taken)
            if group.stop - group.start == 1:  # records of several stay on the GPU until they are collected
                loss, defect = self.runs.state.loss[group.start, 0], self.runs.defect(group.start)
                self._bar.set_postfix_str(f"loss {loss:.4g}, laws to {defect:.0e}", refresh=False)

    def _snapshot(self, e: int) -> Snapshot:
        runs = self.runs
        done = int(runs.state.counts[e, STEPS_DONE])
        time = float(runs.algorithms[e].times(runs.t0, done))
        return Snapshot(done, time, float(runs.state.loss[e, 0]), runs.x(e), runs.velocity(e))
