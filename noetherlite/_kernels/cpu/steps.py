"""The phases of a step beside the evaluation of the gradient: records, and the parts of a drift.

With weight decay λ the gradient they are given is that of U + ½λ|x|², d = ∇U + λx.
"""

from __future__ import annotations

import numpy as np

from .. import discrete_laws, layout, pointwise, schedule
from ..jit import addressed, inlined, merged
from ..layout import EVALUATIONS, STEPS_DONE
from .intrinsics import window
from .laws import dot
from .layers import copy
from .placed import algorithm_at, float64_at, laws_at, state_at


@merged
def combine(a, x, b, y, out):
    """Out = ax + by."""
    for i in range(x.size):
        out[i] = a * x[i] + b * y[i]


@merged
def norm_squared(a):
    """|a|² in doubles."""
    total = 0.0
    for i in range(a.size):
        total += np.float64(a[i]) * a[i]
    return total


@inlined
def clip(most, gradient):
    """Shrink ∇U to the norm `most` where it is longer."""
    factor = discrete_laws.clipping(norm_squared(gradient), most)
    if factor < 1:
        for i in range(gradient.size):
            gradient[i] = factor * gradient[i]


@inlined
def ascend(rho, x, gradient, y):
    """Y = x + ρ∇U/|∇U|."""
    combine(1.0, x, discrete_laws.ascending(norm_squared(gradient), rho), gradient, y)


@merged
def multiply(factors, a, out):
    """Out_i = factors_i a_i."""
    for i in range(a.size):
        out[i] = factors[i] * a[i]


@merged
def weigh(algorithm, which, a, out):
    """Out = a in the metric, or the decay of a, relative to the largest λ."""
    if which == schedule.BY_DECAY:
        multiply(algorithm.decays, a, out)
    else:
        for i in range(a.size):
            out[i] = a[i] / algorithm.shares[i] if algorithm.shares[i] > 0 else 0.0


@merged
def decayed(algorithm, gradient, sign, x, out):
    """Out = ∇U ± λx."""
    if algorithm.decays.size > 0:
        for i in range(x.size):
            out[i] = gradient[i] + sign * algorithm.weight_decay * algorithm.decays[i] * x[i]
    else:
        combine(1.0, gradient, sign * algorithm.weight_decay, x, out)


@inlined
def undecayed(algorithm, gradient, x, out):
    """Out = ∇U of the last gradient, without λx, and without the shares of the rates."""
    if algorithm.metric:
        weigh(algorithm, schedule.BY_METRIC, gradient, out)
        decayed(algorithm, out, -1.0, x, out)
    else:
        decayed(algorithm, gradient, -1.0, x, out)


@inlined
def gather(number, of, state):
    """Add ∇U of minibatch `number` to those before; after the last of them the gradient is their mean."""
    if number == 0:
        combine(1.0, state.gradient, 0.0, state.gradient, state.work)
    elif number < of - 1:
        combine(1.0, state.gradient, 1.0, state.work, state.work)
    else:
        combine(1.0 / of, state.gradient, 1.0 / of, state.work, state.gradient)
    state.counts[EVALUATIONS] += number < of - 1


@merged
def slot(state, number):
    """Return the components of a form of the step."""
    K = state.balance.size
    return window(state.scratch, number * K, K)


@inlined
def square(problem, v):
    """|v|², also in sample coordinates."""
    if problem.dual < 0:
        return norm_squared(v)
    n = v.size - problem.dual
    return dot(window(v, 0, n), window(v, problem.dual, n)) + norm_squared(window(v, n, problem.dual - n))


@addressed
def largest(a):
    """max|a|, by the bits of doubles that are not negative, which are in order as whole numbers: LLVM has vectors of such maxima."""
    out = np.int64(0)
    for i in range(a.size):
        out = max(out, np.float64(abs(a[i])).view(np.int64))
    return np.int64(out).view(np.float64)


@inlined
def weighed_largest(algorithm, a):
    """max|a|, in the metric."""
    if not algorithm.metric:
        return largest(a)
    out = 0.0
    for i in range(a.size):
        if algorithm.shares[i] > 0:
            out = max(out, abs(a[i]) / algorithm.shares[i])
    return out


@inlined
def measure(algorithm, state):
    """Enter the sizes of the laws' terms at the present step."""
    K = state.balance.size
    if K == 0:
        return
    norm = slot(state, schedule.RECORDED_SIZE)
    of_law = state.x if algorithm.law == layout.OF_Q else state.v
    sizes = weighed_largest(algorithm, of_law), weighed_largest(algorithm, state.gradient)
    for i in range(2):
        row = window(state.sizes, i * K, K)
        for j in range(K):
            row[j] = max(row[j], norm[j] * sizes[i])


