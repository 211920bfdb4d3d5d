"""Adam and AdamW."""

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
from .averaged import Averaged, method_of, shares, two_fractions
from .settings import BOOLEAN, NOT_NEGATIVE, checked


class _Step(NamedTuple):
    a: float
    b: float
    eps: float
    rate: float  # η/(1 − β₁^t)
    square: float  # 1/(1 − β₂^t)
    shrink: float  # 1 − ηλ of the decoupled decay
    drop: float  # ηλ


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    a, b, eps, decay = algorithm.constants[0], algorithm.constants[1], algorithm.constants[2], algorithm.constants[3]
    first, second = 1 - (1 - a) ** (step + 1), 1 - (1 - b) ** (step + 1)
    h = rate(algorithm, step)
    return _Step(a, b, eps, h / first, 1 / second, 1 - h * decay, h * decay)


@scalar
def _averaged(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = v − a(d + v) and s' = s + b(d² − s)."""
    return at.v - c.a * (at.g + at.v), at.moment + c.b * (at.g * at.g - at.moment)


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return (1 − ηλ)x − ηm̂/(√ŝ + ε), with v = −m; divided once, as that is what takes the time."""
    shrink = c.shrink + c.drop * (1 - at.share * at.decay)
    return (shrink * at.x + c.rate * at.share * at.v / (math.sqrt(c.square * at.moment) + c.eps),)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    a, b, eps, decay = numbers.constants[:4]
    m, s = (1 - a) * m + a * d, (1 - b) * s + b * d**2
    corrected, square = m / (1 - (1 - a) ** (k + 1)), s / (1 - (1 - b) ** (k + 1))
    return x - numbers.h * decay * shares(numbers.decays) * x - numbers.h * corrected / (np.sqrt(square) + eps), m, s


METHOD = method_of(
    Move(_of_step, _averaged, ("v", "moment"), moment=True),
    Move(_of_step, _stepped, ("x",), moment=True, by_block=True),
    _update,
    has_moment=True,
)


@dataclass(frozen=True, repr=False)
class Adam(Averaged):
    """Adam (Kingma & Ba 2015), with decay as in AdamW (Loshchilov & Hutter 2019) unless `decoupled=False`, as PyTorch and optax have them.

    m_{k+1} = β₁m_k + (1 − β₁)d_k,  s_{k+1} = β₂s_k + (1 − β₂)d_k²,
    x_{k+1} = x_k − η m̂/(√ŝ + ε) with m̂ = m_{k+1}/(1 − β₁^{k+1}), ŝ = s_{k+1}/(1 − β₂^{k+1}), m_0 = s_0 = 0.

    Parameters
    ----------
    lr : float
        η > 0.
    betas : (float, float)
        0 ≤ β₁, β₂ < 1.
    eps : float
        ε ≥ 0, added to √ŝ: PyTorch's `eps`, optax's `eps` (its `eps_root` is 0).
    decoupled : bool
        Whether the decay acts on x itself, x ← (1 − ηλ)x before the step: `torch.optim.AdamW`, `optax.adamw`. Else d = ∇U + λx:
        `torch.optim.Adam`.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Its preconditioner breaks the laws of Q. The exact law is one of x and m: ⟨g(x_k), m_{k+1}⟩ = β₁⟨g(x_k), m_k⟩ +
    (1 − β₁)λ⟨g(x_k), x_k⟩, the last term for coupled decay alone. The velocity of a run is −m. `nl.check` needs the recorded
    `exp_avg` for the law, as positions do not tell the gradients.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2])
    >>> U = net.potential(nl.datasets.gaussian_classes(n=9, n_features=2, n_classes=2, rng=0))
    >>> run = nl.integrate(U, nl.Adam(0.01, weight_decay=0.1), net.init(rng=0), 100)
    >>> run.laws["scaling:1"].verdict
    'holds'
    """

    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata=checked(two_fractions))
    eps: float = field(default=1e-8, metadata=NOT_NEGATIVE)
    decoupled: bool = field(default=True, metadata=BOOLEAN)

    method = METHOD
    bias_corrected = (0, 1)  #: 1 − β₁ and 1 − β₂
    average_name = "exp_avg"  #: PyTorch's, whatever β₁ is

    @property
    def momentum(self) -> float:
        """β₁."""
        return self.betas[0]

    def settled(self, force: Float64Array, step: int) -> Float64Array:
        """Return minus the average of a constant ∇U + λx over the steps so far, which the bias correction divides by as much."""
        return -(1 - self.momentum**step) * force

    @property
    def coupled_decay(self) -> float:
        """λ, 0 if it is decoupled."""
        return 0.0 if self.decoupled else self.weight_decay

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """1 − β₂, ε and the decoupled λ."""
        return 1 - self.betas[1], self.eps, self.weight_decay - self.coupled_decay
