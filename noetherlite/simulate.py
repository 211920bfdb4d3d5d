"""The one loop: a potential, an algorithm and the laws to watch go in, a trajectory comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate
from . import laws as _laws
from ._family import Family, NoetherSymmetry
from ._kernels import cpu, layout, reference
from ._kernels.layout import EVALUATIONS, OUTCOME, STEPS_DONE
from ._types import Array, ArrayLike, Float64Array, Seed
from .algorithms import Algorithm
from .potentials import NetworkPotential, Potential
from .symmetries import watched as _watched
from .trajectory import Trajectory
from .version import versions

BACKENDS = ("auto", "cpu", "reference")
# Compiled calls are kept to about this many seconds, so that Ctrl-C and the progress bar stay responsive.
_CALL_SECONDS = 0.25
# Fields of layout.Records with one row per record, whatever was asked for.
_ROWS = ("step", "loss", "kinetic", "quantity", "charge", "integral", "discrete")


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
) -> Trajectory:
    """Run an algorithm on a potential and record its conserved quantities.

    Parameters
    ----------
    U : Potential
        For example `net.potential(data)`.
    algorithm : Algorithm
        `GD(lr)`, `Leapfrog(lr)`, `NAGD(lr)` or `ConformalLeapfrog(lr, …)`.
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
        Also keep x at every record.
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
    if not isinstance(U, Potential):
        raise TypeError(f"U must be a potential, for example net.potential(data); got {_validate.describe(U)}")
    if not isinstance(algorithm, Algorithm):
        raise TypeError(f"algorithm must be an Algorithm such as nl.GD(0.1); got {_validate.describe(algorithm)}")
    dtype = _validate.dtype_name(dtype)
    x = _validate.shaped(x0, "x0", (U.n_params,)).astype(dtype)
    v, start_time = _initial_motion(algorithm, U.n_params, velocity, t0, dtype)
    steps = _validate.integer(steps, "steps", minimum=0)
    record_every = _validate.integer(record_every, "record_every", minimum=1)
    on_divergence = _validate.one_of(on_divergence, "on_divergence", ("record", "raise"))
    watched = _watched(U, laws, minibatches=batch_size is not None)
    batches = _batches(U, batch_size, rng)
    table = _laws.table(watched, U.n_params, dtype)
    state = _state(x, v, int(table.start[-1]))
    records = _records(steps, record_every, int(table.start[-1]), U.n_params if record_params else 0, dtype)
    kernel = algorithm.kernel(start_time)
    advance = _backend(U, _validate.one_of(backend, "backend", BACKENDS), dtype, kernel, table, batches, state, records)

    stopped = _drive(advance, state, records, steps, kernel, progress, callback)

    status, message = _outcome(state, records, stopped)
    if status == "diverged" and on_divergence == "raise":
        raise DivergenceError(message)
    specification = {
        "potential": U.specification(),
        "algorithm": algorithm.specification(),
        "arguments": {
            "steps": steps,
            "t0": start_time,
            "record_every": record_every,
            "laws": [s.name for s in watched],
            "batch_size": None if batch_size is None else int(batches.size),
            "batch_key": None if batch_size is None else int(batches.key),
            "dtype": dtype,
        },
        "versions": versions(),
    }
    return _trajectory(algorithm, watched, start_time, state, records, status, message, specification)


def _initial_motion(
    algorithm: Algorithm, n_params: int, velocity: ArrayLike | None, t0: float | None, dtype: str
) -> tuple[Array, float]:
    """Return (v0, t0) after checking that the dynamics can start so."""
    dynamics = algorithm.dynamics
    if velocity is None:
        v = np.zeros(n_params, dtype)
    elif dynamics.mass == 0:
        raise ValueError("velocity is not accepted by GD: gradient flow is first order and has no initial velocity")
    else:
        v = _validate.shaped(velocity, "velocity", (n_params,)).astype(dtype)
    start = 0.0 if t0 is None else _validate.real(t0, "t0", minimum=0.0)
    if start == 0 and algorithm.singular_start:
        given = "no t0" if t0 is None else f"t0={t0}"
        raise ValueError(f"t0 must be > 0 for {algorithm}: its friction α/t is infinite at t = 0; got {given}")
    if start == 0 and dynamics.alpha > 0 and v.any():
        raise ValueError(
            "velocity must be zero at t0 = 0 where the friction α/t is infinite; give t0 > 0 to start moving"
        )
    return v, start


def _batches(U: Potential, batch_size: int | None, rng: Seed) -> layout.Batches:
    n = U.n_samples if isinstance(U, NetworkPotential) else 1
    if batch_size is None:
        return layout.Batches(n, np.uint64(0), np.arange(n))
    if not isinstance(U, NetworkPotential):
        raise ValueError(f"batch_size={batch_size} needs a potential with samples, got {U!r}")
    size = _validate.integer(batch_size, "batch_size", minimum=1, maximum=n)
    return layout.Batches(size, np.uint64(_validate.generator(rng).integers(2**63)), np.arange(n))


def _state(x: Array, v: Array, n_components: int) -> layout.State:
    def zeros() -> Float64Array:
        return np.zeros(n_components)

    return layout.State(
        x=x,
        v=v,
        gradient=np.zeros_like(x),
        y=np.zeros_like(x),
        counts=np.zeros(3, np.int64),
        loss=np.zeros(1),
        origin=zeros(),
        integral=zeros(),
        balance=zeros(),
        source=zeros(),
        charge=zeros(),
        scratch=np.zeros((2, n_components)),
    )


