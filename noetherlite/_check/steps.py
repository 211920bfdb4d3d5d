"""Recorded steps of an algorithm, judged as they come: the implied gradients against the laws and against ∇U (theory §6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .._base.precision import Precision
from .._base.types import BoolArray, Float64Array
from .._motion.base import Algorithm
from .._problem.network import Block
from .._problem.potentials import Potential
from .._symmetry.family import Family
from .causes import Evidence
from .implied import Steps, implied
from .replay import Replay
from .rounding import Rounding
from .rows import ROUND_OFF, Moments, Motion, Row, Tally, blocks_of, norms, ratio, times

# After so many steps in a row that no rounding explains, none is looked for any more.
_HOPELESS = 32


_Numbers = tuple[Float64Array, Float64Array, Float64Array, Float64Array]  # t, residual, tolerance, scale
_Law = tuple[Float64Array, Float64Array, Float64Array]


@dataclass
class _Kept:
    """One row in the making: its tally, and the numbers of every step, or of the worst one alone."""

    tally: Tally = field(default_factory=Tally)
    numbers: list[_Numbers] = field(default_factory=list)

    def add(self, all_of_them: bool, first: bool, numbers: _Numbers) -> None:
        """Add numbers; `first` puts them before those that are there."""
        worst = self.tally.worst[0]
        self.tally.add(*numbers, first)
        if all_of_them:
            self.numbers.insert(0 if first else len(self.numbers), numbers)
        elif self.tally.worst[0] > worst:
            size = ratio(numbers[1], numbers[2]).reshape(numbers[0].size, -1).max(axis=1)
            k = int(np.argmax(size))
            t, residual, tolerance, scale = (a[k : k + 1].copy() for a in numbers)
            self.numbers = [(t, residual, tolerance, scale)]

    def arrays(self, shape: tuple[int, ...]) -> _Numbers:
        """Return t, residual, tolerance and scale of what was kept."""
        if not self.numbers:
            empty = np.empty((0, *shape))
            return np.empty(0), empty, empty, empty
        t, residual, tolerance, scale = (np.concatenate(parts) for parts in zip(*self.numbers, strict=True))
        return t, residual, tolerance, scale


class Stepwise:
    """Rows of a recording in, one after the other or many at once; laws and motion out, the same either way.

    Parameters
    ----------
    U, algorithm : Potential, Algorithm
        What is claimed.
    families : sequence of Family
        The laws.
    precision : Precision
        Of the rows and of the gradients.
    t0 : float
        Time of the first row.
    every : int
        Steps from row to row.
    velocity : ndarray, shape (P,), or None
        Velocity at the first row, where it is known.
    motion : bool
        Whether the batches are known: else the laws alone are checked.
    keep : bool
        Whether to keep the residuals of every step, for `Row.residual` and figures.
    """

    def __init__(
        self,
        U: Potential,
        algorithm: Algorithm,
        families: Sequence[Family],
        precision: Precision,
        *,
        t0: float,
        every: int = 1,
        velocity: Float64Array | None = None,
        motion: bool = True,
        keep: bool = True,
    ) -> None:
        self.U, self.algorithm, self.families, self.precision = U, algorithm, list(families), precision
        self.every, self.t0, self.velocity, self.motion, self.keep = every, t0, velocity, motion, keep
        self.rounding = Rounding(U, precision.gradient)
        self.evidence = Evidence(U, algorithm, every, t0)
        self.n_rows = 0
        self.distinct = False  # whether any row differs from the first
        self.first_row = np.empty(0)
        self._tail = np.empty((0, U.n_params))
        self._batches: list[object] = []  # of the rows in the tail
        self._done = -1
        self._unexplained = 0
        self.pending: Steps | None = None  # the first step, where it is off alone: a heavy ball may have had a velocity
        self.replay = Replay(U, algorithm, precision, t0, every, velocity) if every > 1 else None
        self._laws = [_Kept() for _ in self.families]
        self._motion: list[tuple[Block, _Kept, Moments, list[int]]] = [
            (block, _Kept(), Moments.empty(block), []) for block in (blocks_of(U) if motion else ())
        ]

    @property
    def broken(self) -> bool:
        """Whether any step is off."""
        kept = [*self._laws, *(entry[1] for entry in self._motion)]
        return any(k.tally.n_off > 0 for k in kept)

    def judge_by(self, precision: Precision) -> None:
        """Judge what follows by another precision."""
        self.precision = precision
        self.rounding.eps = precision.gradient
        if self.replay is not None:
            self.replay.precision = precision

    def add(self, rows: Float64Array, batches: Sequence[object] | None = None) -> None:
        """Judge the steps that lead to `rows` (n, P), in float64; `batches` has the samples of the gradients taken at each."""
        if self.n_rows == 0:
            self.first_row = rows[0].copy()
        self.distinct = self.distinct or bool((rows != self.first_row).any())
        low = self.n_rows - self._tail.shape[0]
        x = np.concatenate([self._tail, rows])
        self._batches += [None] * len(rows) if batches is None else list(batches)
        self.n_rows += len(rows)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # of what diverges the round-off is infinite, and nothing is decided
            steps = self._steps(x, low)
            if steps is not None and steps.record.size:
                self._judge(steps, x, low)
                self._done = int(steps.record[-1])
        self._tail = x[-2:].copy()
        del self._batches[: len(self._batches) - len(self._tail)]

    def _steps(self, x: Float64Array, low: int) -> Steps | None:
        """Return the steps that are new; x are the rows from `low` on."""
        if self.replay is not None:
            return self.replay.steps(x, low, self._batches)
        known_start = low == 0 and (self.t0 == 0 or self.velocity is not None)
        if x.shape[0] < self.algorithm.fewest_rows(known_start):
            return None
        t = self.t0 + low * self.algorithm.dt
        seen = implied(self.algorithm, x, t, self.velocity if low == 0 else None)
        new = seen.record + low > self._done
        record, points, got = seen.record[new] + low, seen.points[new], seen.gradient[new]
        want = None
        if self.motion:
            want = np.array(
                [self._gradient(point, k - low, int(k)) for point, k in zip(points, record, strict=True)]
            ).reshape(points.shape)
        p = self.precision
        noise = self.algorithm.gain * p.length(points) + p.gradient * np.linalg.norm(got, axis=1)
        when: Float64Array = np.asarray(self.t0 + record * self.algorithm.dt, np.float64)
        return Steps(record, when, points, got, want, ROUND_OFF * noise)

    def _gradient(self, point: Float64Array, i: int, row: int) -> Float64Array:
        gradient = self.rounding.of(self._batches[i]).gradient(point)  # type: ignore[arg-type]
        if not np.isfinite(gradient).all():
            raise ValueError(f"params: ∇U is not finite at row {row}")
        return gradient

    def _judge(self, steps: Steps, x: Float64Array, low: int) -> None:
        """Tell steps that are off from those that rounding explains, and count both."""
        laws = [self._law(s, steps) for s in self.families]
        off = self._off(steps, laws)
        for k in np.flatnonzero(off):
            if self._unexplained < _HOPELESS:
                self._explain(steps, laws, int(k), x, low)
                off[k] = self._off(steps.part(slice(k, k + 1)), _cut(laws, slice(k, k + 1)))[0]
                self._unexplained = self._unexplained + 1 if off[k] else 0
        free = self.algorithm.takes_velocity and self.velocity is None and self.algorithm.momentum > 0
        held = bool(free and steps.record[0] == 0 and off[0] and self.every == 1)
        if held:
            self.pending = steps.part(slice(0, 1))
        rest = slice(int(held), None)
        if off[rest].any() and self.pending is not None:
            first, self.pending = self.pending, None
            self._count(first, [self._law(s, first) for s in self.families], np.array([True]), front=True)
            if low == 0:  # the rows around it are still there
                self._note(first, np.array([True]), x, low)
        part = steps.part(rest)
        self._count(part, _cut(laws, rest), off[rest], front=False)
        self._note(part, off[rest], x, low)

    def _note(self, steps: Steps, off: BoolArray, x: Float64Array, low: int) -> None:
        if steps.want is None:
            return
        for k in range(steps.record.size):
            i = int(steps.record[k]) - low
            near = x[max(i - 1, 0) : i + 2], i > 0, self._batches[max(i - 1, 0) : i + 2]
            self.evidence.add(
                int(steps.record[k]),
                bool(off[k]),
                near,
                steps.points[k],
                steps.got[k],
                steps.want[k],
                float(steps.noise[k]),
            )

    def _law(self, s: Family, steps: Steps) -> _Law:
        """Return residual, tolerance and scale."""
        length = norms(s, steps.points)
        if steps.span is None or steps.want is None:
            size = np.linalg.norm(steps.got, axis=1)
            return s.charge(steps.points, steps.got), times(steps.noise, length), times(size, length)
        wrong = steps.got - steps.want
        turned = norms(s, steps.span) - s.norm(np.zeros(self.U.n_params))
        tolerance = times(steps.noise, length) + times(np.linalg.norm(wrong, axis=1), np.maximum(turned, 0.0))
        return s.charge(steps.points, wrong), tolerance, times(np.linalg.norm(steps.want, axis=1), length)

    def _off(self, steps: Steps, laws: Sequence[_Law]) -> BoolArray:
        """Return which steps have a law or a motion beyond its tolerance."""
        off = np.zeros(steps.record.size, dtype=bool)
        for residual, tolerance, _ in laws:
            off |= (ratio(residual, tolerance) > 1).reshape(off.size, -1).any(axis=1)
        if steps.want is not None:
            for block, *_ in self._motion:
                part = slice(block.start, block.stop)
                off |= np.linalg.norm(steps.got[:, part] - steps.want[:, part], axis=1) > self._allowed(steps, block)
        return off

    def _allowed(self, steps: Steps, block: Block) -> Float64Array:
        """Return the round-off of a block: that of all parameters, or where blocks have numbers of their own, of these."""
        p = self.precision
        if not p.finer:
            return steps.noise
        own = p.of(block.name) * np.linalg.norm(steps.points[:, block.start : block.stop], axis=1)
        return np.asarray(steps.noise + ROUND_OFF * self.algorithm.gain * (own - p.length(steps.points)))

    def _explain(self, steps: Steps, laws: list[_Law], k: int, x: Float64Array, low: int) -> None:
        """Put in the gradient and the noise that rounding at step k allows."""
        batch = self._batches[int(steps.record[k]) - low] if self.every == 1 else None
        point, noise = steps.points[k], float(steps.noise[k])
        if steps.want is None or steps.span is not None:
            if steps.span is not None:  # where the steps begin; the next row may be anywhere
                point = x[int(steps.record[k]) - low]
            want = self.U.gradient(point)
            _, steps.noise[k] = self.rounding.nearest(point, want, want, noise, None)
        else:
            steps.want[k], steps.noise[k] = self.rounding.nearest(point, steps.want[k], steps.got[k], noise, batch)  # type: ignore[arg-type]
        for s, (_, tolerance, _) in zip(self.families, laws, strict=True):
            tolerance[k : k + 1] = self._law(s, steps.part(slice(k, k + 1)))[1]

    def _count(self, steps: Steps, laws: Sequence[_Law], off: BoolArray, front: bool) -> None:
        for kept, law in zip(self._laws, laws, strict=True):
            kept.add(self.keep, front, (steps.t, *law))
        if steps.want is None:
            return
        for block, kept, moments, which in self._motion:
            got, want = (a[:, block.start : block.stop] for a in (steps.got, steps.want))
            norm, scale = np.linalg.norm(got - want, axis=1), np.linalg.norm(want, axis=1)
            allowed = self._allowed(steps, block)
            kept.add(self.keep, front, (steps.t, norm, allowed, scale))
            beyond = norm > allowed
            moments.add(block, got[beyond], want[beyond], allowed[beyond])
            which.extend(steps.record[beyond][: max(8 - len(which), 0)].tolist())

    def rows(self) -> tuple[list[Row], list[Motion]]:
        """Return the rows of the laws and of the motion."""
        laws = [
            Row(s.name, *kept.arrays(s.shape), 0, kept.tally) for s, kept in zip(self.families, self._laws, strict=True)
        ]
        motion = [
            Motion.moved(block, *kept.arrays(()), 0, kept.tally, moments, steps=tuple(which))
            for block, kept, moments, which in self._motion
        ]
        return laws, motion


def _cut(laws: Sequence[_Law], part: slice) -> list[_Law]:
    return [(residual[part], tolerance[part], scale[part]) for residual, tolerance, scale in laws]
