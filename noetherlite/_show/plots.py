"""Plots of a run. Every function takes `ax=None`, draws into it or into a new figure, and returns the Axes.

matplotlib is imported when the first plot is drawn, never with the package, and no global setting is changed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks
from .._base.types import AnyArray, Float64Array
from .._motion.bounds import quantity_bound
from .._motion.dynamics import Dynamics
from .._symmetry.find import TOLERANCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._check.verdict import Report
    from .._run.trajectory import Trajectory
    from .._sweep.sweep import Sweep
    from .._theory.counting import LawCount
    from .._theory.discovery import Discovery
    from .._theory.drift import Drift

# Okabe and Ito's palette, distinguishable with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# What a law record holds, and how an axis calls it.
LABELS = {
    "quantity": r"quantity $Q$",
    "charge": r"charge $J=\langle g(x),\dot x\rangle$",
    "source_integral": r"source $\int\mu S\,\mathrm{d}s$",
    "residual": r"Noether residual $r(t)$",
    "discrete_residual": "residual of the exact discrete law",
}


def new_axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(5.0, 3.4), layout="constrained").subplots()


def _style(given: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the properties of a line, those given before the defaults, by whichever of their names: lw is linewidth."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**defaults, **normalize_kwargs(given, Line2D)}


def _logarithmic(ax: Axes) -> None:
    """Make the y axis logarithmic; of a run that diverged up to 1e250, as matplotlib has to count decades beyond."""
    if ax.dataLim.y1 > 1e250:
        ax.set_ylim(ax.dataLim.minposy, 1e250)
    ax.set_yscale("log")


def _legend_above(ax: Axes, rows: int) -> None:
    """Draw a legend of two columns above the curves, on a linear axis."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.15 * rows * (high - low))
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")


def _single(trajectory: Trajectory) -> Trajectory:
    if trajectory.members:
        raise ValueError(f"trajectory is an ensemble of {len(trajectory.members)}; give one of its runs, trajectory[e]")
    return trajectory


