"""The laws that follow from symmetries: what a run records of them, and their residuals.

Pairing the equation of motion with g gives, for every dynamics (theory §3),

    m > 0:  d/dt [μ J] = μ S,      m = 0:  J = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._base import checks, html
from .._base.types import Float64Array, IntArray
from .._kernels import layout
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics
from .affine import Symmetry
from .family import Family

VERDICTS = ("holds", "broken", "not decidable")
# Roundings of a balance's largest term that a step may leave in it.
ROUNDINGS = 8
# A law is tested where round-off is below this part of what a wrong gradient could have made of it.
RESOLUTION = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class LawRecord:
    """One symmetry's law along a run; R records, components of shape `shape`: (n_h,), (n_h, n_h), and so on.

    In an ensemble every array has a leading axis of its networks.

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
        law has none.
    residual : ndarray, shape (R, *shape)
        The Noether residual r(t) = μJ − μ(t_0)J(t_0) − ∫μS ds (m > 0), Q(t) − Q(t_0) (m = 0). It measures how well the
        algorithm follows the continuous law and shrinks with the step. Weight decay is not in this law, so that the
        residual is what the decay makes of it. For m = 0 and G not symmetric (rotations) gradient flow conserves nothing, it
        only has J = 0: the residual is then ∫J ds, which is round-off whatever the step, and measures the gradient
        instead of the algorithm.
    discrete_residual : ndarray, shape (R, *shape)
        The signed per-step defects of the algorithm's own exact law (theory §6, §10), weight decay included, summed since the
        start: round-off and nothing else, at any step size. For leapfrog and conformal leapfrog the law carries the factor μ;
        it is one of Q for gradient descent, of J for the others.
    scale : ndarray, shape (R, *shape)
        The largest term of the exact law's balance in the run, μ included and before what cancels: with |g| = Σ_i |g(x)_i|,
        |g| max|x| for gradient descent, |g| max|ẋ| for the others, or what a step makes of |g| max|∇U| where that is more.
    tolerance : ndarray, shape (R, *shape)
        How large round-off alone may have made `discrete_residual`: 8 ε (steps + √N) `scale`, with ε that of the parameters, as
        every step rounds, and the sum over N samples in its gradient. Infinite where that is more than a tenth of what the
        forces met, pulling in the worst direction, could have made of it: nothing was tested there.

    Notes
    -----
    Where μ(t) leaves 2^±512 during a run, `residual`, `source_integral`, `discrete_residual` and `scale` are divided by the
    present μ(t): r/μ = J − μ(t_0)/μ(t) J(t_0) − ∫ μ(s)/μ(t) S ds. `Dynamics.law_weight` is what they are multiplied by, μ(t) or 1.
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
        """Estimate what a record that was not made by a run does not say from what it does."""
        given = vars(self)
        if given["scale"] is None:
            terms = np.nan_to_num(np.abs([self.quantity, self.charge, self.source_integral])).max(axis=0)
            largest = terms.max(axis=self.t.ndim - 1, keepdims=True, initial=0.0)
            object.__setattr__(self, "scale", np.broadcast_to(largest, self.charge.shape))
        if given["tolerance"] is None:
            allowed = ROUNDINGS * float(np.finfo(np.float64).eps) * self.t.shape[-1] * self.scale
            object.__setattr__(self, "tolerance", np.where(self.scale > 0, allowed, np.inf))

    @property
    def verdict(self) -> str:
        """What the exact discrete law shows: "holds", "broken", or "not decidable".

        A law is broken where its discrete residual is beyond `tolerance`, and holds if it nowhere is and somewhere could have
        been. What was not tested is not decidable: without steps, without forces, with steps so many or so small that a
        wrong gradient would not be seen, or where sums stopped being finite.
        """
        size = np.abs(self.discrete_residual)
        known = np.isfinite(size)
        if (known & (size > self.tolerance)).any():
            return "broken"
        lost = bool((~known & np.isfinite(self.charge)).any())
        tested = bool((known & np.isfinite(self.tolerance)).any())
        return "holds" if tested and not lost else "not decidable"

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
        """Return the largest |entry| of one of the arrays, where it is finite; NaN where it is nowhere."""
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
    """Return a, whose axes are the first of `like`, with axes for its others."""
    return a.reshape(*a.shape, *(1 for _ in like.shape[a.ndim :]))


