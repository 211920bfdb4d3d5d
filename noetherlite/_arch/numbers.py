"""Two kinds of numbers that an architecture is evaluated with: floats, and jets modulo the prime 2⁶¹ − 1 (theory §14)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

import numpy as np

from .._base.types import AnyArray, BoolArray, IntArray
from .._kernels import modular
from .._kernels.modular import PRIME


class Numbers(Protocol):
    """The operations that an evaluation is made of. Arrays have `tail` axes behind their own, of coefficients."""

    tail: int

    def constant(self, value: Fraction | AnyArray) -> AnyArray:
        """Return a number, or an array of fractions or of truth values."""

    def add(self, a: AnyArray, b: AnyArray) -> AnyArray:
        """Return a + b, broadcast."""

    def multiply(self, a: AnyArray, b: AnyArray) -> AnyArray:
        """Return the product ab of components, broadcast."""

    def matmul(self, a: AnyArray, b: AnyArray) -> AnyArray:
        """Return the product ab of matrices, (…, n, m) and (…, m, q), broadcast."""

    def total(self, a: AnyArray, axis: int) -> AnyArray:
        """Return the sum along an axis, which stays with size 1."""

    def exp(self, a: AnyArray) -> AnyArray:
        """Return eᵃ."""

    def reciprocal(self, a: AnyArray) -> AnyArray:
        """Return 1/a."""

    def root(self, a: AnyArray) -> AnyArray:
        """Return √a."""

    def normal(self, a: AnyArray) -> AnyArray:
        """Return Φ(a), the distribution function of the normal distribution."""

    def normal_density(self, a: AnyArray) -> AnyArray:
        """Return Φ′(a)."""

    def gate(self, a: AnyArray) -> BoolArray:
        """Return whether a > 0."""

    def largest(self, a: AnyArray) -> AnyArray:
        """Return a constant near the largest entries along the last axis, which a softmax may subtract."""


class Real:
    """Floats, real or complex (for derivatives by complex steps)."""

    tail = 0

    def constant(self, value: Fraction | AnyArray) -> AnyArray:
        return np.asarray(value).astype(np.float64)

    def add(self, a: AnyArray, b: AnyArray) -> AnyArray:
        return np.asarray(a + b)

    def multiply(self, a: AnyArray, b: AnyArray) -> AnyArray:
        return np.asarray(a * b)

    def matmul(self, a: AnyArray, b: AnyArray) -> AnyArray:
        return np.asarray(a @ b)

    def total(self, a: AnyArray, axis: int) -> AnyArray:
        return np.asarray(a.sum(axis=axis, keepdims=True))

    def exp(self, a: AnyArray) -> AnyArray:
        with np.errstate(over="ignore"):  # of a logistic function, whose value is then 0
            return np.asarray(np.exp(a))

    def reciprocal(self, a: AnyArray) -> AnyArray:
        return np.asarray(1 / a)

    def root(self, a: AnyArray) -> AnyArray:
        return np.asarray(np.sqrt(a))

    def normal(self, a: AnyArray) -> AnyArray:
        from scipy.special import ndtr

        return np.asarray(ndtr(a))

    def normal_density(self, a: AnyArray) -> AnyArray:
        return np.asarray(np.exp(-a * a / 2) / math.sqrt(2 * math.pi))

    def gate(self, a: AnyArray) -> BoolArray:
        return np.asarray(a.real > 0)

    def largest(self, a: AnyArray) -> AnyArray:
        return np.asarray(a.real.max(axis=-1, keepdims=True))


class Jets:
    """Jets modulo p = 2⁶¹ − 1: the last axis holds 2ᵏ coefficients (kernels/modular.py).

    exp is a random function E with E(−a) E(a) = 1, Φ − ½ a random odd function with the derivative c·E(−a²/2), c random: where
    the arguments are independent no polynomial relation holds between the true functions either. The gate of a ReLU is
    drawn, 0 or 1, by the keys of the draws, which are the first axis of every array.

    Attributes
    ----------
    square : array of bool, shape (draws,)
        Whether every radicand so far had a root; what follows a radicand without one is meaningless.
    signs : list of set of bool
        For each radicand, whether it is a square: what was seen in draws where all radicands before it are.
    arguments : list of (array, array)
        Value and first-order coefficient of every argument of E, each of shape (draws,), where k = 1.
    """

    tail = 1

    def __init__(self, key: int, keys: AnyArray) -> None:
        self.key, self.keys = np.uint64(key), keys
        self.square = np.ones(len(keys), bool)
        self.signs: list[set[bool]] = []
        self.arguments: list[tuple[AnyArray, AnyArray]] = []
        self._gates = 0

    def keep(self, draws: IntArray) -> None:
        """Go on with these draws alone, which have had all roots."""
        self.keys, self.square = self.keys[draws], self.square[draws]

    def constant(self, value: Fraction | AnyArray) -> AnyArray:
        value = np.asarray(value)
        residues = [int(v) if value.dtype == bool else residue(v) for v in value.ravel()]
        return np.array(residues, np.uint64).reshape(*value.shape, 1)

    def add(self, a: AnyArray, b: AnyArray) -> AnyArray:
        size = max(a.shape[-1], b.shape[-1])
        total = _wide(a, size) + _wide(b, size)
        return np.where(total >= PRIME, total - np.uint64(PRIME), total)

    def multiply(self, a: AnyArray, b: AnyArray) -> AnyArray:
        size = max(a.shape[-1], b.shape[-1])
        shape = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
        out = np.zeros((*shape, size), np.uint64)
        flat = [np.broadcast_to(_wide(x, size), out.shape).reshape(-1, size) for x in (a, b)]
        modular.multiply_jets(*map(np.ascontiguousarray, flat), out.reshape(-1, size))
        return out

    def matmul(self, a: AnyArray, b: AnyArray) -> AnyArray:
        size = max(a.shape[-1], b.shape[-1])
        shape = np.broadcast_shapes(a.shape[:-3], b.shape[:-3])
        out = np.zeros((*shape, a.shape[-3], b.shape[-2], size), np.uint64)
        flat = [np.broadcast_to(_wide(x, size), (*shape, *x.shape[-3:-1], size)) for x in (a, b)]
        flat = [np.ascontiguousarray(x.reshape(-1, *x.shape[-3:])) for x in flat]
        modular.multiply_matrices(*flat, out.reshape(-1, *out.shape[-3:]))
        return out

    def total(self, a: AnyArray, axis: int) -> AnyArray:
        parts = np.split(a, a.shape[axis], axis=axis)
        total = parts[0]
        for part in parts[1:]:
            total = self.add(total, part)
        return total

    def exp(self, a: AnyArray) -> AnyArray:
        if a.shape[-1] == 2:
            self.arguments += [(entry[:, 0], entry[:, 1]) for entry in np.moveaxis(a.reshape(len(a), -1, 2), 1, 0)]
        return self._solve(self._random(modular.exponentials, a), np.ones_like(a) * (np.arange(a.shape[-1]) == 0), a)

    def reciprocal(self, a: AnyArray) -> AnyArray:
        out, values = np.empty_like(a), np.array(a[..., 0]).ravel()
        modular.invert(values)
        modular.reciprocals(values, _flat(a), out.reshape(-1, a.shape[-1]))
        return out

    def root(self, a: AnyArray) -> AnyArray:
        values, is_square = np.empty(a[..., 0].size, np.uint64), np.empty(a[..., 0].size, bool)
        modular.square_roots(np.ascontiguousarray(a[..., 0]).ravel(), values, is_square)
        for column in is_square.reshape(len(a), -1).T:
            self.signs.append(set(column[self.square].tolist()))
            self.square &= column
        half = self.constant(Fraction(1, 2))
        return self._solve(values, self.multiply(half, self.reciprocal(a)), a)

    def normal(self, a: AnyArray) -> AnyArray:
        out = np.empty_like(a)
        odd = self._random(modular.odd_functions, a, other=1)
        half = self.constant(Fraction(1, 2))[0]
        values = self.add(odd[:, None], np.full((odd.size, 1), half))[:, 0]
        modular.primitives(values, _flat(self.normal_density(a)), _flat(a), out.reshape(-1, a.shape[-1]))
        return out

    def normal_density(self, a: AnyArray) -> AnyArray:
        factor = self._random(modular.odd_functions, np.full((1, 1), 1, np.uint64), other=2)
        return self.multiply(factor, self.exp(self.multiply(self.multiply(a, a), self.constant(Fraction(-1, 2)))))

    def gate(self, a: AnyArray) -> BoolArray:
        self._gates += 1
        coins = np.empty((len(self.keys), a[..., 0].size // len(self.keys)), np.bool_)
        with np.errstate(over="ignore"):  # without the compiler
            modular.coins(self.keys, np.uint64(self._gates), coins)
        return coins.reshape(a.shape[:-1])

    def largest(self, a: AnyArray) -> AnyArray:
        return np.zeros_like(a[..., :1, :])

    def _random(self, function: object, a: AnyArray, other: int = 0) -> AnyArray:
        """Return a random function of the values of jets, flat; `other` says which."""
        values = np.empty(a[..., 0].size, np.uint64)
        with np.errstate(over="ignore"):  # without the compiler
            function(np.ascontiguousarray(a[..., 0]).ravel(), self.key ^ np.uint64(other), values)  # type: ignore[operator]
        return values

    def _solve(self, values: AnyArray, rates: AnyArray, a: AnyArray) -> AnyArray:
        """Return f(a) with f′ = rates·f."""
        out = np.empty_like(a)
        modular.solutions(values, _flat(rates.astype(np.uint64)), _flat(a), out.reshape(-1, a.shape[-1]))
        return out


def residue(value: Fraction) -> int:
    """Return the residue of a fraction modulo p."""
    return value.numerator * pow(value.denominator, -1, PRIME) % PRIME


def _wide(a: AnyArray, size: int) -> AnyArray:
    """Return jets of 2ᵏ coefficients for those of fewer."""
    missing = np.zeros((*a.shape[:-1], size - a.shape[-1]), np.uint64)
    return np.concatenate([a, missing], axis=-1) if missing.size else a


def _flat(a: AnyArray) -> AnyArray:
    """Return jets as (L, 2ᵏ)."""
    return np.ascontiguousarray(a).reshape(-1, a.shape[-1])
