"""Hypotheses about the places of a symmetry's components in the tensors of a model, derived from the shapes alone.

A hypothesis is a list of legs of equal size: the columns among which relations are sought. They are yielded from fine to coarse,
as a relation between fine components implies those between their sums.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from .legs import Leg

LARGEST = 200_000  # components
PARTS = (2, 3, 4)  # how many parts a fused axis may have: q, k, v; up and gate; the gates of a recurrent cell

Splits = tuple[tuple[int, ...], ...]
Part = tuple[int, int, int] | None


def divisors(n: int) -> list[int]:
    """Return the divisors of n, ascending."""
    small = [r for r in range(1, math.isqrt(n) + 1) if n % r == 0]
    return small + [n // r for r in reversed(small) if r * r != n]


def primes(ascending: Sequence[int]) -> list[int]:
    """Return the numbers that no earlier one divides."""
    return [r for k, r in enumerate(ascending) if all(r % p for p in ascending[:k])]


class Shapes:
    """The shapes of a model's tensors; `splits` has the sizes that views split each axis into."""

    def __init__(self, splits: Mapping[str, Splits]) -> None:
        self.splits = dict(splits)
        self.tensors = {name: Leg(name, sizes, ()) for name, sizes in self.splits.items()}
        self.sizes = sorted({n for leg in self.tensors.values() for n in leg.shape if n > 1}, reverse=True)
        self._shapes = [tuple(n for n in leg.shape if n > 1) for leg in self.tensors.values()]

    def shifts(self) -> list[list[Leg]]:
        """Return hypotheses about components that are shifted: everything along an axis, or in a slice, by one number."""
        return _ordered([*self._axes(), *self._slices(), list(self.tensors.values())])

    def scalings(self) -> list[list[Leg]]:
        """Return hypotheses about components that are scaled."""
        kinds = (self._axes(), self._slices(), self._groups(), self._pairs(), self._blocks())
        return _ordered([*itertools.chain(*kinds), list(self.tensors.values())])

    def single(self, size: int) -> list[Leg]:
        """Return all legs of one axis of that size."""
        return [
            Leg(name, leg.splits, (axis,))
            for name, leg in self.tensors.items()
            for axis, n in enumerate(leg.shape)
            if n == size
        ]

    def _axes(self) -> list[list[Leg]]:
        """Axes as the tensors have them, and several of one together, such as experts and their neurons."""
        return _by_size(leg for tensor in self.tensors.values() for leg in self._subsets(tensor))

    def _subsets(self, tensor: Leg) -> Iterator[Leg]:
        """Yield legs of every set of axes; all axes of a matrix only where another tensor has its shape."""
        sizes = dict(enumerate(replace(tensor, kept=tuple(range(len(tensor.shape)))).sizes))
        axes = [axis for axis, n in sizes.items() if n > 1]
        twins = self._shapes.count(tuple(tensor.shape[axis] for axis in axes))
        for count in range(1, len(axes) + 1):
            if count == len(axes) > 1 and twins < 2:
                continue
            for subset in itertools.combinations(axes, count):
                yield replace(tensor, kept=subset)

    def _slices(self) -> Iterator[list[Leg]]:
        """Tensors cut along a fused axis: one that a view has split, or one whose size is a small multiple of another's."""
        for total in self.sizes:
            for count in PARTS:
                if total % count == 0 and total // count in self.sizes:
                    yield from self._cut(self._fused(total, count))
        for name, leg in self.tensors.items():
            place = 0
            for sizes in leg.splits:
                if len(sizes) > 1 and sizes[0] in PARTS:
                    yield from self._cut({name: [(place, k, k + 1) for k in range(sizes[0])]})
                place += len(sizes)

    def _fused(self, total: int, count: int) -> dict[str, list[tuple[int, int, int]]]:
        width = total // count
        parts = {}
        for name, leg in self.tensors.items():
            if total in leg.shape:
                axis = leg.shape.index(total)
                parts[name] = [(axis, k * width, (k + 1) * width) for k in range(count)]
        return parts

    def _cut(self, parts: Mapping[str, Iterable[Part]]) -> list[list[Leg]]:
        pieces = [replace(leg, part=part) for name, leg in self.tensors.items() for part in parts.get(name, (None,))]
        groups = _by_size(leg for piece in pieces for leg in self._subsets(piece))
        return [legs for legs in groups if any(leg.part for leg in legs)]

    def _multiples(self, n: int) -> list[int]:
        return [total for total in self.sizes if total > n and total % n == 0]

    def _groups(self) -> Iterator[list[Leg]]:
        """Components of a leg that share one component of a smaller one, such as the query heads of a key-value head."""
        for n in self.sizes:
            for total in self._multiples(n):
                for r in divisors(n):
                    grouped = _arranged(self.single(total), (n // r, total // n, r), (0, 2))
                    yield self.single(n) + grouped

    def _pairs(self) -> Iterator[list[Leg]]:
        """Pairs of components, as rotary positions turn them: j and j + r/2 of every r, or neighbours; in slices, or grouped."""
        for n in self.sizes:
            cut = self._slices_of(n)
            for r in divisors(n):
                if r % 2 == 0 and n > 2:
                    plain, sliced = (_arranged(legs, (n // r, 2, r // 2), (0, 2)) for legs in (self.single(n), cut))
                    yield plain
                    yield sliced
                    for total in self._multiples(n):
                        yield plain + _arranged(self.single(total), (n // r, total // n, 2, r // 2), (0, 3))
                        if r > 2:
                            neighbours = _arranged(self.single(n), (n // r, r // 2, 2, 1), (0, 1, 3))
                            grouped = (n // r, total // n, r // 2, 2, 1)
                            yield neighbours + _arranged(self.single(total), grouped, (0, 2, 4))

    def _slices_of(self, n: int) -> list[Leg]:
        """Return the legs of size n that are a part of a fused axis."""
        return [
            replace(leg, part=(leg.kept[0], k * n, (k + 1) * n))
            for count in PARTS
            for leg in self.single(count * n)
            for k in range(count)
        ]

    def _blocks(self) -> Iterator[list[Leg]]:
        """Blocks of r components that are scaled as one, such as normalised heads."""
        for n in self.sizes:
            for r in divisors(n)[1:-1]:
                yield _arranged(self.single(n), (n // r, r), (0,))


def _arranged(legs: Iterable[Leg], sizes: tuple[int, ...], components: tuple[int, ...]) -> list[Leg]:
    return [replace(leg, arranged=sizes, components=components) for leg in legs]


def _by_size(legs: Iterable[Leg]) -> list[list[Leg]]:
    groups: dict[int, list[Leg]] = defaultdict(list)
    for leg in legs:
        if 1 < leg.size <= LARGEST:
            groups[leg.size].append(leg)
    return list(groups.values())


def _ordered(hypotheses: Iterable[list[Leg]]) -> list[list[Leg]]:
    """Return hypotheses from fine to coarse, those of one size in the order they come."""
    return sorted((legs for legs in hypotheses if legs), key=lambda legs: -legs[0].size)
