"""The program that test_sweep_mpi runs under mpiexec: its report is the last line that it prints."""

import json
import os
import sys
from pathlib import Path

import numpy as np
from mpi4py.futures import MPIPoolExecutor
from sweep_tasks import executions, fail, leave_a_mark, part_of_an_ensemble, threads

import noetherlite as nl

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    marks, out = folder / "marks", folder / "out"
    marks.mkdir()
    grid = {"i": range(12), "folder": [str(marks)], "seconds": [0.05]}
    with MPIPoolExecutor() as executor:
        nl.sweep(leave_a_mark, grid, executor, out, rng=3)
        runs = nl.sweep(leave_a_mark, grid, executor, out, rng=3)  # goes on: nothing is left to do
        failed = nl.sweep(fail, {"how": ["raise", "local exception", "fine"]}, executor)
        used = nl.sweep(threads, {"i": range(2)}, executor).column("run")
        chunks = [{"start": a, "stop": b} for a, b in [(0, 3), (3, 4), (4, 7)]]
        parts = nl.sweep(part_of_an_ensemble, chunks, executor).results
        np.savez(folder / "ensemble.npz", **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    processes = {int(path.name.split("-")[1]) for path in marks.iterdir()}
    report = {
        "message": runs.message,
        "drawn": runs.column("drawn").tolist(),
        "executions": list(executions(marks).values()),
        "leader computed": os.getpid() in processes,
        "workers": len(processes),
        "threads": used.tolist(),
        "failed": failed.message,
    }
    print(json.dumps(report))
