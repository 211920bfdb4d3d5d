"""Normal numbers of a run's steps: a pure function of the run's key, the step and the coordinate, for CPU and GPU alike."""

from __future__ import annotations

import math

import numpy as np

from .elementary import cos, sin
from .jit import compiled, scalar
from .pointwise import mix

# The shuffles of the minibatches are mix(key, epoch) of the same key, with epochs far below it.
_NOISE = 1 << 63


@compiled
def stream(key, step):
    """Return 64 pseudo-random bits that a step's numbers are made from."""
    return mix(mix(key, np.uint64(_NOISE)), step)


@scalar
def normal(bits, i):
    """Return number i of a step, from N(0, 1): √(−2 log u) cos 2πw of two uniform numbers, its neighbour has the sine (Box & Muller)."""
    pair = i - i % 2
    u = (np.float64(mix(bits, pair) >> np.uint64(11)) + 1.0) * 2.0**-53  # in (0, 1]
    angle = 2 * math.pi * 2.0**-53 * np.float64(mix(bits, pair + 1) >> np.uint64(11))
    return math.sqrt(-2.0 * math.log(u)) * (cos(angle) if i == pair else sin(angle))


@compiled
def draw(key, step, out):
    """Fill `out` with the numbers of a step."""
    bits = stream(key, step)
    for i in range(out.size):
        out[i] = normal(bits, i)
