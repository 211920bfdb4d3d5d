"""How the time of a step grows with samples, parameters, steps and networks: exponents over three decades each.

    python benchmarks/scaling.py [--rounds 7] [--out out]

The work is that of benchmarks/peers.py: float64, negative log-likelihood, ReLU with biases, leapfrog, scaling laws tracked at
every step and recorded every tenth, whole calls. In turn one of four sizes is varied, the others held:

- samples, at widths 10-32-32-3: the time of a step;
- parameters, at 100 samples and widths 10-w-w-3: the time of a step, by our own loops below w = 96, by BLAS from there;
- steps, at widths 10-32-32-3 and 100 samples: the time of a step, which a call's fixed cost adds to where the steps are few;
- networks of an ensemble, at widths 10-16-16-3 and 64 samples: the time of a step of all.

A point is the median over rounds in which all points take their turn. An exponent is the slope of the straight line through
the points' logarithms, by least squares, with half of its 95 % confidence interval; that of the last decade stands beside
it, as fixed costs bend the line at its lower end. Writes scaling.png and scaling.json, and prints a table for RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

from peers import noetherlite
from workloads import Workload

import noetherlite as nl
from noetherlite.plot import COLOURS

# What a point's call takes about, in seconds: long beside the clock and the call's own cost.
CALL_SECONDS = 0.05
# The first widths that go through BLAS.
BY_BLAS = (10, 96, 96, 3)


class Point(NamedTuple):
    """One size: what is varied, how many steps a call takes, and the call."""

    size: int
    steps: int
    call: Callable[[], object]


class Fit(NamedTuple):
    """A power law c·size^exponent and half of the exponent's 95 % confidence interval."""

    exponent: float
    margin: float
    factor: float


def power_law(sizes: np.ndarray, values: np.ndarray) -> Fit:
    """Return the least-squares line through the logarithms."""
    line = stats.linregress(np.log(sizes), np.log(values))
    quantile = stats.t.ppf(0.975, len(sizes) - 2)
    return Fit(float(line.slope), float(quantile * line.stderr), float(np.exp(line.intercept)))


def point(size: int, work: Workload) -> Point:
    """Return the workload as a point, with as many steps as `CALL_SECONDS` needs where it names none."""
    if not work.steps:
        probe = work._replace(steps=20)
        run = noetherlite(probe, nl.Leapfrog(1e-4))
        run()
        began = time.perf_counter()
        run()
        steps = 10 * max(1, round(CALL_SECONDS / (time.perf_counter() - began) * probe.steps / 10))
        work = work._replace(steps=min(steps, 20_000))
    return Point(size, work.steps, noetherlite(work, nl.Leapfrog(1e-4)))


def series() -> dict[str, list[Point]]:
    """Return the points of each panel, three decades each."""
    small, widths = (10, 32, 32, 3), [8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 192, 288, 432]
    return {
        "samples": [point(n, Workload("", small, n, 0)) for n in np.geomspace(16, 16384, 13).round().astype(int)],
        "parameters": [point(nl.Network((10, w, w, 3)).n_params, Workload("", (10, w, w, 3), 100, 0)) for w in widths],
        "steps": [point(k, Workload("", small, 100, k)) for k in np.geomspace(100, 100_000, 10).round().astype(int)],
        "networks": [point(2**e, Workload("", (10, 16, 16, 3), 64, 200, networks=2**e)) for e in range(11)],
    }


def measure(points: list[Point], rounds: int) -> np.ndarray:
    """Return the median seconds of a step at each point."""
    seconds: list[list[float]] = [[] for _ in points]
    for p in points:
        p.call()  # what is compiled or touched for the first time does not count
    for _ in range(rounds):
        for i, p in enumerate(points):
            began = time.perf_counter()
            p.call()
            seconds[i].append((time.perf_counter() - began) / p.steps)
    return np.array([statistics.median(s) for s in seconds])


def draw(ax: Axes, name: str, sizes: np.ndarray, seconds: np.ndarray, fits: dict[str, Fit], colour: str) -> None:
    """Draw the points of one panel and their lines, whole decades high."""
    ax.loglog(sizes, 1e6 * seconds, "o", color=colour, markersize=4)
    for (label, fit), style in zip(fits.items(), ("-", "--"), strict=True):
        line = 1e6 * fit.factor * sizes**fit.exponent
        text = f"{label}: exponent {fit.exponent:.2f} ± {fit.margin:.2f}"
        ax.loglog(sizes, line, style, color="black", linewidth=0.9, label=text)
    if name == "parameters":
        ax.axvline(nl.Network(BY_BLAS).n_params, color="grey", linestyle=":", linewidth=0.9, label="BLAS to the right")
    what = "time of a step of all networks (µs)" if name == "networks" else "time of a step (µs)"
    low, high = np.floor(np.log10(0.8e6 * seconds.min())), np.ceil(np.log10(1e6 * seconds.max()))
    ax.set(xlabel=name, ylabel=what, ylim=(10**low, 10**high))
    ax.grid(True, which="major", linewidth=0.3)
    ax.legend(framealpha=1, edgecolor="none", fontsize="small", loc="upper left")


def main() -> None:
    """Measure, fit, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for scaling.png and scaling.json")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    report = {}
    print("| varied | from | to | µs a step | exponent | in the last decade |\n|---|---|---|---|---|---|")
    for ax, colour, (name, points) in zip(figure.subplots(2, 2).flat, COLOURS, series().items(), strict=False):
        sizes, seconds = np.array([p.size for p in points], float), measure(points, options.rounds)
        last = sizes >= sizes[-1] / 10
        whole, end = power_law(sizes, seconds), power_law(sizes[last], seconds[last])
        fits = {"all": whole, "last decade": end}
        draw(ax, name, sizes, seconds, fits, colour)
        report[name] = {"sizes": sizes.tolist(), "seconds": seconds.tolist(), **fits}
        print(
            f"| {name} | {points[0].size:,} | {points[-1].size:,} | {1e6 * seconds[0]:.3g} … {1e6 * seconds[-1]:.4g} "
            f"| {whole.exponent:.3f} ± {whole.margin:.3f} | {end.exponent:.3f} ± {end.margin:.3f} |",
            flush=True,
        )
    figure.savefig(options.out / "scaling.png", dpi=150)
    (options.out / "scaling.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
