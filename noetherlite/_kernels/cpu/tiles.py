"""Samples cut into tiles and parts, and the memory a pass needs: all that is chosen by a problem's size is chosen here."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import layout
from ..functions import ACTIVATIONS
from . import team as cpu_team
from .intrinsics import LANES

# Largest layer n_h × n_{h−1} that our own loops multiply faster than BLAS.
BLAS_FROM = 96 * 96
# Samples in a tile at the most.
TILE = 128
# What a part of the samples has at least, so that sharing it out and summing the shares costs little beside it.
PART_FLOPS, PART_SAMPLES, MOST_PARTS = 1_500_000, 128, cpu_team.MOST


class Tiles(NamedTuple):
    """Samples, transposed and cut into tiles (one that is not full repeats its last sample), and memory for a pass.

    The tiles form `parts` of about equal size; `members` threads evaluate them, each in its own memory.
    """

    n: int  # samples held; of a linear network the rows of its products, see below
    blas: int  # 1: dense products by BLAS, a single tile; 0: by our loops
    inputs: NDArray[Any]  # (n_tiles, n_0, T); of minibatches of sample coordinates, by BLAS, the memory of (T, n_0)
    chosen: NDArray[np.int64]  # (n,): the samples' numbers in minibatches of sample coordinates, else empty
    labels: NDArray[np.int64]  # (n_tiles, T), or empty
    targets: NDArray[Any]  # (n_tiles, n_L, T), or empty
    z: NDArray[Any]  # (members, Σ_h n_h T)
    a: NDArray[Any]  # (members, Σ_h n_h T)
    scratch: NDArray[Any]  # (members, max(n_h, 2) T)
    values: NDArray[np.float64]  # (parts, 8): their shares of U, each on a cache line
    gradients: NDArray[Any]  # (parts − 1, P): their shares of ∇U beside that of the first
    point: NDArray[Any]  # (P,): where the parts are evaluated; empty for a single part
    team: NDArray[np.int64]  # counters, see cpu_team
    outer: Any  # of a linear network the address of its outer problem's tiles, which hold the samples; else 0


def by_blas(problem: layout.Problem) -> bool:
    """Return whether a network's layers are multiplied by BLAS; those of a linear one are, by a few rows, no faster there."""
    layers_are_large = problem.widths[1:] * problem.widths[:-1] >= BLAS_FROM
    return problem.kind == layout.NETWORK and bool(layers_are_large.any())


def of_rows(problem: layout.Problem, outer: Any = 0) -> Tiles:
    """Return the memory of a linear network for its pass, which holds no samples but the rows of R, C and of P, c, E, e.

    `outer` is the address of its outer problem's tiles. The number of rows is n_L, or the multiple of four after it, in which our loops take them.
    """
    rows, empty_tiles = 4 * -(-int(problem.widths[-1]) // 4), empty(problem, 1)
    numbers = functools.partial(layout.aligned, dtype=problem.X.dtype)
    maps, layers = (2, int(problem.widths[0]) + 1, rows), (1, int(problem.widths[1:].sum()) * rows)
    of_forms = 1, rows * max(4 * int(problem.widths[1:].max()) + rows, 2 * int(problem.widths[0]))
    return empty_tiles._replace(
        n=rows, inputs=numbers(maps), z=numbers(layers), a=numbers(layers), scratch=numbers(of_forms), outer=outer
    )


def empty(problem: layout.Problem, n: int, members: int = 1) -> Tiles:
    """Return empty tiles for `n` samples, with memory for a pass by each of `members` threads at the most."""
    widths, dtype, blas = problem.widths, problem.X.dtype, by_blas(problem)
    sizes = widths[1:] * widths[:-1]
    activations = sum(
        ACTIVATIONS[code].flops * width for code, width in zip(problem.activation, widths[1:], strict=False)
    )
    parts = 1 if blas else _parts(n * int(6 * sizes.sum() + activations), n)
    lanes = LANES * 8 // dtype.itemsize
    T = n if blas else lanes * -(-n // (lanes * parts * -(-n // (TILE * parts))))
    n_tiles = -(-n // max(T, 1))  # none without a sample
    parts = max(1, min(parts, n_tiles))
    hidden, members = int(widths[1:].sum()), min(members, parts)
    n_params = int(sizes.sum() + (problem.offsets[:, 1:] >= 0).sum(axis=1) @ widths[1:]) if parts > 1 else 0
    if parts > 1 and problem.dual >= 0:
        n_params += int(sizes[0])
    return Tiles(
        n=n,
        blas=int(blas),
        inputs=layout.aligned((n_tiles, int(widths[0]), T), dtype),
        chosen=np.zeros(n if problem.dual >= 0 and n < widths[0] else 0, np.int64),
        labels=np.zeros((n_tiles, T if problem.labels.size else 0), np.int64),
        targets=layout.aligned((n_tiles, problem.targets.shape[1], T), dtype),
        z=layout.aligned((members, hidden * T), dtype),
        a=layout.aligned((members, hidden * T), dtype),
        scratch=layout.aligned((members, max(int(widths.max()), 2) * T), dtype),
        values=layout.aligned((parts, 8), np.float64),
        gradients=layout.aligned((parts - 1, n_params), dtype),
        point=layout.aligned((n_params,), dtype),
        team=layout.aligned((cpu_team.SIZE,), np.int64),
        outer=0,
    )


def _parts(flops: int, n: int) -> int:
    """Return into how many parts the samples are cut: a power of two, each part worth a thread's coming and going.

    Into two already where that leaves short tiles: twice the processors outweigh it.
    """
    most = min(flops // PART_FLOPS, max(n // PART_SAMPLES, 1 if n < PART_SAMPLES // 2 else 2), MOST_PARTS)
    return 1 << max(int(most).bit_length() - 1, 0)
