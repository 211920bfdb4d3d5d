"""What plots share: colours, labels, new axes, styles of lines. matplotlib is imported when the first plot is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .floating import underflowing
from .types import AnyArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, distinguishable with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# What a law record holds, and how an axis calls it.
LABELS = {
    "quantity": r"quantity $Q$",
    "charge": r"charge $J=\langle g(x),\dot x\rangle$",
    "source_integral": r"source $\int\mu S\,\mathrm{d}s$",
    "residual": r"Noether residual $r(t)$",
    "discrete_residual": "residual of the exact discrete law",
}


def new_axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is not None:
        checks.instance(ax, "ax", Axes, "Axes of matplotlib, or None")
        return ax

    return Figure(figsize=(5.0, 3.4), layout="constrained").subplots()


def style_of(given: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the properties of a line, those given before the defaults, by whichever of their names: lw is linewidth."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**defaults, **normalize_kwargs(given, Line2D)}


@underflowing
def logarithmic(ax: Axes) -> None:
    """Make the y axis logarithmic; of a run that diverged up to 1e250, as matplotlib has to count decades beyond."""
    if ax.dataLim.y1 > 1e250:
        ax.set_ylim(ax.dataLim.minposy, 1e250)
    ax.set_yscale("log")


def legend_above(ax: Axes, rows: int) -> None:
    """Draw a legend of two columns above the curves, on a linear axis."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.15 * rows * (high - low))
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")


def spans_a_decade(column: AnyArray) -> bool:
    """Whether the finite values of a column are positive and span a decade, so that a logarithmic axis shows them better."""
    known = column[np.isfinite(column)] if column.dtype.kind in "iuf" else np.empty(0)
    return bool(known.size and known.min() > 0 and known.max() >= 10 * known.min())
