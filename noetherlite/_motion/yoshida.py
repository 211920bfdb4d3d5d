"""Yoshida's compositions of leapfrog steps, of fourth and sixth order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._base import checks
from .._kernels import layout
from .._kernels.rules import Method
from .base import Terms, no_gradients
from .conformal_leapfrog import Damped
from .kick_drift_kick import method_of
from .settings import NOT_NEGATIVE, POSITIVE


def _symmetric(outer: tuple[float, ...]) -> tuple[float, ...]:
    """Return these weights, a middle one that makes their sum 1, and these again from the last to the first."""
    return (*outer, 1 - 2 * math.fsum(outer), *outer[::-1])


# Of order 4 there is one solution with three weights; that of order 6 is Yoshida's solution A, to the digits of a double.
WEIGHTS = {
    4: _symmetric((1 / (2 - 2 ** (1 / 3)),)),
    6: _symmetric((0.78451361047755726382, 0.23557321335935813368, -1.17767998417887100695)),
}
_METHODS = {order: method_of(weights) for order, weights in WEIGHTS.items()}


@dataclass(frozen=True, repr=False)
class Yoshida(Damped):
    """Yoshida's composition of leapfrog steps [1]_, of fourth or sixth order, for m ẍ + (γ + α/t) ẋ + ∇U = 0.

    A step of h = √lr is 3 (order 4) or 7 (order 6) steps of `ConformalLeapfrog`, of w_1 h, w_2 h, …, one after the other: Σ w_i = 1,
    and some w_i are negative.

    Parameters
    ----------
    lr : float
        h² > 0.
    order : {4, 6}
        The order of the method: 3 or 7 gradients a step.
    mass, gamma, alpha : float
        m > 0, γ ≥ 0, α ≥ 0; Newtonian dynamics by default. With α > 0 a run must start at t0 > 0.36 h, as substeps go back in time.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Symplectic and time-reversible without friction. Every substep has the exact law of leapfrog with its own signed h, and these
    add up: μ(t_{k+1})J_{k+1} − μ(t_k)J_k = Σ_i w_i h μ(τ_i)⟨Gv_i, v_i⟩. μJ is conserved to round-off for rotations and translations.
    `source_integral` is the sum of the substeps' trapezoids, whose error is of the method's order too.

    References
    ----------
    .. [1] H. Yoshida, "Construction of higher order symplectic integrators", Phys. Lett. A 150 (1990) 262–268.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.diag([1.0, 4.0]))
    >>> coarse, fine = (nl.integrate(U, nl.Yoshida(0.01 / n**2), [1.0, 0.5], steps=100 * n, record_every=100 * n) for n in (1, 2))
    >>> exact = np.cos([10, 20]) * [1, 0.5]
    >>> bool(15 < np.abs(coarse.x - exact).max() / np.abs(fine.x - exact).max() < 17)
    True
    """

    order: int = 4
    mass: float = field(default=1.0, metadata=POSITIVE)
    gamma: float = field(default=0.0, metadata=NOT_NEGATIVE)
    alpha: float = field(default=0.0, metadata=NOT_NEGATIVE)

    implies_gradients = False  #: the substeps are not recorded
    implied_gradients = no_gradients

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "order", checks.integer(self.order, "order", minimum=0))
        if self.order not in WEIGHTS:
            raise ValueError(f"order must be one of {', '.join(map(str, WEIGHTS))}; got {self.order}")

    @property
    def weights(self) -> tuple[float, ...]:
        """w_i, the parts of a step that its substeps are."""
        return WEIGHTS[self.order]

    @property
    def method(self) -> Method:
        """The rules of leapfrog, for every substep."""
        return _METHODS[self.order]

    def kernel(self, t0: float, blocks: Sequence[Any] = ()) -> layout.Algorithm:
        """Return the numbers that its rules read, for a start at t0."""
        back = -self.dt * min(math.fsum(self.weights[: i + 1]) for i in range(len(self.weights)))
        if self.alpha > 0 and t0 <= back:
            raise ValueError(
                f"t0 must be > {back:.3g} for {self}, whose substeps go that far back: friction α/t is infinite at t = 0; got t0={t0:g}"
            )
        return super().kernel(t0, blocks)

    def exact_law(self, terms: Terms) -> str:
        """Return μJ at t_{k+1} less that at t_k, a sum over the substeps."""
        ends = r"\langle g(x_{i-1}), x_{i-1}\rangle + \langle g(x_i), x_i\rangle"
        decay = rf"\frac{{1}}{{2{self._mass}}}\lambda({ends})"
        return self._law(terms, r"\sum_i w_ih", r"\tau_i", r"\langle Gv_i, v_i\rangle", decay)

    def letters(self) -> dict[str, str]:
        """Return the meanings of J, h, w_i and v_i, and with friction of μ and τ_i."""
        shown = ", ".join(f"{weight:.4g}" for weight in self.weights)
        meanings = {"J = ⟨g(x), v⟩": "its charge", "h": f"{self.dt:.4g}, the time per step"}
        meanings |= {"w_i": f"the part of it that substep i takes, {shown}", "v_i": "the velocity of its drift"}
        if self.weight_decay:
            meanings |= {"x_i": "the point where it ends"}
        return meanings if self._newtonian else meanings | {"μ(t)": "the integrating factor", "τ_i": "its middle"}

    def fewest_rows(self, known_start: bool) -> int:
        """Return 2."""
        return 2
