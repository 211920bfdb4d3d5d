"""The compiled run: potential, update rule, exact discrete law and records in one call, no Python between steps."""

from __future__ import annotations

import functools
import math

import numba
import numpy as np

from .. import layout, pointwise
from ..jit import compiled, inlined
from ..layout import EVALUATIONS, PHASE, STEPS_DONE
from .intrinsics import address_of, borrowed, window
from .intrinsics import float64_at as network_at
from .laws import charge, generators, pair, quantity
from .layers import copy
from .network import address_of_network, forward, network
from .steps import (
    attribute,
    combine,
    conformal_after,
    conformal_before,
    gd_before,
    heavy_ball_before,
    nagd_after,
    nagd_before,
)
from .tiles import Tiles, empty, load


def tiles(problem: layout.Problem, n: int, members: int = 1) -> Tiles:
    """Return empty tiles for `n` samples, with memory for a pass by each of `members` threads at the most."""
    held = empty(problem, n, members)
    return held._replace(network=_address(problem.X.dtype)) if problem.kind == layout.NETWORK else held


_address = functools.lru_cache(address_of_network)


@compiled
def harmonic(A, x, gradient):
    """U = ½⟨x, Ax⟩, A symmetric."""
    total = 0.0
    for i in range(x.size):
        row = window(A, i * x.size, x.size)
        product = x.dtype.type(0)
        for j in range(x.size):
            product += row[j] * x[j]
        if gradient.size > 0:
            gradient[i] = product
        total += product * x[i]
    return 0.5 * total


@compiled
def radial(x, gradient):
    """U = (|x|² − 1)²/10 + 2/25, the potential of GU's Figures 3–6."""
    square = 0.0
    for i in range(x.size):
        square += x[i] * x[i]
    for i in range(gradient.size):
        gradient[i] = 0.4 * (square - 1) * x[i]
    return 0.1 * (square - 1) ** 2 + 0.08


if numba.config.DISABLE_JIT:

    def network_at(address, arguments):
        return network(*arguments)


@inlined
def potential(problem, where_problem, held, where_held, x, gradient):
    """Return U(x); write ∇U(x) into `gradient`, unless that is empty."""
    if problem.kind == layout.NETWORK:
        return network_at(held.network, (where_problem, where_held, np.int64(0), x, gradient))
    if problem.kind == layout.RADIAL:
        return radial(x, gradient)
    return harmonic(problem.matrix, x, gradient)


@compiled
def value_and_gradient(problem, held, x, gradient):
    """Return U(x) and write ∇U(x), unless `gradient` is empty."""
    problem, held = borrowed(problem), borrowed(held)
    return potential(problem, address_of(problem), held, address_of(held), x, gradient)


@compiled
def predict(problem, held, x, out):
    """Write f(x; X) of shape (N, n_L) for the samples in `held`."""
    n, T = problem.widths[-1], held.inputs.shape[2]
    for tile in range(held.inputs.shape[0]):
        forward(problem, x, held, tile, 0)
        Z = window(held.z, held.z.shape[1] - n * T, n * T)
        for s in range(min(T, held.n - tile * T)):
            for i in range(n):
                out[tile * T + s, i] = Z[i * T + s]


