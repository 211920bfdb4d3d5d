"""The arguments of `check` and `Monitor`: rows, minibatches and laws, validated and converted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.precision import EPSILON, widened
from .._base.types import Array, ArrayLike, Float64Array, IntArray
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential, is_potential
from .._run import frozen
from .._symmetry.family import Family, NoetherSymmetry
from .._symmetry.find import listed, watched
from .replay import is_replayed


def check_claim(U: object, dynamics: object) -> None:
    """Raise TypeError if U is no potential, or `dynamics` neither a Dynamics nor an Algorithm."""
    is_potential(U)
    if not isinstance(dynamics, Dynamics | Algorithm):
        raise TypeError(
            f"dynamics must be a Dynamics such as nl.GF or an Algorithm such as nl.GD(0.1), got {checks.describe(dynamics)}"
        )


def dtype_of(value: ArrayLike) -> str:
    """Return the type in which an array is stored: float32 for it and for shorter formats, else float64."""
    array = np.asarray(value)
    return "float32" if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else "float64"


def read_rows(U: Potential, params: ArrayLike) -> Array:
    """Return the rows (R, P) of a recording; floats of 32 or 64 bits are not copied."""
    array = widened(params, "params")
    x = checks.array(array, "params", ndim=2, dtype=dtype_of(array))
    if x.shape[1] != U.n_params:
        raise ValueError(f"params must have shape (R, {U.n_params}), one row per time, got {x.shape}")
    return x


def laws_of(U: Potential, laws: str | Sequence[str | NoetherSymmetry], batchwise: bool) -> tuple[list[Family], bool]:
    """Return the families to check, and whether to check the law of energy."""
    if laws == "all":
        return watched(U, "all", batchwise), True
    requested = listed(laws)
    named = [item for item in requested if item != "time"]
    return watched(U, named, batchwise), len(named) < len(requested)


def step_laws(
    U: Potential, algorithm: Algorithm, laws: str | Sequence[str | NoetherSymmetry], batchwise: bool
) -> list[Family]:
    """Return the families to check along the steps of an algorithm."""
    families, energy = laws_of(U, laws, batchwise)
    if energy and laws != "all":
        raise ValueError(f"laws: energy has no exact law along the steps of {algorithm}; give its Dynamics for 'time'")
    return frozen.laws_left(families, frozen.blocks(U, algorithm), U.n_params, laws, algorithm)


def states_of(
    algorithm: Algorithm, states: Mapping[str, ArrayLike | None], shape: tuple[int, ...]
) -> dict[str, Float64Array]:
    """Return the fields of `Memory` that are recorded, in the units of the algorithm."""
    fields = {}
    for name, values in states.items():
        if values is None:
            continue
        if name not in algorithm.states:
            has = f"it has {' and '.join(algorithm.states)}" if algorithm.states else "it has none"
            raise ValueError(f"{name} is not used with {algorithm}: of these states {has}")
        array = checks.shaped(widened(values, name), name, shape).astype(np.float64)
        field, least = algorithm.states[name], abs(float(algorithm.memory_of(name, np.zeros(1))[0]))
        if field == "s" and (low := float(array.min(initial=np.inf))) < (1 - EPSILON["bfloat16"]) * least:
            raise ValueError(f"{name} must be at least {least:g}, as {algorithm} adds up squares, got {low:.9g}")
        fields[field] = algorithm.memory_of(name, array)
    return fields


def check_spacing(algorithm: Algorithm, every: int, recorded: Collection[str]) -> None:
    """Raise if rows `every` steps apart, with these averages, do not tell the steps between them."""
    if every > 1 and recorded:
        raise ValueError(f"every={every} is not possible with recorded averages, which are those of single steps")
    if every > 1 and not algorithm.starts_anywhere:
        raise ValueError(
            f"every={every} is not possible with {algorithm}, whose steps depend on more than positions; record every step"
        )


def read_key(algorithm: Algorithm, key: object) -> int | None:
    """Return the key of an algorithm's noise, None where it is not given."""
    if key is None:
        return None
    if not algorithm.has_noise:
        raise ValueError(f"noise_key is not used with {algorithm}, which has no noise")
    return checks.integer(key, "noise_key", minimum=0, maximum=2**63 - 1)


def batch_of(U: Potential, value: Any, name: str) -> IntArray:
    """Return the indices of a minibatch."""
    if not isinstance(U, NetworkPotential):
        raise ValueError(f"{name} needs a potential with samples, got {U!r}")
    indices: Array = checks.numpy_array(value, name)
    if indices.dtype.kind not in "iu" or indices.ndim != 1 or indices.size == 0:
        raise ValueError(f"{name} must be a non-empty array of sample indices, got {checks.describe(indices)}")
    if int(indices.min()) < 0 or int(indices.max()) >= U.n_samples:
        raise ValueError(
            f"{name} must hold indices in 0..{U.n_samples - 1}, got {int(indices.min())}..{int(indices.max())}"
        )
    return indices.astype(np.int64)


def batch_of_row(U: Potential, value: Any, name: str, every: int, algorithm: Algorithm) -> object:
    """Return the minibatch of a row, or with `every` > 1 those of the steps that follow it."""
    if not is_replayed(algorithm, every):
        return batch_of(U, value, name)
    if (n := algorithm.gradients_per_step) > 1 and not algorithm.is_implicit:
        raise ValueError(
            f"{name} with every={every} is not supported for {algorithm}, which takes {'two' if n == 2 else n} gradients per step"
        )
    if every == 1:
        return (batch_of(U, value, name),)
    if not isinstance(value, Sequence | np.ndarray) or len(value) != every:
        raise ValueError(
            f"{name} must have {every} arrays of sample indices, one per step, got {checks.describe(value)}"
        )
    return tuple(batch_of(U, item, f"{name}[{j}]") for j, item in enumerate(value))


def batches_by_row(
    U: Potential, batches: Sequence[ArrayLike] | None, every: int, n: int, algorithm: Algorithm
) -> list[object] | None:
    """Return the minibatches of n rows; None for the last row unless `batches` has its own."""
    if batches is None:
        return None
    arrays = checks.items(batches, "batches", "a sequence of arrays of sample indices")
    if len(arrays) < every * (n - 1):
        raise ValueError(f"batches must have one array per step, {every * (n - 1)} for {n} rows, got {len(arrays)}")
    out: list[object] = []
    for k in range(n):
        part = arrays[k * every : (k + 1) * every]
        if len(part) < every:
            out.append(None)
            break
        if every == 1:
            out.append(batch_of_row(U, part[0], f"batches[{k}]", every, algorithm))
        else:
            out.append(batch_of_row(U, part, f"batches[{k * every}:{(k + 1) * every}]", every, algorithm))
    return out
