"""The recorded laws of a run, with their residuals.

Pairing the equation of motion with g gives, for every dynamics (theory §3),

    m > 0:  d/dt [μ J] = μ S,      m = 0:  J = 0.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from .._base import checks, html
from .._base.floating import underflowing
from .._base.types import Float64Array, IntArray
from .._kernels import layout
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics
from .affine import Symmetry
from .family import Family

VERDICTS = ("holds", "broken", "not decidable")
# Roundings per step that the tolerance of a balance allows, of its largest term.
ROUNDINGS = 8
# A law is tested where the round-off is below this fraction of the effect that a wrong gradient could have had.
RESOLUTION = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class LawRecord:
    """One symmetry's law along a run; R records, components of shape `shape`: (n_h,), (n_h, n_h), and so on.

    In an ensemble every array has a leading axis of runs.

    Attributes
    ----------
    name : str
        The symmetry's name, for example "scaling:1".
    t : ndarray, shape (R,)
        Times.
    quantity : ndarray, shape (R, *shape)
        Q = ½⟨x, Gx⟩ + ⟨ξ, x⟩; NaN where G is not symmetric (rotations).
    charge : ndarray, shape (R, *shape)
        J = ⟨g(x), ẋ⟩; for gradient descent ẋ = −∇U(x), less λx with weight decay.
    source_integral : ndarray, shape (R, *shape)
        ∫ μS ds from t_0 by the trapezoidal rule over every step, S = ⟨Gẋ, ẋ⟩; NaN for gradient descent and heavy ball, whose
        laws have no source. Noise is a source: what it has made of μJ (`BAOAB`) is part of it, and for `SGLD` it is what noise
        has made of Q, or of ∫⟨g(x), dx⟩ where there is no Q.
    residual : ndarray, shape (R, *shape)
        The Noether residual r(t) = μJ − μ(t_0)J(t_0) − ∫μS ds (m > 0), Q(t) − Q(t_0) (m = 0), less the source of `SGLD`. It measures how well the
        algorithm follows the continuous law and decreases with the step size. This law has no weight decay, whose effect is
        therefore part of the residual. For m = 0 and G not symmetric (rotations) gradient flow conserves no quantity and
        has J = 0 alone: the residual is then ∫J ds, which is round-off for any step size, and tests the gradient.
    discrete_residual : ndarray, shape (R, *shape)
        Sum over the steps so far of the signed defects of the algorithm's exact discrete law (theory §6, §10), weight decay
        included: pure round-off at any step size. It is a law of Q for gradient descent, of μJ for leapfrog and conformal
        leapfrog, of J for the others.
    scale : ndarray, shape (R, *shape)
        The largest term of the exact law's balance in the run, before cancellation and with μ: with |g| = Σ_i |g(x)_i|,
        |g| max|x| for gradient descent, |g| max|ẋ| for the others, or the change of these by one step, if that is larger; but not
        less than that by a force with ⟨g, F⟩ = max|U|, the size of the terms that cancel in ∇U at a minimum.
    tolerance : ndarray, shape (R, *shape)
        Bound on the round-off in `discrete_residual`: 8 ε (steps + √N) `scale`, with ε that of the parameters, for the
        rounding of every step and of the sum over N samples in its gradient. Infinite where it exceeds a tenth of the
        defect that the same forces in the worst direction would have made: there the law is not tested.

    Notes
    -----
    If μ(t) leaves 2^±512 during a run, `residual`, `source_integral`, `discrete_residual` and `scale` are divided by the
    present μ(t): r/μ = J − μ(t_0)/μ(t) J(t_0) − ∫ μ(s)/μ(t) S ds. `Dynamics.law_weight` is the factor, μ(t) or 1.
    """

    name: str
    t: Float64Array
    quantity: Float64Array
    charge: Float64Array
    source_integral: Float64Array
    residual: Float64Array
    discrete_residual: Float64Array
    scale: Float64Array = None  # type: ignore[assignment]
    tolerance: Float64Array = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Estimate `scale` and `tolerance` from the other arrays, for a record that was not made by a run."""
        arrays = vars(self)
        if arrays["scale"] is None:
            terms = np.nan_to_num(np.abs([self.quantity, self.charge, self.source_integral])).max(axis=0)
            largest = terms.max(axis=self.t.ndim - 1, keepdims=True, initial=0.0)
            object.__setattr__(self, "scale", np.broadcast_to(largest, self.charge.shape))
        if arrays["tolerance"] is None:
            allowed = ROUNDINGS * float(np.finfo(np.float64).eps) * self.t.shape[-1] * self.scale
            object.__setattr__(self, "tolerance", np.where(self.scale > 0, allowed, np.inf))

    def of_run(self, e: int, rows: slice) -> LawRecord:
        """Return some records of run e of an ensemble."""
        return LawRecord(self.name, *(getattr(self, f.name)[e][rows] for f in fields(self) if f.name != "name"))

    @property
    def verdict(self) -> str:
        """The verdict on the exact discrete law: "holds", "broken", or "not decidable".

        A law is broken if its discrete residual anywhere exceeds `tolerance`, and holds if it does not although it was
        tested. A law that was not tested is not decidable: without steps, without forces, with so many or such small steps
        that the effect of a wrong gradient is below the tolerance, or after sums have overflowed.
        """
        size = np.abs(self.discrete_residual)
        finite = np.isfinite(size)
        if (finite & (size > self.tolerance)).any():
            return "broken"
        overflowed = bool((~finite & np.isfinite(self.charge)).any())
        tested = bool((finite & np.isfinite(self.tolerance)).any())
        return "holds" if tested and not overflowed else "not decidable"

    @property
    def holds(self) -> bool:
        """Whether the verdict is "holds"."""
        return self.verdict == "holds"

    def __repr__(self) -> str:
        worst = [np.abs(a).max(initial=0.0) for a in (self.residual, self.discrete_residual)]
        return (
            f"LawRecord({self.name!r}, {self._extent()}, max |residual| {worst[0]:.3g}, "
            f"max |discrete_residual| {worst[1]:.3g}, {self.verdict})"
        )

    def largest(self, what: str) -> float:
        """Return the largest finite |entry| of one of the arrays, named `what`; NaN if none is finite."""
        values = getattr(self, checks.one_of(what, "what", (*_SHOWN, "scale", "tolerance")))
        finite = np.abs(values[np.isfinite(values)])
        return float(finite.max()) if finite.size else float("nan")

    def _repr_html_(self) -> str:
        rows = [(name, self.largest(name)) for name in _SHOWN]
        return html.table(
            f"LawRecord {self.name}: {self._extent()}, {self.verdict}", rows, ("array", "largest |entry|")
        )

    def _extent(self) -> str:
        many = "" if self.t.ndim == 1 else f"{len(self.t)} networks, "
        return f"{many}{self.t.shape[-1]} records, components {self.quantity.shape[self.t.ndim :]}"


