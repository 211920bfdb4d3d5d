"""Bounds on the rate of change of a quantity that momentum does not conserve: GU (33), (34), (49), and ★ with friction α/t (theory §5).

All hold for unit mass unless stated, U ≥ 0, ẋ(0) = 0, t_0 = 0, γ = 0, and a scaling of degree p = 1, for a neuron or
summed over a layer. With a degree p ≥ 1, |S| ≤ p|ẋ|²: those on Q̇ and Q are then p times as large.
"""

from __future__ import annotations

import math

import numpy as np

from .._base import checks
from .._base.types import ArrayLike, Float64Array

_bounding = np.errstate(over="ignore", under="ignore")  # a bound beyond the range of a double is infinite


@_bounding
def charge_bound(U0: float, t: ArrayLike, alpha: float = 0.0) -> Float64Array:
    """Return the bound 2U_0t/(α + 1) on |Q̇(t)| (GU (33) for α = 0).

    Parameters
    ----------
    U0 : float
        Loss at the start, ≥ 0.
    t : array_like
        Times ≥ 0.
    alpha : float
        Friction α/t: 0 for Newtonian dynamics, 3 for Nesterov's flow.

    Returns
    -------
    ndarray
        Shape of `t`.

    Raises
    ------
    ValueError
        If U0, t or alpha is negative or not finite.

    Notes
    -----
    The energy ½|ẋ|² + U does not grow, so |ẋ|² ≤ 2U_0. The generator of a scaling of degree 1 has the eigenvalues 1, −1
    and 0, so |S| = |⟨Gẋ, ẋ⟩| ≤ |ẋ|². Integrating d/dt[t^α Q̇] = t^α S gives |Q̇| ≤ t^{−α} ∫ s^α 2U_0 ds.

    The constant is sharp for α = 0. With the energy that friction takes, α∫|ẋ|²/s ds + ½|ẋ|² ≤ U_0, the sharp constant is
    ((α + 1)/(2α))^{2α/(α−1)} times this one, 8/27 for α = 3, and for `quantity_bound` (α + 1) α^{−2α/(α−1)} times, 4/27: a
    potential that releases U_0 at once after a long rest comes arbitrarily close.
    """
    U0, alpha, time = _checked(U0, t, alpha)
    mantissa, exponent = np.frexp(time)
    return np.asarray(np.ldexp(U0 * mantissa / (alpha + 1), exponent + 1))


@_bounding
def quantity_bound(U0: float, t: ArrayLike, alpha: float = 0.0) -> Float64Array:
    """Return the bound U_0t²/(α + 1) on |Q(t) − Q(0)| (GU (34) for α = 0), the integral of `charge_bound`.

    For Nesterov's flow, α = 3, this is U_0t²/4, a case that GU leave open. Parameters, shapes and errors are those of
    `charge_bound`.
    """
    U0, alpha, time = _checked(U0, t, alpha)
    mantissa, exponent = np.frexp(time)  # t² need be no double
    return np.asarray(np.ldexp(U0 * mantissa**2 / (alpha + 1), 2 * exponent))


def mean_speed_bound(U0: float, n_params: int, mass: float = 1.0) -> float:
    """Return the bound √(2U_0/(mP)) on the mean speed (1/P) Σ_i |ẋ_i| of a parameter (GU (49)).

    Parameters
    ----------
    U0 : float
        Loss at the start, ≥ 0.
    n_params : int
        P.
    mass : float
        m > 0.

    Raises
    ------
    ValueError
        If U0 is negative, n_params < 1 or mass ≤ 0.

    Notes
    -----
    ½m|ẋ|² ≤ U_0, as the energy does not grow (GU (35)), and Σ|ẋ_i| ≤ √P |ẋ| by the Cauchy–Schwarz inequality. The bound
    decreases with the width of a network: in wide networks parameters need not move far.
    """
    U0 = checks.real(U0, "U0", minimum=0.0)
    P = checks.integer(n_params, "n_params", minimum=1)
    m = checks.real(mass, "mass", minimum=0.0, strict=True)
    return math.sqrt(2) * math.sqrt(U0) / math.sqrt(P) / math.sqrt(m)  # whose roots are in the range of a double


def _checked(U0: float, t: ArrayLike, alpha: float) -> tuple[float, float, Float64Array]:
    time = checks.numbers(t, "t").astype(np.float64)
    if not (np.isfinite(time) & (time >= 0)).all():
        raise ValueError(f"t must hold finite times >= 0, got {checks.describe(t)}")
    return checks.real(U0, "U0", minimum=0.0), checks.real(alpha, "alpha", minimum=0.0), time
