"""What laws and calls cost, what float32 and input reduction save: ratios of noetherlite to itself, timed in turn.

    python benchmarks/costs.py [--rounds 5] [--tables scalings matrices all updates reduction calls]

A figure is the median over the rounds of the time of a whole `integrate` call, divided by its steps. Calls are of one step each,
as many in a round as give a steady figure.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import noetherlite as nl

sys.path.insert(0, str(Path(__file__).parent))
from workloads import EVERY, SIZES, WORKLOADS, Workload


def medians(runs: dict[Any, Callable[[], object]], steps: int, rounds: int) -> dict[Any, float]:
    """Return each run's median seconds per step."""
    seconds: dict[Any, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # compiles and warms up
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) / steps)
    return {name: statistics.median(values) for name, values in seconds.items()}


def laws_and_precision(work: Workload, algorithm: nl.Algorithm, rounds: int) -> None:
    """Scaling laws tracked every step and recorded every tenth, against none; float32 against float64."""
    net, X, y, theta = work.problem()
    run = partial(nl.integrate, net.potential(X, y), algorithm, theta[0], work.steps, record_every=EVERY)
    scalings = [f"scaling:{h}" for h in range(1, net.n_layers)]
    runs = {
        "laws": partial(run, laws=scalings),
        "none": partial(run, laws=None),
        "float32": partial(run, laws=scalings, dtype="float32"),
    }
    took = medians(runs, work.steps, rounds)
    print(
        f"{work.name:8} {type(algorithm).__name__:9} {took['laws'] * 1e6:9.2f} {took['laws'] / took['none'] - 1:18.1%} "
        f"{took['laws'] / took['float32']:21.2f}",
        flush=True,
    )


def other_laws(algorithm: nl.Algorithm, rounds: int) -> None:
    """Matrix laws: linear layers (n_h² numbers) and rotations (n_0² numbers) of a linear network on the icosahedron."""
    net, steps = nl.Network([3, 32, 32, 1], activation="linear(1.0)", loss="mse"), 4000
    U = net.potential(nl.datasets.icosahedron())
    run = partial(nl.integrate, U, algorithm, net.init(rng=0), steps, record_every=EVERY)
    chosen = {"none": None, "linear:1, linear:2": ["linear:1", "linear:2"], "rotation": ["rotation"]}
    took = medians({name: partial(run, laws=laws) for name, laws in chosen.items()}, steps, rounds)
    for name, seconds in took.items():
        cost = seconds / took["none"] - 1
        print(f"{name:20} {type(algorithm).__name__:9} {seconds * 1e6:9.2f} {cost:6.0%}", flush=True)


def all_laws(work: Workload, algorithm: nl.Algorithm, rounds: int) -> None:
    """Linear layers with laws="all" against none, with records every tenth step and at the end alone."""
    net, X, y, theta = work.problem()
    run = partial(nl.integrate, net.potential(X, y), algorithm, theta[0], work.steps)
    records = {"tenth": EVERY, "end": work.steps}
    cases = {
        f"{laws} {name}": partial(run, laws=laws, record_every=n)
        for name, n in records.items()
        for laws in ("all", None)
    }
    took = medians(cases, work.steps, rounds)
    ratios = [took[f"all {name}"] / took[f"None {name}"] for name in records]
    print(
        f"{work.name:8} {type(algorithm).__name__:9} {took['None tenth'] * 1e6:15.2f} {ratios[0]:12.2f} {ratios[1]:11.2f}",
        flush=True,
    )


def updates(rounds: int) -> None:
    """Nanoseconds a parameter of each algorithm's step beside the gradient and the update of gradient descent; with one rate, and with two."""
    net, steps = nl.Network([784, 128, 64, 10]), 200
    U, theta = net.potential(nl.datasets.glyphs(n=8, rng=0)), np.abs(net.init(rng=1))
    two = {"W1": 1e-5, "rest": 2e-5}
    algorithms = {
        "GD": nl.GD,
        "HeavyBall": partial(nl.HeavyBall, momentum=0.9),
        "Leapfrog": nl.Leapfrog,
        "NAGD": nl.NAGD,
        "Adam": nl.Adam,
        "RMSProp": nl.RMSProp,
        "AdaGrad": nl.AdaGrad,
        "Lion": nl.Lion,
        "SteepestDescent": partial(nl.SteepestDescent, p=3.0),
        "ExponentiatedGradient": nl.ExponentiatedGradient,
        "SGLD": partial(nl.SGLD, temperature=1e-3),
        "BAOAB": partial(nl.BAOAB, temperature=1e-3),
    }
    run = partial(nl.integrate, U, x0=theta, steps=steps, laws=None, record_every=steps, input_reduction=False, rng=0)
    cases = {
        (name, rates): partial(run, algorithm=algorithm(lr))
        for name, algorithm in algorithms.items()
        for rates, lr in (("one", 1e-5), ("two", two))
    }
    took = medians(cases, steps, rounds)
    for name in algorithms:
        beyond = [(took[name, rates] - took["GD", "one"]) * 1e9 / U.n_params for rates in ("one", "two")]
        print(f"{name:22} {beyond[0]:9.2f} {beyond[1]:10.2f}", flush=True)


