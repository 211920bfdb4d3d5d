"""Kernels of a launch a phase, for a network that is given the whole device."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from numba import cuda

from .. import layout
from ..layout import PHASE
from .block import fetch, in_global, keep, perform, with_rate
from .device_layout import View
from .jit import MOST_THREADS, kernel
from .network import activate, d_activate, sample


@kernel(MOST_THREADS, 2)
def begin(setting, state, scratch, e):
    """Take the laws' sums of run e from its state."""
    fetch(state, in_global(setting, state, scratch, e), e, cuda.grid(1), cuda.gridsize(1))


@kernel(MOST_THREADS, 2)
def end(setting, state, scratch, e):
    """Bring the laws' sums of run e to its state, and say that it has begun."""
    if cuda.grid(1) == 0 and state.counts[e, PHASE] == layout.NEW:
        state.counts[e, PHASE] = layout.RUNNING
    keep(state, in_global(setting, state, scratch, e), e, cuda.grid(1), cuda.gridsize(1))


@kernel(MOST_THREADS, 2)
def gather(data, n_0, order, offset, n, out):
    """Put a minibatch's inputs side by side."""
    view = View(0, n, n, n, n, order, offset)
    for item in range(cuda.grid(1), n_0 * n, cuda.gridsize(1)):
        out[item] = data.inputs[item // n * data.n + sample(view, item % n)]


@kernel(MOST_THREADS, 2)
def row_sums(a, begin, n, out, where, scale):
    """Out[where + i] = scale Σ_s a[begin + i n + s] of row i, a block's."""
    parts = cuda.shared.array(MOST_THREADS, a.dtype)
    i, first = cuda.blockIdx.x, cuda.threadIdx.x
    total = a.dtype.type(0)
    for s in range(first, n, cuda.blockDim.x):
        total += a[begin + i * n + s]
    parts[first] = total
    cuda.syncthreads()
    if first == 0:
        for c in range(1, cuda.blockDim.x):
            total += parts[c]
        out[where + i] = total * scale


class Kernels(NamedTuple):
    """Those that a network's activations and loss are compiled into."""

    phase: Any
    activate: Any
    d_activate: Any


@functools.cache
def kernels(functions):
    """Return the kernels for a network of these functions."""

    @kernel(MOST_THREADS, 2)
    def phase(setting, rates, state, scratch, records, e, r, step):
        """Do row r of the program of run e, by all threads of the device."""
        if state.counts[e, PHASE] != layout.DIVERGED:
            run, algorithm = in_global(setting, state, scratch, e), with_rate(setting.algorithm, rates[e])
            row, first, stride = setting.program.rows[r], cuda.grid(1), cuda.gridsize(1)
            perform(functions, row, step, setting, algorithm, run, state, records, e, first, stride)

    @kernel(MOST_THREADS, 2)
    def activate_all(problem, places, h, x, memory, ld):
        """Biases and σ_h, of every neuron of a layer and every sample."""
        for item in range(cuda.grid(1), problem.widths[h + 1] * ld, cuda.gridsize(1)):
            activate(functions, problem, places, h, x, memory, item // ld, item)

    @kernel(MOST_THREADS, 2)
    def d_activate_all(problem, places, h, x, memory, ld):
        """δ_h = d σ′(z_h), of every neuron of a layer and every sample."""
        for item in range(cuda.grid(1), problem.widths[h + 1] * ld, cuda.gridsize(1)):
            d_activate(functions, problem, places, h, x, memory, item // ld, item)

    return Kernels(phase, activate_all, d_activate_all)
