"""Whether the arrays of a file fit together: kinds of numbers, shapes and order are checked at the door, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .types import Array

_KINDS = {"f": "floating-point numbers", "i": "integers", "u": "unsigned integers"}


def expect(arrays: Mapping[str, Any], name: str, kind: str, shape: tuple[int | None, ...]) -> Array:
    """Return the array of a file with this name.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        All of them.
    name : str
        Which.
    kind : {"f", "i", "u"}
        What it holds.
    shape : tuple of int or None
        Its shape, None where any length will do.

    Raises
    ------
    ValueError
        If there is none, or it is another kind of array.
    """
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    found = np.asarray(arrays[name])
    if found.dtype.kind != kind or found.dtype.itemsize not in (4, 8):
        raise ValueError(f"{name} must hold {_KINDS[kind]}, got {found.dtype}")
    if found.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, found.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {found.shape}")
    return found


def trajectory(header: Mapping[str, Any], arrays: Mapping[str, Any], law_arrays: Sequence[str]) -> None:
    """Raise ValueError unless header and arrays are those of a run, or of an ensemble.

    Raises
    ------
    ValueError
        With the name of the member that does not fit.
    """
    members = header.get("members", [])
    if type(members) is not list:
        raise ValueError(f"members must be of type list, got {members!r:.60}")
    for name, kind in {"message": str, "n_gradients": int, "specification": dict, "laws": list}.items():
        if type(header.get(name)) is not kind:
            raise ValueError(f"{name} must be of type {kind.__name__}, got {header.get(name)!r:.60}")
    for e, member in enumerate(members):
        if type(member) is not list or [type(part) for part in member] != [str, str, int]:
            raise ValueError(f"members[{e}] must be a status, a message and a number of gradients, got {member!r:.60}")
    many = (len(members),) if members else ()
    records = expect(arrays, "t", "f", (*many, None)).shape
    step = expect(arrays, "step", "i", records)
    if (np.diff(step, axis=-1) <= 0).any() or (step < 0).any():
        raise ValueError("step must increase from 0 or more")
    for name in ("loss", "energy"):
        expect(arrays, name, "f", records)
    point = expect(arrays, "x", "f", (*many, None)).shape
    expect(arrays, "v", "f", point)
    if "params" in arrays:
        expect(arrays, "params", "f", (*records, point[-1]))
    for law in header["laws"]:
        first = f"laws/{law}/{law_arrays[0]}"
        shape = np.shape(arrays.get(first, ()))
        for name in law_arrays:
            expect(arrays, f"laws/{law}/{name}", "f", (*records, *shape[len(records) :]))
