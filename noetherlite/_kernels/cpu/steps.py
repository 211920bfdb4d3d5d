"""The steps of the algorithms, each with its exact discrete law (theory §6, §10): what they predict of Q or J is summed in `balance`.

With weight decay λ the gradient they are given is that of U + ½λ|x|², d = ∇U + λx.
"""

from __future__ import annotations

from .. import layout, pointwise
from ..jit import inlined, merged
from ..layout import STEPS_DONE
from ..pointwise import fading
from .intrinsics import window
from .laws import charge, pair

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


# A step is what comes before the evaluation of ∇U and what comes after it; the evaluation is compiled once, in `advance`.


@inlined
def pull(algorithm, laws, x, factor, state):
    """balance += factor λ⟨g(x), x⟩: the part of weight decay, whose force −λx is not orthogonal to g(x)."""
    if algorithm.weight_decay == 0:
        return
    K = state.balance.size
    C = window(state.scratch, 0, K)
    charge(laws, x, x, C)
    for j in range(K):
        state.balance[j] += factor * algorithm.weight_decay * C[j]


@inlined
def fade(a, drag):
    """a ← a + drag a, which brings what is in units of μ from one time to the next."""
    if drag != 0:
        for j in range(a.size):
            a[j] += drag * a[j]


@inlined
def gd_before(algorithm, laws, state):
    """x ← x − ηd(x).  Law: Q' − Q = ½η² B(d, d) − ηλ⟨g(x), x⟩; where G is not symmetric ∫J ds is in the place of Q."""
    x, g, h = state.x, state.gradient, algorithm.h
    K = state.balance.size
    drop, orthogonal = window(state.scratch, 0, K), window(state.scratch, K, K)
    pull(algorithm, laws, x, -h, state)
    pair(laws, g, g, drop)
    if laws.some_skew:
        charge(laws, x, g, orthogonal)
    for l in range(laws.kind.size):
        for j in range(laws.start[l], laws.start[l + 1]):
            if laws.symmetric[l]:
                state.balance[j] += 0.5 * h * h * drop[j]
            else:
                state.integral[j] -= h * orthogonal[j]
    descend(x, g, h)


@inlined
def heavy_ball_before(algorithm, laws, state):
    """v' = βv − d(x), x' = x + hv'.  Law: J' = βJ − λ⟨g(x), x⟩ + hB(v', v')."""
    x, v, h, beta, J = state.x, state.v, algorithm.h, algorithm.momentum, state.charge
    pull(algorithm, laws, x, 1.0, state)
    momentum_drift(x, v, state.gradient, beta, 1.0, h, state.y)
    for j in range(J.size):
        state.balance[j] -= beta * J[j]
    charge(laws, x, v, J)
    source = window(state.scratch, 0, J.size)
    pair(laws, v, v, source)
    for j in range(J.size):
        state.balance[j] += J[j] - h * source[j]
        state.integral[j] += h * J[j]


@inlined
def conformal_before(algorithm, laws, state):
    """Drag, kick, drift; velocity Verlet when γ = α = 0.

    Law: μ'J' − μJ = μ(τ) (hB(v, v) − (h/2m) λ (⟨g(x), x⟩ + ⟨g(x'), x'⟩)) at τ = t + h/2, here divided by μ at the time that
    has been reached.
    """
    x, v, g, h = state.x, state.v, state.gradient, algorithm.h
    t = algorithm.t0 + state.counts[STEPS_DONE] * h
    middle, kick = t + 0.5 * h, 0.5 * h / algorithm.mass
    drag = fading(algorithm, t, middle)
    fade(state.origin, drag)
    fade(state.balance, drag)
    pull(algorithm, laws, x, -kick, state)
    drag_kick_drift(x, v, g, drag, kick, h)
    source = window(state.scratch, 0, state.balance.size)
    pair(laws, v, v, source)
    for j in range(state.balance.size):
        state.balance[j] += h * source[j]


@inlined
def conformal_after(algorithm, laws, state):
    """Kick, drag."""
    v, g, h = state.v, state.gradient, algorithm.h
    t = algorithm.t0 + state.counts[STEPS_DONE] * h
    middle, kick = t + 0.5 * h, 0.5 * h / algorithm.mass
    drag = fading(algorithm, middle, t + h)
    pull(algorithm, laws, state.x, -kick, state)
    fade(state.origin, drag)
    fade(state.balance, drag)
    kick_drag(v, g, kick, drag)
    integrate_source(algorithm, laws, state, t)


