"""Networks whose layers are all linear, by their end-to-end map: U is a function of P = W_L ⋯ W_1 and c = Σ_l W_L ⋯ W_{l+1} b_l alone.

So the samples go through one layer, that of the outer problem, whose loss is U(P, c) with the gradient E = ∂U/∂P, e = ∂U/∂c; and the
layers are multiplied by n_L rows instead of N samples: with the slope s_l of activation l, and s_L = 1,

    R_L = 1,  R_{l−1} = s_{l−1} R_l W_l  (n_L, n_{l−1});      C_1 = E,  C_{l+1} = s_l (C_l W_lᵀ + e b_lᵀ)  (n_L, n_l);
    P = R_0,  c = Σ_l R_l b_l;                                 ∂U/∂W_l = R_lᵀ C_l,  ∂U/∂b_l = R_lᵀ e.
"""

from __future__ import annotations

import numpy as np

from ..jit import addressed, compiled, inlined
from .intrinsics import LANES, combine_block, window
from .layers import fill
from .matrices import add_products_of_rows
from .network import LOSS, OUTER, VALUE, inputs_of, row_of
from .placed import float64_at, none_at, problem_at, tiles_at

# Vectors of columns in a block of four rows.
_WIDE = 4


@addressed
def combine_rows(W, w, row, column, n, m, A, a, T, Z, z):
    """Z[i] = Σ_k W[w + i·row + k·column] A[k] over rows of T numbers, for any T; all arrays are flat.

    The last block of four rows and the last vector of columns may lie over those before.
    """
    lanes, none = LANES * 8 // A.itemsize, np.int64(-1)
    if n < 4 or lanes > T:
        for i in range(n):
            out = window(Z, z + i * T, T)
            fill(0.0, out)
            for k in range(m):
                factor, right = W[w + i * row + k * column], window(A, a + k * T, T)
                for s in range(T):
                    out[s] += factor * right[s]
        return
    wide = T - T % (_WIDE * lanes)
    for s in range(0, wide, _WIDE * lanes):  # A's columns stay in the cache while all rows of Z take them
        for block in range(0, n, 4):
            i = min(block, n - 4)
            combine_block(4, _WIDE, W, w + i * row, row, column, none, A, a + s, m, T, Z, z + i * T + s)
    for first in range(wide, T, lanes):
        s = min(first, T - lanes)
        for block in range(0, n, 4):
            i = min(block, n - 4)
            combine_block(4, 1, W, w + i * row, row, column, none, A, a + s, m, T, Z, z + i * T + s)


@inlined
def activate(problem, h, values):
    """Multiply numbers of hidden layer h by the slope of its activation, which is that activation."""
    address = problem.compiled[h, VALUE]
    if address != 0:
        none_at(address, (problem.parameter[h], values, values))


@compiled
def linear_network(problem_address, tiles_address, member, x, gradient):
    """Return U(x); write ∇U(x) into `gradient`, unless that is empty. `tiles` hold the rows; R and C have rows more, to a multiple of four.

    The outer problem and its tiles, which hold the samples, are given by their addresses.
    """
    problem, tiles = problem_at(problem_address, x), tiles_at(tiles_address, x)
    last, rows = problem.widths.size - 2, tiles.n
    n_0, n_L = problem.widths[0], problem.widths[last + 1]
    R, C, maps = row_of(tiles.z, 0), row_of(tiles.a, 0), inputs_of(tiles)
    size = rows * (n_0 + 1)
    ends = window(maps, 0, n_L * (n_0 + 1))
    shift = window(ends, n_L * n_0, n_L)
    # R_L, …, R_0, the last of which is P.
    r = R.size - rows * n_L
    identity = window(R, r, rows * n_L)
    fill(0.0, identity)
    for i in range(n_L):
        identity[i * n_L + i] = 1
    for h in range(last, -1, -1):
        m, n = problem.widths[h], problem.widths[h + 1]
        out, o = (R, r - rows * m) if h > 0 else (maps, np.int64(0))
        combine_rows(R, r, n, np.int64(1), rows, n, x, problem.offsets[h, 0], m, out, o)
        if h > 0:
            activate(problem, h - 1, window(out, o, n_L * m))
        r = o
    fill(0.0, shift)
    r = np.int64(0)
    for h in range(last + 1):
        n, bias = problem.widths[h + 1], problem.offsets[h, 1]
        for i in range(n_L if bias >= 0 else 0):
            for k in range(n):
                shift[i] += R[r + i * n + k] * x[bias + k]
        r += rows * n
    slopes = window(maps, size, ends.size if gradient.size > 0 else 0)
    outer = problem.compiled[last, OUTER], tiles.outer, np.int64(0), ends, slopes
    value = float64_at(problem.compiled[last, LOSS], outer)
    if gradient.size == 0:
        return value
    # C_1 = E, …, C_L, and the gradient of each layer.
    A, c, r, z = maps, size, np.int64(0), np.int64(0)
    e = window(slopes, n_L * n_0, n_L)
    for h in range(last + 1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias = problem.offsets[h, 0], problem.offsets[h, 1]
        combine_rows(R, r, np.int64(1), n, n, n_L, A, c, m, gradient, W)
        if bias >= 0:
            combine_rows(e, np.int64(0), np.int64(0), np.int64(1), np.int64(1), n_L, R, r, n, gradient, bias)
        if h < last:
            after = window(C, z, rows * n)
            fill(0.0, after)
            add_products_of_rows(A, c, x, W, rows, n, m, False, np.int64(0), n, after)
            for i in range(n_L if bias >= 0 else 0):
                row = window(C, z + i * n, n)
                for k in range(n):
                    row[k] += e[i] * x[bias + k]
            activate(problem, h, window(C, z, n_L * n))
            A, c = C, z
            z += rows * n
        r += rows * n
    return value
