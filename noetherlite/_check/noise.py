"""Steps with noise, whose numbers are not known: the noise that they imply is judged by what it must be like (theory §6).

Given the gradients of U, a recording of Langevin dynamics implies the normal numbers ξ of its steps. Were the algorithm and its
gradients those that are declared, these numbers would be independent, with variance 1, and independent of all that was known
before them. With unit vectors e_k and weights w_k that are known before ξ_k, S = Σ w_k⟨e_k, ξ_k⟩ and V = Σ w_k², the mean of exp(sS − s²V/2) is
then 1 for every s, so that of its mean over s ~ N(0, 1/τ²), and

    |S| ≥ √((V + τ²)(2 log 1/α + log(1 + V/τ²)))

has a probability of α at most, whatever the run does and at whatever row one looks (Robbins 1970). Such sums are made

    for laws        with e_k along g(x_k), of every component: whatever the gradients are, they are orthogonal to it;
    for gradients   with e_k along F_k in every block: a gradient that is c times as large adds (1 − c)V;
    for the noise   of Σ |ξ_k|² − ⟨e_k, ξ_k⟩², which is χ² with N(n − 1) degrees of freedom in a block of n parameters.

The weights are what a gradient of the size of F_k adds to ξ_k. A report has as many sums as rows and components; their
probabilities α add up to `FALSE_ALARM`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from .._base.precision import Precision
from .._base.types import Float64Array
from .._kernels import noise
from .._motion.noisy import Noisy
from .._problem.blocks import Block
from .._problem.potentials import Potential
from .._symmetry.family import Family
from .case import EXPLAINED
from .forces import Forces
from .rounding import Rounding
from .rows import ROUND_OFF, CheckRow, MotionRow, Tally, blocks_of, distinct

FALSE_ALARM = 1e-6
# The bound is the lowest for V of some ten times that, from which on a tenth of a gradient is seen.
_TAU_SQUARED = 400.0
_NOISE_OF = "noise of "
_ALIKE = 0.2  # of sums over the steps that are 1 and ½ for noise of another key


class KnownNoise:
    """The noise of a run whose key is known, and how much of it the errors of a recording have."""

    def __init__(self, forces: Forces, key: int, first: int, n_params: int) -> None:
        assert isinstance(forces.algorithm, Noisy)
        self.algorithm, self.key, self.first, self.n_params = forces.algorithm, key, first, n_params
        self._root = np.sqrt(forces.shares)
        # of the errors with the noise, of the noise with itself, of the errors with themselves
        self._products = np.zeros(3)

    def numbers(self, row: int, steps: int) -> Float64Array:
        """Return the noise (steps, P) of the steps from a row on: normal numbers, in a metric times √share."""
        out = np.zeros((steps, self.n_params))
        if self.algorithm.temperature > 0:
            for k, numbers in enumerate(out):
                noise.draw(np.uint64(self.key), self.first + row + k, numbers)
        return np.asarray(out * self._root)

    def add(self, off: Float64Array, made: Float64Array) -> None:
        """Add the errors of steps, and what the noise makes of the gradients that they imply."""
        self._products += [(off * made).sum(), (made * made).sum(), (off * off).sum()]

    @property
    def finding(self) -> str:
        """A sentence about noise that is another multiple of these numbers, or of other ones; empty where it is neither."""
        with_noise, of_noise, of_errors = self._products
        if not of_noise > 0 or not of_errors > 0:
            return ""
        part, T = with_noise / of_noise, self.algorithm.temperature
        remainder = max(of_errors - part * with_noise, 0.0) / of_errors
        if remainder <= EXPLAINED**2:
            return f"the noise is that of a temperature of {distinct(T * (1 - part) ** 2, T)}, where {T:g} is declared"
        if abs(part - 1) < _ALIKE and abs(remainder - 0.5) < _ALIKE:
            return f"the noise is not that of noise_key={self.key}: it is as large, and independent of it"
        return ""


class _ByChance(CheckRow):
    """A row whose residual is one by chance."""

    @property
    def kind(self) -> str:
        """The kind of the tolerance: a bound that is exceeded by chance with a probability of 10⁻⁶."""
        return "1e-6"

    @property
    def cause(self) -> str:
        """The noise."""
        return "noise"


class LawByChance(_ByChance):
    """The row of a law, of which noise leaves a sum over the steps."""


@dataclass(frozen=True, eq=False, repr=False)
class BlockByChance(_ByChance, MotionRow):
    """The row of a block's gradient, or of its noise."""

    sentence: str = ""
    of_noise: bool = False

    @property
    def where(self) -> str:
        """The time of the last step; empty if it is not broken."""
        return f"t = {self.tally.first_t:.4g}" if self.first else ""

    @property
    def reason(self) -> str:
        if self.of_noise and self.verdict == "not decidable" and self.tally.n:
            return f"there are too few steps to tell a temperature that is wrong by less than {2 * self.tally.finest[0]:.1g} of it"
        return super().reason

    @property
    def finding(self) -> str:
        """A sentence about what is wrong."""
        return self.sentence


