"""Tables of report pages."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from .._base.types import Float64Array

VERDICTS = {"holds": "holds", "broken": "broken", "not decidable": "undecided"}  # verdicts and their CSS classes


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """Return a table in a scrolling box, text escaped; a row of one string becomes one cell over all columns.

    `kind` is the class of the table: "facts" for names and texts of any length.
    """
    rows = list(rows)
    numeric = {j for row in rows for j, cell in enumerate(row) if _is_number(cell)}
    labels = "".join(
        f'<th class="{"number" if j in numeric else ""}">{_breakable(cell)}</th>' for j, cell in enumerate(head)
    )
    lines = [f"<tr>{labels}</tr>"] if head else []
    for row in rows:
        if len(row) == 1 < len(head):
            text = "<br>".join(map(html.escape, str(row[0]).splitlines()))
            lines.append(f'<tr><td class="wide" colspan="{len(head)}">{text}</td></tr>')
        else:
            lines.append(f"<tr>{''.join(map(_cell, row))}</tr>")
    return f'<div class="scroll"><table class="{kind}">{"".join(lines)}</table></div>'


def _breakable(label: str) -> str:
    """Return an escaped label that may be broken after its dots, colons and underscores."""
    return re.sub(r"(?<=[.:_])", "<wbr>", html.escape(label, quote=False))


def _is_number(content: object) -> TypeGuard[int | float]:
    return isinstance(content, int | float) and not isinstance(content, bool)


def _cell(content: object) -> str:
    if not _is_number(content):
        text = str(content)
        kind = f' class="{VERDICTS[text]}"' if text in VERDICTS else ""
        return f"<td{kind}>{html.escape(text)}</td>"
    text = f"{content:,}" if isinstance(content, int) else f"{content:.4g}"
    return f'<td class="number">{text}</td>'


def flat(specification: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of a specification as rows."""
    rows = []
    for key, value in specification.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        elif value is not None and key != "configuration":
            text = json.dumps(value, ensure_ascii=False, default=str)
            rows.append((prefix + key, text if len(text) <= 400 else f"{text[:397]}…"))
    return rows


def span(values: Float64Array) -> str:
    """Return the smallest and the largest of values as text, or one where they are written alike."""
    return " … ".join(dict.fromkeys(f"{v:.4g}" for v in (np.nanmin(values), np.nanmax(values))))
