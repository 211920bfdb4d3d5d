"""Exponentiated gradient: mirror descent of the entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.jit import scalar
from .._kernels.pointwise import exp
from .._kernels.rules import Coordinate, Move
from .averaged import AVERAGE, Averaged, Rate, method_of, of_rate
from .base import RecordedStep
from .settings import FRACTION


@scalar
def _stepped(c: Rate, at: Coordinate) -> tuple[float, ...]:
    """Return x e^{ηv sgn x}."""
    return (at.x * exp(c.h * at.share * np.float64(at.v) * math.copysign(1.0, at.x)),)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    a = numbers.constants[0]
    m = (1 - a) * m + a * d
    return x * np.exp(-numbers.h * np.sign(x) * m), m, s


METHOD = method_of(AVERAGE, Move(of_rate, _stepped, ("x",), by_block=True), _update)


@dataclass(frozen=True, repr=False)
class ExponentiatedGradient(Averaged):
    """Exponentiated gradient x_{k+1} = x_k e^{−η m_{k+1} sgn x_k}, m_{k+1} = βm_k + (1 − β)d_k (Kivinen & Warmuth 1997).

    Mirror descent of the entropy ψ(x) = Σ_i |x_i| log|x_i| − |x_i|: ∇ψ(x_{k+1}) = ∇ψ(x_k) − η m_{k+1}. It follows the mirror flow
    d/dt ∇ψ(x) = −∇U, that is ẋ = −|x| ⊙ ∇U. No coordinate changes its sign, and those that are 0 stay 0.

    Parameters
    ----------
    lr : float
        η > 0.
    momentum : float
        0 ≤ β < 1.
    weight_decay : float
        λ ≥ 0 of d = ∇U + λx, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Its laws are others than those of Q (theory §6): for a diagonal generator G the flow keeps Σ_i G_ii|x_i|, which is
    `symmetry.charge(x, np.sign(x))`; of a neuron of degree p it is Σ|w| + |b| − pΣ|u|. Without momentum a step changes it by exactly
    Σ_i G_ii KL_i − ηλ⟨g(x), x⟩, where KL_i = x_i log(x_i/x'_i) − x_i + x'_i of |x| and |x'|. The law that a run records is that of the average, ⟨g(x_k), m_{k+1}⟩ = β⟨g(x_k), m_k⟩ +
    (1 − β)λ⟨g(x_k), x_k⟩, for every generator.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([4, 2, 3], "linear", bias=False, loss="mse")
    >>> X = np.eye(4)
    >>> U = net.potential(X, X @ np.arange(12.0).reshape(4, 3) / 12)
    >>> x0 = np.abs(net.init(rng=0))
    >>> scaling = {s.name: s for s in nl.symmetries(U)}["scaling:1"]
    >>> observe = {"sums": lambda x: scaling.charge(x, np.sign(x))}
    >>> run = nl.integrate(U, nl.ExponentiatedGradient(0.01), x0, 200, observe=observe)
    >>> sums, squares = run.observed["sums"], run.laws["scaling:1"].residual
    >>> bool(np.abs(sums - sums[0]).max() < 0.02), bool(np.abs(squares).max() > 0.02)
    (True, True)
    """

    momentum: float = field(default=0.0, metadata=FRACTION)

    method = METHOD

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve m' = βm + aF; where m' is not recorded, positions tell it unless one of them is zero, or changes its sign."""
        x, following, h = step.x, step.following, step.numbers.h
        if step.later.m is None and np.all(h > 0) and (x * following > 0).all():
            step = step._replace(later=step.later._replace(m=-np.sign(x) * np.log(following / x) / h))
        return super().implied_force(step)
