"""B(∇U, b) of the laws of a linear network, whose gradient is a product of two matrices of n_L rows: ∂U/∂W_l = R_lᵀ C_l, ∂U/∂b_l = R_lᵀ e.

With the entries b_W, b_b, b_U of b the form of hidden layer l, b_W (∂U/∂W_l)ᵀ + b_b (∂U/∂b_l)ᵀ − (∂U/∂W_{l+1})ᵀ b_U, and that of a
rotation before it is made skew, (∂U/∂W_1)ᵀ b_W, are therefore

    (C_l b_Wᵀ + e b_bᵀ)ᵀ R_l − C_{l+1}ᵀ (R_{l+1} b_U)    and    C_1ᵀ (R_1 b_W),

sums over n_L where those over n_{l−1}, n_{l+1} or n_1 were. For b = ∇U the factors of the first are (C_l C_lᵀ + e eᵀ) R_l and
(R_{l+1} R_{l+1}ᵀ) C_{l+1}.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from .. import layout, schedule
from ..forms import block
from ..jit import addressed, inlined
from .intrinsics import window
from .laws import Forms, antisymmetrise, copy_diagonals, is_same, vanishes
from .layers import copy, fill
from .linear_network import combine_rows
from .matrices import add_products_of_rows, mirror, products
from .network import inputs_of, row_of
from .placed import address_of_code, float64_at, laws_at, problem_at, tiles_at


@inlined
def gram_times(A, a, m, e, rows, n_L, B, b, n, K, out, o):
    """out[o + i·n + j] = Σ_k (AAᵀ + eeᵀ)_ik B_kj for i and k below n_L, and anything in rows up to `rows`; K (rows, rows) is scratch."""
    fill(0.0, K)
    add_products_of_rows(A, a, A, a, rows, rows, m, False, np.int64(0), rows, K)
    for i in range(e.size):
        row = window(K, i * rows, n_L)
        for k in range(n_L):
            row[k] += e[i] * e[k]
    combine_rows(K, np.int64(0), rows, np.int64(1), rows, n_L, B, b, n, out, o)


@inlined
def products_with_rows(C, c, e, at, b, rows, out):
    """Out = C_l b_Wᵀ + e b_bᵀ, and anything in rows up to `rows`; b_b is that of a law with the block `at` where e is not empty."""
    fill(0.0, out)
    add_products_of_rows(C, c, b, at.W, rows, at.n, at.m, False, np.int64(0), at.n, out)
    for i in range(e.size):
        row = window(out, i * at.n, at.n)
        for j in range(at.n):
            row[j] += e[i] * b[at.bias + j]


@addressed
def product_of_columns(left, right, q, n, half, out):
    """Out = leftᵀ right of (q, n) matrices, or its lower `half` at least; `products` is optimised anew wherever it is called."""
    zero, none = np.int64(0), np.int64(-1)
    products(1.0, left, zero, right, zero, q, left, zero, none, right, zero, none, zero, n, half, zero, n, out)


@inlined
def of_layer(problem, tiles, at, gradient, b, out):
    """Write the form of the hidden layer whose law has the block `at` into `out`."""
    rows, n_0, n_L, n = tiles.n, problem.widths[0], problem.widths[problem.widths.size - 1], at.n
    R, maps, memory = row_of(tiles.z, 0), inputs_of(tiles), row_of(tiles.scratch, 0)
    slopes = rows * (n_0 + 1)
    C, A, r, c, h = row_of(tiles.a, 0), maps, np.int64(0), slopes, 0
    while problem.offsets[h, 0] != at.W:
        A, c = C, r
        r += rows * problem.widths[h + 1]
        h += 1
    e = window(maps, slopes + n_L * n_0, n_L if at.bias >= 0 else 0)
    after = r + rows * n  # where R_{l+1} begins; C_{l+1} begins where R_l does
    symmetric, part = is_same(gradient, b), n_L * n
    left, right = window(memory, 0, part + rows * n), window(memory, part + rows * n, part + rows * n)
    if symmetric:
        K = window(memory, 2 * (part + rows * n), rows * rows)
        gram_times(A, c, at.m, e, rows, n_L, R, r, n, K, left, np.int64(0))
        gram_times(R, after, at.q, window(e, 0, 0), rows, n_L, C, r, n, K, right, part)
    else:
        products_with_rows(A, c, e, at, b, rows, window(left, 0, rows * n))
        combine_rows(R, after, at.q, np.int64(1), rows, at.q, b, at.U, n, right, part)
    copy(window(R, r, part), window(right, 0, part))
    for i in range(part):
        left[part + i] = -C[r + i]
    product_of_columns(left, right, 2 * n_L, n, symmetric, out)
    if symmetric:
        mirror(n, out)


@inlined
def of_rotation(problem, tiles, at, gradient, b, out):
    """Write the form of the rotation of the inputs into `out`."""
    if vanishes(layout.ROTATION, gradient, b):
        fill(0.0, out)
        return
    rows, n, n_L = tiles.n, at.n, problem.widths[problem.widths.size - 1]
    left, right = window(inputs_of(tiles), rows * (n + 1), rows * n), window(row_of(tiles.scratch, 0), 0, rows * n)
    zero, one = np.int64(0), np.int64(1)
    combine_rows(row_of(tiles.z, 0), zero, at.m, one, rows, at.m, b, at.W, n, right, zero)
    product_of_columns(left, right, n_L, n, False, out)
    antisymmetrise(n, out)


@addressed
def form_with_gradient(forms, laws_address, problem_address, tiles_address, gradient, b, out):
    """Write B(∇U, b) of every law into `out` (K,); the factors of `gradient` are those that its pass has left in the tiles.

    `forms` are the addresses of `addresses_of_forms`.
    """
    laws, problem = laws_at(laws_address, gradient), problem_at(problem_address, gradient)
    tiles = tiles_at(tiles_address, gradient)
    none = np.int64(0)
    float64_at(
        forms.of_all,
        (Forms(forms.of_all, none, none, none), np.int64(schedule.PAIR), laws_address, gradient, b, out),
    )
    for l in range(laws.kind.size):
        part = window(out, laws.start[l], laws.start[l + 1] - laws.start[l])
        if laws.kind[l] == layout.LINEAR_LAYER:
            of_layer(problem, tiles, block(laws, l), gradient, b, part)
        elif laws.kind[l] == layout.ROTATION:
            of_rotation(problem, tiles, block(laws, l), gradient, b, part)
    copy_diagonals(laws, out)


@functools.cache
def address_of_form(dtype: str) -> Any:
    """Return the address of `form_with_gradient` for parameters of this dtype, compiled or read from disk if need be."""
    i, vector, sums = numba.int64, numba.typeof(np.empty(0, dtype)), numba.typeof(np.empty(0))
    return address_of_code(form_with_gradient, (numba.typeof(Forms(0, 0, 0, 0)), i, i, i, vector, vector, sums))


def pays(problem: layout.Problem, laws: layout.Laws) -> bool:
    """Return whether the laws of a linear network are summed faster by the factors of its gradient."""
    if problem.kind != layout.LINEAR_NETWORK or layout.LINEAR_LAYER not in laws.kind.tolist():
        return False
    return 2 * int(problem.widths[-1]) <= int(problem.widths[1:-1].min())
