"""Legs: the axes of a named tensor that a symmetry acts on, and contractions of parameters with gradients along them.

A leg names some axes of a tensor, possibly after one of them was split (a view), one part of it taken (a slice) and its entries
arranged in groups. The symmetry acts on the components so distinguished and on no other axis. With X and G = ∂U/∂X seen as
(components, rest), all laws are sums over legs of

    Σ_rest G_i X_i   (X_i is scaled),   M_ij = Σ_rest G_i X_j   (X_i is mixed with X_j),   Σ_rest G_i   (X_i is shifted).
"""

from __future__ import annotations

import functools
import math
import string
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from .._base.types import Array, Float64Array, IntArray

_Plain = TypeVar("_Plain", tuple[int, ...], bytes)


@dataclass(frozen=True)
class Leg:
    """Some axes of a tensor.

    Attributes
    ----------
    tensor : str
        Its name.
    splits : tuple of tuple of int
        For each axis of the tensor, the sizes that a view splits it into, or its size alone.
    kept : tuple of int
        Axes, after the splits, along which entries are distinguished, in order.
    part : (int, int, int) or None
        (axis, start, stop) of a slice that is taken before, of an axis of the tensor so seen.
    arranged : tuple of int
        Sizes that the entries of the kept axes are arranged in; () where each is a component.
    components : tuple of int
        Axes of that arrangement whose entries are the components; along the others they are the same.
    """

    tensor: str
    splits: tuple[tuple[int, ...], ...]
    kept: tuple[int, ...]
    part: tuple[int, int, int] | None = None
    arranged: tuple[int, ...] = ()
    components: tuple[int, ...] = ()

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor after the splits, before the slice."""
        return tuple(size for sizes in self.splits for size in sizes)

    @functools.cached_property
    def seen_shape(self) -> tuple[int, ...]:
        """The shape after the splits and the slice."""
        shape = list(self.shape)
        if self.part:
            axis, start, stop = self.part
            shape[axis] = stop - start
        return tuple(shape)

    @functools.cached_property
    def kept_sizes(self) -> tuple[int, ...]:
        """Sizes of the kept axes."""
        return tuple(self.seen_shape[axis] for axis in self.kept)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the axes of the components."""
        return tuple(self.arranged[k] for k in self.components) if self.arranged else self.kept_sizes

    @functools.cached_property
    def size(self) -> int:
        """Number of components."""
        return math.prod(self.sizes)

    @functools.cached_property
    def axes(self) -> tuple[int, ...]:
        """The axes of the tensor that the components lie along."""
        axis_of = [axis for axis, sizes in enumerate(self.splits) for _ in sizes]
        return tuple(dict.fromkeys(axis_of[k] for k in self.kept))

    @functools.cached_property
    def plain(self) -> Leg:
        """The leg without its arrangement."""
        return replace(self, arranged=(), components=())

    def seen(self, array: Array) -> Array:
        """Return the part of a tensor that the leg covers, with all axes."""
        view = array if array.ndim == len(self.shape) else array.reshape(self.shape)
        return view[self._cut] if self.part else view

    @functools.cached_property
    def _cut(self) -> tuple[slice, ...]:
        """The index of the slice."""
        assert self.part
        axis, start, stop = self.part
        return (*(slice(None),) * axis, slice(start, stop))

    @functools.cached_property
    def _kept_first(self) -> tuple[int, ...] | None:
        """The order of axes in which the kept ones come first; None if they do already."""
        order = (*self.kept, *(axis for axis in range(len(self.shape)) if axis not in self.kept))
        return None if order == tuple(range(len(order))) else order

    def rows(self, array: Array) -> Array:
        """Return a tensor as (components, rest)."""
        rows = self.seen(array) if self._kept_first is None else self.seen(array).transpose(self._kept_first)
        if self.arranged:
            rows = np.moveaxis(rows.reshape(*self.arranged, -1), self.components, range(len(self.components)))
        return rows.reshape(self.size, -1)

    def some_rows(self, array: Array, components: IntArray) -> Array:
        """Return some of the rows of a tensor, without arranging all of them."""
        if self.arranged or len(self.kept) != 1:
            return self.rows(array)[components]
        selected = np.take(self.seen(array), components, axis=self.kept[0])
        return np.moveaxis(selected, self.kept[0], 0).reshape(components.size, -1)

    def labels(self, involved: tuple[int, ...]) -> IntArray:
        """Return the component that each entry of the tensor belongs to, −1 outside the slice.

        Axes of the tensor that are not `involved` have the size 1 in the result: nothing depends on them.
        """
        shape = [size if axis in involved else 1 for axis, sizes in enumerate(self.splits) for size in sizes]
        entry = np.zeros(shape, dtype=np.int64)
        inside = np.ones(shape, dtype=bool)

        def along(axis: int) -> IntArray:
            return np.arange(shape[axis]).reshape([-1 if k == axis else 1 for k in range(len(shape))])

        for axis, size in zip(self.kept, self.kept_sizes, strict=True):
            start = self.part[1] if self.part and self.part[0] == axis else 0
            entry = entry * size + along(axis) - start
        if self.part and shape[self.part[0]] > 1:
            axis, start, stop = self.part
            inside = (along(axis) >= start) & (along(axis) < stop) & inside
        component = self._component_of_entry()
        return np.where(inside, component[np.where(inside, entry, 0)], -1).reshape(-1)

    def _component_of_entry(self) -> IntArray:
        if not self.arranged:
            return np.arange(self.size)
        index = np.unravel_index(np.arange(math.prod(self.arranged)), self.arranged)
        component = np.zeros(math.prod(self.arranged), dtype=np.int64)
        for axis in self.components:
            component = component * self.arranged[axis] + index[axis]
        return component

    @functools.cached_property
    def involved(self) -> tuple[int, ...]:
        """The axes of the tensor that the components or the slice depend on."""
        axis_of = [axis for axis, sizes in enumerate(self.splits) for _ in sizes]
        return tuple(sorted({*self.axes, *((axis_of[self.part[0]],) if self.part else ())}))


