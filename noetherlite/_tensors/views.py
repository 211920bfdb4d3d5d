"""Views: what a user says of the axes of a tensor, such as the heads that lie in one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .._base import checks
from .hypotheses import Splits


def splits_of(
    shapes: Mapping[str, tuple[int, ...]], views: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Splits]:
    """Return for every tensor the sizes that each of its axes is seen as.

    Views are {"attn.c_attn.weight": {"axis": 1, "shape": (3, heads, width)}}: that axis is seen as three. A name may also be the end
    of several tensors' names, as "c_attn.weight" is. TypeError or ValueError if a view names no tensor, an axis that it has not, or
    sizes whose product is not that of the axis.
    """
    splits: dict[str, Splits] = {name: tuple((n,) for n in shape) for name, shape in shapes.items()}
    if views is None:
        return splits
    checks.instance(views, "views", Mapping, "a mapping of names to views")
    for key, view in views.items():
        names = [name for name in shapes if name == key or name.endswith(f".{key}")]
        if not names:
            raise ValueError(f"views[{key!r}] names no tensor{checks.suggestion(str(key), shapes)}")
        if not isinstance(view, Mapping) or not {"axis", "shape"} <= set(view):
            raise TypeError(
                f"views[{key!r}] must have 'axis' and 'shape', for example {{'axis': 0, 'shape': (3, 12, 64)}};"
                f" got {checks.describe(view)}"
            )
        shape = checks.items(view["shape"], f"views[{key!r}]['shape']", "a sequence of integers")
        sizes = tuple(checks.integer(n, f"views[{key!r}]['shape']", minimum=1) for n in shape)
        for name in names:
            axis = checks.integer(view["axis"], f"views[{key!r}]['axis']", minimum=0, maximum=len(shapes[name]) - 1)
            if math.prod(sizes) != shapes[name][axis]:
                raise ValueError(
                    f"views[{key!r}]['shape'] = {sizes} has {math.prod(sizes)} entries, but axis {axis} of {name!r} has"
                    f" {shapes[name][axis]}"
                )
            splits[name] = (*splits[name][:axis], sizes, *splits[name][axis + 1 :])
    return splits
