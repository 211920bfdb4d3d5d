"""GU's Figures 1 and 2: how far the layers' norms move while training, and the law between the first two layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks
from .._base.axes import COLOURS
from .._base.interrupt import as_a_whole
from .._base.types import Array, Float64Array, Seed
from .._motion.base import Algorithm
from .._motion.gradient_descent import GD
from .._motion.leapfrog import Leapfrog
from .._motion.nesterov import NAGD
from .._problem import datasets
from .._problem.dataset import Dataset
from .._problem.network import Network
from .._run.integrate import integrate
from .._run.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = (784, 128, 64, 10)
_RECORDS = 150
# The curves of layers with equal speeds coincide: wider lines are drawn first.
_LINEWIDTHS = (4.5, 2.4, 1.2)
# The law of each dynamics (GU Table 3), as the quantity that stays zero; and the titles of the panels.
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


@as_a_whole()
def training_figure(
    activation: str | Sequence[str],
    *,
    n_samples: int,
    steps: int,
    lr: float,
    rng: Seed,
    progress: bool,
) -> tuple[Figure, dict[str, Any]]:
    """Train by GD, leapfrog and NAGD up to the same time and draw a panel for each; see `figures.figure1`."""
    from matplotlib.figure import Figure

    steps = checks.integer(steps, "steps", minimum=1)
    n_samples = checks.integer(n_samples, "n_samples", minimum=1)
    lr = checks.real(lr, "lr", minimum=0, strict=True)
    progress = checks.boolean(progress, "progress")
    algorithms = (GD(lr), Leapfrog(lr), NAGD(lr))
    seed = checks.generator(rng)
    data = find_data(n_samples, seed)
    net = Network(WIDTHS, activation=activation, loss="nll")
    start = net.init(rng=seed, scheme="lecun")
    figure = Figure(figsize=(11.0, 3.9), layout="constrained")
    time = steps * algorithms[0].dt
    numbers: dict[str, Any] = {
        "dataset": data.name,
        "n_samples": n_samples,
        "network": net.specification(),
        "lr": lr,
        "steps": steps,
        "time": time,
        "runs": {},
    }
    for i, (ax, algorithm) in enumerate(zip(figure.subplots(1, 3), algorithms, strict=True)):
        run, norms, weights = _train(net, data, algorithm, start, max(1, round(time / algorithm.dt)), progress)
        law = _layer_law(run, algorithm)
        _draw_panel(ax, run, norms, law, algorithm, first=i == 0, last=i == 2)
        numbers["runs"][type(algorithm).__name__] = {
            "t": run.t,
            "steps": int(run.step[-1]),
            "loss": run.loss,
            "squared_norms": norms,
            "speed_ratios": _speed_ratios(norms, weights),
            "law": law,
            "discrete_residual": float(max(np.abs(r.discrete_residual).max() for r in run.laws.values())),
            "status": run.status,
        }
    labels = [
        rf"$\Delta(\|W_{h}\|^2+\|b_{h}\|^2)\;/\;\Delta\|W_{h + 1}\|^2={ratio:.3f}$"
        for h, ratio in enumerate(numbers["runs"]["GD"]["speed_ratios"], start=1)
    ]
    figure.axes[0].text(
        0.97, 0.03, "\n".join(labels),
        transform=figure.axes[0].transAxes, ha="right", va="bottom", fontsize=8,
    )  # fmt: skip
    p = net.activations[0].degree
    factor = "" if p == 1 else f"{p:g}"
    figure.suptitle(
        f"{'–'.join(map(str, WIDTHS))}, {', '.join(dict.fromkeys(map(str, net.activations)))}; "
        f"{n_samples} samples of {data.name}; learning rate {lr:g};  "
        rf"$Q=\frac{{1}}{{2}}(\|W_1\|^2+\|b_1\|^2-{factor}\|W_2\|^2)$",
        fontsize=10,
    )
    return figure, numbers


def _speed_ratios(norms: Float64Array, weights: Float64Array) -> list[float]:
    """Return the change of |W_h|² + |b_h|² in units of that of |W_{h+1}|²: p under gradient flow (GU §4.2)."""
    moved = norms[-1] - norms[0], weights[-1] - weights[0]
    return [float(a / b) for a, b in zip(moved[0][:-1], moved[1][1:], strict=True)]


def _train(
    net: Network, data: Dataset, algorithm: Algorithm, start: Array, steps: int, progress: bool
) -> tuple[Trajectory, Float64Array, Float64Array]:
    """Return the run, and |W_h|² + |b_h|² and |W_h|² of every layer at the records, shape (R, L)."""

    def squares(x: Array) -> Array:
        blocks = net.unpack(x)
        layers = range(1, net.n_layers + 1)
        return np.array([[(blocks[f"W{h}"] ** 2).sum(), (blocks[f"b{h}"] ** 2).sum()] for h in layers])

    run = integrate(
        net.potential(data),
        algorithm,
        start,
        steps,
        record_every=max(1, steps // _RECORDS),
        laws=[f"scaling:{h}" for h in range(1, net.n_layers)],
        observe={"squares": squares},
        progress=progress,
    )
    observed = np.asarray(run.observed["squares"], np.float64)
    return run, observed.sum(axis=-1), observed[..., 0]


def _layer_law(run: Trajectory, algorithm: Algorithm) -> Float64Array:
    """Return the residual of GU's law (Table 3) summed over layer 1, in units of Q (GD) or Q̇ (the others), shape (R,)."""
    residual = run.laws["scaling:1"].residual.sum(axis=1)
    if algorithm.dynamics.mass == 0:
        return np.asarray(residual)
    mu = algorithm.dynamics.law_weight(run.t)
    return np.asarray(np.divide(residual, mu, out=np.zeros_like(residual), where=mu > 0))


def _draw_panel(
    ax: Any, run: Trajectory, norms: Float64Array, law: Float64Array, algorithm: Algorithm, *, first: bool, last: bool
) -> None:
    """Draw how far the norms moved on the left axis, the law on the right one."""
    for h, width in enumerate(_LINEWIDTHS):
        label = rf"$\|W_{h + 1}\|^2+\|b_{h + 1}\|^2$ (from {norms[0, h]:.3g})"
        ax.plot(run.t, norms[:, h] - norms[0, h], color=COLOURS[h], linewidth=width, label=label)
    right = ax.twinx()
    name = type(algorithm).__name__
    right.plot(run.t, law, color=COLOURS[6], linestyle=(0, (4, 2)), linewidth=1.2, label=_ROWS[name])
    reach = 2.5 * max(float(np.abs(law[np.isfinite(law)]).max()), np.finfo(float).tiny)
    right.set_ylim(-reach, reach)
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.2 * (high - low), high + 0.55 * (high - low))  # room for text below the curves and above
    ax.set_xlabel("time $t$")
    ax.set_title(f"{_TITLES[name]}: loss {run.loss[0]:.3g} → {run.loss[-1]:.3g}", fontsize=10)
    if first:
        ax.set_ylabel("change of the layers' squared norms")
    if last:
        right.set_ylabel("defect of the law (dashed)")
    right.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    handles = ax.get_legend_handles_labels()
    law_handles = right.get_legend_handles_labels()
    right.legend(
        handles[0] + law_handles[0], handles[1] + law_handles[1], frameon=False, fontsize=7.5, loc="upper left"
    )
