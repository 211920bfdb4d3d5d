"""Descent along the sign of the gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .._base.types import Array
from .._kernels import layout
from .._kernels.jit import scalar
from .._kernels.rules import Coordinate, Move
from .averaged import AVERAGE, Averaged, Rate, method_of, of_rate
from .settings import FRACTION


@scalar
def _stepped(c: Rate, at: Coordinate) -> tuple[float, ...]:
    """Return x + η sgn v; NaN stays."""
    sign = 1.0 if at.v > 0 else (-1.0 if at.v < 0 else at.v)
    return (at.x + c.h * at.share * sign,)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    a = numbers.constants[0]
    m = (1 - a) * m + a * d
    return x - numbers.h * np.sign(m), m, s


METHOD = method_of(AVERAGE, Move(of_rate, _stepped, ("x",), by_block=True), _update)


@dataclass(frozen=True, repr=False)
class SignGD(Averaged):
    """Sign descent x_{k+1} = x_k − η sgn(m_{k+1}), m_{k+1} = βm_k + (1 − β)d_k (signSGD and Signum, Bernstein et al. 2018).

    Parameters
    ----------
    lr : float
        η > 0.
    momentum : float
        0 ≤ β < 1; with 0 it is `optax.sign_sgd`.
    weight_decay : float
        λ ≥ 0 of d = ∇U + λx, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    The sign breaks the laws of Q. The exact law is one of x and m: ⟨g(x_k), m_{k+1}⟩ = β⟨g(x_k), m_k⟩ + (1 − β)λ⟨g(x_k), x_k⟩.
    """

    momentum: float = field(default=0.0, metadata=FRACTION)

    method = METHOD
