"""Lion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .._base.types import Array
from .._kernels import layout
from .._kernels.discrete_laws import rate
from .._kernels.jit import scalar
from .._kernels.rules import Coordinate, Move
from .averaged import Averaged, method_of, shares, two_fractions
from .settings import checked


class _Step(NamedTuple):
    h: float
    a: float
    mixed: float  # 1 − β₁
    shrink: float  # 1 − ηλ
    drop: float  # ηλ


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    a, mixed, decay = algorithm.constants[0], algorithm.constants[1], algorithm.constants[2]
    h = rate(algorithm, step)
    return _Step(h, a, mixed, 1 - h * decay, h * decay)


@scalar
def _averaged(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = v − a(d + v), and in y the direction v − (1 − β₁)(d + v)."""
    return at.v - c.a * (at.g + at.v), at.v - c.mixed * (at.g + at.v)


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return (1 − ηλ)x + η sgn y; NaN stays."""
    sign = 1.0 if at.y > 0 else (-1.0 if at.y < 0 else at.y)
    shrink = c.shrink + c.drop * (1 - at.share * at.decay)
    return (shrink * at.x + c.h * at.share * sign,)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    a, mixed, decay = numbers.constants[:3]
    direction = np.sign((1 - mixed) * m + mixed * d)
    return x - numbers.h * decay * shares(numbers.decays) * x - numbers.h * direction, (1 - a) * m + a * d, s


METHOD = method_of(Move(_of_step, _averaged, ("v", "y")), Move(_of_step, _stepped, ("x",), by_block=True), _update)


@dataclass(frozen=True, repr=False)
class Lion(Averaged):
    """Lion (Chen et al. 2023), as `optax.lion` has it.

    x_{k+1} = (1 − ηλ)x_k − η sgn(β₁m_k + (1 − β₁)∇U(x_k)),  m_{k+1} = β₂m_k + (1 − β₂)∇U(x_k), m_0 = 0.

    Parameters
    ----------
    lr : float
        η > 0.
    betas : (float, float)
        0 ≤ β₁, β₂ < 1.
    weight_decay : float
        λ ≥ 0, decoupled, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Its sign breaks the laws of Q. The exact law is one of x and the buffer: ⟨g(x_k), m_{k+1}⟩ = β₂⟨g(x_k), m_k⟩.
    """

    betas: tuple[float, float] = field(default=(0.9, 0.99), metadata=checked(two_fractions))

    method = METHOD
    coupled_decay = 0.0

    @property
    def momentum(self) -> float:
        """β₂."""
        return self.betas[1]

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """1 − β₁ and λ."""
        return 1 - self.betas[0], self.weight_decay
