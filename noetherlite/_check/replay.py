"""Known steps between the rows of a recording, taken again from every row and compared with the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._base.precision import Precision
from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._problem.potentials import Potential
from .implied import Steps
from .rounding import Rounding
from .rows import ROUND_OFF

_ITERATIONS = 2
# A twin's numbers are off by up to ROUND_OFF ε of themselves, eight times what rounding to nearest makes (ε/2), and ROUND_OFF
# times the farthest twin is allowed: 32 standard deviations of what independent roundings make, or as much as 32² of them make
# that are all rounded to the same side. Where one direction dominates, a twin may lie near the rows by chance: the part of
# it along that direction is Gaussian, and that all of n twins are below 1/32 of its deviation has the chance (0.8/32)^n: 2e-10.
_TWINS = 6
# Where the velocity is not known, that which leads to the next row if the force stays as it is: with force turning by an
# angle φ from row to row it is v sin φ/φ, and the velocity is off by φ/sin φ − 1 of it, at least twice of it being allowed.
_ELSEWHERE = 2.0
# Of an error of the velocity that is corrected, cos φ − sin φ/φ remains, which is below φ²/3, and below
_REMAINS = 1.07
_HALVINGS = 12
# Displaced walks: by once and twice what the next row is off by.
_SHIFTS = (1.0, 2.0)

Gradient = Callable[[int, Float64Array], Float64Array]  # (number of the step, point) ↦ ∇U


def walk(
    algorithm: Algorithm,
    x: Float64Array,
    v: Float64Array,
    t: float,
    steps: int,
    gradient: Gradient,
    rounded: Callable[[Float64Array], Float64Array] = lambda x: x,
) -> tuple[Float64Array, Float64Array]:
    """Return x and v after so many steps of the algorithm from time t on (theory §6), both `rounded` after each."""
    decay = algorithm.weight_decay
    return algorithm.walk(x, v, t, steps, lambda j, y: gradient(j, y) + decay * y, rounded)


class Replay:
    """Steps of an algorithm between rows; the velocity, which rows do not have, is followed along.

    Where velocity and force were the same everywhere, m steps would lead to x + aδv + bδF and v + cδv + dδF if these were
    off by δv and δF at their start: what a row is off by, times pc/a, corrects the velocity with which the next steps begin.
    A force that is off by δF then shows as wδF in the next row, w = b + ae, with δv = eδF and e ← (1 − p)ce + d − pcb/a.

    Beside the rows run twins of theirs, rounded at random after every step; how far they get from the rows is what round-off
    makes. That is linear in the errors. Where it is not, as beside a kink of relu that hidden steps land on either side of in
    turn, twins may all follow the walk while the true steps do not. So of a row that bare round-off does not explain two more
    walks are made, their velocities changed by ±δ, the change that would lead to it, as far as the velocity may be so wrong:
    E(v + δ) + E(v − δ) − 2E(v) is zero where the walk is linear as far as that, and where it is not, that is what it may make.
    """

    def __init__(
        self,
        U: Potential,
        algorithm: Algorithm,
        precision: Precision,
        t0: float,
        every: int,
        velocity: Float64Array | None,
    ) -> None:
        self.U, self.algorithm, self.precision, self.t0, self.every = U, algorithm, precision, t0, every
        self.solved = False  # whether the first rows gave the velocity
        self.lost: list[int] = []  # rows from which no step could be taken with the velocity that was followed so far
        self._fresh = True  # whether the next row is the first of which steps are taken
        self._known = velocity
        self._rounding = Rounding(U, precision.gradient)
        self._rng = np.random.default_rng(0)
        self._velocities = [np.zeros(U.n_params) for _ in range(1 + _TWINS)]
        self._twins: list[Float64Array] = []
        self._direction: Float64Array | None = None  # of the largest curvature
        self._bend = 0.0  # what the walks are not linear by, as a force, and what is left of that of rows before
        self._doubt = 0.0  # how far a velocity that is not known may lead from where the walk does
        self._reach = np.inf  # how far the velocities that are allowed for at the first row lead
        self._next = 0  # the row from which the next steps are taken
        self._lag = 0.0  # e: by how much the velocity is off where the force is off by one

    def steps(self, x: Float64Array, low: int, batches: Sequence[object]) -> Steps | None:
        """Return the steps between rows x, the first of which is number `low`, that have not been judged yet."""
        found: list[tuple[Any, ...]] = []
        while self._next - low < x.shape[0] - 1:
            i = self._next - low
            if (row := self._between(self._next, x[i], x[i + 1], batches[i])) is not None:
                found.append(row)
            self._next += 1
        if not found:
            return None
        record, t, points, got, want, noise, span = (np.array(column) for column in zip(*found, strict=True))
        return Steps(record, t, points, got, want, noise, span)

    def _between(self, k: int, x: Float64Array, following: Float64Array, batch: object) -> tuple[Any, ...] | None:
        t = self.t0 + k * self.every * self.algorithm.dt
        a, b, c, d = self._response(t)
        if self._fresh:
            self._twins = [self._rounded(x) for _ in range(_TWINS)]
        judged = not self._fresh or self._begin(x, following, t, batch, a, b)
        ends = [following, *(self._rounded(following) for _ in range(_TWINS))]
        walks = [self._walk(x, self._velocities[0], t, batch)]
        here, _, mean = walks[0]
        if not np.isfinite(here).all():
            self._lost(k)
            return None
        gradient = self.U.gradient(x)
        rough = self._rounding.saturation(self.U, x, gradient)
        walks += [self._twin(i, here, t, batch, rough) for i in range(_TWINS)]
        self._fresh = False
        off = [end - there for end, (there, _, _) in zip(ends, walks, strict=True)]
        weight = a * self._lag + b
        bare = self._round_off(0.5 * (here + following), mean)
        spread = max(float(np.linalg.norm(miss - off[0])) for miss in off[1:]) / abs(weight)
        bend, size = self._bend, float(np.linalg.norm(off[0])) / abs(weight)
        if a != 0 and size > ROUND_OFF * bare:
            doubt = max(self._doubt / abs(weight), ROUND_OFF * (bare + spread + bend))
            bend = max(bend, self._bent(x, t, batch, here, min(1.0, doubt / size) / a * off[0]) / abs(weight))
        part = self._correct([v for _, v, _ in walks], [c / a * miss for miss in off]) if a != 0 else 0.0
        left = self._left(x, gradient, c, part) if max(bend, self._doubt) > 0 else 0.0
        self._bend, self._doubt = left * bend, left * self._doubt
        self._lag = (1 - part) * c * self._lag + d - (part * c * b / a if a != 0 else 0.0)
        self._twins = ends[1:]
        if not judged:
            return None
        if not np.isfinite(spread) or (self.solved and self._angle(x, gradient) >= np.pi):
            spread = np.inf
        noise = ROUND_OFF * (bare + spread + bend)
        return k, t, 0.5 * (here + following), mean + off[0] / weight, mean, noise, following - x

    def _lost(self, k: int) -> None:
        """Begin anew with the next row, as where the velocity is not known; what is known of it leads nowhere."""
        if self.algorithm.has_velocity and k > 0:
            self.lost.append(k)
            self._known, self._fresh, self._lag, self._bend = None, True, 0.0, 0.0
            self._velocities = [np.zeros(self.U.n_params)] * (1 + _TWINS)
            return
        raise ValueError(f"params: {self.every} steps of {self.algorithm} from row {k} lead to what is not finite")

    def _twin(
        self, i: int, here: Float64Array, t: float, batch: object, rough: float
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the walk of a twin; a velocity that leads it beyond where those allowed for lead is halved towards the rows'."""
        v, first = self._velocities[1 + i], self._velocities[0]
        for _ in range(_HALVINGS):
            walked = self._walk(self._twins[i], v, t, batch, self._rounded, rough)
            if np.linalg.norm(walked[0] - here) <= self._reach:
                break
            v = first + 0.5 * (v - first)
        return walked

    def _bent(self, x: Float64Array, t: float, batch: object, here: Float64Array, change: Float64Array) -> float:
        """Return what walks are not linear by, whose velocities are changed by once and twice that much in either direction."""
        bent = []
        for shift in _SHIFTS:
            ends = [self._walk(x, self._velocities[0] + sign * shift * change, t, batch)[0] for sign in (1, -1)]
            bent.append(float(np.linalg.norm(ends[0] + ends[1] - 2 * here)))
        return max(bent) if np.isfinite(bent).all() else np.inf

    def _left(self, x: Float64Array, gradient: Float64Array, c: float, part: float) -> float:
        """Return how much of an error of the velocity is left a row on, where this part of it is corrected."""
        return (1 - part) * abs(c) + part * min(self._angle(x, gradient) ** 2 / 3, _REMAINS)

    def _angle(self, x: Float64Array, gradient: Float64Array) -> float:
        """Return the angle ωτ by which the fastest oscillation turns between two rows, by power iteration.

        Beyond π positions do not tell the velocity: those of a whole half turn are the same for any.
        """
        curvature = 0.0
        for _ in range(_ITERATIONS if self._direction is not None else 8 * _ITERATIONS):
            if self._direction is None or not 0 < float(np.linalg.norm(self._direction)) < np.inf:
                self._direction = self._rng.standard_normal(x.size)
            step = np.finfo(np.float64).eps ** (1 / 3) * (float(np.linalg.norm(x)) + 1)
            ahead = self.U.gradient(x + step / float(np.linalg.norm(self._direction)) * self._direction)
            self._direction = (ahead - gradient) / step
            curvature = float(np.linalg.norm(self._direction))
        return self.every * float(np.sqrt(curvature * self.algorithm.reach))

    def _correct(self, v: list[Float64Array], corrections: list[Float64Array]) -> float:
        """Add the part of the corrections, 0 to 1, that brings the twins nearest to the rows; return it.

        Where the force turns the velocity around between two rows, the whole of it would be too much.
        """
        apart = np.concatenate([twin - v[0] for twin in v[1:]])
        change = np.concatenate([correction - corrections[0] for correction in corrections[1:]])
        square = float(change @ change)
        part = float(np.clip(-(apart @ change) / square, 0.0, 1.0)) if 0 < square < np.inf else 1.0
        self._velocities = [one + part * correction for one, correction in zip(v, corrections, strict=True)]
        return part

    def _round_off(self, x: Float64Array, mean: Float64Array) -> float:
        p = self.precision
        return float(self.algorithm.gain * p.length(x) + p.gradient * np.linalg.norm(mean))

    def _begin(self, x: Float64Array, following: Float64Array, t: float, batch: object, a: float, b: float) -> bool:
        """Find the velocity at the first row; return whether the steps from there are still to be judged."""
        if self._known is not None:
            self._velocities = [self._known] * (1 + _TWINS)
            return True
        if not self.algorithm.has_velocity or a == 0 or not np.isfinite(self.algorithm.dynamics.friction(t)):
            return True
        here, _, mean = self._walk(x, self._velocities[0], t, batch)
        if np.linalg.norm(following - here) <= abs(b) * ROUND_OFF * self._round_off(x, mean):
            return True  # from rest
        self.solved = True
        v = (following - here) / a
        # Twins begin with other velocities altogether: how fast they fall in with the rows is how fast any error does.
        angle = self._angle(x, self.U.gradient(x))
        elsewhere = max(_ELSEWHERE, angle / np.sin(angle) - 1) if 0 < angle < np.pi else _ELSEWHERE
        speed = elsewhere * max(float(np.linalg.norm(v)), float(np.linalg.norm(following - x)) / abs(a))
        size = elsewhere * np.abs(v) + speed / np.sqrt(x.size)
        self._reach = self._doubt = abs(a) * float(np.linalg.norm(size))
        self._velocities = [v, *(v + size * self._rng.standard_normal(x.size) for _ in range(_TWINS))]
        return False

    def _walk(
        self,
        x: Float64Array,
        v: Float64Array,
        t: float,
        batch: object,
        rounded: Callable[[Float64Array], Float64Array] = lambda x: x,
        rough: float = 0.0,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return x and v one row on, and the mean of the gradients on the way, each with an error of size `rough`."""
        total, count = np.zeros_like(x), 0

        def gradient(j: int, y: Float64Array) -> Float64Array:
            nonlocal total, count
            chosen = None if batch is None else batch[j]  # type: ignore[index]
            out = self._rounding.of(chosen).gradient(y) if np.isfinite(y).all() else np.full_like(y, np.nan)
            if rough > 0:
                out = out + self._rng.normal(0.0, rough / np.sqrt(out.size), out.size)
            total, count = total + out, count + 1
            return out

        with np.errstate(over="ignore", invalid="ignore"):
            x, v = walk(self.algorithm, x, v, t, self.every, gradient, rounded)
        return x, v, total / count

    def _response(self, t: float) -> tuple[float, float, float, float]:
        """Return a, b, c, d: x and v after the steps where v was 1 at first, and where the gradient is 1."""
        unit = np.array([0.0, 1.0])
        x, v = walk(self.algorithm, np.zeros(2), np.array([1.0, 0.0]), t, self.every, lambda *_: unit)
        return float(x[0]), float(x[1]), float(v[0]), float(v[1])

    def _rounded(self, x: Float64Array) -> Float64Array:
        """Return x rounded at random."""
        return np.asarray(x + ROUND_OFF * self.precision.each(x) * self._rng.uniform(-1, 1, x.size))
