"""Why steps are off: the usual causes, each recognised by what it makes of the steps, to a small part of what is off."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .._base.types import Array, Float64Array
from .._motion.base import Algorithm
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .case import EXACT, EXPLAINED, Case, explained
from .other_losses import normalised, some_samples
from .other_rows import apart, averages
from .replay import walk
from .rounding import Rounding
from .rows import ALIKE, ROUND_OFF, Motion, blocks_of, distinct

_CASES = 8  # steps that are off and are looked into
_PER_UNKNOWN = 10  # equations for each coefficient that is fitted
_COARSE = 2.0**-7  # ε of bfloat16
_MOST = 0.5
_VARIED = 0.1  # spread of the logarithms of rates that are each entry's own
_SAME = 1e-3  # how far the lengths of clipped gradients may differ, relatively


def counted(U: Potential, factor: float, tolerance: float) -> str:
    """Return what may be counted otherwise in a loss that is `factor` times U, in brackets; empty if nothing is known."""
    if not isinstance(U, NetworkPotential):
        return ""
    n, outputs = U.n_samples, U.network.widths[-1]
    known = {float(n): f"there are {n} samples"} if n > 1 else {}
    if tolerance <= _SAME:
        known |= U.network.loss_function.also_counted(n, outputs)
    told = [text for value, text in known.items() if value != 1 and abs(factor / value - 1) < tolerance]
    return f" ({told[0]})" if told else ""


def _parallel(step: Float64Array, gradient: Float64Array) -> bool:
    """Return whether a step is along a gradient."""
    cosine = float(step @ gradient) / max(float(np.linalg.norm(step) * np.linalg.norm(gradient)), np.finfo(float).tiny)
    return cosine >= 1 - _SAME or not step.any()


class Evidence:
    """What is kept of steps to tell why they are off; its memory does not grow with their number."""

    def __init__(self, U: Potential, algorithm: Algorithm, every: int, t0: float) -> None:
        self.U, self.algorithm, self.every, self.t0 = U, algorithm, every, t0
        self.n = self.n_off = 0
        self.cases: list[Case] = []
        self._factor = (np.inf, -np.inf)
        self._length = (np.inf, -np.inf)
        self._alike = True  # whether all that are off are multiples of the expected step
        self._longest_right = 0.0

    def add(
        self,
        record: int,
        off: bool,
        near: tuple[Float64Array, bool, list[object]],
        point: Float64Array,
        got: Float64Array,
        want: Float64Array,
        noise: float,
    ) -> None:
        """Count a step; keep it if it is among the first that are off."""
        self.n += 1
        square = float(want @ want)
        if not np.isfinite(square):
            return
        if not off:
            self._longest_right = max(self._longest_right, square**0.5)
            return
        self.n_off += 1
        factor = float(got @ want) / square if square > 0 else np.inf
        left = float(np.linalg.norm(got - factor * want)) if square > 0 else np.inf
        self._alike = self._alike and left <= ALIKE[0] * float(np.linalg.norm(got - want)) + noise
        self._factor = (min(self._factor[0], factor), max(self._factor[1], factor))
        length = float(np.linalg.norm(got))
        self._length = (min(self._length[0], length), max(self._length[1], length))
        if len(self.cases) < _CASES:
            rows, has_previous, batches = near
            self.cases.append(
                Case(record, rows.copy(), tuple(batches), has_previous, point.copy(), got.copy(), want.copy(), noise)
            )

    def findings(self, motion: Sequence[Motion], laws_hold: bool) -> list[str]:
        """Return what is wrong with the motion, in words."""
        moved = [row for row in motion if row.verdict == "broken"]
        together = len(moved) == len(motion)
        if 2 * self.n_off <= self.n and (rows := self._rows()):
            return [rows]
        most = together and 2 * self.n_off > self.n and not self._multiples()
        if most and (rows := apart(self.U, self.algorithm, self.every, self.t0, self.cases)):
            return [rows]
        if together and self._alike:
            return [self._scaled(len(motion) > 1)]
        if all(row.proportional for row in moved):
            return [row.finding for row in moved]
        entries = np.concatenate([np.arange(a, b) for a, b in self._parts(moved)])
        named = [f"{row.name}" for row in moved]
        where = "" if together else f" of {', '.join(named)}"
        cause = (
            self._shifted_batches()
            or self._coefficients(entries, where)
            or (laws_hold and {f"W{h}" for h in self._layers()} <= set(named) and self._other_samples())
            or self._clipped(entries)
            or (together and self.every == 1 and averages(self.U, self.algorithm, self.cases))
            or (self.every == 1 and (some_samples(self.U, self.cases) or normalised(self.U, self.cases)))
            or (together and (self._coarse() or self._adaptive()))
        )
        return [cause + self._share()] if cause else [row.finding for row in moved]

    def _parts(self, moved: Sequence[Motion]) -> list[tuple[int, int]]:
        if not isinstance(self.U, NetworkPotential):
            return [(0, self.U.n_params)]
        names = {row.name for row in moved}
        return [(block.start, block.stop) for block in self.U.network.blocks if block.name in names]

    def _share(self) -> str:
        if 2 * self.n_off > self.n:
            return ""
        return f" ({self.n_off} of {self.n} steps{self._which()})"

    def _which(self) -> str:
        shown = ", ".join(str(case.record) for case in self.cases) + (", …" if self.n_off > len(self.cases) else "")
        return f", from row{'s' if self.n_off > 1 else ''} {shown}"

    def _rows(self) -> str:
        """Return which rows are there twice or are missing; empty if that is not what is wrong."""
        repeated = [c.record + 1 for c in self.cases if np.array_equal(c.rows[c.here], c.rows[c.here + 1])]
        if repeated:
            return f"row{'s' if len(repeated) > 1 else ''} {', '.join(map(str, repeated))} repeat{'' if len(repeated) > 1 else 's'} the row before{self._share()}"
        if self.algorithm.has_velocity or any(batch is not None for c in self.cases for batch in c.batches):
            return ""
        for case in self.cases:
            x, following = case.rows[case.here : case.here + 2]
            two = walk(self.algorithm, x, x, 0.0, 2 * self.every, lambda _, y: self.U.gradient(y))[0]
            one = walk(self.algorithm, x, x, 0.0, self.every, lambda _, y: self.U.gradient(y))[0]
            noise = case.noise * self.every * self.algorithm.dt
            left, off = (float(np.linalg.norm(following - other)) for other in (two, one))
            if not explained(left, off, noise):
                return ""
        missing = ", ".join(str(c.record) for c in self.cases)
        return f"a row is missing after row {missing}: the next is {2 * self.every} steps on{self._share()}"

    def _multiples(self) -> bool:
        """Return whether the steps that are off are the expected ones times one factor, to round-off."""
        low, high = self._factor
        factor = 0.5 * (low + high)
        return np.isfinite(factor) and all(
            float(np.linalg.norm(case.got - factor * case.want)) <= 2 * case.noise for case in self.cases
        )

    def _layers(self) -> range:
        return range(1, self.U.network.n_layers + 1) if isinstance(self.U, NetworkPotential) else range(0)

    def _scaled(self, several: bool) -> str:
        """Return what steps say that are all multiples of the expected ones."""
        low, high = self._factor
        what = "every block moves" if several else "x moves"
        if high - low <= ALIKE[0] * max(abs(low), abs(high)):
            factor = 0.5 * (low + high)
            if self.n_off < self.n:
                return f"{what} {distinct(factor, 1.0)} times as far as U asks at {self.n_off} of {self.n} steps{self._which()}: the rate or the loss is scaled there"
            hint = counted(self.U, factor, _SAME)
            return (
                f"{what} {distinct(factor, 1.0)} times as far as U asks{hint}: its loss or its time is scaled by that"
            )
        shortest, longest = self._length
        if 0 < low < high <= 1 and longest <= (1 + _SAME) * shortest and self._longest_right <= (1 + _SAME) * longest:
            return f"gradients longer than {longest:.4g} are clipped to that length{self._share()}"
        return f"{what} in the right direction, {low:.4g} to {high:.4g} times as far as U asks: a schedule of the learning rate, or gradients clipped or normalised{self._share()}"

    def _shifted_batches(self) -> str:
        """Recognise rows recorded before a step and batches after it, or the other way round."""
        cases = [
            c for c in self.cases if c.has_previous and len(c.batches) == 3 and all(b is not None for b in c.batches)
        ]
        if not cases or self.every > 1:
            return ""
        rounding = Rounding(self.U, 0.0)
        for shift, words in ((1, "the step before"), (-1, "the step after")):
            if all(
                self._is(c, rounding.of(c.batches[1 + shift]).gradient(c.point))  # type: ignore[arg-type]
                for c in cases
            ):
                return f"batches are one step off: each row has the batch of {words}; batches[k] is that of the gradient taken at row k"
        return ""

    @staticmethod
    def _is(case: Case, gradient: Float64Array) -> bool:
        """Return whether this is the gradient of a step."""
        off, left = (float(np.linalg.norm(case.got - other)) for other in (case.want, gradient))
        return explained(left, off, case.noise)

    def _coefficients(self, entries: Array, where: str) -> str:
        """Recognise combinations of ∇U, x, its signs and the step before: weight decay, L1, momentum, Nesterov's momentum."""
        momentum = self.algorithm.dynamics.mass == 0 and self.every == 1
        cases = [c for c in self.cases if c.has_previous] if momentum else self.cases
        if not cases:
            return ""
        off = np.concatenate([(c.got - c.want)[entries] for c in cases])
        known = {
            "f": [c.want for c in cases],
            "decay": [c.point for c in cases],
            "signs": [np.sign(c.point) for c in cases],
        }
        if momentum:
            h = self.algorithm.dt
            known["momentum"] = [(c.rows[0] - c.rows[1]) / h for c in cases]
            known["change"] = [c.want - self._before(c) for c in cases]
        columns = {name: np.concatenate([v[entries] for v in vectors]) for name, vectors in known.items()}
        size, noise = float(np.linalg.norm(off)), float(np.linalg.norm([c.noise for c in cases]))
        left: dict[tuple[str, ...], tuple[float, dict[str, float]]] = {}
        for chosen in (s for n in (1, 2, 3) for s in itertools.combinations(columns, n)):
            A = np.stack([columns[name] for name in chosen], axis=1)
            lengths = np.linalg.norm(A, axis=0)
            if off.size < _PER_UNKNOWN * len(chosen) or not lengths.all():
                continue
            found = np.linalg.lstsq(A / lengths, off, rcond=None)[0]
            remainder = float(np.linalg.norm(off - A / lengths @ found))
            if noise <= EXPLAINED * size and explained(remainder, size, noise):
                left[chosen] = remainder, dict(zip(chosen, map(float, found / lengths), strict=True))
        if not left:
            return ""
        least = max(10 * min(remainder for remainder, _ in left.values()), EXACT * size)
        return self._named(next(found for remainder, found in left.values() if remainder <= least), where)

    def _before(self, case: Case) -> Float64Array:
        """Return ∇U at the row before."""
        return Rounding(self.U, 0.0).of(case.batches[0]).gradient(case.rows[0])  # type: ignore[arg-type]

    def _named(self, found: dict[str, float], where: str) -> str:
        """Return in words what the coefficients mean."""
        parts = []
        declared = self.algorithm.momentum
        beta = declared + found.get("momentum", 0.0)
        if "decay" in found:
            decay = self.algorithm.weight_decay
            there = decay + found["decay"]
            instead = f", where {decay:g} is declared" if decay else " that is not declared"
            parts.append(
                ("no weight decay" if abs(there) < _SAME * decay else f"a weight decay of {there:.4g}") + instead
            )
        if "signs" in found:
            parts.append(f"an L1 penalty of {found['signs']:.4g} times the signs of the parameters")
        if "change" in found:
            if "f" in found or abs(found["change"] - beta) > _SAME * abs(beta):
                return ""
            parts.append(f"Nesterov's momentum of {beta:.4g}, which no algorithm here has")
        elif "momentum" in found:
            parts.append(f"a momentum of {beta:.4g}, where {declared:g} is declared: nl.HeavyBall has it")
        if "f" in found:
            parts.append(f"{distinct(1 + found['f'], 1.0)} times the gradient of U")
        return f"the steps{where} have " + " and ".join(parts)

    def _other_samples(self) -> str:
        """Recognise that every law holds and no step is that of the samples, though most go downhill."""
        if not isinstance(self.U, NetworkPotential) or self.U.n_samples == 1 or 2 * self.n_off <= self.n:
            return ""
        downhill = [float(c.got @ c.want) > 0 for c in self.cases]
        if 2 * sum(downhill) <= len(downhill):
            return ""
        if any(batch is not None for c in self.cases for batch in c.batches):
            return "no step is along the gradient of its batch, and every law holds, as with indices of other batches, or with other data"
        return (
            "no step is along the gradient of all samples, and every law holds, as with minibatches "
            "(then batches= or minibatches=True) or with other data"
        )

    def _clipped(self, entries: Array) -> str:
        """Recognise gradients of which every entry beyond a size is brought down to it."""
        size = max((float(np.abs(c.got[entries]).max()) for c in self.cases), default=0.0)
        for case in self.cases:
            got, want = case.got[entries], case.want[entries]
            left, off = (float(np.linalg.norm(got - other)) for other in (np.clip(want, -size, size), want))
            if not explained(left, off, case.noise):
                return ""
        return f"entries of the gradient beyond {size:.4g} are clipped to it" if size else ""

    def _adaptive(self) -> str:
        """Recognise steps with the signs of the gradient in every entry, and with sizes of their own."""
        even, signs, blocks = [], [], []
        for case in self.cases:
            step = case.rows[case.here] - case.rows[case.here + 1]
            both = (step != 0) & (case.want != 0)
            if both.sum() < _PER_UNKNOWN:
                return ""
            same = float((step * case.want > 0)[both].mean())
            spread, usual = (float(np.log(np.abs(a[both])).std()) for a in (step, case.want))
            even.append(same >= 0.8 and spread <= 0.5 * usual)
            rate = np.log(np.abs(step[both] / case.want[both]))
            signs.append(same == 1 and float(rate.std()) > _VARIED)
            blocks.append(
                all(_parallel(step[b.start : b.stop], case.want[b.start : b.stop]) for b in blocks_of(self.U))
            )
        # The first step of Adam and RMSProp is the same in every entry, whatever those that follow are.
        if even and (all(even) or (self.cases[0].record == 0 and even[0])):
            return "steps are about equally long in every entry, as those of an adaptive optimiser (Adam, RMSProp, signs) are: no steps along a gradient"
        if even and all(blocks):
            return "every block moves in the right direction at a rate of its own that varies, as where gradients are clipped block by block"
        if even and all(signs):
            return "every entry moves downhill at a rate of its own, as with an adaptive optimiser (RMSProp, AdaGrad): no steps along a gradient"
        return ""

    def _coarse(self) -> str:
        """Recognise gradients that differ by no more than products in bfloat16 make of them."""
        if self.every > 1:
            return ""
        rounding = Rounding(self.U, _COARSE)
        for case in self.cases:
            # Rounding shows in most entries of every step; a wrong gradient leaves some steps or entries as they should be.
            off = np.abs(case.got - case.want) > _COARSE**2 * np.abs(case.want)
            if off[case.want != 0].mean() < _MOST:
                return ""
            batch, noise = case.batches[case.here], ROUND_OFF * _COARSE * float(np.linalg.norm(case.got))
            nearest, allowed = rounding.nearest(case.point, case.want, case.got, noise, batch)  # type: ignore[arg-type]
            if np.linalg.norm(case.got - nearest) > allowed:
                return ""
        return 'steps are as U asks but for what products in bfloat16 make of the gradient; if they were made so: precision="autocast"'
