"""Blocks that normalise: LayerNorm, RMSNorm and BatchNorm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from .._base import checks
from .._base.types import IntArray
from .block import Block, Scope, Shape
from .layers import bias_leg, row, sizes
from .tensor import Tensor
from .wires import DIAGONAL, LINEAR, SAME_FOR_ALL, Wire
from .wiring import Wiring

SIZES = frozenset({"whole", "factor"})  # a norm without ε does not see these


def rms_normalised(x: Tensor, eps: float, axis: int = -1) -> Tensor:
    """Return x/√(mean x² + ε)."""
    return x * ((x * x).mean(axis) + Fraction(eps)).root().reciprocal()


def check_eps(eps: float) -> None:
    """Raise unless ε is a number ≥ 0."""
    checks.real(eps, "eps", minimum=0.0)


@dataclass(frozen=True)
class _Norm(Block):
    """A norm of d features with a gain and a shift for each."""

    d: int
    eps: float = 0.0

    def __post_init__(self) -> None:
        sizes(self, "d")
        check_eps(self.eps)

    def tensors(self) -> dict[str, Shape]:
        return {"gain": (self.d,), "shift": (self.d,)}

    def scaled(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        """Return γ ⊙ x + β."""
        return x * row(scope["gain"]) + row(scope["shift"])

    def out(self, scope: Scope[IntArray], wiring: Wiring) -> Wire:
        """Return the wire that γ and β write to."""
        gains = bias_leg(scope["gain"]), bias_leg(scope["shift"])
        return wiring.wire(f"{scope.name} out", self.d, *gains, actions=DIAGONAL)


@dataclass(frozen=True)
class LayerNorm(_Norm):
    """γ ⊙ (x − mean x)/√(var x + ε) + β.

    Parameters
    ----------
    d : int
        Features.
    eps : float
        ε; 0 gives one conservation law more.

    Raises
    ------
    ValueError, TypeError
        If d is not a positive integer or eps is negative.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.LayerNorm(3).tensors()
    {'gain': (3,), 'shift': (3,)}
    """

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        return self.scaled(scope, rms_normalised(x - x.mean(), self.eps))

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.permit(SAME_FOR_ALL | (set() if self.eps else SIZES))
        if self.d != 2:
            return self.out(scope, wiring)
        # What is normalised is a multiple of (1, −1): γ ⊙ (1, −1) and β are two columns of weights, on which any matrix acts.
        gain = replace(bias_leg(scope["gain"]), signs=(1, -1))
        return wiring.wire(f"{scope.name} out", self.d, gain, bias_leg(scope["shift"]), actions=LINEAR)


@dataclass(frozen=True)
class RMSNorm(Block):
    """γ ⊙ x/√(mean x² + ε).

    Parameters
    ----------
    d : int
        Features.
    eps : float
        ε; 0 gives one conservation law more.
    gain : bool
        Whether there is γ.

    Raises
    ------
    ValueError, TypeError
        If d is not a positive integer or eps is negative.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.RMSNorm(3).tensors()
    {'gain': (3,)}
    """

    d: int
    eps: float = 0.0
    gain: bool = True

    def __post_init__(self) -> None:
        sizes(self, "d")
        check_eps(self.eps)
        checks.boolean(self.gain, "gain")

    def tensors(self) -> dict[str, Shape]:
        return {"gain": (self.d,)} if self.gain else {}

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        y = rms_normalised(x, self.eps)
        return y * row(scope["gain"]) if self.gain else y

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        sizes = frozenset[str]() if self.eps else SIZES
        if self.gain:
            wire.permit(sizes)
            return wiring.wire(f"{scope.name} out", self.d, bias_leg(scope["gain"]), actions=DIAGONAL)
        wire.permit(sizes | {"rotate"})
        return wiring.wire(f"{scope.name} out", self.d, turning=wire)


@dataclass(frozen=True)
class BatchNorm(_Norm):
    """γ ⊙ (x − mean x)/√(var x + ε) + β, mean and variance over the positions: each sample is one batch.

    Parameters
    ----------
    d : int
        Features.
    eps : float
        ε.

    Raises
    ------
    ValueError, TypeError
        If d is not a positive integer or eps is negative.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.BatchNorm(2).tensors()
    {'gain': (2,), 'shift': (2,)}
    """

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        return self.scaled(scope, rms_normalised(x - x.mean(axis=1), self.eps, axis=1))

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.permit(frozenset({"null"} if self.eps else SIZES | {"null", "each"}))
        return self.out(scope, wiring)

    def positions(self, after: int) -> int:
        return max(after, 3)
