"""Hessian–vector products, and the largest eigenvalues of the Hessian."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from .._base import checks
from .._base.floating import norm, underflowing, unit
from .._base.types import Array, ArrayLike, Float64Array, Seed
from .._kernels import reference
from .analytic import Analytic
from .custom import CUSTOM
from .network import NetworkPotential
from .potentials import Compiled, KernelPotential, Potential, is_potential

# The imaginary step, in units of |x|: its square is below round-off, and what is proportional to it far above the smallest number.
_STEP = 1e-30
_NEAR = 1e-6  # step of a difference of gradients
_DENSE = 64  # parameters up to which the whole Hessian is made


@underflowing
def hessian_product(U: Potential, x: ArrayLike, v: ArrayLike) -> Float64Array:
    """Return ∇²U(x) v, exact to round-off.

    ∇²U(x)v = Im ∇U(x + iεv)/ε: forward and backward pass on complex numbers, whose imaginary parts, for ε → 0, are derivatives along v
    [1]_. Nothing is subtracted, so that ε may be as small as 1e-30 |x|.

    Parameters
    ----------
    U : Potential
        A network's potential, or one of `nl.potentials` other than `Callable`; a `Compiled` whose functions take complex numbers too.
    x, v : array_like, shape (P,)
        The point and the direction. Where U has kinks, they are taken to be where x is, not crossed by it.

    Returns
    -------
    ndarray, shape (P,)

    Raises
    ------
    TypeError
        If U is not a potential; if it is a `Callable`, has an activation of the user's, or is a `Compiled` of functions of real numbers
        only, such as abs and those of `math`.
    ValueError
        If a shape is wrong or an entry is not finite.

    Notes
    -----
    It costs about four gradients by the dense products of NumPy.

    References
    ----------
    .. [1] W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.potentials.Harmonic([[2.0, 1.0], [1.0, 3.0]])
    >>> nl.hessian_product(U, [0.5, 0.0], [1.0, 0.0])
    array([2., 1.])
    """
    gradient_of = complex_gradient(U)
    x = checks.shaped(x, "x", (U.n_params,))
    v = checks.shaped(v, "v", (U.n_params,))
    return _product(gradient_of, x, v)


def _product(gradient_of: Callable[[Array], Array], x: Array, v: Array) -> Float64Array:
    """Return ∇²U(x) v of the gradient of complex points."""
    step, size = _STEP * unit(x), unit(v)
    return np.asarray(gradient_of(x + 1j * step * (v / size)).imag / step * size)


@underflowing
def sharpness(U: Potential, x: ArrayLike, k: int = 1, rtol: float = 1e-8, rng: Seed = 0) -> Float64Array:
    """Return the k largest eigenvalues of the Hessian ∇²U(x), by Lanczos' method.

    Gradient descent with learning rate η is unstable along an eigenvector whose eigenvalue exceeds 2/η. Trained with a full batch,
    networks come to sharpness 2/η and stay about there: the edge of stability [1]_.

    Parameters
    ----------
    U : Potential
        A network's potential, or one of `nl.potentials` other than `Callable`; a `Compiled` whose functions take complex numbers too.
    x : array_like, shape (P,) or (R, P)
        The point, or many: `Trajectory.params`.
    k : int, default 1
        Number of eigenvalues, from 1 to P.
    rtol : float, default 1e-8
        Relative accuracy of the eigenvalues, positive. Networks of up to 64 parameters have their whole Hessian made.
    rng : int, SeedSequence or Generator
        Source of the vector that Lanczos' method starts with at the first point; at the others it is the eigenvector before.

    Returns
    -------
    ndarray, shape (k,) or (R, k)
        Eigenvalues, the largest first.

    Raises
    ------
    TypeError
        If U has no `hessian_product`.
    ValueError
        If an argument is out of range, or the eigenvalues do not converge (a smaller k or larger rtol may).

    References
    ----------
    .. [1] J. M. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability", ICLR 2021.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.sharpness(nl.potentials.Harmonic([[2.0, 0.0], [0.0, 3.0]]), [1.0, 1.0], k=2)
    array([3., 2.])
    """
    gradient_of = complex_gradient(U)
    points = checks.array(x, "x", ndim=(1, 2))
    if points.shape[-1] != U.n_params:
        raise ValueError(f"x must have shape ({U.n_params},) or (R, {U.n_params}), got {points.shape}")
    k = checks.integer(k, "k", minimum=1, maximum=U.n_params)
    rtol = checks.real(rtol, "rtol", minimum=0.0, strict=True)
    start = checks.generator(rng).standard_normal(U.n_params)
    out = np.empty((len(np.atleast_2d(points)), k))
    for row, point in zip(out, np.atleast_2d(points), strict=True):
        row[:], start = _largest(gradient_of, point, k, rtol, start)
    return out.reshape(*points.shape[:-1], k)


def _largest(
    gradient_of: Callable[[Array], Array], x: Array, k: int, rtol: float, start: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the k largest eigenvalues and the eigenvector of the largest."""
    P = x.size
    if P <= _DENSE or k > P // 2:
        columns = np.array([_product(gradient_of, x, e) for e in np.eye(P)])
        values, vectors = np.linalg.eigh((columns + columns.T) / 2)
        return values[::-1][:k], vectors[:, -1]
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    hessian = LinearOperator((P, P), matvec=lambda v: _product(gradient_of, x, v.ravel()), dtype=np.float64)
    try:
        values, vectors = eigsh(hessian, k, which="LA", v0=start, tol=rtol)
    except ArpackNoConvergence as error:
        raise ValueError(
            f"k={k} eigenvalues do not converge to rtol={rtol:g}, only {len(error.eigenvalues)} do; try a smaller k or a larger rtol"
        ) from None
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order[0]]


