"""RMSProp."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import rate
from .._kernels.jit import scalar
from .._kernels.rules import Coordinate, Move
from .averaged import Averaged, method_of
from .base import RecordedStep
from .settings import FRACTION, NOT_NEGATIVE


class _Step(NamedTuple):
    h: float
    b: float
    eps: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    return _Step(rate(algorithm, step), algorithm.constants[1], algorithm.constants[2])


@scalar
def _averaged(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = −d and s' = s + b(d² − s)."""
    return -at.g, at.moment + c.b * (at.g * at.g - at.moment)


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + hv/(√s + ε)."""
    return (at.x + c.h * at.share * at.v / (math.sqrt(at.moment) + c.eps),)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    b, eps = numbers.constants[1:3]
    s = (1 - b) * s + b * d**2
    return x - numbers.h * d / (np.sqrt(s) + eps), d, s


METHOD = method_of(
    Move(_of_step, _averaged, ("v", "moment"), moment=True),
    Move(_of_step, _stepped, ("x",), moment=True, by_block=True),
    _update,
    has_moment=True,
)


@dataclass(frozen=True, repr=False)
class RMSProp(Averaged):
    """RMSProp (Hinton 2012) without momentum, as `torch.optim.RMSprop` has it.

    s_{k+1} = αs_k + (1 − α)d_k²,  x_{k+1} = x_k − ηd_k/(√s_{k+1} + ε), s_0 = 0.

    Parameters
    ----------
    lr : float
        η > 0.
    smoothing : float
        0 ≤ α < 1, PyTorch's `alpha`, optax's `decay`.
    eps : float
        ε ≥ 0, added to the root (optax adds it below the root unless `eps_in_sqrt=False`).
    weight_decay : float
        λ ≥ 0 of d = ∇U + λx, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Its preconditioner breaks the laws of Q. The exact law is ⟨g(x_k), (√s_{k+1} + ε) ⊙ (x_k − x_{k+1})/η⟩ = λ⟨g(x_k), x_k⟩: what
    is paired with g is the gradient. The velocity of a run is minus the last gradient that was stepped by.
    """

    smoothing: float = field(default=0.99, metadata=FRACTION)
    eps: float = field(default=1e-8, metadata=NOT_NEGATIVE)

    method = METHOD

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve the step for d, where the squares after it are recorded."""
        if step.later.s is None or step.descent is None:
            return None
        return step.descent * (np.sqrt(step.later.s) + self.eps)

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """1 − α and ε."""
        return 1 - self.smoothing, self.eps
