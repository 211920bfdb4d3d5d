"""The page of a sweep: its members, its failures, and every result against every parameter."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable

import numpy as np

from .._base.axes import spans_a_decade
from .._base.types import AnyArray
from .._sweep.result import Sweep
from .page_plots import Curve, plot
from .page_tables import flat, table

_MOST_CURVES = 6  # of a plot; more are one curve over all


def body(runs: Sweep) -> Iterable[str]:
    """Return the parts of the page."""
    yield f'<p class="lead">{html.escape(runs.message)}</p>'
    columns = runs.table()
    yield "<h2>Members</h2>"
    same = {name: c for name, c in columns.items() if len(runs) > 1 and len(set(map(str, c.tolist()))) == 1}
    if same:
        told = "; ".join(f"{name} = {c.tolist()[0]}" for name, c in same.items())
        yield f'<p class="note">The same in all members: {html.escape(told)}.</p>'
    shown = {name: c for name, c in columns.items() if name not in same}
    yield table(["member", *shown], zip(range(len(runs)), *(c.tolist() for c in shown.values()), strict=True))
    if runs.failures:
        yield "<h2>Failures</h2>"
        yield table(
            ["member", "parameters", "error"],
            [(m.index, json.dumps(m.parameters), m.error) for m in runs.failures],
            "facts",
        )
    drawn = "".join(_plots(runs, columns))
    if drawn:
        yield f'<h2>Plots</h2><div class="plots">{drawn}</div>'
    yield "<h2>Specification</h2>"
    yield table([], flat(runs.specification), "facts")


def _plots(runs: Sweep, columns: dict[str, AnyArray]) -> Iterable[str]:
    """Return a plot of every number that came out against every number that was varied, seeds apart."""
    parameters = [name for name in columns if name in runs.members[0].parameters]
    numeric = [name for name, c in columns.items() if c.ndim == 1 and c.dtype.kind in "if"]
    varied = [name for name in parameters if len(set(map(str, columns[name].tolist()))) > 1 and not _is_seed(name)]
    for x in varied:
        if x in numeric:
            others = [name for name in varied if name != x]
            groups = _groups(columns, others)
            for y in numeric:
                if y not in parameters:
                    curves = {label: _curve(columns[x], columns[y], rows) for label, rows in groups.items()}
                    title = f"{y} against {x}: mean, and from the smallest to the largest"
                    logs = spans_a_decade(columns[x]), spans_a_decade(columns[y])
                    yield plot(title, x, y, curves, log_x=logs[0], log_y=logs[1])


def _is_seed(name: str) -> bool:
    """Whether a parameter is a seed by its name: what differs by seeds alone is averaged over."""
    return bool(re.search(r"(^|[._])(rng|seeds?|batch_keys?)$", name))


def _groups(columns: dict[str, AnyArray], others: list[str]) -> dict[str, AnyArray]:
    """Return the members that share the other parameters, as masks by what these are; one for all where there are many."""
    n = len(next(iter(columns.values())))
    labels = [", ".join(f"{name} = {columns[name].tolist()[i]}" for name in others) or "all members" for i in range(n)]
    if len(set(labels)) > _MOST_CURVES:
        labels = [f"all of {', '.join(others)}"] * n
    return {label: np.array([own == label for own in labels]) for label in dict.fromkeys(labels)}


def _curve(x: AnyArray, y: AnyArray, rows: AnyArray) -> Curve:
    """Return mean, smallest and largest of the finite values at each x."""
    kept = rows & np.isfinite(x.astype(float)) & np.isfinite(y.astype(float))
    at = np.unique(x[kept])
    values = [y[kept & (x == place)].astype(float) for place in at]
    return Curve(at.astype(float), *(np.array([f(v) for v in values]) for f in (np.mean, np.min, np.max)))
