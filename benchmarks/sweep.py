"""What a member of a sweep costs beside its own work, and how well 1 to 8 workers are used.

python benchmarks/sweep.py [--dask]

Every worker has begun, and compiled what it needs, before the clock starts. Two kinds of work: members that train a small network
on one core, of which no more can run at once than there are cores, and members that sleep, which show the machinery alone.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import noetherlite as nl
from noetherlite._sweep.task import processes

WORKERS = (1, 2, 4, 8)
MEMBERS, SECONDS, ROUNDS = 32, 0.25, 3


def nothing(i, rng):
    return {"i": i}


def sleep(i, seconds, rng):
    time.sleep(seconds)
    return {"i": i}


def train(i, steps, rng):
    net = nl.Network([10, 32, 32, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=100, n_features=10, n_classes=3, rng=0))
    return {"loss": nl.integrate(U, nl.GD(0.05), net.init(rng=rng), steps, record_every=steps, n_threads=1).loss[-1]}


@contextlib.contextmanager
def dask(n):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor(pure=False)


def seconds(function, grid, executor, out=None):
    """Return (time of a sweep, that of its members together), the median of some, each with a folder of its own if asked for."""
    times = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            runs = nl.sweep(function, grid, executor, folder if out else None)
            times.append((time.perf_counter() - began, sum(member.seconds for member in runs)))
        assert runs.message == f"{len(runs)} members: {len(runs)} done"
    return statistics.median_low(times)


def warm(executor, n):
    """Let every worker begin and compile: each has a member while the others sleep."""
    nl.sweep(sleep, {"i": range(4 * n), "seconds": [0.5]}, executor)
    nl.sweep(train, {"i": range(8 * n), "steps": [10]}, executor)


def overhead(kinds):
    """Print the time of members that do nothing."""
    n = 1000
    print(f"| executor | µs a member, {n} members that do nothing | with results in files |\n|---|---|---|")
    for name, make in {
        "this process": contextlib.nullcontext,
        "threads, 2": lambda: ThreadPoolExecutor(2),
        **kinds,
    }.items():
        with make() as executor:
            if executor is not None:
                warm(executor, 2)
            times = [seconds(nothing, {"i": range(n)}, executor, out)[0] / n for out in (False, True)]
        print(f"| {name} | {times[0] * 1e6:.0f} | {times[1] * 1e6:.0f} |", flush=True)


def efficiency(kinds):
    """Print the part of the workers' time that is spent in members, and how much faster than one worker several are."""
    steps = 1000
    train(0, steps, 0)
    began = time.perf_counter()
    train(0, 10 * steps, 0)
    steps = max(1, round(10 * steps * SECONDS / (time.perf_counter() - began)))
    cores = len(os.sched_getaffinity(0))
    print(f"\n{MEMBERS} members of {SECONDS} s; {cores} cores\n")
    print("| executor | workers | sleeping members: s | in members | training members: s | in members | speed-up |")
    print("|---|---|---|---|---|---|---|")
    for name, make in kinds.items():
        one = None
        for n in WORKERS:
            with make(n) as executor:
                warm(executor, n)
                slept, asleep = seconds(sleep, {"i": range(MEMBERS), "seconds": [SECONDS]}, executor)
                trained, at_work = seconds(train, {"i": range(MEMBERS), "steps": [steps]}, executor)
            one = one or trained
            print(
                f"| {name} | {n} | {slept:.2f} | {asleep / (n * slept):.1%} | {trained:.2f} | {at_work / (n * trained):.1%} | "
                f"{one / trained:.2f} |",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dask", action="store_true", help="measure Dask, too")
    options = parser.parse_args()
    kinds = {"processes": processes} | ({"Dask": dask} if options.dask else {})
    print(f"Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} cores\n")
    overhead({f"{name}, 2": lambda make=make: make(2) for name, make in kinds.items()})
    efficiency(kinds)


if __name__ == "__main__":
    main()
