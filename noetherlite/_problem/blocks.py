"""Named arrays inside θ: W1, b1, beta1, W2, b2 and so on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .activations import Activation


class Block(NamedTuple):
    """A named array inside θ."""

    name: str  # "W1", "b1", "beta1", "W2", …
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """One past the block's last entry."""
        return self.start + math.prod(self.shape)

    @property
    def part(self) -> slice:
        """Its entries in θ."""
        return slice(self.start, self.stop)

    def of(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the array as a view into x of shape (..., P)."""
        return x[..., self.part].reshape(x.shape[:-1] + self.shape)


def placed(shapes: Mapping[str, tuple[int, ...]]) -> list[Block]:
    """Return the blocks of arrays with these names and shapes, one after the other."""
    ends = itertools.accumulate(map(math.prod, shapes.values()), initial=0)
    return [Block(name, start, shape) for (name, shape), start in zip(shapes.items(), ends, strict=False)]


def blocks(widths: Sequence[int], activations: Sequence[Activation], bias: bool) -> list[Block]:
    """Return the named arrays of a network in their order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for h in range(1, len(widths)):
        n = widths[h]
        shapes[f"W{h}"] = (n, widths[h - 1])
        if bias:
            shapes[f"b{h}"] = (n,)
        if h <= len(activations) and activations[h - 1].trainable:
            shapes[f"beta{h}"] = (n,)
    return placed(shapes)


def blocks_of(U: Any) -> Sequence[Block]:
    """Return the named arrays of a potential's θ; none where it has no names for them."""
    return getattr(U, "blocks", ())
