"""Time noetherlite against PyTorch (eager), JAX (jit + scan) and the bare dense products, on the same work.

    python benchmarks/peers.py [--workloads tiny paper] [--rounds 5] [--json out.json]

The work is float64, negative log-likelihood, ReLU with biases, full batch; the scaling laws are tracked at every step
(their source, or the drop of gradient descent) and recorded with quantity, charge and loss every tenth step, by every
contestant alike. All run in one process, in turn, round by round; a figure is the median over the rounds of the time per step
and network. The last losses must agree to 1e-10. A peer that is not installed is left out and said so.

`ensemble` is 512 networks side by side: `nl.ensemble`, `jax.vmap`, and a loop over (a few of) the networks for PyTorch.
`radial` is a million leapfrog steps in GU's potential of three parameters, laws off; PyTorch takes no part.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import noetherlite as nl

sys.path.insert(0, str(Path(__file__).parent))

EVERY = 10


class Workload(NamedTuple):
    """A network, its data, and how long to run; the radial potential where there are no widths."""

    name: str
    widths: tuple[int, ...]
    samples: int
    steps: int
    networks: int = 1

    def algorithms(self) -> tuple[nl.Algorithm, nl.Algorithm]:
        """Return the contestants' algorithms; leapfrog runs to t = 5, before chaos makes round-off visible in the loss."""
        leapfrog = nl.Leapfrog((5 / self.steps) ** 2)
        return (nl.GD(1e-2), leapfrog) if self.widths else (leapfrog,)

    def problem(self) -> tuple[nl.Network, np.ndarray, np.ndarray, np.ndarray]:
        """Return the network, X, y and θ_0 of each network, shape (networks, P)."""
        rng = np.random.default_rng(0)
        net = nl.Network(self.widths)
        X = rng.standard_normal((self.samples, self.widths[0]))
        y = rng.integers(0, self.widths[-1], self.samples)
        return net, X, y, np.stack([net.init(rng=1 + e, bias_std=0.1) for e in range(self.networks)])

    def flops(self) -> int:
        """Floating-point operations in the dense products of one gradient, as written: without input reduction."""
        sizes = [n * m for n, m in zip(self.widths[1:], self.widths[:-1], strict=True)]
        return 2 * self.samples * (3 * sum(sizes) - sizes[0])


WORKLOADS = (
    Workload("tiny", (4, 8, 8, 3), 32, 20000),
    Workload("small", (10, 32, 32, 3), 100, 4000),
    Workload("middle", (64, 64, 32, 10), 256, 1000),
    Workload("paper", (784, 128, 64, 10), 512, 500),
    Workload("wide", (784, 2048, 2048, 10), 1024, 8),
    Workload("ensemble", (10, 16, 16, 3), 64, 400, networks=512),
    Workload("radial", (), 0, 1_000_000),
)
RADIAL_START = (1.4, 0.1, -0.2)


class Outcome(NamedTuple):
    """The last loss of the first network, and how many networks were run."""

    loss: float
    networks: int = 1


Run = Callable[[], Outcome]


def noetherlite(work: Workload, algorithm: nl.Algorithm) -> Run:
    """Our own compiled run."""
    if not work.widths:
        U, x0 = nl.potentials.Radial(3), np.array(RADIAL_START)
        return lambda: Outcome(nl.integrate(U, algorithm, x0, work.steps, record_every=work.steps, laws=None).loss[-1])
    net, X, y, theta = work.problem()
    U = net.potential(X, y)
    options = {"record_every": EVERY, "laws": [f"scaling:{h}" for h in range(1, net.n_layers)]}
    if work.networks > 1:
        return lambda: Outcome(nl.ensemble(U, algorithm, theta, work.steps, **options).loss[0, -1], work.networks)
    return lambda: Outcome(nl.integrate(U, algorithm, theta[0], work.steps, **options).loss[-1])


def products(work: Workload, algorithm: nl.Algorithm) -> Run:
    """The dense products of the gradients alone, by NumPy's BLAS; for an ensemble those of a few networks."""
    rng = np.random.default_rng(0)
    widths, N = work.widths, work.samples
    W = [rng.standard_normal((n, m)) for m, n in itertools.pairwise(widths)]
    A, D = ([rng.standard_normal((n, N)) for n in widths] for _ in range(2))
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


def available(work: Workload) -> dict[str, Callable[[Workload, nl.Algorithm], Run]]:
    """Return the contestants that can run here."""
    out: dict[str, Callable[[Workload, nl.Algorithm], Run]] = {"noetherlite": noetherlite}
    if work.widths:
        out["products"] = products
    for name in ("torch", "jax") if work.widths else ("jax",):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: left out", file=sys.stderr)
        else:
            out[name] = importlib.import_module(f"peers_{name}").run
    return out


def measure(work: Workload, algorithm: nl.Algorithm, rounds: int) -> dict[str, Any]:
    """Return each contestant's median seconds per step and network, after checking that their losses agree."""
    runs = {name: make(work, algorithm) for name, make in available(work).items()}
    losses = {name: run().loss for name, run in runs.items()}  # compiles and warms up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            outcome = run()
            seconds[name].append((time.perf_counter() - began) / work.steps / outcome.networks)
            losses[name] = outcome.loss
    for name, loss in losses.items():
        if name != "products" and abs(loss - losses["noetherlite"]) > 1e-10:
            raise SystemExit(f"{work.name}: {name} ends at loss {loss!r}, noetherlite at {losses['noetherlite']!r}")
    return {name: statistics.median(values) for name, values in seconds.items()}


def dgemm_peak() -> float:
    """Return the flop/s of a 2048² matrix product, the best of five."""
    A = np.random.default_rng(0).standard_normal((2048, 2048))
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        A @ A
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def main() -> None:
    """Print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [w.name for w in WORKLOADS]
    parser.add_argument("--workloads", nargs="*", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    peak = dgemm_peak()
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, dgemm {peak / 1e9:.0f} GF/s"
    )
    print(f"{'workload':8} {'algorithm':9} {'µs/step':>11} {'of peak':>8}  slower by a factor of")
    results = []
    for work in (w for w in WORKLOADS if w.name in options.workloads):
        for algorithm in work.algorithms():
            median = measure(work, algorithm, options.rounds)
            own = median.pop("noetherlite")
            share = work.flops() / own / peak if work.widths else float("nan")
            ratios = "  ".join(f"{name} {value / own:.2f}" for name, value in median.items())
            print(f"{work.name:8} {type(algorithm).__name__:9} {own * 1e6:11.3f} {share:8.0%}  {ratios}", flush=True)
            results.append(
                {"workload": work.name, "algorithm": type(algorithm).__name__, "seconds": own, "peers": median}
            )
    if options.json:
        options.json.write_text(json.dumps({"dgemm": peak, "results": results}, indent=1))


if __name__ == "__main__":
    main()