@functools.lru_cache(maxsize=1 << 16)
def coarsening(fine: Leg, coarse: Leg) -> tuple[tuple[int, ...], bytes] | None:
    """Return the components of `coarse` as unions of those of `fine`; None if they are none.

    The first part is the component of `coarse` that contains each component of `fine`, −1 for those that its slice does not reach;
    the second an array of bool, as bytes: which entries of `coarse` components of `fine` reach.
    """
    if not {*coarse.axes} <= {*fine.axes}:
        return None  # components of `coarse` differ along an axis that `fine` does not tell apart
    # A slice across all components of both changes nothing; axes that nothing depends on are left out, as labels are large.
    cut = {*coarse.involved} & {*fine.involved}
    involved = tuple(sorted({*fine.involved, *coarse.axes, *cut}))
    source, target = fine.labels(involved), coarse.labels(involved)
    if source.size != target.size:
        return None
    inside = target >= 0
    reached = source[inside] >= 0
    source, target = source[inside][reached], target[inside][reached]
    component_of = np.full(fine.size, -1, dtype=np.int64)
    component_of[source] = target
    if not reached.any() or (component_of[source] != target).any():
        return None
    return _interned(tuple(component_of.tolist())), _interned(reached.tobytes())


@functools.lru_cache(maxsize=256)
def _interned(value: _Plain) -> _Plain:
    """Return the first of all equal values, to save memory: the legs of a model have few distinct ones."""
    return value


def sums(field: str, leg: Leg, x: Array, g: Array) -> Float64Array:
    """Return Σ_rest G_i Y_i, Σ_rest G_i² and Σ_rest Y_i², shape (3, entries of the kept axes), of a tensor that is `seen`.

    Y is X where `field` is "scale" and 1 where it is "translate": what the generator moves by.
    """
    if field == "translate":
        return np.stack(
            [summed(leg, g), summed(leg, g, g), np.full(math.prod(leg.kept_sizes), g.size / leg.plain.size)]
        )
    return np.stack([summed(leg, g, x), summed(leg, g, g), summed(leg, x, x)])


def summed(leg: Leg, *factors: Array) -> Float64Array:
    """Return the sum of a product over all axes that are not kept, in double precision; shape (entries of the kept axes,)."""
    spec = subscripts(factors[0].ndim, leg.kept, len(factors))
    return np.asarray(np.einsum(spec, *factors, dtype=np.float64)).reshape(-1)


@functools.lru_cache
def subscripts(ndim: int, result_axes: tuple[int, ...], factors: int) -> str:
    """Return the specification for `numpy.einsum` of a product of arrays, summed over all axes but `result_axes`."""
    axes = string.ascii_letters[:ndim]
    return ",".join([axes] * factors) + "->" + "".join(axes[k] for k in result_axes)


def gathered(leg: Leg, values: Float64Array) -> Float64Array:
    """Return sums over the entries of a leg's kept axes, (..., entries), as sums over its components, (..., components)."""
    if not leg.arranged:
        return values
    summed_axes = tuple(axis - len(leg.arranged) for axis in range(len(leg.arranged)) if axis not in leg.components)
    split = values.reshape(*values.shape[:-1], *leg.arranged)
    return np.asarray(split.sum(axis=summed_axes).reshape(*values.shape[:-1], -1))
