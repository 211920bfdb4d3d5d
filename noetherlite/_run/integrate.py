"""One run: a potential, an algorithm and the laws to watch go in, a trajectory comes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import ArrayLike, Seed
from .._motion.base import Algorithm
from .._problem.potentials import Potential
from .._symmetry.family import NoetherSymmetry
from .checkpoint import checkpoint_writer
from .plan import check_problem
from .start import conduct, start
from .trajectory import Trajectory
from .watch import Snapshot


class DivergenceError(RuntimeError):
    """The loss became infinite or NaN; raised only with on_divergence="raise".

    Attributes
    ----------
    trajectory : Trajectory
        All that was recorded until then.
    """

    trajectory: Trajectory


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
    check_problem(U, algorithm)
    progress = checks.boolean(progress, "progress")
    checks.generator(rng)
    if callback is not None:
        checks.function(callback, "callback")
    on_divergence = checks.one_of(on_divergence, "on_divergence", ("record", "raise"))
    runs = start(
        U,
        [algorithm],
        checks.shaped(x0, "x0", (U.n_params,)).astype(np.float64),
        [rng],
        steps,
        velocity=velocity,
        t0=t0,
        record_every=record_every,
        record_params=record_params,
        laws=laws,
        batch_size=batch_size,
        backend=backend,
        dtype=dtype,
        input_reduction=False if input_reduction is None and callback is not None else input_reduction,
    )
    writer = checkpoint_writer(checkpoint, checkpoint_every, runs, single=True)
    trajectory = conduct(runs, writer, n_threads, single=True, progress=progress, callback=callback)
    if trajectory.status == "diverged" and on_divergence == "raise":
        error = DivergenceError(f"{trajectory.message}; .trajectory of this error has what was recorded")
        error.trajectory = trajectory
        raise error
    return trajectory
