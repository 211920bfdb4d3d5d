"""B(∇U, ∇U) of the laws of a linear network, whose gradient is a product of two matrices of n_L rows: ∂U/∂W_l = R_lᵀ C_l, ∂U/∂b_l = R_lᵀ e.

The form of hidden layer l, (∂U/∂W_l)(∂U/∂W_l)ᵀ + (∂U/∂b_l)(∂U/∂b_l)ᵀ − (∂U/∂W_{l+1})ᵀ(∂U/∂W_{l+1}), is therefore

    R_lᵀ (C_l C_lᵀ + e eᵀ) R_l − C_{l+1}ᵀ (R_{l+1} R_{l+1}ᵀ) C_{l+1},

sums over n_L where those over n_{l−1} and n_{l+1} were.
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
from .laws import Forms
from .layers import copy, fill
from .linear_network import combine_rows
from .matrices import add_products_of_rows, mirror, products
from .network import inputs_of, row_of
from .placed import address_of_code, float64_at, laws_at, problem_at, tiles_at


@inlined
def gram_times(sign, A, a, m, e, rows, n_L, B, b, n, K, left, at):
    """left[at + i·n + j] = sign Σ_k (AAᵀ + eeᵀ)_ik B_kj for i and k below n_L, and anything in rows up to `rows`; K (rows, rows) is scratch."""
    fill(0.0, K)
    add_products_of_rows(A, a, A, a, rows, rows, m, False, np.int64(0), rows, K)
    for i in range(n_L):
        row = window(K, i * rows, n_L)
        for k in range(n_L):
            row[k] = sign * (row[k] + e[i] * e[k] if e.size > 0 else row[k])
    combine_rows(K, np.int64(0), rows, np.int64(1), rows, n_L, B, b, n, left, at)


@inlined
def of_layer(problem, tiles, at, out):
    """Write the form of the hidden layer whose law has the block `at` into `out`, which is symmetric."""
    rows, n_0, n_L, n = tiles.n, problem.widths[0], problem.widths[problem.widths.size - 1], at.n
    R, maps, memory = row_of(tiles.z, 0), inputs_of(tiles), row_of(tiles.scratch, 0)
    slopes = rows * (n_0 + 1)
    C, A, r, c, h = row_of(tiles.a, 0), maps, np.int64(0), slopes, 0
    while problem.offsets[h, 0] != at.W:
        A, c = C, r
        r += rows * problem.widths[h + 1]
        h += 1
    e = window(maps, slopes + n_L * n_0, n_L if at.bias >= 0 else 0)
    part = n_L * n
    left, right = window(memory, 0, part + rows * n), window(memory, part + rows * n, 2 * part)
    K = window(memory, 3 * part + rows * n, rows * rows)
    gram_times(1.0, A, c, at.m, e, rows, n_L, R, r, n, K, left, np.int64(0))
    gram_times(-1.0, R, r + rows * n, at.q, window(e, 0, 0), rows, n_L, C, r, n, K, left, part)
    copy(window(R, r, part), window(right, 0, part))
    copy(window(C, r, part), window(right, part, part))  # C_{l+1} lies where R_l does, as its size is the same
    q, none, zero = 2 * n_L, np.int64(-1), np.int64(0)
    products(1.0, left, zero, right, zero, q, left, zero, none, right, zero, none, zero, n, True, zero, n, out)
    mirror(n, out)


@addressed
def form_of_gradient(forms, laws_address, problem_address, tiles_address, gradient, out):
    """Write B(∇U, ∇U) of every law into `out` (K,); the factors of `gradient` are those that its pass has left in the tiles.

    `forms` are the addresses of `addresses_of_forms`.
    """
    laws, problem = laws_at(laws_address, gradient), problem_at(problem_address, gradient)
    tiles = tiles_at(tiles_address, gradient)
    none = np.int64(0)
    float64_at(
        forms.of_all,
        (Forms(forms.of_all, none, none, none), np.int64(schedule.PAIR), laws_address, gradient, gradient, out),
    )
    for l in range(laws.kind.size):
        part = window(out, laws.start[l], laws.start[l + 1] - laws.start[l])
        if laws.kind[l] == layout.LINEAR_LAYER:
            of_layer(problem, tiles, block(laws, l), part)
        elif laws.kind[l] == layout.ROTATION:
            fill(0.0, part)


@functools.cache
def address_of_form(dtype: str) -> Any:
    """Return the address of `form_of_gradient` for parameters of this dtype, compiled or read from disk if need be."""
    i, vector, sums = numba.int64, numba.typeof(np.empty(0, dtype)), numba.typeof(np.empty(0))
    return address_of_code(form_of_gradient, (numba.typeof(Forms(0, 0, 0, 0)), i, i, i, vector, sums))


def pays(problem: layout.Problem, laws: layout.Laws) -> bool:
    """Return whether the laws of a linear network are summed faster by the factors of its gradient."""
    if problem.kind != layout.LINEAR_NETWORK or layout.LINEAR_LAYER not in laws.kind.tolist():
        return False
    return 2 * int(problem.widths[-1]) <= int(problem.widths[1:-1].min())
