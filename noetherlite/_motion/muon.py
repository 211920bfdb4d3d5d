"""Muon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import rate
from .._kernels.jit import scalar
from .._kernels.orthogonal import orthogonalised, spectral_scale
from .._kernels.rules import Coordinate, Move, Orthogonalisation
from .averaged import Averaged, method_of, shares
from .settings import BOOLEAN, FRACTION, NOT_NEGATIVE

_EPS = 2  # its place among the constants


class _Step(NamedTuple):
    a: float
    b: float
    eps: float
    average: float  # what the direction of a matrix has of the average: β/(1 − β^{k+2}), or 1/(1 − β^{k+1})
    gradient: float  # and of the gradient: (1 − β)/(1 − β^{k+1}), or 0
    rest_average: float  # the same of other parameters
    rest_gradient: float
    scale: float  # √(1 − β₂^{k+1})
    h: float
    shrink: float  # 1 − ηλ
    drop: float  # ηλ


@scalar
def _ahead(nesterov: float, beta: float, now: float, later: float) -> tuple[float, float]:
    """Return what a direction has of the average and of the gradient, with the corrections of this average and of the next."""
    return nesterov * beta / later + (1 - nesterov) / now, nesterov * (1 - beta) / now


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    a, b, eps = algorithm.constants[0], algorithm.constants[1], algorithm.constants[2]
    decay, nesterov, corrected = algorithm.constants[3], algorithm.constants[4], algorithm.constants[5]
    beta, h = algorithm.momentum, rate(algorithm, step)
    first, second = 1 - beta ** (step + 1), 1 - (1 - b) ** (step + 1)
    average, gradient = _ahead(nesterov, beta, first, 1 - beta ** (step + 2))
    rest_average, rest_gradient = average, gradient
    if corrected == 0:
        average, gradient = _ahead(nesterov, beta, 1.0, 1.0)
        rest_average, rest_gradient = 1 / first, 0.0
    shrink, drop = 1 - h * decay, h * decay
    return _Step(a, b, eps, average, gradient, rest_average, rest_gradient, math.sqrt(second), h, shrink, drop)


@scalar
def _averaged(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = v − a(d + v), s' = s + b(d² − s), and in y the direction of a matrix."""
    v = at.v - c.a * (at.g + at.v)
    return v, at.moment + c.b * (at.g * at.g - at.moment), c.average * v - c.gradient * at.g


