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

_MOST_CURVES = 6  # of a plot; with more groups one curve over all members is drawn


def body(runs: Sweep) -> Iterable[str]:
    """Return the parts of the page."""
    yield f'<p class="lead">{html.escape(runs.message)}</p>'
    columns = runs.table()
    yield "<h2>Members</h2>"
    constant = {name: c for name, c in columns.items() if len(runs) > 1 and len(set(map(str, c.tolist()))) == 1}
    if constant:
        constants_text = "; ".join(f"{name} = {c.tolist()[0]}" for name, c in constant.items())
        yield f'<p class="note">The same in all members: {html.escape(constants_text)}.</p>'
    shown = {name: c for name, c in columns.items() if name not in constant}
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
    """Yield a plot of every numeric result against every varied numeric parameter other than seeds."""
    parameters = [name for name in columns if name in runs.members[0].parameters]
    numeric = [name for name, c in columns.items() if c.ndim == 1 and c.dtype.kind in "if"]
    varied = [name for name in parameters if len(set(map(str, columns[name].tolist()))) > 1 and not _is_seed(name)]
    for x in varied:
        if x in numeric:
            other_parameters = [name for name in varied if name != x]
            groups = _groups(columns, other_parameters)
            for y in numeric:
                if y not in parameters:
                    curves = {label: _curve(columns[x], columns[y], rows) for label, rows in groups.items()}
                    title = f"{y} against {x}: mean, and from the smallest to the largest"
                    logs = spans_a_decade(columns[x]), spans_a_decade(columns[y])
                    yield plot(title, x, y, curves, log_x=logs[0], log_y=logs[1])


def _is_seed(name: str) -> bool:
    """Return whether a parameter is a seed, by its name: plots average over seeds."""
    return bool(re.search(r"(^|[._])(rng|seeds?|batch_keys?)$", name))


def _groups(columns: dict[str, AnyArray], parameters: list[str]) -> dict[str, AnyArray]:
    """Return masks of the members with equal `parameters`, by label; one mask of all members if there are too many groups."""
    n = len(next(iter(columns.values())))
    labels = [
        ", ".join(f"{name} = {columns[name].tolist()[i]}" for name in parameters) or "all members" for i in range(n)
    ]
    if len(set(labels)) > _MOST_CURVES:
        labels = [f"all of {', '.join(parameters)}"] * n
    return {
        label: np.array([label_of_member == label for label_of_member in labels]) for label in dict.fromkeys(labels)
    }


def _curve(x: AnyArray, y: AnyArray, rows: AnyArray) -> Curve:
    """Return mean, smallest and largest of the finite values at each x."""
    finite = rows & np.isfinite(x.astype(float)) & np.isfinite(y.astype(float))
    places = np.unique(x[finite])
    values = [y[finite & (x == place)].astype(float) for place in places]
    return Curve(places.astype(float), *(np.array([f(v) for v in values]) for f in (np.mean, np.min, np.max)))
