"""The ways in which this library compiles a function for the GPU; to be imported only where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import config, cuda

from .. import store

# Threads in a block at the most, and so many registers for each that two blocks fit: nothing is spilled then.
MOST_THREADS = 128

# The simulator knows no options of the compiler's. The order of sums stays as it is written: `fastmath` is all or
# nothing here, and would hide NaN.
_settings: Any = config
_inlined: dict[str, Any] = {} if _settings.ENABLE_CUDASIM else {"forceinline": True}
_written_out: dict[str, Any] = {} if _settings.ENABLE_CUDASIM else {"inline": "always"}


def device(function: Callable[..., Any]) -> Any:
    """Compile `function` into the kernels that call it."""
    return cuda.jit(function, device=True, **_inlined)


def written_out(function: Callable[..., Any]) -> Any:
    """Put the lines of `function` into its callers, as if written there: for what returns arrays, which no compiled function may."""
    return cuda.jit(function, device=True, **_written_out)


def kernel(threads: int, blocks: int) -> Callable[[Callable[..., Any]], Any]:
    """Compile a kernel of so many threads a block, so many blocks a multiprocessor, when it is first launched; keep it on disk."""
    bounds = {"launch_bounds": (threads, blocks)}

    def compiled(function: Callable[..., Any]) -> Any:
        if _settings.ENABLE_CUDASIM:
            return cuda.jit(function)
        try:
            dispatcher = cuda.jit(function, cache=True, **bounds)
        except RuntimeError:  # no folder can be written
            return cuda.jit(function, **bounds)
        dispatcher._cache = store.adopt(dispatcher._cache)
        return dispatcher

    return compiled
