"""The defects of many laws in one array: those of small tensors by one sparse matrix, the others law by law."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from .._base.types import Array, Float64Array, IntArray
from .contraction import WIDEST, above_diagonal
from .law import SHIFTS, Law

# entries of a tensor: below it, a call of NumPy costs more than its work, and an index for each entry is cheap
_SMALL = 1 << 14


class Defects:
    """`Law.total` of all laws in one array, (numbers,).

    Attributes
    ----------
    starts : ndarray of int
        Where the numbers of each law begin, and where the last ones end.
    """

    def __init__(self, laws: Sequence[Law], counts: Sequence[int]) -> None:
        self.starts = np.cumsum([0, *counts])
        self._others = [(law, self.part(i)) for i, law in enumerate(laws) if not _is_small(law)]
        small = {int(self.starts[i]): law for i, law in enumerate(laws) if _is_small(law)}
        self._small = _SmallLaws(small, int(self.starts[-1]))

    def part(self, i: int) -> slice:
        """Return the slice of the numbers of a law."""
        return slice(self.starts[i], self.starts[i + 1])

    def totals(self, x: Mapping[str, Array], g: Mapping[str, Array]) -> Float64Array:
        """Return the defects of all laws."""
        result = self._small.totals(x, g)
        for law, part in self._others:
            result[part] = law.total(x, g).reshape(-1)
        return result


def _is_small(law: Law) -> bool:
    width = 1 if law.acting is None else law.blocks[law.acting]
    sizes = [law.size * width, *(math.prod(m.leg.shape) for m in law.members)]
    return width <= WIDEST and max(sizes) <= _SMALL


class _SmallLaws:
    """Laws of small tensors as a matrix times (X, G, G∘X, products G Xᵀ of blocks), each flattened.

    A check of a small model would otherwise be hundreds of calls of NumPy, several a term. Laws are given by the row of the matrix
    where the numbers of each begin; rows of other laws are zero.
    """

    def __init__(self, laws: Mapping[int, Law], n_rows: int) -> None:
        sizes = {m.tensor: math.prod(m.leg.shape) for law in laws.values() for m in law.members}
        self._names = list(sizes)
        self._n_entries = n = sum(sizes.values())
        first_entry = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))
        entries: list[tuple[IntArray, IntArray, Float64Array]] = [_entries([], [], 0.0)]
        mixed: dict[tuple[int, int], list[tuple[int, Law, _Factors]]] = {}
        for row, law in laws.items():
            if law.acting is None:
                entries += _sums(law, row, n if law.kind in SHIFTS else 2 * n, first_entry)
            else:
                factors = _Factors.of(law, first_entry, n)
                mixed.setdefault(factors.left.shape[1:], []).append((row, law, factors))
        self._products = []
        column = 3 * n
        for alike in mixed.values():
            self._products.append((column, _Factors.stacked([factors for *_, factors in alike])))
            for row, law, factors in alike:
                blocks, width, _ = factors.left.shape
                entries += _numbers(law, row, column + np.arange(blocks * width**2).reshape(blocks, width, width))
                column += blocks * width**2
        rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        self._matrix = csr_array((values, (rows, columns)), shape=(n_rows, column))
        self._values = np.zeros(column)

    def totals(self, x: Mapping[str, Array], g: Mapping[str, Array]) -> Float64Array:
        """Return the totals of all laws, zeros where other laws are."""
        n, values = self._n_entries, self._values
        if n:
            np.concatenate([x[name] for name in self._names], axis=None, out=values[:n])
            np.concatenate([g[name] for name in self._names], axis=None, out=values[n : 2 * n])
            np.multiply(values[:n], values[n : 2 * n], out=values[2 * n : 3 * n])
        for column, factors in self._products:
            M = factors.product(values)
            values[column : column + M.size] = M.reshape(-1)
        return np.asarray(self._matrix @ values)


class _Factors:
    """Places of the entries of two stacks of matrices A and B whose products A Bᵀ are Σ_ℓ c_ℓ M_ℓ of laws that mix components.

    M of a member is G Xᵀ, or X Gᵀ where the inverse transpose acts, which that of a rotation is not. A has the left factors of all
    members side by side, B the right ones.
    """

    def __init__(self, left: IntArray, right: IntArray, coefficients: Float64Array) -> None:
        self.left, self.right, self._coefficients = left, right, coefficients

    @classmethod
    def of(cls, law: Law, first_entry: Mapping[str, int], n: int) -> _Factors:
        """Return those of one law, (blocks, width, rest), among n parameters followed by n gradients."""
        left, right, coefficients = [], [], []
        for member, places in zip(law.members, law.places(), strict=True):
            parameter = first_entry[member.tensor] + places
            gradient = n + parameter
            transposed = member.inverse and law.kind != "rotate"
            left.append(parameter if transposed else gradient)
            right.append(gradient if transposed else parameter)
            coefficients.append(np.full((len(places), 1, places.shape[-1]), member.signed))
        return cls(np.concatenate(left, -1), np.concatenate(right, -1), np.concatenate(coefficients, -1))

    @classmethod
    def stacked(cls, parts: Sequence[_Factors]) -> _Factors:
        """Return those of several laws of equal shape."""
        return cls(
            np.concatenate([p.left for p in parts]),
            np.concatenate([p.right for p in parts]),
            np.concatenate([p._coefficients for p in parts]),
        )

    def product(self, values: Float64Array) -> Float64Array:
        """Return A Bᵀ of all blocks."""
        left = values[self.left]
        left *= self._coefficients
        return np.asarray(left @ values[self.right].swapaxes(-1, -2))


def _entries(rows: object, columns: object, value: float) -> tuple[IntArray, IntArray, Float64Array]:
    """Return equal entries of a sparse matrix."""
    at = np.asarray(rows, dtype=np.int32).reshape(-1)
    return at, np.asarray(columns, dtype=np.int32).reshape(-1), np.full(at.size, value)


def _sums(
    law: Law, row: int, column: int, first_entry: Mapping[str, int]
) -> Iterator[tuple[IntArray, IntArray, Float64Array]]:
    """Yield the entries of a law that acts on each component alone: sums over the entries that have it."""
    for member in law.members:
        component = member.leg.labels(tuple(range(len(member.leg.splits))))
        places = np.flatnonzero(component >= 0)
        yield _entries(row + component[places], column + first_entry[member.tensor] + places, member.coefficient)


def _numbers(law: Law, row: int, places: IntArray) -> Iterator[tuple[IntArray, IntArray, Float64Array]]:
    """Yield the entries of a law that mixes components: what it takes of M, whose entries are at `places`."""
    if law.kind == "gl":
        yield _entries(row + np.arange(places.size), places, 1.0)
    elif law.kind == "rotate":
        upper = above_diagonal(places)
        yield _entries(row + np.arange(upper.size), upper, 1.0)
        yield _entries(row + np.arange(upper.size), above_diagonal(places.swapaxes(-1, -2)), -1.0)
    else:
        real = row + 2 * np.arange(len(places))
        yield from (_entries(real, places[:, k, k], 1.0) for k in (0, 1))
        yield _entries(real + 1, places[:, 0, 1], 1.0)
        yield _entries(real + 1, places[:, 1, 0], -1.0)
