"""The compiled run: potential, update rule, exact discrete law and records in one call, no Python between steps."""

from __future__ import annotations

import math

import numpy as np

from . import layout, pointwise
from ._jit import compiled
from .cpu_laws import charge, pair, quantity
from .cpu_network import Tiles, forward, load, network_value, network_value_and_gradient
from .layout import EVALUATIONS, OUTCOME, STEPS_DONE

# Largest layer n_h × n_{h−1} that our own loops multiply faster than BLAS.
BLAS_FROM = 64 * 64
# Samples in a tile at the most, and the multiple that fills vector registers.
TILE, LANES = 64, 8


def tiles(problem: layout.Problem, n: int) -> Tiles:
    """Return empty tiles for `n` samples, with memory for a pass; the choice between loops and BLAS is made here."""
    widths, dtype = problem.widths, problem.X.dtype
    blas = int(widths.size > 1 and int((widths[1:] * widths[:-1]).max()) >= BLAS_FROM)
    n_tiles = 1 if blas else -(-n // TILE)
    T = n if blas else LANES * -(-n // (LANES * n_tiles))
    hidden = int(widths[1:].sum())
    return Tiles(
        n=n,
        blas=blas,
        inputs=np.zeros((n_tiles, int(widths[0]), T), dtype),
        labels=np.zeros((n_tiles, T if problem.loss == layout.NLL else 0), np.int64),
        targets=np.zeros((n_tiles, problem.targets.shape[1], T), dtype),
        z=np.zeros(hidden * T, dtype),
        a=np.zeros(hidden * T, dtype),
        scratch=np.zeros(max(int(widths.max()), 2) * T, dtype),
    )


@compiled
def harmonic(A, x, gradient):
    """U = ½⟨x, Ax⟩, A symmetric."""
    total = 0.0
    for i in range(x.size):
        row = A[i]
        product = gradient.dtype.type(0)
        for j in range(x.size):
            product += row[j] * x[j]
        gradient[i] = product
        total += product * x[i]
    return 0.5 * total


@compiled
def radial(x, gradient):
    """U = (|x|² − 1)²/10 + 2/25, the potential of GU's Figures 3–6."""
    square = 0.0
    for i in range(x.size):
        square += x[i] * x[i]
    for i in range(x.size):
        gradient[i] = 0.4 * (square - 1) * x[i]
    return 0.1 * (square - 1) ** 2 + 0.08


@compiled
def value_and_gradient(problem, held, x, gradient):
    """Return U(x), write ∇U(x)."""
    if problem.kind == layout.NETWORK:
        return network_value_and_gradient(problem, held, x, gradient)
    if problem.kind == layout.RADIAL:
        return radial(x, gradient)
    return harmonic(problem.matrix, x, gradient)


@compiled
def value(problem, held, x, scratch):
    """Return U(x); `scratch` of shape (P,) is overwritten by analytic potentials."""
    if problem.kind == layout.NETWORK:
        return network_value(problem, held, x)
    return value_and_gradient(problem, held, x, scratch)


@compiled
def predict(problem, held, x, out):
    """Write f(x; X) of shape (N, n_L) for the samples in `held`."""
    n, T = problem.widths[-1], held.inputs.shape[2]
    for tile in range(held.inputs.shape[0]):
        forward(problem, x, held, held.inputs[tile].reshape(-1), T)
        Z = held.z[-n * T :]
        for s in range(min(T, held.n - tile * T)):
            for i in range(n):
                out[tile * T + s, i] = Z[i * T + s]


@compiled
def integrating_factor(algorithm, t):
    return t ** (algorithm.alpha / algorithm.mass) * math.exp(algorithm.gamma / algorithm.mass * t)


@compiled
def evaluate(problem, held, batches, state, x):
    """Set the gradient and the loss at `x`, on the minibatch that is due."""
    evaluation = state.counts[EVALUATIONS]
    if batches.size < batches.order.size:
        per_epoch = batches.order.size // batches.size
        position = evaluation % per_epoch
        if position == 0:
            pointwise.shuffle(batches.key, evaluation // per_epoch, batches.order)
        load(problem, batches.order[position * batches.size : (position + 1) * batches.size], held)
    state.loss[0] = value_and_gradient(problem, held, x, state.gradient)
    state.counts[EVALUATIONS] = evaluation + 1
    if not math.isfinite(state.loss[0]):
        state.counts[OUTCOME] = layout.DIVERGED


@compiled
def step_gd(problem, held, algorithm, laws, batches, state):
    """X ← x − η∇U(x).  Law: Q' − Q = ½η² B(g, g), or ⟨g(x), ẋ⟩ = 0 where G is not symmetric."""
    x, g, h = state.x, state.gradient, algorithm.h
    drop, orthogonal = state.scratch[0], state.scratch[1]
    pair(laws, g, g, drop)
    mixed = laws.symmetric.size > 0 and laws.symmetric.min() == 0
    if mixed:
        charge(laws, x, g, orthogonal)
    for l in range(laws.kind.size):
        for j in range(laws.start[l], laws.start[l + 1]):
            state.balance[j] += 0.5 * h * h * drop[j] if laws.symmetric[l] else -h * orthogonal[j]
    for i in range(x.size):
        x[i] -= h * g[i]
    evaluate(problem, held, batches, state, x)


@compiled
def step_conformal(problem, held, algorithm, laws, batches, state):
    """Drag, kick, drift, kick, drag; velocity Verlet when γ = α = 0.  Law: μ'J' − μJ = h μ(τ) B(v, v) at τ = t + h/2."""
    x, v, g, h = state.x, state.v, state.gradient, algorithm.h
    power, rate = algorithm.alpha / algorithm.mass, algorithm.gamma / algorithm.mass
    t = algorithm.t0 + state.counts[STEPS_DONE] * h
    middle, end = t + 0.5 * h, t + h
    before = (t / middle) ** power * math.exp(rate * (t - middle))
    after = (middle / end) ** power * math.exp(rate * (middle - end))
    kick = 0.5 * h / algorithm.mass
    for i in range(x.size):
        v[i] = before * v[i] - kick * g[i]
        x[i] += h * v[i]
    source = state.scratch[0]
    pair(laws, v, v, source)
    factor = integrating_factor(algorithm, middle)
    for j in range(source.size):
        state.balance[j] += h * factor * source[j]
    evaluate(problem, held, batches, state, x)
    for i in range(x.size):
        v[i] = after * (v[i] - kick * g[i])
    pair(laws, v, v, source)
    integrate_source(algorithm, state, t, end, source)


@compiled
def step_nagd(problem, held, algorithm, laws, batches, state):
    """V' = βv − h∇U(x + βhv), x' = x + hv' (GU (20)), with the law of J' in theory §6."""
    x, v, y, g, h = state.x, state.v, state.y, state.gradient, algorithm.h
    k = algorithm.t0 / h + state.counts[STEPS_DONE]
    t = algorithm.t0 + state.counts[STEPS_DONE] * h
    beta = (k - 1) / (k + algorithm.alpha - 1)
    for i in range(x.size):
        y[i] = x[i] + beta * h * v[i]
    evaluate(problem, held, batches, state, y)
    for i in range(x.size):
        y[i] = v[i]  # from here on the old velocity
        v[i] = beta * v[i] - h * g[i]
        x[i] += h * v[i]
    source, cross = state.scratch[0], state.scratch[1]
    pair(laws, v, v, source)
    pair(laws, y, v, cross)
    for j in range(source.size):
        predicted = source[j] - beta * cross[j] + beta * beta * state.source[j]
        state.balance[j] -= beta * state.charge[j] + h * predicted
    charge(laws, x, v, state.charge)
    for j in range(source.size):
        state.balance[j] += state.charge[j]
    integrate_source(algorithm, state, t, t + h, source)


@compiled
def integrate_source(algorithm, state, t, end, source):
    """∫ μS ds by the trapezoidal rule over one step; keep S for the next."""
    left, right = integrating_factor(algorithm, t), integrating_factor(algorithm, end)
    half = 0.5 * algorithm.h
    for j in range(source.size):
        state.integral[j] += half * (left * state.source[j] + right * source[j])
        state.source[j] = source[j]


@compiled
def start(problem, held, algorithm, laws, batches, state):
    """First gradient, and the charges that the laws are measured from."""
    if algorithm.kind == layout.GD:
        evaluate(problem, held, batches, state, state.x)
        quantity(laws, state.x, state.origin)
        return
    if algorithm.kind == layout.CONFORMAL:
        evaluate(problem, held, batches, state, state.x)
    charge(laws, state.x, state.v, state.charge)
    pair(laws, state.v, state.v, state.source)
    factor = integrating_factor(algorithm, algorithm.t0)
    for j in range(state.origin.size):
        state.origin[j] = factor * state.charge[j]


@compiled
def record(problem, everything, algorithm, laws, batches, state, records):
    """Write one row of the records at the present step; False where the loss is not finite."""
    step = state.counts[STEPS_DONE]
    row = step // records.every if step % records.every == 0 else records.step.size - 1
    at_x = algorithm.kind != layout.NAGD and batches.size == batches.order.size
    loss = state.loss[0] if at_x else value(problem, everything, state.x, state.y)
    if not math.isfinite(loss):
        state.counts[OUTCOME] = layout.DIVERGED
        return
    records.step[row] = step
    records.loss[row] = loss
    total = 0.0
    for i in range(state.v.size):
        total += state.v[i] * state.v[i]
    records.kinetic[row] = 0.5 * algorithm.mass * total
    if records.params.shape[0] > 0:
        records.params[row] = state.x
    Q, J = records.quantity[row], records.charge[row]
    quantity(laws, state.x, Q)
    if algorithm.kind == layout.GD:
        charge(laws, state.x, state.gradient, J)
        for j in range(J.size):
            J[j] = -J[j]  # ẋ = −∇U
    else:
        charge(laws, state.x, state.v, J)
    records.integral[row] = state.integral
    factor = 1.0 if algorithm.kind == layout.GD else integrating_factor(algorithm, algorithm.t0 + step * algorithm.h)
    for l in range(laws.kind.size):
        for j in range(laws.start[l], laws.start[l + 1]):
            if algorithm.kind == layout.NAGD or (algorithm.kind == layout.GD and not laws.symmetric[l]):
                records.discrete[row, j] = state.balance[j]
            elif algorithm.kind == layout.GD:
                records.discrete[row, j] = Q[j] - state.origin[j] - state.balance[j]
            else:
                records.discrete[row, j] = factor * J[j] - state.origin[j] - state.balance[j]


@compiled
def advance(problem, held, everything, algorithm, laws, batches, state, records, n_steps):
    """Take `n_steps` steps, recording on the way; the first call also makes and records the start.

    `held` are the tiles a step is evaluated on, `everything` those of all samples: the same for the full batch.
    """
    if state.counts[STEPS_DONE] == 0 and state.counts[EVALUATIONS] == 0 and records.step[0] < 0:
        start(problem, held, algorithm, laws, batches, state)
        record(problem, everything, algorithm, laws, batches, state, records)
    for _ in range(n_steps):
        if state.counts[OUTCOME] != layout.RUNNING:
            return
        if algorithm.kind == layout.GD:
            step_gd(problem, held, algorithm, laws, batches, state)
        elif algorithm.kind == layout.CONFORMAL:
            step_conformal(problem, held, algorithm, laws, batches, state)
        else:
            step_nagd(problem, held, algorithm, laws, batches, state)
        if state.counts[OUTCOME] != layout.RUNNING:
            return
        state.counts[STEPS_DONE] += 1
        step = state.counts[STEPS_DONE]
        if step % records.every == 0 or step == records.last:
            record(problem, everything, algorithm, laws, batches, state, records)
