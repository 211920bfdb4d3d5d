"""Named arrays of any framework: nested trees flattened to dotted names, and the precision that their numbers have."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Array

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}
_NARROW = ("bfloat16", "float16")

Tree = Any


def named_arrays(tree: Tree, name: str, only: Container[str] | None = None) -> tuple[dict[str, Array], float]:
    """Return the arrays of a tree by their dotted names, in the order of the tree, and the largest machine ε among them.

    Parameters
    ----------
    tree : mapping, sequence, or nested ones of array_like
        For example a `state_dict`, `dict(model.named_parameters())` or a tree of parameters of Flax or Equinox.
    name : str
        What the argument is called in messages.

    Returns
    -------
    dict of str to ndarray
        float64 or float32; narrower formats are widened to float64, which is exact.
    float
        Machine ε of the widest rounding among the formats.

    Raises
    ------
    TypeError, ValueError
        If an entry is None, sparse, empty, not an array of real numbers, or not finite.
    """
    if not isinstance(tree, Mapping | Sequence) or isinstance(tree, str | bytes):
        raise TypeError(f"{name} must be a mapping of names to arrays, got {checks.describe(tree)}")
    out: dict[str, Array] = {}
    eps = 0.0
    for key, leaf in leaves(tree):
        if only is not None and key not in only:
            continue
        if key in out:
            raise ValueError(f"{name} has two entries called {key!r}")
        array, own = array_of(leaf, f"{name}[{key!r}]")
        out[key], eps = array, max(eps, own)
    if not out:
        raise ValueError(f"{name} has no arrays")
    return out, eps


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a tree holds by its dotted names."""
    if isinstance(tree, Mapping):
        children = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        children = [(str(key), value) for key, value in enumerate(tree)]
    else:
        yield prefix, tree
        return
    for key, value in children:
        yield from leaves(value, f"{prefix}.{key}" if prefix else key)


def array_of(leaf: Any, name: str) -> tuple[Array, float]:
    """Return one array as `named_arrays` does, and machine ε of its numbers."""
    if leaf is None:
        raise ValueError(f"{name} is None: the gradient was not computed, or the tensor does not require one")
    array = np.asarray(checks.plain(leaf, name))
    kind = "" if array is leaf else str(getattr(leaf, "dtype", "")).rpartition(".")[2]
    if kind not in _NARROW and array.dtype not in (np.float64, np.float32):
        kind = str(array.dtype)
        if array.dtype == object or array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must be an array of real numbers, got {checks.describe(array)}")
        array = array.astype(np.float64)
    if not array.size:
        raise ValueError(f"{name} is empty")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has entries that are not finite")
    eps = EPSILON[kind] if kind in _NARROW else float(np.finfo(array.dtype).eps)
    return np.ascontiguousarray(array), eps


def matched(params: Mapping[str, Array], grads: Mapping[str, Array], called: str = "grads") -> dict[str, Array]:
    """Return the gradients, or what else is `called` so in messages, in the order of the parameters.

    Raises
    ------
    ValueError
        If names or shapes do not match.
    """
    lacking = [name for name in params if name not in grads]
    if lacking:
        known = [name for name in grads if name not in params]
        raise ValueError(
            f"{called} has no entry for {_names(lacking)}{f'; it has {_names(known)} instead' if known else ''};"
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
