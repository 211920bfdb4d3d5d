"""Loops over the samples of a tile, made of functions of numbers: activations with their derivatives, and losses.

Each is compiled by itself, when a network needs it, and called by its address: `network` is compiled once for all of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .. import layout, pointwise
from ..functions import ACTIVATIONS, LOSSES, Scalar
from ..jit import addressed, inside, looped
from .intrinsics import window
from .layers import product_by_blas, product_of_few
from .placed import address_of_code
from .tiles import by_blas

_settings: Any = numba.config


def values(f: Scalar, in_place: bool) -> Callable[..., None]:
    """Return the loop of an activation."""
    f = inside(f)
    if in_place:

        @looped
        def activate(c, z, a):
            """z ← σ(c, z)."""
            for s in range(z.size):
                z[s] = f(c, z[s])
    else:

        @looped
        def activate(c, z, a):
            """a = σ(c, z)."""
            for s in range(z.size):
                a[s] = f(c, z[s])

    return activate


def slopes(df: Scalar, in_place: bool) -> Callable[..., None]:
    """Return the loop of an activation's derivative; z and a are what `activate` has left."""
    df = inside(df)
    if in_place:

        @looped
        def d_activate(c, d, z, a):
            """z ← d σ′, a function of σ, which z holds."""
            for s in range(z.size):
                z[s] = d[s] * df(c, z[s], z[s])
    else:

        @looped
        def d_activate(c, d, z, a):
            """z ← d σ′(c, z), with a = σ(c, z)."""
            for s in range(z.size):
                z[s] = d[s] * df(c, z[s], a[s])

    return d_activate


def parameter_slope(df: Scalar) -> Callable[..., float]:
    """Return the sum that makes ∂U/∂β of a neuron."""

    @addressed
    def d_parameter(c, d, z):
        """Σ_s d_s ∂σ/∂c(c, z_s)."""
        total = z.dtype.type(0)
        for s in range(z.size):
            total += d[s] * df(c, z[s])
        return np.float64(total)

    return d_parameter


