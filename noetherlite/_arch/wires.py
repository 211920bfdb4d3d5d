"""Wires between weights, and the symmetries that everything that touches a wire leaves possible (theory §14).

A wire is a vector of n components inside an architecture: `writers` are weights whose output it is, `readers` those whose
input it is. A matrix A that acts on the wire acts on its writers, and by its inverse transpose on its readers. What lies on
the wire (an activation, a norm, data, the loss) leaves some of the actions possible and rules the others out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .._base.types import IntArray

# The actions: on writers and readers, by any matrix, a diagonal or an orthogonal one, the matrix of ones, a number …
LINEAR = frozenset({"gl", "scale", "rotate", "ones", "factor"})
# … and those on writers alone, which what reads the wire does not see: a multiple of (1, …, 1) added, everything multiplied by
# one number, each component multiplied, a constant added to each component.
BLIND = frozenset({"shift", "whole", "each", "null"})
SHIFTS = frozenset({"shift", "null"})
EVERYTHING = LINEAR | BLIND | {"complex", "pairs"}
DIAGONAL = frozenset({"scale", "factor"})
POSITIVE = DIAGONAL | {"whole", "each"}  # a positively homogeneous activation lets these through
SAME_FOR_ALL = frozenset({"shift", "ones"})  # a softmax, or what subtracts the mean, lets these through
_PARTS = {
    "gl": {"scale", "rotate", "ones", "factor"}, "scale": {"factor"}, "shift": {"ones"}, "whole": {"factor"},
    "each": {"whole", "factor"},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Leg:
    """An axis of a tensor: flat numbers of its parameters, shape (n, rest)."""

    index: IntArray
    is_bias: bool = False  # n constants
    is_positions: bool = False  # n constants for each position
    is_kernel: bool = False  # n kernels of a convolution from or to one channel
    signs: tuple[int, ...] | None = None  # of its components, where not all are 1

    def of(self, index: IntArray) -> bool:
        """Return whether it is a leg of the tensor with these numbers."""
        return bool(index.flat[0] <= self.index.flat[0] <= index.flat[-1])


@dataclass(frozen=True)
class Generator:
    """The vector field g(θ) = Gθ + ξ with entries g[rows] += coefficients·θ[columns], θ[P] standing for 1.

    Attributes
    ----------
    name : str
        The wire and the action.
    rows, columns, coefficients : arrays of int, of one length
        The entries.
    kind : {"symmetric", "skew", "constant"}
        Of G: a symmetric one has the law Q = ½⟨θ, Gθ⟩ under gradient flow, a skew one ⟨Gθ, p⟩ with momentum, and a constant
        field ⟨ξ, θ⟩ and ⟨ξ, p⟩.
    """

    name: str
    rows: IntArray
    columns: IntArray
    coefficients: IntArray
    kind: str

    @property
    def is_diagonal(self) -> bool:
        """Whether every parameter is multiplied by a number."""
        return self.kind == "symmetric" and bool((self.rows == self.columns).all())


@dataclass(eq=False)
class Wire:
    """A wire of `size` components."""

    name: str
    size: int
    writers: list[Leg] = field(default_factory=list)
    readers: list[Leg] = field(default_factory=list)
    actions: frozenset[str] = EVERYTHING
    is_free: bool = True  # whether all writers and readers are trained weights, each used once
    turning: Wire | None = None  # a wire that this one is a multiple of: where that turns, its readers turn too

    def permit(self, actions: frozenset[str]) -> None:
        """Rule all other actions out."""
        self.actions &= actions

    def read_by(self, *legs: Leg) -> None:
        """Add weights that read the wire."""
        self.readers += legs
        self.permit(LINEAR)

    def join(self, other: Wire) -> None:
        """Add another wire's components to this one's: a residual connection."""
        if other.turning is self:  # x + x/|x| turns as x does, and does not grow as x does
            self.permit(frozenset({"rotate"}))
        elif other.turning is not None:  # a part of the sum moves with another wire
            other.turning.actions -= {"rotate"}
            self.is_free = False
        self.writers += other.writers
        self.readers += other.readers
        self.is_free &= other.is_free
        self.permit(other.actions)

    def hand_over(self) -> None:
        """Give the readers to the wire that this one turns with, if it can turn."""
        if self.turning is not None:
            if "rotate" not in self.actions or self.writers or not self.is_free:
                self.turning.actions -= {"rotate"}
            self.turning.readers += self.readers
            self.turning.actions -= {"factor"}  # of what is behind a norm
            self.readers, self.actions = [], frozenset()

    def let_go(self, index: IntArray) -> None:
        """Take a tensor that is used elsewhere too out of the writers, and rule out what would act on it."""
        self.is_free &= not any(leg.of(index) for leg in self.writers + self.readers)
        self.writers = [leg for leg in self.writers if not leg.of(index)]

    def generators(self, n_params: int) -> Iterator[Generator]:
        """Yield the generators of the actions that are left."""
        pairs = list(itertools.combinations(range(self.size), 2))
        diagonal = [[(i, i, 1)] for i in range(self.size)]
        symmetric = [[(i, j, 1), (j, i, 1)] for i, j in pairs]
        skew = [[(i, j, 1), (j, i, -1)] for i, j in pairs]
        blocks = range(0, self.size - 1, 2)
        traces = [[(j, j, 1), (j + 1, j + 1, 1)] for j in blocks]
        families = {
            "gl": (diagonal + symmetric, skew),
            "scale": (diagonal, []),
            "rotate": ([], skew),
            "complex": (traces, [[(j, j + 1, 1), (j + 1, j, -1)] for j in blocks]),
            "pairs": (traces, []),
            "whole": ([[(i, i, 1) for i in range(self.size)]], []),
            "each": (diagonal, []),
            "factor": ([[(i, i, 1) for i in range(self.size)]], []),
            "ones": ([[(i, j, 1) for i in range(self.size) for j in range(self.size)]], []),
        }
        for action in self._independent() if self.is_free else []:
            name = f"{self.name}: {action}"
            for matrices, kind in zip(families[action], ("symmetric", "skew"), strict=True):
                for matrix in matrices:
                    legs = self.writers + ([] if action in BLIND else self.readers)
                    if legs:
                        yield self._linear(name, matrix, kind, action in BLIND)
        yield from self._commuting()
        if "shift" in self.actions:
            for leg in self.writers:
                for rest in leg.index.T:
                    yield constant(f"{self.name}: shift", rest, n_params)
        if "null" in self.actions:
            for leg in self.writers:
                for component in leg.index if leg.is_bias else ():
                    yield constant(f"{self.name}: null", component, n_params)

    def _commutes(self) -> bool:
        """Return whether the wire lies between kernels of one size, from one channel and to one."""
        if "gl" not in self.actions or not self.is_free or len(self.writers) != 1 or len(self.readers) != 1:
            return False
        u, v = self.writers[0], self.readers[0]
        return u.is_kernel and v.is_kernel and u.index.shape == v.index.shape

    def count(self, momentum: bool, shifted: int = 0) -> int:
        """Return the number of laws of this wire that are independent near a generic point, by formula.

        `shifted` columns of what reads the wire are laws by themselves.
        """
        n, legs = self.size, self.writers + self.readers
        reach = sum(leg.index.shape[1] for leg in legs) - shifted  # columns of the matrix that the wire's group acts on
        symmetric, skew = _symmetric_laws(n, reach), _skew_laws(n, reach)
        if self._commutes():  # u + v and u − v turn by themselves
            k = reach // 2
            symmetric, skew = n * n if n <= k else 2 * k * n - k * k, 2 * _skew_laws(n, k)
        one, pairs = (0, 0) if momentum else (1, n // 2)
        linear = {"gl": skew if momentum else symmetric, "rotate": skew if momentum else 0, "scale": n * one}
        linear |= {"complex": n // 2, "pairs": pairs, "whole": one, "each": n * one}
        linear |= {"factor": one, "ones": one}
        linear_laws = sum(linear[action] for action in self._independent()) if self.is_free and legs else 0
        shifts = sum(leg.index.shape[1] for leg in self.writers) if "shift" in self.actions else 0
        nulls = sum(n for leg in self.writers if leg.is_bias) if "null" in self.actions else 0
        return linear_laws + (shifts + nulls) * (2 if momentum else 1)

    def _independent(self) -> list[str]:
        """Return the linear actions that are left and not a part of another."""
        actions = self.actions - SHIFTS - set[str]().union(*(_PARTS.get(action, set()) for action in self.actions))
        return sorted(actions - BLIND if not self.writers else actions)

    def _linear(self, name: str, matrix: list[tuple[int, int, int]], kind: str, blind: bool) -> Generator:
        """Return the action of a matrix Σ c E_ij on all legs, on readers by the inverse transpose; on writers alone if `blind`."""
        entries = [
            (leg.index[i], leg.index[j], c * sign * (leg.signs[i] * leg.signs[j] if leg.signs else 1))
            for legs, sign in ((self.writers, 1), ([] if blind else self.readers, -1 if kind == "symmetric" else 1))
            for leg in legs
            for i, j, c in matrix
        ]
        return gathered(name, entries, kind)

    def _commuting(self) -> Iterator[Generator]:
        """Yield the generators that turn u_i and v_j of Σ u_i ∗ v_i into each other, for kernels of one size: u ∗ v = v ∗ u.

        The sum is a form ⟨u, v⟩ of signature (n, n); GL(n) is only a part of its group O(n, n).
        """
        if not self._commutes():
            return
        u, v = self.writers[0].index, self.readers[0].index
        for i, j in itertools.combinations(range(self.size), 2):
            for sign, kind in ((1, "symmetric"), (-1, "skew")):
                entries = [(u[i], v[j], 1), (u[j], v[i], -1), (v[j], u[i], sign), (v[i], u[j], -sign)]
                yield gathered(f"{self.name}: commuting", entries, kind)


def _symmetric_laws(n: int, columns: int) -> int:
    """Return the rank of the differentials of XXᵀ for X of shape (n, columns): theory §9."""
    return n * (n + 1) // 2 if n <= columns else columns * (2 * n - columns + 1) // 2


def _skew_laws(n: int, columns: int) -> int:
    """Return the rank of the differentials of XPᵀ − PXᵀ for X and P of shape (n, columns): theory §9."""
    return n * (n - 1) // 2 if n <= 2 * columns else 2 * n * columns - columns * (2 * columns + 1)


def gathered(name: str, entries: Sequence[tuple[IntArray, IntArray, int]], kind: str) -> Generator:
    """Return the generator of entries (rows, columns, one coefficient)."""
    rows, columns = (np.concatenate([entry[k] for entry in entries]) for k in (0, 1))
    return Generator(name, rows, columns, np.concatenate([np.full(row.size, c) for row, _, c in entries]), kind)


def constant(name: str, rows: IntArray, n_params: int, minus: IntArray | None = None) -> Generator:
    """Return the field that adds one number to the parameters `rows`, and subtracts it from those of `minus`."""
    minus = rows[:0] if minus is None else minus
    every = np.concatenate([rows, minus])
    signs = np.repeat([1, -1], [rows.size, minus.size])
    return Generator(name, every, np.full_like(every, n_params), signs, "constant")
