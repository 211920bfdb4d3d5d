"""The GPU's kernels: a block of threads trains a network of its own, or the whole device does a phase of one network's step."""

from __future__ import annotations

import functools

from numba import cuda

from .. import layout, noise, pointwise, schedule
from ..layout import EVALUATIONS, PHASE, STEPS_DONE
from ..schedule import ALL, MEET, OP, VECTOR, A, B, C
from .device_layout import (
    BALANCE,
    CHARGE,
    IN_GLOBAL,
    IN_SHARED,
    INTEGRAL,
    N_SUMS,
    ORIGIN,
    SOURCE,
    VECTORS_IN_SHARED,
    RunArrays,
    View,
)
from .jit import MOST_THREADS, device, kernel, written_out
from .laws import form
from .network import add_up, backward, forward, loss
from .steps import (
    analytic,
    ascend,
    back,
    clip,
    energy,
    finish,
    gather,
    gradient_norm,
    judge,
    measure,
    norms,
    scale,
    undecayed,
    weigh,
    write,
)


@written_out
def vector_of(run, code):
    """Return x, v, the gradient, y or the work."""
    if code == schedule.X:
        return run.x
    if code == schedule.V:
        return run.v
    if code == schedule.WORK:
        return run.work
    return run.gradient if code == schedule.G else run.y


@written_out
def view_of(setting, counts, e, tile, which):
    """Return the samples of a tile, of the minibatch that is due or of all samples."""
    batches, tables, N = setting.batches, setting.tables, setting.data.n
    n, offset = N, -1
    if which != ALL and batches.size < N:
        n = batches.size
        _, offset = pointwise.minibatch(counts[e, EVALUATIONS], n, N)
    begin = tile * tables.slots
    return View(begin, min(begin + tables.slots, n), n, tables.slots, tables.ld, batches.order[e], offset)


@device
def perform(functions, row, step, setting, algorithm, run, state, records, e, first, stride):
    """Do a thread's share of one row (6,) of the program at a step of run e; `run` are its arrays, a RunArrays.

    `state` and `records` are of all runs, (E, …); the thread takes the coordinates first, first + stride, ….
    """
    problem, data, tables, laws = setting.problem, setting.data, setting.tables, setting.laws
    op, a, b, c = row[OP], row[A], row[B], row[C]
    x, places = vector_of(run, row[VECTOR]), tables.places
    if op == schedule.FORWARD:
        forward(
            functions, problem, data, places, a, x, run.memory, view_of(setting, state.counts, e, b, c), first, stride
        )
    elif op == schedule.LOSS:
        delta = places[places.shape[0] - 1, 2]
        view = view_of(setting, state.counts, e, a, b)
        loss(functions, problem, data, delta, run.memory, run.values, view, first, stride)
    elif op == schedule.TOTAL:
        if first == stride - 1:
            add_up(run.values, view_of(setting, state.counts, e, a, b), run.losses, b, a)
    elif op == schedule.BACKWARD:
        view = view_of(setting, state.counts, e, b, c)
        backward(functions, problem, data, places, a, x, run.memory, run.gradient, view, first, stride)
    elif op == schedule.FORM:
        form(a, laws, tables, x, vector_of(run, b), c, run.pieces, first, stride)
    elif op == schedule.UPDATE or op == schedule.SETTLE:
        functions.rules(a, algorithm, step, laws, tables, run, first, stride)
    elif op == schedule.ANALYTIC:
        analytic(problem, x, run.gradient, first, stride)
    elif op == schedule.GRADIENT_NORM:
        gradient_norm(run, first, stride)
    elif op == schedule.CLIP:
        clip(algorithm.clip, run, first, stride)
    elif op == schedule.NOISE:
        draw(setting.batches.key[e], step, x, first, stride)
    elif op == schedule.SCALE:
        scale(algorithm.shares, run.gradient, first, stride)
    elif op == schedule.WEIGH:
        weigh(algorithm, a, x, run.work, first, stride)
    elif op == schedule.UNDECAYED:
        undecayed(algorithm, run, first, stride)
    elif op == schedule.GATHER:
        gather(a, b, run, state.counts, e, first, stride)
    elif op == schedule.ASCEND:
        ascend(algorithm.ascent, run, first, stride)
    elif op == schedule.RETURN:
        back(run, first, stride)
    elif op == schedule.FINISH:
        finish(algorithm, x, run, state.counts, e, first, stride)
    elif op == schedule.NORMS:
        norms(algorithm, run, first, stride)
    elif op == schedule.WRITE:
        measure(algorithm.law, laws, tables, run, state.sizes, e, first, stride)
        write(run.losses[a], algorithm, step, laws, tables, run, records, e, first, stride)
    elif first == 0:  # what is for one thread
        if op == schedule.ENERGY:
            run.losses[a] = energy(problem, x, run.gradient)
        elif op == schedule.SHUFFLE:
            shuffle(setting.batches, state.counts, e)
        elif op == schedule.CHECK:
            judge(run.losses[a], state.counts, e)
        else:
            state.counts[e, STEPS_DONE] += 1


