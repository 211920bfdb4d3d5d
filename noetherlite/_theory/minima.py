"""End points of gradient flow and of decaying weights, from their conserved quantities and balances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import ArrayLike, Float64Array


class FlowSolution(NamedTuple):
    """The minimum that gradient flow reaches.

    Attributes
    ----------
    weights : ndarray, shape (D,)
        The w_i.
    sharpness : float
        Largest eigenvalue of the Hessian of U.
    shift : float
        c: every w_i² has grown by it.
    """

    weights: Float64Array
    sharpness: float
    shift: float


@underflowing
def scalar_network(weights: ArrayLike, target: float) -> FlowSolution:
    """Return the minimum that gradient flow in U = ½(w_1w_2 ⋯ w_D − s)² reaches, and its sharpness.

    Parameters
    ----------
    weights : array_like, shape (D,)
        The w_i at the start, with a product of the sign of s.
    target : float
        s ≠ 0.

    Returns
    -------
    FlowSolution

    Raises
    ------
    ValueError
        If `target` is 0, or the product of the weights has not its sign.

    Notes
    -----
    All w_i² − w_j² are conserved, so that all w_i² grow by the same c, the root of Π√(w_i² + c) = |s|. With equal signs the flow meets
    no zero on its way. At the minimum the Hessian is ∇p∇pᵀ for p = Πw, with the eigenvalue s²Σ1/w_i². Under gradient descent the
    sharpness of the flow's solution from the present iterate never increases, for scalar networks and rates below some bound [1]_.

    References
    ----------
    .. [1] I. Kreisler, M. S. Nacson, D. Soudry and Y. Carmon, "Gradient Descent Monotonically Decreases the Sharpness of
       Gradient Flow Solutions in Scalar Networks and Beyond", ICML 2023.

    Examples
    --------
    >>> import noetherlite as nl
    >>> solution = nl.exact.scalar_network([2.0, 0.25], 1.0)
    >>> round(solution.sharpness, 3), round(float(solution.weights[0] * solution.weights[1]), 12)
    (4.416, 1.0)
    """
    return _end(weights, target, "weights", "target")


def _end(weights: ArrayLike, target: float, name: str, name_of_target: str) -> FlowSolution:
    from scipy.optimize import brentq

    w = checks.array(weights, name, ndim=1).astype(np.float64)
    s = checks.real(target, name_of_target)
    if w.size == 0 or s == 0 or not np.prod(np.sign(w)) * np.sign(s) > 0:
        raise ValueError(
            f"{name} must have a product of the sign of {name_of_target}={s:g}, which is not 0, got {checks.describe(weights)}"
        )
    with np.errstate(over="ignore"):
        squares = w**2
    smallest = float(squares.min())
    if not (0 < smallest <= squares.max() < np.inf and 0 < s * s < np.inf):
        raise ValueError(
            f"{name} and {name_of_target} must have squares in the range of a double, got {checks.describe(weights)} and {s:g}"
        )
    goal = np.log(abs(s))

    def excess(y: float) -> float:  # w_i² + c = (w_i² − min w²) + e^y
        return float(0.5 * np.log(squares - smallest + np.exp(y)).sum() - goal)

    low, high = np.log(smallest), np.log(smallest)
    while excess(low) > 0:
        low -= 1 + 2 * abs(excess(low))
    while excess(high) < 0:
        high += 1 + 2 * abs(excess(high)) / w.size
    grown = squares - smallest + np.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-15) if low < high else low)
    return FlowSolution(np.sign(w) * np.sqrt(grown), float(s**2 * (1 / grown).sum()), float((grown - squares).mean()))


@underflowing
def sharpness_of_flow(w: ArrayLike, s: float) -> float:
    """Return the sharpness φ = s² Σ 1/(w_i² + c) of the minimum that gradient flow of ½(Πw_i − s)² reaches from w.

    Parameters
    ----------
    w : array_like, shape (D,)
        The w_i, with a product of the sign of s.
    s : float
        The target, not 0.

    Returns
    -------
    float
        It never increases under gradient descent (Kreisler et al. 2023).

    Raises
    ------
    ValueError, TypeError
        As for `scalar_network`, whose `sharpness` this is.

    Examples
    --------
    >>> import noetherlite as nl
    >>> round(nl.exact.sharpness_of_flow([2.0, 0.5], 2.0), 12)
    5.482928049865
    """
    return _end(w, s, "w", "s").sharpness


@underflowing
def scale_invariant_norm(lr: float, weight_decay: float, gradient_square: float) -> float:
    """Return |w| of scale-invariant weights in the equilibrium of gradient noise and weight decay.

    Parameters
    ----------
    lr : float
        Learning rate η > 0.
    weight_decay : float
        λ > 0, with ηλ < 2.
    gradient_square : float
        E|g̃|² ≥ 0 of the gradient at |w| = 1, g̃ = |w|g.

    Returns
    -------
    float
        (η²E|g̃|²/(1 − (1 − ηλ)²))^¼.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    For U(cw) = U(w) the gradient is orthogonal to w, so that a step w′ = (1 − ηλ)w − ηg makes |w′|² = (1 − ηλ)²|w|² + η²|g̃|²/|w|²
    exactly. The stationary |w| follows where fluctuations of |w| are small; the direction of w then turns by the angle
    η|g̃|/|w|² ≈ √(2ηλ) in a step, whatever |g̃| [1]_.

    References
    ----------
    .. [1] Z. Li, K. Lyu and S. Arora, "Reconciling Modern Deep Learning with Traditional Optimization Analyses: The Intrinsic
       Learning Rate", NeurIPS 2020.

    Examples
    --------
    >>> import noetherlite as nl
    >>> round(nl.exact.scale_invariant_norm(0.1, 0.01, 4.0), 3)
    2.115
    """
    eta = checks.real(lr, "lr", minimum=0.0, strict=True)
    decay = checks.real(weight_decay, "weight_decay", minimum=0.0, strict=True)
    square = checks.real(gradient_square, "gradient_square", minimum=0.0)
    if eta * decay >= 2:
        raise ValueError(f"weight_decay must be below 2/lr = {2 / eta:g}, got {decay:g}")
    if (rate := eta * decay * (2 - eta * decay)) == 0:
        raise ValueError(f"weight_decay={decay:g} times lr={eta:g} is below the range of a double")
    return float((eta**2 * square / rate) ** 0.25)
