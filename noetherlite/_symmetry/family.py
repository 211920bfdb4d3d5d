"""The base classes of symmetries, and of families of affine ones: g(x) = Gx + ξ with ⟨g(x), ∇U(x)⟩ = 0 (GU (16)).

A family of generators is one object: n_h scalings, n_h × n_h matrices, one field per output column. Component c has the
generator g_c(x) = G_c x + ξ_c, and everything follows from the forms B_c(a, b) = ⟨G_c a, b⟩ and T_c(b) = ⟨ξ_c, b⟩:

    quantity Q = ½B(x, x) + T(x) (G symmetric),   charge J = B(x, v) + T(v),   source S = B(v, v).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from .._base import checks, html
from .._base.complete import require
from .._base.floating import rangeless, underflowing
from .._base.types import Array, ArrayLike, Float64Array
from .._problem.network import Network
from .written import DynamicsNotation, Entry, Formula


@underflowing
def expm(A: Float64Array) -> Float64Array:
    """Return exp(A). SciPy is imported on the first call, which keeps the import of the package fast."""
    from scipy.linalg import expm as scipy_expm

    return np.asarray(scipy_expm(A))


def _within_range(apply: Callable[[Any, ArrayLike, ArrayLike], Float64Array]) -> Callable[..., Float64Array]:
    """Return the method `apply` of a family as one that raises ValueError if its result overflows."""

    @functools.wraps(apply)
    @rangeless
    def checked(self: Any, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        moved = apply(self, x, strength)
        if not np.isfinite(moved).all():
            raise ValueError(f"strength={checks.describe(strength)} moves x beyond the range of a double")
        return moved

    return checked


# Methods that ignore underflow, whatever `np.seterr` the program has set.
_NUMERICAL = {"generator", "quantity", "charge", "source", "pair", "translation", "norm"}


class KernelLaw(NamedTuple):
    """The kernels' description of a family: a row of `layout.Laws`."""

    kind: int
    where: tuple[int, ...]
    degree: float = 0.0


