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
def combine(W, row, column, n, m, A, T, Z):
    """Z[i] = Σ_k W[i·row + k·column] A[k] over rows of T samples: W A, or Wᵀ A with the strides exchanged."""
    for i in range(n):
        z = Z[i * T : (i + 1) * T]
        for s in range(T):
            z[s] = 0
        k = 0
        while k + 4 <= m:
            o = i * row + k * column
            w0, w1, w2, w3 = W[o], W[o + column], W[o + 2 * column], W[o + 3 * column]
            a0 = A[k * T : (k + 1) * T]
            a1 = A[(k + 1) * T : (k + 2) * T]
            a2 = A[(k + 2) * T : (k + 3) * T]
            a3 = A[(k + 3) * T : (k + 4) * T]
            for s in range(T):
                z[s] += (w0 * a0[s] + w1 * a1[s]) + (w2 * a2[s] + w3 * a3[s])
            k += 4
        while k < m:
            w0 = W[i * row + k * column]
            a0 = A[k * T : (k + 1) * T]
            for s in range(T):
                z[s] += w0 * a0[s]
            k += 1


@compiled
def correlate(D, A, n, m, T, G):
    """G[i, k] += Σ_s D[i, s] A[k, s]."""
    for i in range(n):
        d = D[i * T : (i + 1) * T]
        for k in range(m):
            a = A[k * T : (k + 1) * T]
            total = G[i * m + k]
            for s in range(T):
                total += d[s] * a[s]
            G[i * m + k] = total


@compiled
def rows(f, c, beta, bias, n, T, Z, A):
    """Z += bias, a = f(c, z), row by row; c is β of the neuron where β is given."""
    for i in range(n):
        z, a = Z[i * T : (i + 1) * T], A[i * T : (i + 1) * T]
        shift = bias[i] if bias.size else bias.dtype.type(0)
        own = beta[i] if beta.size else c
        for s in range(T):
            z[s] += shift
            a[s] = f(own, z[s])


@compiled
def d_rows(df, c, beta, n, T, D, A, Z):
    """Z ← d · f′(c, z), row by row."""
    for i in range(n):
        z, a, d = Z[i * T : (i + 1) * T], A[i * T : (i + 1) * T], D[i * T : (i + 1) * T]
        own = beta[i] if beta.size else c
        for s in range(T):
            z[s] = d[s] * df(own, z[s], a[s])


@compiled
def activate(code, c, beta, bias, n, T, Z, A):
    if code == layout.LINEAR:
        rows(pointwise.linear, c, beta, bias, n, T, Z, A)
    elif code == layout.RELU:
        rows(pointwise.relu, c, beta, bias, n, T, Z, A)
    elif code == layout.LEAKY_RELU:
        rows(pointwise.leaky_relu, c, beta, bias, n, T, Z, A)
    elif code == layout.POLYNOMIAL:
        rows(pointwise.polynomial, c, beta, bias, n, T, Z, A)
    elif code == layout.REPU:
        rows(pointwise.repu, c, beta, bias, n, T, Z, A)
    elif code == layout.SWISH:
        rows(pointwise.swish, c, beta, bias, n, T, Z, A)
    else:
        rows(pointwise.tanh, c, beta, bias, n, T, Z, A)


@compiled
def d_activate(code, c, beta, n, T, D, A, Z):
    if code == layout.LINEAR:
        d_rows(pointwise.d_linear, c, beta, n, T, D, A, Z)
    elif code == layout.RELU:
        d_rows(pointwise.d_relu, c, beta, n, T, D, A, Z)
    elif code == layout.LEAKY_RELU:
        d_rows(pointwise.d_leaky_relu, c, beta, n, T, D, A, Z)
    elif code == layout.POLYNOMIAL:
        d_rows(pointwise.d_polynomial, c, beta, n, T, D, A, Z)
    elif code == layout.REPU:
        d_rows(pointwise.d_repu, c, beta, n, T, D, A, Z)
    elif code == layout.SWISH:
        d_rows(pointwise.d_swish, c, beta, n, T, D, A, Z)
    else:
        d_rows(pointwise.d_tanh, c, beta, n, T, D, A, Z)


@compiled
def view(x, start, size):
    """The block of θ at `start`, empty where the layer has none."""
    return x[start : start + size] if start >= 0 else x[:0]


