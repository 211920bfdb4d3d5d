"""An algorithm in one file, as docs/extending.md says: symplectic Euler for Newtonian dynamics, which the package does not have."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from noetherlite._kernels.discrete_laws import FROM_CHARGE, pulled
from noetherlite._kernels.jit import scalar
from noetherlite._kernels.rules import Form, Law, Method, Move
from noetherlite._kernels.schedule import CHARGE, MOVED, PAIR, SQUARE, V, X
from noetherlite._motion.base import Algorithm
from noetherlite._motion.dynamics import ND


class Step(NamedTuple):
    h: float
    pull: float


@scalar
def of_step(algorithm, step):
    return Step(algorithm.h, algorithm.h * algorithm.weight_decay)


@scalar
def moved(c, at):
    """Return x + hv' and v' = v − hd."""
    v = at.v - c.h * at.g
    return at.x + c.h * v, v


@scalar
def law(c, at):
    """J' = J − hλC + hB(v', v')."""
    balance = pulled(at.balance, c.pull, at.pull) - at.charge + at.moved - c.h * at.square
    return balance, at.moved


MOVE = Move(of_step, moved, ("x", "v"))
LAW = Law(of_step, law, ("balance", "charge"), (Form(MOVED, CHARGE, X, V), Form(SQUARE, PAIR, V, V)))


def step_of(p):
    return [*p.pull(X), *p.move(MOVE), *p.settle(LAW), *p.evaluate(X)]


def plain(run, t):
    s, h = run.state, run.algorithm.h
    s.balance[:] += h * run.pull(s.x) - s.charge
    s.v[:] -= h * s.gradient
    s.x[:] += h * s.v
    s.charge[:] = run.charge(s.x, s.v)
    s.balance[:] += s.charge - h * run.pair(s.v, s.v)
    run.take_gradient(s.x)


METHOD = Method(FROM_CHARGE, (MOVE, LAW), step_of, plain)


@dataclass(frozen=True, repr=False)
class SymplecticEuler(Algorithm):
    """v ← v − h∇U(x), x ← x + hv, h = √lr."""

    dynamics, order, law_of, method = ND, 1, "J", METHOD

    def exact_law(self, terms):
        lost = r" - h\lambda\langle g(x_k), x_k\rangle" if terms.decays else ""
        return "J_{k+1} = J_k" + lost + ("" if terms.skew else r" + h\langle Gv, v\rangle")

    def letters(self):
        return {"J = ⟨g(x), v⟩": "its charge", "h": f"{self.dt:g}", "v": "v_{k+1}"}

    def fewest_rows(self, known_start):
        return 2 if known_start else 3

    def implied_gradients(self, x, t0, velocity):
        start = np.zeros_like(x[0]) if velocity is None and t0 == 0 else velocity
        v = np.diff(x, axis=0) / self.dt
        if start is not None:
            v = np.concatenate([start[None], v])
        record = np.arange(start is None, x.shape[0] - 1)
        return record, x[record], (v[:-1] - v[1:]) / self.dt

    def walk(self, x, v, t, steps, force, rounded):
        for j in range(steps):
            v = rounded(v - self.dt * force(j, x))
            x = rounded(x + self.dt * v)
        return x, v
