"""Flows of networks with kinks: the pattern of activations on each smooth piece, and how it changes at the piece's end.

On a piece every neuron has its slope on every sample and the field is smooth, also a little beyond the piece's end (found by
`events`). There the flow crosses a kink or slides along it (`sliding`), until the slope that holds it there reaches one of a
side. Momentum slides only where it is at rest with respect to the kink, and crosses it elsewhere.
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

# A kink counts as passed this many round-offs of its pre-activation beyond zero: never by round-off alone.
_BEHIND = 32 * float(np.finfo(np.float64).eps)


class Method(NamedTuple):
    """How exactly to solve, and when to give up."""

    rtol: float
    atol: float
    max_evaluations: int


class SlidingMode(NamedTuple):
    """A stretch of the flow along a kink: the neuron's pre-activation on the sample stays zero.

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
    """A flow with an activation pattern: the sign of every pre-activation, and the surfaces that it slides along."""

    surfaces: Surfaces
    positions: Float64Array
    _held: Float64Array | None  # slopes, with those of the surfaces' kinks between their sides
    _latest: tuple[Float64Array, Gated] | None  # a state and the loss there
    _slid: tuple[Float64Array, Float64Array] | None  # and what `slide` has found there
    _sizes: Float64Array  # (N, H), of what z is summed from, where `distances` was asked for last

    def __init__(self, loss: GatedLoss, x: Array, how: Method, t0: float) -> None:
        self.loss, self.how, self.now = loss, how, t0
        self.crossings: Counter[Kink] = Counter()
        self._begun: dict[Kink, float] = {}
        self._ended: list[SlidingMode] = []
        self._keep([], np.empty(0))
        self.signs = np.sign(loss.pre_activations(x)).astype(np.int8)
        self.refresh(np.asarray(x, np.float64))

    @abstractmethod
    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return ẏ at the time u after the piece's beginning."""

    @abstractmethod
    def load(self, y: Float64Array) -> sliding.Load:
        """Return what decides with −∇U_s where the state goes."""

    @abstractmethod
    def onto(self, y: Float64Array) -> Float64Array:
        """Return the state without the round-off by which it has left the surfaces."""

    @abstractmethod
    def go_on(self, y: Float64Array, hit: list[Kink]) -> Float64Array:
        """Decide where to slide from now on, where the kinks `hit` have been crossed, and return the state."""

    def x(self, y: Float64Array) -> Float64Array:
        """Return the parameters of a state."""
        return y[: self.loss.n_params]

    def at(self, y: Float64Array) -> Gated:
        """Return the loss at a state, kept for the next call: DOP853 and the margins ask for the same points."""
        if self._latest is None or not np.array_equal(self._latest[0], y):
            if self._held is None:
                self._held = self.surfaces.place(self.slopes, self.positions)
            y = y.copy()
            self._latest, self._slid = (y, self.loss.at(self.x(y), self._held)), None
        return self._latest[1]

    def slide(self, y: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return ∇U and the positions."""
        here = self.at(y)
        if not self.surfaces:
            return here.gradient, self.positions
        if self._slid is None:
            self._slid = sliding.slide(here, self.slopes, self.surfaces, self.positions, self.load(y))
        return self._slid

    def margins(self, y: Float64Array) -> Float64Array:
        """Return what stays positive on the piece, the distances first."""
        return np.concatenate([self.distances(y), self.holds(y)])

    def holds(self, y: Float64Array) -> Float64Array:
        """Return the distances of the positions λ to 0, then to 1."""
        if not self.surfaces:
            return self.positions
        positions = self.slide(y)[1]
        return np.concatenate([positions, 1 - positions])

    def distances(self, y: Float64Array) -> Float64Array:
        """Return |z| on the present side, and a little more, of all kinks (N, H) in a row."""
        here = self.at(y)
        self._sizes = here.sizes
        watched = (self.signs != 0) & (here.sizes > 0)
        for k in self.surfaces.kinks:
            watched[k] = False
        return np.where(watched, self.signs * here.z + _BEHIND * here.sizes, np.inf).ravel()

    def distance(self, y: Float64Array, k: int) -> float:
        """Return the k-th of the distances, with as much more as where all were asked for."""
        row, column = divmod(k, self.loss.shape[1])
        here = self.loss.at(self.x(y), self.slopes, np.array([row]))
        return float(self.signs[row, column] * here.z[0, column] + _BEHIND * self._sizes[row, column])

    def closing(self, y: Float64Array, rate: Float64Array) -> Float64Array:
        """Return the rates of the distances."""
        return (self.signs * self.at(y).rates(self.x(rate))).ravel()

    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Change the pattern where margins are not positive: leave surfaces, and cross or join the kinks that are reached."""
        at_kinks, K = margins[: self.signs.size], len(self.surfaces)
        low, high = margins[self.signs.size :][:K] <= 0, margins[self.signs.size :][K:] <= 0
        if K:
            positions = np.clip(self.slide(y)[1], 0.0, 1.0)
            for number in np.flatnonzero(low | high):
                self._side(self.surfaces.members[number], float(high[number]))
            kept = np.flatnonzero(~(low | high))
            self._keep([self.surfaces.members[number] for number in kept], positions[kept])
        hit = [(int(n), int(c)) for n, c in np.argwhere((at_kinks <= 0).reshape(self.signs.shape))]
        for k in hit:
            self.signs[k] = -self.signs[k]
        self.crossings.update(hit)
        self.refresh(self.x(y))
        return self.go_on(y, hit)

    def refresh(self, x: Float64Array) -> None:
        """Set slopes by signs, and the signs of kinks that a signal has reached or left."""
        self._latest = self._held = None
        for _ in self.loss.kinked:
            self.slopes = np.where(self.signs > 0, 1.0, self.loss.low)
            here = self.here(x)
            self.signs[here.sizes == 0] = 0
            new = (self.signs == 0) & (here.sizes > 0)
            if not new.any():
                return
            self.signs[new] = np.where(here.z[new] > 0, 1, -1)

    def here(self, x: Float64Array) -> Gated:
        """Return the loss at parameters."""
        return self.loss.at(x, self.surfaces.place(self.slopes, self.positions))

    def near(self, x: Float64Array) -> list[Kink]:
        """Return the kinks at x, by round-off."""
        here = self.here(x)
        return [
            (int(n), int(c)) for n, c in np.argwhere((here.sizes > 0) & (np.abs(here.z) <= 2 * _BEHIND * here.sizes))
        ]

    def check(self, x: Float64Array, u: float) -> None:
        """Raise where the flow has left the finite numbers, or taken too long."""
        if not np.isfinite(x).all():
            raise RuntimeError("DOP853 stopped: ∇U is not finite on its way, or grows too fast")
        if self.loss.calls >= self.how.max_evaluations:
            often = "".join(
                f", most often, {times} times, that of {sliding.named(self.loss, [kink])}"
                for kink, times in self.crossings.most_common(1)
            )
            held = f", slides along {sliding.named(self.loss, self.surfaces.kinks)}" if self.surfaces else ""
            raise RuntimeError(
                f"DOP853 needs more than max_evaluations={self.how.max_evaluations} and is at t = {self.now + u:g}, where it "
                f"has crossed {self.crossings.total()} kinks{often}{held}"
            )

    def ended(self) -> tuple[SlidingMode, ...]:
        """Return the sliding modes, those that go on included."""
        self._keep([], np.empty(0))
        return tuple(sorted(self._ended, key=lambda mode: (mode.start, *mode[:3])))

    def resolve(self, y: Float64Array, kinks: Sequence[Kink]) -> Surfaces:
        """Decide for kinks at a state, those held among them, where the flow goes, and return the surfaces that they form."""
        x = self.x(y)
        known = dict(zip(self.surfaces.firsts, self.positions.tolist(), strict=True))
        surfaces = sliding.group(self.here(x), list(dict.fromkeys(kinks)))
        if not surfaces:
            return surfaces
        guess = np.array([known.get(k, float(self.signs[k] > 0)) for k in surfaces.firsts])
        positions = sliding.settle(self.loss, x, self.slopes, surfaces, guess, self.load(y))
        for surface, position in zip(surfaces.members, positions, strict=True):
            if position in (0, 1):
                self._side(surface, float(position))
        inside = np.flatnonzero((positions > 0) & (positions < 1))
        self._keep([surfaces.members[k] for k in inside], positions[inside])
        self.refresh(x)
        return surfaces

    def _side(self, surface: Surface, position: float) -> None:
        for k, sign in zip(surface.kinks, surface.signs(position), strict=True):
            self.signs[k] = sign

    def _keep(self, surfaces: list[Surface], positions: Float64Array) -> None:
        """Slide along these surfaces from now on, and no others."""
        self.surfaces, self.positions = Surfaces(surfaces, self.loss.low), positions
        self._latest = self._held = None
        for k in [k for k in self._begun if k not in self.surfaces.kinks]:
            self._ended.append(SlidingMode(*self.loss.name(k), self._begun.pop(k), self.now))
        for k in self.surfaces.kinks:
            self._begun.setdefault(k, self.now)


class Descent(PatternFlow):
    """Gradient flow ẋ = −∇U/γ."""

    def __init__(self, loss: GatedLoss, x: Float64Array, how: Method, gamma: float, t0: float) -> None:
        super().__init__(loss, x, how, t0)
        self.gamma = gamma
        self.resolve(x, self.near(x))

    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return −∇U/γ, along the surfaces if there are any."""
        self.check(y, u)
        return -self.slide(y)[0] / self.gamma

    def load(self, y: Float64Array) -> sliding.Load:
        """Return nothing: −∇U_s alone leads."""
        return sliding.no_load

    def onto(self, y: Float64Array) -> Float64Array:
        """Return y on the surfaces."""
        return self.surfaces.onto(self.at(y)) if self.surfaces else y

    def go_on(self, y: Float64Array, hit: list[Kink]) -> Float64Array:
        """Put the state onto what is hit, a little behind which it is, as the flow may turn back or slide there."""
        if hit:
            surfaces = self.resolve(y, [*self.surfaces.kinks, *hit, *self.near(y)])
            y = surfaces.onto(self.at(y))
        return self.onto(y)


class Inertia(PatternFlow):
    """mẍ + c(t)ẋ + ∇U = 0: the velocity carries it across kinks, where only the acceleration jumps.

    A kink with z = ż = 0 holds it where the force pulls towards the kink from both sides: ½ż² + |z̈||z|, of the two
    sides' z̈, grows from zero at most exponentially, so that it stays zero and z̈ = n·ẍ + vᵀ(∇²z)v = 0.
    """

    def __init__(self, loss: GatedLoss, y: Float64Array, how: Method, dynamics: Dynamics, t0: float) -> None:
        super().__init__(loss, y[: loss.n_params], how, t0)
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
        """Return what bends the path along the kinks: m z̈ = −n·(∇U + load), as friction has no part along n where n·v = 0."""
        v = self.v(y)

        def bend(here: Gated, kinks: Sequence[Kink], normals: Normals) -> Float64Array:
            return -self.dynamics.mass * normals.shift(here.curvatures(v, kinks))

        return bend if v.any() else sliding.no_load

    def onto(self, y: Float64Array) -> Float64Array:
        """Return the state with z = 0 and ż = 0 on the surfaces."""
        if not self.surfaces:
            return y
        x = self.surfaces.onto(self.at(y))
        return np.concatenate([x, self.here(x).normals(self.surfaces.firsts).project(self.v(y))[1]])

    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Change the pattern where margins are not positive, from a state that is exactly at rest on what it slides along."""
        return super().arrive(self.onto(y), margins)

    def go_on(self, y: Float64Array, hit: list[Kink]) -> Float64Array:
        """Let go of what the crossing has set in motion, and decide for all that rests on a kink anew: ∇U has jumped."""
        if hit:
            held = self._resting(y, self.surfaces.kinks)
            resting = [k for k in self._at_rest(y, self.near(self.x(y))) if k not in self.surfaces.kinks]
            for k in resting:  # the solution where the neuron is off, if there are two
                self.signs[k] = -1
            self.refresh(self.x(y))
            self.resolve(y, [*held, *resting])
        return self.onto(y)

    def _resting(self, y: Float64Array, kinks: list[Kink]) -> list[Kink]:
        """Return those of kinks at x that have ż = 0; the others, let go, take the side to which they move."""
        still = kinks
        for _ in self.loss.kinked:  # a layer's ż depends on the sides in the layers below
            still = self._at_rest(y, kinks)
            moving = [k for k in kinks if k not in still]
            if not moving:
                break
            for k, rate in zip(moving, self.here(self.x(y)).normals(moving).along(self.v(y)), strict=True):
                self.signs[k] = np.sign(rate)
            held = [n for n, s in enumerate(self.surfaces.members) if not set(s.kinks) & set(moving)]
            self._keep([self.surfaces.members[n] for n in held], self.positions[held])
            self.refresh(self.x(y))
        return still

    def _at_rest(self, y: Float64Array, kinks: list[Kink]) -> list[Kink]:
        """Return those of kinks that have ż = 0, by round-off."""
        if not kinks:
            return []
        normals, v = self.here(self.x(y)).normals(kinks), self.v(y)
        sizes = np.sqrt(np.diagonal(normals.gram)) * np.linalg.norm(v)
        return [kinks[k] for k in np.flatnonzero(np.abs(normals.along(v)) <= 2 * _BEHIND * sizes)]
