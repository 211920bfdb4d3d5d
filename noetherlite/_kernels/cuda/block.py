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
from .jit import MOST_THREADS, SHARING, device, index, kernel, written_out
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
    """Return x, v, the gradient, y or the work: a part of one array, so that the compiler knows which memory it lies in."""
    P = run.x.size
    return run.vectors[code * P : (code + 1) * P]


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
def perform(functions, r, step, setting, algorithm, run, state, records, e, first, stride):
    """Do a thread's share of row r of the program at a step of run e; `run` are its arrays, a RunArrays.

    `functions` are those of `scalars.py`, `setting` is a Setting, `algorithm` a layout.Algorithm. `state` and `records` are of all
    runs, (E, …); the thread takes the coordinates first, first + stride, ….
    """
    problem, data, tables, laws = setting.problem, setting.data, setting.tables, setting.laws
    rows, r = setting.program.rows, index(r)
    op, a, b, c, x = rows[r, OP], rows[r, A], rows[r, B], rows[r, C], vector_of(run, rows[r, VECTOR])
    places = tables.places
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
    elif op == schedule.ORTHOGONALISE:
        functions.orthogonalise(a, b, algorithm, run, first, stride)
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
            shuffle(a, setting.batches, state.counts, e)
        elif op == schedule.CHECK:
            judge(run.losses[a], state.counts, e)
        else:
            state.counts[e, STEPS_DONE] += 1


@device
def shuffle(back, batches, counts, e):
    """Go `back` minibatches, and draw the order of the samples anew where an epoch begins, or was left on the way."""
    n, N = batches.size, batches.order.shape[1]
    before = pointwise.minibatch(counts[e, EVALUATIONS], n, N)[0]
    if back > 0:
        counts[e, EVALUATIONS] -= back
    epoch, position = pointwise.minibatch(counts[e, EVALUATIONS], n, N)
    if position == 0 or epoch != before:
        pointwise.shuffle(batches.key[e], epoch, batches.order[e])


@device
def draw(key, step, out, first, stride):
    """A thread's share of the normal numbers of a step."""
    bits = noise.stream(key, step)
    i = first
    while i < out.size:
        out[index(i)] = noise.normal(bits, i)
        i += stride


@written_out
def arrays_of(state, e, vectors, memory, doubles, tables):
    """Return the views that belong to run e: `vectors` (4P,) and the work, memory of a pass (tables.memory,), doubles (tables.doubles,).

    `doubles` holds all that is float64 whatever the parameters are.
    """
    P, K = state.x.shape[1], state.origin.shape[1]
    pieces, losses = N_SUMS * K, tables.losses
    norms = pieces + schedule.SLOTS * tables.slot
    return RunArrays(
        vectors,
        vectors[schedule.X * P : (schedule.X + 1) * P],
        vectors[schedule.V * P : (schedule.V + 1) * P],
        vectors[schedule.G * P : (schedule.G + 1) * P],
        vectors[schedule.Y * P : (schedule.Y + 1) * P],
        vectors[schedule.WORK * P :],
        state.moment[e],
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
    i = first
    while i < a.size:
        out[index(i)] = a[index(i)]
        i += stride


@device
def fetch(state, run, e, first, stride):
    """Take the vectors and the laws' sums from the state."""
    copy(state.x[e], run.x, first, stride)
    copy(state.v[e], run.v, first, stride)
    copy(state.gradient[e], run.gradient, first, stride)
    copy(state.y[e], run.y, first, stride)
    copy(state.origin[e], run.origin, first, stride)
    copy(state.integral[e], run.integral, first, stride)
    copy(state.balance[e], run.balance, first, stride)
    copy(state.source[e], run.source, first, stride)
    copy(state.charge[e], run.charge, first, stride)
    if first == 0:
        run.losses[0] = state.loss[e, 0]


@device
def keep(state, run, e, first, stride):
    """Bring the vectors and the laws' sums to the state."""
    copy(run.x, state.x[e], first, stride)
    copy(run.v, state.v[e], first, stride)
    copy(run.gradient, state.gradient[e], first, stride)
    copy(run.y, state.y[e], first, stride)
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
        perform(functions, r, step, setting, algorithm, run, state, records, e, first, stride)
        op = program.rows[index(r), OP]
        if program.rows[index(r), MEET]:
            cuda.syncthreads()
        judged = op == schedule.FINISH or op == schedule.CHECK
        # Nobody writes the phase before the next of these rows, a meeting away.
        if judged and state.counts[e, PHASE] == layout.DIVERGED:
            return
        step += op == schedule.COUNT
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
        a.block,
        a.decays,
        a.ascent,
        a.pull,
        a.accumulated,
        a.matrices,
        a.borders,
    )


