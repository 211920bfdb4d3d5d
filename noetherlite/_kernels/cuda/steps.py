"""What a step does besides passes and rules: records, and what has no network. As in cpu/steps.py, by any number of threads."""

from __future__ import annotations

import math

import numpy as np

from .. import discrete_laws, layout, pointwise, schedule
from .device_layout import LARGEST_G, LARGEST_V, LARGEST_X, N_NORMS, VELOCITY_SQUARED, X_SQUARED
from .jit import device, index
from .laws import total


@device
def norms(algorithm, run, first, stride):
    """Leave the pieces of |v|² and |x|², and of the largest |x_i|, |v_i| and |∇U_i|: in the metric, x in |x|² by the decays."""
    n = run.norms.size // N_NORMS
    c = first
    while c < n:
        vv = xx = 0.0
        x = v = g = 0.0
        i = c
        while i < run.x.size:
            x_i, v_i, g_i = run.x[index(i)], run.v[index(i)], run.gradient[index(i)]
            share = algorithm.shares[index(i)] if algorithm.metric else 1.0
            xx += np.float64(x_i) * x_i * (algorithm.decays[index(i)] if algorithm.decays.size > 0 else 1.0)
            if share > 0:
                vv += np.float64(v_i) * v_i / share
                x, v, g = max(x, abs(x_i) / share), max(v, abs(v_i) / share), max(g, abs(g_i) / share)
            i += n
        run.norms[VELOCITY_SQUARED * n + c] = vv
        run.norms[X_SQUARED * n + c] = xx
        run.norms[LARGEST_X * n + c] = x
        run.norms[LARGEST_V * n + c] = v
        run.norms[LARGEST_G * n + c] = g
        c += stride


@device
def gradient_norm(run, first, stride):
    """Leave the pieces of |∇U|²."""
    n = run.norms.size // N_NORMS
    c = first
    while c < n:
        total = 0.0
        i = c
        while i < run.gradient.size:
            g = run.gradient[index(i)]
            total += np.float64(g) * g
            i += n
        run.norms[c] = total
        c += stride


