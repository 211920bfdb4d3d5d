"""The forms behind every conserved quantity, one number per law component, in loops that read what lies side by side."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np

from .. import layout, schedule
from ..forms import affine_size, block, incoming_size, neuron_size, product, row_product
from ..jit import addressed, compiled, inlined, little_collecting, merged
from .intrinsics import LANES, four_products, subtract_products, window
from .layers import fill
from .matrices import MOST_PACKED, add_products_of_rows, first_column, mirror, products
from .placed import address_of_code, laws_at, none_at, tiles_at
from .sharing import share

# Multiplications of a form from which on threads share it: what takes ten times as long as they take to meet.
_SHARED = 200_000
# So many long rows are summed at a time: the processor loads ahead of those that are read from begin to end side by side, if they are few.
_ROWS, _LONG = 8, 128


class Forms(NamedTuple):
    """Addresses of `forms` and of what it calls, 0 where a run has no use for it."""

    of_all: Any
    of_matrices: Any = 0  # which takes longer to compile than all else
    columns: Any = 0
    tiles: Any = 0  # whose team shares the columns


@addressed
def dot(a, b):
    """⟨a, b⟩ in doubles."""
    total = 0.0
    for k in range(a.size):
        total += np.float64(a[k]) * b[k]
    return total


@inlined
def scaling(at, p, a, b, out):
    """Per neuron ⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ [− β_a β_b] (GU Tables 2 and 3)."""
    n, m = at.n, at.m
    fours = n - n % 4 if m >= LANES else 0
    for i in range(0, fours, 4):
        four_products(a, at.W + i * m, b, at.C + i * m, m, out, i)
    for i in range(fours, n):
        out[i] = dot(window(a, at.W + i * m, m), window(b, at.C + i * m, m))
    if at.bias >= 0:
        for i in range(n):
            out[i] += product(a, at.bias + i, b, at.bias + i)
    if at.beta >= 0:
        for i in range(n):
            out[i] -= product(a, at.beta + i, b, at.beta + i)
    whole, first = n - n % LANES, 0
    while first < at.q:
        rows, start = at.q if n < _LONG else min(_ROWS, at.q - first), at.U + first * n
        for i in range(0, whole, LANES):
            subtract_products(p, a, start + i, b, start + i, rows, n, out, i)
        first += rows
    for j in range(at.q if whole < n else 0):
        ua, ub = window(a, at.U + j * n, n), window(b, at.U + j * n, n)
        for i in range(whole, n):
            out[i] -= p * (np.float64(ua[i]) * ub[i])


@merged
def is_same(a, b):
    """Whether two vectors are the same one."""
    return a.ctypes.data == b.ctypes.data


@inlined
def matrix(what, kind, at, laws, symmetric, a, b, first, last, out):
    """Columns `first` ≤ j < `last` of a linear layer's form, or of the first of a rotation's two terms; if `symmetric`, below the diagonal.

    Linear layer, n_h×n_h: b_W a_Wᵀ + b_b a_bᵀ − a_Uᵀ b_U, so that B(x, v) = ẆWᵀ + ḃbᵀ − UᵀU̇ (GU Table 4). Rotation, n_0×n_0, skew:
    a_W₁ᵀ b_W₁ − b_W₁ᵀ a_W₁, so that B(x, v) = W₁ᵀẆ₁ − Ẇ₁ᵀW₁ (GU Table 5). Both begin with a sum over rows, in one call of
    `products`, which is optimised anew wherever it is called.
    """
    n, turns = at.n, kind == layout.ROTATION
    factor, rows, q = (1.0, at.W, at.m) if turns else (-1.0, at.U, at.q)
    bias, m = (-1, 0) if turns else (at.bias, at.m if at.m <= MOST_PACKED else 0)
    products(factor, a, rows, b, rows, q, b, at.C, bias, a, at.W, bias, m, n, symmetric, first, last, out)
    if not turns and m < at.m:
        add_products_of_rows(b, at.C, a, at.W, n, n, at.m, symmetric, first, last, out)
    if what == schedule.QUANTITY and at.W != at.C:
        add_products_of_rows(window(laws.Z0, 0, n * at.m), 0, b, at.C, n, n, at.m, symmetric, first, last, out)


@inlined
def antisymmetrise(n, out):
    """Out less its transpose."""
    for i in range(n):
        out[i * n + i] = 0
        for j in range(i):
            out[i * n + j] -= out[j * n + i]
            out[j * n + i] = -out[i * n + j]


@inlined
def affine(G, g, a, b):
    """⟨G_g a, b⟩."""
    total = 0.0
    for i in range(a.size):
        total += row_product(G, g, i, a) * b[i]
    return total


@inlined
def add_start(at, Z0, x, out):
    """Out += ⟨z_i(0), c_i⟩ of each neuron."""
    for i in range(at.n):
        out[i] += dot(window(Z0, i * at.m, at.m), window(x, at.C + i * at.m, at.m))


@inlined
def column_sizes(x, start, n, rows, out):
    """out[i] = Σ_k |x[start + k·n + i]|."""
    for i in range(n):
        out[i] = 0
    for k in range(rows):
        row = window(x, start + k * n, n)
        for i in range(n):
            out[i] += abs(row[i])


@addressed
def size_of(a):
    """Σ |a_i|, in any order."""
    total = np.float64(0.0)
    for i in range(a.size):
        total += abs(a[i])
    return total


@inlined
def scaling_sizes(at, degree, x, out):
    """out[i] = |row i of W| + degree |column i of U|, with the bias and β of neuron i."""
    column_sizes(x, at.U, at.n, at.q, out)
    for i in range(at.n):
        out[i] = neuron_size(at, i, x, size_of(window(x, at.W + i * at.m, at.m)) + degree * out[i])


@inlined
def linear_layer_sizes(at, x, out):
    """out[i, j] = |column i of U| + |row j of W|, whose sizes are in the last and the first row until all others are done."""
    n, m = at.n, at.m
    last, first = window(out, (n - 1) * n, n), window(out, 0, n)
    if n == 1:
        out[0] = size_of(window(x, at.U, at.q)) + incoming_size(at, 0, x)
        return
    column_sizes(x, at.U, n, at.q, last)
    for j in range(n):
        first[j] = neuron_size(at, j, x, size_of(window(x, at.W + j * m, m)))
    for i in range(1, n - 1):
        row, size = window(out, i * n, n), last[i]
        for j in range(n):
            row[j] = size + first[j]
    of_first, of_last = last[0], last[n - 1]
    for j in range(n):
        last[j] = of_last + first[j]
        first[j] += of_first


@inlined
def rotation_sizes(at, x, out):
    """out[i, j] = |column i of W| + |column j|, which are in the first row until all others are done; 0 where i = j."""
    n = at.n
    first = window(out, 0, n)
    column_sizes(x, at.W, n, at.m, first)
    for i in range(n - 1, -1, -1):
        row, size = window(out, i * n, n), first[i]
        for j in range(n):
            row[j] = size + first[j]
        row[i] = 0  # E_ii − E_ii


@inlined
def generator(kind, at, laws, l, x, out):
    """Out = |g_c| = Σ_i |g_c(x)_i| of every component c of law l, before what cancels within an entry."""
    if kind == layout.SCALING:
        scaling_sizes(at, laws.degree[l], x, out)
    elif kind == layout.TRANSLATION:
        fill(np.float64(at.m), out)
    else:
        out[0] = 0
        for i in range(x.size):
            out[0] += affine_size(laws, at.n, i, x)


@inlined
def form(what, kind, at, laws, l, a, b, out):
    """Out = B(a, b) (PAIR), B(a, b) + T(b) (CHARGE), or ½B(a, b) + T(b) (QUANTITY) of law l.

    In sample coordinates Q is up to a constant, ½|W_1(0)|²: |w|² − |w(0)|² = ⟨z(0) + z, c⟩, the half of which is in B.
    """
    if kind == layout.SCALING:
        scaling(at, laws.degree[l], a, b, out)
    elif kind == layout.AFFINE:
        out[0] = affine(laws.G, at.n, a, b)
    else:
        fill(0.0, out)
    if what == schedule.QUANTITY:
        if at.W != at.C:
            add_start(at, laws.Z0, b, out)
        for j in range(out.size):
            out[j] *= 0.5
    if what != schedule.PAIR and kind == layout.TRANSLATION:
        for i in range(at.m):
            for j in range(at.n):
                out[j] += b[at.W + i * at.n + j]
    elif what != schedule.PAIR and kind == layout.AFFINE:
        out[0] += dot(window(laws.xi, at.n * b.size, b.size), b)


def has_matrices(laws: layout.Laws) -> bool:
    """Return whether a law is that of a linear layer or a rotation."""
    return not {layout.LINEAR_LAYER, layout.ROTATION}.isdisjoint(laws.kind.tolist())


@merged
def is_of_matrices(kind):
    """Whether a law is that of a linear layer or a rotation."""
    return kind == layout.LINEAR_LAYER or kind == layout.ROTATION


@merged
def diagonal_of(laws, l):
    """Return the law of a linear layer whose diagonal is law l, the scaling of the same neurons; −1 if there is none."""
    for k in range(laws.kind.size):
        if (
            laws.kind[l] == layout.SCALING
            and laws.kind[k] == layout.LINEAR_LAYER
            and laws.where[k, 1] == laws.where[l, 1]
        ):
            return k
    return -1


@inlined
def copy_diagonals(laws, out):
    """Write the form of every law that is the diagonal of another."""
    for l in range(laws.kind.size):
        k = diagonal_of(laws, l)
        for i in range(laws.where[l, 0] if k >= 0 else 0):
            out[laws.start[l] + i] = out[laws.start[k] + i * (laws.where[l, 0] + 1)]


@merged
def vanishes(kind, a, b):
    """Whether the form of a law of matrices is zero: that of a rotation, which is skew, of a vector with itself."""
    return kind == layout.ROTATION and is_same(a, b)


@merged
def is_symmetric(what, kind, at, a, b):
    """Whether the form of a law of matrices is symmetric, so that half of it is summed.

    In sample coordinates C Zᵀ is symmetric for velocities, whose Z is C XXᵀ, but not for x, whose Z has Z(0) in it, before Z(0) Cᵀ is added.
    """
    return kind == layout.LINEAR_LAYER and is_same(a, b) and (what != schedule.CHARGE or at.W == at.C)


@addressed
def columns_of_matrices(what, laws_address, a, b, out, part, parts):
    """Write a part's columns of the form of every law of matrices into `out` (K,)."""
    laws = laws_at(laws_address, a)
    for l in range(laws.kind.size):
        kind, at = laws.kind[l], block(laws, l)
        if is_of_matrices(kind) and not vanishes(kind, a, b):
            symmetric = is_symmetric(what, kind, at, a, b)
            first, last = first_column(part, parts, at.n, symmetric), first_column(part + 1, parts, at.n, symmetric)
            matrix(what, kind, at, laws, symmetric, a, b, first, last, window(out, laws.start[l], at.n * at.n))


