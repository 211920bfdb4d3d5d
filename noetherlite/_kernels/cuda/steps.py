"""What a step does besides passes: updates, the exact discrete laws, records. As in cpu/steps.py, by any number of threads."""

from __future__ import annotations

import math

import numpy as np

from .. import discrete_laws, layout, pointwise, schedule
from .device_layout import LARGEST_G, LARGEST_V, LARGEST_X, N_NORMS, VELOCITY_SQUARED, X_SQUARED
from .jit import device
from .laws import total


@device
def update(rule, algorithm, step, own, first, stride):
    """Move x, v and y by one of the rules in schedule.py."""
    x, v, g, y, h = own.x, own.v, own.gradient, own.y, algorithm.h
    if rule == schedule.DESCEND:
        for i in range(first, x.size, stride):
            x[i] = pointwise.move(x[i], g[i], -h)
    elif rule == schedule.LOOK_AHEAD:
        reach = discrete_laws.nagd_beta(algorithm, step) * h
        for i in range(first, x.size, stride):
            y[i] = pointwise.move(x[i], v[i], reach)
    elif rule == schedule.MOMENTUM:
        nesterov = algorithm.kind == layout.NAGD
        beta = discrete_laws.nagd_beta(algorithm, step) if nesterov else algorithm.momentum
        kick = h if nesterov else 1.0
        for i in range(first, x.size, stride):
            u = pointwise.push(v[i], g[i], beta, kick)
            y[i] = v[i]
            v[i] = u
            x[i] = pointwise.move(x[i], u, h)
    else:
        kick = discrete_laws.kick_of_half(algorithm)
        if rule == schedule.DRAG_KICK_DRIFT:
            drag = discrete_laws.drag_of_first_half(algorithm, step)
            for i in range(first, x.size, stride):
                u = pointwise.drag_kick(v[i], g[i], drag, kick)
                v[i] = u
                x[i] = pointwise.move(x[i], u, h)
        else:
            drag = discrete_laws.drag_of_second_half(algorithm, step)
            for i in range(first, x.size, stride):
                v[i] = pointwise.kick_drag(v[i], g[i], kick, drag)


@device
def settle(law, algorithm, step, laws, tables, own, first, stride):
    """Enter the forms of a step into the sums of every law component; which are where, schedule.py says."""
    c, h, pieces = discrete_laws.coefficients(law, algorithm, step), algorithm.h, own.pieces
    for l in range(laws.kind.size):
        for j in range(first, laws.start[l + 1] - laws.start[l], stride):
            at = laws.start[l] + j
            square, balance = total(laws, tables, schedule.SQUARE, l, j, pieces), own.balance[at]
            if law == schedule.OF_DRIFT:
                own.origin[at] = discrete_laws.faded(own.origin[at], c.drag)
                balance = discrete_laws.faded(balance, c.drag)
            if c.pull != 0:
                balance = discrete_laws.pulled(balance, c.pull, total(laws, tables, schedule.PULL, l, j, pieces))
            if law == schedule.ORIGIN:
                begin(algorithm, own, at, total(laws, tables, schedule.MOVED, l, j, pieces), square)
            elif law == schedule.OF_GD:
                if laws.symmetric[l]:
                    balance = discrete_laws.after_gd(balance, h, square)
                else:
                    charge = total(laws, tables, schedule.MOVED, l, j, pieces)
                    own.integral[at] = discrete_laws.after_gd_skew(own.integral[at], h, charge)
            elif law == schedule.OF_HEAVY_BALL:
                J = total(laws, tables, schedule.MOVED, l, j, pieces)
                balance = discrete_laws.after_heavy_ball(balance, h, c.beta, own.charge[at], J, square)
                own.integral[at] += h * J
                own.charge[at] = J
            elif law == schedule.OF_DRIFT:
                balance = discrete_laws.after_drift(balance, h, square)
            elif law == schedule.OF_KICK:
                own.origin[at] = discrete_laws.faded(own.origin[at], c.drag)
                balance = discrete_laws.faded(balance, c.drag)
                integrate_source(own, at, h, c.whole_drag, square)
            else:
                J, cross = (
                    total(laws, tables, schedule.MOVED, l, j, pieces),
                    total(laws, tables, schedule.CROSS, l, j, pieces),
                )
                source = own.source[at]
                balance = discrete_laws.after_nagd(balance, h, c.beta, own.charge[at], J, source, cross, square)
                own.charge[at] = J
                integrate_source(own, at, h, c.whole_drag, square)
            own.balance[at] = balance


@device
def begin(algorithm, own, at, moved, square):
    """Set what a component is measured from."""
    if algorithm.kind != layout.HEAVY_BALL:
        own.origin[at] = moved
    if algorithm.kind != layout.GD:
        own.charge[at] = moved
        own.source[at] = square


