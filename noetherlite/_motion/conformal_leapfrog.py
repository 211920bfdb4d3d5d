"""Conformal leapfrog, of any dynamics with mass."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from .base import Algorithm
from .dynamics import Dynamics
from .kick_drift_kick import KickDriftKick
from .settings import NOT_NEGATIVE, POSITIVE


class Damped(KickDriftKick, abstract=True):
    """Kick–drift–kick steps with friction, of any dynamics (m, γ, α) with mass; its classes have these as fields."""

    mass: float
    gamma: float
    alpha: float

    @cached_property
    def dynamics(self) -> Dynamics:
        """The dynamics (m, γ, α)."""
        return Dynamics(self.mass, self.gamma, self.alpha)

    @property
    def singular_start(self) -> bool:
        """True when α > 0."""
        return self.alpha > 0


@dataclass(frozen=True, repr=False)
class ConformalLeapfrog(Damped):
    """Conformal leapfrog for m ẍ + (γ + α/t) ẋ + ∇U = 0, step h = √lr (theory §6).

    v ← v μ(t)/μ(τ); v ← v − (h/2m)∇U(x); x ← x + hv; v ← v − (h/2m)∇U(x); v ← v μ(τ)/μ(t+h), with τ = t + h/2.

    Parameters
    ----------
    lr : float
        h² > 0.
    mass, gamma, alpha : float
        m > 0, γ ≥ 0, α ≥ 0. With α > 0 a run must start at t0 > 0.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Second order; μJ is conserved to round-off for rotations and translations; with γ = α = 0 and m = 1 bit-identical to
    `Leapfrog`.
    """

    mass: float = field(default=1.0, metadata=POSITIVE)
    gamma: float = field(default=0.0, metadata=NOT_NEGATIVE)
    alpha: float = field(default=0.0, metadata=NOT_NEGATIVE)

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return this algorithm for any dynamics with mass, unless its friction is infinite at t0."""
        if dynamics.mass == 0 or (dynamics.alpha > 0 and t0 == 0):
            return None
        return cls(dt**2, dynamics.mass, dynamics.gamma, dynamics.alpha)