@device
def norm_squared(run):
    """|∇U|² of the pieces that `gradient_norm` left."""
    total = 0.0
    for c in range(run.norms.size // N_NORMS):
        total += run.norms[c]
    return total


@device
def ascend(rho, run, first, stride):
    """Y = x + ρ∇U/|∇U|."""
    factor = discrete_laws.ascending(norm_squared(run), rho)
    i = first
    while i < run.x.size:
        run.y[index(i)] = run.x[index(i)] + factor * run.gradient[index(i)]
        i += stride


@device
def back(run, first, stride):
    """Y less x."""
    i = first
    while i < run.x.size:
        run.y[index(i)] = run.y[index(i)] - run.x[index(i)]
        i += stride


@device
def scale(factors, a, first, stride):
    """A_i times factors_i."""
    i = first
    while i < a.size:
        a[index(i)] = factors[index(i)] * a[index(i)]
        i += stride


@device
def weigh(algorithm, which, a, out, first, stride):
    """Out = a in the metric, or the decay of a, relative to the largest λ."""
    i = first
    while i < a.size:
        at = index(i)
        if which == schedule.BY_DECAY:
            out[at] = algorithm.decays[at] * a[at]
        else:
            out[at] = a[at] / algorithm.shares[at] if algorithm.shares[at] > 0 else 0.0
        i += stride


@device
def decay_of(algorithm, i):
    """λ of a coordinate."""
    return algorithm.weight_decay * (algorithm.decays[i] if algorithm.decays.size > 0 else 1.0)


@device
def undecayed(algorithm, run, first, stride):
    """Work = ∇U, without λx, and without the shares of the rates."""
    i = first
    while i < run.x.size:
        share = algorithm.shares[index(i)] if algorithm.metric else 1.0
        force = run.gradient[index(i)] / share if share > 0 else 0.0
        run.work[index(i)] = force - decay_of(algorithm, index(i)) * run.x[index(i)]
        i += stride


@device
def gather(number, of, run, counts, e, first, stride):
    """Add ∇U of minibatch `number` to those before; after the last of them the gradient is their mean."""
    i = first
    while i < run.x.size:
        total = run.gradient[index(i)]
        if number > 0:
            total += run.work[index(i)]
        if number < of - 1:
            run.work[index(i)] = total
        else:
            run.gradient[index(i)] = total / of
        i += stride
    if first == 0:
        counts[e, layout.EVALUATIONS] += number < of - 1


@device
def clip(most, run, first, stride):
    """Shrink ∇U to the norm `most` where it is longer, of the pieces that `gradient_norm` left."""
    factor = discrete_laws.clipping(norm_squared(run), most)
    if factor < 1:
        i = first
        while i < run.gradient.size:
            run.gradient[index(i)] = factor * run.gradient[index(i)]
            i += stride


@device
def write(loss, algorithm, step, laws, tables, run, records, e, first, stride):
    """Write one row of the records of run e: vectors (P,) and sums (K,) of `run`; `records` are of all runs, (E, R, …).

    `loss` and `step` are numbers, `algorithm` is a layout.Algorithm, `laws` a layout.Laws and `tables` a Tables; the thread takes the
    coordinates first, first + stride, ….
    """
    row = pointwise.row_of(step, records.every, records.step.shape[1])
    if first == 0:
        vv = xx = 0.0
        n = run.norms.size // N_NORMS
        for c in range(n):
            vv += run.norms[VELOCITY_SQUARED * n + c]
            xx += run.norms[X_SQUARED * n + c]
        records.step[e, row] = step
        records.loss[e, row] = loss
        records.excess[e, row] = 0.5 * algorithm.mass * vv + 0.5 * algorithm.weight_decay * xx
    if records.params.shape[1] > 0:
        i = first
        while i < run.x.size:
            records.params[e, row, index(i)] = run.x[index(i)]
            i += stride
    for l in range(laws.kind.size):
        j = first
        while j < laws.start[l + 1] - laws.start[l]:
            at = laws.start[l] + j
            Q = total(laws, tables, schedule.RECORDED_QUANTITY, l, j, run.pieces)
            J = total(laws, tables, schedule.RECORDED_CHARGE, l, j, run.pieces)
            symmetric = laws.symmetric[l] != 0
            records.quantity[e, row, at] = Q
            records.charge[e, row, at] = -J if algorithm.law == layout.OF_Q else J  # ẋ is minus the gradient
            records.integral[e, row, at] = run.integral[at]
            records.discrete[e, row, at] = discrete_laws.defect(
                algorithm.law, symmetric, Q, J, run.origin[at], run.integral[at], run.balance[at]
            )
            j += stride


@device
def measure(law, laws, tables, run, sizes, e, first, stride):
    """Enter the sizes of the laws' terms into `sizes` (E, 2, K): |g_c| times the largest |x_i| or |v_i|, and |∇U_i|."""
    for row in range(2):
        longest = largest(run, LARGEST_G if row == layout.FORCE else LARGEST_X if law == layout.OF_Q else LARGEST_V)
        for l in range(laws.kind.size):
            at = laws.start[l] + first
            while at < laws.start[l + 1]:
                norm = total(laws, tables, schedule.RECORDED_SIZE, l, at - laws.start[l], run.pieces)
                sizes[e, row, at] = max(sizes[e, row, at], longest * norm)
                at += stride


@device
def largest(run, part):
    """The largest of the pieces that `norms` left in a part."""
    n = run.norms.size // N_NORMS
    out = 0.0
    for c in range(part * n, (part + 1) * n):
        out = max(out, run.norms[c])
    return out


@device
def analytic(problem, x, gradient, first, stride):
    """∇U of the potentials without a network."""
    if problem.kind == layout.RADIAL:
        square = 0.0
        for i in range(x.size):
            square += x[i] * x[i]
        i = first
        while i < x.size:
            gradient[index(i)] = pointwise.d_radial(square, x[index(i)])
            i += stride
        return
    i = first
    while i < x.size:
        product = x.dtype.type(0)
        for k in range(x.size):
            product += problem.matrix[index(i), index(k)] * x[index(k)]
        gradient[index(i)] = product
        i += stride


@device
def energy(problem, x, gradient):
    """U of the potentials without a network, by one thread; ½⟨x, ∇U⟩ where it is quadratic."""
    value = 0.0
    if problem.kind == layout.RADIAL:
        for i in range(x.size):
            value += x[i] * x[i]
        return pointwise.radial(value)
    for i in range(x.size):
        value += gradient[i] * x[i]
    return 0.5 * value


@device
def finish(algorithm, x, run, counts, e, first, stride):
    """∇U + λx, and the end of the run if U is not finite."""
    if algorithm.weight_decay != 0:
        i = first
        while i < x.size:
            run.gradient[index(i)] = run.gradient[index(i)] + decay_of(algorithm, index(i)) * x[index(i)]
            i += stride
    if first == 0:
        counts[e, layout.EVALUATIONS] += 1
        judge(run.losses[schedule.BATCH], counts, e)


@device
def judge(loss, counts, e):
    """Call the run diverged if a loss is not finite."""
    if not math.isfinite(loss):
        counts[e, layout.PHASE] = layout.DIVERGED
