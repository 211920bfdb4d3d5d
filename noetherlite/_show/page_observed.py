"""Observables of a run beside its laws, on its page: a table of the ends, and a plot of each observable."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .._base.types import Array
from .._motion.base import Algorithm
from .._motion.gradient_descent import GD
from .._run.observe import SHARPNESS
from .._run.trajectory import Trajectory
from .page_plots import Curve, plot
from .page_tables import span, table

_MOST_CURVES = 6  # of a plot; of more components the extremes are drawn


def ends(run: Trajectory) -> str:
    """Return the table of the first and last values; '' if nothing was observed."""
    rows = []
    for name, values in run.observed.items():
        a = _by_network(run, values)
        known = [network[np.isfinite(network).all(axis=1)] for network in a]
        known = [network for network in known if len(network)]
        first, last = [span(np.stack([n[i] for n in known])) for i in (0, -1)] if known else ["none", "none"]
        rows.append((name, a.shape[-1], first, last))
    return table(["name", "components", "at the start", "at the end"], rows) if rows else ""


def plots(run: Trajectory, algorithm: Algorithm | None) -> Iterable[str]:
    """Yield a plot of each observable."""
    for name, values in run.observed.items():
        curves = _curves(run, name, _by_network(run, values))
        steady = isinstance(algorithm, GD) and not (run.members or algorithm.rates or algorithm.has_blocks)
        if name == SHARPNESS and algorithm is not None and steady:
            curves["2/η"] = Curve(run.t, np.full(run.t.shape, 2 / float(algorithm.lr)))
        yield plot(name, time_label(run), name, curves)


def time_label(run: Trajectory) -> str:
    """Return the horizontal axis: time, or the step where networks have other times."""
    t = np.atleast_2d(run.t)
    return "t" if bool((t == t[0]).all()) else "step"


def _by_network(run: Trajectory, values: Array) -> Array:
    """Return an observable as an array (networks, records, components)."""
    return values.reshape(-1, run.t.shape[-1], values.size // max(run.t.size, 1))


def _curves(run: Trajectory, name: str, values: Array) -> dict[str, Curve]:
    if not run.members and values.shape[-1] <= _MOST_CURVES:
        labels = ["run"] if values.shape[-1] == 1 else [f"{name}[{i}]" for i in range(values.shape[-1])]
        return {label: Curve(run.t, row) for label, row in zip(labels, values[0].T, strict=True)}
    return extremes(run, np.moveaxis(values, -1, 0).reshape(-1, values.shape[1]))


def extremes(run: Trajectory, values: Array) -> dict[str, Curve]:
    """Return the median and the extremes of rows of values at the records, shape (…, R)."""
    records = np.isfinite(values).any(axis=0)
    x = np.atleast_2d(run.t if time_label(run) == "t" else run.step)[0, records].astype(float)
    shown = values[:, records]
    return {
        "median": Curve(x, np.nanmedian(shown, axis=0)),
        "smallest": Curve(x, np.nanmin(shown, axis=0)),
        "largest": Curve(x, np.nanmax(shown, axis=0)),
    }
