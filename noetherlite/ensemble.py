"""Many runs side by side: every thread takes one network after the other, each the same run as it would be alone."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from . import _run, _validate
from . import laws as _laws
from ._family import NoetherSymmetry
from ._kernels import layout
from ._types import Array, ArrayLike, Float64Array, Seed
from .algorithms import Algorithm
from .dynamics import Dynamics
from .potentials import Potential
from .simulate import check, specify
from .symmetries import watched as _watched
from .trajectory import Member, Trajectory


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

    Returns
    -------
    Trajectory
        Every array with a leading axis of length E, NaN where a run did not get to; `trajectory[e]` is run e alone, and
        `trajectory.members[e]` says how it ended.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Radial(2)
    >>> runs = nl.ensemble(U, [nl.Leapfrog(1e-4), nl.Leapfrog(4e-4)], [[1.4, 0.1], [1.4, 0.1]], steps=100, record_every=50)
    >>> runs.loss.shape, runs.t[:, -1]
    ((2, 3), array([1., 2.]))
    """
    starts = _validate.array(X0, "X0", ndim=2).astype(np.float64)
    E = len(starts)
    if E == 0:
        raise ValueError(f"X0 must hold at least one start, got shape {starts.shape}")
    algorithms = _algorithms(algorithm, E)
    check(U, algorithms[0])
    _validate.shaped(starts, "X0", (E, U.n_params))
    steps = _validate.integer(steps, "steps", minimum=0)
    record_every = _validate.integer(record_every, "record_every", minimum=1)
    V, start_time = _run.motion(algorithms[0], starts.shape, velocity, t0)
    watched = _watched(U, laws, minibatches=batch_size is not None)
    plan = _run.Plan(
        U,
        watched,
        batch_size=batch_size,
        backend=_validate.one_of(backend, "backend", _run.BACKENDS),
        dtype=_validate.dtype_name(dtype),
        steps=steps * E,
        reduce=False if input_reduction is None and record_params else input_reduction,
        moving=bool(V.any()) or algorithms[0].weight_decay > 0,
    )
    records = plan.records((E,), steps, record_every, record_params)
    streams = [_run.batches(plan, seed) for seed in _spawn(rng, E)]

    def make(engine: _run.Engine, e: int) -> _run.Run:
        own = {name: a[e] for name, a in records._asdict().items() if isinstance(a, np.ndarray)}
        return _run.Run(engine, algorithms[e], starts[e], V[e], start_time, records._replace(**own), streams[e])

    ends = _train(plan, make, E, _run.threads(n_threads) if plan.compiled else 1, progress)
    keys = None if plan.batch is None else [int(stream.key) for stream in streams]
    specification = specify(plan, algorithms[0], steps, start_time, record_every, batch_keys=keys)
    if any(a != algorithms[0] for a in algorithms):
        specification["algorithm"] = [a.specification() for a in algorithms]
    dt = np.array([a.dt for a in algorithms])
    return _trajectory(plan, algorithms[0].dynamics, start_time, dt, records, ends, specification)


class _End(NamedTuple):
    """Where a run ended, with the records that its coordinates may have made others."""

    x: Array
    v: Array
    member: Member
    quantity: Float64Array
    params: Array


