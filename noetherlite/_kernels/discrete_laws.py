"""What the exact discrete laws of the algorithms have in common (theory §6, §10), as functions of numbers; CPU and GPU call the same.

A step of an algorithm is linear in the gradient, which is orthogonal to g(x): what it makes of Q or J can be computed without
knowing the potential. `balance` sums what the law predicts; the difference to what Q or J has become is round-off.
With weight decay λ the gradient is d = ∇U + λx, and C = ⟨g(x), x⟩ is what λ is multiplied by. The law of an algorithm is in its
file.
"""

from __future__ import annotations

import math

from . import layout, schedule
from .jit import rounded, scalar
from .rules import Form, Law


@scalar
def rate(algorithm, step):
    """Return the time per step, of this one where there is a schedule."""
    return algorithm.rates[step] if algorithm.rates.size > 0 else algorithm.h


@scalar
def first_share(algorithm, step):
    """Return where the shares of a step begin, if each step has some of its own."""
    return step * (algorithm.shares.size // algorithm.rates.size) if algorithm.block.size > 0 else 0


@scalar
def clipping(square, most):
    """Return what a gradient of this |∇U|² is multiplied by, as `torch.nn.utils.clip_grad_norm_` has it; 1 or more: nothing."""
    return most / (math.sqrt(square) + 1e-6)


@scalar
def ascending(square, rho):
    """Return what a gradient of this |∇U|² is multiplied by on the way to x + ρ∇U/|∇U|; 0 where it vanishes."""
    return rho / math.sqrt(square) if square > 0 else 0.0


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


@rounded
def time_in(algorithm, step, after):
    """Return the time `after` later than the beginning of a step."""
    if algorithm.times.size > 0:
        return algorithm.times[step] + after
    return step * algorithm.h + (algorithm.t0 + after)


@rounded
def drag_of_step(algorithm, step):
    """Return μ(t)/μ(t + h) − 1."""
    h = rate(algorithm, step)
    return fading(algorithm, h, time_in(algorithm, step, h))


@scalar
def pulled(balance, pull, C):
    """What weight decay adds, whose force −λx is not orthogonal to g(x)."""
    return balance + pull * C


@scalar
def faded(a, drag):
    """A + drag a, which brings what is in units of μ from one time to the next."""
    return a if drag == 0 else a + drag * a


@scalar
def integrated(c, h, drag):
    """∫ μS ds/μ of a component over one step more, by the trapezoidal rule, with S = B(v, v) at its end the square."""
    return faded(c.integral, drag) + 0.5 * h * (faded(c.source, drag) + c.square)


@scalar
def defect(law, symmetric, quantity, charge, origin, integral, balance):
    """Return the exact discrete residual of a component at a record, with an algorithm's `law`."""
    if law == layout.OF_Q:
        return (quantity - origin if symmetric else integral) - balance
    if law == layout.OF_MU_J:
        return charge - origin - balance
    return balance  # the defects, summed step by step


# What the laws are measured from.


@scalar
def no_coefficients(algorithm, step):
    return 0.0


@scalar
def _from_quantity(_, c):
    return (c.moved,)


@scalar
def _from_charge(_, c):
    return c.moved, c.moved, c.square


FROM_QUANTITY = Law(
    no_coefficients,
    _from_quantity,
    ("origin",),
    (Form(schedule.MOVED, schedule.QUANTITY, schedule.X, schedule.X),),
)
FROM_CHARGE = Law(
    no_coefficients,
    _from_charge,
    ("origin", "charge", "source"),
    (
        Form(schedule.MOVED, schedule.CHARGE, schedule.X, schedule.V),
        Form(schedule.SQUARE, schedule.PAIR, schedule.V, schedule.V),
    ),
)
