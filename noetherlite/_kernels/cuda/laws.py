"""The forms behind every conserved quantity, as in cpu/laws.py, by any number of threads.

A component of a law is the sum of pieces, each computed by one thread: as many as make neighbouring threads read
neighbouring numbers. A form leaves its pieces in a slot, and who reads the slot adds them up in their order.
"""

from __future__ import annotations

from .. import layout, schedule
from ..forms import absolute, affine_size, block, incoming_size, product, row_product, scaling_size, turned
from .jit import device, index
from .network import divided


@device
def form(what, laws, tables, a, b, slot, pieces, first, stride):
    """Leave the pieces of B(a, b) (PAIR), B(a, b) + T(b) (CHARGE), ½B(a, b) + T(b) (QUANTITY) or |g_c(a)| (GENERATOR) in `slot`.

    `what` is one of these, `laws` a layout.Laws and `tables` a Tables; a and b are (P,), `pieces` (SLOTS tables.slot,).
    """
    for l in range(laws.kind.size):
        begin = slot * tables.slot + tables.piece[l]
        size, n = laws.start[l + 1] - laws.start[l], tables.pieces[l]
        item, by_rows = first, n * size // 2 if laws.kind[l] == layout.SCALING else 0
        while item < n * size:
            if item < by_rows:  # neighbours are pieces of one neuron
                j, c = divided(item, n // 2)
            else:
                c, j = divided(item, size)
            if what == schedule.GENERATOR:
                value = generator(laws, l, c, n, j, a)
            else:
                value = piece(laws, l, c, n, j, a, b)
                value = 0.5 * value if what == schedule.QUANTITY else value
                if what != schedule.PAIR:
                    value += translation(laws, l, c, n, j, b)
            pieces[index(begin + c * size + j)] = value
            item += stride


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
        k = at.W + i * at.m + c
        while k < at.W + (i + 1) * at.m:
            total += product(a, index(k), b, index(k))
            k += half
        if c == 0 and at.bias >= 0:
            total += product(a, index(at.bias + i), b, index(at.bias + i))
        if c == 0 and at.beta >= 0:
            total -= product(a, index(at.beta + i), b, index(at.beta + i))
        return total
    k = at.U + (c - half) * at.n + i
    while k < at.U + at.q * at.n:
        total += product(a, index(k), b, index(k))
        k += half * at.n
    return -p * total


@device
def linear_layer(at, entry, a, b):
    """Entry (i, j) of b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U."""
    i, j = divided(entry, at.n)
    total = 0.0
    k = 0
    while k < at.m:
        total += product(b, index(at.W + i * at.m + k), a, index(at.W + j * at.m + k))
        k += 1
    if at.bias >= 0:
        total += product(b, index(at.bias + i), a, index(at.bias + j))
    for r in range(at.q):
        total -= product(a, index(at.U + r * at.n + i), b, index(at.U + r * at.n + j))
    return total


@device
def rotation(at, entry, a, b):
    """Entry (i, j) of a_W₁ᵀ b_W₁ − b_W₁ᵀ a_W₁."""
    i, j = divided(entry, at.n)
    total = 0.0
    for r in range(at.m):
        total += turned(a, b, index(at.W + r * at.n + i), index(at.W + r * at.n + j))
    return total


@device
def affine(G, g, c, n, a, b):
    """Of ⟨Ga, b⟩ every n-th row, from the c-th on."""
    total = 0.0
    i = c
    while i < a.size:
        total += row_product(G, g, i, a) * b[index(i)]
        i += n
    return total


@device
def generator(laws, l, c, n, j, x):
    """The c-th of n pieces of Σ_i |g(x)_i| of component j of law l, before what cancels within an entry."""
    kind, at = laws.kind[l], block(laws, l)
    total = 0.0
    if kind == layout.AFFINE:
        i = c
        while i < x.size:
            total += affine_size(laws, at.n, i, x)
            i += n
    elif c > 0:
        total = 0.0
    elif kind == layout.SCALING:
        total = scaling_size(at, laws.degree[l], j, x)
    elif kind == layout.LINEAR_LAYER:
        i, k = divided(j, at.n)
        total = absolute(x, at.U + i, at.q, at.n) + incoming_size(at, k, x)
    elif kind == layout.ROTATION:
        row, column = divided(j, at.n)
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
            total += b[index(at.W + i * at.n + j)]
    elif laws.kind[l] == layout.AFFINE:
        i = c
        while i < b.size:
            total += laws.xi[at.n, index(i)] * b[index(i)]
            i += n
    return total


@device
def total(laws, tables, slot, l, j, pieces):
    """Component j of law l of the form in `slot`."""
    size = laws.start[l + 1] - laws.start[l]
    at = slot * tables.slot + tables.piece[l] + j
    value = 0.0
    c = 0
    while c < tables.pieces[l]:
        value += pieces[index(at + c * size)]
        c += 1
    return value
