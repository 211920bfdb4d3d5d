"""Products of matrices and vectors, by the BLAS that the kernels use or by none."""

from __future__ import annotations

import numpy as np

from .types import Array, Float64Array


def times_transposed(A: Array, B: Array) -> Float64Array:
    """Return A Bᵀ by SciPy's BLAS, which the kernels use.

    NumPy has a BLAS of its own, whose threads spin for a tenth of a second after a product and slow down those of SciPy's.
    """
    from scipy.linalg.blas import dgemm

    return np.asarray(dgemm(1.0, B.T, A.T, trans_a=True).T)


def square(x: Array) -> float:
    """Return |x|² by SciPy's BLAS."""
    from scipy.linalg.blas import ddot

    flat = x.ravel()
    return float(ddot(flat, flat))


def lengths(x: Array) -> Array:
    """Return |x| of the vectors along the last axis, without a copy of them."""
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", x, x)))
