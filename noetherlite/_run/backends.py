"""The backends, which advance runs: compiled kernels, NumPy, or a GPU."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .._base.threads import keep_apart
from .._base.types import Array
from .._kernels import layout, reference, schedule
from .._kernels.cpu import compiled, factored, stretch, team
from .._kernels.cpu.laws import addresses_of_forms, has_matrices, worth_sharing
from .._kernels.cpu.network import network
from .._kernels.cpu.placed import PlacedRuns
from .._problem.potentials import Potential
from .device import Fleet
from .plan import Plan
from .runs import Runs


class Backend(Protocol):
    """Advances one group of runs after another; each lane of the driver has its own backend.

    It is made from the runs, whose states and records it updates, and the number of threads that share a gradient.
    """

    together: bool  # whether one call advances all runs, or one of them

    def prepare(self, group: slice) -> None:
        """Begin or continue a group of runs."""

    def advance(self, n_steps: int) -> None:
        """Take up to `n_steps` steps; the first call also makes and records the start. Updates counts and losses."""

    def collect(self) -> None:
        """Copy all states and records to the host's arrays."""

    def close(self) -> None:
        """Release the memory for other runs; called after the last group."""


@functools.cache
def _program(kind: schedule.Kind) -> schedule.Program:
    """Return the rows of a run whose gradients are one phase."""
    return schedule.program(kind, schedule.at_once)


# The memory of each potential's last run, as small runs take less time than to make it; a thread takes it out while it uses it.
_FREE: weakref.WeakKeyDictionary[Potential, compiled.Memory] = weakref.WeakKeyDictionary()
_SMALL = 1 << 16
# Samples times parameters of a step, some 2 ms, that is shared by threads even if a call takes no other.
_LONG_STEP = 1 << 24


