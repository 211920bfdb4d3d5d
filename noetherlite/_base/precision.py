"""Which precision a recording has: that of its numbers, whatever array they came in, and that of its gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import checks
from .types import Array, ArrayLike, Float64Array, IntArray

# Bits of the significand, the leading one among them.
_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
EPSILON = {name: 2.0 ** (1 - bits) for name, bits in _BITS.items()}
PRECISIONS = (*_BITS, "autocast")
# Of the numbers of a 16-bit format, half have their last bit set; of coarser numbers that fit by accident (1, ½, 0.75), few.
_FULL = 0.25
# Arrays are looked at in pieces of so many numbers.
_PIECE = 1 << 18


class Span(Protocol):
    """A block of parameters, those from `start` to `stop`."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def start(self) -> int:
        """Its first parameter."""

    @property
    def stop(self) -> int:
        """The one behind its last."""


@dataclass(frozen=True)
class Precision:
    """Machine ε of the recorded parameters and of the gradients that moved them.

    Attributes
    ----------
    name : str
        "float64", "float32", "bfloat16", "float16", "autocast" or, where blocks differ, "mixed".
    eps, gradient : float
        ε of the parameters, of the coarsest block where they differ, and of the forward and backward pass.
    finer : tuple of (Span, float)
        The blocks of finer numbers, and their ε.
    """

    name: str
    eps: float
    gradient: float
    finer: tuple[tuple[Span, float], ...] = ()

    def of(self, name: str) -> float:
        """Return ε of a block."""
        return next((eps for block, eps in self.finer if block.name == name), self.eps)

    def each(self, x: Float64Array) -> Float64Array:
        """Return ε|x| of points (..., P), entry by entry."""
        eps: Float64Array | float = self.eps
        if self.finer:
            eps = np.full(x.shape[-1], self.eps)
            for block, own in self.finer:
                eps[block.start : block.stop] = own
        return np.asarray(eps * np.abs(x))

    def length(self, x: Float64Array) -> Float64Array:
        """Return the norms of the round-off of points (..., P)."""
        return np.asarray(np.linalg.norm(self.each(x), axis=-1))

    def and_of(self, other: Precision, blocks: Sequence[Span]) -> Precision:
        """Return the precision of recordings of which one shows this and the other that, block by block the finer one."""
        return _of_blocks([(block, min(self.of(block.name), other.of(block.name))) for block in blocks])

    def __str__(self) -> str:
        blocks = f" ({', '.join(f'{block.name} {eps:.0e}' for block, eps in self.finer)})" if self.finer else ""
        return f"{self.eps:.0e}{blocks}" + (f" (gradients {self.gradient:.0e})" if self.gradient > self.eps else "")


def judged(params: ArrayLike, wanted: str | None, blocks: Sequence[Span] = ()) -> Precision:
    """Return the precision to judge `params` by: the one named, or the one their numbers show, block by block."""
    if wanted is not None:
        return named(wanted)
    held = np.asarray(params)
    bits = _bits(held)
    if held.ndim < 2 or bits <= _BITS["float16"]:
        return _uniform(2.0 ** (1 - bits))
    parts = [held[:, block.start : block.stop] for block in blocks]
    least = min((_shown(part, bits) for part in parts), default=bits)
    if least == bits:
        return _uniform(2.0 ** (1 - bits))
    fitting = [max(_fitting(part), least) for part in parts]
    return _of_blocks([(block, 2.0 ** (1 - own)) for block, own in zip(blocks, fitting, strict=True)])


def _shown(part: Array, bits: int) -> int:
    """Return the bits that a block shows to have of its own, in an array whose numbers have `bits` altogether.

    A block of float32 among others of float64 must have moved: one that was read from a file of float32 and stays is no such.
    """
    own = _bits(part)
    return own if own <= _BITS["float16"] or (own < bits and bool((part != part[0]).any())) else bits


def _uniform(eps: float) -> Precision:
    return Precision(next(name for name, b in _BITS.items() if 2.0 ** (1 - b) == eps), eps, eps)


def _of_blocks(found: Sequence[tuple[Span, float]]) -> Precision:
    """Return the precision of blocks with these ε."""
    coarsest = max(eps for _, eps in found)
    finer = tuple((block, eps) for block, eps in found if eps < coarsest)
    return Precision("mixed", coarsest, coarsest, finer) if finer else _uniform(coarsest)


def named(wanted: str) -> Precision:
    """Return the precision of that name."""
    name = checks.one_of(wanted, "precision", PRECISIONS)
    if name == "autocast":
        return Precision(name, EPSILON["float32"], EPSILON["bfloat16"])
    return Precision(name, EPSILON[name], EPSILON[name])


def precision(array: ArrayLike) -> float:
    """Return machine ε of the numbers in `array`: that of its dtype, or of a coarser format where all of them are such."""
    return 2.0 ** (1 - _bits(np.asarray(array)))


def of_dtype(array: ArrayLike) -> float:
    """Return machine ε of the dtype of `array`, of float64 where it holds integers."""
    held = np.asarray(array)
    if held.dtype.name == "bfloat16":
        return 2.0 ** (1 - _BITS["bfloat16"])
    return float(np.finfo(held.dtype).eps) if held.dtype.kind == "f" else 2.0 ** (1 - _BITS["float64"])


def widened(array: ArrayLike, name: str) -> ArrayLike:
    """Return what NumPy computes with: numbers of bfloat16, which it has no arithmetic for, in float32, and no tensors."""
    if str(getattr(array, "dtype", None)) == "bfloat16":
        return np.asarray(array).astype(np.float32)
    plain: ArrayLike = checks.plain(array, name)
    return plain


def _bits(held: Array) -> int:
    """Return the bits of the significands."""
    if held.dtype.kind != "f":
        return _BITS["float64"]
    if held.dtype.itemsize < 4:
        return _BITS["float16"]
    if held.dtype != np.float32 and not held.any():
        return _BITS["float64"]
    bits = _fitting(held)
    if bits > _BITS["float16"]:
        return bits
    last = np.uint32(1 << (24 - bits))
    used = sum(int(np.count_nonzero(p)) for p in _pieces(held))
    full = sum(int(np.count_nonzero(_words(p) & last)) for p in _pieces(held))
    return bits if full > _FULL * used else _BITS["float32"]


def _fitting(held: Array) -> int:
    """Return the bits of the shortest format that has all numbers of an array of float32 or float64."""
    if held.dtype != np.float32 and not all(np.array_equal(p, _single(p)) for p in _pieces(held)):
        return _BITS["float64"]
    for bits in (_BITS["bfloat16"], _BITS["float16"]):
        if all(not np.any(_words(p) << np.uint32(9 + bits - 1)) for p in _pieces(held)):
            return bits
    return _BITS["float32"]


def _pieces(held: Array) -> Iterator[Array]:
    """Yield the numbers of an array, some rows at a time."""
    rows = np.atleast_1d(held)
    size = max(_PIECE // max(rows[:1].size, 1), 1)
    for low in range(0, len(rows), size):
        yield rows[low : low + size].reshape(-1)


def _single(piece: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(piece.astype(np.float32))


def _words(piece: Array) -> IntArray:
    """Return the bits of the numbers as float32."""
    return np.ascontiguousarray(_single(piece)).view(np.uint32)
