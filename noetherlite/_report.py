"""What a check found: a row per law and per block of parameters, the table of them, and what went wrong in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import plot
from ._family import Family
from ._types import Float64Array
from .algorithms import Algorithm
from .dynamics import Dynamics
from .network import Block
from .potentials import NetworkPotential, Potential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Round-off is allowed to be this many times ε|x|, carried through what is computed of it; runs of ours reach 0.14.
ROUND_OFF = 4
# A row is decided where its tolerance is below this part of what breaking the law would give.
RESOLUTION = 0.1
# Records that step over a kink of relu make single intervals err; a wrong gradient errs in more than this part of them.
PERSISTENT = 0.1
# What may be left over, relatively, where a motion is said to be a multiple of the expected one: exact steps, and flows.
_ALIKE = (0.02, 0.1)


def blocks_of(U: Potential) -> tuple[Block, ...]:
    """Return the blocks of θ, or one block "x" for a potential that is no network's."""
    return U.network.blocks if isinstance(U, NetworkPotential) else (Block("x", 0, (U.n_params,)),)


def gradients(U: Potential, points: Float64Array) -> Float64Array:
    """Return ∇U at each row of `points`."""
    out = np.array([U.gradient(point) for point in points])
    finite = np.isfinite(out).all(axis=1)
    if not finite.all():
        raise ValueError(f"params: ∇U is not finite at row {int(np.argmin(finite))}")
    return out


def norms(s: Family, points: Float64Array) -> Float64Array:
    """Return |g_c(x_k)| of shape (K, *shape)."""
    return np.array([s.norm(point) for point in points])


