"""Time noetherlite against PyTorch (eager), JAX (jit + scan) and the bare dense products, on the same work.

    python benchmarks/peers.py [--workloads tiny paper] [--activations tanh] [--algorithms GD] … [--rounds 5] [--json FILE]
    python benchmarks/peers.py --json FILE --plot FILE.png     # draws what is in the file, and times nothing

`WORKLOADS` of workloads.py are the rows: float64, negative log-likelihood, ReLU, biases and full batch, and one thing at a time
changed. The laws of the hidden layers (scalings of ReLU, matrices of linear layers) are tracked at every step (their source,
or the drop of gradient descent) and recorded with quantity, charge and loss every tenth step, by every contestant alike. All
run in one process, in turn, round by round; a call's time is divided by its steps and networks. A ratio is the median over the
rounds of a peer's time to ours in that round, with the least and the largest. The last losses must agree to 1e-10 (float32: to
the roundings of the run). A peer that is not installed is left out and said so.

`ensemble` is 512 networks side by side: `nl.ensemble`, `jax.vmap`, and a loop over (a few of) the networks for PyTorch.
`radial` is a million leapfrog steps in GU's potential of three parameters, laws off; PyTorch takes no part. `kernel` is
`nl.ntk.kernel` against J Jᵀ with J by `jacrev`. With laws="all" ours finds the laws itself, and watches those of the
loss too. With --json the rounds of each row are written to a file, in which those of other rows stay.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

sys.path.insert(0, str(Path(__file__).parent))

from workloads import RADIAL_START, WORKLOADS, Outcome, Workload

import noetherlite as nl
from noetherlite.plot import COLOURS

Run = Callable[[], Outcome]
# Seconds before each call: the threads of a BLAS spin for a tenth of a second after its last product, beside whoever is next.
PAUSE = 0.2
NAMES = {"products": "products", "torch": "PyTorch", "jax": "JAX"}
# What rows are chosen by: an option, and the workload's field, or "" for the algorithm.
CHOICES = {
    "workloads": "name",
    "activations": "activation",
    "losses": "loss",
    "algorithms": "",
    "laws": "laws",
    "batches": "batch",
    "dtypes": "dtype",
    "steps": "steps",
}


def noetherlite(work: Workload, algorithm: Any) -> Run:
    """Our own compiled run."""
    if not work.widths:
        U, x0 = nl.potentials.Radial(3), np.array(RADIAL_START)
        return lambda: Outcome(nl.integrate(U, algorithm, x0, work.steps, record_every=work.steps, laws=None).loss[-1])
    net, X, y, theta = work.problem()
    if algorithm is None:
        return lambda: Outcome(float(np.linalg.norm(nl.ntk.kernel(net, theta[0], X))))
    U, options = net.potential(X, y), work.options()
    if work.networks > 1:
        return lambda: Outcome(nl.ensemble(U, algorithm, theta, work.steps, **options).loss[0, -1], work.networks)
    return lambda: Outcome(nl.integrate(U, algorithm, theta[0], work.steps, **options).loss[-1])


def products(work: Workload, algorithm: Any) -> Run:
    """The dense products of the gradients alone, by NumPy's BLAS; for an ensemble those of a few networks."""
    rng = np.random.default_rng(0)
    widths, N = work.widths, work.batch or work.samples
    W = [rng.standard_normal((n, m)).astype(work.dtype) for m, n in itertools.pairwise(widths)]
    A, D = ([rng.standard_normal((n, N)).astype(work.dtype) for n in widths] for _ in range(2))
    G = [np.empty_like(w) for w in W]

    def run() -> Outcome:
        for _ in range(work.steps + 1):
            for h, w in enumerate(W):
                np.dot(w, A[h], out=A[h + 1])
            for h in reversed(range(len(W))):
                np.dot(D[h + 1], A[h].T, out=G[h])
                if h:
                    np.dot(W[h].T, D[h + 1], out=D[h])
        return Outcome(float("nan"))

    return run


def available(work: Workload) -> dict[str, Callable[[Workload, Any], Run]]:
    """Return the contestants that can run here."""
    out: dict[str, Callable[[Workload, Any], Run]] = {"noetherlite": noetherlite}
    if work.widths and work.methods != ("kernel",):
        out["products"] = products
    for name in ("torch", "jax") if work.widths else ("jax",):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: left out", file=sys.stderr)
        else:
            out[name] = importlib.import_module(f"peers_{name}").run
    return out


def measure(work: Workload, algorithm: Any, rounds: int) -> dict[str, list[float]]:
    """Return each contestant's seconds per step and network, round by round, after checking that they agree."""
    runs = {name: make(work, algorithm) for name, make in available(work).items()}
    values = {name: run().value for name, run in runs.items()}  # compiles and warms up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            outcome = run()
            seconds[name].append((time.perf_counter() - began) / work.steps / outcome.networks)
            values[name] = outcome.value
    ours = values["noetherlite"]
    for name, value in values.items():
        if name != "products" and not abs(value - ours) <= work.tolerance(ours):
            raise SystemExit(f"{label(work)}: {name} ends at {value!r}, noetherlite at {ours!r}")
    return seconds


def label(work: Workload) -> str:
    """Return what distinguishes a workload within its part of the table."""
    plain = Workload("", (), 0, 0)
    changed = [getattr(work, f) for f in ("activation", "loss") if getattr(work, f) != getattr(plain, f)]
    return ", ".join([work.name, *changed])


