"""Optimisers that keep an average of the gradient: what they share, and their exact law in x and the average.

With m_{k+1} = βm_k + a(∇U(x_k) + λx_k), and x_{k+1} made of it by whatever rule, Q has no law, but the average has one: as the
force is orthogonal to g at the point where it was taken, ⟨g(x_k), m_{k+1}⟩ = β⟨g(x_k), m_k⟩ + aλ⟨g(x_k), x_k⟩ for every affine
symmetry g(x) = Gx + ξ. The velocity of the kernels is −m.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_CHARGE, pulled, rate
from .._kernels.jit import scalar
from .._kernels.layout import STEPS_DONE
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move, Orthogonalisation
from .._kernels.schedule import CHARGE, MOVED, Phases, Row, V, X
from .base import Algorithm, Ends, Force, RecordedStep, Rounded, Terms, no_gradients
from .dynamics import GF, Dynamics

# numbers, step k, x, m, the average of the squares, ∇U + λx ↦ the new x, m and average of the squares, in NumPy
Update = Callable[[layout.Algorithm, int, Array, Array, Array, Array], tuple[Array, Array, Array]]


class _Step(NamedTuple):
    h: float
    beta: float
    pull: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    return _Step(rate(algorithm, step), algorithm.momentum, algorithm.constants[0] * algorithm.pull)


@scalar
def _law_of_average(c: _Step, at: Component) -> tuple[float, ...]:
    """⟨g(x), v'⟩ = β⟨g(x), v⟩ − aλC with v = −m, at the x of the gradient."""
    return (pulled(at.balance, c.pull, at.pull) + at.moved - c.beta * at.charge,)


@scalar
def _law_of_step(c: _Step, at: Component) -> tuple[float, ...]:
    """Return J = ⟨g(x'), v'⟩, which the next step starts from, and its sum."""
    return at.moved, at.integral + c.h * at.moved


_CHARGE = (Form(MOVED, CHARGE, X, V),)
LAW_OF_AVERAGE = Law(_of_step, _law_of_average, ("balance",), _CHARGE)
LAW_OF_STEP = Law(_of_step, _law_of_step, ("charge", "integral"), _CHARGE)


class _Average(NamedTuple):
    a: float


@scalar
def _of_average(algorithm: layout.Algorithm, step: int) -> _Average:
    return _Average(algorithm.constants[0])


@scalar
def _averaged(c: _Average, at: Coordinate) -> tuple[float, ...]:
    """Return v' = v − a(d + v)."""
    return (at.v - c.a * (at.g + at.v),)


AVERAGE = Move(_of_average, _averaged, ("v",))  # where β = 1 − a


class Rate(NamedTuple):
    """The coefficient of a step that reads its rate alone."""

    h: float


@scalar
def of_rate(algorithm: layout.Algorithm, step: int) -> Rate:
    """Return the rate of a step."""
    return Rate(rate(algorithm, step))


def shares(each: Float64Array) -> Any:
    """Return the factors of the coordinates, or 1 where they are the same."""
    return each if each.size else 1.0


def method_of(
    average: Move,
    step: Move,
    update: Update,
    has_moment: bool = False,
    between: tuple[Move | Orthogonalisation, ...] = (),
) -> Method:
    """Return the rules of an optimiser: what the gradient makes of the average and of the moment, and what they make of x.

    `update` is both in NumPy; `has_moment`: whether it keeps an average of the gradient's squares.
    """

    def rows(p: Phases) -> list[Row]:
        first = [*p.pull(X), *p.move(average), *p.settle(LAW_OF_AVERAGE)]
        for rule in between:
            first += p.move(rule) if isinstance(rule, Move) else p.orthogonalise(rule)
        return [*first, *p.move(step), *p.settle(LAW_OF_STEP), *p.evaluate(X)]

    def plain(run: Run, t: float) -> None:
        s, a = run.state, run.algorithm._replace(h=run.rate * run.shares)
        x, m, moment = update(a, int(s.counts[STEPS_DONE]), s.x, -s.v, s.moment, s.gradient)
        s.balance[:] += a.constants[0] * run.pull(s.x) - a.momentum * s.charge + run.charge(s.x, -m)
        s.x[:], s.v[:], s.moment[:] = x, -m, moment
        s.charge[:] = run.charge(s.x, s.v)
        s.integral[:] += run.rate * s.charge
        run.take_gradient(s.x)

    rules = average, LAW_OF_AVERAGE, *between, step, LAW_OF_STEP
    return Method(FROM_CHARGE, rules, rows, plain, update=update, has_moment=has_moment)


