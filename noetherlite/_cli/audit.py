"""The verb audit: compare checkpoints of any framework with the laws."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import say

if TYPE_CHECKING:
    from .._tensors.audit import Audit

_NOTES = """files are
  .npz           arrays by name, never unpickled
  .safetensors   with the package safetensors: pip install "noetherlite[safetensors]"
  .pt .pth .bin  with PyTorch, by torch.load(weights_only=True)
An optimiser's state has averaged gradients by the names of parameters, as NAME, NAME.exp_avg, NAME.momentum_buffer,
exp_avg.NAME and the like, or is a state_dict of an optimiser of PyTorch.

One state shows tensors whose gradient is always zero and axes along which it sums to zero; two states one step apart,
every law. Without --laws, those are looked for that the state shows.

"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "audit",
        _audit,
        help="hold a checkpoint and its optimiser's state against laws",
        examples="weights.npz --optimizer adam.npz\n"
        "weights.npz --optimizer adam.npz --next adam_next.npz --laws laws.json --json\n"
        "weights.npz --laws laws.json --plot charges.png",
        notes=_NOTES,
    )
    parser.add_argument("file", metavar="CHECKPOINT", type=Path, help="the parameters")
    parser.add_argument("--optimizer", metavar="FILE", type=Path, help="the optimiser's state at these parameters")
    parser.add_argument("--next", metavar="FILE", type=Path, help="the optimiser's state after the next step")
    parser.add_argument("--laws", metavar="LAWS.json", type=Path, help="of nl.tensors.dump(nl.scan(…).laws(), …)")
    parser.add_argument("--beta", type=float, default=0.9, help="β of m' = β m + a(∇U + λx) (default: 0.9, as of Adam)")
    parser.add_argument("--weight", type=float, metavar="A", help="a (default: 1 − β, as of Adam; 1 for SGD)")
    parser.add_argument("--decay", type=float, default=0.0, metavar="λ", help="λ (default: 0, as of AdamW and Lion)")
    say.precision_flag(parser)
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw where the quantities stand")


def _audit(options: argparse.Namespace) -> int:
    from .. import tensors

    if options.optimizer is None and options.laws is None:
        raise say.UsageError("--optimizer or --laws is needed: parameters alone do not say what is conserved")
    if options.next is not None and options.optimizer is None:
        raise say.UsageError("--next needs --optimizer, the state one step before")
    with say.judging_arguments():
        averaging = tensors.Averaging(options.beta, options.weight, options.decay)
    params, state, following = (
        None if path is None else tensors.read(path) for path in (options.file, options.optimizer, options.next)
    )
    laws = None if options.laws is None else tensors.load(options.laws)
    result = tensors.audit(params, laws, state, following=following, averaging=averaging, precision=options.precision)
    if options.plot is not None:
        say.draw(result.plot, options.plot, (6.4, 1.2 + 0.25 * len(result.charges)))
    wrote = "" if options.plot is None else f"\nwrote {options.plot}"
    say.result(options, _report(result, options.plot), f"{result}{wrote}")
    return say.BROKEN if result.findings else say.FINE


def _report(result: Audit, plot: Path | None) -> dict[str, Any]:
    names = {
        law: law.name or law.formula for law in [*(c.law for c in result.checks), *(c.law for c in result.charges)]
    }
    return {
        "ok": result.ok,
        "broken": [names[law] for law in result.broken],
        "findings": [str(finding) for finding in result.findings],
        "not decided": list(result.limits),
        "checks": [
            {"name": names[c.law], "in": c.subject, "ratio": c.ratio, "tolerance": c.tolerance, "verdict": c.verdict}
            for c in result.checks
        ],
        "quantities": [
            {"name": names[c.law], "min": c.least, "median": c.median, "max": c.most, "balance": c.balance}
            for c in result.charges
        ],
        "files": [] if plot is None else [str(plot)],
    }
