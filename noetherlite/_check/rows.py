"""The rows of a check: a law, or the motion of one block of parameters, and what was seen of it step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .._base.types import BoolArray, Float64Array
from .._problem.network import Block, NetworkPotential
from .._problem.potentials import Potential
from .._symmetry.family import Family

# Round-off is allowed to be this many times ε|x|, carried through what is computed of it; runs of ours reach 0.14.
ROUND_OFF = 4
# A row is decided where its tolerance is below this part of what breaking the law would give.
RESOLUTION = 0.1
# Records that step over a kink of relu make single intervals err; a wrong gradient errs in more than this part of them.
PERSISTENT = 0.1
# Residuals are counted in pieces of so many numbers.
_PIECE = 1 << 16
# What may be left over, relatively, where a motion is said to be a multiple of the expected one: exact steps, and flows.
ALIKE = (0.02, 0.1)


def blocks_of(U: Potential) -> tuple[Block, ...]:
    """Return the blocks of θ, or one block "x" for a potential that is no network's."""
    return U.network.blocks if isinstance(U, NetworkPotential) else (Block("x", 0, (U.n_params,)),)


def gradients(U: Potential, points: Float64Array, low: int = 0) -> Float64Array:
    """Return ∇U at each row of `points`, the first of which is row `low` of the recording."""
    out = np.array([U.gradient(point) for point in points])
    finite = np.isfinite(out).all(axis=1)
    if not finite.all():
        raise ValueError(f"params: ∇U is not finite at row {low + int(np.argmin(finite))}")
    return out


def norms(s: Family, points: Float64Array) -> Float64Array:
    """Return |g_c(x_k)| of shape (K, *shape)."""
    return np.array([s.norm(point) for point in points])


