"""The common part of `integrate`, `ensemble` and `resume`: from arguments to runs, and from runs to a trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._base import checks
from .._base.threads import threads
from .._base.types import ArrayLike, Float64Array, Seed
from .._motion.base import Algorithm
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .._symmetry.find import watched
from . import frozen
from .checkpoint import CheckpointWriter
from .drive import drive
from .observe import Observables, Observe
from .outcome import trajectory
from .plan import BACKENDS, Plan, minibatches, motion, n_records, stream
from .reduction import obstacle
from .runs import Runs
from .supervisor import Snapshot, Supervisor
from .trajectory import Trajectory


def start(
    U: Potential,
    algorithms: Sequence[Algorithm],
    x0: Float64Array,
    seeds: Sequence[Seed],
    steps: int,
    *,
    velocity: ArrayLike | None,
    t0: float | None,
    record_every: int,
    record_params: bool,
    record_sharpness: int | None,
    observe: Observe | None,
    laws: str | Sequence[str | NoetherSymmetry] | None,
    batch_size: int | None,
    backend: str,
    dtype: str,
    input_reduction: bool | None,
    snapshots: bool = False,
) -> Runs:
    """Return E runs at their start; the caller has checked `x0`, which like `velocity` has shape (P,) for a single run or (E, P).

    `snapshots` says whether a callback is given the parameters and velocities of every record.
    """
    steps = checks.integer(steps, "steps", minimum=0)
    every = checks.integer(record_every, "record_every", minimum=1)
    record_params = checks.boolean(record_params, "record_params")
    algorithms = [algorithm.over(steps) for algorithm in algorithms]
    E, first = len(algorithms), algorithms[0]
    if odd := [a for a in algorithms if a.ratios_change != first.ratios_change]:
        raise ValueError(
            f"algorithm must have ratios between blocks that change in all runs or in none; got {first} and {odd[0]}"
        )
    if first.grad_accumulation > 1 and batch_size is None:
        raise ValueError(f"grad_accumulation={first.grad_accumulation} needs batch_size, the samples of a minibatch")
    v, begin = motion(first, x0.shape, velocity, t0)
    families, still = watched(U, laws, minibatches=batch_size is not None), frozen.blocks(U, first)
    frozen.refuse_motion(still, v)
    families = frozen.laws_left(families, still, U.n_params, laws, first)
    frozen.refuse_levels_lacking(U, first, families, laws)
    observables = Observables(U, x0.reshape(E, -1)[0], observe, record_sharpness)
    rows = n_records(steps, every) * E
    plan = Plan(
        U,
        families,
        batch_size=batch_size,
        backend=checks.one_of(backend, "backend", BACKENDS),
        dtype=checks.dtype_name(dtype),
        steps=steps * E,
        records=rows,
        seen=rows * (bool(observables.shapes) + 2 * snapshots),
        reduce=input_reduction,
        record_params=record_params,
        obstacle=obstacle(first, velocity is not None and bool(v.any())),
    )
    # Without minibatches and noise the stream is not used, and all runs share one.
    seeded = plan.batch is not None or first.has_noise
    streams = tuple(minibatches(plan, seed, first.has_noise) for seed in seeds) if seeded else (stream(plan, 0),) * E
    records = plan.records(E, steps, every, record_params)
    return Runs(plan, tuple(algorithms), x0.reshape(E, -1), v.reshape(E, -1), begin, records, streams, observables)


def conduct(
    runs: Runs,
    writer: CheckpointWriter | None,
    n_threads: int | None,
    *,
    single: bool,
    progress: bool = False,
    callback: Callable[[Snapshot], object] | None = None,
) -> Trajectory:
    """Drive runs to their ends and return the trajectory of the ensemble, or of its only run if `single`.

    CheckpointError if a checkpoint could not be written; KeyboardInterrupt if Ctrl-C came before anything was recorded, or in
    a run that is a part of something.
    """
    supervisor = Supervisor(runs, progress, callback, writer)
    available = threads(n_threads)
    drive(runs, supervisor, available if runs.plan.compiled else 1)
    if writer is not None:
        writer.try_to_save()
    supervisor.raise_if_part()
    result = trajectory(runs, supervisor.stopped, single)
    if writer is not None:
        writer.raise_if_failed(result)
    return result