@compiled
def forward(problem, x, tiles, inputs, T):
    """Fill tiles.z and tiles.a with the layers' values on one tile, flattened `inputs` of shape (n_0, T)."""
    last = problem.widths.size - 2
    A, at = inputs, 0
    for h in range(last + 1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W = x[problem.offsets[h, 0] : problem.offsets[h, 0] + n * m]
        bias = view(x, problem.offsets[h, 1], n)
        beta = view(x, problem.offsets[h, 2], n)
        Z = tiles.z[at : at + n * T]
        if tiles.blas:
            np.dot(W.reshape(n, m), A.reshape(m, T), Z.reshape(n, T))
        else:
            combine(W, m, 1, n, m, A, T, Z)
        A = tiles.a[at : at + n * T]
        if h < last:
            activate(problem.activation[h], problem.parameter[h], beta, bias, n, T, Z, A)
        elif bias.size:
            for i in range(n):
                z = Z[i * T : (i + 1) * T]
                for s in range(T):
                    z[s] += bias[i]
        at += n * T


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
            z[s] = math.exp(z[s] - top[s])
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
    """The tile's share of U, its derivative by the outputs left in the last block of tiles.z."""
    n, T = problem.widths[-1], tiles.inputs.shape[2]
    Z = tiles.z[-n * T :]
    count = min(T, tiles.n - tile * T)
    if problem.loss == layout.NLL:
        return nll(Z, tiles.labels[tile], n, T, count, tiles.n, tiles.scratch)
    return mse(Z, tiles.targets[tile], n, T, count, tiles.n)


@compiled
def backward(problem, x, tiles, inputs, T, gradient):
    """Add the tile's ∂U/∂θ to `gradient`, from ∂U/∂z_L in tiles.z; with BLAS (one tile) overwrite it."""
    at = tiles.z.size
    for h in range(problem.widths.size - 2, -1, -1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W = x[problem.offsets[h, 0] : problem.offsets[h, 0] + n * m]
        G = gradient[problem.offsets[h, 0] : problem.offsets[h, 0] + n * m]
        at -= n * T
        D = tiles.z[at : at + n * T]
        A = tiles.a[at - m * T : at] if h > 0 else inputs
        if tiles.blas:
            np.dot(D.reshape(n, T), A.reshape(m, T).T, G.reshape(n, m))
        else:
            correlate(D, A, n, m, T, G)
        g_bias = view(gradient, problem.offsets[h, 1], n)
        for i in range(g_bias.size):
            d = D[i * T : (i + 1) * T]
            total = g_bias[i]
            for s in range(T):
                total += d[s]
            g_bias[i] = total
        if h > 0:
            U = tiles.scratch[: m * T]
            if tiles.blas:
                np.dot(W.reshape(n, m).T, D.reshape(n, T), U.reshape(m, T))
            else:
                combine(W, 1, m, m, n, D, T, U)
            beta = view(x, problem.offsets[h - 1, 2], m)
            Z = tiles.z[at - m * T : at]
            if beta.size:
                add_beta_gradient(beta, U, Z, m, T, view(gradient, problem.offsets[h - 1, 2], m))
            d_activate(problem.activation[h - 1], problem.parameter[h - 1], beta, m, T, U, A, Z)


@compiled
def add_beta_gradient(beta, D, Z, n, T, g_beta):
    for i in range(n):
        z, d = Z[i * T : (i + 1) * T], D[i * T : (i + 1) * T]
        total = g_beta[i]
        for s in range(T):
            total += d[s] * pointwise.swish_by_beta(beta[i], z[s])
        g_beta[i] = total


@compiled
def network_value(problem, tiles, x):
    """Return U(x) on the samples in `tiles`."""
    total = 0.0
    for tile in range(tiles.inputs.shape[0]):
        forward(problem, x, tiles, tiles.inputs[tile].reshape(-1), tiles.inputs.shape[2])
        total += tile_loss(problem, tiles, tile)
    return total


@compiled
def network_value_and_gradient(problem, tiles, x, gradient):
    """Return U(x) on the samples in `tiles` and write ∇U(x) into `gradient`."""
    T = tiles.inputs.shape[2]
    total = 0.0
    gradient[:] = 0
    for tile in range(tiles.inputs.shape[0]):
        inputs = tiles.inputs[tile].reshape(-1)
        forward(problem, x, tiles, inputs, T)
        total += tile_loss(problem, tiles, tile)
        backward(problem, x, tiles, inputs, T, gradient)
    return total
