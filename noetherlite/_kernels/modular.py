"""Exact arithmetic in the field of p = 2⁶¹ − 1 elements: jets, gradients of networks over them, and ranks.

A jet is an element of F_p[ε_1, …, ε_k]/(ε_i²), stored as 2ᵏ coefficients: entry S belongs to the product of the ε_i whose
bit i is set in S. Evaluating a polynomial map at x + εy gives its value and, at ε, its derivative in the direction y.
"""

from __future__ import annotations

import numpy as np

from .jit import compiled

PRIME = (1 << 61) - 1

_P = np.uint64(PRIME)
_LOW_30, _LOW_31 = np.uint64((1 << 30) - 1), np.uint64((1 << 31) - 1)
_ONE, _30, _31, _61 = np.uint64(1), np.uint64(30), np.uint64(31), np.uint64(61)


@compiled
def add(a, b):
    """a + b mod p."""
    total = a + b
    return total - _P if total >= _P else total


@compiled
def subtract(a, b):
    """a − b mod p."""
    return a - b if a >= b else a + (_P - b)


@compiled
def multiply(a, b):
    """ab mod p: halves of 31 bits, so that nothing overflows, and 2⁶¹ = 1."""
    a1, a0, b1, b0 = a >> _31, a & _LOW_31, b >> _31, b & _LOW_31
    middle = a1 * b0 + a0 * b1
    total = ((a1 * b1) << _ONE) + (middle >> _30) + ((middle & _LOW_30) << _31) + a0 * b0
    total = (total & _P) + (total >> _61)
    return total - _P if total >= _P else total


@compiled
def inverse(a):
    """a^{p−2} = 1/a."""
    out, power, bits = _ONE, a, PRIME - 2
    while bits:
        if bits & 1:
            out = multiply(out, power)
        power = multiply(power, power)
        bits >>= 1
    return out


@compiled
def scale(factor, jets, out):
    """out = factor · jets."""
    for i in range(jets.shape[0]):
        for S in range(jets.shape[1]):
            out[i, S] = multiply(factor, jets[i, S])


@compiled
def add_product(a, b, out):
    """out += ab for jets: every coefficient S gathers a_T b_{S−T} over the subsets T of S."""
    for S in range(out.size):
        total = out[S]
        T = S
        while True:
            if a[T] and b[S ^ T]:
                total = add(total, multiply(a[T], b[S ^ T]))
            if T == 0:
                break
            T = (T - 1) & S
        out[S] = total


@compiled
def add_gradient(widths, offsets, degrees, gates, x, c, theta, out):
    """out += ∂/∂θ of ⟨c, f(θ; x)⟩ at jets θ (P, 2ᵏ), for activations gate·z^degree with one gate a hidden neuron."""
    n_layers, size = widths.size - 1, theta.shape[1]
    first = np.zeros(n_layers + 1, np.int64)  # where the neurons of each layer begin; inputs are layer 0
    for h in range(n_layers):
        first[h + 1] = first[h] + widths[h]
    total = first[n_layers] + widths[n_layers]
    a = np.zeros((total, size), np.uint64)  # a_h, and δ_L = c in the last layer
    slope = np.zeros((total, size), np.uint64)  # σ′(z_h)
    power, wide = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    a[: widths[0], 0] = x
    for h in range(n_layers - 1):
        W, bias, m, below = offsets[h, 0], offsets[h, 1], widths[h], first[h]
        for i in range(widths[h + 1]):
            node = first[h + 1] + i
            z = np.zeros(size, np.uint64)
            for j in range(m):
                add_product(theta[W + i * m + j], a[below + j], z)
            if bias >= 0:
                for S in range(size):
                    z[S] = add(z[S], theta[bias + i, S])
            power[:] = 0
            power[0] = gates[node - widths[0]]
            for _ in range(degrees[h] - 1):
                wide[:] = 0
                add_product(power, z, wide)
                power[:] = wide
            for S in range(size):
                slope[node, S] = multiply(np.uint64(degrees[h]), power[S])
            add_product(power, z, a[node])
    delta = np.zeros((total, size), np.uint64)
    delta[first[n_layers] :, 0] = c
    for h in range(n_layers - 1, -1, -1):
        W, bias, m, below = offsets[h, 0], offsets[h, 1], widths[h], first[h]
        for i in range(widths[h + 1]):
            node = first[h + 1] + i
            if h < n_layers - 1:  # so far ∂/∂a, and now ∂/∂z
                wide[:] = 0
                add_product(delta[node], slope[node], wide)
                delta[node] = wide
            if bias >= 0:
                for S in range(size):
                    out[bias + i, S] = add(out[bias + i, S], delta[node, S])
            for j in range(m):
                add_product(delta[node], a[below + j], out[W + i * m + j])
                if h > 0:
                    add_product(delta[node], theta[W + i * m + j], delta[below + j])


@compiled
def insert(rows, pivots, rank, vector):
    """Reduce `vector` by the `rank` rows of an echelon form; if something remains, make it the next row and return True."""
    for r in range(rank):
        factor = vector[pivots[r]]
        if factor:
            for k in range(pivots[r], vector.size):
                vector[k] = subtract(vector[k], multiply(factor, rows[r, k]))
    for pivot in range(vector.size):
        if vector[pivot]:
            scale = inverse(vector[pivot])
            for k in range(vector.size):
                rows[rank, k] = multiply(scale, vector[k])
            pivots[rank] = pivot
            return True
    return False
