"""Reconstruction of runs from a checkpoint: potential, laws, and stored states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._base import schema
from .._base.types import Array
from .._kernels import layout
from .._motion.algorithms import specified
from .._motion.base import Algorithm
from .._problem.dataset import Dataset
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Harmonic, Potential, Radial, is_potential
from .._symmetry.affine import Symmetry
from .._symmetry.find import watched
from .checkpoint import ROWS, fingerprint, saved
from .observe import Observables, Observe
from .plan import Plan, stream
from .runs import Runs


def restart(
    path: Path,
    header: Mapping[str, Any],
    arrays: Mapping[str, Any],
    potential: Potential | None,
    observe: Observe | None = None,
    steps: int | None = None,
) -> Runs:
    """Return the runs of a checkpoint in their stored states; with more `steps` than they had, if given."""
    U = _restore_potential(path, header, arrays, potential)
    laws = [
        Symmetry(arrays[f"laws/{name}/G"], arrays[f"laws/{name}/xi"], name) if name in header["own"] else name
        for name in header["laws"]
    ]
    arguments = header["arguments"]
    algorithms = tuple(specified(a) for a in header["algorithms"])
    # Files that do not say which reduction it was are older than that of minibatches by samples.
    minibatches = arguments["batch_size"] not in (None, getattr(U, "n_samples", None))
    plan = Plan(
        U,
        watched(U, laws, minibatches=arguments["batch_size"] is not None),
        batch_size=arguments["batch_size"],
        backend=arguments.get("backend", "cpu" if arguments["compiled"] else "reference"),
        dtype=arguments["dtype"],
        steps=arguments["steps"],
        reduce=arguments["input_reduction"],
        by_samples=arguments.get("by_samples", False if minibatches else None),
        by_end_to_end=arguments.get("by_end_to_end", False),
    )
    records = plan.records(len(algorithms), arguments["steps"], arguments["record_every"], arguments["record_params"])
    rows = {name: arrays[f"records/{name}"][None] if header["single"] else arrays[f"records/{name}"] for name in ROWS}
    _check_arrays(
        path,
        {**arrays, **{f"records/{name}": array for name, array in rows.items()}},
        plan,
        records,
        algorithms[0],
    )
    for name, array in rows.items():
        getattr(records, name)[...] = array
    observables = _restore_observables(path, header, arrays, U, observe)
    observed = observables.empty(*records.step.shape)
    for name, values in observed.items():
        values[...] = schema.expect(arrays, f"observed/{name}", "f", values.shape)
    if steps is not None and steps > records.last:
        if any(a.rates for a in algorithms):
            raise ValueError(
                f"steps={steps} is more than the {records.last} of {str(path)!r}, where its schedule of lr ends"
            )
        records, observed = _extended(plan, records, observed, steps)
    streams = tuple(stream(plan, key) for key in arrays["keys"])
    runs = Runs(plan, algorithms, arrays["start/x"], arrays["start/v"], arguments["t0"], records, streams, observables)
    runs.observed |= observed
    runs.restore({name: arrays[f"state/{name}"] for name in saved(algorithms[0])})
    return runs


def _restore_observables(
    path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any], U: Potential, observe: Observe | None
) -> Observables:
    """Return the observables of a checkpoint, which has the names of functions, and not the functions."""
    observables = Observables(U, arrays["start/x"][0], observe, header.get("record_sharpness"))
    if set(observables.named) != set(names := header.get("observe", [])):
        raise ValueError(
            f"observe must hold the functions {names} that the runs of {str(path)!r} record, got {list(observables.named)}"
        )
    return observables


def _extended(
    plan: Plan, records: layout.Records, observed: Mapping[str, Array], steps: int
) -> tuple[layout.Records, dict[str, Array]]:
    """Return the records of runs of more steps; a last one that lies between two regular ones is left out."""
    E, rows = len(records.step), records.last // records.every + 1
    longer = plan.records(E, steps, records.every, bool(records.params.size))
    for name in ROWS:
        getattr(longer, name)[:, :rows] = getattr(records, name)[:, :rows]
    values: dict[str, Array] = {
        name: np.full((E, longer.step.shape[1], *a.shape[2:]), np.nan) for name, a in observed.items()
    }
    for name, a in observed.items():
        values[name][:, :rows] = a[:, :rows]
    return longer, values


def _check_arrays(
    path: Path, arrays: Mapping[str, Any], plan: Plan, records: layout.Records, algorithm: Algorithm
) -> None:
    """Raise ValueError unless the arrays of a checkpoint fit the runs that its header specifies."""
    E = len(records.step)
    blank = plan.state(E, with_moment=algorithm.method.has_moment)
    try:
        for name in ("start/x", "start/v"):
            schema.expect(arrays, name, "f", (E, plan.U.n_params))
        schema.expect(arrays, "keys", "u", (E,))
        for group, names, template in (("records", ROWS, records), ("state", saved(algorithm), blank)):
            for name in names:
                expected = getattr(template, name)
                schema.expect(arrays, f"{group}/{name}", expected.dtype.kind, expected.shape)
    except ValueError as error:
        raise ValueError(f"path={str(path)!r} is not a checkpoint: {error}") from error


def _restore_potential(
    path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any], potential: Potential | None
) -> Potential:
    spec = header["potential"]
    if potential is not None:
        is_potential(potential, "potential")
        given_spec = potential.specification()
        if "dataset" in spec:  # the name is not compared: the data are
            given_spec["dataset"] = spec["dataset"]
        if json.loads(json.dumps(given_spec)) != spec:
            differing = [
                f"{k}={given_spec.get(k)!r} (was {spec.get(k)!r})"
                for k in {**spec, **given_spec}
                if given_spec.get(k) != spec.get(k)
            ]
            raise ValueError(f"potential={potential!r} is not that of {str(path)!r}: {', '.join(differing)}")
        if fingerprint(potential) != header["data"]:
            raise ValueError(f"potential={potential!r} is not that of {str(path)!r}: its data have another SHA-256")
        if spec["kind"] == "callable":
            _compare_start_value(path, arrays, potential)
        return potential
    kind = spec["kind"]
    if kind == "network" and "data/X" in arrays:
        net = Network(**spec["network"])
        weights = {name: arrays[f"data/{name}"] for name in spec.get("weights", ())}
        if not spec["dataset"]:
            return NetworkPotential(net, arrays["data/X"], arrays["data/y"], **weights)
        data = Dataset(arrays["data/X"], arrays["data/y"], spec["dataset"], header["rotation_invariant"])
        return NetworkPotential(net, data, **weights)
    if kind == "radial":
        return Radial(spec["n_params"])
    if kind == "harmonic" and "data/A" in arrays:
        return Harmonic(arrays["data/A"])
    reasons = {
        "network": "its data are larger than a checkpoint takes along",
        "harmonic": "its matrix is larger than a checkpoint takes along",
        "callable": "a Python function is not saved",
        "compiled": "a Python function is not saved",
    }
    reason = reasons.get(kind, f"a {kind} is not made from a checkpoint")
    raise ValueError(f"potential must be given to resume {str(path)!r}: {reason}")


def _compare_start_value(path: Path, arrays: Mapping[str, Any], potential: Potential) -> None:
    """Raise ValueError if a Python function's value at the start differs from the recorded one: code has no fingerprint."""
    x, recorded = (arrays[name].reshape(len(arrays["keys"]), -1)[0] for name in ("start/x", "records/loss"))
    if not (arrays["state/counts"][0, layout.PHASE] != layout.NEW and np.isfinite(recorded[0])):
        return
    value, recorded_value = potential.value(x), float(recorded[0])
    # The tolerance √ε allows for the rounding of another machine; another function differs by more.
    if not abs(value - recorded_value) <= np.sqrt(np.finfo(x.dtype).eps) * max(1.0, abs(recorded_value)):
        raise ValueError(
            f"potential={potential!r} is not that of {str(path)!r}: at the start it is {value!r}, and {recorded_value!r} was recorded"
        )
