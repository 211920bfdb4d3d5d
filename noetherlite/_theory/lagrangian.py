"""Noether's theorem for a Lagrangian L(t, x, v): groups, generators, charges (GU §2, Appendices A and B).

A generator is a function (t, x) ↦ (τ, ξ), for t ↦ t + ετ and x ↦ x + εξ. Derivatives are taken by complex step, exact to
round-off, so Lagrangians, generators and groups must be analytic expressions of their arguments: sums, products and
functions such as np.exp, with x @ x for |x|² (not np.linalg.norm, nor abs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import Array, ArrayLike, Float64Array

Lagrangian: TypeAlias = Callable[[Any, Any, Any], Any]  # (t, x (P,), v (P,)) ↦ number
Generator: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]  # (t, x (P,)) ↦ (τ, ξ (P,))
Group: TypeAlias = Callable[[Any, Any, Any], tuple[Any, Any]]  # (ε, t, x (P,)) ↦ (t', x' (P,))

_STEP = 1e-100  # of complex steps, which have no cancellation
_STENCIL, _SPACING = (4 / 5, -1 / 5, 4 / 105, -1 / 280), 2.0**-5  # central differences of order 8


def momentum(L: Lagrangian, t: float, x: ArrayLike, v: ArrayLike) -> Float64Array:
    """Return ∂L/∂v of shape (P,); arguments and errors are those of `rund_trautmann`."""
    L = _checked_lagrangian(L)
    t, x, v = _check_point(t, x, v)
    return _gradient(lambda moved: L(t, x, moved), v)


def hamiltonian(L: Lagrangian, t: float, x: ArrayLike, v: ArrayLike) -> float:
    """Return H = ⟨∂L/∂v, v⟩ − L; arguments and errors are those of `rund_trautmann`."""
    L = _checked_lagrangian(L)
    t, x, v = _check_point(t, x, v)
    return float(momentum(L, t, x, v) @ v - L(t, x, v))


def rund_trautmann(L: Lagrangian, generator: Generator, t: float, x: ArrayLike, v: ArrayLike) -> float:
    """Return the defect of the Rund–Trautmann identity at a point (GU (11)); zero everywhere means invariance.

    ∂L/∂t τ + ⟨∂L/∂x, ξ⟩ + ⟨∂L/∂v, ξ̇ − v τ̇⟩ + L τ̇, where τ̇ and ξ̇ are total derivatives along v.

    Parameters
    ----------
    L : callable
        Lagrangian (t, x, v) ↦ number.
    generator : callable
        (t, x) ↦ (τ, ξ).
    t : float
    x, v : array_like, shape (P,)
        The point; v need not belong to any trajectory.

    Raises
    ------
    TypeError, ValueError
        If a shape is wrong, an entry is not finite, or a function returns something else.
    """
    L, generator = _checked_lagrangian(L), _checked_map(generator, "generator")
    t, x, v = _check_point(t, x, v)
    tau, xi = generator(t, x)
    e = 1j * _STEP
    tau_dot, xi_dot = (np.imag(part) / _STEP for part in generator(t + e, x + e * v))
    along = float(np.imag(L(t + e * tau, x + e * xi, v + e * (xi_dot - v * tau_dot))) / _STEP)
    return float(along + L(t, x, v) * tau_dot)


def noether_charge(L: Lagrangian, generator: Generator, t: float, x: ArrayLike, v: ArrayLike) -> float:
    """Return the charge ⟨∂L/∂v, ξ⟩ − τH (GU (12)), constant along solutions where L is invariant.

    Arguments and errors are those of `rund_trautmann`.
    """
    t, x, v = _check_point(t, x, v)
    tau, xi = _checked_map(generator, "generator")(t, x)
    return float(momentum(L, t, x, v) @ xi - tau * hamiltonian(L, t, x, v))


def generator_of(group: Group) -> Generator:
    """Return the generator of a one-parameter group (ε, t, x) ↦ (t', x'): its derivative by ε at the identity.

    By central differences of eighth order, exact to about 1e-14 for groups that vary over ε of order one; they leave t and x
    free for the complex steps of `rund_trautmann`.

    Examples
    --------
    >>> import numpy as np
    >>> from noetherlite.lagrangian import generator_of
    >>> boost = generator_of(lambda e, t, x: (t, x + e * t))
    >>> bool(abs(boost(2.0, np.zeros(1))[1][0] - 2.0) < 1e-14)
    True
    """
    group = _checked_map(group, "group")

    def generator(t: Any, x: Any) -> tuple[Any, Any]:
        t, x = _numbers(t, "t")[()], _numbers(x, "x")
        tau, xi = 0.0, 0.0
        for k, weight in enumerate(_STENCIL, start=1):
            ahead, behind = group(k * _SPACING, t, x), group(-k * _SPACING, t, x)
            tau = tau + weight / _SPACING * (ahead[0] - behind[0])
            xi = xi + weight / _SPACING * (ahead[1] - behind[1])
        return tau, xi

    return generator


@underflowing
def group_from_generator(A: ArrayLike, strength: float) -> Float64Array:
    """Return exp(strength · A) for a square matrix A; for A = [[0, −1], [1, 0]] the rotation by the angle `strength`.

    Raises
    ------
    ValueError
        If A is not square, or the exponential is beyond what a double holds.
    """
    from scipy.linalg import expm

    strength, A = checks.real(strength, "strength"), _check_square(A, "A")
    with np.errstate(over="ignore", invalid="ignore"):
        M = np.asarray(expm(strength * A), dtype=np.float64)
    if not np.isfinite(M).all():
        raise ValueError(f"strength={strength:g} is too large: exp(strength · A) is beyond what a double holds")
    return M


@underflowing
def generator_from_group(M: ArrayLike) -> Float64Array:
    """Return the principal logarithm of a matrix, the inverse of `group_from_generator` near the identity.

    Near means that no eigenvalue has come round to the negative real axis: for a rotation, an angle below π.

    Raises
    ------
    ValueError
        If the principal logarithm is not real. M may then be on no one-parameter group, like a reflection, or on several,
        like the half turn −1.
    """
    from scipy.linalg import expm, logm

    M = _check_square(M, "M")
    with np.errstate(divide="ignore", invalid="ignore"):
        A = np.real(logm(M)) if np.linalg.slogdet(M)[0] > 0 else np.full_like(M, np.nan)
    if not np.isfinite(A).all() or not np.allclose(expm(A), M, rtol=0, atol=1e-10 * np.abs(M).max()):
        raise ValueError(
            f"M has no real principal logarithm; expected a matrix without eigenvalues <= 0, got {checks.describe(M)}"
        )
    return np.asarray(A, dtype=np.float64)


def action(L: Lagrangian, t: ArrayLike, path: ArrayLike) -> Any:
    """Return the action of a discretised path, the trapezoidal sum Σ ½h (L(t_k, x_k, v) + L(t_{k+1}, x_{k+1}, v)).

    v = (x_{k+1} − x_k)/h on each interval. For L = ½|v|² − U its stationary paths are exactly those of leapfrog.

    Parameters
    ----------
    L : callable
        Lagrangian.
    t : array_like, shape (R,)
        Increasing times.
    path : array_like, shape (R, P)
        Positions; may be complex.
    """
    L = _checked_lagrangian(L)
    times, x = checks.times(t), _numbers(path, "path")
    if x.ndim != 2 or x.shape[0] != times.size:
        raise ValueError(f"path must have shape ({times.size}, P), one row per time, got {x.shape}")
    total = 0.0
    for k in range(times.size - 1):
        h = times[k + 1] - times[k]
        v = (x[k + 1] - x[k]) / h
        total = total + 0.5 * h * (L(times[k], x[k], v) + L(times[k + 1], x[k + 1], v))
    return total


def action_gradient(L: Lagrangian, t: ArrayLike, path: ArrayLike) -> Float64Array:
    """Return ∂action/∂x_k at the inner points, shape (R − 2, P): zero on a path that makes the action stationary."""
    return _gradient(lambda moved: action(L, t, moved), checks.array(path, "path", ndim=2))[1:-1]


def _checked_lagrangian(L: Lagrangian) -> Lagrangian:
    """Return L as a function that raises TypeError unless L returns a number, real at real arguments, ValueError if it is not finite."""
    checks.function(L, "L")

    def checked(t: Any, x: Any, v: Any) -> Any:
        value = np.asarray(returned := L(t, x, v))
        if value.ndim != 0 or value.dtype.kind not in _kinds(t, x, v):
            raise TypeError(f"L must return a number, real at real arguments, got {checks.describe(returned)}")
        if not np.isfinite(value):
            raise ValueError(f"L must be finite, got {checks.describe(returned)} at t={t:g}")
        return value[()]

    return checked


def _checked_map(function: Callable[..., tuple[Any, Any]], name: str) -> Callable[..., tuple[Any, Any]]:
    """Return a generator or a group as a function of (…, x) that returns a number and an array of the shape of x.

    It raises TypeError if `function` returns something else, or complex numbers at real ones; ValueError if they are not finite.
    """
    checks.function(function, name)

    def checked(*arguments: Any) -> tuple[Any, Any]:
        returned, shape = function(*arguments), arguments[-1].shape
        kinds = _kinds(*arguments)
        try:
            number, array = map(np.asarray, returned)
            array = np.broadcast_to(array, shape)
        except (TypeError, ValueError):
            number = array = np.asarray(None)
        if number.ndim != 0 or number.dtype.kind not in kinds or array.dtype.kind not in kinds:
            raise TypeError(
                f"{name} must return a number and an array of shape {shape}, got {checks.describe(returned)}"
            )
        if not (np.isfinite(number) and np.isfinite(array).all()):
            raise ValueError(f"{name} must return finite numbers, got {checks.describe(returned)}")
        return number[()], array

    return checked


def _kinds(*arguments: Any) -> str:
    """Return the kinds of dtypes that a function of these arguments may return."""
    return "fiuc" if any(map(np.iscomplexobj, arguments)) else "fiu"


def _numbers(value: ArrayLike, name: str) -> Array:
    """Return an array of finite numbers, which may be complex."""
    array: Array = checks.numpy_array(value, name)
    if array.dtype.kind not in "fiuc":
        raise TypeError(f"{name} must hold numbers, got {checks.describe(value)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {checks.describe(value)}")
    return array


def _gradient(f: Callable[[Any], Any], x: Array) -> Float64Array:
    """Return ∂f/∂x of the shape of x, by a complex step in each entry."""
    f(x)  # whose checks find what is complex at real arguments
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(np.complex128)
        moved[index] += 1j * _STEP
        gradient[index] = np.imag(f(moved)) / _STEP
    return gradient


def _check_point(t: float, x: ArrayLike, v: ArrayLike) -> tuple[float, Array, Array]:
    x = checks.array(x, "x", ndim=1)
    return checks.real(t, "t"), x, checks.shaped(v, "v", x.shape)


def _check_square(A: ArrayLike, name: str) -> Array:
    A = checks.array(A, name, ndim=2)
    if A.shape[0] != A.shape[1] or A.size == 0:
        raise ValueError(f"{name} must be a square matrix, got {A.shape}")
    return A