def _train(
    plan: _run.Plan, make: Callable[[_run.Engine, int], _run.Run], E: int, n_threads: int, progress: bool
) -> list[_End | None]:
    """Return the end of each run, None where Ctrl-C came before its start."""
    ends: list[_End | None] = [None] * E
    lanes = min(n_threads, E)
    waiting, pace, interrupted = iter(range(E)), _run.Pace(), threading.Event()
    bar = None
    if progress:
        from tqdm.auto import tqdm

        bar = tqdm(total=E, unit="run", leave=False)

    def lane() -> None:
        """Take runs that wait, one after the other, in memory of this lane's own."""
        engine = _run.Engine(plan, n_threads // lanes)
        for e in waiting:
            run = make(engine, e)
            try:
                stopped = run.drive(pace, lambda taken: "Ctrl-C" if interrupted.is_set() else "")
            except KeyboardInterrupt:
                interrupted.set()
                stopped = "Ctrl-C"
            records = run.in_theta()
            member = Member(*run.outcome(stopped), run.n_gradients)
            ends[e] = _End(run.x(), run.velocity(), member, records.quantity, records.params)
            if bar is not None:
                bar.update(1)
            if interrupted.is_set():
                return

    try:
        if lanes == 1:
            lane()
        else:
            with ThreadPoolExecutor(lanes) as pool:
                try:
                    for future in [pool.submit(lane) for _ in range(lanes)]:
                        future.result()
                finally:
                    interrupted.set()  # where one lane fails, or Ctrl-C comes, the others stop too
    except KeyboardInterrupt:
        pass
    finally:
        if bar is not None:
            bar.close()
    return ends


def _trajectory(
    plan: _run.Plan,
    dynamics: Dynamics,
    t0: float,
    dt: Float64Array,
    records: layout.Records,
    ends: list[_End | None],
    specification: dict[str, Any],
) -> Trajectory:
    E, P = len(ends), plan.U.n_params
    last = records.last
    grid = np.minimum(np.arange(records.step.shape[1]) * records.every, last)
    x, v = np.full((E, P), np.nan, plan.dtype), np.full((E, P), np.nan, plan.dtype)
    params = None
    if records.params.size:  # no copy where none is needed: they may be a file larger than memory
        params = records.params if plan.reduction is None else np.empty((*records.step.shape, P), plan.dtype)
    members = [Member("stopped", f"stopped by Ctrl-C after 0 of {last} steps", 0)] * E
    for e, end in enumerate(ends):
        if end is not None:
            x[e], v[e], members[e] = end.x, end.v, end.member
            records.quantity[e] = end.quantity
            if params is not None and plan.reduction is not None:
                params[e] = end.params
    if params is not None:
        params[records.step < 0] = np.nan  # a new file holds zeros
    t: Float64Array = t0 + grid * dt[:, None]
    count = Counter(m.status for m in members)
    status = next(s for s in ("diverged", "stopped", "completed") if count[s])
    return Trajectory(
        t=t,
        step=np.broadcast_to(grid, t.shape).copy(),
        loss=records.loss,
        energy=records.loss + records.excess,
        laws=_laws.read(plan.watched, dynamics, t, records),
        x=x,
        v=v,
        params=params,
        status=status,
        message=", ".join(f"{count[s]} {s}" for s in ("completed", "diverged", "stopped") if count[s]),
        n_gradients=sum(m.n_gradients for m in members),
        specification=specification,
        members=tuple(members),
    )


def _algorithms(given: Algorithm | Sequence[Algorithm], E: int) -> list[Algorithm]:
    """Return one algorithm for each run."""
    if isinstance(given, Algorithm):
        return [given] * E
    if not isinstance(given, Iterable):
        raise TypeError(f"algorithm must be an Algorithm or a sequence of them, got {_validate.describe(given)}")
    algorithms = list(given)
    for e, a in enumerate(algorithms):
        if not isinstance(a, Algorithm):
            raise TypeError(f"algorithm[{e}] must be an Algorithm, got {_validate.describe(a)}")
        if type(a) is not type(algorithms[0]) or dataclasses.replace(a, lr=algorithms[0].lr) != algorithms[0]:
            raise ValueError(f"algorithm[{e}]={a} must differ from algorithm[0]={algorithms[0]} by its lr only")
    if len(algorithms) != E:
        raise ValueError(f"algorithm must be one for all or {E}, one for each start in X0; got {len(algorithms)}")
    return algorithms


def _spawn(rng: Seed, E: int) -> list[Any]:
    """Return a seed for each run."""
    if isinstance(rng, np.random.SeedSequence):  # spawning counts its children: that is done to a copy
        rng = copy.copy(rng)
    return list(_validate.generator(rng).spawn(E))
