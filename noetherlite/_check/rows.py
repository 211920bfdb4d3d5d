"""The rows of a report: a law, or the motion of one block of parameters, with its residuals over all steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from .._base.types import BoolArray, Float64Array
from .._problem.blocks import Block
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential

# Tolerance for round-off, in units of ε|x| carried through the update rule; runs of this library reach 0.14.
ROUND_OFF = 4
# A row can be decided where its tolerance is below this fraction of its scale: of what a broken law would give.
RESOLUTION = 0.1
# Along a flow a kink of relu between two records makes single intervals exceed their tolerance; a wrong gradient makes more
# than this fraction of them do so.
PERSISTENT = 0.1
# Numbers in a piece of residuals, which are tallied piece by piece.
_PIECE = 1 << 16
# Largest relative remainder of a motion that is reported as a multiple of the expected one: along exact steps, and along flows.
ALIKE = (0.02, 0.1)


def blocks_of(U: Potential) -> tuple[Block, ...]:
    """Return the blocks of θ, or one block "x" for a potential that is no network's."""
    return U.network.blocks if isinstance(U, NetworkPotential) else (Block("x", 0, (U.n_params,)),)


def gradients(U: Potential, points: Float64Array, low: int = 0) -> Float64Array:
    """Return ∇U at each row of `points`; row 0 of them is row `low` of the recording, which messages name."""
    out = np.array([U.gradient(point) for point in points])
    finite = np.isfinite(out).all(axis=1)
    if not finite.all():
        raise ValueError(f"params: ∇U is not finite at row {low + int(np.argmin(finite))}")
    return out


