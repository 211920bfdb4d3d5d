"""Initial parameters of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._base.types import Float64Array
from .activations import Activation
from .blocks import Block

SCHEMES = ("lecun", "he", "xavier", "ntk", "orthogonal")


def draw(
    blocks: Sequence[Block],
    activations: Sequence[Activation],
    generator: np.random.Generator,
    scheme: str,
    bias_std: float,
    scale: float,
) -> Float64Array:
    """Return θ: normal or orthogonal weights times `scale`, normal biases, swish's β = 1."""
    theta = np.empty(blocks[-1].stop)
    for b in blocks:
        part = theta[b.start : b.stop]
        if b.name.startswith("W"):
            part[:] = generator.standard_normal(part.size)
            if scheme == "orthogonal":
                part[:] = scale * _orthogonal(part.reshape(b.shape)).ravel()
            else:
                part *= scale * weight_std(b.shape, activations[: int(b.name[1:]) - 1], scheme)
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
        "orthogonal": 1 / max(fan_in, fan_out),
    }
    return float(np.sqrt(variance[scheme]))


def _orthogonal(normal: Float64Array) -> Float64Array:
    """Return orthonormal rows or columns, whichever are fewer, uniformly distributed if the entries are normal."""
    tall = normal if normal.shape[0] >= normal.shape[1] else normal.T
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return np.asarray(Q if tall is normal else Q.T)
