"""Many runs side by side: every thread takes one network after the other, each the same run as it would be alone."""

from __future__ import annotations

import copy
import dataclasses
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.interrupt import Interrupt
from .._base.progress import bar as progress_bar
from .._base.threads import threads
from .._base.types import Array, ArrayLike, Float64Array, Seed
from .._kernels import layout
from .._motion.algorithms import Algorithm
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .._symmetry.find import watched
from .._symmetry.records import read, rounding
from . import device
from .backends import Engine
from .checkpoint import UNWRITTEN, Keeper, keeper
from .drive import Pace, Run, drive, outcome
from .integrate import check, specify
from .plan import BACKENDS, Plan, minibatches, motion, stream
from .setup import Setup
from .trajectory import BLEW_UP, Member, Trajectory


@underflowing
def ensemble(
    U: Potential,
    algorithm: Algorithm | Sequence[Algorithm],
    X0: ArrayLike,
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
    n_threads: int | None = None,
    input_reduction: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | None = None,
) -> Trajectory:
    """Run an algorithm from many starts and record every run's conserved quantities.

    Parameters
    ----------
    U : Potential
        The potential, the same for all.
    algorithm : Algorithm or sequence of E Algorithms
        One for all, or one each: of one kind and the same in everything but the learning rate.
    X0 : array_like, shape (E, P)
        Where the runs start.
    steps : int
        Number of steps of every run, ≥ 0.
    velocity : array_like, shape (E, P), optional
        Initial velocities, zero by default.
    rng : int, SeedSequence or Generator
        Seeds the minibatches: run e draws from the e-th child, `numpy.random.SeedSequence(rng).spawn(E)[e]`. The runs from e on
        are the same if they are run elsewhere with `rng=numpy.random.SeedSequence(rng, n_children_spawned=e)`.
    n_threads : int, optional
        Threads that take the runs one after the other, by default as many as numba uses (NUMBA_NUM_THREADS). Results do not
        depend on it, and are bit-identical to those of `integrate` for each run; so for networks whose layers go through
        BLAS only where its number of threads stays the same.
    t0, record_every, record_params, laws, batch_size, backend, dtype, progress, input_reduction
        As for `integrate`.
    checkpoint, checkpoint_every
        As for `integrate`: one file for all runs. An int counts the steps of any of them.

    Returns
    -------
    Trajectory
        Every array with a leading axis of length E, NaN where a run did not get to; `trajectory[e]` is run e alone, and
        `trajectory.members[e]` says how it ended.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.
    DeviceError, MemoryError, OSError, CheckpointError, KeyboardInterrupt
        As for `integrate`.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Radial(2)
    >>> runs = nl.ensemble(U, [nl.Leapfrog(1e-4), nl.Leapfrog(4e-4)], [[1.4, 0.1], [1.4, 0.1]], steps=100, record_every=50)
    >>> runs.loss.shape, runs.t[:, -1]
    ((2, 3), array([1., 2.]))
    """
    starts = checks.array(X0, "X0", ndim=2).astype(np.float64)
    E = len(starts)
    if E == 0:
        raise ValueError(f"X0 must hold at least one start, got shape {starts.shape}")
    algorithms = _algorithms(algorithm, E)
    check(U, algorithms[0])
    checks.shaped(starts, "X0", (E, U.n_params))
    steps = checks.integer(steps, "steps", minimum=0)
    record_every = checks.integer(record_every, "record_every", minimum=1)
    record_params = checks.boolean(record_params, "record_params")
    progress = checks.boolean(progress, "progress")
    V, start_time = motion(algorithms[0], starts.shape, velocity, t0)
    families = watched(U, laws, minibatches=batch_size is not None)
    plan = Plan(
        U,
        families,
        batch_size=batch_size,
        backend=checks.one_of(backend, "backend", BACKENDS),
        dtype=checks.dtype_name(dtype),
        steps=steps * E,
        reduce=False if input_reduction is None and record_params else input_reduction,
        moving=bool(V.any()) or algorithms[0].weight_decay > 0,
    )
    records = plan.records((E,), steps, record_every, record_params)
    if plan.batch is None:
        streams = (stream(plan, 0),) * E  # which nobody reads or writes
    else:
        streams = tuple(minibatches(plan, seed) for seed in _spawn(rng, E))
    setup = Setup(plan, tuple(algorithms), starts, V, start_time, records, streams, single=False)
    kept = keeper(checkpoint, checkpoint_every, setup)
    return conduct(setup, kept, progress=progress, n_threads=n_threads)