@inlined
def nagd_before(algorithm, state):
    """y = x + βhv, where the gradient is wanted; β = (k − 1)/(k + α − 1) (GU (20))."""
    h, k = algorithm.h, algorithm.t0 / algorithm.h + state.counts[STEPS_DONE]
    beta = (k - 1) / (k + algorithm.alpha - 1)
    combine(1.0, state.x, beta * h, state.v, state.y)
    return beta


@inlined
def nagd_after(algorithm, laws, state, beta):
    """v' = βv − hd(y), x' = x + hv'.  Law: J' = βJ + h(B(v', v') − βB(v, v') + β²B(v, v) − λ⟨g(y), y⟩)."""
    x, v, old, g, h = state.x, state.v, state.y, state.gradient, algorithm.h
    pull(algorithm, laws, state.y, h, state)
    momentum_drift(x, v, g, beta, h, h, old)
    J = state.charge
    cross = window(state.scratch, J.size, J.size)
    pair(laws, old, v, cross)
    for j in range(J.size):
        state.balance[j] -= beta * J[j] + h * (beta * beta * state.source[j] - beta * cross[j])
    charge(laws, x, v, J)
    integrate_source(algorithm, laws, state, algorithm.t0 + state.counts[STEPS_DONE] * h)
    for j in range(J.size):
        state.balance[j] += J[j] - h * state.source[j]


@inlined
def integrate_source(algorithm, laws, state, t):
    """S = B(v, v) at the end of the step from t, and ∫ μS ds/μ over it by the trapezoidal rule."""
    source = window(state.scratch, 0, state.source.size)
    pair(laws, state.v, state.v, source)
    drag = fading(algorithm, t, t + algorithm.h) if t > 0 or algorithm.alpha == 0 else -1.0  # μ(0) = 0
    fade(state.integral, drag)
    fade(state.source, drag)
    for j in range(source.size):
        state.integral[j] += 0.5 * algorithm.h * (state.source[j] + source[j])
        state.source[j] = source[j]


@inlined
def credit(laws, a, factor, part, state):
    """Part += factor (B(a, a) − that of the vector before)."""
    K = state.balance.size
    form, before, out = window(state.scratch, 0, K), window(state.scratch, K, K), window(state.parts, part * K, K)
    pair(laws, a, a, form)
    for j in range(K):
        out[j] += factor * (form[j] - before[j])
        before[j] = form[j]


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
def attribute(algorithm, laws, state):
    """Add the step that is due to the parts of Q's drift (theory §10); y holds ∇U of all samples.

    A step of gradient descent with the rate r = h/(1 − β) that momentum adds up to, and what momentum does beyond that:
    lr ½r²B(y, y);  noise ½r²(B(g, g) − B(y, y));  decay ½r²(B(d, d) − B(g, g)) − rλ⟨g(x), x⟩;
    momentum hβQ̇ + ½h²B(v', v') − ½r²B(d, d) + (r − h)λ⟨g(x), x⟩;
    with g = d − λx the gradient of the minibatch and v' = βv − d. Beside them ∫ B(ẋ, ẋ) ds, a step of which is hB(v', v').
    """
    x, y, d, h, K = state.x, state.y, state.gradient, algorithm.h, state.balance.size
    rate = h / (1 - algorithm.momentum)
    half = 0.5 * rate * rate
    form, before = window(state.scratch, 0, K), window(state.scratch, K, K)
    before[:] = 0
    credit(laws, y, half, layout.LR, state)
    combine(1.0, d, -algorithm.weight_decay, x, y)
    credit(laws, y, half, layout.NOISE, state)
    credit(laws, d, half, layout.DECAY, state)
    combine(-1.0, d, algorithm.momentum, state.v, y)
    pair(laws, y, y, form)
    momentum, source = window(state.parts, layout.MOMENTUM * K, K), window(state.parts, layout.SOURCE * K, K)
    for j in range(K):
        source[j] += h * form[j]
        if algorithm.momentum != 0:
            momentum[j] += 0.5 * h * h * form[j] - half * before[j]
    if algorithm.momentum != 0:
        quantity_rate(laws, state.charge, form)
        for j in range(K):
            momentum[j] += h * algorithm.momentum * form[j]
    charge(laws, x, x, form)
    decay = window(state.parts, layout.DECAY * K, K)
    for j in range(K):
        decay[j] -= rate * algorithm.weight_decay * form[j]
        momentum[j] += (rate - h) * algorithm.weight_decay * form[j]
