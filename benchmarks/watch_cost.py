"""What a watch costs in the training loop of examples/any_model.py: medians of a step and of a check, in turn, in one run.

python benchmarks/watch_cost.py [--steps 300] [--every 10]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import noetherlite as nl

EXAMPLE = Path(__file__).parents[1] / "examples" / "any_model.py"


def prepared() -> dict[str, Any]:
    """Return what the example has before its training loop: model, batches and laws."""
    source = EXAMPLE.read_text("utf-8").partition("# %%\n# Watched in the loop")[0]
    names: dict[str, Any] = {"__name__": "example"}
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)  # where it writes its picture
        exec(compile(source, str(EXAMPLE), "exec"), names)
        os.chdir(here)
    return names


def main() -> None:
    """Print the medians, on the clock and of processors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    example = prepared()
    torch, batches = example["torch"], example["batches"]
    torch.set_num_threads(1)
    model = example["model"].float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    params = dict(model.named_parameters())
    watch = nl.watch(example["found"].laws())
    rows = []
    for k in range(options.steps):
        times = [(time.perf_counter(), time.process_time())]
        loss = model(batches[k % len(batches)])
        optimizer.zero_grad()
        loss.backward()
        times.append((time.perf_counter(), time.process_time()))
        watch(params, {name: p.grad for name, p in params.items()})
        times.append((time.perf_counter(), time.process_time()))
        optimizer.step()
        times.append((time.perf_counter(), time.process_time()))
        (a, b, c, d) = times
        rows.append([(b[i] - a[i] + d[i] - c[i], c[i] - b[i]) for i in (0, 1)])
    print(f"{len(watch.laws)} laws of {len(watch.names)} tensors; {'none' if watch.ok else 'some'} broken")
    for i, clock in enumerate(("on the clock", "of processors")):
        step, check = (statistics.median(row[i][part] for row in rows) for part in (0, 1))
        share = check / options.every / step
        print(f"{clock:14} step {step * 1e3:.2f} ms, check {check * 1e3:.2f} ms: {share:.1%} at every={options.every}")


if __name__ == "__main__":
    main()
