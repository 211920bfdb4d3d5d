"""Steps of optimisers with averages of gradients, taken again from what was recorded (theory §13).

Positions do not give a gradient back where its size is divided out of a step. What an optimiser keeps does: an average
m' = βm + aF, recorded before and after a step, implies F, which the laws and ∇U are compared with. The step itself is then taken
again, from the row with its averages and with this F, and compared with the next row; averages that were not recorded are carried along from the start
of the run, with ∇U in the place of F where nothing implies it.

Round-off is measured by twins: the same from rows, gradients, averages and constants that are rounded at random, as in `replay`. Of matrices
whose steps are multiples of numbers of bfloat16, as those of `torch.optim.Muon` are, twins are iterated in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .._base.precision import EPSILON, Precision, may_be
from .._base.types import Float64Array
from .._motion.base import Algorithm, Memory, RecordedStep
from .._problem.blocks import Block
from .._problem.potentials import Potential
from .forces import ASCENT_EPS, Forces
from .implied import Steps
from .rounding import Rounding
from .rows import ROUND_OFF, MotionSums, blocks_of
from .series import Series, StepRow

_TWINS = 6  # as in `replay`: all of them are beside the true error with probability 2e-10
# Round-off of a rule's own arithmetic, in units of ε times the step: terms of Newton and Schulz's iterations are some ten times their sum.
_OF_RULE = 16
_MOST_ROWS = 8  # wrong rows that are named


class _Taken(NamedTuple):
    """A step taken again: F, the next x by the rule, and the averages after it; None where it is not known."""

    force: Float64Array | None
    x: Float64Array | None
    memory: Memory


def unknown(algorithm: Algorithm, n_params: int) -> Memory:
    """Return an optimiser's averages where none is known: zeros for those that it does not have."""
    fields = algorithm.states.values()
    return Memory(*(None if name in fields else np.zeros(n_params) for name in Memory._fields))


