"""The laws that follow from symmetries: what a run records of them, and their residuals.

Pairing the equation of motion with g gives, for every dynamics (theory §3),

    m > 0:  d/dt [μ J] = μ S,      m = 0:  J = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from . import _html
from ._family import Family
from ._kernels import layout
from ._types import Float64Array
from .dynamics import Dynamics


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
        The Noether residual r(t) = μJ − μ(t_0)J(t_0) − ∫μS ds (m > 0), Q(t) − Q(t_0) (m = 0); for m = 0 and G not
        symmetric ∫J ds. It measures how well the algorithm follows the continuous law and shrinks with the step. Weight
        decay is not in this law, so that the residual is what the decay makes of it.
    discrete_residual : ndarray, shape (R, *shape)
        The signed per-step defects of the algorithm's own exact law (theory §6, §10), weight decay included, summed since the
        start: round-off and nothing else, at any step size. For leapfrog and conformal leapfrog the law carries the factor μ;
        it is one of Q for gradient descent, of J for the others.
    """

    name: str
    t: Float64Array
    quantity: Float64Array
    charge: Float64Array
    source_integral: Float64Array
    residual: Float64Array
    discrete_residual: Float64Array

    def __repr__(self) -> str:
        worst = [np.abs(a).max(initial=0.0) for a in (self.residual, self.discrete_residual)]
        many = "" if self.t.ndim == 1 else f"{len(self.t)} networks, "
        return (
            f"LawRecord({self.name!r}, {many}{self.t.shape[-1]} records, components {self.quantity.shape[self.t.ndim :]}, "
            f"max |residual| {worst[0]:.3g}, max |discrete_residual| {worst[1]:.3g})"
        )

    def largest(self, what: str) -> float:
        """Return the largest |entry| of one of the arrays, where it is finite; NaN where it is nowhere."""
        values = getattr(self, what)
        finite = np.abs(values[np.isfinite(values)])
        return float(finite.max()) if finite.size else float("nan")

    def _repr_html_(self) -> str:
        rows = [(f.name, self.largest(f.name)) for f in fields(self) if f.name not in ("name", "t")]
        many = "" if self.t.ndim == 1 else f"{len(self.t)} networks, "
        title = (
            f"LawRecord {self.name}: {many}{self.t.shape[-1]} records, components {self.quantity.shape[self.t.ndim :]}"
        )
        return _html.table(title, rows, ("array", "largest |entry|"))


def table(symmetries: Sequence[Family], n_params: int, dtype: str) -> layout.Laws:
    """Return the kernels' table of the laws to watch; components lie one family after the other."""
    rows = [s.row() for s in symmetries]
    own = [s for s, row in zip(symmetries, rows, strict=True) if row.kind == layout.AFFINE]
    where = np.full((len(rows), 8), -1, np.int64)
    for l, row in enumerate(rows):
        where[l] = (*row.where, row.where[1])
        if row.kind == layout.AFFINE:
            where[l, 0] = own.index(symmetries[l])
    n = (len(own), n_params)
    return layout.Laws(
        kind=np.array([row.kind for row in rows], np.int64),
        start=np.concatenate([[0], np.cumsum([s.n_generators for s in symmetries])]).astype(np.int64),
        where=where,
        degree=np.array([row.degree for row in rows], dtype),
        G=np.array([s.G for s in own], dtype).reshape(*n, n_params),  # type: ignore[attr-defined]
        xi=np.array([s.xi for s in own], dtype).reshape(n),  # type: ignore[attr-defined]
        symmetric=np.array([s.symmetric for s in symmetries], np.int64),
        Z0=np.empty((0, 0), dtype),
        some_skew=int(not all(s.symmetric for s in symmetries)),
    )


def read(
    symmetries: Sequence[Family], dynamics: Dynamics, t: Float64Array, records: layout.Records
) -> dict[str, LawRecord]:
    """Return the law records from what the kernels wrote, one per symmetry."""
    out, stop = {}, 0
    for s in symmetries:
        start, stop = stop, stop + s.n_generators
        shape = (*t.shape, *s.shape)
        quantity, charge, integral, discrete = (
            a[..., start:stop].reshape(shape).copy()
            for a in (records.quantity, records.charge, records.integral, records.discrete)
        )
        if not s.symmetric:
            quantity[:] = np.nan
        residual = _residual(s, dynamics, t, quantity, charge, integral)
        if dynamics.mass == 0:  # where the kernels sum ∫J ds
            integral = np.full_like(integral, np.nan)
        out[s.name] = LawRecord(s.name, t, quantity, charge, integral, residual, discrete)
    return out


def _residual(
    s: Family,
    dynamics: Dynamics,
    t: Float64Array,
    quantity: Float64Array,
    charge: Float64Array,
    integral: Float64Array,
) -> Float64Array:
    def since_start(a: Float64Array) -> Float64Array:
        first = (slice(None),) * (t.ndim - 1) + (slice(1),)  # none where nothing was recorded
        return np.asarray(a - a[first])

    if dynamics.mass > 0:
        mu = dynamics.integrating_factor(t).reshape(*t.shape, *(1 for _ in s.shape))
        with np.errstate(over="ignore", invalid="ignore"):  # in the last records of a run that diverges
            return since_start(mu * charge) - integral
    return since_start(quantity) if s.symmetric else integral
