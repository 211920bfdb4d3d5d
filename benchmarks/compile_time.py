"""Seconds that a command takes where nothing is compiled yet, of processors and on the clock, and how many compiling takes.

python benchmarks/compile_time.py [--functions 10] ["figure 1" warmup …]

Each command runs in a process of its own with an empty folder for compiled code, then once more, with the code of the first. On a
busy machine seconds of processors are longer, too, as cores share caches and their clock: compare what one run of this prints.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

COMMANDS = ["figure 1", "warmup"]
# What runs in the process: compiling is what happens on the compiling thread between numba's outermost events of it.
PROGRAM = """
import collections, json, os, sys, time
began = time.perf_counter()
from numba.core import event
from noetherlite._cli.main import main

class Compiling(event.Listener):
    def __init__(self):
        self.open, self.seconds = [], collections.Counter()

    def on_start(self, e):
        self.open.append([time.thread_time(), 0.0])

    def on_end(self, e):
        began, inner = self.open.pop()
        spent = time.thread_time() - began
        self.seconds[e.data["dispatcher"].__name__] += spent - inner
        if self.open:
            self.open[-1][1] += spent

compiling = Compiling()
event.register("numba:compile", compiling)
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([sum(os.times()[:4]), time.perf_counter() - began, compiling.seconds], file)
raise SystemExit(code)
"""


def measure(command: str, cache: str, folder: str) -> tuple[float, float, Counter[str]]:
    """Return a command's seconds of processors, its child processes' with them, those on the clock, and of its compiling by function."""
    out = Path(folder, "seconds.json")
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), *shlex.split(command)],
        env={**os.environ, **one, "NUMBA_CACHE_DIR": cache, "MPLBACKEND": "Agg", "TQDM_DISABLE": "1"},
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    processors, clock, compiling = json.loads(out.read_text("utf-8"))
    return processors, clock, Counter(compiling)


def main() -> None:
    """Print a table, and with --functions what is compiled longest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=COMMANDS)
    parser.add_argument("--functions", type=int, default=0, help="of each command, how many functions to list")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores\n")
    print("| command | compiling, s | in all, s | on the clock, s | from the cache, s |\n|---|---|---|---|---|")
    longest = {}
    for command in options.commands:
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
            cold, clock, compiling = measure(command, cache, folder)
            warm, _, again = measure(command, cache, folder)
        assert not again, f"compiled a second time: {sorted(again)}"
        print(
            f"| `noetherlite {command}` | {compiling.total():.1f} | {cold:.1f} | {clock:.1f} | {warm:.1f} |", flush=True
        )
        longest[command] = compiling.most_common(options.functions)
    for command, functions in longest.items():
        for name, seconds in functions:
            print(f"{command}: {name} {seconds:.2f} s")


if __name__ == "__main__":
    main()
