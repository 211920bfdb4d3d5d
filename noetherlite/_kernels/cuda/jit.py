"""The ways in which this library compiles a function for the GPU; to be imported only where one is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import config, cuda

from .. import store
from . import device_layout

# Threads in a block at the most, and blocks that share a multiprocessor: 255 registers a thread, of which nothing is spilled. With
# three blocks, 168 registers, a few doubles are.
MOST_THREADS, SHARING = 128, device_layout.SHARING

# Numbers of an array's elements are made unsigned ones of 32 bits where they are used: an address is then one instruction, where
# a signed number of 64 bits takes nine, as numba counts negative ones from the end. Nor do loops over every stride-th item use
# `range`, which divides 64-bit numbers to know how often it goes round: that is a hundred instructions.
index = np.uint32

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


def with_shared(launch: Any) -> Any:
    """Return a configured launch that may have as much shared memory as it is configured for: beyond 48 KiB the driver wants to be told."""
    if not _settings.ENABLE_CUDASIM:
        launch.pre_launch_callbacks.append(_announce_shared)
    return launch


def _announce_shared(kernel: Any, launch: Any) -> None:
    from cuda.bindings import driver

    function = kernel._codelibrary.get_cufunc()
    limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    checked(driver.cuKernelSetAttribute(limit, launch.sharedmem, function.handle, function.device.id))


def checked(result: tuple[Any, ...]) -> Any:
    """Return what a call to the driver gives beside its status.

    Raises
    ------
    RuntimeError
        If the status is not success.
    """
    status, *values = result
    if int(status) != 0:
        raise RuntimeError(f"the CUDA driver reports {status.name}")
    return values[0] if values else None


@contextmanager
def without_advice() -> Iterator[None]:
    """Silence numba's advice to launch more blocks; it begins with the escape codes of its colours where it has some."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Grid size")
        yield
