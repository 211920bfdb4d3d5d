"""The bare dense products on a GPU, its peak and its bandwidth: what benchmarks/gpu.py holds runs against."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from workloads import Workload

import noetherlite as nl


class Library(NamedTuple):
    """Who multiplies and copies: arrays to the device and back, `product(a, b, out)`, `copy(a, out)`, the wait for a result."""

    name: str
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    product: Callable[[Any, Any, Any], Any]
    copy: Callable[[Any, Any], Any]
    wait: Callable[[Any], Any]


def library(peers: Collection[str]) -> Library | None:
    """Return CuPy if it is here, else PyTorch or JAX if they are among the peers that see the GPU, else None."""
    if importlib.util.find_spec("cupy") is not None:
        import cupy

        if cupy.is_available():
            return Library(
                name="CuPy",
                put=cupy.asarray,
                get=cupy.asnumpy,
                product=cupy.dot,
                copy=lambda a, out: cupy.copyto(out, a),
                wait=lambda _: cupy.cuda.Device().synchronize(),
            )
    if "torch" in peers:
        import torch

        return Library(
            name="PyTorch",
            put=lambda a: torch.from_numpy(a).to("cuda"),
            get=lambda a: a.cpu().numpy(),
            product=lambda a, b, out: torch.mm(a, b, out=out),
            copy=lambda a, out: out.copy_(a),
            wait=lambda _: torch.cuda.synchronize(),
        )
    if "jax" in peers:  # which knows no `out`, and moves as much for −a as for a copy
        import jax

        multiply, negative = jax.jit(jax.numpy.matmul), jax.jit(jax.numpy.negative)
        return Library(
            name="JAX",
            put=lambda a: jax.device_put(a, jax.devices("cuda")[0]),
            get=jax.device_get,
            product=lambda a, b, out: multiply(a, b),
            copy=lambda a, out: negative(a),
            wait=jax.block_until_ready,
        )
    return None


def products(work: Workload, algorithm: nl.Algorithm, dtype: str, lib: Library, rows: bool) -> Callable[[], np.ndarray]:
    """Return the dense products of the gradients of a run, and nothing else; samples are rows or columns of activations."""
    noise = np.random.default_rng(0).standard_normal(2**20).astype(dtype)
    widths, N = work.widths, work.samples

    def normal(*shape: int) -> Any:
        return lib.put(np.resize(noise, shape))

    W, G = ([normal(n, m) for m, n in itertools.pairwise(widths)] for _ in range(2))
    A, D = ([normal(*((N, n) if rows else (n, N))) for n in widths] for _ in range(2))

    def run() -> np.ndarray:
        last = None
        for _ in range(work.steps + 1):
            for h, w in enumerate(W):
                lib.product(A[h], w.T, A[h + 1]) if rows else lib.product(w, A[h], A[h + 1])
            for h in reversed(range(len(W))):
                last = lib.product(D[h + 1].T, A[h], G[h]) if rows else lib.product(D[h + 1], A[h].T, G[h])
                if h:
                    last = lib.product(D[h + 1], W[h], D[h]) if rows else lib.product(W[h].T, D[h + 1], D[h])
        lib.wait(last)
        return np.full(1, np.nan)

    return run


def best(lib: Library, work: Callable[[], Any]) -> float:
    """Return the shortest of ten times, after two that warm up."""
    seconds = []
    for _ in range(12):
        began = time.perf_counter()
        lib.wait(work())
        seconds.append(time.perf_counter() - began)
    return min(seconds[2:])


def peak(lib: Library, dtype: str, n: int = 8192) -> float:
    """Return the flop/s of an n² product of this type, after a look at the digits of some of its rows."""
    A, B = np.random.default_rng(0).standard_normal((2, n, n), np.float32).astype(dtype)
    a, b, out = lib.put(A), lib.put(B), lib.put(np.empty_like(A))
    rows = slice(0, n, n // 64)
    exact = A[rows].astype(np.float64) @ B.astype(np.float64)
    error = np.linalg.norm(lib.get(lib.product(a, b, out))[rows] - exact) / np.linalg.norm(exact)
    if not error <= np.sqrt(n) * np.finfo(dtype).eps:  # 1e-5 in float32, where TF32 is 3e-4 off
        raise SystemExit(f"{lib.name}'s {dtype} products are {error:.0e} off: reduced precision, TF32 perhaps, is on")
    return 2 * n**3 / best(lib, lambda: lib.product(a, b, out))


def bandwidth(lib: Library, size: int = 2**30) -> float:
    """Return the bytes per second, those read and those written, of a copy of so many bytes on the device."""
    a, out = (lib.put(np.ones(size // 8)) for _ in range(2))
    return 2 * size / best(lib, lambda: lib.copy(a, out))
