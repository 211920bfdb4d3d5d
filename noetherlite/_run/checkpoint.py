"""Checkpoints: what a run was started with and where it is, so that it goes on bit for bit after it was stopped or killed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._base import checks, schema
from .._base.files import suffixed
from .._base.types import Array
from .._base.versions import versions
from .._kernels import layout
from .._motion.algorithms import specified
from .._problem.datasets import Dataset
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Harmonic, Potential, Radial, is_potential
from .._symmetry.affine import Symmetry
from .._symmetry.find import watched
from . import checkpoint_file
from .plan import Plan, stream
from .runs import Runs
from .trajectory import Trajectory

EMBEDDED = 64_000_000  # bytes of data that a checkpoint takes along
UNWRITTEN = "a checkpoint that could not be written"  # who stopped a run
_SECONDS = 60.0
_STATE = tuple(name for name in layout.State._fields if name not in ("y", "scratch", "parts"))
_ROWS = ("step", "loss", "excess", "quantity", "charge", "integral", "discrete", "params")


class CheckpointError(OSError):
    """A checkpoint could not be written; the run was stopped in order.

    Attributes
    ----------
    trajectory : Trajectory
        All that was recorded until then.
    """

    trajectory: Trajectory


class CheckpointWriter:
    """Writes the checkpoints of runs, which share one file.

    Parameters
    ----------
    path : path-like
        Where; .npz is added where it is missing.
    every : int, float or None
        Steps between two, if an int; seconds, if a float; 60.0 by default.
    runs : Runs
        The runs, at their start or where they are.
    single : bool
        Whether it is one run alone, whose records then have no leading axis in the file.

    Attributes
    ----------
    error : str
        Why a checkpoint could not be written; '' if none failed.
    """

    def __init__(self, path: str | os.PathLike[str], every: float | None, runs: Runs, single: bool) -> None:
        self.path = suffixed(path, "checkpoint")
        self.every: int | float = _SECONDS if every is None else interval(every)
        self.runs, self.single, self.error = runs, single, ""
        # Copies of states. While one is written other threads' runs go on, and so do their records, of which a row is part
        # of a checkpoint if the copied state has come to it.
        self._states = runs.state._replace(**{name: getattr(runs.state, name).copy() for name in _STATE})
        self._turn = threading.RLock()
        self.header, self.fixed = _described(runs, single)
        self.header["checkpoint_every"] = self.every
        self.began = time.monotonic()

    @property
    def grid(self) -> tuple[int, ...]:
        """Numbers of steps no multiple of which a run passes without calling `update`."""
        return (self.every,) if isinstance(self.every, int) else ()

    def due(self, steps_done: int) -> bool:
        """Whether it is time."""
        if isinstance(self.every, int):
            return steps_done % self.every == 0
        return time.monotonic() - self.began >= self.every

    def update(self, group: slice, collect: Callable[[], None]) -> None:
        """Take note of where a group of runs is, and try to write if it is time; of several threads that find so only one does."""
        steps_done, others = self.runs.steps_done(group), len(self.runs) > group.stop - group.start
        with self._turn:
            due = self.due(steps_done)
            if due or others:
                collect()
                self.take(group)
            if due:
                self.try_to_save()

    def take(self, group: slice) -> None:
        """Copy the states of a group of runs."""
        with self._turn:
            for name in _STATE:
                getattr(self._states, name)[group] = getattr(self.runs.state, name)[group]

    def save(self) -> None:
        """Write where the runs are; one thread at a time."""
        with self._turn:
            arrays = dict(self.fixed)
            for name in _STATE:
                arrays[f"state/{name}"] = getattr(self._states, name)
            for name in _ROWS:
                rows = getattr(self.runs.records, name)
                arrays[f"records/{name}"] = rows[0] if self.single else rows
            checkpoint_file.write(self.path, self.header, arrays)
            self.began = time.monotonic()

    def try_to_save(self) -> None:
        """Write, or set `error` to why it could not be; nothing after that."""
        if self.error:
            return
        try:
            self.save()
        except OSError as error:
            self.error = f"checkpoint={str(self.path)!r} could not be written: {error}"

    def raise_if_failed(self, trajectory: Trajectory) -> None:
        """Raise CheckpointError if a checkpoint could not be written."""
        if self.error:
            earlier = "the one before it is intact" if self.path.exists() else "there is none"
            error = CheckpointError(f"{self.error}; {earlier}; .trajectory of this error has what was recorded")
            error.trajectory = trajectory
            raise error


def checkpoint_writer(
    path: str | os.PathLike[str] | None, every: float | None, runs: Runs, single: bool, begun: bool = False
) -> CheckpointWriter | None:
    """Return the checkpoint writer, None without a path.

    Unless the runs have `begun` before, the first checkpoint is written now, so that an unwritable path fails before any step
    is taken.

    Raises
    ------
    ValueError, TypeError
        If `every` is not a number of steps or seconds, or comes without a path.
    OSError
        If the file cannot be written.
    """
    if path is None:
        if every is not None:
            raise ValueError(f"checkpoint_every={every} needs checkpoint=, where to write")
        return None
    writer = CheckpointWriter(path, every, runs, single)
    if not writer.path.parent.is_dir():
        raise FileNotFoundError(f"checkpoint={str(writer.path)!r} is in a folder that does not exist")
    if writer.path.exists() and not writer.path.is_file():
        raise ValueError(f"checkpoint={str(writer.path)!r} must be a file, to be read again")
    checkpoint_file.tidy(writer.path)
    if not begun:
        writer.save()
    return writer


def interval(value: object) -> int | float:
    """Return `checkpoint_every` as it may be: steps from 1 on, an int, or seconds from 0.0 on, a float."""
    if isinstance(value, float):
        return checks.real(value, "checkpoint_every", minimum=0.0)
    return checks.integer(value, "checkpoint_every", minimum=1)


def unfinished(path: Path) -> bool:
    """Return whether a run of the checkpoint has steps left to take.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `nl.resume`.
    """
    header, arrays = checkpoint_file.read(path)
    return bool((arrays["state/counts"][:, layout.STEPS_DONE] < header["arguments"]["steps"]).any())


def begun_as(path: Path, specification: Mapping[str, Any]) -> bool:
    """Return whether a run of such a specification was started as that of a checkpoint.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `nl.resume`.
    """
    header, _ = checkpoint_file.read(path)
    algorithm = header["algorithms"][0] if header["single"] else header["algorithms"]
    mine = json.loads(json.dumps({"potential": header["potential"], "steps": header["arguments"]["steps"]}))
    known = {"potential": specification.get("potential"), "steps": specification.get("arguments", {}).get("steps")}
    return known == mine and specification.get("algorithm") in (algorithm, header["algorithms"][0])


# --- what a run was started with ---


def _described(runs: Runs, single: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (header, arrays) from which the start of the runs is made again."""
    plan, records = runs.plan, runs.records
    own = [s for s in plan.watched if isinstance(s, Symmetry)]
    arrays: dict[str, Any] = {"start/x": runs.x0, "start/v": runs.v0}
    arrays["keys"] = np.array([stream.key for stream in runs.streams], np.uint64)
    for s in own:
        arrays |= {f"laws/{s.name}/G": s.G, f"laws/{s.name}/xi": s.xi}
    data = _data(plan.U)
    if sum(a.nbytes for a in data.values()) <= EMBEDDED:
        arrays |= {f"data/{name}": a for name, a in data.items()}
    header = {
        "single": single,
        "potential": plan.U.specification(),
        "rotation_invariant": getattr(plan.U, "rotation_invariant", False),
        "data": fingerprint(plan.U),
        "algorithms": [a.specification() for a in runs.algorithms],
        "laws": [s.name for s in plan.watched],
        "own": [s.name for s in own],
        "arguments": {
            "steps": records.last,
            "record_every": records.every,
            "record_params": bool(records.params.size),
            "t0": runs.t0,
            "batch_size": plan.batch,
            "dtype": plan.dtype,
            "compiled": plan.compiled,
            "backend": plan.backend,
            "input_reduction": plan.reduction is not None,
        },
        "versions": versions(),
    }
    return header, arrays


