"""Sliding along kinks: which of the kinks at a point are crossed, along which the flow slides, and the force along these.

At kink k the loss U_s has any slope s_k in [a, 1], and ∇U_s changes with it by (∂U/∂a_k) ∇z_k. Gradient flow solves
ẋ ∈ −∂U(x) (Filippov, Utkin): if the field points towards a kink from both sides, the slope is that with ż_k = 0, and x slides
along z_k = 0; otherwise it is the slope of a side into which the field points. If all ∂U/∂a_k > 0, this is the gradient of
smallest norm among the slopes between a and 1. Where ∂U/∂a_k < 0 the kink is concave, and is crossed; a flow that starts
there may have two solutions, of which the one with the neuron off is taken. With momentum, z̈_k replaces ż_k where z_k = ż_k = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .gated import Gated, GatedLoss, Kink
from .normals import Normals, triangle

# A term added to ∇U_s before its components along the normals (P, K) of K kinks are compared.
Load = Callable[[Gated, Sequence[Kink], Normals], Float64Array | float]

_PARALLEL = 1e-12  # largest 1 − |cos| of normals that belong to one surface, as those of equal samples
_SNAP = 1e-12  # a position λ this close to 0 or 1 is set to it
_ROUNDS = 100  # iterations for kinks of one sample in several layers, whose slopes multiply


class Surface(NamedTuple):
    """Kinks with the same surface z = 0, as of equal samples, or of parallel samples without biases."""

    kinks: tuple[Kink, ...]
    ratios: tuple[float, ...]  # of their ∇z to ∇z of the first

    def signs(self, position: float) -> list[int]:
        """Return the signs of z of the kinks on the side `position`, 0 or 1."""
        side = 1 if position > 0.5 else -1
        return [side if ratio > 0 else -side for ratio in self.ratios]


class Surfaces:
    """K surfaces; a position λ (K,) is 0 where a surface's first kink is off and 1 where it is on."""

    def __init__(self, members: Sequence[Surface], low: Float64Array) -> None:
        self.members = list(members)
        self.firsts = [surface.kinks[0] for surface in members]
        self.kinks = [k for surface in members for k in surface.kinks]
        ratios = np.array([ratio for surface in members for ratio in surface.ratios])
        self._owner = np.repeat(np.arange(len(members)), [len(surface.kinks) for surface in members])
        self._at = tuple(np.array(self.kinks, np.int64).reshape(-1, 2).T)
        self._low, self._up = low[self._at[1]], ratios > 0
        self._weight = (1 - self._low) * np.abs(ratios)

    def __len__(self) -> int:
        return len(self.members)

    def place(self, slopes: Float64Array, positions: Float64Array) -> Float64Array:
        """Return the slopes (N, H), with those of the kinks on the surfaces interpolated by the positions."""
        if not self.members:
            return slopes
        out, position = slopes.copy(), positions[self._owner]
        out[self._at] = self._low + np.where(self._up, position, 1 - position) * (1 - self._low)
        return out

    def weights(self, upstream: Float64Array) -> Float64Array:
        """Return c (K,): ∇U_s changes by c∇z, ∇z of the surface's first kink, from position 0 to 1."""
        return np.bincount(self._owner, upstream[self._at] * self._weight, len(self.members)).astype(np.float64)

    @cached_property
    def coupled(self) -> bool:
        """Whether a sample has kinks on more than one surface."""
        pairs = set(zip(self._at[0].tolist(), self._owner.tolist(), strict=True))
        return len({row for row, _ in pairs}) < len(pairs)

    def onto(self, gated: Gated) -> Float64Array:
        """Return the parameters projected onto z = 0, from a distance of round-off."""
        x = np.asarray(gated.x, np.float64)
        if not self.members:
            return x
        return np.asarray(x - gated.normals(self.firsts).shift(gated.z[tuple(np.transpose(self.firsts))]))


def group(gated: Gated, kinks: list[Kink]) -> Surfaces:
    """Return the surfaces that kinks at a point form."""
    gram = gated.normals(kinks).gram if kinks else np.empty((0, 0))
    sizes = np.sqrt(np.diagonal(gram))
    surfaces: dict[int, list[int]] = {}  # number of the first kink ↦ numbers of all kinks
    for k in np.flatnonzero(sizes).tolist():
        for first, members in surfaces.items():
            if 1 - abs(gram[first, k]) / (sizes[first] * sizes[k]) < _PARALLEL:
                members.append(k)
                break
        else:
            surfaces[k] = [k]
    return Surfaces(
        [
            Surface(
                tuple(kinks[k] for k in members), tuple(float(gram[first, k] / gram[first, first]) for k in members)
            )
            for first, members in surfaces.items()
        ],
        gated.loss.low,
    )