@device
def advance(functions, setting, rates, state, vectors, memory, doubles, records, e, n_steps):
    """Advance run e by n_steps; its vectors and sums are copied to `vectors` (4P + work,) and `doubles` (tables.doubles,) for as long.

    `functions` are those of `scalars.py`, `setting` is a Setting; `rates`, `state` and `records` are of all runs,
    (E, …), `memory` is (tables.memory,).
    """
    first, stride = cuda.threadIdx.x, cuda.blockDim.x
    run = arrays_of(state, e, vectors, memory, doubles, setting.tables)
    fetch(state, run, e, first, stride)
    train(functions, setting, rates, run, state, records, e, n_steps)
    cuda.syncthreads()
    keep(state, run, e, first, stride)


@written_out
def in_shared(setting, state, scratch):
    """Return a block's doubles, its vectors and what is left of its shared memory."""
    size = 4 * state.x.shape[1] + state.work.shape[1]
    doubles = cuda.shared.array(0, scratch.doubles.dtype)
    numbers = cuda.shared.array(0, state.x.dtype)  # the same bytes
    begin = setting.tables.doubles * (doubles.itemsize // numbers.itemsize)
    return doubles, numbers[begin : begin + size], numbers[begin + size :]


@written_out
def in_global(setting, state, scratch, e):
    """Return the views of a run that is in global memory."""
    return arrays_of(state, e, scratch.vectors[e], scratch.memory[e], scratch.doubles[e], setting.tables)


@functools.cache
def kernels(functions):
    """Return the kernels for a network of these functions, by where they have what they work on."""

    @kernel(MOST_THREADS, SHARING)
    def advance_in_shared(setting, rates, state, scratch, records, n_steps):
        """Advance every run by a block of its own, all that it works on in shared memory."""
        e = cuda.blockIdx.x
        if state.counts[e, PHASE] != layout.DIVERGED:
            doubles, vectors, memory = in_shared(setting, state, scratch)
            advance(functions, setting, rates, state, vectors, memory, doubles, records, e, n_steps)

    @kernel(MOST_THREADS, SHARING)
    def advance_with_vectors_in_shared(setting, rates, state, scratch, records, n_steps):
        """Advance every run by a block of its own, its activations in global memory."""
        e = cuda.blockIdx.x
        if state.counts[e, PHASE] != layout.DIVERGED:
            doubles, vectors, _ = in_shared(setting, state, scratch)
            advance(functions, setting, rates, state, vectors, scratch.memory[e], doubles, records, e, n_steps)

    @kernel(MOST_THREADS, SHARING)
    def advance_in_global(setting, rates, state, scratch, records, n_steps):
        """Advance every run by a block of its own, in global memory."""
        e = cuda.blockIdx.x
        if state.counts[e, PHASE] != layout.DIVERGED:
            vectors, memory, doubles = scratch.vectors[e], scratch.memory[e], scratch.doubles[e]
            advance(functions, setting, rates, state, vectors, memory, doubles, records, e, n_steps)

    return {
        IN_SHARED: advance_in_shared,
        VECTORS_IN_SHARED: advance_with_vectors_in_shared,
        IN_GLOBAL: advance_in_global,
    }
