"""Flows of networks with kinks, smooth piece by smooth piece: DOP853 between the times at which a pre-activation changes sign.

On a piece every neuron has its slope on every sample and the field is smooth, also a little beyond the piece's end. The end is
the first root of a pre-activation along the step's dense output. There the pattern changes: momentum crosses the kink, gradient
flow crosses it or slides along it (`_sliding`), until the slope that holds it there reaches one of a side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from . import sliding as _sliding
from .dynamics import Dynamics
from .gated import GatedLoss
from .sliding import Kink, Surface

if TYPE_CHECKING:
    from scipy.integrate import DenseOutput

# A kink counts as passed this many round-offs of its pre-activation beyond zero: never by round-off alone.
_BEHIND = 32 * float(np.finfo(np.float64).eps)
_GRAZE = 0.1  # a step in which a margin may fall below this part of its ends' is looked at where it is smallest


class Method(NamedTuple):
    """How exactly to solve, and when to give up."""

    rtol: float
    atol: float
    max_evaluations: int


class SlidingMode(NamedTuple):
    """A stretch of gradient flow along a kink: the neuron's pre-activation on the sample stays zero.

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


class Solution(NamedTuple):
    """States and what happened on the way."""

    y: Float64Array  # (R, n)
    rate: Float64Array  # ẏ, (R, n)
    sliding: tuple[SlidingMode, ...]
    n_crossings: int


class Motion(ABC):
    """A flow with an activation pattern: the sign of every pre-activation, and the surfaces that it slides along."""

    surfaces: list[Surface]
    positions: Float64Array

    def __init__(self, loss: GatedLoss, x: Array, how: Method) -> None:
        self.loss, self.how, self.now = loss, how, 0.0
        self.surfaces, self.positions = [], np.empty(0)
        self.crossings: Counter[Kink] = Counter()
        self.signs = np.sign(loss.pre_activations(x)).astype(np.int8)
        self.slopes = np.where(self.signs > 0, 1.0, loss.low)

    @abstractmethod
    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return ẏ at the time u after the piece's beginning."""

    @abstractmethod
    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Change the pattern where margins are not positive, and return the state from which to go on."""

    def onto(self, y: Float64Array) -> Float64Array:
        """Return the state without the round-off by which it has left the surfaces."""
        return y

    def x(self, y: Float64Array) -> Float64Array:
        """Return the parameters of a state."""
        return y[: self.loss.n_params]

    def margins(self, y: Float64Array) -> Float64Array:
        """Return what stays positive on the piece, the distances first."""
        return np.concatenate([self.distances(y), self.holds(y)])

    def holds(self, y: Float64Array) -> Float64Array:
        """Return what stays positive while the flow slides."""
        return np.empty(0)

    def distances(self, y: Float64Array) -> Float64Array:
        """Return |z| on the present side, and a little more, of all kinks (N, H) in a row."""
        z, size = self.loss.kinks(self.x(y), self.slopes)
        watched = (self.signs != 0) & (size > 0)
        for surface in self.surfaces:
            watched[tuple(zip(*surface.kinks, strict=True))] = False
        return np.where(watched, self.signs * z + _BEHIND * size, np.inf).ravel()

    def closing(self, y: Float64Array, rate: Float64Array) -> Float64Array:
        """Return the rates of the distances."""
        return (self.signs * self.loss.rates(self.x(y), self.x(rate), self.slopes)).ravel()

    def crossed(self, kinks: list[Kink]) -> None:
        """Flip the signs of kinks."""
        for k in kinks:
            self.signs[k] = -self.signs[k]
        self.crossings.update(kinks)

    def refresh(self, x: Float64Array) -> None:
        """Set slopes by signs, and the signs of kinks that a signal has reached or left."""
        for _ in range(self.loss.depth):
            self.slopes = np.where(self.signs > 0, 1.0, self.loss.low)
            z, size = self.loss.kinks(x, self.held())
            self.signs[size == 0] = 0
            new = (self.signs == 0) & (size > 0)
            if not new.any():
                return
            self.signs[new] = np.where(z[new] > 0, 1, -1)

    def held(self) -> Float64Array:
        """Return the slopes, with those of the surfaces' kinks between their sides."""
        return _sliding.with_positions(self.slopes, self.surfaces, self.positions, self.loss.low)

    def near(self, x: Array) -> list[Kink]:
        """Return the kinks at x, by round-off."""
        z, size = self.loss.kinks(x, self.held())
        return [(int(n), int(c)) for n, c in np.argwhere((size > 0) & (np.abs(z) <= 2 * _BEHIND * size))]

    def check(self, x: Float64Array, u: float) -> None:
        """Raise where the flow has left the finite numbers, or taken too long."""
        if not np.isfinite(x).all():
            raise RuntimeError("DOP853 stopped: ∇U is not finite on its way, or grows too fast")
        if self.loss.calls >= self.how.max_evaluations:
            often = "".join(
                f", most often, {times} times, that of {_sliding.named(self.loss, [kink])}"
                for kink, times in self.crossings.most_common(1)
            )
            held = f", slides along {_sliding.described(self.loss, self.surfaces)}" if self.surfaces else ""
            raise RuntimeError(
                f"DOP853 needs more than max_evaluations={self.how.max_evaluations} and is at t = {self.now + u:g}, where it "
                f"has crossed {self.crossings.total()} kinks{often}{held}"
            )

    def ended(self) -> tuple[SlidingMode, ...]:
        """Return the sliding modes."""
        return ()


