"""The precision of a recording: of its numbers, which may be coarser than the dtype of their array, and of its gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import checks
from .types import Array, ArrayLike, Float64Array, IntArray

# Bits of the significand, including the leading one.
_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
EPSILON = {name: 2.0 ** (1 - bits) for name, bits in _BITS.items()}
# The smallest normal numbers, whose product with ε is the smallest of all.
_SMALLEST = {"bfloat16": 2.0**-126, "float16": 2.0**-14, "float32": 2.0**-126, "float64": 2.0**-1022}
PRECISIONS = (*_BITS, "autocast")
# An array is taken to be of a 16-bit format if at least this fraction of its nonzero numbers has the last bit set: about half
# of measured numbers do, but few of simple ones that every format represents (1, ½, 0.75).
_LEAST_FULL = 0.25
# Arrays are processed in pieces of this many numbers, to limit the memory of temporary arrays.
_PIECE_SIZE = 1 << 18


class Stretch(Protocol):
    """A block of parameters, those from `start` to `stop`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def start(self) -> int:
        """Index of its first parameter."""

    @property
    def stop(self) -> int:
        """Index after its last parameter."""


@dataclass(frozen=True)
class Precision:
    """Machine ε of the recorded parameters and of the gradients that moved them."""

    name: str  # "float64", "float32", "bfloat16", "float16", "autocast" or, where blocks differ, "mixed"
    # eps, gradient: ε of the parameters, of the coarsest block where they differ, and of the forward and backward
    # pass
    eps: float
    gradient: float
    finer: tuple[tuple[Stretch, float], ...] = ()  # the blocks of finer numbers, and their ε

    def of(self, name: str) -> float:
        """Return ε of a block."""
        return next((eps for block, eps in self.finer if block.name == name), self.eps)

    def each(self, x: Float64Array) -> Float64Array:
        """Return ε|x| of points (..., P), entry by entry."""
        eps: Float64Array | float = self.eps
        if self.finer:
            eps = np.full(x.shape[-1], self.eps)
            for block, eps_of_block in self.finer:
                eps[block.start : block.stop] = eps_of_block
        return np.asarray(eps * np.abs(x))

    def length(self, x: Float64Array) -> Float64Array:
        """Return the norms of the round-off of points (..., P)."""
        return np.asarray(np.linalg.norm(self.each(x), axis=-1))

    def and_of(self, other: Precision, blocks: Sequence[Stretch]) -> Precision:
        """Return, block by block, the finer of two precisions found for the same recording."""
        return _of_blocks([(block, min(self.of(block.name), other.of(block.name))) for block in blocks])

    def __str__(self) -> str:
        blocks = f" ({', '.join(f'{block.name} {eps:.0e}' for block, eps in self.finer)})" if self.finer else ""
        return f"{self.eps:.0e}{blocks}" + (f" (gradients {self.gradient:.0e})" if self.gradient > self.eps else "")


def may_be(values: Float64Array, errors: Float64Array, name: str) -> bool:
    """Return whether numbers, known up to these errors, may be of a format."""
    spacing = EPSILON[name] * 2.0 ** np.floor(np.log2(np.maximum(np.abs(values), _SMALLEST[name])))
    return bool((np.abs(values - spacing * np.rint(values / spacing)) <= errors).all())


def judged(params: ArrayLike, wanted: str | None, blocks: Sequence[Stretch] = ()) -> Precision:
    """Return the precision of `params`: the one with the name `wanted`, by default the one of their numbers, block by block."""
    if wanted is not None:
        return named(wanted)
    array = np.asarray(params)
    bits = _significand_bits(array)
    if array.ndim < 2 or bits <= _BITS["float16"]:
        return _uniform(2.0 ** (1 - bits))
    parts = [array[:, block.start : block.stop] for block in blocks]
    fewest = min((_bits_of_block(part, bits) for part in parts), default=bits)
    if fewest == bits:
        return _uniform(2.0 ** (1 - bits))
    epsilons = [2.0 ** (1 - max(_bits_of_format(part), fewest)) for part in parts]
    return _of_blocks(list(zip(blocks, epsilons, strict=True)))


