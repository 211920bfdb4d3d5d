"""Gradient descent projected onto the levels of its scaling laws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._kernels.discrete_laws import FROM_QUANTITY, no_coefficients
from .._kernels.jit import scalar
from .._kernels.projection import project
from .._kernels.reference import Run
from .._kernels.reference_laws import projected
from .._kernels.rules import Component, Form, Law, Method, Projection
from .._kernels.schedule import MOVED, QUANTITY, Phases, Row, X
from .base import Algorithm, Terms, no_gradients
from .dynamics import Dynamics
from .gradient_descent import DESCENT, GD, LAW, descend


@scalar
def _without(_: float, at: Component) -> tuple[float, ...]:
    """Return the balance less Q before the projection."""
    return (at.balance - at.moved if at.symmetric else at.balance,)


@scalar
def _with(_: float, at: Component) -> tuple[float, ...]:
    """Return the balance with Q after the projection."""
    return (at.balance + at.moved if at.symmetric else at.balance,)


_QUANTITY = (Form(MOVED, QUANTITY, X, X),)
BEFORE, AFTER = (Law(no_coefficients, rule, ("balance",), _QUANTITY) for rule in (_without, _with))
ONTO_LEVELS = Projection(project)


def _step(p: Phases) -> list[Row]:
    moved = [*p.pull(X), *p.settle(LAW), *p.move(DESCENT)]
    return [*moved, *p.settle(BEFORE), *p.project(ONTO_LEVELS), *p.settle(AFTER), *p.evaluate(X)]


def _plain(run: Run, t: float) -> None:
    descend(run)
    s = run.state
    before = run.quantity(s.x)
    s.x[:] = projected(run.laws, s.x, s.origin, run.algorithm.shares)
    s.balance[:] += np.where(run.symmetric, run.quantity(s.x) - before, 0)
    run.take_gradient(s.x)


METHOD = Method(FROM_QUANTITY, (LAW, DESCENT, BEFORE, ONTO_LEVELS, AFTER), _step, _plain)


@dataclass(frozen=True, repr=False)
class ProjectedGD(GD):
    """Gradient descent, after each step of which every hidden neuron is scaled back to the Q it had at the start.

    x̃ = x_k − η∇U(x_k), and x_{k+1} is the point on the orbit of x̃ under the scalings (w, b, u, β) ↦ (λw, λb, λ^{−p}u, β/λ) of all hidden
    neurons with ½(λ²(|w|² + b²) − pλ^{−2p}|u|² − λ^{−2}β²) = Q(0), one λ > 0 for each neuron.

    Parameters
    ----------
    lr : float
        η > 0.
    weight_decay : float
        λ ≥ 0, keyword only: the projection takes back what it does to Q.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    The function of the network at x_{k+1} is that at x̃: the loss is what gradient descent made it, and all error along the orbits is
    gone. It is no orthogonal projection, which would leave the orbit; to first order in the step both are the same, as the gradient
    of Q is g(x). λ is found by Newton's method to round-off, layer after layer, in up to 64 sweeps where layers share weights; a
    neuron whose orbit does not reach its level, as all its weights on one side are zero, is left alone.

    With rates by block, η/M_b, the levels are those of the Q that the metric has, ½(λ²(M_W|w|² + M_b|b|²) − pλ^{−2p}M_U|u|² − λ^{−2}M_ββ²), which the flow
    of these rates conserves; neurons of which a rate of 0 freezes a block are left alone.

    Levels are those of the scaling laws: of a linear layer the diagonal of its matrix Q, while the rest moves as in gradient
    descent; Q of translations of W_L, which scalings do not conserve, moves too. All scaling laws of a network have to be
    among the `laws` of a run, so that these never change it; where a network has none it is gradient descent.

    Exact law: Q_{k+1} − Q_k = ½η²⟨∇U(x_k), G∇U(x_k)⟩ + p_k, where p_k is what the projection made of Q, as measured.
    `LawRecord.residual`, which is Q(t) − Q(0), is round-off for scalings. First order, as gradient descent. The part of a step along the
    orbit is not in its positions: `nl.check` takes every step again and compares it with the next row. `nl.drift` says what of Q
    gradient descent would have made, and how much of it the projection took back.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 3, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=9, n_features=2, n_classes=2, rng=0))
    >>> run, descent = (nl.integrate(U, a, net.init(rng=0), 100) for a in (nl.ProjectedGD(0.1), nl.GD(0.1)))
    >>> run.laws["scaling:2"].largest("residual") < 1e-14, descent.laws["scaling:2"].largest("residual") > 1e-4
    (True, True)
    """

    method = METHOD
    projects = True
    takes_changing_ratios = False  #: the levels are those of one metric
    is_linear = False
    implies_gradients = False  #: what a step did along the orbit is taken back
    implied_gradients = no_gradients

    def exact_law(self, terms: Terms) -> str:
        law = super().exact_law(terms)
        return law if not terms.has_quantity else law.replace("= 0", "= p_k") if law.endswith("= 0") else f"{law} + p_k"

    def letters(self) -> dict[str, str]:
        """Return the meanings of Q, η, d and p."""
        return {**super().letters(), "p_k": "what the projection made of Q, as measured"}

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return None: gradient descent follows the same flow."""
        return None
