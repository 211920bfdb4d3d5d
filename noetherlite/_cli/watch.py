"""The verb watch: compare the files that a run writes with laws, as they appear."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._base.files import write_text
from . import say

if TYPE_CHECKING:
    from .._tensors.folder import Pair
    from .._tensors.watch import Watch

_NOTES = """files are of one step where their names differ by the words params and grads alone, in DIR or its folders:
  params_100.safetensors grads_100.safetensors    step_100/params.npz step_100/grads.npz
A file without these words holds both, as params.NAME and grads.NAME. Gradients are those at these parameters, before clipping
and weight decay. Steps are read in the order of the numbers in their names, each when its files have stopped growing.
Endings are .npz, .safetensors (pip install "noetherlite[safetensors]"), .pt .pth .bin (with PyTorch, weights_only=True).

"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "watch",
        _watch,
        help="hold parameters and gradients that a run writes to files against laws",
        examples="laws.json --from dumps --once --json\nlaws.json --from dumps --poll 0.1 --timeout 1 --summands 4096 --page watch.html",
        notes=_NOTES,
    )
    parser.add_argument("laws", metavar="LAWS.json", type=Path, help="of nl.tensors.dump(nl.scan(…).laws(), …)")
    parser.add_argument("--from", dest="folder", metavar="DIR", type=Path, required=True, help="where files appear")
    parser.add_argument("--once", action="store_true", help="read what is there, and end")
    parser.add_argument("--timeout", type=say.positive, metavar="S", help="end when nothing new came for S seconds")
    parser.add_argument(
        "--poll", type=say.positive, default=1.0, metavar="S", help="seconds between two looks (default: 1)"
    )
    say.precision_flag(parser)
    parser.add_argument(
        "--summands",
        type=say.at_least(1),
        metavar="N",
        help="samples × positions that a gradient sums (default: not known)",
    )
    parser.add_argument("--page", metavar="PAGE.html", type=Path, help="write the report as a page")


def _watch(options: argparse.Namespace) -> int:
    from .. import tensors
    from .._tensors.folder import Folder
    from .._tensors.watch import watch

    if options.once and options.timeout is not None:
        raise say.UsageError("--once ends at once: give no --timeout")
    if options.page is not None and not options.page.absolute().parent.is_dir():
        raise say.UsageError(f"--page {options.page}: there is no such folder")
    monitor = watch(tensors.load(options.laws), precision=options.precision, summands=options.summands)
    folder = Folder(options.folder)
    failed, last = False, time.monotonic()
    try:
        while True:
            new = folder.new(finished=options.once)
            for pair in new:
                failed |= not _check_step(monitor, pair, options)
            if new or folder.growing:
                last = time.monotonic()
            if options.once or (options.timeout is not None and time.monotonic() - last > options.timeout):
                break
            time.sleep(options.poll)
    except KeyboardInterrupt:  # ends a watch without --timeout
        pass
    if not monitor.n_calls and not failed:
        raise ValueError(f"{options.folder} has no files of parameters and gradients; see noetherlite watch --help")
    _report_end(monitor, options)
    return say.BROKEN if monitor.findings else say.FAILED if failed else say.FINE


def _check_step(monitor: Watch, pair: Pair, options: argparse.Namespace) -> bool:
    """Check one step and print the result; return whether it could be checked."""
    problem, findings = "", []
    try:
        findings = monitor.check(*pair.read(monitor.names), step=pair.step)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        problem = str(error)
    broken = [law.name or law.formula for law in monitor.broken]
    answer = {
        "step": pair.step,
        "files": list(dict.fromkeys([str(pair.params), str(pair.grads)])),
        "broken": broken,
        "findings": [str(finding) for finding in findings],
        "problem": problem,
        "ok": not (broken or problem),
    }
    state = f"not checked: {problem}" if problem else f"{len(broken)} laws broken" if broken else "all laws hold"
    say.result(options, answer, "\n".join([f"{pair.label}: {state}", *(f"  → {finding}" for finding in findings)]))
    return not problem


def _report_end(monitor: Watch, options: argparse.Namespace) -> None:
    if options.page is not None:
        from .._show.page import report

        write_text(options.page, report(monitor))
    if not options.json:
        print(monitor.report())
        if options.page is not None:
            print(f"wrote {options.page}")
