"""Checks and conversion of arguments, with one wording of errors.

Every compiled kernel is specialised to aligned, C-contiguous arrays of one dtype: inputs are brought into that
form once, here, at the boundary, and never modified.
"""

from __future__ import annotations

import difflib
import functools
import math
import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .types import Array, ArrayLike, Float64Array, IntArray, Seed

LARGEST = 2**63 - 1  # the largest integer of the kernels (int64)
DTYPES = ("float64", "float32")
_NOT_REAL = (str, bytes, bool, np.bool_, np.complexfloating, np.ndarray)


def describe(value: object) -> str:
    """Return `value` as it appears in an error message: short, whatever it is."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 and value.dtype.kind in "biufc":
        value = value.item()  # a number, as Python writes it
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write out the largest
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean ...?)' for a misspelt word, in letters of any case, or nothing."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return f" (did you mean {names[close[0]]!r}?)" if close else ""


def one_of(
    value: object, name: str, choices: Iterable[str], elsewhere: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return `value` if it is one of the strings `choices`; `elsewhere` says of names in other libraries what they are here."""
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return value
    hint = ""
    if isinstance(value, str):
        here = elsewhere.get(value.lower())
        hint = f": it is {here}" if here else suggestion(value, choices)
    raise ValueError(f"{name}={describe(value)} is not known{hint}; expected one of {', '.join(map(repr, choices))}")


def real(
    value: object,
    name: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    strict: bool = False,
) -> float:
    """Return a finite float in [minimum, maximum], the lower end excluded if `strict`."""
    try:
        number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
        if isinstance(number, _NOT_REAL):  # float() would take some, the real part of a complex number among them
            raise TypeError
        number = float(number)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {describe(value)}") from None
    low_ok = number > minimum if strict else number >= minimum
    if not (math.isfinite(number) and low_ok and number <= maximum):
        bounds = []
        if minimum > -math.inf:
            bounds.append(f"{'>' if strict else '>='} {minimum:g}")
        if maximum < math.inf:
            bounds.append(f"<= {maximum:g}")
        expected = " and ".join(["a finite number", *bounds])
        raise ValueError(f"{name}={describe(value)} is out of range; expected {expected}")
    return number


def fraction(value: object, name: str) -> float:
    """Return a float in [0, 1)."""
    number = real(value, name, minimum=0.0)
    if number >= 1:
        raise ValueError(f"{name}={number:g} is out of range; expected >= 0 and < 1")
    return number


def integer(value: object, name: str, *, minimum: int, maximum: int | None = None) -> int:
    """Return an int in [minimum, maximum]; floats are refused even when they are whole."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, got {describe(value)}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {describe(value)}") from None
    if number < minimum or number > (LARGEST if maximum is None else maximum):
        upper = "" if maximum is None and number < minimum else f" and <= {LARGEST if maximum is None else maximum}"
        raise ValueError(f"{name}={describe(number)} is out of range; expected an integer >= {minimum}{upper}")
    return number


def boolean(value: object, name: str) -> bool:
    """Return a bool; only bool and NumPy's bool are accepted, not other values with a truth value such as "no"."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {describe(value)}")


def function(value: object, name: str) -> None:
    """Raise TypeError unless `value` is callable."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {describe(value)}")


def instance(value: object, name: str, kind: Any, expected: str) -> None:
    """Raise TypeError unless `value` is an instance of `kind`, which `expected` describes in words."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {expected}, got {describe(value)}")


def items(value: Any, name: str, expected: str) -> list[Any]:
    """Return the entries of a sequence other than a string; `expected` describes it in words."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return list(value)
    except TypeError:
        raise TypeError(f"{name} must be {expected}, got {describe(value)}") from None


def path(value: str | os.PathLike[str], name: str = "path") -> Path:
    """Return a path of the file system."""
    try:
        return Path(value)
    except TypeError:
        raise TypeError(f"{name} must be a path, got {describe(value)}") from None


def dtype_name(value: object) -> str:
    """Return 'float64' or 'float32' for anything NumPy understands as one of the two."""
    if isinstance(value, str) and value in DTYPES:
        return value
    try:
        name = np.dtype(value).name  # type: ignore[call-overload]
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ValueError(f"dtype={describe(value)} is not known; expected one of 'float64', 'float32'")
    return str(name)


def unmasked(value: Any, name: str) -> Any:
    """Return `value`; ValueError if it has masked entries, since conversion to a plain array drops the mask."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        hidden = int(np.ma.getmaskarray(value).sum())
        raise ValueError(
            f"{name} must have no masked entries, got {hidden} of {value.size}; fill them in, or leave them out"
        )
    return value


@functools.lru_cache
def _numpy_has(dtype: Any) -> bool:
    """Return whether NumPy has the dtype of a PyTorch tensor."""
    return hasattr(np, str(dtype).removeprefix("torch."))


