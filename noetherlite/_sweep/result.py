"""Sweep, the result of a sweep: members, columns, tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import axes, checks
from .._base.axes import COLOURS
from .._base.by_name import ByName
from .._base.html import table
from .._base.notation import aligned
from .task import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 40  # rows of a summary
_MOST_SIDE_BY_SIDE = 60  # characters of all words below an axis


@dataclass(frozen=True, eq=False)
class SweepMember:
    """A member of a sweep.

    Attributes
    ----------
    index : int
        Its place in the grid.
    parameters : dict
        Its parameters.
    result : dict or None
        What the function returned: numbers, strings and arrays. None where it failed or was not called.
    error : str
        The exception that the function raised, as text; '' if it raised none.
    traceback : str
        The traceback of the exception.
    seconds : float
        Time that the function took.
    """

    index: int
    parameters: dict[str, Any]
    result: dict[str, Any] | None
    error: str
    traceback: str = field(repr=False)
    seconds: float

    @property
    def row(self) -> dict[str, Any]:
        """Results and parameters by name; where two have the same name, the parameter."""
        return {**(self.result or {}), **self.parameters}


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """The results of a function for each member of a grid; n members.

    Attributes
    ----------
    members : tuple of SweepMember
        In the order of the grid; `sweep[i]` is member i.
    status : {"completed", "stopped"}
        "completed" if every member was computed, including failures.
    message : str
        A description of the status.
    specification : mapping
        Function, its key, seed and versions, ready for JSON.
    """

    members: tuple[SweepMember, ...]
    status: str
    message: str
    specification: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "specification", ByName(self.specification, "entry"))

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.members)

    def __getitem__(self, i: int) -> SweepMember:
        """Return member i."""
        return self.members[i]

    def __iter__(self) -> Iterator[SweepMember]:
        return iter(self.members)

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """The parameters of each member."""
        return [member.parameters for member in self.members]

    @property
    def results(self) -> list[dict[str, Any] | None]:
        """The results of the members; None where it failed or was not called."""
        return [member.result for member in self.members]

    @property
    def failures(self) -> list[SweepMember]:
        """The members whose function raised an exception or returned an invalid result."""
        return [member for member in self.members if member.error]

    @property
    def names(self) -> list[str]:
        """The names of all columns: parameters, then results."""
        results = [name for member in self.members for name in member.result or ()]
        return list(dict.fromkeys([*self.members[0].parameters, *results]))

    def column(self, name: str) -> NDArray[Any]:
        """Return a parameter or a result of all members.

        Parameters
        ----------
        name : str
            One of `names`; where a result has the name of a parameter, the parameter.

        Returns
        -------
        ndarray, shape (n,) or (n, …)
            NaN, or '' among strings, where a member has none; beside NaN booleans and integers are numbers, True is 1.0.

        Raises
        ------
        ValueError
            If there is no such column, or its entries differ in shape.
        """
        checks.one_of(name, "name", self.names)
        entries = [member.row.get(name) for member in self.members]
        present = [np.asarray(entry) for entry in entries if entry is not None]
        shapes = {entry.shape for entry in present}
        if len(shapes) > 1:
            raise ValueError(
                f"column {name!r} has entries of different shapes: {sorted(shapes)}; use `results` instead"
            )
        if not present:
            return np.full(len(entries), np.nan)
        missing = np.full(present[0].shape, "" if present[0].dtype.kind == "U" else np.nan)
        return np.stack([missing if entry is None else np.asarray(entry) for entry in entries])

    def table(self) -> dict[str, NDArray[Any]]:
        """Return all columns with one number or string a member, as `pandas.DataFrame` takes them; parameters that are lists as text."""
        several = {
            name for member in self for name, entry in member.row.items() if isinstance(entry, list | np.ndarray)
        }
        parameters = self.members[0].parameters
        return {
            name: np.array([str(p[name]) for p in self.parameters]) if name in several else self.column(name)
            for name in self.names
            if name in parameters or name not in several
        }

    def plot(self, x: str, y: str, ax: Axes | None = None, **style: Any) -> Axes:
        """Plot one column against another: a point for each member that has both.

        Parameters
        ----------
        x, y : str
            Columns with one number a member, or one string for x; an axis is logarithmic where its values are positive and
            span a decade.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **style
            Passed to `Axes.plot`.

        Raises
        ------
        ValueError
            If there is no such column, or it has no numbers.
        """
        names = (checks.one_of(name, axis, self.names) for axis, name in (("x", x), ("y", y)))
        x_values, y_values = (self.column(name) for name in names)
        for name, column, kinds in ((x, x_values, "biufU"), (y, y_values, "biuf")):
            if column.ndim > 1 or column.dtype.kind not in kinds:
                raise ValueError(f"column {name!r} must hold one number a member, got {checks.describe(column)}")
        ax = axes.new_axes(ax)
        points = {"color": COLOURS[0], "marker": "o", "linestyle": "none", "markerfacecolor": "none"}
        ax.plot(x_values, y_values, **axes.style_of(style, **points))
        for scale, column in ((ax.set_xscale, x_values), (ax.set_yscale, y_values)):
            if axes.spans_a_decade(column):
                scale("log")
        if x_values.dtype.kind == "U" and sum(map(len, set(x_values.tolist()))) > _MOST_SIDE_BY_SIDE:
            ax.tick_params(axis="x", rotation=90)
        ax.set(xlabel=axes.short(x), ylabel=axes.short(y))
        return ax

    def summary(self) -> str:
        """Return the table as text, followed by the failures with their parameters."""

        def text(entry: Any) -> str:
            return f"{entry:.6g}" if isinstance(entry, float) else str(entry)

        columns = self.table()
        rows = [list(columns), *zip(*(map(text, column.tolist()) for column in columns.values()), strict=True)]
        lines = aligned(rows, right=range(len(columns)))[: _SHOWN + 1]
        if len(rows) > len(lines):
            lines.append(f"… and {len(rows) - len(lines)} more")
        failed = [
            f"failed: {', '.join(f'{k}={v!r}' for k, v in m.parameters.items())}: {m.error.splitlines()[0]}"
            for m in self.failures
        ]
        if len(failed) > _SHOWN:
            failed[_SHOWN:] = [f"… and {len(failed) - _SHOWN} more failed"]
        return "\n".join([self.message, *lines, *failed])

    def _repr_html_(self) -> str:
        columns = self.table()
        rows = zip(range(min(len(self), _SHOWN)), *(column.tolist() for column in columns.values()), strict=False)
        return table(self.message, rows, ["member", *columns])

    def __repr__(self) -> str:
        return f"Sweep({self.specification.get('function', 'function')}, {self.message}, columns {self.names})"


def collect(specification: Mapping[str, Any], outcomes: Mapping[int, Outcome], stopped: str) -> Sweep:
    """Return the Sweep of these outcomes; members without an outcome were not computed."""
    not_computed = Outcome(None, "", "", 0.0)
    parameters: Sequence[dict[str, Any]] = specification["parameters"]
    members = tuple(SweepMember(i, p, *outcomes.get(i, not_computed)) for i, p in enumerate(parameters))
    count = Counter("failed" if m.error else "not computed" if m.result is None else "done" for m in members)
    counts = ", ".join(f"{n} {status}" for status, n in count.items())
    message = f"{len(members)} member{'s' * (len(members) != 1)}: {counts}"
    if stopped and count["not computed"]:
        message += f"; stopped by {stopped}"
    return Sweep(
        members,
        "stopped" if count["not computed"] else "completed",
        message,
        {name: specification[name] for name in ("function", "key", "seed", "versions")},
    )
