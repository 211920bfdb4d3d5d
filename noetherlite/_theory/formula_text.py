"""Polynomials in the entries of named tensors as text: products that form an inner product are written as one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from .._base.types import IntArray

Monomial = tuple[int, ...]
Entry = tuple[str, tuple[int, ...]]  # a tensor and an index


def formula(terms: Mapping[Monomial, int], names: Mapping[str, IntArray], momentum: bool = False) -> str:
    """Return a polynomial as text; `names` has the numbers of the parameters of each tensor, momenta behind them all."""
    entries = _entries(names, momentum)
    place = {m: k for k, m in enumerate(terms)}
    left, text = dict(terms), dict[int, tuple[int, str]]()  # what stands where the first of its monomials stood
    for coefficient, group, words in _inner_products(terms, entries):
        if all(left.get(m) == coefficient for m in group):
            for m in group:
                del left[m]
            text[min(place[m] for m in group)] = coefficient, words
    for m, c in left.items():
        text[place[m]] = c, " ".join(_power(entries[i], m.count(i)) for i in dict.fromkeys(m))
    signed = [
        f"{'−' if c < 0 else '+'} {'' if abs(c) == 1 else f'{abs(c)} '}{words}"
        for _, (c, words) in sorted(text.items())
    ]
    return " ".join(signed).removeprefix("+ ")


def _entries(names: Mapping[str, IntArray], momentum: bool) -> dict[int, Entry]:
    """Return the tensor and index of each number."""
    entries = {int(i): (name, where) for name, index in names.items() for where, i in np.ndenumerate(index)}
    if momentum:
        entries |= {i + len(entries): (f"p({name})", where) for i, (name, where) in entries.items()}
    return entries


def _power(entry: Entry, exponent: int) -> str:
    name, where = entry
    return f"{name}[{','.join(map(str, where))}]" + ("" if exponent == 1 else "²³⁴"[exponent - 2])


class _Rows(NamedTuple):
    """Two rows of tensors whose inner product may be a part of a polynomial, with its coefficient there."""

    coefficient: int
    left: str
    right: str
    length: int

    def __str__(self) -> str:
        return f"|{self.left}|²" if self.left == self.right else f"⟨{self.left}, {self.right}⟩"


def _inner_products(
    terms: Mapping[Monomial, int], entries: Mapping[int, Entry]
) -> Iterator[tuple[int, list[Monomial], str]]:
    """Yield sums of products X[…k…]Y[…k…] over all k that have one coefficient, as ⟨X[…:…], Y[…:…]⟩, long ones first."""
    groups: dict[_Rows, dict[int, Monomial]] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    for name, where in entries.values():
        sizes[name] = tuple(max(n, k + 1) for n, k in zip(sizes.get(name, where), where, strict=True))
    for m, c in terms.items():
        if len(m) != 2:
            continue
        for (x, i), (y, j) in {(entries[m[0]], entries[m[1]]), (entries[m[1]], entries[m[0]])}:
            for a, b in itertools.product(range(len(i)), range(len(j))):
                if i[a] == j[b] and sizes[x][a] == sizes[y][b] > 1 and x <= y:
                    rows = _Rows(c, _row(x, i, a), _row(y, j, b), sizes[x][a])
                    groups.setdefault(rows, {})[i[a]] = m
    for rows, group in sorted(groups.items(), key=lambda item: (-item[0].length, item[0])):
        products = list(dict.fromkeys(group.values()))
        if len(products) == rows.length:
            yield rows.coefficient, products, str(rows)


def _row(name: str, where: tuple[int, ...], axis: int) -> str:
    """Return the name of all entries along an axis."""
    return f"{name}[{','.join([*map(str, where[:axis]), ':', *map(str, where[axis + 1 :])])}]"