def _records(steps: int, every: int, n_components: int, n_params: int, dtype: str) -> layout.Records:
    rows = steps // every + 1 + (steps % every != 0)

    def zeros() -> Float64Array:
        return np.zeros((rows, n_components))

    return layout.Records(
        every=every,
        last=steps,
        step=np.full(rows, -1),
        loss=np.zeros(rows),
        kinetic=np.zeros(rows),
        quantity=zeros(),
        charge=zeros(),
        integral=zeros(),
        discrete=zeros(),
        params=np.zeros((rows if n_params else 0, n_params), dtype),
    )


def _backend(
    U: Potential,
    backend: str,
    dtype: str,
    algorithm: layout.Algorithm,
    table: layout.Laws,
    batches: layout.Batches,
    state: layout.State,
    records: layout.Records,
) -> Callable[[int], None]:
    """Return n_steps ↦ None, which advances the run."""
    in_python = not hasattr(U, "problem")
    if in_python and backend == "cpu":
        raise ValueError(f"backend='cpu' cannot compile {U!r}; use backend='reference' or 'auto'")
    if in_python or backend == "reference":
        if in_python and dtype != "float64":
            raise ValueError(f"dtype={dtype!r} is not available for {U!r}; expected 'float64'")
        if in_python:
            evaluate: Any = lambda x, chosen: U.value_and_gradient(x)  # noqa: E731
        else:
            oracle = U.problem(dtype)  # type: ignore[attr-defined]
            evaluate = lambda x, chosen: reference.value_and_gradient(oracle, x, chosen)  # noqa: E731
        return reference.Run(evaluate, algorithm, table, batches, state, records).advance
    problem: layout.Problem = U.problem(dtype)  # type: ignore[attr-defined]
    everything = cpu.tiles(problem, batches.order.size)
    if problem.kind == layout.NETWORK:
        cpu.load(problem, np.arange(batches.order.size), everything)
    held = everything if batches.size == batches.order.size else cpu.tiles(problem, batches.size)

    def advance(n_steps: int) -> None:
        cpu.advance(problem, held, everything, algorithm, table, batches, state, records, n_steps)

    return advance


def _drive(
    advance: Callable[[int], None],
    state: layout.State,
    records: layout.Records,
    steps: int,
    algorithm: layout.Algorithm,
    progress: bool,
    callback: Callable[[Snapshot], object] | None,
) -> str:
    """Call `advance` until all steps are taken; return who stopped it before, or ''."""
    bar = None
    if progress:
        from tqdm.auto import tqdm

        bar = tqdm(total=steps, unit="step", leave=False)
    try:
        if bar is not None:
            bar.set_description("compiling")  # seconds on the first run ever, nothing after
        advance(0)
        if bar is not None:
            bar.set_description("")
            bar.reset()
        chunk = 1
        while True:
            done = int(state.counts[STEPS_DONE])
            if callback is not None and (done % records.every == 0 or done == steps):
                snapshot = Snapshot(
                    done, algorithm.t0 + done * algorithm.h, float(state.loss[0]), state.x.copy(), state.v.copy()
                )
                if state.counts[OUTCOME] == layout.RUNNING and callback(snapshot):
                    return "the callback"
            if done == steps or state.counts[OUTCOME] != layout.RUNNING:
                return ""
            n = min(chunk, steps - done)
            if callback is not None:
                n = min(n, records.every - done % records.every)
            began = time.perf_counter()
            advance(n)
            elapsed = time.perf_counter() - began
            if elapsed < _CALL_SECONDS:
                chunk *= 2 if elapsed > _CALL_SECONDS / 8 else 8
            elif elapsed > 2 * _CALL_SECONDS:
                chunk = max(1, chunk // 2)
            if bar is not None:
                bar.update(n)
                bar.set_postfix_str(f"loss {state.loss[0]:.4g}", refresh=False)
    except KeyboardInterrupt:
        return "Ctrl-C"
    finally:
        if bar is not None:
            bar.close()


def _outcome(state: layout.State, records: layout.Records, stopped: str) -> tuple[str, str]:
    """Return the run's status, and the same in words."""
    done, steps = int(state.counts[STEPS_DONE]), records.last
    if state.counts[OUTCOME] == layout.DIVERGED:
        # Found by the record of a step that is done, or by the gradient of the next one.
        recording = (done % records.every == 0 or done == steps) and done not in records.step
        return "diverged", f"the loss stopped being finite at step {done if recording else done + 1}"
    if stopped:
        return "stopped", f"stopped by {stopped} after {done} of {steps} steps"
    return "completed", f"completed {steps} steps"


def _trajectory(
    algorithm: Algorithm,
    watched: list[Family],
    t0: float,
    state: layout.State,
    records: layout.Records,
    status: str,
    message: str,
    specification: dict[str, Any],
) -> Trajectory:
    kept = records.step >= 0  # all rows but those that a run cut short did not reach
    written = records._replace(**{name: getattr(records, name)[kept] for name in _ROWS})
    t: Float64Array = np.asarray(t0 + written.step * algorithm.dt, dtype=np.float64)
    dynamics = algorithm.dynamics
    return Trajectory(
        t=t,
        step=written.step,
        loss=written.loss,
        energy=written.loss + written.kinetic,
        laws=_laws.read(watched, dynamics, t, written),
        x=state.x,
        v=-state.gradient if dynamics.mass == 0 else state.v,
        params=records.params[kept] if records.params.size else None,
        status=status,
        message=message,
        n_gradients=int(state.counts[EVALUATIONS]),
        specification=specification,
    )
