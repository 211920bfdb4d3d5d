"""The page of a run or an ensemble: laws and their verdicts, plots, specification, and the code that repeats it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._run.trajectory import Trajectory
from .._symmetry.discrete import exact_law, legend
from .._symmetry.family import Family
from .._symmetry.formulas import law as law_of
from .._symmetry.records import LawRecord
from . import page_observed
from .made_of import algorithm_entry, algorithm_of, symmetries_of
from .page_plots import Curve, plot
from .page_tables import flat, span, table


def heading(run: Trajectory) -> str:
    """Return the default title of the page: algorithm and problem."""
    algorithm = algorithm_entry(run)
    networks = f", {len(run.members)} networks" if run.members else ""
    return f"{algorithm['name'] if algorithm else 'Run'} on {_describe_problem(run)}{networks}"


def _describe_problem(run: Trajectory) -> str:
    potential = run.specification.get("potential", {})
    if potential.get("kind") != "network":
        return f"{potential.get('kind', 'a potential')} in {potential.get('n_params', '?')} dimensions"
    widths = "–".join(map(str, potential["network"]["widths"]))
    return f"{widths}, {potential.get('dataset') or 'data'} ({potential.get('n_samples', '?')} samples)"


def body(run: Trajectory) -> Iterable[str]:
    """Return the parts of the page."""
    algorithm = algorithm_of(run)
    loss = np.atleast_2d(run.loss)
    recorded = np.isfinite(loss).any()
    course = f"loss {span(loss[:, 0])} → {span(_last_losses(loss))}" if recorded else "no loss was recorded"
    yield f'<p class="lead">{html.escape(run.message)}; {course}; {run.n_gradients:,} gradients.</p>'
    yield "<h2>Laws</h2>"
    yield _law_table(run, algorithm) if run.laws else "<p>None was watched: nothing was checked.</p>"
    if run.observed:
        yield f"<h2>Observed</h2>{page_observed.ends(run)}"
    yield '<h2>Plots</h2><div class="plots">'
    yield plot("Loss", page_observed.time_label(run), "loss", _curves(run, run.loss), log_y=bool((run.loss > 0).all()))
    if not np.array_equal(run.energy, run.loss, equal_nan=True):
        yield plot("Energy", page_observed.time_label(run), "energy", _curves(run, run.energy))
    yield from page_observed.plots(run, algorithm)
    for name, law in run.laws.items():
        yield plot(f"{name}: largest residuals", "t", "|residual|", _residuals(run, law), log_y=True)
    yield "</div>"
    if run.members:
        yield "<h2>Networks</h2>"
        yield table(
            ["network", "status", "loss at the end", "gradients"],
            [(e, m.message, _last_losses(loss)[e], m.n_gradients) for e, m in enumerate(run.members)],
        )
    yield "<h2>Specification</h2>"
    yield table([], flat(run.specification), "facts")
    yield "<h2>Again</h2>"
    yield f"<pre>{html.escape(_code(run))}</pre>"


def _law_table(run: Trajectory, algorithm: Algorithm | None) -> str:
    """Return the table of laws and their verdicts, with notes on what was not tested."""
    rows: list[tuple[object, ...]] = []
    families = symmetries_of(run)
    for name, law in run.laws.items():
        exact, allowed = _worst_residual(law)
        rows.append((name, law.verdict, exact, allowed, law.largest("residual")))
        formulas = _formulas(law, families, algorithm)
        if formulas:
            rows.append((formulas,))
    head = ["law", "verdict", "max |exact residual|", "round-off allows", "max |residual|"]
    notes = [*_explanations(run, algorithm), *_untested_notes(run, families)]
    return table(head, rows) + "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)


def _worst_residual(law: LawRecord) -> tuple[float, float | str]:
    """Return the exact residual that is furthest beyond its tolerance, or nearest to it, and that tolerance."""
    size, allowed = np.abs(law.discrete_residual), law.tolerance
    tested = np.isfinite(size) & np.isfinite(allowed)
    if not tested.any():
        return law.largest("discrete_residual"), "not tested"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(tested, np.where(size > 0, size / allowed, 0.0), -1.0)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    return float(size[at]), float(allowed[at])


def _formulas(law: LawRecord, families: Mapping[str, Family], algorithm: Algorithm | None) -> str:
    """Return the formulas of the exact discrete and the continuous law; '' if the algorithm is not known."""
    if algorithm is None:
        return ""
    has_quantity = bool(np.isfinite(law.quantity).any())
    lines = [f"exact: {exact_law(law.name, algorithm, has_quantity)}"]
    if law.name in families:  # a user-defined symmetry has no entry
        lines.append(f"continuous: {law_of(families[law.name], algorithm.dynamics).formula()}")
    return "\n".join(lines)


def _explanations(run: Trajectory, algorithm: Algorithm | None) -> list[str]:
    notes = [
        "The exact residual is the defect of the algorithm's own discrete law, summed over all steps: round-off and nothing "
        "else, at any step size. It is shown where it is largest in units of what round-off allows, and the verdict follows "
        "from it alone. A law is not decidable where a wrong gradient would not have been seen either."
    ]
    continuous = "The residual is the defect of the continuous law at the records"
    if algorithm is None:
        return [*notes, f"{continuous}."]
    weight = algorithm.dynamics.law_weight(run.t)
    if (weight != 1).any():
        continuous += f". It carries the factor μ(t), which is {span(weight)} here"
    decay = " where there is no weight decay" if algorithm.weight_decay else ""
    shrinks = f". It shrinks with the time per step to the power {algorithm.order} at a fixed final time{decay}."
    return [*notes, legend(algorithm), continuous + shrinks]


def _untested_notes(run: Trajectory, families: Mapping[str, Family]) -> list[str]:
    """Return notes on what the verdicts do not cover."""
    notes = [
        "Not checked: what no symmetry reaches. A gradient can keep every law and be wrong; nl.testing.assert_gradient compares "
        "all of it."
    ]
    absent = [name for name in families if name not in run.laws]
    if absent:
        notes.append(f"Not watched in this run: {', '.join(absent)}.")
    return notes


def _curves(run: Trajectory, values: Float64Array) -> dict[str, Curve]:
    """Return the curve of a run, or median and extremes of an ensemble's."""
    return page_observed.extremes(run, values) if run.members else {"run": Curve(run.t, values)}


