"""Kick–drift–kick steps and their compositions: the base class of leapfrog, conformal leapfrog and Yoshida (theory §6)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_CHARGE, faded, fading, integrated, pulled, rate, time_in
from .._kernels.jit import rounded, scalar
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import PAIR, SQUARE, Phases, Row, V, X
from .base import Algorithm, Ends, Force, Gradients, Rounded, Terms
from .recorded import intervals


class _Half(NamedTuple):
    h: float
    kick: float  # h/2m, by which half a step multiplies the gradient
    pull: float
    drag: float  # by how much friction takes from the velocity in half a step, μ(t)/μ(t') − 1
    step_drag: float  # and in the step


class _Substep(NamedTuple):
    """The rules of one kick–drift–kick step among those that a step is composed of."""

    drift: Move
    law_of_drift: Law
    kick: Move
    law_of_kick: Law


@scalar
def _kicked_and_drifted(c: _Half, at: Coordinate) -> tuple[float, ...]:
    """Return x + hv' and v' = v + drag v − kick d."""
    v = at.v + c.drag * at.v - c.kick * at.g
    return at.x + c.h * v, v


@scalar
def _kicked(c: _Half, at: Coordinate) -> tuple[float, ...]:
    """Return u + drag u with u = v − kick d."""
    u = at.v - c.kick * at.g
    return (u + c.drag * u,)


@scalar
def _law_of_drift(c: _Half, at: Component) -> tuple[float, ...]:
    """μ'J' − μJ = μ(τ) (hB(v, v) − (h/2m) λ (C + C')) at τ = t + h/2, all divided by μ at the time reached; first C."""
    balance = pulled(faded(at.balance, c.drag), c.pull, at.pull)
    return faded(at.origin, c.drag), balance + c.h * at.square


@scalar
def _law_of_kick(c: _Half, at: Component) -> tuple[float, ...]:
    """C', and ∫ μS ds/μ."""
    balance = faded(pulled(at.balance, c.pull, at.pull), c.drag)
    return faded(at.origin, c.drag), balance, integrated(at, c.h, c.step_drag), at.square


_SOURCE = (Form(SQUARE, PAIR, V, V),)


def _substep(weight: float, begin: float, end: float) -> _Substep:
    """Return the rules of a substep of `weight` h, from t + `begin` h to t + `end` h where a step begins at t."""

    @scalar
    def first_half(algorithm: layout.Algorithm, step: int) -> _Half:
        dt = rate(algorithm, step)
        h = weight * dt
        half, kick = 0.5 * h, 0.5 * h / algorithm.mass
        after = begin * dt + half
        known = algorithm.times.size > 0
        middle = algorithm.times[step] + after if known else step * algorithm.h + (algorithm.t0 + after)
        return _Half(h, kick, -kick * algorithm.pull, fading(algorithm, half, middle), 0.0)

    @rounded
    def drag_since(algorithm: layout.Algorithm, step: int, duration: float) -> float:
        drag: float = fading(algorithm, duration, time_in(algorithm, step, end * rate(algorithm, step)))
        return drag

    @scalar
    def second_half(algorithm: layout.Algorithm, step: int) -> _Half:
        h = weight * rate(algorithm, step)
        kick = 0.5 * h / algorithm.mass
        drag, step_drag = drag_since(algorithm, step, 0.5 * h), drag_since(algorithm, step, h)
        return _Half(h, kick, -kick * algorithm.pull, drag, step_drag)

    return _Substep(
        Move(first_half, _kicked_and_drifted, ("x", "v")),
        Law(first_half, _law_of_drift, ("origin", "balance"), _SOURCE),
        Move(second_half, _kicked, ("v",)),
        Law(second_half, _law_of_kick, ("origin", "balance", "integral", "source"), _SOURCE),
    )


def _plain(run: Run, t: float, h: float) -> None:
    s = run.state
    middle, end, kick = t + 0.5 * h, t + h, 0.5 * h / run.algorithm.mass
    run.fade(t, middle, s.origin, s.balance)
    s.balance[:] -= kick * run.pull(s.x)
    s.v[:] += run.fading(t, middle) * s.v - kick * s.gradient
    s.x[:] += h * s.v
    s.balance[:] += h * run.pair(s.v, s.v) - kick * run.pull(s.x)
    run.take_gradient(s.x)
    run.fade(middle, end, s.origin, s.balance)
    s.v[:] -= kick * s.gradient
    s.v[:] += run.fading(middle, end) * s.v
    run.integrate_source(t, h)


def _ends(weights: tuple[float, ...]) -> list[float]:
    """Return the starts of the substeps, and the end of the last one, in parts of a step."""
    return [math.fsum(weights[:i]) for i in range(len(weights) + 1)]


def _as_it_is(x: Float64Array) -> Float64Array:
    return x


def method_of(weights: tuple[float, ...]) -> Method:
    """Return the rules of a step composed of kick–drift–kick steps that take these parts of its time."""
    ends = _ends(weights)
    substeps = [_substep(weight, *ends[i : i + 2]) for i, weight in enumerate(weights)]

    def rows(p: Phases) -> list[Row]:
        out: list[Row] = []
        for s in substeps:
            out += [*p.pull(X), *p.move(s.drift), *p.settle(s.law_of_drift), *p.evaluate(X)]
            out += [*p.pull(X), *p.move(s.kick), *p.settle(s.law_of_kick)]
        return out

    def plain(run: Run, t: float) -> None:
        for weight, begin in zip(weights, ends[:-1], strict=True):
            _plain(run, t + begin * run.rate, weight * run.rate)

    return Method(FROM_CHARGE, tuple(rule for s in substeps for rule in s), rows, plain)


METHOD = method_of((1.0,))


class KickDriftKick(Algorithm, abstract=True):
    """Steps of half a kick, a drift and half a kick, with friction in between, for dynamics with m > 0."""

    order = 2
    takes_schedule = True  #: every step has its own h
    takes_blocks = True
    law_of = "μJ"

    @property
    def method(self) -> Method:
        """The rules of its step, the same with and without friction."""
        return METHOD

    @property
    def weights(self) -> tuple[float, ...]:
        """The parts of its time that the kick–drift–kick steps take of which a step is composed."""
        return (1.0,)

    @property
    def _newtonian(self) -> bool:
        return self.dynamics.name == "ND"

    def exact_law(self, terms: Terms) -> str:
        """Return μJ at t_{k+1} less that at t_k, with μ = 1 for Newtonian dynamics."""
        ends = r"\langle g(x_k), x_k\rangle + \langle g(x_{k+1}), x_{k+1}\rangle"
        return self._law(terms, "", r"\tau", r"h\langle Gv, v\rangle", rf"\frac{{h}}{{2{self._mass}}}\lambda({ends})")

    @property
    def _mass(self) -> str:
        return "" if self._newtonian else "m"

    def _law(self, terms: Terms, before: str, time: str, source: str, decay: str) -> str:
        """Return the law: what is `before` μ at a time and the source, less the decay, as far as they are not zero."""
        left = "J_{k+1} - J_k" if self._newtonian else r"\mu(t_{k+1})J_{k+1} - \mu(t_k)J_k"
        mu = "" if self._newtonian else rf"\mu({time})"
        made = "" if terms.skew else source
        if terms.decays:
            made = f"({made} - {decay})" if made else f"(-{decay})"
        return f"{left} = " + (f"{before}{mu}{made}" if made else "0")

    def letters(self) -> dict[str, str]:
        """Return the meanings of J, h and v, and with friction of μ and τ."""
        meanings = super().letters() | {"v": "the velocity of step k's drift from x_k to x_{k+1}"}
        return meanings if self._newtonian else meanings | {"μ(t)": "the integrating factor", "τ": "t_k + h/2"}

    def fewest_rows(self, known_start: bool) -> int:
        """Return 3: two differences of positions determine the sum of the half kicks between them."""
        return 3

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve v_{k+½} = ρv_{k−½} − (ρh_{k−1} + h_k)/2m F(x_k), ρ = μ(τ_{k−1})/μ(τ_k) with τ_k = t_k + h_k/2: both half kicks at x_k."""
        (h, idle), dynamics = intervals(self, x), self.dynamics
        v = np.diff(x, axis=0) / h[:, None]
        middle = self.times(t0, np.arange(len(h))) + 0.5 * h
        rho = dynamics.fading(middle[:-1], middle[1:])[:, None]
        gradient = 2 * dynamics.mass * (rho * v[:-1] - v[1:]) / (rho * h[:-1, None] + h[1:, None])
        known = ~(idle[1:] | idle[:-1])
        return np.arange(1, x.shape[0] - 1)[known], x[1:-1][known], gradient[known]

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        dynamics, weights, at_x = self.dynamics, self.weights, force(0, x)
        begins, last = _ends(weights)[:-1], len(weights) - 1
        for j, dt in enumerate(self.step_times(steps)):
            for i, (weight, begin) in enumerate(zip(weights, begins, strict=True)):
                h, each = weight * dt, rounded if i == last else _as_it_is
                kick = 0.5 * h / dynamics.mass
                after = [begin + part * weight for part in (0.0, 0.5, 1.0)]
                since = float(self.times(t, j)) if self.rates else t + j * dt
                start, middle, end = (since + part * dt for part in after)
                v = dynamics.fading(start, middle) * v - kick * at_x
                x = each(x + h * v)
                at_x = force(j * len(weights) + i + 1, x)
                v = each(dynamics.fading(middle, end) * (v - kick * at_x))
        return x, v

    @property
    def gradients_per_step(self) -> int:
        """Those at the ends of the substeps, 2 of leapfrog."""
        return 1 + len(self.weights)
