"""The defects of many laws in one array; those of small tensors, whose components do not mix, as one sparse matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from .._base.types import Array, Float64Array, IntArray
from .law import SHIFTS, Law

_SMALL = (
    1 << 14
)  # entries of a tensor: below it, a call of NumPy costs more than its work, and an index for each entry is cheap


class Defects:
    """`Law.total` of all laws in one array, (numbers,).

    Attributes
    ----------
    starts : ndarray of int
        Where the numbers of each law begin, and where the last ones end.
    """

    def __init__(self, laws: Sequence[Law], counts: Sequence[int]) -> None:
        self.starts = np.cumsum([0, *counts])
        small = [i for i, law in enumerate(laws) if _is_small(law)]
        self._others = [(law, self.part(i)) for i, law in enumerate(laws) if i not in small]
        self._small = _SmallLaws([laws[i] for i in small])
        self._places = np.concatenate([np.arange(self.starts[-1])[self.part(i)] for i in small] or [np.arange(0)])

    def part(self, i: int) -> slice:
        """Return where the numbers of a law are."""
        return slice(self.starts[i], self.starts[i + 1])

    def totals(self, x: Mapping[str, Array], g: Mapping[str, Array]) -> Float64Array:
        """Return the defects of all laws."""
        result = np.zeros(self.starts[-1])
        result[self._places] = self._small.totals(x, g)
        for law, part in self._others:
            result[part] = law.total(x, g).reshape(-1)
        return result


def _is_small(law: Law) -> bool:
    return law.acting is None and all(math.prod(m.leg.shape) <= _SMALL for m in law.members)


class _SmallLaws:
    """Laws that are linear in the products G∘X and the entries G of small tensors: a matrix times both, one after the other.

    A check of a small model would otherwise be a hundred calls of NumPy, one a term.
    """

    def __init__(self, laws: Sequence[Law]) -> None:
        sizes = {m.tensor: math.prod(m.leg.shape) for law in laws for m in law.members}
        self._names = list(sizes)
        n_entries = sum(sizes.values())
        first_entry = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
        rows: list[IntArray] = [np.arange(0)]
        columns: list[IntArray] = [np.arange(0)]
        values: list[Float64Array] = [np.zeros(0)]
        first_row = 0
        for law in laws:
            first_column = n_entries if law.kind in SHIFTS else 0
            for member in law.members:
                component = member.leg.labels(tuple(range(len(member.leg.splits))))
                entries = np.flatnonzero(component >= 0)
                rows.append(first_row + component[entries])
                columns.append(first_column + first_entry[member.tensor] + entries)
                values.append(np.full(entries.size, member.coefficient))
            first_row += law.size
        indices = (np.concatenate(rows, dtype=np.int32), np.concatenate(columns, dtype=np.int32))
        self._matrix = csr_array((np.concatenate(values), indices), shape=(first_row, 2 * n_entries))
        self._factors = np.zeros((2, n_entries))

    def totals(self, x: Mapping[str, Array], g: Mapping[str, Array]) -> Float64Array:
        """Return the totals of all laws, one after the other."""
        if not self._names:
            return np.zeros(0)
        products, gradients = self._factors
        np.concatenate([g[name].reshape(-1) for name in self._names], out=gradients)
        np.concatenate([x[name].reshape(-1) for name in self._names], out=products)
        products *= gradients
        return np.asarray(self._matrix @ self._factors.reshape(-1))
