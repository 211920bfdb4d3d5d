"""The one loop: a potential, an algorithm and the laws to watch go in, a trajectory comes out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.interrupt import Interrupt
from .._base.progress import bar as progress_bar
from .._base.threads import threads
from .._base.types import Array, ArrayLike, Float64Array, Seed
from .._base.versions import versions
from .._motion.algorithms import Algorithm
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .._symmetry.find import watched
from .._symmetry.records import read, rounding
from .backends import Engine
from .checkpoint import UNWRITTEN, Keeper, keeper
from .drive import Pace, Run
from .plan import BACKENDS, Plan, minibatches, motion
from .setup import Setup
from .trajectory import Trajectory

# Fields of layout.Records with one row per record, whatever was asked for.
_ROWS = ("step", "loss", "excess", "quantity", "charge", "integral", "discrete")


class DivergenceError(RuntimeError):
    """The loss became infinite or NaN; raised only with on_divergence="raise".

    Attributes
    ----------
    trajectory : Trajectory
        All that was recorded until then.
    """

    trajectory: Trajectory


@dataclass(frozen=True)
class Snapshot:
    """What a callback sees at a record; the arrays are copies."""

    step: int
    t: float
    loss: float
    x: Array
    v: Array


@underflowing
def integrate(
    U: Potential,
    algorithm: Algorithm,
    x0: ArrayLike,
    steps: int,
    *,
    velocity: ArrayLike | None = None,
    t0: float | None = None,
    record_every: int = 1,
    record_params: bool = False,
    laws: str | Sequence[str | NoetherSymmetry] | None = "all",
    batch_size: int | None = None,
    rng: Seed = None,
    backend: str = "auto",
    dtype: str = "float64",
    progress: bool = False,
    callback: Callable[[Snapshot], object] | None = None,
    on_divergence: str = "record",
    n_threads: int | None = None,
    input_reduction: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | None = None,
) -> Trajectory:
    """Run an algorithm on a potential and record its conserved quantities.

    Parameters
    ----------
    U : Potential
        For example `net.potential(data)`.
    algorithm : Algorithm
        `GD(lr)`, `HeavyBall(lr, momentum)`, `Leapfrog(lr)`, `NAGD(lr)` or `ConformalLeapfrog(lr, …)`, all with `weight_decay=`.
    x0 : array_like, shape (P,)
        Where to start.
    steps : int
        Number of steps, ≥ 0.
    velocity : array_like, shape (P,), optional
        Initial velocity, zero by default; not for gradient descent, which has none.
    t0 : float, optional
        Initial time, 0 by default; must be positive for a conformal leapfrog with α > 0, and wherever friction α/t meets
        an initial velocity.
    record_every : int
        Record step 0, every so many steps, and the last step.
    record_params : bool
        Also keep x at every record; beyond 1 GiB in a memory-mapped temporary file.
    laws : "all", None, or a sequence of names and symmetries
        Which symmetries to watch; "all" is everything `nl.symmetries(U)` finds, with "time" as `Trajectory.energy`.
        Symmetries given as objects, and "rotation", are verified by measuring `nl.symmetry_defect`.
    batch_size : int, optional
        Samples per gradient, drawn without replacement epoch by epoch (an incomplete last batch of an epoch is left
        out); all samples by default. The laws of scalings, linear layers and translations hold for every batch;
        rotations are left out, and a `Symmetry` of one's own is verified on all samples only.
    rng : int, SeedSequence or Generator
        Seeds the minibatches; unused without `batch_size`.
    backend : {"auto", "cpu", "reference", "cuda"}
        "cpu" is compiled; "reference" is plain NumPy, and the only one for `potentials.Callable`. "auto" is the first where
        it can be; with NUMBA_DISABLE_JIT=1 the second. "cuda" runs on an NVIDIA GPU, and needs the extra `cuda`.
    dtype : {"float64", "float32"}
        Precision of x, v and ∇U; records of the laws are float64 always.
    progress : bool
        Show a progress bar on standard error: steps, rate, time left, loss, and how well the laws hold, which is the
        largest exact discrete residual of the last record.
    callback : callable, optional
        Called with a `Snapshot` at every record; the run stops if it returns something true.
    on_divergence : {"record", "raise"}
        At the first loss that is not finite: keep all records and say so in `status`, or raise `DivergenceError`.
    n_threads : int, optional
        Threads that share a gradient where it is worth it, by default as many as numba uses (NUMBA_NUM_THREADS). Results do
        not depend on it. Layers of more than 9,216 weights go through BLAS, which has its own setting.
    input_reduction : bool, optional
        Train layer 1 in the span of the inputs, outside of which it never moves from rest: the same run up to round-off,
        for less than half of layer 1's work where there are no more samples than inputs. By default where that is faster
        and the parameters are wanted at the end only; `specification["arguments"]["input_reduction"]` and `message` say so.
    checkpoint : path-like, optional
        Where to keep what `nl.resume` goes on from, bit for bit, after the run was stopped or killed; .npz is added where it
        is missing. Every file appears complete or not at all, and the one before it stays beside it, as
        NAME.previous.npz. Data of up to 64 MB are in it.
    checkpoint_every : int or float, optional
        Steps between checkpoints if an int, seconds if a float; 60.0 by default. Another is written at the end.

    Returns
    -------
    Trajectory
        Status "completed", "diverged", or "stopped": by the callback, or by Ctrl-C at the record that follows (at once
        when pressed again). Everything recorded is kept.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.
    DivergenceError
        Only with on_divergence="raise"; its `trajectory` has all that was recorded.
    DeviceError
        If backend="cuda" finds no GPU, or not what it needs; the message says what to install.
    MemoryError
        If the run does not fit in this machine's memory, or in the GPU's.
    OSError
        If the first checkpoint cannot be written.
    CheckpointError
        If a later one cannot be: an OSError, whose `trajectory` has all that was recorded.
    KeyboardInterrupt
        If Ctrl-C comes before anything is recorded: while kernels are compiled, on the first run ever.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.diag([1.0, 4.0]))
    >>> traj = nl.integrate(U, nl.Leapfrog(1e-4), [1.0, 0.5], steps=1000, record_every=100)
    >>> bool(np.ptp(traj.energy) < 1e-4 * traj.energy[0])
    True
    """
    check(U, algorithm)
    steps = checks.integer(steps, "steps", minimum=0)
    record_every = checks.integer(record_every, "record_every", minimum=1)
    record_params = checks.boolean(record_params, "record_params")
    progress = checks.boolean(progress, "progress")
    if callback is not None:
        checks.function(callback, "callback")
    on_divergence = checks.one_of(on_divergence, "on_divergence", ("record", "raise"))
    x = checks.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    v, start = motion(algorithm, x.shape, velocity, t0)
    families = watched(U, laws, minibatches=batch_size is not None)
    if input_reduction is None and (record_params or callback is not None):
        input_reduction = False
    plan = Plan(
        U,
        families,
        batch_size=batch_size,
        backend=checks.one_of(backend, "backend", BACKENDS),
        dtype=checks.dtype_name(dtype),
        steps=steps,
        reduce=input_reduction,
        moving=bool(v.any()) or algorithm.weight_decay > 0,
    )
    records = plan.records((), steps, record_every, record_params)
    streams = (minibatches(plan, rng),)
    setup = Setup(plan, (algorithm,), x[None], v[None], start, records, streams, single=True)
    kept = keeper(checkpoint, checkpoint_every, setup)
    return conduct(setup, kept, progress=progress, callback=callback, on_divergence=on_divergence, n_threads=n_threads)


def conduct(
    setup: Setup,
    kept: Keeper | None,
    *,
    progress: bool,
    callback: Callable[[Snapshot], object] | None,
    on_divergence: str,
    n_threads: int | None,
) -> Trajectory:
    """Drive the one run of a set-up to its end."""
    plan, records = setup.plan, setup.records
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(_bar(records.last)) if progress else None
        run = setup.run(Engine(plan, threads(n_threads)), 0)
        stopped = _watch(run, bar, callback, kept)
    status, message = run.outcome(stopped)
    key = None if plan.batch is None else int(run.batches.key)
    specification = specify(plan, run.algorithm, records.last, setup.t0, records.every, batch_key=key)
    trajectory = _trajectory(run, status, message, specification)
    if kept is not None:
        kept.raise_if_failed(trajectory)
    if status == "diverged" and on_divergence == "raise":
        error = DivergenceError(f"{message}; .trajectory of this error has what was recorded")
        error.trajectory = trajectory
        raise error
    return trajectory


def specify(
    plan: Plan, algorithm: Algorithm, steps: int, t0: float, record_every: int, **keys: object
) -> dict[str, Any]:
    """Return the specification of a plan's runs, ready for JSON; `keys` are those of their minibatches."""
    return {
        "potential": plan.U.specification(),
        "algorithm": algorithm.specification(),
        "arguments": {
            "steps": steps,
            "t0": t0,
            "record_every": record_every,
            "laws": [s.name for s in plan.watched],
            "batch_size": plan.batch,
            **keys,
            "dtype": plan.dtype,
            "input_reduction": plan.describe(),
        },
        "versions": versions(),
    }