def conduct(setup: Setup, kept: Keeper | None, *, progress: bool, n_threads: int | None) -> Trajectory:
    """Drive the runs of a set-up to their ends."""
    plan, records, first = setup.plan, setup.records, setup.algorithms[0]
    if plan.on_device:
        ends = _train_together(setup, kept, progress)
    else:
        ends = _train(setup, kept, threads(n_threads) if plan.compiled else 1, progress)
    if (records.step < 0).all() and all(m.status == "stopped" for m in ends.members):
        raise KeyboardInterrupt("Ctrl-C before anything was recorded")
    keys = None if plan.batch is None else [int(stream.key) for stream in setup.streams]
    specification = specify(plan, first, records.last, setup.t0, records.every, batch_keys=keys)
    if any(a != first for a in setup.algorithms):
        specification["algorithm"] = [a.specification() for a in setup.algorithms]
    trajectory = _trajectory(setup, ends, specification)
    if kept is not None:
        kept.raise_if_failed(trajectory)
    return trajectory


class _Ends:
    """Where runs ended: NaN where Ctrl-C came before their start. Quantities are entered into the set-up's records."""

    def __init__(self, setup: Setup) -> None:
        self.setup, plan, E = setup, setup.plan, len(setup.algorithms)
        records = setup.records
        self.x, self.v = (np.full((E, plan.U.n_params), np.nan, plan.dtype) for _ in range(2))
        self.sizes = np.zeros((E, 2, int(plan.laws.start[-1])))
        self.members = [Member("stopped", f"stopped by Ctrl-C after 0 of {records.last} steps", 0)] * E
        self.params: Array | None = None
        if records.params.size:  # no copy where none is needed: they may be a file larger than memory
            shape = (*records.step.shape, plan.U.n_params)
            self.params = records.params if plan.reduction is None else np.empty(shape, plan.dtype)

    def enter(self, e: int, run: Run, stopped: str) -> None:
        """Enter the end of run e."""
        self.x[e], self.v[e], self.sizes[e] = run.x(), run.velocity(), run.state.sizes
        self.members[e] = Member(*run.outcome(stopped), run.n_gradients)
        if self.setup.plan.reduction is not None:
            found = run.in_theta()
            self.setup.records.quantity[e] = found.quantity
            if self.params is not None:
                self.params[e] = found.params


