"""Reports: one self-contained HTML page of a run, an ensemble or a sweep, to send and to open from disk."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _validate
from ._html import Page
from ._page_plots import plot
from ._page_style import SCRIPT, STYLE
from ._types import Float64Array
from .algorithms import Algorithm, specified
from .formulas import law as law_of
from .laws import LawRecord
from .network import Network
from .sweep import Sweep, load_sweep
from .symmetries import catalogue
from .trajectory import Trajectory, load
from .version import version

_ROUNDINGS = 8  # of the largest number in the law, a step: what its exact residual may be


def report(what: Trajectory | Sweep | str | os.PathLike[str], title: str | None = None) -> str:
    """Return a report as one HTML page, which needs no other file and no network.

    Parameters
    ----------
    what : Trajectory, Sweep or path-like
        A run or an ensemble, or the file it was saved to; a sweep, or its folder.
    title : str, optional
        Heading; by default what it is of.

    Returns
    -------
    str
        The page: specification, each law with its formula, residual and verdict, plots with the values under the pointer,
        versions, and the code that repeats it. Text from files is escaped, and a content security policy lets nothing but
        the page's own script run.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file or folder is not there, or is damaged.
    TypeError
        If `what` is something else.

    Examples
    --------
    >>> import noetherlite as nl
    >>> run = nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.4, 0.1], steps=20)
    >>> page = nl.report(run)
    >>> page.startswith("<!doctype html>"), "http-equiv" in page
    (True, True)
    """
    if isinstance(what, str | os.PathLike):
        path = Path(what)
        what = load_sweep(path) if path.is_dir() else load(path)
    if isinstance(what, Sweep):
        return _page(title or f"Sweep of {what.specification.get('function', 'a function')}", _sweep(what))
    if not isinstance(what, Trajectory):
        raise TypeError(f"what must be a Trajectory, a Sweep or a path to one, got {_validate.describe(what)}")
    return _page(title or _heading(what), _run(what))


def _page(title: str, body: Iterable[str]) -> Page:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return Page.of(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title><style>{STYLE}</style></head><body>',
            f"<h1>{html.escape(title)}</h1>",
            *body,
            f'<p class="note">noetherlite {html.escape(version())}</p><script>{SCRIPT}</script></body></html>\n',
        ]
    )


# --- runs and ensembles ---


def _heading(run: Trajectory) -> str:
    named = _named(run)
    many = f", {len(run.members)} networks" if run.members else ""
    return f"{named['name'] if named else 'Run'} on {_problem(run)}{many}"


def _problem(run: Trajectory) -> str:
    potential = run.specification.get("potential", {})
    if potential.get("kind") != "network":
        return f"{potential.get('kind', 'a potential')} in {potential.get('n_params', '?')} dimensions"
    widths = "–".join(map(str, potential["network"]["widths"]))
    return f"{widths}, {potential.get('dataset') or 'data'} ({potential.get('n_samples', '?')} samples)"


def _named(run: Trajectory) -> dict[str, Any] | None:
    """Return the specification of the algorithm, of the first network in an ensemble."""
    found = run.specification.get("algorithm")
    return found[0] if isinstance(found, list) else found


def _algorithm(run: Trajectory) -> Algorithm | None:
    try:
        return specified(_named(run) or {})
    except (KeyError, ValueError, TypeError):  # of a later version, or of nobody's
        return None


def _run(run: Trajectory) -> Iterable[str]:
    algorithm = _algorithm(run)
    loss = np.atleast_2d(run.loss)
    yield f'<p class="lead">{html.escape(run.message)}; loss {_span(loss[:, 0])} → {_span(_last(loss))}; {run.n_gradients:,} gradients.</p>'
    if run.laws:
        yield "<h2>Laws</h2>"
        yield _laws(run, algorithm)
    yield '<h2>Plots</h2><div class="plots">'
    yield plot("Loss", "t", "loss", _curves(run, run.loss), logarithmic=bool((run.loss > 0).all()))
    if not np.array_equal(run.energy, run.loss, equal_nan=True):
        yield plot("Energy", "t", "energy", _curves(run, run.energy), logarithmic=False)
    for name, law in run.laws.items():
        yield plot(f"{name}: largest residuals", "t", "|residual|", _residuals(run, law), logarithmic=True)
    yield "</div>"
    if run.members:
        yield "<h2>Networks</h2>"
        yield _table(
            ["network", "status", "loss at the end", "gradients"],
            [(e, m.message, _last(loss)[e], m.n_gradients) for e, m in enumerate(run.members)],
        )
    yield "<h2>Specification</h2>"
    yield _table([], _flat(run.specification))
    yield "<h2>Again</h2>"
    yield f"<pre>{html.escape(_code(run))}</pre>"


def _laws(run: Trajectory, algorithm: Algorithm | None) -> str:
    rows = []
    for name, law in run.laws.items():
        rows.append((name, _formula(run, name, algorithm), law.largest("residual"), *_verdict(run, law)))
    told = "The residual is the defect of the continuous law, at the records; "
    if algorithm is not None:
        told += f"it shrinks with the time per step to the power {algorithm.order} at a fixed final time"
        told += " where there is no weight decay. " if algorithm.weight_decay else ". "
    told += (
        "The exact residual is the defect of the algorithm's own discrete law, round-off and nothing else whatever the step: the law "
        f"holds where it is below {_ROUNDINGS} roundings a step of the largest number in it, or of 1. One above tells of a wrong gradient."
    )
    head = ["law", "formula", "max |residual|", "max |exact residual|", "bound", "verdict"]
    return _table(head, rows) + f'<p class="note">{html.escape(told)}</p>'


def _verdict(run: Trajectory, law: LawRecord) -> tuple[float, float, str]:
    """Return the exact residual, its bound, and what follows."""
    sizes = [law.largest(name) for name in ("quantity", "charge", "source_integral")]
    largest = float(np.nanmax([*sizes, np.finfo(float).tiny]))
    dtype = run.specification.get("arguments", {}).get("dtype", "float64")
    eps = float(np.finfo("float32" if dtype == "float32" else "float64").eps)
    bound = _ROUNDINGS * eps * max(1, int(run.step.max(initial=1))) * max(largest, 1.0)
    exact = law.largest("discrete_residual")
    return exact, bound, "holds" if exact <= bound else "broken"


def _formula(run: Trajectory, name: str, algorithm: Algorithm | None) -> str:
    """Return the law's formula for this network, '' for a symmetry of one's own."""
    spec = run.specification.get("potential", {}).get("network")
    if algorithm is None or spec is None:
        return ""
    try:
        found = {s.name: s for s in catalogue(Network(**spec))}
        return law_of(found[name], algorithm.dynamics).formula()
    except (KeyError, ValueError, TypeError):
        return ""


def _curves(run: Trajectory, values: Float64Array) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Return the curve of a run, or median and extremes of an ensemble's."""
    if not run.members:
        return {"run": (run.t, values)}
    kept = np.isfinite(values).any(axis=0)
    t, shown = run.t[0, kept], values[:, kept]
    equal = bool((run.t == run.t[0]).all())
    x = t if equal else run.step[0, kept].astype(float)
    return {
        "median": (x, np.nanmedian(shown, axis=0)),
        "smallest": (x, np.nanmin(shown, axis=0)),
        "largest": (x, np.nanmax(shown, axis=0)),
    }


