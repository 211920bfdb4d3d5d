"""Figures of broken laws: residuals against the learning rate, and the drift of SGD against the batch size (theory §6, §10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks
from .._base.axes import COLOURS
from .._base.interrupt import as_a_whole
from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._motion.conformal_leapfrog import ConformalLeapfrog
from .._motion.gradient_descent import GD
from .._motion.heavy_ball import HeavyBall
from .._motion.leapfrog import Leapfrog
from .._motion.nesterov import NAGD
from .._problem import datasets, drawn
from .._problem.network import Network, NetworkPotential
from .._run.integrate import integrate
from .._theory.drift import drift

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EPS = float(np.finfo(np.float64).eps)
_MARKERS = ("o", "s", "^", "D", "v", "x")
_BETA = 0.9
_PARTS = ("lr", "noise", "decay", "momentum")  # of a drift: steps along gradients have no other
_DECAY = 0.01

# (title, lr ↦ algorithm, final time, start, learning rates): the same time for every rate.
_FIRST = 0.064 * 0.5 ** np.arange(7)
_SECOND = 1e-3 * 0.25 ** np.arange(6)
_CASES: tuple[tuple[str, Any, float, float, Any], ...] = (
    ("(a) gradient descent", GD, 2.048, 0.0, _FIRST),
    (f"(b) heavy ball, $\\beta={_BETA}$", lambda lr: HeavyBall(lr / 10, _BETA), 0.2048, 0.0, _FIRST),
    ("(c) leapfrog (ND)", Leapfrog, 64 * np.sqrt(1e-3), 0.0, _SECOND),
    ("(d) Nesterov (NAGF)", NAGD, 64 * np.sqrt(1e-3), 0.0, _SECOND),
    (
        "(e) conformal leapfrog, $\\gamma=\\alpha=1$",
        lambda lr: ConformalLeapfrog(lr, gamma=1, alpha=1),
        64 * np.sqrt(1e-3),
        0.5,
        _SECOND,
    ),
)
_LAWS = ("scaling:1", "linear:2", "translation:b", "translation:W", "rotation", "energy")


@as_a_whole()
def discretisation() -> tuple[Figure, dict[str, Any]]:
    """Draw the residual of every law against the learning rate, for every algorithm.

    Returns
    -------
    figure : matplotlib.figure.Figure
        A panel for each algorithm, run up to the same time at learning rates that fall by factors.
    numbers : dict
        Under the algorithm's name "lr", "residual" (largest of each law), and "slope": the fitted exponent of the
        learning rate, None where all residuals are round-off.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    numbers: dict[str, Any] = {}
    for ax, (title, make, duration, t0, rates) in zip(axes, _CASES, strict=False):
        algorithms = [make(lr) for lr in rates]
        name = type(algorithms[0]).__name__
        residuals = [_residuals(a, round(duration / a.dt), t0) for a in algorithms]
        lr = np.array([a.lr for a in algorithms])
        curves = {law: np.array([row[law] for row in residuals]) for law in _LAWS if law in residuals[0]}
        numbers[name] = {"lr": lr, "residual": curves, "slope": {}}
        for law, values in curves.items():
            numbers[name]["slope"][law] = _draw_curve(ax, lr, values, law)
        ax.set(title=title, xscale="log", yscale="log", ylim=(1e-18, 10))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("largest residual $|r(t)|$")
        ax.legend(frameon=False, fontsize=8, ncols=3, columnspacing=1.0, loc="lower left", bbox_to_anchor=(0.0, 0.26))
    _draw_legend(axes[-1])
    return figure, numbers


def _draw_legend(ax: Axes) -> None:
    """Draw the legend of all panels, and an explanation, into an empty one."""
    ax.axis("off")
    for i, law in enumerate(_LAWS):
        ax.plot([], [], color=COLOURS[i], marker=_MARKERS[i], markersize=4, linewidth=1.0, label=law)
    ax.legend(frameon=False, fontsize=9, ncols=2, loc="upper left")
    text = (
        "Largest residual of any component at any record,",
        "up to the same time for every learning rate.",
        "Numbers: fitted exponents of the learning rate;",
        "the order in the time per step is the same in (a), (b)",
        "and twice that in the others. “exact”: round-off only.",
        "",
        "scaling, linear, translation: 3–5–4–3, swish and",
        "linear, softmax; rotation: z² on the icosahedron;",
        "energy: $|E-E_0|$, where there is no friction.",
    )
    ax.text(0.02, 0.62, "\n".join(text), va="top", fontsize=8, transform=ax.transAxes)


def _problems() -> tuple[NetworkPotential, NetworkPotential]:
    classes = Network([3, 5, 4, 3], ["swish", "linear"]).potential(
        drawn.gaussian_classes(n=40, n_features=3, n_classes=3, rng=0)
    )
    ball = Network([3, 4, 1], "polynomial(2)", loss="mse").potential(datasets.icosahedron())
    return classes, ball


