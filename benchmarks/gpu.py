"""Time noetherlite on a GPU against its own CPU kernels, JAX, PyTorch and the bare dense products, on the same work.

    python benchmarks/gpu.py [--only ensembles single wide] [--networks 1024 65536] [--hidden 64 8192] [--rounds 5]
                             [--json out.json]

The work is that of peers.py: negative log-likelihood, ReLU with biases, full batch; scaling laws tracked at every step and
recorded every tenth; by gradient descent and by leapfrog, in float64 and in float32 without TF32. Input reduction is off, so
that all make the same products.

`ensembles` are networks 10-16-16-3 on 64 samples side by side: `nl.ensemble(backend="cuda")`, the same by all threads of the
CPU (a part of many networks, whose time is taken for all), and `jax.vmap` of a jitted scan on the GPU.
`single` is one network 784-w-w-10 on 1024 samples: `nl.integrate(backend="cuda")`, PyTorch (eager) and JAX on the GPU.
`wide` is 784-8192-8192-10 on 4096 samples against the dense products of its gradients alone, by cuBLAS and, but for JAX, into
arrays that are there already, samples as rows and as columns: a step is held against the faster.

Two times of a step, medians over the rounds, contestants in turn in each:

- `call`: a whole call, which ends when its records are in host memory, divided by its steps (and networks). Ours also takes
  the parameters to the GPU and back; those of JAX and PyTorch are there from the start.
- `further`: what a further step takes: a call less one of a fifth of the steps, divided by the steps between them. Another of
  that fifth, not counted, goes before the two.

`of peak` is the floating-point operations of the products over the time × the rate of an 8192² product of the same type, measured
in the same run with CuPy, else PyTorch, else JAX. The last losses of every network that two have run must agree: to 1e-10 in
float64, to what `tolerances` derives in float32. Who disagrees or fails is left out and makes the exit code 1; who is not
installed, sees no GPU or runs out of memory is left out and said so. For a short run choose tables, networks, widths and
fewer rounds.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import gc
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

import noetherlite as nl

sys.path.insert(0, str(Path(__file__).parent))
import gpu_products
from workloads import EVERY, Workload

NETWORKS = (64, 256, 1024, 4096, 16384, 65536)
# Hidden widths with their steps: multiples of 50, so that a fifth of them ends with a record too.
STEPS = {64: 500, 256: 500, 1024: 200, 4096: 50, 8192: 50}
DTYPES = ("float64", "float32")
# Of an ensemble, as many networks at most are run on the CPU.
ON_CPU = 1024
# How much longer than its products a wide step may take.
TARGET = 1.10
PACKAGES = (
    "noetherlite",
    "numpy",
    "numba",
    "numba-cuda",
    "nvidia-cublas",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "torch",
    "jax",
)
OURS, CPU, PRODUCTS = "noetherlite", "its CPU kernels", "products, samples as "

Run = Callable[[], np.ndarray]  # gives each network's last loss, NaN where there is none


class Case(Workload):
    """A workload whose data are made once, with steps that suit wide networks."""

    def algorithms(self) -> tuple[nl.Algorithm, nl.Algorithm]:
        """Return the contestants' algorithms: a network w wide is stable at the rate 1/w, leapfrog runs to t = 1."""
        if self.networks > 1:
            return super().algorithms()
        return nl.GD(1 / self.widths[1]), nl.Leapfrog((1 / self.steps) ** 2)

    def problem(self) -> tuple[nl.Network, np.ndarray, np.ndarray, np.ndarray]:
        """Return what `Workload.problem` does, the same arrays for any number of steps."""
        return _problem(self.widths, self.samples, self.networks)


@functools.lru_cache(maxsize=1)
def _problem(widths: tuple[int, ...], samples: int, networks: int) -> Any:
    return Workload("", widths, samples, 1, networks).problem()


def ensemble(networks: int) -> Case:
    """Return an ensemble."""
    return Case(f"{networks} networks", (10, 16, 16, 3), 64, 400, networks)


def single(width: int, samples: int) -> Case:
    """Return a network of two hidden layers."""
    return Case(f"width {width}", (784, width, width, 10), samples, STEPS[width])


