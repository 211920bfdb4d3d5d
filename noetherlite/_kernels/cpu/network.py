"""Forward and backward passes of a fully connected network, by hand.

Samples are the contiguous axis: layer h holds z_h, a_h of shape (n_h, T) for a tile of T samples, flattened. Small
networks go through our own loops tile by tile, the tile chosen so that the whole network stays in the first-level
cache, several threads sharing the tiles where there is enough to do; large ones go through BLAS with all samples as one
tile. The backward pass overwrites z_h with ∂U/∂z_h.
Where σ′ is a function of σ alone a_h takes the place of z_h.
"""

from __future__ import annotations

import numpy as np

from .. import layout
from ..jit import compiled, inlined, merged
from . import team
from .intrinsics import window
from .layers import BACKWARD, FORWARD, SAMPLES, WEIGHTS, add, add_sums, combine, copy, correlate, put, take
from .placed import float64_at, none_at, problem_at, tiles_at
from .sharing import assist

# Columns of a problem's addresses, and of its last row.
VALUE, SLOPE, BY_BETA = range(3)
LOSS, BY_BLAS, OUTER = range(3)


@merged
def row_of(memory, member):
    """Return a member's row of `memory`."""
    return window(memory, member * memory.shape[1], memory.shape[1])


@merged
def inputs_of(tiles):
    """Return all inputs, flat."""
    return window(tiles.inputs, 0, tiles.inputs.size)