def _data(U: Potential) -> dict[str, Array]:
    """Return the arrays that make a potential."""
    if isinstance(U, NetworkPotential):
        return {"X": U.X, "y": np.asarray(U.y)}
    return {"A": U.A} if isinstance(U, Harmonic) else {}


def fingerprint(U: Potential) -> str:
    """Return the SHA-256 of a potential's arrays."""
    found = hashlib.sha256()
    for name, a in _data(U).items():
        found.update(f"{name} {a.dtype.str} {a.shape}".encode())
        found.update(np.ascontiguousarray(a).data)
    return found.hexdigest()


def restart(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any], potential: Potential | None) -> Runs:
    """Return the runs of a checkpoint, where they are."""
    U = _potential(path, header, arrays, potential)
    wanted = [
        Symmetry(arrays[f"laws/{name}/G"], arrays[f"laws/{name}/xi"], name) if name in header["own"] else name
        for name in header["laws"]
    ]
    chosen = header["arguments"]
    algorithms = tuple(specified(a) for a in header["algorithms"])
    plan = Plan(
        U,
        watched(U, wanted, minibatches=chosen["batch_size"] is not None),
        batch_size=chosen["batch_size"],
        backend=chosen.get("backend", "cpu" if chosen["compiled"] else "reference"),
        dtype=chosen["dtype"],
        steps=chosen["steps"],
        reduce=chosen["input_reduction"],
        moving=False,
    )
    records = plan.records(len(algorithms), chosen["steps"], chosen["record_every"], chosen["record_params"])
    rows = {name: arrays[f"records/{name}"][None] if header["single"] else arrays[f"records/{name}"] for name in _ROWS}
    _check(path, {**arrays, **{f"records/{name}": a for name, a in rows.items()}}, plan, records)
    for name, a in rows.items():
        getattr(records, name)[...] = a
    streams = tuple(stream(plan, key) for key in arrays["keys"])
    runs = Runs(plan, algorithms, arrays["start/x"], arrays["start/v"], chosen["t0"], records, streams)
    runs.restore({name: arrays[f"state/{name}"] for name in _STATE})
    return runs


