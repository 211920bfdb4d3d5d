"""Steps between the rows of a recording, replayed from every row and compared with the next row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._base.precision import Precision
from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._motion.recorded import NO_RATE, clipped, from_step, gains
from .._problem.potentials import Potential
from .forces import ASCENT_EPS, Forces
from .implied import Steps
from .projection import ScalingLevels
from .rounding import Rounding
from .rows import ROUND_OFF

_ITERATIONS = 2
# Twins: replays whose numbers are perturbed at random by up to ROUND_OFF ε, eight times the rounding to nearest (ε/2). The
# tolerance is ROUND_OFF times the largest distance of a twin: 32 standard deviations of independent roundings, or as much as
# 32² roundings in the same direction. Where one direction dominates, the component of a twin along it is Gaussian; all of n
# twins are below 1/32 of its standard deviation with probability (0.8/32)^n, which is 2e-10 for six.
_TWINS = 6
# An unknown velocity is solved from the next row with the force taken as constant. In an oscillation that turns by the angle φ
# from row to row this gives v sin φ/φ, with a relative error of φ/sin φ − 1; an error of at least twice the result is allowed.
_VELOCITY_ERROR = 2.0
# After a correction, the fraction cos φ − sin φ/φ of an error of the velocity remains: below φ²/3, and below this bound.
_REMAINDER = 1.07
_HALVINGS = 12  # of a twin's velocity that leads too far
# Changes of the velocity, in units of the one that would lead to the next row, at which linearity is tested.
_SHIFTS = (1.0, 2.0)

Gradient = Callable[[int, Float64Array], Float64Array]  # (number of the step, point) ↦ ∇U


def is_replayed(algorithm: Algorithm, every: int) -> bool:
    """Return whether recordings with so many steps from row to row are checked by taking the steps again.

    Those of every step are, where a step has several gradients that positions do not tell.
    """
    tells = algorithm.implies_gradients or algorithm.method.update is not None
    return every > 1 or (algorithm.starts_anywhere and not tells)


def walk(
    algorithm: Algorithm,
    x: Float64Array,
    v: Float64Array,
    t: float,
    steps: int,
    gradient: Gradient,
    rounded: Callable[[Float64Array], Float64Array] = lambda x: x,
) -> tuple[Float64Array, Float64Array]:
    """Return x and v after a number of steps of the algorithm from time t on (theory §6); `rounded` is applied after each step."""
    decay = algorithm.coupled_decay
    return algorithm.walk(x, v, t, steps, lambda j, y: clipped(algorithm, gradient(j, y)) + decay * y, rounded)


class Replay:
    """Replays of an algorithm's steps between rows; the velocity, which rows do not contain, is tracked along.

    For a constant force, errors δv and δF at the start displace the end of m steps by aδv + bδF in x and cδv + dδF in v.
    The distance from the replay to the recorded row, times pc/a, corrects the velocity of the next replay (p is the applied
    part, 0 to 1). A constant error δF of the force then shows as wδF in the next row, w = b + ae, where δv = eδF and
    e ← (1 − p)ce + d − pcb/a.

    Twins are replays that are rounded at random after every step; their distance from the replay measures round-off, as far
    as it acts linearly. Beside a kink of relu, where hidden steps land on either side in turn, it does not: all twins may
    follow the replay while the true steps do not. For a row that round-off alone does not explain, two more replays are made
    with velocities v ± δ, δ being the change that would lead to the row, limited by the uncertainty of v: the second
    difference E(v + δ) + E(v − δ) − 2E(v) of the ends is zero for a linear replay, and else is added to the tolerance.
    """

    def __init__(
        self,
        U: Potential,
        forces: Forces,
        precision: Precision,
        t0: float,
        every: int,
        velocity: Float64Array | None,
    ) -> None:
        algorithm = forces.algorithm
        if forces.ratios_change:
            raise ValueError(
                f"every must be 1 with {algorithm}, the ratios of whose rates change from step to step; got {every}"
            )
        self.U, self.algorithm, self.precision, self.t0, self.every = U, algorithm, precision, t0, every
        self._forces = forces
        self._levels = ScalingLevels(U, forces) if algorithm.projects else None
        self.solved = False  # whether the velocity was solved from the first rows
        self.lost: list[int] = []  # rows whose replay with the tracked velocity was not finite
        self._here = algorithm  # with the rates from the present row on
        self._gain = algorithm.gain
        self._fresh = True  # whether the next replay is the first, or the first after a lost row
        self._known = velocity
        self._rounding = Rounding(U, precision.gradient)
        self._rng = np.random.default_rng(0)
        self._velocities = [np.zeros(U.n_params) for _ in range(1 + _TWINS)]
        self._twins: list[Float64Array] = []
        self._direction: Float64Array | None = None  # of the largest curvature
        self._bend = 0.0  # nonlinearity of the replays, as a force, with the remainder of that of earlier rows
        self._doubt = 0.0  # displacement by the uncertainty of an unknown velocity
        self._reach = np.inf  # largest displacement by the velocities that are allowed at the first row
        self._next = 0  # the row from which the next steps are taken
        self._lag = 0.0  # e: error of the velocity per error of the force

    def steps(self, x: Float64Array, low: int, batches: Sequence[object]) -> Steps | None:
        """Return the steps between rows x, the first of which is row `low`, that have not been checked yet."""
        rows: list[tuple[Any, ...]] = []
        if low == 0 and self._levels is not None:
            self._levels.start(x[0])
        while self._next - low < x.shape[0] - 1:
            i = self._next - low
            if (row := self._between(self._next, x[i], x[i + 1], batches[i])) is not None:
                rows.append(row)
            self._next += 1
        if not rows:
            return None
        record, t, points, recorded, expected, noise, span = (np.array(column) for column in zip(*rows, strict=True))
        return Steps(record, t, points, recorded, expected, noise, span)

    def _between(self, k: int, x: Float64Array, following: Float64Array, batch: object) -> tuple[Any, ...] | None:
        t = float(self.algorithm.times(self.t0, k * self.every))
        self._here = from_step(self.algorithm, k * self.every)
        gain = gains(self.algorithm, np.arange(k * self.every, (k + 1) * self.every), followed=True)
        # all that the steps round is in a displacement that is as long as that by the largest rate, at least
        self._gain = min(float(gain.max()), self.every * float(gain.min()))
        a, b, c, d = self._response(t)
        rests = b == 0 and not (following - x).any()  # at rates of zero, where only the velocity goes on
        if self._fresh:
            self._twins = [self._rounded(x) for _ in range(_TWINS)]
        judged = not self._fresh or self._begin(x, following, t, batch, a, b)
        rows = [following, *(self._rounded(following) for _ in range(_TWINS))]
        walks = [self._walk(x, self._velocities[0], t, batch)]
        end, _, mean = walks[0]
        if not np.isfinite(end).all():
            self._lose(k)
            return None
        gradient = self.U.gradient(x)
        rough = self._rounding.saturation(self.U, x, gradient)
        walks += [self._twin(i, end, t, batch, rough) for i in range(_TWINS)]
        self._fresh = self._fresh and rests and self._known is None
        misses = [row - replayed for row, (replayed, _, _) in zip(rows, walks, strict=True)]
        as_force = self._forces.of_displacement
        weight = a * self._lag + b or NO_RATE * self.algorithm.dt  # at a rate of zero nothing may move
        bare = self._round_off(0.5 * (end + following), mean)
        spread = max(float(np.linalg.norm(as_force(miss - misses[0]))) for miss in misses[1:]) / abs(weight)
        bend, size = self._bend, float(np.linalg.norm(as_force(misses[0]))) / abs(weight)
        if a != 0 and size > ROUND_OFF * bare:
            doubt = max(self._doubt / abs(weight), ROUND_OFF * (bare + spread + bend))
            bend = max(bend, self._nonlinearity(x, t, batch, end, min(1.0, doubt / size) / a * misses[0]) / abs(weight))
        self._velocities, part = [v for _, v, _ in walks], 0.0
        if a != 0:
            part = self._correct(self._velocities, [c / a * miss for miss in misses])
        remainder = self._remainder(x, gradient, c, part) if max(bend, self._doubt) > 0 else 0.0
        self._bend, self._doubt = remainder * bend, remainder * self._doubt
        self._lag = (1 - part) * c * self._lag + d - (part * c * b / a if a != 0 else 0.0)
        self._twins = rows[1:]
        if rests or not judged:
            return None
        if not np.isfinite(spread) or (self.solved and self._angle(x, gradient) >= np.pi):
            spread = np.inf
        noise = ROUND_OFF * (bare + spread + bend)
        missed = misses[0] / (weight * self._forces.metric)  # a frozen block that moves is beyond all round-off
        return k, t, 0.5 * (end + following), mean + missed, mean, noise, following - x

    def _lose(self, k: int) -> None:
        """Start again at the next row with an unknown velocity, as the replay with the tracked one is not finite."""
        if self.algorithm.has_velocity and k > 0:
            self.lost.append(k)
            self._known, self._fresh, self._lag, self._bend = None, True, 0.0, 0.0
            self._velocities = [np.zeros(self.U.n_params)] * (1 + _TWINS)
            return
        raise ValueError(
            f"params: {self.every} steps of {self.algorithm} from row {k} lead to numbers that are not finite"
        )

    def _twin(
        self, i: int, end: Float64Array, t: float, batch: object, rough: float
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the replay of a twin; a velocity that leads it beyond `_reach` is moved halfway to the tracked one, repeatedly."""
        v, first = self._velocities[1 + i], self._velocities[0]
        for _ in range(_HALVINGS):
            walked = self._walk(self._twins[i], v, t, batch, self._rounded, rough, ASCENT_EPS)
            if np.linalg.norm(walked[0] - end) <= self._reach:
                break
            v = first + 0.5 * (v - first)
        return walked

    def _nonlinearity(self, x: Float64Array, t: float, batch: object, end: Float64Array, change: Float64Array) -> float:
        """Return the larger second difference of the ends of replays with v ± `change` and v ± 2 `change`."""
        second_differences = []
        for shift in _SHIFTS:
            ends = [self._walk(x, self._velocities[0] + sign * shift * change, t, batch)[0] for sign in (1, -1)]
            bent = self._forces.of_displacement(ends[0] + ends[1] - 2 * end)
            second_differences.append(float(np.linalg.norm(bent)))
        return max(second_differences) if np.isfinite(second_differences).all() else np.inf

    def _remainder(self, x: Float64Array, gradient: Float64Array, c: float, part: float) -> float:
        """Return the fraction of an error of the velocity that remains at the next row, with this part of it corrected."""
        return (1 - part) * abs(c) + part * min(self._angle(x, gradient) ** 2 / 3, _REMAINDER)

    def _angle(self, x: Float64Array, gradient: Float64Array) -> float:
        """Return the angle ωτ by which the fastest oscillation turns between two rows, by power iteration.

        From π on, positions do not determine the velocity: after half a turn they are the same for any.
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
        """Add the part of the corrections, 0 to 1, that brings the twins nearest to the replay; return that part.

        The whole correction is too large where the force reverses the velocity between two rows.
        """
        apart = np.concatenate([twin - v[0] for twin in v[1:]])
        change = np.concatenate([correction - corrections[0] for correction in corrections[1:]])
        square = float(change @ change)
        part = float(np.clip(-(apart @ change) / square, 0.0, 1.0)) if 0 < square < np.inf else 1.0
        self._velocities = [velocity + part * correction for velocity, correction in zip(v, corrections, strict=True)]
        return part

    def _round_off(self, x: Float64Array, mean: Float64Array) -> float:
        p = self.precision
        return float(self._gain * p.length(x) + p.gradient * np.linalg.norm(mean))

    def _begin(self, x: Float64Array, following: Float64Array, t: float, batch: object, a: float, b: float) -> bool:
        """Set the velocity at the first row; return whether the steps from there can be checked (False if they determined it)."""
        if self._known is not None:
            self._velocities = [self._known] * (1 + _TWINS)
            return True
        if not self.algorithm.has_velocity or a == 0 or not np.isfinite(self.algorithm.dynamics.friction(t)):
            return True
        end, _, mean = self._walk(x, self._velocities[0], t, batch)
        if np.linalg.norm(following - end) <= abs(b) * ROUND_OFF * self._round_off(x, mean):
            return True  # from rest
        self.solved = True
        v = (following - end) / a
        # Twins start with quite different velocities; they approach the replay as fast as any error of the velocity decays.
        angle = self._angle(x, self.U.gradient(x))
        error = max(_VELOCITY_ERROR, angle / np.sin(angle) - 1) if 0 < angle < np.pi else _VELOCITY_ERROR
        speed = error * max(float(np.linalg.norm(v)), float(np.linalg.norm(following - x)) / abs(a))
        size = error * np.abs(v) + speed / np.sqrt(x.size)
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
        eps: float = 0.0,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return x and v at the next row, and the mean gradient; a random error of size `rough` is added to every gradient."""
        total, count = np.zeros_like(x), 0

        forces, levels = self._forces, self._levels
        each = self.algorithm.gradients_per_step if self.algorithm.is_implicit else 1  # of a minibatch

        def force(j: int, y: Float64Array) -> Float64Array:
            nonlocal total, count
            V = self._rounding.of(None if batch is None else batch[j // each])  # type: ignore[index]
            out = V.gradient(forces.point(V, y, eps)) if np.isfinite(y).all() else np.full_like(y, np.nan)
            if rough > 0:
                out = out + self._rng.normal(0.0, rough / np.sqrt(out.size), out.size)
            total, count = total + out, count + 1
            return forces.force(out, y)

        def ended(y: Float64Array) -> Float64Array:
            return rounded(y if levels is None else levels.onto(y))

        with np.errstate(over="ignore", invalid="ignore"):
            x, v = self._here.walk(x, v, t, self.every, force, ended)
        return x, v, total / max(count, 1)  # at a rate of zero some algorithms take none

    def _response(self, t: float) -> tuple[float, float, float, float]:
        """Return a, b, c, d: x and v after the steps from v = 1 without force, and from v = 0 with gradient 1."""
        unit = np.array([0.0, 1.0])
        x, v = walk(
            dataclasses.replace(self._here, clip=None),
            np.zeros(2),
            np.array([1.0, 0.0]),
            t,
            self.every,
            lambda *_: unit,
        )
        return float(x[0]), float(x[1]), float(v[0]), float(v[1])

    def _rounded(self, x: Float64Array) -> Float64Array:
        """Return x with random relative errors of up to ROUND_OFF ε."""
        return np.asarray(x + ROUND_OFF * self.precision.each(x) * self._rng.uniform(-1, 1, x.size))
