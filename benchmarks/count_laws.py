"""Count the conservation laws of random architectures: 50 linear ones and 50 with ReLU, as Marcotte et al. (2023) did.

    python benchmarks/count_laws.py [--networks 50] [--seed 0] [--flow gradient] [--every]

Linear: 2 to 4 layers, widths 2 to 5, no biases. ReLU: 2 to 4 layers, widths 2 to 9, biases at random. Bounds must meet (a
certificate but for ReLU networks of more than one hidden layer, which need all activation patterns to occur), and counts are
compared with theory: the number of hidden neurons for ReLU, and for two linear layers the closed form. The time is that of the calls, compilation named apart. With --every, instead: all linear architectures of 2 to 4 layers and
widths 1, 2, 3 and 5, with and without biases, scalar ones included.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np

import noetherlite as nl


def draw(kind: str, rng: np.random.Generator) -> nl.Network:
    widths = rng.integers(2, 6 if kind == "linear" else 10, rng.integers(3, 6)).tolist()
    return nl.Network(widths, kind, bias=kind == "relu" and bool(rng.integers(2)), loss="mse")


def formula(net: nl.Network, flow: str) -> int | None:
    """Return the number of laws in closed form, where there is one."""
    if net.activations[0].name == "relu":
        return sum(net.widths[1:-1]) if flow == "gradient" else 0
    if net.n_layers > 2:
        return None
    n, r, m = net.widths
    N = n + m
    if flow == "gradient":
        return r * (r + 1) // 2 if r <= N else N * (2 * r - N + 1) // 2
    return r * (r - 1) // 2 if r <= 2 * N else 2 * N * r - N * (2 * N + 1)


def every(flow: str) -> None:
    """Count the laws of all small linear architectures and say how many are certified."""
    start = time.perf_counter()
    counts = [
        nl.count_laws(nl.Network(widths, "linear", bias=bias, loss="mse"), flow)
        for layers in (2, 3, 4)
        for widths in itertools.product((1, 2, 3, 5), repeat=layers + 1)
        for bias in (False, True)
    ]
    print(
        f"{len(counts)} linear networks in {time.perf_counter() - start:.1f} s: {sum(c.certified for c in counts)} "
        f"certified, brackets to depth {max(len(c.depths) for c in counts)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=50, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flow", choices=["gradient", "momentum"], default="gradient")
    parser.add_argument("--every", action="store_true", help="all small linear architectures")
    options = parser.parse_args()

    start = time.perf_counter()
    nl.count_laws(nl.Network([2, 2, 2], "linear", loss="mse"), options.flow)
    print(f"first call, with compilation or its cache: {time.perf_counter() - start:.2f} s")
    if options.every:
        every(options.flow)
        return
    rng = np.random.default_rng(options.seed)
    for kind in ("linear", "relu"):
        networks = [draw(kind, rng) for _ in range(options.networks)]
        start = time.perf_counter()
        counts = [nl.count_laws(net, options.flow) for net in networks]
        seconds = time.perf_counter() - start
        expected = [formula(net, options.flow) for net in networks]
        wrong = [net for net, c, e in zip(networks, counts, expected, strict=True) if e is not None and c != e]
        assert not wrong, wrong
        assert all(c.lower == c.upper for c in counts)
        print(
            f"{kind}: {len(counts)} networks of {min(n.n_params for n in networks)} to "
            f"{max(n.n_params for n in networks)} parameters in {seconds:.2f} s; {sum(c.certified for c in counts)} "
            f"certified, {sum(bool(c.assumption) for c in counts)} if every activation pattern occurs; "
            f"{sum(e is not None for e in expected)} with a formula, which they meet; brackets to depth "
            f"{max(len(c.depths) for c in counts)}"
        )


if __name__ == "__main__":
    main()