_R = TypeVar("_R", LawByChance, BlockByChance)


@dataclass
class _Sums:
    """Sums over the steps of a law's components, or of a block."""

    along: Any = 0.0  # S
    weight: Any = 0.0  # V
    squares: Any = 0.0  # Σ ⟨e, ξ⟩², of a block Σ |ξ|² less that
    shift: Any = 0.0  # what S would be without the gradient, or with one in the worst direction
    doubt: Any = 0.0  # what round-off makes of S at the most
    rough: Any = 0.0  # Σ of the squares of what it makes of ξ

    def add(self, w: Any, along: Any, squares: Any, shift: Any, off: float) -> None:
        """Add a step."""
        self.along, self.weight, self.squares = self.along + w * along, self.weight + w * w, self.squares + squares
        self.shift, self.doubt, self.rough = self.shift + w * shift, self.doubt + w * off, self.rough + off * off


@dataclass
class _Row:
    """A row of a recording: x and F = ∇U + λx, or λx where the samples are not known."""

    x: Float64Array
    force: Float64Array
    size: float = field(default=0.0)  # |∇U|, of all samples where those of the step are not known


class NoiseSteps:
    """The steps of Langevin dynamics between the rows of a recording, which are added one after the other.

    Parameters
    ----------
    forces : Forces
        The gradients that the algorithm takes.
    U, families, precision
        As for `StepCheck`.
    t0 : float
        Time of the first row.
    motion : bool
        Whether the samples of every step are known, so that ∇U is.
    """

    def __init__(
        self, forces: Forces, U: Potential, families: Sequence[Family], precision: Precision, t0: float, motion: bool
    ) -> None:
        assert isinstance(forces.algorithm, Noisy)
        self.algorithm: Noisy = forces.algorithm
        self.forces, self.families, self.precision, self.t0, self.motion = forces, list(families), precision, t0, motion
        root = np.broadcast_to(np.sqrt(forces.shares), (U.n_params,))
        if not root.all():
            raise ValueError(
                f"noise_key must be given with {self.algorithm}, which freezes blocks: nothing is said by chance of these"
            )
        # in the coordinates x/√share the noise of all is alike, and the force is √share F
        self._root, self._parts = root, blocks_of(U)
        self.n = 0  # vectors of independent numbers
        self._steps = self._read = 0
        self._blocks = [(block, _Sums()) for block in self._parts] if motion else []
        self._laws = [_Sums() for _ in families]
        self._rounding = Rounding(U, precision.gradient)
        self._rows: list[_Row] = []

    @property
    def obstacle(self) -> str:
        """The reason for which nothing can be said about the laws; empty where something can."""
        if self.motion or not self.algorithm.noise_needs_gradients:
            return ""
        return f"the noise of {self.algorithm} follows from positions and gradients, whose samples are not known (batches= has their indices)"

    def add(self, rows: Float64Array, batches: Sequence[Any]) -> None:
        """Add the steps that lead to `rows` (n, P)."""
        for x, batch in zip(rows, batches, strict=True):
            needed = len(self._rows)
            self._rows.append(self._taken_from(x, batch))
            if needed + 1 == self.algorithm.rows_of_noise:
                self._take()
                self._rows = self._rows[-1:]

    def _taken_from(self, x: Float64Array, batch: Any) -> _Row:
        """Return a row with its force."""
        gradient = self.forces.clip(self._rounding.of(batch).gradient(x))
        if not np.isfinite(gradient).all():
            raise ValueError(f"params: ∇U is not finite at row {self._read}")
        self._read += 1
        force = self.forces.decay(x) + (gradient if self.motion else 0.0)
        return _Row(x, force, float(np.linalg.norm(gradient)))

    def _take(self) -> None:
        """Add the numbers that the rows imply to the sums."""
        x, root = np.array([row.x for row in self._rows]) / self._root, self._root
        force = np.array([row.force for row in self._rows[:-1]]) * root
        numbers, steps = self.forces.numbers, slice(self._steps, self._steps + len(x) - 1)
        h = numbers.rates[steps] if numbers.rates.size else np.full(len(x) - 1, numbers.h)
        self._steps = steps.stop
        if not h.all():
            return
        xi, per_length, per_force = self.algorithm.implied_noise(x, force, h)
        self.n += 1
        each = 2 * per_length * np.abs(self.precision.each(x * root) / root).sum(
            axis=0
        ) + self.precision.gradient * per_force * np.abs(force).sum(axis=0)
        off = ROUND_OFF * float(np.linalg.norm(each))
        for s, sums in zip(self.families, self._laws, strict=True):
            at = self._rows[0].x
            size = self._norm(s, at)
            along = np.divide(s.charge(at, xi / root), size, out=np.zeros(s.shape), where=size > 0)
            w = np.where(size > 0, per_force * self._rows[0].size, 0.0)
            sums.add(w, along, along**2, w, off)
        for block, sums in self._blocks:
            part = block.part
            direction, length = force[0, part], float(np.linalg.norm(force[0, part]))
            direction = direction / length if length > 0 else direction
            dot, shift = float(direction @ xi[part]), per_force * float(direction @ force[-1, part])
            squares = max(float(xi[part] @ xi[part]) - dot**2, 0.0)
            sums.add(per_force * length, dot, squares, shift, ROUND_OFF * float(np.linalg.norm(each[part])))

    def _norm(self, s: Family, x: Float64Array) -> Any:
        """Return |g(x)/√share| of every component."""
        if not self.forces.numbers.shares.size:
            return s.norm(x)
        squares = [s.norm_within(x, b.part) / self._root[b.start] for b in self._parts]
        return np.sqrt(sum(square**2 for square in squares))

    # --- the rows of the report ---------------------------------------------------------------------------------------

    def rows(self) -> tuple[list[CheckRow], list[MotionRow]]:
        """Return the rows of the report: those of the laws, and those of the gradients and of the noise of the blocks."""
        judged = 1 if self.motion else 2
        tests = sum(judged * s.n_generators for s in self.families) + 2 * len(self._blocks)
        self._chance = FALSE_ALARM / max(tests, 1)
        laws: list[CheckRow] = [self._law(s, sums) for s, sums in zip(self.families, self._laws, strict=True)]
        if not self.motion:
            laws += [self._noise_along(s, sums) for s, sums in zip(self.families, self._laws, strict=True)]
        moved: list[MotionRow] = [self._gradient(block, sums) for block, sums in self._blocks]
        return laws, moved + [self._noise(block, sums) for block, sums in self._blocks if block.stop - block.start > 1]

    def _mean(self, sums: _Sums) -> tuple[Any, Any, Any]:
        """Return residual, tolerance and scale of S, in units of √(V + τ²)."""
        root = np.sqrt(sums.weight + _TAU_SQUARED)
        bound = np.sqrt(2 * math.log(1 / self._chance) + np.log1p(sums.weight / _TAU_SQUARED))
        return sums.along / root, bound + sums.doubt / root, np.abs(sums.shift) / root

    def _variance(self, squares: Any, degrees: float, rough: float) -> tuple[Any, Any, float]:
        """Return residual, tolerance and scale of the square root of a sum that is χ², relative to what it should be."""
        from scipy.special import chdtri

        degrees = max(degrees, 1)
        low, high = (math.sqrt(chdtri(degrees, p) / degrees) for p in (1 - self._chance / 2, self._chance / 2))
        tolerance = np.maximum(high - 1, 1 - low) + np.sqrt(rough / degrees)
        return np.sqrt(squares / degrees) - 1, tolerance, 1.0

    def _row(self, kind: type[_R], name: str, shape: tuple[int, ...], numbers: Any, **more: Any) -> _R:
        """Return a row of this name with residual, tolerance and scale of components of a shape; of no steps where there are none."""
        tally, known = Tally(), bool(self.n) and not self.obstacle
        t = np.full(int(known), float(self.algorithm.times(self.t0, self._steps)))
        residual, tolerance, scale = (
            np.array(np.broadcast_to(a if known else 0.0, (t.size, *shape)), np.float64) for a in numbers
        )
        tally.add(t, residual, tolerance, scale)
        return kind(name, t, residual, tolerance, scale, 0, tally, self.obstacle, **more)

    def _law(self, s: Family, sums: _Sums) -> CheckRow:
        return self._row(LawByChance, s.name, s.shape, self._mean(sums))

    def _noise_along(self, s: Family, sums: _Sums) -> CheckRow:
        """Return the row of the temperature along a symmetry, which minibatches leave alone."""
        residual, tolerance, scale = self._variance(sums.squares, self.n, sums.rough)
        moves = np.broadcast_to(np.asarray(sums.shift) > 0, s.shape)
        numbers = np.where(moves, residual, 0.0), tolerance, np.where(moves, scale, 0.0)
        return self._row(LawByChance, f"{_NOISE_OF}{s.name}", s.shape, numbers)

    def _gradient(self, block: Block, sums: _Sums) -> MotionRow:
        numbers, text = self._mean(sums), self._moves(sums.along, sums.shift, sums.weight)
        return self._row(BlockByChance, block.name, (), numbers, sentence=f"{block.name} {text}")

    def _noise(self, block: Block, sums: _Sums) -> MotionRow:
        degrees = self.n * (block.stop - block.start - 1)
        numbers, name = self._variance(sums.squares, degrees, sums.rough), f"{_NOISE_OF}{block.name}"
        text = f"the {name} {self._is_hot(sums.squares / max(degrees, 1))}"
        return self._row(BlockByChance, name, (), numbers, sentence=text, of_noise=True)

    def _moves(self, along: float, shift: float, weight: float) -> str:
        factor, error = (1 - along / shift, weight**0.5 / abs(shift)) if shift else (np.nan, np.inf)
        return f"moves {distinct(factor, 1.0)} ± {error:.1g} times as far along -∇U as U asks"

    def _is_hot(self, ratio: float) -> str:
        T = self.algorithm.temperature
        return f"is that of a temperature of {distinct(ratio * T, T)}, where {T:g} is declared"

    def findings(self, motion: Sequence[MotionRow]) -> list[str]:
        """Return sentences about broken gradients and noise, one each where all blocks are and nothing else is."""
        rows = [row for row in motion if isinstance(row, BlockByChance)]
        broken = [[row for row in rows if row.verdict == "broken" and row.of_noise == kind] for kind in (False, True)]
        moved, noisy = broken
        if noisy and not moved and len(noisy) == sum(row.of_noise for row in rows) > 1:
            degrees = sum(self.n * (block.stop - block.start - 1) for block, _ in self._blocks)
            return [f"the noise {self._is_hot(sum(sums.squares for _, sums in self._blocks) / degrees)}"]
        if moved and not noisy and len(moved) == len(self._blocks) > 1:
            names = "along", "shift", "weight"
            along, shift, weight = (sum(getattr(sums, name) for _, sums in self._blocks) for name in names)
            return [f"every block {self._moves(along, shift, weight)}: its loss or its time is scaled by that"]
        both = {row.name for row in moved} & {row.name.removeprefix(_NOISE_OF) for row in noisy}
        out = [row.finding + (", and not along it alone" if row.name in both else "") for row in moved]
        return out + [row.finding for row in noisy if row.name.removeprefix(_NOISE_OF) not in both]