def table(symmetries: Sequence[Family], n_params: int, dtype: str) -> layout.Laws:
    """Return the kernels' table of the laws to watch; components lie one family after the other."""
    rows = [s.kernel() for s in symmetries]
    own = [s for s in symmetries if isinstance(s, Symmetry)]
    where = np.full((len(rows), 8), -1, np.int64)
    for l, row in enumerate(rows):
        where[l] = (*row.where, row.where[1])
        if isinstance(s := symmetries[l], Symmetry):
            where[l, 0] = own.index(s)
    n = (len(own), n_params)
    return layout.Laws(
        kind=np.array([row.kind for row in rows], np.int64),
        start=np.concatenate([[0], np.cumsum([s.n_generators for s in symmetries])]).astype(np.int64),
        where=where,
        degree=np.array([row.degree for row in rows], dtype),
        G=np.array([s.G for s in own], np.float64).reshape(*n, n_params),
        xi=np.array([s.xi for s in own], np.float64).reshape(n),
        symmetric=np.array([s.symmetric for s in symmetries], np.int64),
        Z0=np.empty((0, 0), dtype),
        some_skew=int(not all(s.symmetric for s in symmetries)),
    )


class _Course(NamedTuple):
    """What the laws of a run have in common; arrays of shape (R,) or (E, R) but for `push`, whose last axis is 1."""

    dynamics: Dynamics
    law_of: str  # what the exact laws balance: Q, J or μJ
    t: Float64Array
    weight: Float64Array  # what stands for μ in the continuous law
    exact: Float64Array  # and in the discrete one
    round_off: Float64Array
    push: Float64Array  # what a step makes of a force
    pushes: Float64Array  # how many of them a sum over the steps holds; friction lets it forget


def read(
    families: Sequence[Family],
    algorithms: Sequence[Algorithm],
    t: Float64Array,
    records: layout.Records,
    sizes: Float64Array,
    round_off: Float64Array,
) -> dict[str, LawRecord]:
    """Return the law records from what the kernels wrote, one per symmetry.

    Parameters
    ----------
    families : sequence of Family
        The symmetries, as in the kernels' table.
    algorithms : sequence of one Algorithm, or of E
        Those of a run or of an ensemble's.
    t : ndarray, shape (R,) or (E, R)
        Times.
    records : Records
        With quantities in the coordinates of θ.
    sizes : ndarray, shape (2, K) or (E, 2, K)
        `layout.State.sizes`.
    round_off : ndarray, shape (R,) or (E, R)
        What round-off may have made of a law by each record, relative to its largest term; see `rounding`.
    """
    course, out, stop = _course(algorithms, t, records.step, round_off), {}, 0
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
    """Return 8 ε (steps + √N): every step rounds, and the sum over N samples in its gradient."""
    steps = np.maximum(step, 0).astype(np.float64)
    return np.asarray(ROUNDINGS * float(np.finfo(dtype).eps) * (steps + float(samples) ** 0.5))


def _course(algorithms: Sequence[Algorithm], t: Float64Array, step: IntArray, round_off: Float64Array) -> _Course:
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
    return _Course(dynamics, law_of, t, weight, exact, round_off, push, pushes)


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
    """Return one law's record from sums in units of μ, which are written over."""
    t, first = course.t, (*(slice(None) for _ in course.t.shape[1:]), slice(1))
    weight, exact, round_off, push, pushes = (_along(a, charge) for a in course[3:])
    if not s.symmetric:
        quantity[:] = np.nan
    if not s.symmetric and course.law_of == "Q":
        largest = np.zeros_like(largest)  # it is one of Q
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # the last records of a run that diverges
        discrete *= exact
        if course.dynamics.mass > 0:
            divided = (weight == 1).all(axis=t.ndim - 1, keepdims=True)
            faded = np.where(divided, _along(course.dynamics.fading(t[first], t), charge), weight[first])
            integral *= weight
            residual = weight * charge
            residual -= faded * charge[first]
            residual -= integral
        else:  # where the kernels sum ∫J ds
            residual = np.asarray(quantity - quantity[first]) if s.symmetric else integral
            integral = np.full_like(integral, np.nan)
    # Numbers of a run that diverges overflow; without a step or a force nothing was tested.
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        size = np.maximum(largest, push * force)
        scale = exact * size
        tolerance = round_off * scale
        tolerance[~(round_off / pushes < RESOLUTION * (push * force / size))] = np.inf
    return LawRecord(s.name, t, quantity, charge, integral, residual, discrete, scale, tolerance)
