"""`ensemble`: many runs, each bit-identical to the same run of `integrate`."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import ArrayLike, Seed
from .._motion.base import Algorithm
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .checkpoint import checkpoint_writer
from .observe import Observe
from .plan import check_problem
from .start import conduct, start
from .trajectory import Trajectory


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
    record_sharpness: int | None = None,
    observe: Observe | None = None,
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
    """Run an algorithm from many initial parameters and record the conserved quantities of every run.

    Parameters
    ----------
    U : Potential
        The potential of all runs.
    algorithm : Algorithm or sequence of E Algorithms
        One for all runs, or one for each; these must be of one class and differ in the learning rate only.
    X0 : array_like, shape (E, P)
        Initial parameters.
    steps : int
        Number of steps of every run, ≥ 0.
    velocity : array_like, shape (E, P), optional
        Initial velocities, zero by default.
    rng : int, SeedSequence or Generator
        Seeds the minibatches and the noise: run e uses the e-th child, `numpy.random.SeedSequence(rng).spawn(E)[e]`. To repeat the runs from
        e on in another ensemble, give `rng=numpy.random.SeedSequence(rng, n_children_spawned=e)`.
    n_threads : int, optional
        Threads that the runs are distributed over, by default numba's number (NUMBA_NUM_THREADS). Results do not depend on
        it, and are bit-identical to those of `integrate` for each run; for networks whose layers use BLAS, if its number
        of threads is the same.
    t0, record_every, record_params, record_sharpness, observe, laws, batch_size, backend, dtype, progress, input_reduction
        As for `integrate`.
    checkpoint, checkpoint_every
        As for `integrate`, with one file for all runs. An int counts the steps of each run.

    Returns
    -------
    Trajectory
        Every array has a leading axis of length E, with NaN after the end of a run; `trajectory[e]` is run e alone, and
        `trajectory.members[e]` its status, message and number of gradients.

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
    check_problem(U, algorithms[0])
    checks.shaped(starts, "X0", (E, U.n_params))
    progress = checks.boolean(progress, "progress")
    checks.seed(rng)
    runs = start(
        U,
        algorithms,
        starts,
        _spawn(rng, E) if batch_size is not None or algorithms[0].has_noise else [None] * E,
        steps,
        velocity=velocity,
        t0=t0,
        record_every=record_every,
        record_params=record_params,
        record_sharpness=record_sharpness,
        observe=observe,
        laws=laws,
        batch_size=batch_size,
        backend=backend,
        dtype=dtype,
        input_reduction=input_reduction,
    )
    writer = checkpoint_writer(checkpoint, checkpoint_every, runs, single=False)
    return conduct(runs, writer, n_threads, single=False, progress=progress)


def _algorithms(algorithm: Algorithm | Sequence[Algorithm], E: int) -> list[Algorithm]:
    """Return one algorithm for each run."""
    if isinstance(algorithm, Algorithm):
        return [algorithm] * E
    checks.instance(algorithm, "algorithm", Iterable, "an Algorithm or a sequence of them")
    algorithms = list(algorithm)
    for e, a in enumerate(algorithms):
        checks.instance(a, f"algorithm[{e}]", Algorithm, "an Algorithm")
        if type(a) is not type(algorithms[0]) or not a.differs_by_lr(algorithms[0]):
            raise ValueError(f"algorithm[{e}]={a} must differ from algorithm[0]={algorithms[0]} by its lr only")
    if len(algorithms) != E:
        raise ValueError(f"algorithm must be one for all or {E}, one for each start in X0; got {len(algorithms)}")
    return algorithms


def _spawn(rng: Seed, E: int) -> list[Any]:
    """Return a seed for each run."""
    if isinstance(rng, np.random.SeedSequence):  # spawning counts its children: that is done to a copy
        rng = copy.copy(rng)
    return list(checks.generator(rng).spawn(E))