_SHOWN = ("quantity", "charge", "source_integral", "residual", "discrete_residual")


def _along(a: Float64Array, like: Float64Array) -> Float64Array:
    """Return a, whose axes are the first ones of `like`, with axes of length 1 appended for the others."""
    return a.reshape(*a.shape, *(1 for _ in like.shape[a.ndim :]))


def table(symmetries: Sequence[Family], n_params: int, dtype: str) -> layout.Laws:
    """Return the kernels' table of the laws to watch; components are stored family by family."""
    make = _table if any(isinstance(s, Symmetry) for s in symmetries) else _lasting_table
    return make(tuple(symmetries), n_params, dtype)


def _table(symmetries: tuple[Family, ...], n_params: int, dtype: str) -> layout.Laws:
    rows = [s.kernel() for s in symmetries]
    user_given = [s for s in symmetries if isinstance(s, Symmetry)]
    where = np.full((len(rows), 8), -1, np.int64)
    for l, row in enumerate(rows):
        where[l] = (*row.where, row.where[1])
        if isinstance(s := symmetries[l], Symmetry):
            where[l, 0] = user_given.index(s)
    n = (len(user_given), n_params)
    return layout.Laws(
        kind=np.array([row.kind for row in rows], np.int64),
        start=np.concatenate([[0], np.cumsum([s.n_generators for s in symmetries])]).astype(np.int64),
        where=where,
        degree=np.array([row.degree for row in rows], dtype),
        G=np.array([s.G for s in user_given], np.float64).reshape(*n, n_params),
        xi=np.array([s.xi for s in user_given], np.float64).reshape(n),
        symmetric=np.array([s.symmetric for s in symmetries], np.int64),
        Z0=np.empty((0, 0), dtype),
        some_skew=int(not all(s.symmetric for s in symmetries)),
    )


def refuse_mixed(symmetries: Sequence[Family], algorithm: layout.Algorithm) -> None:
    """Raise ValueError if a given symmetry turns coordinates of different rates into each other, which has no law."""
    if not algorithm.metric:
        return
    for s in symmetries:
        if isinstance(s, Symmetry) and (algorithm.shares[:, None] != algorithm.shares)[s.G != 0].any():
            raise ValueError(
                f"lr by block must be the same for all coordinates that {s.name!r} mixes, whose Q is else lost"
            )


# Of families without matrices, which are the same objects for each run of a network; many runs share a table.
_lasting_table = functools.lru_cache(maxsize=64)(_table)


class _Course(NamedTuple):
    """Data that the laws of a run share; arrays of shape (R,) or (E, R), except `push` and `loss`."""

    dynamics: Dynamics
    law_of: str  # balanced by the exact laws: Q, J or μJ
    noise: bool
    t: Float64Array
    weight: Float64Array  # factor μ (or 1) of the continuous law
    exact: Float64Array  # and of the discrete one
    round_off: Float64Array
    push: Float64Array  # effect of a unit force in one step; its last axis is 1
    pushes: Float64Array  # effective number of steps in a sum over steps, which friction limits
    loss: Float64Array  # largest |U| of the run, the size of the terms of ⟨g(x), ∇U⟩, which cancel at a minimum; its last axis is 1