def _residuals(run: Trajectory, law: LawRecord) -> dict[str, Curve]:
    """Return the largest residuals over components, and networks, against time."""
    t = run.t[0] if run.members else run.t
    curves = {}
    for label, values in (("continuous law", law.residual), ("exact discrete law", law.discrete_residual)):
        sizes = np.where(np.isnan(values), -np.inf, np.abs(values)).max(axis=tuple(range(law.t.ndim, values.ndim)))
        sizes = sizes.max(axis=0) if run.members else sizes
        curves[label] = Curve(t, np.where(np.isfinite(sizes), sizes, np.nan))
    return curves


def _last_losses(loss: Float64Array) -> Float64Array:
    """Return the last finite loss of each network."""
    return np.array([row[np.isfinite(row)][-1] if np.isfinite(row).any() else np.nan for row in loss])


def _code(run: Trajectory) -> str:
    """Return the code that repeats the run: its command, or Python calls made from the specification."""
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
        data = f"{potential.get('dataset') or 'data'}, {potential.get('n_samples')} samples"
        lines += [f"U = net.potential(data)  # {data}"]
    else:
        lines += [f"U = …  # {potential}"]
    algorithm = algorithm_entry(run) or {"name": "…"}
    settings = ", ".join(f"{key}={value!r}" for key, value in algorithm.items() if key != "name")
    arguments_text = ", ".join(
        f"{key}={arguments[key]!r}"
        for key in ("steps", "record_every", "t0", "laws", "batch_size", "dtype")
        if arguments.get(key) not in (None, 0.0)
    )
    call = "ensemble(U, algorithm, X0" if run.members else "integrate(U, algorithm, x0"
    lines += [f"algorithm = nl.{algorithm['name']}({settings})", f"run = nl.{call}, {arguments_text})"]
    keys = {key: arguments[key] for key in ("batch_key", "batch_keys") if arguments.get(key) is not None}
    lines += [f"# minibatches and noise: {key} {checks.describe(value)}" for key, value in keys.items()]
    return "\n".join(lines)
