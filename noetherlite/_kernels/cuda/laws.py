"""The forms behind every conserved quantity, as in cpu/laws.py, by any number of threads.

A component of a law is the sum of pieces, each computed by one thread: as many as make neighbouring threads read
neighbouring numbers. A form leaves its pieces in a slot, and who reads the slot adds them up in their order.
"""

from __future__ import annotations

from .. import layout, schedule
from ..forms import absolute, affine_size, block, incoming_size, product, row_product, scaling_size, turned
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
    kind, at = laws.kind[l], block(laws, l)
    if kind == layout.SCALING:
        return scaling(at, laws.degree[l], c, n // 2, j, a, b)
    if kind == layout.LINEAR_LAYER:
        return linear_layer(at, j, a, b)
    if kind == layout.ROTATION:
        return rotation(at, j, a, b)
    return affine(laws.G, at.n, c, n, a, b) if kind == layout.AFFINE else 0.0


@device
def scaling(at, p, c, half, i, a, b):
    """Of ⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ [− β_a β_b] of neuron i: incoming weights in the first half of the pieces."""
    total = 0.0
    if c < half:
        for k in range(at.W + i * at.m + c, at.W + (i + 1) * at.m, half):
            total += product(a, k, b, k)
        if c == 0 and at.bias >= 0:
            total += product(a, at.bias + i, b, at.bias + i)
        if c == 0 and at.beta >= 0:
            total -= product(a, at.beta + i, b, at.beta + i)
        return total
    for k in range(at.U + (c - half) * at.n + i, at.U + at.q * at.n, half * at.n):
        total += product(a, k, b, k)
    return -p * total


@device
def linear_layer(at, entry, a, b):
    """Entry (i, j) of b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U."""
    i, j = entry // at.n, entry % at.n
    total = 0.0
    for k in range(at.m):
        total += product(b, at.W + i * at.m + k, a, at.W + j * at.m + k)
    if at.bias >= 0:
        total += product(b, at.bias + i, a, at.bias + j)
    for k in range(at.U, at.U + at.q * at.n, at.n):
        total -= product(a, k + i, b, k + j)
    return total


@device
def rotation(at, entry, a, b):
    """Entry (i, j) of a_W₁ᵀ b_W₁ − b_W₁ᵀ a_W₁."""
    i, j = at.W + entry // at.n, at.W + entry % at.n
    total = 0.0
    for k in range(0, at.m * at.n, at.n):
        total += turned(a, b, k + i, k + j)
    return total


@device
def affine(G, g, c, n, a, b):
    """Of ⟨Ga, b⟩ every n-th row, from the c-th on."""
    total = 0.0
    for i in range(c, a.size, n):
        total += row_product(G, g, i, a) * b[i]
    return total


@device
def generator(laws, l, c, n, j, x):
    """The c-th of n pieces of Σ_i |g(x)_i| of component j of law l, before what cancels within an entry."""
    kind, at = laws.kind[l], block(laws, l)
    total = 0.0
    if kind == layout.AFFINE:
        for i in range(c, x.size, n):
            total += affine_size(laws, at.n, i, x)
    elif c > 0:
        total = 0.0
    elif kind == layout.SCALING:
        total = scaling_size(at, laws.degree[l], j, x)
    elif kind == layout.LINEAR_LAYER:
        total = absolute(x, at.U + j // at.n, at.q, at.n) + incoming_size(at, j % at.n, x)
    elif kind == layout.ROTATION:
        row, column = j // at.n, j % at.n
        if row != column:
            total = absolute(x, at.W + row, at.m, at.n) + absolute(x, at.W + column, at.m, at.n)
    else:
        total = float(at.m)
    return total


@device
def translation(laws, l, c, n, j, b):
    """The c-th of n pieces of component j of T(b) of law l."""
    total, at = 0.0, block(laws, l)
    if laws.kind[l] == layout.TRANSLATION:
        for i in range(at.m):
            total += b[at.W + i * at.n + j]
    elif laws.kind[l] == layout.AFFINE:
        for i in range(c, b.size, n):
            total += laws.xi[at.n, i] * b[i]
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