def times(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return a_k b_k for a of shape (K,) and b of shape (K, ...)."""
    return np.asarray(a.reshape(-1, *(1 for _ in b.shape[1:])) * b)


def ratio(residual: Float64Array, tolerance: Float64Array) -> Float64Array:
    """Return |residual|/tolerance, 0 where there is no residual."""
    size = np.abs(residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, size / tolerance, 0.0)


def distinct(value: float, other: float, digits: int = 4) -> str:
    """Return `value` with as many digits, at least `digits`, as tell it from `other`."""
    for n in range(digits, 17):
        text = f"{value:.{n}g}"
        if text != f"{other:.{n}g}":
            return text
    return f"{value:.17g}"


@dataclass
class Tally:
    """What the steps of one row showed so far, in memory that does not grow with their number.

    Attributes
    ----------
    n, n_off : int
        Steps, and those with a residual beyond its tolerance.
    beyond : ndarray of bool, shape `shape`
        Components that were beyond it somewhere.
    first : tuple of int
        (step, *component) of the first residual beyond its tolerance, the largest of that step; () if none is.
    first_t : float
        Its time.
    decided : bool
        Whether a tolerance was below a tenth of the scale somewhere.
    worst : tuple of float
        The largest ratio, and its |residual|, tolerance and scale.
    finest : tuple of float
        The tolerance and the scale where their quotient was least.
    """

    n: int = 0
    n_off: int = 0
    beyond: BoolArray | None = None
    first: tuple[int, ...] = ()
    first_t: float = np.nan
    decided: bool = False
    worst: tuple[float, float, float, float] = (-1.0, 0.0, 0.0, 0.0)
    finest: tuple[float, float] = (np.inf, 0.0)

    def add(
        self,
        t: Float64Array,
        residual: Float64Array,
        tolerance: Float64Array,
        scale: Float64Array,
        at_the_front: bool = False,
    ) -> None:
        """Count steps at times t (K,), with residuals (K, *shape), after those so far or before them."""
        if t.size == 0:
            return
        size = ratio(residual, tolerance)
        over = size > 1
        beyond: BoolArray = np.asarray(over.any(axis=0))
        self.beyond = beyond if self.beyond is None else self.beyond | beyond
        off = over.reshape(t.size, -1).any(axis=1)
        if off.any() and not self.first:
            k = int(np.argmax(off))
            component = np.unravel_index(int(np.argmax(size[k])), size.shape[1:]) if size.ndim > 1 else ()
            self.first, self.first_t = (k + (0 if at_the_front else self.n), *map(int, component)), float(t[k])
        self.n, self.n_off = self.n + t.size, self.n_off + int(off.sum())
        i = np.unravel_index(int(np.argmax(size)), size.shape)
        if size[i] > self.worst[0]:
            self.worst = (float(size[i]), abs(float(residual[i])), float(tolerance[i]), float(scale[i]))
        with np.errstate(divide="ignore", invalid="ignore"):
            fineness = np.where(scale > 0, tolerance / scale, np.inf)
        j = np.unravel_index(int(np.argmin(fineness)), fineness.shape)
        least = self.finest[0] / self.finest[1] if self.finest[1] > 0 else np.inf
        if fineness[j] < least or self.finest[1] == 0:
            self.finest = (float(tolerance[j]), float(scale[j]))
        self.decided = self.decided or bool((tolerance < RESOLUTION * scale).any())


@dataclass(frozen=True, eq=False, repr=False)
class Row:
    """One law, or the motion of one block of parameters, along a recording; K times, components of shape `shape`.

    Attributes
    ----------
    name : str
        The law, for example "scaling:1" or "time", or the block, for example "W1".
    t : ndarray, shape (K,)
        Times; of a `Monitor` only the one where the residual was furthest beyond, or nearest to, its tolerance.
    residual : ndarray, shape (K, *shape)
        The defect of the law, or the norm of the block's; see `check`.
    tolerance, scale : ndarray, broadcast to the shape of `residual`
        What round-off and the step allow, and the residual that the same force gives in the worst direction.
    order : int
        Order of the tolerance in the step; 0 where the law is exact.
    tally : Tally
        What all steps showed.
    obstacle : str
        Why the records are not close enough for the tolerance to bound what a method of that order can do; empty if they are.
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
        order: int,
        obstacle: str = "",
    ) -> Row:
        """Return the row whose every residual is given."""
        tally = Tally()
        tolerance, scale = np.broadcast_to(tolerance, residual.shape), np.broadcast_to(scale, residual.shape)
        rows = max(_PIECE // max(residual[0].size, 1), 1)
        for part in (slice(low, low + rows) for low in range(0, t.size, rows)):
            tally.add(t[part], residual[part], tolerance[part], scale[part])
        return cls(name, t, residual, tolerance, scale, order, tally, obstacle)

    @property
    def ratio(self) -> Float64Array:
        """|residual|/tolerance, shape (K, *shape); above 1 the law is broken."""
        return ratio(self.residual, self.tolerance)

    @property
    def verdict(self) -> str:
        """What this row shows: "holds", "broken" or "not decidable"."""
        if self._is_broken():
            return "not decidable" if self.obstacle else "broken"
        return "holds" if self.tally.decided else "not decidable"

    @property
    def reason(self) -> str:
        """Why this row is not decidable, in words; empty if it is."""
        if self.verdict != "not decidable":
            return ""
        if self.obstacle:
            return self.obstacle
        if self.tally.n == 0:
            return "there are too few rows"
        tolerance, scale = self.tally.finest
        if scale == 0:
            return "its expected gradient is zero at every row" if isinstance(self, Motion) else "nothing moves it"
        if not np.isfinite(tolerance):
            return (
                "the records are too far apart" if self.order else "the velocity at row 0 cannot be told from the rows"
            )
        what = "round-off" if self.order == 0 else "what the records do not show between them"
        return f"{what} may be {tolerance:.2g}, and a gradient in the worst direction gives {scale:.2g}"

    def _is_broken(self) -> bool:
        return self.tally.n_off > 0

    @property
    def first(self) -> tuple[int, ...]:
        """Index (time, *component) of the first residual beyond its tolerance, the largest of that time; () if none is."""
        return self.tally.first if self._is_broken() else ()

    @property
    def where(self) -> str:
        """The first residual beyond its tolerance, in words; empty if none is."""
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
class Moments:
    """Sums over the steps at which the motion of a block is off, entry by entry: products of got, want and off = got − want."""

    off_want: Float64Array
    want_want: Float64Array
    off_off: Float64Array
    got_got: Float64Array
    beyond: BoolArray
    allowed: float = 0.0
    entry: tuple[int, ...] = ()

    @classmethod
    def empty(cls, block: Block) -> Moments:
        """Return the sums of no step."""
        n = block.stop - block.start
        return cls(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool))

    def add(self, block: Block, got: Float64Array, want: Float64Array, tolerance: Float64Array) -> None:
        """Add steps (K, n) of which the norms of got − want are beyond their tolerance (K,)."""
        if tolerance.size == 0:
            return
        off = got - want
        residual = np.abs(off)
        furthest = int(np.argmax(residual[0]))
        if not self.entry:
            self.entry = tuple(int(i) for i in np.unravel_index(furthest, block.shape))
            self.beyond[furthest] = True
        self.beyond |= (residual > tolerance[:, None]).any(axis=0)
        self.off_want += (off * want).sum(axis=0)
        self.off_off += (off * off).sum(axis=0)
        self.want_want += (want * want).sum(axis=0)
        self.got_got += (got * got).sum(axis=0)
        self.allowed += float((tolerance * tolerance).sum())


