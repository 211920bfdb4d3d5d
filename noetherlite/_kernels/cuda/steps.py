"""What a step does besides passes: updates, the exact discrete laws, records. As in cpu_steps, by any number of threads."""

from __future__ import annotations

import math

import numpy as np

from .. import layout, pointwise
from . import schedule
from .jit import device
from .laws import total


@device
def nagd_beta(algorithm, step):
    """Return β = (k − 1)/(k + α − 1) (GU (20))."""
    k = algorithm.t0 / algorithm.h + step
    return (k - 1) / (k + algorithm.alpha - 1)


@device
def update(rule, algorithm, step, own, first, stride):
    """Move x, v and y by one of the rules in schedule.py."""
    x, v, g, y, h = own.x, own.v, own.gradient, own.y, algorithm.h
    if rule == schedule.DESCEND:
        for i in range(first, x.size, stride):
            x[i] = pointwise.move(x[i], g[i], -h)
    elif rule == schedule.LOOK_AHEAD:
        reach = nagd_beta(algorithm, step) * h
        for i in range(first, x.size, stride):
            y[i] = pointwise.move(x[i], v[i], reach)
    elif rule == schedule.MOMENTUM:
        nesterov = algorithm.kind == layout.NAGD
        beta, kick = nagd_beta(algorithm, step) if nesterov else algorithm.momentum, h if nesterov else 1.0
        for i in range(first, x.size, stride):
            u = pointwise.push(v[i], g[i], beta, kick)
            y[i] = v[i]
            v[i] = u
            x[i] = pointwise.move(x[i], u, h)
    else:
        t = algorithm.t0 + step * h
        middle, kick = t + 0.5 * h, 0.5 * h / algorithm.mass
        if rule == schedule.DRAG_KICK_DRIFT:
            drag = pointwise.fading(algorithm, t, middle)
            for i in range(first, x.size, stride):
                u = pointwise.drag_kick(v[i], g[i], drag, kick)
                v[i] = u
                x[i] = pointwise.move(x[i], u, h)
        else:
            drag = pointwise.fading(algorithm, middle, t + h)
            for i in range(first, x.size, stride):
                v[i] = pointwise.kick_drag(v[i], g[i], kick, drag)


@device
def settle(how, algorithm, step, laws, tables, own, first, stride):
    """Enter the forms of a step into the sums of every law component; which are where, schedule.py says."""
    h, decay, pieces = algorithm.h, algorithm.weight_decay, own.pieces
    t = algorithm.t0 + step * h
    kick, beta = 0.0, algorithm.momentum
    drag = whole = 0.0  # by which sums in units of μ fade in the half step that the forms are of, and in all of it
    if algorithm.kind == layout.NAGD:
        beta = nagd_beta(algorithm, step)
    elif algorithm.kind == layout.CONFORMAL:
        kick, middle = 0.5 * h / algorithm.mass, t + 0.5 * h
        drag = pointwise.fading(
            algorithm, t if how == schedule.OF_DRIFT else middle, middle if how == schedule.OF_DRIFT else t + h
        )
    if how == schedule.OF_NAGD or how == schedule.OF_KICK:
        whole = pointwise.fading(algorithm, t, t + h) if t > 0 or algorithm.alpha == 0 else -1.0  # μ(0) = 0
    for l in range(laws.kind.size):
        for j in range(first, laws.start[l + 1] - laws.start[l], stride):
            at = laws.start[l] + j
            form = total(laws, tables, 0, l, j, pieces)
            pull = decay * total(laws, tables, 1, l, j, pieces) if decay != 0 else 0.0
            if how == schedule.ORIGIN:
                begin(algorithm, own, at, form, total(laws, tables, 2, l, j, pieces))
            elif how == schedule.OF_GD:
                own.balance[at] -= h * pull
                if laws.symmetric[l]:
                    own.balance[at] += 0.5 * h * h * form
                else:
                    own.integral[at] -= h * total(laws, tables, 2, l, j, pieces)
            elif how == schedule.OF_HEAVY_BALL:
                J = total(laws, tables, 2, l, j, pieces)
                own.balance[at] += pull - beta * own.charge[at]
                own.balance[at] += J - h * form
                own.integral[at] += h * J
                own.charge[at] = J
            elif how == schedule.OF_DRIFT:
                own.origin[at] += drag * own.origin[at]
                own.balance[at] += drag * own.balance[at]
                own.balance[at] += h * form - kick * pull
            elif how == schedule.OF_KICK:
                own.balance[at] -= kick * pull
                own.origin[at] += drag * own.origin[at]
                own.balance[at] += drag * own.balance[at]
                add_source(own, at, h, whole, form)
            else:
                J, cross = total(laws, tables, 2, l, j, pieces), total(laws, tables, 3, l, j, pieces)
                own.balance[at] += h * pull - (
                    beta * own.charge[at] + h * (beta * beta * own.source[at] - beta * cross)
                )
                add_source(own, at, h, whole, form)
                own.balance[at] += J - h * form
                own.charge[at] = J


