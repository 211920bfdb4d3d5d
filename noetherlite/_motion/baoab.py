"""Langevin dynamics with inertia, by BAOAB steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_CHARGE, drag_of_step, faded, pulled, rate
from .._kernels.jit import scalar
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, MOVED, PAIR, SQUARE, Phases, Row, V, X, Y
from .base import Ends, Force, Gradients, Rounded, Terms
from .dynamics import Dynamics
from .noisy import SPREAD, Noisy
from .recorded import intervals
from .settings import NOT_NEGATIVE, POSITIVE


class _Half(NamedTuple):
    half: float  # h/2
    kick: float  # h/2m
    pull: float


class _Middle(NamedTuple):
    half: float
    drag: float  # e^{−γh/m} − 1
    noise: float  # √((1 − e^{−2γh/m}) T/m)


@scalar
def _of_half(algorithm: layout.Algorithm, step: int) -> _Half:
    half = 0.5 * rate(algorithm, step)
    kick = half / algorithm.mass
    return _Half(half, kick, -kick * algorithm.weight_decay)


@scalar
def _of_middle(algorithm: layout.Algorithm, step: int) -> _Middle:
    drag = drag_of_step(algorithm, step)
    spread = -drag * (2.0 + drag) * algorithm.constants[0] / algorithm.mass
    return _Middle(0.5 * rate(algorithm, step), drag, math.sqrt(spread))


@scalar
def _kicked_and_drifted(c: _Half, at: Coordinate) -> tuple[float, ...]:
    """Return x + (h/2)v' and v' = v − (h/2m)d."""
    v = at.v - c.kick * at.g
    return at.x + c.half * v, v


@scalar
def _rubbed_and_drifted(c: _Middle, at: Coordinate) -> tuple[float, ...]:
    """Return x + (h/2)v' and v' = e^{−γh/m} v + noise, with ξ in y."""
    v = at.v + c.drag * at.v + c.noise * at.y
    return at.x + c.half * v, v


@scalar
def _kicked(c: _Half, at: Coordinate) -> tuple[float, ...]:
    """Return v − (h/2m)d."""
    return (at.v - c.kick * at.g,)


@scalar
def _law_of_first_half(c: _Half, at: Component) -> tuple[float, ...]:
    """J' = J − (h/2m)λC + (h/2)B(v', v')."""
    return (pulled(at.balance, c.pull, at.pull) + c.half * at.square,)


@scalar
def _law_of_noise(c: _Middle, at: Component) -> tuple[float, ...]:
    """J' = e^{−γh/m} J + noise ⟨g(x), ξ⟩, divided by μ at the end of the step; of ∫ μS ds/μ the half at its start."""
    made = c.noise * at.moved
    integral = faded(at.integral + c.half * at.source, c.drag) + made
    return faded(at.origin, c.drag), faded(at.balance, c.drag) + made, integral


@scalar
def _law_of_drift(c: _Half, at: Component) -> tuple[float, ...]:
    """J' = J + (h/2)B(v, v)."""
    return (at.balance + c.half * at.square,)


@scalar
def _law_of_kick(c: _Half, at: Component) -> tuple[float, ...]:
    """J' = J − (h/2m)λC; of ∫ μS ds/μ the half at the end."""
    return pulled(at.balance, c.pull, at.pull), at.integral + c.half * at.square, at.square


_SOURCE = (Form(SQUARE, PAIR, V, V),)
FIRST_HALF = Move(_of_half, _kicked_and_drifted, ("x", "v"))
SECOND_HALF = Move(_of_middle, _rubbed_and_drifted, ("x", "v"))
KICK = Move(_of_half, _kicked, ("v",))
LAW_OF_FIRST_HALF = Law(_of_half, _law_of_first_half, ("balance",), _SOURCE)
LAW_OF_NOISE = Law(_of_middle, _law_of_noise, ("origin", "balance", "integral"), (Form(MOVED, CHARGE, X, Y),))
LAW_OF_DRIFT = Law(_of_half, _law_of_drift, ("balance",), _SOURCE)
LAW_OF_KICK = Law(_of_half, _law_of_kick, ("balance", "integral", "source"), _SOURCE)


def _step(p: Phases) -> list[Row]:
    first = [*p.pull(X), *p.move(FIRST_HALF), *p.settle(LAW_OF_FIRST_HALF), *p.noise(SPREAD), *p.settle(LAW_OF_NOISE)]
    second = [*p.move(SECOND_HALF), *p.settle(LAW_OF_DRIFT), *p.evaluate(X)]
    return [*first, *second, *p.pull(X), *p.move(KICK), *p.settle(LAW_OF_KICK)]


