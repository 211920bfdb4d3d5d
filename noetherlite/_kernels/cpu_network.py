"""Forward and backward passes of a fully connected network, by hand.

Samples are the contiguous axis: layer h holds z_h, a_h of shape (n_h, T) for a tile of T samples, flattened. Small
networks go through our own loops tile by tile, the tile chosen so that the whole network stays in the first-level
cache; large ones go through BLAS with all samples as one tile. The backward pass overwrites z_h with ∂U/∂z_h.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import layout, pointwise
from ._jit import compiled, inlined
from .intrinsics import LANES, combine_block, correlate_block, window


class Tiles(NamedTuple):
    """Samples, transposed and cut into tiles (one that is not full repeats its last sample), and memory for a pass."""

    n: int  # samples held
    blas: int  # 1: dense products by BLAS, a single tile; 0: by our loops
    inputs: NDArray[Any]  # (n_tiles, n_0, T)
    labels: NDArray[np.int64]  # (n_tiles, T), or empty
    targets: NDArray[Any]  # (n_tiles, n_L, T), or empty
    z: NDArray[Any]  # (Σ_h n_h T,)
    a: NDArray[Any]  # (Σ_h n_h T,)
    scratch: NDArray[Any]  # (max(n_h, 2) T,)


@compiled
def load(problem, chosen, tiles):
    """Copy the samples with indices `chosen` into `tiles`."""
    T = tiles.inputs.shape[2]
    for tile in range(tiles.inputs.shape[0]):
        for s in range(T):
            sample = chosen[min(tile * T + s, tiles.n - 1)]
            for j in range(problem.widths[0]):
                tiles.inputs[tile, j, s] = problem.X[sample, j]
            if problem.loss == layout.NLL:
                tiles.labels[tile, s] = problem.labels[sample]
            else:
                for j in range(problem.targets.shape[1]):
                    tiles.targets[tile, j, s] = problem.targets[sample, j]


@compiled
def combine(W, w, row, column, bias, n, m, A, a, T, Z, z):
    """Z[i] = W[bias + i] + Σ_k W[w + i·row + k·column] A[k] over rows of T samples; no bias where bias < 0.

    With (row, column) = (m, 1) this is W A + b, with (1, m) it is Wᵀ A. A and Z start at a and z.
    """
    lanes = LANES * 8 // A.itemsize
    pairs = T - T % (2 * lanes)
    whole = n - n % 4
    for i in range(0, whole, 4):
        shift = bias + i if bias >= 0 else bias
        for s in range(0, pairs, 2 * lanes):
            combine_block(4, 2, W, w + i * row, row, column, shift, A, a + s, m, T, Z, z + i * T + s)
        if pairs < T:
            combine_block(4, 1, W, w + i * row, row, column, shift, A, a + pairs, m, T, Z, z + i * T + pairs)
    left, row_w, row_z = n - whole, w + whole * row, z + whole * T
    shift = bias + whole if bias >= 0 else bias
    for s in range(0, pairs, 2 * lanes):
        if left == 3:
            combine_block(3, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
        elif left == 2:
            combine_block(2, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
        elif left == 1:
            combine_block(1, 2, W, row_w, row, column, shift, A, a + s, m, T, Z, row_z + s)
    for i in range(left if pairs < T else 0):
        own = shift + i if bias >= 0 else bias
        combine_block(1, 1, W, row_w + i * row, row, column, own, A, a + pairs, m, T, Z, row_z + i * T + pairs)


@compiled
def correlate(D, d, A, a, n, m, T, G, g):
    """G[i, k] += Σ_s D[i, s] A[k, s]; D, A and G start at d, a and g."""
    whole = n - n % 4
    for k in range(0, m - m % 4, 4):
        for i in range(0, whole, 4):
            correlate_block(4, 4, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        if n % 4 == 3:
            correlate_block(3, 4, D, d + whole * T, A, a + k * T, T, G, g + whole * m + k, m)
        elif n % 4 == 2:
            correlate_block(2, 4, D, d + whole * T, A, a + k * T, T, G, g + whole * m + k, m)
        elif n % 4 == 1:
            correlate_block(1, 4, D, d + whole * T, A, a + k * T, T, G, g + whole * m + k, m)
    for k in range(m - m % 4, m):
        for i in range(0, whole, 4):
            correlate_block(4, 1, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        for i in range(whole, n):
            correlate_block(1, 1, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)


@compiled
def each(f, c, z, a):
    """a = f(c, z)."""
    for s in range(z.size):
        a[s] = f(c, z[s])


@compiled
def d_each(df, c, d, z, a):
    """z ← d · f′(c, z)."""
    for s in range(z.size):
        z[s] = d[s] * df(c, z[s], a[s])


@inlined
def activate(code, c, z, a):
    """a = σ(z); c is the layer's parameter, or β of the neuron whose samples these are."""
    if code == layout.LINEAR:
        each(pointwise.linear, c, z, a)
    elif code == layout.RELU:
        each(pointwise.relu, c, z, a)
    elif code == layout.LEAKY_RELU:
        each(pointwise.leaky_relu, c, z, a)
    elif code == layout.POLYNOMIAL:
        each(pointwise.polynomial, c, z, a)
    elif code == layout.REPU:
        each(pointwise.repu, c, z, a)
    elif code == layout.SWISH:
        each(pointwise.swish, c, z, a)
    else:
        each(pointwise.tanh, c, z, a)


