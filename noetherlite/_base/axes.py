"""Colours, labels, new axes and line styles of all plots. matplotlib is imported when the first plot is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .floating import underflowing
from .types import AnyArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, distinguishable with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# The arrays of a law record, and their labels on an axis.
LABELS = {
    "quantity": r"quantity $Q$",
    "charge": r"charge $J=\langle g(x),\dot x\rangle$",
    "source_integral": r"source $\int\mu S\,\mathrm{d}s$",
    "residual": r"Noether residual $r(t)$",
    "discrete_residual": "residual of the exact discrete law",
}

_LONGEST = 36  # characters of a name that fit
_MOST_IN_LEGEND = 10


def new_axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    from matplotlib.axes import Axes

    if ax is None:
        return blank().axes[0]
    checks.instance(ax, "ax", Axes, "Axes of matplotlib, or None")
    return ax


def blank(size: tuple[float, float] = (5.0, 3.4)) -> Figure:
    """Return a figure with empty axes, of a `size` in inches, with so few numbers below that long ones do not overlap."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.subplots().locator_params(axis="x", nbins=5)
    return figure


def short(name: str, longest: int = _LONGEST) -> str:
    """Return a name of the user's as it fits beside an axis or into a legend: of a long one its beginning."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def positive(values: AnyArray) -> AnyArray:
    """Return the values that a logarithmic axis has, NaN in place of zeros."""
    return np.where(values > 0, values, np.nan)


def over_time(ax: Axes, ylabel: str) -> None:
    """Label the axes of a plot against time, and mark points that no line leads to, as of a run with one record."""
    for line in ax.lines:
        if np.count_nonzero(np.isfinite(np.asarray(line.get_ydata(), dtype=float))) == 1:
            line.set_marker("o")
    ax.set(xlabel="time $t$", ylabel=ylabel)


def style_of(style: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the properties of a line: those of `style`, whose short names (lw) become long ones (linewidth), else `defaults`."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**defaults, **normalize_kwargs(style, Line2D)}


@underflowing
def logarithmic(ax: Axes) -> None:
    """Make the y axis logarithmic, up to 1e250: beyond that matplotlib's count of decades overflows. Say so where no line has a point on it."""
    if ax.dataLim.y1 > 1e250:
        ax.set_ylim(ax.dataLim.minposy, 1e250)
    ax.set_yscale("log")
    points: list[Any] = [line.get_xydata() for line in ax.lines]
    x, y = np.concatenate([np.empty((0, 2)), *points]).T
    if x.size and not (y > 0).any():
        if np.ptp(x) > 0:
            ax.set_xlim(x.min(), x.max())
        ax.text(0.5, 0.5, "nothing above 0", transform=ax.transAxes, ha="center", color="0.4")


def legend_of_laws(ax: Axes) -> None:
    """Draw a legend of the lines, of many only of those that rise highest, such as those of laws that are broken."""
    every: list[Any] = ax.get_legend_handles_labels()[0]
    shown = sorted(every, key=lambda line: -np.fmax.reduce(line.get_ydata(), initial=0.0))[:_MOST_IN_LEGEND]
    title = f"highest of {len(every)}" if len(shown) < len(every) else None
    handles = [line for line in every if line in shown]
    ax.legend(handles=handles, title=title, frameon=False, fontsize="small", title_fontsize="small")


def legend_above(ax: Axes, rows: int) -> None:
    """Draw a legend of two columns above the curves, on a linear axis."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.15 * rows * (high - low))
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")


def spans_a_decade(column: AnyArray) -> bool:
    """Whether the finite values of a column are positive and span a decade, so that a logarithmic axis shows them better."""
    finite = column[np.isfinite(column)] if column.dtype.kind in "iuf" else np.empty(0)
    return bool(finite.size and finite.min() > 0 and finite.max() >= 10 * finite.min())
