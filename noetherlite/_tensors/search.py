"""Find all symmetries of a loss that act on axes of its tensors, from gradients at random points (theory §12).

Relations between contractions are the null space of what was measured. Hypotheses are tried from fine to coarse, and relations
that earlier laws imply are left out. Relations between single components are then tried as parts of larger groups,
GL(r) and complex numbers, block by block. Last, rotations are sought that scale nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from .._base.types import Float64Array, IntArray
from .hypotheses import LARGEST, Shapes, divisors, primes
from .law import Kind, Law, Member
from .legs import Leg, coarsening
from .measure import Measurements
from .nullspace import relations

Column = tuple[Float64Array, Float64Array]  # the measured numbers, and the size of their terms without cancellation
_NEARLY = 1e-4  # relations that hold to this fraction of their terms, but not to round-off, are reported
_NEARLY_NULL = (
    1e-6  # and gradients below this fraction of the others: float32 numbers in float64 arrays leave such round-off
)
_ROUND_OFF = 128
_ROWS = 1000  # equations used, beside four a column; chosen at random where there are more
_SPARE = 2  # equations beyond the number of columns


def draws_needed(shapes: Shapes) -> int:
    """Return the number of draws that give every hypothesis more equations than columns.

    All legs of one tensor have the same sum over their components, so that n components are n − 1 equations.
    """
    hypotheses = [*shapes.shifts(), *shapes.scalings()]
    return max(-(-(len(legs) + _SPARE) // max(1, legs[0].size - 1)) for legs in hypotheses)


class Search:
    """The search for all laws of tensors of given shapes, from measured gradients."""

    def __init__(self, shapes: Shapes, measured: Measurements) -> None:
        self.shapes, self.measured, self.eps = shapes, measured, measured.eps
        self.laws: list[Law] = []
        self.nearly: list[tuple[Leg, float]] = []  # legs that are almost relations by themselves
        self.nearly_between: list[tuple[list[Leg], float]] = []  # legs that are almost a relation together
        self.large_nulls: list[str] = []  # tensors without gradient that are too large for a law
        self.skipped = False  # whether a hypothesis had more columns than equations
        self._null: dict[Leg, bool] = {}
        sizes = {leg: measured.size(leg) for leg in shapes.tensors.values()}
        typical = float(np.median([size for size in sizes.values() if size > 0] or [0.0]))
        # gradients below it are round-off of the others and count as zero
        self._floor = float(np.sqrt(self.eps)) * typical
        self.nearly += [
            (leg, size / typical) for leg, size in sizes.items() if self._floor < size < _NEARLY_NULL * typical
        ]

    def run(self) -> list[Law]:
        """Return all laws, in the order of the search."""
        for tensor in self.shapes.tensors.values():
            leg = replace(tensor, kept=tuple(axis for axis, n in enumerate(tensor.shape) if n > 1))
            if self._is_null(leg) and leg.size <= LARGEST:
                self._add("translate", [leg], np.ones(1), np.inf)
            elif self._is_null(leg):
                self.large_nulls.append(tensor.tensor)
        for legs in self.shapes.shifts():
            self._solve("translate", legs)
        for legs in self.shapes.scalings():
            self._solve("scale", legs)
        self.laws = [self._enlarged(law) for law in self.laws]
        for n in self.shapes.sizes:
            self._solve_rotations(n)
        return self.laws

    # Relations between components that are scaled or shifted.

    def _solve(self, field: str, legs: list[Leg]) -> None:
        """Add the relations between these legs that no earlier law implies."""

        def column(leg: Leg) -> Column | None:
            if not self._is_null(leg):
                return self.measured.column(field, leg)
            all_entries = field == "translate" and leg.size == np.prod(leg.seen_shape)
            return (np.zeros(1), np.ones(1)) if all_entries else None

        equations = max(1, legs[0].size - 1) * len(self.measured.draws)
        for row, gap in self._relations(legs, column, self._implied(field, legs), equations):
            self._add(field, legs, row, gap)

    def _relations(
        self, legs: list[Leg], column: Callable[[Leg], Column | None], implied: Float64Array, equations: int
    ) -> Iterator[tuple[Float64Array, float]]:
        """Yield the coefficients of relations between legs that are not implied, and their gaps; None is no column."""
        columns, used = [], []
        for i, leg in enumerate(legs):
            measured = column(leg)
            if measured is None:
                continue
            value, scale = measured[0].reshape(-1), float(np.linalg.norm(measured[1]))
            ratio = float(np.linalg.norm(value)) / max(scale, np.finfo(float).tiny)
            if ratio > self._tolerance(leg):
                if ratio < _NEARLY:
                    self.nearly.append((leg, ratio))
                columns.append(value)
                used.append(i)
                continue
            single = np.eye(len(legs))[i]
            if not _spans(implied, single):
                yield single, np.inf
                implied = np.concatenate([implied, single[None]])
        if len(columns) < 2:
            return
        if len(columns) + _SPARE > equations:
            self.skipped = True
            return
        matrix = np.stack(columns, axis=1)
        count = _ROWS + 4 * len(columns)
        if matrix.shape[0] > count:
            matrix = matrix[np.random.default_rng(0).choice(matrix.shape[0], count, replace=False)]
        result = relations(matrix, self.eps, implied[:, used])
        for coefficients in result.nearly:
            self.nearly_between.append(
                ([legs[i] for i, c in zip(used, coefficients, strict=True) if c], result.nearly_to)
            )
        for coefficients in result.relations:
            row = np.zeros(len(legs))
            row[used] = coefficients
            yield row, result.gap

    def _is_null(self, leg: Leg) -> bool:
        """Return whether a tensor, or the slice of it, has no gradient: nothing but round-off of the others'."""
        key = replace(leg, kept=(), arranged=(), components=())
        if key not in self._null:
            self._null[key] = self.measured.size(key) <= self._floor
        return self._null[key]

    def _tolerance(self, leg: Leg) -> float:
        """Return the part of a law's terms that round-off may leave, well below what two random tensors have in common."""
        rest = math.prod(leg.shape) / leg.size
        return float(_ROUND_OFF * self.eps * (1 + math.log2(1 + rest) / 8))

    def _add(self, field: str, legs: list[Leg], coefficients: Float64Array, gap: float) -> None:
        used = self._ordered_members(legs, coefficients)
        law = Law(cast(Kind, field), tuple(Member(leg, c) for leg, c in used), gap=gap)
        leg = used[0][0]
        if field == "translate" and len(used) == 1 and leg.size == np.prod(leg.seen_shape) and self._is_null(leg):
            law = replace(law, kind="null")
        if field == "scale" and leg.size == 1:
            law = replace(law, kind="whole")
        self.laws.append(replace(law, residual=0.0) if law.kind == "null" else self._with_residual(law))

    def _ordered_members(self, legs: list[Leg], coefficients: Float64Array) -> list[tuple[Leg, float]]:
        """Return the legs that a relation has and their coefficients: positive ones first, in the order of the tensors.

        Biases and gains are positive, or the first leg where there are none.
        """
        place = {name: i for i, name in enumerate(self.shapes.tensors)}
        used = [(leg, float(c)) for leg, c in zip(legs, coefficients, strict=True) if c]
        used.sort(key=lambda pair: (len(pair[0].splits), place[pair[0].tensor]))
        sign = np.sign(used[0][1])
        return sorted(
            ((leg, float(sign * c)) for leg, c in used), key=lambda pair: (pair[1] < 0, place[pair[0].tensor])
        )

    def _implied(self, field: str, legs: list[Leg]) -> Float64Array:
        """Return the relations between these legs that earlier laws imply, as rows of coefficients."""
        by_tensor: dict[str, list[int]] = {}
        for i, leg in enumerate(legs):
            by_tensor.setdefault(leg.tensor, []).append(i)
        reached: dict[tuple[float, ...], dict[tuple[int, int], bytes]] = {}
        for law in self.laws:
            if (law.kind in ("translate", "null")) != (field == "translate") or law.kind == "rotate":
                continue
            maps = [
                {i: c for i in by_tensor.get(member.tensor, []) if (c := coarsening(member.leg, legs[i]))}
                for member in law.members
            ]
            for f in {f for coarsenings in maps for f, _ in coarsenings.values()}:
                hits = [{i: mask for i, (g, mask) in coarsenings.items() if g == f} for coarsenings in maps]
                row = _coarse_row(law, hits, len(legs)) if all(hits) else None
                if row is None:
                    continue
                entries = reached.setdefault(tuple(row), {})
                for masks in hits:
                    for i, mask in masks.items():  # of one length for laws that depend on the same axes
                        entries[i, len(mask)] = _union(entries.get((i, len(mask))), mask)
        rows = []
        for coefficients, entries in reached.items():
            complete = {i for (i, _), mask in entries.items() if 0 not in mask}
            if complete.issuperset(i for i, _ in entries):
                rows.append(coefficients)
        return np.array(rows).reshape(-1, len(legs))

    # Larger groups.

    def _enlarged(self, law: Law) -> Law:
        """Return the law of the largest group that contains that of a relation between single components."""
        size = np.abs([member.coefficient for member in law.members])
        if law.kind != "scale" or (size != size[0]).any():
            return law
        members = tuple(replace(m, coefficient=1.0, inverse=m.coefficient < 0) for m in law.members)
        # What looks like a pair may be two heads of queries that share keys.
        if law.members[0].leg.arranged[-2:-1] == (2,) and (paired := self._as_complex(law, members)) is not law:
            return paired
        last = {m.leg.sizes[-1] for m in members if len(m.leg.sizes) > 1}

        def blocks_of(r: int) -> Iterator[Law]:
            """Yield the laws that mix the components of blocks of r: neighbours, or those that are n/r apart."""
            for blocks, acting in [((law.size // r, r), 1), ((r, law.size // r), 0)][: 1 if r == law.size else 2]:
                yield replace(law, kind="gl", members=members, blocks=blocks, acting=acting)

        sizes = [r for r in divisors(law.size)[1:] if not any(n % r for n in last)]
        # What holds within blocks of r holds within those of its prime factors, which take few entries to rule out.
        if not any(self._may_hold(trial) for r in primes(sizes) for trial in blocks_of(r)):
            return law
        for larger in (trial for r in reversed(sizes) for trial in blocks_of(r)):
            if self._may_hold(larger) and self._holds(measured := self._with_residual(larger)):
                return measured
        return law

    def _as_complex(self, law: Law, members: tuple[Member, ...]) -> Law:
        """Return the complex law whose traces a relation between pairs is, or the relation where it is not."""
        paired = []
        for m in members:
            if m.leg.arranged[-2:-1] != (2,):
                return law
            pair = len(m.leg.arranged) - 2
            paired.append(replace(m, leg=replace(m.leg, components=(*m.leg.components[:-1], pair, pair + 1))))
        blocks = paired[0].leg.sizes
        trial = self._with_residual(
            replace(law, kind="complex", members=tuple(paired), blocks=blocks, acting=len(blocks) - 2)
        )
        return trial if self._holds(trial) else law

    def _with_residual(self, law: Law) -> Law:
        return replace(law, residual=max(self.measured.residuals(law)))

    def _holds(self, law: Law) -> bool:
        return law.residual < max(self._tolerance(member.leg) for member in law.members)

    def _may_hold(self, law: Law) -> bool:
        """Return whether a law holds for a few of its components."""
        tolerance = max(self._tolerance(member.leg) for member in law.members)
        return all(worst < tolerance for worst in self.measured.residuals(law, sampled=True))

    # Rotations.

    def _solve_rotations(self, n: int) -> None:
        """Add the relations between rotations of n components, in blocks, that no earlier law implies."""
        legs = self.shapes.single(n)
        sizes = divisors(n)[1:]
        blocks = {(n // r, r): r in primes(sizes) for r in reversed(sizes)}
        paired = [(n // r, 2, r // 2) for r in reversed(sizes) if r > 2 and r % 2 == 0]
        n_pairs = -(-2 * (len(legs) + _SPARE) // len(self.measured.draws))
        pairs_of = {arranged: _pairs_within(arranged, n_pairs) for arranged in [*blocks, *paired]}
        pairs = np.concatenate([*pairs_of.values()], axis=1)
        ends = dict(zip(pairs_of, np.cumsum([columns.shape[1] for columns in pairs_of.values()]), strict=True))

        def relations_of(arranged: tuple[int, ...]) -> list[tuple[Float64Array, float]]:
            count = pairs_of[arranged].shape[1]
            columns = slice(ends[arranged] - count, ends[arranged])

            def column(leg: Leg) -> Column | None:
                if self._is_null(leg):
                    return None
                value, scale = self.measured.skew(leg, pairs)
                return value[:, columns], scale[:, columns]

            implied, equations = self._implied_rotations(legs, arranged), count * len(self.measured.draws)
            return list(self._relations(legs, column, implied, equations))

        # Rotations of larger blocks contain those of blocks of their prime factors: if those have nothing new, the larger have not.
        new = any(relations_of(arranged) for arranged, prime in blocks.items() if prime)
        for arranged in [*(blocks if new else ()), *paired]:
            for row, gap in relations_of(arranged):
                self._add_rotation(legs, row, arranged, gap)

    def _add_rotation(self, legs: list[Leg], c: Float64Array, blocks: tuple[int, ...], gap: float) -> None:
        members = tuple(Member(leg, value) for leg, value in self._ordered_members(legs, c))
        law = self._with_residual(Law("rotate", members, blocks, acting=1, gap=gap))
        if self._holds(law):
            self.laws.append(law)

    def _implied_rotations(self, legs: list[Leg], blocks: tuple[int, ...]) -> Float64Array:
        rows = []
        for law in self.laws:
            rotated = _rotated_legs(law, legs[0].size, blocks)
            row = np.zeros(len(legs))
            for member, leg_of_member in zip(law.members, rotated, strict=False):
                row += [member.coefficient * (leg == leg_of_member) for leg in legs]
            if rotated and np.count_nonzero(row) == len(law.members):
                rows.append(row)
        return np.array(rows).reshape(-1, len(legs))


def _rotated_legs(law: Law, size: int, blocks: tuple[int, ...]) -> list[Leg]:
    """Return the legs of that size whose rotations in blocks a law contains, one for each of its members; none if it has none."""
    if law.acting is None:
        return []
    if law.size == size:
        return [m.leg.plain for m in law.members] if _contains(law, blocks) else []
    # If heads are an axis of the tensor, turning the components of all heads at once is a special case of turning those of each.
    axis = law.acting
    if law.blocks[axis] != size or any(m.leg.arranged or m.leg.kept_sizes != law.blocks for m in law.members):
        return []
    return [replace(m.leg, kept=(m.leg.kept[axis],)) for m in law.members]


def _pairs_within(blocks: tuple[int, ...], count: int) -> IntArray:
    """Return pairs of components that are mixed, (2, m): of few blocks and few of their components, at least `count` if there are as many."""
    places = np.moveaxis(np.arange(math.prod(blocks)).reshape(blocks), 1, -1)
    places = places.reshape(-1, places.shape[-1])
    width = min(places.shape[1], 2 + math.isqrt(2 * count))
    i, j = np.triu_indices(width, 1)
    places = places[: -(-count // i.size)]
    return np.stack([places[:, i].reshape(-1), places[:, j].reshape(-1)])


def _coarse_row(law: Law, hits: Sequence[Mapping[int, bytes]], n: int) -> Float64Array | None:
    """Return the coefficients that a law has in n coarser legs, of which its members reach the entries `hits`.

    Members that are slices of one tensor have the coefficient together that each of them has: None if they differ in it.
    """
    sums: dict[tuple[int, int], Float64Array] = {}
    for member, masks in zip(law.members, hits, strict=True):
        for i, mask in masks.items():
            terms = member.coefficient * np.frombuffer(mask, bool)
            sums[i, len(mask)] = sums.get((i, len(mask)), 0.0) + terms
    row = np.zeros(n)
    for (i, _), of_entry in sums.items():
        values = np.unique(of_entry[of_entry != 0])
        if values.size > 1:
            return None
        row[i] += values.sum()
    return row


def _union(a: bytes | None, b: bytes) -> bytes:
    return b if a is None else (np.frombuffer(a, bool) | np.frombuffer(b, bool)).tobytes()


def _contains(law: Law, blocks: tuple[int, ...]) -> bool:
    """Return whether every block of an arrangement lies in one block of a law."""
    law_blocks = _block_of_component(law.blocks, law.acting or 0)
    trial_blocks = _block_of_component(blocks, 1)
    return all(np.unique(law_blocks[trial_blocks == b]).size == 1 for b in np.unique(trial_blocks))


def _block_of_component(blocks: tuple[int, ...], acting: int) -> Float64Array:
    index = np.arange(int(np.prod(blocks))).reshape(blocks)
    return np.broadcast_to(index.min(axis=acting, keepdims=True), blocks).reshape(-1)


def _spans(rows: Float64Array, vector: Float64Array) -> bool:
    """Return whether a vector lies in the span of rows."""
    if not rows.size:
        return False
    fit = rows.T @ np.linalg.lstsq(rows.T, vector, rcond=None)[0]
    return bool(np.abs(fit - vector).max() < 1e-9)
