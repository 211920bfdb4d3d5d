"""Checkpoints: the specification of runs and their states, from which `resume` continues bit for bit."""

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

from .._base import checks
from .._base.files import suffixed
from .._base.types import Array
from .._base.versions import versions
from .._kernels import layout
from .._motion.base import Algorithm
from .._problem.analytic import Analytic
from .._problem.network import NetworkPotential
from .._problem.potentials import Harmonic, Potential
from .._symmetry.affine import Symmetry
from . import checkpoint_file
from .runs import Runs
from .trajectory import Trajectory

EMBEDDED = 64_000_000  # data of up to this many bytes are stored in the checkpoint
UNWRITTEN = "a checkpoint that could not be written"  # the cause of a stop, in `Supervisor.stopped`
_SECONDS = 60.0
_STATE = tuple(name for name in layout.State._fields if name not in ("work", "scratch", "parts"))
ROWS = ("step", *layout.RECORDED, "params")


def saved(algorithm: Algorithm) -> tuple[str, ...]:
    """Return the arrays of the states of an algorithm's runs that a checkpoint holds."""
    left_out = {name for name, needed in (("moment", algorithm.method.has_moment), ("y", algorithm.sam)) if not needed}
    return tuple(name for name in _STATE if name not in left_out)


class CheckpointError(OSError):
    """A checkpoint could not be written; the run was stopped in order.

    Attributes
    ----------
    trajectory : Trajectory
        The records written before it.
    """

    trajectory: Trajectory


class CheckpointWriter:
    """Writes the checkpoints of all runs, at their start or restored, to one file.

    `every` is the interval between checkpoints: steps if an int, seconds if a float; 60.0 by default. `single`: whether this is a
    single run, whose records have no leading axis in the file.
    """

    def __init__(self, path: str | os.PathLike[str], every: float | None, runs: Runs, single: bool) -> None:
        self.path = suffixed(path, "checkpoint")
        self.every: int | float = _SECONDS if every is None else interval(every)
        self.runs, self.single = runs, single
        self.error = ""  # of a failed write
        # Copies of the states, because runs in other threads continue while a checkpoint is written. Rows of the records that
        # are later than the copied state are ignored by `Runs.restore`.
        names = saved(runs.algorithms[0])
        self._copies = runs.state._replace(**{name: getattr(runs.state, name).copy() for name in names})
        self._lock = threading.RLock()
        layout.blank(runs.records)
        self.header, self.fixed = _specify_start(runs, single)
        self.header["checkpoint_every"] = self.every
        self.began = time.monotonic()

    @property
    def grid(self) -> tuple[int, ...]:
        """Step intervals: `update` is called at every multiple of each."""
        return (self.every,) if isinstance(self.every, int) else ()

    def due(self, steps_done: int) -> bool:
        """Return whether a checkpoint is due."""
        if isinstance(self.every, int):
            return steps_done % self.every == 0
        return time.monotonic() - self.began >= self.every

    def update(self, group: slice, collect: Callable[[], None]) -> None:
        """Copy the states of a group of runs, and write a checkpoint if one is due; of several threads only one writes it."""
        steps_done, several_groups = self.runs.steps_done(group), len(self.runs) > group.stop - group.start
        with self._lock:
            due = self.due(steps_done)
            if due or several_groups:
                collect()
                self.take(group)
            if due:
                self.try_to_save()

    def take(self, group: slice) -> None:
        """Copy the states of a group of runs."""
        with self._lock:
            for name in saved(self.runs.algorithms[0]):
                getattr(self._copies, name)[group] = getattr(self.runs.state, name)[group]

    def save(self) -> None:
        """Write a checkpoint; one thread at a time."""
        with self._lock:
            arrays = dict(self.fixed)
            for name in saved(self.runs.algorithms[0]):
                arrays[f"state/{name}"] = getattr(self._copies, name)
            for name in ROWS:
                rows = getattr(self.runs.records, name)
                arrays[f"records/{name}"] = rows[0] if self.single else rows
            arrays |= {f"observed/{name}": values for name, values in self.runs.observed.items()}
            checkpoint_file.write(self.path, self.header, arrays)
            self.began = time.monotonic()

    def try_to_save(self) -> None:
        """Write a checkpoint unless an earlier one failed; set `error` if writing fails."""
        if self.error:
            return
        try:
            self.save()
        except OSError as error:
            self.error = f"checkpoint={str(self.path)!r} could not be written: {error}"

    def raise_if_failed(self, trajectory: Trajectory) -> None:
        """Raise CheckpointError if a checkpoint could not be written."""
        if self.error:
            previous = "the one before it is intact" if self.path.exists() else "there is none"
            error = CheckpointError(f"{self.error}; {previous}; .trajectory of this error has what was recorded")
            error.trajectory = trajectory
            raise error