@device
def shuffle(batches, counts, e):
    """Draw the order of the samples anew where an epoch begins."""
    epoch, position = pointwise.minibatch(counts[e, EVALUATIONS], batches.size, batches.order.shape[1])
    if position == 0:
        pointwise.shuffle(batches.key[e], epoch, batches.order[e])


@device
def draw(key, step, out, first, stride):
    """A thread's share of the normal numbers of a step."""
    bits = noise.stream(key, step)
    for i in range(first, out.size, stride):
        out[i] = noise.normal(bits, i)


@written_out
def arrays_of(x, v, gradient, moment, y, work, memory, doubles, K, tables):
    """Return the views that belong to one run: vectors (P,), memory of a pass (tables.memory,), doubles (tables.doubles,).

    `doubles` holds all that is float64 whatever the parameters are; K is the number of law components.
    """
    pieces, losses = N_SUMS * K, tables.losses
    norms = pieces + schedule.SLOTS * tables.slot
    return RunArrays(
        x,
        v,
        gradient,
        moment,
        y,
        work,
        memory,
        doubles[ORIGIN * K : (ORIGIN + 1) * K],
        doubles[INTEGRAL * K : (INTEGRAL + 1) * K],
        doubles[BALANCE * K : (BALANCE + 1) * K],
        doubles[SOURCE * K : (SOURCE + 1) * K],
        doubles[CHARGE * K : (CHARGE + 1) * K],
        doubles[pieces:norms],
        doubles[norms:losses],
        doubles[losses : losses + 2],
        doubles[losses + 2 : tables.doubles],
    )


@device
def copy(a, out, first, stride):
    """Out = a."""
    for i in range(first, a.size, stride):
        out[i] = a[i]


@device
def fetch(state, run, e, first, stride):
    """Take the laws' sums from the state."""
    copy(state.origin[e], run.origin, first, stride)
    copy(state.integral[e], run.integral, first, stride)
    copy(state.balance[e], run.balance, first, stride)
    copy(state.source[e], run.source, first, stride)
    copy(state.charge[e], run.charge, first, stride)
    if first == 0:
        run.losses[0] = state.loss[e, 0]


@device
def keep(state, run, e, first, stride):
    """Bring the laws' sums to the state."""
    copy(run.origin, state.origin[e], first, stride)
    copy(run.integral, state.integral[e], first, stride)
    copy(run.balance, state.balance[e], first, stride)
    copy(run.source, state.source[e], first, stride)
    copy(run.charge, state.charge[e], first, stride)
    if first == 0:
        state.loss[e, 0] = run.losses[0]


@device
def train(functions, setting, rates, run, state, records, e, n_steps):
    """Advance one run by `n_steps` steps, recording on the way; the first call also makes and records the start."""
    program, step = setting.program, state.counts[e, STEPS_DONE]
    algorithm = with_rate(setting.algorithm, rates[e])
    i = -1 if state.counts[e, PHASE] == layout.NEW else 0
    cuda.syncthreads()
    if i < 0 and cuda.threadIdx.x == 0:
        state.counts[e, PHASE] = layout.RUNNING
    r = 0 if i < 0 else program.step
    while i < n_steps:
        first, stride = cuda.threadIdx.x, cuda.blockDim.x
        perform(functions, program.rows[r], step, setting, algorithm, run, state, records, e, first, stride)
        if program.rows[r, MEET]:
            cuda.syncthreads()
        judged = program.rows[r, OP] == schedule.FINISH or program.rows[r, OP] == schedule.CHECK
        # Nobody writes the phase before the next of these rows, a meeting away.
        if judged and state.counts[e, PHASE] == layout.DIVERGED:
            return
        step += program.rows[r, OP] == schedule.COUNT
        r, over = pointwise.next_row(r, program, step, records.every, records.last)
        i += over


