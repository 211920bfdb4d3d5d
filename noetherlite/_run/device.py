"""The CUDA backend: runs on a GPU, which advance together. CUDA is imported by the first call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base.gpu import free_memory, shared_memory
from .._base.interrupt import uninterrupted
from .._base.limits import refuse_beyond
from .._kernels import layout, schedule
from .._kernels.cuda import device_layout

if TYPE_CHECKING:
    from .plan import Plan
    from .runs import Runs

# Floating-point operations of a gradient from which a network, alone on the device, has all of it.
SPREAD_FROM = 7e5

# Arrays of the states that are copied to the host after each call, and those of states and records copied on request.
_SMALL = ("counts", "loss")
_LARGE = ("x", "v", "gradient", "moment", "y", "origin", "integral", "balance", "source", "charge", "sizes")
_RECORDS = ("step", *layout.RECORDED, "params")


class Fleet:
    """Runs on the GPU, which advance together; a `Backend`. Their algorithms are the same but for the time per step.

    The host's arrays are copied to the GPU by the first call, and back by `collect`. `members` is not used: a GPU has its own threads.
    MemoryError if the GPU has less memory free than they take, or a run has 2³² numbers in one array.
    """

    together = True

    def __init__(self, runs: Runs, members: int = 1) -> None:
        plan = self.plan = runs.plan
        assert plan.problem is not None
        self._problem = plan.problem
        self.runs, self.state, self.records = runs, runs.state, runs.records
        self.algorithm, self.streams = runs.kernels[0], runs.streams
        self.rates = np.array([a.h for a in runs.kernels])
        for name in ("rates", "shares", "block"):
            if any(not np.array_equal(getattr(a, name), getattr(self.algorithm, name)) for a in runs.kernels):
                what = "schedule" if name == "rates" else "ratio of blocks"
                raise ValueError(f"lr must be the same {what} for all networks with backend='cuda'")
        self.spread = _uses_whole_device(plan, len(runs))
        most = shared_memory(device_layout.SHARED, device_layout.SHARING)
        work = runs.state.work.shape[1]
        self.numbers = 4 * plan.n_params + work  # of a run's vectors
        self.placing = device_layout.place(plan.problem, plan.laws, plan.n_params, plan.drawn, self.spread, most, work)
        self.fresh = True  # whether the host has the state of the device
        self._device: tuple[Any, ...] | None = None
        longest = max(self.numbers, plan.problem.X.size, max(tables.memory for tables in self._tables()))
        if longest >= 2**32:
            raise MemoryError(
                f"backend='cuda' numbers a run's entries by 32 bits, fewer than 4,294,967,296, not {longest:,}"
            )
        refuse_beyond(self.memory(), free_memory(), "the GPU has free", "run fewer networks at a time")

    def prepare(self, group: slice) -> None:
        """Begin all runs."""
        for e in range(group.start, group.stop):
            self.runs.begin(e)

    def memory(self) -> int:
        """Return the GPU memory that the runs need, in bytes."""
        host = (self._described(), self._data(), self.plan.laws, self._batches(), self.state, self.records)
        arrays = sum(a.nbytes for group in host for a in group if isinstance(a, np.ndarray))
        return arrays + sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self._scratch())

    def advance(self, n_steps: int) -> None:
        """Advance by `n_steps` steps; the first call also makes and records the start."""
        from .._kernels.cuda import scalars, whole_device

        if self._device is None:
            program, self._device = self._upload()
            if self.spread:
                functions = scalars.of(self._problem, self.runs.method)
                self._conductor = whole_device.Spread(self._problem, program, self._tables(), self._device, functions)
        with uninterrupted():
            self._launch(n_steps)
            for name in _SMALL:
                getattr(self._device[2], name).copy_to_host(getattr(self.state, name))
            self.fresh = False

    def _launch(self, n_steps: int) -> None:
        from .._kernels.cuda import block, scalars
        from .._kernels.cuda.jit import with_shared, without_advice

        assert self._device is not None
        settings, rates, state, scratch, records = self._device
        placing, E = self.placing, self.rates.size
        with without_advice():
            if self.spread:
                for e in np.flatnonzero(self.state.counts[:, layout.PHASE] != layout.DIVERGED):
                    self._conductor.advance(int(e), self.state.counts[e], n_steps)
            else:
                kernel = block.kernels(scalars.of(self._problem, self.runs.method))[placing.where]
                launch = with_shared(kernel[E, placing.threads, 0, placing.shared])
                launch(settings[0], rates, state, scratch, records, n_steps)

    def collect(self) -> None:
        """Copy states and records to the host's arrays."""
        if self.fresh or self._device is None:
            return
        _, _, state, _, records = self._device
        with uninterrupted():
            for host, device, names in ((self.state, state, _LARGE), (self.records, records, _RECORDS)):
                for name in names:
                    if getattr(host, name).size:
                        getattr(device, name).copy_to_host(getattr(host, name))
            self.fresh = True

    def close(self) -> None:
        """Do nothing: what is on the GPU goes with this object."""

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
        batch_tiles = device_layout.n_tiles(plan.drawn, slots)
        all_tiles = 1 if self.spread else device_layout.n_tiles(plan.n_samples, slots)
        kind = schedule.kind_of(self.runs.method, self.algorithm, plan.laws, minibatches=plan.drawn < plan.n_samples)
        program = schedule.program(
            kind._replace(in_stages=True), schedule.by_layers(self._problem, batch_tiles, all_tiles)
        )
        batch, everything = self._tables()
        setting = device_layout.Setting(
            up(self._described()),
            up(self._data()),
            up(batch),
            up(plan.laws),
            up(self.algorithm),
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

    def _batches(self) -> device_layout.Shuffles:
        key = np.array([stream.key for stream in self.streams], np.uint64)
        if self.plan.drawn == self.plan.n_samples:
            return device_layout.Shuffles(self.plan.drawn, key, np.zeros((len(key), 0), np.int64))
        return device_layout.Shuffles(self.plan.drawn, key, np.stack([stream.order for stream in self.streams]))

    def _scratch(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """Return the shapes and types of scratch memory."""
        memory_space, largest, E = self.placing.where, self._tables()[1], self.rates.size
        memory = largest.memory if memory_space != device_layout.IN_SHARED else 0
        in_global = memory_space == device_layout.IN_GLOBAL
        doubles, vectors = (largest.doubles, self.numbers) if in_global else (0, 0)
        minibatches = self.spread and self.plan.drawn < self.plan.n_samples
        gathered = self.plan.drawn * int(self._problem.widths[0]) if minibatches else 0
        dtype = self.plan.dtype
        return ((E, memory), dtype), ((E, vectors), dtype), ((E, doubles), "float64"), ((gathered,), dtype)


def _uses_whole_device(plan: Plan, networks: int) -> bool:
    """Return whether runs use the whole device one after the other, where one block per run would take longer.

    As measured on an H200 (benchmarks/RESULTS.md): a block takes 8e9 operations per second, beside up to 400 others, while the
    launches of a step on the whole device take 85 µs however little there is to do.
    """
    problem = plan.problem
    if problem is None or problem.kind != layout.NETWORK:
        return False
    flops = 6.0 * plan.drawn * float((problem.widths[1:] * problem.widths[:-1]).sum())
    return flops > SPREAD_FROM * min(networks, 400)