def _bits_of_block(part: Array, bits: int) -> int:
    """Return the significand bits of a block, in an array of `bits`.

    Float32 numbers in a float64 array count only if the block moved: constant ones may come from initial values in float32.
    """
    block_bits = _significand_bits(part)
    coarser = block_bits <= _BITS["float16"] or (block_bits < bits and bool((part != part[0]).any()))
    return block_bits if coarser else bits


def _uniform(eps: float) -> Precision:
    return Precision(next(name for name, b in _BITS.items() if 2.0 ** (1 - b) == eps), eps, eps)


def _of_blocks(blocks: Sequence[tuple[Stretch, float]]) -> Precision:
    """Return the precision of blocks with these ε."""
    coarsest = max(eps for _, eps in blocks)
    finer = tuple((block, eps) for block, eps in blocks if eps < coarsest)
    return Precision("mixed", coarsest, coarsest, finer) if finer else _uniform(coarsest)


def named(wanted: str) -> Precision:
    """Return the precision with a name."""
    name = checks.one_of(wanted, "precision", PRECISIONS)
    if name == "autocast":
        return Precision(name, EPSILON["float32"], EPSILON["bfloat16"])
    return Precision(name, EPSILON[name], EPSILON[name])


def precision(array: ArrayLike) -> float:
    """Return machine ε of the numbers in `array`: of the coarsest format that represents all of them."""
    return 2.0 ** (1 - _significand_bits(np.asarray(array)))


def of_dtype(array: ArrayLike) -> float:
    """Return machine ε of the dtype of an array or a tensor; of float64 for those of other formats, such as integers."""
    dtype = array.dtype if hasattr(array, "dtype") else np.asarray(array).dtype
    return EPSILON.get(_format_of(dtype), EPSILON["float64"])


def narrow(array: ArrayLike) -> str | None:
    """Return the name of the 16-bit format of an array or a tensor, None if it has another one."""
    name = _format_of(getattr(array, "dtype", None))
    return name if name in ("bfloat16", "float16") else None


def _format_of(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def smallest(eps: float) -> float:
    """Return the smallest number > 0 of the format with this machine ε, which numbers near zero are rounded to multiples of."""
    return eps * next(_SMALLEST[name] for name, of_format in EPSILON.items() if of_format == eps)


def widened(array: ArrayLike, name: str) -> Array:
    """Return a NumPy array of a tensor or list; bfloat16, for which NumPy has no arithmetic, becomes float32."""
    if str(getattr(array, "dtype", None)) == "bfloat16":
        return np.asarray(array).astype(np.float32)
    result: Array = checks.numpy_array(array, name)
    return result


def _significand_bits(array: Array) -> int:
    """Return the significand bits of the numbers in an array."""
    if array.dtype.kind != "f":
        return _BITS["float64"]
    if array.dtype.itemsize < 4:
        return _BITS["float16"]
    if array.dtype != np.float32 and not array.any():
        return _BITS["float64"]
    bits = _bits_of_format(array)
    if bits > _BITS["float16"]:
        return bits
    last = np.uint32(1 << (24 - bits))
    used = sum(int(np.count_nonzero(p)) for p in _pieces(array))
    full = sum(int(np.count_nonzero(_float32_bits(p) & last)) for p in _pieces(array))
    return bits if full > _LEAST_FULL * used else _BITS["float32"]


def _bits_of_format(array: Array) -> int:
    """Return the significand bits of the coarsest format that represents all numbers of a float32 or float64 array."""
    if array.dtype != np.float32 and not all(np.array_equal(p, _as_float32(p)) for p in _pieces(array)):
        return _BITS["float64"]
    for bits in (_BITS["bfloat16"], _BITS["float16"]):
        if all(not np.any(_float32_bits(p) << np.uint32(9 + bits - 1)) for p in _pieces(array)):
            return bits
    return _BITS["float32"]


def _pieces(array: Array) -> Iterator[Array]:
    """Yield the numbers of an array, some rows at a time."""
    rows = np.atleast_1d(array)
    size = max(_PIECE_SIZE // max(rows[:1].size, 1), 1)
    for low in range(0, len(rows), size):
        yield rows[low : low + size].reshape(-1)


def _as_float32(piece: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(piece.astype(np.float32))


def _float32_bits(piece: Array) -> IntArray:
    """Return the bits of the numbers as float32."""
    return np.ascontiguousarray(_as_float32(piece)).view(np.uint32)
