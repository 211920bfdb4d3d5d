"""Reports: one self-contained HTML page of a run, an ensemble, a sweep or a watch, to send and to open from disk."""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Iterable
from pathlib import Path

from .._base import checks
from .._base.floating import underflowing
from .._base.html import Page
from .._base.versions import version
from .._run.trajectory import Trajectory, load
from .._sweep.result import Sweep
from .._sweep.sweep import load_sweep
from .._tensors.watch import Watch
from . import page_run, page_sweep, page_watch
from .page_style import SCRIPT, STYLE


@underflowing
def report(what: Trajectory | Sweep | Watch | str | os.PathLike[str], title: str | None = None) -> str:
    """Return a report as one HTML page, which needs no other file and no network.

    Parameters
    ----------
    what : Trajectory, Sweep, Watch or path-like
        A run or an ensemble, or the file it was saved to; a sweep, or its folder; a watch of any model.
    title : str, optional
        Heading; by default algorithm and problem of a run, or the function of a sweep.

    Returns
    -------
    str
        The page: specification, each law with its verdict, residuals and formulas (the algorithm's
        exact one and the continuous one) and what was not tested, plots with the values under the pointer,
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
    if title is not None:
        checks.instance(title, "title", str, "a string")
    if isinstance(what, str | os.PathLike):
        path = Path(what)
        what = load_sweep(path) if path.is_dir() else load(path)
    if isinstance(what, Sweep):
        return _page(title or f"Sweep of {what.specification.get('function', 'a function')}", page_sweep.body(what))
    if isinstance(what, Watch):
        return _page(title or page_watch.heading(what), page_watch.body(what))
    if not isinstance(what, Trajectory):
        raise TypeError(f"what must be a Trajectory, a Sweep, a Watch or a path to one, got {checks.describe(what)}")
    return _page(title or page_run.heading(what), page_run.body(what))


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
