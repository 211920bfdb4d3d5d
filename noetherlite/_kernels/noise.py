"""Normal numbers of a run's steps: a pure function of the run's key, the step and the coordinate, for CPU and GPU alike."""

from __future__ import annotations

import math

import numpy as np

from .elementary import cos, sin
from .jit import compiled, scalar
from .pointwise import mix
from .powers import log

# The shuffles of the minibatches are mix(key, epoch) of the same key, with epochs far below it.
_NOISE = 1 << 63


@compiled
def stream(key, step):
    """Return 64 pseudo-random bits that a step's numbers are made from."""
    return mix(mix(key, np.uint64(_NOISE)), step)


@scalar
def pair(bits, i):
    """Return numbers i and i + 1 of a step, i even, from N(0, 1): √(−2 log u) (cos 2πw, sin 2πw) of two uniform numbers (Box & Muller)."""
    u = (np.float64(mix(bits, i) >> np.uint64(11)) + 1.0) * 2.0**-53  # in (0, 1]
    angle = 2 * math.pi * 2.0**-53 * np.float64(mix(bits, i + 1) >> np.uint64(11))
    size = math.sqrt(-2.0 * log(u))
    return size * cos(angle), size * sin(angle)


@scalar
def normal(bits, i):
    """Return number i of a step."""
    even, odd = pair(bits, i - i % 2)
    return even if i % 2 == 0 else odd


@compiled
def draw(key, step, out):
    """Fill `out` with the numbers of a step."""
    bits, last = stream(key, step), out.size - 1
    for j in range(out.size // 2):
        out[2 * j], out[2 * j + 1] = pair(bits, 2 * j)
    if out.size % 2 == 1:
        out[last] = normal(bits, last)
