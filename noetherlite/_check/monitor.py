"""`check` during a run: rows are added one by one and not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.precision import judged, narrow, of_dtype, widened
from .._base.types import Array, ArrayLike, Float64Array
from .._motion.base import Algorithm, Memory
from .._motion.recorded import from_step
from .._problem.potentials import Potential, is_potential
from .._symmetry.family import Family, NoetherSymmetry
from .check import report
from .clock import first_step, start_time
from .recording import batch_of_row, check_spacing, dtype_of, read_key, states_of, step_laws
from .replay import is_replayed
from .rows import blocks_of
from .steps import StepCheck
from .verdict import Report


class Monitor:
    """`check` during a run: rows are added one by one and not stored.

    Parameters
    ----------
    U, algorithm : Potential, Algorithm
        The loss of the run, and the algorithm of its steps.
    precision, every, laws
        As in `check`. The default precision is read off the rows so far.
    minibatches : bool
        The steps use minibatches that are not passed to `step`.
    t0 : float, optional
        Time of the first row, 0 by default; a conformal leapfrog with α > 0 needs it.

    noise_key : int, optional
        As in `check`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; a schedule must be an array.

    Notes
    -----
    The memory is that of a few rows, whatever the length of the run. Verdicts equal those of `check` on the same rows. Of the
    residuals of a law or block, only the one with the largest |residual|/tolerance is stored.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=2, n_classes=2, rng=0))
    >>> theta, watch = net.init(rng=0), nl.Monitor(U, nl.GD(0.1))
    >>> for _ in range(50):
    ...     watch.step(theta)
    ...     theta -= 0.1 * U.gradient(theta)
    >>> watch.report().verdict
    'holds'
    """

    def __init__(
        self,
        U: Potential,
        algorithm: Algorithm,
        *,
        precision: str | None = None,
        every: int = 1,
        laws: str | Sequence[str | NoetherSymmetry] = "all",
        minibatches: bool = False,
        t0: float | None = None,
        noise_key: int | None = None,
    ) -> None:
        is_potential(U)
        checks.instance(algorithm, "algorithm", Algorithm, "an Algorithm such as nl.GD(0.1)")
        minibatches = checks.boolean(minibatches, "minibatches")
        self._every = checks.integer(every, "every", minimum=1)
        check_spacing(algorithm, self._every, ())
        if algorithm.has_schedule and not algorithm.rates:
            raise ValueError("lr must be an array with a rate for each step, as nobody knows how many there will be")
        if minibatches and self._every == 1 and is_replayed(algorithm, 1):
            raise ValueError(
                f"minibatches must be False with {algorithm}, whose steps are taken again, with their samples"
            )
        if algorithm.sam and minibatches:
            raise ValueError(
                f"minibatches must be False with {algorithm}: where its gradients were taken depends on the samples"
            )
        algorithm = algorithm.over(0)
        self._key = read_key(algorithm, noise_key)
        start = start_time(algorithm, t0)
        self._step = first_step(algorithm, start, float(np.finfo(np.float64).eps))
        self._claim = U, from_step(algorithm, self._step), laws, minibatches, start
        self._families(batchwise=minibatches)
        self._requested_precision = precision
        self._precision = judged(np.empty(0), precision)
        self._with_batches: bool | None = None
        self._last_batch: object = None
        self._first: tuple[Array, object, dict[str, Float64Array]] | None = None
        self._checker: StepCheck | None = None

    def __repr__(self) -> str:
        n_rows = self._checker.n_rows if self._checker else int(self._first is not None)
        return f"<Monitor of {self._claim[1]}: {n_rows} row{'' if n_rows == 1 else 's'}>"

    @underflowing
    def step(
        self,
        theta: ArrayLike,
        batch: Any = None,
        *,
        momentum_buffer: ArrayLike | None = None,
        exp_avg: ArrayLike | None = None,
        exp_avg_sq: ArrayLike | None = None,
    ) -> None:
        """Add the next row.

        Parameters
        ----------
        theta : array_like, shape (P,)
            Parameters before a step, or, at the end of the run, after the last one. They are copied.
        batch : array_like of int, optional
            Indices of the samples of the gradient that is taken at `theta`; all by default. With `every` = m a sequence of m such
            arrays. The row at the end has none.
        momentum_buffer, exp_avg, exp_avg_sq : array_like, shape (P,), optional
            What the optimiser has at `theta`, as for `check`: for every row the same of them.
        """
        U, algorithm, *_ = self._claim
        array = widened(theta, "theta")
        row = np.array(checks.shaped(array, "theta", (U.n_params,), dtype=dtype_of(array)))
        if batch is not None:
            batch = batch_of_row(U, batch, "batch", self._every, algorithm)
        states = {"momentum_buffer": momentum_buffer, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        memory = states_of(algorithm, states, row.shape)
        check_spacing(algorithm, self._every, memory)
        if self._checker is None and self._requested_precision is None:
            self._requested_precision = narrow(theta)
        if self._first is None:
            self._first, self._with_batches, self._last_batch = (row, batch, memory), batch is not None, batch
            return
        if self._first[2].keys() != memory.keys():
            raise ValueError(
                f"{' and '.join(algorithm.states)} must be given for every row or for none, as for the first"
            )
        if self._checker is not None:
            algorithm.over(self._every * self._checker.n_rows)  # refused where the schedule has ended
        if batch is not None and not self._with_batches:
            raise ValueError("batch must be given for every row but the last, or for none; the first had none")
        if self._with_batches and self._last_batch is None:
            raise ValueError("batch must be given for every row but the last, or for none; the row before had none")
        self._last_batch = batch
        if self._checker is None:
            start, batch_of_start, memory_of_start = self._first
            # A run in single precision may have begun at numbers of double precision.
            start = start.astype(min(start.dtype, row.dtype))
            self._begin(np.stack([start, row]))
            self._add(start, batch_of_start, memory_of_start)
        self._add(row, batch, memory)

    @underflowing
    def report(self) -> Report:
        """Return the report on the rows so far, as `check` would."""
        if self._checker is None:
            raise ValueError(f"there are {int(self._first is not None)} rows so far; expected at least two")
        return report(self._checker, [])

    def _families(self, batchwise: bool) -> list[Family]:
        U, algorithm, laws, _, _ = self._claim
        return step_laws(U, algorithm, laws, batchwise)

    def _begin(self, rows: Array) -> None:
        U, algorithm, _, minibatches, t0 = self._claim
        self._precision = judged(rows, self._requested_precision, blocks_of(U))
        families = self._families(batchwise=minibatches or bool(self._with_batches))
        motion = not minibatches or bool(self._with_batches)
        assert self._first is not None
        more: dict[str, Any] = {"first": self._step, "recorded": tuple(self._first[2]), "noise_key": self._key}
        self._checker = StepCheck(
            U, algorithm, families, self._precision, t0=t0, every=self._every, motion=motion, keep=False, **more
        )

    def _add(self, row: Array, batch: object, memory: dict[str, Float64Array]) -> None:
        assert self._checker is not None
        if self._requested_precision is None and self._precision.eps > of_dtype(row) and row.any():
            blocks = blocks_of(self._claim[0])
            since = np.stack([self._checker.first_row.astype(row.dtype) if self._checker.n_rows else row, row])
            both = self._precision.and_of(judged(since, None, blocks), blocks)
            if both != self._precision:
                self._precision = both
                self._checker.judge_by(both)
        averages = Memory(**{field: values[None] for field, values in memory.items()})
        self._checker.add(row[None].astype(np.float64), [batch], averages)