@device
def begin(algorithm, own, at, form, source):
    """Set what a component is measured from."""
    if algorithm.kind == layout.GD:
        own.origin[at] = form
        return
    own.charge[at] = form
    if algorithm.kind != layout.HEAVY_BALL:
        own.source[at] = source
        own.origin[at] = form


@device
def add_source(own, at, h, drag, source):
    """∫ μS ds/μ over a step, in which what was there fades, by the trapezoidal rule."""
    own.integral[at] += drag * own.integral[at]
    own.integral[at] += 0.5 * h * (own.source[at] + drag * own.source[at] + source)
    own.source[at] = source


@device
def norms(own, first, stride):
    """Leave the pieces of |v|² and |x|², and of the largest |x_i|, |v_i| and |∇U_i|."""
    n = own.norms.size // 5
    for c in range(first, n, stride):
        vv = xx = 0.0
        x = v = g = 0.0
        for i in range(c, own.x.size, n):
            vv += np.float64(own.v[i]) * own.v[i]
            xx += np.float64(own.x[i]) * own.x[i]
            x, v, g = max(x, abs(own.x[i])), max(v, abs(own.v[i])), max(g, abs(own.gradient[i]))
        own.norms[c] = vv
        own.norms[n + c] = xx
        own.norms[2 * n + c] = x
        own.norms[3 * n + c] = v
        own.norms[4 * n + c] = g


@device
def write(loss, algorithm, step, laws, tables, own, records, e, first, stride):
    """Write one row of the records."""
    row = step // records.every if step % records.every == 0 else records.step.shape[1] - 1
    if first == 0:
        vv = xx = 0.0
        n = own.norms.size // 5
        for c in range(n):
            vv += own.norms[c]
            xx += own.norms[n + c]
        records.step[e, row] = step
        records.loss[e, row] = loss
        records.excess[e, row] = 0.5 * algorithm.mass * vv + 0.5 * algorithm.weight_decay * xx
    if records.params.shape[1] > 0:
        for i in range(first, own.x.size, stride):
            records.params[e, row, i] = own.x[i]
    for l in range(laws.kind.size):
        for j in range(first, laws.start[l + 1] - laws.start[l], stride):
            at = laws.start[l] + j
            Q, J = total(laws, tables, 0, l, j, own.pieces), total(laws, tables, 1, l, j, own.pieces)
            if algorithm.kind == layout.GD:
                J = -J  # ẋ is minus the gradient
                defect = (Q - own.origin[at] if laws.symmetric[l] else own.integral[at]) - own.balance[at]
            elif algorithm.kind == layout.CONFORMAL:
                defect = J - own.origin[at] - own.balance[at]
            else:
                defect = own.balance[at]  # the defects, summed step by step
            records.quantity[e, row, at] = Q
            records.charge[e, row, at] = J
            records.integral[e, row, at] = own.integral[at]
            records.discrete[e, row, at] = defect


@device
def measure(kind, laws, tables, own, sizes, e, first, stride):
    """Enter the sizes of the laws' terms into `sizes` (E, 2, K): |g_c| times the largest |x_i| or |v_i|, and |∇U_i|."""
    for row in range(2):
        longest = largest(own, 4 if row == layout.FORCE else 2 if kind == layout.GD else 3)
        for l in range(laws.kind.size):
            for at in range(laws.start[l] + first, laws.start[l + 1], stride):
                norm = total(laws, tables, 2, l, at - laws.start[l], own.pieces)
                sizes[e, row, at] = max(sizes[e, row, at], longest * norm)


@device
def largest(own, part):
    """The largest of the pieces that `norms` left in a part."""
    n = own.norms.size // 5
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
            gradient[i] = 0.4 * (square - 1) * x[i]
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
        return 0.1 * (value - 1) ** 2 + 0.08
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
