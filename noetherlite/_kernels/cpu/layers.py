"""What a layer is made of: products with its weights, its activation, and the losses; samples are the contiguous axis."""

from __future__ import annotations

import math

from .. import layout, pointwise
from ..jit import compiled, inlined, merged
from .intrinsics import LANES, combine_block, correlate_block, window

# Vectors of samples in a block of four rows of outputs: their sums fill half of the 32 registers of AVX-512, or of 16.
WIDE = 4 if LANES == 8 else 2


@compiled
def copy(a, out):
    """Out = a. Assigning to a slice would be compiled together with the words of its error message, for a second."""
    for i in range(a.size):
        out[i] = a[i]


@compiled
def add(a, out):
    """Out += a."""
    for i in range(a.size):
        out[i] += a[i]


@merged
def combine(W, w, row, column, bias, n, m, A, a, T, Z, z):
    """Z[i] = W[bias + i] + Σ_k W[w + i·row + k·column] A[k] over rows of T samples; no bias where bias < 0.

    With (row, column) = (m, 1) this is W A + b, with (1, m) it is Wᵀ A. A and Z start at a and z.
    """
    lanes = LANES * 8 // A.itemsize
    wide = T - T % (WIDE * lanes)
    pairs = T - T % (2 * lanes)
    triple = (
        pairs - 2 * lanes if wide < pairs < T else pairs
    )  # an odd vector goes with a pair: alone it waits for itself
    whole = n - n % 4
    for i in range(0, whole, 4):
        shift = bias + i if bias >= 0 else bias
        for s in range(0, wide, WIDE * lanes):
            combine_block(4, WIDE, W, w + i * row, row, column, shift, A, a + s, m, T, Z, z + i * T + s)
        for s in range(wide, triple, 2 * lanes):
            combine_block(4, 2, W, w + i * row, row, column, shift, A, a + s, m, T, Z, z + i * T + s)
        if triple < pairs:
            combine_block(4, 3, W, w + i * row, row, column, shift, A, a + triple, m, T, Z, z + i * T + triple)
        elif pairs < T:
            combine_block(4, 1, W, w + i * row, row, column, shift, A, a + pairs, m, T, Z, z + i * T + pairs)
    left, row_w, row_z = n - whole, w + whole * row, z + whole * T
    shift = bias + whole if bias >= 0 else bias
    for s in range(0, pairs, 2 * lanes):
        if left == 3:
            combine_block(3, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
        elif left == 2:
            combine_block(2, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
        elif left == 1:
            combine_block(1, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
    for i in range(left if pairs < T else 0):
        own = shift + i if bias >= 0 else bias
        combine_block(1, 1, W, row_w + i * row, row, column, own, A, a + pairs, m, T, Z, row_z + i * T + pairs)


@inlined
def take(x, w, bias, n, N, first, T, Z, z):
    """Z[i, s] = x[w + iN + first + s] + b_i, the last sample repeated beyond N; no bias where bias < 0."""
    for i in range(n):
        row, out = window(x, w + i * N, N), window(Z, z + i * T, T)
        shift, count = x[bias + i] if bias >= 0 else x.dtype.type(0), min(T, N - first)
        for s in range(count):
            out[s] = row[first + s] + shift
        for s in range(count, T):
            out[s] = row[N - 1] + shift


@inlined
def put(fresh, D, d, n, N, first, T, G, g):
    """G[i, first + s] = D[i, s] for the samples there are, and 0 for those of other tiles where `fresh`."""
    for i in range(n):
        row, out = window(G, g + i * N, N), window(D, d + i * T, T)
        if fresh and T < N:
            row[:] = 0
        for s in range(min(T, N - first)):
            row[first + s] = out[s]


@inlined
def correlate(fresh, D, d, A, a, n, m, T, G, g):
    """G[i, k] += Σ_s D[i, s] A[k, s], or = where `fresh`; D, A and G start at d, a and g."""
    whole = n - n % 4
    for k in range(0, m - m % 4, 4):
        for i in range(0, whole, 4):
            correlate_block(4, 4, fresh, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        if n % 4 == 3:
            correlate_block(3, 4, fresh, D, d + whole * T, A, a + k * T, T, G, g + whole * m + k, m)
        elif n % 4 == 2:
            correlate_block(2, 4, fresh, D, d + whole * T, A, a + k * T, T, G, g + whole * m + k, m)
        elif n % 4 == 1:
            correlate_block(1, 4, fresh, D, d + whole * T, A, a + k * T, T, G, g + whole * m + k, m)
    for k in range(m - m % 4, m):
        for i in range(0, whole, 4):
            correlate_block(4, 1, fresh, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        for i in range(whole, n):
            correlate_block(1, 1, fresh, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)


@inlined
def each(f, c, z, a):
    """a = f(c, z)."""
    for s in range(z.size):
        a[s] = f(c, z[s])


@inlined
def each_in_place(f, c, z):
    """z ← f(c, z)."""
    for s in range(z.size):
        z[s] = f(c, z[s])


@inlined
def d_each(df, c, d, z, a):
    """z ← d · f′(c, z), with a = f(c, z)."""
    for s in range(z.size):
        z[s] = d[s] * df(c, z[s], a[s])


@inlined
def d_each_in_place(df, c, d, a):
    """a ← d · f′, a function of a = f(c, z)."""
    for s in range(a.size):
        a[s] = d[s] * df(c, a[s], a[s])


@merged
def activate(code, c, z, a):
    """a = σ(z), in the place of z where it can be; c is the layer's parameter, or β of the neuron whose samples these are."""
    if code == layout.LINEAR:
        each_in_place(pointwise.linear, c, z)
    elif code == layout.RELU:
        each_in_place(pointwise.relu, c, z)
    elif code == layout.LEAKY_RELU:
        each_in_place(pointwise.leaky_relu, c, z)
    elif code == layout.TANH:
        each_in_place(pointwise.tanh, c, z)
    elif code == layout.POLYNOMIAL:
        each(pointwise.polynomial, c, z, a)
    elif code == layout.REPU:
        each(pointwise.repu, c, z, a)
    else:
        each(pointwise.swish, c, z, a)


@merged
def d_activate(code, c, d, z, a):
    """z ← d · σ′(z), with a = σ(z)."""
    if code == layout.LINEAR:
        d_each_in_place(pointwise.d_linear, c, d, z)
    elif code == layout.RELU:
        d_each_in_place(pointwise.d_relu, c, d, z)
    elif code == layout.LEAKY_RELU:
        d_each_in_place(pointwise.d_leaky_relu, c, d, z)
    elif code == layout.TANH:
        d_each_in_place(pointwise.d_tanh, c, d, z)
    elif code == layout.POLYNOMIAL:
        d_each(pointwise.d_polynomial, c, d, z, a)
    elif code == layout.REPU:
        d_each(pointwise.d_repu, c, d, z, a)
    else:
        d_each(pointwise.d_swish, c, d, z, a)


@merged
def add_sums(fresh, D, d, n, T, G, g):
    """G[i] += Σ_s D[i, s], or = where `fresh`."""
    for i in range(n):
        row, total = window(D, d + i * T, T), D.dtype.type(0)
        for s in range(T):
            total += row[s]
        G[g + i] = total if fresh else G[g + i] + total


@merged
def nll(Z, labels, n, T, count, N, scratch):
    """Σ_s −log softmax(z)_y / N over the first `count` samples; z ← (softmax(z) − 1_y) / N, zero for the others."""
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


@inlined
def mse(Z, targets, n, T, count, N):
    """Σ_s |z − y|² / 2N over the first `count` samples; z ← (z − y) / N, zero for the others."""
    loss = 0.0
    for i in range(n):
        z, y = window(Z, i * T, T), window(targets, i * T, T)
        for s in range(T):
            difference = z[s] - y[s] if s < count else 0.0
            loss += difference * difference
            z[s] = difference / N
    return loss / (2 * N)
