"""Recordings of a flow at any spacing, compared with its laws and its equation of motion (theory §3, §4.5).

The steps of the unknown integrator are no longer than the spacing of the records. The error of a method of first order or
better is then bounded by the change of the gradient over two records: that is the tolerance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from .._base.types import BoolArray, Float64Array
from .._problem.blocks import Block
from .._symmetry.family import Family
from .flow_path import Path, Piece
from .rows import ROUND_OFF, CheckRow, MotionRow, MotionSums, Tally, blocks_of, row_products

# Records over which the gradient may be displaced: Nesterov's is taken one step ahead, differences are centred half a step off.
_RECORDS = 2
# Left and right sums of the force that differ by more than this fraction of it give no bound: the spacing is too large.
_RESOLVED = 0.5
_TOO_FAR = "the records are too far apart: between them the force changes by half of itself and more"
# Largest λΔt/γ, or Δt√(λ/m), at spacing Δt and curvature λ. Below it, two steps or more per record neither diverge nor
# oscillate; above it, an oscillation may have the period of the records and be invisible in them.
_STIFF = 2.0
_ITERATIONS = 2  # of power iteration, started from the direction found at the record before

# An assumption that the report states: at most this many unrecorded steps between two records. Each rounds x, which changes the
# velocity by ε|x|/2 per time step, possibly always in the same direction. _KICKS is their sum in units of 2ε|x| over the spacing.
HIDDEN = 10
_KICKS = HIDDEN**2 / 4


def check_flow(path: Path, families: Iterable[Family], energy: bool) -> tuple[list[CheckRow], list[MotionRow]]:
    """Return the rows of the laws and of the motion."""
    kind = _FirstOrder if path.dynamics.mass == 0 else _SecondOrder
    series = [kind(s, path) for s in families]
    energies, motion = _Energy(path), _MotionSeries(path)
    for piece in path.pieces():
        energies.add(piece)
        motion.add(piece)
        for law in series:
            law.add(piece)
    obstacle = "" if energies.resolved else _TOO_FAR
    laws = [law.row(obstacle) for law in series]
    if energy:
        laws.append(energies.row(obstacle))
    blocks = motion.rows(np.zeros(path.t.size, dtype=bool))
    if not any(row.verdict == "broken" for row in [*laws, *blocks]):
        return laws, blocks
    stiffness = _stiffness(path)
    stiff = stiffness > _STIFF
    if not stiff.any():
        return laws, blocks
    k = int(np.argmax(stiff))
    reason = (
        f"curvature or friction times spacing is {stiffness[k]:.2g} from t = {path.t[k]:.4g} on, where it must be below {_STIFF:g}: "
        "what happens between the records may not be seen in them"
    )
    laws = [dataclasses.replace(row, obstacle=reason) if row.first and row.first[0] >= k else row for row in laws]
    return laws, motion.rows(stiff)


def _stiffness(path: Path) -> Float64Array:
    """Return λΔt/γ, or the larger of Δt√(λ/m) and 2γΔt/m, at every record.

    λ is the largest curvature, by power iteration that starts from the direction of the force.
    """
    U, dynamics = path.U, path.dynamics
    direction = np.zeros(0)

    def curvatures(piece: Piece) -> Float64Array:
        nonlocal direction
        out = np.empty(piece.t.size)
        for k, (x, force) in enumerate(zip(piece.x, piece.force, strict=True)):
            if k == 0 and piece.low > 0:
                continue  # it was the last row of the piece before
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
        else:  # differences of positions do not resolve friction that stops a velocity within one spacing either
            scaled = spacing * np.maximum(np.sqrt(curvature / dynamics.mass), _STIFF * dynamics.gamma / dynamics.mass)
    return np.where(np.isfinite(scaled), scaled, np.inf)


class _Law:
    """A law along a recording, added piece by piece: its residuals, and sums over the rows and intervals so far."""

    def __init__(self, s: Family, path: Path) -> None:
        self.s, self.path = s, path
        self.residual = np.zeros((path.t.size, *s.shape))
        self.total: Float64Array = np.zeros(s.shape)  # sum of the increments so far
        self.shift, self.round_off, self.scale = np.zeros(s.shape), np.zeros(s.shape), np.zeros(s.shape)

    def cumulative(self, increments: Float64Array) -> Float64Array:
        """Return the sums from the first record on; entry 0 is the sum before these increments."""
        out = np.cumsum(np.concatenate([self.total[None], increments]), axis=0)
        self.total = out[-1].copy()
        return np.asarray(out)

    def misplaced(self, piece: Piece) -> Float64Array:
        """Return the larger Δt|⟨g(x), ∇U⟩| with g at one end of each interval and ∇U at the other; at one point it is zero."""
        step = np.diff(piece.x, axis=0)
        ends = [np.abs(self.s.pair(step, force)) for force in (piece.force[1:], piece.force[:-1])]
        return row_products(np.diff(piece.t), np.maximum(*ends))

    def row(self, obstacle: str) -> CheckRow:
        """Return the row."""
        tolerance = _RECORDS * self.shift + self.round_off
        return CheckRow.of(self.s.name, self.path.t, self.residual, tolerance, self.scale, obstacle)


class _FirstOrder(_Law):
    """∫⟨g(x), dx⟩ by the trapezoidal rule, which is Q − Q_0 for G symmetric.

    For gradient descent with one step per record it is exactly ½ΣB(Δx, Δx), a quarter of the tolerance.
    """

    def add(self, piece: Piece) -> None:
        """Add a piece of the recording."""
        s, gamma = self.s, self.path.dynamics.gamma
        step, length = np.diff(piece.x, axis=0), s.norms(piece.x)
        self.residual[piece.rows] = self.cumulative(s.charge(0.5 * (piece.x[1:] + piece.x[:-1]), step))
        self.shift += np.maximum(np.abs(s.source(step)), self.misplaced(piece) / gamma).sum(axis=0)
        size = row_products(np.linalg.norm(piece.x, axis=1), length)[piece.new]
        self.round_off += ROUND_OFF * self.path.precision.eps * size.sum(axis=0)
        self.scale += _intervals(row_products(np.linalg.norm(piece.force, axis=1) / gamma, length), piece.t).sum(axis=0)


class _SecondOrder(_Law):
    """μJ − μ_0J_0 − ∫μS ds."""

    def __init__(self, s: Family, path: Path) -> None:
        super().__init__(s, path)
        self.mu = path.dynamics.law_weight(path.t)
        # without friction, or with μ out of the range of a double, μ of the last record is the unit
        if (self.mu == 1).all():
            self.mu = path.dynamics.fading(path.t, path.t[-1])
        self.first: Float64Array | None = None
        self.jump, self.late = np.zeros(s.shape), np.zeros(s.shape)

    def add(self, piece: Piece) -> None:
        """Add a piece of the recording."""
        s, mu, mass = self.s, self.mu[piece.rows], self.path.dynamics.mass
        length = s.norms(piece.x)
        charge, source = row_products(mu, s.charge(piece.x, piece.v)), row_products(mu, s.source(piece.v))
        self.first = charge[0].copy() if self.first is None else self.first
        self.residual[piece.rows] = charge - self.first - self.cumulative(_intervals(source, piece.t))
        self.jump = np.maximum(self.jump, np.abs(np.diff(charge, axis=0)).max(axis=0))
        self.shift += _left_right(source, piece.t).sum(axis=0)
        self.late += row_products(mu[1:], self.misplaced(piece)).sum(axis=0) / mass
        self.round_off += _KICKS * row_products(mu * piece.noise, length)[piece.new].sum(axis=0)
        self.scale += _intervals(row_products(mu * np.linalg.norm(piece.force, axis=1) / mass, length), piece.t).sum(
            axis=0
        )

    def row(self, obstacle: str) -> CheckRow:
        self.shift = self.shift + self.jump + self.late
        return super().row(obstacle)


class _Energy:
    """E − E_0 + ∫c|ẋ|² ds, and the numbers per row and per interval that it is made of."""

    def __init__(self, path: Path) -> None:
        self.path, n = path, path.t.size
        self.values, self.kinetic, self.rate, self.speed, self.noise, self.force = np.empty((6, n))
        self.work, self.change = np.empty((2, n - 1))

    def add(self, piece: Piece) -> None:
        """Add a piece of the recording."""
        dynamics, rows = self.path.dynamics, piece.rows
        for k, x in enumerate(piece.x[piece.new], start=rows.stop - piece.x[piece.new].shape[0]):
            self.values[k] = self.path.U.value(x)
        self.kinetic[rows], self.rate[rows] = dynamics.energy(piece.v, 0.0), dynamics.energy_rate(piece.t, piece.v)
        self.speed[rows], self.force[rows] = (np.linalg.norm(a, axis=1) for a in (piece.v, piece.force))
        self.noise[rows] = piece.noise
        change = np.diff(piece.force, axis=0)
        self.change[piece.intervals] = np.linalg.norm(change, axis=1)
        self.work[piece.intervals] = np.abs((change * piece.v[1:]).sum(axis=1))

    @property
    def resolved(self) -> bool:
        """Whether left and right sums of the force differ by no more than half of it."""
        size = _intervals(self.force, self.path.t)
        return bool(np.diff(self.path.t) @ self.change <= _RESOLVED * size.sum())

    def row(self, obstacle: str) -> CheckRow:
        """Return the row."""
        t, kinetic, values, rate, speed = self.path.t, self.kinetic, self.values, self.rate, self.speed
        dissipated = np.cumsum(np.append(0.0, _intervals(rate, t)))
        residual = kinetic - kinetic[0] + values - values[0] - dissipated
        shift = np.diff(t) @ (self.work + np.abs(np.diff(rate))) + np.abs(np.diff(kinetic)).max()
        braking = np.divide(-rate, speed, out=np.zeros_like(rate), where=speed > 0)
        noise = self.path.dynamics.mass * (speed * self.noise).max() + _intervals(2 * braking * self.noise, t).sum()
        round_off = ROUND_OFF * (noise + self.path.precision.eps * np.abs(values).sum())
        scale = _intervals(self.force * speed, t).sum()
        allowed = np.array([_RECORDS * shift + round_off])
        return CheckRow.of("time", t, residual[:, None], allowed, np.array([scale]), obstacle)


class _MotionSeries:
    """mΔẋ + ∫cẋ ds + ∫∇U ds over each interval, block by block."""

    def __init__(self, path: Path) -> None:
        self.path, self.blocks, n = path, blocks_of(path.U), path.t.size
        self.noise = np.empty(n)
        self.off, self.shift, self.scale, self.speed = np.empty((4, len(self.blocks), n - 1))

    def add(self, piece: Piece) -> None:
        """Add a piece of the recording."""
        path, intervals, dt = self.path, piece.intervals, np.diff(piece.t)
        ahead, c = _change_ahead(piece, path), path.dynamics.friction(piece.t)
        self.noise[piece.rows] = piece.noise
        for b, block in enumerate(self.blocks):
            part = (slice(None), block.part)
            force, v = piece.force[part], piece.v[part]
            recorded, expected = self._moves(piece, block)
            shift = row_products(dt, np.maximum(np.abs(np.diff(force, axis=0)), ahead[part]))
            if path.dynamics.mass > 0:
                shift += row_products(c[1:], _left_right(v, piece.t))
            for series, a in (
                (self.off, recorded - expected),
                (self.shift, shift),
                (self.scale, expected),
                (self.speed, v[1:]),
            ):
                with np.errstate(invalid="ignore"):  # infinite friction on a block at rest, at t = 0
                    series[b, intervals] = np.linalg.norm(a, axis=1)

    def _moves(self, piece: Piece, block: Block) -> tuple[Float64Array, Float64Array]:
        """Return mΔẋ + ∫cẋ ds and ∫−∇U ds of a block over each interval."""
        dynamics, part = self.path.dynamics, (slice(None), block.part)
        expected = _intervals(piece.force[part], piece.t)
        if dynamics.mass == 0:
            return dynamics.gamma * np.diff(piece.x[part], axis=0), expected
        braking = np.where(piece.v.any(axis=1), dynamics.friction(piece.t), 0.0)
        v = piece.v[part]
        return dynamics.mass * np.diff(v, axis=0) + _intervals(row_products(braking, v), piece.t), expected

    def rows(self, stiff: BoolArray) -> list[MotionRow]:
        """Return the rows of the blocks; beside records that are `stiff` the tolerance is infinite."""
        path, dynamics, dt = self.path, self.path.dynamics, np.diff(self.path.t)
        unbounded = _nearby(np.where(stiff[1:] | stiff[:-1], np.inf, 0.0))
        if dynamics.mass == 0:
            slack, noise = np.zeros(dt.size), dynamics.gamma * self.noise[1:] * dt
        else:  # slack: the change of the friction over one record
            slack, noise = (
                dt * np.abs(np.diff(dynamics.friction(path.t))),
                _KICKS / ROUND_OFF * dynamics.mass * self.noise[1:],
            )
        bounds = np.empty_like(self.off)
        for b, block in enumerate(self.blocks):
            with np.errstate(invalid="ignore"):  # infinite friction on a block at rest, at t = 0: no bound
                nearby = _nearby(self.shift[b] + slack * self.speed[b])
            round_off = ROUND_OFF * noise * path.precision.of(block.name) / path.precision.eps
            bounds[b] = np.where(nearby <= _RESOLVED * self.scale[b], _RECORDS * nearby + round_off, np.inf) + unbounded
        beyond, moments = self.off > bounds, [MotionSums.empty(block) for block in self.blocks]
        for piece in path.pieces(np.asarray(beyond.any(axis=0))):
            for b, block in enumerate(self.blocks):
                recorded, expected = self._moves(piece, block)
                off = beyond[b, piece.intervals]
                moments[b].add(block, recorded[off], expected[off], bounds[b, piece.intervals][off])
        return [self._row(b, bounds[b], moments[b]) for b in range(len(self.blocks))]

    def _row(self, b: int, bound: Float64Array, moments: MotionSums) -> MotionRow:
        block, t, tally = self.blocks[b], self.path.t[:-1], Tally()
        tally.add(t, self.off[b], bound, self.scale[b])
        steps = tuple(np.flatnonzero(self.off[b] > bound)[:8].tolist())
        return MotionRow.of_block(block, t, self.off[b], bound, self.scale[b], 1, tally, moments, steps=steps)


def _change_ahead(piece: Piece, path: Path) -> Float64Array:
    """Return the change of the force over an explicit step as long as each interval.

    Beside a kink of relu, steps land on either side in turn, and all records may lie on the same side.
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


def _intervals(rate: Float64Array, t: Float64Array) -> Float64Array:
    """Return ∫rate dt over each interval by the trapezoidal rule."""
    return row_products(0.5 * np.diff(t), rate[1:] + rate[:-1])


def _left_right(rate: Float64Array, t: Float64Array) -> Float64Array:
    """Return the difference of left and right sums of rate, interval by interval."""
    return row_products(np.diff(t), np.abs(np.diff(rate, axis=0)))
