"""The base class of analytic potentials: formulas in NumPy, with known symmetries and, where there is one, a known minimum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import Array, ArrayLike, Float64Array


class Analytic(ABC):
    """A potential given by a formula.

    Runs evaluate it in Python. `nl.symmetries` lists its known symmetries, and runs record their laws.
    """

    n_params: int  # P

    @abstractmethod
    def evaluate(self, x: Array) -> tuple[Any, Array]:
        """Return U(x) and ∇U(x) for real or complex x (P,): an analytic expression, which complex steps differentiate."""

    @abstractmethod
    def generators(self) -> dict[str, Float64Array]:
        """Return the known symmetries g(x) = Gx + ξ by name, as matrices (G, ξ) of shape (P, P + 1)."""

    @property
    @abstractmethod
    def minimum(self) -> float:
        """Inf U; NaN where it is not known."""

    @abstractmethod
    def specification(self) -> dict[str, Any]:
        """Return the kind and the sizes, ready for JSON."""

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that identify the potential beside its sizes."""
        return {name: value for name, value in sorted(vars(self).items()) if isinstance(value, np.ndarray)}

    def value(self, x: ArrayLike) -> float:
        """Return U(x) for x of shape (P,)."""
        return self.value_and_gradient(x)[0]

    def gradient(self, x: ArrayLike) -> Float64Array:
        """Return ∇U(x) of shape (P,)."""
        return self.value_and_gradient(x)[1]

    @underflowing
    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Float64Array]:
        """Return U(x) and ∇U(x) of shape (P,)."""
        x = checks.shaped(x, "x", (self.n_params,)).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
            value, gradient = self.evaluate(x)
        finite = bool(np.isfinite(value))
        return float(value), np.asarray(gradient if finite else np.full(self.n_params, np.nan), np.float64)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={value!r}" for name, value in self.specification().items() if name != "kind")
        return f"{type(self).__name__}({sizes})"


def linear_generator(G: Array) -> Float64Array:
    """Return (G, 0) of shape (P, P + 1)."""
    return np.column_stack([G, np.zeros(len(G))]).astype(np.float64)


def rotation_generators(planes: Array, starts: Sequence[int], n_params: int) -> dict[str, Float64Array]:
    """Return the generators "rotation[p,q]" of rotations in the span of orthonormal `planes` (k, d), acting on vectors in θ.

    `starts` are the offsets in θ of the vectors of length d that turn together.
    """
    k, d = planes.shape
    out = {}
    for q in range(k):
        for p in range(q):
            G = np.zeros((n_params, n_params))
            for start in starts:
                block = slice(start, start + d)
                G[block, block] = np.outer(planes[p], planes[q]) - np.outer(planes[q], planes[p])
            out[f"rotation[{p},{q}]"] = linear_generator(G)
    return out


def complement(A: Array) -> Float64Array:
    """Return an orthonormal basis of the directions that are orthogonal to the rows of A, in rows."""
    _, sizes, rows = np.linalg.svd(A)
    rank = int((sizes > sizes[0] * max(A.shape) * np.finfo(np.float64).eps).sum())
    return np.asarray(rows[rank:])


def least_squares(A: Array, y: Array) -> float:
    """Return the minimum of |Ax − y|²/2K for K rows; 0 where it is round-off."""
    error = A @ np.linalg.lstsq(A, y, rcond=None)[0] - y
    below = np.linalg.norm(error) <= 64 * np.finfo(np.float64).eps * np.linalg.norm(y)
    return 0.0 if below else float(error @ error) / (2 * error.size)
