"""Nesterov's accelerated gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_CHARGE, drag_of_step, integrated, pulled, rate
from .._kernels.jit import scalar
from .._kernels.layout import STEPS_DONE
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, CROSS, MOVED, PAIR, SQUARE, G, Phases, Row, V, X, Y
from .base import Algorithm, Ends, Force, Gradients, Rounded, Terms
from .dynamics import Dynamics
from .recorded import intervals
from .settings import checked

# Quadratic terms of the law: with G = 0 there are none, with skew G only the second.
_SQUARES = r"\langle Gv_{k+1}, v_{k+1}\rangle + \beta_k^2\langle Gv_k, v_k\rangle"
_MIXED = r"\beta_k\langle Gv_k, v_{k+1}\rangle"


class _Step(NamedTuple):
    h: float
    beta: float
    reach: float
    pull: float
    drag: float


@scalar
def _slowing(algorithm: layout.Algorithm, step: int) -> float:
    """Return β_k = (k − 1)/(k + α − 1); with a schedule k is the time in units of the step that is due."""
    if algorithm.times.size == 0:
        k = algorithm.t0 / algorithm.h + step
        return (k - 1) / (k + algorithm.alpha - 1)
    t, h = algorithm.times[step], algorithm.rates[step]
    return float((t - h) / (t + (algorithm.alpha - 1) * h)) if h > 0 else 1.0


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    h = rate(algorithm, step)
    beta = _slowing(algorithm, step)
    pull, drag = h * algorithm.pull, drag_of_step(algorithm, step)
    return _Step(h, beta, beta * h, pull, drag)


@scalar
def _ahead(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Y = x + β_k hv, where the gradient is wanted."""
    return (at.x + c.reach * at.v,)


@scalar
def _moved(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + hv' and v' = β_k v − hd."""
    v = c.beta * at.v - c.h * at.g
    return at.x + c.h * v, v


@scalar
def _law(c: _Step, at: Component) -> tuple[float, ...]:
    """J' = βJ + h(β²B(v, v) − hB(d, v') − λC(y)), where −hB(d, v') = B(v', v') − βB(v, v'), and ∫ μS ds/μ."""
    balance = pulled(at.balance, c.pull, at.pull) - c.beta * at.charge
    balance = balance + c.h * (c.h * at.cross - c.beta * c.beta * at.source)
    return balance + at.moved, at.moved, integrated(at, c.h, c.drag), at.square


LOOK = Move(_of_step, _ahead, ("y",))
MOVE = Move(_of_step, _moved, ("x", "v"))
LAW = Law(
    _of_step,
    _law,
    ("balance", "charge", "integral", "source"),
    (Form(MOVED, CHARGE, X, V), Form(SQUARE, PAIR, V, V), Form(CROSS, PAIR, G, V)),
)


def _step(p: Phases) -> list[Row]:
    return [*p.move(LOOK), *p.evaluate(Y), *p.pull(Y), *p.move(MOVE), *p.settle(LAW)]


def _plain(run: Run, t: float) -> None:
    s, a, h = run.state, run.algorithm, run.rate
    if a.times.size:
        beta = (t - h) / (t + (a.alpha - 1) * h) if h > 0 else 1.0
    else:
        k = a.t0 / h + s.counts[STEPS_DONE]
        beta = (k - 1) / (k + a.alpha - 1)
    y = s.x + beta * h * s.v
    run.take_gradient(y)
    s.v[:] = beta * s.v - h * s.gradient
    s.x[:] += h * s.v
    predicted = beta**2 * s.source - h * run.pair(s.gradient, s.v)
    charge = run.charge(s.x, s.v)
    s.balance[:] += charge - beta * s.charge - h * (predicted - run.pull(y))
    s.charge[:] = charge
    run.integrate_source(t, h)


METHOD = Method(FROM_CHARGE, (LOOK, MOVE, LAW), _step, _plain, looks_ahead=True)


@dataclass(frozen=True, repr=False)
class NAGD(Algorithm):
    """Nesterov's accelerated gradient descent after Su, Boyd & Candès (GU (20)), h = √s, t = kh.

    x_k = y_{k−1} − s∇U(y_{k−1}),  y_k = x_k + (k−1)/(k+α−1)·(x_k − x_{k−1}); the paper has α = 3.

    Parameters
    ----------
    lr : float
        The paper's learning rate s > 0.
    alpha : float
        Friction coefficient α ≥ 3 (below 3 the method loses its rate; `ConformalLeapfrog` takes any α ≥ 0).
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Stepped in velocity form, v_{k+1} = β_k v_k − h∇U(y_k), x_{k+1} = x_k + h v_{k+1}, which keeps digits that
    differences of x would lose.
    """

    alpha: float = field(default=3.0, metadata=checked(checks.real, minimum=3.0))

    order = 1
    method = METHOD
    takes_schedule = True  #: every step has its own h, and β_k = (t − h)/(t + (α − 1)h)
    takes_blocks = True
    law_of = "J"

    @cached_property
    def dynamics(self) -> Dynamics:
        """Nesterov's accelerated gradient flow, friction α/t."""
        return Dynamics(1.0, 0.0, self.alpha)

    def exact_law(self, terms: Terms) -> str:
        """Return J_{k+1} in terms of J_k."""
        inner = "" if terms.still else f"- {_MIXED}" if terms.skew else f"{_SQUARES} - {_MIXED}"
        inner += r" - \lambda\langle g(y_k), y_k\rangle" if terms.decays else ""
        return r"J_{k+1} = \beta_kJ_k" + (f" + h({inner.strip()})" if inner else "")

    def letters(self) -> dict[str, str]:
        """Return the meanings of J, h and β_k."""
        return super().letters() | {"β_k": "(k − 1)/(k + 2)"}

    def fewest_rows(self, known_start: bool) -> int:
        """Return 2 from rest, else 3."""
        return 2 if known_start else 3

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve x_{k+1} = y_k − sF(y_k) with y_k = x_k + β_k(x_k − x_{k−1}); from t = 0 on also with y_0 = x_0."""
        h, idle = intervals(self, x)
        record = np.arange(1, x.shape[0] - 1)
        k = self.times(t0, record) / h[1:] if self.rates else t0 / self.dt + record
        beta = (k - 1) / (k + self.alpha - 1) * (h[1:] / h[:-1])
        points = x[1:-1] + beta[:, None] * (x[1:-1] - x[:-2])
        if t0 == 0:
            record, points = np.arange(x.shape[0] - 1), np.concatenate([x[:1], points])
        square = h[record, None] ** 2 if self.rates else self.lr
        known = ~(idle[record] | (idle[record - 1] & (record > 0)))
        return record[known], points[known], ((points - x[record + 1]) / square)[known]

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        for j, h in enumerate(self.step_times(steps)):
            if h == 0:
                continue
            k = self.times(t, j) / h if self.rates else round(t / h) + j
            beta = (k - 1) / (k + self.alpha - 1)
            v = rounded(beta * v - h * force(j, x + beta * h * v))
            x = rounded(x + h * v)
        return x, v

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return this algorithm for a flow with friction α/t alone, α ≥ 3."""
        fits = dynamics.mass == 1 and dynamics.gamma == 0 and dynamics.alpha >= 3
        return cls(dt**2, dynamics.alpha) if fits else None
