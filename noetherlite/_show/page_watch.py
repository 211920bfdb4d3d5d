"""The page of a watch: findings, every law with its verdict, and the coverage of the laws."""

from __future__ import annotations

import html
from collections.abc import Iterable

from .._tensors.finding import Finding
from .._tensors.watch import Watch
from .page_tables import table


def heading(watch: Watch) -> str:
    """Return the default title of the page."""
    return f"Watch of {len(watch.laws)} laws of {len(watch.names)} tensors"


def body(watch: Watch) -> Iterable[str]:
    """Return the parts of the page."""
    n = len(watch.broken)
    state = f"{n} law{'s' * (n != 1)} broken" if n else "none broken" if watch.n_checked else "nothing checked"
    yield f'<p class="lead">{watch.n_checked:,} of {watch.n_calls:,} steps checked; {state}.</p>'
    if watch.problem:
        yield f"<p>{html.escape(watch.problem)}</p>"
    if watch.findings:
        yield f"<h2>Findings</h2><ul>{''.join(map(_item, watch.findings))}</ul>"
    yield "<h2>Laws</h2>"
    yield '<p class="note">The largest defect of all steps, relative to the largest terms that the law had until then, and what round-off allows of these.</p>'
    yield table(
        ["law", "verdict", "of its terms", "allowed", "group", "identity"],
        [
            (name, verdict, worst, allowed, law.group, f"{law.formula} = 0")
            for name, law, worst, allowed, verdict in watch.judged()
        ],
    )
    yield "<h2>What no law sees</h2>"
    coverage = watch.coverage
    rows = [("locked together", ", ".join(group)) for group in coverage.groups]
    rows += [("locked to no other", ", ".join(coverage.free))] if coverage.free else []
    yield table([], rows, "facts")
    unseen = str(coverage).splitlines()[-1]
    yield f'<p class="note">{html.escape(unseen[:1].upper() + unseen[1:])}.</p>'


def _item(finding: Finding) -> str:
    """Return a finding as a list item."""
    since = "" if finding.step is None else f"since step {finding.step}: "
    sizes = f"{finding.ratio:.4g} of its terms, {finding.tolerance:.2g} allowed"
    text = f"{since}{finding.reason} ({finding.law.name or finding.law.formula}, {finding.subject}: {sizes})"
    return f"<li>{html.escape(text)}</li>"
