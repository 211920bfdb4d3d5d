"""Plots of results: most are drawn by the results' own methods, those of several kinds of objects here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks
from .._base.axes import COLOURS, new_axes, positive, style_of
from .._check.verdict import Report
from .._motion.bounds import quantity_bound
from .._motion.dynamics import Dynamics
from .._run.trajectory import Trajectory
from .._sweep.result import Sweep
from .._symmetry.find import TOLERANCE
from .._symmetry.scaling import NeuronScaling
from .._theory.counting import LawCount
from .._theory.discovery import Discovery
from .._theory.drift import Drift
from .made_of import algorithm_of, symmetries_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss(trajectory: Trajectory, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot the loss against time, one line per run; see `Trajectory.plot_loss`."""
    checks.instance(trajectory, "trajectory", Trajectory, "a Trajectory, which nl.integrate returns")
    return trajectory.plot_loss(ax, **style)


def energy(trajectory: Trajectory, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot energy and loss of a single run against time; see `Trajectory.plot_energy`."""
    checks.instance(trajectory, "trajectory", Trajectory, "a Trajectory, which nl.integrate returns")
    return trajectory.plot_energy(ax, **style)


def law(trajectory: Trajectory, name: str, what: str = "residual", ax: Axes | None = None, **style: Any) -> Axes:
    """Plot one array of a law record against time, one line per component; see `Trajectory.plot_law`."""
    checks.instance(trajectory, "trajectory", Trajectory, "a Trajectory, which nl.integrate returns")
    return trajectory.plot_law(name, what, ax, **style)


def residuals(trajectory: Trajectory, ax: Axes | None = None) -> Axes:
    """Plot the largest exact discrete residual of every law against time; see `Trajectory.plot_residuals`."""
    checks.instance(trajectory, "trajectory", Trajectory, "a Trajectory, which nl.integrate returns")
    return trajectory.plot_residuals(ax)


def check(report: Report, ax: Axes | None = None) -> Axes:
    """Plot every residual of a check in units of its tolerance against time; see `Report.plot`."""
    checks.instance(report, "report", Report, "a Report, which nl.check returns")
    return report.plot(ax)


def drift(report: Drift, name: str, component: int = 0, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot how far one component of Q has drifted and what that is made of; see `Drift.plot`."""
    checks.instance(report, "report", Drift, "a Drift, which nl.drift returns")
    return report.plot(name, component, ax, **style)


def sweep(members: Sweep, x: str, y: str, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot one column of a sweep against another; see `Sweep.plot`."""
    checks.instance(members, "members", Sweep, "a Sweep, which nl.sweep returns")
    return members.plot(x, y, ax, **style)


def bounds(trajectory: Trajectory, name: str, dynamics: Dynamics, ax: Axes | None = None) -> Axes:
    """Plot |Q(t) − Q(0)| of each component of a scaling law, and of their sum, under the bound U_0t²/(α + 1), p times as large for a degree p.

    Parameters
    ----------
    trajectory : Trajectory
        A run from rest at t = 0, of an algorithm for the dynamics given, without weight decay or minibatches.
    name : str
        The scaling, a key of `trajectory.laws`.
    dynamics : Dynamics
        Unit mass, γ = 0: `ND`, `NAGF`, or friction α/t.
    ax : matplotlib Axes, optional
        Where to draw.

    Raises
    ------
    ValueError
        If the trajectory is an ensemble, has no such law or one record only, or the bound does not hold for the dynamics, the algorithm or the start.
    """
    checks.instance(trajectory, "trajectory", Trajectory, "a Trajectory, which nl.integrate returns")
    checks.instance(dynamics, "dynamics", Dynamics, "a Dynamics such as nl.ND")
    trajectory.require_single()
    if dynamics.mass != 1 or dynamics.gamma != 0:
        raise ValueError(f"dynamics={dynamics} has no such bound; expected mass 1 and gamma 0")
    algorithm = algorithm_of(trajectory)
    if algorithm is not None and (algorithm.dynamics != dynamics or algorithm.weight_decay):
        raise ValueError(f"trajectory must be of an algorithm for {dynamics} without weight decay, got {algorithm}")
    if (batch_size := trajectory.specification.get("arguments", {}).get("batch_size")) is not None:
        raise ValueError(
            f"trajectory must be of full batches, with which energy does not grow, got batch_size={batch_size}"
        )
    if trajectory.t.size < 2:
        raise ValueError(f"trajectory must have records after its start, got {trajectory}")
    if trajectory.t[0] != 0 or trajectory.energy[0] != trajectory.loss[0]:
        raise ValueError("trajectory must start from rest at t = 0 for the bound to hold")
    name = checks.one_of(name, "name", [law for law in trajectory.laws if law.startswith("scaling:")])
    ax = new_axes(ax)
    change = trajectory.laws[name].quantity - trajectory.laws[name].quantity[0]
    t = trajectory.t[1:]  # at t = 0 both are zero, which a logarithmic axis has not
    for c in range(change.shape[1]):
        ax.plot(
            t, positive(np.abs(change[1:, c])), color=COLOURS[5], linewidth=0.6, label="neurons" if c == 0 else None
        )
    ax.plot(t, positive(np.abs(change[1:].sum(axis=1))), color=COLOURS[0], label="layer")
    symmetry = symmetries_of(trajectory).get(name)
    degree = symmetry.degree if isinstance(symmetry, NeuronScaling) else 1.0
    limit = quantity_bound(degree * float(trajectory.loss[0]), t, dynamics.alpha)
    factor = "" if degree == 1 else f"{degree:g}"
    divisor = "" if dynamics.alpha == 0 else f"/{dynamics.alpha + 1:g}"
    ax.plot(t, positive(limit), color=COLOURS[6], linestyle="--", label=f"${factor}U_0t^2{divisor}$")
    ax.set(xlabel="time $t$", ylabel="$|Q(t)-Q(0)|$", xscale="log", yscale="log", title=name)
    ax.legend(frameon=False)
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
    checks.instance(discovery, "discovery", Discovery, "a Discovery, which nl.discover returns")
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
    checks.instance(count, "count", LawCount, "a LawCount, which nl.count_laws returns")
    ax = new_axes(ax)
    depth = np.arange(1, len(count.depths) + 1)
    defaults = {"color": COLOURS[0], "marker": "o", "markerfacecolor": "none", "label": "brackets"}
    (line,) = ax.plot(depth, count.depths, **style_of(style, **defaults))
    limit = count.n_dimensions - count.lower
    bound = "what the known laws leave"
    is_new_label = bound not in ax.get_legend_handles_labels()[1]
    ends = depth[0] - 0.1, depth[-1] + 0.1
    ax.plot(ends, [limit] * 2, "--", color=line.get_color(), linewidth=1.0, label=bound if is_new_label else None)
    ax.set(xlabel="largest depth of brackets", ylabel="directions reached")
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False)
    return ax