@inlined
def forward(problem, x, tiles, tile, member, by_blas):
    """Fill z and a with the layers' values on one tile: z_h = W_h a_{h−1} + b_h, a_h = σ_h(z_h)."""
    T, last = tiles.inputs.shape[2], problem.widths.size - 2
    all_z, all_a = row_of(tiles.z, member), row_of(tiles.a, member)
    A, a, z = inputs_of(tiles), tile * problem.widths[0] * T, np.int64(0)
    for h in range(last + 1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias, beta = problem.offsets[h, 0], problem.offsets[h, 1], problem.offsets[h, 2]
        if h == 0 and problem.dual >= 0:
            take(x, W, np.int64(-1) if by_blas else bias, n, m, tiles.chosen, tile * T, T, all_z, z)
        elif by_blas:
            factors = window(x, W, n * m), window(A, a, m * T)
            none_at(problem.compiled[last, BY_BLAS], (np.int64(FORWARD), *factors, window(all_z, z, n * T), n, m, T))
        else:
            combine(x, W, m, np.int64(1), bias, n, m, A, a, T, all_z, z)
        # Neuron by neuron where BLAS has not added the bias, or each neuron has its own β.
        rows, size = (n, T) if by_blas or beta >= 0 else (np.int64(1), n * T)
        acts = h < last and problem.compiled[h, VALUE] != 0
        for i in range(rows if acts or by_blas else 0):
            row = window(all_z, z + i * size, size)
            if by_blas and bias >= 0:
                shift = x[bias + i]
                for s in range(T):
                    row[s] += shift
            if acts:
                c = x[beta + i] if beta >= 0 else problem.parameter[h]
                none_at(problem.compiled[h, VALUE], (c, row, window(all_a, z + i * size, size)))
        A, a = all_z if h < last and problem.in_place[h] else all_a, z
        z += n * T


@inlined
def tile_loss(problem, tiles, tile, member):
    """Return the tile's share of U, its derivative by the outputs left in the last block of z; without a loss, the outputs in `targets`."""
    n, T, all_z = problem.widths[-1], tiles.inputs.shape[2], row_of(tiles.z, member)
    Z = window(all_z, all_z.size - n * T, n * T)
    count = min(T, tiles.n - tile * T)
    last, scratch = problem.parameter.size - 1, row_of(tiles.scratch, member)
    if problem.loss == layout.NO_LOSS:
        copy(Z, window(tiles.targets, tile * n * T, n * T))
        return 0.0
    labels = window(tiles.labels, tile * tiles.labels.shape[1], tiles.labels.shape[1])
    targets = window(tiles.targets, tile * tiles.targets.shape[1] * T, tiles.targets.shape[1] * T)
    arguments = (problem.parameter[last], Z, labels, targets, scratch, T, count, tiles.n)
    return float64_at(problem.compiled[last, LOSS], arguments)


@inlined
def backward(problem, x, tiles, tile, member, by_blas, fresh, gradient):
    """Add the tile's ∂U/∂θ to `gradient`, or write it there where `fresh`, from ∂U/∂z_L in z."""
    T, all_z, all_a = tiles.inputs.shape[2], row_of(tiles.z, member), row_of(tiles.a, member)
    z, memory, last = all_z.size, row_of(tiles.scratch, member), problem.widths.size - 2
    for h in range(last, -1, -1):
        m, n = problem.widths[h], problem.widths[h + 1]
        W, bias = problem.offsets[h, 0], problem.offsets[h, 1]
        z -= n * T
        A, a = (all_z if problem.in_place[h - 1] else all_a, z - m * T) if h > 0 else (inputs_of(tiles), tile * m * T)
        if by_blas:
            factors = window(all_z, z, n * T), window(A, a, m * T)
            product = np.int64(SAMPLES if h == 0 and tiles.chosen.size > 0 else WEIGHTS)
            none_at(problem.compiled[last, BY_BLAS], (product, *factors, window(gradient, W, n * m), n, m, T))
        else:
            correlate(fresh, all_z, z, A, a, n, m, T, gradient, W)
        if h == 0 and problem.dual >= 0:
            put(fresh, all_z, z, n, m, tiles.chosen, tile * T, T, gradient, problem.dual)
        if bias >= 0:
            add_sums(fresh, all_z, z, n, T, gradient, bias)
        if h > 0:
            acts = problem.compiled[h - 1, SLOPE] != 0
            # A place and not a window, as to choose between two windows makes a step of a tiny network 6 % slower.
            D, d = (memory, np.int64(0)) if acts else (all_z, z - m * T)
            if by_blas:
                factors = window(x, W, n * m), window(all_z, z, n * T)
                out = window(D, d, m * T)
                none_at(problem.compiled[last, BY_BLAS], (np.int64(BACKWARD), *factors, out, n, m, T))
            else:
                combine(x, W, np.int64(1), m, np.int64(-1), m, n, all_z, z, T, D, d)
            if acts:
                d_layer(
                    problem,
                    x,
                    h - 1,
                    window(memory, 0, m * T),
                    window(all_z, z - m * T, m * T),
                    window(all_a, z - m * T, m * T),
                    T,
                    fresh,
                    gradient,
                )


@inlined
def d_layer(problem, x, h, D, Z, A, T, fresh, gradient):
    """Turn z of hidden layer h into ∂U/∂z, from D = ∂U/∂a; add ∂U/∂β where β is trained.

    D, Z and A are flat (n_h, T) matrices, x and gradient (P,), `problem` is a layout.Problem, h and `fresh` are numbers.
    """
    c, beta, n = problem.parameter[h], problem.offsets[h, 2], problem.widths[h + 1]
    rows, size = (n, T) if beta >= 0 else (np.int64(1), n * T)
    for i in range(rows):
        d, z, a = window(D, i * size, size), window(Z, i * size, size), window(A, i * size, size)
        if beta >= 0:
            c = x[beta + i]
            by_beta = gradient.dtype.type(float64_at(problem.compiled[h, BY_BETA], (c, d, z)))
            gradient[beta + i] = by_beta if fresh else gradient[beta + i] + by_beta
        none_at(problem.compiled[h, SLOPE], (c, d, z, a))


@inlined
def evaluate(problem, x, tiles, part, member, by_blas, gradient):
    """Leave a part's share of U in `values`, and of ∇U in `gradient`, unless that is empty."""
    n_tiles, n_parts, share = tiles.inputs.shape[0], tiles.values.shape[0], 0.0
    first = part * n_tiles // n_parts
    for tile in range(first, (part + 1) * n_tiles // n_parts):
        forward(problem, x, tiles, tile, member, by_blas)
        share += tile_loss(problem, tiles, tile, member)
        if gradient.size > 0:
            backward(problem, x, tiles, tile, member, by_blas, tile == first, gradient)
    tiles.values[part, 0] = share


@compiled
def network(problem_address, tiles_address, member, x, gradient):
    """Return U(x) on the samples in the tiles; write ∇U(x) into `gradient`, unless that is empty.

    The problem and its tiles are given by address. Member 0 leads; any other evaluates parts as they are published, those of forms
    as well, until sent home, and has no use for x and gradient. One function does both so that what it calls is compiled once.
    """
    problem, tiles = problem_at(problem_address, x), tiles_at(tiles_address, x)
    by_blas = tiles.blas != 0
    n, P, n_parts, shared = gradient.size, tiles.gradients.shape[1], tiles.values.shape[0], tiles.z.shape[0] > 1
    if shared and member == 0:
        copy(x, tiles.point)
        team.publish(tiles.team, team.GRADIENT if n > 0 else team.VALUE)
    part = 0 if member == 0 else team.next_part(tiles.team, n_parts, member, tiles.z.shape[0])
    while 0 <= part < n_parts:
        at, out, wanted = x, gradient, np.int64(team.VALUE)
        if shared and part > 0:
            wanted = tiles.team[team.WANTED]
            size = np.int64(0) if wanted == team.VALUE else P
            at, out = window(tiles.point, 0, P), window(tiles.gradients, (part - 1) * P, size)
        elif part > 0:
            out = window(tiles.gradients, 0, n)
        if wanted > team.GRADIENT:
            assist(tiles, part, x)
        else:
            evaluate(problem, at, tiles, part, member, by_blas, out)
        if shared:
            team.deliver(tiles.team, part, member)
            part = team.next_part(tiles.team, n_parts, member, tiles.z.shape[0])
        else:
            if part > 0:
                add(out, gradient)
            part += 1
    value = 0.0
    if member == 0:
        if shared:
            team.gather(tiles.team, n_parts)
            for part in range(1, n_parts):
                add(window(tiles.gradients, (part - 1) * P, n), gradient)
        for part in range(n_parts):
            value += tiles.values[part, 0]
    return value