@inlined
def evaluate(problem, where_problem, held, where_held, weight_decay, batches, state, x):
    """Set the gradient, with λx of weight decay, and the loss at `x`, on the minibatch that is due."""
    evaluation = state.counts[EVALUATIONS]
    if batches.size < batches.order.size:
        per_epoch = batches.order.size // batches.size
        position = evaluation % per_epoch
        if position == 0:
            pointwise.shuffle(batches.key, evaluation // per_epoch, batches.order)
        load(problem, window(batches.order, position * batches.size, batches.size), held)
    state.loss[0] = potential(problem, where_problem, held, where_held, x, state.gradient)
    if weight_decay != 0:
        combine(1.0, state.gradient, weight_decay, x, state.gradient)
    state.counts[EVALUATIONS] = evaluation + 1
    if not math.isfinite(state.loss[0]):
        state.counts[PHASE] = layout.DIVERGED


@inlined
def origin(algorithm, laws, state):
    """Set the charges that the laws are measured from."""
    if algorithm.kind == layout.GD:
        quantity(laws, state.x, state.origin)
        return
    charge(laws, state.x, state.v, state.charge)
    if algorithm.kind == layout.HEAVY_BALL:
        return
    pair(laws, state.v, state.v, state.source)
    copy(state.charge, state.origin)


@inlined
def square(problem, v):
    """|v|², also in sample coordinates."""
    total, first = 0.0, 0
    if problem.dual >= 0:
        first = v.size - problem.dual
        for i in range(first):
            total += np.float64(v[i]) * v[problem.dual + i]
    for i in range(first, problem.dual if problem.dual >= 0 else v.size):
        total += np.float64(v[i]) * v[i]
    return total


@compiled
def largest(a):
    """max|a|."""
    out = 0.0
    for i in range(a.size):
        out = max(out, abs(a[i]))
    return out


@inlined
def measure(algorithm, laws, state):
    """Enter the sizes of the laws' terms at the present step."""
    K = state.balance.size
    if K == 0:
        return
    norm = window(state.scratch, 0, K)
    generators(laws, state.x, norm)
    sizes = largest(state.x if algorithm.kind == layout.GD else state.v), largest(state.gradient)
    for i in range(2):
        row = window(state.sizes, i * K, K)
        for j in range(K):
            row[j] = max(row[j], norm[j] * sizes[i])


@inlined
def record(problem, algorithm, laws, state, records, loss):
    """Write one row of the records at the present step."""
    step = state.counts[STEPS_DONE]
    row = step // records.every if step % records.every == 0 else records.step.size - 1
    records.step[row] = step
    records.loss[row] = loss
    records.excess[row] = 0.5 * algorithm.mass * square(problem, state.v)
    if algorithm.weight_decay != 0:
        records.excess[row] += 0.5 * algorithm.weight_decay * square(problem, state.x)
    if records.params.shape[0] > 0:
        copy(state.x, window(records.params, row * state.x.size, state.x.size))
    K = state.balance.size
    Q, J = window(records.quantity, row * K, K), window(records.charge, row * K, K)
    I, D = window(records.integral, row * K, K), window(records.discrete, row * K, K)
    measure(algorithm, laws, state)
    quantity(laws, state.x, Q)
    copy(state.integral, I)
    if records.parts.shape[0] > 0:
        copy(window(state.parts, 0, state.parts.size), window(records.parts, row * state.parts.size, state.parts.size))
    if algorithm.kind == layout.GD:
        charge(laws, state.x, state.gradient, J)
        for l in range(laws.kind.size):
            for j in range(laws.start[l], laws.start[l + 1]):
                J[j] = -J[j]  # ẋ is minus the gradient
                D[j] = (Q[j] - state.origin[j] if laws.symmetric[l] else I[j]) - state.balance[j]
        return
    charge(laws, state.x, state.v, J)
    if algorithm.kind != layout.CONFORMAL:
        copy(state.balance, D)  # the defects, summed step by step
        return
    for j in range(K):
        D[j] = J[j] - state.origin[j] - state.balance[j]


@compiled
def advance(problem, held, everything, algorithm, laws, batches, state, records, n_steps):
    """Take `n_steps` steps, recording on the way; the first call also makes and records the start.

    `held` are the tiles a step is evaluated on, `everything` those of all samples: the same for the full batch. With
    n_steps = −m < 0 instead assist as member m of the team that another thread's call leads: it is one compiled
    function with this one, so that the network is compiled once.
    """
    problem, held, everything, laws = borrowed(problem), borrowed(held), borrowed(everything), borrowed(laws)
    batches, state, records = borrowed(batches), borrowed(state), borrowed(records)
    where, there, everywhere = address_of(problem), address_of(held), address_of(everything)
    if n_steps < 0:
        network_at(held.network, (where, there, -n_steps, state.x, window(state.y, 0, 0)))
        return
    beta, loss_is_known = 0.0, algorithm.kind != layout.NAGD and batches.size == batches.order.size
    for i in range(-1 if state.counts[PHASE] == layout.NEW else 0, n_steps):
        at_start = i < 0
        if not at_start:
            if records.parts.shape[0] > 0:
                combine(1.0, state.gradient, -algorithm.weight_decay, state.x, state.y)
                if batches.size < batches.order.size:
                    potential(problem, where, everything, everywhere, state.x, state.y)
                attribute(algorithm, laws, state)
            if algorithm.kind == layout.GD:
                gd_before(algorithm, laws, state)
            elif algorithm.kind == layout.HEAVY_BALL:
                heavy_ball_before(algorithm, laws, state)
            elif algorithm.kind == layout.CONFORMAL:
                conformal_before(algorithm, laws, state)
            else:
                beta = nagd_before(algorithm, state)
        if algorithm.kind != layout.NAGD or not at_start:
            at = state.y if algorithm.kind == layout.NAGD else state.x
            evaluate(problem, where, held, there, algorithm.weight_decay, batches, state, at)
        if state.counts[PHASE] == layout.DIVERGED:
            return
        if at_start:
            origin(algorithm, laws, state)
            state.counts[PHASE] = layout.RUNNING
        else:
            if algorithm.kind == layout.CONFORMAL:
                conformal_after(algorithm, laws, state)
            elif algorithm.kind == layout.NAGD:
                nagd_after(algorithm, laws, state, beta)
            state.counts[STEPS_DONE] += 1
        step = state.counts[STEPS_DONE]
        if step % records.every == 0 or step == records.last:
            loss = state.loss[0]
            if not loss_is_known:
                loss = potential(problem, where, everything, everywhere, state.x, window(state.y, 0, 0))
            if not math.isfinite(loss):
                state.counts[PHASE] = layout.DIVERGED
                return
            record(problem, algorithm, laws, state, records, loss)
