"""Initial parameters of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._base import checks
from .._base.types import Float64Array, Seed
from .activations import Activation
from .balance import balance as balanced
from .balance import orthogonal
from .blocks import Block

SCHEMES = ("lecun", "he", "xavier", "ntk", "orthogonal")


def draw(
    blocks: Sequence[Block],
    activations: Sequence[Activation],
    rng: Seed,
    scheme: str,
    bias_std: float,
    scale: float,
    balance: float | None,
) -> Float64Array:
    """Return θ: normal or orthogonal weights times `scale`, normal biases, swish's β = 1, balanced if a number says how.

    ValueError or TypeError if an argument is not as described.
    """
    scheme = checks.one_of(scheme, "scheme", SCHEMES)
    bias_std = checks.real(bias_std, "bias_std", minimum=0.0)
    scale = checks.real(scale, "scale", minimum=0.0, strict=True)
    generator = checks.generator(rng)
    theta = np.empty(blocks[-1].stop)
    for b in blocks:
        part = theta[b.part]
        if b.name.startswith("W"):
            part[:] = generator.standard_normal(part.size)
            if scheme == "orthogonal":
                part[:] = scale * orthogonal(part.reshape(b.shape)).ravel()
            else:
                part *= scale * weight_std(b.shape, activations[: int(b.name[1:]) - 1], scheme)
        elif b.name.startswith("beta"):
            part[:] = 1.0
        else:
            part[:] = bias_std * generator.standard_normal(part.size) if bias_std else 0.0
    if balance is not None:
        arrays = {b.name: b.of(theta) for b in blocks}
        balanced(arrays, activations, checks.real(balance, "balance"), generator)
    return theta


def weight_std(shape: tuple[int, ...], below: Sequence[Activation], scheme: str) -> float:
    """Return the standard deviation of the entries of a W of this shape, above the activations `below`."""
    fan_out, fan_in = shape
    # an integral, which takes longer than to draw W
    moment = below[-1].second_moment() if below and scheme == "ntk" else 1.0
    variance = {
        "lecun": 1 / fan_in,
        "he": 2 / fan_in,
        "xavier": 2 / (fan_in + fan_out),
        "ntk": 1 / (fan_in * moment),
        "orthogonal": 1 / max(fan_in, fan_out),
    }
    return float(np.sqrt(variance[scheme]))
