"""The algorithms: what a step is, the time it takes, and the dynamics it discretises."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from . import _validate
from ._kernels import layout
from .dynamics import GF, Dynamics


@dataclass(frozen=True)
class Algorithm:
    """A discrete algorithm; use one of its subclasses.

    Attributes
    ----------
    lr : float
        The paper's learning rate: η for gradient descent, s = h² for the others.
    """

    lr: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", _validate.real(self.lr, "lr", minimum=0.0, strict=True))

    @property
    def dt(self) -> float:
        """Time per step."""
        return math.sqrt(self.lr)

    @property
    def dynamics(self) -> Dynamics:
        """The continuous dynamics this algorithm follows as lr → 0."""
        raise NotImplementedError

    @property
    def order(self) -> int:
        """Order in `dt` of the laws' discretisation error at a fixed final time."""
        raise NotImplementedError

    @property
    def singular_start(self) -> bool:
        """Whether the algorithm divides by t and so cannot start at t = 0."""
        return False

    @property
    def code(self) -> int:
        """The kernels' number."""
        raise NotImplementedError

    def kernel(self, t0: float) -> layout.Algorithm:
        """Return the kernels' description of this algorithm started at t0."""
        d = self.dynamics
        return layout.Algorithm(self.code, self.dt, d.mass, d.gamma, d.alpha, t0)

    def specification(self) -> dict[str, Any]:
        """Return the name and the parameters, ready for JSON."""
        return {"name": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class GD(Algorithm):
    """Gradient descent x_{k+1} = x_k − η∇U(x_k), time t = kη.

    Parameters
    ----------
    lr : float
        η > 0.

    Notes
    -----
    Exact law for a symmetric generator G: Q_{k+1} − Q_k = ½η²⟨∇U(x_k), G∇U(x_k)⟩ (theory §6).
    """

    @property
    def dt(self) -> float:
        """Time per step, η."""
        return self.lr

    @property
    def dynamics(self) -> Dynamics:
        """Gradient flow."""
        return GF

    @property
    def order(self) -> int:
        """1."""
        return 1

    @property
    def code(self) -> int:
        """The kernels' number."""
        return layout.GD


@dataclass(frozen=True)
class Leapfrog(Algorithm):
    """Leapfrog (velocity Verlet) for Newtonian dynamics: x_{k+1} − 2x_k + x_{k−1} = −h²∇U(x_k), h = √lr, t = kh.

    Parameters
    ----------
    lr : float
        The paper's learning rate s = h² > 0.

    Notes
    -----
    Kick–drift–kick from (x_0, v_0). Symplectic, time-reversible, second order. Exact law, with J = ⟨g(x), v⟩ and v_{k+½}
    the drift's velocity: J_{k+1} − J_k = h⟨Gv_{k+½}, v_{k+½}⟩, the same as theory §6 between midpoints.
    """

    @property
    def dynamics(self) -> Dynamics:
        """Newtonian dynamics."""
        return Dynamics(1.0, 0.0, 0.0)

    @property
    def order(self) -> int:
        """2."""
        return 2

    @property
    def code(self) -> int:
        """The kernels' number: conformal leapfrog without friction."""
        return layout.CONFORMAL


@dataclass(frozen=True)
class NAGD(Algorithm):
    """Nesterov's accelerated gradient descent after Su, Boyd & Candès (GU (20)), h = √s, t = kh.

    x_k = y_{k−1} − s∇U(y_{k−1}),  y_k = x_k + (k−1)/(k+α−1)·(x_k − x_{k−1}); the paper has α = 3.

    Parameters
    ----------
    lr : float
        The paper's learning rate s > 0.
    alpha : float
        Friction coefficient α ≥ 3 (below 3 the method loses its rate; `ConformalLeapfrog` takes any α ≥ 0).

    Notes
    -----
    Stepped in velocity form, v_{k+1} = β_k v_k − h∇U(y_k), x_{k+1} = x_k + h v_{k+1}, which keeps digits that
    differences of x would lose.
    """

    alpha: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", _validate.real(self.alpha, "alpha", minimum=3.0))

    @property
    def dynamics(self) -> Dynamics:
        """Nesterov's accelerated gradient flow, friction α/t."""
        return Dynamics(1.0, 0.0, self.alpha)

    @property
    def order(self) -> int:
        """1."""
        return 1

    @property
    def code(self) -> int:
        """The kernels' number."""
        return layout.NAGD


@dataclass(frozen=True)
class ConformalLeapfrog(Algorithm):
    """Conformal leapfrog for m ẍ + (γ + α/t) ẋ + ∇U = 0, step h = √lr (theory §6).

    v ← v μ(t)/μ(τ); v ← v − (h/2m)∇U(x); x ← x + hv; v ← v − (h/2m)∇U(x); v ← v μ(τ)/μ(t+h), with τ = t + h/2.

    Parameters
    ----------
    lr : float
        h² > 0.
    mass, gamma, alpha : float
        m > 0, γ ≥ 0, α ≥ 0. With α > 0 a run must start at t0 > 0.

    Notes
    -----
    Second order; μJ is conserved to round-off for rotations and translations; with γ = α = 0 and m = 1 bit-identical to
    `Leapfrog`.
    """

    mass: float = 1.0
    gamma: float = 0.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mass", _validate.real(self.mass, "mass", minimum=0.0, strict=True))
        for name in ("gamma", "alpha"):
            object.__setattr__(self, name, _validate.real(getattr(self, name), name, minimum=0.0))

    @property
    def dynamics(self) -> Dynamics:
        """The dynamics (m, γ, α)."""
        return Dynamics(self.mass, self.gamma, self.alpha)

    @property
    def order(self) -> int:
        """2."""
        return 2

    @property
    def singular_start(self) -> bool:
        """True when α > 0."""
        return self.alpha > 0

    @property
    def code(self) -> int:
        """The kernels' number."""
        return layout.CONFORMAL
