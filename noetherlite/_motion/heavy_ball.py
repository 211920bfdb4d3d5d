"""Gradient descent with momentum: the heavy ball."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_CHARGE, pulled, rate
from .._kernels.jit import scalar
from .._kernels.layout import STEPS_DONE
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, MOVED, PAIR, SQUARE, Phases, Row, V, X
from .averaged import LAW_OF_STEP
from .base import Algorithm, Ends, Force, Gradients, RecordedStep, Rounded, Terms
from .dynamics import Dynamics
from .recorded import NO_RATE, intervals
from .settings import BOOLEAN, FRACTION


class _Step(NamedTuple):
    h: float
    beta: float
    kick: float  # 1, in an undamped first step 1/(1 − a)
    pull: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    kick = algorithm.constants[0] if step == 0 else 1.0
    return _Step(rate(algorithm, step), algorithm.momentum, kick, kick * algorithm.pull)


@scalar
def _moved(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + hv' and v' = βv − d, in an undamped first step βv − d/(1 − a)."""
    v = c.beta * at.v - c.kick * at.g
    return at.x + c.h * v, v


@scalar
def _law(c: _Step, at: Component) -> tuple[float, ...]:
    """J' = βJ − λC + hB(v', v')."""
    balance = pulled(at.balance, c.pull, at.pull) - c.beta * at.charge + at.moved - c.h * at.square
    return balance, at.integral + c.h * at.moved, at.moved


MOVE = Move(_of_step, _moved, ("x", "v"))
LAW = Law(_of_step, _law, ("balance", "integral", "charge"), (Form(MOVED, CHARGE, X, V), Form(SQUARE, PAIR, V, V)))


def _step(p: Phases) -> list[Row]:
    return [*p.pull(X), *p.move(MOVE), *p.settle(LAW), *p.evaluate(X)]


def _plain(run: Run, t: float) -> None:
    s, a, h = run.state, run.algorithm, run.rate
    kick = a.constants[0] if s.counts[STEPS_DONE] == 0 else 1.0
    s.balance[:] += kick * run.pull(s.x) - a.momentum * s.charge
    s.v[:] = a.momentum * s.v - kick * s.gradient
    s.x[:] += h * s.v
    s.charge[:] = run.charge(s.x, s.v)
    s.balance[:] += s.charge - h * run.pair(s.v, s.v)
    s.integral[:] += h * s.charge
    run.take_gradient(s.x)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    m = numbers.momentum * m + (numbers.constants[0] if k == 0 else 1.0) * d
    return x - numbers.h * m, m, s


METHOD = Method(FROM_CHARGE, (MOVE, LAW), _step, _plain, update=_update)


# Where the ratios of the rates of blocks change from step to step, v keeps what they do not multiply.


