"""Arrays of numbers of either kind that remember how they were made, so that derivatives run back through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Self

import numpy as np

from .._base.types import AnyArray, BoolArray
from .numbers import Numbers

Pull = Callable[[AnyArray], AnyArray]


class Tensor:
    """An array whose axes are counted without the numbers' own; operands have equally many, of equal size or 1.

    `parents` are the tensors that it was made from, each with the map from its cotangent to theirs.
    """

    def __init__(self, numbers: Numbers, data: AnyArray, parents: Sequence[tuple[Tensor, Pull]] = ()) -> None:
        self.numbers, self.data, self.parents = numbers, data, tuple(parents)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim - self.numbers.tail

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape[: self.ndim]

    def _made(self, data: AnyArray, *parents: tuple[Tensor, Pull]) -> Tensor:
        return Tensor(self.numbers, data, parents)

    def _constant(self, value: Fraction | int) -> AnyArray:
        data = self.numbers.constant(Fraction(value))
        return data.reshape((1,) * self.ndim + data.shape)

    def __add__(self, other: Tensor | Fraction | int) -> Tensor:
        add = self.numbers.add
        if isinstance(other, Tensor):
            return self._made(add(self.data, other.data), (self, self._summed), (other, other._summed))
        return self._made(add(self.data, self._constant(other)), (self, lambda c: c))

    def __mul__(self, other: Tensor | Fraction | int) -> Tensor:
        times = self.numbers.multiply
        if isinstance(other, Tensor):
            return self._made(
                times(self.data, other.data),
                (self, lambda c: self._summed(times(c, other.data))),
                (other, lambda c: other._summed(times(c, self.data))),
            )
        factor = self._constant(other)
        return self._made(times(self.data, factor), (self, lambda c: times(c, factor)))

    def __sub__(self, other: Tensor) -> Tensor:
        return self + other * -1

    def __matmul__(self, other: Tensor) -> Tensor:
        matmul = self.numbers.matmul
        return self._made(
            matmul(self.data, other.data),
            (self, lambda c: self._summed(matmul(c, other._swapped(other.data)))),
            (other, lambda c: other._summed(matmul(self._swapped(self.data), c))),
        )

    def masked(self, mask: BoolArray) -> Tensor:
        """Return the product with zeros and ones."""
        factor = self.numbers.constant(mask)
        return self._made(self.numbers.multiply(self.data, factor), (self, lambda c: self.numbers.multiply(c, factor)))

    def total(self, axis: int = -1) -> Tensor:
        """Return the sum along an axis, which stays with size 1."""
        axis %= self.ndim
        return self._made(self.numbers.total(self.data, axis), (self, lambda c: np.broadcast_to(c, self._like(c))))

    def mean(self, axis: int = -1) -> Tensor:
        """Return the mean along an axis, which stays with size 1."""
        return self.total(axis) * Fraction(1, self.shape[axis])

    @property
    def T(self) -> Tensor:
        """The last two axes exchanged."""
        return self.swapped(-1, -2)

    def swapped(self, a: int, b: int) -> Tensor:
        """Return the tensor with two axes exchanged."""
        a, b = a % self.ndim, b % self.ndim
        return self._made(self.data.swapaxes(a, b), (self, lambda c: c.swapaxes(a, b)))

    def reshaped(self, *shape: int) -> Tensor:
        """Return the same numbers in another shape."""
        data = self.data.reshape(*shape, *self.data.shape[self.ndim :])
        return self._made(data, (self, lambda c: c.reshape(self._like(c))))

    def taken(self, index: AnyArray, axis: int) -> Tensor:
        """Return the entries with numbers `index` along an axis, which the axes of `index` replace."""
        axis %= self.ndim

        def pull(c: AnyArray) -> AnyArray:
            out = np.zeros(self._like(c), c.dtype)
            into = np.moveaxis(out, axis, 0)
            c = np.moveaxis(c.reshape(*c.shape[:axis], -1, *c.shape[axis + index.ndim :]), axis, 0)
            for source, target in enumerate(index.ravel()):
                into[target] = self.numbers.add(into[target], c[source])
            return out

        return self._made(self.data.take(index, axis=axis), (self, pull))

    # --- functions of each component, with the derivative in terms of the argument or the value -------------------------

    def exp(self) -> Tensor:
        """Return eˣ."""
        return self._function(self.numbers.exp(self.data), lambda y: y)

    def reciprocal(self) -> Tensor:
        """Return 1/x."""
        return self._function(self.numbers.reciprocal(self.data), lambda y: (y * y) * -1)

    def root(self) -> Tensor:
        """Return √x."""
        return self._function(self.numbers.root(self.data), lambda y: y.reciprocal() * Fraction(1, 2))

    def logistic(self) -> Tensor:
        """Return 1/(1 + e⁻ˣ)."""
        value = ((self * -1).exp() + 1).reciprocal().data
        return self._function(value, lambda y: y * (y * -1 + 1))

    def normal(self) -> Tensor:
        """Return Φ(x)."""
        density = self.numbers.normal_density
        return self._function(self.numbers.normal(self.data), lambda y: Tensor(self.numbers, density(self.data)))

    def shifted_down(self) -> Tensor:
        """Return the last axis less a constant near its largest entry."""
        below = self.numbers.multiply(self.numbers.largest(self.data), self._constant(-1))
        return self._made(self.numbers.add(self.data, below), (self, lambda c: c))

    def _function(self, value: AnyArray, slope: Callable[[Tensor], Tensor]) -> Tensor:
        derivative = slope(Tensor(self.numbers, value)).data
        return self._made(value, (self, lambda c: self.numbers.multiply(c, derivative)))

    # --- shapes -----------------------------------------------------------------------------------------------------------

    def _like(self, c: AnyArray) -> tuple[int, ...]:
        """Return the shape of a cotangent: this tensor's axes, with as many coefficients as c has."""
        return (*self.shape, *c.shape[c.ndim - self.numbers.tail :])

    def _swapped(self, data: AnyArray) -> AnyArray:
        return data.swapaxes(self.ndim - 1, self.ndim - 2)

    def _summed(self, c: AnyArray) -> AnyArray:
        """Return a cotangent, summed along the axes that this tensor was broadcast along."""
        for axis, size in enumerate(self.shape):
            if size == 1 and c.shape[axis] > 1:
                c = self.numbers.total(c, axis)
        return c

    def cotangents(self, seed: AnyArray, wanted: Sequence[Self]) -> list[AnyArray]:
        """Return the derivatives of ⟨seed, self⟩ by the tensors `wanted`."""
        derivatives = {id(self): seed}
        for tensor in reversed(_in_order(self)):
            c = derivatives.get(id(tensor))
            if c is None:
                continue
            for parent, pull in tensor.parents:
                part = pull(c)
                known = derivatives.get(id(parent))
                derivatives[id(parent)] = part if known is None else self.numbers.add(known, part)
        return [derivatives.get(id(tensor), np.zeros_like(tensor.data)) for tensor in wanted]


def _in_order(last: Tensor) -> list[Tensor]:
    """Return the tensors that `last` was made from, every one behind its parents."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack = [(last, False)]
    while stack:
        tensor, done = stack.pop()
        if done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack += [(parent, False) for parent, _ in tensor.parents]
    return order
