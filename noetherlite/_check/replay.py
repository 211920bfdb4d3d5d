"""Known steps between the rows of a recording, taken again from every row and compared with the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._base.precision import Precision
from .._base.types import Float64Array
from .._motion.algorithms import GD, NAGD, Algorithm, HeavyBall
from .._problem.potentials import Potential
from .implied import Steps, gain
from .rounding import Rounding
from .rows import ROUND_OFF

_ITERATIONS = 2
_TWINS = 2
_FADES = 0.25  # Twins may pass close to the rows by chance: of how far they were this much is kept from row to row.
_ELSEWHERE = 2  # how far off the twin's first velocity is, over the velocity, where that is not known

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
    """Return x and v after so many steps of the algorithm from time t on (theory §6), x `rounded` after each."""
    h, decay = algorithm.dt, algorithm.weight_decay

    def force(j: int, y: Float64Array) -> Float64Array:
        return gradient(j, y) + decay * y

    if isinstance(algorithm, GD):
        for j in range(steps):
            x = rounded(x - h * force(j, x))
    elif isinstance(algorithm, HeavyBall):
        for j in range(steps):
            v = algorithm.momentum * v - force(j, x)
            x = rounded(x + h * v)
    elif isinstance(algorithm, NAGD):
        for j in range(steps):
            k = round(t / h) + j
            beta = (k - 1) / (k + algorithm.alpha - 1)
            v = beta * v - h * force(j, x + beta * h * v)
            x = rounded(x + h * v)
    else:
        kick = 0.5 * h / algorithm.dynamics.mass
        at_x = force(0, x)
        for j in range(steps):
            start, middle, end = (t + (j + part) * h for part in (0.0, 0.5, 1.0))
            v = algorithm.dynamics.fading(start, middle) * v - kick * at_x
            x = rounded(x + h * v)
            at_x = force(j + 1, x)
            v = algorithm.dynamics.fading(middle, end) * (v - kick * at_x)
    return x, v


class Replay:
    """Steps of an algorithm between rows; the velocity, which rows do not have, is followed along.

    Where velocity and force were the same everywhere, m steps would lead to x + aδv + bδF and v + cδv + dδF if these were
    off by δv and δF at their start: what a row is off by, times pc/a, corrects the velocity with which the next steps begin.
    A force that is off by δF then shows as wδF in the next row, w = b + ae, with δv = eδF and e ← (1 − p)ce + d − pcb/a.

    Beside the rows run twins of theirs, rounded at random after every step; how far they get from the rows is what round-off
    makes.
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
        self._known = velocity
        self._rounding = Rounding(U, precision.gradient)
        self._rng = np.random.default_rng(0)
        self._velocities = [np.zeros(U.n_params) for _ in range(1 + _TWINS)]
        self._twins: list[Float64Array] = []
        self._direction: Float64Array | None = None  # of the largest curvature
        self._spread = 0.0  # how far the twins are from the rows
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
        if k == 0:
            self._twins = [self._rounded(x) for _ in range(_TWINS)]
        judged = k > 0 or self._begin(x, following, t, batch, a, b)
        ends = [following, *(self._rounded(following) for _ in range(_TWINS))]
        walks = [self._walk(x, self._velocities[0], t, batch)]
        rough = self._rounding.saturation(self.U, x, self.U.gradient(x))
        walks += [
            self._walk(y, v, t, batch, self._rounded, rough)
            for y, v in zip(self._twins, self._velocities[1:], strict=True)
        ]
        here, _, mean = walks[0]
        if not np.isfinite(here).all():
            raise ValueError(f"params: {self.every} steps of {self.algorithm} from row {k} lead to what is not finite")
        off = [end - there for end, (there, _, _) in zip(ends, walks, strict=True)]
        weight = a * self._lag + b
        part = self._correct([v for _, v, _ in walks], [c / a * miss for miss in off]) if a != 0 else 0.0
        self._lag = (1 - part) * c * self._lag + d - (part * c * b / a if a != 0 else 0.0)
        self._twins = ends[1:]
        if not judged:
            return None
        spread = max(float(np.linalg.norm(miss - off[0])) for miss in off[1:]) / abs(weight)
        told = np.isfinite(spread) and (not self.solved or self._angle(x) < np.pi)
        self._spread = max(spread, _FADES * self._spread) if told else np.inf
        noise = ROUND_OFF * (self._round_off(x, mean) + self._spread)
        return k, t, 0.5 * (here + following), mean + off[0] / weight, mean, noise, following - x

    def _angle(self, x: Float64Array) -> float:
        """Return the angle ωτ by which the fastest oscillation turns between two rows, by power iteration.

        Beyond π positions do not tell the velocity: those of a whole half turn are the same for any.
        """
        gradient, curvature = self.U.gradient(x), 0.0
        for _ in range(_ITERATIONS if self._direction is not None else 8 * _ITERATIONS):
            if self._direction is None or not 0 < float(np.linalg.norm(self._direction)) < np.inf:
                self._direction = self._rng.standard_normal(x.size)
            step = np.finfo(np.float64).eps ** (1 / 3) * (float(np.linalg.norm(x)) + 1)
            ahead = self.U.gradient(x + step / float(np.linalg.norm(self._direction)) * self._direction)
            self._direction = (ahead - gradient) / step
            curvature = float(np.linalg.norm(self._direction))
        h, heavy = self.algorithm.dt, isinstance(self.algorithm, HeavyBall)
        return self.every * float(np.sqrt(curvature * (h if heavy else h**2 / self.algorithm.dynamics.mass)))

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
        return float(p.eps * gain(self.algorithm) * np.linalg.norm(x) + p.gradient * np.linalg.norm(mean))

    def _begin(self, x: Float64Array, following: Float64Array, t: float, batch: object, a: float, b: float) -> bool:
        """Find the velocity at the first row; return whether the steps from there are still to be judged."""
        if self._known is not None:
            self._velocities = [self._known] * (1 + _TWINS)
            return True
        if not self.algorithm.has_velocity or a == 0 or (isinstance(self.algorithm, NAGD) and t == 0):
            return True
        here, _, mean = self._walk(x, self._velocities[0], t, batch)
        if np.linalg.norm(following - here) <= abs(b) * ROUND_OFF * self._round_off(x, mean):
            return True  # from rest
        self.solved = True
        v = (following - here) / a
        # Twins begin with other velocities altogether: how fast they fall in with the rows is how fast any error does.
        speed = _ELSEWHERE * max(float(np.linalg.norm(v)), float(np.linalg.norm(following - x)) / abs(a))
        size = _ELSEWHERE * np.abs(v) + speed / np.sqrt(x.size)
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
        return np.asarray(x * (1 + ROUND_OFF * self.precision.eps * self._rng.uniform(-1, 1, x.size)))
