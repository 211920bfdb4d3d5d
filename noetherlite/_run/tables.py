"""A run's records as a pandas DataFrame or an xarray Dataset, where those packages are installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .trajectory import LAW_ARRAYS, Trajectory


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"to_{name} needs the package {name}: pip install {name}") from error


def _columns(run: Trajectory) -> dict[str, Any]:
    """Return the arrays with an axis of records: t, step, loss, energy, those of the laws, and what was observed."""
    columns: dict[str, Any] = {name: getattr(run, name) for name in ("t", "step", "loss", "energy")}
    for name, law in run.laws.items():
        columns |= {f"{name}.{field}": getattr(law, field) for field in LAW_ARRAYS}
    return {**columns, **run.observed}


def frame(run: Trajectory) -> Any:
    """Return a DataFrame with a row per record, a column per component of a law, for example "scaling:1.residual[2]"."""
    pandas = _import("pandas")
    columns = {}
    for name, values in _columns(run).items():
        components = values.shape[run.t.ndim :]
        rows = values.reshape(run.t.size, *components)
        for index in np.ndindex(components):
            columns[f"{name}[{', '.join(map(str, index))}]" if index else name] = rows[(slice(None), *index)]
    records = range(run.t.shape[-1])
    if not run.members:
        return pandas.DataFrame(columns, index=pandas.RangeIndex(len(records), name="record"))
    index = pandas.MultiIndex.from_product([range(len(run)), records], names=["member", "record"])
    return pandas.DataFrame(columns, index=index)


def dataset(run: Trajectory) -> Any:
    """Return a Dataset with the dimensions "record", of an ensemble "member", and a law's own components."""
    xarray = _import("xarray")
    first = ("member", "record") if run.members else ("record",)
    variables: dict[str, Any] = {}
    for name, values in _columns(run).items():
        owner = name if name in run.observed else name.rpartition(".")[0]
        variables[name] = ((*first, *(f"{owner}[{i}]" for i in range(values.ndim - len(first)))), values)
    if run.params is not None:
        variables["params"] = ((*first, "parameter"), run.params)
    for name in ("x", "v"):
        variables[name] = ((*first[:-1], "parameter"), getattr(run, name))
    return xarray.Dataset(variables, attrs={"status": run.status, "message": run.message})
