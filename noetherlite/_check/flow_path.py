"""The recording of a flow with velocities and forces, computed piece by piece to bound the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.precision import Precision
from .._base.types import Array, ArrayLike, BoolArray, Float64Array
from .._motion.dynamics import Dynamics
from .._problem.potentials import Potential
from .rows import gradients

# Numbers in a piece of rows.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a recording; the first is the last of the piece before."""

    low: int  # number of the first row
    t: Float64Array  # shape (n,): times
    # x, v, force: shape (n, P): positions, velocities, and −∇U(x)
    x: Float64Array
    v: Float64Array
    force: Float64Array
    noise: Float64Array  # shape (n,): round-off of |v|

    @property
    def rows(self) -> slice:
        """The slice of these rows in the recording."""
        return slice(self.low, self.low + self.t.size)

    @property
    def intervals(self) -> slice:
        """The slice of the intervals between them; interval k is from row k to row k + 1."""
        return slice(self.low, self.low + self.t.size - 1)

    @property
    def new(self) -> slice:
        """The slice of the rows that are in no piece before."""
        return slice(int(self.low > 0), None)


class Path:
    """A recording of a flow; without recorded velocities they are differences of second order in the spacing.

    `rows` (R, P) are positions in any precision, of which no copy is made; `velocity` has the same shape.
    """

    def __init__(
        self,
        U: Potential,
        rows: Array,
        t: Float64Array,
        dynamics: Dynamics,
        velocity: ArrayLike | None,
        precision: Precision,
    ) -> None:
        self.U, self.rows, self.t, self.dynamics, self.precision = U, rows, t, dynamics, precision
        self._from_rest = dynamics.alpha > 0 and t[0] == 0
        self.velocity: Array | None = None
        if velocity is not None:
            if dynamics.mass == 0:
                raise ValueError("velocity is not accepted with mass = 0: gradient flow is first order")
            self.velocity = checks.shaped(velocity, "velocity", rows.shape)
            if self._from_rest and self.velocity[0].any():
                raise ValueError("velocity must be zero at t[0] = 0, where the friction α/t is infinite")
        elif t.size < 3:
            raise ValueError(f"params must have at least three rows for differences of second order, got {t.size}")

    def pieces(self, intervals: BoolArray | None = None) -> Iterator[Piece]:
        """Yield all pieces, or those with one of the `intervals` (R − 1,)."""
        n, size = self.t.size, max(_PIECE // self.rows.shape[1], 1)
        for low in range(0, n - 1, size):
            high = min(low + size, n - 1)
            if intervals is None or intervals[low:high].any():
                yield self._piece(low, high + 1)

    def each(self, of: Callable[[Piece], Float64Array]) -> Float64Array:
        """Return one number per row, computed piece by piece."""
        return np.concatenate([of(piece)[piece.new] for piece in self.pieces()])

    def _piece(self, low: int, high: int) -> Piece:
        eps, t = self.precision.eps, self.t[low:high]
        x = np.asarray(self.rows[low:high], dtype=np.float64)
        if self.velocity is not None:
            v = np.asarray(self.velocity[low:high], dtype=np.float64)
            noise = eps * np.linalg.norm(v, axis=1)
        else:  # differences need one more row on either side, and at least three
            first = max(min(low - 1, self.t.size - 3), 0)
            last = min(max(high + 1, first + 3), self.t.size)
            inner = slice(low - first, high - first)
            v = np.gradient(np.asarray(self.rows[first:last], np.float64), self.t[first:last], axis=0, edge_order=2)[
                inner
            ]
            if self._from_rest and low == 0:
                v[0] = 0.0
            noise = 2 * eps * np.linalg.norm(x, axis=1) / np.gradient(self.t[first:last])[inner]
        return Piece(low, t, x, v, -gradients(self.U, x, low), noise)
