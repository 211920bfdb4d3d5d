"""The plan that runs share: backend, precision, laws, coordinates; and checks of initial velocity and time."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .._base import checks, gpu, limits
from .._base.types import ArrayLike, Float64Array, Seed
from .._base.versions import versions
from .._kernels import layout
from .._motion.base import Algorithm
from .._problem.network import NetworkPotential
from .._problem.potentials import Compiled, Potential, is_potential
from .._symmetry.family import Family
from .._symmetry.records import table
from . import end_to_end
from .reduction import Reduction, choose, objection

BACKENDS = ("auto", "cpu", "reference", "cuda")


class Plan:
    """The common part of runs: potential, precision, laws, and the coordinates they are integrated in.

    `reduce`: whether to use input reduction, None: if it is faster and parameters are not recorded. `obstacle`: why the algorithm's steps rule it out, '' if they do
    not. `by_samples`: which reduction, if that is known. `by_end_to_end`: whether to multiply linear layers to one, None: if it is
    faster and `reduce` is None.
    `steps`, `records` and `seen`, how often functions of the user see all parameters or velocities, are those of all runs;
    `batch_size`, `backend` and `dtype` are as in `integrate`.
    """

    def __init__(
        self,
        U: Potential,
        watched: list[Family],
        *,
        batch_size: int | None,
        backend: str,
        dtype: str,
        steps: int,
        reduce: bool | None,
        obstacle: str = "",
        by_samples: bool | None = None,
        by_end_to_end: bool | None = None,
        record_params: bool = False,
        records: int = 0,
        seen: int = 0,
    ) -> None:
        self.U, self.watched, self.dtype = U, watched, dtype
        self.batch = _check_batch_size(U, batch_size)
        in_python = not hasattr(U, "problem")
        if in_python and backend in ("cpu", "cuda"):
            raise ValueError(f"backend={backend!r} cannot compile {U!r}; use backend='reference' or 'auto'")
        if backend == "cuda" and isinstance(U, Compiled):
            raise ValueError(
                f"backend={backend!r} cannot run {U!r}, whose functions are compiled for the CPU; use 'cpu' or 'auto'"
            )
        if backend == "cuda":
            gpu.require()
        if in_python and dtype != "float64":
            raise ValueError(f"dtype={dtype!r} is not available for {U!r}; expected 'float64'")
        if backend == "auto":
            settings: Any = numba.config
            # Without the compiler the kernels' loops would run in Python, slower than the NumPy reference.
            backend = "reference" if in_python or settings.DISABLE_JIT else "cpu"
        self.backend = backend
        self.end_to_end: end_to_end.EndToEnd | None = None
        if by_end_to_end:
            self.end_to_end = end_to_end.EndToEnd(U)  # type: ignore[arg-type]
        elif by_end_to_end is None and reduce is None and self.backend == "cpu":
            self.end_to_end = end_to_end.choose(U, self.drawn)
        self.reduction = None
        if reduce is not None:
            reduce = checks.boolean(reduce, "input_reduction")
        elif record_params:
            reduce = False
        if reduce is not False and self.end_to_end is None:
            reason = objection(U, watched, self.backend == "cpu") or obstacle
            if reason and reduce:
                raise ValueError(f"input_reduction=True is not possible here: {reason}")
            if not reason:
                self.reduction = choose(U, steps, self.drawn, reduce, by_samples, records, seen)  # type: ignore[arg-type]
        self.problem: layout.Problem | None = None
        self.outer: layout.Problem | None = None  # of a linear network
        self.n_params = U.n_params
        if self.reduction is not None:
            self.problem = self.reduction.U.problem(dtype)._replace(dual=self.reduction.dual)
            self.n_params = self.reduction.n_params
        elif self.end_to_end is not None:
            self.problem, self.outer = self.end_to_end.problems(dtype)
        elif not in_python:
            self.problem = U.problem(dtype)  # type: ignore[attr-defined]
        self.laws = (
            table(watched, U.n_params, dtype) if self.reduction is None else self.reduction.table(watched, dtype)
        )

    @property
    def n_samples(self) -> int:
        """Samples that gradients are drawn from."""
        return self.U.n_samples if isinstance(self.U, NetworkPotential) else 1

    @functools.cached_property
    def in_order(self) -> NDArray[np.int64]:
        """The numbers of the samples, shared by runs that take all of them."""
        return np.arange(self.n_samples)

    @property
    def drawn(self) -> int:
        """Samples per gradient; if that is all of them they are taken in order, as without minibatches."""
        return self.batch or self.n_samples

    @property
    def reduced(self) -> Reduction | end_to_end.EndToEnd | None:
        """What takes the place of the data, if something does."""
        return self.reduction or self.end_to_end

    @property
    def compiled(self) -> bool:
        """Whether kernels are compiled, for the CPU or a GPU."""
        return self.backend != "reference"

    def state(self, E: int, with_parts: bool = False, with_moment: bool = False, work: int = 0) -> layout.State:
        """Return the states of E runs that have not begun, with so many numbers to work in: zeros."""
        K = int(self.laws.start[-1])
        return layout.new_states(E, self.n_params, K, self.dtype, with_parts, with_moment, work)

    def records(self, E: int, steps: int, every: int, with_params: bool, with_parts: bool = False) -> layout.Records:
        """Return empty records of E runs, filled with NaN."""
        rows = (E, n_records(steps, every))
        K = int(self.laws.start[-1])
        limits.refuse_beyond_memory(8.0 * math.prod(rows) * (3 + K * (4 + layout.N_PARTS * with_parts)))
        params = limits.parameters((*rows, self.n_params) if with_params else (E, 0, 0), self.dtype)
        return layout.new_records(rows[1], K, every, params, steps, with_parts)


def n_records(steps: int, every: int) -> int:
    """Return the number of records: step 0, every so many steps, and the last."""
    return steps // every + 1 + (steps % every != 0)


def motion(
    algorithm: Algorithm, shape: tuple[int, ...], velocity: ArrayLike | None, t0: float | None
) -> tuple[Float64Array, float]:
    """Return (v0, t0) after checking that the dynamics can start from them."""
    dynamics = algorithm.dynamics
    if velocity is None:
        v = np.zeros(shape)
    elif not algorithm.has_velocity:
        raise ValueError(
            f"velocity is not accepted by {type(algorithm).__name__}: its flow is first order and has no initial velocity"
        )
    else:
        v = checks.shaped(velocity, "velocity", shape).astype(np.float64)
    start = 0.0 if t0 is None else checks.real(t0, "t0", minimum=0.0)
    if start == 0 and algorithm.singular_start:
        value = "no t0" if t0 is None else f"t0={t0}"
        raise ValueError(f"t0 must be > 0 for {algorithm}: its friction α/t is infinite at t = 0; got {value}")
    if start == 0 and dynamics.alpha > 0 and v.any():
        raise ValueError(
            "velocity must be zero at t0 = 0 where the friction α/t is infinite; give t0 > 0 to start moving"
        )
    return v, start


def minibatches(plan: Plan, rng: Seed, noise: bool = False) -> layout.Batches:
    """Return the stream of minibatches and noise with a key drawn from `rng`, if there are any."""
    generator = checks.generator(rng)
    return stream(plan, generator.integers(2**63) if noise or plan.batch is not None else 0)


def stream(plan: Plan, key: Any) -> layout.Batches:
    """Return the stream of minibatches and noise with this key."""
    if plan.batch is None and key == 0:
        return _all_samples(plan.n_samples)
    order = plan.in_order if plan.batch is None else np.arange(plan.n_samples)
    return layout.Batches(plan.drawn, np.uint64(key), order)


@functools.lru_cache(maxsize=64)
def _all_samples(n: int) -> layout.Batches:
    """Return the samples of runs without minibatches and noise, whatever their potential: all of them in order."""
    return layout.Batches(n, np.uint64(0), np.arange(n))


def _check_batch_size(U: Potential, batch_size: int | None) -> int | None:
    if batch_size is None:
        return None
    if not isinstance(U, NetworkPotential):
        raise ValueError(f"batch_size={batch_size} needs a potential with samples, got {U!r}")
    return checks.integer(batch_size, "batch_size", minimum=1, maximum=U.n_samples)


def specify(
    plan: Plan, algorithms: Sequence[Algorithm], steps: int, t0: float, every: int, keys: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the specification of a plan's runs, ready for JSON; the algorithm is a list if the algorithms differ.

    `keys` has those of the minibatches and the noise, under the name of an argument.
    """
    first = algorithms[0]
    alike = all(a is first or a == first for a in algorithms)
    return {
        "potential": plan.U.specification(),
        "algorithm": first.specification() if alike else [a.specification() for a in algorithms],
        "arguments": {
            "steps": steps,
            "t0": t0,
            "record_every": every,
            "laws": [s.name for s in plan.watched],
            "batch_size": plan.batch,
            **keys,
            "dtype": plan.dtype,
            "input_reduction": plan.reduced.describe() if plan.reduced else None,
        },
        "versions": versions(),
    }


def check_problem(U: Potential, algorithm: Algorithm) -> None:
    """Raise TypeError unless U is a potential and `algorithm` an Algorithm."""
    is_potential(U)
    checks.instance(algorithm, "algorithm", Algorithm, "an Algorithm such as nl.GD(0.1)")
