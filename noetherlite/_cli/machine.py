"""The verbs about this machine: info, warmup."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..version import versions
from . import say


def add(verbs: Any) -> None:
    """Add the verbs."""
    say.verb(
        verbs,
        "warmup",
        _warmup,
        help="compile everything that a run may need and keep it on disk",
        examples="\n--json",
    )
    say.verb(verbs, "info", _info, help="show versions, threads, caches and data", examples="\n--json")


def _warmup(options: argparse.Namespace) -> int:
    from .. import warmup

    steps = []
    for step in warmup.warmup():
        steps.append(step._asdict())
        how = f"{step.compiled} functions compiled" if step.compiled else "found on disk"
        if not options.json:
            print(f"{step.what}: {step.seconds:.1f} s, {how}", flush=True)
    where = warmup.folder()
    if options.json:
        say.answer({"steps": steps, "folder": where})
    else:
        print(
            f"kept in {where}" if where else "not kept: there is no folder to write to, and every start compiles again"
        )
    return say.FINE


def _info(options: argparse.Namespace) -> int:
    from .. import _device, datasets

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
        "GPU": _device.describe(),
        "compiled code": os.environ.get("NUMBA_CACHE_DIR") or "beside the package, else in the user's cache folder",
        "Kuzushiji-MNIST": found,
    }
    if options.json:
        say.answer(report)
        return say.FINE
    for key, value in report.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key}: {shown}")
    return say.FINE
