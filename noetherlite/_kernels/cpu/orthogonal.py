"""The matrices of a vector made orthogonal, one after the other: products by BLAS where they are large, else by loops."""

from __future__ import annotations

import math

import numpy as np

from ..jit import inlined, merged
from ..orthogonal import COEFFICIENTS, STEPS, scale
from .intrinsics import window
from .steps import norm_squared

_A, _B, _C = COEFFICIENTS
# Rows and columns from which products go through BLAS.
LARGE = 8


@merged
def add_multiple(factor, a, out):
    """Out += factor a."""
    for i in range(a.size):
        out[i] += factor * a[i]


@inlined
def gram(M, n, m, A):
    """A = MMᵀ of an (n, m) matrix, or MᵀM where it is tall."""
    if n > m:
        A[:] = 0
        for k in range(n):
            row = window(M, k * m, m)
            for i in range(m):
                add_multiple(row[i], row, window(A, i * m, m))
        return
    for i in range(n):
        for j in range(i + 1):
            left, right, total = window(M, i * m, m), window(M, j * m, m), M.dtype.type(0)
            for k in range(m):
                total += left[k] * right[k]
            A[i * n + j] = A[j * n + i] = total


@inlined
def polynomial(A, n, B):
    """B = bA + cA²."""
    b, c = A.dtype.type(_B), A.dtype.type(_C)
    for i in range(n):
        row, out = window(A, i * n, n), window(B, i * n, n)
        for j in range(n):
            out[j] = b * row[j]
        for k in range(n):
            add_multiple(c * row[k], window(A, k * n, n), out)


@inlined
def product(B, M, n, m, out):
    """Out = aM + BM, or aM + MB where M is tall."""
    a = M.dtype.type(_A)
    for i in range(n):
        row, new = window(M, i * m, m), window(out, i * m, m)
        for j in range(m):
            new[j] = a * row[j]
        if n > m:
            for k in range(m):
                add_multiple(row[k], window(B, k * m, m), new)
        else:
            for k in range(n):
                add_multiple(B[i * n + k], window(M, k * m, m), new)


@inlined
def by_blas(M, n, m, A, B, out):
    """The three of them."""
    r = min(n, m)
    a, b, c = M.dtype.type(_A), M.dtype.type(_B), M.dtype.type(_C)
    X, first, second, Y = M.reshape(n, m), A.reshape(r, r), B.reshape(r, r), out.reshape(n, m)
    if n > m:
        np.dot(X.T, X, first)
    else:
        np.dot(X, X.T, first)
    np.dot(first, first, second)
    for i in range(r * r):
        B[i] = b * A[i] + c * B[i]
    if n > m:
        np.dot(X, second, Y)
    else:
        np.dot(second, X, Y)
    for i in range(n * m):
        out[i] += a * M[i]


@inlined
def orthogonalise(matrices, eps, y, work):
    """Replace the matrices of y, whose starts, rows, columns and places in `work` are given."""
    for l in range(matrices.shape[0]):
        start, n, m, place = matrices[l, 0], matrices[l, 1], matrices[l, 2], matrices[l, 3]
        r = min(n, m)
        M, other = window(y, start, n * m), window(work, start, n * m)
        A, B = window(work, place, r * r), window(work, place + r * r, r * r)
        factor = y.dtype.type(1 / (math.sqrt(norm_squared(M)) + eps))
        for i in range(n * m):
            M[i] *= factor
        for _ in range(STEPS):
            if r >= LARGE:
                by_blas(M, n, m, A, B, other)
            else:
                gram(M, n, m, A)
                polynomial(A, r, B)
                product(B, M, n, m, other)
            M, other = other, M
        factor, out = y.dtype.type(scale(n, m)), window(y, start, n * m)
        for i in range(n * m):
            out[i] = factor * M[i]