def check(U: Potential, algorithm: Algorithm) -> None:
    """Refuse what is not a potential or not an algorithm."""
    if not isinstance(U, Potential):
        raise TypeError(f"U must be a potential, for example net.potential(data); got {checks.describe(U)}")
    if not isinstance(algorithm, Algorithm):
        raise TypeError(f"algorithm must be an Algorithm such as nl.GD(0.1); got {checks.describe(algorithm)}")


def _bar(steps: int) -> Any:
    """Return a progress bar that says it is compiling: for seconds on the first run ever, for no time after."""
    bar = progress_bar(steps, "step")
    bar.set_description("compiling")
    return bar


def _watch(run: Run, bar: Any, callback: Callable[[Snapshot], object] | None, kept: Keeper | None) -> str:
    """Drive the run with its progress bar, callback and checkpoints; return who stopped it before its end, or ''."""
    interrupt = Interrupt()

    def tick(taken: int) -> str:
        if bar is not None:
            if taken == 0:
                bar.set_description("")
                bar.reset()
                bar.update(run.steps_done)
            bar.update(taken)
            bar.set_postfix_str(f"loss {run.loss:.4g}, laws to {run.defect():.0e}", refresh=False)
        if callback is not None and run.at_record and callback(_snapshot(run)):
            return "the callback"
        if kept is not None and taken and kept.due(run.steps_done):
            kept.states[0] = run.state
            kept.try_to_save()
            if kept.error:
                return UNWRITTEN
        return "Ctrl-C" if interrupt.requested and run.at_record and not run.finished else ""

    def pauses() -> tuple[int, ...]:
        at_records = (run.records.every,) if callback is not None or interrupt.requested else ()
        return at_records if kept is None else (*kept.grid, *at_records)

    try:
        with interrupt:
            stopped = run.drive(Pace(), tick, pauses)
    except KeyboardInterrupt:
        if not run.recorded:
            raise
        stopped = "Ctrl-C"
    if kept is not None:
        kept.states[0] = run.state
        kept.try_to_save()
    return stopped


def _snapshot(run: Run) -> Snapshot:
    done, kernel = run.steps_done, run.kernel
    return Snapshot(done, kernel.t0 + done * kernel.h, run.loss, run.x(), run.velocity())


def _trajectory(run: Run, status: str, message: str, specification: dict[str, Any]) -> Trajectory:
    records, plan = run.in_theta(), run.plan
    written = int((records.step >= 0).sum())  # all rows but those that a run cut short did not reach
    records = records._replace(**{name: getattr(records, name)[:written] for name in _ROWS})
    t: Float64Array = np.asarray(run.kernel.t0 + records.step * run.kernel.h, dtype=np.float64)
    return Trajectory(
        t=t,
        step=records.step,
        loss=records.loss,
        energy=records.loss + records.excess,
        laws=read(
            plan.watched, (run.algorithm,), t, records, run.state.sizes, rounding(records.step, plan.drawn, plan.dtype)
        ),
        x=run.x(),
        v=run.velocity(),
        params=records.params[:written] if records.params.size else None,  # a view: it may be a file beyond memory
        status=status,
        message=message,
        n_gradients=run.n_gradients,
        specification=specification,
    )
