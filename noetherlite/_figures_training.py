"""GU's Figures 1 and 2: the layers' norms while training, and the law between the first two layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import datasets
from ._types import Array, Float64Array, Seed
from .algorithms import GD, NAGD, Algorithm, Leapfrog
from .datasets import Dataset
from .network import Network
from .plot import COLOURS
from .simulate import Snapshot, integrate
from .trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = (784, 128, 64, 10)
_RECORDS = 150
# The law of each dynamics (Table 2), as what must not move from zero; and the panels' titles.
_ROWS = {
    "GD": r"$Q-Q(0)$",
    "Leapfrog": r"$\dot Q-\int S\,\mathrm{d}s$",
    "NAGD": r"$\dot Q-t^{-3}\!\int s^3S\,\mathrm{d}s$",
}
_TITLES = {"GD": "(a) gradient descent", "Leapfrog": "(b) leapfrog (ND)", "NAGD": "(c) Nesterov (NAGF)"}


def find_data(n_samples: int, rng: Seed) -> Dataset:
    """Return Kuzushiji-MNIST where it is found, the train split before the test split, else the embedded glyphs."""
    for split in ("train", "test"):
        try:
            return datasets.kmnist(n=n_samples, split=split, rng=rng)
        except FileNotFoundError:
            continue
    return datasets.glyphs(n=n_samples, rng=rng)


def training_figure(
    activation: str | Sequence[str],
    *,
    n_samples: int,
    steps: int,
    lr: float,
    rng: Seed,
    progress: bool,
) -> tuple[Figure, dict[str, Any]]:
    """Train by GD, leapfrog and NAGD and draw a panel for each; see `figures.figure1`."""
    from matplotlib.figure import Figure

    seed = np.random.default_rng(rng)
    data = find_data(n_samples, seed)
    net = Network(WIDTHS, activation=activation, loss="nll")
    start = net.init(rng=seed, scheme="lecun")
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    numbers: dict[str, Any] = {
        "dataset": data.name,
        "n_samples": n_samples,
        "network": net.specification(),
        "lr": lr,
        "steps": steps,
        "runs": {},
    }
    algorithms = (GD(lr), Leapfrog(lr), NAGD(lr))
    for i, (ax, algorithm) in enumerate(zip(figure.subplots(1, 3), algorithms, strict=True)):
        run, norms = _train(net, data, algorithm, start, steps, progress)
        law = _layer_law(run, algorithm)
        _panel(ax, run, norms, law, algorithm, first=i == 0, last=i == 2)
        numbers["runs"][type(algorithm).__name__] = {
            "t": run.t,
            "loss": run.loss,
            "squared_norms": norms,
            "law": law,
            "discrete_residual": float(max(np.abs(r.discrete_residual).max() for r in run.laws.values())),
            "status": run.status,
        }
    p = net.activations[0].degree
    factor = "" if p == 1 else f"{p:g}"
    figure.suptitle(
        f"{'–'.join(map(str, WIDTHS))}, {', '.join(dict.fromkeys(map(str, net.activations)))}; "
        f"{n_samples} samples of {data.name}; learning rate {lr:g};  "
        rf"$Q=\frac{{1}}{{2}}(\|W_1\|^2+\|b_1\|^2-{factor}\|W_2\|^2)$",
        fontsize=10,
    )
    return figure, numbers


def _train(
    net: Network, data: Dataset, algorithm: Algorithm, start: Array, steps: int, progress: bool
) -> tuple[Trajectory, Float64Array]:
    """Return the run, and |W_h|² + |b_h|² of every layer at the records, shape (R, L)."""
    norms: list[list[float]] = []

    def watch(snapshot: Snapshot) -> None:
        blocks = net.unpack(snapshot.x)
        layers = range(1, net.n_layers + 1)
        norms.append([float((blocks[f"W{h}"] ** 2).sum() + (blocks[f"b{h}"] ** 2).sum()) for h in layers])

    every = max(1, steps // _RECORDS)
    scalings = [f"scaling:{h}" for h in range(1, net.n_layers)]
    run = integrate(
        net.potential(data),
        algorithm,
        start,
        steps,
        record_every=every,
        laws=scalings,
        callback=watch,
        progress=progress,
    )
    return run, np.array(norms[: run.t.size])


def _layer_law(run: Trajectory, algorithm: Algorithm) -> Float64Array:
    """Return the residual of Table 2's law summed over layer 1, in units of Q (GD) or Q̇ (the others), shape (R,)."""
    residual = run.laws["scaling:1"].residual.sum(axis=1)
    if algorithm.dynamics.mass == 0:
        return np.asarray(residual)
    mu = algorithm.dynamics.law_weight(run.t)
    return np.asarray(np.divide(residual, mu, out=np.zeros_like(residual), where=mu > 0))


def _panel(
    ax: Any, run: Trajectory, norms: Float64Array, law: Float64Array, algorithm: Algorithm, *, first: bool, last: bool
) -> None:
    """Draw the norms on the left axis, the law on the right one."""
    for h in range(norms.shape[1]):
        ax.plot(run.t, norms[:, h], color=COLOURS[h], label=rf"$\|W_{h + 1}\|^2+\|b_{h + 1}\|^2$")
    right = ax.twinx()
    name = type(algorithm).__name__
    right.plot(run.t, law, color=COLOURS[6], linestyle=(0, (4, 2)), linewidth=1.2, label=_ROWS[name])
    reach = 2.5 * max(float(np.abs(law[np.isfinite(law)]).max()), np.finfo(float).tiny)
    right.set_ylim(-reach, reach)
    ax.set_ylim(0, 1.45 * norms.max())  # room for the legend above the curves
    ax.set_xlabel("time $t$")
    ax.set_title(f"{_TITLES[name]}: loss {run.loss[0]:.3g} → {run.loss[-1]:.3g}", fontsize=10)
    if first:
        ax.set_ylabel("squared norms of the layers")
    if last:
        right.set_ylabel("defect of the law (dashed)")
    right.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    handles = ax.get_legend_handles_labels()
    own = right.get_legend_handles_labels()
    right.legend(handles[0] + own[0], handles[1] + own[1], frameon=False, fontsize=7.5, loc="upper left", ncols=2)
