"""Recorded trajectories of any framework held against the laws of a potential, and against its gradient (theory §3, §6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from . import _validate
from ._family import Family, NoetherSymmetry
from ._floating import underflowing
from ._flow_check import check_flow, path
from ._implied import Implied, implied
from ._report import PERSISTENT, ROUND_OFF, Motion, Report, Row, blocks_of, gradients, norms, times
from ._types import ArrayLike, Float64Array
from .algorithms import GD, NAGD, Algorithm, ConformalLeapfrog
from .dynamics import GF, Dynamics
from .potentials import Potential
from .symmetries import watched

_TRIALS = 16  # points within round-off of a record that are tried, each on either side of a kink at even odds


@underflowing
def check(
    U: Potential,
    params: ArrayLike,
    t: ArrayLike,
    dynamics: Dynamics | Algorithm = GF,
    *,
    velocity: ArrayLike | None = None,
    laws: str | Sequence[str | NoetherSymmetry] = "all",
    minibatches: bool = False,
) -> Report:
    """Hold a recorded trajectory against every law of a potential and against its equation of motion.

    Parameters
    ----------
    U : Potential
        What the recording is supposed to descend, for example `net.potential(data)`.
    params : array_like, shape (R, P)
        Recorded parameters in the layout of θ; `nl.convert` brings those of other frameworks into it. Arrays of float32,
        and of float64 that hold nothing but float32 numbers, are judged by the precision of float32.
    t : array_like, shape (R,)
        Their times, increasing: kη for gradient descent, kh for second order.
    dynamics : Dynamics or Algorithm
        A `Dynamics`, which the recording follows up to its step, whatever that is; or an `Algorithm`, of which every row
        is one step. The latter is checked to round-off.
    velocity : array_like, shape (R, P), optional
        Recorded ẋ, with a `Dynamics` of second order; central differences of second order in the spacing by default.
    laws : "all", or a sequence of names and symmetries
        As in `integrate`, and with a `Dynamics` "time", the law of energy; it has no exact form for an algorithm.
    minibatches : bool
        The steps of an `Algorithm` used minibatches: only laws that hold for every batch are checked, not the motion.

    Returns
    -------
    Report
        `print` it for the table; `.ok`, `.rows`, `.laws["scaling:1"]`, `.motion["W1"]`, `.plot()`.

    Raises
    ------
    TypeError, ValueError
        If an array has the wrong shape, entries that are not finite, or times that do not increase or do not fit the
        algorithm; the message names the array.

    Notes
    -----
    With an algorithm, its update rule is solved for the gradient F_k taken at y_k. Two residuals are reported per step,
    both zero up to the round-off ε|x| of the record carried through the rule: ⟨g(y_k), F_k⟩ for every law, which is theory
    §6's exact law divided by the step, and |F_k − ∇U(y_k)| for every block of parameters.

    With a dynamics they are, summed from t_0 on, Q − Q_0 (m = 0) and μJ − μ_0J_0 − ∫μS ds (m > 0) for every law, the
    same for energy, E − E_0 + ∫c|ẋ|² ds, and interval by interval mΔẋ + ∫cẋ ds + ∫∇U ds for every block. A method whose
    step is no longer than the spacing errs at first order, by no more than what gradients taken up to two records from where
    they are used would change: that is the tolerance. A block is broken if more than a tenth of its intervals are beyond it,
    as kinks of relu that records step over make single ones err. If the records are evenly spaced and are the steps of one of
    the algorithms here after all, to round-off, they are checked as such.

    A row "holds" if no residual is beyond its tolerance and this could have been otherwise: the tolerance is below a tenth
    of `scale`, the residual that the same force would give in the worst direction. If not it is "not decidable".

    The gradient of every block is needed at every record: memory is a few times that of `params`.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=2, n_classes=2, rng=0))
    >>> run = nl.integrate(U, nl.GD(0.1), net.init(rng=0), steps=50, record_params=True)
    >>> nl.check(U, run.params, run.t, nl.GD(0.1)).ok
    True
    >>> print(nl.check(U, run.params, 2 * run.t, nl.GD(0.2)).findings[0])
    every block moves 0.5 times as far as U asks: its loss or its time is scaled by that
    """
    if not isinstance(U, Potential):
        raise TypeError(f"U must be a potential, for example net.potential(data); got {_validate.describe(U)}")
    if not isinstance(dynamics, Dynamics | Algorithm):
        raise TypeError(
            f"dynamics must be a Dynamics such as nl.GF or an Algorithm such as nl.GD(0.1), got {_validate.describe(dynamics)}"
        )
    x, when = _recording(U, params, t)
    eps = precision(params)
    families, energy = _laws(U, laws, minibatches)
    for_energy = energy and laws != "all"
    if isinstance(dynamics, Algorithm):
        if velocity is not None:
            raise ValueError(f"velocity is not used with {dynamics}: its steps are checked from params alone")
        if for_energy:
            raise ValueError(
                f"laws: energy has no exact law along the steps of {dynamics}; give its Dynamics for 'time'"
            )
        rows, motion = _steps(U, x, when, dynamics, families, eps, whole=not minibatches)
        return _report(U, rows, motion, when, eps, dynamics)
    if minibatches:
        raise ValueError("minibatches=True needs an Algorithm such as nl.GD(0.1), whose every step was recorded")
    for algorithm in _candidates(dynamics, when) if velocity is None and not for_energy else []:
        rows, motion = _steps(U, x, when, algorithm, families, eps, whole=True)
        if all(row.verdict == "holds" for row in motion):
            return _report(U, rows, motion, when, eps, algorithm)
    rows, motion = check_flow(U, path(U, x, when, dynamics, velocity, eps), dynamics, families, energy)
    return _report(U, rows, motion, when, eps, dynamics)


def _report(
    U: Potential, laws: list[Row], motion: list[Motion], t: Float64Array, eps: float, followed: Dynamics | Algorithm
) -> Report:
    recording = f"{t.size} records of precision {eps:.0e}, t = {t[0]:g} to {t[-1]:g}"
    return Report(laws, motion, recording, followed, getattr(U, "n_samples", 1))


def precision(array: ArrayLike) -> float:
    """Return machine ε of the numbers in `array`: that of its dtype, or of float32 where all of them are such."""
    held = np.asarray(array)
    if held.dtype.kind != "f":
        return float(np.finfo(np.float64).eps)
    if held.dtype == np.float64 and held.any():
        with np.errstate(over="ignore"):
            single = np.array_equal(held, held.astype(np.float32))
        return float(np.finfo(np.float32 if single else np.float64).eps)
    return float(np.finfo(held.dtype).eps)


def _recording(U: Potential, params: ArrayLike, t: ArrayLike) -> tuple[Float64Array, Float64Array]:
    x = _validate.array(params, "params", ndim=2)
    if x.shape[1] != U.n_params:
        raise ValueError(f"params must have shape (R, {U.n_params}), one row per time, got {x.shape}")
    when = _validate.times(t)
    if when.size != x.shape[0]:
        raise ValueError(f"t must have one time for each of the {x.shape[0]} rows of params, got {when.size}")
    if when.size < 2:
        raise ValueError(f"params must have at least two rows, got {when.size}")
    return np.asarray(x, dtype=np.float64), when


def _laws(U: Potential, laws: str | Sequence[str | NoetherSymmetry], minibatches: bool) -> tuple[list[Family], bool]:
    """Return the families to check, and whether the law of energy is among those asked for."""
    if laws == "all":
        return watched(U, "all", minibatches), True
    wanted = [laws] if isinstance(laws, str | NoetherSymmetry) else list(laws)
    named = [item for item in wanted if item != "time"]
    return watched(U, named, minibatches), len(named) < len(wanted)


def _candidates(dynamics: Dynamics, t: Float64Array) -> list[Algorithm]:
    """Return the algorithms for `dynamics` of which the rows may be steps: those that advance by the spacing, if it is even."""
    dt = float(t[-1] - t[0]) / (t.size - 1)
    if t.size < 3 or (np.abs(np.diff(t) - dt) > _spread(dt, t)).any():
        return []
    m, gamma, alpha = dynamics.mass, dynamics.gamma, dynamics.alpha
    if m == 0:
        return [GD(dt)] if gamma == 1 else []
    nesterov: list[Algorithm] = [NAGD(dt**2, alpha)] if m == 1 and gamma == 0 and alpha >= 3 else []
    return nesterov if alpha > 0 and t[0] == 0 else [*nesterov, ConformalLeapfrog(dt**2, m, gamma, alpha)]


def _spread(dt: float, t: Float64Array) -> Float64Array:
    """Return by how much intervals may differ from dt: what the round-off of t makes of them, and a millionth."""
    return np.asarray(1e-6 * dt + 4 * np.finfo(np.float64).eps * t[1:])


def _steps(
    U: Potential,
    x: Float64Array,
    t: Float64Array,
    algorithm: Algorithm,
    families: Iterable[Family],
    eps: float,
    whole: bool,
) -> tuple[list[Row], list[Motion]]:
    wrong = np.abs(np.diff(t) - algorithm.dt) > _spread(algorithm.dt, t)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ValueError(
            f"t must advance by {algorithm.dt:g} a row, one step of {algorithm}, got t[{k + 1}] - t[{k}] = {t[k + 1] - t[k]:g};"
            " give a Dynamics such as nl.GF for records with steps between them"
        )
    seen = implied(algorithm, x, float(t[0]))
    size = np.linalg.norm(seen.gradient, axis=1)
    noise: Float64Array = ROUND_OFF * eps * (seen.gain * np.linalg.norm(seen.points, axis=1) + size)
    when = t[seen.record]
    laws = []
    for s in families:
        length = norms(s, seen.points)
        laws.append(
            Row(s.name, when, s.charge(seen.points, seen.gradient), times(noise, length), times(size, length), 0)
        )
    if not whole:
        return laws, []
    expected, motion = _nearest(U, seen, noise, eps), []
    for block in blocks_of(U):
        got, want = seen.gradient[:, block.start : block.stop], expected[:, block.start : block.stop]
        motion.append(Motion.of(block, when, got, want, noise, np.linalg.norm(want, axis=1), 0))
    return laws, motion


def _nearest(U: Potential, seen: Implied, noise: Float64Array, eps: float) -> Float64Array:
    """Return ∇U at y_k, or where it is off, at the point within round-off of y_k that has it nearest to F_k.

    Where a sample sits on a kink of relu, the record does not tell on which side it was.
    """
    out = gradients(U, seen.points)
    distance = np.linalg.norm(seen.gradient - out, axis=1)
    off = np.flatnonzero(distance > noise)
    if off.size > PERSISTENT * distance.size:
        return out  # so many are no kink's doing
    rng = np.random.default_rng(0)
    for k in off:
        for _ in range(_TRIALS):
            gradient = U.gradient(seen.points[k] * (1 + ROUND_OFF * eps * rng.uniform(-1, 1, U.n_params)))
            if np.linalg.norm(seen.gradient[k] - gradient) < distance[k]:
                out[k], distance[k] = gradient, np.linalg.norm(seen.gradient[k] - gradient)
    return out