class AverageSteps:
    """The steps of an optimiser between the rows of a recording, which are added one after the other.

    `first` and `t0` are the number of the step from row 0 and its time, `start` the averages before it where they are known: zero at
    the start of a run. `recorded`: fields of `Memory` that are recorded. `motion`: whether the samples of every step are known, so
    that ∇U is. `keep`: whether the residuals of every step are stored.
    """

    def __init__(
        self,
        forces: Forces,
        U: Potential,
        precision: Precision,
        *,
        first: int,
        t0: float,
        start: Memory,
        recorded: tuple[str, ...],
        motion: bool,
        keep: bool,
    ) -> None:
        algorithm = forces.algorithm
        self.forces, self.algorithm, self.precision, self.first, self.t0 = forces, algorithm, precision, first, t0
        self.recorded, self.motion, self.keep = recorded, motion, keep
        self.late = False  # whether the first row of a run that starts there has averages that it cannot have
        self.implies = False  # whether any gradient was implied
        self.in_bfloat16: set[str] = set()  # blocks whose steps are judged as those of iterations in bfloat16
        self._unknown = unknown(algorithm, U.n_params)
        self._rounding = Rounding(U, precision.gradient)
        self._rng = np.random.default_rng(0)
        self._carried = [start] * (1 + _TWINS)
        self._row: tuple[Float64Array, Memory, object] | None = None  # the last one
        self._twins: list[tuple[Float64Array, Memory]] = []
        self._next = 0
        self._series = [(block, Series(), MotionSums.empty(block), list[int]()) for block in blocks_of(U)]

    def add(self, rows: Float64Array, memory: Memory, batches: Sequence[object]) -> Steps | None:
        """Check the steps that lead to `rows` (n, P); return the gradients that they imply."""
        steps: list[tuple[Any, ...]] = []
        for i, x in enumerate(rows):
            averages = Memory(*(None if a is None else a[i] for a in memory))
            if self._row is None and self.first == 0 and self.t0 == 0:
                self.late = any(self._is_late(name, getattr(averages, f)) for name, f in self.algorithm.states.items())
            twins = [self._rounded_row(x, averages) for _ in range(_TWINS)]
            if self._row is not None:
                self._between([self._row[:2], *self._twins], [(x, averages), *twins], self._row[2], steps)
                self._next += 1
            self._row, self._twins = (x, averages, batches[i]), twins
        if not steps:
            return None
        self.implies = True
        record, t, points, recorded, expected, noise = zip(*steps, strict=True)
        gradients = np.array(expected) if self.motion else None
        return Steps(np.array(record), np.array(t), np.array(points), np.array(recorded), gradients, np.array(noise))

    def rows(self) -> list[StepRow]:
        """Return the rows of the report about the steps themselves."""
        rows = []
        for block, series, sums, first_rows in self._series if self.recorded or not self.implies else ():
            named = Block(f"step of {block.name}", block.start, block.shape)
            rows.append(
                StepRow.of_block(named, *series.arrays(()), 0, series.tally, sums, self._why(), tuple(first_rows))
            )
        return rows

    def _is_late(self, name: str, recorded: Float64Array | None) -> bool:
        """Return whether a recorded state is another than that of a start, which is zero in the units of `Memory`."""
        if recorded is None:
            return False
        start = np.abs(self.algorithm.memory_of(name, np.zeros(1)))
        return bool((np.abs(recorded) > ROUND_OFF * self.precision.gradient * start).any())

    def _why(self) -> str:
        """Return the reason why no step was taken again, where that is so."""
        if self._series[0][1].tally.n:
            return ""
        if not self.motion and not self.implies:
            return "the samples of the steps are not known, and nothing recorded implies their gradients"
        return f"the averages of {self.algorithm} before the first row are not known: it is not the start of the run"

    @property
    def obstacle(self) -> str:
        """The reason for which no gradient is implied; empty where some are."""
        if self.implies:
            return ""
        names = [f"{name}=" for name, field in self.algorithm.states.items() if field not in self.recorded]
        how = f": {names[0]} takes what tells them" if names else ", but their signs at most"
        return f"positions do not tell the gradients of {self.algorithm}{how}"

    def _between(
        self,
        rows: Sequence[tuple[Float64Array, Memory]],
        following: Sequence[tuple[Float64Array, Memory]],
        batch: object,
        steps: list[tuple[Any, ...]],
    ) -> None:
        """Take the step between two rows again, and as the twins; add what it implies to `steps`."""
        k, p = self._next, self.precision
        V = self._rounding.of(batch)  # type: ignore[arg-type]
        rough = self._rounding.saturation(V, rows[0][0], V.gradient(rows[0][0])) if self.motion else 0.0
        steps_taken = list(zip(self._carried, rows, following, strict=True))
        taken = [self._taken(V, k, *step, twin=i > 0, rough=rough) for i, step in enumerate(steps_taken)]
        self._carried = [step.memory for step in taken]
        (x, _), (after, _), (force, end, _) = rows[0], following[0], taken[0]
        if force is not None:
            spread = max(float(np.linalg.norm(other.force - force)) for other in taken[1:] if other.force is not None)
            noise = ROUND_OFF * (spread + p.gradient * float(np.linalg.norm(force)))
            point = self.forces.point(V, x) if self.motion else x
            expected = self.forces.clip(V.gradient(point)) if self.motion else None
            steps.append((k, self._time(k), point, force - self.forces.decay(x), expected, noise))
        if end is not None and (force is None or self.recorded):  # what follows from positions alone is no test of them
            misses = [row - step.x for (row, _), step in zip(following, taken, strict=True) if step.x is not None]

            @cache
            def spread_in_bfloat16() -> Float64Array:
                again = partial(self._taken, V, k, *steps_taken[0], twin=False, rough=rough, rounded=self._to_bfloat16)
                return np.array([again().x for _ in range(_TWINS)], float) - end

            self._count(k, x, after, end, np.array(misses) - misses[0], spread_in_bfloat16)

    def _taken(
        self,
        V: Potential,
        k: int,
        carried: Memory,
        row: tuple[Float64Array, Memory],
        following: tuple[Float64Array, Memory],
        twin: bool,
        rough: float,
        **iterations: Any,
    ) -> _Taken:
        """Take a step again, with the gradient that the rows imply or else that of V; as a twin with random rounding errors.

        `rough` is the norm of the error of ∇V beyond ε|∇V|, where the loss saturates; `iterations` are options of the rule.
        """
        (x, recorded), (after, later), algorithm, n = row, following, self.algorithm, self.first + k
        now = Memory(*(old if new is None else new for old, new in zip(carried, recorded, strict=True)))
        numbers = self._numbers(k)
        force = algorithm.implied_force(RecordedStep(numbers, n, x, after, now, later))
        if force is None and not self.motion:
            return _Taken(None, None, self._unknown)
        used = force
        if used is None:
            point = self.forces.point(V, x, ASCENT_EPS * twin)
            used = self.forces.clip(V.gradient(point)) + self.forces.decay(x)
        if now.m is None or now.s is None:
            return _Taken(force, None, self._unknown)
        update: Any = algorithm.method.update
        if not twin:
            end, m, s = update(numbers, n, x, now.m, now.s, used, **iterations)
            return _Taken(force, end, Memory(m, s))
        used = used + self._errors(self.precision.gradient * np.abs(used))
        if force is None and rough > 0:
            used = used + self._rng.normal(0.0, rough / np.sqrt(used.size), used.size)
        end, m, s = update(numbers._replace(constants=self._rounded_constants()), n, x, now.m, now.s, used)
        return _Taken(force, end, Memory(self._rounded(m), self._rounded(s)))

    def _numbers(self, k: int) -> Any:
        """Return the numbers of the rule for the step from row k, with the rate of every coordinate."""
        numbers = self.forces.numbers
        h = float(numbers.rates[k]) if numbers.rates.size else numbers.h
        return numbers._replace(h=h * numbers.shares_at(k))

    def _count(
        self,
        k: int,
        x: Float64Array,
        after: Float64Array,
        end: Float64Array,
        spread: Float64Array,
        spread_in_bfloat16: Callable[[], Float64Array],
    ) -> None:
        """Compare the displacement of a step with that of the rule, block by block."""
        t, recorded, expected, each = np.array([self._time(k)]), after - x, end - x, self.precision.each(after)
        for block, series, sums, first_rows in self._series:
            part = block.part
            size = np.array([np.linalg.norm(expected[part])])
            off = np.linalg.norm(spread[:, part], axis=1).max() + np.linalg.norm(each[part])
            allowed = ROUND_OFF * (off + _OF_RULE * self.precision.of(block.name) * size)
            miss = np.array([np.linalg.norm(recorded[part] - expected[part])])
            if miss[0] > allowed[0] and self._is_in_bfloat16(k, block, x, after):
                allowed = allowed + ROUND_OFF * np.linalg.norm(spread_in_bfloat16()[:, part], axis=1).max()
                self.in_bfloat16.add(block.name)
            series.add(self.keep, False, (t, miss, allowed, size))
            if miss[0] > allowed[0]:
                sums.add(block, recorded[None, part], expected[None, part], allowed)
                first_rows.extend([k] * (len(first_rows) < _MOST_ROWS))

    def _is_in_bfloat16(self, k: int, block: Block, x: Float64Array, after: Float64Array) -> bool:
        """Return whether a step of iterations may be a multiple of numbers of bfloat16, up to the round-off of its rows."""
        iterated = self.algorithm.iterated(self._numbers(k), block, x, after)
        if iterated is None:
            return False
        made, factor = iterated
        each = ROUND_OFF * (self.precision.each(x) + self.precision.each(after))[block.part]
        return bool((factor > 0).all()) and may_be(made, each / factor, "bfloat16")

    def _to_bfloat16(self, x: Float64Array) -> Float64Array:
        """Return numbers with random errors as large as those of rounding to bfloat16."""
        return np.asarray(x * (1 + 0.5 * EPSILON["bfloat16"] * self._rng.uniform(-1, 1, x.shape)))

    def _time(self, k: int) -> float:
        return float(self.algorithm.times(self.t0, k))

    def _rounded_constants(self) -> tuple[float, ...]:
        """Return the constants of the rule with random relative errors of β of up to ROUND_OFF ε.

        Programs compute β^k in different orders; in 1 − β^k their differences are amplified by up to 1/(1 − β).
        """
        constants = list(self.forces.numbers.constants)
        for i in self.algorithm.bias_corrected:
            constants[i] += ROUND_OFF * EPSILON["float64"] * (1 - constants[i]) * self._rng.uniform(-1, 1)
        return tuple(constants)

    def _rounded_row(self, x: Float64Array, memory: Memory) -> tuple[Float64Array, Memory]:
        """Return a row whose numbers have random relative errors of up to ROUND_OFF ε."""
        rounded = [None if a is None else self._rounded(a) for a in (x, *memory)]
        return rounded[0], Memory(*rounded[1:])  # type: ignore[return-value]

    def _rounded(self, x: Float64Array) -> Float64Array:
        return x + self._errors(self.precision.each(x))

    def _errors(self, each: Float64Array) -> Float64Array:
        """Return random numbers of up to ROUND_OFF times `each`."""
        return np.asarray(ROUND_OFF * each * self._rng.uniform(-1, 1, each.size))
