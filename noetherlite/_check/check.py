"""Recorded trajectories of any framework, compared with the laws and the gradient of a potential (theory §3, §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.precision import Precision, judged, narrow
from .._base.precision import precision as precision
from .._base.types import Array, ArrayLike, Float64Array
from .._motion.base import Algorithm, Memory
from .._motion.dynamics import GF, Dynamics
from .._motion.recorded import from_step
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .clock import (
    candidates,
    check_schedule,
    evenly_spaced,
    first_step,
    last_interval_is_short,
    read_times,
    start_time,
)
from .flow import HIDDEN, check_flow
from .flow_path import Path
from .limits import limits
from .recording import batches_by_row, check_claim, check_spacing, laws_of, read_key, read_rows, states_of, step_laws
from .replay import is_replayed
from .rows import blocks_of
from .steps import StepCheck
from .verdict import Report, law_findings, motion_findings, step_findings

# Numbers in a piece of rows: the recording is checked piece by piece, which bounds the memory.
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
    momentum_buffer: ArrayLike | None = None,
    exp_avg: ArrayLike | None = None,
    exp_avg_sq: ArrayLike | None = None,
    noise_key: int | None = None,
) -> Report:
    """Compare a recorded trajectory with every law of a potential and with its equation of motion.

    Parameters
    ----------
    U : Potential
        The loss of the recorded run, for example `net.potential(data)`.
    params : array_like, shape (R, P)
        Recorded parameters in the layout of θ, to which `nl.convert` converts those of other frameworks. The gradient of
        step k was taken at row k.
    t : array_like, shape (R,), optional
        Times of the rows, increasing: kη for gradient descent, kh for second order. Not needed with an `Algorithm` if row 0
        is the start of the run.
    dynamics : Dynamics or Algorithm
        A `Dynamics` that an unknown method integrates, with steps no longer than the spacing of the rows; or an `Algorithm`
        with one step, or `every` steps, from row to row. The latter is checked to round-off.
    velocity : array_like, optional
        With a `Dynamics` of second order ẋ at every row, (R, P); central differences of second order in the spacing by
        default. With a `HeavyBall`, or with `every` > 1, the velocity at the first row, (P,); by default zero if the first
        step is one from rest, and otherwise determined from the first rows.
    laws : "all", or a sequence of names and symmetries
        As in `integrate`, and with a `Dynamics` "time", the law of energy; it has no exact form for an algorithm.
    minibatches : bool
        The steps of an `Algorithm` used unknown minibatches: laws that hold for every minibatch are checked, the motion is
        not.
    batches : sequence of array_like of int, optional
        Indices of the samples of each step, so that the motion is checked too: batches[k] is the minibatch of the gradient
        taken at row k. With `every` = m it has m of them for each row but the last.
    precision : {"float64", "float32", "bfloat16", "float16", "autocast"}, optional
        Precision of the parameters and of their gradients; with "autocast" parameters are float32 and gradients bfloat16. By
        default it is read off the numbers, block by block: float64 arrays may contain float32 or bfloat16 numbers only.
    every : int
        Steps of the `Algorithm` between rows. They are replayed from every row, and the results compared with the next.
    momentum_buffer, exp_avg, exp_avg_sq : array_like, shape (R, P), optional
        What PyTorch's optimiser keeps under these names, at every row: row k is before the step from there, zero at the start.
        `exp_avg_sq` stands for `square_avg` of RMSprop and `sum` of Adagrad too. An `Adam` needs `exp_avg` for its laws,
        `Lion` and a `SignGD` with momentum too, `RMSProp` and `AdaGrad` need `exp_avg_sq`; `Muon` needs and
        `Nesterov` and `HeavyBall` take `momentum_buffer`.

    noise_key : int, optional
        The key of the noise of a run of this library by `SGLD` or `BAOAB`, ``run.specification["arguments"]["batch_key"]``: all
        is then checked to round-off. Without it noise leaves verdicts by chance, see Notes.

    Returns
    -------
    Report
        `print` it for the table; ``.verdict`` is "holds", "broken" or "not decidable", ``.findings`` says what is wrong and
        ``.limits`` what was not checked; ``.ok``, ``.rows``, ``.laws["scaling:1"]``, ``.motion["W1"]``, ``.plot()``.

    Raises
    ------
    TypeError, ValueError
        If an array has the wrong shape, entries that are not finite, or times that do not increase or do not fit the
        algorithm; the message names the array.

    See Also
    --------
    Monitor : The same check during a run, without storing its rows.

    Notes
    -----
    With an algorithm, its update rule is solved for the gradient F_k taken at y_k. Two residuals are reported per step,
    both zero up to the round-off ε|x| of the record carried through the rule: ⟨g(y_k), F_k⟩ for every law, which is theory
    §6's exact law divided by the step, and |F_k − ∇U(y_k)| for every block of parameters. A residual beyond that round-off is
    compared with gradients at points y_k rounded at random, which measure the conditioning of ∇U and find kinks nearby.

    The positions of `Adam`, `RMSProp`, `AdaGrad`, `Lion`, `Muon` and `SignGD` do not tell F_k. An average m' = βm + aF that was recorded
    before and after a step does, and so do recorded squares s with x_{k+1} = x_k − ηF/(√s + ε). Without them the laws and the motion
    are "not decidable". The rows "step of W1" are a check of its own, that of the rule: the step is taken again from row k, with
    its averages and F_k, and compared with row k + 1; averages that are not recorded are carried along from the start of a
    run, where need be with ∇U in the place of F_k. Rates of a schedule are those of a run: the first is that of the step from t = 0.

    The steps of `SGLD` and `BAOAB` with ∇U imply the normal numbers of their noise. Three sums of these are known to be
    distributed as N(0, 1) or χ², whatever the run did: along g(x_k), along ∇U(x_k) in every block, and the squares of what is left, which tell
    the temperature ("noise of W1"). A row is broken if one is beyond what it is with a probability that adds up to 10⁻⁶ for all rows. With
    unknown samples the laws of `SGLD` are left, and the temperature along their symmetries.

    With `every` > 1, F_k − ∇U is the distance by which the replayed steps miss the next row, expressed as a constant error
    of the force. Round-off is measured by replays that are rounded at random after every step, the effect of an unknown
    velocity (beside a kink of relu, for example) by replays with other velocities.

    With a dynamics the residuals are, from t_0 on, Q − Q_0 (m = 0) or μJ − μ_0J_0 − ∫μS ds (m > 0; in units of the last μ
    where μ leaves the range of a double) for every law, E − E_0 + ∫c|ẋ|² ds for the energy, and mΔẋ + ∫cẋ ds + ∫∇U ds over
    each interval for every block. The tolerance is the first-order error of a method whose step is no longer than the
    spacing, bounded by the change of the gradient over two records, plus the round-off of ten unrecorded steps per record,
    which is an assumption. A block is broken if more than a tenth of its intervals exceed the tolerance: a kink of relu
    between two records makes single intervals do so. Where curvature times spacing exceeds 2, unrecorded steps may oscillate,
    and the verdict is "not decidable". Evenly spaced records that are, to round-off, the steps of one of this library's
    algorithms are checked as such.

    A row "holds" if no residual is beyond its tolerance and the test had power: the tolerance is below a tenth of `scale`,
    the residual that the same force would give in the worst direction. Without power it is "not decidable".

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
    check_claim(U, dynamics)
    minibatches = checks.boolean(minibatches, "minibatches")
    every = checks.integer(every, "every", minimum=1)
    rows = read_rows(U, params)
    results = rows[1:] if len(rows) > 2 else rows  # a run in single precision may begin at numbers of double precision
    p = judged(results, narrow(params) if precision is None else precision, blocks_of(U))
    states = {"momentum_buffer": momentum_buffer, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    if isinstance(dynamics, Algorithm):
        fields = states_of(dynamics, states, rows.shape)
        checker, selected, limitations = _stepwise(
            U, rows, t, dynamics, p, every, velocity, laws, minibatches, batches, tuple(fields), noise_key
        )
        memory = Memory(fields.get("m"), fields.get("s"))
        _add_rows(checker, selected, batches_by_row(U, batches, every, len(rows), dynamics), memory=memory)
        return report(checker, limitations)
    for name in (name for name, values in {**states, "noise_key": noise_key}.items() if values is not None):
        raise ValueError(f"{name} needs an Algorithm such as nl.Adam(0.1), which has it")
    if minibatches or batches is not None:
        raise ValueError("minibatches=True needs an Algorithm such as nl.GD(0.1), whose every step was recorded")
    if every > 1:
        raise ValueError(f"every={every} needs an Algorithm such as nl.GD(0.1), of which every row is {every} steps")
    row_times, eps = read_times(t, len(rows))
    row_times = evenly_spaced(row_times, eps)
    families, energy = laws_of(U, laws, batchwise=False)
    if velocity is None and not (energy and laws != "all"):
        for algorithm in candidates(dynamics, row_times):
            checker = StepCheck(U, algorithm, families, p, t0=float(row_times[0]))
            if len(rows) >= algorithm.fewest_rows(row_times[0] == 0) and _add_rows(
                checker, rows, None, until_broken=True
            ):
                return report(checker, [])
    law_rows, motion = check_flow(Path(U, rows, row_times, dynamics, velocity, p), families, energy)
    findings = motion_findings(U, motion) or law_findings(law_rows)
    duration = float(row_times[-1] - row_times[0])
    reach = duration / dynamics.gamma if dynamics.mass == 0 else 0.5 * duration**2 / dynamics.mass
    if (rows == rows[0]).all() and _moves(U, rows[0], reach, p):
        findings = [_ALIASED]
    limitations = [
        "steps between the rows are not recorded; the tolerance is the error of a method of first order there, "
        f"and the round-off of no more than {HIDDEN} of them"
    ]
    name = str(dynamics) if dynamics.name == "general" else dynamics.name
    title = f"{_title(len(rows), p, row_times[0], row_times[-1])}: {name} up to first order in the spacing"
    return Report(law_rows, motion, title, findings, limitations)


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
    recorded: tuple[str, ...],
    noise_key: int | None,
) -> tuple[StepCheck, Array, list[str]]:
    """Return the checker of the steps, the rows to add to it, and sentences about rows left out."""
    noise_key = read_key(algorithm, noise_key)
    if velocity is not None:
        if not algorithm.has_velocity or not (algorithm.takes_velocity or is_replayed(algorithm, every)):
            raise ValueError(f"velocity is not used with {algorithm}: its steps are checked from params alone")
        if "m" in recorded:
            raise ValueError("velocity and momentum_buffer say the same: give one of them")
        velocity = checks.shaped(velocity, "velocity", (U.n_params,)).astype(np.float64)
    if minibatches and batches is None and every > 1:
        raise ValueError(
            f"minibatches=True with every={every} needs batches=, the samples of every step between the rows"
        )
    if minibatches and every == 1 and is_replayed(algorithm, every):
        raise ValueError(f"minibatches must be False with {algorithm}, whose steps are taken again, with their samples")
    check_spacing(algorithm, every, recorded)
    if algorithm.sam and minibatches and batches is None:
        raise ValueError(
            f"batches must be given with {algorithm}: where its gradients were taken depends on the samples"
        )
    families = step_laws(U, algorithm, laws, minibatches or batches is not None)
    t0, first, limitations = start_time(algorithm, None) if t is None else 0.0, 0, []
    told = algorithm.implies_gradients or algorithm.has_noise or algorithm.method.update is not None
    if not (told or is_replayed(algorithm, every)):
        limitations = [f"positions do not tell the gradients of {algorithm}: nothing was checked"]
    if t is None:
        algorithm = algorithm.over(every * (len(rows) - 1))
    else:
        row_times, eps = read_times(t, len(rows), algorithm.has_schedule)
        t0 = float(row_times[0])
        algorithm, first = _from(algorithm, row_times, every, eps)
        if not algorithm.has_schedule and last_interval_is_short(row_times, algorithm, every, eps):
            rows = rows[:-1]
            limitations += [f"the last row is fewer than {every} steps after the one before it, and was not checked"]
    known_start = t0 == 0 or velocity is not None
    fewest = algorithm.fewest_rows(known_start)
    if len(rows) < (fewest if every == 1 else 2):
        raise ValueError(f"params has {len(rows)} rows, too few for one step of {algorithm}")
    motion = not minibatches or batches is not None
    options: dict[str, Any] = {"velocity": velocity, "motion": motion, "first": first, "recorded": recorded}
    options["noise_key"] = noise_key
    return StepCheck(U, algorithm, families, p, t0=t0, every=every, **options), rows, limitations


