"""Gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_QUANTITY, pulled, rate
from .._kernels.jit import scalar
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, MOVED, PAIR, SQUARE, G, Phases, Row, X
from .base import Algorithm, Ends, Force, Gradients, Rounded, Terms
from .dynamics import GF, Dynamics
from .heavy_ball import HeavyBall
from .recorded import intervals


class _Step(NamedTuple):
    h: float
    pull: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    h = rate(algorithm, step)
    return _Step(h, -h * algorithm.pull)


@scalar
def _descended(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x − hd."""
    return (at.x - c.h * at.g,)


@scalar
def _law(c: _Step, at: Component) -> tuple[float, ...]:
    """Q' − Q = ½h² B(d, d) − hλC; where G is not symmetric ∫J ds takes the place of Q, with ⟨g(x), d⟩ = −J."""
    balance = pulled(at.balance, c.pull, at.pull)
    if at.symmetric:
        return balance + 0.5 * c.h * c.h * at.square, at.integral
    return balance, at.integral - c.h * at.moved


DESCENT = Move(_of_step, _descended, ("x",))
LAW = Law(_of_step, _law, ("balance", "integral"), (Form(SQUARE, PAIR, G, G), Form(MOVED, CHARGE, X, G, skew=True)))


def _step(p: Phases) -> list[Row]:
    return [*p.pull(X), *p.settle(LAW), *p.move(DESCENT), *p.evaluate(X)]


def descend(run: Run) -> None:
    """Take a step, and balance its law, in NumPy."""
    s, h = run.state, run.rate
    drop = 0.5 * h**2 * run.pair(s.gradient, s.gradient)
    s.balance[:] += np.where(run.symmetric, drop, 0) - h * run.pull(s.x)
    s.integral[:] -= np.where(run.symmetric, 0, h * run.charge(s.x, s.gradient))
    s.x[:] -= h * s.gradient


def _plain(run: Run, t: float) -> None:
    descend(run)
    run.take_gradient(run.state.x)


METHOD = Method(FROM_QUANTITY, (LAW, DESCENT), _step, _plain)


@dataclass(frozen=True, repr=False)
class GD(Algorithm):
    """Gradient descent x_{k+1} = x_k − η∇U(x_k), time t = kη.

    Parameters
    ----------
    lr : float
        η > 0.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Exact law for a symmetric generator G: Q_{k+1} − Q_k = ½η²⟨∇U(x_k), G∇U(x_k)⟩ (theory §6). With weight decay and
    d = ∇U + λx: Q_{k+1} − Q_k = ½η²⟨d, Gd⟩ − ηλ⟨g(x_k), x_k⟩ (theory §10).
    """

    has_velocity = False  #: ẋ is −∇U
    dynamics = GF
    order = 1
    method = METHOD
    takes_schedule = True
    takes_blocks = True
    takes_changing_ratios = True  #: by the heavy ball without momentum
    takes_sam = True
    law_of = "Q"

    def over(self, steps: int) -> Any:
        """Return the algorithm of a run; where ratios between blocks change, a `HeavyBall` without momentum: the same steps, with a law."""
        algorithm = super().over(steps)
        return HeavyBall(**algorithm._settings(), momentum=0.0) if algorithm.ratios_change else algorithm

    def exact_law(self, terms: Terms) -> str:
        """Return Q_{k+1} − Q_k, or that the gradient is orthogonal to g where there is no Q."""
        if not terms.has_quantity:
            return r"\langle g(x_k), \nabla U(x_k)\rangle = 0"
        lost = r"\eta\lambda\langle g(x_k), x_k\rangle"
        force = "d" if terms.decays else r"\nabla U"
        made = "" if terms.still else rf"\frac{{1}}{{2}}\eta^2\langle {force}, G{force}\rangle"
        if not terms.decays:
            return "Q_{k+1} - Q_k = " + (made or "0")
        return "Q_{k+1} - Q_k = " + (f"{made} - {lost}" if made else f"-{lost}")

    def letters(self) -> dict[str, str]:
        """Return the meanings of Q, η and d."""
        return super().letters() | ({"d": "∇U + λx"} if self.weight_decay else {})

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve x_{k+1} = x_k − ηF(x_k)."""
        h, idle = intervals(self, x)
        record = np.flatnonzero(~idle)
        return record, x[record], ((x[:-1] - x[1:]) / h[:, None])[record]

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        for j, h in enumerate(self.step_times(steps)):
            x = rounded(x - h * force(j, x))
        return x, v

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return gradient descent at the rate dt for gradient flow ẋ = −∇U."""
        return cls(dt) if dynamics.mass == 0 and dynamics.gamma == 1 else None
