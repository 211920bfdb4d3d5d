"""Register-blocked inner products for small matrices, emitted as LLVM vector instructions.

numba's loops are vectorised by LLVM one output row at a time, which leaves small matrix products waiting for loads. The
two blocks below keep R × C vector accumulators in registers, R rows of outputs by C vectors of samples, so that every
load feeds several fused multiply-adds. Samples are the contiguous axis and their number is a multiple of `LANES`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

# Doubles in a vector register of this machine; floats are processed in vectors of as many lanes.
LANES = 8 if binding.get_host_cpu_features().get("avx512f", False) else 4
_INDEX = ir.IntType(64)


def _pointer(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


def _vector(builder: Any, base: Any, index: Any, vector: Any) -> Any:
    """Load a vector from element `index` on; elements are only aligned as scalars."""
    address = builder.bitcast(builder.gep(base, [index]), vector.as_pointer())
    return builder.load(address, align=4 if vector.element == ir.FloatType() else 8)


def _store(builder: Any, value: Any, base: Any, index: Any) -> None:
    address = builder.bitcast(builder.gep(base, [index]), value.type.as_pointer())
    builder.store(value, address, align=4 if value.type.element == ir.FloatType() else 8)


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(a.type, [a.type] * 3),
        f"llvm.fma.v{a.type.count}{'f32' if a.type.element == ir.FloatType() else 'f64'}",
    )
    return builder.call(function, [a, b, c])


def _accumulate(builder: Any, start: list[Any], count: Any, body: Any) -> list[Any]:
    """Emit `sums = start; for i in range(count): sums = body(i, sums)` over vectors held in registers; return them."""
    entry = builder.block
    loop, end = builder.append_basic_block("block.loop"), builder.append_basic_block("block.end")
    builder.cbranch(builder.icmp_signed(">", count, _INDEX(0)), loop, end)
    with builder.goto_block(loop):
        i = builder.phi(_INDEX)
        sums = [builder.phi(first.type) for first in start]
        updated = body(i, sums)
        after = builder.add(i, _INDEX(1))
        i.add_incoming(_INDEX(0), entry)
        i.add_incoming(after, loop)
        for phi, first, new in zip(sums, start, updated, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", after, count), loop, end)
    builder.position_at_end(end)
    results = []
    for first, new in zip(start, updated, strict=True):
        phi = builder.phi(first.type)
        phi.add_incoming(first, entry)
        phi.add_incoming(new, loop)
        results.append(phi)
    return results


@intrinsic(prefer_literal=True)
def combine_block(typingctx, R, C, W, w, row, column, bias, A, a, m, T, Z, z):
    """Z[z + r·T + lanes] = W[bias + r] + Σ_k W[w + r·row + k·column] A[a + k·T + lanes], no bias where bias < 0.

    R rows of outputs by C vectors of samples.
    """
    rows, columns = R.literal_value, C.literal_value
    lanes = LANES * (2 if W.dtype == types.float32 else 1)

    def codegen(context, builder, signature, args):
        _, _, _, w_, row_, column_, bias_, _, a_, m_, T_, _, z_ = args
        kinds = signature.args
        element = context.get_value_type(kinds[2].dtype)
        vector = ir.VectorType(element, lanes)
        W_, A_, Z_ = (_pointer(context, builder, kinds[i], args[i]) for i in (2, 7, 11))

        def body(k, sums):
            at = builder.add(a_, builder.mul(k, T_))
            loaded = [_vector(builder, A_, builder.add(at, _INDEX(c * lanes)), vector) for c in range(columns)]
            at = builder.add(w_, builder.mul(k, column_))
            out = []
            for r in range(rows):
                scalar = builder.load(builder.gep(W_, [builder.add(at, builder.mul(_INDEX(r), row_))]))
                weight = _splat(builder, scalar, vector)
                out += [_fma(builder, weight, loaded[c], sums[r * columns + c]) for c in range(columns)]
            return out

        present = builder.icmp_signed(">=", bias_, _INDEX(0))
        start = []
        for r in range(rows):
            at = builder.select(present, builder.add(bias_, _INDEX(r)), w_)  # in bounds where there is no bias
            shift = builder.select(present, builder.load(builder.gep(W_, [at])), ir.Constant(element, 0.0))
            start += [_splat(builder, shift, vector)] * columns
        sums = _accumulate(builder, start, m_, body)
        for r in range(rows):
            for c in range(columns):
                at = builder.add(z_, builder.add(builder.mul(_INDEX(r), T_), _INDEX(c * lanes)))
                _store(builder, sums[r * columns + c], Z_, at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(R, C, W, i, i, i, i, A, i, i, i, Z, i), codegen


@intrinsic(prefer_literal=True)
def correlate_block(typingctx, R, C, D, d, A, a, T, G, g, m):
    """G[g + r·m + c] += Σ_s D[d + r·T + s] A[a + c·T + s] for R rows and C columns."""
    rows, columns = R.literal_value, C.literal_value
    lanes = LANES * (2 if D.dtype == types.float32 else 1)

    def codegen(context, builder, signature, args):
        _, _, _, d_, _, a_, T_, _, g_, m_ = args
        kinds = signature.args
        element = context.get_value_type(kinds[2].dtype)
        vector = ir.VectorType(element, lanes)
        D_, A_, G_ = (_pointer(context, builder, kinds[i], args[i]) for i in (2, 4, 7))

        def body(i, sums):
            s = builder.mul(i, _INDEX(lanes))

            def load(base, start, r):
                return _vector(builder, base, builder.add(builder.add(start, s), builder.mul(_INDEX(r), T_)), vector)

            left, right = [load(D_, d_, r) for r in range(rows)], [load(A_, a_, c) for c in range(columns)]
            return [
                _fma(builder, left[r], right[c], sums[r * columns + c]) for r in range(rows) for c in range(columns)
            ]

        steps = builder.sdiv(T_, _INDEX(lanes))
        sums = _accumulate(builder, [ir.Constant(vector, None)] * (rows * columns), steps, body)
        reduce = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(element, [element, vector]),
            f"llvm.vector.reduce.fadd.v{lanes}{'f32' if element == ir.FloatType() else 'f64'}",
        )
        for r in range(rows):
            for c in range(columns):
                address = builder.gep(G_, [builder.add(g_, builder.add(builder.mul(_INDEX(r), m_), _INDEX(c)))])
                total = builder.call(reduce, [builder.load(address), sums[r * columns + c]], fastmath=("reassoc",))
                builder.store(total, address)
        return context.get_dummy_value()

    i = types.int64
    return types.void(R, C, D, i, A, i, i, G, i, i), codegen
