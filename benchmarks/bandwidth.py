"""What the memory of this machine gives, and what threads and processes make of a step: measured for 1 and 2, as a model beyond.

    python benchmarks/bandwidth.py [--threads 1 2] [--seconds 0.2] [--only bandwidth products threads processes]

Bandwidth: copy (b = a), triad (a = b + s c) and sum of float64 in numba, arrays of one size from L1 to RAM; every thread has
arrays of its own, all begin together, the best of five is what they move in all (what is read and written, without the lines that a
store reads first).

Products: the rate of the dense products of the wide network of peers.py (the four largest), by the BLAS of SciPy, NumPy and PyTorch in turn.

Threads: the time of a step T(n), leapfrog with laws, in a process of its own with so many threads of BLAS and of ours. From
T(1) and T(2) Amdahl's law T(n) = s + p/n has the serial part s = 2 T(2) − T(1) and the rest p. At its end it is
s + p/64, and no less than the bytes of a step at the bandwidth of RAM, which that number of threads would have to have.

Processes: n processes of one thread each, every one with runs of its own, begun together; what they do in all in the time of one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import noetherlite as nl

# Bytes of all arrays of a thread: within L1, L2, L3 and far beyond.
SIZES = {"L1": 24 << 10, "L2": 512 << 10, "L3": 8 << 20, "RAM": 512 << 20}
MOST = 64  # threads of the model
WORKLOADS = ("small", "middle", "paper", "wide")


@numba.njit(nogil=True, fastmath=True)
def copy(a, b, c, times):
    for _ in range(times):
        for i in range(a.size):
            b[i] = a[i]
    return b[0]


@numba.njit(nogil=True, fastmath=True)
def triad(a, b, c, times):
    for _ in range(times):
        for i in range(a.size):
            a[i] = b[i] + 0.5 * c[i]
    return a[0]


@numba.njit(nogil=True, fastmath=True)
def total(a, b, c, times):
    out = 0.0
    for _ in range(times):
        for i in range(a.size):
            out += a[i]
    return out


# Function, arrays that it touches: each is read or written once.
KERNELS = {"copy": (copy, 2), "triad": (triad, 3), "sum": (total, 1)}


def gigabytes(kernel: Callable[..., float], arrays: int, size: int, threads: int, seconds: float) -> float:
    """Return what all threads move in a second, in 1e9 bytes."""
    n = size // arrays // 8
    data = [[np.full(n, 1.0 + k) if k < arrays else np.empty(0) for k in range(3)] for _ in range(threads)]
    for mine in data:
        mine[1:] = [other if other.size else mine[0] for other in mine[1:]]
    kernel(*data[0], 1)
    began = time.perf_counter()
    kernel(*data[0], 3)
    times = max(1, round(seconds / ((time.perf_counter() - began) / 3)))
    best = float("inf")
    for _ in range(5):
        together = threading.Barrier(threads + 1)
        workers = [threading.Thread(target=_one, args=(together, kernel, mine, times)) for mine in data]
        for worker in workers:
            worker.start()
        together.wait()
        began = time.perf_counter()
        for worker in workers:
            worker.join()
        best = min(best, time.perf_counter() - began)
    return threads * times * arrays * 8 * n / best / 1e9


def _one(together: threading.Barrier, kernel: Callable[..., float], arrays: list[np.ndarray], times: int) -> None:
    together.wait()
    kernel(*arrays, times)


def bandwidth(threads: list[int], seconds: float) -> float:
    """Print the table; return the bandwidth of a copy in RAM by the most threads."""
    print("| arrays in | bytes a thread | " + " | ".join(f"{k}, {n} threads" for k in KERNELS for n in threads) + " |")
    print("|---" * (2 + len(KERNELS) * len(threads)) + "|")
    rates = {}
    for name, size in SIZES.items():
        rates = {(k, n): gigabytes(*KERNELS[k], size, n, seconds) for k in KERNELS for n in threads}
        print(f"| {name} | {size:,} | " + " | ".join(f"{rate:.1f}" for rate in rates.values()) + " |", flush=True)
    return rates["copy", max(threads)]


def products(rounds: int = 7) -> None:
    """Print the rate of each dense product of a gradient of the wide network, by each BLAS that is here."""
    from scipy.linalg.blas import dgemm

    libraries: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
        "SciPy's (our kernels')": lambda a, b: dgemm(1.0, b.T, a.T),  # of transposes, as its arrays go by columns
        "NumPy's": np.matmul,
    }
    if importlib.util.find_spec("torch"):
        import torch

        libraries["PyTorch's"] = lambda a, b: torch.mm(torch.from_numpy(a), torch.from_numpy(b))
    print("| product | " + " | ".join(f"{name}: GF/s" for name in libraries) + " |")
    print("|---" * (1 + len(libraries)) + "|")
    rng, spent = np.random.default_rng(0), dict.fromkeys(libraries, 0.0)
    for m, k, n in ((2048, 784, 1024), (2048, 2048, 1024), (2048, 1024, 2048), (2048, 1024, 784)):
        a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        seconds: dict[str, list[float]] = {name: [] for name in libraries}
        for _ in range(rounds):
            for name, product in libraries.items():
                product(a, b)  # threads of another BLAS may still be spinning
                time.sleep(0.15)
                began = time.perf_counter()
                product(a, b)
                seconds[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        for name, each in medians.items():
            spent[name] += each * (2 if k == 2048 else 1)  # W_2 a and W_2ᵀ δ
        rates = " | ".join(f"{2e-9 * m * k * n / each:.0f}" for each in medians.values())
        print(f"| {m} × {k} × {n} | {rates} |", flush=True)
    print("| a gradient's, ms | " + " | ".join(f"{each * 1e3:.0f}" for each in spent.values()) + " |")


def step_seconds(name: str, rounds: int = 3) -> float:
    """Return the median time of a step of leapfrog with scaling laws, of a whole call."""
    import workloads  # not at the top: it is asked for in processes whose numbers of threads are set

    work = next(w for w in workloads.WORKLOADS if w.name == name)
    work = work._replace(steps=max(8, work.steps // 4))
    net, X, y, theta = work.problem()
    U, algorithm = net.potential(X, y), nl.Leapfrog((5 / work.steps) ** 2)
    seconds = []
    for _ in range(rounds + 1):  # the first one compiles
        began = time.perf_counter()
        nl.integrate(U, algorithm, theta[0], work.steps, **work.options())
        seconds.append((time.perf_counter() - began) / work.steps)
    return statistics.median(seconds[1:])


def started(name: str, threads: int) -> subprocess.Popen[str]:
    """Start a process that prints the time of a step with so many threads."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, __file__, "--step", name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> float:
    out, _ = process.communicate()
    return float(json.loads(out))


