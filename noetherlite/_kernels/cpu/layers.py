"""What a layer is made of beside its activation: products with its weights, and sums; samples are the contiguous axis."""

from __future__ import annotations

import numpy as np

from ..jit import addressed, inlined, merged
from .intrinsics import LANES, combine_block, correlate_block, window

# Vectors of samples in a block of four rows of outputs: their sums fill half of the 32 registers of AVX-512, or of 16.
WIDE = 4 if LANES == 8 else 2


# Samples at the most of which D XXᵀ takes two threads of BLAS twice as long as our loops.
FEW = 64
# Products of a layer; SAMPLES is WEIGHTS of inputs that lie sample by sample.
FORWARD, WEIGHTS, BACKWARD, SAMPLES = range(4)


@addressed
def product_by_blas(which, a, b, out, n, m, T):
    """Out = WA (FORWARD), DAᵀ (WEIGHTS) or WᵀD (BACKWARD), all flat: W (n, m), A (m, T), D (n, T)."""
    if which == FORWARD:
        np.dot(a.reshape(n, m), b.reshape(m, T), out.reshape(n, T))
    elif which == WEIGHTS:
        np.dot(a.reshape(n, T), b.reshape(m, T).T, out.reshape(n, m))
    else:
        np.dot(a.reshape(n, m).T, b.reshape(n, T), out.reshape(m, T))


@addressed
def copy(a, out):
    """Out = a. Assigning to a slice would be compiled together with the words of its error message, for a second."""
    for i in range(a.size):
        out[i] = a[i]


@inlined
def fill(value, out):
    """Out_j = value. Assigning to a slice takes ten times as long where there are few components."""
    for j in range(out.size):
        out[j] = value


@addressed
def add(a, out):
    """Out += a."""
    for i in range(a.size):
        out[i] += a[i]


@merged
def combine(W, w, row, column, bias, n, m, A, a, T, Z, z):
    """Z[i] = W[bias + i] + Σ_k W[w + i·row + k·column] A[k] over rows of T samples; no bias where bias < 0.

    With (row, column) = (m, 1) this is W A + b, with (1, m) it is Wᵀ A. All arrays are flat: W holds an n × m matrix or its
    transpose from w on, A (m, T) from a on, Z (n, T) from z on.
    """
    lanes = LANES * 8 // A.itemsize
    wide = T - T % (WIDE * lanes)
    pairs = T - T % (2 * lanes)
    triple = (
        pairs - 2 * lanes if wide < pairs < T else pairs
    )  # an odd vector goes with a pair: alone it waits for itself
    fours = n - n % 4
    for i in range(0, fours, 4):
        shift = bias + i if bias >= 0 else bias
        for s in range(0, wide, WIDE * lanes):
            combine_block(4, WIDE, W, w + i * row, row, column, shift, A, a + s, m, T, Z, z + i * T + s)
        for s in range(wide, triple, 2 * lanes):
            combine_block(4, 2, W, w + i * row, row, column, shift, A, a + s, m, T, Z, z + i * T + s)
        if triple < pairs:
            combine_block(4, 3, W, w + i * row, row, column, shift, A, a + triple, m, T, Z, z + i * T + triple)
        elif pairs < T:
            combine_block(4, 1, W, w + i * row, row, column, shift, A, a + pairs, m, T, Z, z + i * T + pairs)
    left, row_w, row_z = n - fours, w + fours * row, z + fours * T
    shift = bias + fours if bias >= 0 else bias
    for s in range(0, pairs, 2 * lanes):
        if left == 3:
            combine_block(3, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
        elif left == 2:
            combine_block(2, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
        elif left == 1:
            combine_block(1, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
    for i in range(left if pairs < T else 0):
        at = shift + i if bias >= 0 else bias
        combine_block(1, 1, W, row_w + i * row, row, column, at, A, a + pairs, m, T, Z, row_z + i * T + pairs)


@inlined
def take(x, w, bias, n, N, chosen, first, T, Z, z):
    """Z[i, s] = x[w + iN + sample] + b_i of T samples, the last repeated beyond the end; no bias where bias < 0.

    Samples are those with numbers `first` and after, or of minibatches those in `chosen` from `first` on. x is flat and holds
    an (n, N) matrix from w on and b (n,) from `bias` on, Z is flat and gets an (n, T) one from z on.
    """
    drawn = chosen.size > 0
    count = min(T, (chosen.size if drawn else N) - first)
    for i in range(n):
        row, out = window(x, w + i * N, N), window(Z, z + i * T, T)
        shift = x[bias + i] if bias >= 0 else x.dtype.type(0)
        if drawn:
            for s in range(count):
                out[s] = row[chosen[first + s]] + shift
        else:
            for s in range(count):
                out[s] = row[first + s] + shift
        for s in range(count, T):
            out[s] = out[count - 1]


@inlined
def put(fresh, D, d, n, N, chosen, first, T, G, g):
    """G[i, sample] = D[i, s] for the samples there are, see `take`, and 0 for all others where `fresh`.

    D is flat and holds an (n, T) matrix from d on, G is flat and gets a part of an (n, N) one from g on.
    """
    drawn = chosen.size > 0
    count = min(T, (chosen.size if drawn else N) - first)
    for i in range(n):
        row, out = window(G, g + i * N, N), window(D, d + i * T, T)
        if fresh and (drawn or T < N):
            row[:] = 0
        if drawn:
            for s in range(count):
                row[chosen[first + s]] = out[s]
        else:
            for s in range(count):
                row[first + s] = out[s]


@inlined
def correlate(fresh, D, d, A, a, n, m, T, G, g):
    """G[i, k] += Σ_s D[i, s] A[k, s], or = where `fresh`.

    All arrays are flat: D holds an (n, T) matrix from d on, A an (m, T) one from a on, G gets an (n, m) one from g on.
    """
    fours = n - n % 4
    for k in range(0, m - m % 4, 4):
        for i in range(0, fours, 4):
            correlate_block(4, 4, fresh, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        if n % 4 == 3:
            correlate_block(3, 4, fresh, D, d + fours * T, A, a + k * T, T, G, g + fours * m + k, m)
        elif n % 4 == 2:
            correlate_block(2, 4, fresh, D, d + fours * T, A, a + k * T, T, G, g + fours * m + k, m)
        elif n % 4 == 1:
            correlate_block(1, 4, fresh, D, d + fours * T, A, a + k * T, T, G, g + fours * m + k, m)
    for k in range(m - m % 4, m):
        for i in range(0, fours, 4):
            correlate_block(4, 1, fresh, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        for i in range(fours, n):
            correlate_block(1, 1, fresh, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)


@merged
def add_sums(fresh, D, d, n, T, G, g):
    """G[i] += Σ_s D[i, s], or = where `fresh`."""
    for i in range(n):
        row, total = window(D, d + i * T, T), D.dtype.type(0)
        for s in range(T):
            total += row[s]
        G[g + i] = total if fresh else G[g + i] + total


@addressed
def product_of_few(which, a, b, out, n, m, T):
    """`product_by_blas`, and DA with A (T, m) (SAMPLES), of few samples by our loops: for minibatches in sample coordinates."""
    if which != SAMPLES:
        product_by_blas(which, a, b, out, n, m, T)
    elif T <= FEW and m % (LANES * 8 // a.itemsize) == 0:
        combine(a, np.int64(0), T, np.int64(1), np.int64(-1), n, T, b, np.int64(0), m, out, np.int64(0))
    else:
        product_by_blas(np.int64(FORWARD), a, b, out, n, T, m)