class Descent(Motion):
    """Gradient flow ẋ = −∇U/γ."""

    def __init__(self, loss: GatedLoss, x: Array, how: Method, gamma: float, t0: float) -> None:
        super().__init__(loss, x, how)
        self.gamma, self.now = gamma, t0
        self._begun: dict[Kink, float] = {}
        self._ended: list[SlidingMode] = []
        self._latest: tuple[Float64Array, tuple[Float64Array, Float64Array]] | None = None
        self._resolve(np.asarray(x, np.float64), self.near(x))

    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return −∇U/γ, along the surfaces if there are any."""
        self.check(y, u)
        return -self._slide(y)[0] / self.gamma

    def _slide(self, y: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return ∇U and the positions, kept for the next call: DOP853 and the margins ask for the same points."""
        if not self.surfaces:
            return self.loss.evaluate(y, self.slopes).gradient, self.positions
        if self._latest is None or not np.array_equal(self._latest[0], y):
            self._latest = y.copy(), _sliding.slide(self.loss, y, self.slopes, self.surfaces, self.positions)
        return self._latest[1]

    def holds(self, y: Float64Array) -> Float64Array:
        """Return the distances of the positions λ to 0, then to 1."""
        positions = self._slide(y)[1] if self.surfaces else self.positions
        return np.concatenate([positions, 1 - positions])

    def onto(self, y: Float64Array) -> Float64Array:
        """Return y on the surfaces."""
        return _sliding.onto(self.loss, y, self.held(), self.surfaces)

    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Leave surfaces at their margins; cross or join the kinks that are reached."""
        at_kinks, K = margins[: self.signs.size], len(self.surfaces)
        low, high = margins[self.signs.size :][:K] <= 0, margins[self.signs.size :][K:] <= 0
        if K:
            self.positions = np.clip(self._slide(y)[1], 0.0, 1.0)
            self._latest = None
            for k in np.flatnonzero(low | high):
                self._side(self.surfaces[k], float(high[k]))
            kept = np.flatnonzero(~(low | high))
            self._keep([self.surfaces[k] for k in kept], self.positions[kept])
        hit = [(int(n), int(c)) for n, c in np.argwhere((at_kinks <= 0).reshape(self.signs.shape))]
        self.crossed(hit)
        self.refresh(y)
        if hit:  # a little behind the kink; x is put onto it, as the flow may turn back there
            y = _sliding.onto(self.loss, y, self.held(), self._resolve(y, list(dict.fromkeys([*hit, *self.near(y)]))))
        return self.onto(y)

    def ended(self) -> tuple[SlidingMode, ...]:
        """Return the sliding modes, those that go on included."""
        self._keep([], np.empty(0))
        return tuple(sorted(self._ended, key=lambda mode: (mode.start, *mode[:3])))

    def _resolve(self, x: Float64Array, kinks: list[Kink]) -> list[Surface]:
        """Decide for all kinks at x where the flow goes from there, and return the surfaces that they form."""
        held = [k for surface in self.surfaces for k in surface.kinks]
        known = {s.kinks[0]: p for s, p in zip(self.surfaces, self.positions, strict=True)}
        surfaces = _sliding.group(self.loss, x, self.held(), list(dict.fromkeys([*held, *kinks])))
        if not surfaces:
            return []
        guess = np.array([known.get(s.kinks[0], float(self.signs[s.kinks[0]] > 0)) for s in surfaces])
        positions = _sliding.settle(self.loss, x, self.slopes, surfaces, guess)
        for surface, position in zip(surfaces, positions, strict=True):
            if position in (0, 1):
                self._side(surface, float(position))
        inside = np.flatnonzero((positions > 0) & (positions < 1))
        self._keep([surfaces[k] for k in inside], positions[inside])
        self.refresh(x)
        return surfaces

    def _side(self, surface: Surface, position: float) -> None:
        for k, sign in zip(surface.kinks, surface.signs(position), strict=True):
            self.signs[k] = sign

    def _keep(self, surfaces: list[Surface], positions: Float64Array) -> None:
        """Slide along these surfaces from now on, and no others."""
        self.surfaces, self.positions = surfaces, positions
        kinks = {k for surface in surfaces for k in surface.kinks}
        for k in [k for k in self._begun if k not in kinks]:
            self._ended.append(SlidingMode(*self.loss.name(k), self._begun.pop(k), self.now))
        for k in kinks - set(self._begun):
            self._begun[k] = self.now


class Inertia(Motion):
    """mẍ + c(t)ẋ + ∇U = 0: the velocity carries it across kinks, where only the acceleration jumps."""

    def __init__(self, loss: GatedLoss, y: Float64Array, how: Method, dynamics: Dynamics, t0: float) -> None:
        super().__init__(loss, self._halves(y)[0], how)
        self.dynamics, self.now = dynamics, t0
        x, v = self._halves(y)
        kinks = self.near(x)
        rates = loss.rates(x, v, self.slopes)
        for k in kinks:
            self.signs[k] = np.sign(rates[k])
        self.refresh(x)
        self._fall(x, [k for k in kinks if rates[k] == 0])

    def _fall(self, x: Float64Array, kinks: list[Kink]) -> None:
        """Choose the sides to which the force pulls where a kink is at rest."""
        surfaces = _sliding.group(self.loss, x, self.slopes, kinks)
        if not surfaces:
            return
        positions = _sliding.settle(self.loss, x, self.slopes, surfaces, np.zeros(len(surfaces)))
        stuck = [s for s, p in zip(surfaces, positions, strict=True) if 0 < p < 1]
        if stuck:
            raise RuntimeError(
                f"the flow starts at rest on the kinks of {_sliding.described(self.loss, stuck)}, and is pulled towards them "
                "from both sides; expected other initial parameters, for example biases that are not zero, or a velocity"
            )
        for surface, position in zip(surfaces, positions, strict=True):
            for k, sign in zip(surface.kinks, surface.signs(position), strict=True):
                self.signs[k] = sign
        self.refresh(x)

    def field(self, u: float, y: Float64Array) -> Float64Array:
        """Return (v, v̇)."""
        x, v = self._halves(y)
        self.check(x, u)
        force = -self.loss.evaluate(x, self.slopes).gradient - float(self.dynamics.friction(self.now + u)) * v
        return np.concatenate([v, force / self.dynamics.mass])

    def arrive(self, y: Float64Array, margins: Float64Array) -> Float64Array:
        """Cross the kinks that are reached."""
        self.crossed([(int(n), int(c)) for n, c in np.argwhere((margins <= 0).reshape(self.signs.shape))])
        self.refresh(self.x(y))
        return y

    @staticmethod
    def _halves(y: Float64Array) -> tuple[Float64Array, Float64Array]:
        return y[: y.size // 2], y[y.size // 2 :]


def solve(motion: Motion, y: Float64Array, t: Float64Array) -> Solution:
    """Return the states at the times `t`, of which none is before `motion.now`."""
    from scipy.integrate import DOP853

    states, rates = np.empty((2, t.size, y.size))
    done = int(np.searchsorted(t, motion.now, side="right"))
    states[:done], rates[:done] = y, motion.field(0.0, y)
    step: float | None = None
    while done < t.size:
        end = float(t[-1] - motion.now)
        first = None if step is None else min(step, end)
        solver = DOP853(motion.field, 0.0, y, end, rtol=motion.how.rtol, atol=motion.how.atol, first_step=first)
        before, event = _Edge(motion, solver.y, solver.f), None
        while event is None and solver.status == "running":
            message = solver.step()
            if solver.status == "failed":
                raise RuntimeError(f"DOP853 stopped after {done} of {t.size} times: {message}")
            after = _Edge(motion, solver.y, solver.f)
            path = cache(solver.dense_output)  # costs three gradients, where it is wanted
            event = _first_event(motion, path, (solver.t_old, solver.t), before, after)
            u = solver.t if event is None else event
            ended = solver.status == "finished" and event is None
            passed = t.size if ended else int(np.searchsorted(t, motion.now + u, side="right"))
            if passed > done:
                for k in range(done, passed):
                    states[k] = motion.onto(path()(min(t[k] - motion.now, u)))
                    rates[k] = motion.field(t[k] - motion.now, states[k])
                done = passed
            solver.y, before = motion.onto(solver.y), after
        if event is not None:
            y, step = path()(event), solver.h_abs
            margins = motion.margins(y)
            motion.now += event
            y = motion.arrive(y, np.where(margins <= max(margins.min(), 0.0), -1.0, 1.0))
        else:
            motion.now += end
    return Solution(states, rates, motion.ended(), motion.crossings.total())


class _Edge:
    """A step's beginning or end: margins, and their rates where these are wanted."""

    def __init__(self, motion: Motion, y: Float64Array, rate: Float64Array) -> None:
        self.margins = motion.margins(y)
        self.rates = motion.closing(y, rate)


