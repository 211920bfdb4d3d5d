"""Underflow, which is no error in this library: what is too small for a double is rounded, at the worst to zero."""

from __future__ import annotations

import math

import numpy as np

from .types import Array, Float64Array

# For the doors of the library, so that a program's np.seterr(all="raise") finds errors of its own and not e^(−1000) = 0.
# Overflow, division by zero and what is invalid are looked after where they may happen.
underflowing = np.errstate(under="ignore")


# For those that look at their results by `in_range`.
rangeless = np.errstate(over="ignore", under="ignore", invalid="ignore")


def in_range(K: Float64Array) -> Float64Array:
    """Return a kernel, which must hold numbers."""
    if not (np.isfinite(K.min(initial=0.0)) and np.isfinite(K.max(initial=0.0))):
        raise ValueError("K is beyond the range of a double: X1, X2 or the weights are too large; scale them")
    return K


def unit(x: Array) -> float:
    """Return the power of two below the largest |entry|, and 1 where that is 0: x/unit(x) has squares that are doubles."""
    top = float(np.abs(x).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(top)[1] - 1) if 0 < top < math.inf else 1.0


def rms(x: Array, axis: int | None = None) -> Array:
    """Return the root mean square, also where squares would over- or underflow."""
    scale = unit(x)
    return np.asarray(scale * np.sqrt(np.mean(np.square(x / scale, dtype=np.float64), axis=axis)))


def norm(x: Array) -> float:
    """Return |x|, also where squares would over- or underflow."""
    scale = unit(x)
    return scale * float(np.linalg.norm(x / scale))
