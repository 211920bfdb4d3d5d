"""Dense products of large layers: by cuBLAS where it is installed, else by a tiled kernel of our own.

A product is C[i, j] = Σ_k A[a + i A_row + k A_column] B[b + k B_row + j B_column], rows of C contiguous.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda

from .cublas import Operand
from .jit import kernel

# A block makes a square of TILE × TILE entries of C, SIDE × SIDE threads four rows and four columns each.
TILE, SIDE, DEPTH = 64, 16, 16
PADDED = TILE + 1  # so that the rows of a square in shared memory begin at different banks


class Matrix(NamedTuple):
    """A matrix in a flat array: where it begins, its shape, and whether it is stored column by column."""

    array: object
    begin: int
    rows: int
    columns: int
    transposed: bool = False

    @property
    def strides(self) -> tuple[int, int]:
        """How far apart neighbours in a column and in a row are."""
        return (1, self.rows) if self.transposed else (self.columns, 1)


@kernel(SIDE * SIDE, 1)
def tiled(A, a, A_row, A_column, B, b, B_row, B_column, C, c, n, m, depth):
    """C (n × m) = A (n × depth) B, by squares that pass through shared memory.

    All arrays are flat: A begins at a, B at b and C at c; neighbours in a column of A are A_row apart and those in a row A_column, in
    B likewise.
    """
    left = cuda.shared.array((DEPTH, PADDED), A.dtype)
    right = cuda.shared.array((DEPTH, PADDED), A.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    i0, j0 = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
    sums = cuda.local.array((4, 4), A.dtype)
    for r in range(4):
        for q in range(4):
            sums[r, q] = 0
    for k0 in range(0, depth, DEPTH):
        for item in range(y * SIDE + x, DEPTH * TILE, SIDE * SIDE):
            # Neighbouring threads read neighbouring numbers, along rows or along columns.
            k, i = (item % DEPTH, item // DEPTH) if A_column == 1 else (item // TILE, item % TILE)
            inside = k0 + k < depth and i0 + i < n
            left[k, i] = A[a + (i0 + i) * A_row + (k0 + k) * A_column] if inside else 0
            k, j = (item % DEPTH, item // DEPTH) if B_row == 1 else (item // TILE, item % TILE)
            inside = k0 + k < depth and j0 + j < m
            right[k, j] = B[b + (k0 + k) * B_row + (j0 + j) * B_column] if inside else 0
        cuda.syncthreads()
        for k in range(DEPTH):
            for r in range(4):
                for q in range(4):
                    sums[r, q] += left[k, y + SIDE * r] * right[k, x + SIDE * q]
        cuda.syncthreads()
    for r in range(4):
        for q in range(4):
            i, j = i0 + y + SIDE * r, j0 + x + SIDE * q
            if i < n and j < m:
                C[c + i * m + j] = sums[r, q]


def by_tiles(A: Matrix, B: Matrix, C: Matrix, stream: Any = 0) -> None:
    """C = AB by our own kernel."""
    grid = (-(-C.columns // TILE), -(-C.rows // TILE))
    tiled[grid, (SIDE, SIDE), stream](
        A.array, A.begin, *A.strides, B.array, B.begin, *B.strides, C.array, C.begin, C.rows, C.columns, A.columns
    )


def by_cublas(library: Any) -> Any:
    """Return (A, B, C, stream) ↦ None, which makes C = AB by cuBLAS: as Cᵀ = BᵀAᵀ, since it has matrices column by column."""

    def product(A: Matrix, B: Matrix, C: Matrix, stream: Any = 0) -> None:
        left, right = (Operand(M.array, M.begin, M.rows if M.transposed else M.columns, M.transposed) for M in (B, A))
        library.product(left, right, Operand(C.array, C.begin, C.columns), C.columns, C.rows, A.columns)

    return product
