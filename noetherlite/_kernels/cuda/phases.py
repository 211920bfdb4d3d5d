"""Kernels of a launch a phase, for a network that is given the whole device."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from numba import cuda

from .. import layout, pointwise
from ..layout import EVALUATIONS, PHASE, STEPS_DONE
from .block import fetch, in_global, keep, perform, with_rate
from .device_layout import View
from .jit import MOST_THREADS, SHARING, index, kernel
from .network import activate, d_activate, divided, sample


@kernel(MOST_THREADS, SHARING)
def begin(setting, state, scratch, e):
    """Take the vectors and the laws' sums of run e from its state."""
    fetch(state, in_global(setting, state, scratch, e), e, cuda.grid(1), cuda.gridsize(1))


@kernel(MOST_THREADS, SHARING)
def end(setting, state, scratch, e):
    """Bring the vectors and the laws' sums of run e to its state, and say that it has begun."""
    if cuda.grid(1) == 0 and state.counts[e, PHASE] == layout.NEW:
        state.counts[e, PHASE] = layout.RUNNING
    keep(state, in_global(setting, state, scratch, e), e, cuda.grid(1), cuda.gridsize(1))


@kernel(MOST_THREADS, SHARING)
def gather(data, n_0, order, counts, e, n, out):
    """Put the inputs of the minibatch that is due for run e side by side."""
    _, offset = pointwise.minibatch(counts[e, EVALUATIONS], n, order.size)
    view = View(0, n, n, n, n, order, offset)
    item = cuda.grid(1)
    while item < n_0 * n:
        i, s = divided(item, n)
        out[index(item)] = data.inputs[index(i * data.n + sample(view, s))]
        item += cuda.gridsize(1)


@kernel(MOST_THREADS, SHARING)
def row_sums(a, begin, n, out, where, scale):
    """Out[where + i] = scale Σ_s a[begin + i n + s] of row i, a block's."""
    parts = cuda.shared.array(MOST_THREADS, a.dtype)
    i, first = cuda.blockIdx.x, cuda.threadIdx.x
    total = a.dtype.type(0)
    s = first
    while s < n:
        total += a[index(begin + i * n + s)]
        s += cuda.blockDim.x
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

    @kernel(MOST_THREADS, SHARING)
    def phase(setting, rates, state, scratch, records, e, r):
        """Do row r of the program of run e, by all threads of the device."""
        if state.counts[e, PHASE] != layout.DIVERGED:
            run, algorithm = in_global(setting, state, scratch, e), with_rate(setting.algorithm, rates[e])
            step, first, stride = state.counts[e, STEPS_DONE], cuda.grid(1), cuda.gridsize(1)
            perform(functions, r, step, setting, algorithm, run, state, records, e, first, stride)

    @kernel(MOST_THREADS, SHARING)
    def activate_all(problem, places, h, x, memory, ld):
        """Biases and σ_h, of every neuron of a layer and every sample."""
        item = cuda.grid(1)
        while item < problem.widths[h + 1] * ld:
            neuron, _ = divided(item, ld)
            activate(functions, problem, places, h, x, memory, neuron, item)
            item += cuda.gridsize(1)

    @kernel(MOST_THREADS, SHARING)
    def d_activate_all(problem, places, h, x, memory, ld):
        """δ_h = d σ′(z_h), of every neuron of a layer and every sample."""
        item = cuda.grid(1)
        while item < problem.widths[h + 1] * ld:
            neuron, _ = divided(item, ld)
            d_activate(functions, problem, places, h, x, memory, neuron, item)
            item += cuda.gridsize(1)

    return Kernels(phase, activate_all, d_activate_all)
