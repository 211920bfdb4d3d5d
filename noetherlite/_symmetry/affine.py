"""Symmetries that the user gives by G and ξ."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.floating import norm
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout
from .family import Family, KernelLaw, expm
from .written import DynamicsNotation, Entry, Formula


class Symmetry(Family):
    """A symmetry given by the user: g(x) = Gx + ξ on any potential.

    It is verified where it is used, as by `symmetry_defect`: at a few random points, which is evidence and no proof.

    Parameters
    ----------
    G : array_like, shape (P, P)
        Linear part.
    xi : array_like, shape (P,), optional
        Constant part, zero by default.
    name : str
        Key in `Trajectory.laws`.

    Raises
    ------
    ValueError
        If G is not a square matrix, or ξ does not fit it.
    """

    measured = True

    def __init__(self, G: ArrayLike, xi: ArrayLike | None = None, name: str = "affine") -> None:
        self.G = checks.array(G, "G", ndim=2)
        if self.G.shape[0] != self.G.shape[1] or self.G.shape[0] == 0:
            raise ValueError(f"G must be a square matrix (P, P), got {self.G.shape}")
        self.n_params = self.G.shape[0]
        self.xi = np.zeros(self.n_params) if xi is None else checks.shaped(xi, "xi", (self.n_params,))
        self.symmetric = bool(np.array_equal(self.G, self.G.T))
        checks.instance(name, "name", str, "a string")
        self.name, self.shape = name, (1,)

    def pair(self, a: Array, b: Array) -> Float64Array:
        return np.asarray(((a @ self.G.T) * b).sum(axis=-1, keepdims=True))

    def translation(self, b: Array) -> Float64Array:
        return np.asarray((b * self.xi).sum(axis=-1, keepdims=True))

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return Gx + ξ, shape (1, P)."""
        return np.asarray(self.G @ self._point(x) + self.xi)[None]

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return the flow of g from x at the time `strength`, by the exponential of the affine map."""
        P = self.n_params
        affine = np.zeros((P + 1, P + 1))
        affine[:P, :P], affine[:P, P] = self.G, self.xi
        moved = expm(float(self._strength(strength)[0]) * affine) @ np.append(self._point(x), 1.0)
        return np.asarray(moved[:P])

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return |Gx + ξ|, shape (1,)."""
        return np.array([norm(self.generator(x))])

    def norm_within(self, x: Array, block: slice) -> Float64Array:
        """Return the norm of Gx + ξ over a block, shape (1,)."""
        return np.array([norm(self.generator(x)[0, block])])

    def kernel(self) -> KernelLaw:
        """Return the kernels' description; `records.table` adds the number of its matrix."""
        return KernelLaw(layout.AFFINE, (0, -1, 0, -1, -1, -1, 0))

    @property
    def quantity_degree(self) -> float | None:
        """2 for G alone, 1 for ξ alone; None where there are both."""
        if self.G.any() and self.xi.any():
            return None
        return 2.0 if self.G.any() else 1.0

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        """Return none: its name says nothing about its formula."""
        return {}

    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law in terms of G and ξ, as far as they are not zero."""
        field = " + ".join(term for term, nonzero in (("Gx", self.G.any()), (r"\xi", self.xi.any())) if nonzero) or "0"
        source = "GU (16), (17)"
        if motion.first_order and self.symmetric:
            terms = ((r"\frac{1}{2}\langle x, Gx\rangle", self.G.any()), (r"\langle \xi, x\rangle", self.xi.any()))
            return (" + ".join(term for term, nonzero in terms if nonzero) or "0") + r" = \mathrm{const}", source
        charge = rf"\langle {field}, \dot{{x}}\rangle"
        if motion.first_order:
            return rf"{charge} = 0", source
        if np.array_equal(self.G, -self.G.T):
            return rf"{motion.factor}{charge} = \mathrm{{const}}", source
        return motion.balanced(charge, r"\langle G\dot{x}, \dot{x}\rangle"), source
