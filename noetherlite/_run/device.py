"""Runs on a GPU, which advance together. CUDA is imported when they first do."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base.gpu import free_memory
from .._base.interrupt import uninterrupted
from .._base.limits import refuse_beyond
from .._kernels import layout
from .._kernels.cuda import device_layout, schedule

if TYPE_CHECKING:
    from .plan import Plan
    from .runs import Runs

# Floating-point operations of a gradient from which on a network is given the whole device.
SPREAD_FROM = 1e8

# What is brought back of a run's state, and of its records.
_SMALL = ("counts", "loss")
_LARGE = ("x", "v", "gradient", "origin", "integral", "balance", "source", "charge", "sizes")
_RECORDS = ("step", "loss", "excess", "quantity", "charge", "integral", "discrete", "params")


class Fleet:
    """Runs on the GPU, which advance together; a `Backend`.

    The host's arrays are copied to it by the first call, and back where they are asked for.

    Parameters
    ----------
    runs : Runs
        The runs; their algorithms are the same but for the time per step.
    members : int
        Not used: on a GPU the threads are the device's.

    Raises
    ------
    MemoryError
        If the GPU has less memory free than they take.
    """

    together = True

    def __init__(self, runs: Runs, members: int = 1) -> None:
        plan = self.plan = runs.plan
        assert plan.problem is not None
        self._problem = plan.problem
        self.runs, self.state, self.records = runs, runs.state, runs.records
        self.algorithm, self.streams = runs.kernels[0], runs.streams
        self.rates = np.array([a.h for a in runs.kernels])
        self.spread = _spreads(plan, len(runs))
        self.placing = device_layout.place(plan.problem, plan.laws, plan.n_params, plan.drawn, self.spread)
        self.fresh = True  # whether host and device have the same
        self._device: tuple[Any, ...] | None = None
        refuse_beyond(self.memory(), free_memory(), "the GPU has free", "run fewer networks at a time")

    def prepare(self, group: slice) -> None:
        """Take up all runs."""
        for e in range(group.start, group.stop):
            self.runs.begin(e)

    def memory(self) -> int:
        """Return how many bytes of the GPU's memory the runs take."""
        host = (self._described(), self._data(), self.plan.laws, self._batches(), self.state, self.records)
        arrays = sum(a.nbytes for group in host for a in group if isinstance(a, np.ndarray))
        return arrays + sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self._scratch())

    def advance(self, n_steps: int) -> None:
        """Advance by `n_steps` steps; the first call also makes and records the start."""
        from .._kernels.cuda import whole_device

        if self._device is None:
            program, self._device = self._upload()
            if self.spread:
                self._conductor = whole_device.Spread(self._problem, program, self._tables(), self._device)
        with uninterrupted():
            self._launch(n_steps)
            for name in _SMALL:
                getattr(self._device[2], name).copy_to_host(getattr(self.state, name))
            self.fresh = False

    def _launch(self, n_steps: int) -> None:
        from .._kernels.cuda import block

        assert self._device is not None
        settings, rates, state, scratch, records = self._device
        placing, E = self.placing, self.rates.size
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Grid size")  # a single run has one block, and knows it
            if self.spread:
                for e in np.flatnonzero(self.state.counts[:, layout.PHASE] != layout.DIVERGED):
                    self._conductor.advance(int(e), self.state.counts[e], n_steps)
            else:
                launch = block.ADVANCE[placing.where][E, placing.threads, 0, placing.shared]
                launch(settings[0], rates, state, scratch, records, n_steps)

    def collect(self) -> None:
        """Bring the state and the records to the host's arrays."""
        if self.fresh or self._device is None:
            return
        _, _, state, _, records = self._device
        with uninterrupted():
            for mine, theirs, names in ((self.state, state, _LARGE), (self.records, records, _RECORDS)):
                for name in names:
                    if getattr(mine, name).size:
                        getattr(theirs, name).copy_to_host(getattr(mine, name))
            self.fresh = True

    def _upload(self) -> tuple[schedule.Program, tuple[Any, ...]]:
        from numba import cuda

        def up(group: Any) -> Any:
            changed = {
                k: cuda.to_device(np.ascontiguousarray(a))
                for k, a in group._asdict().items()
                if isinstance(a, np.ndarray)
            }
            return group._replace(**changed)

        plan, slots = self.plan, self.placing.tables.slots
        program = schedule.program(
            self._problem,
            self.algorithm,
            plan.laws,
            minibatches=plan.drawn < plan.n_samples,
            batch_tiles=device_layout.n_tiles(plan.drawn, slots),
            all_tiles=1 if self.spread else device_layout.n_tiles(plan.n_samples, slots),
        )
        batch, everything = self._tables()
        setting = device_layout.Setting(
            up(self._described()),
            up(self._data()),
            up(batch),
            up(plan.laws),
            self.algorithm,
            up(self._batches()),
            up(program),
        )
        settings = setting, setting._replace(tables=up(everything))
        scratch = device_layout.Scratch(*(cuda.device_array(*shape) for shape in self._scratch()))
        return program, (settings, cuda.to_device(self.rates), up(self.state), scratch, up(self.records))

    def _tables(self) -> tuple[device_layout.Tables, device_layout.Tables]:
        """Return the tables of passes over a minibatch, and over all samples."""
        plan, batch = self.plan, self.placing.tables
        if not self.spread or plan.drawn == plan.n_samples:
            return batch, batch
        return batch, device_layout.tables(self._problem, plan.laws, plan.n_params, plan.n_samples, padded=False)

    def _described(self) -> layout.Problem:
        """Return the problem without its samples, which kernels read from the data."""
        problem = self._problem
        return problem._replace(X=problem.X[:0], labels=problem.labels[:0], targets=problem.targets[:0])

    def _data(self) -> device_layout.Data:
        problem = self._problem
        inputs = np.ascontiguousarray(problem.X.T).reshape(-1)
        return device_layout.Data(
            self.plan.n_samples, inputs, problem.X.reshape(-1), problem.labels, problem.targets.reshape(-1)
        )

    def _batches(self) -> device_layout.Batches:
        key = np.array([stream.key for stream in self.streams], np.uint64)
        if self.plan.drawn == self.plan.n_samples:
            return device_layout.Batches(self.plan.drawn, key, np.zeros((len(key), 0), np.int64))
        return device_layout.Batches(self.plan.drawn, key, np.stack([stream.order for stream in self.streams]))

    def _scratch(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """Return the shapes and types of scratch memory."""
        where, largest, E = self.placing.where, self._tables()[1], self.rates.size
        memory = largest.memory if where != device_layout.IN_SHARED else 0
        doubles = largest.doubles if where == device_layout.IN_GLOBAL else 0
        minibatches = self.spread and self.plan.drawn < self.plan.n_samples
        gathered = self.plan.drawn * int(self._problem.widths[0]) if minibatches else 0
        dtype = self.plan.dtype
        return ((E, memory), dtype), ((E, doubles), "float64"), ((gathered,), dtype)


def _spreads(plan: Plan, networks: int) -> bool:
    """Whether each run is given the whole device, one after the other: where a block of its own would take longer.

    Estimated, not measured: a block multiplies at 5e10 operations a second beside up to 500 others, while a step's 25
    launches take the host 2 ms, as each has tens of arrays to be told of.
    """
    problem = plan.problem
    if problem is None or problem.kind != layout.NETWORK:
        return False
    flops = 6.0 * plan.drawn * float((problem.widths[1:] * problem.widths[:-1]).sum())
    return flops > SPREAD_FROM * min(networks, 500)