@inlined
def d_activate(code, c, d, z, a):
    """z ← d · σ′(z), with a = σ(z)."""
    if code == layout.LINEAR:
        d_each(pointwise.d_linear, c, d, z, a)
    elif code == layout.RELU:
        d_each(pointwise.d_relu, c, d, z, a)
    elif code == layout.LEAKY_RELU:
        d_each(pointwise.d_leaky_relu, c, d, z, a)
    elif code == layout.POLYNOMIAL:
        d_each(pointwise.d_polynomial, c, d, z, a)
    elif code == layout.REPU:
        d_each(pointwise.d_repu, c, d, z, a)
    elif code == layout.SWISH:
        d_each(pointwise.d_swish, c, d, z, a)
    else:
        d_each(pointwise.d_tanh, c, d, z, a)


@inlined
def inputs_of(tiles):
    """Return all inputs, flat."""
    return window(tiles.inputs, 0, tiles.inputs.size)


@compiled
def forward(problem, x, tiles, tile):
    """Fill tiles.z and tiles.a with the layers' values on one tile: z_h = W_h a_{h−1} + b_h, a_h = σ_h(z_h)."""
    T, last = tiles.inputs.shape[2], problem.widths.size - 2
    A, a, z = inputs_of(tiles), tile * problem.widths[0] * T, np.int64(0)
    for h in range(last + 1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias, beta = problem.offsets[h, 0], problem.offsets[h, 1], problem.offsets[h, 2]
        code, c = problem.activation[h], problem.parameter[h]
        if tiles.blas:
            Z = window(tiles.z, z, n * T).reshape(n, T)
            np.dot(window(x, W, n * m).reshape(n, m), window(A, a, m * T).reshape(m, T), Z)
        else:
            combine(x, W, m, np.int64(1), bias, n, m, A, a, T, tiles.z, z)
        if tiles.blas or beta >= 0:  # neuron by neuron: BLAS has not added the bias, or each neuron has its own β
            for i in range(n):
                row = window(tiles.z, z + i * T, T)
                if tiles.blas and bias >= 0:
                    shift = x[bias + i]
                    for s in range(T):
                        row[s] += shift
                if h < last:
                    activate(code, x[beta + i] if beta >= 0 else c, row, window(tiles.a, z + i * T, T))
        elif h < last:
            activate(code, c, window(tiles.z, z, n * T), window(tiles.a, z, n * T))
        A, a = window(tiles.a, 0, tiles.a.size), z
        z += n * T


@compiled
def nll(Z, labels, n, T, count, N, scratch):
    """Σ_s −log softmax(z)_y / N over the first `count` samples; z ← (softmax(z) − 1_y) / N, zero for the others."""
    top, total = window(scratch, 0, T), window(scratch, T, T)
    for s in range(T):
        top[s] = Z[s]
        total[s] = 0
    for i in range(1, n):
        z = window(Z, i * T, T)
        for s in range(T):
            top[s] = max(top[s], z[s])
    loss = 0.0
    for s in range(count):
        loss += top[s] - Z[labels[s] * T + s]
    for i in range(n):
        z = window(Z, i * T, T)
        for s in range(T):
            z[s] = pointwise.exp(z[s] - top[s])
            total[s] += z[s]
    product = 1.0  # one logarithm for many samples: each factor lies between 1 and n
    for s in range(count):
        product *= total[s]
        if product > 1e200:
            loss += math.log(product)
            product = 1.0
    loss += math.log(product)
    for s in range(T):
        total[s] = 1 / (N * total[s]) if s < count else 0.0
    for i in range(n):
        z = window(Z, i * T, T)
        for s in range(T):
            z[s] *= total[s]
    for s in range(count):
        Z[labels[s] * T + s] -= 1 / N
    return loss / N


@compiled
def mse(Z, targets, n, T, count, N):
    """Σ_s |z − y|² / 2N over the first `count` samples; z ← (z − y) / N, zero for the others."""
    loss = 0.0
    for i in range(n):
        z, y = window(Z, i * T, T), window(targets, i * T, T)
        for s in range(T):
            difference = z[s] - y[s] if s < count else 0.0
            loss += difference * difference
            z[s] = difference / N
    return loss / (2 * N)


@inlined
def tile_loss(problem, tiles, tile):
    """Return the tile's share of U, its derivative by the outputs left in the last block of tiles.z."""
    n, T = problem.widths[-1], tiles.inputs.shape[2]
    Z = window(tiles.z, tiles.z.size - n * T, n * T)
    count = min(T, tiles.n - tile * T)
    if problem.loss == layout.NLL:
        return nll(Z, window(tiles.labels, tile * T, T), n, T, count, tiles.n, tiles.scratch)
    return mse(Z, window(tiles.targets, tile * n * T, n * T), n, T, count, tiles.n)


@inlined
def backward(problem, x, tiles, tile, gradient):
    """Add the tile's ∂U/∂θ to `gradient`, from ∂U/∂z_L in tiles.z; with BLAS (one tile) overwrite the weights'."""
    T = tiles.inputs.shape[2]
    z = tiles.z.size
    for h in range(problem.widths.size - 2, -1, -1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias = problem.offsets[h, 0], problem.offsets[h, 1]
        z -= n * T
        A, a = (window(tiles.a, 0, tiles.a.size), z - m * T) if h > 0 else (inputs_of(tiles), tile * m * T)
        if tiles.blas:
            G = window(gradient, W, n * m).reshape(n, m)
            np.dot(window(tiles.z, z, n * T).reshape(n, T), window(A, a, m * T).reshape(m, T).T, G)
        else:
            correlate(tiles.z, z, A, a, n, m, T, gradient, W)
        if bias >= 0:
            add_sums(tiles.z, z, n, T, gradient, bias)
        if h > 0:
            D = window(tiles.scratch, 0, m * T)
            if tiles.blas:
                np.dot(window(x, W, n * m).reshape(n, m).T, window(tiles.z, z, n * T).reshape(n, T), D.reshape(m, T))
            else:
                combine(x, W, np.int64(1), m, np.int64(-1), m, n, tiles.z, z, T, D, np.int64(0))
            d_layer(
                problem, x, h - 1, D, window(tiles.z, z - m * T, m * T), window(tiles.a, z - m * T, m * T), T, gradient
            )


@inlined
def d_layer(problem, x, h, D, Z, A, T, gradient):
    """Turn z of hidden layer h into ∂U/∂z, from D = ∂U/∂a; add ∂U/∂β where β is trained."""
    code, beta = problem.activation[h], problem.offsets[h, 2]
    if beta < 0:
        d_activate(code, problem.parameter[h], D, Z, A)
        return
    for i in range(problem.widths[h + 1]):
        d, z, a = window(D, i * T, T), window(Z, i * T, T), window(A, i * T, T)
        by_beta = gradient.dtype.type(0)
        for s in range(T):
            by_beta += d[s] * pointwise.swish_by_beta(x[beta + i], z[s])
        gradient[beta + i] += by_beta
        d_activate(code, x[beta + i], d, z, a)


@inlined
def clear(problem, blas, gradient):
    """Zero what the tiles' gradients are added to: all of it, or with BLAS all but the weights'."""
    for h in range(problem.widths.size - 1):
        n = problem.widths[h + 1]
        for block in range(1 if blas else 0, 3):
            start = problem.offsets[h, block]
            if start >= 0:
                for i in range(start, start + (n * problem.widths[h] if block == 0 else n)):
                    gradient[i] = 0


@compiled
def add_sums(D, d, n, T, G, g):
    """G[i] += Σ_s D[i, s]."""
    for i in range(n):
        row, total = window(D, d + i * T, T), D.dtype.type(0)
        for s in range(T):
            total += row[s]
        G[g + i] += total


@compiled
def network(problem, tiles, x, gradient):
    """Return U(x) on the samples in `tiles`; write ∇U(x) into `gradient`, unless that is empty."""
    value = 0.0
    if gradient.size > 0:
        clear(problem, tiles.blas, gradient)
    for tile in range(tiles.inputs.shape[0]):
        forward(problem, x, tiles, tile)
        value += tile_loss(problem, tiles, tile)
        if gradient.size > 0:
            backward(problem, x, tiles, tile, gradient)
    return value
