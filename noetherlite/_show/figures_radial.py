"""GU's Figures 3–6: a particle in the potential U(w) = (|w|² − 1)²/10 + 2/25, and the neuron that has this loss."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base.axes import COLOURS
from .._base.interrupt import as_a_whole
from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._motion.conformal_leapfrog import ConformalLeapfrog
from .._motion.gradient_descent import GD
from .._problem import datasets
from .._problem.network import Network
from .._problem.potentials import Callable, Potential, Radial
from .._run.integrate import integrate
from .._run.trajectory import Trajectory
from .._symmetry.affine import Symmetry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

START, VELOCITY = (1.3, 0.2, 0.4), (-0.25, 0.375, 0.25)
LR = 2.5e-3  # h = 0.05
# A small positive time, against the period of 7 about the sphere: at t = 0 the friction 3/t of NAGF is infinite.
T0, STEPS = 0.5, 1600
MINIMUM = 2 / 25
RUNS: dict[str, Algorithm] = {
    "ND": ConformalLeapfrog(LR),
    "NAGF": ConformalLeapfrog(LR, alpha=3),
    "GF": GD(0.05),
}


def neuron() -> Callable:
    """Return the loss of one neuron f(x) = ⟨w, x⟩² on the icosahedron with labels 3/5, as a function of w ∈ R³.

    It is the network 3–1–1 with activation z² and its outgoing weight held at 1. The twelve vertices are a spherical
    5-design and U is a polynomial of degree 4 in the input, so U(w) = (|w|² − 1)²/10 + 2/25 exactly.
    """
    net = Network([3, 1, 1], activation="polynomial(2)", bias=False, loss="mse")
    U = net.potential(datasets.icosahedron(label=0.6))

    def value_and_gradient(w: Float64Array) -> tuple[float, Float64Array]:
        value, gradient = U.value_and_gradient(np.append(w, 1.0))
        return value, gradient[:3]

    return Callable(value_and_gradient, 3)


def angular_momenta() -> list[Symmetry]:
    """Return the rotations about the three axes: g(w) = e_i × w, with charge J_i = M_i, M = w × ẇ."""
    axes = np.eye(3)
    return [Symmetry(np.cross(axes[i], axes).T, name=f"M{i + 1}") for i in range(3)]


@as_a_whole()
def runs(dynamics: tuple[str, ...]) -> tuple[dict[str, Trajectory], dict[str, Any]]:
    """Return the runs in the radial potential, and their numbers, with the largest difference from the neuron's runs."""
    trajectories: dict[str, Trajectory] = {}
    numbers: dict[str, Any] = {"start": START, "velocity": VELOCITY, "t0": T0, "lr": LR, "steps": STEPS, "runs": {}}
    for name in dynamics:
        trajectories[name] = _run(Radial(), name)
        w = orbit(trajectories[name])
        numbers["runs"][name] = {
            "t": trajectories[name].t,
            "w": w,
            "loss": trajectories[name].loss,
            "angular_momentum": momentum(trajectories[name]),
            "largest difference from the neuron": float(np.abs(w - _orbit_of_neuron(name)).max()),
        }
    return trajectories, numbers


def _run(U: Potential, name: str) -> Trajectory:
    moving: dict[str, Any] = {} if name == "GF" else {"velocity": VELOCITY}
    return integrate(
        U, RUNS[name], START, STEPS, t0=T0, record_every=2, record_params=True, laws=angular_momenta(), **moving
    )


@functools.cache  # of Python's function, whose steps take a hundred times as long as the compiled ones of the particle
def _orbit_of_neuron(name: str) -> Float64Array:
    return orbit(_run(neuron(), name))


def orbit(run: Trajectory) -> Float64Array:
    """Return w(t), shape (R, 3)."""
    return np.asarray(run.params)


def momentum(run: Trajectory) -> Float64Array:
    """Return M(t) = w × ẇ, shape (R, 3)."""
    return np.hstack([run.laws[f"M{i}"].charge for i in (1, 2, 3)])


