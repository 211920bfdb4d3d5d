"""The entries of the forms behind every conserved quantity; CPU and GPU kernels sum them, each in its own order.

B(a, b) = ⟨Ga, b⟩ and T(b) = ⟨ξ, b⟩ make   quantity Q = ½B(x, x) + T(x),   charge J = B(x, v) + T(v),   source S = B(v, v).
Sums are in double precision for vectors of any precision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import layout
from .jit import merged, scalar


class LawBlock(NamedTuple):
    """Offsets and sizes of a law's blocks in x, −1 if absent: a row of layout.Laws.where."""

    n: int  # n_h, the neurons of layer h; for a user's symmetry the number of its G
    W: int  # W_h, rows of m
    m: int  # n_{h−1}
    bias: int  # b_h
    beta: int  # β_h
    U: int  # W_{h+1}, rows of n
    q: int  # n_{h+1}
    C: int  # C of sample coordinates, or W_h again


@scalar
def block(laws, l):
    """Return the block of law l."""
    at = laws.where
    return LawBlock(at[l, 0], at[l, 1], at[l, 2], at[l, 3], at[l, 4], at[l, 5], at[l, 6], at[l, 7])


@scalar
def mirrored(laws, l, j):
    """Return the component of law l that component j is the mirror image of, in the matrix of a linear layer; else j."""
    n = laws.where[l, 0]
    return j % n * n + j // n if laws.kind[l] == layout.LINEAR_LAYER else j


@scalar
def product(a, i, b, j):
    """a_i b_j."""
    return np.float64(a[i]) * b[j]


@merged
def turned(a, b, i, j):
    """a_i b_j − b_i a_j, an entry of the angular momentum."""
    return np.float64(a[i]) * b[j] - np.float64(b[i]) * a[j]


@merged
def row_product(G, g, i, a):
    """(G_g a)_i."""
    total = 0.0
    for k in range(a.size):
        total += G[g, i, k] * a[k]
    return total


@merged
def absolute(x, start, n, stride):
    """Σ |x_i| of n entries from `start` on."""
    total = 0.0
    for i in range(start, start + n * stride, stride):
        total += abs(x[i])
    return total


# Sizes of generators, before cancellation within an entry: |g_c| = Σ_i |g_c(x)_i|.


@merged
def neuron_size(at, i, x, total):
    """Total + |b_i| + |β_i| of neuron i."""
    if at.bias >= 0:
        total += abs(x[at.bias + i])
    if at.beta >= 0:
        total += abs(x[at.beta + i])
    return total


@merged
def scaling_size(at, degree, i, x):
    """|g_i| of neuron i's scaling."""
    total = absolute(x, at.W + i * at.m, at.m, 1) + degree * absolute(x, at.U + i, at.q, at.n)
    return neuron_size(at, i, x, total)


@merged
def incoming_size(at, i, x):
    """The part of |g_ij| of a linear layer by the incoming weights of neuron i; the outgoing ones add Σ_k |U_kj|."""
    return neuron_size(at, i, x, absolute(x, at.W + i * at.m, at.m, 1))


@merged
def affine_size(laws, g, i, x):
    """|ξ_i| + Σ_k |G_ik x_k|."""
    total = abs(laws.xi[g, i])
    for k in range(x.size):
        total += abs(laws.G[g, i, k] * x[k])
    return total
