"""Compilation of all kernels before the first run: `noetherlite warmup`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numba
from numba.core import event

from .._base import checks, threads
from .._kernels import jit, layout, store
from .._kernels.cpu import compiled as cpu
from .._kernels.cpu import loops
from .._kernels.cpu.analytic import address_of_potential
from .._kernels.cpu.factored import address_of_form
from .._kernels.cpu.laws import addresses_of_forms
from .._kernels.cpu.rules import address_of_rule
from .._kernels.rules import Law
from .._motion.algorithms import ALGORITHMS
from .._motion.gradient_descent import GD
from .._problem.catalogue import CATALOGUE
from .._problem.losses import LOSSES
from .._problem.network import Network
from .._problem.potentials import Harmonic, Radial
from .integrate import integrate

# Those of GU's tables; any other is compiled by the first run that has it, in half a second.
_ACTIVATIONS = ("linear", "relu", "leaky_relu", "polynomial", "repu", "swish", "tanh")
_LOSSES = ("mse", "nll")
# The program of the second process. Garbage is not collected, neither while compiling nor at the exit: that would take a twentieth of
# the time, and would free a third of the memory.
_BESIDE = "import gc, sys; gc.disable(); from noetherlite._run import warmup; print(warmup.runs(sys.argv[1]).compiled, flush=True); gc.freeze()"


class Step(NamedTuple):
    """A group of functions, the seconds it took, and the number of functions compiled; the others were loaded from disk."""

    what: str
    seconds: float
    compiled: int


def warmup() -> Iterator[Step]:
    """Compile all functions, of activations and losses those of GU's tables, and cache them on disk if a folder can be written.

    A function is compiled once for each precision, whatever the network: the smallest run compiles everything but the laws of
    linear layers, the other activations, losses and potentials, and the rules of the other algorithms. Every step is yielded as it is done.
    Where there are two processors a process beside this one compiles for single precision.
    RuntimeError if numba is told not to compile, by NUMBA_DISABLE_JIT.
    """
    settings: Any = numba.config
    if settings.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set: there is nothing to compile")
    net = _network()
    yield (first := _time_step("potentials without data", _evaluate_analytic))
    double, single = checks.DTYPES
    beside = _start(single) if first.compiled and folder() and threads.threads(None) > 1 else None
    try:
        yield _time_step("predictions", partial(net.predict, net.init(rng=0), [[1.0]]))
        yield runs(double)
        yield runs(single, beside)
    finally:
        if beside is not None:
            with beside:
                beside.kill()


def runs(dtype: str, beside: subprocess.Popen[str] | None = None) -> Step:
    """Compile what runs of this dtype call, or find on disk what the process `beside` has compiled, once it says how many functions."""
    began = time.perf_counter()
    elsewhere = int(beside.stdout.readline() or 0) if beside and beside.stdout else 0
    step = _time_step(f"runs in {dtype}", partial(_run, dtype))
    return step._replace(seconds=time.perf_counter() - began, compiled=step.compiled + elsewhere)


def folder() -> str | None:
    """Return the folder of cached code, None if no folder can be written, or could not be in this process."""
    if store.refusal() or not hasattr(cpu.advance, "stats"):  # without the compiler it is a Python function
        return None
    path: str | None = cpu.advance.stats.cache_path
    return path


def refusal() -> str:
    """Return the reason why compiled code is not cached."""
    return store.refusal() or "there is no folder to write to"


def _evaluate_analytic() -> None:
    for U in (Radial(1), Harmonic([[1.0]])):
        U.value([1.0])


def _network() -> Network:
    return Network([1, 1, 2])


def _start(dtype: str) -> subprocess.Popen[str]:
    """Compile the runs of this dtype in a process of its own, as numba compiles one function at a time in each."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command, none = [sys.executable, "-c", _BESIDE, dtype], subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=none, stdout=subprocess.PIPE, stderr=none, text=True)


def _run(dtype: str) -> None:
    net = _network()
    integrate(net.potential([[1.0], [0.0]], [0, 1]), GD(0.1), net.init(rng=0), 1, dtype=dtype, batch_size=1, rng=0)
    addresses_of_forms(dtype, with_matrices=True)
    address_of_form(dtype)
    loops.address_of_product(dtype, False)
    for kind in (layout.LINEAR_NETWORK, layout.RADIAL, layout.HARMONIC):
        address_of_potential(kind, dtype)
    for name in _ACTIVATIONS:
        activation = CATALOGUE[name]
        loops.activation(activation.code, dtype, activation.d_parameter is not None)
    for loss in _LOSSES:
        loops.loss(LOSSES[loss].code, dtype, of_labels=loss == "nll")
    rules = dict.fromkeys(rule for algorithm in ALGORITHMS.values() for rule in algorithm(0.1).method.all_rules)
    laws = [rule for rule in rules if isinstance(rule, Law)]
    for rule in rules:
        if not isinstance(rule, Law):
            address_of_rule(rule, dtype)
    # Laws are the same for both dtypes, and come last: the two processes begin at the two ends, and end where they meet, as each finds
    # on disk what the other has compiled.
    for law in laws[:: 1 if dtype == checks.DTYPES[0] else -1]:
        address_of_rule(law, dtype)


def _time_step(what: str, function: Callable[[], object]) -> Step:
    began = time.perf_counter()
    with event.install_recorder("numba:compile") as recorder, jit.little_collecting:
        function()
    compiled = sum(e.is_start for _, e in recorder.buffer)
    return Step(what, time.perf_counter() - began, compiled)