def times(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return a_k b_k for a of shape (K,) and b of shape (K, ...)."""
    return np.asarray(a.reshape(-1, *(1 for _ in b.shape[1:])) * b)


@dataclass(frozen=True, eq=False, repr=False)
class Row:
    """One law, or the motion of one block of parameters, along a recording; K times, components of shape `shape`.

    Attributes
    ----------
    name : str
        The law, for example "scaling:1" or "time", or the block, for example "W1".
    t : ndarray, shape (K,)
        Times.
    residual : ndarray, shape (K, *shape)
        The defect of the law, or the norm of the block's; see `check`.
    tolerance, scale : ndarray, broadcast to the shape of `residual`
        What round-off and the step allow, and the residual that the same force gives in the worst direction.
    order : int
        Order of the tolerance in the step; 0 where the law is exact.
    resolved : bool
        Whether the records are close enough for the tolerance to bound what a method of that order can do.
    """

    name: str
    t: Float64Array
    residual: Float64Array
    tolerance: Float64Array
    scale: Float64Array
    order: int
    resolved: bool = True

    @property
    def ratio(self) -> Float64Array:
        """|residual|/tolerance, shape (K, *shape); above 1 the law is broken."""
        size = np.abs(self.residual)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(size > 0, size / self.tolerance, 0.0)

    @property
    def verdict(self) -> str:
        """What this row shows: "holds", "broken" or "not decidable"."""
        if self._is_broken():
            return "broken" if self.resolved else "not decidable"
        return "holds" if (self.tolerance < RESOLUTION * self.scale).any() else "not decidable"

    def _is_broken(self) -> bool:
        return bool((self.ratio > 1).any())

    @property
    def first(self) -> tuple[int, ...]:
        """Index (time, *component) of the first residual beyond its tolerance, the largest of that time; () if none is."""
        if not self._is_broken():
            return ()
        ratio = self.ratio
        k = int(np.argmax((ratio.reshape(self.t.size, -1) > 1).any(axis=1)))
        return (k, *(int(i) for i in np.unravel_index(int(np.argmax(ratio[k])), ratio.shape[1:])))

    @property
    def where(self) -> str:
        """The first residual beyond its tolerance, in words; empty if none is."""
        if not self.first:
            return ""
        k, *component = self.first
        beyond = (self.ratio > 1).any(axis=0)
        share = f" ({beyond.sum()} of {beyond.size} are broken)" if beyond.size > 1 else ""
        return f"{self._label(component)}t = {self.t[k]:.4g}{share}"

    def _label(self, component: Sequence[int]) -> str:
        kind, _, layer = self.name.partition(":")
        index = component[0] if len(component) == 1 else tuple(component)
        if kind in ("scaling", "linear"):
            return f"layer {layer}, {'neuron' if kind == 'scaling' else 'entry'} {index}, "
        return (
            f"{'column' if self.name == 'translation:W' else 'component'} {index}, "
            if self.residual[0].size > 1
            else ""
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.verdict}{', ' + self.where if self.where else ''})"


@dataclass(frozen=True, eq=False, repr=False)
class Motion(Row):
    """How one block of parameters moved, beside how it should have; residuals are norms, of shape (K,).

    Attributes
    ----------
    entry : tuple of int
        The entry of the block that is furthest off where the motion first is; () where it never is.
    neurons : ndarray of int
        Rows of the block that are off somewhere: neurons of its layer.
    factor, remainder : float
        The motion there is `factor` times the expected one, but for a remainder relative to that.
    size : int
        Rows of the block.
    """

    entry: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()
    factor: float = np.nan
    remainder: float = 0.0
    size: int = 0

    @classmethod
    def of(
        cls,
        block: Block,
        t: Float64Array,
        got: Float64Array,
        want: Float64Array,
        tolerance: Float64Array,
        scale: Float64Array,
        order: int,
    ) -> Motion:
        """Return the row of a block from what it moved by and what it should have, (K, n) each."""
        residual = got - want
        norm = np.linalg.norm(residual, axis=1)
        row = cls(block.name, t, norm, tolerance, scale, order, size=block.shape[0])
        off = norm > tolerance
        if not off.any():
            return row
        k = int(np.argmax(off))
        furthest = int(np.argmax(np.abs(residual[k])))
        beyond = (np.abs(residual[off]) > tolerance[off, None]).any(axis=0)
        beyond[furthest] = True
        got, want = got[off][:, beyond], want[off][:, beyond]
        square = float((want * want).sum())
        factor = float((got * want).sum()) / square if square > 0 else np.inf
        return dataclasses.replace(
            row,
            entry=tuple(int(i) for i in np.unravel_index(furthest, block.shape)),
            neurons=tuple(np.flatnonzero(beyond.reshape(block.shape[0], -1).any(axis=1)).tolist()),
            factor=factor,
            remainder=float(np.linalg.norm(got - factor * want)) / square**0.5 if square > 0 else np.inf,
        )

    def _is_broken(self) -> bool:
        share = float((self.ratio > 1).mean())
        return share > (0.0 if self.order == 0 else PERSISTENT)

    @property
    def proportional(self) -> bool:
        """Whether what moved is a multiple of what should have, up to the order of the check."""
        return self.remainder < _ALIKE[self.order] * max(1.0, abs(self.factor))

    @property
    def where(self) -> str:
        """The entry that is furthest off where the motion first is, in words; empty if it never is."""
        if not self.first:
            return ""
        return f"{self.name}[{', '.join(map(str, self.entry))}], t = {self.t[self.first[0]]:.4g}"

    @property
    def finding(self) -> str:
        """What is wrong with the motion of this block, in words."""
        if not self.proportional:
            text = f"{self.name} does not move along -∇U (by {self.factor:.3g} times as much in that direction)"
        elif abs(self.factor) < _ALIKE[self.order]:
            text = f"{self.name} does not move: its gradient is missing"
        else:
            text = f"{self.name} moves {self.factor:.4g} times as far as U asks"
        if len(self.neurons) == self.size:
            return text
        shown = ", ".join(map(str, self.neurons[:8])) + (", …" if len(self.neurons) > 8 else "")
        return f"{text} (neuron{'s' if len(self.neurons) > 1 else ''} {shown} of {self.size})"


class Report:
    """What `check` found.

    Attributes
    ----------
    laws : dict of str to Row
        One per law, by its name.
    motion : dict of str to Motion
        One per block of parameters, by its name.
    """

    def __init__(
        self,
        laws: Sequence[Row],
        motion: Sequence[Motion],
        recording: str,
        followed: Dynamics | Algorithm,
        n_samples: int,
    ) -> None:
        self.laws = {row.name: row for row in laws}
        self.motion = {row.name: row for row in motion}
        self._title = f"{recording}: {_claim(followed)}"
        self._n_samples = n_samples

    @property
    def rows(self) -> list[Row]:
        """All rows, laws first."""
        return [*self.laws.values(), *self.motion.values()]

    @property
    def ok(self) -> bool:
        """Whether every row holds, to a tolerance that could have shown otherwise."""
        return all(row.verdict == "holds" for row in self.rows)

    @property
    def findings(self) -> list[str]:
        """What is wrong, in words: the motion of blocks, or the laws where the motion was not or could not be told."""
        moved = [row for row in self.motion.values() if row.verdict == "broken"]
        if not moved:
            return [f"{row.name} is broken: {row.where}" for row in self.laws.values() if row.verdict == "broken"]
        factors = np.array([row.factor for row in moved])
        factor, alike = float(factors.mean()), _ALIKE[moved[0].order]
        together = len(moved) == len(self.motion) > 1 and bool((np.abs(factors - factor) <= alike * abs(factor)).all())
        if not (together and all(row.proportional for row in moved)):
            return [row.finding for row in moved]
        counted = self._n_samples > 1 and abs(factor / self._n_samples - 1) < alike
        hint = f" (there are {self._n_samples} samples)" if counted else ""
        return [f"every block moves {factor:.4g} times as far as U asks{hint}: its loss or its time is scaled by that"]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot every residual in units of its tolerance; see `noetherlite.plot.check`."""
        return plot.check(self, ax)

    def __str__(self) -> str:
        lines = [
            self._title,
            f"{'':14} {'residual':>9} {'tolerance':>9} {'scale':>9} {'order':>5}  {'verdict':13}  first",
        ]
        for row in self.rows:
            worst = np.unravel_index(int(np.argmax(row.ratio)), row.ratio.shape)
            numbers = [np.broadcast_to(a, row.residual.shape)[worst] for a in (row.residual, row.tolerance, row.scale)]
            shown = " ".join(f"{abs(number):9.2g}" for number in numbers)
            order = "exact" if row.order == 0 else str(row.order)
            lines.append(f"{row.name:14} {shown} {order:>5}  {row.verdict:13}  {row.where}".rstrip())
        return "\n".join([*lines, *(f"→ {finding}" for finding in self.findings)])

    def __repr__(self) -> str:
        bad = [f"{row.name} {row.verdict}" for row in self.rows if row.verdict != "holds"]
        return f"Report({', '.join(bad) if bad else 'ok'})"


def _claim(followed: Dynamics | Algorithm) -> str:
    if isinstance(followed, Algorithm):
        return f"every row one step of {followed}"
    name = str(followed) if followed.name == "general" else followed.name
    return f"{name} up to first order in the spacing"
