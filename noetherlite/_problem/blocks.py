"""Named arrays inside θ: W1, b1, beta1, W2, b2 and so on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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


def blocks(widths: Sequence[int], activations: Sequence[Activation], bias: bool) -> list[Block]:
    """Return the named arrays of a network in their order."""
    out: list[Block] = []
    start = 0
    for h in range(1, len(widths)):
        n = widths[h]
        shapes: dict[str, tuple[int, ...]] = {f"W{h}": (n, widths[h - 1])}
        if bias:
            shapes[f"b{h}"] = (n,)
        if h <= len(activations) and activations[h - 1].trainable:
            shapes[f"beta{h}"] = (n,)
        for name, shape in shapes.items():
            out.append(Block(name, start, shape))
            start = out[-1].stop
    return out


def blocks_of(U: Any) -> Sequence[Block]:
    """Return the named arrays of a potential's θ; none where it has no names for them."""
    return getattr(U, "blocks", ())
