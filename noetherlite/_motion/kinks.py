"""Flows of networks with kinks: the activation pattern on each smooth piece, and its change at the end of the piece.

On a piece the slopes of all neurons on all samples are fixed and the field is smooth, also a little beyond the end of the piece,
which `events` finds. There the flow crosses a kink or slides along it (`sliding`) until the slope reaches that of a side. With
momentum it slides only at rest relative to the kink, and crosses it otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from . import sliding
from .dynamics import Dynamics
from .gated import Gated, GatedLoss, Kink
from .normals import Normals
from .sliding import Surface, Surfaces

# A kink counts as crossed where its pre-activation is this far beyond zero, in units of its terms: more than round-off.
_BEHIND = 32 * float(np.finfo(np.float64).eps)


class Limits(NamedTuple):
    """Tolerances of the solver, and the limit of gradient evaluations."""

    rtol: float
    atol: float
    max_evaluations: int


class SlidingMode(NamedTuple):
    """An interval of sliding along a kink, on which the neuron's pre-activation on the sample stays zero.

    Attributes
    ----------
    sample, layer, neuron : int
        Row of the data, hidden layer h = 1 … L−1, and neuron counted from 0.
    start, end : float
        Times.
    """

    sample: int
    layer: int
    neuron: int
    start: float
    end: float


class PatternFlow(ABC):
    """A flow with an activation pattern: the sign of every pre-activation, and the surfaces along which it slides."""

    surfaces: Surfaces
    positions: Float64Array
    _sliding_slopes: Float64Array | None  # slopes, with intermediate ones for the kinks of the surfaces
    _evaluated: tuple[Float64Array, Gated] | None  # the last state, and the loss at it
    _sliding_result: tuple[Float64Array, Float64Array] | None  # result of `slide` at that state
    _sizes: Float64Array  # `Gated.sizes` (N, H) at the last call of `distances`

    def __init__(self, loss: GatedLoss, x: Array, limits: Limits, t0: float) -> None:
        self.loss, self.limits, self.now = loss, limits, t0
        self.crossings: Counter[Kink] = Counter()
        self._starts: dict[Kink, float] = {}
        self._ended: list[SlidingMode] = []
        self._set_surfaces([], np.empty(0))
        self.signs = np.sign(loss.pre_activations(x)).astype(np.int8)
        self.refresh(np.asarray(x, np.float64))

    @abstractmethod
    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return ẏ at the time u after the piece's beginning."""

    @abstractmethod
    def load(self, y: Float64Array) -> sliding.Load:
        """Return the term that is added to ∇U_s in the decision between crossing and sliding."""

    @abstractmethod
    def onto(self, y: Float64Array) -> Float64Array:
        """Return the state projected onto the surfaces, which it has left by round-off."""

    @abstractmethod
    def go_on(self, y: Float64Array, hit: list[Kink]) -> Float64Array:
        """Decide along which kinks to slide after the kinks `hit` have been reached, and return the state."""

    def x(self, y: Float64Array) -> Float64Array:
        """Return the parameters of a state."""
        return y[: self.loss.n_params]

    def at(self, y: Float64Array) -> Gated:
        """Return the loss at a state; the last one is stored, as DOP853 and the margins evaluate the same points."""
        if self._evaluated is None or not np.array_equal(self._evaluated[0], y):
            if self._sliding_slopes is None:
                self._sliding_slopes = self.surfaces.place(self.slopes, self.positions)
            y = y.copy()
            self._evaluated, self._sliding_result = (y, self.loss.at(self.x(y), self._sliding_slopes)), None
        return self._evaluated[1]

    def slide(self, y: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return ∇U and the positions λ of the surfaces."""
        loss = self.at(y)
        if not self.surfaces:
            return loss.gradient, self.positions
        if self._sliding_result is None:
            self._sliding_result = sliding.slide(loss, self.slopes, self.surfaces, self.positions, self.load(y))
        return self._sliding_result

    def margins(self, y: Float64Array) -> Float64Array:
        """Return the quantities that are positive on the piece: distances, then `position_margins`."""
        return np.concatenate([self.distances(y), self.position_margins(y)])

    def position_margins(self, y: Float64Array) -> Float64Array:
        """Return the distances of the positions λ to 0, then to 1."""
        if not self.surfaces:
            return self.positions
        positions = self.slide(y)[1]
        return np.concatenate([positions, 1 - positions])

    def distances(self, y: Float64Array) -> Float64Array:
        """Return |z| plus `_BEHIND` on the present side of all kinks (N, H), flattened; ∞ for kinks that cannot be crossed."""
        loss = self.at(y)
        self._sizes = loss.sizes
        active = (self.signs != 0) & (loss.sizes > 0)
        for k in self.surfaces.kinks:
            active[k] = False
        return np.where(active, self.signs * loss.z + _BEHIND * loss.sizes, np.inf).ravel()

    def distance(self, y: Float64Array, k: int) -> float:
        """Return entry k of the distances, with the sizes of the last call of `distances`."""
        row, column = divmod(k, self.loss.shape[1])
        loss = self.loss.at(self.x(y), self.slopes, np.array([row]))
        return float(self.signs[row, column] * loss.z[0, column] + _BEHIND * self._sizes[row, column])

    def closing(self, y: Float64Array, rate: Float64Array) -> Float64Array:
        """Return the rates of the distances."""
        return (self.signs * self.at(y).rates(self.x(rate))).ravel()

    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Change the pattern where margins are not positive: leave surfaces, and cross or slide along the kinks reached."""
        at_kinks, K = margins[: self.signs.size], len(self.surfaces)
        low, high = margins[self.signs.size :][:K] <= 0, margins[self.signs.size :][K:] <= 0
        if K:
            positions = np.clip(self.slide(y)[1], 0.0, 1.0)
            for number in np.flatnonzero(low | high):
                self._set_side(self.surfaces.members[number], float(high[number]))
            remaining = np.flatnonzero(~(low | high))
            self._set_surfaces([self.surfaces.members[number] for number in remaining], positions[remaining])
        hit = [(int(n), int(c)) for n, c in np.argwhere((at_kinks <= 0).reshape(self.signs.shape))]
        for k in hit:
            self.signs[k] = -self.signs[k]
        self.crossings.update(hit)
        self.refresh(self.x(y))
        return self.go_on(y, hit)

    def refresh(self, x: Float64Array) -> None:
        """Set slopes by signs, and update the signs of kinks whose signal has appeared or vanished."""
        self._evaluated = self._sliding_slopes = None
        for _ in self.loss.kinked:
            self.slopes = np.where(self.signs > 0, 1.0, self.loss.low)
            loss = self.loss_at(x)
            self.signs[loss.sizes == 0] = 0
            new = (self.signs == 0) & (loss.sizes > 0)
            if not new.any():
                return
            self.signs[new] = np.where(loss.z[new] > 0, 1, -1)

    def loss_at(self, x: Float64Array) -> Gated:
        """Return the loss at parameters x, with the slopes of the present pattern."""
        return self.loss.at(x, self.surfaces.place(self.slopes, self.positions))

    def near(self, x: Float64Array) -> list[Kink]:
        """Return the kinks on which x lies, up to round-off."""
        loss = self.loss_at(x)
        return [
            (int(n), int(c)) for n, c in np.argwhere((loss.sizes > 0) & (np.abs(loss.z) <= 2 * _BEHIND * loss.sizes))
        ]

    def check(self, x: Float64Array, u: float) -> None:
        """Raise RuntimeError if the state is not finite, or the number of gradients exceeds the limit."""
        if not np.isfinite(x).all():
            raise RuntimeError("DOP853 stopped: ∇U is not finite on its way, or grows too fast")
        if self.loss.calls >= self.limits.max_evaluations:
            often = "".join(
                f", most often, {times} times, that of {sliding.named(self.loss, [kink])}"
                for kink, times in self.crossings.most_common(1)
            )
            present = f", slides along {sliding.named(self.loss, self.surfaces.kinks)}" if self.surfaces else ""
            raise RuntimeError(
                f"DOP853 needs more than max_evaluations={self.limits.max_evaluations} and is at t = {self.now + u:g}, where it "
                f"has crossed {self.crossings.total()} kinks{often}{present}"
            )

    def ended(self) -> tuple[SlidingMode, ...]:
        """Return the sliding modes, including those not finished."""
        self._set_surfaces([], np.empty(0))
        return tuple(sorted(self._ended, key=lambda mode: (mode.start, *mode[:3])))

    def resolve(self, y: Float64Array, kinks: Sequence[Kink]) -> Surfaces:
        """Decide for each of the kinks at a state whether it is crossed or slid along; return the surfaces that the kinks form."""
        x = self.x(y)
        present = dict(zip(self.surfaces.firsts, self.positions.tolist(), strict=True))
        surfaces = sliding.group(self.loss_at(x), list(dict.fromkeys(kinks)))
        if not surfaces:
            return surfaces
        guess = np.array([present.get(k, float(self.signs[k] > 0)) for k in surfaces.firsts])
        positions = sliding.settle(self.loss, x, self.slopes, surfaces, guess, self.load(y))
        for surface, position in zip(surfaces.members, positions, strict=True):
            if position in (0, 1):
                self._set_side(surface, float(position))
        inside = np.flatnonzero((positions > 0) & (positions < 1))
        self._set_surfaces([surfaces.members[k] for k in inside], positions[inside])
        self.refresh(x)
        return surfaces

    def _set_side(self, surface: Surface, position: float) -> None:
        for k, sign in zip(surface.kinks, surface.signs(position), strict=True):
            self.signs[k] = sign

    def _set_surfaces(self, surfaces: list[Surface], positions: Float64Array) -> None:
        """Slide along these surfaces, and no others."""
        self.surfaces, self.positions = Surfaces(surfaces, self.loss.low), positions
        self._evaluated = self._sliding_slopes = None
        for k in [k for k in self._starts if k not in self.surfaces.kinks]:
            self._ended.append(SlidingMode(*self.loss.name(k), self._starts.pop(k), self.now))
        for k in self.surfaces.kinks:
            self._starts.setdefault(k, self.now)


class Descent(PatternFlow):
    """Gradient flow ẋ = −∇U/γ."""

    def __init__(self, loss: GatedLoss, x: Float64Array, limits: Limits, gamma: float, t0: float) -> None:
        super().__init__(loss, x, limits, t0)
        self.gamma = gamma
        self.resolve(x, self.near(x))

    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return −∇U/γ, along the surfaces if there are any."""
        self.check(y, u)
        return -self.slide(y)[0] / self.gamma

    def load(self, y: Float64Array) -> sliding.Load:
        """Return zero: −∇U_s alone decides."""
        return sliding.no_load

    def onto(self, y: Float64Array) -> Float64Array:
        """Return y on the surfaces."""
        return self.surfaces.onto(self.at(y)) if self.surfaces else y

    def go_on(self, y: Float64Array, hit: list[Kink]) -> Float64Array:
        """Project the state, which is slightly beyond the kinks `hit`, onto them, as the flow may turn back or slide there."""
        if hit:
            surfaces = self.resolve(y, [*self.surfaces.kinks, *hit, *self.near(y)])
            y = surfaces.onto(self.at(y))
        return self.onto(y)


class Inertia(PatternFlow):
    """mẍ + c(t)ẋ + ∇U = 0: the velocity carries the flow across kinks, where only the acceleration jumps.

    From z = ż = 0 the flow slides if the force points towards the kink from both sides: ½ż² + |z̈||z|, with z̈ of the
    respective side, grows at most exponentially from zero, so that it stays zero and z̈ = n·ẍ + vᵀ(∇²z)v = 0.
    """

    def __init__(self, loss: GatedLoss, y: Float64Array, limits: Limits, dynamics: Dynamics, t0: float) -> None:
        super().__init__(loss, y[: loss.n_params], limits, t0)
        self.dynamics = dynamics
        self.resolve(y, self._resting(y, self.near(self.x(y))))

    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return (v, v̇)."""
        self.check(y, u)
        v = self.v(y)
        force = -self.slide(y)[0] - float(self.dynamics.friction(self.now + u)) * v
        return np.concatenate([v, force / self.dynamics.mass])

    def v(self, y: Float64Array) -> Float64Array:
        """Return the velocity of a state."""
        return y[self.loss.n_params :]

    def load(self, y: Float64Array) -> sliding.Load:
        """Return the term by the curvature of the kinks: m z̈ = −n·(∇U + load), as friction has no component along n if n·v = 0."""
        v = self.v(y)

        def curvature(loss: Gated, kinks: Sequence[Kink], normals: Normals) -> Float64Array:
            return -self.dynamics.mass * normals.shift(loss.curvatures(v, kinks))

        return curvature if v.any() else sliding.no_load

    def onto(self, y: Float64Array) -> Float64Array:
        """Return the state with z = 0 and ż = 0 on the surfaces."""
        if not self.surfaces:
            return y
        x = self.surfaces.onto(self.at(y))
        return np.concatenate([x, self.loss_at(x).normals(self.surfaces.firsts).project(self.v(y))[1]])

    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Change the pattern where margins are not positive, from a state projected onto z = ż = 0 of the surfaces."""
        return super().arrive(self.onto(y), margins)

    def go_on(self, y: Float64Array, hit: list[Kink]) -> Float64Array:
        """Leave kinks that the crossing has set in motion, and decide again for those with z = ż = 0, as ∇U has jumped."""
        if hit:
            still_sliding = self._resting(y, self.surfaces.kinks)
            resting = [k for k in self._at_rest(y, self.near(self.x(y))) if k not in self.surfaces.kinks]
            for k in resting:  # of two solutions, take the one with the neuron off
                self.signs[k] = -1
            self.refresh(self.x(y))
            self.resolve(y, [*still_sliding, *resting])
        return self.onto(y)

    def _resting(self, y: Float64Array, kinks: list[Kink]) -> list[Kink]:
        """Return those of the kinks at x that have ż = 0; the others are left, to the side given by the sign of ż."""
        still = kinks
        for _ in self.loss.kinked:  # a layer's ż depends on the sides in the layers below
            still = self._at_rest(y, kinks)
            moving = [k for k in kinks if k not in still]
            if not moving:
                break
            for k, rate in zip(moving, self.loss_at(self.x(y)).normals(moving).along(self.v(y)), strict=True):
                self.signs[k] = np.sign(rate)
            remaining = [n for n, s in enumerate(self.surfaces.members) if not set(s.kinks) & set(moving)]
            self._set_surfaces([self.surfaces.members[n] for n in remaining], self.positions[remaining])
            self.refresh(self.x(y))
        return still

    def _at_rest(self, y: Float64Array, kinks: list[Kink]) -> list[Kink]:
        """Return those of the kinks that have ż = 0 up to round-off."""
        if not kinks:
            return []
        normals, v = self.loss_at(self.x(y)).normals(kinks), self.v(y)
        sizes = np.sqrt(np.diagonal(normals.gram)) * np.linalg.norm(v)
        return [kinks[k] for k in np.flatnonzero(np.abs(normals.along(v)) <= 2 * _BEHIND * sizes)]
