"""Motion along kinks: which of those at a point are crossed, which hold the gradient flow, and the flow along the latter.

At kink k the loss U_s has any slope s_k in [a, 1], and ∇U_s changes with it by (∂U/∂a_k) ∇z_k. Gradient flow solves
ẋ ∈ −∂U(x) (Filippov, Utkin): a kink to which the field points from both sides takes the slope with ż_k = 0, so that x slides
along z_k = 0; every other takes the slope of a side to which the field leads. If all ∂U/∂a_k > 0, that is the gradient
of smallest norm among the slopes between a and 1. Where ∂U/∂a_k < 0 the kink is concave, and is crossed; a flow that starts
there may have two solutions, and takes the one where the neuron is off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .gated import GatedLoss
from .normals import Normals

Kink = tuple[int, int]  # row and column of the matrix (N, H)

_PARALLEL = 1e-12  # 1 − |cos| of normals that belong to one surface, as those of equal samples do
_SNAP = 1e-12  # a position λ this close to 0 or 1 is a side
_ROUNDS = 100  # of solving for kinks of one sample in several layers, whose slopes multiply


class Surface(NamedTuple):
    """Kinks that meet in one surface: equal samples, or samples on one line through the origin without biases."""

    kinks: tuple[Kink, ...]
    ratios: tuple[float, ...]  # of their ∇z to that of the first

    def slopes(self, position: float, low: Float64Array) -> list[float]:
        """Return the kinks' slopes between its two sides, `position` 0 where the first kink is off and 1 where it is on."""
        return [
            low[k[1]] + (position if ratio > 0 else 1 - position) * (1 - low[k[1]])
            for k, ratio in zip(self.kinks, self.ratios, strict=True)
        ]

    def signs(self, position: float) -> list[int]:
        """Return the signs of z of the kinks on the side `position`, 0 or 1."""
        side = 1 if position > 0.5 else -1
        return [side if ratio > 0 else -side for ratio in self.ratios]

    def weight(self, upstream: Float64Array, low: Float64Array) -> float:
        """Return c, with c∇z of the first kink the change of ∇U_s from position 0 to 1."""
        return float(sum(upstream[k] * (1 - low[k[1]]) * abs(r) for k, r in zip(self.kinks, self.ratios, strict=True)))


class _Local(NamedTuple):
    gradient: Float64Array  # ∇U_s, shape (P,)
    normals: Normals  # ∇z of the surfaces
    weights: Float64Array  # c, shape (K,)


def group(loss: GatedLoss, x: Array, slopes: Float64Array, kinks: list[Kink]) -> list[Surface]:
    """Return the surfaces that kinks at x form."""
    surfaces: list[tuple[Float64Array, list[Kink], list[float]]] = []
    for k, normal in zip(kinks, loss.normals(x, slopes, kinks).dense().T, strict=True):
        size = float(np.linalg.norm(normal))
        if size == 0:
            continue
        for first, members, ratios in surfaces:
            product, own = float(first @ normal), float(np.linalg.norm(first))
            if 1 - abs(product) / (size * own) < _PARALLEL:
                members.append(k)
                ratios.append(product / own**2)
                break
        else:
            surfaces.append((normal, [k], [1.0]))
    return [Surface(tuple(members), tuple(ratios)) for _, members, ratios in surfaces]


def with_positions(
    slopes: Float64Array, surfaces: list[Surface], positions: Float64Array, low: Float64Array
) -> Float64Array:
    """Return the slopes (N, H) with those of the surfaces' kinks set."""
    out = slopes.copy()
    for surface, position in zip(surfaces, positions, strict=True):
        for k, slope in zip(surface.kinks, surface.slopes(position, low), strict=True):
            out[k] = slope
    return out


def _local(loss: GatedLoss, x: Array, slopes: Float64Array, surfaces: list[Surface], positions: Float64Array) -> _Local:
    held = with_positions(slopes, surfaces, positions, loss.low)
    value = loss.evaluate(x, held)
    normals = loss.normals(x, held, [surface.kinks[0] for surface in surfaces])
    weights = [surface.weight(value.upstream, loss.low) for surface in surfaces]
    return _Local(value.gradient, normals, np.array(weights))


