"""Linear relations between columns that were measured, up to round-off, and a sparse basis of them that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .._base.types import Float64Array

# Entries of a basis below this part of its largest are zero, and those below what a null space with that gap is uncertain by.
_SMALL = 1e-6
_DENOMINATOR = 12
_CAST = 1e-11  # well below what a part in single precision leaves of a relation in double precision, 1e-9 to 1e-7
NEARLY = 1e-6  # singular values below that are no round-off are those of what nearly holds


@dataclass(frozen=True)
class NullSpace:
    """Relations Σ_ℓ c_ℓ column_ℓ = 0 that no given relation implies."""

    relations: Float64Array  # shape (m, L): coefficients, a sparse basis
    gap: float  # the smallest singular value that is not zero over the largest that is
    # shape (k, L): coefficients of relations that hold far better than chance, but not to round-off
    nearly: Float64Array
    nearly_to: float = 0.0  # the largest of their singular values


def relations(columns: Float64Array, eps: float, implied: Float64Array) -> NullSpace:
    """Find all linear relations between measured columns (equations, L), which have relative errors of about ε.

    `implied` (q, L) are known relations; only relations beyond their span are returned.
    """
    n_columns = columns.shape[1]
    length = np.linalg.norm(columns, axis=0)
    singular, right = _svd(columns / length)
    # Between round-off and numbers of order one, in the middle on a logarithmic scale.
    null = int((singular < (np.sqrt(eps) if eps > _CAST else _CAST)).sum())
    if columns.shape[0] < n_columns:
        null = 0
    close = int((singular < NEARLY).sum()) if columns.shape[0] >= n_columns else 0
    zero, rest = singular[n_columns - null :], singular[: n_columns - null]
    gap = float((rest.min() if rest.size else 1.0) / max(zero.max(), np.finfo(float).tiny)) if null else np.inf
    basis = right / length
    exact = sparse_basis(basis[n_columns - null :], implied, max(_SMALL, 10 * float(np.sqrt(eps)), 100 / gap))
    if close <= null:
        return NullSpace(exact, gap, np.zeros((0, n_columns)))
    known_relations = np.concatenate([implied, exact])
    near = sparse_basis(basis[n_columns - close : n_columns - null], known_relations, 1e3 * NEARLY)
    return NullSpace(exact, gap, near, float(singular[n_columns - close]))


def _svd(matrix: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return all singular values, zeros included, and all right singular vectors."""
    small = np.linalg.qr(matrix, mode="r") if matrix.shape[0] > matrix.shape[1] else matrix
    _, singular, right = np.linalg.svd(small, full_matrices=True)
    return np.pad(singular, (0, matrix.shape[1] - singular.size)), right


def sparse_basis(vectors: Float64Array, implied: Float64Array, small: float) -> Float64Array:
    """Return a sparse basis of the span of `vectors` modulo the span of `implied`, coefficients simple where they can be."""
    known = _eliminate(_unit(implied), small)
    rows = _unit(vectors)
    for pivot, row in known:
        rows = rows - rows[:, pivot : pivot + 1] * row
    # What is left of implied relations is round-off.
    rows = rows[np.abs(rows).max(axis=1, initial=0.0) > small] if rows.size else rows
    basis = np.array([row for _, row in _eliminate(rows, small)]).reshape(-1, vectors.shape[1])
    basis = _thinned(basis, np.array([row for _, row in known]).reshape(-1, vectors.shape[1]), small)
    return np.array([_simple(row, small) for row in basis]).reshape(-1, vectors.shape[1])


def _unit(rows: Float64Array) -> Float64Array:
    size = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    return np.asarray(rows / np.where(size > 0, size, 1.0))


def _eliminate(rows: Float64Array, small: float) -> list[tuple[int, Float64Array]]:
    """Return the reduced echelon form with full pivoting: (pivot column, row with 1 in it), all other rows 0 in it."""
    rows = rows.copy()
    done: list[tuple[int, Float64Array]] = []
    while rows.size:
        i, pivot = np.unravel_index(int(np.argmax(np.abs(rows))), rows.shape)
        if abs(rows[i, pivot]) < small:
            break
        row = rows[i] / rows[i, pivot]
        rows = np.delete(rows, i, axis=0)
        rows = rows - rows[:, pivot : pivot + 1] * row
        done = [(p, r - r[pivot] * row) for p, r in done]
        done.append((int(pivot), row))
    return done


def _thinned(basis: Float64Array, known: Float64Array, small: float) -> Float64Array:
    """Return the basis with multiples of its rows, and of known ones, subtracted from others where that leaves fewer entries."""
    basis = np.where(np.abs(basis) < small, 0.0, basis)
    changed = True
    while changed:
        changed = False
        others = np.concatenate([basis, known])
        for i in range(len(basis)):
            for j in range(len(others)):
                if j == i:
                    continue
                for column in np.flatnonzero((basis[i] != 0) & (np.abs(others[j]) > small)):
                    trial = basis[i] - basis[i, column] / others[j, column] * others[j]
                    trial = np.where(np.abs(trial) < small * np.abs(trial).max(initial=1.0), 0.0, trial)
                    if np.count_nonzero(trial) < np.count_nonzero(basis[i]):
                        basis[i] = others[i] = trial
                        changed = True
                        break
    return basis


def _simple(row: Float64Array, small: float) -> Float64Array:
    """Return the row with its smallest coefficient ±1, its first positive, and fractions where they are meant."""
    used = np.abs(row[row != 0])
    row = row / used.min() * np.sign(row[np.flatnonzero(row)[0]])
    near = np.array([float(Fraction(float(c)).limit_denominator(_DENOMINATOR)) for c in row])
    return np.where(np.abs(near - row) < small * np.maximum(1, np.abs(row)), near, row)
