"""Which precision a recording has: that of its numbers, whatever array they came in, and that of its gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import checks
from .types import Array, ArrayLike, IntArray

# Bits of the significand, the leading one among them.
_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
PRECISIONS = (*_BITS, "autocast")
# Of the numbers of a 16-bit format, half have their last bit set; of coarser numbers that fit by accident (1, ½, 0.75), few.
_FULL = 0.25
# Arrays are looked at in pieces of so many numbers.
_PIECE = 1 << 18


@dataclass(frozen=True)
class Precision:
    """Machine ε of the recorded parameters and of the gradients that moved them.

    Attributes
    ----------
    name : str
        "float64", "float32", "bfloat16", "float16" or "autocast".
    eps, gradient : float
        ε of the parameters, and of the forward and backward pass.
    """

    name: str
    eps: float
    gradient: float

    def __str__(self) -> str:
        return f"{self.eps:.0e}" + (f" (gradients {self.gradient:.0e})" if self.gradient > self.eps else "")


def judged(params: ArrayLike, wanted: str | None) -> Precision:
    """Return the precision to judge `params` by: the one named, or the one their numbers show."""
    if wanted is None:
        bits = _bits(np.asarray(params))
        name = next((name for name, b in _BITS.items() if b == bits), "float64")
        return Precision(name, 2.0 ** (1 - bits), 2.0 ** (1 - bits))
    return named(wanted)


def named(wanted: str) -> Precision:
    """Return the precision of that name."""
    name = checks.one_of(wanted, "precision", PRECISIONS)
    if name == "autocast":
        return Precision(name, 2.0 ** (1 - _BITS["float32"]), 2.0 ** (1 - _BITS["bfloat16"]))
    eps = 2.0 ** (1 - _BITS[name])
    return Precision(name, eps, eps)


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
    flat = held.reshape(-1)
    pieces = [flat[i : i + _PIECE] for i in range(0, flat.size, _PIECE)]
    single = held.dtype == np.float32
    if not single and not (flat.any() and all(np.array_equal(p, _single(p)) for p in pieces)):
        return _BITS["float64"]
    for bits in (_BITS["bfloat16"], _BITS["float16"]):
        if all(not np.any(_words(p) << np.uint32(9 + bits - 1)) for p in pieces):
            last = np.uint32(1 << (24 - bits))
            used = sum(int(np.count_nonzero(p)) for p in pieces)
            full = sum(int(np.count_nonzero(_words(p) & last)) for p in pieces)
            if full > _FULL * used:
                return bits
    return _BITS["float32"]


def _single(piece: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(piece.astype(np.float32))


def _words(piece: Array) -> IntArray:
    """Return the bits of the numbers as float32."""
    return np.ascontiguousarray(_single(piece)).view(np.uint32)
