"""Exact arithmetic in the field of p = 2⁶¹ − 1 elements: jets, gradients of networks over them, and ranks.

A jet is an element of F_p[ε_1, …, ε_k]/(ε_i²), stored as 2ᵏ coefficients: entry S belongs to the product of the ε_i whose
bit i is set in S. Evaluating a polynomial map at x + εy gives its value and, at ε, its derivative in the direction y.
"""

from __future__ import annotations

import numpy as np

from .cpu.layers import copy
from .jit import compiled

PRIME = (1 << 61) - 1

_P = np.uint64(PRIME)
_LOW_30, _LOW_31 = np.uint64((1 << 30) - 1), np.uint64((1 << 31) - 1)
_ONE, _3, _27, _30, _31, _61 = np.uint64(1), np.uint64(3), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(61)
_CALL = np.uint64(1 << 32)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


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
    """ab mod p, in halves of 31 bits, which do not overflow, and with 2⁶¹ = 1."""
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
    first = np.zeros(n_layers + 1, np.int64)  # index of each layer's first neuron; inputs are layer 0
    for h in range(n_layers):
        first[h + 1] = first[h] + widths[h]
    total = first[n_layers] + widths[n_layers]
    a = np.zeros((total, size), np.uint64)  # a_h, and δ_L = c in the last layer
    slope = np.zeros((total, size), np.uint64)  # σ′(z_h)
    power, wide = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    copy(x, a[: widths[0], 0])
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
                copy(wide, power)
            for S in range(size):
                slope[node, S] = multiply(np.uint64(degrees[h]), power[S])
            add_product(power, z, a[node])
    delta = np.zeros((total, size), np.uint64)
    copy(c, delta[first[n_layers] :, 0])
    for h in range(n_layers - 1, -1, -1):
        W, bias, m, below = offsets[h, 0], offsets[h, 1], widths[h], first[h]
        for i in range(widths[h + 1]):
            node = first[h + 1] + i
            if h < n_layers - 1:  # delta is ∂/∂a here, and becomes ∂/∂z
                wide[:] = 0
                add_product(delta[node], slope[node], wide)
                copy(wide, delta[node])
            if bias >= 0:
                for S in range(size):
                    out[bias + i, S] = add(out[bias + i, S], delta[node, S])
            for j in range(m):
                add_product(delta[node], a[below + j], out[W + i * m + j])
                if h > 0:
                    add_product(delta[node], theta[W + i * m + j], delta[below + j])


# --- arrays of jets, for networks that are no chains of layers ---------------------------------------------------------


@compiled
def multiply_jets(a, b, out):
    """out += ab for jets (L, 2ᵏ)."""
    for i in range(a.shape[0]):
        add_product(a[i], b[i], out[i])


@compiled
def multiply_matrices(a, b, out):
    """out += ab for matrices of jets: (L, n, m, 2ᵏ), (L, m, q, 2ᵏ), (L, n, q, 2ᵏ)."""
    for i in range(a.shape[0]):
        for row in range(a.shape[1]):
            for j in range(a.shape[2]):
                for column in range(b.shape[2]):
                    add_product(a[i, row, j], b[i, j, column], out[i, row, column])


@compiled
def invert(values):
    """Invert residues in place, zeros excepted, with one inversion: 1/a = b·(1/ab), 1/b = a·(1/ab)."""
    before, product = np.empty(values.size, np.uint64), _ONE
    for i in range(values.size):
        before[i] = product
        if values[i]:
            product = multiply(product, values[i])
    rest = inverse(product)
    for i in range(values.size - 1, -1, -1):
        if values[i]:
            value = values[i]
            values[i] = multiply(rest, before[i])
            rest = multiply(rest, value)


@compiled
def reciprocals(values, a, out):
    """out = 1/a for jets (L, 2ᵏ), given the reciprocals of their values (L,): 1/(a + εb) = 1/a − ε b/a²."""
    square, size = np.zeros(a.shape[1], np.uint64), a.shape[1]
    for i in range(a.shape[0]):
        out[i] = 0
        out[i, 0] = values[i]
        width = 1
        while width < size:
            square[:] = 0
            add_product(out[i, :width], out[i, :width], square[:width])
            add_product(square[:width], a[i, width : 2 * width], out[i, width : 2 * width])
            for S in range(width, 2 * width):
                out[i, S] = subtract(np.uint64(0), out[i, S])
            width *= 2


