"""What starts a run, or many side by side, and what takes them up where they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout
from .._motion.algorithms import Algorithm
from .backends import Engine
from .drive import Run, rewind
from .plan import Plan, new_state


@dataclass(frozen=True)
class Setup:
    """What starts E runs of a plan.

    Attributes
    ----------
    plan : Plan
        What they share.
    algorithms : tuple of E Algorithms
        What steps are.
    x, v : ndarray, shape (E, P)
        Where they start.
    t0 : float
        When.
    records : Records
        Where they write, with a leading axis of length E in an ensemble.
    streams : tuple of E Batches
        The samples of their gradients.
    single : bool
        Whether it is one run, and no ensemble.
    saved : mapping of str to ndarray, shape (E, ...), optional
        States that runs go on from, where their phase says that they have begun.
    """

    plan: Plan
    algorithms: tuple[Algorithm, ...]
    x: Float64Array
    v: Float64Array
    t0: float
    records: layout.Records
    streams: tuple[layout.Batches, ...]
    single: bool
    saved: Mapping[str, Array] | None = None

    @property
    def begun(self) -> tuple[bool, ...]:
        """Which runs have begun where they are taken up."""
        if self.saved is None:
            return (False,) * len(self.algorithms)
        return tuple(bool(phase != layout.NEW) for phase in self.saved["counts"][:, layout.PHASE])

    def run(self, engine: Engine, e: int) -> Run:
        """Return run e, at its start or where it was."""
        run = Run(engine, self.algorithms[e], self.x[e], self.v[e], self.t0, self.own(e), self.streams[e])
        if self.saved is not None:
            run.restore({name: a[e] for name, a in self.saved.items()})
        return run

    def own(self, e: int) -> layout.Records:
        """Return what run e writes, views into the records."""
        if self.single:
            return self.records
        return layout.views(self.records, e)

    def stacked(self) -> layout.State:
        """Return the states of all runs side by side, at their start or where they were."""
        E = len(self.algorithms)
        blank = self.blank()
        state = blank._replace(
            **{name: np.repeat(a[None], E, axis=0) for name, a in blank._asdict().items()},
        )
        with np.errstate(over="ignore"):  # as in a run alone
            state.x[...], state.v[...] = self.x, self.v
        for e, kept in enumerate(self.states()):
            for name, a in () if kept is None else kept._asdict().items():
                getattr(state, name)[e] = a
            rewind(layout.views(state, e), self.own(e), self.streams[e])
        return state

    def rows(self, state: layout.State) -> list[layout.State]:
        """Return the state of each run."""
        return [layout.views(state, e) for e in range(len(self.algorithms))]

    def states(self) -> list[layout.State | None]:
        """Return the states that runs go on from, None for those that are at their start."""
        if self.saved is None:
            return [None] * len(self.algorithms)
        saved, blank = self.saved, self.blank()
        return [
            blank._replace(**{name: a[e] for name, a in saved.items()}) if begun else None
            for e, begun in enumerate(self.begun)
        ]

    def blank(self) -> layout.State:
        """Return a state with nothing in it, of the form that the runs' have."""
        plan = self.plan
        nothing = np.zeros(plan.n_params, plan.dtype)
        return new_state(nothing, nothing, int(plan.laws.start[-1]), 0)
