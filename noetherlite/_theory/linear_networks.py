"""Gradient flow of linear networks in closed form: λ-balanced layers, and decoupled modes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import Array, ArrayLike, Float64Array

_BALANCED = 64 * float(np.finfo(np.float64).eps)
_LARGEST_EXPONENT = 1e4  # it takes as many steps
_END = 36.0  # e^−36 is the round-off of a double


class BalancedFlow(NamedTuple):
    """Two linear layers along gradient flow at R times, up to rotations among the hidden neurons.

    Attributes
    ----------
    product : ndarray, shape (R, n_2, n_0)
        W_2W_1, the network's function.
    incoming : ndarray, shape (R, n_0, n_0)
        W_1ᵀW_1.
    outgoing : ndarray, shape (R, n_2, n_2)
        W_2W_2ᵀ.
    """

    product: Float64Array
    incoming: Float64Array
    outgoing: Float64Array


@underflowing
def two_layer_linear(W1: ArrayLike, W2: ArrayLike, Sigma: ArrayLike, t: ArrayLike) -> BalancedFlow:
    """Return gradient flow in U = ½‖W_2W_1 − Σ‖² from a start with W_1W_1ᵀ − W_2ᵀW_2 = λI.

    Parameters
    ----------
    W1 : array_like, shape (n_1, n_0)
        First layer at t = 0.
    W2 : array_like, shape (n_2, n_1)
        Second layer at t = 0.
    Sigma : array_like, shape (n_2, n_0)
        Σ.
    t : array_like, shape (R,)
        Times ≥ 0.

    Returns
    -------
    BalancedFlow

    Raises
    ------
    ValueError
        If shapes do not fit, W_1W_1ᵀ − W_2ᵀW_2 is no multiple of the identity, or a time is longer than 10⁴ over the largest
        eigenvalue of F.

    Notes
    -----
    λ is conserved, as the quantity of GL(n_1) is. With Q = [W_1ᵀ; W_2] the flow is Q̇ = FQ − ½QQᵀQ, so that QQᵀ obeys a matrix
    Riccati equation [1]_ [2]_:

        QQᵀ(t) = e^{Ft}Q_0 (I + Q_0ᵀ ∫_0^t e^{2Fs}ds Q_0)⁻¹ Q_0ᵀe^{Ft},   F = [[λI/2, Σᵀ], [Σ, −λI/2]].

    References
    ----------
    .. [1] L. Braun et al., "Exact learning dynamics of deep linear networks with prior knowledge", NeurIPS 2022.
    .. [2] C. Dominé et al., "From Lazy to Rich: Exact Learning Dynamics in Deep Linear Networks", ICLR 2025.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> flow = nl.exact.two_layer_linear(0.1 * np.eye(2), 0.1 * np.eye(2), np.diag([2.0, 1.0]), [0.0, 50.0])
    >>> flow.product[-1].round(6)
    array([[2., 0.],
           [0., 1.]])
    """
    first, second = checks.array(W1, "W1", ndim=2), checks.array(W2, "W2", ndim=2)
    n_1, n_0 = first.shape
    if second.shape[1] != n_1:
        raise ValueError(f"W2 must have shape (n_2, {n_1}), got {second.shape}")
    sigma, times = checks.shaped(Sigma, "Sigma", (second.shape[0], n_0)), checks.instants(t, ndim=1)
    charge = first @ first.T - second.T @ second
    balance = float(np.trace(charge)) / n_1
    size = float((first**2).sum() + (second**2).sum())
    if np.abs(charge - balance * np.eye(n_1)).max() > _BALANCED * size:
        raise ValueError(
            "W1 and W2 must be balanced, W1 W1ᵀ − W2ᵀ W2 a multiple of the identity; "
            f"it differs from one by {np.abs(charge - balance * np.eye(n_1)).max():.2g}"
        )
    half = 0.5 * balance
    F = np.block([[half * np.eye(n_0), sigma.T], [sigma, -half * np.eye(len(sigma))]]).astype(np.float64)
    rates, modes = np.linalg.eigh(F)
    if np.abs(rates).max() * times.max(initial=0.0) > _LARGEST_EXPONENT:
        raise ValueError(
            f"t must hold times below {_LARGEST_EXPONENT / np.abs(rates).max():.3g}, got {times.max():.3g}"
        )
    Q, now = modes.T @ np.vstack([first.T, second]), 0.0
    products = np.empty((times.size, *F.shape))
    for k in np.argsort(times):
        # Exponents of about 1 at a time: those of a long one would leave no digit of the slow modes.
        n_steps = max(1, math.ceil(np.abs(rates).max() * (times[k] - now)))
        step, now = (times[k] - now) / n_steps, float(times[k])
        integral = step * _relative_growth(2 * rates * step)  # ∫ e^{2fs} ds
        for _ in range(n_steps):
            inner = np.eye(n_1) + Q.T @ (integral[:, None] * Q)
            Q = np.linalg.solve(np.linalg.cholesky(inner), (np.exp(rates * step)[:, None] * Q).T).T
        products[k] = modes @ Q @ Q.T @ modes.T
    return BalancedFlow(products[:, n_0:, :n_0], products[:, :n_0, :n_0], products[:, n_0:, n_0:])


@underflowing
def decoupled_modes(singular_values: ArrayLike, start: ArrayLike, t: ArrayLike, depth: int = 2) -> Float64Array:
    """Return the modes a_i(t) of a deep linear network on whitened data, from balanced layers aligned with the target.

    Parameters
    ----------
    singular_values : array_like, shape (K,)
        s_i > 0 of the target.
    start : array_like, shape (K,) or a number
        a_i(0), with 0 < a_i(0) < s_i.
    t : array_like, shape (R,)
        Times ≥ 0.
    depth : int
        Number L ≥ 1 of layers.

    Returns
    -------
    ndarray, shape (R, K)
        The singular values of W_L ⋯ W_1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    In U = ½‖W_L ⋯ W_1 − Σ‖², layers that are diagonal in the singular vectors of Σ, with equal entries w_i = a_i^{1/L}, stay so:

        ȧ = L a^{2−2/L}(s − a).

    For L = 2 this is Saxe's sigmoid a = s/(1 + (s/a_0 − 1)e^{−2st}) [1]_, for L = 1 an exponential. For other depths the time of
    a value is (1/L) ∫ a^{2/L−2}/(s − a) da, a hypergeometric function, which is inverted by bisection and Newton's method.

    References
    ----------
    .. [1] A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
       networks", ICLR 2014.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.exact.decoupled_modes([2.0, 1.0], 0.01, [0.0, 2.0, 10.0]).round(3)
    array([[0.01 , 0.01 ],
           [1.875, 0.355],
           [2.   , 1.   ]])
    """
    s = checks.array(singular_values, "singular_values", ndim=1).astype(np.float64)
    if (s <= 0).any():
        raise ValueError(f"singular_values must be positive, got {s.min():g}")
    initial = checks.array(start, "start", ndim=(0, 1))
    if initial.shape not in ((), s.shape):
        raise ValueError(f"start must be a number or have shape {s.shape}, got {initial.shape}")
    a0 = np.broadcast_to(initial, s.shape).astype(np.float64)
    if ((a0 <= 0) | (a0 >= s)).any():
        raise ValueError(f"start must be between 0 and the singular values, got {checks.describe(start)}")
    times, L = checks.instants(t, ndim=1)[:, None], checks.integer(depth, "depth", minimum=1)
    if L == 1:
        return np.asarray(s + (a0 - s) * np.exp(-times))
    if L == 2:
        return np.asarray(s / (1 + (s / a0 - 1) * np.exp(-2 * s * times)))
    return np.array(
        [[_mode_at(float(time), s_i, a_i, L) for s_i, a_i in zip(s, a0, strict=True)] for time in times[:, 0]]
    )


def _mode_at(t: float, s: float, a0: float, L: int) -> float:
    """Return a(t) for L ≥ 3."""
    from scipy.optimize import brentq
    from scipy.special import digamma, hyp2f1

    p = 2 / L - 1  # ∫ a^{p−1}/(s − a) da = a^p/(ps) ₂F₁(1, p; p + 1; a/s)

    def time(a: float) -> float:
        F = hyp2f1(1.0, p, p + 1.0, a / s)
        if np.isinf(F):  # SciPy has no value within 1e-13 of its singularity at 1; what this leaves out is as small
            F = -p * (np.log(1 - a / s) + np.euler_gamma + digamma(p))
        return float(a**p / (p * s) * F) / L

    origin = time(a0)

    def excess(y: float) -> float:
        return time(s / (1 + np.exp(-y))) - origin - t

    # In y = log(a/(s − a)) the time grows about linearly at both ends.
    low = np.log(a0 / (s - a0))
    if (high := low + 1.0) >= _END:
        return s
    while excess(high) < 0:
        if high == _END:
            return s
        high = min(high + 1 + 0.5 * abs(high - low), _END)
    # From a tiny a_0 the times are so long that t may be less than their round-off: nothing has moved.
    y = brentq(excess, low, high, xtol=1e-14, rtol=1e-14) if t > 0 and excess(low) < 0 else low
    return float(s / (1 + np.exp(-y)))


def _relative_growth(z: Array) -> Float64Array:
    """Return (e^z − 1)/z, 1 at z = 0."""
    return np.divide(np.expm1(z), z, out=np.ones_like(z), where=z != 0)