def orbit_figure(name: str, title: str) -> tuple[Figure, dict[str, Any]]:
    """Draw an orbit, the unit sphere, the plane through 0 perpendicular to M, and the orbit of gradient flow, in three views."""
    from matplotlib.figure import Figure

    trajectories, numbers = runs((name, "GF"))
    w, straight = orbit(trajectories[name]), orbit(trajectories["GF"])
    normal = _unit(momentum(trajectories[name])[0])
    numbers["largest distance from the plane"] = float(np.abs(w @ normal).max())
    ray = _unit(np.array(START))
    deviation = straight - np.outer(straight @ ray, ray)
    numbers["largest distance of gradient flow from its segment"] = float(np.abs(deviation).max())
    figure = Figure(figsize=(12.0, 4.6), layout="constrained")
    figure.suptitle(f"{title} from $t_0={T0:g}$", fontsize=11)
    places = figure.add_gridspec(1, 3, width_ratios=(1, 1, 0.8))
    for i, view in enumerate(((22, -50), _view_along_plane(normal))):
        ax: Any = figure.add_subplot(places[i], projection="3d")
        _draw_in_space(ax, name, w, straight, normal)
        ax.view_init(*view)
        ax.set_title(("(a) from above", "(b) along the plane")[i], fontsize=10, y=0.98)
    _draw_in_plane(figure.add_subplot(places[2]), w, straight, np.array(_plane(normal)))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure, numbers


def _draw_in_space(ax: Any, name: str, w: Float64Array, straight: Float64Array, normal: Float64Array) -> None:
    """Draw the run w and that of gradient flow in R³."""
    _draw_sphere_and_plane(ax, normal)
    ax.plot(*w.T, color=COLOURS[0], linewidth=1.2, label=f"{name}: $w(t)$")
    ax.plot(*straight.T, color=COLOURS[1], linewidth=2.4, label="GF: a segment of the ray through $S$")
    ax.scatter(*START, color=COLOURS[6], s=24, depthshade=False)
    ax.scatter(*w[-1], color=COLOURS[3], marker="s", s=24, depthshade=False, label="end")
    ax.quiver(0, 0, 0, *normal, color=COLOURS[2], linewidth=1.5, label=r"$M=w\times\dot w$ (direction)")
    ax.text(*(np.array(START) + 0.15 * normal), "$S$", fontsize=11)
    ax.text(*(1.12 * normal), "$M$", fontsize=11, color=COLOURS[2])
    ax.set(xlabel="$w_1$", ylabel="$w_2$", zlabel="$w_3$", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), zlim=(-1.3, 1.3))
    ax.set_box_aspect((1, 1, 1), zoom=0.84)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_ticks([-1, 0, 1])


def _draw_in_plane(ax: Any, w: Float64Array, straight: Float64Array, plane: Float64Array) -> None:
    """Draw both runs in coordinates of the plane; the sphere is a circle there."""
    ax.plot(*(plane @ w.T), color=COLOURS[0], linewidth=1.2)
    ax.plot(*(plane @ straight.T), color=COLOURS[1], linewidth=2.4)
    ax.plot(*(plane @ np.array(START)), "o", color=COLOURS[6], markersize=5)
    ax.plot(*(plane @ w[-1]), "s", color=COLOURS[3], markersize=5)
    ax.annotate("$S$", plane @ np.array(START), xytext=(-14, -4), textcoords="offset points", fontsize=11)
    shown = plane @ np.vstack([w, straight]).T
    centre, half = (shown.max(axis=1) + shown.min(axis=1)) / 2, 0.6 * np.ptp(shown, axis=1).max()
    angle = np.linspace(0, 2 * np.pi, 721)
    ax.plot(np.cos(angle), np.sin(angle), color="0.6", linewidth=0.8)
    ax.set(xlim=centre[0] + np.array([-half, half]), ylim=centre[1] + np.array([-half, half]), aspect="equal")
    ax.set(xlabel="along the plane, horizontal", ylabel="along the plane, upwards")
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.set_title("(c) in the plane", fontsize=10)


