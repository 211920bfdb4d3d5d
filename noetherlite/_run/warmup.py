"""Compilation of all kernels before the first run: `noetherlite warmup`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numba
from numba.core import event

from .._base import checks
from .._base.types import Array
from .._kernels import layout, store
from .._kernels.cpu import compiled as cpu
from .._kernels.cpu import loops
from .._kernels.cpu.analytic import address_of_potential
from .._kernels.cpu.laws import address_of_forms
from .._kernels.cpu.rules import addresses_of_rules
from .._motion.algorithms import ALGORITHMS
from .._motion.gradient_descent import GD
from .._problem.catalogue import CATALOGUE
from .._problem.losses import LOSSES
from .._problem.network import Network
from .._problem.potentials import Harmonic, Potential, Radial
from .integrate import integrate

# Those of GU's tables; any other is compiled by the first run that has it, in half a second.
_ACTIVATIONS = ("linear", "relu", "leaky_relu", "polynomial", "repu", "swish", "tanh")
_LOSSES = ("mse", "nll")


class Step(NamedTuple):
    """A group of functions, the seconds it took, and the number of functions compiled; the others were loaded from disk."""

    what: str
    seconds: float
    compiled: int


def warmup() -> Iterator[Step]:
    """Compile all functions, of activations and losses those of GU's tables, and cache them on disk if a folder can be written.

    A function is compiled once for each precision, whatever the network: the smallest run compiles everything but the laws of
    linear layers, the other activations, losses and potentials, and the rules of the other algorithms. Every step is yielded as it is done.
    RuntimeError if numba is told not to compile, by NUMBA_DISABLE_JIT.
    """
    settings: Any = numba.config
    if settings.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set: there is nothing to compile")
    net = Network([1, 1, 2])
    U, theta = net.potential([[1.0]], [0]), net.init(rng=0)

    yield _time_step("potentials without data", _evaluate_analytic)
    yield _time_step("predictions", partial(net.predict, theta, [[1.0]]))
    for dtype in checks.DTYPES:
        yield _time_step(f"runs in {dtype}", partial(_run, U, theta, dtype))


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


def _run(U: Potential, theta: Array, dtype: str) -> None:
    integrate(U, GD(0.1), theta, 1, dtype=dtype)
    address_of_forms(dtype, with_matrices=True)
    for kind in (layout.RADIAL, layout.HARMONIC):
        address_of_potential(kind, dtype)
    for name in _ACTIVATIONS:
        activation = CATALOGUE[name]
        loops.activation(activation.code, dtype, activation.d_parameter is not None)
    for loss in _LOSSES:
        loops.loss(LOSSES[loss].code, dtype, of_labels=loss == "nll")
    for algorithm in ALGORITHMS.values():
        addresses_of_rules(algorithm(0.1).method, dtype)


def _time_step(what: str, function: Callable[[], object]) -> Step:
    began = time.perf_counter()
    with event.install_recorder("numba:compile") as recorder:
        function()
    compiled = sum(e.is_start for _, e in recorder.buffer)
    return Step(what, time.perf_counter() - began, compiled)