@inlined
def excess(problem, algorithm, state):
    """½m|v|² + ½λ|x|², the first in the metric."""
    if not algorithm.metric and algorithm.decays.size == 0:
        out = 0.5 * algorithm.mass * square(problem, state.v) if algorithm.mass != 0 else 0.0
        if algorithm.weight_decay != 0:
            out += 0.5 * algorithm.weight_decay * square(problem, state.x)
        return out
    vv = xx = 0.0
    for i in range(state.x.size):
        share = algorithm.shares[i] if algorithm.metric else 1.0
        vv += np.float64(state.v[i]) * state.v[i] / share if share > 0 else 0.0
        xx += np.float64(state.x[i]) * state.x[i] * (algorithm.decays[i] if algorithm.decays.size > 0 else 1.0)
    return 0.5 * (algorithm.mass * vv + algorithm.weight_decay * xx)


@merged
def defects(law, symmetric, Q, J, origin, integral, balance, out):
    """Out = the exact discrete residual of each component; a loop of its own, which LLVM vectorises."""
    for j in range(out.size):
        out[j] = discrete_laws.defect(law, symmetric, Q[j], J[j], origin[j], integral[j], balance[j])


@inlined
def write(problem, algorithm, laws, state, records, loss):
    """Write one row of the records at the present step."""
    step = state.counts[STEPS_DONE]
    row = pointwise.row_of(step, records.every, records.step.size)
    records.step[row] = step
    records.loss[row] = loss
    records.excess[row] = excess(problem, algorithm, state)
    if records.params.shape[0] > 0:
        copy(state.x, window(records.params, row * state.x.size, state.x.size))
    if records.parts.shape[0] > 0:
        copy(window(state.parts, 0, state.parts.size), window(records.parts, row * state.parts.size, state.parts.size))
    measure(algorithm, state)
    K = state.balance.size
    Q, J = slot(state, schedule.RECORDED_QUANTITY), slot(state, schedule.RECORDED_CHARGE)
    copy(Q, window(records.quantity, row * K, K))
    combine(-1.0 if algorithm.law == layout.OF_Q else 1.0, J, 0.0, J, window(records.charge, row * K, K))  # ẋ is −∇U
    copy(state.integral, window(records.integral, row * K, K))
    for l in range(laws.kind.size):
        start, size = laws.start[l], laws.start[l + 1] - laws.start[l]
        defects(
            algorithm.law,
            laws.symmetric[l] != 0,
            window(Q, start, size),
            window(J, start, size),
            window(state.origin, start, size),
            window(state.integral, start, size),
            window(state.balance, start, size),
            window(records.discrete, row * K + start, size),
        )


@inlined
def form(forms, laws, what, a, b, out):
    """Write a form of every law into `out`; `forms` are the addresses of `addresses_of_forms`, `laws` is one."""
    float64_at(forms.of_all, (forms, np.int64(what), laws, a, b, out))


@inlined
def credit(forms, laws, a, factor, part, state):
    """Part += factor (B(a, a) − that of the vector before)."""
    K = state.balance.size
    square, before, out = slot(state, 0), slot(state, 1), window(state.parts, part * K, K)
    form(forms, laws, schedule.PAIR, a, a, square)
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


@addressed
def attribute(forms, laws_address, algorithm_address, state_address, x):
    """Add the step that is due to the parts of Q's drift (theory §10); y holds ∇U of all samples.

    A step of gradient descent with the rate r = h/(1 − β) that momentum adds up to, and what momentum does beyond that:
    lr ½r²B(y, y);  noise ½r²(B(g, g) − B(y, y));  decay ½r²(B(d, d) − B(g, g)) − rλ⟨g(x), x⟩;
    momentum hβQ̇ + ½h²B(v', v') − ½r²B(d, d) + (r − h)λ⟨g(x), x⟩;
    with g = d − λx the gradient of the minibatch and v' = βv − d. Beside them ∫ B(ẋ, ẋ) ds, a step of which is hB(v', v').
    """
    laws, algorithm = laws_at(laws_address, x), algorithm_at(algorithm_address, x)
    state = state_at(state_address, x)
    y, d, h, K = state.y, state.gradient, algorithm.h, state.balance.size
    rate = h / (1 - algorithm.momentum)
    half = 0.5 * rate * rate
    term, before = slot(state, 0), slot(state, 1)
    before[:] = 0
    credit(forms, laws_address, y, half, layout.LR, state)
    combine(1.0, d, -algorithm.weight_decay, x, y)
    credit(forms, laws_address, y, half, layout.NOISE, state)
    credit(forms, laws_address, d, half, layout.DECAY, state)
    combine(-1.0, d, algorithm.momentum, state.v, y)
    form(forms, laws_address, schedule.PAIR, y, y, term)
    momentum, source = window(state.parts, layout.MOMENTUM * K, K), window(state.parts, layout.SOURCE * K, K)
    for j in range(K):
        source[j] += h * term[j]
        if algorithm.momentum != 0:
            momentum[j] += 0.5 * h * h * term[j] - half * before[j]
    if algorithm.momentum != 0:
        quantity_rate(laws, state.charge, term)
        for j in range(K):
            momentum[j] += h * algorithm.momentum * term[j]
    form(forms, laws_address, schedule.CHARGE, x, x, term)
    decay = window(state.parts, layout.DECAY * K, K)
    for j in range(K):
        decay[j] -= rate * algorithm.weight_decay * term[j]
        momentum[j] += (rate - h) * algorithm.weight_decay * term[j]