def _unit(vector: Float64Array) -> Float64Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _plane(normal: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return two unit vectors that span the plane perpendicular to `normal`, the first one horizontal."""
    first = np.cross(normal, (0.0, 0.0, 1.0))
    first /= np.linalg.norm(first)
    return first, np.cross(normal, first)


def _view_along_plane(normal: Float64Array) -> tuple[float, float]:
    """Return (elevation, azimuth) of a view from a little above, in which that plane is a line."""
    first, second = _plane(normal)
    sight = np.cos(0.35) * first + np.sin(0.35) * np.sign(second[2]) * second
    return float(np.degrees(np.arcsin(sight[2]))), float(np.degrees(np.arctan2(sight[1], sight[0])))


def _draw_sphere_and_plane(ax: Any, normal: Float64Array) -> None:
    polar, around = np.mgrid[0 : np.pi : 13j, 0 : 2 * np.pi : 25j]
    sphere = (np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar))
    ax.plot_wireframe(*sphere, color="0.75", linewidth=0.35, label="minima $|w|=1$")
    first, second = _plane(normal)
    radius, angle = np.mgrid[0:1.4:2j, 0 : 2 * np.pi : 49j]
    plane = [radius * (np.cos(angle) * first[i] + np.sin(angle) * second[i]) for i in range(3)]
    ax.plot_surface(*plane, color=COLOURS[4], alpha=0.15, linewidth=0, shade=False, label=r"plane $\perp M$")


def figure5() -> tuple[Figure, dict[str, Any]]:
    """GU's Figure 5: the angular momentum M of both; M is constant for ND, t³M for NAGF.

    Returns
    -------
    figure : matplotlib.figure.Figure
        |M| and the conserved t^α |M| of both, and how far t^α M drifts from its start.
    numbers : dict
        M(t) and the relative "drift" of t^α M, which is round-off.
    """
    from matplotlib.figure import Figure

    trajectories, numbers = runs(("ND", "NAGF"))
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    momentum_axes, drift_axes = figure.subplots(1, 2)
    for i, (name, run) in enumerate(trajectories.items()):
        M, mu = momentum(run), run.t ** RUNS[name].dynamics.alpha
        size = np.linalg.norm(M, axis=1)
        drift = np.linalg.norm(mu[:, None] * M - mu[0] * M[0], axis=1) / (mu[0] * size[0])
        power = "" if name == "ND" else "t^3"
        momentum_axes.plot(run.t, size, color=COLOURS[i], label=f"{name}: $|M|$")
        if power:
            momentum_axes.plot(run.t, mu * size, color=COLOURS[2], linestyle="--", label=f"{name}: ${power}|M|$")
        drift_axes.plot(run.t, np.where(drift > 0, drift, np.nan), color=COLOURS[2 * i], label=f"{name}: ${power}M$")
        numbers["runs"][name]["drift"] = drift
    momentum_axes.set(xlabel="time $t$", ylabel="angular momentum", xscale="log", yscale="log")
    momentum_axes.set_title(r"(a) $M=w\times\dot w$", fontsize=10)
    drift_axes.set(xlabel="time $t$", ylabel="relative change since the start", yscale="log", ylim=(1e-17, 1e-11))
    drift_axes.axhline(np.finfo(np.float64).eps, color="0.5", linewidth=0.8, linestyle=":")
    drift_axes.annotate("machine epsilon", (0.98, np.finfo(np.float64).eps), xycoords=("axes fraction", "data"), ha="right",
                   va="bottom", fontsize=8, color="0.35")  # fmt: skip
    drift_axes.set_title(r"(b) conserved $t^\alpha M$", fontsize=10)
    for ax in (momentum_axes, drift_axes):
        ax.legend(frameon=False, fontsize=9)
    return figure, numbers


def figure6() -> tuple[Figure, dict[str, Any]]:
    """GU's Figure 6: the losses of GF, ND and NAGF in the same potential, a panel each; returns the figure and its numbers."""
    from matplotlib.figure import Figure

    trajectories, numbers = runs(("GF", "ND", "NAGF"))
    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    titles = ("(a) gradient flow", "(b) Newtonian dynamics", "(c) Nesterov's accelerated gradient flow")
    for i, (ax, name) in enumerate(zip(figure.subplots(1, 3, sharey=True), trajectories, strict=True)):
        run = trajectories[name]
        excess = run.loss - MINIMUM
        # Less than a few roundings of U above the minimum is the minimum.
        shown = np.where(excess > 4 * np.finfo(np.float64).eps * MINIMUM, excess, np.nan)
        ax.plot(run.t, shown, color=COLOURS[i], linewidth=1.2)
        ax.set(xlabel="time $t$", yscale="log", xlim=(0, run.t[-1]))
        ax.set_title(titles[i], fontsize=10)
    figure.axes[0].set_ylabel(r"loss above its minimum, $U-\frac{2}{25}$")
    figure.suptitle(rf"$U(w)=\frac{{1}}{{10}}(|w|^2-1)^2+\frac{{2}}{{25}}$, from $t_0={T0:g}$", fontsize=10)
    return figure, numbers