class NoetherSymmetry(ABC):
    """Base class of all symmetries; x and v have shape (..., P), results (..., *shape).

    Attributes
    ----------
    name : str
        "scaling:1", "linear:2", "rotation", "translation:b", …, "time".
    shape : tuple of int
        Shape of the components, for example (n_h,).
    n_params : int
        P.
    measured : bool
        Whether it depends on the data, or is given by the user, and so can only be measured at random points; otherwise it
        is a theorem about the activations, the loss or the equation of motion.
    """

    name: str
    shape: tuple[int, ...]
    n_params: int
    measured = False

    def __init_subclass__(cls, abstract: bool = False) -> None:
        """Raise TypeError for a concrete class that lacks abstract members."""
        super().__init_subclass__()
        if not abstract:
            require(cls, "symmetry")
        for name in _NUMERICAL & vars(cls).keys():
            setattr(cls, name, underflowing(vars(cls)[name]))
        if "apply" in vars(cls):
            cls.apply = _within_range(cls.apply)  # type: ignore[attr-defined]

    @property
    def n_generators(self) -> int:
        """Number of components."""
        return math.prod(self.shape)

    @abstractmethod
    def generator(self, x: ArrayLike) -> Float64Array:
        """Return the fields g_c(x), shape (n_generators, P), for x of shape (P,)."""

    @abstractmethod
    def quantity(self, x: ArrayLike) -> Float64Array:
        """Return Q(x), whose rate of change is `quantity_rate`; NaN where there is none."""

    @abstractmethod
    def charge(self, x: ArrayLike, v: ArrayLike) -> Float64Array:
        """Return the charge J(x, v)."""

    @abstractmethod
    def source(self, v: ArrayLike) -> Float64Array:
        """Return the source S(v)."""

    @abstractmethod
    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law under a dynamics, in LaTeX, with its source; where `summable`, that of the whole layer if asked for."""

    @classmethod
    @abstractmethod
    def entries(cls) -> dict[str, Entry]:
        """Return formulas by name (without the layer's number), for symmetries of which only the name is given."""

    def _vectors(self, x: ArrayLike, name: str) -> Array:
        raw = checks.vectors(x, name, self.n_params)
        return checks.array(raw, name, ndim=raw.ndim)

    def _point(self, x: ArrayLike) -> Array:
        return checks.shaped(x, "x", (self.n_params,))

    def __repr__(self) -> str:
        ground = ", by measurement" if self.measured else ""
        count = f"{self.n_generators} generator{'s' * (self.n_generators != 1)}"
        return f"<{type(self).__name__} {self.name!r}, {count}{ground}>"

    @classmethod
    def action(cls) -> str:
        """Return a description of the group action: the first line of the class's docstring."""
        return (cls.__doc__ or "").partition("\n")[0]

    def _repr_html_(self) -> str:
        ground = "a measurement at random parameters" if self.measured else "a theorem"
        rows = [
            ("action", self.action()),
            ("components", self.shape),
            ("parameters", self.n_params),
            ("rests on", ground),
        ]
        objection = getattr(self, "objection", "")
        return html.table(f"Symmetry {self.name}", [*rows, ("no symmetry", objection)] if objection else rows)


class Family(NoetherSymmetry, abstract=True):
    """A family of affine symmetries; `name` is its key in `Trajectory.laws`.

    Notes
    -----
    A new family is a file beside this one, with a subclass that has all abstract members, and a row of
    `catalogue.FAMILIES`; `docs/extending.md` describes its part in the kernels.
    """

    # whether there is a quantity Q: the G_c are symmetric, so that Q̇ = J, or the family contains their symmetric parts
    symmetric: bool
    objection = ""  # why this is not a symmetry of its network; empty if it is one
    batchwise = True  # whether it is a symmetry of the loss of every minibatch; rotations need the whole data set
    still = False  # whether G = 0, for all of the class: such terms drop out of its laws
    skew = False  # whether ⟨Gv, v⟩ = 0, which G = 0 implies
    summable = False  # whether there is a law of the sum over the neurons of a layer
    reducible = False  # whether its law can be recorded where the first layer is trained in the span of the inputs
    condition = ""  # a condition on the data, as text; empty if the symmetry follows from the network

    @classmethod
    def of(cls, network: Network) -> list[Self]:
        """Return the members of this class whose parameters the network has."""
        return []

    @property
    @abstractmethod
    def quantity_degree(self) -> float | None:
        """κ of ⟨g(x), x⟩ = κQ(x): 2 for quadratic Q, 1 for linear Q, None for neither and without Q."""

    @abstractmethod
    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return B(a, b) = ⟨Ga, b⟩ for a and b of shape (..., P)."""

    @abstractmethod
    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x moved by the finite group element exp(Σ_c strength_c g_c); strength has shape `shape` or is a number.

        ValueError if the result is beyond the range of a double.
        """

    @abstractmethod
    def norm(self, x: ArrayLike) -> Float64Array:
        """Return |g_c(x)|, shape `shape`, for x of shape (P,)."""

    def norms(self, x: Float64Array) -> Float64Array:
        """Return |g_c| at every row of x (K, P), shape (K, *shape)."""
        return np.array([self.norm(row) for row in x])

    def least_norm(self, x: Array) -> Array:
        """Return a lower bound of max_c |g_c(x)| for x of shape (..., P), in few operations; 0 where these tell nothing."""
        return np.zeros(x.shape[:-1])

    def norm_within(self, x: Array, block: slice) -> Float64Array:
        """Return the norm of g_c(x) over a block of parameters, for g that acts on each block separately."""
        restricted = np.zeros_like(x)
        restricted[block] = x[block]
        return self.norm(restricted)

    @abstractmethod
    def kernel(self) -> KernelLaw:
        """Return the kernels' description."""

    def translation(self, b: Array) -> Float64Array:
        """Return T(b) = ⟨ξ, b⟩."""
        return np.zeros((*np.shape(b)[:-1], *self.shape))

    def quantity(self, x: ArrayLike) -> Float64Array:
        """Return Q(x) = ½⟨x, Gx⟩ + ⟨ξ, x⟩; NaN where G is not symmetric."""
        x = self._vectors(x, "x")
        if not self.symmetric:
            return np.full((*x.shape[:-1], *self.shape), np.nan)
        return 0.5 * self.pair(x, x) + self.translation(x)

    def quantity_rate(self, charge: Float64Array) -> Float64Array:
        """Return Q̇ = ⟨∇Q(x), v⟩ from the charge J(x, v): J itself, except for linear layers."""
        return charge

    def charge(self, x: ArrayLike, v: ArrayLike) -> Float64Array:
        """Return J = ⟨g(x), v⟩."""
        x, v = self._vectors(x, "x"), self._vectors(v, "v")
        return self.pair(x, v) + self.translation(v)

    def source(self, v: ArrayLike) -> Float64Array:
        """Return S = ⟨Gv, v⟩."""
        v = self._vectors(v, "v")
        return self.pair(v, v)

    def _strength(self, strength: ArrayLike) -> Float64Array:
        out = checks.array(strength, "strength", ndim=(0, len(self.shape)))
        if out.shape not in ((), self.shape):
            raise ValueError(f"strength must be a number or have shape {self.shape}, got {out.shape}")
        return np.broadcast_to(out, self.shape)
