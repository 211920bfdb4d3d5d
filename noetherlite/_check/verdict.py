"""The report of a check: rows, verdict, sentences about what is wrong, and about what was not checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import axes, html
from .._base.axes import COLOURS
from .._problem.potentials import Potential
from .causes import counted
from .noise import BlockByChance
from .rows import ALIKE, CheckRow, MotionRow, distinct
from .series import StepRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD = ("residual", "tolerance", "scale", "order", "verdict", "first")


class Report:
    """The result of `check`; `print` it for the table. The function `report` is unrelated: it writes a page about a run.

    Attributes
    ----------
    laws : dict of str to CheckRow
        One per law, by its name.
    motion : dict of str to MotionRow
        One per block of parameters, by its name.
    findings : list of str
        Sentences about what is wrong: the motion of blocks, with the cause where it is recognised; or the laws, where the
        motion was not checked or is not decidable.
    limits : list of str
        Sentences about what was not checked or is not decidable, and why; never empty.
    """

    def __init__(
        self,
        laws: Sequence[CheckRow],
        motion: Sequence[MotionRow],
        title: str,
        findings: Sequence[str],
        limits: Sequence[str],
    ) -> None:
        self.laws = {row.name: row for row in laws}
        self.motion = {row.name: row for row in motion}
        self.findings = list(findings)
        self.limits = [*limits, *self._undecided(), *self._finest()]
        self._title = title

    @property
    def rows(self) -> list[CheckRow]:
        """All rows, laws first."""
        return [*self.laws.values(), *self.motion.values()]

    @property
    def verdict(self) -> str:
        """Return "broken" if any row is, else "not decidable" if any row is or there is none, else "holds"."""
        verdicts = {row.verdict for row in self.rows}
        if "broken" in verdicts:
            return "broken"
        return "holds" if verdicts == {"holds"} else "not decidable"

    @property
    def ok(self) -> bool:
        """Whether the verdict is "holds": every row holds, to a tolerance small enough to have shown an error."""
        return self.verdict == "holds"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot every residual of a check in units of its tolerance against time: above 1 a law is broken.

        One line per law, for its largest component, and one for the block of parameters with the largest error.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        """
        ax = axes.new_axes(ax)
        furthest = sorted(self.motion.values(), key=lambda row: -row.tally.worst[0])[:1]
        for i, row in enumerate(row for row in [*self.laws.values(), *furthest] if row.t.size):
            worst = row.ratio.reshape(row.t.size, -1).max(axis=1)
            motion = row.name in self.motion
            style: dict[str, Any] = {"color": COLOURS[6], "linestyle": "--"} if motion else {"color": COLOURS[i % 6]}
            label = f"motion of {row.name}" if motion else axes.short(row.name)
            ax.plot(row.t, axes.positive(worst), label=label, linewidth=1.0, **style)
        ax.axhline(1.0, color="0.5", linewidth=0.8, linestyle=":", label="tolerance")
        axes.over_time(ax, "|residual| / tolerance")
        ax.set_yscale("log")
        axes.legend_of_laws(ax)
        return ax

    def _undecided(self) -> list[str]:
        reasons: dict[str, list[str]] = {}
        for row in self.rows:
            if row.verdict == "not decidable":
                reasons.setdefault(row.reason, []).append(row.name)
        return [f"{', '.join(names)} not decidable: {reason}" for reason, names in reasons.items()]

    def _finest(self) -> list[str]:
        """Return a sentence about the smallest detectable error, where rows hold."""
        rows = [row for row in self.motion.values() if row.verdict == "holds" and not isinstance(row, StepRow)]
        finest = [row.tally.finest for row in rows if not (isinstance(row, BlockByChance) and row.of_noise)]
        if not finest:
            return []
        least = max(tolerance / scale for tolerance, scale in finest)
        return [f"a gradient that is wrong by less than {least:.1g} of its size in every block is not seen"]

    def _table(self) -> list[tuple[str, ...]]:
        lines = []
        for row in self.rows:
            _, *numbers = row.tally.worst
            lines.append((row.name, *(f"{number:.2g}" for number in numbers), row.kind, row.verdict, row.where))
        return lines

    def __str__(self) -> str:
        lines = [
            self._title,
            f"{'':14} {'residual':>9} {'tolerance':>9} {'scale':>9} {'order':>5}  {'verdict':13}  first",
        ]
        for name, *numbers, order, verdict, where in self._table():
            shown = " ".join(f"{number:>9}" for number in numbers)
            lines.append(f"{name:14} {shown} {order:>5}  {verdict:13}  {where}".rstrip())
        notes = [f"→ {finding}" for finding in self.findings] + [f"· {limit}" for limit in self.limits]
        return "\n".join([*lines, f"verdict: {self.verdict}", *notes])

    def __repr__(self) -> str:
        bad = [f"{row.name} {row.verdict}" for row in self.rows if row.verdict != "holds"]
        return f"Report({', '.join(bad) if bad else 'ok' if self.rows else 'nothing was checked'})"

    def _repr_html_(self) -> str:
        notes = [("wrong", finding) for finding in self.findings] + [("not checked", limit) for limit in self.limits]
        table = html.table(f"{self._title}: {self.verdict}", self._table(), ("", *_HEAD))
        return table + (html.table("", notes) if notes else "")


def motion_findings(U: Potential, motion: Sequence[MotionRow]) -> list[str]:
    """Return sentences about what is wrong with the motion along a flow."""
    broken = [row for row in motion if row.verdict == "broken"]
    if not broken:
        return []
    factors = np.array([row.factor for row in broken])
    factor = float(factors.mean())
    together = len(broken) == len(motion) > 1 and bool((np.abs(factors - factor) <= ALIKE[1] * abs(factor)).all())
    if not (together and all(row.proportional and not row.still for row in broken)):
        return [row.finding for row in broken]
    hint = counted(U, factor, ALIKE[1])
    return [
        f"every block moves {distinct(factor, 1.0)} times as far as U asks{hint}: its loss or its time is scaled by that"
    ]


def step_findings(rows: Sequence[StepRow]) -> list[str]:
    """Return sentences about what is wrong with an optimiser's steps, from the averages and gradients that it had."""
    broken = [row for row in rows if row.verdict == "broken"]
    factors = np.array([row.factor for row in broken])
    together = len(broken) == len(rows) > 1 and all(row.proportional for row in broken)
    if together and np.ptp(factors) <= ALIKE[0] * abs(factors.mean()):
        factor = distinct(float(factors.mean()), 1.0)
        share = max(rows, key=lambda row: row.tally.n_off).share
        if share:
            return [
                f"the steps of every block are {factor} times as long as the algorithm's{share}: the rate is scaled there"
            ]
        return [f"every step is {factor} times as long as the algorithm's: its rate is scaled by that"]
    return [row.finding for row in broken]


def law_findings(laws: Sequence[CheckRow]) -> list[str]:
    """Return a sentence per broken law, with component and time."""
    return [f"{row.name} is broken: {row.where}" for row in laws if row.verdict == "broken"]
