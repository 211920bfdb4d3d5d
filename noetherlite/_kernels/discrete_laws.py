"""The exact discrete law of every algorithm (theory §6, §10), for one component of a law; CPU and GPU call the same functions.

A step of an algorithm is linear in the gradient, which is orthogonal to g(x): what it makes of Q or J can be computed without
knowing the potential. `balance` sums what the law predicts; the difference to what Q or J has become is round-off.
With weight decay λ the gradient is d = ∇U + λx, and C = ⟨g(x), x⟩ is what λ is multiplied by.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from . import layout, schedule
from .jit import inlined, rounded, scalar


class Coefficients(NamedTuple):
    """What a step's law is made with, the same for all components."""

    beta: float  # momentum, of heavy ball and NAGD
    pull: float  # what C is multiplied by: its factor times λ
    drag: float  # by how much sums in units of μ fade in the half step that the forms are of, μ(t)/μ(t') − 1
    whole_drag: float  # and in the whole step


@scalar
def nagd_beta(algorithm, step):
    """Return β = (k − 1)/(k + α − 1) (GU (20))."""
    k = algorithm.t0 / algorithm.h + step
    return (k - 1) / (k + algorithm.alpha - 1)


@scalar
def kick_of_half(algorithm):
    """Return h/2m, by which half a step of conformal leapfrog multiplies the gradient."""
    return 0.5 * algorithm.h / algorithm.mass


@rounded
def fading(algorithm, duration, later):
    """Return μ(t)/μ(t') − 1 from t = t' − duration to t' = later; it never overflows and is 0 without friction.

    The ratio itself, rounded to the same double step after step, would make μJ drift by an ε each time. The difference of
    two times would have their rounding in it.
    """
    if algorithm.alpha == 0 and algorithm.gamma == 0:
        return 0.0
    exponent = algorithm.gamma * -duration / algorithm.mass
    if algorithm.alpha > 0:
        if later <= duration:
            return -1.0  # μ(0) = 0
        exponent += algorithm.alpha * math.log1p(-duration / later) / algorithm.mass
    return math.expm1(exponent)


@scalar
def drag_of_first_half(algorithm, step):
    """Return μ(t)/μ(t + h/2) − 1."""
    half = 0.5 * algorithm.h
    return fading(algorithm, half, step * algorithm.h + (algorithm.t0 + half))


@rounded
def drag_of_second_half(algorithm, step):
    """Return μ(t + h/2)/μ(t + h) − 1."""
    return fading(algorithm, 0.5 * algorithm.h, step * algorithm.h + (algorithm.t0 + algorithm.h))


@rounded
def drag_of_step(algorithm, step):
    """Return μ(t)/μ(t + h) − 1."""
    return fading(algorithm, algorithm.h, step * algorithm.h + (algorithm.t0 + algorithm.h))


@inlined
def coefficients(law, algorithm, step):
    """Return the coefficients of a law of SETTLE, in the step from t0 + step h."""
    beta, pull, drag, whole_drag = algorithm.momentum, 0.0, 0.0, 0.0
    if law == schedule.OF_GD:
        pull = -algorithm.h
    elif law == schedule.OF_HEAVY_BALL:
        pull = 1.0
    elif law == schedule.OF_NAGD:
        pull, beta, whole_drag = algorithm.h, nagd_beta(algorithm, step), drag_of_step(algorithm, step)
    elif law == schedule.OF_DRIFT:
        pull, drag = -kick_of_half(algorithm), drag_of_first_half(algorithm, step)
    elif law == schedule.OF_KICK:
        pull, drag = -kick_of_half(algorithm), drag_of_second_half(algorithm, step)
        whole_drag = drag_of_step(algorithm, step)
    return Coefficients(beta, pull * algorithm.weight_decay, drag, whole_drag)


# What becomes of `balance` in a step, C left aside.


@scalar
def after_gd(balance, h, drop):
    """Q' − Q = ½h² B(d, d) − hλC, with drop = B(d, d)."""
    return balance + 0.5 * h * h * drop


@scalar
def after_gd_skew(integral, h, charge):
    """∫J ds, in the place of Q where G is not symmetric, with charge = ⟨g(x), d⟩ = −J."""
    return integral - h * charge


@scalar
def after_heavy_ball(balance, h, beta, before, after, source):
    """J' = βJ − λC + hB(v', v'), with before, after = J, J' and source = B(v', v')."""
    return balance - beta * before + after - h * source


@scalar
def after_drift(balance, h, source):
    """μ'J' − μJ = μ(τ) (hB(v, v) − (h/2m) λ (C + C')) at τ = t + h/2, with source = B(v, v) at τ, divided by μ at the time reached."""
    return balance + h * source


@scalar
def after_nagd(balance, h, beta, before, after, source_before, cross, source):
    """J' = βJ + h(B(v', v') − βB(v, v') + β²B(v, v) − λC(y)), with cross = B(v, v')."""
    balance = balance + h * (beta * cross - beta * beta * source_before) - beta * before
    return balance + after - h * source


@scalar
def pulled(balance, pull, C):
    """What weight decay adds, whose force −λx is not orthogonal to g(x)."""
    return balance + pull * C


@scalar
def faded(a, drag):
    """A + drag a, which brings what is in units of μ from one time to the next."""
    return a + drag * a


@scalar
def trapezoid(integral, h, before, after):
    """∫ μS ds/μ over one step more."""
    return integral + 0.5 * h * (before + after)


@scalar
def defect(kind, symmetric, quantity, charge, origin, integral, balance):
    """Return the exact discrete residual of a component at a record; `kind` is the algorithm's."""
    if kind == layout.GD:
        return (quantity - origin if symmetric else integral) - balance
    if kind == layout.CONFORMAL:
        return charge - origin - balance
    return balance  # the defects, summed step by step
