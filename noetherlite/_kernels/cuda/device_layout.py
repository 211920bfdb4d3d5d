"""What a device is told beyond layout.py, and how much of its memory a run takes; no GPU is needed to know."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import layout, schedule

# Shared memory that every GPU gives a block without being asked, in bytes.
SHARED = 48 * 1024
# Blocks that are on a multiprocessor at a time, if their shared memory lets them.
SHARING = 2
# Where what a block holds lies: everything in shared memory, all but the activations, or nothing.
IN_SHARED, VECTORS_IN_SHARED, IN_GLOBAL = range(3)
# Sums of the laws that a run keeps, see RunArrays; parts of its norms.
ORIGIN, INTEGRAL, BALANCE, SOURCE, CHARGE = range(5)
N_SUMS = 5
VELOCITY_SQUARED, X_SQUARED, LARGEST_X, LARGEST_V, LARGEST_G = range(5)
N_NORMS = 5
# Samples in a tile at the least, where activations would else not fit.
SMALLEST_TILE = 16


class Data(NamedTuple):
    """The samples, flat."""

    n: int  # N
    inputs: NDArray[Any]  # (n_0 N,): input by input
    X: NDArray[Any]  # (N n_0,): sample by sample
    labels: NDArray[np.int64]  # (N,), or empty
    targets: NDArray[Any]  # (N n_L,), or empty


class Tables(NamedTuple):
    """Sizes and places, the same for all runs of a plan."""

    places: NDArray[np.int64]  # (L, 3): where a layer's a, z and δ start in a pass's memory, −1 where not kept
    slots: int  # samples in a tile
    ld: int  # distance of a tile's rows
    memory: int  # numbers that a pass keeps
    pieces: NDArray[np.int64]  # (n,): into how many pieces a component of a law is cut
    piece: NDArray[np.int64]  # (n,): where a law's pieces start in a slot
    slot: int  # numbers in a slot
    norms: int  # pieces of |x|², of |v|², and of the largest entries
    losses: int  # where the losses start in a run's doubles, the samples' after the two
    doubles: int  # numbers that belong to one run while it advances, and are doubles whatever the parameters are


class View(NamedTuple):
    """The samples of one tile."""

    begin: int
    end: int
    total: int  # of all tiles
    slots: int
    ld: int
    order: NDArray[np.int64]  # numbers of the samples, from `offset` on
    offset: int  # −1 where they come in their own order


class Setting(NamedTuple):
    """What all runs of a plan share on the device."""

    problem: layout.Problem
    data: Data
    tables: Tables
    laws: layout.Laws
    algorithm: layout.Algorithm
    batches: Shuffles
    program: schedule.Program


class Shuffles(NamedTuple):
    """The minibatches of E runs."""

    size: int
    key: NDArray[np.uint64]  # (E,)
    order: NDArray[np.int64]  # (E, N), or (E, 0) without minibatches


class RunArrays(NamedTuple):
    """What belongs to one run: views, into shared memory where it fits."""

    vectors: NDArray[Any]  # (4P,) and the work: x, v, the gradient, y and what follows
    x: NDArray[Any]  # (P,)
    v: NDArray[Any]
    gradient: NDArray[Any]
    y: NDArray[Any]
    work: NDArray[Any]  # (P,) or more, or empty
    moment: NDArray[Any]  # (P,), or empty; in global memory
    memory: NDArray[Any]  # (tables.memory,)
    origin: NDArray[np.float64]  # (K,)
    integral: NDArray[np.float64]
    balance: NDArray[np.float64]
    source: NDArray[np.float64]
    charge: NDArray[np.float64]
    pieces: NDArray[np.float64]  # (SLOTS tables.slot,)
    norms: NDArray[np.float64]  # (N_NORMS tables.norms,)
    losses: NDArray[np.float64]  # (2,): of the last gradient, and of the record
    values: NDArray[np.float64]  # (slots,): the samples' losses


class Scratch(NamedTuple):
    """Memory that lasts only as long as a launch, a row for each run; rows are empty where shared memory is used."""

    memory: NDArray[Any]
    vectors: NDArray[Any]
    doubles: NDArray[np.float64]
    inputs: NDArray[Any]  # (n_0 n,): those of a minibatch, where a run has the whole device


def tables(problem: layout.Problem, laws: layout.Laws, n_params: int, slots: int, padded: bool) -> Tables:
    """Return the tables for passes in tiles of `slots` samples; rows that are padded are apart by an odd number."""
    ld = slots + 1 - slots % 2 if padded else slots
    places, end = np.full((len(problem.offsets), 3), -1, np.int64), 0
    for h, in_place in enumerate(problem.in_place):
        for what in (0,) if in_place else (0, 1):
            places[h, what], end = end, end + int(problem.widths[h + 1]) * ld
    # The δ of two layers that follow each other are needed at a time.
    for parity in range(2):
        layers = range(len(places) - 1 - parity, -1, -2)
        places[layers, 2] = end
        end += max((int(problem.widths[h + 1]) for h in layers), default=0) * ld
    pieces = _pieces(laws, n_params)
    sizes = pieces * np.diff(laws.start)
    norms = 32 if n_params < 1 << 15 else 1024
    losses = N_SUMS * int(laws.start[-1]) + schedule.SLOTS * int(sizes.sum()) + N_NORMS * norms
    return Tables(
        places=places,
        slots=slots,
        ld=ld,
        memory=end,
        pieces=pieces,
        piece=np.cumsum(sizes) - sizes,
        slot=int(sizes.sum()),
        norms=norms,
        losses=losses,
        doubles=losses + 2 + slots,
    )


def _pieces(laws: layout.Laws, n_params: int) -> NDArray[np.int64]:
    """Return into how many pieces components are cut; incoming and outgoing weights of a neuron have half of them each."""
    out = np.ones(len(laws.kind), np.int64)
    for l, kind in enumerate(laws.kind):
        if kind == layout.SCALING:
            longest = int(max(laws.where[l, 2], laws.where[l, 6]))
            out[l] = 2 * (4 if longest < 64 else 32)
        elif kind == layout.AFFINE:
            out[l] = min(n_params, 256)
    return out


def n_tiles(n: int, slots: int) -> int:
    """Return the number of tiles of `n` samples."""
    return -(-n // slots)


class Placing(NamedTuple):
    """How runs are laid out, a block each."""

    tables: Tables
    where: int  # IN_SHARED, VECTORS_IN_SHARED or IN_GLOBAL
    shared: int  # bytes of shared memory a block takes
    threads: int


def place(
    problem: layout.Problem, laws: layout.Laws, n_params: int, n: int, spread: bool, most: int, work: int = 0
) -> Placing:
    """Return the layout that keeps most in `most` bytes of shared memory: with the largest tiles that fit, else without activations.

    Where a run is spread over the device nothing is in shared memory, and all samples are one tile.
    """
    if spread:
        return Placing(tables(problem, laws, n_params, n, padded=False), IN_GLOBAL, 0, 0)
    itemsize = problem.X.dtype.itemsize
    all_slots = max(n + n % 2, 2)
    sizes = sorted(
        {-(-all_slots // parts) for parts in range(1, all_slots // SMALLEST_TILE + 1)} | {all_slots}, reverse=True
    )
    for slots in (size + size % 2 for size in sizes):
        placed = tables(problem, laws, n_params, slots, padded=True)
        shared = 8 * placed.doubles + itemsize * (4 * n_params + work)
        if shared + itemsize * placed.memory <= most:
            return Placing(placed, IN_SHARED, shared + itemsize * placed.memory, _threads(problem, slots, n_params))
    placed = tables(problem, laws, n_params, all_slots, padded=True)
    shared = 8 * placed.doubles + itemsize * (4 * n_params + work)
    where, shared = (VECTORS_IN_SHARED, shared) if shared <= most else (IN_GLOBAL, 0)
    return Placing(placed, where, shared, _threads(problem, all_slots, n_params))


def _threads(problem: layout.Problem, slots: int, n_params: int) -> int:
    """Return the threads of a block: as many as its largest phase has pieces, in whole warps, 32 to 128."""
    widest = int(problem.widths.max()) if problem.kind == layout.NETWORK else 0
    wanted = max(-(-widest // 4) * (slots // 2), n_params // 4)
    return int(min(max(32, 1 << max(wanted - 1, 0).bit_length()), 128))
