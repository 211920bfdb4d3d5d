"""Resuming runs from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable

from .._base import checks
from .._base.files import present
from .._base.floating import underflowing
from .._base.threads import threads
from .._problem.potentials import Potential, is_potential
from . import checkpoint_file, exactness
from .checkpoint import checkpoint_writer
from .observe import Observe
from .restart import restart
from .start import conduct
from .supervisor import Snapshot
from .trajectory import Trajectory


@underflowing
def resume(
    path: str | os.PathLike[str],
    potential: Potential | None = None,
    *,
    steps: int | None = None,
    observe: Observe | None = None,
    checkpoint_every: float | None = None,
    progress: bool = False,
    callback: Callable[[Snapshot], object] | None = None,
    n_threads: int | None = None,
) -> Trajectory:
    """Continue a run or an ensemble from its checkpoint; the result is that of the uninterrupted run, bit for bit.

    Parameters
    ----------
    path : path-like
        The `checkpoint` of `integrate` or `ensemble`; later checkpoints replace it.
    potential : Potential, optional
        The potential, if the checkpoint does not contain it: a `potentials.Callable`, or a network on data of more than
        64 MB, which are compared by their SHA-256.
    steps : int, optional
        Number of steps of the whole run, if that is to be more than it was: a finished run goes on. It is then the run of so many steps, bit for
        bit; a record of its old end is left out where that is no multiple of `record_every`, but for its part in the `scale` of laws.
    observe : mapping of str to callable, optional
        The functions given as `observe` before, by the same names: a checkpoint has their values only.
    checkpoint_every : int or float, optional
        As in `integrate`; by default the interval of the checkpoint.
    progress, callback, n_threads
        As in `integrate`; a callback for single runs only.

    Returns
    -------
    Trajectory
        The trajectory of the whole run; if the run was complete, it is returned unchanged.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not an intact checkpoint, if the potential is missing or differs, if functions of `observe` are missing, if `steps`
        are fewer than the run has or more than its schedule, or if a state in the file does not satisfy the algorithm's exact laws.
    OSError, CheckpointError
        As for `integrate`.

    Notes
    -----
    Bit for bit on the same machine, with the same versions, and the same number of BLAS threads where layers are large.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, noetherlite as nl
    >>> U, x0 = nl.potentials.Radial(2), [1.4, 0.1]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "run.ckpt.npz"
    ...     half = nl.integrate(U, nl.GD(0.1), x0, 100, checkpoint=path, callback=lambda s: s.step == 50)
    ...     whole = nl.resume(path)
    >>> half.status, whole.status, bool(np.all(whole.x == nl.integrate(U, nl.GD(0.1), x0, 100).x))
    ('stopped', 'completed', True)
    """
    if potential is not None:
        is_potential(potential, "potential")
    if callback is not None:
        checks.function(callback, "callback")
    progress = checks.boolean(progress, "progress")
    threads(n_threads)
    target = present(path)
    header, arrays = checkpoint_file.read(target)
    if steps is not None:
        steps = checks.integer(steps, "steps", minimum=header["arguments"]["steps"])
    runs = restart(target, header, arrays, potential, observe, steps)
    if callback is not None and not header["single"]:
        raise ValueError(f"callback is for single runs; {str(target)!r} is of an ensemble")
    for e in range(len(runs)):
        reason = exactness.objection(runs, e)
        if reason:
            owner = "" if header["single"] else f" of run {e}"
            raise ValueError(f"path={str(target)!r} holds a state{owner} that its exact laws exclude: {reason}")
    every = header["checkpoint_every"] if checkpoint_every is None else checkpoint_every
    writer = checkpoint_writer(target, every, runs, header["single"], begun=True)
    return conduct(runs, writer, n_threads, single=header["single"], progress=progress, callback=callback)