class Averaged(Algorithm, abstract=True):
    """An optimiser of x and an average of the gradient, `momentum` β and `averaging` a."""

    order = 0  #: the laws of gradient flow are not approached as η → 0
    takes_schedule = True
    has_metric = False
    takes_sam = True
    law_of = "J"  #: ⟨g(x), v⟩ with v = −m
    starts_anywhere = False  #: they depend on the average
    implies_gradients = False  #: the size of a gradient is divided out of a step
    implied_gradients = no_gradients

    @property
    def averaging(self) -> float:
        """The factor a of a gradient in the average."""
        return 1 - self.momentum

    @property
    def constants(self) -> tuple[float, ...]:
        """The factor of a gradient in the average, and the numbers of the rules after it."""
        return (self.averaging, *self.rule_constants)

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """The numbers that its rules read."""
        return ()

    @property
    def dynamics(self) -> Dynamics:
        """Gradient flow, whose laws of Q it breaks: it follows the flow of no metric that is constant."""
        return GF

    @property
    def is_linear(self) -> bool:
        """False: a step is no linear function of the gradient."""
        return False

    takes_changing_ratios = True  #: its law does not depend on them

    @property
    def takes_blocks(self) -> bool:
        """Whether one of its rules reads them; its law does not depend on them."""
        return any(isinstance(rule, Move) and rule.by_block for rule in self.method.rules)

    @property
    def push(self) -> float:
        """a: m_{k+1} = βm_k + aF."""
        return self.averaging

    def exact_law(self, terms: Terms) -> str:
        """Return the law of the average at the point of the gradient."""
        right = r"\beta\langle g(x_k), m_k\rangle" if self.momentum else ""
        if terms.decays:
            right += (" + " if right else "") + r"a\lambda\langle g(x_k), x_k\rangle"
        return r"\langle g(x_k), m_{k+1}\rangle = " + (right or "0")

    def letters(self) -> dict[str, str]:
        """Return the meanings of m, β and a."""
        meanings = {"m": "the average of the gradient, less the velocity of the records"}
        meanings |= {"β": f"{self.momentum:g}"} if self.momentum else {}
        return meanings | ({"a": f"{self.averaging:g}"} if self.coupled_decay else {})

    @property
    def gain(self) -> float:
        """Infinite: positions do not give the gradient back."""
        return float("inf")

    @property
    def average_name(self) -> str:
        """PyTorch's name of m: that of an average, or of a sum; empty without momentum."""
        return ("momentum_buffer" if self.averaging == 1 else "exp_avg") if self.momentum else ""

    @property
    def states(self) -> dict[str, str]:
        """Those of m and of the squares, as far as it has them; "exp_avg_sq" also for `square_avg` and `sum`."""
        names = {self.average_name: "m"} if self.average_name else {}
        return names | ({"exp_avg_sq": "s"} if self.method.has_moment else {})

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve m' = βm + aF, where m' is recorded."""
        if step.now.m is None or step.later.m is None:
            return None
        return (step.later.m - self.momentum * step.now.m) / self.averaging

    def walk(
        self,
        x: Float64Array,
        v: Float64Array,
        t: float,
        steps: int,
        force: Force,
        rounded: Rounded,
        blocks: Sequence[Any] = (),
    ) -> Ends:
        """Return x and v after so many steps from the start of a run on these blocks."""
        numbers, m, moment = self.kernel(t, blocks), -v, np.zeros_like(x)
        update: Any = self.method.update
        for j, h in enumerate(self.step_times(steps)):
            x, m, moment = update(numbers._replace(h=h), j, x, m, moment, force(j, x))
            x = rounded(x)
        return x, -m


def two_fractions(values: object, name: str) -> tuple[float, float]:
    """Return two numbers, 0 ≤ β < 1, or raise ValueError or TypeError."""
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise TypeError(f"{name} must be two numbers, got {checks.describe(values)}")
    first, second = (checks.fraction(value, f"{name}[{i}]") for i, value in enumerate(values))
    return first, second
