"""Pictures of laws on named tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .law import Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def incidence(laws: Sequence[Law], tensors: Sequence[str], ax: Axes | None) -> Axes:
    """Plot which tensors each law ties together: a row a tensor, a column a law, blue for +, orange for −."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(2.5 + 0.3 * len(laws), 1.2 + 0.22 * len(tensors)), layout="constrained")
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
    ax.set_xticks(range(len(laws)), [law.name or law.kind for law in laws], rotation=60, ha="right", fontsize=8)
    ax.set_ylim(len(tensors) - 0.5, -0.5)
    ax.set_xlim(-0.5, len(laws) - 0.5)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8)
    return ax
