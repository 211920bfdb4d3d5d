"""The steps of an algorithm, checked as rows arrive: implied gradients against the laws and against ∇U (theory §6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._base.precision import Precision
from .._base.types import BoolArray, Float64Array, IntArray
from .._motion.base import Algorithm, Memory
from .._motion.noisy import Noisy
from .._motion.recorded import from_step
from .._problem.blocks import Block
from .._problem.potentials import Potential
from .._symmetry.family import Family
from .averages import AverageSteps, unknown
from .causes import Evidence
from .forces import ASCENT_EPS, Forces
from .implied import Steps, implied
from .noise import KnownNoise, NoiseSteps
from .replay import Replay, is_replayed
from .rounding import Rounding
from .rows import ROUND_OFF, CheckRow, MotionRow, MotionSums, blocks_of, ratio, row_products
from .series import Series

# After this many consecutive errors that rounding does not explain, no more are tried: each costs up to 16 gradients.
_MAX_UNEXPLAINED = 32


_LATER = float(np.finfo(np.float64).tiny)  # a time after the start
_Law = tuple[Float64Array, Float64Array, Float64Array]


class StepCheck:
    """The check of an algorithm's steps; rows may be added one by one or many at once, with the same result.

    `t0` and `velocity` (None if it is not known) are those of the first row, `every` the steps from row to row. `motion`: check the
    motion too, which needs the minibatches of every step. `keep`: store the residuals of every step, for `CheckRow.residual` and
    figures. `first`: number of the step from the first row, counted from the start of the run; the first rate of a schedule is that
    of this step. `recorded`: fields of `Memory` that are recorded too.
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
        first: int = 0,
        recorded: tuple[str, ...] = (),
        noise_key: int | None = None,
    ) -> None:
        self.U, self.algorithm, self.families, self.precision = U, algorithm, list(families), precision
        self.every, self.t0, self.velocity, self.motion, self.keep = every, t0, velocity, motion, keep
        self.forces = Forces(U, algorithm)
        self.rounding = Rounding(U, precision.gradient, self.forces.seen)
        self.evidence = Evidence(U, algorithm, every, t0, precision)
        self._recorded = recorded
        self.n_rows = 0
        self.any_change = False  # whether any row differs from the first
        self.first_row = np.empty(0)
        self._tail = np.empty((0, U.n_params))
        self._batches: list[object] = []  # minibatches of the rows in the tail
        self._last_step = -1  # number of the last step that was checked
        self._unexplained = 0
        # a wrong first step, as long as it is the only one: there may have been a velocity
        self.pending: Steps | None = None
        self.replay = Replay(U, self.forces, precision, t0, every, velocity) if is_replayed(algorithm, every) else None
        self.averages: AverageSteps | None = None
        if every == 1 and algorithm.method.update is not None and (recorded or not algorithm.starts_anywhere):
            nothing = np.zeros(U.n_params)
            start = Memory(nothing, nothing) if t0 == 0 else unknown(algorithm, U.n_params)
            start = start if velocity is None else start._replace(m=-velocity)
            options: Any = {"first": first, "t0": t0, "start": start, "recorded": recorded}
            self.rounding.clip = self.forces.clip
            self.averages = AverageSteps(self.forces, U, precision, **options, motion=motion, keep=keep)
        self.noise: NoiseSteps | None = None
        self.known_noise: KnownNoise | None = None
        if isinstance(algorithm, Noisy):
            if noise_key is None and algorithm.noise_of(algorithm.dt) > 0:
                self.noise = NoiseSteps(self.forces, U, families, precision, t0, motion)
            else:
                self.known_noise = KnownNoise(self.forces, noise_key or 0, first, U.n_params)
        self._law_series = [Series() for _ in self.families]
        self._motion_series: list[tuple[Block, Series, MotionSums, list[int]]] = [
            (block, Series(), MotionSums.empty(block), []) for block in (blocks_of(U) if motion else ())
        ]

    @property
    def broken(self) -> bool:
        """Whether any step has a residual beyond its tolerance."""
        series = [*self._law_series, *(entry[1] for entry in self._motion_series)]
        return any(row.tally.n_off > 0 for row in series)

    @property
    def obstacle(self) -> str:
        """The reason why a broken law would prove nothing, or why no gradient is implied; empty without one."""
        if self.averages is not None:
            return self.averages.obstacle
        if self.algorithm.is_implicit and self.replay is None and not self.motion:
            return (
                f"the solver of {self.algorithm} may not have converged, and the samples of its equations are not known "
                "(batches= has their indices)"
            )
        return ""

    def judge_by(self, precision: Precision) -> None:
        """Use another precision for the rows that follow."""
        self.precision = precision
        self.rounding.eps = precision.gradient
        for part in (self.evidence, self.replay, self.averages, self.noise):
            if part is not None:
                part.precision = precision

    def add(self, rows: Float64Array, batches: Sequence[object] | None = None, memory: Memory | None = None) -> None:
        """Check the steps that lead to `rows` (n, P), in float64.

        `batches` has the samples of the gradient taken at each row, `memory` what the optimiser has at it, as far as that is recorded.
        """
        if self.n_rows == 0:
            self.first_row = rows[0].copy()
        self.any_change = self.any_change or bool((rows != self.first_row).any())
        low = self.n_rows - self._tail.shape[0]
        x = np.concatenate([self._tail, rows])
        self._batches += [None] * len(rows) if batches is None else list(batches)
        self.n_rows += len(rows)
        # the round-off of a run that diverges is infinite, so that its steps are not decidable
        with np.errstate(over="ignore", invalid="ignore"):
            steps: Steps | None = None
            if self.averages is not None:
                steps = self.averages.add(rows, memory or Memory(), self._batches[-len(rows) :])
            elif self.noise is not None:
                self.noise.add(rows, self._batches[-len(rows) :])
            else:
                steps = self._steps(x, low)
            if steps is not None and steps.record.size:
                self._judge(steps, x, low)
                self._last_step = int(steps.record[-1])
        self._tail = x[-2:].copy()
        del self._batches[: len(self._batches) - len(self._tail)]

    def _steps(self, x: Float64Array, low: int) -> Steps | None:
        """Return the steps not checked yet; x are the rows of the recording from `low` on."""
        if self.replay is not None:
            return self.replay.steps(x, low, self._batches)
        known_start = low == 0 and (self.t0 == 0 or self.velocity is not None)
        if x.shape[0] < self.algorithm.fewest_rows(known_start):
            return None
        # at a rate of zero time stands still, but only row 0 is the start
        t = float(self.algorithm.times(self.t0, low)) or low * _LATER
        algorithm = from_step(self.algorithm, low)
        velocity, known = self.velocity if low == 0 else None, self.known_noise
        numbers = known.numbers(low, len(x) - 1) if known is not None else None
        gradients = implied(algorithm, self.forces, x, t, velocity, numbers, low)
        new = gradients.record + low > self._last_step
        record, points, recorded = gradients.record[new] + low, gradients.points[new], gradients.gradient[new]
        expected = None
        if self.algorithm.sam:
            pairs = zip(self._potentials(record - low), points, strict=True)
            points = np.array([self.forces.point(*pair) for pair in pairs]).reshape(points.shape)
        if self.algorithm.is_implicit and self.motion:
            middle = points
            points = np.array(
                [
                    self.forces.last_point(V, from_step(self.algorithm, int(k)), x[k - low])
                    for V, k in zip(self._potentials(record - low), record, strict=True)
                ]
            ).reshape(points.shape)
            recorded = recorded + self.forces.seen_decay(middle) - self.forces.seen_decay(points)
        if self.motion:
            each = zip(self._potentials(record - low), points, record.tolist(), strict=True)
            expected = np.array([self._gradient(*one) for one in each]).reshape(points.shape)
        p = self.precision
        size = p.length(points)
        if numbers is not None:  # which may make the next row much larger than this one
            size = np.maximum(size, p.length(x[record - low + 1]))
        if known is not None and expected is not None:
            still = None if velocity is None else 0 * velocity
            made = implied(algorithm, self.forces, 0 * x, t, still, numbers).gradient[new]
            known.add(recorded - expected, made)
        noise = self.forces.gains(record) * size + p.gradient * np.linalg.norm(recorded, axis=1)
        times: Float64Array = np.asarray(self.algorithm.times(self.t0, record), np.float64)
        return Steps(record, times, points, recorded, expected, ROUND_OFF * noise)

    def _potentials(self, rows: IntArray) -> Iterator[Potential]:
        """Yield the potentials on the samples of rows, which are counted from the tail's first."""
        return (self.rounding.of(self._batches[k]) for k in rows)

    def _gradient(self, V: Potential, point: Float64Array, row: int) -> Float64Array:
        gradient = V.gradient(point)
        if not np.isfinite(gradient).all():
            raise ValueError(f"params: ∇U is not finite at row {row}")
        return self.rounding.clip(gradient)

    def _judge(self, steps: Steps, x: Float64Array, low: int) -> None:
        """Separate wrong steps from those that rounding explains, and add both to the rows."""
        laws = [self._law(s, steps) for s in self.families]
        off = self._off(steps, laws)
        for k in np.flatnonzero(off):
            if self._unexplained < _MAX_UNEXPLAINED:
                self._explain(steps, laws, int(k), x, low)
                off[k] = self._off(steps.part(slice(k, k + 1)), _cut(laws, slice(k, k + 1)))[0]
                self._unexplained = self._unexplained + 1 if off[k] else 0
        free = (
            self.algorithm.takes_velocity
            and self.velocity is None
            and self.algorithm.momentum > 0
            and not self._recorded
        )
        may_have_velocity = bool(free and steps.record[0] == 0 and off[0] and self.every == 1)
        if may_have_velocity:
            self.pending = steps.part(slice(0, 1))
        rest = slice(int(may_have_velocity), None)
        if off[rest].any() and self.pending is not None:
            first, self.pending = self.pending, None
            self._count(first, [self._law(s, first) for s in self.families], front=True)
            if low == 0:  # x still has the rows around it
                self._note(first, np.array([True]), x, low)
        part = steps.part(rest)
        self._count(part, _cut(laws, rest), front=False)
        self._note(part, off[rest], x, low)

    def _note(self, steps: Steps, off: BoolArray, x: Float64Array, low: int) -> None:
        if steps.expected is None:
            return
        for k in range(steps.record.size):
            i = int(steps.record[k]) - low
            near = x[max(i - 1, 0) : i + 2], i > 0, self._batches[max(i - 1, 0) : i + 2]
            self.evidence.add(
                int(steps.record[k]),
                bool(off[k]),
                near,
                steps.points[k],
                steps.recorded[k],
                steps.expected[k],
                float(steps.noise[k]),
            )

    def _law(self, s: Family, steps: Steps) -> _Law:
        """Return residual, tolerance and scale."""
        length = s.norms(steps.points)
        tolerance = self._tolerance(s, steps, length)
        if steps.span is None or steps.expected is None:
            size = np.linalg.norm(steps.recorded, axis=1)
            return s.charge(steps.points, steps.recorded), tolerance, row_products(size, length)
        size = np.linalg.norm(steps.expected, axis=1)
        return s.charge(steps.points, steps.recorded - steps.expected), tolerance, row_products(size, length)

    def _tolerance(self, s: Family, steps: Steps, length: Float64Array) -> Float64Array:
        """Return the tolerance of a law, `length` being |g(x)| at the points."""
        tolerance = row_products(steps.noise, length)
        if steps.span is None or steps.expected is None:
            return tolerance
        wrong = np.linalg.norm(steps.recorded - steps.expected, axis=1)
        turned = s.norms(steps.span) - s.norm(np.zeros(self.U.n_params))
        return tolerance + row_products(wrong, np.maximum(turned, 0.0))

    def _off(self, steps: Steps, laws: Sequence[_Law]) -> BoolArray:
        """Return a mask of the steps that have a residual of a law or of a block's motion beyond its tolerance."""
        off = np.zeros(steps.record.size, dtype=bool)
        for residual, tolerance, _ in laws:
            off |= (ratio(residual, tolerance) > 1).reshape(off.size, -1).any(axis=1)
        if steps.expected is not None:
            for block, *_ in self._motion_series:
                part = block.part
                off |= np.linalg.norm(steps.recorded[:, part] - steps.expected[:, part], axis=1) > self._allowed(
                    steps, block
                )
        return off

    def _allowed(self, steps: Steps, block: Block) -> Float64Array:
        """Return the tolerance of a block's motion; blocks may have a precision of their own."""
        p = self.precision
        if not p.finer or self.averages is not None:
            return steps.noise
        size = p.of(block.name) * np.linalg.norm(steps.points[:, block.part], axis=1)
        return np.asarray(
            steps.noise + ROUND_OFF * self.forces.gains(self.every * steps.record) * (size - p.length(steps.points))
        )

    def _explain(self, steps: Steps, laws: list[_Law], k: int, x: Float64Array, low: int) -> None:
        """Replace the expected gradient and the noise of step k by those that rounding of its point allows."""
        batch = self._batches[int(steps.record[k]) - low] if self.every == 1 else None
        point, noise = steps.points[k], float(steps.noise[k])
        if steps.expected is None or steps.span is not None:
            if steps.span is not None:  # the row from which the steps start; the next one may be far away
                point = x[int(steps.record[k]) - low]
            expected = self.rounding.clip(self.U.gradient(point))
            _, steps.noise[k] = self.rounding.nearest(point, expected, expected, noise, None)
        else:
            expected, recorded = steps.expected[k], steps.recorded[k]
            nearest = self.rounding.nearest(point, expected, recorded, noise, batch)  # type: ignore[arg-type]
            steps.expected[k], steps.noise[k] = nearest
            if self.algorithm.sam:
                V = self.rounding.of(batch)  # type: ignore[arg-type]
                other = self.forces.point(V, x[int(steps.record[k]) - low], ASCENT_EPS)
                steps.noise[k] += ROUND_OFF * float(np.linalg.norm(self.rounding.clip(V.gradient(other)) - expected))
        for s, (_, tolerance, _) in zip(self.families, laws, strict=True):
            part = steps.part(slice(k, k + 1))
            tolerance[k : k + 1] = self._tolerance(s, part, s.norms(part.points))

    def _count(self, steps: Steps, laws: Sequence[_Law], front: bool) -> None:
        for series, law in zip(self._law_series, laws, strict=True):
            series.add(self.keep, front, (steps.t, *law))
        if steps.expected is None:
            return
        for block, series, sums, first_rows in self._motion_series:
            recorded, expected = (a[:, block.part] for a in (steps.recorded, steps.expected))
            norm, scale = np.linalg.norm(recorded - expected, axis=1), np.linalg.norm(expected, axis=1)
            allowed = self._allowed(steps, block)
            series.add(self.keep, front, (steps.t, norm, allowed, scale))
            beyond = norm > allowed
            sums.add(block, recorded[beyond], expected[beyond], allowed[beyond])
            first_rows.extend(steps.record[beyond][: max(8 - len(first_rows), 0)].tolist())

    def rows(self) -> tuple[list[CheckRow], list[MotionRow]]:
        """Return the rows of the report: those of the laws, and those of the motion."""
        if self.noise is not None:
            return self.noise.rows()
        laws = [
            CheckRow(s.name, *series.arrays(s.shape), 0, series.tally, self.obstacle)
            for s, series in zip(self.families, self._law_series, strict=True)
        ]
        motion = [
            MotionRow.of_block(block, *series.arrays(()), 0, series.tally, sums, self.obstacle, tuple(first_rows))
            for block, series, sums, first_rows in self._motion_series
        ]
        return laws, motion


def _cut(laws: Sequence[_Law], part: slice) -> list[_Law]:
    return [(residual[part], tolerance[part], scale[part]) for residual, tolerance, scale in laws]