@compiled
def primitives(values, slopes, a, out):
    """out = f(a) for jets (L, 2ᵏ) where f has the value `values` (L,) and f′(a) = slopes: f(a + εb) = f(a) + ε f′(a) b."""
    for i in range(a.shape[0]):
        out[i] = 0
        out[i, 0] = values[i]
        width = 1
        while width < a.shape[1]:
            add_product(slopes[i, :width], a[i, width : 2 * width], out[i, width : 2 * width])
            width *= 2


@compiled
def solutions(values, rates, a, out):
    """out = f(a) for jets (L, 2ᵏ) where f has the value `values` (L,) and f′(a) = rates · f(a)."""
    slope, size = np.zeros(a.shape[1], np.uint64), a.shape[1]
    for i in range(a.shape[0]):
        out[i] = 0
        out[i, 0] = values[i]
        width = 1
        while width < size:
            slope[:] = 0
            add_product(rates[i, :width], out[i, :width], slope[:width])
            add_product(slope[:width], a[i, width : 2 * width], out[i, width : 2 * width])
            width *= 2


@compiled
def square_root(a):
    """a^{(p+1)/4}, a square root of a if it has one: p = 3 mod 4."""
    for _ in range(59):
        a = multiply(a, a)
    return a


@compiled
def square_roots(a, out, is_square):
    """out = √a where a (L,) has one, and whether it has."""
    for i in range(a.size):
        out[i] = square_root(a[i])
        is_square[i] = multiply(out[i], out[i]) == a[i]


@compiled
def scramble(a, key):
    """An element of 1 … p − 1 that looks random, by `key` a function of a (the finaliser of SplitMix64, twice)."""
    bits = a
    for _ in range(2):
        bits = bits ^ key
        bits = (bits ^ (bits >> _30)) * _MIX_1
        bits = (bits ^ (bits >> _27)) * _MIX_2
        bits = bits ^ (bits >> _31)
    residue = bits >> _3
    return residue if 0 < residue < _P else _ONE


@compiled
def coins(keys, call, out):
    """out (draws, n): fair coins, functions of a draw's key and of the number of the call."""
    for draw in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[draw, i] = scramble(call * _CALL + np.uint64(i), keys[draw]) & _ONE


@compiled
def exponentials(a, key, out):
    """out = E(a), a random function F_p → F_p∖{0} with E(0) = 1 and E(−a) E(a) = 1."""
    inverses = np.zeros(a.size, np.uint64)
    for i in range(a.size):
        out[i] = _ONE
        if a[i] > _P >> _ONE:
            inverses[i] = scramble(_P - a[i], key)
        elif a[i]:
            out[i] = scramble(a[i], key)
    invert(inverses)
    for i in range(a.size):
        if inverses[i]:
            out[i] = inverses[i]


@compiled
def odd_functions(a, key, out):
    """out = h(a), a random function F_p → F_p with h(−a) = −h(a)."""
    for i in range(a.size):
        if a[i] == 0:
            out[i] = 0
        elif a[i] <= _P >> _ONE:
            out[i] = scramble(a[i], key)
        else:
            out[i] = _P - scramble(_P - a[i], key)


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


@compiled
def null_space(rows, pivots, rank, free, out):
    """out (len(free), n): the vectors orthogonal to the `rank` rows of an echelon form, one for each column without a pivot."""
    for k in range(free.size):
        out[k] = 0
        out[k, free[k]] = _ONE
        for r in range(rank - 1, -1, -1):  # a row is zero at the pivots of those before it
            total = np.uint64(0)
            for j in range(out.shape[1]):
                if rows[r, j] and out[k, j]:
                    total = add(total, multiply(rows[r, j], out[k, j]))
            out[k, pivots[r]] = subtract(np.uint64(0), total)