@dataclass(frozen=True, eq=False, repr=False)
class Motion(Row):
    """How one block of parameters moved, beside how it should have; residuals are norms, of shape (K,).

    Attributes
    ----------
    entry : tuple of int
        The entry of the block that is furthest off where the motion first is; () where it never is.
    neurons : tuple of int
        Rows of the block that are off somewhere: neurons of its layer.
    factor, remainder : float
        The motion there is `factor` times the expected one, but for a remainder relative to that.
    proportional : bool
        Whether what moved is that multiple, but for a small part of what is off, or, along flows, for what their order allows.
    still : bool
        Whether what is off does not move at all, to round-off.
    size : int
        Rows of the block.
    steps : tuple of int
        The first rows of the recording at which it is off, no more than eight.
    alone : bool
        Whether `entry` is the only one that is off anywhere.
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
    def moved(
        cls,
        block: Block,
        t: Float64Array,
        norm: Float64Array,
        tolerance: Float64Array,
        scale: Float64Array,
        order: int,
        tally: Tally,
        moments: Moments,
        obstacle: str = "",
        steps: tuple[int, ...] = (),
    ) -> Motion:
        """Return the row of a block from its tally and its sums."""
        size = block.shape[0]
        if not moments.entry:
            return cls(block.name, t, norm, tolerance, scale, order, tally, obstacle, size=size)
        off = moments.beyond
        sums = (moments.want_want, moments.off_want, moments.off_off, moments.got_got)
        square, product, wrong, got = (float(a[off].sum()) for a in sums)
        factor = 1 + product / square if square > 0 else np.inf
        left = max(wrong - product / square * product, 0.0) if square > 0 else np.inf
        alike = left**0.5 <= ALIKE[0] * wrong**0.5 + moments.allowed**0.5
        if order > 0:
            alike = left**0.5 <= ALIKE[1] * square**0.5 * max(1.0, abs(factor))
        return cls(
            *(block.name, t, norm, tolerance, scale, order, tally, obstacle),
            entry=moments.entry,
            neurons=tuple(np.flatnonzero(off.reshape(size, -1).any(axis=1)).tolist()),
            factor=factor,
            remainder=(left / square) ** 0.5 if square > 0 else np.inf,
            proportional=alike and square > 0,
            still=got <= min(moments.allowed, RESOLUTION**2 * square),
            size=size,
            steps=steps,
            alone=int(off.sum()) == 1,
        )

    def _is_broken(self) -> bool:
        return self.tally.n_off > (0.0 if self.order == 0 else PERSISTENT * self.tally.n)

    @property
    def where(self) -> str:
        """The entry that is furthest off where the motion first is, in words; empty if it never is."""
        if not self.first:
            return ""
        return f"{self.name}[{', '.join(map(str, self.entry))}], t = {self.tally.first_t:.4g}"

    @property
    def finding(self) -> str:
        """What is wrong with the motion of this block, in words."""
        single = self.alone and len(self.entry) > 1  # one weight of its neuron's
        what = f"{self.name}[{', '.join(map(str, self.entry))}]" if single else self.name
        if self.still:
            text = f"{what} does not move: its gradient is missing"
        elif self.proportional and abs(self.factor) > 2 * self.remainder:
            text = f"{what} moves {distinct(self.factor, 1.0)} times as far as U asks"
        else:
            text = (
                f"{what} does not move along -∇U (by {distinct(self.factor, 1.0, 3)} times as much in that direction)"
            )
        if what == self.name and len(self.neurons) < self.size:
            shown = ", ".join(map(str, self.neurons[:8])) + (", …" if len(self.neurons) > 8 else "")
            text += f" (neuron{'s' if len(self.neurons) > 1 else ''} {shown} of {self.size})"
        return text + self.share

    @property
    def share(self) -> str:
        """How many steps are off and which, in words; empty where most are."""
        if 2 * self.tally.n_off > self.tally.n:
            return ""
        rows = ", ".join(map(str, self.steps)) + (", …" if self.tally.n_off > len(self.steps) else "")
        return f", at {self.tally.n_off} of {self.tally.n} steps (from row{'s' if self.tally.n_off > 1 else ''} {rows})"
