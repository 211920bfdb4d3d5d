"""One large network on the whole device: the same rows of the same program, a launch each, dense products by cuBLAS."""

from __future__ import annotations

import functools
from typing import Any

from .. import layout, pointwise, schedule
from . import cublas, device_layout, products
from .jit import MOST_THREADS
from .phases import begin, end, gather, kernels, row_sums
from .products import Matrix
from .replay import Replay, new_stream
from .scalars import Functions

# Blocks of a launch at the most: a few for each multiprocessor, whose threads then take many pieces each.
MOST_BLOCKS = 1056
# Rows that are one thread's work.
_SINGLE = (schedule.ENERGY, schedule.SHUFFLE, schedule.CHECK, schedule.COUNT)


class Spread:
    """Launches what advances runs one after the other, each by the whole device.

    Parameters
    ----------
    problem : layout.Problem
        The potential, on the host.
    program : schedule.Program
        Likewise.
    tables : tuple of two device_layout.Tables
        Those of passes over a minibatch and over all samples, likewise.
    device : tuple
        What kernels are given: the two settings, rates, state, scratch, records.
    functions : Functions
        What they are compiled with.
    """

    def __init__(
        self,
        problem: layout.Problem,
        program: schedule.Program,
        tables: tuple[device_layout.Tables, device_layout.Tables],
        device: tuple[Any, ...],
        functions: Functions,
    ) -> None:
        self.problem, self.program, self.tables = problem, program, tables
        self.settings, self.rates, self.state, self.scratch, self.records = device
        self.kernels, self.stream = kernels(functions), new_stream()
        library = cublas.library()
        self.product = products.by_tiles if library is None else products.by_cublas(library)
        if library is not None:
            library.use(self.stream)
        self._parts: dict[tuple[int, int], Replay] = {}

    def advance(self, e: int, counts: Any, n_steps: int) -> None:
        """Launch `n_steps` steps of run e, which is where the host's `counts` say, and what it records on the way."""
        self._select(e)
        step, rows, part = int(counts[layout.STEPS_DONE]), self.program, functools.partial(self._part, e)
        every, last, fresh = self.records.every, self.records.last, counts[layout.PHASE] == layout.NEW
        begin[MOST_BLOCKS, MOST_THREADS, self.stream](self.settings[0], self.state, self.scratch, e)
        if fresh:
            part(0, rows.step)
        for i in range(-1 if fresh else 0, n_steps):
            if i >= 0:
                part(rows.step, rows.record)
                step += 1
            if pointwise.is_recorded(step, every, last):
                part(rows.record, len(rows.rows))
        end[MOST_BLOCKS, MOST_THREADS, self.stream](self.settings[0], self.state, self.scratch, e)

    def _select(self, e: int) -> None:
        """Work on run e from now on."""
        scratch, order, P = self.scratch, self.settings[0].batches.order, self.state.x.shape[1]
        self.e, self.doubles, self.memory, vectors = e, scratch.doubles[e], scratch.memory[e], scratch.vectors[e]
        self.vectors = [vectors[k * P : (k + 1) * P] for k in range(4)]  # those that gradients are of or go to
        self.order = order[e] if order.size else order  # numba makes no view of an empty array

    def _part(self, e: int, first: int, stop: int) -> None:
        """Launch some of the program's rows for run e."""
        if (e, first) not in self._parts:
            self._parts[e, first] = Replay(functools.partial(self._rows, first, stop), self.stream)
        self._parts[e, first]()

    def _rows(self, first: int, stop: int) -> None:
        for r in range(first, stop):
            op, a, b, c, vector, _ = (int(field) for field in self.program.rows[r])
            if op == schedule.FORWARD:
                self._forward(a, c, vector)
            elif op == schedule.BACKWARD:
                self._backward(a, c, vector)
            elif op == schedule.TOTAL:
                self._total(b)
            else:
                which = b if op == schedule.LOSS else schedule.BATCH
                blocks = 1 if op in _SINGLE else MOST_BLOCKS
                arguments = (self.settings[which], self.rates, self.state, self.scratch, self.records, self.e, r)
                self.kernels.phase[blocks, MOST_THREADS, self.stream](*arguments)

    def _inputs(self, h: int, which: int) -> Matrix:
        """Return a_{h−1}, (n_{h−1}, samples)."""
        m, ld = int(self.problem.widths[h]), self.tables[which].ld
        if h > 0:
            return Matrix(self.memory, int(self.tables[which].places[h - 1, 0]), m, ld)
        if which == schedule.BATCH and self.order.size:
            return Matrix(self.scratch.inputs, 0, m, ld)
        return Matrix(self.settings[which].data.inputs, 0, m, ld)

    def _forward(self, h: int, which: int, vector: int) -> None:
        tables, x = self.tables[which], self.vectors[vector]
        m, n, W = int(self.problem.widths[h]), int(self.problem.widths[h + 1]), int(self.problem.offsets[h, 0])
        if h == 0 and which == schedule.BATCH and self.order.size:
            data, inputs = self.settings[which].data, self.scratch.inputs
            gather[MOST_BLOCKS, MOST_THREADS, self.stream](
                data, m, self.order, self.state.counts, self.e, tables.ld, inputs
            )
        last = h + 1 == len(tables.places)
        out = Matrix(self.memory, int(tables.places[h, 2 if last else 0]), n, tables.ld)
        self.product(Matrix(x, W, n, m), self._inputs(h, which), out, self.stream)
        setting = self.settings[which]
        arguments = (setting.problem, setting.tables.places, h, x, self.memory, tables.ld)
        self.kernels.activate[MOST_BLOCKS, MOST_THREADS, self.stream](*arguments)

    def _backward(self, h: int, which: int, vector: int) -> None:
        tables, x, setting = self.tables[which], self.vectors[vector], self.settings[which]
        m, n, gradient = int(self.problem.widths[h]), int(self.problem.widths[h + 1]), self.vectors[schedule.G]
        W, bias, beta = (int(place) for place in self.problem.offsets[h])
        _, z, at = (int(place) for place in tables.places[h])
        delta, inputs = Matrix(self.memory, at, n, tables.ld), self._inputs(h, which)
        transposed = Matrix(inputs.array, inputs.begin, tables.ld, m, transposed=True)
        self.product(delta, transposed, Matrix(gradient, W, n, m), self.stream)
        for where, rows in ((bias, at), (beta, z)):  # the samples' shares of ∂U/∂β lie where z was
            if where >= 0:
                row_sums[n, MOST_THREADS, self.stream](self.memory, rows, tables.ld, gradient, where, 1.0)
        if h > 0:
            before = Matrix(self.memory, int(tables.places[h - 1, 2]), m, tables.ld)
            self.product(Matrix(x, W, m, n, transposed=True), delta, before, self.stream)
            arguments = (setting.problem, setting.tables.places, h - 1, x, self.memory, tables.ld)
            self.kernels.d_activate[MOST_BLOCKS, MOST_THREADS, self.stream](*arguments)

    def _total(self, which: int) -> None:
        """The mean of the samples' losses, where `arrays_of` has them."""
        tables = self.tables[which]
        losses = tables.losses
        row_sums[1, MOST_THREADS, self.stream](
            self.doubles, losses + 2, tables.ld, self.doubles, losses + which, 1 / tables.ld
        )
