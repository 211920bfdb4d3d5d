"""Checks of the arrays of a file: kinds of numbers, shapes and order; errors name the array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .types import Array

_KINDS = {"f": "floating-point numbers", "i": "integers", "u": "unsigned integers"}


def expect(arrays: Mapping[str, Any], name: str, kind: str, shape: tuple[int | None, ...]) -> Array:
    """Return one array of a file, of this kind ("f", "i" or "u") and shape, in which None stands for any length.

    ValueError if the array is missing, or its kind or shape is another.
    """
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    array = np.asarray(arrays[name])
    if array.dtype.kind != kind or array.dtype.itemsize not in (4, 8):
        raise ValueError(f"{name} must hold {_KINDS[kind]}, got {array.dtype}")
    if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({expected}), got {array.shape}")
    return array


def trajectory(header: Mapping[str, Any], arrays: Mapping[str, Any], law_arrays: Sequence[str]) -> None:
    """Check header and arrays of the file of a run or an ensemble; ValueError names what is missing or does not fit the others."""
    members = header.get("members", [])
    if type(members) is not list:
        raise ValueError(f"members must be of type list, got {members!r:.60}")
    for name, kind in {"message": str, "n_gradients": int, "specification": dict, "laws": list}.items():
        if type(header.get(name)) is not kind:
            raise ValueError(f"{name} must be of type {kind.__name__}, got {header.get(name)!r:.60}")
    for e, member in enumerate(members):
        if type(member) is not list or [type(part) for part in member] != [str, str, int]:
            raise ValueError(f"members[{e}] must be a status, a message and a number of gradients, got {member!r:.60}")
    leading = (len(members),) if members else ()
    records = expect(arrays, "t", "f", (*leading, None)).shape
    step = expect(arrays, "step", "i", records)
    if (np.diff(step, axis=-1) <= 0).any() or (step < 0).any():
        raise ValueError("step must increase from 0 or more")
    for name in ("loss", "energy"):
        expect(arrays, name, "f", records)
    point = expect(arrays, "x", "f", (*leading, None)).shape
    expect(arrays, "v", "f", point)
    if "solver_residual" in arrays:
        expect(arrays, "solver_residual", "f", leading)
    if "params" in arrays:
        expect(arrays, "params", "f", (*records, point[-1]))
    for name in header.get("observed", ()):
        values = np.shape(arrays.get(f"observed/{name}", ()))
        expect(arrays, f"observed/{name}", "f", (*records, *values[len(records) :]))
    for law in header["laws"]:
        first = f"laws/{law}/{law_arrays[0]}"
        shape = np.shape(arrays.get(first, ()))
        for name in law_arrays:
            expect(arrays, f"laws/{law}/{name}", "f", (*records, *shape[len(records) :]))
