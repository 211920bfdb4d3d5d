"""Pictures of laws on named tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._base.axes import short
from .law import Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST = 50  # letters of a law's name beside the axis


def incidence(laws: Sequence[Law], tensors: Sequence[str], ax: Axes | None) -> Axes:
    """Plot which tensors each law ties together: a row a tensor, a column a law, blue for +, orange for −."""
    import matplotlib.pyplot as plt

    names = [short(law.name or law.kind, _LONGEST) for law in laws]
    if ax is None:
        left, below = (0.075 * max(map(len, labels), default=0) for labels in (tensors, names))  # inches of text
        size = (1 + left + 0.5 * below + 0.3 * len(laws), 1 + 0.9 * below + 0.22 * len(tensors))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    row = {name: i for i, name in enumerate(tensors)}
    for column, law in enumerate(laws):
        rows = np.array([row[m.tensor] for m in law.members])
        inverse = np.array([m.inverse or m.coefficient < 0 for m in law.members])
        ax.plot([column, column], [rows.min(), rows.max()], color="0.75", linewidth=1, zorder=1)
        # Parts of one tensor lie beside each other.
        places = column + 0.25 * np.array([(rows[:i] == r).sum() for i, r in enumerate(rows)])
        for which, color, label in ((~inverse, "#0072B2", "acted on"), (inverse, "#E69F00", "acted on by the inverse")):
            ax.scatter(places[which], rows[which], s=28, zorder=2, color=color, label=None if column else label)
    ax.set_yticks(range(len(tensors)), tensors, fontsize=8)
    ax.set_xticks(range(len(laws)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_ylim(len(tensors) - 0.5, -0.5)
    ax.set_xlim(-0.5, len(laws) - 0.5)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8)
    return ax


def spreads(rows: Sequence[tuple[str, float, float, float]], ax: Axes | None) -> Axes:
    """Plot (name, least, median, most) as a line a row on a logarithmic axis, which zeros leave at its lower end."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 1.2 + 0.25 * len(rows)), layout="constrained")
    sizes = np.array([row[1:] for row in rows]).reshape(-1, 3)
    floor = min(sizes[sizes > 0].min(initial=1.0), 1.0) / 2
    low, median, high = np.maximum(sizes, floor).T
    places = range(len(rows))
    ax.hlines(places, low, high, color="#0072B2", linewidth=3, alpha=0.5)
    ax.scatter(median, places, color="#0072B2", s=24, zorder=2)
    ax.set_xscale("log")
    ax.set_yticks(places, [row[0] for row in rows], fontsize=8)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("|Q|, least, median and largest component")
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    return ax
