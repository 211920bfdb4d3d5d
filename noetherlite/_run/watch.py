"""What looks at runs while they go on: the progress bar, a callback, checkpoints, and Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .._base.interrupt import Interrupt
from .._base.progress import bar as progress_bar
from .._base.types import Array
from .._kernels.layout import STEPS_DONE
from .backends import Backend
from .checkpoint import UNWRITTEN, CheckpointWriter
from .runs import Runs


@dataclass(frozen=True)
class Snapshot:
    """What a callback sees at a record; the arrays are copies."""

    step: int
    t: float
    loss: float
    x: Array
    v: Array


class Watch:
    """The one that the driver asks between calls of a backend; a context, in which Ctrl-C waits for the next record.

    Parameters
    ----------
    runs : Runs
        What is driven.
    progress : bool
        Whether to show a bar: steps of all runs, their rate and time left, the loss, and the largest exact discrete residual.
    callback : callable, optional
        Called with a `Snapshot` of the one run at every record.
    writer : CheckpointWriter, optional
        Writes checkpoints.

    Attributes
    ----------
    halted : bool
        Whether no other run is to be taken up.
    stopped : dict of int to str
        Who stopped a run before its end, '' for nobody, by its number; runs that were not taken up are not in it.
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
        self._turn = threading.Lock()
        self._bar: Any = None
        if progress:  # it says that it is compiling: for seconds on the first run ever, for no time after
            self._bar = progress_bar(len(runs) * runs.records.last, "step")
            self._bar.set_description("compiling")
        self._fresh = True

    def __enter__(self) -> Watch:
        self._interrupt.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupt.__exit__(kind, error, trace)
        if self._bar is not None:
            self._bar.close()

    def look(self, group: slice, taken: int, backend: Backend) -> str:
        """Look at a group of runs that has just taken so many steps, 0 at first; return who wants it to stop, or ''."""
        runs, writer = self.runs, self.writer
        if self._bar is not None:
            self._show(group, taken * (group.stop - group.start))
        at_record = runs.at_record(group)
        finished = runs.steps_done(group) == runs.records.last
        if self.callback is not None and at_record and self.callback(self._snapshot(group.start)):
            return "the callback"
        if writer is not None and taken:
            writer.update(group, backend.collect)
            if writer.error:
                return UNWRITTEN
        return "Ctrl-C" if not finished and (self.halted or (self._interrupt.requested and at_record)) else ""

    def pauses(self) -> tuple[int, ...]:
        """Return numbers of steps no multiple of which a run passes without being looked at."""
        at_records = self.callback is not None or self._interrupt.requested
        grid = () if self.writer is None else self.writer.grid
        return (*grid, self.runs.records.every) if at_records else grid

    def ended(self, group: slice, stopped: str) -> None:
        """Enter that a group has come to its end, or was stopped."""
        for e in range(group.start, group.stop):
            self.stopped[e] = stopped
        if self.writer is not None:
            self.writer.take(group)
        if self._bar is not None:
            self._show(group, sum(self.runs.records.last - int(n) for n in self.runs.state.counts[group, STEPS_DONE]))
        self.halted = self.halted or bool(stopped) or self._interrupt.requested

    def _show(self, group: slice, taken: int) -> None:
        with self._turn:
            if self._fresh:  # compiling is over
                self._fresh = False
                self._bar.set_description("")
                self._bar.reset()
                self._bar.update(int(self.runs.state.counts[:, STEPS_DONE].sum()))
            else:
                self._bar.update(taken)
            loss, defect = self.runs.state.loss[group.start, 0], self.runs.defect(group.start)
            self._bar.set_postfix_str(f"loss {loss:.4g}, laws to {defect:.0e}", refresh=False)

    def _snapshot(self, e: int) -> Snapshot:
        runs, kernel = self.runs, self.runs.kernels[e]
        done = int(runs.state.counts[e, STEPS_DONE])
        return Snapshot(done, kernel.t0 + done * kernel.h, float(runs.state.loss[e, 0]), runs.x(e), runs.velocity(e))