def row_products(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return a_k b_k for a of shape (K,) and b of shape (K, ...)."""
    return np.asarray(a.reshape(-1, *(1 for _ in b.shape[1:])) * b)


def ratio(residual: Float64Array, tolerance: Float64Array) -> Float64Array:
    """Return |residual|/tolerance, 0 where there is no residual."""
    size = np.abs(residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, size / tolerance, 0.0)


def distinct(value: float, other: float, digits: int = 4) -> str:
    """Return `value` as text with the fewest digits, at least `digits`, that distinguish it from `other`."""
    for n in range(digits, 17):
        text = f"{value:.{n}g}"
        if text != f"{other:.{n}g}":
            return text
    return f"{value:.17g}"


@dataclass
class Tally:
    """Statistics of a row's residuals over the steps so far; their size does not depend on the number of steps."""

    # n, n_off: number of steps, and of those with a residual beyond its tolerance
    n: int = 0
    n_off: int = 0
    beyond: BoolArray | None = None  # shape `shape`: components with a residual beyond its tolerance at any step
    # (step, *component) of the first residual beyond its tolerance, the largest of that step; () if none is
    first: tuple[int, ...] = ()
    first_t: float = np.nan  # its time
    decided: bool = False  # whether any tolerance was below a tenth of its scale
    # the largest |residual|/tolerance, with that |residual|, tolerance and scale
    worst: tuple[float, float, float, float] = (-1.0, 0.0, 0.0, 0.0)
    # the tolerance and the scale at the step and component with the smallest tolerance/scale
    finest: tuple[float, float] = (np.inf, 0.0)

    def add(
        self,
        t: Float64Array,
        residual: Float64Array,
        tolerance: Float64Array,
        scale: Float64Array,
        at_the_front: bool = False,
    ) -> None:
        """Add steps at times t (K,), with residuals (K, *shape): after the earlier ones, or before them if `at_the_front`."""
        if t.size == 0:
            return
        size = ratio(residual, tolerance)
        over = size > 1
        if self.beyond is None:
            self.beyond = np.zeros(size.shape[1:], bool)
        if over.any():
            self.beyond = np.asarray(self.beyond | over.any(axis=0))
            off = over.reshape(t.size, -1).any(axis=1)
            if not self.first:
                k = int(np.argmax(off))
                component = np.unravel_index(int(np.argmax(size[k])), size.shape[1:]) if size.ndim > 1 else ()
                self.first, self.first_t = (k + (0 if at_the_front else self.n), *map(int, component)), float(t[k])
            self.n_off += int(off.sum())
        self.n += t.size
        i = np.unravel_index(int(size.argmax()), size.shape)
        if size[i] > self.worst[0]:
            self.worst = (float(size[i]), abs(float(residual[i])), float(tolerance[i]), float(scale[i]))
        with np.errstate(divide="ignore", invalid="ignore"):
            fineness = np.where(scale > 0, tolerance / scale, np.inf)
        j = np.unravel_index(int(fineness.argmin()), fineness.shape)
        least = self.finest[0] / self.finest[1] if self.finest[1] > 0 else np.inf
        if fineness[j] < least or self.finest[1] == 0:
            self.finest = (float(tolerance[j]), float(scale[j]))
        self.decided = self.decided or bool((tolerance < RESOLUTION * scale).any())


@dataclass(frozen=True, eq=False, repr=False)
class CheckRow:
    """One row of a `Report`: a law, or the motion of one block of parameters; K times, components of shape `shape`.

    Attributes
    ----------
    name : str
        The law, for example "scaling:1" or "time", or the block, for example "W1".
    t : ndarray, shape (K,)
        Times; a `Monitor` stores only the time of the largest |residual|/tolerance.
    residual : ndarray, shape (K, *shape)
        The defect of the law, or the norm of the defect of the block's motion; see `check`.
    tolerance, scale : ndarray, broadcast to the shape of `residual`
        The residual that round-off and the step size allow, and that which the same force gives in the worst direction.
    order : int
        Order of the tolerance in the step size; 0 where the law is exact.
    tally : Tally
        Statistics over all steps.
    obstacle : str
        Why the spacing of the records is too large for the tolerance to be a bound; empty where it is not.
    """

    name: str
    t: Float64Array
    residual: Float64Array
    tolerance: Float64Array
    scale: Float64Array
    order: int
    tally: Tally
    obstacle: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        t: Float64Array,
        residual: Float64Array,
        tolerance: Float64Array,
        scale: Float64Array,
        obstacle: str,
    ) -> CheckRow:
        """Return the row of a law along a flow, with one tolerance and one scale for the whole recording."""
        tally = Tally()
        tolerance, scale = np.broadcast_to(tolerance, residual.shape), np.broadcast_to(scale, residual.shape)
        rows = max(_PIECE // max(residual[0].size, 1), 1)
        for part in (slice(low, low + rows) for low in range(0, t.size, rows)):
            tally.add(t[part], residual[part], tolerance[part], scale[part])
        return cls(name, t, residual, tolerance, scale, 1, tally, obstacle)

    @property
    def ratio(self) -> Float64Array:
        """|residual|/tolerance, shape (K, *shape); above 1 the law is broken."""
        return ratio(self.residual, self.tolerance)

    @property
    def verdict(self) -> str:
        """The verdict: "holds", "broken" or "not decidable"."""
        if self._is_broken():
            return "not decidable" if self.obstacle else "broken"
        return "holds" if self.tally.decided else "not decidable"

    @property
    def kind(self) -> str:
        """The kind of the tolerance: "exact" up to round-off, or of this order in the step size."""
        return "exact" if self.order == 0 else str(self.order)

    @property
    def cause(self) -> str:
        """The kind of error that the tolerance allows for."""
        return "round-off" if self.order == 0 else "unrecorded steps"

    @property
    def reason(self) -> str:
        """The reason for which the verdict is "not decidable"; empty for the other verdicts."""
        if self.verdict != "not decidable":
            return ""
        if self.obstacle:
            return self.obstacle
        if self.tally.n == 0:
            return "there are too few rows"
        tolerance, scale = self.tally.finest
        if scale == 0:
            return "its expected gradient is zero at every row" if isinstance(self, MotionRow) else "nothing moves it"
        if not np.isfinite(tolerance):
            return "the records are too far apart" if self.order else "the rows do not determine the velocity at row 0"
        return f"{self.cause} may make a residual of {tolerance:.2g}, and a gradient in the worst direction only {scale:.2g}"

    def _is_broken(self) -> bool:
        return self.tally.n_off > 0

    @property
    def first(self) -> tuple[int, ...]:
        """Index (time, *component) of the first residual beyond its tolerance, the largest of that time; () if none is."""
        return self.tally.first if self._is_broken() else ()

    @property
    def where(self) -> str:
        """Component and time of the first residual beyond its tolerance; empty if none is."""
        if not self.first:
            return ""
        beyond = self.tally.beyond
        assert beyond is not None
        share = f" ({beyond.sum()} of {beyond.size} are broken)" if beyond.size > 1 else ""
        return f"{self._label(self.first[1:], beyond.size)}t = {self.tally.first_t:.4g}{share}"

    def _label(self, component: Sequence[int], size: int) -> str:
        kind, _, layer = self.name.partition(":")
        index = component[0] if len(component) == 1 else tuple(component)
        if kind in ("scaling", "linear"):
            return f"layer {layer}, {'neuron' if kind == 'scaling' else 'entry'} {index}, "
        return f"{'column' if self.name == 'translation:W' else 'component'} {index}, " if size > 1 else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.verdict}{', ' + self.where if self.where else ''})"


@dataclass
class MotionSums:
    """Entrywise sums over the steps at which a block's motion is beyond its tolerance: products of recorded, expected and off = recorded − expected.

    `recorded` is the gradient that the recorded step implies, `expected` is ∇U.
    """

    off_expected: Float64Array
    expected_square: Float64Array
    off_off: Float64Array
    recorded_square: Float64Array
    beyond: BoolArray
    allowed: float = 0.0
    entry: tuple[int, ...] = ()

    @classmethod
    def empty(cls, block: Block) -> MotionSums:
        """Return sums over no steps."""
        n = block.stop - block.start
        return cls(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool))

    def add(self, block: Block, recorded: Float64Array, expected: Float64Array, tolerance: Float64Array) -> None:
        """Add K steps (K, n), each with |recorded − expected| beyond its tolerance (K,)."""
        if tolerance.size == 0:
            return
        off = recorded - expected
        residual = np.abs(off)
        furthest = int(np.argmax(residual[0]))
        if not self.entry:
            self.entry = tuple(int(i) for i in np.unravel_index(furthest, block.shape))
            self.beyond[furthest] = True
        self.beyond |= (residual > tolerance[:, None]).any(axis=0)
        self.off_expected += (off * expected).sum(axis=0)
        self.off_off += (off * off).sum(axis=0)
        self.expected_square += (expected * expected).sum(axis=0)
        self.recorded_square += (recorded * recorded).sum(axis=0)
        self.allowed += float((tolerance * tolerance).sum())


