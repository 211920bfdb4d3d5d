"""Functions that the tests of sweeps call in other processes."""

import os
import signal
import sys
import time
import uuid
from pathlib import Path

import numba
import numpy as np

import noetherlite as nl
from noetherlite._base.threads import threads as usable


def draw(a, b, rng):
    """Return numbers of every kind that depend on parameters and seed."""
    generator = np.random.default_rng(rng)
    return {"sum": a + b, "drawn": generator.standard_normal(), "array": generator.standard_normal((2, 3))}


def leave_a_mark(i, folder, rng, seconds=0.0):
    """Leave one file for each execution, named after the member and the process; take so many seconds, or none if told so."""
    (Path(folder) / f"{i}-{os.getpid()}-{uuid.uuid4().hex}").touch()
    if "WITHOUT_PAUSES" not in os.environ:
        time.sleep(seconds)
    return {"square": i * i, "drawn": np.random.default_rng(rng).random()}


def executions(folder):
    """Return the number of executions of each member, from the files that they leave."""
    marks = [int(path.name.split("-")[0]) for path in Path(folder).iterdir()]
    return {i: marks.count(i) for i in set(marks)}


def fail(how, rng):
    """Fail in one of many ways."""
    if how == "raise":
        raise ZeroDivisionError("the reason\nin two lines")
    if how == "exit":
        sys.exit("leaving")
    if how == "local exception":
        raise type("Unpicklable", (Exception,), {"state": lambda: 0})("text")
    return {"no mapping": 3.0, "object": {"x": object()}, "list": {"x": [[1], [2, 3]]}, "none": {"x": None}}.get(
        how, {"x": 1}
    )


def die(i, victim, rng):
    """Kill the process that computes the victim."""
    if i == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"i": i}


def threads(i, rng):
    """Return the numbers of threads that a run, numba and BLAS would use."""
    return {
        "run": usable(None),
        "numba": int(numba.config.NUMBA_NUM_THREADS),
        "blas": os.environ.get("OPENBLAS_NUM_THREADS", "unset"),
    }


def part_of_an_ensemble(start, stop, rng, n_threads=None):
    """Return runs start … stop of an ensemble of seven with minibatches."""
    net = nl.Network([4, 6, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=40, n_features=4, n_classes=3, rng=0))
    X0 = np.stack([net.init(rng=e) for e in range(start, stop)])
    seeds = np.random.SeedSequence(9, n_children_spawned=start)
    runs = nl.ensemble(U, nl.GD(0.1), X0, 30, batch_size=8, rng=seeds, n_threads=n_threads)
    return {"loss": runs.loss, "x": runs.x, "residual": runs.laws["scaling:1"].discrete_residual}


if __name__ == "__main__":  # a sweep to be interrupted: python sweep_tasks.py OUT MARKS EXECUTOR
    out, marks, executor = sys.argv[1:]
    print(
        nl.sweep(leave_a_mark, {"i": range(8), "folder": [marks], "seconds": [0.3]}, int(executor) or None, out).message
    )