@device
def with_rate(a, h):
    """Return the algorithm with its own time per step."""
    return layout.Algorithm(
        a.law,
        h,
        a.mass,
        a.gamma,
        a.alpha,
        a.t0,
        a.weight_decay,
        a.momentum,
        a.constants,
        a.clip,
        a.rates,
        a.times,
        a.metric,
        a.shares,
        a.decays,
        a.ascent,
        a.pull,
        a.accumulated,
    )


@device
def train_with_vectors(functions, setting, rates, state, memory, doubles, vectors, records, e, n_steps):
    """Advance one run whose vectors are copied to `vectors` for as long."""
    first, stride, P = cuda.threadIdx.x, cuda.blockDim.x, state.x.shape[1]
    x, v, gradient, y = vectors[:P], vectors[P : 2 * P], vectors[2 * P : 3 * P], vectors[3 * P : 4 * P]
    moment, work, K = state.moment[e], state.work[e], state.origin.shape[1]
    run = arrays_of(x, v, gradient, moment, y, work, memory, doubles, K, setting.tables)
    copy(state.x[e], x, first, stride)
    copy(state.v[e], v, first, stride)
    copy(state.gradient[e], gradient, first, stride)
    copy(state.y[e], y, first, stride)
    fetch(state, run, e, first, stride)
    train(functions, setting, rates, run, state, records, e, n_steps)
    cuda.syncthreads()
    copy(x, state.x[e], first, stride)
    copy(v, state.v[e], first, stride)
    copy(gradient, state.gradient[e], first, stride)
    copy(y, state.y[e], first, stride)
    keep(state, run, e, first, stride)


@written_out
def in_shared(setting, state, scratch):
    """Return a block's doubles, its vectors and what is left of its shared memory."""
    P = state.x.shape[1]
    doubles = cuda.shared.array(0, scratch.doubles.dtype)
    numbers = cuda.shared.array(0, state.x.dtype)  # the same bytes
    begin = setting.tables.doubles * (doubles.itemsize // numbers.itemsize)
    return doubles, numbers[begin : begin + 4 * P], numbers[begin + 4 * P :]


@written_out
def in_global(setting, state, scratch, e):
    """Return the views of a run that is in global memory."""
    memory, doubles = scratch.memory[e], scratch.doubles[e]
    x, v, gradient, moment, y = state.x[e], state.v[e], state.gradient[e], state.moment[e], state.y[e]
    K = state.origin.shape[1]
    return arrays_of(x, v, gradient, moment, y, state.work[e], memory, doubles, K, setting.tables)


@functools.cache
def kernels(functions):
    """Return the kernels for a network of these functions, by where they have what they work on."""

    @kernel(MOST_THREADS, 2)
    def advance_in_shared(setting, rates, state, scratch, records, n_steps):
        """Advance every run by a block of its own, all that it works on in shared memory."""
        e = cuda.blockIdx.x
        if state.counts[e, PHASE] != layout.DIVERGED:
            doubles, vectors, memory = in_shared(setting, state, scratch)
            train_with_vectors(functions, setting, rates, state, memory, doubles, vectors, records, e, n_steps)

    @kernel(MOST_THREADS, 2)
    def advance_with_vectors_in_shared(setting, rates, state, scratch, records, n_steps):
        """Advance every run by a block of its own, its activations in global memory."""
        e = cuda.blockIdx.x
        if state.counts[e, PHASE] != layout.DIVERGED:
            doubles, vectors, _ = in_shared(setting, state, scratch)
            train_with_vectors(
                functions, setting, rates, state, scratch.memory[e], doubles, vectors, records, e, n_steps
            )

    @kernel(MOST_THREADS, 2)
    def advance_in_global(setting, rates, state, scratch, records, n_steps):
        """Advance every run by a block of its own, in global memory."""
        e, first, stride = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        if state.counts[e, PHASE] != layout.DIVERGED:
            run = in_global(setting, state, scratch, e)
            fetch(state, run, e, first, stride)
            train(functions, setting, rates, run, state, records, e, n_steps)
            cuda.syncthreads()
            keep(state, run, e, first, stride)

    return {
        IN_SHARED: advance_in_shared,
        VECTORS_IN_SHARED: advance_with_vectors_in_shared,
        IN_GLOBAL: advance_in_global,
    }