def checkpoint_writer(
    path: str | os.PathLike[str] | None, every: float | None, runs: Runs, single: bool, begun: bool = False
) -> CheckpointWriter | None:
    """Return the checkpoint writer, None without a path.

    The first checkpoint is written now, so that an unwritable path fails before any step is taken; not if the runs have
    `begun` before, as those of `resume`. ValueError or TypeError if `every` is not a number of steps or seconds, or comes without a
    path; OSError if the file cannot be written.
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
    """Return `checkpoint_every` after checking it: steps ≥ 1 as an int, or seconds ≥ 0.0 as a float."""
    if isinstance(value, float):
        return checks.real(value, "checkpoint_every", minimum=0.0)
    return checks.integer(value, "checkpoint_every", minimum=1)


def unfinished(path: Path) -> bool:
    """Return whether a run of the checkpoint has steps left to take; errors are those of `nl.resume`."""
    header, arrays = checkpoint_file.read(path)
    return bool((arrays["state/counts"][:, layout.STEPS_DONE] < header["arguments"]["steps"]).any())


def begun_as(path: Path, specification: Mapping[str, Any]) -> bool:
    """Return whether a specification has the potential, algorithm and number of steps of a checkpoint; errors as in `nl.resume`."""
    header, _ = checkpoint_file.read(path)
    algorithm = header["algorithms"][0] if header["single"] else header["algorithms"]
    stored = json.loads(json.dumps({"potential": header["potential"], "steps": header["arguments"]["steps"]}))
    requested = {"potential": specification.get("potential"), "steps": specification.get("arguments", {}).get("steps")}
    return requested == stored and specification.get("algorithm") in (algorithm, header["algorithms"][0])


# --- content of a checkpoint ---


def _specify_start(runs: Runs, single: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (header, arrays), from which `restart` makes the runs again."""
    plan, records = runs.plan, runs.records
    objects = [s for s in plan.watched if isinstance(s, Symmetry)]
    arrays: dict[str, Any] = {"start/x": runs.x0, "start/v": runs.v0}
    arrays["keys"] = np.array([stream.key for stream in runs.streams], np.uint64)
    for s in objects:
        arrays |= {f"laws/{s.name}/G": s.G, f"laws/{s.name}/xi": s.xi}
    data = _potential_arrays(plan.U)
    if sum(a.nbytes for a in data.values()) <= EMBEDDED:
        arrays |= {f"data/{name}": a for name, a in data.items()}
    header = {
        "single": single,
        "potential": plan.U.specification(),
        "rotation_invariant": getattr(plan.U, "rotation_invariant", False),
        "data": fingerprint(plan.U),
        "algorithms": [a.specification() for a in runs.algorithms],
        "laws": [s.name for s in plan.watched],
        "own": [s.name for s in objects],
        "observe": [] if runs.observables is None else list(runs.observables.named),
        "record_sharpness": None if runs.observables is None else runs.observables.record_sharpness,
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
            "by_samples": plan.reduction is not None and plan.reduction.by_samples,
            "by_end_to_end": plan.end_to_end is not None,
        },
        "versions": versions(),
    }
    return header, arrays


def _potential_arrays(U: Potential) -> dict[str, Array]:
    """Return the arrays that a potential is made of."""
    if isinstance(U, NetworkPotential):
        return {"X": U.X, "y": np.asarray(U.y), **U.given_weights}
    if isinstance(U, Analytic):
        return U.arrays()
    return {"A": U.A} if isinstance(U, Harmonic) else {}


def fingerprint(U: Potential) -> str:
    """Return the SHA-256 of a potential's arrays."""
    sha = hashlib.sha256()
    for name, a in _potential_arrays(U).items():
        sha.update(f"{name} {a.dtype.str} {a.shape}".encode())
        sha.update(np.ascontiguousarray(a).data)
    return sha.hexdigest()
