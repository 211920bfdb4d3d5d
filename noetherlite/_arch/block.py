"""Blocks of architectures: their base class, and the two ways of putting blocks together, in a row and beside an identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from .._base import checks
from .._base.types import IntArray
from .tensor import Tensor
from .wires import Wire
from .wiring import Wiring

T = TypeVar("T")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Scope(Generic[T]):
    """The tensors of a model by their names inside of a block, which are short."""

    of_model: Mapping[str, T]
    prefix: str = ""

    def __getitem__(self, name: str) -> T:
        return self.of_model[self.prefix + name]

    def within(self, part: str) -> Scope[T]:
        """Return the scope of a part."""
        return Scope(self.of_model, f"{self.prefix}{part}.")

    @property
    def name(self) -> str:
        """The block's name."""
        return self.prefix.rstrip(".")


class Block:
    """A part of an architecture: a function of activations of shape (samples, positions, features).

    A subclass says which tensors it has, what it computes, and which weights write to and read the wires inside and at its
    ends. Everything else follows: gradients, conservation laws and their number.
    """

    def tensors(self) -> dict[str, Shape]:
        """Return the shapes of its tensors."""
        return {}

    def frozen(self) -> set[str]:
        """Return the names of tensors that are not trained."""
        return set()

    def parts(self) -> tuple[Block, ...]:
        """Return the blocks that it is made of."""
        return ()

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        """Return its output for the input x."""
        raise NotImplementedError

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        """Connect the block to its input wire, and return its output wire."""
        raise NotImplementedError

    def positions(self, after: int) -> int:
        """Return the number of positions in, for `after` of them out, that show all that it can do."""
        return after

    @property
    def takes(self) -> int | None:
        """The features that it takes, its field `inputs` or `d`; None if it takes any number."""
        return getattr(self, "inputs", getattr(self, "d", None))

    def features(self, before: int) -> int:
        """Return the number of features out for `before` in, its field `outputs` or `d`; ValueError if it takes another number."""
        if self.takes not in (None, before):
            raise ValueError(f"{self!r} takes {self.takes} features, but {before} come in")
        outputs: int | None = getattr(self, "outputs", None)
        return outputs or int(getattr(self, "d", before))


def named(parts: tuple[Block, ...]) -> Iterator[tuple[str, Block]]:
    """Yield parts with their names: the kind, and a number where there are several of a kind."""
    kinds = [type(part).__name__.lower() for part in parts]
    count, seen = Counter(kinds), Counter[str]()
    for kind, part in zip(kinds, parts, strict=True):
        seen[kind] += 1
        yield kind + (str(seen[kind]) if count[kind] > 1 else ""), part


@dataclass(frozen=True, init=False)
class Chain(Block):
    """Blocks one behind the other.

    Parameters
    ----------
    *blocks : Block
        In the order of evaluation.

    Raises
    ------
    TypeError
        If one is not a block.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Chain(nl.arch.Dense(2, 3), nl.arch.Activation("gelu"), nl.arch.Dense(3, 2)).parts()[0]
    Dense(inputs=2, outputs=3, bias=False, tied='')
    """

    blocks: tuple[Block, ...]

    def __init__(self, *blocks: Block) -> None:
        for block in blocks:
            checks.instance(block, "blocks", Block, "blocks of nl.arch")
        object.__setattr__(self, "blocks", blocks)

    def parts(self) -> tuple[Block, ...]:
        return self.blocks

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        for name, part in named(self.blocks):
            x = part.forward(scope.within(name), x)
        return x

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        for name, part in named(self.blocks):
            wire = part.connect(scope.within(name), wiring, wire)
        return wire

    def positions(self, after: int) -> int:
        for part in reversed(self.blocks):
            after = part.positions(after)
        return after

    def features(self, before: int) -> int:
        for part in self.blocks:
            before = part.features(before)
        return before


@dataclass(frozen=True, init=False)
class Residual(Chain):
    """x + f(x), where f is a chain of blocks.

    Parameters
    ----------
    *blocks : Block
        Of f, in the order of evaluation; as many features and positions out as in.

    Raises
    ------
    TypeError
        If one is not a block.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Residual(nl.arch.RMSNorm(3), nl.arch.SwiGLU(3, 4)).features(3)
    3
    """

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        y = super().forward(scope, x)
        if y.shape[1] != x.shape[1]:
            raise ValueError(f"blocks of a Residual return {y.shape[1]} positions for {x.shape[1]}; expected as many")
        return x + y

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wiring.add(wire, super().connect(scope, wiring, wire))
        return wire

    def features(self, before: int) -> int:
        after = super().features(before)
        if after != before:
            raise ValueError(f"blocks of a Residual return {after} features for {before}; expected as many")
        return after
