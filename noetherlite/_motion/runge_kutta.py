"""The classical Runge–Kutta method of fourth order, for gradient flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_QUANTITY, pulled, rate
from .._kernels.jit import scalar
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, CROSS, MOVED, PAIR, SQUARE, G, Phases, Row, V, X, Y
from .base import Algorithm, Ends, Force, Rounded, Terms, no_gradients
from .dynamics import GF

# The stages: k_i = F(y_i) with y_i = x − a_i h k_{i−1}, and x' = x − h Σ b_i k_i. Beside x, v holds x − y_i, which has no other
# use in gradient flow, and the moment Σ b_j k_j of the stages before.
NODES, WEIGHTS = (0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)


class _Stage(NamedTuple):
    shift: float  # a_{i+1} h
    b: float
    pull: float  # −b_i hλ
    part: float  # b_i h


@scalar
def _begun(c: _Stage, at: Coordinate) -> tuple[float, ...]:
    """Return y_2 = x − a_2 h k_1, x − y_2, and b_1 k_1."""
    return at.x - c.shift * at.g, c.shift * at.g, c.b * at.g


@scalar
def _continued(c: _Stage, at: Coordinate) -> tuple[float, ...]:
    """Return y_{i+1} = x − a_{i+1} h k_i, x − y_{i+1}, and the sum with b_i k_i."""
    return at.x - c.shift * at.g, c.shift * at.g, at.moment + c.b * at.g


@scalar
def _ended(c: _Stage, at: Coordinate) -> tuple[float, ...]:
    """Return x' and x' − x = −h Σ b_i k_i."""
    step = -c.shift * (at.moment + c.b * at.g)
    return at.x + step, step


@scalar
def _law_of_first(c: _Stage, at: Component) -> tuple[float, ...]:
    """Q' − Q = ½B(Δ, Δ) − h Σ b_i (B(x − y_i, k_i) + λC_i), Δ = x' − x: that of k_1; as for gradient descent where there is no Q."""
    balance = pulled(at.balance, c.pull, at.pull)
    return balance, at.integral if at.symmetric else at.integral - c.part * at.moved


@scalar
def _law_of_stage(c: _Stage, at: Component) -> tuple[float, ...]:
    """Return the terms of a later stage; the symmetric part of B is in a Q that is a matrix."""
    balance = pulled(at.balance, c.pull, at.pull)
    if at.symmetric:
        return balance - 0.5 * c.part * (at.cross + at.square), at.integral
    return balance, at.integral - c.part * at.moved


@scalar
def _law_of_step(c: _Stage, at: Component) -> tuple[float, ...]:
    """Return the term ½B(Δ, Δ)."""
    return (at.balance + 0.5 * at.square if at.symmetric else at.balance,)


class _Rules(NamedTuple):
    law: Law
    move: Move


def _rules(i: int) -> _Rules:
    """Return the rules that follow the gradient of stage i, from 0."""
    first, last, b = i == 0, i == len(NODES), WEIGHTS[i]
    a = 1.0 if last else NODES[i]

    @scalar
    def of_stage(algorithm: layout.Algorithm, step: int) -> _Stage:
        h = rate(algorithm, step)
        return _Stage(a * h, b, -b * h * algorithm.weight_decay, b * h)

    at = X if first else Y
    charge, cross = Form(MOVED, CHARGE, at, G, skew=True), (Form(CROSS, PAIR, V, G), Form(SQUARE, PAIR, G, V))
    law = Law(of_stage, _law_of_first, ("balance", "integral"), (charge,))
    if not first:
        law = Law(of_stage, _law_of_stage, ("balance", "integral"), (*cross, charge))
    if last:
        return _Rules(law, Move(of_stage, _ended, ("x", "y"), moment=True))
    return _Rules(law, Move(of_stage, _begun if first else _continued, ("y", "v", "moment"), moment=True))


STAGES = [_rules(i) for i in range(len(WEIGHTS))]
LAW_OF_STEP = Law(STAGES[0].law.coefficients, _law_of_step, ("balance",), (Form(SQUARE, PAIR, Y, Y),))


def _step(p: Phases) -> list[Row]:
    out: list[Row] = []
    for i, stage in enumerate(STAGES):
        out += [*(p.evaluate(Y) if i else []), *p.pull(Y if i else X), *p.settle(stage.law), *p.move(stage.move)]
    return [*out, *p.settle(LAW_OF_STEP), *p.evaluate(X)]


def _plain(run: Run, t: float) -> None:
    s, h = run.state, run.rate
    x, y, total = s.x.copy(), s.x.copy(), np.zeros_like(s.x)
    for a, b in zip((*NODES, 0.0), WEIGHTS, strict=True):
        k = s.gradient.copy()
        pair = 0.5 * (run.pair(x - y, k) + run.pair(k, x - y))
        s.balance[:] -= b * h * (np.where(run.symmetric, pair, 0) + run.pull(y))
        s.integral[:] -= np.where(run.symmetric, 0, b * h * run.charge(y, k))
        total += b * k
        if a:
            y = x - a * h * k
            run.take_gradient(y)
    step = -h * total
    s.balance[:] += np.where(run.symmetric, 0.5 * run.pair(step, step), 0)
    s.x[:] += step
    run.take_gradient(s.x)


METHOD = Method(
    FROM_QUANTITY, (*(rule for stage in STAGES for rule in stage), LAW_OF_STEP), _step, _plain, has_moment=True
)


@dataclass(frozen=True, repr=False)
class RK4(Algorithm):
    """The classical Runge–Kutta method of fourth order for gradient flow ẋ = −∇U, four gradients a step.

    k_1 = ∇U(x), k_2 = ∇U(x − ½ηk_1), k_3 = ∇U(x − ½ηk_2), k_4 = ∇U(x − ηk_3), x' = x − η(k_1 + 2k_2 + 2k_3 + k_4)/6.

    Parameters
    ----------
    lr : float
        η > 0.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    It keeps no Q that is quadratic, but has an exact law as every method does whose gradients are taken one by one: with x − y_i = ½ηk_1,
    ½ηk_2 and ηk_3, Q_{k+1} − Q_k = ½⟨Δ, GΔ⟩ − (η²/6)(⟨k_1, Gk_2⟩ + ⟨k_2, Gk_3⟩ + ⟨k_3, Gk_4⟩), Δ = x_{k+1} − x_k. It is of the order η⁵,
    and zero for the methods that keep quadratic quantities, whose tableau has b_i b_j = b_i a_ij + b_j a_ji [1]_. Newtonian
    dynamics is not offered: its stages need more vectors than a run has, and `Yoshida` keeps what RK4 would lose.

    References
    ----------
    .. [1] G. J. Cooper, "Stability of Runge–Kutta methods for trajectory problems", IMA J. Numer. Anal. 7 (1987) 1–13.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.diag([1.0, 4.0]))
    >>> run = nl.integrate(U, nl.RK4(0.1), [1.0, 0.5], steps=10)
    >>> bool(np.abs(run.x - np.exp([-1.0, -4.0]) * [1.0, 0.5]).max() < 1e-4)
    True
    """

    has_velocity = False  #: ẋ is −∇U
    dynamics = GF
    order = 4
    method = METHOD
    takes_schedule = True
    takes_blocks = True
    law_of = "Q"
    gradients_per_step = len(WEIGHTS)
    implies_gradients = False  #: a step has four
    implied_gradients = no_gradients

    def exact_law(self, terms: Terms) -> str:
        """Return Q_{k+1} − Q_k, or that the gradients are orthogonal to g where there is no Q."""
        if not terms.has_quantity:
            return r"\langle g(y_i), \nabla U(y_i)\rangle = 0"
        made = (
            []
            if terms.still
            else [r"\frac{1}{2}\langle \Delta, G\Delta\rangle", r" - \eta\sum_i b_i\langle G(x_k - y_i), k_i\rangle"]
        )
        lost = [r" - \eta\lambda\sum_i b_i\langle g(y_i), y_i\rangle"] if terms.decays else []
        return "Q_{k+1} - Q_k = " + ("".join([*made, *lost]).strip() or "0")

    def letters(self) -> dict[str, str]:
        """Return the meanings of Q, η, the stages and Δ."""
        force = "∇U(y_i) + λy_i" if self.weight_decay else "∇U(y_i)"
        meanings = super().letters() | {"y_i": "the point of the gradient number i of the step"}
        return meanings | {"k_i": force, "b_i": "⅙, ⅓, ⅓, ⅙", "Δ": "x_{k+1} − x_k"}

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        for j, h in enumerate(self.step_times(steps)):
            y, total = x, np.zeros_like(x)
            for i, (a, b) in enumerate(zip((*NODES, 0.0), WEIGHTS, strict=True)):
                k = force(len(WEIGHTS) * j + i, y)
                total, y = total + b * k, x - a * h * k
            x = rounded(x - h * total)
        return x, v
