"""Named arrays of any framework: nested trees flattened to dotted names, and the precision that their numbers have."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.precision import EPSILON
from .._base.types import Array

_NARROW = ("bfloat16", "float16")

Tree = Any


def named_arrays(
    tree: Tree, name: str, only: Container[str] | None = None, *, may_be_infinite: bool = False
) -> tuple[dict[str, Array], float]:
    """Return the arrays of a tree by their dotted names, in its order, and machine ε of the widest rounding among their formats.

    A tree is a mapping, sequence or dataclass of arrays, or nested ones: a `state_dict`, `dict(model.named_parameters())`, parameters
    of Flax, a model of Equinox. Arrays are float64 or float32; narrower formats are widened to float64, which is exact. `only`: names
    of the entries to read. `may_be_infinite`: leave it to the caller to look for entries that are not finite, by `require_finite`.
    TypeError or ValueError if an entry is None, sparse, empty, not an array of real numbers, or not finite.
    """
    require_tree(tree, name)
    arrays: dict[str, Array] = {}
    eps = 0.0
    for key, leaf in leaves(tree):
        if only is not None and key not in only:
            continue
        if key in arrays:
            raise ValueError(f"{name} has two entries called {key!r}")
        array, leaf_eps = array_of(leaf, f"{name}[{key!r}]")
        arrays[key], eps = array, max(eps, leaf_eps)
    if not arrays and only is None:
        raise ValueError(f"{name} has no arrays")
    if not may_be_infinite:
        require_finite(arrays, name)
    return arrays, eps


def require_tree(tree: Tree, name: str) -> None:
    """Raise TypeError unless a tree has entries."""
    if hasattr(tree, "dtype") or _children(tree) is None:
        raise TypeError(f"{name} must be a mapping of names to arrays, got {checks.describe(tree)}")


def leaves(tree: Tree, prefix: str = "", in_module: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree by their dotted names; of dataclasses, such as the modules of Equinox, arrays alone."""
    if hasattr(tree, "dtype"):
        yield prefix, tree
        return
    children = _children(tree)
    if children is None:
        if not in_module:  # where functions, sizes and None stand beside arrays
            yield prefix, tree
        return
    in_module = in_module or not isinstance(tree, Mapping | Sequence)
    for key, value in children:
        name = f"{prefix}.{key}" if prefix else str(key)
        if hasattr(value, "dtype"):  # most children are arrays
            yield name, value
        else:
            yield from leaves(value, name, in_module)


def _children(tree: Tree) -> Iterable[tuple[Any, Any]] | None:
    """Return the names and values that a tree has; None if it is a leaf."""
    if isinstance(tree, Mapping):
        return tree.items()
    if isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        return enumerate(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [(field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree)]
    return None


@functools.lru_cache
def _dtype_name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def array_of(leaf: Any, name: str) -> tuple[Array, float]:
    """Return one array as `named_arrays` does, whose entries may be infinite, and machine ε of its numbers."""
    if leaf is None:
        raise ValueError(f"{name} is None: the gradient was not computed, or the tensor does not require one")
    array = np.ascontiguousarray(checks.numpy_array(leaf, name))
    kind = _dtype_name(getattr(leaf, "dtype", ""))
    if array.dtype.char not in "df":
        if kind not in _NARROW and array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must be an array of real numbers, got {checks.describe(array)}")
        array = array.astype(np.float64)
    if not array.size:
        raise ValueError(f"{name} is empty")
    if kind not in EPSILON:
        kind = "float32" if array.dtype.char == "f" else "float64"
    return array, EPSILON[kind]


def require_finite(arrays: Mapping[str, Array], name: str) -> None:
    """Raise ValueError if an entry is NaN or infinite."""
    for key, array in arrays.items():
        if not all_finite(array):
            raise ValueError(f"{name}[{key!r}] has entries that are not finite")


def all_finite(array: Array) -> bool:
    """Return whether all entries are finite: their sum of squares, one pass without an array of bool, tells unless it overflows."""
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def matched(params: Mapping[str, Array], grads: Mapping[str, Array], called: str = "grads") -> dict[str, Array]:
    """Return the gradients, or what else is `called` so in messages, in the order of the parameters.

    ValueError if names or shapes do not match.
    """
    missing = [name for name in params if name not in grads]
    if missing:
        extra = [name for name in grads if name not in params]
        raise ValueError(
            f"{called} has no entry for {_names(missing)}{f'; it has {_names(extra)} instead' if extra else ''};"
            " both must have the same names"
        )
    for name, x in params.items():
        if grads[name].shape != x.shape:
            raise ValueError(
                f"{called}[{name!r}] must have the shape {x.shape} of its parameter, got {grads[name].shape}"
            )
    return {name: grads[name] for name in params}


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
