"""Sweeps: one function for every member of a grid, by any executor, with stored results that a second call continues from."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, as_completed
from typing import Any, TypeAlias

import numpy as np

from .._base import checks
from .._base.progress import bar as progress_bar
from .grid import check_signature, child, describe, members, sequence
from .result import Sweep, collect
from .store import Store, manifest
from .task import Outcome, compute, compute_alone, failure, processes

_Jobs: TypeAlias = Iterable[tuple[int, dict[str, Any], np.random.SeedSequence]]


def sweep(
    function: Callable[..., Mapping[str, Any]],
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    executor: Executor | int | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    rng: int | np.random.SeedSequence = 0,
    key: str | None = None,
    progress: bool = False,
) -> Sweep:
    """Call a function for every member of a grid of parameters and collect what it returns.

    Parameters
    ----------
    function : callable
        Called as `function(**parameters, rng=seed)` with a `numpy.random.SeedSequence`, which every `rng=` of this library
        accepts; returns a mapping of names to numbers, strings and arrays of them. Executors pickle it: for processes it must
        be defined in a file that they can import, and should load its data itself.
    grid : mapping of str to sequence, or sequence of mappings
        The values of each parameter, of which all combinations are taken, the last name varying fastest; or the parameters of
        every member. Values are numbers, strings, truth values, None, and lists of these.
    executor : concurrent.futures.Executor or int, optional
        By default the members are computed one after the other in this process; with a number n by n new processes of this
        machine, under `if __name__ == "__main__":` as `multiprocessing` requires; or by any executor, such as Dask's or
        mpi4py's (docs/clusters.md). Runs in an executor use one thread by default; new processes also one thread of BLAS.
    out : path-like, optional
        Folder for the results, each written when it is computed. A second call continues: members with a result are not
        computed again, failed ones are. Grid, seed and function must be the same. A function is identified by hashes of its
        code, defaults, closure, arguments bound by `functools.partial`, object of a method, and the globals that it reads;
        installed packages, and imports inside the function, by name.
    rng : int or SeedSequence
        Seeds the members: member i has the i-th child, `numpy.random.SeedSequence(rng).spawn(n)[i]`, independent of the
        executor, the order and skipped members.
    key : str, optional
        Identifies the function instead of its hashes: for functions with objects that cannot be hashed (a lock, an open
        file), or to continue after a change that does not affect the results. Use another key whenever the results change.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Sweep
        Status "completed", failures included, or "stopped" by Ctrl-C or by a broken executor: computed members are kept, the
        others are cancelled.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or `out` holds a sweep of another function, grid or seed; or if the function
        cannot be identified, and there is no key.

    Examples
    --------
    >>> import noetherlite as nl
    >>> def train(lr, rng):
    ...     net = nl.Network([4, 8, 3])
    ...     U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=4, n_classes=3, rng=0))
    ...     run = nl.integrate(U, nl.GD(lr), net.init(rng=rng), steps=50)
    ...     return {"loss": run.loss[-1], "drift": abs(run.laws["scaling:1"].residual[-1]).max()}
    >>> runs = nl.sweep(train, {"lr": [0.01, 0.1]})
    >>> runs.column("lr"), bool((runs.column("drift") < 0.1).all())
    (array([0.01, 0.1 ]), True)
    """
    parameters = members(grid)
    check_signature(function, parameters[0])
    seed = sequence(rng)
    progress = checks.boolean(progress, "progress")
    if not (key is None or (isinstance(key, str) and key)):
        raise TypeError(f"key must be a non-empty string, or None; got {checks.describe(key)}")
    # Without `out` the function need not be identified.
    specification = manifest(function, parameters, seed, key if out is not None else key or "")
    store = None if out is None else Store(checks.path(out, "out"), specification, key_given=key is not None)
    with contextlib.ExitStack() as stack:
        pool = _open_executor(executor, function, stack)
        stored = {} if store is None else store.read()
        outcomes = {i: outcome for i, outcome in stored.items() if not outcome.error}
        jobs = ((i, p, child(seed, i)) for i, p in enumerate(parameters) if i not in outcomes)
        bar = stack.enter_context(progress_bar(len(parameters), "member", initial=len(outcomes))) if progress else None
        stopped, failed = "", 0
        try:
            here = ((i, compute(function, parameters, seed)) for i, parameters, seed in jobs)
            for i, outcome in here if pool is None else _compute_by(pool, function, jobs, cancel=pool is executor):
                outcomes[i] = outcome
                if store is not None:
                    store.write(i, outcome)
                failed += bool(outcome.error)
                if bar is not None:
                    bar.update(1)
                    if outcome.error:
                        bar.set_postfix_str(f"{failed} failed")
        except KeyboardInterrupt:
            stopped = "Ctrl-C"
        except _LostError as error:
            stopped = str(error)
    return collect(specification, outcomes, stopped)


def load_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Read a sweep from its folder, also while it is being written.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a file in it is damaged, or has a newer format.
    """
    store = Store(checks.path(path))
    return collect(store.manifest, store.read(), stopped="")


class _LostError(Exception):
    """An executor lost members; the message is the cause."""


def _open_executor(executor: Any, function: Callable[..., Any], stack: contextlib.ExitStack) -> Executor | None:
    if executor is None or isinstance(executor, Executor):
        return executor
    if isinstance(executor, int):
        if describe(function).startswith("__main__.") and not hasattr(sys.modules["__main__"], "__file__"):
            raise ValueError(
                f"function {describe(function)} is defined at a prompt or in a notebook, from where new processes "
                f"cannot import it: put it into a file, or give a ThreadPoolExecutor({executor}) as executor"
            )
        return stack.enter_context(processes(checks.integer(executor, "executor", minimum=1)))
    hint = "; give client.get_executor()" if hasattr(executor, "get_executor") else ""
    raise TypeError(
        f"executor must be a concurrent.futures.Executor, a number of processes or None, got {checks.describe(executor)}{hint}"
    )


def _compute_by(
    executor: Executor, function: Callable[..., Any], jobs: _Jobs, cancel: bool
) -> Iterator[tuple[int, Outcome]]:
    """Yield outcomes as the executor completes them; if it ends early and `cancel` is true, cancel the pending members.

    An executor that the sweep opened cancels them at its shutdown. Cancelling them here as well would race with the thread of
    a pool whose processes Ctrl-C has ended: it marks the members as failed, and raises for one that is cancelled already.
    """
    pending, lost = {}, ""
    try:
        try:
            for i, parameters, seed in jobs:
                pending[executor.submit(compute_alone, function, parameters, seed)] = i
        except BrokenExecutor as error:
            lost = str(error)
        for future in as_completed(pending):
            i = pending.pop(future)
            try:
                outcome: Outcome = future.result()
            except (BrokenExecutor, CancelledError) as error:
                lost = str(error) or "an executor that cancelled members"
                continue
            except Exception as error:
                outcome = failure(error)
            del future  # Dask keeps a result, and recomputes it if it is lost, as long as its future exists
            yield i, outcome
    finally:
        for future in pending if cancel else ():
            future.cancel()
    if lost:
        raise _LostError(lost)