def moved(name: str) -> int:
    """Return the bytes that a step of leapfrog moves at least: x, v and ∇U are read and written twice each, the samples read."""
    import workloads

    work = next(w for w in workloads.WORKLOADS if w.name == name)
    net = nl.Network(work.widths)
    return 8 * (3 * 2 * 2 * net.n_params + work.samples * sum(work.widths))


def by_threads(copy_rate: float) -> None:
    """Print the times of steps with 1 and 2 threads, and the model."""
    print(f"| workload | T(1) | T(2) | T(1)/T(2) | serial part | T(1)/T({MOST}), Amdahl | bandwidth it takes |")
    print("|---" * 7 + "|")
    for name in WORKLOADS:
        one, two = (answer(started(name, n)) for n in (1, 2))
        serial = max(0.0, 2 * two - one)
        many = serial + (one - serial) / MOST
        rate = moved(name) / many / 1e9
        print(
            f"| {name} | {one * 1e6:,.4g} µs | {two * 1e6:,.4g} µs | {one / two:.2f} | {serial / one:.0%} | {one / many:.1f} | {rate:.0f} GB/s |",
            flush=True,
        )
    print(f"\ncopy in RAM here: {copy_rate:.1f} GB/s")


def by_processes(counts: list[int]) -> None:
    """Print what several processes do in the time of one."""
    print("| workload | processes | µs a step in each | steps in all, relative to one process |\n|---|---|---|---|")
    for name in ("small", "paper"):
        alone = None
        for n in counts:
            times = [answer(p) for p in [started(name, 1) for _ in range(n)]]
            alone = alone or times[0]
            print(f"| {name} | {n} | {max(times) * 1e6:,.4g} | {sum(alone / t for t in times):.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("bandwidth", "products", "threads", "processes")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.1, help="of one measurement")
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step_seconds(options.step)))
        return
    copy_rate = bandwidth(options.threads, options.seconds) if "bandwidth" in options.only else float("nan")
    if "products" in options.only:
        products()
    if "threads" in options.only:
        by_threads(copy_rate)
    if "processes" in options.only:
        by_processes(options.threads)


if __name__ == "__main__":
    main()