def slide(
    loss: GatedLoss, x: Array, slopes: Float64Array, surfaces: list[Surface], guess: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the gradient that leaves z = 0 on all surfaces, and the positions λ (K,) that make it.

    At given weights and normals it is the projection of ∇U_s; these depend on λ where one sample has kinks in several layers.
    """
    positions = guess
    for _ in range(_ROUNDS):
        here = _local(loss, x, slopes, surfaces, positions)
        w, gradient = here.normals.project(here.gradient)
        with np.errstate(divide="ignore", invalid="ignore"):  # a weight of 0 holds nothing: λ leaves [0, 1]
            change = np.where(w == 0, 0.0, w / here.weights)
        positions = positions + change
        if not _coupled(surfaces) or not (_SNAP < np.abs(change).max() < np.inf):
            return gradient, positions
    raise _unsettled(loss, surfaces)


def settle(
    loss: GatedLoss, x: Array, slopes: Float64Array, surfaces: list[Surface], guess: Float64Array
) -> Float64Array:
    """Return the positions λ (K,) at x: 0 and 1 for the sides that the field leads to, between where it slides."""
    positions = guess
    for _ in range(_ROUNDS):
        here = _local(loss, x, slopes, surfaces, positions)
        new = _sides(here.gradient, here.normals.dense(), here.weights, positions)
        if np.abs(new - positions).max(initial=0.0) < _SNAP:
            return new
        positions = new
    raise _unsettled(loss, surfaces)


def _sides(
    gradient: Float64Array, normals: Float64Array, weights: Float64Array, positions: Float64Array
) -> Float64Array:
    """Return λ where ∇U_s, the normals (P, K) and the weights are those at `positions`."""
    from scipy.optimize import lsq_linear

    new, convex = positions.copy(), weights > 0
    jumps = normals * weights
    gradient = gradient - jumps[:, convex] @ positions[convex]
    if convex.any():
        sizes = np.linalg.norm(jumps[:, convex], axis=0)
        unit = max(float(np.linalg.norm(gradient)), float(np.finfo(np.float64).tiny))
        # the gradient of smallest norm: a least-squares problem between bounds, in units in which columns have size 1
        best = lsq_linear(jumps[:, convex] / sizes, -gradient / unit, (0, sizes / unit), method="bvls", tol=1e-15)
        found = best.x * unit / sizes
        found[(best.active_mask < 0) | (found < _SNAP)] = 0.0
        found[(best.active_mask > 0) | (found > 1 - _SNAP)] = 1.0
        new[convex] = found
        gradient = gradient + jumps[:, convex] @ found
    for k in np.flatnonzero(~convex):
        # a side is kept while the field leads to it; judged here, as the positions of the others follow from it
        new[k] = np.round(positions[k])
        side = gradient + jumps[:, k] * (new[k] - positions[k])
        rate = -float(normals[:, k] @ side)  # ż, times γ
        if (2 * new[k] - 1) * rate < -_SNAP * float(np.linalg.norm(normals[:, k]) * np.linalg.norm(side)):
            new[k] = 1 - new[k]
    return new


def _coupled(surfaces: list[Surface]) -> bool:
    """Whether a sample has kinks on more than one surface."""
    rows = [row for surface in surfaces for row in {k[0] for k in surface.kinks}]
    return len(set(rows)) < len(rows)


def onto(loss: GatedLoss, x: Float64Array, slopes: Float64Array, surfaces: list[Surface]) -> Float64Array:
    """Return x moved by round-off onto z = 0 of all surfaces."""
    if not surfaces:
        return x
    z = loss.kinks(x, slopes)[0]
    kinks = [surface.kinks[0] for surface in surfaces]
    away = np.array([z[k] for k in kinks])
    return x - loss.normals(x, slopes, kinks).shift(away)


def _unsettled(loss: GatedLoss, surfaces: list[Surface]) -> RuntimeError:
    return RuntimeError(
        f"no direction was found in which the flow leaves or follows the kinks of {described(loss, surfaces)}, which it has "
        "reached at the same time; expected other initial parameters"
    )


def described(loss: GatedLoss, surfaces: list[Surface]) -> str:
    """Return the kinks of surfaces in words."""
    return named(loss, [k for surface in surfaces for k in surface.kinks])


def named(loss: GatedLoss, kinks: list[Kink]) -> str:
    """Return kinks in words, the first few."""
    words = [f"sample {n} at neuron {i} of layer {h}" for n, h, i in map(loss.name, kinks[:4])]
    return ", ".join(words) + (f" and {len(kinks) - 4} more" if len(kinks) > 4 else "")
