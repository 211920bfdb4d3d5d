"""The command line: one verb a capability, exit code 0, 1 (failed) or 2 (wrong arguments), errors in one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from .version import version, versions

_EPILOG = """examples:
  noetherlite figure 1 --out out       GU's Figure 1: norms move, laws hold
  noetherlite figures --out out        all six figures, as PNG, PDF and JSON
  noetherlite tables --format latex    the paper's five tables of dynamics and laws
  noetherlite warmup                   compile now what the first run would else wait for
  noetherlite info                     versions, threads, where data are looked for
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with `arguments` (by default the program's own) and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        result: int = options.run(options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"noetherlite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("noetherlite: interrupted", file=sys.stderr)
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="noetherlite",
        description="Conserved quantities of neural-network training, to round-off.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"noetherlite {version()}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    one = verbs.add_parser("figure", help="draw one of the paper's figures")
    one.add_argument("number", type=int, choices=range(1, 7), help="1 to 6")
    every = verbs.add_parser("figures", help="draw all six figures")
    for verb in (one, every):
        verb.add_argument("--out", default="out", metavar="DIR", help="folder for PNG, PDF and JSON (default: out)")
        verb.add_argument("--json", action="store_true", help="print what was written as JSON")
        verb.add_argument("--no-progress", action="store_true", help="no progress bar")
    one.add_argument("--samples", type=int, dest="n_samples", help="training images (figures 1 and 2)")
    one.add_argument("--steps", type=int, help="steps per algorithm (figures 1 and 2)")
    one.add_argument("--lr", type=float, help="learning rate (figures 1 and 2)")
    one.add_argument("--seed", type=int, dest="rng", help="seed of images and initial parameters (figures 1 and 2)")
    one.set_defaults(run=_figure)
    every.set_defaults(run=_figures)

    tables = verbs.add_parser("tables", help="print the paper's Tables 1 to 5 of dynamics and laws")
    tables.add_argument("--format", choices=("text", "latex", "markdown"), default="text", help="default: text")
    tables.set_defaults(run=_tables)

    warmup = verbs.add_parser("warmup", help="compile everything that a run may need and keep it on disk")
    warmup.add_argument("--json", action="store_true", help="print as JSON")
    warmup.set_defaults(run=_warmup)

    info = verbs.add_parser("info", help="show versions, threads, caches and data")
    info.add_argument("--json", action="store_true", help="print as JSON")
    info.set_defaults(run=_info)
    return parser


def _figure(options: argparse.Namespace) -> int:
    chosen = {name: getattr(options, name) for name in ("n_samples", "steps", "lr", "rng")}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if options.number > 2 and chosen:
        print(f"noetherlite: figure {options.number} takes none of --samples, --steps, --lr, --seed", file=sys.stderr)
        return 2
    return _draw([options.number], options, chosen)


def _figures(options: argparse.Namespace) -> int:
    return _draw(range(1, 7), options, {})


def _draw(numbers: Sequence[int], options: argparse.Namespace, chosen: dict[str, Any]) -> int:
    from . import figures

    report = []
    for number in numbers:
        training = {"progress": not options.no_progress, **chosen} if number <= 2 else {}
        drawn = figures.save(number, options.out, **training)
        stem = f"{options.out}/figure{number}"
        report.append({"figure": number, "files": [f"{stem}.{suffix}" for suffix in ("png", "pdf", "json")]})
        if "dataset" in drawn:
            report[-1]["dataset"] = drawn["dataset"]
        if not options.json:
            data = f" on {drawn['dataset']}, {drawn['n_samples']} samples" if "dataset" in drawn else ""
            print(f"figure {number}{data}: {stem}.png, .pdf, .json", flush=True)
            for name, run in drawn["runs"].items() if "dataset" in drawn else ():
                print(
                    f"  {name:8} loss {run['loss'][0]:.3g} → {run['loss'][-1]:.3g}, exact discrete law "
                    f"to {run['discrete_residual']:.1e}"
                )
    if options.json:
        print(json.dumps(report))
    return 0


def _tables(options: argparse.Namespace) -> int:
    from .formulas import tables

    print(tables(options.format))
    return 0


def _warmup(options: argparse.Namespace) -> int:
    from . import warmup

    steps = []
    for step in warmup.warmup():
        steps.append(step._asdict())
        how = f"{step.compiled} functions compiled" if step.compiled else "found on disk"
        if not options.json:
            print(f"{step.what}: {step.seconds:.1f} s, {how}", flush=True)
    where = warmup.folder()
    if options.json:
        print(json.dumps({"steps": steps, "folder": where}))
    else:
        print(
            f"kept in {where}" if where else "not kept: there is no folder to write to, and every start compiles again"
        )
    return 0


def _info(options: argparse.Namespace) -> int:
    from . import datasets

    found = {}
    for split in ("train", "test"):
        try:
            datasets.kmnist(n=1, split=split)
            found[split] = "found"
        except FileNotFoundError:
            found[split] = "not found"
        except ValueError as error:
            found[split] = str(error)
    report: dict[str, Any] = {
        "versions": versions(),
        "cores": os.cpu_count(),
        "compiled code": os.environ.get("NUMBA_CACHE_DIR") or "beside the package, else in the user's cache folder",
        "Kuzushiji-MNIST": found,
    }
    if options.json:
        print(json.dumps(report))
        return 0
    for key, value in report.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key}: {shown}")
    return 0
