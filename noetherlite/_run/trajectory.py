"""Trajectory, the result of a run, and its file format: .npz without pickle, a JSON header with versions and specification."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._base import axes, checks, html, schema
from .._base.axes import COLOURS
from .._base.files import arrays, present, replacing, suffixed
from .._base.types import Array, Float64Array, IntArray
from .._symmetry.records import LawRecord
from .on_demand import OnDemand, part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = 1
BLEW_UP = "but blew up on the way"  # in the message of a completed run
LAW_ARRAYS = tuple(f.name for f in fields(LawRecord) if f.name not in ("name", "t"))
_ARRAYS = ("t", "step", "loss", "energy", "x", "v", "params")


class Member(NamedTuple):
    """The end of one run of an ensemble."""

    status: str
    message: str
    n_gradients: int


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(OnDemand):
    """The records and the result of one run, or of an ensemble of E runs; R records, P parameters.

    In an ensemble every array has a leading axis of length E, with NaN after the end of a run; `trajectory[e]` is the
    trajectory of run e, the same as of a single run.

    Attributes
    ----------
    t : ndarray, shape (R,)
        Times t_0 + k·dt.
    step : ndarray of int, shape (R,)
        Steps k: 0, every `record_every`, and the last.
    loss : ndarray, shape (R,)
        U(x_k) over the whole training set, also when steps use minibatches.
    energy : ndarray, shape (R,)
        E = ½m|ẋ|² + U (theory §4.5), and ½λ|x|² with weight decay λ.
    laws : mapping of str to LawRecord
        One per symmetry watched, for example "scaling:1".
    x, v : ndarray, shape (P,)
        Final parameters and velocity; for gradient descent v = −∇U(x), less λx with weight decay.
    params : ndarray, shape (R, P), or None
        The parameters at the records, with `record_params`.
    status : {"completed", "diverged", "stopped"}
        How the run ended; for an ensemble "completed" if all runs did, else "diverged" if one did, else "stopped".
    message : str
        A description of the status.
    n_gradients : int
        Gradient evaluations, of all runs together.
    specification : mapping
        Potential, algorithm and arguments of the run, ready for JSON.
    members : tuple of Member
        How each run of an ensemble ended: `status`, `message`, `n_gradients`; empty for a single run.
    observed : mapping of str to ndarray, shape (R, …)
        Values of the functions given as `observe`, and "sharpness" with `record_sharpness`.
    solver_residual : float, or None
        For `ImplicitMidpoint` the largest error that its solver has left in a coordinate of a step's midpoint, infinite for a run
        that diverged, and an ndarray (E,) for an ensemble; None for explicit algorithms.
    """

    t: Float64Array
    step: IntArray
    loss: Float64Array
    energy: Float64Array
    laws: Mapping[str, LawRecord]
    x: Array
    v: Array
    params: Array | None
    status: str
    message: str
    n_gradients: int
    specification: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = field(default_factory=tuple)
    observed: Mapping[str, Array] = field(default_factory=dict)
    solver_residual: Any = None

    def __post_init__(self) -> None:
        self._put_off()

    def __bool__(self) -> bool:
        """Return True: without this, `bool` would call `__len__`, which a single run does not have."""
        return True

    def __len__(self) -> int:
        """Return the number of runs of an ensemble."""
        self._require_ensemble()
        return len(self.members)

    def __getitem__(self, e: int) -> Trajectory:
        """Return the trajectory of run e of an ensemble, with the records that it reached."""
        self._require_ensemble()
        e = range(len(self.members))[e]
        specification = dict(self.specification)
        if isinstance(specification.get("algorithm"), list):
            specification["algorithm"] = specification["algorithm"][e]
        values = {f.name: self.later(f.name) for f in fields(self)}
        return of_run(values, e, {**specification, "member": e})

    def _require_ensemble(self) -> None:
        if not self.members:
            raise TypeError("this trajectory is of a single run, not of an ensemble: it has no members")

    def __repr__(self) -> str:
        if self.members:
            return (
                f"Trajectory(ensemble of {len(self.members)}, {self.message}, {self.t.shape[1]} records, "
                f"laws {list(self.laws)})"
            )
        run = self.specification.get("algorithm", {}).get("name", "run")
        blew_up = f", {BLEW_UP}" if BLEW_UP in self.message else ""
        return (
            f"Trajectory({run}, {self.status} after {self.step[-1] if self.step.size else 0} steps{blew_up}, "
            f"{self.t.size} records, laws {list(self.laws)})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                law.quantity.shape[law.t.ndim :],
                law.largest("residual"),
                law.largest("discrete_residual"),
                law.verdict,
            )
            for name, law in self.laws.items()
        ]
        title = f"Trajectory: {self.message}, {self.t.shape[-1]} records"
        if self.t.size and not self.members:
            title += f", t = {self.t[0]:g} to {self.t[-1]:g}, loss {self.loss[0]:.4g} → {self.loss[-1]:.4g}"
        return html.table(
            title, rows, ("law", "components", "largest |residual|", "largest |discrete residual|", "verdict")
        )

    def to_pandas(self) -> Any:
        """Return the records as a pandas.DataFrame: t, step, loss, energy, and a column per component of a law's arrays.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        from . import tables

        return tables.frame(self)

    def to_xarray(self) -> Any:
        """Return the records, parameters among them, as an xarray.Dataset with named dimensions.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        from . import tables

        return tables.dataset(self)

    def plot_loss(self, ax: Axes | None = None, **style: Any) -> Axes:
        """Plot the loss U(x(t)) against time, one line per run, on a logarithmic axis where it is positive.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **style
            Passed to `Axes.plot`.
        """
        ax = axes.new_axes(ax)
        ax.plot(self.t.T, self.loss.T, **axes.style_of(style, color=COLOURS[0]))
        if not (self.loss <= 0).any():
            axes.logarithmic(ax)
        axes.over_time(ax, "loss $U$")
        return ax

    def plot_energy(self, ax: Axes | None = None, **style: Any) -> Axes:
        """Plot the energy E = ½m|ẋ|² + U and the loss U of a single run against time; arguments as for `plot_loss`."""
        self.require_single()
        ax = axes.new_axes(ax)
        ax.plot(self.t, self.energy, **axes.style_of(style, color=COLOURS[0], label=r"energy $E$"))
        ax.plot(self.t, self.loss, color=COLOURS[1], linestyle="--", label="loss $U$")
        axes.over_time(ax, "energy")
        ax.legend(frameon=False)
        return ax

    def plot_law(self, name: str, what: str = "residual", ax: Axes | None = None, **style: Any) -> Axes:
        """Plot one array of a law record against time, one line per component.

        Parameters
        ----------
        name : str
            The symmetry, a key of `laws`.
        what : {"quantity", "charge", "source_integral", "residual", "discrete_residual"}
            Which array.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **style
            Passed to `Axes.plot`.

        Raises
        ------
        ValueError
            If the trajectory is an ensemble, has no such law, or a record no such array.
        """
        name = checks.one_of(name, "name", self.laws)
        what = checks.one_of(what, "what", axes.LABELS)
        self.require_single()
        ax = axes.new_axes(ax)
        values: Float64Array = getattr(self.laws[name], what)
        lines = values.reshape(values.shape[0], math.prod(values.shape[1:]))
        for c in range(lines.shape[1]):
            index = ", ".join(map(str, np.unravel_index(c, values.shape[1:])))
            defaults = {"color": COLOURS[c % len(COLOURS)], "linewidth": 1.0, "label": f"component {index}"}
            ax.plot(self.t, lines[:, c], **axes.style_of(style, **defaults))
        axes.over_time(ax, axes.LABELS[what])
        ax.set_title(axes.short(name))
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
        if 1 < lines.shape[1] <= len(COLOURS):
            axes.legend_above(ax, rows=(lines.shape[1] + 1) // 2)
        return ax

    def plot_residuals(self, ax: Axes | None = None) -> Axes:
        """Plot the largest |component| of every law's exact discrete residual against time: round-off, or a wrong gradient."""
        self.require_single()
        ax = axes.new_axes(ax)
        for i, (name, record) in enumerate(self.laws.items()):
            values = record.discrete_residual
            worst = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=0.0)
            ax.plot(self.t, axes.positive(worst), color=COLOURS[i % len(COLOURS)], label=axes.short(name))
        axes.logarithmic(ax)
        axes.over_time(ax, "largest |discrete residual|")
        if self.laws:
            axes.legend_of_laws(ax)
        return ax

    def plot_observed(self, name: str, ax: Axes | None = None, **style: Any) -> Axes:
        """Plot one of `observed` against time, one line per component.

        Parameters
        ----------
        name : str
            A key of `observed`, for example "sharpness".
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **style
            Passed to `Axes.plot`.

        Raises
        ------
        ValueError
            If the trajectory is an ensemble, or nothing of this name was observed.
        """
        name = checks.one_of(name, "name", self.observed)
        self.require_single()
        ax = axes.new_axes(ax)
        values = self.observed[name].reshape(self.t.size, -1)
        for c, line in enumerate(values.T):
            ax.plot(self.t, line, **axes.style_of(style, color=COLOURS[c % len(COLOURS)]))
        axes.over_time(ax, axes.short(name))
        return ax

    def require_single(self) -> None:
        """Raise a ValueError where this is an ensemble."""
        if self.members:
            raise ValueError(f"trajectory is an ensemble of {len(self.members)}; give one of its runs, trajectory[e]")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the run to `path` (.npz); the file appears complete or not at all.

        Parameters
        ----------
        path : path-like
            The suffix .npz is added where it is missing.

        Returns
        -------
        Path
            Where it was written.
        """
        target = suffixed(path)
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        for name, law in self.laws.items():
            arrays |= {f"laws/{name}/{field}": getattr(law, field) for field in LAW_ARRAYS}
        arrays |= {f"observed/{name}": values for name, values in self.observed.items()}
        header = {
            "format": "noetherlite trajectory",
            "schema": SCHEMA,
            "laws": list(self.laws),
            "observed": list(self.observed),
            "status": self.status,
            "message": self.message,
            "n_gradients": self.n_gradients,
            "specification": dict(self.specification),
            "members": self.members,
        }
        if self.solver_residual is not None:
            arrays["solver_residual"] = np.asarray(self.solver_residual, np.float64)
        arrays["header"] = np.array(json.dumps(header))
        with replacing(target) as file:
            np.savez(file, **arrays)
        return target


def load(path: str | os.PathLike[str]) -> Trajectory:
    """Read a run written by `Trajectory.save`.

    Parameters
    ----------
    path : path-like
        As given to `save`: the suffix .npz may be missing.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a trajectory, is damaged, or has a newer format.
    """
    target = present(path)
    data = arrays(target)
    try:
        header = json.loads(str(data["header"]))
        if header["format"] != "noetherlite trajectory":
            raise KeyError("format")
        if header["schema"] > SCHEMA:
            raise ValueError(f"path={str(target)!r} has format {header['schema']}; this version reads up to {SCHEMA}")
        try:
            schema.trajectory(header, data, LAW_ARRAYS)
        except ValueError as error:
            raise ValueError(f"path={str(target)!r} is damaged: {error}") from error
        laws = {
            name: LawRecord(name, data["t"], **{field: data[f"laws/{name}/{field}"] for field in LAW_ARRAYS})
            for name in header["laws"]
        }
        residual = data.get("solver_residual")
        return Trajectory(
            **{name: data[name] for name in _ARRAYS if name != "params"},
            params=data.get("params"),
            laws=laws,
            status=checks.one_of(header["status"], "status", ("completed", "diverged", "stopped")),
            message=header["message"],
            n_gradients=header["n_gradients"],
            specification=header["specification"],
            members=tuple(Member(*m) for m in header.get("members", ())),
            observed={name: data[f"observed/{name}"] for name in header.get("observed", ())},
            solver_residual=None if residual is None else residual if residual.ndim else float(residual),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"path={str(target)!r} is not a noetherlite trajectory: missing or damaged {error}") from error


def stored_specification(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the specification of the run in a file without reading its records; empty if the file holds no run."""
    try:
        specification = json.loads(str(arrays(Path(path), only=("header",))["header"]))["specification"]
    except (ValueError, KeyError, TypeError):
        return {}
    return specification if isinstance(specification, dict) else {}


def of_run(values: Mapping[str, Any], e: int, specification: Any) -> Trajectory:
    """Return the trajectory of run e from the attributes of an ensemble's; these and the specification may be unread."""
    # Of views, as params may be a file larger than memory.
    rows = slice(int(np.count_nonzero(np.isfinite(values["loss"][e]))))
    return Trajectory(
        t=part(values["t"], lambda t: t[e][rows]),
        step=part(values["step"], lambda step: step[e][rows]),
        loss=values["loss"][e][rows],
        energy=values["energy"][e][rows],
        laws=part(values["laws"], lambda laws: {name: law.of_run(e, rows) for name, law in laws.items()}),
        x=values["x"][e],
        v=values["v"][e],
        params=None if values["params"] is None else values["params"][e][rows],
        status=part(values["members"], lambda members: members[e].status),
        message=part(values["members"], lambda members: members[e].message),
        n_gradients=part(values["members"], lambda members: members[e].n_gradients),
        specification=specification,
        observed={name: of_all[e][rows] for name, of_all in values["observed"].items()},
        solver_residual=None if values["solver_residual"] is None else float(values["solver_residual"][e]),
    )