class CpuBackend:
    """Kernels compiled for the CPU; one run after another, with tiles of its own."""

    together = False

    def __init__(self, runs: Runs, members: int) -> None:
        plan = self.plan = runs.plan
        assert plan.problem is not None
        self.runs, self.problem = runs, plan.problem
        sizes = plan.n_samples, plan.drawn, members
        memory = _FREE.pop(plan.U, None)
        if memory is None or not memory.fits(plan.problem, *sizes, plan.outer):
            memory = compiled.Memory(plan.problem, *sizes, plan.outer)
        self.memory = memory
        full = plan.drawn == plan.n_samples
        memory.load(runs.streams[0].order if full else np.arange(plan.n_samples))
        self.code = compiled.addresses(plan.problem.kind, runs.method, plan.dtype)
        self.forms = addresses_of_forms(plan.dtype, has_matrices(plan.laws))
        self.state, self.records = PlacedRuns(runs.state), PlacedRuns(runs.records)
        self._numbers: layout.Algorithm | None = None  # those that `run` was made for

    def prepare(self, group: slice) -> None:
        """Begin or continue a run."""
        runs, e, memory = self.runs, group.start, self.memory
        laws, numbers, batches = runs.begin(e), runs.kernels[e], runs.streams[e]
        self.x = runs.state.x[e]
        if numbers is not self._numbers:
            self._numbers, self.run = numbers, self._common(numbers, laws, batches)
        self.run = self.run._replace(
            laws=memory.place("laws", laws),
            batches=memory.place("batches", batches),
            state=self.state.at(e),
            records=self.records.at(e),
        )

    def _common(self, algorithm: layout.Algorithm, laws: layout.Laws, batches: layout.Batches) -> compiled.Run:
        """Return what all runs with these numbers share, and 0 in the places of what is their own."""
        runs, memory, problem, dtype = self.runs, self.memory, self.problem, self.plan.dtype
        with_parts, P = runs.records.parts.shape[1] > 0, self.x.size
        kind = schedule.kind_of(runs.method, algorithm, laws, batches.size < batches.order.size, with_parts)
        kind = kind._replace(factored=kind.may_be_factored and factored.pays(problem, laws))
        program, steps = _program(kind), 0
        if rows := stretch.rows_of(problem, program, P, runs.records.last):
            steps = stretch.address_of_stretch(runs.method, problem.kind, P, dtype, rows)
            program = schedule.stretched(program)
        forms, shared = self.forms, memory.shared
        if shared.tiles.z.shape[0] > 1 and worth_sharing(laws):
            forms = forms._replace(tiles=shared.placed_tiles.address)
        return compiled.Run(
            problem=memory.placed.address,
            tiles=memory.placed_tiles.address,
            all_tiles=memory.placed_all_tiles.address,
            algorithm=memory.place("algorithm", algorithm),
            laws=0,
            batches=0,
            program=memory.place("program", program),
            state=0,
            records=0,
            forms=forms,
            **self.code,
            **compiled.addresses_of_rare(kind, dtype),
            stretch=steps,
        )

    def advance(self, n_steps: int) -> None:
        """Take up to `n_steps` steps, with the team's other threads where there are any."""
        shared, x = self.memory.shared, self.x
        tiles = shared.tiles
        members = tiles.z.shape[0]
        if members == 1 or (n_steps < 2 and tiles.n * x.size < _LONG_STEP):
            compiled.advance(self.run, x, n_steps)
            return
        door, assist = tiles.team, (shared.placed.address, shared.placed_tiles.address)
        others = [threading.Thread(target=network, args=(*assist, m, x, x[:0])) for m in range(1, members)]
        started: list[threading.Thread] = []
        door[team.OPEN] = team.CLOSED
        try:
            for thread in others:
                thread.start()
                started.append(thread)
            keep_apart(started)
            compiled.advance(self.run, x, n_steps)
        finally:
            door[team.OPEN] = team.HOME
            for thread in started:
                thread.join()

    def collect(self) -> None:
        """Do nothing: the kernels use the host's arrays."""

    def close(self) -> None:
        """Keep the memory, if it is small, for the next run of this potential."""
        if self.memory.nbytes <= _SMALL:
            _FREE[self.plan.U] = self.memory


class NumPy:
    """The NumPy reference, which also runs potentials given as Python functions."""

    together = False

    def __init__(self, runs: Runs, members: int) -> None:
        self.runs = runs

    def prepare(self, group: slice) -> None:
        """Begin or continue a run."""
        runs, e = self.runs, group.start
        laws = runs.begin(e)
        state, records = layout.views(runs.state, e), layout.views(runs.records, e)
        evaluate = in_numpy(runs.plan)
        self.run = reference.Run(evaluate, runs.method, runs.kernels[e], laws, runs.streams[e], state, records)

    def advance(self, n_steps: int) -> None:
        """Take up to `n_steps` steps."""
        self.run.advance(n_steps)

    def collect(self) -> None:
        """Do nothing: the reference uses the host's arrays."""

    def close(self) -> None:
        """Do nothing: it has no memory of its own."""


KINDS: dict[str, type[CpuBackend | NumPy | Fleet]] = {"cpu": CpuBackend, "reference": NumPy, "cuda": Fleet}


def in_numpy(plan: Plan) -> Callable[[Array, Any], tuple[float, Array]]:
    """Return x, samples ↦ (U, ∇U) in NumPy."""
    problem, U = plan.problem, plan.U
    if problem is None:
        return lambda x, samples: _evaluate_function(U, x)
    return functools.partial(reference.value_and_gradient, problem)


def _evaluate_function(U: Potential, x: Array) -> tuple[float, Array]:
    """Return U(x) and ∇U(x) of a user's function; NaN if x is not finite or U overflows, which ends the run as diverged."""
    if np.isfinite(x).all():
        with contextlib.suppress(OverflowError, FloatingPointError):
            return U.value_and_gradient(x)
    return np.nan, np.full_like(x, np.nan)
