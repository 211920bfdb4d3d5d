"""AdaGrad."""

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
from .settings import NOT_NEGATIVE


class _Step(NamedTuple):
    h: float
    start: float
    eps: float


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    return _Step(rate(algorithm, step), algorithm.constants[1], algorithm.constants[2])


@scalar
def _summed(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = −d and s' = s + d²."""
    return -at.g, at.moment + at.g * at.g


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + hv/(√(s_0 + s) + ε)."""
    return (at.x + c.h * at.share * at.v / (math.sqrt(c.start + at.moment) + c.eps),)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    start, eps = numbers.constants[1:3]
    s = s + d**2
    return x - numbers.h * d / (np.sqrt(start + s) + eps), d, s


METHOD = method_of(
    Move(_of_step, _summed, ("v", "moment"), moment=True),
    Move(_of_step, _stepped, ("x",), moment=True, by_block=True),
    _update,
    has_moment=True,
)


@dataclass(frozen=True, repr=False)
class AdaGrad(Averaged):
    """AdaGrad (Duchi, Hazan & Singer 2011), as `torch.optim.Adagrad` has it.

    s_{k+1} = s_k + d_k²,  x_{k+1} = x_k − ηd_k/(√s_{k+1} + ε).

    Parameters
    ----------
    lr : float
        η > 0.
    initial_accumulator : float
        s_0 ≥ 0.
    eps : float
        ε ≥ 0, added to the root (optax adds it below the root).
    weight_decay : float
        λ ≥ 0 of d = ∇U + λx, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    The exact law is that of `RMSProp`.
    """

    initial_accumulator: float = field(default=0.0, metadata=NOT_NEGATIVE)
    eps: float = field(default=1e-10, metadata=NOT_NEGATIVE)

    method = METHOD

    def memory_of(self, name: str, values: Float64Array) -> Float64Array:
        """Return PyTorch's `sum` without the accumulator that it begins with."""
        return values - self.initial_accumulator

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve the step for d, where the squares after it are recorded."""
        if step.later.s is None or step.descent is None:
            return None
        return step.descent * (np.sqrt(self.initial_accumulator + step.later.s) + self.eps)

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """s_0 and ε."""
        return self.initial_accumulator, self.eps
