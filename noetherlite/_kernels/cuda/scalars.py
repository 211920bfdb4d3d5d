"""Activations, loss and rules of an algorithm as functions of the GPU, which kernels are compiled with: those in use, no other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import layout, pointwise
from ..functions import ACTIVATIONS, LOSSES, Scalar
from ..rules import Method
from . import orthogonal
from .jit import device, index
from .rules import numbered


class Functions(NamedTuple):
    """What device functions are handed by the kernels; `code` is the activation's number."""

    sigma: Any  # (code, c, z, z) ↦ σ
    d_sigma: Any  # (code, c, z, a) ↦ σ′
    d_parameter: Any  # (code, c, z, z) ↦ ∂σ/∂c
    rules: Any  # those of the algorithm, see rules.py
    orthogonalise: Any  # its stage for matrices, see orthogonal.py
    loss: Any  # (c, n, data, number, memory, z, ld, N) ↦ ℓ of a sample, whose outputs become ∂ℓ/∂z / N


def of(problem: layout.Problem, method: Method) -> Functions:
    """Return the functions of a problem's network and of an algorithm."""
    codes = tuple(sorted({int(code) for code in problem.activation}))
    return _made(codes, problem.loss, problem.labels.size > 0, method)


@functools.cache
def _made(codes: tuple[int, ...], loss: int, of_labels: bool, method: Method) -> Functions:
    sigmas = [(code, ACTIVATIONS[code]) for code in codes]
    return Functions(
        sigma=_choice([(code, _of_three(sigma.value)) for code, sigma in sigmas]),
        d_sigma=_choice([(code, sigma.slope) for code, sigma in sigmas]),
        d_parameter=_choice(
            [(code, _of_three(sigma.d_parameter)) for code, sigma in sigmas if sigma.d_parameter is not None]
        ),
        rules=numbered(method.all_rules),
        orthogonalise=orthogonal.of(method),
        loss=_loss(loss, of_labels),
    )


def _of_three(f: Scalar) -> Scalar:
    """Return (c, z, a) ↦ f(c, z), so that all have the same arguments."""

    @device
    def function(c, z, a):
        return f(c, z)

    return function


def _choice(choices: list[tuple[int, Scalar]]) -> Callable[..., Any]:
    """Return (code, c, z, a) ↦ f(c, z, a) of the function with this number; 0 where there is none to choose from."""
    if not choices:

        @device
        def nothing(code, c, z, a):
            return 0.0

        return nothing
    (number, f), *others = choices
    if not others:

        @device
        def only(code, c, z, a):
            return f(c, z, a)

        return only
    other = _choice(others)

    @device
    def choice(code, c, z, a):
        return f(c, z, a) if code == number else other(code, c, z, a)

    return choice


def _loss(code: int, of_labels: bool) -> Callable[..., Any]:
    if code == layout.NO_LOSS:
        return _no_loss
    record = LOSSES[code]
    if record.value is None or record.slope is None:
        return _softmax_loss if of_labels else _cross_entropy(record.weighted)
    return _sum_over_outputs(record.value, record.slope, record.weighted)


@device
def _no_loss(c, n, data, number, memory, z, ld, N):
    """Of a potential without data."""
    return 0.0


def _sum_over_outputs(f: Scalar, df: Scalar, weighted: bool) -> Callable[..., Any]:
    @device
    def loss(c, n, data, number, memory, z, ld, N):
        """w Σ_i f(c, z_i, y_i) of sample `number`, whose n outputs lie at z, ld apart; z ← w ∂ℓ/∂z / N, w after its targets."""
        value, first = 0.0, number * (n + weighted)
        w = data.targets[index(first + n)] if weighted else 1.0
        for i in range(n):
            output, target = memory[index(z + i * ld)], data.targets[index(first + i)]
            value += w * f(c, output, target)
            memory[index(z + i * ld)] = w * df(c, output, target) / N
        return value

    return loss


@device
def _softmax_loss(c, n, data, number, memory, z, ld, N):
    """−log softmax(z)_y of sample `number`, whose n outputs lie at z, ld apart; z ← (softmax(z) − 1_y) / N."""
    label = data.labels[index(number)]
    top = memory[index(z)]
    for i in range(1, n):
        top = max(top, memory[index(z + i * ld)])
    value, total = top - memory[index(z + label * ld)], memory.dtype.type(0)
    for i in range(n):
        e = pointwise.exp(memory[index(z + i * ld)] - top)
        memory[index(z + i * ld)] = e
        total += e
    for i in range(n):
        memory[index(z + i * ld)] *= 1 / (N * total)
    memory[index(z + label * ld)] -= 1 / N
    return value + math.log(total)


def _cross_entropy(weighted: bool) -> Callable[..., Any]:
    @device
    def loss(c, n, data, number, memory, z, ld, N):
        """−w Σ_i y_i log softmax(z)_i of sample `number`, whose n outputs lie at z, ld apart; z ← w (softmax(z) − y) / N."""
        top, first = memory[index(z)], number * (n + weighted)
        w = data.targets[index(first + n)] if weighted else 1.0
        for i in range(1, n):
            top = max(top, memory[index(z + i * ld)])
        value, total = 0.0, memory.dtype.type(0)
        for i in range(n):
            value += data.targets[index(first + i)] * (top - memory[index(z + i * ld)])
            e = pointwise.exp(memory[index(z + i * ld)] - top)
            memory[index(z + i * ld)] = e
            total += e
        for i in range(n):
            memory[index(z + i * ld)] = w * (memory[index(z + i * ld)] / total - data.targets[index(first + i)]) / N
        return w * (value + math.log(total))

    return loss