def _from(algorithm: Algorithm, row_times: Float64Array, every: int, eps: float) -> tuple[Algorithm, int]:
    """Return the algorithm with the rates of the steps from the first row on, and the number of the first of them."""
    steps = every * (row_times.size - 1)
    if algorithm.has_schedule and not algorithm.rates and row_times[0] > 0:
        raise ValueError(
            "lr must be an array where the first row is not the start of the run, not a function of the step"
        )
    algorithm = algorithm.over(steps)
    first = first_step(algorithm, float(row_times[0]), eps)
    algorithm = from_step(algorithm.over(first + steps), first)
    if algorithm.has_schedule:
        check_schedule(row_times, algorithm, every, eps)
    return algorithm, first


def _add_rows(
    checker: StepCheck,
    rows: Array,
    batches: list[object] | None,
    until_broken: bool = False,
    memory: Memory | None = None,
) -> bool:
    """Check all rows, or those up to the first broken one; return whether the motion of some block holds and of none is broken."""
    piece = max(_PIECE // rows.shape[1], 1)
    for low in range(0, len(rows), piece):
        part = slice(low, low + piece)
        averages = Memory(*(None if a is None else a[part] for a in memory or ()))
        checker.add(np.asarray(rows[part], dtype=np.float64), None if batches is None else batches[part], averages)
        if until_broken and checker.broken:
            return False
    verdicts = {row.verdict for row in checker.rows()[1]}
    return "holds" in verdicts and "broken" not in verdicts


def report(checker: StepCheck, limitations: list[str]) -> Report:
    """Return the report on the steps checked so far; `limitations` are added to those that the checker knows."""
    laws, motion = checker.rows()
    steps = [] if checker.averages is None else checker.averages.rows()
    law = law_findings(laws)
    broken_motion = any(row.verdict == "broken" for row in motion)
    if checker.noise is not None:
        findings = checker.noise.findings(motion) or law
    elif broken_motion and checker.known_noise is not None and checker.known_noise.finding:
        findings = [checker.known_noise.finding]
    elif broken_motion:
        findings = checker.evidence.findings(motion, any(row.verdict == "holds" for row in laws) and not law)
    else:
        findings = law
    if not broken_motion:
        findings = [*findings, *step_findings(steps)]
    still = not checker.any_change and checker.n_rows > 1
    if still and _moves(checker.U, checker.first_row, checker.algorithm.reach, checker.precision):
        findings = [_ALIASED]
    last = float(checker.algorithm.times(checker.t0, (checker.n_rows - 1) * checker.every))
    interval = "one step" if checker.every == 1 else f"{checker.every} steps"
    title = (
        f"{_title(checker.n_rows, checker.precision, checker.t0, last)}: every row {interval} of {checker.algorithm}"
    )
    return Report(laws, [*motion, *steps], title, findings, [*limitations, *limits(checker)])


def _moves(U: Potential, x: Array, reach: float, p: Precision) -> bool:
    """Return whether ∇U changes x by more than round-off, where a unit force displaces it by `reach`."""
    point = np.asarray(x, np.float64)
    return bool((reach * np.abs(U.gradient(point)) > p.each(point)).any())


def _title(n: int, p: Precision, first: float, last: float) -> str:
    return f"{n} records of precision {p}, t = {first:g} to {last:g}"
