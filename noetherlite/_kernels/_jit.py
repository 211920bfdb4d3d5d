"""The one way in which this library compiles a function for the CPU."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numba

try:
    import fcntl
except ImportError:  # Windows, where processes that start at once had better be of one dtype
    fcntl = None  # type: ignore[assignment]

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
        return _share(numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba's "no locator available": neither the package's nor the user's cache is writable
        return numba.njit(**options)(function)


def _share(dispatcher: Any) -> Any:
    """Let processes that fill one cache at the same time wait for each other, and let a full disk be no failure.

    Numba gives out the names of files without a lock: two processes that save a function's float64 and float32 code at the
    same moment could both take the same one.
    """
    cache: Any = getattr(dispatcher, "_cache", None)
    save = getattr(cache, "save_overload", None)
    if save is None:  # there is none without the compiler
        return dispatcher

    def save_alone(signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError), _locked(cache.cache_path):
            save(signature, data)

    cache.save_overload = save_alone
    return dispatcher


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the folder's lock, which the system opens again if this process dies."""
    with open(os.path.join(folder, "noetherlite.lock"), "a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