def loss(trajectory: Trajectory, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot the loss U(x(t)) against time, one line per run, on a logarithmic axis where it is positive."""
    ax = new_axes(ax)
    ax.plot(trajectory.t.T, trajectory.loss.T, **_style(style, color=COLOURS[0]))
    if not (trajectory.loss <= 0).any():
        _logarithmic(ax)
    ax.set(xlabel="time $t$", ylabel="loss $U$")
    return ax


def energy(trajectory: Trajectory, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot the energy E = ½m|ẋ|² + U and the loss U of a single run against time."""
    ax, trajectory = new_axes(ax), _single(trajectory)
    ax.plot(trajectory.t, trajectory.energy, **_style(style, color=COLOURS[0], label=r"energy $E$"))
    ax.plot(trajectory.t, trajectory.loss, color=COLOURS[1], linestyle="--", label="loss $U$")
    ax.set(xlabel="time $t$", ylabel="energy")
    ax.legend(frameon=False)
    return ax


def law(trajectory: Trajectory, name: str, what: str = "residual", ax: Axes | None = None, **style: Any) -> Axes:
    """Plot one array of a law record against time, one line per component.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    name : str
        The symmetry, a key of `trajectory.laws`.
    what : {"quantity", "charge", "source_integral", "residual", "discrete_residual"}
        Which array.
    ax : matplotlib Axes, optional
        Where to draw.
    **style
        Passed to `Axes.plot`.

    Raises
    ------
    ValueError
        If the trajectory is an ensemble, has no such law, or a record no such array.
    """
    name = checks.one_of(name, "name", trajectory.laws)
    what = checks.one_of(what, "what", LABELS)
    ax, trajectory = new_axes(ax), _single(trajectory)
    values: Float64Array = getattr(trajectory.laws[name], what)
    lines = values.reshape(values.shape[0], math.prod(values.shape[1:]))
    for c in range(lines.shape[1]):
        index = ", ".join(map(str, np.unravel_index(c, values.shape[1:])))
        defaults = {"color": COLOURS[c % len(COLOURS)], "linewidth": 1.0, "label": f"component {index}"}
        ax.plot(trajectory.t, lines[:, c], **_style(style, **defaults))
    ax.set(xlabel="time $t$", ylabel=LABELS[what], title=name)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
    if 1 < lines.shape[1] <= len(COLOURS):
        _legend_above(ax, rows=(lines.shape[1] + 1) // 2)
    return ax


def residuals(trajectory: Trajectory, ax: Axes | None = None) -> Axes:
    """Plot the largest |component| of every law's exact discrete residual against time: round-off, or a wrong gradient."""
    ax, trajectory = new_axes(ax), _single(trajectory)
    for i, (name, record) in enumerate(trajectory.laws.items()):
        values = record.discrete_residual
        worst = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=0.0)
        shown = np.where(worst > 0, worst, np.nan)  # a logarithmic axis has no zero
        ax.plot(trajectory.t, shown, color=COLOURS[i % len(COLOURS)], label=name)
    _logarithmic(ax)
    ax.set(xlabel="time $t$", ylabel="largest |discrete residual|")
    if trajectory.laws:
        ax.legend(frameon=False, fontsize="small")
    return ax


def bounds(trajectory: Trajectory, name: str, dynamics: Dynamics, ax: Axes | None = None) -> Axes:
    """Plot |Q(t) − Q(0)| of each component of a scaling law, and of their sum, under the bound U_0t²/(α + 1).

    Parameters
    ----------
    trajectory : Trajectory
        A run from rest at t = 0, of an algorithm for the dynamics given.
    name : str
        The scaling, a key of `trajectory.laws`.
    dynamics : Dynamics
        Unit mass, γ = 0: `ND`, `NAGF`, or friction α/t.
    ax : matplotlib Axes, optional
        Where to draw.

    Raises
    ------
    ValueError
        If the trajectory is an ensemble, has no such law, or the bound does not hold for the dynamics or the start.
    """
    name = checks.one_of(name, "name", _single(trajectory).laws)
    if dynamics.mass != 1 or dynamics.gamma != 0:
        raise ValueError(f"dynamics={dynamics} has no such bound; expected mass 1 and gamma 0")
    if trajectory.t[0] != 0 or trajectory.energy[0] != trajectory.loss[0]:
        raise ValueError("trajectory must start from rest at t = 0 for the bound to hold")
    ax = new_axes(ax)
    change = trajectory.laws[name].quantity - trajectory.laws[name].quantity[0]
    t = trajectory.t[1:]  # at t = 0 both are zero, which a logarithmic axis has not
    for c in range(change.shape[1]):
        ax.plot(t, np.abs(change[1:, c]), color=COLOURS[5], linewidth=0.6, label="neurons" if c == 0 else None)
    ax.plot(t, np.abs(change[1:].sum(axis=1)), color=COLOURS[0], label="layer")
    limit = quantity_bound(float(trajectory.loss[0]), t, dynamics.alpha)
    divisor = "" if dynamics.alpha == 0 else f"/{dynamics.alpha + 1:g}"
    ax.plot(t, limit, color=COLOURS[6], linestyle="--", label=f"$U_0t^2{divisor}$")
    ax.set(xlabel="time $t$", ylabel="$|Q(t)-Q(0)|$", xscale="log", yscale="log", title=name)
    ax.legend(frameon=False)
    return ax


def check(report: Report, ax: Axes | None = None) -> Axes:
    """Plot every residual of a check in units of its tolerance against time: above 1 a law is broken.

    One line for the largest component of each law, and one for the block of parameters whose motion is furthest off.

    Parameters
    ----------
    report : Report
        What `nl.check` returned.
    ax : matplotlib Axes, optional
        Where to draw.
    """
    ax = new_axes(ax)
    furthest = sorted(report.motion.values(), key=lambda row: -row.tally.worst[0])[:1]
    for i, row in enumerate(row for row in [*report.laws.values(), *furthest] if row.t.size):
        worst = row.ratio.reshape(row.t.size, -1).max(axis=1)
        shown = np.where(worst > 0, worst, np.nan)  # a logarithmic axis has no zero
        motion = row.name in report.motion
        style: dict[str, Any] = {"color": COLOURS[6], "linestyle": "--"} if motion else {"color": COLOURS[i % 6]}
        ax.plot(row.t, shown, label=f"motion of {row.name}" if motion else row.name, linewidth=1.0, **style)
    ax.axhline(1.0, color="0.5", linewidth=0.8, linestyle=":", label="tolerance")
    ax.set(xlabel="time $t$", ylabel="|residual| / tolerance", yscale="log")
    ax.legend(frameon=False, fontsize="small")
    return ax


def drift(report: Drift, name: str, component: int = 0, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot how far one component of Q has drifted, what that is made of, and what is predicted.

    Parameters
    ----------
    report : Drift
        What `nl.drift` returned.
    name : str
        The law's name, for example "scaling:1".
    component : int
        Flat index of the component, of the first by default.
    ax : matplotlib Axes, optional
        Where to draw.
    **style
        Passed to `Axes.plot` for the drift itself.
    """
    law = report[name]

    def one(values: Float64Array) -> Float64Array:
        return values.reshape(report.t.size, -1)[:, component]

    ax = new_axes(ax)
    ax.plot(report.t, one(law.change), **_style(style, color="black", linewidth=3.0, label="$Q-Q_0$"))
    for i, (label, part) in enumerate(law.parts.items()):
        if part.any():
            ax.plot(report.t, one(part), color=COLOURS[i], linewidth=1.0, label=label)
    predicted = one(law.second_order - law.quantity[0])
    ax.plot(report.t, predicted, color=COLOURS[4], linestyle="--", label="continuous-time formula")
    ax.set(xlabel="time $t$", ylabel="drift of $Q$", title=f"{name}, component {component}")
    _legend_above(ax, rows=3)
    return ax


def singular_values(discovery: Discovery, ax: Axes | None = None) -> Axes:
    """Plot the singular values that a discovery rests on: those of symmetries lie below the tolerance, at round-off.

    Parameters
    ----------
    discovery : Discovery
        What `discover` returned.
    ax : matplotlib Axes, optional
        Where to draw.
    """
    ax = new_axes(ax)
    index = np.arange(1, discovery.singular_values.size + 1)
    null = index > index.size - discovery.dimension
    shown = np.maximum(discovery.singular_values, 1e-18)  # a logarithmic axis has no zero
    ax.plot(index[~null], shown[~null], ".", color=COLOURS[0], label="not symmetries")
    ax.plot(index[null], shown[null], "x", color=COLOURS[1], label=f"{discovery.dimension} symmetries")
    ax.axhline(TOLERANCE, color=COLOURS[6], linestyle="--", linewidth=1.0, label="tolerance")
    ax.set(xlabel="index", ylabel="singular value / largest", yscale="log")
    ax.legend(frameon=False)
    return ax


def closure(count: LawCount, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot how the directions that brackets reach grow with their depth, up to what the known laws leave.

    Parameters
    ----------
    count : LawCount
        What `count_laws` returned.
    ax : matplotlib Axes, optional
        Where to draw.
    **style
        Passed to `Axes.plot`.
    """
    ax = new_axes(ax)
    depth = np.arange(1, len(count.depths) + 1)
    defaults = {"color": COLOURS[0], "marker": "o", "markerfacecolor": "none", "label": "brackets"}
    (line,) = ax.plot(depth, count.depths, **_style(style, **defaults))
    most = count.n_dimensions - count.lower
    bound = "what the known laws leave"
    fresh = bound not in ax.get_legend_handles_labels()[1]
    ends = depth[0] - 0.1, depth[-1] + 0.1
    ax.plot(ends, [most] * 2, "--", color=line.get_color(), linewidth=1.0, label=bound if fresh else None)
    ax.set(xlabel="largest depth of brackets", ylabel="directions reached")
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False)
    return ax


def spans_a_decade(column: AnyArray) -> bool:
    """Whether the finite values of a column are positive and span a decade, so that a logarithmic axis shows them better."""
    known = column[np.isfinite(column)] if column.dtype.kind in "iuf" else np.empty(0)
    return bool(known.size and known.min() > 0 and known.max() >= 10 * known.min())


def sweep(members: Sweep, x: str, y: str, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot one column of a sweep against another: a point for each member that has both.

    Parameters
    ----------
    members : Sweep
        The sweep.
    x, y : str
        Columns with one number a member, or one string for x; an axis is logarithmic where its values are positive and span
        a decade.
    ax : matplotlib Axes, optional
        Where to draw.
    **style
        Passed to `Axes.plot`.

    Raises
    ------
    ValueError
        If there is no such column, or it has no numbers.
    """
    across, up = members.column(x), members.column(y)
    for name, column, kinds in ((x, across, "biufU"), (y, up, "biuf")):
        if column.ndim > 1 or column.dtype.kind not in kinds:
            raise ValueError(f"column {name!r} must hold one number a member, got {checks.describe(column)}")
    ax = new_axes(ax)
    points = {"color": COLOURS[0], "marker": "o", "linestyle": "none", "markerfacecolor": "none"}
    ax.plot(across, up, **_style(style, **points))
    for scale, column in ((ax.set_xscale, across), (ax.set_yscale, up)):
        if spans_a_decade(column):
            scale("log")
    ax.set(xlabel=x, ylabel=y)
    return ax
