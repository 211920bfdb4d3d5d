"""Neurons scaled to given charges (theory §11), by one thread: the projection onto the levels of the scaling laws."""

from __future__ import annotations

import math

import numpy as np

from . import layout
from .forms import block
from .jit import merged, scalar

# Sweeps over all layers at the most: those that share weights are scaled in turn.
SWEEPS = 64
_NEWTON_STEPS = 50
_SMALL = 1e-9  # a Newton step after which the next one is below round-off


@merged
def _squares(x, shares, start, n, stride):
    """Σ x_i² of n entries of a block from `start` on, over the block's share of the rate where blocks have shares."""
    total = 0.0
    for i in range(start, start + n * stride, stride):
        total += np.float64(x[i]) * x[i]
    return total / shares[start] if shares.size > 0 else total


@merged
def _scale(x, start, n, stride, factor):
    for i in range(start, start + n * stride, stride):
        x[i] = factor * x[i]


@scalar
def exponent(A, B, C, p, level):
    """s with ½(e^{2s}A − pe^{−2ps}B − e^{−2s}C) = Q, by Newton's method; 0 where an orbit has one sign of Q only."""
    if A == 0 or B + C == 0:
        return 0.0
    s = 0.0
    for _ in range(_NEWTON_STEPS):
        a, b, c = math.exp(2 * s) * A, p * math.exp(-2 * p * s) * B, math.exp(-2 * s) * C
        step = (2 * level - (a - b - c)) / (2 * (a + p * b + c))
        s += min(max(step, -1.0), 1.0)
        if abs(step) <= _SMALL:
            break
    return s


@merged
def to_level(at, p, i, level, x, shares):
    """Scale neuron i to the charge `level`, and return |s| of (w, b, u, β) ↦ (e^s w, e^s b, e^{−ps} u, e^{−s} β)."""
    incoming, outgoing = _squares(x, shares, at.W + i * at.m, at.m, 1), _squares(x, shares, at.U + i, at.q, at.n)
    if at.bias >= 0:
        incoming += _squares(x, shares, at.bias + i, 1, 1)
    rates = _squares(x, shares, at.beta + i, 1, 1) if at.beta >= 0 else 0.0
    s = exponent(incoming, outgoing, rates, p, level)
    grow = math.exp(s)
    _scale(x, at.W + i * at.m, at.m, 1, grow)
    _scale(x, at.U + i, at.q, at.n, math.exp(-p * s))
    if at.bias >= 0:
        x[at.bias + i] = grow * x[at.bias + i]
    if at.beta >= 0:
        x[at.beta + i] = x[at.beta + i] / grow
    return abs(s)


@merged
def project(laws, x, levels, shares):
    """Scale all neurons whose scaling laws are in the table to the charges `levels` (K,), layer after layer until all have them.

    With `shares` (P,) of the rate the charges are those of the metric that these make.
    """
    enough = 2e-7 if x.itemsize == 4 else 4e-16
    for _ in range(SWEEPS):
        largest = 0.0
        for l in range(laws.kind.size):
            if laws.kind[l] == layout.SCALING:
                at, p = block(laws, l), np.float64(laws.degree[l])
                for i in range(at.n):
                    largest = max(largest, to_level(at, p, i, levels[laws.start[l] + i], x, shares))
        if not largest > enough:
            break