def sum_over_outputs(f: Scalar, df: Scalar, weighted: bool) -> Callable[..., float]:
    """Return the loop of a loss ℓ = Σ_i f(c, z_i, y_i)."""

    @addressed
    def loss(c, Z, labels, targets, scratch, T, count, N):
        """Σ_s w_s ℓ_s / N over the first `count` samples; z ← w ∂ℓ/∂z / N, zero for the others.

        Z and targets are flat (n, T) matrices, weights w the last row of targets, labels and scratch are not used.
        """
        total, weight = 0.0, window(targets, targets.size - T, T)
        for i in range(Z.size // T):
            z, y = window(Z, i * T, T), window(targets, i * T, T)
            for s in range(T):
                w = weight[s] if weighted else 1.0
                total += w * f(c, z[s], y[s]) if s < count else 0.0
                z[s] = w * df(c, z[s], y[s]) / N if s < count else 0.0
        return total / N

    return loss


@addressed
def softmax_loss(c, Z, labels, targets, scratch, T, count, N):
    """Σ_s −log softmax(z)_y / N over the first `count` samples; z ← (softmax(z) − 1_y) / N, zero for the others.

    Z is a flat (n, T) matrix, labels (T,), scratch holds 2 T numbers at least; c and targets are not used. Sums run over
    samples, an output after the other, and many samples share a logarithm: a loop that a GPU's thread, which has one sample,
    has no use for. What they share is `pointwise.exp`.
    """
    n = Z.size // T
    top, total = window(scratch, 0, T), window(scratch, T, T)
    for s in range(T):
        top[s] = Z[s]
        total[s] = 0
    for i in range(1, n):
        z = window(Z, i * T, T)
        for s in range(T):
            top[s] = max(top[s], z[s])
    loss = 0.0
    for s in range(count):
        loss += top[s] - Z[labels[s] * T + s]
    for i in range(n):
        z = window(Z, i * T, T)
        for s in range(T):
            z[s] = pointwise.exp(z[s] - top[s])
            total[s] += z[s]
    product = 1.0  # one logarithm for many samples, as each total lies between 1 and n; in fours, which do not wait
    for s in range(0, count - 3, 4):
        product *= (total[s] * total[s + 1]) * (total[s + 2] * total[s + 3])
        if product > 1e200:
            loss += math.log(product)
            product = 1.0
    for s in range(count - count % 4, count):
        product *= total[s]
    loss += math.log(product)
    for s in range(T):
        total[s] = 1 / (N * total[s]) if s < count else 0.0
    for i in range(n):
        z = window(Z, i * T, T)
        for s in range(T):
            z[s] *= total[s]
    for s in range(count):
        Z[labels[s] * T + s] -= 1 / N
    return loss / N


def cross_entropy(weighted: bool) -> Callable[..., float]:
    """Return the loop of the loss of probabilities."""

    @addressed
    def loss_of_probabilities(c, Z, labels, targets, scratch, T, count, N):
        """−Σ_s w_s Σ_i y_i log softmax(z)_i / N over the first `count` samples; z ← w (softmax(z) − y) / N, zero for the others.

        Z and targets are flat (n, T) matrices, weights w the last row of targets, scratch holds 2 T numbers at least; c and
        labels are not used.
        """
        n, weight = Z.size // T, window(targets, targets.size - T, T)
        top, total = window(scratch, 0, T), window(scratch, T, T)
        for s in range(T):
            top[s] = Z[s]
            total[s] = 0
        for i in range(1, n):
            z = window(Z, i * T, T)
            for s in range(T):
                top[s] = max(top[s], z[s])
        loss = 0.0
        for i in range(n):
            z, y = window(Z, i * T, T), window(targets, i * T, T)
            for s in range(T):
                w = weight[s] if weighted else 1.0
                loss += w * y[s] * (top[s] - z[s]) if s < count else 0.0
                z[s] = pointwise.exp(z[s] - top[s])
                total[s] += z[s]
        for s in range(count):
            loss += (weight[s] if weighted else 1.0) * math.log(total[s])
        for i in range(n):
            z, y = window(Z, i * T, T), window(targets, i * T, T)
            for s in range(T):
                w = weight[s] if weighted else 1.0
                z[s] = w * (z[s] / total[s] - y[s]) / N if s < count else 0.0
        return loss / N

    return loss_of_probabilities


@functools.cache
def activation(code: int, dtype: str, trained: bool) -> tuple[Any, Any, Any]:
    """Return the addresses of the loops of an activation for numbers of this dtype; 0 for what is not trained."""
    sigma, number, vector = ACTIVATIONS[code], numba.from_dtype(np.dtype(dtype)), numba.typeof(np.empty(0, dtype))
    assert sigma.d_parameter is not None or not trained
    return (
        address_of_code(values(sigma.value, sigma.in_place), (number, vector, vector)),
        address_of_code(slopes(sigma.slope, sigma.in_place), (number, vector, vector, vector)),
        address_of_code(parameter_slope(sigma.d_parameter), (number, vector, vector)) if trained else 0,
    )


@functools.cache
def loss(code: int, dtype: str, of_labels: bool) -> Any:
    """Return the address of a loss of labels or of targets, for numbers of this dtype."""
    record, number, vector = LOSSES[code], numba.from_dtype(np.dtype(dtype)), numba.typeof(np.empty(0, dtype))
    if record.value is not None and record.slope is not None:
        function = sum_over_outputs(record.value, record.slope, record.weighted)
    else:
        function = softmax_loss if of_labels else cross_entropy(record.weighted)
    labels = numba.typeof(np.empty(0, np.int64))
    return address_of_code(function, (number, vector, labels, vector, vector, *(numba.int64,) * 3))


@functools.cache
def address_of_product(dtype: str, of_few: bool) -> Any:
    """Return the address of the products of layers by BLAS, for numbers of this dtype; those `of_few` samples by our loops too."""
    i, vector = numba.int64, numba.typeof(np.empty(0, dtype))
    product = product_of_few if of_few else product_by_blas
    return address_of_code(product, (i, vector, vector, vector, i, i, i))


def addresses(problem: layout.Problem, minibatches: bool = False, outer: tuple[Any, ...] = (0, 0)) -> NDArray[Any]:
    """Return (L, 3): the addresses of what the layers of a network call, and in the last row of its loss, of products by BLAS and of its outer problem.

    A layer whose activation is the identity calls nothing: its addresses are 0. `outer` are the addresses of the outer problem of a
    linear network and of its potential, which takes the place of the loss.
    """
    dtype = str(problem.X.dtype)
    rows = [
        (0, 0, 0) if c == ACTIVATIONS[code].identity else activation(int(code), dtype, bool(beta >= 0))
        for code, c, beta in zip(problem.activation, problem.parameter, problem.offsets[:, 2], strict=False)
    ]
    outer_problem, potential = outer
    of_loss = potential if problem.loss < 0 else loss(problem.loss, dtype, problem.labels.size > 0)
    product = address_of_product(dtype, minibatches and problem.dual >= 0) if by_blas(problem) else 0
    rows.append((of_loss, product, outer_problem))
    return np.array(rows, object if _settings.DISABLE_JIT else np.int64)
