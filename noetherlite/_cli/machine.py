"""The verbs about this machine: info, warmup."""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
from typing import Any

from .._base.versions import versions
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
    from .._run import warmup

    steps, collecting = [], gc.isenabled()
    gc.disable()  # as in the process beside this one
    try:
        for step in warmup.warmup():
            steps.append(step._asdict())
            origin = f"{step.compiled} functions compiled" if step.compiled else "found on disk"
            if not options.json:
                print(f"{step.what}: {step.seconds:.1f} s, {origin}", flush=True)
    finally:
        gc.freeze()  # or Python goes through all that the compiler has made as the process ends
        if collecting:
            gc.enable()
    folder = warmup.folder()
    end = f"kept in {folder}" if folder else f"not kept: {warmup.refusal()}, and every start compiles again"
    say.result(options, {"steps": steps, "folder": folder}, end)
    return say.FINE


def _info(options: argparse.Namespace) -> int:
    from .._base import gpu, limits, threads
    from .._problem import datasets, kmnist
    from .._run import warmup as warm

    kmnist_status = {}
    for split in ("train", "test"):
        try:
            datasets.kmnist(n=1, split=split)
            kmnist_status[split] = "found"
        except FileNotFoundError:
            kmnist_status[split] = "not found"
        except ValueError as error:
            kmnist_status[split] = str(error)
    report: dict[str, Any] = {
        "versions": versions(),
        "cores": os.cpu_count(),
        "threads": {"of runs": threads.threads(None), **_blas_settings()},
        "memory": f"{min(limits.installed(), limits.allowed()) / 1e9:.3g} GB",
        "GPU": gpu.describe(),
        "folders": {
            "compiled code": warm.folder() or "none can be written",
            "data": str(kmnist.data_folder(None)),
            "temporary files": tempfile.gettempdir(),
        },
        "Kuzushiji-MNIST": kmnist_status,
    }
    lines = []
    for key, value in report.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        lines.append(f"{key}: {shown}")
    say.result(options, report, "\n".join(lines))
    return say.FINE


def _blas_settings() -> dict[str, str]:
    """Return the environment variables that set the threads of BLAS."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    return {name: os.environ[name] for name in names if name in os.environ} or {"of BLAS": "not set"}
