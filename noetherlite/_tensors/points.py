"""The points at which a scan takes gradients: random ones near given parameters, whose weights are enlarged if too small."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._base.floating import rms, unit
from .._base.types import Array

_SMALL = 0.25  # of 1/√inputs


def small_weights(params: Mapping[str, Array]) -> dict[str, float]:
    """Return the matrices whose entries are far below 1/√inputs, and that size.

    An initialiser's weights of 0.02 in a narrow model are. Attention is then nearly uniform, and the gradients of queries and keys
    are a small part of the others, down to their round-off.
    """
    sizes = {
        name: 1 / math.sqrt(min(x.size // x.shape[0], x.size // x.shape[-1]))
        for name, x in params.items()
        if x.ndim > 1
    }
    return {name: size for name, size in sizes.items() if 0 < rms(params[name]) < _SMALL * size}


def enlarged(params: Mapping[str, Array], sizes: Mapping[str, float]) -> dict[str, Array]:
    """Return parameters of which some are scaled to the given root mean squares."""
    return {name: x * x.dtype.type(sizes[name] / float(rms(x))) if name in sizes else x for name, x in params.items()}


def random_point(start: dict[str, Array], spread: float, rng: np.random.Generator) -> dict[str, Array]:
    """Return a random point near `start`; tensors that are zero move by the typical size of the others."""
    sizes = {name: float(rms(x)) for name, x in start.items()}
    typical = float(np.median([size for size in sizes.values() if size > 0] or [1.0]))
    point: dict[str, Array] = {}
    for name, x in start.items():
        size = sizes[name] or typical
        scale = unit(np.array(size))  # which float32 may not reach
        step = spread * (size / scale) * rng.standard_normal(x.shape, dtype=np.float32)
        point[name] = x + step.astype(x.dtype) * x.dtype.type(scale)
    return point
