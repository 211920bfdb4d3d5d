"""The implicit midpoint rule, of gradient flow and of Newtonian dynamics."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import FROM_CHARGE, FROM_QUANTITY, integrated, pulled, rate
from .._kernels.jit import scalar
from .._kernels.reference import Run
from .._kernels.rules import Component, Coordinate, Form, Law, Method, Move
from .._kernels.schedule import CHARGE, CROSS, MOVED, PAIR, SQUARE, G, Phases, Row, V, X, Y
from .base import Algorithm, Ends, Force, Gradients, Rounded, Terms, no_gradients
from .dynamics import GF, ND, Dynamics
from .recorded import intervals
from .settings import checked

# The equation of the midpoint, x̄ = x + (h/2)v̄ with v̄ = −F(x̄), or v̄ = v − (h/2)F(x̄), is solved by iteration: y ← x + (h/2)v̄(F(y)),
# from y = x on, whose gradient is known. The step is taken with the last gradient, so that e = x̄ − y is all that is left of the
# solver's error: the exact laws have it in them. y holds e at the end of a step, the moment the largest |e_i| so far.


class _Step(NamedTuple):
    h: float
    pull: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    h = rate(algorithm, step)
    return _Step(h, -h * algorithm.weight_decay)


# Gradient flow.


@scalar
def _guessed(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x − (h/2)d."""
    return (at.x - 0.5 * c.h * at.g,)


