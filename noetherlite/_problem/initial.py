"""Initial parameters of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._base.types import Float64Array
from .activations import Activation
from .blocks import Block

SCHEMES = ("lecun", "he", "xavier", "ntk")


def draw(
    blocks: Sequence[Block],
    activations: Sequence[Activation],
    generator: np.random.Generator,
    scheme: str,
    bias_std: float,
) -> Float64Array:
    """Return θ: normal weights and biases, swish's β = 1."""
    theta = np.empty(blocks[-1].stop)
    for b in blocks:
        part = theta[b.start : b.stop]
        if b.name.startswith("W"):
            part[:] = generator.standard_normal(part.size) * weight_std(
                b.shape, activations[: int(b.name[1:]) - 1], scheme
            )
        elif b.name.startswith("beta"):
            part[:] = 1.0
        else:
            part[:] = bias_std * generator.standard_normal(part.size) if bias_std else 0.0
    return theta


def weight_std(shape: tuple[int, ...], below: Sequence[Activation], scheme: str) -> float:
    """Return the standard deviation of the entries of a W of this shape, above the activations `below`."""
    fan_out, fan_in = shape
    moment = below[-1].second_moment() if below else 1.0
    variance = {
        "lecun": 1 / fan_in,
        "he": 2 / fan_in,
        "xavier": 2 / (fan_in + fan_out),
        "ntk": 1 / (fan_in * moment),
    }
    return float(np.sqrt(variance[scheme]))
