"""The forms behind every conserved quantity: B(a, b) = ⟨Ga, b⟩ and T(b) = ⟨ξ, b⟩, one number per law component.

quantity Q = ½B(x, x) + T(x),   charge J = B(x, v) + T(v),   source S = B(v, v).
"""

from __future__ import annotations

import numpy as np

from .. import layout
from ..jit import compiled, inlined
from .intrinsics import LANES, four_products, window

PAIR, CHARGE, QUANTITY = np.int64(0), np.int64(1), np.int64(2)  # not literals, each of which would be compiled for


@compiled
def dot(a, b):
    """⟨a, b⟩ in doubles."""
    total = 0.0
    for k in range(a.size):
        total += np.float64(a[k]) * b[k]
    return total


@inlined
def scaling(where, p, a, b, out):
    """Per neuron ⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ [− β_a β_b] (GU Tables 2 and 3)."""
    n, W, m, bias, beta, U, q, C = where[0], where[1], where[2], where[3], where[4], where[5], where[6], where[7]
    fours = n - n % 4 if m >= LANES else 0
    for i in range(0, fours, 4):
        four_products(a, W + i * m, b, C + i * m, m, out, i)
    for i in range(fours, n):
        out[i] = dot(window(a, W + i * m, m), window(b, C + i * m, m))
    if bias >= 0:
        for i in range(n):
            out[i] += np.float64(a[bias + i]) * b[bias + i]
    if beta >= 0:
        for i in range(n):
            out[i] -= np.float64(a[beta + i]) * b[beta + i]
    for j in range(q):
        ua, ub = window(a, U + j * n, n), window(b, U + j * n, n)
        for i in range(n):
            out[i] -= p * (np.float64(ua[i]) * ub[i])


@inlined
def linear_layer(where, a, b, out):
    """n_h×n_h: b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U, so that B(x, v) = ẆWᵀ + ḃbᵀ − UᵀU̇ (GU Table 4)."""
    n, W, m, bias, U, q, C = where[0], where[1], where[2], where[3], where[5], where[6], where[7]
    for i in range(n):
        wb = window(b, C + i * m, m)
        for j in range(n):
            total = dot(wb, window(a, W + j * m, m))
            out[i * n + j] = total + np.float64(b[bias + i]) * a[bias + j] if bias >= 0 else total
    for k in range(q):
        ua, ub = window(a, U + k * n, n), window(b, U + k * n, n)
        for i in range(n):
            row = window(out, i * n, n)
            for j in range(n):
                row[j] -= np.float64(ua[i]) * ub[j]


@inlined
def rotation(where, a, b, out):
    """n_0×n_0, skew: a_W₁ᵀ b_W₁ − b_W₁ᵀ a_W₁, so that B(x, v) = W₁ᵀẆ₁ − Ẇ₁ᵀW₁ (GU Table 5)."""
    n, W, m = where[0], where[1], where[2]
    out[:] = 0
    for k in range(m):
        wa, wb = window(a, W + k * n, n), window(b, W + k * n, n)
        for i in range(n):
            row = window(out, i * n, n)
            for j in range(n):
                row[j] += np.float64(wa[i]) * wb[j] - np.float64(wb[i]) * wa[j]


@inlined
def affine(G, a, b):
    """⟨Ga, b⟩."""
    total = 0.0
    for i in range(a.size):
        row = window(G, i * a.size, a.size)
        product = 0.0
        for j in range(a.size):
            product += row[j] * a[j]
        total += product * b[i]
    return total


@inlined
def add_start(where, Z0, x, out):
    """Out += ⟨z_i(0), c_i⟩ of each neuron, or ⟨z_i(0), c_j⟩ of each pair where `out` has n_h² components."""
    n, m, C = where[0], where[2], where[7]
    for i in range(n):
        z = window(Z0, i * m, m)
        if out.size == n:
            out[i] += dot(z, window(x, C + i * m, m))
            continue
        for j in range(n):
            out[i * n + j] += dot(z, window(x, C + j * m, m))


