"""The verb report: one page of a run, an ensemble or a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .._files import replacing
from . import say


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "report",
        _report,
        help="write one self-contained page of a run, an ensemble or a sweep",
        examples="out/gradient_descent.npz --json\nresults -o sweep.html --title 'Learning rates'",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a trajectory (.npz), or the folder of a sweep")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE.html", help="where (default: FILE.html)")
    parser.add_argument("--title", help="heading of the page")


def _report(options: argparse.Namespace) -> int:
    from .._page import report

    page = report(options.file, options.title)
    target = options.output or options.file.with_suffix(".html")
    with replacing(target) as file:
        file.write(page.encode())
    if options.json:
        say.answer({"files": [str(target)], "bytes": len(page.encode())})
    else:
        print(f"wrote {target}")
    return say.FINE