def complex_gradient(U: Potential) -> Callable[[Array], Array]:
    """Return ∇U as a function of complex x, or raise a TypeError."""
    is_potential(U)
    if isinstance(U, Analytic):
        return lambda x: U.evaluate(x)[1]
    if isinstance(U, NetworkPotential) and (given := [str(a) for a in U.network.activations if a.name in CUSTOM]):
        raise TypeError(f"U={U!r} has the activation {given[0]}, two functions of which no second derivative is known")
    given_as_functions = isinstance(U, Compiled)
    if not isinstance(U, KernelPotential):
        raise TypeError(
            f"U={U!r} is given as a function, which has no Hessian here; expected a potential other than Callable"
        )
    problem = U.problem()

    def gradient(x: Array) -> Array:
        return np.asarray(reference.value_and_gradient(problem, x)[1])

    if given_as_functions:
        _refuse_functions_of_real_numbers(U, gradient)
    return gradient


def _refuse_functions_of_real_numbers(U: KernelPotential, gradient: Callable[[Array], Array]) -> None:
    """Raise TypeError if the functions of U fail for complex numbers, or are others there, as abs is: by a difference at a random point."""
    x, v = np.random.default_rng(0).standard_normal((2, U.n_params))
    difference = (U.gradient(x + _NEAR * v) - U.gradient(x - _NEAR * v)) / (2 * _NEAR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of imaginary parts that are lost
            off = _product(gradient, x, v) - difference
    except TypeError:  # of the functions of `math`
        off = difference + np.inf
    if not norm(off) <= 1e-4 * (norm(difference) + norm(U.gradient(x))):
        raise TypeError(
            f"U={U!r} has no Hessian here: its functions are not those of complex numbers too, as abs and those of math are not"
        )


def sharpness_bytes(U: Potential, k: int) -> int:
    """Return the bytes that `sharpness` takes at one point, k eigenvalues: ARPACK's vectors and those of a Hessian–vector product."""
    P = U.n_params
    if P <= _DENSE or k > P // 2:
        return 3 * 8 * P**2
    vectors = min(P, max(2 * k + 1, 20))  # of Lanczos' method; copied where eigenvectors are made
    passes = 0
    if isinstance(U, NetworkPotential):
        n_0, *widths = U.network.widths
        passes = 16 * U.n_samples * (n_0 + 2 * sum(widths) + 2 * max(widths))  # of complex numbers
    return 8 * P * vectors + max(8 * P * (vectors + 5 + k), 8 * P * 16 + passes)