def to_numpy(value: Any, name: str) -> Any:
    """Return an array or tensor of another framework as a NumPy array; any other value unchanged.

    Floating-point types that NumPy lacks, such as bfloat16, become float64, which holds their numbers exactly. TypeError if the
    tensor has no readable values: sparse, on PyTorch's meta device, traced or deleted by JAX.
    """
    try:
        if hasattr(value, "detach"):  # a PyTorch tensor, which NumPy takes only without gradient and from the CPU
            readable = value if _numpy_has(value.dtype) else value.detach().cpu().double()
            value = readable.numpy(force=True)
        elif hasattr(value, "__array__") and not isinstance(value, np.ndarray):
            value = np.asarray(value)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise TypeError(f"{name} must be an array of real numbers, and cannot be read ({reason})") from error
    if isinstance(value, np.ndarray) and value.dtype.kind == "V" and "float" in value.dtype.name:
        return value.astype(np.float64)
    return value


def numpy_array(value: Any, name: str) -> Any:
    """Return a NumPy array of any dtype, also from a tensor on a GPU; masked entries and ragged lists are refused."""
    value = to_numpy(unmasked(value, name), name)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None


def numbers(value: ArrayLike, name: str) -> Array:
    """Return an array of real numbers of any shape, which may be NaN or infinite; a single bool is no number."""
    if type(value) is np.ndarray and value.dtype.kind == "f":
        return value  # as at every gradient, where the rest takes as long as a small one
    raw: Array = numpy_array(value, name)
    if raw.dtype.kind not in "fiub" or (raw.dtype.kind == "b" and raw.ndim == 0):
        received = describe(value if raw.ndim == 0 else raw)
        raise TypeError(f"{name} must hold real numbers, got {received}")
    return raw


def vectors(value: ArrayLike, name: str, length: int) -> Array:
    """Return an array of real numbers, which may be NaN or infinite, of shape (..., length)."""
    raw = numbers(value, name)
    if raw.shape[-1:] != (length,):
        raise ValueError(f"{name} must have shape (..., {length}), got {raw.shape}")
    return raw


def array(value: ArrayLike, name: str, *, ndim: int | tuple[int, ...], dtype: str = "float64") -> Array:
    """Return a finite, C-contiguous, aligned array of `dtype`; a copy only if one is needed."""
    raw = numbers(value, name)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if raw.ndim not in allowed:
        expected = " or ".join(f"{n}-dimensional" for n in allowed)
        raise ValueError(f"{name} must be {expected}, got {describe(raw)}")
    result = np.asarray(raw, dtype=dtype, order="C")
    if not result.flags.aligned:
        result = result.copy()
    if not np.logical_and.reduce(np.isfinite(result), axis=None):  # `all` takes twice as long for few numbers
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise ValueError(f"{name} must be finite, got {result[first]} at index {first}")
    return result


def shaped(value: ArrayLike, name: str, shape: tuple[int, ...], *, dtype: str = "float64") -> Array:
    """Return `array(value)` after checking that its shape is exactly `shape`."""
    result = array(value, name, ndim=len(shape), dtype=dtype)
    if result.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {result.shape}")
    return result


def labels(value: ArrayLike, name: str, *, n_samples: int, n_classes: int) -> IntArray:
    """Return integer class labels of shape (n_samples,) in [0, n_classes)."""
    raw = numpy_array(value, name)
    if raw.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integer class labels when loss='nll', got {describe(raw)}")
    if raw.shape != (n_samples,):
        raise ValueError(f"{name} must have shape ({n_samples},), one label per row of X, got {raw.shape}")
    if raw.size and (int(raw.min()) < 0 or int(raw.max()) >= n_classes):
        i = int(np.argmax((raw < 0) | (raw >= n_classes)))
        raise ValueError(f"{name}[{i}]={raw[i]} is out of range; expected labels in 0..{n_classes - 1}")
    return np.require(raw, dtype=np.int64, requirements=["C", "A"])


def generator(rng: Seed, name: str = "rng") -> np.random.Generator:
    """Return a NumPy Generator from a seed, a SeedSequence or a Generator (SPEC 7)."""
    try:
        if isinstance(rng, bool | np.bool_):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be a seed, a SeedSequence or a Generator, got {describe(rng)}") from None


def seed(rng: Seed) -> None:
    """Raise an error unless `rng` makes a Generator; making one takes as long as several steps of a small network."""
    if rng is not None and not (type(rng) is int and rng >= 0):
        generator(rng)


def instants(value: ArrayLike, ndim: int | tuple[int, ...]) -> Float64Array:
    """Return finite times t >= 0 in any order."""
    t = array(value, "t", ndim=ndim)
    if (t < 0).any():
        raise ValueError(f"t must hold times >= 0, got {t.min():g}")
    return t.astype(np.float64)


def times(value: ArrayLike, name: str = "t") -> Float64Array:
    """Return strictly increasing, finite, non-negative times of shape (R,)."""
    t = array(value, name, ndim=1)
    if t.size and t[0] < 0:
        raise ValueError(f"{name} must be non-negative, got {name}[0]={t[0]}")
    if (np.diff(t) <= 0).any():
        i = int(np.argmax(np.diff(t) <= 0))
        raise ValueError(f"{name} must increase, got {name}[{i}]={t[i]} and {name}[{i + 1}]={t[i + 1]}")
    return t.astype(np.float64, copy=False)