def _plain(run: Run, t: float) -> None:
    s, a, h = run.state, run.algorithm, run.rate
    kick, decay = 0.5 * h / a.mass, a.gamma * h / a.mass
    noise = math.sqrt(-math.expm1(-2 * decay) * a.constants[0] / a.mass)
    s.balance[:] -= kick * run.pull(s.x)
    s.v[:] -= kick * s.gradient
    s.x[:] += 0.5 * h * s.v
    s.balance[:] += 0.5 * h * run.pair(s.v, s.v)
    run.draw_noise()
    made = noise * run.charge(s.x, s.y)
    s.integral[:] += 0.5 * h * s.source
    run.fade(t, t + h, s.origin, s.balance, s.integral)
    s.balance[:] += made
    s.integral[:] += made
    s.v[:] = math.exp(-decay) * s.v + noise * s.y
    s.x[:] += 0.5 * h * s.v
    s.balance[:] += 0.5 * h * run.pair(s.v, s.v)
    run.take_gradient(s.x)
    s.balance[:] -= kick * run.pull(s.x)
    s.v[:] -= kick * s.gradient
    s.source[:] = run.pair(s.v, s.v)
    s.integral[:] += 0.5 * h * s.source


RULES = FIRST_HALF, LAW_OF_FIRST_HALF, SPREAD, LAW_OF_NOISE, SECOND_HALF, LAW_OF_DRIFT, KICK, LAW_OF_KICK
METHOD = Method(FROM_CHARGE, RULES, _step, _plain)


