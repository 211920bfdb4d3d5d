"""Steepest descent in the ℓ_p norms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.discrete_laws import rate
from .._kernels.jit import scalar
from .._kernels.powers import power
from .._kernels.rules import Coordinate, Move
from .averaged import Averaged, method_of
from .base import RecordedStep
from .settings import checked


class _Step(NamedTuple):
    h: float
    power: float  # q − 1


@scalar
def _of_step(algorithm: layout.Algorithm, step: int) -> _Step:
    return _Step(rate(algorithm, step), algorithm.constants[1])


@scalar
def _forgotten(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return v' = −d."""
    return (-at.g,)


@scalar
def _stepped(c: _Step, at: Coordinate) -> tuple[float, ...]:
    """Return x + η sgn v |v|^{q−1}; NaN stays."""
    size = power(abs(at.v), type(at.v)(c.power))
    return (at.x + c.h * at.share * (size if at.v > 0 else -size),)


def _update(numbers: layout.Algorithm, k: int, x: Array, m: Array, s: Array, d: Array) -> tuple[Array, Array, Array]:
    return x - numbers.h * np.sign(d) * np.abs(d) ** numbers.constants[1], d, s


METHOD = method_of(Move(_of_step, _forgotten, ("v",)), Move(_of_step, _stepped, ("x",), by_block=True), _update)


@dataclass(frozen=True, repr=False)
class SteepestDescent(Averaged):
    """Steepest descent in the norm ℓ_p, x_{k+1} = x_k − η sgn(d)|d|^{q−1} coordinate by coordinate, 1/p + 1/q = 1.

    It follows the flow ẋ = −sgn(∇U)|∇U|^{q−1}, the direction in which U falls fastest for its ℓ_p length; p = 2 is gradient
    descent, and p → ∞ sign descent (`SignGD`).

    Parameters
    ----------
    lr : float
        η > 0.
    p : float
        p > 1.
    weight_decay : float
        λ ≥ 0 of d = ∇U + λx, keyword only.
    clip, grad_accumulation, sam
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    But for p = 2 it breaks the laws of Q. The exact law is one of the gradient at its point, ⟨g(x_k), d_k⟩ = λ⟨g(x_k), x_k⟩, where
    |d|^{q−1} is what x moves by. Where single weights multiply each other, as in U(w_1w_2…), the flow keeps |w_i|^q − |w_j|^q, and a step
    takes A = |w_i|^q to A|1 − ηr/A|^q with the same r for all i.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.potentials.DiagonalLinear([[1.0]], [2.0])  # ½(uv − 2)²
    >>> run = nl.integrate(U, nl.SteepestDescent(1e-3, p=3), [1.0, 0.5], 1_000)
    >>> u, v = run.x
    >>> bool(abs((u**1.5 - v**1.5) - (1 - 0.5**1.5)) < 1e-3), bool(abs((u**2 - v**2) - (1 - 0.5**2)) > 1e-2)
    (True, True)
    """

    p: float = field(default=2.0, metadata=checked(checks.real, minimum=1.0, strict=True))

    method = METHOD

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Solve the step for d, which positions alone tell."""
        if (moved := step.descent) is None:
            return None
        return np.asarray(np.sign(moved) * np.abs(moved) ** (self.p - 1))

    @property
    def rule_constants(self) -> tuple[float, ...]:
        """The power q − 1."""
        return (1 / (self.p - 1),)