@inlined
def complete(what, kind, at, a, b, out):
    """Make the form of a law of matrices of what `columns_of_matrices` has written."""
    if vanishes(kind, a, b):
        fill(0.0, out)
    elif kind == layout.ROTATION:
        antisymmetrise(at.n, out)
    elif is_symmetric(what, kind, at, a, b):
        mirror(at.n, out)
    if what == schedule.QUANTITY:
        for j in range(out.size):
            out[j] *= 0.5


@addressed
def form_of_matrices(addresses, what, laws_address, a, b, out):
    """Write a form of every law of matrices, or for GENERATOR |g_c(a)|, into `out` (K,)."""
    laws = laws_at(laws_address, a)
    if what != schedule.GENERATOR:
        if addresses.tiles == 0:
            none_at(addresses.columns, (what, laws_address, a, b, out, np.int64(0), np.int64(1)))
        else:
            share(addresses.columns, tiles_at(addresses.tiles, a), what, laws_address, a, b, out)
    for l in range(laws.kind.size):
        kind, at = laws.kind[l], block(laws, l)
        of_law = window(out, laws.start[l], laws.start[l + 1] - laws.start[l])
        if not is_of_matrices(kind):
            continue
        if what != schedule.GENERATOR:
            complete(what, kind, at, a, b, of_law)
        elif kind == layout.LINEAR_LAYER:
            linear_layer_sizes(at, a, of_law)
        else:
            rotation_sizes(at, a, of_law)
    copy_diagonals(laws, out)


