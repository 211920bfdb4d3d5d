"""Blocks of factors that gate each other: SwiGLU, and mixtures of experts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import IntArray
from .block import Block, Scope, Shape
from .layers import along, sizes, softmax
from .tensor import Tensor
from .wires import DIAGONAL, SAME_FOR_ALL, Wire
from .wiring import Wiring

GATES = ("softmax", "sigmoid", "normalised sigmoid")


@dataclass(frozen=True)
class SwiGLU(Block):
    """D(silu(Gx) ⊙ Ux).

    Parameters
    ----------
    d, hidden : int
        Features in and out, and between.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.count_laws(nl.arch.SwiGLU(2, 3))
    <LawCount 3, gradient flow, certified>
    """

    d: int
    hidden: int

    def __post_init__(self) -> None:
        sizes(self, "d", "hidden")

    def tensors(self) -> dict[str, Shape]:
        return {"G": (self.hidden, self.d), "U": (self.hidden, self.d), "D": (self.d, self.hidden)}

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        z = x @ scope["G"].T
        return (z * z.logistic() * (x @ scope["U"].T)) @ scope["D"].T

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.read_by(along(scope["G"], 1), along(scope["U"], 1))
        hidden = wiring.wire(f"{scope.name} hidden", self.hidden, along(scope["U"], 0), actions=DIAGONAL)
        hidden.read_by(along(scope["D"], 1))
        return wiring.wire(f"{scope.name} out", self.d, along(scope["D"], 0))


@dataclass(frozen=True)
class Experts(Block):
    """Σ_e g_e(x) E_e(x) over SwiGLU experts E_e, with gates g of the logits Wx.

    Parameters
    ----------
    d, hidden, experts : int
        Features in and out, those inside an expert, and how many experts.
    gate : {"softmax", "sigmoid", "normalised sigmoid"}
        g: a softmax of the logits, logistic functions of them, or these divided by their sum.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer, or the gate is another.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Experts(2, 2, experts=2).tensors()["gate"]
    (2, 2)
    """

    d: int
    hidden: int
    experts: int = 2
    gate: str = "softmax"

    def __post_init__(self) -> None:
        sizes(self, "d", "hidden", "experts")
        checks.one_of(self.gate, "gate", GATES)

    def _expert(self) -> SwiGLU:
        return SwiGLU(self.d, self.hidden)

    def tensors(self) -> dict[str, Shape]:
        every = {f"{e}.{name}": shape for e in range(self.experts) for name, shape in self._expert().tensors().items()}
        return {"gate": (self.experts, self.d), **every}

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        logits = x @ scope["gate"].T
        gates = softmax(logits) if self.gate == "softmax" else logits.logistic()
        if self.gate == "normalised sigmoid":
            gates = gates * gates.total().reciprocal()
        terms = [
            gates.taken(np.array([e]), -1) * self._expert().forward(scope.within(str(e)), x)
            for e in range(self.experts)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.read_by(along(scope["gate"], 1))
        blind = SAME_FOR_ALL if self.gate == "softmax" else frozenset[str]()
        wiring.wire(f"{scope.name} gate", self.experts, along(scope["gate"], 0), actions=blind)
        out = wiring.wire(f"{scope.name} out", self.d)
        for e in range(self.experts):
            wiring.join(out, self._expert().connect(scope.within(str(e)), wiring, wire))
        return out
