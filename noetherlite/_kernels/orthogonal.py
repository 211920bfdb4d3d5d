"""The orthogonal matrix near a matrix, by five Newton–Schulz iterations, in plain NumPy: the oracle; kernels do the same.

M = Σ σ_i u_i v_iᵀ becomes Σ p⁵(σ_i/(|M| + ε)) u_i v_iᵀ with p(s) = as + bs³ + cs⁵, whose slope at 0 is so large that five of them take
all of 0.002 ≤ s ≤ 1 to 0.68 … 1.21. The factor √max(1, rows/columns) is that of steps of one size in the spectral norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import scalar

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # a, b, c (Jordan 2024)
STEPS = 5


def spectral_scale(rows: int, columns: int) -> float:
    """Return √max(1, rows/columns)."""
    return math.sqrt(max(1.0, rows / columns))


scale = scalar(spectral_scale)  # for kernels


def _exactly(matrix: NDArray[Any]) -> NDArray[Any]:
    return matrix


def orthogonalised(
    matrix: NDArray[Any], eps: float, rounded: Callable[[NDArray[Any]], NDArray[Any]] = _exactly
) -> NDArray[Any]:
    """Return the orthogonal matrix near a matrix, scaled; each product of an iteration is `rounded`."""
    a, b, c = COEFFICIENTS
    rows, columns = matrix.shape
    tall = rows > columns
    M = matrix.T if tall else matrix
    M = rounded(M / (np.linalg.norm(M) + eps))
    for _ in range(STEPS):
        A = rounded(M @ M.T)
        M = rounded(a * M + rounded(b * A + c * A @ A) @ M)
    return np.asarray(spectral_scale(rows, columns) * (M.T if tall else M))