@underflowing
def read(
    families: Sequence[Family],
    algorithms: Sequence[Algorithm],
    t: Float64Array,
    records: layout.Records,
    sizes: Float64Array,
    round_off: Float64Array,
) -> dict[str, LawRecord]:
    """Return the law records, one per symmetry, from the kernels' arrays.

    Parameters
    ----------
    families : sequence of Family
        The symmetries, as in the kernels' table.
    algorithms : sequence of one Algorithm, or of E
        The algorithm, or those of the runs of an ensemble.
    t : ndarray, shape (R,) or (E, R)
        Times.
    records : Records
        The kernels' records, with quantities in the coordinates of θ.
    sizes : ndarray, shape (2, K) or (E, 2, K)
        `layout.State.sizes`.
    round_off : ndarray, shape (R,) or (E, R)
        Bound on the round-off in a law at each record, relative to its largest term; see `rounding`.
    """
    course, out, stop = _course(algorithms, t, records, round_off), {}, 0
    for s in families:
        start, stop = stop, stop + s.n_generators
        quantity, charge, integral, discrete = (
            a[..., start:stop].reshape(*t.shape, *s.shape).copy()
            for a in (records.quantity, records.charge, records.integral, records.discrete)
        )
        largest, force = (
            sizes[..., [i], start:stop].reshape(*t.shape[:-1], 1, *s.shape) for i in (layout.LARGEST, layout.FORCE)
        )
        out[s.name] = _record(s, course, quantity, charge, integral, discrete, largest, force)
    return out


def rounding(step: IntArray, samples: int, dtype: str) -> Float64Array:
    """Return 8 ε (steps + √N), for the rounding of every step and of the sum over N samples in its gradient."""
    steps = np.maximum(step, 0).astype(np.float64)
    return np.asarray(ROUNDINGS * float(np.finfo(dtype).eps) * (steps + float(samples) ** 0.5))


def _course(
    algorithms: Sequence[Algorithm], t: Float64Array, records: layout.Records, round_off: Float64Array
) -> _Course:
    step, loss = records.step, np.abs(records.loss)
    loss = np.where(np.isfinite(loss), loss, 0.0).max(axis=-1, keepdims=True, initial=0.0)
    dynamics, law_of = algorithms[0].dynamics, algorithms[0].law_of
    dt, push = (
        np.array(column).reshape(*t.shape[:-1], 1) for column in zip(*((a.dt, a.push) for a in algorithms), strict=True)
    )
    pushes = np.maximum(step, 0).astype(np.float64)
    weight = dynamics.law_weight(np.where(step >= 0, t, t[..., :1]))
    exact = np.ones_like(t)
    if law_of == "μJ":
        exact = weight
        with np.errstate(divide="ignore"):
            pushes = np.minimum(pushes, dynamics.mass / (dynamics.friction(t) * dt))
    return _Course(dynamics, law_of, algorithms[0].has_noise, t, weight, exact, round_off, push, pushes, loss)


def _record(
    s: Family,
    course: _Course,
    quantity: Float64Array,
    charge: Float64Array,
    integral: Float64Array,
    discrete: Float64Array,
    largest: Float64Array,
    force: Float64Array,
) -> LawRecord:
    """Return one law's record from sums in units of μ, which are overwritten."""
    t, first = course.t, (*(slice(None) for _ in course.t.shape[1:]), slice(1))
    weight, exact, round_off, push, pushes, loss = (_along(a, charge) for a in course[4:])
    if not s.symmetric:
        quantity[:] = np.nan
    if not s.symmetric and course.law_of == "Q" and not course.noise:
        largest = np.zeros_like(largest)  # the exact law is one of Q, which does not exist
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # in the last records of a run that diverges
        discrete *= exact
        if course.dynamics.mass > 0:
            divided = (weight == 1).all(axis=t.ndim - 1, keepdims=True)
            faded = np.where(divided, _along(course.dynamics.fading(t[first], t), charge), weight[first])
            integral *= weight
            residual = weight * charge
            residual -= faded * charge[first]
            residual -= integral
        elif course.noise:  # the kernels sum what it makes of Q, and ∫⟨g(x), dx⟩ where there is none
            residual = np.asarray(quantity - quantity[first] - integral) if s.symmetric else discrete.copy()
        else:  # for m = 0 the kernels accumulate ∫J ds
            residual = np.asarray(quantity - quantity[first]) if s.symmetric else integral
            integral = np.full_like(integral, np.nan)
    # A run that diverges overflows; without a step or a force the quotients are 0/0, and nothing was tested.
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        size = np.maximum(largest, push * np.maximum(force, loss))
        scale = exact * size
        tolerance = round_off * scale
        tolerance[~(round_off / pushes < RESOLUTION * (push * force / size))] = np.inf
    return LawRecord(s.name, t, quantity, charge, integral, residual, discrete, scale, tolerance)