def _train(setup: Setup, kept: Keeper | None, n_threads: int, progress: bool) -> _Ends:
    """Return the ends of runs that threads take one after the other."""
    E, ends = len(setup.algorithms), _Ends(setup)
    lanes = min(n_threads, E)
    waiting, pace, halted = iter(range(E)), Pace(), threading.Event()
    interrupt = Interrupt()
    bar = progress_bar(E, "run") if progress else None

    def lane() -> None:
        """Take runs that wait, one after the other, in memory of this lane's own."""
        engine = Engine(setup.plan, n_threads // lanes)
        for e in waiting:
            run = setup.run(engine, e)

            def tick(taken: int, run: Run = run, e: int = e) -> str:
                if kept is not None and taken:
                    kept.states[e] = run.copy()
                    kept.save_if_due(run.steps_done)
                    if kept.error:
                        return UNWRITTEN
                wanted = halted.is_set() or (interrupt.requested and run.at_record)
                return "Ctrl-C" if wanted and not run.finished else ""

            def pauses() -> tuple[int, ...]:
                at_records = (setup.records.every,) if interrupt.requested else ()
                return at_records if kept is None else (*kept.grid, *at_records)

            try:
                stopped = run.drive(pace, tick, pauses)
            except KeyboardInterrupt:
                halted.set()
                stopped = "Ctrl-C"
            if kept is not None:
                kept.states[e] = run.copy()
            ends.enter(e, run, stopped)
            if bar is not None:
                bar.update(1)
                bar.set_postfix_str(f"loss {run.loss:.4g}, laws to {run.defect():.0e}", refresh=False)
            if stopped or interrupt.requested:
                halted.set()
            if halted.is_set():
                return

    try:
        with interrupt:
            if lanes == 1:
                lane()
            else:
                with ThreadPoolExecutor(lanes) as pool:
                    try:
                        for future in [pool.submit(lane) for _ in range(lanes)]:
                            future.result()
                    finally:
                        halted.set()  # where one lane fails, or Ctrl-C comes again, the others stop too
    except KeyboardInterrupt:
        pass
    finally:
        if bar is not None:
            bar.close()
    if kept is not None:
        kept.try_to_save()
    for e, begun in enumerate(setup.begun):
        if begun and not ends.members[e].n_gradients:  # in an earlier session: nobody came to it in this one
            ends.enter(e, setup.run(Engine(setup.plan, 1), e), "Ctrl-C")
    return ends


def _train_together(setup: Setup, kept: Keeper | None, progress: bool) -> _Ends:
    """Return the ends of runs that the GPU advances side by side."""
    plan, records, E = setup.plan, setup.records, len(setup.algorithms)
    state = setup.stacked()
    fleet = device.Fleet(plan, [a.kernel(setup.t0) for a in setup.algorithms], state, setup.streams, records)
    interrupt, stopped, counts = Interrupt(), "", state.counts
    if kept is not None:
        kept.states = [*setup.rows(state)]

    def steps_done() -> int:
        """Return the steps of those that have not diverged."""
        return int(counts[:, layout.STEPS_DONE].max())

    def tick(taken: int) -> str:
        if bar is not None:
            bar.update(taken)
        if kept is not None and taken and kept.due(steps_done()):
            fleet.bring()
            kept.try_to_save()
            if kept.error:
                return UNWRITTEN
        at_record = steps_done() % records.every == 0
        return "Ctrl-C" if interrupt.requested and at_record and steps_done() < records.last else ""

    def pauses() -> tuple[int, ...]:
        at_records = (records.every,) if interrupt.requested else ()
        return at_records if kept is None else (*kept.grid, *at_records)

    bar = progress_bar(records.last, "step") if progress else None
    try:
        with interrupt:
            stopped = drive(
                fleet,
                Pace(),
                records.last,
                steps_done,
                lambda: bool((counts[:, layout.PHASE] == layout.DIVERGED).all()),
                tick,
                pauses,
            )
    except KeyboardInterrupt:
        stopped = "Ctrl-C"
    finally:
        if bar is not None:
            bar.close()
    fleet.bring()
    if kept is not None:
        kept.try_to_save()
    ends = _Ends(setup)
    ends.sizes = state.sizes
    ends.x, ends.v = state.x, state.v if setup.algorithms[0].has_velocity else -state.gradient
    for e in range(E):
        end = outcome(plan, setup.algorithms[e], setup.x[e], setup.own(e), counts[e], stopped)
        ends.members[e] = Member(*end, int(counts[e, layout.EVALUATIONS]))
    return ends


def _trajectory(setup: Setup, ends: _Ends, specification: dict[str, Any]) -> Trajectory:
    plan, records, members, params = setup.plan, setup.records, ends.members, ends.params
    dt = np.array([a.dt for a in setup.algorithms])
    last = records.last
    grid = np.minimum(np.arange(records.step.shape[1]) * records.every, last)
    if params is not None:
        params[records.step < 0] = np.nan  # a new file holds zeros
    t: Float64Array = setup.t0 + grid * dt[:, None]
    count = Counter(m.status for m in members)
    status = next(s for s in ("diverged", "stopped", "completed") if count[s])
    message = ", ".join(f"{count[s]} {s}" for s in ("completed", "diverged", "stopped") if count[s])
    blew_up = sum(BLEW_UP in m.message for m in members)
    return Trajectory(
        t=t,
        step=np.broadcast_to(grid, t.shape).copy(),
        loss=records.loss,
        energy=records.loss + records.excess,
        laws=read(
            plan.watched, setup.algorithms, t, records, ends.sizes, rounding(records.step, plan.drawn, plan.dtype)
        ),
        x=ends.x,
        v=ends.v,
        params=params,
        status=status,
        message=f"{message}, {BLEW_UP}: {blew_up}" if blew_up else message,
        n_gradients=sum(m.n_gradients for m in members),
        specification=specification,
        members=tuple(members),
    )


def _algorithms(given: Algorithm | Sequence[Algorithm], E: int) -> list[Algorithm]:
    """Return one algorithm for each run."""
    if isinstance(given, Algorithm):
        return [given] * E
    if not isinstance(given, Iterable):
        raise TypeError(f"algorithm must be an Algorithm or a sequence of them, got {checks.describe(given)}")
    algorithms = list(given)
    for e, a in enumerate(algorithms):
        if not isinstance(a, Algorithm):
            raise TypeError(f"algorithm[{e}] must be an Algorithm, got {checks.describe(a)}")
        if type(a) is not type(algorithms[0]) or dataclasses.replace(a, lr=algorithms[0].lr) != algorithms[0]:
            raise ValueError(f"algorithm[{e}]={a} must differ from algorithm[0]={algorithms[0]} by its lr only")
    if len(algorithms) != E:
        raise ValueError(f"algorithm must be one for all or {E}, one for each start in X0; got {len(algorithms)}")
    return algorithms


def _spawn(rng: Seed, E: int) -> list[Any]:
    """Return a seed for each run."""
    if isinstance(rng, np.random.SeedSequence):  # spawning counts its children: that is done to a copy
        rng = copy.copy(rng)
    return list(checks.generator(rng).spawn(E))