def objection() -> str:
    """Return why noetherlite cannot run on a GPU here, '' if it can."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return "NUMBA_ENABLE_CUDASIM is set, and a simulator is no GPU"
    try:
        nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.4, 0.1], 1, backend="cuda")
    except (RuntimeError, ImportError, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def noetherlite(case: Workload, algorithm: nl.Algorithm, dtype: str, backend: str, at_most: int | None = None) -> Run:
    """Our own run, of the first so many networks."""
    net, X, y, theta = case.problem()
    theta, U = theta[:at_most], net.potential(X, y)
    options: dict[str, Any] = {
        "record_every": EVERY,
        "laws": [f"scaling:{h}" for h in range(1, net.n_layers)],
        "backend": backend,
        "dtype": dtype,
        "input_reduction": False,
    }
    if case.networks > 1:
        return lambda: nl.ensemble(U, algorithm, theta, case.steps, **options).loss[:, -1]
    return lambda: nl.integrate(U, algorithm, theta[0], case.steps, **options).loss[-1:]


def available(device: str) -> dict[str, Any]:
    """Return the peers' modules that are installed and can run on the device, "cuda" or "cpu"."""
    peers = {}
    for name in ("torch", "jax"):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: left out", file=sys.stderr)
            continue
        try:
            module = importlib.import_module(f"peers_{name}")
            module.last_losses(Workload("", (2, 2, 2), 2, EVERY), nl.GD(0.1), device=device)()
            peers[name] = module
        except (RuntimeError, AssertionError, ImportError) as error:
            print(f"{name} cannot run on {device}: left out ({' '.join(str(error).split())})", file=sys.stderr)
    return peers


def traffic(case: Workload, algorithm: nl.Algorithm, dtype: str) -> int:
    """Return the bytes that a step moves outside of its products, if each pass is made once.

    The update reads θ and ∇U and writes θ; by leapfrog it reads and writes v too; the laws' sums come with it. A hidden
    layer's σ is a reading and a writing of it; its σ' reads activations and derivatives, and writes these.
    """
    parameters = sum(n * (m + 1) for m, n in itertools.pairwise(case.widths))
    passes = (5 if isinstance(algorithm, nl.Leapfrog) else 3) * parameters
    return (passes + 5 * case.samples * sum(case.widths[1:-1])) * np.dtype(dtype).itemsize


def tolerances(case: Workload, algorithm: nl.Algorithm, dtype: str) -> tuple[float, float]:
    """Return how far last losses may be apart: in the median over the networks, and at most.

    In float32 round-off of a product grows like the square root of its length, that of the parameters at most like the
    steps. In a few networks it also puts a neuron on the other side of its kink, for one sample in one step: a kick of
    dt/N, which by leapfrog moves on for the time of the run. All for losses, slopes and inputs of order 1.
    """
    if dtype == "float64":
        return 1e-10, 1e-10
    smooth = float(np.finfo(dtype).eps) * (case.steps + sum(case.widths) ** 0.5)
    lasts = case.steps * algorithm.dt if isinstance(algorithm, nl.Leapfrog) else 1.0
    return smooth, smooth + lasts * algorithm.dt / case.samples


class Timing(NamedTuple):
    """Seconds a step and network, of a whole call and of further steps; networks timed; seconds of the calls, short and long."""

    call: float
    further: float
    networks: int
    seconds: list[list[float]]


