"""The matrices of y made orthogonal by any number of threads, which meet after each stage: all matrices at once.

All arguments are numbers but `a`, a run's vectors, flat: it holds M (n, m) from `at` on, its neighbours in a column `row` apart and
those in a row `column`, n × n matrices from `left` on, and the result from `out` on. Thread `first` of `stride` takes every
stride-th piece.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import schedule
from ..orthogonal import COEFFICIENTS, scale
from ..rules import Method, Orthogonalisation
from .jit import device, index

_A, _B, _C = COEFFICIENTS


@device
def size_of_rows(at, row, n, column, m, a, out, first, stride):
    """out[i] = |a_i| of row i of n; rows are `row` apart and their m numbers `column`."""
    i = first
    while i < n:
        total = 0.0
        for k in range(m):
            number = a[index(at + i * row + k * column)]
            total += np.float64(number) * number
        a[index(out + i)] = math.sqrt(total)
        i += stride


@device
def normalise(at, size, sizes, n, eps, a, first, stride):
    """M/(|M| + ε), the `size` numbers of which begin at `at`, from the sizes of its n rows."""
    total = 0.0
    for i in range(n):
        total += np.float64(a[index(sizes + i)]) * a[index(sizes + i)]
    factor = a.dtype.type(1 / (math.sqrt(total) + eps))
    j = first
    while j < size:
        a[index(at + j)] = factor * a[index(at + j)]
        j += stride


@device
def gram(at, row, n, column, m, a, out, first, stride):
    """A = MMᵀ, (n, n), from `out` on."""
    item = first
    while item < n * n:
        i, j, total = item // n, item % n, a.dtype.type(0)
        for k in range(m):
            total += a[index(at + i * row + k * column)] * a[index(at + j * row + k * column)]
        a[index(out + item)] = total
        item += stride


@device
def polynomial(at, n, a, out, first, stride):
    """B = bA + cA²."""
    item = first
    while item < n * n:
        i, j, total = item // n, item % n, a.dtype.type(0)
        for k in range(n):
            total += a[index(at + i * n + k)] * a[index(at + k * n + j)]
        a[index(out + item)] = a.dtype.type(_B) * a[index(at + item)] + a.dtype.type(_C) * total
        item += stride


@device
def product(left, at, row, n, column, m, a, out, first, stride):
    """aM + BM."""
    item = first
    while item < n * m:
        i, k = item // m, item % m
        total = a.dtype.type(_A) * a[index(at + i * row + k * column)]
        for j in range(n):
            total += a[index(left + i * n + j)] * a[index(at + j * row + k * column)]
        a[index(out + i * row + k * column)] = total
        item += stride


@device
def scaled(at, size, factor, a, out, first, stride):
    """Out = factor M."""
    j = first
    while j < size:
        a[index(out + j)] = a.dtype.type(factor) * a[index(at + j)]
        j += stride


def of(method: Method) -> Any:
    """Return stage, number of the iteration, algorithm, the run's arrays, first, stride ↦ None; nothing where a method has none."""
    rules = [rule for rule in method.rules if isinstance(rule, Orthogonalisation)]
    if not rules:

        @device
        def nothing(stage, i, algorithm, run, first, stride):
            pass

        return nothing
    constant = rules[0].eps

    @device
    def orthogonalise(stage, i, algorithm, run, first, stride):
        """A stage of all matrices: those of iteration i are in y where that is even, else in the work, at the same place."""
        a, P, matrices = run.vectors, run.x.size, algorithm.matrices
        before = P * (schedule.WORK if i % 2 else schedule.Y)
        after = P * (schedule.Y if i % 2 else schedule.WORK)
        for l in range(matrices.shape[0]):
            start, rows, columns = matrices[l, 0], matrices[l, 1], matrices[l, 2]
            A = P * schedule.WORK + matrices[l, 3]
            n, m = min(rows, columns), max(rows, columns)
            row, column = (1, columns) if rows > columns else (columns, 1)
            B, at = A + n * n, before + start
            if stage == schedule.SIZES:
                size_of_rows(at, row, n, column, m, a, A, first, stride)
            elif stage == schedule.NORMALISED:
                normalise(at, n * m, A, n, algorithm.constants[constant], a, first, stride)
            elif stage == schedule.GRAM:
                gram(at, row, n, column, m, a, A, first, stride)
            elif stage == schedule.POLYNOMIAL:
                polynomial(A, n, a, B, first, stride)
            elif stage == schedule.PRODUCT:
                product(B, at, row, n, column, m, a, after + start, first, stride)
            else:
                scaled(at, n * m, scale(rows, columns), a, after + start, first, stride)

    return orthogonalise
