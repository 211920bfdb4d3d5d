"""The page of a watch: every law with its verdict, what was found, and what no law sees."""

from __future__ import annotations

import html
from collections.abc import Iterable

from .._tensors.watch import Watch
from .page_tables import table


def heading(watch: Watch) -> str:
    """Return what the page is of, for its title."""
    return f"Watch of {len(watch.laws)} laws of {len(watch.names)} tensors"


def body(watch: Watch) -> Iterable[str]:
    """Return the parts of the page."""
    state = (
        f"{len(watch.broken)} laws broken" if watch.broken else "none broken" if watch.n_checked else "nothing checked"
    )
    yield f'<p class="lead">{watch.n_checked:,} of {watch.n_calls:,} steps checked; {state}.</p>'
    if watch.problem:
        yield f"<p>{html.escape(watch.problem)}</p>"
    if watch.findings:
        yield "<h2>Findings</h2>"
        yield table(
            ["since step", "law", "in the", "of its terms", "allowed", "what looks like that"],
            [
                (
                    "" if f.step is None else f.step,
                    f.law.name or f.law.formula,
                    f.subject,
                    f.ratio,
                    f.tolerance,
                    f.reason,
                )
                for f in watch.findings
            ],
            "facts",
        )
    yield "<h2>Laws</h2>"
    yield '<p class="note">The largest defect of all steps relative to its terms, and what round-off allows.</p>'
    yield table(
        ["law", "verdict", "of its terms", "allowed", "group", "identity"],
        [
            (name, _verdict(watch, worst, allowed), worst, allowed, law.group, f"{law.formula} = 0")
            for name, law, worst, allowed in watch.rows()
        ],
    )
    yield "<h2>What no law sees</h2>"
    seen = watch.coverage
    rows = [("locked together", ", ".join(group)) for group in seen.groups]
    rows += [("locked to no other", ", ".join(seen.free))] if seen.free else []
    yield table([], rows, "facts")
    yield f'<p class="note">{html.escape(str(seen).splitlines()[-1])}.</p>'


def _verdict(watch: Watch, worst: float, allowed: float) -> str:
    return "not decidable" if not watch.n_checked else "broken" if worst > allowed else "holds"
