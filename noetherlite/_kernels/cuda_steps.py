"""What a step does besides passes: updates, the exact discrete laws, records. As in cpu_steps, by any number of threads."""

from __future__ import annotations

import math

from . import layout, pointwise, schedule
from .cuda_jit import device
from .cuda_laws import total


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
    before = factor = 1.0  # μ at the step's start, and at the time that the forms are of
    if algorithm.kind == layout.NAGD:
        beta = nagd_beta(algorithm, step)
    elif algorithm.kind == layout.CONFORMAL:
        kick = 0.5 * h / algorithm.mass
    if algorithm.kind == layout.NAGD or algorithm.kind == layout.CONFORMAL:
        before = pointwise.integrating_factor(algorithm, t)
        ahead = 0.0 if how == schedule.ORIGIN else h
        factor = pointwise.integrating_factor(algorithm, t + (0.5 * h if how == schedule.OF_DRIFT else ahead))
    for l in range(laws.kind.size):
        for j in range(first, laws.start[l + 1] - laws.start[l], stride):
            at = laws.start[l] + j
            form = total(laws, tables, 0, l, j, pieces)
            pull = decay * total(laws, tables, 1, l, j, pieces) if decay != 0 else 0.0
            if how == schedule.ORIGIN:
                begin(algorithm, own, at, form, total(laws, tables, 2, l, j, pieces), factor)
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
                own.balance[at] += h * factor * form - kick * factor * pull
            elif how == schedule.OF_KICK:
                own.balance[at] -= kick * pointwise.integrating_factor(algorithm, t + 0.5 * h) * pull
                add_source(own, at, h, before, factor, form)
            else:
                J, cross = total(laws, tables, 2, l, j, pieces), total(laws, tables, 3, l, j, pieces)
                own.balance[at] += h * pull - (
                    beta * own.charge[at] + h * (beta * beta * own.source[at] - beta * cross)
                )
                add_source(own, at, h, before, factor, form)
                own.balance[at] += J - h * form
                own.charge[at] = J


@device
def begin(algorithm, own, at, form, source, factor):
    """Set what a component is measured from."""
    if algorithm.kind == layout.GD:
        own.origin[at] = form
        return
    own.charge[at] = form
    if algorithm.kind != layout.HEAVY_BALL:
        own.source[at] = source
        own.origin[at] = factor * form


@device
def add_source(own, at, h, left, right, source):
    """∫ μS ds over a step by the trapezoidal rule."""
    own.integral[at] += 0.5 * h * (left * own.source[at] + right * source)
    own.source[at] = source


@device
def norms(own, first, stride):
    """Leave the pieces of |v|² and |x|²."""
    n = own.norms.size // 2
    for c in range(first, n, stride):
        vv = xx = 0.0
        for i in range(c, own.x.size, n):
            vv += own.v[i] * own.v[i]
            xx += own.x[i] * own.x[i]
        own.norms[c] = vv
        own.norms[n + c] = xx


@device
def write(loss, algorithm, step, laws, tables, own, records, e, first, stride):
    """Write one row of the records."""
    row = step // records.every if step % records.every == 0 else records.step.shape[1] - 1
    if first == 0:
        vv = xx = 0.0
        for c in range(own.norms.size // 2):
            vv += own.norms[c]
            xx += own.norms[own.norms.size // 2 + c]
        records.step[e, row] = step
        records.loss[e, row] = loss
        records.excess[e, row] = 0.5 * algorithm.mass * vv + 0.5 * algorithm.weight_decay * xx
    if records.params.shape[1] > 0:
        for i in range(first, own.x.size, stride):
            records.params[e, row, i] = own.x[i]
    factor = 1.0
    if algorithm.kind == layout.CONFORMAL:
        factor = pointwise.integrating_factor(algorithm, algorithm.t0 + step * algorithm.h)
    for l in range(laws.kind.size):
        for j in range(first, laws.start[l + 1] - laws.start[l], stride):
            at = laws.start[l] + j
            Q, J = total(laws, tables, 0, l, j, own.pieces), total(laws, tables, 1, l, j, own.pieces)
            if algorithm.kind == layout.GD:
                J = -J  # ẋ is minus the gradient
                defect = (Q - own.origin[at] if laws.symmetric[l] else own.integral[at]) - own.balance[at]
            elif algorithm.kind == layout.CONFORMAL:
                defect = factor * J - own.origin[at] - own.balance[at]
            else:
                defect = own.balance[at]  # the defects, summed step by step
            records.quantity[e, row, at] = Q
            records.charge[e, row, at] = J
            records.integral[e, row, at] = own.integral[at]
            records.discrete[e, row, at] = defect


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