@compiled
def forms(what, laws, a, b, out):
    """Out = B(a, b) (PAIR), B(a, b) + T(b) (CHARGE), or ½B(a, b) + T(b) (QUANTITY) of every law.

    One function for the three, so that the forms are compiled once.
    """
    for l in range(laws.kind.size):
        part = window(out, laws.start[l], laws.start[l + 1] - laws.start[l])
        where = window(laws.where, 8 * l, 8)
        kind = laws.kind[l]
        if kind == layout.SCALING:
            scaling(where, laws.degree[l], a, b, part)
        elif kind == layout.LINEAR_LAYER:
            linear_layer(where, a, b, part)
        elif kind == layout.ROTATION:
            rotation(where, a, b, part)
        elif kind == layout.AFFINE:
            part[0] = affine(window(laws.G, where[0] * a.size * a.size, a.size * a.size), a, b)
        else:
            part[:] = 0
        if what == QUANTITY:
            if where[1] != where[7]:
                add_start(where, laws.Z0, b, part)
            for j in range(part.size):
                part[j] *= 0.5
        if what != PAIR and kind == layout.TRANSLATION:
            n, W, m = where[0], where[1], where[2]
            for i in range(m):
                for j in range(n):
                    part[j] += b[W + i * n + j]
        elif what != PAIR and kind == layout.AFFINE:
            part[0] += dot(window(laws.xi, where[0] * b.size, b.size), b)


@compiled
def absolute(x, start, n, stride):
    """Σ |x_i| of n entries from `start` on."""
    total = 0.0
    for i in range(start, start + n * stride, stride):
        total += abs(x[i])
    return total


@compiled
def generators(laws, x, out):
    """Out = |g_c| = Σ_i |g_c(x)_i| of every component c, before what cancels within an entry."""
    for l in range(laws.kind.size):
        part = window(out, laws.start[l], laws.start[l + 1] - laws.start[l])
        where = window(laws.where, 8 * l, 8)
        n, W, m, bias, beta, U, q = where[0], where[1], where[2], where[3], where[4], where[5], where[6]
        kind = laws.kind[l]
        if kind == layout.SCALING:
            for i in range(n):
                part[i] = absolute(x, W + i * m, m, 1) + laws.degree[l] * absolute(x, U + i, q, n)
                part[i] += absolute(x, bias + i, 1, 1) if bias >= 0 else 0.0
                part[i] += absolute(x, beta + i, 1, 1) if beta >= 0 else 0.0
        elif kind == layout.LINEAR_LAYER or kind == layout.ROTATION:
            part[:] = 0
            for i in range(n):
                if kind == layout.ROTATION:
                    row = column = absolute(x, W + i, m, n)
                else:
                    row, column = absolute(x, U + i, q, n), absolute(x, W + i * m, m, 1)
                    column += absolute(x, bias + i, 1, 1) if bias >= 0 else 0.0
                for j in range(n):
                    part[i * n + j] += row
                    part[j * n + i] += column
            if kind == layout.ROTATION:
                part[:: n + 1] = 0  # E_ii − E_ii
        elif kind == layout.TRANSLATION:
            part[:] = m
        else:
            P = x.size
            part[0] = absolute(window(laws.xi, where[0] * P, P), 0, P, 1)
            for i in range(P):
                for k in range(P):
                    part[0] += abs(laws.G[where[0], i, k] * x[k])


@inlined
def pair(laws, a, b, out):
    """Out = B(a, b) of every law."""
    forms(PAIR, laws, a, b, out)


@inlined
def charge(laws, x, v, out):
    """Out = J = B(x, v) + T(v) of every law."""
    forms(CHARGE, laws, x, v, out)


@inlined
def quantity(laws, x, out):
    """Out = Q = ½B(x, x) + T(x) of every law; meaningful where G is symmetric.

    In sample coordinates up to a constant, ½|W_1(0)|²: |w|² − |w(0)|² = ⟨z(0) + z, c⟩, the half of which is in B.
    """
    forms(QUANTITY, laws, x, x, out)
