"""The matrices that the laws of linear layers and rotations are made of: sums of products, in doubles, in register blocks.

W Wᵀ is a sum over what lies side by side in memory, UᵀU one over what lies apart, each with R × C accumulators in
registers as the products of a layer have. Of a form of a vector with itself only the half below the diagonal is summed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import compiled, inlined
from .intrinsics import _INDEX, LANES, _accumulate, _fma, _pointer, _splat, _store, _sum_of_four, _vector

# Vectors of columns in a block of four rows.
WIDE = 2


def _wide(builder: Any, base: Any, index: Any) -> Any:
    """Load LANES numbers of any precision as doubles."""
    element = base.type.pointee
    vector = _vector(builder, base, index, ir.VectorType(element, LANES))
    return vector if element == ir.DoubleType() else builder.fpext(vector, ir.VectorType(ir.DoubleType(), LANES))


@intrinsic
def rows_block(typingctx, A, a, B, b, m, out, o, n):
    """out[o + r·n + c] += Σ_k A[a + r·m + k] B[b + c·m + k] for four rows and four columns, m ≥ LANES."""

    def codegen(context, builder, signature, args):
        _, a_, _, b_, m_, _, o_, n_ = args
        A_, B_, out_ = (_pointer(context, builder, signature.args[i], args[i]) for i in (0, 2, 5))

        def load(base, start, k):
            at = builder.add(start, k)
            return [_wide(builder, base, builder.add(at, builder.mul(_INDEX(r), m_))) for r in range(4)]

        def body(i, sums):
            k = builder.mul(i, _INDEX(LANES))
            left, right = load(A_, a_, k), load(B_, b_, k)
            return [_fma(builder, left[r], right[c], sums[4 * r + c]) for r in range(4) for c in range(4)]

        whole, zero = builder.sdiv(m_, _INDEX(LANES)), ir.Constant(ir.VectorType(ir.DoubleType(), LANES), None)
        sums = _accumulate(builder, [zero] * 16, whole, body)
        # What is left of a row: its last LANES elements, without those that have been counted.
        rest = builder.sub(m_, builder.mul(whole, _INDEX(LANES)))
        lanes = ir.Constant(ir.VectorType(_INDEX, LANES), list(range(LANES)))
        new = builder.icmp_signed(">=", lanes, _splat(builder, builder.sub(_INDEX(LANES), rest), lanes.type))
        last = builder.sub(m_, _INDEX(LANES))
        left, right = load(A_, a_, last), load(B_, b_, last)
        left = [builder.select(new, vector, zero) for vector in left]
        for r in range(4):
            row = [_fma(builder, left[r], right[c], sums[4 * r + c]) for c in range(4)]
            at, total = builder.add(o_, builder.mul(_INDEX(r), n_)), _sum_of_four(builder, row)
            _store(builder, builder.fadd(_vector(builder, out_, at, total.type), total), out_, at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(A, i, B, i, i, out, i, i), codegen


@intrinsic(prefer_literal=True)
def columns_block(typingctx, C, factor, A, a, B, b, q, n, out, o):
    """out[o + r·n + lanes] = factor Σ_k A[a + k·n + r] B[b + k·n + lanes] for four rows and C vectors of columns."""
    columns = C.literal_value

    def codegen(context, builder, signature, args):
        _, factor_, _, a_, _, b_, q_, n_, _, o_ = args
        A_, B_, out_ = (_pointer(context, builder, signature.args[i], args[i]) for i in (2, 4, 8))
        vector = ir.VectorType(ir.DoubleType(), LANES)

        def body(k, sums):
            row = builder.mul(k, n_)
            at = builder.add(b_, row)
            right = [_wide(builder, B_, builder.add(at, _INDEX(c * LANES))) for c in range(columns)]
            out = []
            for r in range(4):
                scalar = builder.load(builder.gep(A_, [builder.add(builder.add(a_, row), _INDEX(r))]))
                if scalar.type != ir.DoubleType():
                    scalar = builder.fpext(scalar, ir.DoubleType())
                left = _splat(builder, scalar, vector)
                out += [_fma(builder, left, right[c], sums[r * columns + c]) for c in range(columns)]
            return out

        sums = _accumulate(builder, [ir.Constant(vector, None)] * (4 * columns), q_, body)
        scale = _splat(builder, factor_, vector)
        for r in range(4):
            for c in range(columns):
                at = builder.add(o_, builder.add(builder.mul(_INDEX(r), n_), _INDEX(c * LANES)))
                _store(builder, builder.fmul(scale, sums[r * columns + c]), out_, at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(C, types.float64, A, i, B, i, i, i, out, i), codegen


if numba.config.DISABLE_JIT:

    def rows_block(A, a, B, b, m, out, o, n):
        for r in range(4):
            for c in range(4):
                left, right = (v.astype(np.float64) for v in (A[a + r * m :][:m], B[b + c * m :][:m]))
                out[o + r * n + c] += left @ right

    def columns_block(C, factor, A, a, B, b, q, n, out, o):
        for r in range(4):
            row = out[o + r * n :][: C * LANES]
            row[:] = factor * sum(np.float64(A[a + k * n + r]) * B[b + k * n :][: C * LANES] for k in range(q))


@inlined
def add_entry_of_rows(A, a, B, b, m, out, o):
    """out[o] += Σ_k A[a + k] B[b + k]."""
    total = 0.0
    for k in range(m):
        total += np.float64(A[a + k]) * B[b + k]
    out[o] += total


@compiled
def add_products_of_rows(A, a, B, b, n, m, half, out):
    """out[i, j] += Σ_k A[i, k] B[j, k] of flat (n, m) matrices from a and b on; of an (n, n) `out`, or its lower half at least."""
    blocks = n - n % 4 if m >= LANES else 0
    for i in range(0, blocks, 4):
        for j in range(0, i + 4 if half else blocks, 4):
            rows_block(A, a + i * m, B, b + j * m, m, out, i * n + j, n)
    for i in range(n):
        for j in range(blocks if i < blocks else 0, i + 1 if half else n):
            add_entry_of_rows(A, a + i * m, B, b + j * m, m, out, i * n + j)


@compiled
def products_of_columns(factor, A, a, B, b, n, q, half, out):
    """out[i, j] = factor Σ_k A[k, i] B[k, j] of flat (q, n) matrices from a and b on; of an (n, n) `out`, or its lower half at least.

    The last block of four rows and the last vector of columns may lie over those before.
    """
    if n < max(LANES, 4):
        out[:] = 0
        for k in range(q):
            for i in range(n):
                for j in range(n):
                    out[i * n + j] += factor * (np.float64(A[a + k * n + i]) * B[b + k * n + j])
        return
    for block in range(0, n, 4):
        i = min(block, n - 4)
        end, j = i + 4 if half else n, 0
        while j < end:
            if j + WIDE * LANES <= min(n, end + LANES - 1):
                columns_block(WIDE, factor, A, a + i, B, b + j, q, n, out, i * n + j)
                j += WIDE * LANES
            else:
                at = min(j, n - LANES)
                columns_block(1, factor, A, a + i, B, b + at, q, n, out, i * n + at)
                j = at + LANES


@compiled
def mirror(n, out):
    """out[j, i] = out[i, j] for all j < i."""
    for i in range(n):
        for j in range(i):
            out[j * n + i] = out[i * n + j]
