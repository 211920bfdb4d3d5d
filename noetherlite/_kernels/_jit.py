"""The one way in which this library compiles a function for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# The part of fastmath that keeps NaN and infinity visible: sums may be reordered (and so vectorised), a product and
# a sum may become one fused operation, and the sign of zero is not kept.
_RELAXED = {"contract", "reassoc", "nsz"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` lazily and keep the result on disk, or only in memory where no folder can be written."""
    return _compile(function, _RELAXED)


def compiled_strictly(function: Callable[..., Any]) -> Any:
    """Compile `function` with its sums in the order they are written."""
    return _compile(function, {"contract"})


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` into its callers: for code with one caller, which LLVM would else optimise once per level."""
    return _compile(function, _RELAXED, inline="always")


def merged(function: Callable[..., Any]) -> Any:
    """Compile `function` by itself, then into its callers: for short work whose arguments would take longer to pass."""
    return _compile(function, _RELAXED, forceinline=True)


def _compile(function: Callable[..., Any], fastmath: set[str], **more: Any) -> Any:
    options: dict[str, Any] = {"fastmath": fastmath, "error_model": "numpy", "nogil": True, **more}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba's "no locator available": neither the package's nor the user's cache is writable
        return numba.njit(**options)(function)