def _first_event(
    motion: Motion, output: Callable[[], DenseOutput], step: tuple[float, float], before: _Edge, after: _Edge
) -> float | None:
    """Return the first time in the step at which a margin is 0, or None."""
    from scipy.optimize import brentq

    start, end = step
    if before.margins.min() <= 0:
        return start
    closest = _closest(before, after, end - start)
    if after.margins.min() > 0 and not closest:
        return None
    path, n = output(), before.rates.size
    # positions cost a gradient, and are looked at in between only if one has come to its end
    margins = motion.margins if after.margins[n:].min(initial=1.0) <= 0 else motion.distances
    unit = 4 * float(np.finfo(np.float64).eps)

    def margin(u: float, k: int) -> float:
        return float(motion.distances(path(u))[k] if k < n else motion.holds(path(u))[k - n])

    finite = np.where(np.isfinite(before.margins), before.margins, 1.0)
    ended: list[int] = []
    for late in [*(start + du for du in closest), end]:
        # one margin has a smooth root; it is the event unless others are passed before, which are then looked at in turn
        while (now := margins(path(late))).min() <= 0 and (k := int((now / finite[: now.size]).argmin())) not in ended:
            late = float(brentq(margin, start, late, args=(k,), xtol=unit * late, rtol=unit))
            ended.append(k)
        if ended:
            return late
    return None  # no margin is passed, or by round-off alone


def _closest(before: _Edge, after: _Edge, h: float) -> list[float]:
    """Return the times after a step's beginning at which margins that fall first and rise later may be least.

    A margin is taken as the cubic of its values and rates at the step's two ends.
    """
    n = before.rates.size
    m0, m1, d0, d1 = before.margins[:n], after.margins[:n], h * before.rates, h * after.rates
    turning = np.flatnonzero((d0 < 0) & (d1 > 0) & np.isfinite(m0) & (np.minimum(m0, m1) > 0))
    m0, m1, d0, d1 = m0[turning], m1[turning], d0[turning], d1[turning]
    # m = m0 + d0 s + q s² + c s³, at the root of its derivative at which it is least
    q, c = 3 * (m1 - m0) - 2 * d0 - d1, 2 * (m0 - m1) + d0 + d1
    s = np.clip(-d0 / (q + np.sqrt(np.maximum(q * q - 3 * c * d0, 0.0))), 0.0, 1.0)
    low = m0 + s * (d0 + s * (q + s * c)) < _GRAZE * np.minimum(m0, m1)
    return [float(u) for u in np.unique(h * s[low])]
