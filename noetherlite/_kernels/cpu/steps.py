"""The phases of a step beside the evaluation of the gradient: updates, the laws' sums, the parts of a drift, records.

With weight decay λ the gradient they are given is that of U + ½λ|x|², d = ∇U + λx.
"""

from __future__ import annotations

import numpy as np

from .. import discrete_laws, layout, pointwise, schedule
from ..jit import compiled, inlined, merged
from ..layout import STEPS_DONE
from .intrinsics import window
from .layers import copy
from .placed import float64_at

# The loops of the updates are functions of their own: inlined among others they would not be vectorised.


@merged
def descend(x, g, h):
    """x ← x − hg."""
    for i in range(x.size):
        x[i] = pointwise.move(x[i], g[i], -h)


@merged
def drag_kick_drift(x, v, g, drag, kick, h):
    """v ← v + (drag v − kick g), x ← x + hv."""
    for i in range(x.size):
        u = pointwise.drag_kick(v[i], g[i], drag, kick)
        v[i] = u
        x[i] = pointwise.move(x[i], u, h)


@merged
def kick_drag(v, g, kick, drag):
    """v ← v − kick g, v ← v + drag v."""
    for i in range(v.size):
        v[i] = pointwise.kick_drag(v[i], g[i], kick, drag)


@merged
def momentum_drift(x, v, g, beta, kick, h, old):
    """old = v, v ← βv − kick g, x ← x + hv."""
    for i in range(x.size):
        u = pointwise.push(v[i], g[i], beta, kick)
        old[i] = v[i]
        v[i] = u
        x[i] = pointwise.move(x[i], u, h)


@merged
def combine(a, x, b, y, out):
    """Out = ax + by."""
    for i in range(x.size):
        out[i] = a * x[i] + b * y[i]


@inlined
def update(rule, algorithm, state):
    """Move x, v and y by a rule of schedule.py."""
    x, v, g, y, h = state.x, state.v, state.gradient, state.y, algorithm.h
    step = state.counts[STEPS_DONE]
    if rule == schedule.DESCEND:
        descend(x, g, h)
    elif rule == schedule.DRAG_KICK_DRIFT:
        drag = discrete_laws.drag_of_first_half(algorithm, step)
        drag_kick_drift(x, v, g, drag, discrete_laws.kick_of_half(algorithm), h)
    elif rule == schedule.KICK_DRAG:
        drag = discrete_laws.drag_of_second_half(algorithm, step)
        kick_drag(v, g, discrete_laws.kick_of_half(algorithm), drag)
    elif rule == schedule.MOMENTUM:
        nesterov = algorithm.kind == layout.NAGD
        beta = discrete_laws.nagd_beta(algorithm, step) if nesterov else algorithm.momentum
        momentum_drift(x, v, g, beta, h if nesterov else 1.0, h, y)
    elif rule == schedule.LOOK_AHEAD:
        combine(1.0, x, discrete_laws.nagd_beta(algorithm, step) * h, v, y)
    else:
        combine(1.0, g, -algorithm.weight_decay, x, y)


@merged
def slot(state, number):
    """Return the components of a form of the step."""
    K = state.balance.size
    return window(state.scratch, number * K, K)


@merged
def fade(a, drag):
    """a ← a + drag a."""
    if drag != 0:
        for j in range(a.size):
            a[j] = discrete_laws.faded(a[j], drag)


@inlined
def settle(law, algorithm, laws, state):
    """Enter the forms of a step into the sums of every law's components."""
    c, h = discrete_laws.coefficients(law, algorithm, state.counts[STEPS_DONE]), algorithm.h
    square, pull = slot(state, schedule.SQUARE), slot(state, schedule.PULL)
    moved, cross = slot(state, schedule.MOVED), slot(state, schedule.CROSS)
    balance, integral, source, charge = state.balance, state.integral, state.source, state.charge
    if law == schedule.OF_DRIFT:
        fade(state.origin, c.drag)
        fade(balance, c.drag)
    if c.pull != 0:
        for j in range(balance.size):
            balance[j] = discrete_laws.pulled(balance[j], c.pull, pull[j])
    if law == schedule.ORIGIN:
        start(algorithm, state, moved, square)
    elif law == schedule.OF_GD:
        for l in range(laws.kind.size):
            if laws.symmetric[l]:
                for j in range(laws.start[l], laws.start[l + 1]):
                    balance[j] = discrete_laws.after_gd(balance[j], h, square[j])
            else:
                for j in range(laws.start[l], laws.start[l + 1]):
                    integral[j] = discrete_laws.after_gd_skew(integral[j], h, moved[j])
    elif law == schedule.OF_HEAVY_BALL:
        for j in range(balance.size):
            balance[j] = discrete_laws.after_heavy_ball(balance[j], h, c.beta, charge[j], moved[j], square[j])
            integral[j] += h * moved[j]
        copy(moved, charge)
    elif law == schedule.OF_DRIFT:
        for j in range(balance.size):
            balance[j] = discrete_laws.after_drift(balance[j], h, square[j])
    elif law == schedule.OF_KICK:
        fade(state.origin, c.drag)
        fade(balance, c.drag)
        integrate_source(h, c.whole_drag, integral, source, square)
    else:
        for j in range(balance.size):
            balance[j] = discrete_laws.after_nagd(
                balance[j], h, c.beta, charge[j], moved[j], source[j], cross[j], square[j]
            )
        copy(moved, charge)
        integrate_source(h, c.whole_drag, integral, source, square)


@inlined
def start(algorithm, state, moved, square):
    """Set what the laws are measured from."""
    if algorithm.kind != layout.HEAVY_BALL:
        copy(moved, state.origin)
    if algorithm.kind != layout.GD:
        copy(moved, state.charge)
        copy(square, state.source)