@device
def integrate_source(own, at, h, drag, square):
    """∫ μS ds/μ over the step by the trapezoidal rule, and S = B(v, v) at its end."""
    integral, source = discrete_laws.faded(own.integral[at], drag), discrete_laws.faded(own.source[at], drag)
    own.integral[at] = discrete_laws.trapezoid(integral, h, source, square)
    own.source[at] = square


@device
def norms(own, first, stride):
    """Leave the pieces of |v|² and |x|², and of the largest |x_i|, |v_i| and |∇U_i|."""
    n = own.norms.size // N_NORMS
    for c in range(first, n, stride):
        vv = xx = 0.0
        x = v = g = 0.0
        for i in range(c, own.x.size, n):
            vv += np.float64(own.v[i]) * own.v[i]
            xx += np.float64(own.x[i]) * own.x[i]
            x, v, g = max(x, abs(own.x[i])), max(v, abs(own.v[i])), max(g, abs(own.gradient[i]))
        own.norms[VELOCITY_SQUARED * n + c] = vv
        own.norms[X_SQUARED * n + c] = xx
        own.norms[LARGEST_X * n + c] = x
        own.norms[LARGEST_V * n + c] = v
        own.norms[LARGEST_G * n + c] = g


@device
def write(loss, algorithm, step, laws, tables, own, records, e, first, stride):
    """Write one row of the records."""
    row = pointwise.row_of(step, records.every, records.step.shape[1])
    if first == 0:
        vv = xx = 0.0
        n = own.norms.size // N_NORMS
        for c in range(n):
            vv += own.norms[VELOCITY_SQUARED * n + c]
            xx += own.norms[X_SQUARED * n + c]
        records.step[e, row] = step
        records.loss[e, row] = loss
        records.excess[e, row] = 0.5 * algorithm.mass * vv + 0.5 * algorithm.weight_decay * xx
    if records.params.shape[1] > 0:
        for i in range(first, own.x.size, stride):
            records.params[e, row, i] = own.x[i]
    for l in range(laws.kind.size):
        for j in range(first, laws.start[l + 1] - laws.start[l], stride):
            at = laws.start[l] + j
            Q = total(laws, tables, schedule.RECORDED_QUANTITY, l, j, own.pieces)
            J = total(laws, tables, schedule.RECORDED_CHARGE, l, j, own.pieces)
            symmetric = laws.symmetric[l] != 0
            records.quantity[e, row, at] = Q
            records.charge[e, row, at] = -J if algorithm.kind == layout.GD else J  # ẋ is minus the gradient
            records.integral[e, row, at] = own.integral[at]
            records.discrete[e, row, at] = discrete_laws.defect(
                algorithm.kind, symmetric, Q, J, own.origin[at], own.integral[at], own.balance[at]
            )


@device
def measure(kind, laws, tables, own, sizes, e, first, stride):
    """Enter the sizes of the laws' terms into `sizes` (E, 2, K): |g_c| times the largest |x_i| or |v_i|, and |∇U_i|."""
    for row in range(2):
        longest = largest(own, LARGEST_G if row == layout.FORCE else LARGEST_X if kind == layout.GD else LARGEST_V)
        for l in range(laws.kind.size):
            for at in range(laws.start[l] + first, laws.start[l + 1], stride):
                norm = total(laws, tables, schedule.RECORDED_SIZE, l, at - laws.start[l], own.pieces)
                sizes[e, row, at] = max(sizes[e, row, at], longest * norm)


@device
def largest(own, part):
    """The largest of the pieces that `norms` left in a part."""
    n = own.norms.size // N_NORMS
    out = 0.0
    for c in range(part * n, (part + 1) * n):
        out = max(out, own.norms[c])
    return out


@device
def analytic(problem, x, gradient, first, stride):
    """∇U of the potentials without a network."""
    if problem.kind == layout.RADIAL:
        square = 0.0
        for i in range(x.size):
            square += x[i] * x[i]
        for i in range(first, x.size, stride):
            gradient[i] = pointwise.d_radial(square, x[i])
        return
    for i in range(first, x.size, stride):
        product = x.dtype.type(0)
        for k in range(x.size):
            product += problem.matrix[i, k] * x[k]
        gradient[i] = product


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
def finish(algorithm, x, own, counts, e, first, stride):
    """∇U + λx, and the end of the run if U is not finite."""
    if algorithm.weight_decay != 0:
        for i in range(first, x.size, stride):
            own.gradient[i] = own.gradient[i] + algorithm.weight_decay * x[i]
    if first == 0:
        counts[e, layout.EVALUATIONS] += 1
        judge(own.losses[schedule.BATCH], counts, e)


@device
def judge(loss, counts, e):
    """Call the run diverged if a loss is not finite."""
    if not math.isfinite(loss):
        counts[e, layout.PHASE] = layout.DIVERGED
