"""The term of one leg in a law: its contraction of parameters with gradients, with all views of the arrays resolved once."""

from __future__ import annotations

import functools
import math
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._base.types import Array, Float64Array, IntArray
from .legs import Leg, gathered, subscripts, sums

WIDEST = 512  # components of a block whose matrix M is formed
_PROJECTIONS = 8
_SAMPLE = 8  # components of each of two blocks that are tested first
_Number = TypeVar("_Number", bound=np.number[Any])


class Contraction(Protocol):
    """The part of a leg that a law needs."""

    def total(self, x: Array, g: Array, sampled: bool = False) -> Float64Array:
        """Return the contraction of a tensor with its gradient; of few components where `sampled` and they are mixed."""

    def size(self, x: Array, g: Array, sampled: bool = False) -> Float64Array:
        """Return |X||G| for each number of it.

        Round-off of a gradient's entries is relative to the typical size of the whole tensor: |G|² is that of the component plus
        the mean over all components.
        """


class Sums:
    """Σ_rest G_i X_i, or Σ_rest G_i of a leg whose components are shifted."""

    def __init__(self, leg: Leg, shifted: bool) -> None:
        self._leg, self._shifted = leg, shifted
        self._spec = subscripts(len(leg.shape), leg.kept, 1 if shifted else 2)

    def total(self, x: Array, g: Array, sampled: bool = False) -> Float64Array:
        """Return the sum of every component, shape (n,)."""
        leg = self._leg
        factors = (leg.seen(g),) if self._shifted else (leg.seen(g), leg.seen(x))
        return gathered(leg, np.einsum(self._spec, *factors, dtype=np.float64).reshape(-1))

    def size(self, x: Array, g: Array, sampled: bool = False) -> Float64Array:
        """Return the size of its terms, shape (n,)."""
        leg = self._leg
        terms = sums("translate" if self._shifted else "scale", leg, leg.seen(x), leg.seen(g))
        _, g2, y2 = gathered(leg, terms)
        return np.asarray(np.sqrt((g2 + g2.mean()) * y2))


class Products:
    """M_ij = Σ_rest G_i X_j within blocks of components, Mᵀ where the inverse acts; of rotations, M − Mᵀ above its diagonal.

    For blocks wider than 512 components, the products leftᵀ M right with eight pairs of random vectors take the place of M.
    """

    def __init__(self, leg: Leg, blocks: tuple[int, ...], acting: int, inverse: bool, skew: bool) -> None:
        self._leg, self._inverse, self._skew = leg, inverse, skew
        self._width = blocks[acting]
        self._shape = (*blocks, -1)
        axes = list(range(len(blocks) + 1))
        axes.insert(-1, axes.pop(acting))
        self._order = None if acting == len(blocks) - 1 else axes

    @functools.cached_property
    def _sample(self) -> IntArray:
        """A few components of each of two blocks."""
        places = np.arange(self._leg.size).reshape(*self._shape[:-1], 1)
        places = places if self._order is None else places.transpose(self._order)
        columns = np.linspace(0, self._width - 1, min(self._width, _SAMPLE)).astype(int)
        return places.reshape(-1, self._width)[:2, columns]

    @functools.cached_property
    def _vectors(self) -> tuple[Float64Array, Float64Array]:
        """Random vectors to take products with, of M or of Mᵀ; (_PROJECTIONS, width) each."""
        left, right = np.random.default_rng(self._width).normal(size=(2, _PROJECTIONS, self._width))
        return (right, left) if self._inverse else (left, right)

    def total(self, x: Array, g: Array, sampled: bool = False) -> Float64Array:
        """Return the contraction, shape (blocks, width, width), (blocks, pairs) for rotations, or (blocks, products)."""
        x, g = self._blocks(x, sampled), self._blocks(g, sampled)
        if x.shape[-2] > WIDEST:
            left, right = self._vectors
            M = _product(g, x, left, right)
            return M - _product(g, x, right, left) if self._skew else M
        M = g @ x.swapaxes(-1, -2)
        if self._skew:
            return above_diagonal(M - M.swapaxes(-1, -2))
        return M.swapaxes(-1, -2) if self._inverse else M

    def size(self, x: Array, g: Array, sampled: bool = False) -> Float64Array:
        """Return the size of its terms, in the same shape."""
        x, g = self._blocks(x, sampled), self._blocks(g, sampled)
        if x.shape[-2] > WIDEST:
            left, right = self._vectors
            size = np.linalg.norm(left @ g, axis=-1) * np.linalg.norm(right @ x, axis=-1)
            return np.asarray(2 * size if self._skew else size)
        g2, x2 = np.square(g).sum(-1), np.square(x).sum(-1)
        size = np.sqrt((g2 + g2.mean())[..., :, None] * x2[..., None, :])
        if self._skew:
            return above_diagonal(size + size.swapaxes(-1, -2))
        return np.asarray(size.swapaxes(-1, -2) if self._inverse else size)

    def places(self) -> IntArray:
        """Return the places in the flattened tensor of the entries of its blocks, shape (blocks, width, rest)."""
        shape = self._leg.shape
        return self._blocks(np.arange(math.prod(shape), dtype=float).reshape(shape), sampled=False).astype(np.int64)

    def _blocks(self, array: Array, sampled: bool) -> Float64Array:
        """Return a tensor as (blocks, width, rest), or a few of its components."""
        if sampled:
            rows = self._leg.some_rows(array, self._sample.reshape(-1)).reshape(*self._sample.shape, -1)
        else:
            rows = self._leg.rows(array).reshape(self._shape)
            rows = rows if self._order is None else rows.transpose(self._order)
            rows = rows if rows.ndim == 3 else rows.reshape(-1, *rows.shape[-2:])
        return rows.astype(np.float64, copy=False)


def above_diagonal(M: NDArray[_Number]) -> NDArray[_Number]:
    """Return the entries of matrices above their diagonals, shape (..., pairs)."""
    rows, columns = _pairs(M.shape[-1])
    return M[..., rows, columns]


@functools.lru_cache(maxsize=64)
def _pairs(width: int) -> tuple[IntArray, IntArray]:
    """Return all pairs of components i < j."""
    return np.triu_indices(width, 1)


def _product(g: Array, x: Array, left: Float64Array, right: Float64Array) -> Float64Array:
    """Return leftᵀ M right for pairs of vectors, M = g xᵀ, shape (blocks, pairs)."""
    return np.asarray(((left @ g) * (right @ x)).sum(-1))
