"""Plots of runs, laws, reports and sweeps; each takes `ax=None` and returns the Axes."""

from ._base.axes import COLOURS, LABELS
from ._show.plots import (
    bounds,
    check,
    closure,
    drift,
    energy,
    law,
    loss,
    residuals,
    singular_values,
    sweep,
)

__all__ = [
    "COLOURS",
    "LABELS",
    "bounds",
    "check",
    "closure",
    "drift",
    "energy",
    "law",
    "loss",
    "residuals",
    "singular_values",
    "sweep",
]
