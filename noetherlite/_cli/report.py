"""The verb report: one page of a run, an ensemble or a sweep."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from .._base.files import write_text
from . import say


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "report",
        _report,
        help="write one self-contained page of a run, an ensemble or a sweep",
        examples="out/gradient_descent.npz --json\nresults -o sweep.html --title 'Learning rates'\nout/gradient_descent.npz -o - | wc -c",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a trajectory (.npz), or the folder of a sweep")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PAGE.html", help="where (default: FILE.html; - is standard output)"
    )
    parser.add_argument("--title", help="heading of the page")


def _report(options: argparse.Namespace) -> int:
    from .._show.page import report

    if options.json and str(options.output) == "-":
        raise say.UsageError("-o - writes the page to standard output, where --json would answer: give one of the two")
    page = report(options.file, options.title)
    target = options.output or options.file.with_name(f"{_stem(options.file)}.html")
    if _is_standard_output(target):
        say.send(page)
        return say.FINE
    write_text(target, page)
    say.result(options, {"files": [str(target)], "bytes": len(page.encode())}, f"wrote {target}")
    return say.FINE


def _stem(file: Path) -> str:
    """Return the stem of the page's name: a file name without its suffix, a folder name unchanged."""
    return (file.resolve().name or "report") if file.is_dir() else file.stem


def _is_standard_output(target: Path) -> bool:
    """Return whether `target` is standard output: "-", or the file that it is redirected to."""
    if str(target) == "-":
        return True
    try:
        return os.path.samestat(target.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError, AttributeError):  # there is no such file, or no standard output
        return False
