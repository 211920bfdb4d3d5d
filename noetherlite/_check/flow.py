"""Records of a flow, taken with any spacing, held against its laws and its equation of motion (theory §3, §4.5).

Whoever took the steps, they were no longer than the spacing of the records. A method of first order or better then errs by
no more than what its gradients, taken up to two records away from where they are used, would change: the tolerance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from .._base.types import BoolArray, Float64Array
from .._problem.network import Block
from .._symmetry.family import Family
from .flow_path import Path, Piece
from .rows import ROUND_OFF, Moments, Motion, Row, Tally, blocks_of, norms, times

# Nesterov's gradient is taken one step ahead, and differences look half a step to each side.
_RECORDS = 2
# Where left and right sums of the force differ by more than this part of it, the records are too far apart for any bound.
_RESOLVED = 0.5
_TOO_FAR = "the records are too far apart: between them the force changes by half of itself and more"
# Two steps or more between records of spacing Δt are stable without oscillating where λΔt/γ, or Δt√(λ/m), is below this: then
# a hidden step has half of it at most. Beyond, an oscillation may have the period of the records, and not be seen in them.
_STIFF = 2.0
_ITERATIONS = 2  # of the direction of largest curvature, from that of the record before


# An assumption, which the report states, as the records do not show it: no more than so many steps between records round x
# each. That kicks the velocity by ε|x|/2 over the time of a step; kicks add up, as small steps are rounded to the same side for
# long. In units of 2ε|x| over the spacing:
HIDDEN = 10
_KICKS = HIDDEN**2 / 4


def check_flow(path: Path, families: Iterable[Family], energy: bool) -> tuple[list[Row], list[Motion]]:
    """Return the rows of the laws and of the motion."""
    law = _FirstOrder if path.dynamics.mass == 0 else _SecondOrder
    kept = [law(s, path) for s in families]
    energies, moved = _Energy(path), _Moved(path)
    for piece in path.pieces():
        energies.add(piece)
        moved.add(piece)
        for one in kept:
            one.add(piece)
    obstacle = "" if energies.resolved else _TOO_FAR
    laws = [one.row(obstacle) for one in kept]
    if energy:
        laws.append(energies.row(obstacle))
    motion = moved.rows(np.zeros(path.t.size, dtype=bool))
    if not any(row.verdict == "broken" for row in [*laws, *motion]):
        return laws, motion
    stiffness = _stiffness(path)
    stiff = stiffness > _STIFF
    if not stiff.any():
        return laws, motion
    k = int(np.argmax(stiff))
    why = (
        f"curvature or friction times spacing is {stiffness[k]:.2g} from t = {path.t[k]:.4g} on, where it must be below {_STIFF:g}: "
        "what happens between the records may not be seen in them"
    )
    laws = [dataclasses.replace(row, obstacle=why) if row.first and row.first[0] >= k else row for row in laws]
    return laws, moved.rows(stiff)


def _stiffness(path: Path) -> Float64Array:
    """Return λΔt/γ, or the larger of Δt√(λ/m) and 2γΔt/m, at every record, λ the largest curvature, by power iteration from the direction of the force."""
    U, dynamics = path.U, path.dynamics
    direction = np.zeros(0)

    def curvatures(piece: Piece) -> Float64Array:
        nonlocal direction
        out = np.empty(piece.t.size)
        for k, (x, force) in enumerate(zip(piece.x, piece.force, strict=True)):
            if k == 0 and piece.low > 0:
                continue  # the last of the piece before
            first = direction.size == 0
            direction, curvature = force.copy() if first else direction, 0.0
            for _ in range(8 * _ITERATIONS if first else _ITERATIONS):
                size = float(np.linalg.norm(direction))
                if not 0 < size < np.inf:
                    direction = np.random.default_rng(0).standard_normal(U.n_params)
                    size = float(np.linalg.norm(direction))
                step = np.finfo(np.float64).eps ** (1 / 3) * (float(np.linalg.norm(x)) + 1)
                direction = (-U.gradient(x + step / size * direction) - force) / -step
                curvature = float(np.linalg.norm(direction))
            out[k] = curvature
        return out

    spacing, curvature = np.append(np.diff(path.t), path.t[-1] - path.t[-2]), path.each(curvatures)
    with np.errstate(invalid="ignore"):
        if dynamics.mass == 0:
            scaled = spacing * curvature / dynamics.gamma
        else:  # friction that stops a velocity within a spacing is seen by no difference of positions either
            scaled = spacing * np.maximum(np.sqrt(curvature / dynamics.mass), _STIFF * dynamics.gamma / dynamics.mass)
    return np.where(np.isfinite(scaled), scaled, np.inf)


class _Law:
    """A law in the making: its residuals row by row, and sums over the rows and intervals so far."""

    def __init__(self, s: Family, path: Path) -> None:
        self.s, self.path = s, path
        self.residual = np.zeros((path.t.size, *s.shape))
        self.total: Float64Array = np.zeros(s.shape)  # the sum of the steps so far
        self.shift, self.round_off, self.scale = np.zeros(s.shape), np.zeros(s.shape), np.zeros(s.shape)

    def summed(self, steps: Float64Array) -> Float64Array:
        """Return the sums of the steps from the start, with that of the steps before these first."""
        out = np.cumsum(np.concatenate([self.total[None], steps]), axis=0)
        self.total = out[-1].copy()
        return np.asarray(out)

    def misplaced(self, piece: Piece) -> Float64Array:
        """Return Δt|⟨g(x), ∇U⟩| with g at one end of each interval and ∇U at the other, where alone it is not zero."""
        step = np.diff(piece.x, axis=0)
        ends = [np.abs(self.s.pair(step, force)) for force in (piece.force[1:], piece.force[:-1])]
        return times(np.diff(piece.t), np.maximum(*ends))

    def row(self, obstacle: str) -> Row:
        """Return the row."""
        return _row(self.s.name, self.path, self.residual, _RECORDS * self.shift + self.round_off, self.scale, obstacle)


class _FirstOrder(_Law):
    """∫⟨g(x), dx⟩ by the trapezoidal rule, which is Q − Q_0 for G symmetric.

    Gradient descent with one step per record makes it ½ΣB(Δx, Δx) exactly, a quarter of the tolerance.
    """

    def add(self, piece: Piece) -> None:
        """Add rows."""
        s, gamma = self.s, self.path.dynamics.gamma
        step, length = np.diff(piece.x, axis=0), norms(s, piece.x)
        self.residual[piece.rows] = self.summed(s.charge(0.5 * (piece.x[1:] + piece.x[:-1]), step))
        self.shift += np.maximum(np.abs(s.source(step)), self.misplaced(piece) / gamma).sum(axis=0)
        size = times(np.linalg.norm(piece.x, axis=1), length)[piece.new]
        self.round_off += ROUND_OFF * self.path.precision.eps * size.sum(axis=0)
        self.scale += _intervals(times(np.linalg.norm(piece.force, axis=1) / gamma, length), piece.t).sum(axis=0)


class _SecondOrder(_Law):
    """μJ − μ_0J_0 − ∫μS ds."""

    def __init__(self, s: Family, path: Path) -> None:
        super().__init__(s, path)
        self.mu = path.dynamics.law_weight(path.t)
        if (self.mu == 1).all():  # no friction, or μ is no double: then that of the last record is the unit
            self.mu = path.dynamics.fading(path.t, path.t[-1])
        self.first: Float64Array | None = None
        self.jump, self.late = np.zeros(s.shape), np.zeros(s.shape)

    def add(self, piece: Piece) -> None:
        """Add rows."""
        s, mu, mass = self.s, self.mu[piece.rows], self.path.dynamics.mass
        length = norms(s, piece.x)
        charge, source = times(mu, s.charge(piece.x, piece.v)), times(mu, s.source(piece.v))
        self.first = charge[0].copy() if self.first is None else self.first
        self.residual[piece.rows] = charge - self.first - self.summed(_intervals(source, piece.t))
        self.jump = np.maximum(self.jump, np.abs(np.diff(charge, axis=0)).max(axis=0))
        self.shift += _left_right(source, piece.t).sum(axis=0)
        self.late += times(mu[1:], self.misplaced(piece)).sum(axis=0) / mass
        self.round_off += _KICKS * times(mu * piece.noise, length)[piece.new].sum(axis=0)
        self.scale += _intervals(times(mu * np.linalg.norm(piece.force, axis=1) / mass, length), piece.t).sum(axis=0)

    def row(self, obstacle: str) -> Row:
        """Return the row."""
        self.shift = self.shift + self.jump + self.late
        return super().row(obstacle)


class _Energy:
    """E − E_0 + ∫c|ẋ|² ds, and what of rows and intervals it needs."""

    def __init__(self, path: Path) -> None:
        self.path, n = path, path.t.size
        self.values, self.kinetic, self.rate, self.speed, self.noise, self.force = np.empty((6, n))
        self.work, self.change = np.empty((2, n - 1))

    def add(self, piece: Piece) -> None:
        """Add rows."""
        dynamics, here = self.path.dynamics, piece.rows
        for k, x in enumerate(piece.x[piece.new], start=here.stop - piece.x[piece.new].shape[0]):
            self.values[k] = self.path.U.value(x)
        self.kinetic[here], self.rate[here] = dynamics.energy(piece.v, 0.0), dynamics.energy_rate(piece.t, piece.v)
        self.speed[here], self.force[here] = (np.linalg.norm(a, axis=1) for a in (piece.v, piece.force))
        self.noise[here] = piece.noise
        change = np.diff(piece.force, axis=0)
        self.change[piece.intervals] = np.linalg.norm(change, axis=1)
        self.work[piece.intervals] = np.abs((change * piece.v[1:]).sum(axis=1))

    @property
    def resolved(self) -> bool:
        """Whether left and right sums of the force differ by no more than half of it."""
        size = _intervals(self.force, self.path.t)
        return bool(np.diff(self.path.t) @ self.change <= _RESOLVED * size.sum())

    def row(self, obstacle: str) -> Row:
        """Return the row."""
        t, kinetic, values, rate, speed = self.path.t, self.kinetic, self.values, self.rate, self.speed
        lost = np.cumsum(np.append(0.0, _intervals(rate, t)))
        residual = kinetic - kinetic[0] + values - values[0] - lost
        shift = np.diff(t) @ (self.work + np.abs(np.diff(rate))) + np.abs(np.diff(kinetic)).max()
        braking = np.divide(-rate, speed, out=np.zeros_like(rate), where=speed > 0)
        noise = self.path.dynamics.mass * (speed * self.noise).max() + _intervals(2 * braking * self.noise, t).sum()
        round_off = ROUND_OFF * (noise + self.path.precision.eps * np.abs(values).sum())
        scale = _intervals(self.force * speed, t).sum()
        allowed = np.array([_RECORDS * shift + round_off])
        return _row("time", self.path, residual[:, None], allowed, np.array([scale]), obstacle)


class _Moved:
    """mΔẋ + ∫cẋ ds less ∫−∇U ds, over each interval and for each block."""

    def __init__(self, path: Path) -> None:
        self.path, self.blocks, n = path, blocks_of(path.U), path.t.size
        self.noise = np.empty(n)
        self.off, self.shift, self.scale, self.speed = np.empty((4, len(self.blocks), n - 1))

    def add(self, piece: Piece) -> None:
        """Add rows."""
        path, here, dt = self.path, piece.intervals, np.diff(piece.t)
        ahead, c = _change_ahead(piece, path), path.dynamics.friction(piece.t)
        self.noise[piece.rows] = piece.noise
        for b, block in enumerate(self.blocks):
            part = (slice(None), slice(block.start, block.stop))
            force, v = piece.force[part], piece.v[part]
            got, want = self._moves(piece, block)
            shift = times(dt, np.maximum(np.abs(np.diff(force, axis=0)), ahead[part]))
            if path.dynamics.mass > 0:
                shift += times(c[1:], _left_right(v, piece.t))
            for held, a in ((self.off, got - want), (self.shift, shift), (self.scale, want), (self.speed, v[1:])):
                with np.errstate(invalid="ignore"):  # infinite friction on a block at rest, at t = 0
                    held[b, here] = np.linalg.norm(a, axis=1)

    def _moves(self, piece: Piece, block: Block) -> tuple[Float64Array, Float64Array]:
        """Return what a block moves by over each interval, as a force, and what it should."""
        dynamics, part = self.path.dynamics, (slice(None), slice(block.start, block.stop))
        want = _intervals(piece.force[part], piece.t)
        if dynamics.mass == 0:
            return dynamics.gamma * np.diff(piece.x[part], axis=0), want
        braking = np.where(piece.v.any(axis=1), dynamics.friction(piece.t), 0.0)
        v = piece.v[part]
        return dynamics.mass * np.diff(v, axis=0) + _intervals(times(braking, v), piece.t), want

    def rows(self, stiff: BoolArray) -> list[Motion]:
        """Return the rows of the blocks, without a bound beside records that are `stiff`."""
        path, dynamics, dt = self.path, self.path.dynamics, np.diff(self.path.t)
        unseen = _nearby(np.where(stiff[1:] | stiff[:-1], np.inf, 0.0))
        if dynamics.mass == 0:
            slack, noise = np.zeros(dt.size), dynamics.gamma * self.noise[1:] * dt
        else:  # slack of the friction, in a time that is wrong by one record
            slack, noise = (
                dt * np.abs(np.diff(dynamics.friction(path.t))),
                _KICKS / ROUND_OFF * dynamics.mass * self.noise[1:],
            )
        bounds = np.empty_like(self.off)
        for b, block in enumerate(self.blocks):
            with np.errstate(invalid="ignore"):  # infinite friction on a block at rest, at t = 0: no bound
                nearby = _nearby(self.shift[b] + slack * self.speed[b])
            round_off = ROUND_OFF * noise * path.precision.of(block.name) / path.precision.eps
            bounds[b] = np.where(nearby <= _RESOLVED * self.scale[b], _RECORDS * nearby + round_off, np.inf) + unseen
        beyond, moments = self.off > bounds, [Moments.empty(block) for block in self.blocks]
        for piece in path.pieces(np.asarray(beyond.any(axis=0))):
            for b, block in enumerate(self.blocks):
                got, want = self._moves(piece, block)
                off = beyond[b, piece.intervals]
                moments[b].add(block, got[off], want[off], bounds[b, piece.intervals][off])
        return [self._row(b, bounds[b], moments[b]) for b in range(len(self.blocks))]

    def _row(self, b: int, bound: Float64Array, moments: Moments) -> Motion:
        block, t, tally = self.blocks[b], self.path.t[:-1], Tally()
        tally.add(t, self.off[b], bound, self.scale[b])
        steps = tuple(np.flatnonzero(self.off[b] > bound)[:8].tolist())
        return Motion.moved(block, t, self.off[b], bound, self.scale[b], 1, tally, moments, steps=steps)


def _change_ahead(piece: Piece, path: Path) -> Float64Array:
    """Return by how much the force changes over a step as long as each interval.

    Where a sample sits on a kink of relu, steps land on either side in turn, and the records may have seen one side only.
    """
    out, dynamics = np.empty((piece.t.size - 1, path.U.n_params)), path.dynamics
    for k, dt in enumerate(np.diff(piece.t)):
        v = piece.force[k] / dynamics.gamma if dynamics.mass == 0 else piece.v[k]
        out[k] = np.abs(-path.U.gradient(piece.x[k] + dt * v) - piece.force[k])
    out[~np.isfinite(out)] = np.inf
    return out


def _nearby(values: Float64Array) -> Float64Array:
    """Return the largest of each value and its neighbours up to `_RECORDS` away."""
    padded = np.pad(values, _RECORDS)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * _RECORDS + 1).max(axis=1))


def _row(
    name: str, path: Path, residual: Float64Array, tolerance: Float64Array, scale: Float64Array, obstacle: str
) -> Row:
    """Return the row of a law whose tolerance and scale are those of the whole recording."""
    tolerance, scale = np.broadcast_to(tolerance, residual.shape), np.broadcast_to(scale, residual.shape)
    return Row.of(name, path.t, residual, tolerance, scale, 1, obstacle)


def _intervals(rate: Float64Array, t: Float64Array) -> Float64Array:
    """Return ∫rate dt over each interval by the trapezoidal rule."""
    return times(0.5 * np.diff(t), rate[1:] + rate[:-1])


def _left_right(rate: Float64Array, t: Float64Array) -> Float64Array:
    """Return what left and right sums of rate differ by, interval by interval."""
    return times(np.diff(t), np.abs(np.diff(rate, axis=0)))
