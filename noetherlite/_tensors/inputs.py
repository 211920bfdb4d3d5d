"""The arrays that laws name, taken from what a training loop or a checkpoint has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .._base import checks
from .._base.types import Array
from .law import Law
from .trees import Tree, leaves, matched, named_arrays, require_finite


def read_pair(
    shapes: Mapping[str, tuple[int, ...]], params: Tree, grads: Tree, others: Sequence[str] = ()
) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Return parameters and gradients of the tensors that laws name, and of others, and machine ε of their numbers.

    Whether entries are finite is not checked, except in the others: the defects of the laws tell it. ValueError if a tensor is missing
    or has another shape.
    """
    names = {*shapes, *others}
    x, params_eps = named_arrays(params, "params", only=names, may_be_infinite=True)
    g, grads_eps = named_arrays(grads, "grads", only=names, may_be_infinite=True)
    require_shapes(shapes, x)
    for name in others:
        if name not in x:
            raise ValueError(f"params has no {name!r}, which the anchor names{checks.suggestion(name, x)}")
    g = matched(x, g)
    for arrays, called in ((x, "params"), (g, "grads")):
        require_finite({name: arrays[name] for name in others}, called)
    return x, g, max(params_eps, grads_eps)


def with_gradient(params: Tree, grads: Tree) -> list[str]:
    """Return the names of all parameters that have a gradient."""
    names = {name for name, leaf in leaves(params) if hasattr(leaf, "dtype")}
    return [name for name, leaf in leaves(grads) if hasattr(leaf, "dtype") and name in names]


def shapes_of(laws: Sequence[Law]) -> dict[str, tuple[int, ...]]:
    """Return the tensors that laws name, and the shapes that they were found with."""
    return {m.tensor: tuple(math.prod(sizes) for sizes in m.leg.splits) for law in laws for m in law.members}


def require_shapes(shapes: Mapping[str, tuple[int, ...]], x: Mapping[str, Array]) -> None:
    """Raise ValueError if a tensor that a law names is missing or has another shape."""
    for name, shape in shapes.items():
        if name not in x:
            raise ValueError(f"params has no {name!r}, which a law names{checks.suggestion(name, x)}")
        if x[name].shape != shape:
            raise ValueError(
                f"params[{name!r}] must have the shape {shape} that the law was found with, got {x[name].shape}"
            )


def averages(params: Mapping[str, Array], state: Tree) -> tuple[dict[str, Array], float]:
    """Return averaged gradients of tensors, zeros for an empty tree, and machine ε; ValueError if names or shapes do not match."""
    if isinstance(state, Mapping) and not state:
        return {name: np.zeros_like(x) for name, x in params.items()}, 0.0
    m, eps = named_arrays(state, "state", only=params)
    return matched(params, m, "state"), eps
