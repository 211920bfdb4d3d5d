"""The matrices that the laws of linear layers and rotations are made of: sums of products, in doubles, in register blocks.

UᵀU is a sum over what lies apart in memory, W Wᵀ one over what lies side by side: where W has few columns a panel of it is
transposed, and both are one sum with R × C accumulators in registers, as the products of a layer have. Of a form of a vector with
itself only the half below the diagonal is summed.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import addressed, compiled, inlined, merged
from .intrinsics import (
    INDEX,
    LANES,
    accumulate,
    array_on_stack,
    data_of,
    fma,
    load_vector,
    splat,
    store_vector,
    sum_of_four,
)

# Vectors of columns in a block of four rows, and the columns of that many.
WIDE = 2
PANEL = WIDE * LANES
# Columns of a matrix that are packed, which is worth it where they are few: a panel stays in the first-level cache.
MOST_PACKED = 128
numbers_on_stack = array_on_stack(PANEL * (MOST_PACKED + 1), "float64")


def _wide(builder: Any, base: Any, index: Any) -> Any:
    """Load LANES numbers of any precision as doubles."""
    element = base.type.pointee
    vector = load_vector(builder, base, index, ir.VectorType(element, LANES))
    return vector if element == ir.DoubleType() else builder.fpext(vector, ir.VectorType(ir.DoubleType(), LANES))


@intrinsic
def rows_block(typingctx, A, a, B, b, m, out, o, n):
    """out[o + r·n + c] += Σ_k A[a + r·m + k] B[b + c·m + k] for four rows and four columns, m ≥ LANES; `out` of any precision.

    All arrays are flat: A holds (4, m), B (4, m), out (4, n); the other arguments are numbers.
    """

    def codegen(context, builder, signature, args):
        _, a_, _, b_, m_, _, o_, n_ = args
        A_, B_, out_ = (data_of(builder, args[i]) for i in (0, 2, 5))

        def load(base, start, k):
            at = builder.add(start, k)
            return [_wide(builder, base, builder.add(at, builder.mul(INDEX(r), m_))) for r in range(4)]

        def body(i, sums):
            k = builder.mul(i, INDEX(LANES))
            left, right = load(A_, a_, k), load(B_, b_, k)
            return [fma(builder, left[r], right[c], sums[4 * r + c]) for r in range(4) for c in range(4)]

        vectors, zero = builder.sdiv(m_, INDEX(LANES)), ir.Constant(ir.VectorType(ir.DoubleType(), LANES), None)
        sums = accumulate(builder, [zero] * 16, vectors, body)
        # What is left of a row: its last LANES elements, without those that have been counted.
        rest = builder.sub(m_, builder.mul(vectors, INDEX(LANES)))
        lanes = ir.Constant(ir.VectorType(INDEX, LANES), list(range(LANES)))
        new = builder.icmp_signed(">=", lanes, splat(builder, builder.sub(INDEX(LANES), rest), lanes.type))
        last = builder.sub(m_, INDEX(LANES))
        left, right = load(A_, a_, last), load(B_, b_, last)
        left = [builder.select(new, vector, zero) for vector in left]
        for r in range(4):
            row = [fma(builder, left[r], right[c], sums[4 * r + c]) for c in range(4)]
            at, total = builder.add(o_, builder.mul(INDEX(r), n_)), sum_of_four(builder, row)
            if out_.type.pointee == ir.FloatType():
                total = builder.fptrunc(total, ir.VectorType(ir.FloatType(), 4))
            store_vector(builder, builder.fadd(load_vector(builder, out_, at, total.type), total), out_, at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(A, i, B, i, i, out, i, i), codegen


@intrinsic(prefer_literal=True)
def panel_block(typingctx, C, factor, A, a, B, b, q, n, L, l, bias, m, panel, out, o):
    """out[o + r·n + lanes] = factor Σ_k A[a + k·n + r] B[b + k·n + lanes] + Σ_k L[l + r·m + k] panel[k, lanes].

    With L[bias + r] panel[m, lanes] more where bias ≥ 0; for four rows and C vectors of columns. All arrays are flat: A and B hold
    (q, n), L (4, m), panel (m + 1, PANEL), out (4, n); the other arguments are numbers.
    """
    columns = C.literal_value

    def codegen(context, builder, signature, args):
        _, factor_, _, a_, _, b_, q_, n_, _, l_, bias_, m_, _, _, o_ = args
        A_, B_, L_, panel_, out_ = (data_of(builder, args[i]) for i in (2, 4, 8, 12, 13))
        vector = ir.VectorType(ir.DoubleType(), LANES)

        def scalar(base, index):
            value = builder.load(builder.gep(base, [index]))
            return splat(
                builder, value if value.type == vector.element else builder.fpext(value, vector.element), vector
            )

        def add(lefts, base, at, sums):
            right = [_wide(builder, base, builder.add(at, INDEX(c * LANES))) for c in range(columns)]
            return [fma(builder, lefts[r], right[c], sums[r * columns + c]) for r in range(4) for c in range(columns)]

        def by_columns(k, sums):
            row = builder.mul(k, n_)
            at = builder.add(a_, row)
            lefts = [scalar(A_, builder.add(at, INDEX(r))) for r in range(4)]
            return add(lefts, B_, builder.add(b_, row), sums)

        def by_bias(_, sums):
            lefts = [scalar(L_, builder.add(bias_, INDEX(r))) for r in range(4)]
            return add(lefts, panel_, builder.mul(m_, INDEX(PANEL)), sums)

        def by_rows(k, sums):
            at = builder.add(l_, k)
            lefts = [scalar(L_, builder.add(at, builder.mul(INDEX(r), m_))) for r in range(4)]
            return add(lefts, panel_, builder.mul(k, INDEX(PANEL)), sums)

        sums = accumulate(builder, [ir.Constant(vector, None)] * (4 * columns), q_, by_columns)
        scale = splat(builder, factor_, vector)
        sums = [builder.fmul(scale, total) for total in sums]
        biases = builder.zext(builder.icmp_signed(">=", bias_, INDEX(0)), INDEX)
        sums = accumulate(builder, sums, biases, by_bias)
        sums = accumulate(builder, sums, m_, by_rows)
        for r in range(4):
            for c in range(columns):
                at = builder.add(o_, builder.add(builder.mul(INDEX(r), n_), INDEX(c * LANES)))
                store_vector(builder, sums[r * columns + c], out_, at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(C, types.float64, A, i, B, i, i, i, L, i, i, i, panel, out, i), codegen


@intrinsic
def transpose_block(typingctx, A, a, m, out, o, n):
    """out[o + k·n + r] = A[a + r·m + k] for LANES rows r and columns k, all of which are read before any is written."""

    def codegen(context, builder, signature, args):
        _, a_, m_, _, o_, n_ = args
        A_, out_ = (data_of(builder, args[i]) for i in (0, 3))
        rows = [_wide(builder, A_, builder.add(a_, builder.mul(INDEX(r), m_))) for r in range(LANES)]
        index, apart = ir.VectorType(ir.IntType(32), LANES), 1
        while apart < LANES:  # exchange blocks of this size, between two rows so far apart
            first = [i if not i & apart else LANES + i - apart for i in range(LANES)]
            second = [i + apart if not i & apart else LANES + i for i in range(LANES)]
            for r in (r for r in range(LANES) if not r & apart):
                pair = rows[r], rows[r + apart]
                rows[r], rows[r + apart] = (
                    builder.shuffle_vector(*pair, ir.Constant(index, lanes)) for lanes in (first, second)
                )
            apart *= 2
        for k in range(LANES):
            store_vector(builder, rows[k], out_, builder.add(o_, builder.mul(INDEX(k), n_)))
        return context.get_dummy_value()

    i = types.int64
    return types.void(A, i, i, out, i, i), codegen


if numba.config.DISABLE_JIT:

    def rows_block(A, a, B, b, m, out, o, n):
        for r in range(4):
            for c in range(4):
                left, right = (v.astype(np.float64) for v in (A[a + r * m :][:m], B[b + c * m :][:m]))
                out[o + r * n + c] += left @ right

    def panel_block(C, factor, A, a, B, b, q, n, L, l, bias, m, panel, out, o):
        lanes = C * LANES
        for r in range(4):
            row = out[o + r * n :][:lanes]
            row[:] = factor * sum(np.float64(A[a + k * n + r]) * B[b + k * n :][:lanes] for k in range(q))
            row += sum(np.float64(L[l + r * m + k]) * panel[k * PANEL :][:lanes] for k in range(m))
            if bias >= 0:
                row += np.float64(L[bias + r]) * panel[m * PANEL :][:lanes]

    def transpose_block(A, a, m, out, o, n):
        rows = [np.array(A[a + r * m :][:LANES]) for r in range(LANES)]
        for k in range(LANES):
            for r in range(LANES):
                out[o + k * n + r] = rows[r][k]


@inlined
def add_entry_of_rows(A, a, B, b, m, out, o):
    """out[o] += Σ_k A[a + k] B[b + k]."""
    total = 0.0
    for k in range(m):
        total += np.float64(A[a + k]) * B[b + k]
    out[o] += total


@compiled
def add_products_of_rows(A, a, B, b, n, p, m, half, first, last, out):
    """out[i, j] += Σ_k A[i, k] B[j, k] of flat (n, m) and (p, m) matrices from a and b on, for columns `first` ≤ j < `last`.

    Where n = p of the lower `half` at least; `first` is a multiple of four.
    """
    rows, columns = (n - n % 4, min(last, p - p % 4)) if m >= LANES else (0, first)
    for i in range(first if half else 0, rows, 4):
        for j in range(first, min(i + 4, columns) if half else columns, 4):
            rows_block(A, a + i * m, B, b + j * m, m, out, i * p + j, p)
    for i in range(first if half else 0, n):
        for j in range(columns if i < rows else first, min(i + 1, last) if half else last):
            add_entry_of_rows(A, a + i * m, B, b + j * m, m, out, i * p + j)


@inlined
def pack(a, rows, bias, m, count, panel):
    """panel[k, r] = a[rows + r·m + k], and panel[m, r] = a[bias + r] where bias ≥ 0, for `count` rows of m."""
    if m >= LANES:
        for r in range(0, count, LANES):
            for k in range(0, m, LANES):
                at = min(k, m - LANES)
                transpose_block(a, rows + r * m + at, m, panel, at * PANEL + r, PANEL)
    else:
        for r in range(count):
            for k in range(m):
                panel[k * PANEL + r] = a[rows + r * m + k]
    if bias >= 0:
        for r in range(count):
            panel[m * PANEL + r] = a[bias + r]


@merged
def first_column(part, parts, n, half):
    """Return where the columns of a part of an (n, n) matrix begin, or of its lower `half`: at a multiple of PANEL, and at n after the last part.

    Parts are of about equal area. The last of them has LANES columns at least, of which the vector lies that may lie over others.
    """
    if part == parts:
        return n
    share = part / parts
    place = n * (1 - math.sqrt(1 - share)) if half else n * share
    return min(np.int64(place + PANEL // 2), max(n - LANES, 0)) // PANEL * PANEL


@inlined
def products(factor, A, a, B, b, q, L, l, left, R, r, right, m, n, half, first, last, out):
    """out[i, j] = factor Σ_k A[k, i] B[k, j] + Σ_k L[i, k] R[j, k] + L[left + i] R[right + j] of flat (q, n) and (n, m) matrices.

    These begin at a, b, l and r; no last term where left < 0; m ≤ MOST_PACKED. Of an (n, n) `out`, or its lower half at least, and of
    columns `first` ≤ j < `last`, which `first_column` gives. The last block of four rows and the last vector of columns may lie over
    those before.
    """
    if n < LANES:
        for i in range(n):
            for j in range(first, last):
                total = np.float64(L[left + i]) * R[right + j] if left >= 0 else 0.0
                for k in range(q):
                    total += factor * (np.float64(A[a + k * n + i]) * B[b + k * n + j])
                out[i * n + j] = total
                add_entry_of_rows(L, l + i * m, R, r + j * m, m, out, i * n + j)
        return
    panel, j = numbers_on_stack(), first
    while j < last:
        wide = j + PANEL <= last
        at = j if wide else min(j, n - LANES)
        pack(R, r + at * m, right + at if left >= 0 else left, m, PANEL if wide else LANES, panel)
        for block in range(at if half else 0, n, 4):
            i = min(block, n - 4)
            row, shift, o = l + i * m, left + i if left >= 0 else left, i * n + at
            if wide and (not half or i + 4 > at + LANES):
                panel_block(WIDE, factor, A, a + i, B, b + at, q, n, L, row, shift, m, panel, out, o)
            else:
                panel_block(1, factor, A, a + i, B, b + at, q, n, L, row, shift, m, panel, out, o)
        j = at + (PANEL if wide else LANES)


@addressed
def mirror(n, out):
    """out[j, i] = out[i, j] for all j < i."""
    whole = n - n % LANES
    for i in range(0, whole, LANES):
        for j in range(0, i, LANES):
            transpose_block(out, i * n + j, n, out, j * n + i, n)
    for i in range(n):
        for j in range(i - i % LANES if i < whole else 0, i):
            out[j * n + i] = out[i * n + j]
