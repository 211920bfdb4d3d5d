"""Tables for notebooks: HTML without colours of its own, for light and dark themes."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_LEFT = "text-align: left; padding-right: 1em"


def table(title: str, rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Return an HTML table of text; every cell is escaped, floats are shown with three digits; the first of a row is its label."""
    lines = [f"<tr>{''.join(_cell('th', cell) for cell in head)}</tr>"] if head else []
    for label, *cells in rows:
        lines.append(f"<tr>{_cell('th', label)}{''.join(_cell('td', cell) for cell in cells)}</tr>")
    caption = f'<caption style="caption-side: top; {_LEFT}">{html.escape(title)}</caption>'
    return f"<table>{caption}{''.join(lines)}</table>"


class Page(str):
    """An HTML page as a str, which notebooks render instead of showing the source."""

    @classmethod
    def of(cls, parts: Iterable[str]) -> Page:
        """Return the page made of these parts."""
        return cls("".join(parts))

    def __repr__(self) -> str:
        return f"<a page of HTML, {len(self):,} characters; print(page, file=...) writes it>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self, quote=True)}" style="width: 100%; height: 40em; border: 0"></iframe>'
        )


def _cell(tag: str, content: object) -> str:
    text = f"{content:.3g}" if isinstance(content, float) else str(content)
    return f'<{tag} style="{_LEFT}">{html.escape(text)}</{tag}>'