def key(work: Workload, algorithm: str) -> str:
    """Return what a row is found by in a file of results."""
    return f"{work.group}: {label(work)}, {algorithm}, {work.steps}"


def ratios(row: dict[str, Any], peer: str) -> list[float]:
    """Return least, median and largest of a peer's time divided by ours, in a row of results; empty without the peer."""
    ours, theirs = row["seconds"]["noetherlite"], row["seconds"].get(peer, [])
    each = sorted(b / a for a, b in zip(ours, theirs, strict=False))
    return [each[0], statistics.median(each), each[-1]] if each else []


def markdown(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    cells = ["{1:.3g} ({0:.3g}–{2:.3g})".format(*each) if (each := ratios(row, peer)) else "" for peer in NAMES]
    ours, peak = statistics.median(row["seconds"]["noetherlite"]), row["dgemm"]
    share = f"{row['flops'] / ours / peak:.0%}" if row["flops"] else ""
    return f"| {row['label']} | {row['algorithm']} | {row['steps']:,} | {ours * 1e6:,.4g} | {share} | {' | '.join(cells)} |"


def print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print the table of rows as they come, and a line where another part of it begins."""
    print(
        f"| workload | algorithm | steps | µs a step | of dgemm | {' | '.join(f'{n} ÷ ours' for n in NAMES.values())} |"
    )
    print("|---" * (5 + len(NAMES)) + "|")
    group = ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            print(f"| **{group}** |" + " |" * (4 + len(NAMES)))
        print(markdown(row), flush=True)


def dgemm_peak() -> float:
    """Return the flop/s of a 2048² matrix product, the best of five."""
    A = np.random.default_rng(0).standard_normal((2048, 2048))
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        A @ A
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw a peer's time divided by ours, row by row, on a logarithmic axis: to the right of 1 ours is faster."""
    figure = Figure(figsize=(7.5, 1.6 + 0.17 * (len(rows) + len({r["group"] for r in rows}))), layout="constrained")
    ax, at, ticks, titles, group = figure.add_subplot(), 0, {}, [], ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            ticks[at], titles = group, [*titles, len(ticks)]
            at += 1
        ticks[at] = f"{row['label']}, {row['algorithm']}"
        for peer, marker, colour in (("torch", "o", COLOURS[0]), ("jax", "s", COLOURS[1])):
            if each := ratios(row, peer):
                ax.plot([each[0], each[2]], [at, at], color=colour, linewidth=1.2)
                ax.plot(each[1], at, marker, color=colour, markersize=4.5)
        at += 1
    ax.axvline(1, color="black", linewidth=1)
    ax.set(
        xscale="log", ylim=(at - 0.3, -0.7), xlabel="time divided by noetherlite's (right of 1: noetherlite is faster)"
    )
    ax.set_yticks(list(ticks), list(ticks.values()), fontsize="small")
    for i in titles:
        ax.get_yticklabels()[i].set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([0.5, 1, 2, 5, 10, 20, 50, 100, 200], ["0.5", "1", "2", "5", "10", "20", "50", "100", "200"])
    ax.grid(axis="x", linewidth=0.3)
    key = [
        Line2D([], [], color=COLOURS[i], marker=m, label=n) for i, (m, n) in enumerate((("o", "PyTorch"), ("s", "JAX")))
    ]
    figure.legend(handles=key, loc="outside upper center", ncols=2, frameon=False)  # inside it could hide a row
    figure.savefig(path, dpi=150)


def chosen(options: argparse.Namespace) -> list[tuple[Workload, str, Any]]:
    """Return the workloads and the algorithms that the options ask for."""
    out = []
    for work in WORKLOADS:
        named = zip(work.methods, work.algorithms(), strict=True)
        fields = [(getattr(options, option), getattr(work, field)) for option, field in CHOICES.items() if field]
        if all(wanted is None or str(value) in wanted for wanted, value in fields):
            out += [(work, name, a) for name, a in named if options.algorithms is None or name in options.algorithms]
    return out


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in CHOICES:
        out.add_argument(f"--{option}", nargs="*", help="rows of these alone")
    out.add_argument("--rounds", type=int, default=5)
    out.add_argument("--json", type=Path, help="file of results, to which these are added")
    out.add_argument("--plot", type=Path, help="draw the file of results, time nothing")
    return out


def main() -> None:
    """Print a table of medians and ratios, or draw one."""
    options = parser().parse_args()
    stored = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    if options.plot:
        print_table(stored.values())
        draw(list(stored.values()), options.plot)
        return
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("noetherlite", "numpy", "numba", *NAMES) if present(name)
    )
    peak = dgemm_peak()
    print(f"{platform.machine()}, Python {platform.python_version()}, {packages}; dgemm {peak / 1e9:.0f} GF/s\n")

    def timed() -> Iterator[dict[str, Any]]:
        for work, name, algorithm in chosen(options):
            row = {"group": work.group, "label": label(work), "algorithm": name, "steps": work.steps, "dgemm": peak}
            row["flops"] = work.flops() if work.widths and name != "kernel" and work.dtype == "float64" else 0
            row["seconds"] = measure(work, algorithm, options.rounds)
            stored[key(work, name)] = row
            if options.json:
                order = [key(w, n) for w in WORKLOADS for n in w.methods]
                ordered = {entry: stored[entry] for entry in order if entry in stored}
                options.json.write_text(json.dumps(ordered, indent=1, ensure_ascii=False))
            yield row

    print_table(timed())


def present(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