@scalar
def _divided(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return −m̂/(√ŝ + ε)."""
    direction = c.rest_average * at.v - c.rest_gradient * at.g
    return (direction / (math.sqrt(at.moment) / c.scale + c.eps),)


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return (1 − ηλ)x + ηy."""
    shrink = c.shrink + c.drop * (1 - at.share * at.decay)
    return (shrink * at.x + c.h * at.share * at.y,)


def _update(
    numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array, **iterations: Any
) -> tuple[Array, Array, Array]:
    a, b, eps, decay, nesterov, corrected = numbers.constants
    beta, now, later = 1 - a, 1 - (1 - a) ** (k + 1), 1 - (1 - a) ** (k + 2)
    m, s = beta * m + a * d, (1 - b) * s + b * d**2
    rest = direction = beta * m / later + a * d / now if nesterov else m / now
    if not corrected:
        rest, direction = m / now, beta * m + a * d if nesterov else m
    step = rest / (np.sqrt(s / (1 - (1 - b) ** (k + 1))) + eps)
    for start, rows, columns, _ in numbers.matrices:
        matrix = slice(start, start + rows * columns)
        step[matrix] = orthogonalised(direction[matrix].reshape(rows, columns), eps, **iterations).ravel()
    return x - numbers.h * decay * shares(numbers.decays) * x - numbers.h * step, m, s


METHOD = method_of(
    Move(_of_step, _averaged, ("v", "moment", "y"), moment=True),
    Move(_of_step, _stepped, ("x",), by_block=True),
    _update,
    has_moment=True,
    between=(Orthogonalisation(_EPS), Move(_of_step, _divided, ("y",), moment=True, outside=True)),
)


@dataclass(frozen=True, repr=False)
class Muon(Averaged):
    """Muon (Jordan 2024): steps of matrices along orthogonal matrices, as `optax.contrib.muon` has it.

    m_{k+1} = βm_k + (1 − β)∇U(x_k), m_0 = 0, and m̂ = m_{k+1}/(1 − β^{k+1}), or with `nesterov`
    m̂ = βm_{k+1}/(1 − β^{k+2}) + (1 − β)∇U(x_k)/(1 − β^{k+1}). A matrix of n rows and m columns takes the step

        W ← (1 − ηλ)W − η √max(1, n/m) NS(M̂/(|M̂| + ε)),

    where NS is five iterations of M ← aM + (bMMᵀ + c(MMᵀ)²)M, (a, b, c) = (3.4445, −4.7750, 2.0315), which take singular values of 0.002 … 1 to 0.68 … 1.21.
    Parameters that are in no matrix, such as biases, take the step of Adam with the same β, ε, η and λ, η m̂/(√ŝ + ε).

    With `corrected=False` it is that of Jordan and of `torch.optim.Muon`: for matrices m̂ = m_{k+1}, or with `nesterov` m̂ = βm_{k+1} + (1 − β)∇U(x_k);
    other parameters take the step of `torch.optim.AdamW`, m̂ = m_{k+1}/(1 − β^{k+1}) in either case.

    Parameters
    ----------
    lr : float
        η > 0.
    momentum : float
        0 ≤ β < 1, optax's `beta`, and its `adam_b1` too.
    nesterov : bool
        Whether m̂ looks ahead.
    eps : float
        ε ≥ 0.
    smoothing : float
        0 ≤ β₂ < 1 of ŝ, the average of the squares, optax's `adam_b2`.
    corrected : bool
        Whether the averages of matrices are corrected for m_0 = 0, as optax has it. Keyword only.
    weight_decay : float
        λ ≥ 0, decoupled, keyword only: optax's `weight_decay` and `adam_weight_decay`.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Matrices are the weights of a `Network`, biases and β excluded, and the factors of `potentials.MatrixFactorization`, `MatrixSensing`,
    `MatrixCompletion` and `TensorDecomposition`; other potentials have none. `torch.optim.Muon` takes matrices only and iterates in bfloat16; here
    iterations have the precision of the run. Its ε is one that |M̂| is at least, 10⁻⁷, where here it is added.

    NS(AMB) = A NS(M) B for orthogonal A and B: a run that begins at weights that are rotated in a linear layer stays the rotated run, which
    is not so with Adam. Q has no law; the exact one is of x and m, ⟨g(x_k), m_{k+1}⟩ = β⟨g(x_k), m_k⟩. The velocity of a
    run is −m. `nl.check` needs the recorded `momentum_buffer`: an orthogonal matrix does not tell the singular values of the gradient.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2])
    >>> U = net.potential(nl.datasets.gaussian_classes(n=9, n_features=2, n_classes=2, rng=0))
    >>> run = nl.integrate(U, nl.Muon(0.01), net.init(rng=0), 100)
    >>> run.laws["scaling:1"].verdict
    'holds'
    """

    momentum: float = field(default=0.95, metadata=FRACTION)
    nesterov: bool = field(default=True, metadata=BOOLEAN)
    eps: float = field(default=1e-8, metadata=NOT_NEGATIVE)
    smoothing: float = field(default=0.999, metadata=FRACTION)
    corrected: bool = field(default=True, kw_only=True, metadata=BOOLEAN)

    average_name = "momentum_buffer"  #: PyTorch's, whatever β is
    coupled_decay = 0.0
    method = METHOD
    bias_corrected = (0, 1)  #: 1 − β and 1 − β₂

    def kernel(self, t0: float, blocks: Sequence[Any] = ()) -> layout.Algorithm:
        """Return its numbers, with the matrices among the blocks."""
        numbers, matrices = super().kernel(t0, blocks), _matrices(blocks)
        place = blocks[-1].stop if matrices else 0  # of what an iteration works in, after a vector
        rows = []
        for block in matrices:
            rows.append((block.start, *block.shape, place))
            place += 2 * min(block.shape) ** 2
        return numbers._replace(matrices=np.array(rows, np.int64).reshape(-1, 4))

    def work(self, n_params: int, blocks: Sequence[Any]) -> int:
        """Return the numbers of a vector and, for each matrix, of two squares."""
        matrices = _matrices(blocks)
        return (
            n_params + sum(2 * min(block.shape) ** 2 for block in matrices)
            if matrices
            else super().work(n_params, blocks)
        )

    def iterated(
        self, numbers: layout.Algorithm, block: Any, x: Float64Array, later: Float64Array
    ) -> tuple[Float64Array, Float64Array] | None:
        """Return what the iterations have made of a matrix."""
        if len(block.shape) != 2:
            return None
        part = slice(block.start, block.stop)
        h, decay = (np.broadcast_to(each, x.shape)[part] for each in (numbers.h, shares(numbers.decays)))
        factor = h * spectral_scale(*block.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            return ((1 - h * self.weight_decay * decay) * x[part] - later[part]) / factor, factor

    def settled(self, force: Float64Array, step: int) -> Float64Array:
        """Return minus the average of a constant ∇U over the steps so far."""
        return -(1 - self.momentum**step) * force

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """1 − β₂, ε, λ, whether m̂ looks ahead, and whether that of matrices is corrected."""
        return 1 - self.smoothing, self.eps, self.weight_decay, float(self.nesterov), float(self.corrected)


def _matrices(blocks: Sequence[Any]) -> list[Any]:
    return [block for block in blocks if len(block.shape) == 2]
