"""Langevin dynamics without inertia: stochastic gradient descent with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_QUANTITY, pulled, rate
from .._kernels.jit import scalar
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, CROSS, MOVED, PAIR, QUANTITY, SQUARE, G, Phases, Row, X, Y
from .base import Ends, Force, Gradients, Rounded, Terms
from .dynamics import GF
from .noisy import SPREAD, Noisy
from .recorded import intervals


class _Step(NamedTuple):
    h: float
    noise: float  # √(2hT)
    pull: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    h = rate(algorithm, step)
    return _Step(h, math.sqrt(2 * h * algorithm.constants[0]), -h * algorithm.weight_decay)


@scalar
def _displacement(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return Δ = −hd + √(2hT) ξ, with ξ in y."""
    return (c.noise * at.y - c.h * at.g,)


@scalar
def _moved(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + Δ."""
    return (at.x + at.y,)


@scalar
def _law_of_noise(c: _Step, at: Component) -> tuple[float, ...]:
    """First order in Δ: √(2hT) ⟨∇Q(x), ξ⟩ − hλC, with ⟨g(x), ξ⟩ where there is no Q; the first is left in the source."""
    made = c.noise * (at.moved + 0.5 * at.cross if at.symmetric else at.square)
    return pulled(at.balance, c.pull, at.pull) + made, made


@scalar
def _law_of_step(c: _Step, at: Component) -> tuple[float, ...]:
    """½B(Δ, Δ), and what noise makes: the source and ½B(Δ, Δ) − ½h²B(d, d); where there is no Q, ∫⟨g(x), dx⟩."""
    if at.symmetric:
        return at.balance + 0.5 * at.square, at.integral + (at.source + 0.5 * (at.square - c.h * c.h * at.cross))
    return at.balance, at.integral + at.moved


LAW_OF_NOISE = Law(
    _of_step,
    _law_of_noise,
    ("balance", "source"),
    (Form(MOVED, QUANTITY, X, Y), Form(CROSS, PAIR, Y, X), Form(SQUARE, CHARGE, X, Y, skew=True)),
)
LAW_OF_STEP = Law(
    _of_step,
    _law_of_step,
    ("balance", "integral"),
    (Form(SQUARE, PAIR, Y, Y), Form(CROSS, PAIR, G, G), Form(MOVED, CHARGE, X, Y, skew=True)),
)
DISPLACEMENT, MOVE = Move(_of_step, _displacement, ("y",)), Move(_of_step, _moved, ("x",))


def _step(p: Phases) -> list[Row]:
    first = [*p.pull(X), *p.noise(SPREAD), *p.settle(LAW_OF_NOISE)]
    return [*first, *p.move(DISPLACEMENT), *p.settle(LAW_OF_STEP), *p.move(MOVE), *p.evaluate(X)]


def _plain(run: Run, t: float) -> None:
    s, h = run.state, run.rate
    noise = math.sqrt(2 * h * run.algorithm.constants[0])
    run.draw_noise()
    of_Q = run.quantity(s.x + s.y) - run.quantity(s.x) - 0.5 * run.pair(s.y, s.y)  # ⟨∇Q(x), ξ⟩
    s.source[:] = noise * np.where(run.symmetric, of_Q, run.charge(s.x, s.y))
    s.y[:] = noise * s.y - h * s.gradient
    square = run.pair(s.y, s.y)
    made = s.source + 0.5 * (square - h**2 * run.pair(s.gradient, s.gradient))
    s.balance[:] += s.source - h * run.pull(s.x) + np.where(run.symmetric, 0.5 * square, 0)
    s.integral[:] += np.where(run.symmetric, made, run.charge(s.x, s.y))
    s.x[:] += s.y
    run.take_gradient(s.x)


METHOD = Method(FROM_QUANTITY, (SPREAD, LAW_OF_NOISE, DISPLACEMENT, LAW_OF_STEP, MOVE), _step, _plain)


@dataclass(frozen=True, repr=False)
class SGLD(Noisy):
    """Stochastic gradient Langevin dynamics x_{k+1} = x_k − η∇U(x_k) + √(2ηT) ξ_k, ξ_k ~ N(0, 1) (Welling & Teh 2011).

    Parameters
    ----------
    lr : float
        η > 0; theirs is ε = 2η. An array or a function of the step gives every step its own, a mapping every block.
    temperature : float
        T ≥ 0. For small η the run samples e^{−U/T}: with U the mean over N samples of −log-likelihoods, T = 1/N is the posterior.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    The noise is a function of a run's key, the step and the coordinate: the same for any number of threads, for any place in an
    ensemble and for a resumed run. The key is drawn from the `rng` of the run.

    Exact law for a quantity Q with the generator G, with Δ = x_{k+1} − x_k: Q_{k+1} − Q_k = √(2ηT)⟨g(x_k), ξ_k⟩ + ½⟨Δ, GΔ⟩, less
    ηλ⟨g(x_k), x_k⟩ with weight decay. What noise makes of Q is the `source_integral` of a record, and its expectation is ηT tr G
    a step, exactly.

    With rates by block, η_b = η/M_b, x_{k+1} = x_k − η_b∇U(x_k) + √(2η_bT) ξ_k, which samples the same e^{−U/T}; Q is that of the metric M,
    with the same law, and the same expectation of what noise makes of it.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> run = nl.integrate(nl.potentials.Harmonic(np.eye(2)), nl.SGLD(0.01, 0.5), [1.0, 0.0], 20000, rng=0)
    >>> bool(abs(run.loss[2000:].mean() - 0.5) < 0.1)
    True
    """

    has_velocity = False
    dynamics = GF  #: which it follows for T = 0
    order = 1
    method = METHOD
    law_of = "Q"

    def noise_of(self, h: float) -> float:
        """Return √(2ηT)."""
        return math.sqrt(2 * h * self.temperature)

    def gradients_with(
        self, x: Float64Array, numbers: Float64Array, t0: float, velocity: Float64Array | None
    ) -> Gradients:
        """Solve x_{k+1} = x_k − ηF(x_k) + σξ_k."""
        h, idle = intervals(self, x)
        record = np.flatnonzero(~idle)
        sigma = np.sqrt(2 * h * self.temperature)[:, None]
        return record, x[record], ((x[:-1] - x[1:] + sigma * numbers) / h[:, None])[record]

    def implied_noise(self, x: Float64Array, force: Float64Array, h: Float64Array) -> tuple[Float64Array, float, float]:
        """Solve the step for ξ_k."""
        sigma, step = self.noise_of(float(h[0])), float(h[0])
        return (x[1] - x[0] + step * force[0]) / sigma, 1 / sigma, step / sigma

    def exact_law(self, terms: Terms) -> str:
        """Return Q_{k+1} − Q_k, or ⟨g(x_k), Δ⟩ where there is no Q."""
        made = r"\sigma\langle g(x_k), \xi_k\rangle"
        left = "Q_{k+1} - Q_k" if terms.has_quantity else r"\langle g(x_k), \Delta\rangle"
        if terms.has_quantity and not terms.still:
            made += r" + \frac{1}{2}\langle \Delta, G\Delta\rangle"
        return f"{left} = {made}" + (r" - \eta\lambda\langle g(x_k), x_k\rangle" if terms.decays else "")

    def letters(self) -> dict[str, str]:
        """Return the meanings of Q, η, Δ, σ and ξ."""
        return super().letters() | {
            "Δ": "x_{k+1} − x_k",
            "σ": f"√(2ηT) = {self.noise_of(self.lr):.4g}",
            "ξ_k": "the noise of the step",
        }

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        """Return x after so many steps without noise, and v as it was."""
        for j, h in enumerate(self.step_times(steps)):
            x = rounded(x - h * force(j, x))
        return x, v


# The name in physics, of steps that take all samples too.
Langevin = SGLD