@scalar
def _kicked(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = βv − d."""
    return (c.beta * at.v - c.kick * at.g,)


@scalar
def _drifted(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + hSv', with the rate over the largest of the step S."""
    return (at.x + c.h * at.share * at.v,)


@scalar
def _law_of_kick(c: _Step, at: Component) -> tuple[float, ...]:
    """⟨g(x), v'⟩ = βJ − λC at the x of the gradient."""
    return (pulled(at.balance, c.pull, at.pull) - c.beta * at.charge + at.moved,)


KICK, DRIFT = Move(_of_step, _kicked, ("v",)), Move(_of_step, _drifted, ("x",), by_block=True)
LAW_OF_KICK = Law(_of_step, _law_of_kick, ("balance",), (Form(MOVED, CHARGE, X, V),))


def _step_at_ratios(p: Phases) -> list[Row]:
    kicked = [*p.pull(X), *p.move(KICK), *p.settle(LAW_OF_KICK)]
    return [*kicked, *p.move(DRIFT), *p.settle(LAW_OF_STEP), *p.evaluate(X)]


def _plain_at_ratios(run: Run, t: float) -> None:
    s, a, h = run.state, run.algorithm, run.rate
    kick = a.constants[0] if s.counts[STEPS_DONE] == 0 else 1.0
    s.balance[:] += kick * run.pull(s.x) - a.momentum * s.charge
    s.v[:] = a.momentum * s.v - kick * s.gradient
    s.balance[:] += run.charge(s.x, s.v)
    s.x[:] += h * run.shares * s.v
    s.charge[:] = run.charge(s.x, s.v)
    s.integral[:] += h * s.charge
    run.take_gradient(s.x)


RULES = KICK, LAW_OF_KICK, DRIFT, LAW_OF_STEP
AT_RATIOS = Method(FROM_CHARGE, RULES, _step_at_ratios, _plain_at_ratios, update=_update)


@dataclass(frozen=True, repr=False)
class HeavyBall(Algorithm):
    """Gradient descent with momentum (Polyak's heavy ball), as the frameworks' SGD has it (theory §10).

    u_{k+1} = βu_k + (1 − a)(∇U(x_k) + λx_k),  x_{k+1} = x_k − ηu_{k+1},  u_0 = 0.

    Parameters
    ----------
    lr : float
        η > 0.
    momentum : float
        0 ≤ β < 1.
    dampening : float
        0 ≤ a < 1.
    first_step_damped : bool
        Whether the first step is dampened as all others are; PyTorch's is not: u_1 = ∇U(x_0) + λx_0. Keyword only.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Stepped in terms of the velocity v = −u/(1 − a) and the time per step h = η(1 − a): v_{k+1} = βv_k − ∇U(x_k) − λx_k,
    x_{k+1} = x_k + hv_{k+1}. As h → 0 it follows (1 − β)ẋ = −∇U, gradient flow that is faster by 1/(1 − β); at finite h more
    closely ½h(1 + β)ẍ + (1 − β)ẋ = −∇U, see `noetherlite.drift`. Exact law: J_{k+1} = βJ_k − λ⟨g(x_k), x_k⟩ + h⟨Gv_{k+1}, v_{k+1}⟩.

    Where the ratios of the rates of blocks change from step to step, x_{k+1} = x_k − η_k ⊙ u_{k+1} with the rate of every coordinate, as PyTorch's groups with schedules of
    their own have it: no Q is conserved by a metric that changes, and the exact law is ⟨g(x_k), v_{k+1}⟩ = βJ_k − λ⟨g(x_k), x_k⟩.

    With β = 0 and a = 0 it is `GD`, bit for bit. `torch.optim.SGD` with dampening is `first_step_damped=False`.
    """

    momentum: float = field(default=0.9, metadata=FRACTION)
    dampening: float = field(default=0.0, metadata=FRACTION)
    first_step_damped: bool = field(default=True, kw_only=True, metadata=BOOLEAN)

    takes_schedule = True
    takes_blocks = True
    takes_changing_ratios = True
    takes_sam = True
    law_of = "J"
    push = 1.0  #: v_{k+1} = βv_k − F
    takes_velocity = True  #: the first step from rest and one from a velocity look alike

    @property
    def dt(self) -> float:
        """Time per step, η(1 − a)."""
        return self.lr * (1 - self.dampening)

    @cached_property
    def dynamics(self) -> Dynamics:
        """Gradient flow (1 − β)ẋ = −∇U."""
        return Dynamics(0.0, 1 - self.momentum, 0.0)

    @property
    def order(self) -> int:
        """1; 0 where the ratios of the rates of blocks change: the metric of the flow does then, and Q with it."""
        return 0 if self.ratios_change else 1

    @property
    def method(self) -> Method:
        """Its rules."""
        return AT_RATIOS if self.ratios_change else METHOD

    def exact_law(self, terms: Terms) -> str:
        """Return J_{k+1} in terms of J_k."""
        lost = r" - \lambda\langle g(x_k), x_k\rangle" if terms.decays else ""
        if self.ratios_change:
            return rf"\langle g(x_k), v_{{k+1}}\rangle = \beta J_k{lost}"
        made = "" if terms.skew else r" + h\langle Gv, v\rangle"
        return rf"J_{{k+1}} = \beta J_k{lost}{made}"

    def letters(self) -> dict[str, str]:
        """Return the meanings of J, h, β and v."""
        return super().letters() | {"β": f"{self.momentum:g}", "v": "v_{k+1}"}

    def fewest_rows(self, known_start: bool) -> int:
        """Return 2 where the velocity before the first step is known, else 3."""
        return 2 if known_start else 3

    @property
    def gain(self) -> float:
        """2(1 + β)/h + λ."""
        return 2 * (1 + self.momentum) / self.dt + self.weight_decay

    def implied_gradients(
        self, x: Float64Array, t0: float, velocity: Float64Array | None, shares: Float64Array | None = None
    ) -> Gradients:
        """Solve v_{k+1} = βv_k − F(x_k) with v_k = (x_k − x_{k−1})/h, and v_0 where it is known: zero from t = 0 on.

        With `shares` (R − 1, P) of the rate in every step h is that of the coordinate. A coordinate that has none and stays
        where it is does not tell its velocity, and the steps that need it are left out.
        """
        start = np.zeros_like(x[0]) if velocity is None and t0 == 0 else velocity
        h, idle = intervals(self, x)
        each = h[:, None]
        if shares is not None:
            each = each * np.maximum(shares, NO_RATE)
            idle = idle | ((shares == 0) & (x[1:] == x[:-1])).any(axis=1)
        v = np.diff(x, axis=0) / each
        if start is not None:
            v = np.concatenate([start[None], v])
        record = np.arange(start is None, x.shape[0] - 1)
        kicked = self.momentum * v[:-1] - v[1:]
        if t0 == 0 and start is not None:
            kicked[:1] /= self._first_kick
        # A rate of zero hides a velocity from two steps, from one where there is no momentum.
        hidden = idle[record - 1] & (record > 0) & (self.momentum > 0)
        known = ~(idle[record] | hidden)
        return record[known], x[record[known]], kicked[known]

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        for j, h in enumerate(self.step_times(steps)):
            kick = self._first_kick if t == 0 and j == 0 else 1.0
            v = rounded(self.momentum * v - kick * force(j, x))
            x = rounded(x + h * v)
        return x, v

    @property
    def states(self) -> dict[str, str]:
        """PyTorch's buffer u."""
        return {"momentum_buffer": "m"}

    def memory_of(self, name: str, values: Float64Array) -> Float64Array:
        """Return −v = u/(1 − a)."""
        return values / (1 - self.dampening)

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve −v' = −βv + F, where v' is recorded."""
        if step.now.m is None or step.later.m is None:
            return None
        return (step.later.m - self.momentum * step.now.m) / (self._first_kick if step.k == 0 else 1.0)

    @property
    def undamped_first_step(self) -> float:
        """1/(1 − a); 1 where that is declared."""
        return 1 / (1 - self.dampening) if self.first_step_damped else 1.0

    @property
    def constants(self) -> tuple[float, ...]:
        """The factor of the gradient in the first step."""
        return (self._first_kick,)

    @property
    def _first_kick(self) -> float:
        return 1.0 if self.first_step_damped else 1 / (1 - self.dampening)
