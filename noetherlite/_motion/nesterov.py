"""Nesterov's accelerated gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .._kernels import layout
from .base import Algorithm, Force, Gradients, Rounded, Terms
from .dynamics import Dynamics

# Quadratic terms of the law: with G = 0 there are none, with skew G only the second.
_SQUARES = r"\langle Gv_{k+1}, v_{k+1}\rangle + \beta_k^2\langle Gv_k, v_k\rangle"
_MIXED = r"\beta_k\langle Gv_k, v_{k+1}\rangle"


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

    @property
    def law_of(self) -> Literal["J"]:
        """The charge."""
        return "J"

    @property
    def push(self) -> float:
        """h: v_{k+1} = β_k v_k − hF."""
        return self.dt

    def exact_law(self, terms: Terms) -> str:
        """Return J_{k+1} in terms of J_k."""
        inner = "" if terms.still else f"- {_MIXED}" if terms.skew else f"{_SQUARES} - {_MIXED}"
        inner += r" - \lambda\langle g(y_k), y_k\rangle" if terms.decays else ""
        return r"J_{k+1} = \beta_kJ_k" + (f" + h({inner.strip()})" if inner else "")

    def letters(self) -> dict[str, str]:
        """Return what J, h and β_k are."""
        told = {"J = ⟨g(x), v⟩": "its charge", "h": f"{self.dt:.4g}, the time per step"}
        return told | {"β_k": "(k − 1)/(k + 2)"}

    def fewest_rows(self, known_start: bool) -> int:
        """Return 2 from rest, else 3."""
        return 2 if known_start else 3

    @property
    def gain(self) -> float:
        """4/h² + λ."""
        return 4 / self.dt**2 + self.weight_decay

    @property
    def reach(self) -> float:
        """h²."""
        return self.dt**2

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Solve x_{k+1} = y_k − sF(y_k) with y_k = x_k + β_k(x_k − x_{k−1}); from t = 0 on also with y_0 = x_0."""
        k = t0 / self.dt + np.arange(1, x.shape[0] - 1)
        beta = ((k - 1) / (k + self.alpha - 1))[:, None]
        record, points = np.arange(1, x.shape[0] - 1), x[1:-1] + beta * (x[1:-1] - x[:-2])
        if t0 == 0:
            record, points = np.arange(x.shape[0] - 1), np.concatenate([x[:1], points])
        return record, points, (points - x[record + 1]) / self.lr

    def walk(
        self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded
    ) -> tuple[Float64Array, Float64Array]:
        """Return x and v after so many steps."""
        h = self.dt
        for j in range(steps):
            k = round(t / h) + j
            beta = (k - 1) / (k + self.alpha - 1)
            v = rounded(beta * v - h * force(j, x + beta * h * v))
            x = rounded(x + h * v)
        return x, v

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return this algorithm for a flow with friction α/t alone, α ≥ 3."""
        fits = dynamics.mass == 1 and dynamics.gamma == 0 and dynamics.alpha >= 3
        return cls(dt**2, dynamics.alpha) if fits else None