@dataclass(frozen=True, eq=False, repr=False)
class MotionRow(CheckRow):
    """The row of one block of parameters: its recorded motion against that by ∇U; residuals are norms, of shape (K,).

    Attributes
    ----------
    entry : tuple of int
        Index of the entry with the largest error at the first step beyond tolerance; () if there is none.
    neurons : tuple of int
        Rows of the block (neurons of its layer) with an error beyond tolerance at any step.
    factor, remainder : float
        The wrong entries move `factor` times as far as ∇U says, up to a remainder relative to the latter.
    proportional : bool
        Whether that remainder is small: 2 % of the error along exact steps, 10 % of the motion along flows.
    still : bool
        Whether the wrong entries do not move at all, up to round-off.
    size : int
        Number of rows of the block.
    steps : tuple of int
        Rows of the recording at which the first errors occur, at most eight.
    alone : bool
        Whether `entry` is the only wrong entry.
    """

    entry: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()
    factor: float = np.nan
    remainder: float = 0.0
    proportional: bool = False
    still: bool = False
    size: int = 0
    steps: tuple[int, ...] = field(default=())
    alone: bool = False

    @classmethod
    def of_block(
        cls,
        block: Block,
        t: Float64Array,
        norm: Float64Array,
        tolerance: Float64Array,
        scale: Float64Array,
        order: int,
        tally: Tally,
        moments: MotionSums,
        obstacle: str = "",
        steps: tuple[int, ...] = (),
    ) -> Self:
        """Return the row of a block from its tally and its entrywise sums."""
        size = block.shape[0]
        if not moments.entry:
            return cls(block.name, t, norm, tolerance, scale, order, tally, obstacle, size=size)
        off = moments.beyond
        sums = (moments.expected_square, moments.off_expected, moments.off_off, moments.recorded_square)
        square, product, error, recorded = (float(a[off].sum()) for a in sums)
        factor = 1 + product / square if square > 0 else np.inf
        rest = max(error - product / square * product, 0.0) if square > 0 else np.inf
        alike = rest**0.5 <= ALIKE[0] * error**0.5 + moments.allowed**0.5
        if order > 0:
            alike = rest**0.5 <= ALIKE[1] * square**0.5 * max(1.0, abs(factor))
        return cls(
            *(block.name, t, norm, tolerance, scale, order, tally, obstacle),
            entry=moments.entry,
            neurons=tuple(np.flatnonzero(off.reshape(size, -1).any(axis=1)).tolist()),
            factor=factor,
            remainder=(rest / square) ** 0.5 if square > 0 else np.inf,
            proportional=alike and square > 0,
            still=recorded <= min(moments.allowed, RESOLUTION**2 * square),
            size=size,
            steps=steps,
            alone=int(off.sum()) == 1,
        )

    def _is_broken(self) -> bool:
        return self.tally.n_off > (0.0 if self.order == 0 else PERSISTENT * self.tally.n)

    @property
    def where(self) -> str:
        """Entry and time of the first error beyond tolerance; empty if there is none."""
        if not self.first:
            return ""
        return f"{self.name}[{', '.join(map(str, self.entry))}], t = {self.tally.first_t:.4g}"

    @property
    def finding(self) -> str:
        """A sentence about the error in this block's motion."""
        single = self.alone and len(self.entry) > 1  # one weight, not a whole neuron
        subject = f"{self.name}[{', '.join(map(str, self.entry))}]" if single else self.name
        if self.still:
            text = f"{subject} does not move: its gradient is missing"
        elif self.proportional and abs(self.factor) > 2 * self.remainder:
            text = f"{subject} moves {distinct(self.factor, 1.0)} times as far as U asks"
        else:
            text = f"{subject} does not move along -∇U (by {distinct(self.factor, 1.0, 3)} times as much in that direction)"
        if subject == self.name and len(self.neurons) < self.size:
            shown = ", ".join(map(str, self.neurons[:8])) + (", …" if len(self.neurons) > 8 else "")
            text += f" (neuron{'s' if len(self.neurons) > 1 else ''} {shown} of {self.size})"
        return text + self.share

    @property
    def share(self) -> str:
        """The number of wrong steps and their rows, as text; empty if more than half of all steps are wrong."""
        if 2 * self.tally.n_off > self.tally.n:
            return ""
        rows = ", ".join(map(str, self.steps)) + (", …" if self.tally.n_off > len(self.steps) else "")
        return f", at {self.tally.n_off} of {self.tally.n} steps (from row{'s' if self.tally.n_off > 1 else ''} {rows})"
