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
from ._jit import compiled
from .simd import LANES, combine_block, correlate_block


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
    for i in range(0, n - n % 4, 4):
        for s in range(0, T - T % (2 * lanes), 2 * lanes):
            combine_block(4, 2, W, w + i * row, row, column, bias, A, a + s, m, T, Z, z + i * T + s)
        for s in range(T - T % (2 * lanes), T, lanes):
            combine_block(4, 1, W, w + i * row, row, column, bias, A, a + s, m, T, Z, z + i * T + s)
        bias += 4 if bias >= 0 else 0
    for i in range(n - n % 4, n):
        for s in range(0, T - T % (2 * lanes), 2 * lanes):
            combine_block(1, 2, W, w + i * row, row, column, bias, A, a + s, m, T, Z, z + i * T + s)
        for s in range(T - T % (2 * lanes), T, lanes):
            combine_block(1, 1, W, w + i * row, row, column, bias, A, a + s, m, T, Z, z + i * T + s)
        bias += 1 if bias >= 0 else 0


@compiled
def correlate(D, d, A, a, n, m, T, G, g):
    """G[i, k] += Σ_s D[i, s] A[k, s]; D, A and G start at d, a and g."""
    for i in range(0, n - n % 4, 4):
        for k in range(0, m - m % 4, 4):
            correlate_block(4, 4, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        for k in range(m - m % 4, m):
            correlate_block(4, 1, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
    for i in range(n - n % 4, n):
        for k in range(0, m - m % 4, 4):
            correlate_block(1, 4, D, d + i * T, A, a + k * T, T, G, g + i * m + k, m)
        for k in range(m - m % 4, m):
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


@compiled
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


@compiled
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


@compiled
def view(x, start, size):
    """Return the block of θ at `start`, empty where the layer has none."""
    return x[start : start + size] if start >= 0 else x[:0]


@compiled
def dense(tiles, x, W, bias, n, m, A, a, Z, z):
    """z_h = W_h a_{h−1} + b_h."""
    T = tiles.inputs.shape[2]
    if not tiles.blas:
        combine(x, W, m, 1, bias, n, m, A, a, T, Z, z)
        return
    out = Z[z : z + n * T].reshape(n, T)
    np.dot(x[W : W + n * m].reshape(n, m), A[a : a + m * T].reshape(m, T), out)
    if bias >= 0:
        for i in range(n):
            for s in range(T):
                out[i, s] += x[bias + i]


@compiled
def forward(problem, x, tiles, tile):
    """Fill tiles.z and tiles.a with the layers' values on one tile."""
    T, last = tiles.inputs.shape[2], problem.widths.size - 2
    A, a, z = tiles.inputs.reshape(-1), tile * problem.widths[0] * T, 0
    for h in range(last + 1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias, beta = problem.offsets[h]
        dense(tiles, x, W, bias, n, m, A, a, tiles.z, z)
        if h < last:
            Z, out, code, c = (
                tiles.z[z : z + n * T],
                tiles.a[z : z + n * T],
                problem.activation[h],
                problem.parameter[h],
            )
            if beta < 0:
                activate(code, c, Z, out)
            else:
                for i in range(n):
                    activate(code, x[beta + i], Z[i * T : (i + 1) * T], out[i * T : (i + 1) * T])
        A, a, z = tiles.a, z, z + n * T


@compiled
def nll(Z, labels, n, T, count, N, scratch):
    """Σ_s −log softmax(z)_y / N over the first `count` samples; z ← (softmax(z) − 1_y) / N, zero for the others."""
    top, total = scratch[:T], scratch[T : 2 * T]
    for s in range(T):
        top[s] = Z[s]
        total[s] = 0
    for i in range(1, n):
        z = Z[i * T : (i + 1) * T]
        for s in range(T):
            top[s] = max(top[s], z[s])
    loss = 0.0
    for s in range(count):
        loss += top[s] - Z[labels[s] * T + s]
    for i in range(n):
        z = Z[i * T : (i + 1) * T]
        for s in range(T):
            z[s] = pointwise.exp(z[s] - top[s])
            total[s] += z[s]
    for s in range(T):
        if s < count:
            loss += math.log(total[s])
        total[s] = 1 / (N * total[s]) if s < count else 0.0
    for i in range(n):
        z = Z[i * T : (i + 1) * T]
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
        z, y = Z[i * T : (i + 1) * T], targets[i]
        for s in range(T):
            difference = z[s] - y[s] if s < count else 0.0
            loss += difference * difference
            z[s] = difference / N
    return loss / (2 * N)


@compiled
def tile_loss(problem, tiles, tile):
    """Return the tile's share of U, its derivative by the outputs left in the last block of tiles.z."""
    n, T = problem.widths[-1], tiles.inputs.shape[2]
    Z = tiles.z[-n * T :]
    count = min(T, tiles.n - tile * T)
    if problem.loss == layout.NLL:
        return nll(Z, tiles.labels[tile], n, T, count, tiles.n, tiles.scratch)
    return mse(Z, tiles.targets[tile], n, T, count, tiles.n)


@compiled
def backward(problem, x, tiles, tile, gradient):
    """Add the tile's ∂U/∂θ to `gradient`, from ∂U/∂z_L in tiles.z; with BLAS (one tile) overwrite the weights'."""
    T = tiles.inputs.shape[2]
    z = tiles.z.size
    for h in range(problem.widths.size - 2, -1, -1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias, _ = problem.offsets[h]
        z -= n * T
        A, a = (tiles.a, z - m * T) if h > 0 else (tiles.inputs.reshape(-1), tile * m * T)
        if tiles.blas:
            G = gradient[W : W + n * m].reshape(n, m)
            np.dot(tiles.z[z : z + n * T].reshape(n, T), A[a : a + m * T].reshape(m, T).T, G)
        else:
            correlate(tiles.z, z, A, a, n, m, T, gradient, W)
        if bias >= 0:
            for i in range(n):
                gradient[bias + i] += total(tiles.z[z + i * T : z + (i + 1) * T])
        if h > 0:
            D = tiles.scratch[: m * T]
            if tiles.blas:
                np.dot(x[W : W + n * m].reshape(n, m).T, tiles.z[z : z + n * T].reshape(n, T), D.reshape(m, T))
            else:
                combine(x, W, 1, m, -1, m, n, tiles.z, z, T, tiles.scratch, 0)
            d_layer(problem, x, h - 1, D, tiles.z[z - m * T : z], tiles.a[z - m * T : z], T, gradient)


@compiled
def d_layer(problem, x, h, D, Z, A, T, gradient):
    """Turn z of hidden layer h into ∂U/∂z, from D = ∂U/∂a; add ∂U/∂β where β is trained."""
    code, beta = problem.activation[h], problem.offsets[h, 2]
    if beta < 0:
        d_activate(code, problem.parameter[h], D, Z, A)
        return
    for i in range(problem.widths[h + 1]):
        d, z, a = D[i * T : (i + 1) * T], Z[i * T : (i + 1) * T], A[i * T : (i + 1) * T]
        for s in range(T):
            gradient[beta + i] += d[s] * pointwise.swish_by_beta(x[beta + i], z[s])
        d_activate(code, x[beta + i], d, z, a)


@compiled
def total(d):
    """Return Σ_s d_s."""
    out = d.dtype.type(0)
    for s in range(d.size):
        out += d[s]
    return out


@compiled
def network(problem, tiles, x, gradient, wanted):
    """Return U(x) on the samples in `tiles`; write ∇U(x) into `gradient` if it is wanted."""
    value = 0.0
    if wanted:
        gradient[:] = 0
    for tile in range(tiles.inputs.shape[0]):
        forward(problem, x, tiles, tile)
        value += tile_loss(problem, tiles, tile)
        if wanted:
            backward(problem, x, tiles, tile, gradient)
    return value
