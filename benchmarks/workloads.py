"""What the contestants of peers.py and gpu.py are given to do: networks, their data, an algorithm, how long to run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import noetherlite as nl
from noetherlite._kernels import pointwise

EVERY = 10  # steps between records
RADIAL_START = (1.4, 0.1, -0.2)
# The symmetry of the hidden layers; other activations have none.
HIDDEN_LAWS = {"relu": "scaling", "linear(1.0)": "linear"}
SEED = 0


class Outcome(NamedTuple):
    """A number that all contestants must agree on, such as the last loss of the first network, and how many networks were run."""

    value: float
    networks: int = 1


class Workload(NamedTuple):
    """A network, its data, and how long to run; the radial potential where there are no widths."""

    name: str
    widths: tuple[int, ...]
    samples: int
    steps: int
    networks: int = 1
    activation: str = "relu"
    loss: str = "nll"
    methods: tuple[str, ...] = ("GD", "Leapfrog")
    laws: str = "hidden"  # "hidden": those of the hidden layers, by name; "all": what `integrate` finds by itself
    batch: int = 0  # samples of a minibatch; 0: all
    dtype: str = "float64"
    group: str = ""  # the part of the table that it stands in

    def algorithms(self) -> tuple[Any, ...]:
        """Return the algorithms, None for a kernel; those with momentum run to t = 5, before chaos makes round-off visible in the loss."""
        made = {
            "GD": nl.GD(1e-2),
            "Leapfrog": nl.Leapfrog((5 / self.steps) ** 2),
            "NAGD": nl.NAGD((5 / self.steps) ** 2),
            "Adam": nl.Adam(0.1 / self.steps),
        }
        return tuple(made.get(name) for name in self.methods)

    def problem(self) -> tuple[nl.Network, np.ndarray, np.ndarray, np.ndarray]:
        """Return the network, X, y and θ_0 of each network, shape (networks, P)."""
        rng = np.random.default_rng(SEED)
        net = nl.Network(self.widths, self.activation, loss=self.loss)
        X, outputs = rng.standard_normal((self.samples, self.widths[0])), self.widths[-1]
        labels = self.loss == "nll"
        y = rng.integers(0, outputs, self.samples) if labels else rng.standard_normal((self.samples, outputs))
        return net, X, y, np.stack([net.init(rng=1 + e, bias_std=0.1) for e in range(self.networks)])

    @property
    def hidden_laws(self) -> list[str]:
        """The names of the laws of the hidden layers."""
        kind = HIDDEN_LAWS.get(self.activation)
        return [f"{kind}:{h}" for h in range(1, len(self.widths) - 1)] if kind else []

    def options(self) -> dict[str, Any]:
        """Return the arguments of `nl.integrate` and `nl.ensemble` that are not their default."""
        out = {"record_every": EVERY, "laws": "all" if self.laws == "all" else self.hidden_laws, "dtype": self.dtype}
        return {**out, "batch_size": self.batch, "rng": SEED} if self.batch else out

    def drawn(self) -> np.ndarray:
        """Return the samples of each minibatch, shape (steps + 1, batch), as our runs draw them."""
        key, order = np.uint64(np.random.default_rng(SEED).integers(2**63)), np.arange(self.samples)
        rows: list[np.ndarray] = []
        for evaluation in range(self.steps + 1):
            epoch, first = pointwise.minibatch(evaluation, self.batch, self.samples)
            if first == 0:
                pointwise.shuffle(key, epoch, order)
            rows.append(order[first : first + self.batch].copy())
        return np.stack(rows)

    def flops(self) -> int:
        """Floating-point operations in the dense products of one gradient, as written: without input reduction."""
        sizes = [n * m for n, m in zip(self.widths[1:], self.widths[:-1], strict=True)]
        return 2 * (self.batch or self.samples) * (3 * sum(sizes) - sizes[0])

    def tolerance(self, value: float) -> float:
        """Return how far contestants may be from each other: 1e-10, or what roundings of float32 add up to over the run."""
        if self.dtype == "float64":
            return 1e-10 * max(1.0, abs(value))
        # A gradient is a sum over the samples; each step rounds x once more: 8 ε (steps + √N) of the loss, as of our laws.
        return 8 * float(np.finfo(self.dtype).eps) * (self.steps + self.samples**0.5) * max(1.0, abs(value))


TINY = Workload("tiny", (4, 8, 8, 3), 32, 20000)
SMALL = Workload("small", (10, 32, 32, 3), 100, 4000)
MIDDLE = Workload("middle", (64, 64, 32, 10), 256, 1000)
PAPER = Workload("paper", (784, 128, 64, 10), 512, 500)
WIDE = Workload("wide", (784, 2048, 2048, 10), 1024, 8)
SIZES = (TINY, SMALL, MIDDLE, PAPER)
_THREE = (SMALL._replace(steps=2000), MIDDLE._replace(steps=500), PAPER._replace(steps=200))


def _rows(group: str, sizes: tuple[Workload, ...], **changes: Any) -> list[Workload]:
    return [size._replace(group=group, **changes) for size in sizes]


FIRST = (
    *SIZES,
    WIDE,
    Workload("ensemble", (10, 16, 16, 3), 64, 400, networks=512),
    Workload("radial", (), 0, 1_000_000, methods=("Leapfrog",)),
)
# What people run: not all products of sizes, activations, losses, algorithms, laws and precisions, but each beside ReLU with GD.
WORKLOADS = (
    *_rows("ReLU, negative log-likelihood", FIRST),
    *_rows("other activations", _THREE, activation="tanh", methods=("GD", "Leapfrog")),
    *_rows("other activations", _THREE, activation="swish(1.0)", methods=("GD",)),
    *_rows("other activations", _THREE, activation="gelu", methods=("GD",)),
    *_rows("mean squared error", _THREE, loss="mse", methods=("GD",)),
    *_rows("mean squared error", _THREE, loss="mse", activation="tanh", methods=("GD",)),
    *_rows("other algorithms", _THREE, methods=("NAGD", "Adam")),
    *_rows('linear layers, laws="all"', _THREE, activation="linear(1.0)", laws="all"),
    *_rows("float32", _THREE, dtype="float32", methods=("GD",)),
    *_rows("float32", _THREE, dtype="float32", activation="tanh", methods=("GD",)),
    *_rows("minibatches of 32", (PAPER,), batch=32, methods=("GD", "Adam")),
    *_rows('short runs, laws="all"', (TINY._replace(steps=1),), laws="all", methods=("GD",)),
    *_rows('short runs, laws="all"', (SMALL, PAPER), steps=50, laws="all", methods=("GD",)),
    *_rows('short runs, laws="all"', (PAPER,), steps=50, laws="all", activation="linear(1.0)", methods=("GD",)),
    *_rows("short runs of minibatches of 32", (PAPER,), steps=50, batch=32, methods=("GD",)),
    *_rows("tangent kernel", (SMALL, MIDDLE, PAPER._replace(samples=32)), steps=1, methods=("kernel",)),
)