def measure(
    contestants: dict[str, Callable[..., Run]], case: Case, algorithm: nl.Algorithm, dtype: str, rounds: int
) -> tuple[dict[str, Timing], list[str]]:
    """Return the times of the contestants that could run and agree with us, and what was wrong with others."""
    lengths = (case.steps // 5, case.steps)
    runs: dict[str, list[Run]] = {}
    seconds: dict[str, list[list[float]]] = {name: [] for name in contestants}
    losses: dict[str, np.ndarray] = {}
    faults = []
    for turn in range(rounds + 1):  # in the first they are made, compiled and warmed up
        for name in list(seconds):
            try:
                if turn == 0:
                    runs[name] = [contestants[name](case._replace(steps=n), algorithm, dtype) for n in lengths]
                short, long = runs[name]
                short()  # what the contestant before left behind, in caches, clocks and threads, is not ours to pay
                took = []
                for run in (short, long):
                    began = time.perf_counter()
                    losses[name] = run()
                    took.append(time.perf_counter() - began)
                if turn:
                    seconds[name].append(took)
            except Exception as error:
                for results in (runs, seconds, losses):
                    results.pop(name, None)
                if out_of_memory(error):
                    print(f"{case.name} {dtype}: {name} runs out of memory: left out", file=sys.stderr)
                else:
                    traceback.print_exception(error)
                    faults.append(f"{name} fails by {type(error).__name__}")
    runs.clear()
    median, most = tolerances(case, algorithm, dtype)
    for name in [n for n in seconds if OURS in losses and not n.startswith(PRODUCTS)]:
        common = min(losses[OURS].size, losses[name].size)
        apart = np.abs(losses[OURS][:common] - losses[name][:common])
        if not (np.median(apart) <= median and apart.max() <= most):  # NaN neither
            del seconds[name]
            faults.append(
                f"{name} ends {np.median(apart):.1e} from our losses in the median and {apart.max():.1e} at most, "
                f"allowed are {median:.1e} and {most:.1e}"
            )
    timings = {}
    for name, times in seconds.items():
        shorter, longer = np.array(times).T
        networks = losses[name].size
        further = statistics.median(longer - shorter) / (lengths[1] - lengths[0]) / networks
        timings[name] = Timing(statistics.median(longer) / case.steps / networks, further, networks, times)
    return timings, faults


def out_of_memory(error: Exception) -> bool:
    """Whether that is what an error of NumPy, numba, CuPy, PyTorch or JAX says."""
    said = str(error).lower().replace("_", " ")
    return isinstance(error, MemoryError) or any(
        s in said for s in ("out of memory", "resource exhausted", "alloc failed")
    )


def tidy() -> None:
    """Give back what the libraries keep of the device's memory."""
    gc.collect()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


def show(case: Case, algorithm: nl.Algorithm, dtype: str, timings: dict[str, Timing], unit: str, rates: Any) -> None:
    """Print a line for each contestant, and where there are bare products what a step is against them."""
    scale = {"ns": 1e9, "µs": 1e6, "ms": 1e3}[unit]
    nan = float("nan")
    ours, least = timings.get(OURS, Timing(nan, nan, 0, [])), case.flops() / rates.get(dtype, nan)
    for name, t in timings.items():
        shares = f"{least / t.call:8.1%} {least / t.further:8.1%}" if name != CPU else f"{'':17}"
        part = f"  (timed on {t.networks})" if t.networks < case.networks else ""
        print(
            f"{case.name:15}{dtype:8} {type(algorithm).__name__:9}{name:29}{t.call * scale:10.3f} {t.further * scale:10.3f} "
            f"{shares} {t.call / ours.call:8.2f} {t.further / ours.further:8.2f}{part}",
            flush=True,
        )
    bare = [t.further for name, t in timings.items() if name.startswith(PRODUCTS)]
    if bare and OURS in timings:
        moved = traffic(case, algorithm, dtype)
        passes = moved / rates["copy"]
        print(
            f"  a further step is {ours.further / min(bare):.3f} × its products (target: at most {TARGET:.2f}); one pass each over "
            f"what is not a product moves {moved / 1e9:.2f} GB, {passes * 1e3:.2f} ms at a copy's rate: {1 + passes / min(bare):.3f} ×",
            flush=True,
        )


def tables(
    only: Iterable[str], networks: Iterable[int], hidden: Iterable[int], peers: Any, lib: Any, device: str
) -> Any:
    """Yield each table that is asked for: its title, its unit of time, its cases and its contestants."""
    ours = partial(noetherlite, backend=device)
    on_device = {name: partial(module.last_losses, device=device) for name, module in peers.items()}
    if "ensembles" in only:
        contestants = {OURS: ours, CPU: partial(noetherlite, backend="cpu", at_most=ON_CPU)}
        if "jax" in peers:
            contestants["JAX vmap"] = on_device["jax"]
        yield "ensembles of 10-16-16-3, 64 samples: ns a step and network", "ns", map(ensemble, networks), contestants
    if "single" in only:
        contestants = {OURS: ours, **on_device}
        yield "784-w-w-10, 1024 samples: µs a step", "µs", (single(w, 1024) for w in hidden), contestants
    if "wide" in only:
        contestants = {OURS: ours}
        if lib is not None:
            layouts = {"rows": True, "columns": False}
            contestants |= {
                PRODUCTS + s: partial(gpu_products.products, lib=lib, rows=rows) for s, rows in layouts.items()
            }
        yield "784-8192-8192-10, 4096 samples: ms a step", "ms", [single(8192, 4096)], contestants


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    from numba import cuda

    def known(ask: Callable[[], Any]) -> str:
        try:
            return str(ask())
        except Exception:  # of many kinds, none of which is worth a benchmark
            return "unknown"

    def driver() -> str:
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[0]

    def gpu() -> str:
        name = cuda.get_current_device().name
        return name.decode() if isinstance(name, bytes) else name

    def processor() -> str:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))

    versions = {name: known(partial(importlib.metadata.version, name)) for name in PACKAGES}
    return {
        "GPU": known(gpu),
        "driver": known(driver),
        "CUDA": known(lambda: ".".join(map(str, cuda.runtime.get_version()))),
        "CPU": known(processor),
        "cores": known(lambda: len(os.sched_getaffinity(0))),
        "numba threads": str(numba.config.NUMBA_NUM_THREADS),
        "Python": platform.python_version(),
        **{name: version for name, version in versions.items() if version != "unknown"},
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["ensembles", "single", "wide"]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="tables")
    parser.add_argument("--networks", nargs="*", type=int, choices=NETWORKS, default=NETWORKS, help="of ensembles")
    parser.add_argument(
        "--hidden", nargs="*", type=int, choices=STEPS, default=list(STEPS), help="widths of single networks"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    # Before the libraries are loaded: full float32 in all of cuBLAS, and JAX takes the memory that it needs, not all at once.
    os.environ |= {"NVIDIA_TF32_OVERRIDE": "0", "CUPY_TF32": "0", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    why = objection()
    if why:
        raise SystemExit(f"no GPU that noetherlite can use, so there is nothing to measure: {why}")
    raise SystemExit(compare(options, "cuda"))


def compare(options: argparse.Namespace, device: str) -> int:
    """Measure and print; return the exit code."""
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    peers = available(device)
    lib = gpu_products.library(peers)
    rates: dict[str, float] = {}
    if lib is None:
        print("neither CuPy, PyTorch nor JAX sees the GPU: no peak and no bare products", file=sys.stderr)
    else:
        rates = {dtype: gpu_products.peak(lib, dtype) for dtype in DTYPES} | {"copy": gpu_products.bandwidth(lib)}
        shown = ", ".join(f"{dtype} {rates[dtype] / 1e12:.2f} Tflop/s" for dtype in DTYPES)
        print(f"peak, 8192² products by {lib.name}: {shown}; copy: {rates['copy'] / 1e12:.3f} TB/s read and written")
    results, faults = [], []
    for title, unit, cases, contestants in tables(options.only, options.networks, options.hidden, peers, lib, device):
        print(f"\n{title}\n{'':61}{'call':>10} {'further':>10} {'of peak: call, further':>17}  ÷ ours: call, further")
        for case, dtype in itertools.product(cases, DTYPES):
            for algorithm in case.algorithms():
                tidy()
                timings, wrong = measure(contestants, case, algorithm, dtype, options.rounds)
                show(case, algorithm, dtype, timings, unit, rates)
                known = {"case": case._asdict(), "dtype": dtype, "algorithm": str(algorithm)}
                results += [{**known, "contestant": name, **t._asdict()} for name, t in timings.items()]
                for fault in wrong:
                    faults.append(f"{case.name} {dtype} {algorithm}: {fault}")
                    print(faults[-1], file=sys.stderr, flush=True)
                if options.json:  # after each, so that a run that is cut short leaves what it has
                    everything = {"machine": about, "rates": rates, "results": results, "faults": faults}
                    options.json.write_text(json.dumps(everything, indent=1))
    return 1 if faults else 0


if __name__ == "__main__":
    main()
