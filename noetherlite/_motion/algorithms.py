"""The algorithms: what a step is, the time it takes, and the dynamics it discretises."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base import checks
from .._kernels import layout
from .dynamics import GF, Dynamics


@dataclass(frozen=True, repr=False)
class Algorithm:
    """A discrete algorithm; use one of its subclasses.

    Attributes
    ----------
    lr : float
        The paper's learning rate: η for gradient descent and heavy ball, s = h² for the others.
    weight_decay : float
        λ ≥ 0, for every algorithm: ∇U(x) + λx takes the place of ∇U(x), as if the potential were U + ½λ|x|². It breaks the
        laws of scalings, linear layers and translations in the way that theory §10 says, which their exact discrete
        forms take into account; those of rotations survive. Keyword only.
    """

    lr: float
    weight_decay: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", checks.real(self.lr, "lr", minimum=0.0, strict=True))
        object.__setattr__(self, "weight_decay", checks.real(self.weight_decay, "weight_decay", minimum=0.0))

    def __repr__(self) -> str:
        shown = {name: value for name, value in dataclasses.asdict(self).items() if name != "weight_decay" or value}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

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
    def has_velocity(self) -> bool:
        """Whether a velocity is part of its state."""
        return True

    @property
    def code(self) -> int:
        """The kernels' number."""
        raise NotImplementedError

    def kernel(self, t0: float) -> layout.Algorithm:
        """Return the kernels' description of this algorithm started at t0."""
        d = self.dynamics
        momentum = self.momentum if isinstance(self, HeavyBall) else 0.0
        return layout.Algorithm(self.code, self.dt, d.mass, d.gamma, d.alpha, t0, self.weight_decay, momentum)

    def specification(self) -> dict[str, Any]:
        """Return the name and the parameters, ready for JSON."""
        return {"name": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True, repr=False)
class GD(Algorithm):
    """Gradient descent x_{k+1} = x_k − η∇U(x_k), time t = kη.

    Parameters
    ----------
    lr : float
        η > 0.
    weight_decay : float
        λ ≥ 0, keyword only.

    Notes
    -----
    Exact law for a symmetric generator G: Q_{k+1} − Q_k = ½η²⟨∇U(x_k), G∇U(x_k)⟩ (theory §6). With weight decay and
    d = ∇U + λx: Q_{k+1} − Q_k = ½η²⟨d, Gd⟩ − ηλ⟨g(x_k), x_k⟩ (theory §10).
    """

    @property
    def has_velocity(self) -> bool:
        """False: ẋ is −∇U."""
        return False

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


@dataclass(frozen=True, repr=False)
class HeavyBall(Algorithm):
    """Gradient descent with momentum (Polyak's heavy ball), as the frameworks' SGD has it (theory §10).

    u_{k+1} = βu_k + (1 − a)(∇U(x_k) + λx_k),  x_{k+1} = x_k − ηu_{k+1},  u_0 = 0.

    Parameters
    ----------
    lr : float
        η > 0.
    momentum : float
        0 ≤ β < 1.
    dampening : float
        0 ≤ a < 1.
    weight_decay : float
        λ ≥ 0, keyword only.

    Notes
    -----
    Stepped in terms of the velocity v = −u/(1 − a) and the time per step h = η(1 − a): v_{k+1} = βv_k − ∇U(x_k) − λx_k,
    x_{k+1} = x_k + hv_{k+1}. As h → 0 it follows (1 − β)ẋ = −∇U, gradient flow that is faster by 1/(1 − β); at finite h more
    closely ½h(1 + β)ẍ + (1 − β)ẋ = −∇U, see `noetherlite.drift`. Exact law: J_{k+1} = βJ_k − λ⟨g(x_k), x_k⟩ + h⟨Gv_{k+1}, v_{k+1}⟩.

    With β = 0 and a = 0 it is `GD`, bit for bit. PyTorch's first step leaves the dampening out; all others are the same.
    """

    momentum: float = 0.9
    dampening: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("momentum", "dampening"):
            value = checks.real(getattr(self, name), name, minimum=0.0)
            if value >= 1:
                raise ValueError(f"{name}={value:g} is out of range; expected >= 0 and < 1")
            object.__setattr__(self, name, value)

    @property
    def dt(self) -> float:
        """Time per step, η(1 − a)."""
        return self.lr * (1 - self.dampening)

    @property
    def dynamics(self) -> Dynamics:
        """Gradient flow (1 − β)ẋ = −∇U."""
        return Dynamics(0.0, 1 - self.momentum, 0.0)

    @property
    def order(self) -> int:
        """1."""
        return 1

    @property
    def code(self) -> int:
        """The kernels' number."""
        return layout.HEAVY_BALL


@dataclass(frozen=True, repr=False)
class Leapfrog(Algorithm):
    """Leapfrog (velocity Verlet) for Newtonian dynamics: x_{k+1} − 2x_k + x_{k−1} = −h²∇U(x_k), h = √lr, t = kh.

    Parameters
    ----------
    lr : float
        The paper's learning rate s = h² > 0.
    weight_decay : float
        λ ≥ 0, keyword only.

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


@dataclass(frozen=True, repr=False)
class NAGD(Algorithm):
    """Nesterov's accelerated gradient descent after Su, Boyd & Candès (GU (20)), h = √s, t = kh.

    x_k = y_{k−1} − s∇U(y_{k−1}),  y_k = x_k + (k−1)/(k+α−1)·(x_k − x_{k−1}); the paper has α = 3.

    Parameters
    ----------
    lr : float
        The paper's learning rate s > 0.
    alpha : float
        Friction coefficient α ≥ 3 (below 3 the method loses its rate; `ConformalLeapfrog` takes any α ≥ 0).
    weight_decay : float
        λ ≥ 0, keyword only.

    Notes
    -----
    Stepped in velocity form, v_{k+1} = β_k v_k − h∇U(y_k), x_{k+1} = x_k + h v_{k+1}, which keeps digits that
    differences of x would lose.
    """

    alpha: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", checks.real(self.alpha, "alpha", minimum=3.0))

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


@dataclass(frozen=True, repr=False)
class ConformalLeapfrog(Algorithm):
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
        object.__setattr__(self, "mass", checks.real(self.mass, "mass", minimum=0.0, strict=True))
        for name in ("gamma", "alpha"):
            object.__setattr__(self, name, checks.real(getattr(self, name), name, minimum=0.0))

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


def specified(specification: Mapping[str, Any]) -> Algorithm:
    """Return the algorithm that `Algorithm.specification` describes."""
    settings = dict(specification)
    kinds = {kind.__name__: kind for kind in Algorithm.__subclasses__()}
    return kinds[checks.one_of(settings.pop("name"), "algorithm", kinds)](**settings)
