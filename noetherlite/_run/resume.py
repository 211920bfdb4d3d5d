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
from .checkpoint import checkpoint_writer, restart
from .start import conduct
from .trajectory import Trajectory
from .watch import Snapshot


@underflowing
def resume(
    path: str | os.PathLike[str],
    potential: Potential | None = None,
    *,
    checkpoint_every: float | None = None,
    progress: bool = False,
    callback: Callable[[Snapshot], object] | None = None,
    n_threads: int | None = None,
) -> Trajectory:
    """Go on with a run, or an ensemble, from its checkpoint: to the end it would have had, bit for bit.

    Parameters
    ----------
    path : path-like
        What `integrate` or `ensemble` wrote as `checkpoint`; later ones are written there again.
    potential : Potential, optional
        The potential, where it is not in the checkpoint: a `potentials.Callable`, or a network on data of more than 64 MB,
        which are known by their SHA-256 then.
    checkpoint_every : int or float, optional
        As in `integrate`; by default what it was.
    progress, callback, n_threads
        As in `integrate`; a callback for single runs only.

    Returns
    -------
    Trajectory
        Of the whole run. That of a run that had come to its end is returned as it was.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a checkpoint as it was written, if the potential has to be given or is another, or if a state
        in it does not satisfy the algorithm's exact laws, so that the run would not go on as it was.
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
    runs = restart(target, header, arrays, potential)
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
