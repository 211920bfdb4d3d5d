"""The modified equation of gradient descent: the flow on which its steps lie, to second order in the learning rate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable as Function

import numpy as np

from .._base import checks
from .._base.floating import underflowing, unit
from .._base.types import Array, ArrayLike, Float64Array
from .._motion.flow import solve_smooth
from .._motion.kinks import Limits
from .._problem.potentials import Potential, is_potential
from .._problem.sharpness import hessian_product

# Central differences of order 8 along a direction, for the first and the second derivative, and their spacing.
_FIRST = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
_SECOND = (8 / 5, -1 / 5, 8 / 315, -1 / 560)
_CENTRE = -205 / 72
_SPACING = 0.02


@underflowing
def modified_field(U: Potential, x: ArrayLike, lr: float, order: int = 2) -> Float64Array:
    """Return the right-hand side of the modified equation of gradient descent at x.

    Parameters
    ----------
    U : Potential
        A smooth potential.
    x : array_like, shape (P,)
        Point.
    lr : float
        Learning rate η > 0.
    order : {0, 1, 2}
        Highest power of η.

    Returns
    -------
    ndarray, shape (P,)
        −g − (η/2)Hg − η²(⅓H²g + (1/12)∇³U[g, g]), with g = ∇U and the Hessian H.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The solution x(t) of ẋ = f_0 + ηf_1 + η²f_2 is to pass through the iterates, x(t + η) = x(t) − ηg. Comparison of powers of η in
    its Taylor series gives f_0 = −g, f_1 = −½f_0′f_0 and f_2 = −½(f_0′f_1 + f_1′f_0) − (1/6)(f_0″[f_0, f_0] + f_0′f_0′f_0). To
    first order it is gradient flow in U + (η/4)|g|² [1]_. Hessian products are
    exact, by `hessian_product`, and the third derivative is a central difference of order 8 of them; for Python functions both
    are differences.

    References
    ----------
    .. [1] D. Barrett and B. Dherin, "Implicit Gradient Regularization", ICLR 2021.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.diag([1.0, 3.0]))
    >>> nl.exact.modified_field(U, [1.0, 1.0], 0.1).round(6)  # −log(1 − ηh)/η, to second order
    array([-1.053333, -3.54    ])
    """
    is_potential(U)
    point = checks.shaped(x, "x", (U.n_params,)).astype(np.float64)
    eta = checks.real(lr, "lr", minimum=0.0, strict=True)
    order = checks.integer(order, "order", minimum=0, maximum=2)
    return _field(U, point, eta, order)


def modified_gradient(U: Potential, x: ArrayLike, lr: float, order: int = 2) -> Float64Array:
    """Return the gradient along which gradient flow takes the steps of gradient descent: g + ½ηHg + η²(⅓H²g + ∇³U[g, g]/12).

    It is −`modified_field`, with the same arguments and errors.

    Parameters
    ----------
    U, x, lr, order
        As for `modified_field`.

    Returns
    -------
    ndarray, shape (P,)

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.exact.modified_gradient(nl.potentials.Harmonic([[2.0]]), [1.0], 0.1, order=1)
    array([2.2])
    """
    return -modified_field(U, x, lr, order)


def _field(U: Potential, x: Array, eta: float, order: int) -> Float64Array:
    g = U.gradient(x)
    out = -g
    if order == 0 or not g.any():
        return out
    Hg, third = _derivatives(U, x, g, second=order == 2)
    out = out - 0.5 * eta * Hg
    if order == 2:
        HHg = _derivatives(U, x, Hg, second=False)[0] if Hg.any() else Hg
        out = out - eta**2 * (HHg / 3 + third / 12)
    return np.asarray(out)


@underflowing
def modified_flow(
    U: Potential,
    x0: ArrayLike,
    lr: float,
    t: ArrayLike,
    order: int = 2,
    *,
    rtol: float = 1e-10,
    max_evaluations: int = 100_000,
) -> Float64Array:
    """Return the solution of the modified equation of gradient descent at the times `t`.

    Parameters
    ----------
    U : Potential
        A smooth potential.
    x0 : array_like, shape (P,)
        Position at t = 0.
    lr : float
        Learning rate η > 0: step k of gradient descent is at t = kη.
    t : array_like, shape (R,)
        Increasing times ≥ 0.
    order : {0, 1, 2}
        Highest power of η in the equation; 0 is gradient flow. At a fixed time, iterates lie within O(η^{order + 1}).
    rtol : float
        Relative tolerance of DOP853.
    max_evaluations : int
        Limit on the number of evaluations of the field, each of up to 18 gradients.

    Returns
    -------
    ndarray, shape (R, P)

    Raises
    ------
    ValueError
        If an argument is out of range.
    RuntimeError
        If DOP853 fails, or needs more than `max_evaluations`, as where η times the curvature is not small.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Harmonic(np.eye(1))
    >>> run = nl.integrate(U, nl.GD(0.1), [1.0], 20)
    >>> [f"{abs(nl.exact.modified_flow(U, [1.0], 0.1, [2.0], order)[0, 0] - run.x[0]):.0e}" for order in (0, 1, 2)]
    ['1e-02', '9e-04', '7e-05']
    """
    is_potential(U)
    x = checks.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    eta = checks.real(lr, "lr", minimum=0.0, strict=True)
    order = checks.integer(order, "order", minimum=0, maximum=2)
    rtol = checks.real(rtol, "rtol", minimum=100 * np.finfo(np.float64).eps)
    limits = Limits(rtol, 1e-3 * rtol, checks.integer(max_evaluations, "max_evaluations", minimum=1))
    times = checks.times(t)
    if times.size == 0:
        raise ValueError(f"t must hold at least one time, got {checks.describe(t)}")
    return solve_smooth(lambda _, y: _field(U, y, eta, order), x, times, 0.0, limits)


def _derivatives(U: Potential, x: Array, v: Array, second: bool) -> tuple[Float64Array, Float64Array]:
    """Return the first derivative of ∇U along v, Hv, and with `second` also ∇³U[v, v]; else zeros for it.

    Hv is exact, by a complex step through the backward pass, for all potentials but Python functions.
    """
    size = unit(v)  # squares of v/size are doubles
    v = v / size
    step = _SPACING * (1 + float(np.abs(x).max())) / float(np.linalg.norm(v))
    ahead, behind = ([x + sign * k * step * v for k in range(1, len(_FIRST) + 1)] for sign in (1, -1))
    none: Float64Array = np.zeros(x.size)
    with contextlib.suppress(TypeError):  # of functions of real numbers
        product = hessian_product(U, x, v)
        third = _difference(lambda y: hessian_product(U, y, v), ahead, behind) / step if second else none
        return size * product, size * (size * third)
    first = _difference(U.gradient, ahead, behind) / step
    if not second:
        return size * first, none
    sums = (c * (U.gradient(y) + U.gradient(z)) for c, y, z in zip(_SECOND, ahead, behind, strict=True))
    return size * first, np.asarray(size * (size * ((sum(sums) + _CENTRE * U.gradient(x)) / step**2)))


def _difference(f: Function[[Array], Float64Array], ahead: list[Array], behind: list[Array]) -> Float64Array:
    """Return the central difference of order 8 of f, times the spacing."""
    return np.asarray(sum(c * (f(y) - f(z)) for c, y, z in zip(_FIRST, ahead, behind, strict=True)))
