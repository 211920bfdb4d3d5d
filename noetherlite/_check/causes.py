"""The usual causes of wrong steps, each recognised where it explains the error up to a small remainder."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np

from .._base.precision import EPSILON, Precision
from .._base.types import Array, Float64Array
from .._motion.base import Algorithm
from .._motion.recorded import clipped
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .case import EXACT, EXPLAINED, Case, explained
from .forces import Forces
from .other_losses import normalised, some_samples
from .other_rows import apart, averages
from .replay import is_replayed, walk
from .rounding import Rounding
from .rows import ALIKE, ROUND_OFF, MotionRow, blocks_of, distinct

_CASES = 8  # wrong steps that are examined
_PER_UNKNOWN = 10  # equations per fitted coefficient
_COARSE = EPSILON["bfloat16"]
_MOST_ENTRIES = 0.5  # fraction of the entries in which rounding shows
_VARIED = 0.1  # least standard deviation of log rates that counts as one rate per entry
_SAME = 1e-3  # relative difference below which factors, or lengths of clipped gradients, count as equal


def counted(U: Potential, factor: float, tolerance: float) -> str:
    """Return a likely reason for a loss that is `factor` times U, such as a sum instead of a mean, in brackets; else an empty text."""
    if not isinstance(U, NetworkPotential):
        return ""
    n, outputs = U.n_samples, U.network.widths[-1]
    reasons = {float(n): f"there are {n} samples"} if n > 1 else {}
    if tolerance <= _SAME:
        reasons |= U.network.loss_function.also_counted(n, outputs)
    fitting = [text for value, text in reasons.items() if value != 1 and abs(factor / value - 1) < tolerance]
    return f" ({fitting[0]})" if fitting else ""


class Evidence:
    """The wrong steps of a recording, as far as they are needed to find the cause: the first eight, and extremes over all."""

    def __init__(self, U: Potential, algorithm: Algorithm, every: int, t0: float, precision: Precision) -> None:
        self.U, self.algorithm, self.every, self.t0, self.precision = U, algorithm, every, t0, precision
        self.n = self.n_off = 0
        self.cases: list[Case] = []
        self._factor = (np.inf, -np.inf)  # smallest and largest multiple
        self._length = (np.inf, -np.inf)  # smallest and largest |gradient| that a wrong step implies
        self._alike = True  # whether all wrong steps are multiples of the expected ones
        self._longest_right = 0.0  # largest |∇U| of the correct steps

    def add(
        self,
        record: int,
        off: bool,
        near: tuple[Float64Array, bool, list[object]],
        point: Float64Array,
        recorded: Float64Array,
        expected: Float64Array,
        noise: float,
    ) -> None:
        """Count a step; store it if it is among the first wrong ones."""
        self.n += 1
        square = float(expected @ expected)
        if not np.isfinite(square):
            return
        if not off:
            self._longest_right = max(self._longest_right, square**0.5)
            return
        self.n_off += 1
        factor = float(recorded @ expected) / square if square > 0 else np.inf
        remainder = float(np.linalg.norm(recorded - factor * expected)) if square > 0 else np.inf
        self._alike = self._alike and remainder <= ALIKE[0] * float(np.linalg.norm(recorded - expected)) + noise
        self._factor = (min(self._factor[0], factor), max(self._factor[1], factor))
        length = float(np.linalg.norm(recorded))
        self._length = (min(self._length[0], length), max(self._length[1], length))
        if len(self.cases) < _CASES:
            rows, has_previous, batches = near
            case = Case(record, rows, tuple(batches), has_previous, point, recorded, expected, noise)
            self.cases.append(copy.deepcopy(case))  # views would keep all of the recording

    def findings(self, motion: Sequence[MotionRow], laws_hold: bool) -> list[str]:
        """Return sentences about what is wrong with the motion."""
        broken = [row for row in motion if row.verdict == "broken"]
        all_blocks = len(broken) == len(motion)
        if undamped := self._undamped():
            return [undamped]
        if not self._usual and (rows := self._rows()):
            return [rows]
        most = all_blocks and self._usual and not self._multiples()
        if most and (rows := apart(self.U, self.algorithm, self.every, self.t0, self.cases)):
            return [rows]
        if all_blocks and self._alike:
            return [self._scaled(len(motion) > 1)]
        if all(row.proportional for row in broken):
            return [row.finding for row in broken]
        entries = np.concatenate([np.arange(a, b) for a, b in self._parts(broken)])
        names = [row.name for row in broken]
        of_blocks = "" if all_blocks else f" of {', '.join(names)}"
        cause = (
            self._shifted_batches()
            or (not all_blocks and self._left_out(entries, names))
            or self._coefficients(entries, of_blocks)
            or (laws_hold and {f"W{h}" for h in self._layers()} <= set(names) and self._other_samples())
            or self._clipped(entries)
            or (all_blocks and self.every == 1 and averages(self.U, self.algorithm, self.cases))
            or (self.every == 1 and (some_samples(self.U, self.cases) or normalised(self.U, self.cases)))
            or (all_blocks and (self._coarse() or self._adaptive()))
        )
        return [cause + self._share()] if cause else [row.finding for row in broken]

    def _parts(self, broken: Sequence[MotionRow]) -> list[tuple[int, int]]:
        if not isinstance(self.U, NetworkPotential):
            return [(0, self.U.n_params)]
        names = {row.name for row in broken}
        return [(block.start, block.stop) for block in self.U.network.blocks if block.name in names]

    def _share(self) -> str:
        return "" if self._usual else f" ({self.n_off} of {self.n} steps{self._which()})"

    @property
    def _usual(self) -> bool:
        """Whether more than half of the steps are wrong."""
        return 2 * self.n_off > self.n

    def _which(self) -> str:
        shown = ", ".join(str(case.record) for case in self.cases) + (", …" if self.n_off > len(self.cases) else "")
        return f", from row{'s' if self.n_off > 1 else ''} {shown}"

    def _undamped(self) -> str:
        """Recognise PyTorch's first step with dampening, where the recorded buffer tells it from a velocity."""
        factor = self.algorithm.undamped_first_step
        if factor == 1 or self.n_off != 1 or self.every > 1 or self.t0 != 0 or self.cases[0].record > 0:
            return ""
        first = self.cases[0]
        decay = Forces(self.U, self.algorithm).decay(first.rows[0])
        if not self._is(first, factor * (first.expected + decay) - decay):
            return ""
        return f"the first step is {distinct(factor, 1.0)} times as long as the others: PyTorch leaves the dampening out of it (first_step_damped=False)"

    def _rows(self) -> str:
        """Recognise rows that repeat the row before, or that are missing."""
        repeated = [
            c.record + 1
            for c in self.cases
            if np.array_equal(c.rows[c.here], c.rows[c.here + 1]) and not self._rests(c.record)
        ]
        # A velocity is wrong in the step from the second of two equal rows, too.
        reach = int(self.algorithm.has_velocity)
        if repeated and all(any(0 <= c.record + 1 - row <= reach for row in repeated) for c in self.cases):
            return f"row{'s' if len(repeated) > 1 else ''} {', '.join(map(str, repeated))} repeat{'' if len(repeated) > 1 else 's'} the row before{self._share()}"
        if (
            self.algorithm.has_velocity
            or self.algorithm.needs_work
            or self.algorithm.has_schedule
            or any(batch is not None for c in self.cases for batch in c.batches)
        ):
            return ""
        for case in self.cases:
            x, following = case.rows[case.here : case.here + 2]
            two = walk(self.algorithm, x, x, 0.0, 2 * self.every, lambda _, y: self.U.gradient(y))[0]
            one = walk(self.algorithm, x, x, 0.0, self.every, lambda _, y: self.U.gradient(y))[0]
            noise = case.noise * self.every * self.algorithm.dt
            remainder, error = (float(np.linalg.norm(following - other)) for other in (two, one))
            if not explained(remainder, error, noise):
                return ""
        missing = ", ".join(str(c.record) for c in self.cases)
        return f"a row is missing after row {missing}: the next is {2 * self.every} steps on{self._share()}"

    def _rests(self, record: int) -> bool:
        """Return whether the schedule has no rate for the steps from a row."""
        rates = self.algorithm.rates[record * self.every : (record + 1) * self.every]
        return len(rates) > 0 and not any(rates)

    def _multiples(self) -> bool:
        """Return whether the wrong steps are the expected ones times one factor, up to round-off."""
        low, high = self._factor
        factor = 0.5 * (low + high)
        return np.isfinite(factor) and all(
            float(np.linalg.norm(case.recorded - factor * case.expected)) <= 2 * case.noise for case in self.cases
        )

    def _layers(self) -> range:
        return range(1, self.U.network.n_layers + 1) if isinstance(self.U, NetworkPotential) else range(0)

    def _scaled(self, several: bool) -> str:
        """Return a sentence about wrong steps that are multiples of the expected ones."""
        low, high = self._factor
        subject = "every block moves" if several else "x moves"
        clip = self.algorithm.clip
        if clip is not None and max(abs(size - clip) for size in self._length) <= 2 * max(c.noise for c in self.cases):
            return f"gradients are clipped to {clip:g} as by optax.clip_by_global_norm; clip= is PyTorch's, which adds 10⁻⁶ to their length{self._share()}"
        if high - low <= ALIKE[0] * max(abs(low), abs(high)):
            factor = 0.5 * (low + high)
            if self.n_off < self.n:
                return f"{subject} {distinct(factor, 1.0)} times as far as U asks at {self.n_off} of {self.n} steps{self._which()}: the rate or the loss is scaled there"
            hint = counted(self.U, factor, _SAME)
            return f"{subject} {distinct(factor, 1.0)} times as far as U asks{hint}: its loss or its time is scaled by that"
        shortest, longest = self._length
        if 0 < low < high <= 1 and longest <= (1 + _SAME) * shortest and self._longest_right <= (1 + _SAME) * longest:
            return f"gradients longer than {longest:.4g} are clipped to that length{self._share()}"
        return f"{subject} in the right direction, {low:.4g} to {high:.4g} times as far as U asks: a schedule of the learning rate, or gradients clipped or normalised{self._share()}"

    def _shifted_batches(self) -> str:
        """Recognise batches that are recorded one step too early or too late."""
        cases = [
            c for c in self.cases if c.has_previous and len(c.batches) == 3 and all(b is not None for b in c.batches)
        ]
        if not cases or self.every > 1:
            return ""
        rounding = Rounding(self.U, 0.0)
        for shift, words in ((1, "the step before"), (-1, "the step after")):
            if all(
                self._is(c, clipped(self.algorithm, rounding.of(c.batches[1 + shift]).gradient(c.point)))  # type: ignore[arg-type]
                for c in cases
            ):
                return f"batches are one step off: each row has the batch of {words}; batches[k] is that of the gradient taken at row k"
        return ""

    @staticmethod
    def _is(case: Case, gradient: Float64Array) -> bool:
        """Return whether a step was taken along this gradient."""
        error, remainder = (float(np.linalg.norm(case.recorded - other)) for other in (case.expected, gradient))
        return explained(remainder, error, case.noise)

    def _left_out(self, entries: Array, names: Sequence[str]) -> str:
        """Recognise blocks that stay where they are, though their averages would move them."""
        if not all(np.array_equal(c.rows[c.here][entries], c.rows[c.here + 1][entries]) for c in self.cases):
            return ""
        several = len(names) > 1
        return f"{', '.join(names)} {'do' if several else 'does'} not move: left out of the step{'' if self.n_off == 1 else 's'}"

    def _coefficients(self, entries: Array, of_blocks: str) -> str:
        """Recognise weight decay, an L1 penalty, momentum and Nesterov's momentum: combinations of ∇U, x, sign(x) and the last step."""
        at_one_rate = self.algorithm.starts_anywhere and not self.algorithm.has_schedule
        if self.algorithm.has_blocks or self.algorithm.sam:
            return ""
        momentum = self.algorithm.dynamics.mass == 0 and self.every == 1 and at_one_rate
        cases = [c for c in self.cases if c.has_previous] if momentum else self.cases
        if not cases:
            return ""
        off = np.concatenate([(c.recorded - c.expected)[entries] for c in cases])
        terms = {
            "f": [c.expected for c in cases],
            "decay": [c.point for c in cases],
            "signs": [np.sign(c.point) for c in cases],
        }
        if momentum:
            h = self.algorithm.dt
            terms["momentum"] = [(c.rows[0] - c.rows[1]) / h for c in cases]
            terms["change"] = [c.expected - self._previous_gradient(c) for c in cases]
        columns = {name: np.concatenate([v[entries] for v in vectors]) for name, vectors in terms.items()}
        size, noise = float(np.linalg.norm(off)), float(np.linalg.norm([c.noise for c in cases]))
        fits: dict[tuple[str, ...], tuple[float, dict[str, float]]] = {}
        for names in (s for n in (1, 2, 3) for s in itertools.combinations(columns, n)):
            A = np.stack([columns[name] for name in names], axis=1)
            lengths = np.linalg.norm(A, axis=0)
            if off.size < _PER_UNKNOWN * len(names) or not lengths.all():
                continue
            solution = np.linalg.lstsq(A / lengths, off, rcond=None)[0]
            remainder = float(np.linalg.norm(off - A / lengths @ solution))
            if noise <= EXPLAINED * size and explained(remainder, size, noise):
                fits[names] = remainder, dict(zip(names, map(float, solution / lengths), strict=True))
        if not fits:
            return ""
        least = max(10 * min(remainder for remainder, _ in fits.values()), EXACT * size)
        return self._described(next(fit for remainder, fit in fits.values() if remainder <= least), of_blocks)

    def _previous_gradient(self, case: Case) -> Float64Array:
        """Return ∇U at the row before the step."""
        gradient = Rounding(self.U, 0.0).of(case.batches[0]).gradient(case.rows[0])  # type: ignore[arg-type]
        return clipped(self.algorithm, gradient)

    def _described(self, coefficients: dict[str, float], of_blocks: str) -> str:
        """Return the sentence for these coefficients."""
        parts = []
        declared = self.algorithm.momentum
        beta = declared + coefficients.get("momentum", 0.0)
        if "decay" in coefficients:
            decay = self.algorithm.coupled_decay
            actual = decay + coefficients["decay"]
            instead = f", where {decay:g} is declared" if decay else " that is not declared"
            parts.append(
                ("no weight decay" if abs(actual) < _SAME * decay else f"a weight decay of {distinct(actual, decay)}")
                + instead
            )
        if "signs" in coefficients:
            parts.append(f"an L1 penalty of {coefficients['signs']:.4g} times the signs of the parameters")
        if "change" in coefficients:
            if "f" in coefficients or abs(coefficients["change"] - beta) > _SAME * abs(beta):
                return ""
            parts.append(f"Nesterov's momentum of {beta:.4g}: nl.Nesterov has it")
        elif "momentum" in coefficients:
            size = "no momentum" if abs(beta) < _SAME * declared else f"a momentum of {distinct(beta, declared)}"
            parts.append(f"{size}, where {declared:g} is declared" + ("" if declared else ": nl.HeavyBall has it"))
        if "f" in coefficients:
            parts.append(f"{distinct(1 + coefficients['f'], 1.0)} times the gradient of U")
        return f"the steps{of_blocks} have " + " and ".join(parts)

    def _other_samples(self) -> str:
        """Recognise gradients of other samples: every law holds and most steps go downhill, but none is along ∇U."""
        if not isinstance(self.U, NetworkPotential) or self.U.n_samples == 1 or not self._usual:
            return ""
        downhill = [float(c.recorded @ c.expected) > 0 for c in self.cases]
        if 2 * sum(downhill) <= len(downhill):
            return ""
        if any(batch is not None for c in self.cases for batch in c.batches):
            return "no step is along the gradient of its batch, and every law holds, as with indices of other batches, or with other data"
        return (
            "no step is along the gradient of all samples, and every law holds, as with minibatches "
            "(then batches= or minibatches=True) or with other data"
        )

    def _clipped(self, entries: Array) -> str:
        """Recognise gradients that are clipped entry by entry."""
        size = max((float(np.abs(c.recorded[entries]).max()) for c in self.cases), default=0.0)
        for case in self.cases:
            recorded, expected = case.recorded[entries], case.expected[entries]
            remainder, error = (
                float(np.linalg.norm(recorded - other)) for other in (np.clip(expected, -size, size), expected)
            )
            if not explained(remainder, error, case.noise):
                return ""
        return f"entries of the gradient beyond {size:.4g} are clipped to it" if size else ""

    def _adaptive(self) -> str:
        """Recognise adaptive optimisers: every entry has the sign of the gradient, and a rate of its own."""
        even, signs, blocks = [], [], []
        for case in self.cases:
            step = case.rows[case.here] - case.rows[case.here + 1]
            both = (step != 0) & (case.expected != 0)
            if both.sum() < _PER_UNKNOWN:
                return ""
            same = float((step * case.expected > 0)[both].mean())
            spread, usual = (float(np.log(np.abs(a[both])).std()) for a in (step, case.expected))
            even.append(same >= 0.8 and spread <= 0.5 * usual)
            rate = np.log(np.abs(step[both] / case.expected[both]))
            signs.append(same == 1 and float(rate.std()) > _VARIED)
            blocks.append(self._is(case, self._multiple_by_block(case)))
        if even and all(blocks):
            return "every block moves in the right direction at a rate of its own that varies, as where gradients are clipped block by block"
        # Another optimiser takes all steps; one of these was declared.
        if not (self._usual and self.algorithm.implies_gradients):
            return ""
        # The first step of Adam and RMSProp has the same length in every entry; later ones need not.
        if even and (all(even) or (self.cases[0].record == 0 and even[0])):
            return "steps are about equally long in every entry, as those of an adaptive optimiser (Adam, RMSProp, signs) are: nl.Adam and its like take those"
        if even and all(signs):
            return "every entry moves downhill at a rate of its own, as with an adaptive optimiser (RMSProp, AdaGrad): nl.RMSProp and nl.AdaGrad take those"
        return ""

    def _multiple_by_block(self, case: Case) -> Float64Array:
        """Return the nearest gradient to that of a step whose blocks are positive multiples of those of ∇U."""
        nearest = case.expected.copy()
        for part in (block.part for block in blocks_of(self.U)):
            square = float(case.expected[part] @ case.expected[part])
            nearest[part] *= max(float(case.recorded[part] @ case.expected[part]), 0.0) / square if square > 0 else 1.0
        return nearest

    def _coarse(self) -> str:
        """Recognise gradients whose error is that of products in bfloat16."""
        if is_replayed(self.algorithm, self.every) or self.algorithm.has_noise or not self._usual:
            return ""
        if self.precision.eps == EPSILON["float64"]:  # whose products no framework makes in bfloat16
            return ""
        rounding = Rounding(self.U, _COARSE)
        for case in self.cases:
            # Rounding changes most entries of most steps; a wrong gradient leaves some steps or entries correct.
            off = np.abs(case.recorded - case.expected) > _COARSE**2 * np.abs(case.expected)
            if off[case.expected != 0].mean() < _MOST_ENTRIES:
                return ""
            batch, noise = case.batches[case.here], ROUND_OFF * _COARSE * float(np.linalg.norm(case.recorded))
            nearest, allowed = rounding.nearest(case.point, case.expected, case.recorded, noise, batch)  # type: ignore[arg-type]
            if np.linalg.norm(case.recorded - nearest) > allowed:
                return ""
        return 'steps are as U asks but for what products in bfloat16 make of the gradient; if they were made so: precision="autocast"'
