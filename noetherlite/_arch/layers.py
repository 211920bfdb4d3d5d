"""Linear maps, adapters, embeddings, convolutions and activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .._base import checks
from .._base.types import BoolArray, IntArray
from .block import Block, Scope, Shape
from .tensor import Tensor
from .wires import POSITIVE, Leg, Wire
from .wiring import Wiring

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "relu": lambda z: z.masked(z.numbers.gate(z.data)),
    "gelu": lambda z: z * z.normal(),
    "silu": lambda z: z * z.logistic(),
    "tanh": lambda z: (z * 2).logistic() * 2 + -1,
}


def sizes(block: Block, *names: str) -> None:
    """Raise unless the fields `names` are positive integers."""
    for name in names:
        checks.integer(getattr(block, name), name, minimum=1)


def along(index: IntArray, axis: int, is_kernel: bool = False) -> Leg:
    """Return an axis of a tensor as a leg."""
    return Leg(np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1), is_kernel=is_kernel)


def bias_leg(index: IntArray) -> Leg:
    """Return a vector of constants as a leg."""
    return Leg(index[:, None], is_bias=True)


def row(x: Tensor) -> Tensor:
    """Return a vector, one for all samples or one each, as (samples, 1, n)."""
    return x.reshaped(x.shape[0], 1, x.shape[-1])


def softmax(scores: Tensor, mask: BoolArray | None = None) -> Tensor:
    """Return the softmax over the last axis, where `mask` is true."""
    e = scores.shifted_down().exp()
    e = e if mask is None else e.masked(mask)
    return e * e.total().reciprocal()


@dataclass(frozen=True)
class Dense(Block):
    """Wx + b.

    Parameters
    ----------
    inputs, outputs : int
        Features; W has shape (outputs, inputs).
    bias : bool
        Whether there is b.
    tied : str
        Name of an embedding's W in the model, whose transpose is W here; '' for a W that is its own.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Dense(2, 3, bias=True).tensors()
    {'W': (3, 2), 'b': (3,)}
    """

    inputs: int
    outputs: int
    bias: bool = False
    tied: str = ""

    def __post_init__(self) -> None:
        sizes(self, "inputs", "outputs")
        checks.boolean(self.bias, "bias")
        checks.instance(self.tied, "tied", str, "the name of a tensor")

    def tensors(self) -> dict[str, Shape]:
        weight: dict[str, Shape] = {} if self.tied else {"W": (self.outputs, self.inputs)}
        return weight | ({"b": (self.outputs,)} if self.bias else {})

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        y = x @ (scope.of_model[self.tied] if self.tied else scope["W"].T)
        return y + row(scope["b"]) if self.bias else y

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        W = scope.of_model[self.tied].T if self.tied else scope["W"]
        out = _connect_map(self, scope, wiring, wire, W)
        if self.tied:
            wiring.shared.append((W, wire, out))
        return out


def _connect_map(block: Dense | Convolution, scope: Scope[IntArray], wiring: Wiring, wire: Wire, W: IntArray) -> Wire:
    """Connect the linear map W of a block, and its bias, to the input wire, and return the output wire."""
    wire.read_by(along(W, 1, is_kernel=block.outputs == 1))
    biases = [bias_leg(scope["b"])] if block.bias else []
    return wiring.wire(f"{scope.name} out", block.outputs, along(W, 0, is_kernel=block.inputs == 1), *biases)


@dataclass(frozen=True)
class LowRank(Block):
    """(W_0 + BA)x with W_0 frozen: a low-rank adapter (LoRA).

    Parameters
    ----------
    inputs, outputs, rank : int
        A has shape (rank, inputs), B (outputs, rank).

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.count_laws(nl.arch.LowRank(3, 3, rank=2))
    <LawCount 3, gradient flow, certified>
    """

    inputs: int
    outputs: int
    rank: int

    def __post_init__(self) -> None:
        sizes(self, "inputs", "outputs", "rank")

    def tensors(self) -> dict[str, Shape]:
        return {"A": (self.rank, self.inputs), "B": (self.outputs, self.rank), "W0": (self.outputs, self.inputs)}

    def frozen(self) -> set[str]:
        return {"W0"}

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        return x @ scope["W0"].T + x @ scope["A"].T @ scope["B"].T

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.permit(frozenset())  # W_0 reads it
        wiring.wire(f"{scope.name} rank", self.rank, along(scope["A"], 0)).read_by(along(scope["B"], 1))
        out = wiring.wire(f"{scope.name} out", self.outputs, along(scope["B"], 0))
        out.is_free = False
        return out


@dataclass(frozen=True)
class Embedding(Block):
    """Wx + p_t at position t.

    Parameters
    ----------
    inputs, d : int
        W has shape (d, inputs).
    positions_learned : int
        Number of positions with a trained p_t; 0 for none.
    tokens : bool
        Whether inputs are one-hot, which gives a law more for each feature: a vector added to all columns of W and subtracted
        from all p_t. `Model.known_laws` has them; `count_laws` counts for inputs of any kind.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Embedding(5, 3, positions_learned=4).tensors()
    {'W': (3, 5), 'p': (4, 3)}
    """

    inputs: int
    d: int
    positions_learned: int = 0
    tokens: bool = False

    def __post_init__(self) -> None:
        sizes(self, "inputs", "d")
        checks.integer(self.positions_learned, "positions_learned", minimum=0)
        checks.boolean(self.tokens, "tokens")

    def tensors(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"W": (self.d, self.inputs)}
        return shapes | ({"p": (self.positions_learned, self.d)} if self.positions_learned else {})

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        y = x @ scope["W"].T
        if not self.positions_learned:
            return y
        if x.shape[1] > self.positions_learned:
            raise ValueError(
                f"{x.shape[1]} positions come in; expected positions_learned={self.positions_learned} at most"
            )
        return y + scope["p"].taken(np.arange(x.shape[1]), 1)

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.read_by(along(scope["W"], 1))
        if self.positions_learned and self.tokens:
            wiring.tokens.append((scope["W"], scope["p"]))
        positions = [replace(along(scope["p"], 1), is_positions=True)] if self.positions_learned else []
        return wiring.wire(f"{scope.name} out", self.d, along(scope["W"], 0), *positions)

    def positions(self, after: int) -> int:
        return max(after, self.positions_learned)


@dataclass(frozen=True)
class Activation(Block):
    """σ of every component.

    Parameters
    ----------
    name : {"linear", "relu", "gelu", "silu", "tanh"}
        gelu is zΦ(z), silu z/(1 + e⁻ᶻ).

    Raises
    ------
    ValueError
        If it is another name.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Activation("gelu")
    Activation(name='gelu')
    """

    name: str

    def __post_init__(self) -> None:
        checks.one_of(self.name, "name", ACTIVATIONS)

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        if self.name == "relu":
            wire.permit(POSITIVE)
        elif self.name != "linear":
            wire.permit(frozenset())
        return wire


@dataclass(frozen=True)
class Convolution(Block):
    """y_t = Σ_s W_s x_{t+s} (+ b), wherever the kernel fits; positions form a line or a square grid, row by row.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Side of the kernel; W has shape (outputs, inputs, kernel^dimensions).
    dimensions : int
        1 or 2.
    bias : bool
        Whether there is b.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer; if positions form no square grid, or one smaller than the kernel.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Convolution(1, 4, kernel=3, dimensions=2).tensors()
    {'W': (4, 1, 9)}
    """

    inputs: int
    outputs: int
    kernel: int
    dimensions: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        sizes(self, "inputs", "outputs", "kernel")
        checks.integer(self.dimensions, "dimensions", minimum=1, maximum=2)
        checks.boolean(self.bias, "bias")

    def tensors(self) -> dict[str, Shape]:
        kernel = (self.outputs, self.inputs, self.kernel**self.dimensions)
        return {"W": kernel} | ({"b": (self.outputs,)} if self.bias else {})

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        patches = x.taken(self._patches(x.shape[1]), 1).swapped(2, 3)  # (samples, positions, inputs, kernel)
        W = scope["W"]
        y = patches.reshaped(*patches.shape[:2], -1) @ W.reshaped(W.shape[0], self.outputs, -1).T
        return y + row(scope["b"]) if self.bias else y

    def _patches(self, n: int) -> IntArray:
        """Return the positions under the kernel for every output, shape (outputs, kernel^dimensions)."""
        side = round(n ** (1 / self.dimensions))
        if side**self.dimensions != n or side < self.kernel:
            raise ValueError(
                f"X has {n} positions; expected s^{self.dimensions} of them, s at least the kernel's {self.kernel}"
            )
        grid = np.arange(n).reshape((side,) * self.dimensions)
        windows = np.lib.stride_tricks.sliding_window_view(grid, (self.kernel,) * self.dimensions)
        return np.asarray(windows.reshape(-1, self.kernel**self.dimensions))

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        return _connect_map(self, scope, wiring, wire, scope["W"])

    def positions(self, after: int) -> int:
        return int((round(after ** (1 / self.dimensions)) + self.kernel - 1) ** self.dimensions)