def reduction(n: int, algorithm: nl.Algorithm, rounds: int) -> None:
    """784-128-64-10 on Kuzushiji-MNIST (glyphs where it is absent), with and without input reduction."""
    net, steps = nl.Network([784, 128, 64, 10]), 500
    try:
        data = nl.datasets.kmnist(n=n, split="test", rng=0)
    except FileNotFoundError:
        data = nl.datasets.glyphs(n=n, rng=0)
    run = partial(nl.integrate, net.potential(data), algorithm, net.init(rng=1), steps, record_every=EVERY)
    plain, reduced = partial(run, input_reduction=False), partial(run, input_reduction=True)
    took = medians({"plain": plain, "reduced": reduced}, steps, rounds)
    apart = np.abs(plain().x - reduced().x).max()
    print(
        f"{data.name:12} {type(algorithm).__name__:9} {n:7} {took['plain'] * 1e6:15.0f} {took['reduced'] * 1e6:8.0f} "
        f"{took['plain'] / took['reduced']:10.2f} {apart:17.1e}",
        flush=True,
    )


def calls(rounds: int) -> None:
    """Calls of one step of the smallest workload, and members of an ensemble that take one step each."""
    work = next(work for work in SIZES if work.name == "tiny")
    net, X, y, theta = work.problem()
    U, algorithm, n = net.potential(X, y), nl.GD(1e-2), 500

    def repeated(laws: str | None) -> Callable[[], object]:
        def run() -> None:
            for _ in range(n):
                nl.integrate(U, algorithm, theta[0], 1, laws=laws)

        return run

    members = partial(nl.ensemble, U, algorithm, np.repeat(theta[:1], n, axis=0), 1, laws=None, n_threads=1)
    cases = {"laws=None": repeated(None), 'laws="all"': repeated("all"), "a member of an ensemble, laws=None": members}
    for name, seconds in medians(cases, n, rounds).items():
        print(f"{name:35} {seconds * 1e6:9.0f}", flush=True)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    names = ["scalings", "matrices", "all", "updates", "reduction", "calls"]
    parser.add_argument("--tables", nargs="*", choices=names, default=names)
    arguments = parser.parse_args()
    rounds, tables = arguments.rounds, arguments.tables
    if "scalings" in tables:
        print("workload algorithm   µs/step  scaling laws cost  float32 is faster by")
        for work in SIZES:
            for algorithm in work.algorithms():
                laws_and_precision(work, algorithm, rounds)
    if "matrices" in tables:
        print(
            "\nmatrix laws of a linear network 3-32-32-1, 12 samples\nlaws                 algorithm   µs/step   cost"
        )
        for algorithm in (nl.GD(1e-2), nl.Leapfrog(1e-4)):
            other_laws(algorithm, rounds)
    if "all" in tables:
        print('\nlinear layers, a step with laws="all" ÷ one without, records every tenth step or at the end')
        print("workload algorithm   µs/step, none  every tenth  at the end")
        for work in WORKLOADS:
            if work.group == 'linear layers, laws="all"':
                for algorithm in work._replace(methods=("GD", "Leapfrog", "NAGD")).algorithms():
                    all_laws(work, algorithm, rounds)
    if "updates" in tables:
        print("\nns a parameter beyond gradient descent, 784-128-64-10, 8 samples")
        print("algorithm               one rate  two rates")
        updates(rounds)
    if "reduction" in tables:
        print("\ninput reduction, 784-128-64-10")
        print("data         algorithm samples   plain µs/step  reduced  faster by   difference in θ")
        for n in (100, 512):
            for algorithm in (nl.GD(1e-2), nl.Leapfrog(1e-4)):
                reduction(n, algorithm, rounds)
    if "calls" in tables:
        print(f"\ncalls of one step at tiny{'':19} µs")
        calls(rounds)


if __name__ == "__main__":
    main()
