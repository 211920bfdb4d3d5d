"""Potentials without data, and the function of each kind, as the kernels of the CPU call them: by address, with the arguments that a network takes."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from .. import layout, pointwise
from ..functions import POTENTIALS, Analytic
from ..jit import compiled, merged
from .intrinsics import window
from .linear_network import linear_network
from .network import network
from .placed import address_of_code, problem_at


@compiled
def radial(problem_address, tiles_address, member, x, gradient):
    """U(|x|²) of pointwise.radial."""
    square = 0.0
    for i in range(x.size):
        square += x[i] * x[i]
    for i in range(gradient.size):
        gradient[i] = pointwise.d_radial(square, x[i])
    return pointwise.radial(square)


@compiled
def harmonic(problem_address, tiles_address, member, x, gradient):
    """U = ½⟨x, Ax⟩, A symmetric."""
    matrix = problem_at(problem_address, x).matrix
    total = 0.0
    for i in range(x.size):
        row = window(matrix, i * x.size, x.size)
        product = x.dtype.type(0)
        for j in range(x.size):
            product += row[j] * x[j]
        if gradient.size > 0:
            gradient[i] = product
        total += product * x[i]
    return 0.5 * total


@functools.cache
def given(functions: Analytic) -> Any:
    """Return the compiled function of a potential of functions.POTENTIALS."""
    value_of, write_gradient = merged(functions.value), merged(functions.gradient)

    @compiled
    def potential(problem_address, tiles_address, member, x, gradient):
        """U(x), and ∇U(x) unless `gradient` is empty."""
        if gradient.size > 0:
            write_gradient(x, gradient)
        return np.float64(value_of(x))

    return potential


def function_of(kind: int) -> Any:
    """Return the function of a kind of potential: addresses of problem and tiles, member, x, gradient ↦ U."""
    kinds = {
        layout.NETWORK: network,
        layout.LINEAR_NETWORK: linear_network,
        layout.RADIAL: radial,
        layout.HARMONIC: harmonic,
    }
    return kinds[kind] if kind in kinds else given(POTENTIALS[kind - layout.GIVEN])


@functools.lru_cache
def address_of_potential(kind: int, dtype: str) -> Any:
    """Return where the machine code of a kind of potential lies, compiled or read from disk if need be."""
    vector = numba.typeof(np.empty(0, dtype))
    return address_of_code(function_of(kind), (numba.int64, numba.int64, numba.int64, vector, vector))