def _check(path: Path, arrays: Mapping[str, Any], plan: Plan, records: layout.Records) -> None:
    """Raise ValueError unless the arrays of a checkpoint fit the runs that its header tells of."""
    E = len(records.step)
    blank = plan.state(E)
    try:
        for name in ("start/x", "start/v"):
            schema.expect(arrays, name, "f", (E, plan.U.n_params))
        schema.expect(arrays, "keys", "u", (E,))
        for group, names, like in (("records", _ROWS, records), ("state", _STATE, blank)):
            for name in names:
                own = getattr(like, name)
                schema.expect(arrays, f"{group}/{name}", own.dtype.kind, own.shape)
    except ValueError as error:
        raise ValueError(f"path={str(path)!r} is not a checkpoint: {error}") from error


def _potential(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any], given: Potential | None) -> Potential:
    spec = header["potential"]
    if given is not None:
        is_potential(given, "potential")
        own = given.specification()
        if "dataset" in spec:  # a name; the data themselves are compared
            own["dataset"] = spec["dataset"]
        if json.loads(json.dumps(own)) != spec:
            differing = [
                f"{k}={own.get(k)!r} (was {spec.get(k)!r})" for k in {**spec, **own} if own.get(k) != spec.get(k)
            ]
            raise ValueError(f"potential={given!r} is not that of {str(path)!r}: {', '.join(differing)}")
        if fingerprint(given) != header["data"]:
            raise ValueError(f"potential={given!r} is not that of {str(path)!r}: its data have another SHA-256")
        if spec["kind"] == "callable":
            _compare(path, arrays, given)
        return given
    kind = spec["kind"]
    if kind == "network" and "data/X" in arrays:
        net = Network(**spec["network"])
        if not spec["dataset"]:
            return NetworkPotential(net, arrays["data/X"], arrays["data/y"])
        data = Dataset(arrays["data/X"], arrays["data/y"], spec["dataset"], header["rotation_invariant"])
        return NetworkPotential(net, data)
    if kind == "radial":
        return Radial(spec["n_params"])
    if kind == "harmonic" and "data/A" in arrays:
        return Harmonic(arrays["data/A"])
    why = (
        "its data are larger than a checkpoint takes along" if kind != "callable" else "a Python function is not saved"
    )
    raise ValueError(f"potential must be given to resume {str(path)!r}: {why}")


def _compare(path: Path, arrays: Mapping[str, Any], given: Potential) -> None:
    """Raise a ValueError where a Python function has not the value at the start that was recorded: code has no fingerprint."""
    x, recorded = (arrays[name].reshape(len(arrays["keys"]), -1)[0] for name in ("start/x", "records/loss"))
    if not (arrays["state/counts"][0, layout.PHASE] != layout.NEW and np.isfinite(recorded[0])):
        return
    value, before = given.value(x), float(recorded[0])
    # Half of the digits: another machine may round otherwise, and another function has another value.
    if not abs(value - before) <= np.sqrt(np.finfo(x.dtype).eps) * max(1.0, abs(before)):
        raise ValueError(
            f"potential={given!r} is not that of {str(path)!r}: at the start it is {value!r}, and {before!r} was recorded"
        )
