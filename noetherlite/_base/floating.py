"""Floating-point errors: underflow is ignored in this library; norms that neither overflow nor underflow."""

from __future__ import annotations

import math

import numpy as np

from .types import Array, Float64Array

_PIECE = 1 << 20  # entries of a large array that are squared at a time

# Decorates public functions, so that under np.seterr(all="raise") results such as e^(−1000) = 0 are no error.
# Overflow, division by zero and invalid operations are handled where they may occur.
underflowing = np.errstate(under="ignore")


# Decorates functions that check their result for entries that are not finite, as by `in_range`.
rangeless = np.errstate(over="ignore", under="ignore", invalid="ignore")


def in_range(K: Float64Array) -> Float64Array:
    """Return a tangent kernel; raise ValueError if an entry is NaN or infinite."""
    if not (np.isfinite(K.min(initial=0.0)) and np.isfinite(K.max(initial=0.0))):
        raise ValueError("K is beyond the range of a double: X1, X2 or the weights are too large; scale them")
    return K


def unit(x: Array) -> float:
    """Return the largest power of two ≤ max|x|, 1 if that is 0 or infinite: the squares of x/unit(x) do not overflow."""
    top = max(float(x.max(initial=0.0)), -float(x.min(initial=0.0)))
    return math.ldexp(1.0, math.frexp(top)[1] - 1) if 0 < top < math.inf else 1.0


def units(x: Array) -> Float64Array:
    """Return `unit` of every row of x (K, P), shape (K, 1)."""
    top = np.maximum(x.max(axis=1, initial=0.0), -x.min(axis=1, initial=0.0))
    return np.where((top > 0) & (top < np.inf), np.ldexp(1.0, np.frexp(top)[1] - 1), 1.0)[:, None]


def rms(x: Array, axis: int | None = None) -> Array:
    """Return the root mean square in double precision, scaled so that squares neither overflow nor underflow."""
    scale = unit(x)
    if axis is None and x.size > _PIECE:  # arrays of that size are not copied as a whole
        pieces = map(np.asarray, np.nditer(x, ["external_loop", "buffered"], buffersize=_PIECE))
        mean = sum(np.square(piece / scale, dtype=np.float64).sum() for piece in pieces) / x.size
    else:
        mean = np.mean(np.square(x / scale, dtype=np.float64), axis=axis)
    return np.asarray(scale * np.sqrt(mean))


def norm(x: Array) -> float:
    """Return |x|, scaled so that squares neither overflow nor underflow."""
    scale = unit(x)
    return scale * float(np.linalg.norm(x / scale))
