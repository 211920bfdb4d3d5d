"""The tensors whose gradients explain broken laws, and the errors that no law detects (theory §12).

Give the gradient of every tensor an unknown factor c_b. A law then says Σ_b c_b D_{ℓb} = 0, with D_{ℓb} the contraction of tensor b
in law ℓ. For a correct gradient, the vectors c that satisfy all laws are the errors of scale that no law sees; for a wrong one,
those by which its tensors have to be multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._base.types import Array, Float64Array
from .law import Law

_SAME = 1e-6  # numbers of unseen errors that differ by less are equal
_NULL = 1e-6  # singular values below this part of the largest are zero
_FACTOR = 1e-3  # factors that are nearer to one are not named


@dataclass(frozen=True)
class Coverage:
    """Factors of the tensors' gradients, as far as the laws determine them.

    Attributes
    ----------
    groups : tuple of tuple of str
        Tensors whose gradients the laws lock together: a factor on a part of a group breaks a law.
    free : tuple of str
        Tensors that are locked to no other.
    unseen : int
        Number of independent factors that no law detects: one for every group and every free tensor, less the number that
        laws between whole tensors determine.
    """

    groups: tuple[tuple[str, ...], ...]
    free: tuple[str, ...]
    unseen: int

    def __str__(self) -> str:
        lines = [f"locked together: {', '.join(group)}" for group in self.groups]
        if self.free:
            lines.append(f"locked to no other: {', '.join(self.free)}")
        count = len(self.groups) + len(self.free)
        some = "combinations of " if self.unseen < count else ""
        lines.append(f"{some}factors on these {count} as wholes would go unseen ({self.unseen} independent ones)")
        return "\n".join(lines)


def terms(laws: Sequence[Law], tensors: Sequence[str], x: Mapping[str, Array], g: Mapping[str, Array]) -> Float64Array:
    """Return D, shape (equations, tensors): the contraction of every tensor in every component of every law, by its scale."""
    rows = []
    for law in laws:
        parts = {name: law.restricted(name).defect(x, g)[0].reshape(-1) for name in law.tensors}
        scale = law.defect(x, g)[1].reshape(-1)
        block = np.zeros((scale.size, len(tensors)))
        for name, value in parts.items():
            block[:, tensors.index(name)] = value / np.maximum(scale, np.finfo(float).tiny)
        rows.append(block)
    return np.concatenate(rows) if rows else np.zeros((0, len(tensors)))


def coverage(laws: Sequence[Law], tensors: Sequence[str]) -> Coverage:
    """Return the groups of tensors that the laws lock together.

    For a gradient in general position the terms of a law are as good as random numbers whose sum over its tensors is zero.
    """
    rng = np.random.default_rng(0)
    rows = []
    for law in laws:
        if len(law.tensors) > 1:
            block = np.zeros((law.n_equations, len(tensors)))
            index = [tensors.index(name) for name in law.tensors]
            block[:, index] = rng.normal(size=(len(block), len(index)))
            block[:, index[0]] -= block.sum(axis=1)
            rows.append(block[: len(tensors)])
    null = _null_space(np.concatenate(rows) if rows else np.zeros((0, len(tensors))), len(tensors))
    groups: list[list[int]] = []
    # Two tensors are locked where every unseen error has one factor on both.
    for i in range(len(tensors)):
        for group in groups:
            if np.abs(null[i] - null[group[0]]).max(initial=0.0) < _SAME:
                group.append(i)
                break
        else:
            groups.append([i])
    locked = tuple(tuple(tensors[i] for i in group) for group in groups if len(group) > 1)
    free = tuple(tensors[group[0]] for group in groups if len(group) == 1)
    return Coverage(locked, free, null.shape[1])


@dataclass(frozen=True)
class Factor:
    """The factor by which the gradient of a tensor is wrong, relative to the other tensors of its group."""

    value: float  # the factor; 0 for a gradient that is zero
    others: tuple[str, ...] = ()  # the other tensors


def factors(D: Float64Array, tensors: Sequence[str], coverage: Coverage, g: Mapping[str, Array]) -> dict[str, Factor]:
    """Return factors of the tensors' gradients that would mend broken laws, relative to most of their group.

    D holds the terms of a wrong gradient g; c with D c = 0 is sought, 1 for most tensors of every group. Nothing is said of tensors
    without terms, as parameters that are zero have none.
    """
    result: dict[str, Factor] = {}
    for group in coverage.groups:
        result |= {name: Factor(0.0) for name in group if not g[name].any()}
        index = [i for i in map(tensors.index, group) if D[:, i].any()]
        # A law between whole tensors has members in several groups: its sum over one of them is not zero.
        inside = ~np.delete(D, index, axis=1).any(axis=1)
        rows = D[inside & D.any(axis=1)][:, index]
        if not rows.size or len(index) < 2:
            continue
        _, singular, right = np.linalg.svd(rows, full_matrices=True)
        if singular.size == len(index) and singular[-1] > 1e-3 * singular[0]:
            continue  # no factors per tensor explain it
        c = right[-1]
        usual = _mode(c)
        if usual == 0:
            continue
        names = [tensors[i] for i in index]
        for name, value in zip(names, c, strict=True):
            other_names = tuple(n for n in names if n != name)
            result[name] = Factor(float(usual / value) if value else np.inf, other_names)
    return {name: factor for name, factor in result.items() if abs(factor.value - 1) > _FACTOR}


def _mode(values: Float64Array) -> float:
    """Return the value that most others are near, within 1 %, and of those the most within `_FACTOR`; the last of equally common ones."""
    distances = np.abs(values - values[:, None]) / np.abs(values).max()
    near, nearer = (np.count_nonzero(distances < d, axis=1) for d in (1e-2, _FACTOR))
    return float(values[np.lexsort((nearer, near))[-1]])


def _null_space(D: Float64Array, n: int) -> Float64Array:
    """Return an orthonormal basis of the null space as columns, shape (n, k)."""
    if not D.size:
        return np.eye(n)
    _, singular, right = np.linalg.svd(D, full_matrices=True)
    rank = int((singular > _NULL * singular[0]).sum())
    return np.asarray(right[rank:].T)
