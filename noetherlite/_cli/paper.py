"""The verbs of the paper: figure, figures, tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from . import say


def add(verbs: Any) -> None:
    """Add the verbs."""
    one = say.verb(
        verbs,
        "figure",
        _figure,
        help="draw one of the paper's figures",
        examples="1 --out out\n2 --steps 100 --seed 3 --out out\n5 --json",
    )
    one.add_argument("number", type=int, choices=range(1, 7), help="1 to 6")
    draw_all = partial(_draw, range(1, 7), settings={})
    every = say.verb(verbs, "figures", draw_all, help="draw all six figures", examples="--out out")
    for parser in (one, every):
        parser.add_argument(
            "--out", type=say.folder, default="out", metavar="DIR", help="folder for PNG, PDF and JSON (default: out)"
        )
        parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    one.add_argument("--samples", type=say.at_least(1), dest="n_samples", help="training images (figures 1 and 2)")
    one.add_argument(
        "--steps",
        type=say.at_least(1),
        help="steps of gradient descent; the others reach the same time (figures 1 and 2)",
    )
    one.add_argument("--lr", type=say.positive, help="learning rate (figures 1 and 2)")
    one.add_argument(
        "--seed", type=say.at_least(0), dest="rng", help="seed of images and initial parameters (figures 1 and 2)"
    )
    tables = say.verb(
        verbs,
        "tables",
        _tables,
        help="print the paper's Tables 1 to 5 of dynamics and laws",
        examples="\n--format latex\n--format markdown",
    )
    tables.add_argument("--format", choices=("text", "latex", "markdown"), default="text", help="default: text")


def _figure(options: argparse.Namespace) -> int:
    settings = {name: getattr(options, name) for name in ("n_samples", "steps", "lr", "rng")}
    settings = {name: value for name, value in settings.items() if value is not None}
    if options.number > 2 and settings:
        raise say.UsageError(f"figure {options.number} takes none of --samples, --steps, --lr, --seed")
    return _draw([options.number], options, settings)


def _draw(numbers: Sequence[int], options: argparse.Namespace, settings: dict[str, Any]) -> int:
    from .._show import figures

    report, code = [], say.FINE
    for number in numbers:
        training = {"progress": not options.no_progress, **settings} if number <= 2 else {}
        drawn = figures.save(number, options.out, **training)
        stem = f"{options.out}/figure{number}"
        report.append({"figure": number, "files": [f"{stem}.{suffix}" for suffix in ("png", "pdf", "json")]})
        if "dataset" in drawn:
            report[-1]["dataset"] = drawn["dataset"]
            if any(run["status"] == "diverged" for run in drawn["runs"].values()):
                code = say.BROKEN
        if not options.json:
            data = f" on {drawn['dataset']}, {drawn['n_samples']} samples" if "dataset" in drawn else ""
            print(f"figure {number}{data}: {stem}.png, .pdf, .json", flush=True)
            for name, run in drawn["runs"].items() if "dataset" in drawn else ():
                print(
                    f"  {name:8} loss {run['loss'][0]:.3g} → {run['loss'][-1]:.3g}, exact discrete law "
                    f"to {run['discrete_residual']:.1e}"
                )
    if options.json:
        say.answer(report)
    return code


def _tables(options: argparse.Namespace) -> int:
    from .._symmetry.formulas import tables

    text = tables(options.format)
    say.result(options, {"format": options.format, "tables": text.split("\n\n")}, text)
    return say.FINE