@dataclass(frozen=True, repr=False)
class BAOAB(Noisy):
    """Langevin dynamics m dẋ = −∇U dt − γẋ dt + √(2γT) dW by BAOAB steps (Leimkuhler & Matthews 2013), h = √lr.

    v ← v − (h/2m)∇U(x); x ← x + (h/2)v; v ← e^{−γh/m}v + √((1 − e^{−2γh/m})T/m) ξ; x ← x + (h/2)v; v ← v − (h/2m)∇U(x).

    Parameters
    ----------
    lr : float
        h² > 0. An array or a function of the step gives every step its own h, and its own e^{−γh/m}.
    temperature : float
        T ≥ 0. For small h the run samples e^{−(½m|ẋ|² + U)/T}, of a harmonic potential the positions at any stable h.
    gamma, mass : float
        γ ≥ 0, m > 0.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    The noise is a function of a run's key, the step and the coordinate, as that of `SGLD`. Second order, with γ = 0 the
    leapfrog. The exact law is one of μJ, μ = e^{γt/m}, with the noise √((1 − e^{−2γh/m})T/m) μ⟨g(x), ξ⟩ at the middle of a step,
    part of the `source_integral` of a record. Its expectation is 0: that of μJ is conserved for rotations, and obeys
    d/dt E[μJ] = μ E⟨Gẋ, ẋ⟩ for scalings, where E⟨Gẋ, ẋ⟩ = (T/m) tr G once velocities are in equilibrium.

    With rates by block, h²/M_b, masses and frictions are mM_b and γM_b: mM dẋ = −∇U dt − γMẋ dt + √(2γTM) dW, whose positions have the same
    distribution e^{−U/T}, and whose velocities have e^{−½m⟨ẋ, Mẋ⟩/T}. e^{−γh/m} is then that of all blocks, and J = ⟨g(x), Mẋ⟩ has the same law.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> run = nl.integrate(nl.potentials.Harmonic(np.eye(2)), nl.BAOAB(0.25, 0.5), [1.0, 0.0], 20000, rng=0)
    >>> bool(abs(run.loss[2000:].mean() - 0.5) < 0.05)
    True
    """

    gamma: float = field(default=1.0, metadata=NOT_NEGATIVE)
    mass: float = field(default=1.0, metadata=POSITIVE)

    order = 2
    method = METHOD
    law_of = "μJ"
    gradients_per_step = 2
    takes_velocity = True
    rows_of_noise = 3
    noise_needs_gradients = True

    @cached_property
    def dynamics(self) -> Dynamics:
        """The dynamics (m, γ, 0), which it follows for T = 0."""
        return Dynamics(self.mass, self.gamma, 0.0)

    def noise_of(self, h: float) -> float:
        """Return √((1 − e^{−2γh/m})T/m)."""
        return math.sqrt(-math.expm1(-2 * self.gamma * h / self.mass) * self.temperature / self.mass)

    def gradients_with(
        self, x: Float64Array, numbers: Float64Array, t0: float, velocity: Float64Array | None
    ) -> Gradients:
        """Solve u_{k+1} = ρ_ku_k + σ_kξ_k − ((h_k + h_{k+1})/2m)F(x_{k+1}), u_k the velocity after the first kick: x_{k+1} − x_k = ½h_k((1 + ρ_k)u_k + σ_kξ_k)."""
        (times, idle), m = intervals(self, x), self.mass
        h, rho = times[:, None], np.exp(-self.gamma * times[:, None] / m)
        made = np.array([self.noise_of(float(time)) for time in times])[:, None] * numbers
        u = (2 / h * np.diff(x, axis=0) - made) / (1 + rho)
        start = np.zeros_like(x[0]) if velocity is None and t0 == 0 else velocity
        forces, known = 2 * m * (rho[:-1] * u[:-1] + made[:-1] - u[1:]) / (h[:-1] + h[1:]), ~(idle[1:] | idle[:-1])
        if start is not None:
            forces, known = np.concatenate([(2 * m / h[0]) * (start - u[:1]), forces]), np.append(~idle[0], known)
        record = np.arange(start is None, len(x) - 1)[known]
        return record, x[record], forces[known]

    def implied_noise(self, x: Float64Array, force: Float64Array, h: Float64Array) -> tuple[Float64Array, float, float]:
        """Solve two steps for rσ_kξ_k + σ_{k+1}ξ_{k+1}, r = (1 + ρ_{k+1})/(1 + ρ_k), from which the velocity drops out."""
        rho, sigma = np.exp(-self.gamma * h / self.mass), [self.noise_of(float(time)) for time in h]
        ratio = float((1 + rho[1]) / (1 + rho[0]))
        kick, spread = float((1 + rho[1]) * h.mean() / self.mass), math.hypot(ratio * sigma[0], sigma[1])
        moved = 2 / h[1] * (x[2] - x[1]) - ratio * rho[0] * (2 / h[0]) * (x[1] - x[0])
        return (moved + kick * force[1]) / spread, float(2 / (h.min() * spread)), kick / spread

    @property
    def gain(self) -> float:
        """8m/((1 + ρ)h²) + λ, where the noise is known."""
        rho = math.exp(-self.gamma * self.dt / self.mass)
        return 8 * self.mass / ((1 + rho) * self.lr) + self.weight_decay

    def exact_law(self, terms: Terms) -> str:
        """Return J at t_{k+1} less e^{−γh/m} times that at t_k."""
        source = "" if terms.skew else r" + \frac{1}{2}h(\rho\langle Gv, v\rangle + \langle Gv', v'\rangle)"
        if terms.decays:
            source += r" - \frac{h}{2m}\lambda(\rho\langle g(x_k), x_k\rangle + \langle g(x_{k+1}), x_{k+1}\rangle)"
        return rf"J_{{k+1}} = \rho J_k + \sigma\langle g(y), \xi_k\rangle{source}"

    def letters(self) -> dict[str, str]:
        """Return the meanings of J, h, ρ, σ, ξ, y, v and v'."""
        rho = math.exp(-self.gamma * self.dt / self.mass)
        return {
            "J = ⟨g(x), ẋ⟩": "its charge",
            "h": f"{self.dt:.4g}, the time per step",
            "m": f"{self.mass:g}",
            "ρ": f"{rho:.4g}, e^(−γh/m)",
            "σ": f"{self.noise_of(self.dt):.4g}, √((1 − ρ²)T/m)",
            "ξ_k": "the noise of the step",
            "y": "the point where it acts",
            "v, v'": "the velocities before and after it",
        }

    def fewest_rows(self, known_start: bool) -> int:
        """Return 2 where the velocity before the first step is known, else 3."""
        return 2 if known_start else 3

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        """Return x and v after so many steps without noise."""
        at_x = force(0, x)
        for j, h in enumerate(self.step_times(steps)):
            kick = 0.5 * h / self.mass
            v = v - kick * at_x
            x = x + 0.5 * h * v
            v = math.exp(-self.gamma * h / self.mass) * v
            x = rounded(x + 0.5 * h * v)
            at_x = force(j + 1, x)
            v = rounded(v - kick * at_x)
        return x, v
