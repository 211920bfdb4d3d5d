"""Availability of a GPU, or the reason why there is none. CUDA is imported when a GPU is asked for."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import math
from typing import Any

import numba

INSTALL = 'pip install "noetherlite[cuda]"'


class DeviceError(RuntimeError):
    """backend="cuda" was asked for, and there is no GPU or a package is missing."""


def simulated() -> bool:
    """Whether kernels run in numba's simulator of a GPU (NUMBA_ENABLE_CUDASIM=1)."""
    settings: Any = numba.config
    return bool(settings.ENABLE_CUDASIM)


def require() -> None:
    """Raise DeviceError unless kernels can be compiled and run on a GPU, or in numba's simulator."""
    reason = lacking()
    if reason:
        raise DeviceError(f"backend='cuda' cannot be used: {reason}")


def lacking() -> str:
    """Return the missing part of backend="cuda", '' if none is."""
    if simulated():
        return ""
    settings: Any = numba.config
    if settings.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT=1 leaves nothing compiled"
    try:
        importlib.metadata.version("numba-cuda")
    except importlib.metadata.PackageNotFoundError:
        return f"the package numba-cuda is not installed; {INSTALL}"
    try:
        from numba import cuda

        with contextlib.suppress(ModuleNotFoundError):
            # which a newer NumPy than numba-cuda's breaks, at the first launch else
            importlib.import_module("numba.cuda.np.arrayobj")
        if cuda.is_available():
            return ""
        return "no NVIDIA GPU with a driver was found on this machine; backend='cpu' needs none"
    except Exception as error:  # the loaders of numba-cuda raise exceptions of many types
        return f"CUDA does not start ({type(error).__name__}: {error}); {INSTALL}"


def describe() -> str:
    """Return a description of the GPUs, or of what is missing."""
    reason = lacking()
    if reason:
        return f"not usable: {reason}"
    from numba import cuda

    if simulated():
        return "numba's simulator of one, in Python"
    parts = []
    for i, device in enumerate(cuda.gpus):
        major, minor = device.compute_capability
        with device:
            free, total = cuda.current_context().get_memory_info()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
        parts.append(f"{i}: {name}, compute capability {major}.{minor}, {free / 1e9:.3g} of {total / 1e9:.3g} GB free")
    return "; ".join(parts)


def free_memory() -> float:
    """Return the free memory of the GPU in bytes; infinity in the simulator."""
    from numba import cuda

    if simulated():
        return math.inf
    return float(cuda.current_context().get_memory_info()[0])


def shared_memory(default: int, blocks: int) -> int:
    """Return the bytes of shared memory a block has where so many share a multiprocessor; `default`, which all have, in the simulator."""
    if simulated():
        return default
    from numba import cuda

    device = cuda.get_current_device()
    reserved = 1024  # by the driver, in each block
    part = int(device.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) // blocks - reserved
    return max(default, min(part, int(device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)))