@merged
def integrate_source(h, drag, integral, source, square):
    """∫ μS ds/μ over the step by the trapezoidal rule, and S = B(v, v) at its end."""
    fade(integral, drag)
    fade(source, drag)
    for j in range(source.size):
        integral[j] = discrete_laws.trapezoid(integral[j], h, source[j], square[j])
        source[j] = square[j]


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
def measure(algorithm, state):
    """Enter the sizes of the laws' terms at the present step."""
    K = state.balance.size
    if K == 0:
        return
    norm = slot(state, schedule.RECORDED_SIZE)
    sizes = largest(state.x if algorithm.kind == layout.GD else state.v), largest(state.gradient)
    for i in range(2):
        row = window(state.sizes, i * K, K)
        for j in range(K):
            row[j] = max(row[j], norm[j] * sizes[i])


@inlined
def write(problem, algorithm, laws, state, records, loss):
    """Write one row of the records at the present step."""
    step = state.counts[STEPS_DONE]
    row = pointwise.row_of(step, records.every, records.step.size)
    records.step[row] = step
    records.loss[row] = loss
    records.excess[row] = 0.5 * algorithm.mass * square(problem, state.v)
    if algorithm.weight_decay != 0:
        records.excess[row] += 0.5 * algorithm.weight_decay * square(problem, state.x)
    if records.params.shape[0] > 0:
        copy(state.x, window(records.params, row * state.x.size, state.x.size))
    if records.parts.shape[0] > 0:
        copy(window(state.parts, 0, state.parts.size), window(records.parts, row * state.parts.size, state.parts.size))
    measure(algorithm, state)
    K = state.balance.size
    Q, J = slot(state, schedule.RECORDED_QUANTITY), slot(state, schedule.RECORDED_CHARGE)
    quantity, charge = window(records.quantity, row * K, K), window(records.charge, row * K, K)
    discrete = window(records.discrete, row * K, K)
    copy(state.integral, window(records.integral, row * K, K))
    for l in range(laws.kind.size):
        symmetric = laws.symmetric[l] != 0
        for j in range(laws.start[l], laws.start[l + 1]):
            quantity[j] = Q[j]
            charge[j] = -J[j] if algorithm.kind == layout.GD else J[j]  # ẋ is minus the gradient
            discrete[j] = discrete_laws.defect(
                algorithm.kind, symmetric, Q[j], J[j], state.origin[j], state.integral[j], state.balance[j]
            )


@inlined
def form(run, what, a, b, out):
    """Write a form of every law into `out`."""
    float64_at(run.forms, (np.int64(what), run.laws, a, b, out))


@inlined
def credit(run, a, factor, part, state):
    """Part += factor (B(a, a) − that of the vector before)."""
    K = state.balance.size
    square, before, out = slot(state, 0), slot(state, 1), window(state.parts, part * K, K)
    form(run, schedule.PAIR, a, a, square)
    for j in range(K):
        out[j] += factor * (square[j] - before[j])
        before[j] = square[j]


@inlined
def quantity_rate(laws, J, out):
    """Out = Q̇ of every law with a quantity: J, and ½(J_ij + J_ji) for linear layers, whose Q has the symmetric part of J only."""
    for l in range(laws.kind.size):
        start, size = laws.start[l], laws.start[l + 1] - laws.start[l]
        n = laws.where[l, 0] if laws.kind[l] == layout.LINEAR_LAYER else 1
        for j in range(size):
            mirrored = j % n * n + j // n if laws.kind[l] == layout.LINEAR_LAYER else j
            out[start + j] = 0.5 * (J[start + j] + J[start + mirrored])


@inlined
def attribute(run, algorithm, laws, state):
    """Add the step that is due to the parts of Q's drift (theory §10); y holds ∇U of all samples.

    A step of gradient descent with the rate r = h/(1 − β) that momentum adds up to, and what momentum does beyond that:
    lr ½r²B(y, y);  noise ½r²(B(g, g) − B(y, y));  decay ½r²(B(d, d) − B(g, g)) − rλ⟨g(x), x⟩;
    momentum hβQ̇ + ½h²B(v', v') − ½r²B(d, d) + (r − h)λ⟨g(x), x⟩;
    with g = d − λx the gradient of the minibatch and v' = βv − d. Beside them ∫ B(ẋ, ẋ) ds, a step of which is hB(v', v').
    """
    x, y, d, h, K = state.x, state.y, state.gradient, algorithm.h, state.balance.size
    rate = h / (1 - algorithm.momentum)
    half = 0.5 * rate * rate
    term, before = slot(state, 0), slot(state, 1)
    before[:] = 0
    credit(run, y, half, layout.LR, state)
    combine(1.0, d, -algorithm.weight_decay, x, y)
    credit(run, y, half, layout.NOISE, state)
    credit(run, d, half, layout.DECAY, state)
    combine(-1.0, d, algorithm.momentum, state.v, y)
    form(run, schedule.PAIR, y, y, term)
    momentum, source = window(state.parts, layout.MOMENTUM * K, K), window(state.parts, layout.SOURCE * K, K)
    for j in range(K):
        source[j] += h * term[j]
        if algorithm.momentum != 0:
            momentum[j] += 0.5 * h * h * term[j] - half * before[j]
    if algorithm.momentum != 0:
        quantity_rate(laws, state.charge, term)
        for j in range(K):
            momentum[j] += h * algorithm.momentum * term[j]
    form(run, schedule.CHARGE, x, x, term)
    decay = window(state.parts, layout.DECAY * K, K)
    for j in range(K):
        decay[j] -= rate * algorithm.weight_decay * term[j]
        momentum[j] += (rate - h) * algorithm.weight_decay * term[j]