def _residuals(algorithm: Algorithm, steps: int, t0: float) -> dict[str, float]:
    """Return the largest residual of each law."""
    largest = {}
    for U in _problems():
        x0 = U.network.init(rng=1, bias_std=0.3)
        rng = np.random.default_rng(2)
        moving = algorithm.has_velocity and algorithm.dynamics.mass > 0 and (t0 > 0 or algorithm.dynamics.alpha == 0)
        velocity = 0.3 * rng.standard_normal(x0.size) if moving else None
        run = integrate(U, algorithm, x0, steps, velocity=velocity, t0=t0, record_every=max(1, steps // 16))
        largest.update({name: float(np.abs(law.residual).max()) for name, law in run.laws.items() if name in _LAWS})
        if (algorithm.dynamics.gamma, algorithm.dynamics.alpha) == (0, 0):
            largest.setdefault("energy", float(np.abs(run.energy - run.energy[0]).max()))
    return largest


def _draw_curve(ax: Axes, lr: Float64Array, values: Float64Array, law: str) -> float | None:
    """Draw a law's residuals; return the exponent of the learning rate, or None where they are round-off."""
    i = _LAWS.index(law)
    exact = bool(values.max() < 1e4 * _EPS)
    slope = None if exact else float(np.polyfit(np.log(lr), np.log(values), 1)[0])
    label = "exact" if slope is None else f"{slope:.2f}"
    style: dict[str, Any] = {"color": COLOURS[i], "marker": _MARKERS[i], "markersize": 4, "linewidth": 1.0}
    ax.plot(lr, np.maximum(values, 1e-17), label=label, **style)
    return slope


@as_a_whole()
def batch_size(seeds: int = 8) -> tuple[Figure, dict[str, Any]]:
    """Draw the drift of SGD from the law of gradient flow, and its parts, against the batch size.

    Parameters
    ----------
    seeds : int
        Initial parameters and minibatch streams per batch size, ≥ 2.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Two panels, without and with momentum and weight decay: the drift at the end and the parts it is the sum of, see
        `noetherlite.drift`, beside the variance of a minibatch's mean, ∝ (N − B)/(B(N − 1)).
    numbers : dict
        "batch_size", and under the algorithm's name "mean" and "error", shape (batch sizes, 5), with their "columns".
    """
    from matplotlib.figure import Figure

    seeds = checks.integer(seeds, "seeds", minimum=2)
    n, steps, lr = 64, 400, 0.02
    net = Network([3, 8, 3], "relu")
    U = net.potential(drawn.gaussian_classes(n=n, n_features=3, n_classes=3, rng=0))
    sizes = 2 ** np.arange(7)
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    numbers: dict[str, Any] = {"batch_size": sizes}
    panels: dict[str, GD | HeavyBall] = {
        "(a) SGD": GD(lr),
        f"(b) SGD with momentum {_BETA} and weight decay {_DECAY:g}": HeavyBall(lr / 10, _BETA, weight_decay=_DECAY),
    }
    for ax, (title, algorithm) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        drifts = np.array([[_drift_sizes(U, algorithm, steps, int(B), seed) for seed in range(seeds)] for B in sizes])
        mean, error = drifts.mean(axis=1), drifts.std(axis=1, ddof=1) / np.sqrt(seeds)
        numbers[type(algorithm).__name__] = {"mean": mean, "error": error, "columns": ["change", *_PARTS]}
        for i, part in enumerate(["all", *_PARTS]):
            if mean[:, i].any():
                shown = np.where(mean[:, i] > 0, mean[:, i], np.nan)  # batches of all samples have no noise
                style = {"color": (COLOURS[6], *COLOURS)[i], "marker": _MARKERS[i], "markersize": 4, "capsize": 2}
                ax.errorbar(sizes, shown, error[:, i], label=part, linewidth=2.0 if i == 0 else 1.0, **style)
        below = sizes[:-1]  # a batch of all samples has no noise
        law = (n - below) / (below * (n - 1.0))
        guide = law * np.exp(np.mean(np.log(mean[:-1, 1 + _PARTS.index("noise")] / law)))
        ax.plot(below, guide, color="0.5", linestyle=":", label=r"$\propto\frac{N-B}{B(N-1)}$", zorder=0)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("batch size $B$")
        ax.set_xticks(sizes, [str(B) for B in sizes])
        ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower left")
    figure.axes[0].set_ylim(3e-4, 1)  # room for the legends
    figure.axes[0].set_ylabel(r"drift of $Q$ at the end, $|Q-Q_0|$ over all neurons")
    figure.suptitle(
        f"3–8–3, relu, softmax; N = {n} samples; {steps} steps of learning rate {lr:g} (a), {lr / 10:g} (b); "
        f"mean of {seeds} seeds ± its standard error",
        fontsize=9,
    )
    return figure, numbers


def _drift_sizes(U: NetworkPotential, algorithm: GD | HeavyBall, steps: int, batch_size: int, seed: int) -> list[float]:
    """Return |Q − Q_0| at the end and the size of each of its parts, over the neurons."""
    x0 = U.network.init(rng=seed)
    run = drift(U, algorithm, x0, steps, record_every=steps, laws=["scaling:1"], batch_size=batch_size, rng=seed)
    law = run["scaling:1"]
    return [float(np.linalg.norm(a[-1])) for a in (law.change, *(law.parts[part] for part in _PARTS))]
