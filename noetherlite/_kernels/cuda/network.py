"""The passes of a network by a block of threads: thread `first` of `stride` takes every stride-th piece of each phase.

Samples are the contiguous axis, `ld` apart: one more than there are where a block has them in its shared memory, so that
threads at neighbouring rows read from different banks. Every number is computed by one thread in a fixed order, so that
results do not depend on how many there are.

What passes share: `functions` are those of `scalars.py`, `problem` is a layout.Problem, `data` a Data and `view` a View; `places`
(L, 3) says where the flat matrices (n_h, ld) of layer h begin in `memory` (M,); x and `gradient` are (P,), `values` (slots,);
`h`, `delta`, `fresh`, `first`, `stride` and all of `view` but its order (N,) are numbers.
"""

from __future__ import annotations

import numpy as np

from .jit import device, index


@device
def divided(item, n):
    """Return the quotient and the remainder of two numbers below 2³², of 32 bits as these divide five times as fast."""
    quotient = np.int64(index(item) // index(n))
    return quotient, item - quotient * n


@device
def sample(view, s):
    """Return the number of the s-th sample of a tile."""
    s += view.begin
    return view.order[index(view.offset + s)] if view.offset >= 0 else s


@device
def four_by_two(W, w, row, column, n, i, A, a, step, left, right, m, out, o, ld, s, t):
    """Out[r, (s, t)[q]] = Σ_k W[w + r row + k column] A[a + k step + (left, right)[q]] for the rows r = i … i + 3 that there are.

    All arrays are flat: W holds an n × m matrix or its transpose from w on, A (m, ·) from a on with rows `step` apart, out (n, ·) from
    o on with rows `ld` apart. Eight sums in registers, so that six numbers read are worth eight multiplications; a row beyond the
    last repeats it.
    """
    w0 = w + i * row
    w1, w2, w3 = w + min(i + 1, n - 1) * row, w + min(i + 2, n - 1) * row, w + min(i + 3, n - 1) * row
    s00 = s01 = s10 = s11 = s20 = s21 = s30 = s31 = A.dtype.type(0)
    left, right = a + left, a + right
    k = 0
    while k < m:
        p, q, at = A[index(left + k * step)], A[index(right + k * step)], k * column
        u0, u1, u2, u3 = W[index(w0 + at)], W[index(w1 + at)], W[index(w2 + at)], W[index(w3 + at)]
        s00 += u0 * p
        s01 += u0 * q
        s10 += u1 * p
        s11 += u1 * q
        s20 += u2 * p
        s21 += u2 * q
        s30 += u3 * p
        s31 += u3 * q
        k += 1
    s, t = o + i * ld + s, o + i * ld + t
    out[index(s)], out[index(t)] = s00, s01
    if i + 1 < n:
        out[index(s + ld)], out[index(t + ld)] = s10, s11
    if i + 2 < n:
        out[index(s + 2 * ld)], out[index(t + 2 * ld)] = s20, s21
    if i + 3 < n:
        out[index(s + 3 * ld)], out[index(t + 3 * ld)] = s30, s31


@device
def forward(functions, problem, data, places, h, x, memory, view, first, stride):
    """z_h = W_h a_{h−1} + b_h and a_h = σ_h(z_h), of one tile; z of the last layer lies where its δ will."""
    m, n = problem.widths[h], problem.widths[h + 1]
    W, last = problem.offsets[h, 0], h + 2 == problem.widths.size
    out, half, ld = places[h, 2] if last else places[h, 0], view.slots // 2, view.ld
    item, rows = first, (n + 3) // 4
    while item < rows * half:
        quarter, s = divided(item, half)
        i = 4 * quarter
        if h == 0:
            # Beyond the end the last sample is repeated.
            end = view.end - view.begin - 1
            left, right = sample(view, min(s, end)), sample(view, min(s + half, end))
            four_by_two(x, W, m, 1, n, i, data.inputs, 0, data.n, left, right, m, memory, out, ld, s, s + half)
        else:
            A = places[h - 1, 0]
            four_by_two(x, W, m, 1, n, i, memory, A, ld, s, s + half, m, memory, out, ld, s, s + half)
        # What this thread has just written, in a loop of its own: σ is long, and there once.
        q = 0
        while q < 8:
            r = i + q // 2
            if r < n:
                activate(functions, problem, places, h, x, memory, r, r * ld + s + q % 2 * half)
            q += 1
        item += stride


@device
def activate(functions, problem, places, h, x, memory, r, at):
    """Add the bias of neuron r to its W_h a_{h−1} at one sample, and apply σ_h to it, but in the last layer."""
    a, z_out, bias, beta = places[h, 0], places[h, 1], problem.offsets[h, 1], problem.offsets[h, 2]
    last = h + 2 == problem.widths.size
    out = places[h, 2] if last else a
    z = memory[index(out + at)]
    if bias >= 0:
        z += x[index(bias + r)]
    if last:
        memory[index(out + at)] = z
        return
    if z_out >= 0:
        memory[index(z_out + at)] = z
    c = x[index(beta + r)] if beta >= 0 else problem.parameter[h]
    memory[index(a + at)] = functions.sigma(problem.activation[h], c, z, z)


@device
def loss(functions, problem, data, delta, memory, values, view, first, stride):
    """Each sample's loss times N into `values`, and δ = ∂U/∂z_L in the place of z_L; samples beyond the end count for nothing."""
    n, ld, count = problem.widths[problem.widths.size - 1], view.ld, view.end - view.begin
    c, N = problem.parameter[problem.parameter.size - 1], view.total
    s = first
    while s < view.slots:
        if s < count:
            values[index(s)] = functions.loss(c, n, data, sample(view, s), memory, delta + s, ld, N)
        else:
            for i in range(n):
                memory[index(delta + i * ld + s)] = 0
        s += stride


@device
def add_up(values, view, losses, which, tile):
    """The tile's share of U, by one thread: added to, or set by the first tile."""
    total = 0.0
    s = 0
    while s < view.end - view.begin:
        total += values[index(s)]
        s += 1
    losses[which] = total / view.total + (losses[which] if tile > 0 else 0.0)


@device
def backward(functions, problem, data, places, h, x, memory, gradient, view, first, stride):
    """∂U/∂W_h, ∂U/∂b_h and ∂U/∂β_h from δ_h, added to those of earlier tiles; and δ_{h−1} = (W_hᵀ δ_h) σ′(z_{h−1})."""
    fresh = view.begin == 0
    weights(problem, data, places, h, memory, gradient, view, fresh, first, stride)
    n, ld, delta = problem.widths[h + 1], view.ld, places[h, 2]
    bias, beta = problem.offsets[h, 1], problem.offsets[h, 2]
    # The last threads first: those that the weights may have left without work.
    i = stride - 1 - first
    while i < n:
        if bias >= 0:
            row_sum(memory, delta + i * ld, view, gradient, bias + i, fresh)
        if beta >= 0:  # the samples' shares lie where z was
            row_sum(memory, places[h, 1] + i * ld, view, gradient, beta + i, fresh)
        i += stride
    if h > 0:
        deltas(functions, problem, places, h, x, memory, view, first, stride)


@device
def row_sum(memory, at, view, gradient, where, fresh):
    """Σ of a row's samples, added to what is there unless `fresh`."""
    total = memory.dtype.type(0)
    s = 0
    while s < view.end - view.begin:
        total += memory[index(at + s)]
        s += 1
    put(gradient, where, total, fresh)


@device
def weights(problem, data, places, h, memory, gradient, view, fresh, first, stride):
    """∂U/∂W_h = δ_h a_{h−1}ᵀ, in squares of two rows and two columns."""
    m, n = problem.widths[h], problem.widths[h + 1]
    W, half, count = problem.offsets[h, 0], (m + 1) // 2, view.end - view.begin
    item, rows = first, (n + 1) // 2
    while item < rows * half:
        pair, k = divided(item, half)
        i = 2 * pair
        j, l = min(i + 1, n - 1), min(k + half, m - 1)
        s00 = s01 = s10 = s11 = memory.dtype.type(0)
        upper, lower = places[h, 2] + i * view.ld, places[h, 2] + j * view.ld
        if h == 0:
            s = 0
            while s < count:
                at = sample(view, s) * m
                p, q = data.X[index(at + k)], data.X[index(at + l)]
                u, d = memory[index(upper + s)], memory[index(lower + s)]
                s00 += u * p
                s01 += u * q
                s10 += d * p
                s11 += d * q
                s += 1
        else:
            left, right = places[h - 1, 0] + k * view.ld, places[h - 1, 0] + l * view.ld
            s = 0
            while s < count:
                p, q = memory[index(left + s)], memory[index(right + s)]
                u, d = memory[index(upper + s)], memory[index(lower + s)]
                s00 += u * p
                s01 += u * q
                s10 += d * p
                s11 += d * q
                s += 1
        put(gradient, W + i * m + k, s00, fresh)
        if k + half < m:
            put(gradient, W + i * m + l, s01, fresh)
        if i + 1 < n:
            put(gradient, W + j * m + k, s10, fresh)
            if k + half < m:
                put(gradient, W + j * m + l, s11, fresh)
        item += stride


@device
def put(gradient, where, value, fresh):
    """Set an entry, or add to it."""
    gradient[index(where)] = value if fresh else gradient[index(where)] + value


@device
def deltas(functions, problem, places, h, x, memory, view, first, stride):
    """δ_{h−1} = (W_hᵀ δ_h) σ′(z_{h−1}), and each sample's share of ∂U/∂β_{h−1} in the place of z_{h−1}."""
    m, n = problem.widths[h], problem.widths[h + 1]
    W, delta, half, ld = problem.offsets[h, 0], places[h - 1, 2], view.slots // 2, view.ld
    item, rows = first, (m + 3) // 4
    while item < rows * half:
        quarter, s = divided(item, half)
        i, t = 4 * quarter, s + half
        four_by_two(x, W, 1, m, m, i, memory, places[h, 2], ld, s, t, n, memory, delta, ld, s, t)
        q = 0
        while q < 8:
            r = i + q // 2
            if r < m:
                d_activate(functions, problem, places, h - 1, x, memory, r, r * ld + s + q % 2 * half)
            q += 1
        item += stride


@device
def d_activate(functions, problem, places, h, x, memory, r, at):
    """δ = d σ′(z) in the place of d, of neuron r of layer h at one sample; with a trained β, z ← d ∂σ/∂β."""
    a, z, delta, beta = places[h, 0], places[h, 1], places[h, 2], problem.offsets[h, 2]
    c = x[index(beta + r)] if beta >= 0 else problem.parameter[h]
    d, sigma = memory[index(delta + at)], memory[index(a + at)]
    value = memory[index(z + at)] if z >= 0 else sigma
    memory[index(delta + at)] = d * functions.d_sigma(problem.activation[h], c, value, sigma)
    if beta >= 0:
        memory[index(z + at)] = d * functions.d_parameter(problem.activation[h], c, value, value)
