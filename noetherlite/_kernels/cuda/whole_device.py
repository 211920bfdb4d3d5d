"""One large network on the whole device: the same rows of the same program, a launch each, dense products by cuBLAS."""

from __future__ import annotations

from typing import Any

from .. import layout, pointwise, schedule
from . import device_layout, products
from .jit import MOST_THREADS
from .phases import begin, end, gather, kernels, row_sums
from .products import Matrix
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
        self.kernels = kernels(functions)
        self.product = products.by_cublas if products.has_cublas() else products.by_tiles

    def advance(self, e: int, counts: Any, n_steps: int) -> None:
        """Launch `n_steps` steps of run e, which is where the host's `counts` say, and what it records on the way."""
        rows, every, last = self.program.rows, self.records.every, self.records.last
        step, self.evaluations = int(counts[layout.STEPS_DONE]), int(counts[layout.EVALUATIONS])
        fresh = counts[layout.PHASE] == layout.NEW
        self.e, self.doubles, self.memory = e, self.scratch.doubles[e], self.scratch.memory[e]
        self.vectors = {schedule.X: self.state.x[e], schedule.Y: self.state.y[e]}
        self.gradient, self.order = self.state.gradient[e], self.settings[0].batches.order[e]
        begin[1, MOST_THREADS](self.settings[0], self.state, self.scratch, e)
        if fresh:
            self._rows(0, self.program.step, step)
        for i in range(-1 if fresh else 0, n_steps):
            if i >= 0:
                self._rows(self.program.step, self.program.record, step)
                step += 1
            if pointwise.is_recorded(step, every, last):
                self._rows(self.program.record, len(rows), step)
        end[1, MOST_THREADS](self.settings[0], self.state, self.scratch, e)

    def _rows(self, first: int, stop: int, step: int) -> None:
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
                arguments = (self.settings[which], self.rates, self.state, self.scratch, self.records, self.e, r, step)
                self.kernels.phase[blocks, MOST_THREADS](*arguments)
                self.evaluations += op == schedule.FINISH or (op == schedule.GATHER and a < b - 1)

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
            _, offset = pointwise.minibatch(self.evaluations, tables.ld, self.order.size)
            data = self.settings[which].data
            gather[MOST_BLOCKS, MOST_THREADS](data, m, self.order, offset, tables.ld, self.scratch.inputs)
        last = h + 1 == len(tables.places)
        out = Matrix(self.memory, int(tables.places[h, 2 if last else 0]), n, tables.ld)
        self.product(Matrix(x, W, n, m), self._inputs(h, which), out)
        setting = self.settings[which]
        arguments = (setting.problem, setting.tables.places, h, x, self.memory, tables.ld)
        self.kernels.activate[MOST_BLOCKS, MOST_THREADS](*arguments)

    def _backward(self, h: int, which: int, vector: int) -> None:
        tables, x, setting = self.tables[which], self.vectors[vector], self.settings[which]
        m, n = int(self.problem.widths[h]), int(self.problem.widths[h + 1])
        W, bias, beta = (int(place) for place in self.problem.offsets[h])
        _, z, at = (int(place) for place in tables.places[h])
        delta, inputs = Matrix(self.memory, at, n, tables.ld), self._inputs(h, which)
        transposed = Matrix(inputs.array, inputs.begin, tables.ld, m, transposed=True)
        self.product(delta, transposed, Matrix(self.gradient, W, n, m))
        for where, rows in ((bias, at), (beta, z)):  # the samples' shares of ∂U/∂β lie where z was
            if where >= 0:
                row_sums[n, MOST_THREADS](self.memory, rows, tables.ld, self.gradient, where, 1.0)
        if h > 0:
            before = Matrix(self.memory, int(tables.places[h - 1, 2]), m, tables.ld)
            self.product(Matrix(x, W, m, n, transposed=True), delta, before)
            arguments = (setting.problem, setting.tables.places, h - 1, x, self.memory, tables.ld)
            self.kernels.d_activate[MOST_BLOCKS, MOST_THREADS](*arguments)

    def _total(self, which: int) -> None:
        """The mean of the samples' losses, where `arrays_of` has them."""
        tables = self.tables[which]
        losses = tables.losses
        row_sums[1, MOST_THREADS](self.doubles, losses + 2, tables.ld, self.doubles, losses + which, 1 / tables.ld)
