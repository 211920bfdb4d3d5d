"""What numba cannot express: borrowed windows into arrays, and register-blocked inner products.

`window` cuts a slice without counting references, which in a network of a few neurons costs as much as the
arithmetic. The two blocks keep R × C vector accumulators in registers, R rows of outputs by C vectors of samples, so that
every load feeds several fused multiply-adds; numba's own loops are vectorised one output row at a time and wait for
loads. Samples are the contiguous axis, their number a multiple of the vector length.

With NUMBA_DISABLE_JIT=1 plain NumPy stands in for each, at the end of this file.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

# Doubles in a vector register of the processor that is compiled for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may say is
# another than this one: code is kept under their names. Floats are processed in vectors of as many lanes.
_settings: Any = numba.config
_features = get_host_cpu_features() if _settings.CPU_FEATURES is None else _settings.CPU_FEATURES
LANES = 8 if "+avx512f" in _features.split(",") else 4
INDEX = ir.IntType(64)


# Where an array of numba's has what it is made of; before its size are its owners.
SIZE, ITEMSIZE, DATA, SHAPE, STRIDES = range(2, 7)


def data_of(builder: Any, array: Any) -> Any:
    """Return the address of the first element."""
    return builder.extract_value(array, DATA)


def array_at(context: Any, builder: Any, kind: Any, data: Any, shape: list[Any]) -> Any:
    """Return the C-contiguous array of this type at `data`. It has no owner, so that LLVM drops what counts references to it.

    numba's own way takes three times as many instructions, by way of memory.
    """
    sizes = [ir.Constant(INDEX, context.get_abi_sizeof(context.get_data_type(kind.dtype)))]  # of an element, a row, …
    for length in reversed(shape[1:]):
        sizes.insert(0, builder.mul(length, sizes[0]))
    array = ir.Constant(context.get_value_type(kind), None)
    size = functools.reduce(builder.mul, shape)
    for at, value in (SIZE, size), (ITEMSIZE, sizes[-1]), (DATA, data):
        array = builder.insert_value(array, value, at)
    for k, (length, stride) in enumerate(zip(shape, sizes, strict=True)):
        array = builder.insert_value(builder.insert_value(array, length, (SHAPE, k)), stride, (STRIDES, k))
    return array


def load_vector(builder: Any, base: Any, index: Any, vector: Any) -> Any:
    """Load a vector from element `index` on; elements are only aligned as scalars."""
    address = builder.bitcast(builder.gep(base, [index]), vector.as_pointer())
    return builder.load(address, align=4 if vector.element == ir.FloatType() else 8)


def store_vector(builder: Any, value: Any, base: Any, index: Any) -> None:
    address = builder.bitcast(builder.gep(base, [index]), value.type.as_pointer())
    builder.store(value, address, align=4 if value.type.element == ir.FloatType() else 8)


def splat(builder: Any, scalar: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)


def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(a.type, [a.type] * 3),
        f"llvm.fma.v{a.type.count}{'f32' if a.type.element == ir.FloatType() else 'f64'}",
    )
    return builder.call(function, [a, b, c])


def _as_it_is(module: Any, branch: Any) -> None:
    """Keep LLVM from unrolling the loop that ends in this branch, whose sums fill the registers: that takes long, and saves no time."""
    words = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = ir.MDValue(module, [], str(len(module.metadata)))  # a node that begins with itself stands for one loop
    loop.operands = loop, words
    branch.set_metadata("llvm.loop", loop)


def accumulate(builder: Any, start: list[Any], count: Any, body: Any) -> list[Any]:
    """Emit `sums = start; for i in range(count): sums = body(i, sums)` over vectors held in registers; return them."""
    entry = builder.block
    loop, end = builder.append_basic_block("block.loop"), builder.append_basic_block("block.end")
    builder.cbranch(builder.icmp_signed(">", count, INDEX(0)), loop, end)
    with builder.goto_block(loop):
        i = builder.phi(INDEX)
        sums = [builder.phi(first.type) for first in start]
        updated = body(i, sums)
        after = builder.add(i, INDEX(1))
        i.add_incoming(INDEX(0), entry)
        i.add_incoming(after, loop)
        for phi, first, new in zip(sums, start, updated, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(new, loop)
        _as_it_is(builder.module, builder.cbranch(builder.icmp_signed("<", after, count), loop, end))
    builder.position_at_end(end)
    results = []
    for first, new in zip(start, updated, strict=True):
        phi = builder.phi(first.type)
        phi.add_incoming(first, entry)
        phi.add_incoming(new, loop)
        results.append(phi)
    return results


def _sum(builder: Any, start: Any, vector: Any) -> Any:
    """Return start + Σ lanes."""
    kind = "f32" if vector.type.element == ir.FloatType() else "f64"
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(start.type, [start.type, vector.type]),
        f"llvm.vector.reduce.fadd.v{vector.type.count}{kind}",
    )
    return builder.call(function, [start, vector], fastmath=("reassoc",))


def sum_of_four(builder: Any, vectors: list[Any]) -> Any:
    """Return the sums over the lanes of four vectors as one vector of four."""

    def pick(left: Any, right: Any, lanes: list[int]) -> Any:
        index = ir.VectorType(ir.IntType(32), len(lanes))
        return builder.shuffle_vector(left, right, ir.Constant(index, lanes))

    def fold(left: Any, right: Any, first: list[int], second: list[int]) -> Any:
        return builder.fadd(pick(left, right, first), pick(left, right, second))

    n = vectors[0].type.count
    groups = range(0, n, 4)
    even = [i for g in groups for i in (g, n + g, g + 2, n + g + 2)]
    ab, cd = (fold(*vectors[i : i + 2], even, [i + 1 for i in even]) for i in (0, 2))
    low = [i for g in groups for i in (g, g + 1, n + g, n + g + 1)]
    total = fold(ab, cd, low, [i + 2 for i in low])  # in each group of four lanes a share of the four sums
    while n > 4:
        n //= 2
        total = fold(total, total, list(range(n)), list(range(n, 2 * n)))
    return total


@intrinsic
def window(typingctx, array, start, size):
    """Return the 1-D view of `size` elements of a C-contiguous array from its flat index `start` on.

    It holds no reference: the array must outlive it. Nothing is checked.
    """
    result = types.Array(array.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        return array_at(context, builder, result, builder.gep(data_of(builder, args[0]), [args[1]]), [args[2]])

    return result(array, types.int64, types.int64), codegen


@functools.cache
def array_on_stack(P: int, dtype: str) -> Any:
    """Return a function that returns an array of P numbers on the stack of its caller, which LLVM can keep in registers."""
    if _settings.DISABLE_JIT:
        return lambda: np.empty(P, dtype)
    kind = numba.typeof(np.empty(0, dtype))

    @intrinsic
    def array(typingctx):
        def codegen(context, builder, signature, args):
            data = cgutils.alloca_once(builder, context.get_data_type(kind.dtype), size=P)
            return array_at(context, builder, kind, data, [INDEX(P)])

        return kind(), codegen

    return array


@intrinsic(prefer_literal=True)
def combine_block(typingctx, R, C, W, w, row, column, bias, A, a, m, T, Z, z):
    """Z[z + r·T + lanes] = W[bias + r] + Σ_k W[w + r·row + k·column] A[a + k·T + lanes], no bias where bias < 0.

    R rows of outputs by C vectors of samples. All arrays are flat: W holds weights and biases, A (m, T), Z (R, T); the other arguments
    are numbers.
    """
    rows, columns = R.literal_value, C.literal_value
    lanes = LANES * (2 if W.dtype == types.float32 else 1)

    def codegen(context, builder, signature, args):
        _, _, _, w_, row_, column_, bias_, _, a_, m_, T_, _, z_ = args
        kinds = signature.args
        element = context.get_value_type(kinds[2].dtype)
        vector = ir.VectorType(element, lanes)
        W_, A_, Z_ = (data_of(builder, args[i]) for i in (2, 7, 11))

        def body(k, sums):
            at = builder.add(a_, builder.mul(k, T_))
            loaded = [load_vector(builder, A_, builder.add(at, INDEX(c * lanes)), vector) for c in range(columns)]
            at = builder.add(w_, builder.mul(k, column_))
            out = []
            for r in range(rows):
                scalar = builder.load(builder.gep(W_, [builder.add(at, builder.mul(INDEX(r), row_))]))
                weight = splat(builder, scalar, vector)
                out += [fma(builder, weight, loaded[c], sums[r * columns + c]) for c in range(columns)]
            return out

        present = builder.icmp_signed(">=", bias_, INDEX(0))
        start = []
        for r in range(rows):
            at = builder.select(present, builder.add(bias_, INDEX(r)), w_)  # in bounds where there is no bias
            shift = builder.select(present, builder.load(builder.gep(W_, [at])), ir.Constant(element, 0.0))
            start += [splat(builder, shift, vector)] * columns
        sums = accumulate(builder, start, m_, body)
        for r in range(rows):
            for c in range(columns):
                at = builder.add(z_, builder.add(builder.mul(INDEX(r), T_), INDEX(c * lanes)))
                store_vector(builder, sums[r * columns + c], Z_, at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(R, C, W, i, i, i, i, A, i, i, i, Z, i), codegen


@intrinsic(prefer_literal=True)
def correlate_block(typingctx, R, C, fresh, D, d, A, a, T, G, g, m):
    """G[g + r·m + c] += Σ_s D[d + r·T + s] A[a + c·T + s] for R rows and C columns, or = where `fresh`.

    All arrays are flat: D holds (R, T), A (C, T), G (R, m); the other arguments are numbers.
    """
    rows, columns = R.literal_value, C.literal_value
    lanes = LANES * (2 if D.dtype == types.float32 else 1)

    def codegen(context, builder, signature, args):
        _, _, fresh_, _, d_, _, a_, T_, _, g_, m_ = args
        kinds = signature.args
        element = context.get_value_type(kinds[3].dtype)
        vector = ir.VectorType(element, lanes)
        D_, A_, G_ = (data_of(builder, args[i]) for i in (3, 5, 8))

        def body(i, sums):
            s = builder.mul(i, INDEX(lanes))

            def load(base, start, r):
                return load_vector(builder, base, builder.add(builder.add(start, s), builder.mul(INDEX(r), T_)), vector)

            left, right = [load(D_, d_, r) for r in range(rows)], [load(A_, a_, c) for c in range(columns)]
            return [fma(builder, left[r], right[c], sums[r * columns + c]) for r in range(rows) for c in range(columns)]

        steps = builder.sdiv(T_, INDEX(lanes))
        sums = accumulate(builder, [ir.Constant(vector, None)] * (rows * columns), steps, body)

        def present(value):
            return builder.select(fresh_, ir.Constant(value.type, None if columns == 4 else 0.0), value)

        for r in range(rows):
            row = builder.add(g_, builder.mul(INDEX(r), m_))
            products = sums[r * columns : (r + 1) * columns]
            if columns == 4:
                added = sum_of_four(builder, products)
                store_vector(builder, builder.fadd(present(load_vector(builder, G_, row, added.type)), added), G_, row)
                continue
            for c in range(columns):
                address = builder.gep(G_, [builder.add(row, INDEX(c))])
                builder.store(_sum(builder, present(builder.load(address)), products[c]), address)
        return context.get_dummy_value()

    i = types.int64
    return types.void(R, C, types.boolean, D, i, A, i, i, G, i, i), codegen


@intrinsic
def four_products(typingctx, A, a, B, b, m, out, o):
    """out[o + r] = Σ_k A[a + r·m + k] B[b + r·m + k] for four rows of m ≥ LANES elements, in doubles."""

    def codegen(context, builder, signature, args):
        _, a_, _, b_, m_, _, o_ = args
        kinds = signature.args
        element = context.get_value_type(kinds[0].dtype)
        narrow, wide = ir.VectorType(element, LANES), ir.VectorType(ir.DoubleType(), LANES)
        A_, B_, out_ = (data_of(builder, args[i]) for i in (0, 2, 5))

        def load(base, start, r, k):
            at = builder.add(builder.add(start, k), builder.mul(INDEX(r), m_))
            vector = load_vector(builder, base, at, narrow)
            return vector if element == ir.DoubleType() else builder.fpext(vector, wide)

        def body(i, sums):
            k = builder.mul(i, INDEX(LANES))
            return [fma(builder, load(A_, a_, r, k), load(B_, b_, r, k), sums[r]) for r in range(4)]

        vectors, zero = builder.sdiv(m_, INDEX(LANES)), ir.Constant(wide, None)
        sums = accumulate(builder, [zero] * 4, vectors, body)
        # What is left of a row: its last LANES elements, without those that have been counted.
        left = builder.sub(m_, builder.mul(vectors, INDEX(LANES)))
        lanes = ir.Constant(ir.VectorType(INDEX, LANES), list(range(LANES)))
        first = splat(builder, builder.sub(INDEX(LANES), left), lanes.type)
        new, k = builder.icmp_signed(">=", lanes, first), builder.sub(m_, INDEX(LANES))
        for r in range(4):
            product = builder.fmul(load(A_, a_, r, k), load(B_, b_, r, k))
            sums[r] = builder.fadd(sums[r], builder.select(new, product, zero))
        store_vector(builder, sum_of_four(builder, sums), out_, o_)
        return context.get_dummy_value()

    i = types.int64
    return types.void(A, i, B, i, i, out, i), codegen


@intrinsic
def subtract_products(typingctx, p, A, a, B, b, q, n, out, o):
    """out[o + lanes] −= p A[a + k·n + lanes] B[b + k·n + lanes] for each k below q, in doubles, one after the other."""

    def codegen(context, builder, signature, args):
        p_, _, a_, _, b_, q_, n_, _, o_ = args
        kinds = signature.args
        element = context.get_value_type(kinds[1].dtype)
        narrow, wide = ir.VectorType(element, LANES), ir.VectorType(ir.DoubleType(), LANES)
        A_, B_, out_ = (data_of(builder, args[i]) for i in (1, 3, 7))
        factor = splat(builder, builder.fneg(p_), wide)

        def load(base, index):
            vector = load_vector(builder, base, index, narrow)
            return vector if element == ir.DoubleType() else builder.fpext(vector, wide)

        def body(k, sums):
            row = builder.mul(k, n_)
            left = builder.fmul(factor, load(A_, builder.add(a_, row)))
            return [fma(builder, left, load(B_, builder.add(b_, row)), sums[0])]

        (total,) = accumulate(builder, [load_vector(builder, out_, o_, wide)], q_, body)
        store_vector(builder, total, out_, o_)
        return context.get_dummy_value()

    i = types.int64
    return types.void(types.float64, A, i, B, i, i, i, out, i), codegen


if numba.config.DISABLE_JIT:

    def subtract_products(p, A, a, B, b, q, n, out, o):
        for k in range(q):
            out[o : o + LANES] -= p * (A[a + k * n :][:LANES].astype(np.float64) * B[b + k * n :][:LANES])

    def four_products(A, a, B, b, m, out, o):
        for r in range(4):
            out[o + r] = np.dot(A[a + r * m : a + (r + 1) * m].astype(np.float64), B[b + r * m : b + (r + 1) * m])

    def window(array, start, size):
        return array.reshape(-1)[start : start + size]

    def combine_block(R, C, W, w, row, column, bias, A, a, m, T, Z, z):
        lanes = C * LANES * 8 // A.itemsize
        for r in range(R):
            shift = W[bias + r] if bias >= 0 else 0
            Z[z + r * T : z + r * T + lanes] = shift + sum(
                W[w + r * row + k * column] * A[a + k * T : a + k * T + lanes] for k in range(m)
            )

    def correlate_block(R, C, fresh, D, d, A, a, T, G, g, m):
        for r in range(R):
            for c in range(C):
                present = 0 if fresh else G[g + r * m + c]
                G[g + r * m + c] = present + np.dot(D[d + r * T : d + (r + 1) * T], A[a + c * T : a + (c + 1) * T])
