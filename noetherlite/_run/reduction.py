"""Exact input reduction: the part of W_1 outside the span of the inputs never moves, so it need not be trained.

∇U with respect to W_1 is DᵀX with D = ∂U/∂z_1: from rest W_1 = W_1(0) + C B for any basis B of the inputs' span. Two bases:

- the samples themselves, B = X. ∂U/∂C is not wanted, as C follows the gradient D of Z = W_1 Xᵀ, and Z that of C, D XXᵀ. One
  product with XXᵀ takes the place of two with X: less than half the work where N ≤ n_0. Of a minibatch D has columns of zeros for all
  other samples, and a record's loss of all samples has z_1 before it.
- r = rank(X) orthonormal rows. Then C are the weights of a network with r inputs X Bᵀ, all else as before; it pays where
  many samples have few directions.

Either is the same mathematics as without, up to round-off, and the laws' charges are the same numbers.
"""

from __future__ import annotations

import functools
from typing import Any, TypeGuard

import numpy as np

from .._base.products import times_transposed
from .._base.types import Array, Float64Array
from .._kernels import layout
from .._kernels.cpu import tiles
from .._motion.base import Algorithm
from .._problem.network import Network, NetworkPotential
from .._symmetry.family import Family
from .._symmetry.find import watched as find_watched
from .._symmetry.hidden import Hidden
from .._symmetry.records import table

# A reduction pays if it saves _WORTH times the work of its preparation, which takes longer than its operations; the rank has to be
# at least the fraction _SPARED below the number of inputs, and before it is known so much of layer 1's work is taken as saved.
_WORTH, _SPARED = 2, 0.2
# Operations of a product that take as long as the passes over a coordinate beside it, and how much longer those of a minibatch take.
_UPDATE, _SLOWER = 64, 2


class Start:
    """The start of a run: θ, and C = W_1 Bᵀ of shape (n_1, q), multiplied when it is first read: samples' coordinates go back to θ without it."""

    def __init__(self, theta: Array, reduction: Reduction) -> None:
        self.theta, self._reduction = theta, reduction

    @functools.cached_property
    def C(self) -> Float64Array:
        """The coordinates of W_1."""
        return times_transposed(self._reduction.weights(self.theta), self._reduction.B)