def no_load(gated: Gated, kinks: Sequence[Kink], normals: Normals) -> float:
    """Return 0, for gradient flow."""
    return 0.0


def slide(
    gated: Gated, slopes: Float64Array, surfaces: Surfaces, positions: Float64Array, load: Load
) -> tuple[Float64Array, Float64Array]:
    """Return ∇U_s at the positions λ (K,) for which all surfaces keep z = 0, and these λ; `gated` is U_s at the given λ.

    For fixed weights and normals this is a projection of ∇U_s + load. They depend on λ if a sample has kinks in several layers.
    """
    for _ in range(_ROUNDS):
        normals = gated.normals(surfaces.firsts)
        extra = load(gated, surfaces.firsts, normals)
        w, projected = normals.project(gated.gradient + extra)
        with np.errstate(divide="ignore", invalid="ignore"):  # with a weight of 0, λ leaves [0, 1]
            change = np.where(w == 0, 0.0, w / surfaces.weights(gated.upstream))
        positions = positions + change
        if not surfaces.coupled or not (_SNAP < np.abs(change).max() < np.inf):
            return projected - extra, positions
        gated = gated.loss.at(gated.x, surfaces.place(slopes, positions))
    raise _unsettled(gated.loss, surfaces)


def settle(
    loss: GatedLoss, x: Array, slopes: Float64Array, surfaces: Surfaces, positions: Float64Array, load: Load
) -> Float64Array:
    """Return the positions λ (K,) at x: 0 or 1 for a side into which the field points, between them for sliding."""
    for _ in range(_ROUNDS):
        gated = loss.at(x, surfaces.place(slopes, positions))
        normals = gated.normals(surfaces.firsts)
        gradient = gated.gradient + load(gated, surfaces.firsts, normals)
        weights = surfaces.weights(gated.upstream)
        new = _sides(gradient, normals.dense(), weights, positions)
        if (not surfaces.coupled and (weights > 0).all()) or np.abs(new - positions).max(initial=0.0) < _SNAP:
            return new
        positions = new
    raise _unsettled(loss, surfaces)


def _sides(
    gradient: Float64Array, normals: Float64Array, weights: Float64Array, positions: Float64Array
) -> Float64Array:
    """Return the new λ, from ∇U_s, the normals (P, K) and the weights at the present `positions`."""
    from scipy.optimize import lsq_linear

    new, jumps = positions.copy(), normals * weights
    sizes = np.linalg.norm(jumps, axis=0)
    convex = (weights > 0) & (sizes > 0)  # the size is 0 if another kink of the sample blocks the signal
    gradient = gradient - jumps[:, convex] @ positions[convex]
    if convex.any():
        sizes = sizes[convex]
        unit = max(float(np.linalg.norm(gradient)), float(np.finfo(np.float64).tiny))
        # the gradient of smallest norm: a least-squares problem between bounds, in units in which columns have size 1
        both = np.column_stack([jumps[:, convex] / sizes, -gradient / unit])
        R = triangle(both)  # the same problem with as many rows as columns
        best = lsq_linear(R[:, :-1], R[:, -1], (0, sizes / unit), method="bvls", tol=1e-15)
        solution = best.x * unit / sizes
        solution[(best.active_mask < 0) | (solution < _SNAP)] = 0.0
        solution[(best.active_mask > 0) | (solution > 1 - _SNAP)] = 1.0
        new[convex] = solution
        gradient = gradient + jumps[:, convex] @ solution
    for k in np.flatnonzero(~convex):
        # concave kinks stay on their side unless the field points away from it; convex ones are solved for given sides of these
        new[k] = np.round(positions[k])
        side = gradient + jumps[:, k] * (new[k] - positions[k])
        rate = -float(normals[:, k] @ side)  # ż, times γ
        if (2 * new[k] - 1) * rate < -_SNAP * float(np.linalg.norm(normals[:, k]) * np.linalg.norm(side)):
            new[k] = 1 - new[k]
    return new


def _unsettled(loss: GatedLoss, surfaces: Surfaces) -> RuntimeError:
    return RuntimeError(
        f"no direction was found in which the flow crosses or slides along the kinks of {named(loss, surfaces.kinks)}, which it "
        "has reached simultaneously; expected other initial parameters"
    )


def named(loss: GatedLoss, kinks: list[Kink]) -> str:
    """Return the names of the first few kinks, for messages."""
    words = [f"sample {n} at neuron {i} of layer {h}" for n, h, i in map(loss.name, kinks[:4])]
    return ", ".join(words) + (f" and {len(kinks) - 4} more" if len(kinks) > 4 else "")
