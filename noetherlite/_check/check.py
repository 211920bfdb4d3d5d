"""Recorded trajectories of any framework held against the laws of a potential, and against its gradient (theory §3, §6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.precision import Precision, judged
from .._base.precision import precision as precision
from .._base.types import Array, ArrayLike
from .._motion.base import Algorithm
from .._motion.dynamics import GF, Dynamics
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .clock import candidates, even, last_is_short, start, times
from .flow import HIDDEN, check_flow
from .flow_path import Path
from .limits import limits
from .recording import by_row, claimed, laws_of, recorded, step_laws
from .rows import blocks_of
from .steps import Stepwise
from .verdict import Report, law_findings, motion_findings

# Rows are judged in pieces of so many numbers, which bounds what is needed beside the recording.
_PIECE = 1 << 16
_ALIASED = "all rows are equal, and the gradient is not zero: were they copied when they were recorded?"


@underflowing
def check(
    U: Potential,
    params: ArrayLike,
    t: ArrayLike | None = None,
    dynamics: Dynamics | Algorithm = GF,
    *,
    velocity: ArrayLike | None = None,
    laws: str | Sequence[str | NoetherSymmetry] = "all",
    minibatches: bool = False,
    batches: Sequence[ArrayLike] | None = None,
    precision: str | None = None,
    every: int = 1,
) -> Report:
    """Hold a recorded trajectory against every law of a potential and against its equation of motion.

    Parameters
    ----------
    U : Potential
        What the recording is supposed to descend, for example `net.potential(data)`.
    params : array_like, shape (R, P)
        Recorded parameters in the layout of θ; `nl.convert` brings those of other frameworks into it. Row k is where the
        gradient of step k was taken.
    t : array_like, shape (R,), optional
        Their times, increasing: kη for gradient descent, kh for second order. With an `Algorithm` whose first row is the start
        of the run they follow from the number of the row.
    dynamics : Dynamics or Algorithm
        A `Dynamics`, which the recording follows up to its step, whatever that is; or an `Algorithm`, of which every row
        is one step, or `every` steps. The latter is checked to round-off.
    velocity : array_like, optional
        With a `Dynamics` of second order ẋ at every row, (R, P); central differences of second order in the spacing by
        default. With a `HeavyBall`, or with `every` > 1, the velocity at the first row, (P,); by default that of rest if
        the first step is one from rest, and otherwise found from the first rows.
    laws : "all", or a sequence of names and symmetries
        As in `integrate`, and with a `Dynamics` "time", the law of energy; it has no exact form for an algorithm.
    minibatches : bool
        The steps of an `Algorithm` used minibatches that are not known: only laws that hold for every batch are checked,
        not the motion.
    batches : sequence of array_like of int, optional
        Indices of the samples of each step, so that the motion is checked too: batches[k] is the minibatch of the gradient
        taken at row k. With `every` = m it has m of them for each row but the last.
    precision : {"float64", "float32", "bfloat16", "float16", "autocast"}, optional
        Precision of the parameters and of their gradients; with "autocast" parameters are float32 and gradients bfloat16. By
        default what the numbers show: arrays of float64 that hold nothing but numbers of a shorter format are judged by that, and
        a block of parameters of which this is so by its own precision.
    every : int
        Steps of the `Algorithm` between rows. They are taken again from every row, and the rows that follow compared.

    Returns
    -------
    Report
        `print` it for the table; ``.verdict`` is "holds", "broken" or "not decidable", ``.findings`` says what is wrong and
        ``.limits`` what was not seen; ``.ok``, ``.rows``, ``.laws["scaling:1"]``, ``.motion["W1"]``, ``.plot()``.

    Raises
    ------
    TypeError, ValueError
        If an array has the wrong shape, entries that are not finite, or times that do not increase or do not fit the
        algorithm; the message names the array.

    See Also
    --------
    Monitor : The same while a run is running, without keeping its rows.

    Notes
    -----
    With an algorithm, its update rule is solved for the gradient F_k taken at y_k. Two residuals are reported per step,
    both zero up to the round-off ε|x| of the record carried through the rule: ⟨g(y_k), F_k⟩ for every law, which is theory
    §6's exact law divided by the step, and |F_k − ∇U(y_k)| for every block of parameters. Where they are beyond it, the
    gradient's own conditioning and kinks nearby are measured, by rounding y_k at random.

    With steps between the rows, F_k − ∇U is how far the replayed steps miss the next row, in units of a force that is off
    all along them. Round-off is measured by walks that are rounded at random after every step, and what a velocity that is not
    known may make, beside a kink of relu for example, by walks with other velocities.

    With a dynamics they are, summed from t_0 on, Q − Q_0 (m = 0) and μJ − μ_0J_0 − ∫μS ds (m > 0; where no
    double holds μ, in units of its last value) for every law, the same for energy, E − E_0 + ∫c|ẋ|² ds, and interval by interval mΔẋ + ∫cẋ ds + ∫∇U ds for every
    block. A method whose step is no longer than the spacing errs at first order, by no more than what gradients taken up to
    two records from where they are used would change: that is the tolerance, and the round-off of up to ten hidden steps, an assumption. A block is broken if more than a tenth of its
    intervals are beyond it, as kinks of relu that records step over make single ones err. Where curvature times spacing
    exceeds 2, hidden steps may oscillate unseen, and nothing is decided. If the records are evenly spaced and are the steps of
    one of the algorithms here after all, to round-off, they are checked as such.

    A row "holds" if no residual is beyond its tolerance and this could have been otherwise: the tolerance is below a tenth
    of `scale`, the residual that the same force would give in the worst direction. If not it is "not decidable".

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=2, n_classes=2, rng=0))
    >>> run = nl.integrate(U, nl.GD(0.1), net.init(rng=0), steps=50, record_params=True)
    >>> nl.check(U, run.params, dynamics=nl.GD(0.1)).verdict
    'holds'
    >>> nl.check(U, run.params[::5], dynamics=nl.GD(0.1), every=5).verdict
    'holds'
    >>> print(nl.check(U, run.params, 2 * run.t, nl.GD(0.2)).findings[0])
    every block moves 0.5 times as far as U asks: its loss or its time is scaled by that
    """
    claimed(U, dynamics)
    minibatches = checks.boolean(minibatches, "minibatches")
    every = checks.integer(every, "every", minimum=1)
    rows = recorded(U, params)
    p = judged(rows, precision, blocks_of(U))
    if isinstance(dynamics, Algorithm):
        seen, used, told = _stepwise(U, rows, t, dynamics, p, every, velocity, laws, minibatches, batches)
        _feed(seen, used, by_row(U, batches, every, len(rows), dynamics))
        return report(seen, told)
    if minibatches or batches is not None:
        raise ValueError("minibatches=True needs an Algorithm such as nl.GD(0.1), whose every step was recorded")
    if every > 1:
        raise ValueError(f"every={every} needs an Algorithm such as nl.GD(0.1), of which every row is {every} steps")
    when, eps = times(t, len(rows))
    when = even(when, eps)
    families, energy = laws_of(U, laws, batchwise=False)
    if velocity is None and not (energy and laws != "all"):
        for algorithm in candidates(dynamics, when):
            seen = Stepwise(U, algorithm, families, p, t0=float(when[0]))
            if len(rows) >= algorithm.fewest_rows(when[0] == 0) and _feed(seen, rows, None, until_broken=True):
                return report(seen, [])
    found, motion = check_flow(Path(U, rows, when, dynamics, velocity, p), families, energy)
    findings = [_ALIASED] if _aliased(U, rows) else motion_findings(U, motion) or law_findings(found)
    told = [
        "steps between the rows were not seen; the tolerance is what a method of first order may do there, "
        f"and the round-off of no more than {HIDDEN} of them"
    ]
    title = f"{_title(len(rows), p, when[0], when[-1])}: {_name(dynamics)} up to first order in the spacing"
    return Report(found, motion, title, findings, told)


def _stepwise(
    U: Potential,
    rows: Array,
    t: ArrayLike | None,
    algorithm: Algorithm,
    p: Precision,
    every: int,
    velocity: ArrayLike | None,
    laws: str | Sequence[str | NoetherSymmetry],
    minibatches: bool,
    batches: Sequence[ArrayLike] | None,
) -> tuple[Stepwise, Array, list[str]]:
    """Return what judges the steps, the rows that it is to see, and what is to be said of those left out."""
    if velocity is not None:
        if not algorithm.has_velocity or (every == 1 and not algorithm.takes_velocity):
            raise ValueError(f"velocity is not used with {algorithm}: its steps are checked from params alone")
        velocity = checks.shaped(velocity, "velocity", (U.n_params,)).astype(np.float64)
    if minibatches and batches is None and every > 1:
        raise ValueError(
            f"minibatches=True with every={every} needs batches=, the samples of every step between the rows"
        )
    families = step_laws(U, algorithm, laws, minibatches or batches is not None)
    t0, told = start(algorithm, None) if t is None else 0.0, []
    if t is not None:
        when, eps = times(t, len(rows))
        t0 = float(when[0])
        if last_is_short(when, algorithm, every, eps):
            rows = rows[:-1]
            told = [f"the last row is fewer than {every} steps after the one before it, and was not checked"]
    known_start = t0 == 0 or velocity is not None
    fewest = algorithm.fewest_rows(known_start)
    if len(rows) < (fewest if every == 1 else 2):
        raise ValueError(f"params has {len(rows)} rows, too few for one step of {algorithm}")
    motion = not minibatches or batches is not None
    seen = Stepwise(U, algorithm, families, p, t0=t0, every=every, velocity=velocity, motion=motion)
    return seen, rows, told


def _feed(seen: Stepwise, rows: Array, batches: list[object] | None, until_broken: bool = False) -> bool:
    """Judge all rows, or until one is broken; return whether some motion holds and none is broken."""
    piece = max(_PIECE // rows.shape[1], 1)
    for low in range(0, len(rows), piece):
        part = slice(low, low + piece)
        seen.add(np.asarray(rows[part], dtype=np.float64), None if batches is None else batches[part])
        if until_broken and seen.broken:
            return False
    verdicts = {row.verdict for row in seen.rows()[1]}
    return "holds" in verdicts and "broken" not in verdicts


def report(seen: Stepwise, told: list[str]) -> Report:
    """Return what the steps judged so far show; `told` are limits that are known already."""
    laws, motion = seen.rows()
    law = law_findings(laws)
    moved = any(row.verdict == "broken" for row in motion)
    decided = any(row.verdict == "holds" for row in laws)
    findings = seen.evidence.findings(motion, decided and not law) if moved else law
    if not seen.distinct and seen.n_rows > 1 and np.any(seen.U.gradient(seen.first_row)):
        findings = [_ALIASED]
    last = seen.t0 + (seen.n_rows - 1) * seen.every * seen.algorithm.dt
    steps = "one step" if seen.every == 1 else f"{seen.every} steps"
    title = f"{_title(seen.n_rows, seen.precision, seen.t0, last)}: every row {steps} of {seen.algorithm}"
    return Report(laws, motion, title, findings, [*told, *limits(seen)])


def _title(n: int, p: Precision, first: float, last: float) -> str:
    return f"{n} records of precision {p}, t = {first:g} to {last:g}"


def _name(dynamics: Dynamics) -> str:
    return str(dynamics) if dynamics.name == "general" else dynamics.name


def _aliased(U: Potential, rows: Array) -> bool:
    return bool((rows == rows[0]).all()) and bool(np.any(U.gradient(rows[0])))
