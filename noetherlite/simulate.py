"""The one loop: a potential, an algorithm and the laws to watch go in, a trajectory comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _run, _validate
from . import laws as _laws
from ._family import NoetherSymmetry
from ._types import Array, ArrayLike, Float64Array, Seed
from .algorithms import Algorithm
from .potentials import Potential
from .symmetries import watched as _watched
from .trajectory import Trajectory
from .version import versions

# Fields of layout.Records with one row per record, whatever was asked for.
_ROWS = ("step", "loss", "excess", "quantity", "charge", "integral", "discrete")


class DivergenceError(RuntimeError):
    """The loss became infinite or NaN; raised only with on_divergence="raise"."""


@dataclass(frozen=True)
class Snapshot:
    """What a callback sees at a record; the arrays are copies."""

    step: int
    t: float
    loss: float
    x: Array
    v: Array


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
    backend : {"auto", "cpu", "reference"}
        "cpu" is compiled; "reference" is plain NumPy, and the only one for `potentials.Callable`.
    dtype : {"float64", "float32"}
        Precision of x, v and ∇U; records of the laws are float64 always.
    progress : bool
        Show a progress bar on standard error.
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

    Returns
    -------
    Trajectory
        Status "completed", "diverged", or "stopped" (by the callback, or by Ctrl-C: everything recorded is kept).

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.
    DivergenceError
        Only with on_divergence="raise".

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.diag([1.0, 4.0]))
    >>> traj = nl.integrate(U, nl.Leapfrog(1e-4), [1.0, 0.5], steps=1000, record_every=100)
    >>> bool(np.ptp(traj.energy) < 1e-4 * traj.energy[0])
    True
    """
    check(U, algorithm)
    steps = _validate.integer(steps, "steps", minimum=0)
    record_every = _validate.integer(record_every, "record_every", minimum=1)
    on_divergence = _validate.one_of(on_divergence, "on_divergence", ("record", "raise"))
    x = _validate.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    v, start = _run.motion(algorithm, x.shape, velocity, t0)
    watched = _watched(U, laws, minibatches=batch_size is not None)
    if input_reduction is None and (record_params or callback is not None):
        input_reduction = False
    plan = _run.Plan(
        U,
        watched,
        batch_size=batch_size,
        backend=_validate.one_of(backend, "backend", _run.BACKENDS),
        dtype=_validate.dtype_name(dtype),
        steps=steps,
        reduce=input_reduction,
        moving=bool(v.any()) or algorithm.weight_decay > 0,
    )
    records = plan.records((), steps, record_every, record_params)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(_bar(steps)) if progress else None
        engine = _run.Engine(plan, _run.threads(n_threads))
        run = _run.Run(engine, algorithm, x, v, start, records, _run.batches(plan, rng))
        stopped = _watch(run, bar, callback)

    status, message = run.outcome(stopped)
    if status == "diverged" and on_divergence == "raise":
        raise DivergenceError(message)
    key = None if plan.batch is None else int(run.batches.key)
    specification = specify(plan, algorithm, steps, start, record_every, batch_key=key)
    return _trajectory(run, status, message, specification)


def specify(
    plan: _run.Plan, algorithm: Algorithm, steps: int, t0: float, record_every: int, **keys: object
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
        raise TypeError(f"U must be a potential, for example net.potential(data); got {_validate.describe(U)}")
    if not isinstance(algorithm, Algorithm):
        raise TypeError(f"algorithm must be an Algorithm such as nl.GD(0.1); got {_validate.describe(algorithm)}")


def _bar(steps: int) -> Any:
    """Return a progress bar that says it is compiling: for seconds on the first run ever, for no time after."""
    from tqdm.auto import tqdm

    bar = tqdm(total=steps, unit="step", leave=False)
    bar.set_description("compiling")
    return bar


def _watch(run: _run.Run, bar: Any, callback: Callable[[Snapshot], object] | None) -> str:
    """Drive the run with its progress bar and callback; return who stopped it before its end, or ''."""

    def tick(taken: int) -> str:
        if bar is not None:
            if taken == 0:
                bar.set_description("")
                bar.reset()
            bar.update(taken)
            bar.set_postfix_str(f"loss {run.state.loss[0]:.4g}", refresh=False)
        wants_to_stop = callback is not None and run.at_record and callback(_snapshot(run))
        return "the callback" if wants_to_stop else ""

    try:
        return run.drive(_run.Pace(), tick, at_records=callback is not None)
    except KeyboardInterrupt:
        return "Ctrl-C"


def _snapshot(run: _run.Run) -> Snapshot:
    done, kernel = run.steps_done, run.kernel
    return Snapshot(done, kernel.t0 + done * kernel.h, float(run.state.loss[0]), run.x(), run.velocity())


def _trajectory(run: _run.Run, status: str, message: str, specification: dict[str, Any]) -> Trajectory:
    records, plan = run.in_theta(), run.plan
    written = int((records.step >= 0).sum())  # all rows but those that a run cut short did not reach
    records = records._replace(**{name: getattr(records, name)[:written] for name in _ROWS})
    t: Float64Array = np.asarray(run.kernel.t0 + records.step * run.kernel.h, dtype=np.float64)
    return Trajectory(
        t=t,
        step=records.step,
        loss=records.loss,
        energy=records.loss + records.excess,
        laws=_laws.read(plan.watched, run.algorithm.dynamics, t, records),
        x=run.x(),
        v=run.velocity(),
        params=records.params[:written] if records.params.size else None,  # a view: it may be a file beyond memory
        status=status,
        message=message,
        n_gradients=run.n_gradients,
        specification=specification,
    )
