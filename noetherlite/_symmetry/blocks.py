"""Blocks of θ as arrays."""

from __future__ import annotations

import numpy as np

from .._base.types import Array
from .._problem.blocks import Block
from .._problem.network import Network


def transposed(x: Array) -> Array:
    """Return a stack of matrices (..., m, n) with the last two axes exchanged."""
    return np.swapaxes(x, -1, -2)


def required(network: Network, name: str) -> Block:
    """Return a block of a network; raise ValueError if it has none of that name."""
    block = network.block(name)
    if block is None:
        raise ValueError(f"{network!r} has no parameters {name}")
    return block
