"""`integrate`: one run of an algorithm on a potential, with its laws recorded."""

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
from .observe import Observe
from .plan import check_problem
from .start import conduct, start
from .supervisor import Snapshot
from .trajectory import Trajectory


class DivergenceError(RuntimeError):
    """The loss became infinite or NaN; raised only with on_divergence="raise".

    Attributes
    ----------
    trajectory : Trajectory
        The records written before it.
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
    record_sharpness: int | None = None,
    observe: Observe | None = None,
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
        The potential, for example `net.potential(data)`.
    algorithm : Algorithm
        `GD(lr)`, `HeavyBall(lr, momentum)`, `Leapfrog(lr)`, `NAGD(lr)` or `ConformalLeapfrog(lr, …)`, all with `weight_decay=`.
    x0 : array_like, shape (P,)
        Initial parameters.
    steps : int
        Number of steps, ≥ 0.
    velocity : array_like, shape (P,), optional
        Initial velocity, zero by default; not accepted by gradient descent and the other algorithms that have none.
    t0 : float, optional
        Initial time, 0 by default; must be positive for a conformal leapfrog with α > 0, and wherever friction α/t meets
        an initial velocity.
    record_every : int
        Steps between records; step 0 and the last step are always recorded.
    record_params : bool
        Also record x; beyond 1 GiB in a memory-mapped temporary file.
    record_sharpness : int, optional
        Also record this many of the largest eigenvalues of the Hessian ∇²U(x), as `Trajectory.observed["sharpness"]`: each record costs
        some hundred gradients (`nl.sharpness`). NaN where Lanczos' method does not converge.
    observe : mapping of str to callable, optional
        Functions of x, of shape (P,), that return a number or an array of one shape: a test loss, an accuracy, singular values. They are
        evaluated at every record; `Trajectory.observed` has the values by name.
    laws : "all", None, or a sequence of names and symmetries
        Symmetries to watch; "all": those that `nl.symmetries(U)` finds, with "time" as `Trajectory.energy`.
        Symmetries given as objects, and "rotation", are verified by measuring `nl.symmetry_defect`.
    batch_size : int, optional
        Samples per gradient, drawn without replacement in each epoch (an incomplete last batch is dropped); all samples
        by default. The laws of scalings, linear layers and translations hold for every batch; rotations are not
        watched, and a user's `Symmetry` is verified on all samples only.
    rng : int, SeedSequence or Generator
        Seeds the minibatches, and the noise of `SGLD` and `BAOAB`; unused without either.
    backend : {"auto", "cpu", "reference", "cuda"}
        "cpu" is compiled; "reference" is NumPy, and the only one for `potentials.Callable`; "cuda" runs on an NVIDIA GPU
        and needs the extra `cuda`. "auto" is "cpu", or "reference" if U cannot be compiled or with NUMBA_DISABLE_JIT=1.
    dtype : {"float64", "float32"}
        Precision of x, v and ∇U; the records of the laws are always float64.
    progress : bool
        Show a progress bar on standard error: steps, rate, remaining time, loss, and the largest exact discrete residual
        of the last record.
    callback : callable, optional
        Called with a `Snapshot` at every record; a true return value stops the run.
    on_divergence : {"record", "raise"}
        At the first loss that is not finite: end with the status "diverged" and keep all records, or raise
        `DivergenceError`.
    n_threads : int, optional
        Threads that share a gradient if it is large enough, by default numba's number (NUMBA_NUM_THREADS). Results do not
        depend on it. Layers of more than 9,216 weights use BLAS, which has its own setting.
    input_reduction : bool, optional
        Train layer 1 in the span of the inputs; from rest it never moves outside. The run is the same up to round-off, with
        less than half of layer 1's work if there are no more samples than inputs. By default it is used if parameters are not
        recorded and it is faster, with the products by which `callback` and `observe` see all parameters at a record. By default,
        too, a network whose layers are all linear is evaluated by its end-to-end map x ↦ W_L ⋯ W_1 x + c, if that takes fewer
        operations; False rules out both. `specification["arguments"]["input_reduction"]` and `message` tell.
    checkpoint : path-like, optional
        File from which `nl.resume` continues a stopped or killed run bit for bit; .npz is added where it is missing. It
        appears complete or not at all, and the previous checkpoint is kept as NAME.previous.npz. Data of up to 64 MB are
        stored in it.
    checkpoint_every : int or float, optional
        Steps between checkpoints if an int, seconds if a float; 60.0 by default. The last one is written at the end.

    Returns
    -------
    Trajectory
        Status "completed", "diverged", or "stopped": by the callback, or by Ctrl-C at the next record (at once if pressed
        again). The records written until then are kept.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.
    DivergenceError
        Only with on_divergence="raise"; its `trajectory` has the records.
    DeviceError
        If backend="cuda" finds no GPU, or a package is missing; the message says what to install.
    MemoryError
        If the run does not fit in this machine's memory, or in the GPU's.
    OSError
        If the first checkpoint cannot be written.
    CheckpointError
        If a later checkpoint cannot be written; a subclass of OSError, whose `trajectory` has the records.
    KeyboardInterrupt
        If Ctrl-C comes before anything is recorded (while kernels are compiled, on the first run ever), or in a member of a sweep.

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
    checks.seed(rng)
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
        record_sharpness=record_sharpness,
        observe=observe,
        laws=laws,
        batch_size=batch_size,
        backend=backend,
        dtype=dtype,
        input_reduction=input_reduction,
        snapshots=callback is not None,
    )
    writer = checkpoint_writer(checkpoint, checkpoint_every, runs, single=True)
    trajectory = conduct(runs, writer, n_threads, single=True, progress=progress, callback=callback)
    if on_divergence == "raise" and trajectory.status == "diverged":
        error = DivergenceError(f"{trajectory.message}; .trajectory of this error has what was recorded")
        error.trajectory = trajectory
        raise error
    return trajectory