def _residuals(run: Trajectory, law: LawRecord) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Return the largest residuals over components, and networks, against time."""
    t = run.t[0] if run.members else run.t
    out = {}
    for label, values in (("continuous law", law.residual), ("exact discrete law", law.discrete_residual)):
        sizes = np.abs(values).reshape(*law.t.shape, -1)
        sizes = np.where(np.isnan(sizes), -np.inf, sizes).max(axis=-1)
        sizes = sizes.max(axis=0) if run.members else sizes
        out[label] = (t, np.where(np.isfinite(sizes), sizes, np.nan))
    return out


def _last(loss: Float64Array) -> Float64Array:
    """Return the last finite loss of each network."""
    return np.array([row[np.isfinite(row)][-1] if np.isfinite(row).any() else np.nan for row in loss])


def _span(values: Float64Array) -> str:
    return " … ".join(dict.fromkeys(f"{v:.4g}" for v in (np.nanmin(values), np.nanmax(values))))


def _code(run: Trajectory) -> str:
    """Return what repeats the run: the command it came from, or the calls as far as the file tells."""
    specification = run.specification
    if "command" in specification:
        return f"$ {specification['command']}\n\n{specification.get('configuration', '')}"
    arguments = dict(specification.get("arguments", {}))
    potential = specification.get("potential", {})
    lines = ["import noetherlite as nl", ""]
    if potential.get("kind") == "network":
        spec = dict(potential["network"])
        rest = ", ".join(f"{key}={value!r}" for key, value in spec.items() if key != "widths")
        lines += [f"net = nl.Network({spec['widths']}, {rest})"]
        lines += [
            f"U = net.potential(data)  # {potential.get('dataset') or 'data'}, {potential.get('n_samples')} samples"
        ]
    else:
        lines += [f"U = …  # {potential}"]
    algorithm = _named(run) or {"name": "…"}
    settings = ", ".join(f"{key}={value!r}" for key, value in algorithm.items() if key != "name")
    chosen = ", ".join(
        f"{key}={arguments[key]!r}"
        for key in ("steps", "record_every", "t0", "laws", "batch_size", "dtype")
        if arguments.get(key) not in (None, 0.0)
    )
    call = f"nl.ensemble(U, algorithm, X0, {chosen})" if run.members else f"nl.integrate(U, algorithm, x0, {chosen})"
    lines += [f"algorithm = nl.{algorithm['name']}({settings})", f"run = {call}"]
    keys = {key: arguments[key] for key in ("batch_key", "batch_keys") if arguments.get(key) is not None}
    lines += [f"# the stream of minibatches: {key} {_validate.describe(value)}" for key, value in keys.items()]
    return "\n".join(lines)


# --- sweeps ---


def _sweep(runs: Sweep) -> Iterable[str]:
    yield f'<p class="lead">{html.escape(runs.message)}</p>'
    columns = runs.table()
    yield "<h2>Members</h2>"
    yield _table(["member", *columns], zip(range(len(runs)), *(c.tolist() for c in columns.values()), strict=True))
    if runs.failures:
        yield "<h2>Failures</h2>"
        yield _table(
            ["member", "parameters", "error"], [(m.index, json.dumps(m.parameters), m.error) for m in runs.failures]
        )
    varied = [n for n in runs.members[0].parameters if n in columns and columns[n].dtype.kind in "if"]
    measured = [n for n in columns if n not in runs.members[0].parameters and columns[n].dtype.kind in "if"]
    if varied and measured:
        yield '<h2>Plots</h2><div class="plots">'
        for name in varied:
            order = np.argsort(columns[name], kind="stable")
            x = columns[name][order].astype(float)
            for result in measured:
                yield plot(f"{result} against {name}", name, result, {result: (x, columns[result][order])}, False)
        yield "</div>"
    yield "<h2>Specification</h2>"
    yield _table([], _flat(runs.specification))


# --- tables ---


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>"] if head else []
    lines += [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _cell(content: object) -> str:
    if isinstance(content, bool) or not isinstance(content, int | float):
        text = html.escape(str(content))
        kind = text if text in ("holds", "broken") else "formula" if " = " in text else ""
        return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"
    text = f"{content:,}" if isinstance(content, int) else f"{content:.4g}"
    return f'<td class="number">{text}</td>'


def _flat(specification: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of a specification as rows."""
    rows = []
    for key, value in specification.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif value is not None and key != "configuration":
            text = json.dumps(value, ensure_ascii=False, default=str)
            rows.append((prefix + key, text if len(text) <= 400 else f"{text[:397]}…"))
    return rows