class Reduction:
    """A network of two layers at least on data, in coordinates of the span of its inputs: the samples, or orthonormal rows."""

    def __init__(self, U: NetworkPotential, by_samples: bool) -> None:
        self.network, self.by_samples = U.network, by_samples
        X: Float64Array = np.asarray(U.X, np.float64)
        self.B = X if by_samples else _orthonormal_rows(X)
        net = U.network
        reduced = Network([len(self.B), *net.widths[1:]], list(net.activations), net.bias, net.loss)
        # the reduced potential, which the kernels integrate
        self.U = NetworkPotential(reduced, times_transposed(U.X, self.B), U.y, **U.given_weights)
        self.dual = reduced.n_params if by_samples else -1  # of `layout.Problem`
        self.n_params = reduced.n_params + (net.widths[1] * len(self.B) if by_samples else 0)
        self.size = net.widths[1] * net.widths[0]  # of W_1, the first block of θ
        self.block = net.widths[1] * len(self.B)  # size of C, which takes its place

    def describe(self) -> dict[str, Any]:
        """Return the entry of a specification."""
        return {"coordinates": "samples" if self.by_samples else "rank", "n": len(self.B)}

    def __str__(self) -> str:
        kind = "the samples" if self.by_samples else "the inputs' span"
        return f"layer 1 in {len(self.B)} coordinates of {kind} instead of {self.network.widths[0]} inputs"

    def enter(self, theta: Array) -> Start:
        """Return the start of a run from θ."""
        return Start(theta, self)

    def coordinates(self, start: Start) -> Array:
        """Return the reduced coordinates of the start."""
        y = np.zeros(self.n_params)
        self._rest(y)[:] = start.theta[self.size :]
        y[: self.block] = start.C.ravel()
        return y

    def leave(self, start: Start, y: Array) -> Array:
        """Return θ with the reduced coordinates y, of shape (..., n_params)."""
        moved = self._lift(y, 0 if self.by_samples else start.C)
        return np.concatenate([start.theta[: self.size] + moved, self._rest(y)], axis=-1)

    def velocity(self, y: Array) -> Array:
        """Return ẋ with the reduced coordinates y."""
        return np.concatenate([self._lift(y, 0), self._rest(y)], axis=-1)

    def _lift(self, y: Array, origin: Any) -> Array:
        """Return (C − origin) B, flat."""
        C = y[..., -self.block :] if self.by_samples else y[..., : self.block]
        C = (C.reshape(*y.shape[:-1], -1, len(self.B)) - origin).reshape(-1, len(self.B))
        return times_transposed(C, self.B.T).reshape(*y.shape[:-1], self.size)

    def _rest(self, y: Array) -> Array:
        return y[..., self.block : self.dual if self.by_samples else y.shape[-1]]

    def table(self, watched: list[Family], dtype: str) -> layout.Laws:
        """Return the laws in reduced coordinates; `Z0` is set by each run."""
        laws = table(find_watched(self.U, [s.name for s in watched], minibatches=False), self.U.n_params, dtype)
        if not self.by_samples:
            return laws
        where = laws.where.copy()
        for row, s in zip(where, watched, strict=True):
            if _of_first_layer(s):
                row[7] = self.dual
        return laws._replace(where=where)

    def constants(self, watched: list[Family], start: Start) -> Float64Array:
        """Return Q in θ minus Q in reduced coordinates: ½(W_1W_1ᵀ − C_1C_1ᵀ) at the start, C_1 = 0 for samples."""
        W, C = self.weights(start.theta), np.zeros((self.network.widths[1], 1)) if self.by_samples else start.C
        parts = [
            s.incoming_quantity(W) - s.incoming_quantity(C) if _of_first_layer(s) else np.zeros(s.n_generators)
            for s in watched
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def weights(self, theta: Array) -> Float64Array:
        """Return W_1 of θ."""
        return np.asarray(theta[: self.size], np.float64).reshape(-1, self.network.widths[0])


def _of_first_layer(s: Family) -> TypeGuard[Hidden]:
    """Return whether a law is one of hidden layer 1, so that its Q contains W_1."""
    return isinstance(s, Hidden) and s.h == 1


def _orthonormal_rows(X: Float64Array) -> Float64Array:
    """Return orthonormal rows that span the rows of X, without directions of round-off."""
    _, sizes, rows = np.linalg.svd(X, full_matrices=False)
    rank = int((sizes > sizes[0] * max(X.shape) * np.finfo(X.dtype).eps).sum()) if sizes.size else 0
    return rows[: max(rank, 1)].copy()  # a copy: a view would keep all rows in memory


def obstacle(algorithm: Algorithm, moving: bool) -> str:
    """Return the reason why steps of an algorithm, from rest or `moving`, cannot be those of a reduced run, '' if they can."""
    if not algorithm.is_linear:
        return f"a step of {algorithm} is another in other coordinates"
    if moving or algorithm.weight_decay > 0:
        return "it needs a start from rest and no weight decay: W_1 would move outside the inputs' span"
    return ""


def objection(U: object, watched: list[Family], on_cpu: bool) -> str:
    """Return the reason why no run in a potential can be reduced, '' if some can."""
    if not isinstance(U, NetworkPotential) or len(U.network.widths) < 3:
        return "it needs a network with a hidden layer"
    if not on_cpu:
        return "it needs the compiled backend, on the CPU"
    for s in watched:
        if not s.reducible:
            return f"the law {s.name!r} needs W_1 itself"
    return ""


def _fewer_by_samples(N: int, n: int, drawn: int) -> bool:
    """Whether N samples are fewer coordinates for n inputs: of a minibatch, where the second copy of W_1 costs less than a product."""
    work, reduced = n * (4 * drawn + _UPDATE), 2 * N * (drawn + _UPDATE)
    return n >= N and (drawn == N or reduced < work)


def choose(
    U: NetworkPotential,
    steps: int,
    drawn: int,
    reduce: bool | None,
    by_samples: bool | None = None,
    records: int = 0,
    seen: int = 0,
) -> Reduction | None:
    """Return the faster reduction of a run whose gradients are of `drawn` samples if it pays, or if `reduce` asks for one, else None.

    `by_samples` says which one, if it is known. Of minibatches a record's loss is one of all samples, whose z_1 are samples' coordinates.
    θ, or ẋ, is `seen` so many times by functions of the user; each time it is multiplied out.
    """
    N, n = U.X.shape
    n_1 = U.network.widths[1]
    if by_samples is None:
        by_samples = _fewer_by_samples(N, n, drawn)
    if reduce:
        return Reduction(U, by_samples)
    if n * n_1 < tiles.BLAS_FROM:
        return None  # layer 1 is too small to dominate the time of a step
    work = steps * 4 * drawn * n * n_1 * (1 if drawn == N else _SLOWER)
    # Products, or a singular value decomposition, whose operations run at a tenth of a product's rate.
    if by_samples:
        preparation = 2 * N * N * n + 6 * N * n * n_1
        saved = work - steps * 2 * drawn * N * n_1 + (records * 2 * N * n * n_1 if drawn < N else 0)
    else:
        preparation, saved = 100 * N * n * min(N, n), _SPARED * work
    saved -= seen * 2 * min(N, n) * n * n_1
    if saved < _WORTH * preparation:
        return None
    reduction = Reduction(U, by_samples)
    return reduction if by_samples or len(reduction.B) <= (1 - _SPARED) * n else None
