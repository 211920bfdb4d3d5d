"""Automorphisms of a data set: the orthogonal maps of inputs and outputs that permute its samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._base.floating import unit
from .._base.types import Array, Float64Array, IntArray

# Inner products are equal where they differ by less than this, relative to the largest: 2^14 units of round-off, or 4e-12.
TOLERANCE = 2**14 * float(np.finfo(np.float64).eps)
LARGEST = 4096  # samples that are compared pair by pair


class Automorphisms(NamedTuple):
    """A permutation group of the samples."""

    order: int
    generators: IntArray  # (n, N): sample s is mapped to generators[k, s]


def automorphisms(X: Array, Y: Array, colours: IntArray) -> Automorphisms:
    """Return all permutations π of the rows that keep the inner products of X's rows, and those of Y's.

    Parameters
    ----------
    X, Y : ndarray, shapes (N, n) and (N, m)
        Inputs and targets, no row (x, y) twice.
    colours : ndarray of int, shape (N,)
        Samples of different colours are not exchanged.

    Returns
    -------
    Automorphisms
        A strong generating set: with base points s_1, s_2, … for every i one generator for every image that s_i has under
        the permutations that leave s_1 … s_{i−1} where they are; the order is the product of the numbers of those images.

    Raises
    ------
    ValueError
        If more than `LARGEST` samples are not told apart by moments of the data, so that pairs would have to be compared.

    Notes
    -----
    A permutation that keeps inner products is a symmetry of a complete graph with coloured edges. The search gives one vertex
    after the other a colour of its own, and refines the colours of all by the edges to it, in the graph and in its image
    side by side [1]_.

    References
    ----------
    .. [1] B. D. McKay, A. Piperno, "Practical graph isomorphism, II", J. Symbolic Computation 60 (2014).
    """
    X, Y = X / unit(X), Y / unit(Y)
    colours = _by_moments(X, Y, colours)
    N = len(colours)
    if len(np.unique(colours)) == N:
        return Automorphisms(1, np.empty((0, N), np.int64))
    if N > LARGEST:
        raise ValueError(
            f"the data hold {N} samples that moments do not tell apart; expected at most {LARGEST}, whose pairs are compared"
        )
    edges = _classes(X @ X.T) * (N * N) + _classes(Y @ Y.T)
    order, generators, source = 1, [], colours
    while (v := _undecided(source)) is not None:
        images = 1
        for w in np.flatnonzero(source == source[v]):
            permutation = None if w == v else next(_extensions(edges, source, source, v, int(w)), None)
            if permutation is not None:
                generators.append(permutation)
                images += 1
        order *= images
        refined = _refined(edges, source, source, v, v)
        assert refined is not None  # both graphs are the same
        source = refined[0]
    return Automorphisms(order, np.array(generators, np.int64).reshape(-1, N))


def _by_moments(X: Array, Y: Array, colours: IntArray) -> IntArray:
    """Return finer colours, still the same for samples that an automorphism may exchange: moments of the data seen from each."""
    invariants = []
    for A in (X, Y):
        mean, second = A.mean(axis=0), A.T @ A / len(A)
        for power in range(3):
            transformed = A @ np.linalg.matrix_power(second, power)
            invariants += [(transformed * A).sum(axis=1), transformed @ mean]
    for invariant in invariants:
        colours = np.unique(colours * len(X) + _classes(invariant), return_inverse=True)[1].reshape(-1)
    return colours


def _classes(values: Float64Array) -> IntArray:
    """Return the number of the cluster that each value is in; clusters are apart by more than the tolerance."""
    flat = values.ravel()
    order = np.argsort(flat, kind="stable")
    gaps = np.diff(flat[order]) > TOLERANCE * max(1.0, float(np.abs(flat).max()))
    numbers = np.empty(flat.size, np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(gaps)])
    return numbers.reshape(values.shape)


def _undecided(colours: IntArray) -> int | None:
    """Return a vertex of the smallest colour class with more than one vertex, or None."""
    sizes = np.bincount(colours)
    sizes[sizes < 2] = len(colours) + 1
    smallest = int(sizes.argmin())
    return None if sizes[smallest] > len(colours) else int(np.flatnonzero(colours == smallest)[0])


def _refined(edges: IntArray, source: IntArray, image: IntArray, v: int, w: int) -> tuple[IntArray, IntArray] | None:
    """Return the colours of both graphs after v and w have one of their own; None where where they do not match."""
    N = len(source)
    keys = []
    for colours, vertex in ((source, v), (image, w)):
        edge = edges[vertex].copy()
        edge[vertex] = -1
        keys.append(np.stack([colours, edge], axis=1))
    numbers = np.unique(np.concatenate(keys), axis=0, return_inverse=True)[1].reshape(-1)
    first, second = numbers[:N], numbers[N:]
    return (first, second) if np.array_equal(np.sort(first), np.sort(second)) else None


def _extensions(edges: IntArray, source: IntArray, image: IntArray, v: int, w: int) -> Iterator[NDArray[np.int64]]:
    """Yield the automorphisms that map v to w and every colour of the source to the same of the image."""
    refined = _refined(edges, source, image, v, w)
    if refined is None:
        return
    source, image = refined
    vertex = _undecided(source)
    if vertex is None:
        permutation = np.empty(len(source), np.int64)
        permutation[np.argsort(source)] = np.argsort(image)
        if np.array_equal(edges[np.ix_(permutation, permutation)], edges):
            yield permutation
        return
    for candidate in np.flatnonzero(image == source[vertex]):
        yield from _extensions(edges, source, image, vertex, int(candidate))