@compiled
def forms(addresses, what, laws_address, a, b, out):
    """Write a form of a and b, or for GENERATOR |g_c(a)|, of every law into `out` (K,), and return 0.

    One function, called by its address, so that it is compiled once; `addresses` are Forms, a and b (P,).
    """
    laws = laws_at(laws_address, a)
    for l in range(laws.kind.size):
        kind = laws.kind[l]
        part = window(out, laws.start[l], laws.start[l + 1] - laws.start[l])
        if is_of_matrices(kind) or diagonal_of(laws, l) >= 0:
            continue
        if what == schedule.GENERATOR:
            generator(kind, block(laws, l), laws, l, a, part)
        else:
            form(what, kind, block(laws, l), laws, l, a, b, part)
    if addresses.of_matrices != 0:
        none_at(addresses.of_matrices, (addresses, what, laws_address, a, b, out))
    return 0.0


def worth_sharing(laws: layout.Laws) -> bool:
    """Return whether forms of matrices take so long that threads gain by sharing them."""
    n, m, q = (laws.where[:, column] for column in (0, 2, 6))
    multiplications = np.where(laws.kind == layout.LINEAR_LAYER, n**2 * (m + q), 0)
    multiplications += np.where(laws.kind == layout.ROTATION, n**2 * m, 0)
    return int(multiplications.sum()) >= _SHARED


@functools.cache
@little_collecting
def addresses_of_forms(dtype: str, with_matrices: bool) -> Forms:
    """Return the addresses of `forms` for parameters of this dtype and of what it calls, compiled or read from disk if need be."""
    i, vector, sums = numba.int64, numba.typeof(np.empty(0, dtype)), numba.typeof(np.empty(0))
    arguments = numba.typeof(Forms(0, 0, 0, 0)), i, i, vector, vector, sums
    of_all = address_of_code(forms, arguments)
    if not with_matrices:
        return Forms(of_all)
    of_matrices = address_of_code(form_of_matrices, arguments)
    return Forms(of_all, of_matrices, address_of_code(columns_of_matrices, (i, i, vector, vector, sums, i, i)))
