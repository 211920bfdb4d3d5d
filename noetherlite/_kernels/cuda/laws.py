"""The forms behind every conserved quantity, as in cpu_laws, by any number of threads.

A component of a law is the sum of pieces, each computed by one thread: as many as make neighbouring threads read
neighbouring numbers. A form leaves its pieces in a slot, and who reads the slot adds them up in their order.
"""

from __future__ import annotations

import numpy as np

from .. import layout
from . import schedule
from .jit import device


@device
def form(what, laws, tables, a, b, slot, pieces, first, stride):
    """Leave the pieces of B(a, b) (PAIR), B(a, b) + T(b) (CHARGE), ½B(a, b) + T(b) (QUANTITY) or |g_c(a)| (GENERATOR) in `slot`."""
    for l in range(laws.kind.size):
        begin = slot * tables.slot + tables.piece[l]
        size, n = laws.start[l + 1] - laws.start[l], tables.pieces[l]
        for item in range(first, n * size, stride):
            if laws.kind[l] == layout.SCALING and item < size * n // 2:  # rows: neighbours are pieces of one neuron
                c, j = item % (n // 2), item // (n // 2)
            else:
                c, j = item // size, item % size
            if what == schedule.GENERATOR:
                value = generator(laws, l, c, n, j, a)
            else:
                value = piece(laws, l, c, n, j, a, b)
                value = 0.5 * value if what == schedule.QUANTITY else value
                if what != schedule.PAIR:
                    value += translation(laws, l, c, n, j, b)
            pieces[begin + c * size + j] = value


@device
def piece(laws, l, c, n, j, a, b):
    """The c-th of n pieces of component j of B(a, b) of law l."""
    kind = laws.kind[l]
    if kind == layout.SCALING:
        return scaling(laws, l, c, n // 2, j, a, b)
    if kind == layout.LINEAR_LAYER:
        return linear_layer(laws, l, j, a, b)
    if kind == layout.ROTATION:
        return rotation(laws, l, j, a, b)
    return affine(laws, l, c, n, a, b) if kind == layout.AFFINE else 0.0


@device
def scaling(laws, l, c, half, i, a, b):
    """Of ⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ [− β_a β_b] of neuron i: incoming weights in the first half of the pieces."""
    n, W, m, bias, beta = laws.where[l, 0], laws.where[l, 1], laws.where[l, 2], laws.where[l, 3], laws.where[l, 4]
    U, q = laws.where[l, 5], laws.where[l, 6]
    total = 0.0
    if c < half:
        for k in range(c, m, half):
            total += np.float64(a[W + i * m + k]) * b[W + i * m + k]
        if c == 0 and bias >= 0:
            total += np.float64(a[bias + i]) * b[bias + i]
        if c == 0 and beta >= 0:
            total -= np.float64(a[beta + i]) * b[beta + i]
        return total
    for k in range(c - half, q, half):
        total += np.float64(a[U + k * n + i]) * b[U + k * n + i]
    return -laws.degree[l] * total


@device
def linear_layer(laws, l, entry, a, b):
    """Entry (i, j) of b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U."""
    n, W, m, bias = laws.where[l, 0], laws.where[l, 1], laws.where[l, 2], laws.where[l, 3]
    U, q = laws.where[l, 5], laws.where[l, 6]
    i, j = entry // n, entry % n
    total = 0.0
    for k in range(m):
        total += np.float64(b[W + i * m + k]) * a[W + j * m + k]
    if bias >= 0:
        total += np.float64(b[bias + i]) * a[bias + j]
    for k in range(q):
        total -= np.float64(a[U + k * n + i]) * b[U + k * n + j]
    return total


@device
def rotation(laws, l, entry, a, b):
    """Entry (i, j) of a_W₁ᵀ b_W₁ − b_W₁ᵀ a_W₁."""
    n, W, m = laws.where[l, 0], laws.where[l, 1], laws.where[l, 2]
    i, j = W + entry // n, W + entry % n
    total = 0.0
    for k in range(0, m * n, n):
        total += np.float64(a[k + i]) * b[k + j] - np.float64(b[k + i]) * a[k + j]
    return total


@device
def affine(laws, l, c, n, a, b):
    """Of ⟨Ga, b⟩ every n-th row, from the c-th on."""
    G = laws.where[l, 0]
    total = 0.0
    for i in range(c, a.size, n):
        product = 0.0
        for k in range(a.size):
            product += laws.G[G, i, k] * a[k]
        total += product * b[i]
    return total


@device
def generator(laws, l, c, n, j, x):
    """The c-th of n pieces of Σ_i |g(x)_i| of component j of law l, before what cancels within an entry."""
    kind, width, W, m = laws.kind[l], laws.where[l, 0], laws.where[l, 1], laws.where[l, 2]
    bias, beta, U, q = laws.where[l, 3], laws.where[l, 4], laws.where[l, 5], laws.where[l, 6]
    total = 0.0
    if kind == layout.AFFINE:
        for i in range(c, x.size, n):
            total += abs(laws.xi[width, i])
            for k in range(x.size):
                total += abs(laws.G[width, i, k] * x[k])
    elif c > 0:
        total = 0.0
    elif kind == layout.SCALING:
        total += absolute(x, W + j * m, m, 1) + laws.degree[l] * absolute(x, U + j, q, width)
        total += absolute(x, bias + j, 1, 1) if bias >= 0 else 0.0
        total += absolute(x, beta + j, 1, 1) if beta >= 0 else 0.0
    elif kind == layout.LINEAR_LAYER:
        row, column = j // width, j % width
        total += absolute(x, U + row, q, width) + absolute(x, W + column * m, m, 1)
        total += absolute(x, bias + column, 1, 1) if bias >= 0 else 0.0
    elif kind == layout.ROTATION:
        row, column = j // width, j % width
        if row != column:
            total += absolute(x, W + row, m, width) + absolute(x, W + column, m, width)
    else:
        total += m
    return total


@device
def absolute(x, start, n, stride):
    """Σ |x_i| of n entries from `start` on."""
    total = 0.0
    for i in range(start, start + n * stride, stride):
        total += abs(x[i])
    return total


@device
def translation(laws, l, c, n, j, b):
    """The c-th of n pieces of component j of T(b) of law l."""
    total = 0.0
    if laws.kind[l] == layout.TRANSLATION:
        width, W, m = laws.where[l, 0], laws.where[l, 1], laws.where[l, 2]
        for i in range(m):
            total += b[W + i * width + j]
    elif laws.kind[l] == layout.AFFINE:
        for i in range(c, b.size, n):
            total += laws.xi[laws.where[l, 0], i] * b[i]
    return total


@device
def total(laws, tables, slot, l, j, pieces):
    """Component j of law l of the form in `slot`."""
    size = laws.start[l + 1] - laws.start[l]
    at = slot * tables.slot + tables.piece[l] + j
    value = 0.0
    for c in range(tables.pieces[l]):
        value += pieces[at + c * size]
    return value
