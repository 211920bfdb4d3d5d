"""Kick–drift–kick steps: what leapfrog and conformal leapfrog share (theory §6)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .base import Algorithm, Force, Gradients, Rounded, Terms


class KickDriftKick(Algorithm, abstract=True):
    """A step of half a kick, a drift and half a kick, between which friction acts; its dynamics has m > 0."""

    @property
    def order(self) -> int:
        """2."""
        return 2

    @property
    def code(self) -> int:
        """The kernels' number: without friction the two are the same."""
        return layout.CONFORMAL

    @property
    def law_of(self) -> Literal["μJ"]:
        """The charge times the integrating factor, which friction takes from it."""
        return "μJ"

    @property
    def push(self) -> float:
        """h/m, in two halves."""
        return self.dt / self.dynamics.mass

    @property
    def _newtonian(self) -> bool:
        return self.dynamics.name == "ND"

    def exact_law(self, terms: Terms) -> str:
        """Return μJ at t_{k+1} less that at t_k, with μ = 1 for Newtonian dynamics."""
        left = "J_{k+1} - J_k" if self._newtonian else r"\mu(t_{k+1})J_{k+1} - \mu(t_k)J_k"
        middle, mass = ("", "") if self._newtonian else (r"\mu(\tau)", "m")
        made = "" if terms.skew else r"h\langle Gv, v\rangle"
        if terms.decays:
            lost = rf"\frac{{h}}{{2{mass}}}\lambda(\langle g(x_k), x_k\rangle + \langle g(x_{{k+1}}), x_{{k+1}}\rangle)"
            made = f"({made} - {lost})" if made else f"(-{lost})"
        return f"{left} = {middle}{made}" if made else f"{left} = 0"

    def letters(self) -> dict[str, str]:
        """Return what J, h and v are, and μ and τ where there is friction."""
        told = {"J = ⟨g(x), v⟩": "its charge", "h": f"{self.dt:.4g}, the time per step"}
        told |= {"v": "the velocity of step k's drift from x_k to x_{k+1}"}
        return told if self._newtonian else told | {"μ(t)": "the integrating factor", "τ": "t_k + h/2"}

    def fewest_rows(self, known_start: bool) -> int:
        """Return 3: the kicks before and after a position are told together."""
        return 3

    @property
    def gain(self) -> float:
        """4m/h² + λ."""
        return 4 * self.dynamics.mass / self.dt**2 + self.weight_decay

    @property
    def reach(self) -> float:
        """h²/m."""
        return self.dt**2 / self.dynamics.mass

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve v_{k+½} = ρv_{k−½} − (h/2m)(1 + ρ)F(x_k), ρ = μ(τ_{k−1})/μ(τ_k) with τ_k = t_k + h/2: both half kicks at x_k."""
        h, dynamics = self.dt, self.dynamics
        v = np.diff(x, axis=0) / h
        middle = t0 + (np.arange(v.shape[0]) + 0.5) * h
        rho = dynamics.fading(middle[:-1], middle[1:])[:, None]
        gradient = 2 * dynamics.mass / h * (rho * v[:-1] - v[1:]) / (1 + rho)
        return np.arange(1, x.shape[0] - 1), x[1:-1], gradient

    def walk(
        self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded
    ) -> tuple[Float64Array, Float64Array]:
        """Return x and v after so many steps."""
        h, dynamics = self.dt, self.dynamics
        kick = 0.5 * h / dynamics.mass
        at_x = force(0, x)
        for j in range(steps):
            start, middle, end = (t + (j + part) * h for part in (0.0, 0.5, 1.0))
            v = dynamics.fading(start, middle) * v - kick * at_x
            x = rounded(x + h * v)
            at_x = force(j + 1, x)
            v = rounded(dynamics.fading(middle, end) * (v - kick * at_x))
        return x, v

    @property
    def gradients_per_step(self) -> int:
        """2."""
        return 2
