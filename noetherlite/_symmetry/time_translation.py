"""Translation of time."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.types import ArrayLike, Float64Array
from .._problem.potentials import Potential
from .family import NoetherSymmetry
from .written import DynamicsNotation, Entry, Formula, group


class Time(NoetherSymmetry):
    """Translation of time (GU §7, theory §4.5): the charge is the energy E = ½m|ẋ|² + U, with dE/dt = c(t)·source ≤ 0.

    Every run records E in `Trajectory.energy`, so this is never among `Trajectory.laws`.

    Parameters
    ----------
    U : Potential
        It does not depend on time; no potential here does.
    mass : float
        m ≥ 0 of the dynamics, 1 by default; with 0 the energy is U.
    """

    def __init__(self, U: Potential, mass: float = 1.0) -> None:
        self.name, self.shape, self.n_params = "time", (1,), U.n_params
        self.potential, self.mass = U, checks.real(mass, "mass", minimum=0.0)

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return zeros of shape (1, P): t moves, x does not (τ = 1, g = 0 in theory §8)."""
        return np.zeros((1, self._point(x).size))

    def quantity(self, x: ArrayLike) -> Float64Array:
        """Return NaN, shape (..., 1): the energy is no time derivative of a function of x."""
        return np.full((*self._vectors(x, "x").shape[:-1], 1), np.nan)

    def charge(self, x: ArrayLike, v: ArrayLike) -> Float64Array:
        """Return E = ½m|v|² + U(x), shape (..., 1)."""
        x, v = self._vectors(x, "x"), self._vectors(v, "v")
        values = np.array([self.potential.value(point) for point in x.reshape(-1, self.n_params)])
        return values.reshape(*x.shape[:-1], 1) - 0.5 * self.mass * self.source(v)

    def source(self, v: ArrayLike) -> Float64Array:
        """Return −|v|², shape (..., 1): energy is lost at the rate c(t)|ẋ|² (GU (35))."""
        return np.asarray(-(self._vectors(v, "v") ** 2).sum(axis=-1, keepdims=True))

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        return {"time": lambda motion, *_: entry(motion)}

    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law of energy."""
        return entry(motion)


def entry(motion: DynamicsNotation) -> Formula:
    """Return the law of energy."""
    half = r"\frac{1}{2}" if not motion.mass else rf"\frac{{{motion.mass}}}{{2}}"
    energy = r"\,U" if motion.first_order else rf"{half}|\dot{{x}}|^2 + U"
    if not motion.friction:
        return rf"{energy} = \mathrm{{const}}", "GU §7"
    friction = "" if motion.friction == "1" else motion.friction
    return rf"\frac{{d}}{{dt}}{group(energy)} = -{friction}|\dot{{x}}|^2", "GU (35)"