@scalar
def _descended(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x − hd, e = x − (h/2)d − y, and the larger of |e| and the largest before."""
    e = at.x - 0.5 * c.h * at.g - at.y
    return at.x - c.h * at.g, e, max(at.moment, abs(e))


@scalar
def _law_of_point(c: _Step, at: Component) -> tuple[float, ...]:
    """Q' − Q = −hλC − hB(e, d), first C; where G is not symmetric ∫J ds takes the place of Q, with ⟨g(y), d⟩ = −J."""
    balance = pulled(at.balance, c.pull, at.pull)
    return balance, at.integral if at.symmetric else at.integral - c.h * at.moved


@scalar
def _law_of_solver(c: _Step, at: Component) -> tuple[float, ...]:
    """Return the term −hB(e, d), whose symmetric part is in a Q that is a matrix."""
    return (at.balance - 0.5 * c.h * (at.cross + at.square) if at.symmetric else at.balance,)


_ERROR = Form(CROSS, PAIR, Y, G)
GUESS, DESCENT = Move(_of_step, _guessed, ("y",)), Move(_of_step, _descended, ("x", "y", "moment"), moment=True)
LAW_OF_POINT = Law(_of_step, _law_of_point, ("balance", "integral"), (Form(MOVED, CHARGE, Y, G, skew=True),))
LAW_OF_SOLVER = Law(_of_step, _law_of_solver, ("balance",), (_ERROR, Form(SQUARE, PAIR, G, Y)))


def _rows_of_flow(p: Phases) -> list[Row]:
    first = [*p.pull(Y), *p.settle(LAW_OF_POINT), *p.move(DESCENT)]
    return [*first, *p.settle(LAW_OF_SOLVER), *p.evaluate(X)]


def _plain_flow(run: Run, y: Float64Array) -> None:
    s, h = run.state, run.rate
    s.balance[:] -= h * run.pull(y)
    s.integral[:] -= np.where(run.symmetric, 0, h * run.charge(y, s.gradient))
    e = s.x - 0.5 * h * s.gradient - y
    pair = 0.5 * (run.pair(e, s.gradient) + run.pair(s.gradient, e))
    s.balance[:] -= np.where(run.symmetric, h * pair, 0)
    s.moment[:] = np.maximum(s.moment, abs(e))
    s.x[:] -= h * s.gradient


# Newtonian dynamics.


@scalar
def _guessed_by_kick(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + (h/2)v̄ with v̄ = v − (h/2)d."""
    return (at.x + 0.5 * c.h * (at.v - 0.5 * c.h * at.g),)


@scalar
def _drifted(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + hv̄, v̄, e = x + (h/2)v̄ − y, and the larger of |e| and the largest before."""
    v = at.v - 0.5 * c.h * at.g
    e = at.x + 0.5 * c.h * v - at.y
    return at.x + c.h * v, v, e, max(at.moment, abs(e))


@scalar
def _kicked(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v̄ − (h/2)d."""
    return (at.v - 0.5 * c.h * at.g,)


@scalar
def _law_of_drift(c: _Step, at: Component) -> tuple[float, ...]:
    """J' − J = hB(v̄, v̄) − hλC − hB(e, d)."""
    return (pulled(at.balance, c.pull, at.pull) + c.h * (at.square - at.cross),)


@scalar
def _law_of_kick(c: _Step, at: Component) -> tuple[float, ...]:
    """∫ S ds."""
    return integrated(at, c.h, 0.0), at.square


_SOURCE = Form(SQUARE, PAIR, V, V)
GUESS_BY_KICK = Move(_of_step, _guessed_by_kick, ("y",))
DRIFT = Move(_of_step, _drifted, ("x", "v", "y", "moment"), moment=True)
KICK = Move(_of_step, _kicked, ("v",))
LAW_OF_DRIFT = Law(_of_step, _law_of_drift, ("balance",), (_SOURCE, _ERROR))
LAW_OF_KICK = Law(_of_step, _law_of_kick, ("integral", "source"), (_SOURCE,))


def _rows_of_motion(p: Phases) -> list[Row]:
    first = [*p.pull(Y), *p.move(DRIFT), *p.settle(LAW_OF_DRIFT)]
    return [*first, *p.move(KICK), *p.settle(LAW_OF_KICK), *p.evaluate(X)]


def _plain_motion(run: Run, y: Float64Array) -> None:
    s, h = run.state, run.rate
    mean = s.v - 0.5 * h * s.gradient
    e = s.x + 0.5 * h * mean - y
    s.balance[:] += h * (run.pair(mean, mean) - run.pair(e, s.gradient) - run.pull(y))
    s.moment[:] = np.maximum(s.moment, abs(e))
    s.x[:] += h * mean
    s.v[:] -= h * s.gradient
    run.integrate_source(0.0, h)


# A step: the iterations, and what follows them.


@functools.cache
def _method(second_order: bool, iterations: int) -> Method:
    start, guess = (FROM_CHARGE, GUESS_BY_KICK) if second_order else (FROM_QUANTITY, GUESS)
    rules = (DRIFT, LAW_OF_DRIFT, KICK, LAW_OF_KICK) if second_order else (LAW_OF_POINT, DESCENT, LAW_OF_SOLVER)
    finish = _rows_of_motion if second_order else _rows_of_flow
    plain_finish: Callable[[Run, Any], None] = _plain_motion if second_order else _plain_flow

    def rows(p: Phases) -> list[Row]:
        return [
            *[row for _ in range(iterations - 1) for row in (*p.move(guess), *p.evaluate(Y, again=True))],
            *finish(p),
        ]

    def plain(run: Run, t: float) -> None:
        s, h = run.state, run.rate
        y = s.x
        for _ in range(iterations - 1):
            y = s.x + 0.5 * h * (s.v - 0.5 * h * s.gradient if second_order else -s.gradient)
            run.take_gradient(y, again=True)
        plain_finish(run, y)
        run.take_gradient(s.x)

    return Method(start, (guess, *rules), rows, plain, has_moment=True)


@dataclass(frozen=True, repr=False)
class ImplicitMidpoint(Algorithm):
    """The implicit midpoint rule for gradient flow or Newtonian dynamics.

    Gradient flow: x_{k+1} = x_k − η∇U(x̄), x̄ = ½(x_k + x_{k+1}). Newtonian dynamics: x_{k+1} = x_k + hv̄, v_{k+1} = v_k − h∇U(x̄),
    v̄ = ½(v_k + v_{k+1}).

    Parameters
    ----------
    lr : float
        η > 0 of gradient flow, h² > 0 of Newtonian dynamics.
    dynamics : Dynamics or {"GF", "ND"}
        `nl.GF` or `nl.ND`.
    iterations : int
        Gradients of a step, ≥ 2: the equation for x̄ is solved by y ← x_k − ½η∇U(y), or x_k + ½hv_k − ¼h²∇U(y), from y = x_k on, which
        brings y nearer by the factor ½ηL, or ¼h²L, each time, where L is the largest curvature of U.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Second order, time-reversible; all quadratic quantities of the flow are kept at any step size: every Q of gradient flow, and J
    of rotations and translations of Newtonian dynamics, for which it is symplectic too.

    The step is taken with the last gradient, at y. What the solver has left over, e = x̄ − y, is in the exact law: Q_{k+1} − Q_k =
    −η⟨Ge, ∇U(y)⟩, so that `LawRecord.discrete_residual` is round-off whether it has converged or not, and
    `LawRecord.residual`, which is Q(t) − Q(0), is what e has made of Q, |ΔQ| ≤ η|G||e||∇U| in a step: round-off where the solver
    converges, on kinks too. The largest |e_i| of all steps is `Trajectory.solver_residual`, and in the message of a run that completes. Nothing is raised
    where it is large: take smaller steps, or more iterations. From ½ηL = 1, or ¼h²L = 1, on the iteration does not converge, and
    the rule is no longer followed; the run ends as diverged if a loss on the way is not finite. With minibatches a step solves the equation of one of them:
    all its iterations take the same samples, the next step the next ones. `nl.check` takes the iterations again to find y; with unknown
    minibatches it takes x̄ for y, and a law that is off is "not decidable", as the solver may not have converged.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2], "linear")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=9, n_features=2, n_classes=2, rng=0))
    >>> run, descent = (nl.integrate(U, a, net.init(rng=0), 100) for a in (nl.ImplicitMidpoint(0.05), nl.GD(0.05)))
    >>> run.solver_residual < 1e-15, run.laws["linear:1"].largest("residual") < 1e-14
    (True, True)
    >>> descent.laws["linear:1"].largest("residual") > 1e-3
    True
    """

    dynamics: Dynamics | Any = GF  # Any: its name, such as "ND"
    iterations: int = field(default=16, metadata=checked(checks.integer, minimum=2))

    order = 2  #: of the motion; the laws of Q have no error
    is_implicit = True
    takes_schedule = True
    takes_blocks = True

    def __post_init__(self) -> None:
        named = {d.name: d for d in (GF, ND)}
        flow = named.get(self.dynamics, self.dynamics) if isinstance(self.dynamics, str) else self.dynamics
        if flow not in named.values():
            raise ValueError(f"dynamics must be nl.GF or nl.ND, or 'GF' or 'ND'; got {checks.describe(self.dynamics)}")
        object.__setattr__(self, "dynamics", flow)
        super().__post_init__()

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"dynamics": self.dynamics.name}

    @property
    def has_velocity(self) -> bool:
        """Whether it is one of Newtonian dynamics."""
        return self.dynamics == ND

    @property
    def method(self) -> Method:
        return _method(self.has_velocity, self.iterations)

    @property
    def law_of(self) -> Literal["Q", "μJ"]:
        """The quantity, or the charge."""
        return "μJ" if self.has_velocity else "Q"

    def exact_law(self, terms: Terms) -> str:
        """Return Q_{k+1} − Q_k or J_{k+1} − J_k, with what the solver has left over."""
        h = "h" if self.has_velocity else r"\eta"
        if not self.has_velocity and not terms.has_quantity:
            return r"\langle g(y_k), \nabla U(y_k)\rangle = 0"
        left = "J_{k+1} - J_k" if self.has_velocity else "Q_{k+1} - Q_k"
        made = rf"{h}\langle G\bar v, \bar v\rangle" if self.has_velocity and not terms.skew else ""
        force = "d" if terms.decays else r"\nabla U(y_k)"
        lost = [] if terms.still else [rf"{h}\langle Ge, {force}\rangle"]
        lost += [rf"{h}\lambda\langle g(y_k), y_k\rangle"] if terms.decays else []
        return f"{left} = " + (made + "".join(f" - {term}" for term in lost) if made or lost else "0").lstrip()

    def letters(self) -> dict[str, str]:
        """Return the meanings of Q and η, or J, h and v̄, and of y, e and d."""
        meanings = super().letters() | ({"v̄": "½(v_k + v_{k+1})"} if self.has_velocity else {})
        meanings |= {
            "y": "the point of the step's last gradient",
            "e": "½(x_k + x_{k+1}) − y_k, what the solver has left over",
        }
        return meanings | ({"d": "∇U(y_k) + λy_k"} if self.weight_decay else {})

    @property
    def implies_gradients(self) -> bool:
        """Whether the velocity, which is not recorded, is no part of a step."""
        return not self.has_velocity

    @property
    def gain(self) -> float:
        """2/η + λ, or 4/h² + λ."""
        return (4 / self.lr if self.has_velocity else 2 / self.lr) + self.weight_decay

    @property
    def reach(self) -> float:
        """η, or h²."""
        return self.lr

    @property
    def gradients_per_step(self) -> int:
        """The iterations."""
        return self.iterations

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve x_{k+1} = x_k − ηF(½(x_k + x_{k+1})); return none for Newtonian dynamics."""
        if self.has_velocity:
            return no_gradients(self, x, t0, velocity)
        h, idle = intervals(self, x)
        record = np.flatnonzero(~idle)
        return record, 0.5 * (x[:-1] + x[1:])[record], ((x[:-1] - x[1:]) / h[:, None])[record]

    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        for j, h in enumerate(self.step_times(steps)):
            y = x
            for i in range(self.iterations):
                at_y = force(j * self.iterations + i, y)
                mean = v - 0.5 * h * at_y if self.has_velocity else -at_y
                y = x + 0.5 * h * mean
            x = rounded(x + h * mean)
            v = rounded(v - h * at_y) if self.has_velocity else v
        return x, v
