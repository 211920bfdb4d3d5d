"""Nesterov's momentum, as PyTorch writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import rate
from .._kernels.jit import scalar
from .._kernels.rules import Coordinate, Move
from .averaged import Averaged, method_of
from .base import Gradients, RecordedStep
from .dynamics import Dynamics
from .settings import FRACTION


class _Step(NamedTuple):
    h: float
    beta: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    return _Step(rate(algorithm, step), algorithm.momentum)


@scalar
def _averaged(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = βv − d."""
    return (c.beta * at.v - at.g,)


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + η(βv' − d)."""
    return (at.x + c.h * at.share * (c.beta * at.v - at.g),)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    m = numbers.momentum * m + d
    return x - numbers.h * (d + numbers.momentum * m), m, s


METHOD = method_of(Move(_of_step, _averaged, ("v",)), Move(_of_step, _stepped, ("x",), by_block=True), _update)


@dataclass(frozen=True, repr=False)
class Nesterov(Averaged):
    """Gradient descent with Nesterov's momentum, as `torch.optim.SGD(nesterov=True)` and `optax.sgd(nesterov=True)` have it.

    u_{k+1} = βu_k + d_k,  x_{k+1} = x_k − η(d_k + βu_{k+1}), d_k = ∇U(x_k) + λx_k, u_0 = 0.

    Parameters
    ----------
    lr : float
        η > 0.
    momentum : float
        0 ≤ β < 1.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Sutskever's form of the method, at the points where gradients are taken, with a constant β; `NAGD` is that of Su, Boyd & Candès.
    The exact law: ⟨g(x_k), u_{k+1}⟩ = β⟨g(x_k), u_k⟩ + λ⟨g(x_k), x_k⟩. The velocity of a run is −u. As η → 0 it follows
    (1 − β)ẋ = −∇U to first order.
    """

    momentum: float = field(default=0.9, metadata=FRACTION)

    method = METHOD
    averaging = 1.0
    order = 1
    implies_gradients = True
    takes_velocity = True  #: the gradients follow from x and the velocity at the start

    @cached_property
    def dynamics(self) -> Dynamics:
        """Gradient flow (1 − β)ẋ = −∇U."""
        return Dynamics(0.0, 1 - self.momentum, 0.0)

    @property
    def is_linear(self) -> bool:
        """True, unless gradients are clipped."""
        return self.clip is None and not self.sam and not self.has_blocks

    @property
    def gain(self) -> float:
        """4/η + λ: 2/η of a step, and twice as much of those before it, whose weight halves from step to step."""
        return 4 / self.lr + self.weight_decay

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve m' = βm + F where m' is recorded, else x' = x − η(F + βm')."""
        force = super().implied_force(step)
        if force is not None or step.now.m is None or step.descent is None:
            return force
        return (step.descent - self.momentum**2 * step.now.m) / (1 + self.momentum)

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve x_{k+1} = x_k + η(βv_{k+1} − F), v_{k+1} = βv_k − F for F, from a known v_0 on: zero at t = 0."""
        beta, v = self.momentum, velocity
        if v is None:
            if t0 != 0:
                return np.arange(0), x[:0], x[:0]
            v = np.zeros_like(x[0])
        moved, forces = np.diff(x, axis=0) / self.lr, np.empty_like(x[1:])
        for k, step in enumerate(moved):
            forces[k] = (beta**2 * v - step) / (1 + beta)
            v = beta * v - forces[k]
        return np.arange(len(forces)), x[:-1], forces
