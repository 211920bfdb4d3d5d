"""Potentials U(x): their interface, analytic ones, and user-defined functions."""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Callable as Function
from typing import Any, Protocol, TypeVar, runtime_checkable

import numba
import numpy as np
from numpy.typing import NDArray

from .._base import checks
from .._base.floating import underflowing
from .._base.identity import UnidentifiedError, digest
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout, reference
from .._kernels.cpu import compiled
from .._kernels.functions import POTENTIALS, Analytic, number

_settings: Any = numba.config
T = TypeVar("T", bound=NDArray[Any])


def owned(array: T, given: object) -> T:
    """Return `array`, copied where it shares memory with what was given: that may be changed later."""
    return array.copy() if np.may_share_memory(array, checks.numpy_array(given, "data")) else array


def filled(value: ArrayLike, name: str, ndim: int) -> Float64Array:
    """Return an array of float64 that is not empty, and shares no memory with what was given."""
    array = owned(checks.array(value, name, ndim=ndim).astype(np.float64), value)
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def is_potential(value: object, name: str = "U") -> None:
    """Raise TypeError unless `value` is a potential."""
    if not isinstance(
        value, KernelPotential
    ):  # an isinstance check of the protocol looks up all of its attributes, which is slow
        checks.instance(value, name, Potential, "a potential, for example net.potential(data)")


@runtime_checkable
class Potential(Protocol):
    """The interface of every potential; x has shape (P,)."""

    n_params: int

    def value(self, x: ArrayLike) -> float:
        """Return U(x)."""

    def gradient(self, x: ArrayLike) -> Float64Array:
        """Return ∇U(x) of shape (P,)."""

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Float64Array]:
        """Return U(x) and ∇U(x)."""

    def specification(self) -> dict[str, Any]:
        """Return the description that identifies this potential, ready for JSON."""


class KernelPotential:
    """A potential that kernels evaluate."""

    n_params: int
    n_samples = 1

    def problem(self, dtype: str = "float64") -> layout.Problem:
        """Return the kernels' description of this potential."""
        raise NotImplementedError

    @underflowing
    def value(self, x: ArrayLike) -> float:
        """Return U(x) for x of shape (P,)."""
        x = self._point(x)
        if _settings.DISABLE_JIT:
            return self.value_and_gradient(x)[0]
        return self._evaluate(x, np.empty(0))

    def gradient(self, x: ArrayLike) -> Float64Array:
        """Return ∇U(x) of shape (P,)."""
        return self.value_and_gradient(x)[1]

    @underflowing
    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Float64Array]:
        """Return U(x) and ∇U(x) of shape (P,)."""
        x = self._point(x)
        if _settings.DISABLE_JIT:  # where the kernels' loops would run in Python, NumPy's are faster
            value, gradient = reference.value_and_gradient(self.problem(), x)
            return float(value), gradient
        gradient = np.empty(self.n_params)
        return self._evaluate(x, gradient), gradient

    def _point(self, x: ArrayLike) -> Array:
        point = checks.shaped(x, "x", (self.n_params,))
        return point if point.flags.writeable else point.copy()

    def _evaluate(self, x: Array, gradient: Array) -> float:
        """Return U(x) and write ∇U(x), unless `gradient` is empty, in the memory of the last evaluation where that is free."""
        parts = tuple(vars(self).values())
        made_of, evaluation = _FREE.pop(self, ((), None))
        if evaluation is None or not all(map(operator.is_, made_of, parts)):
            problem = self.problem()
            evaluation = compiled.Evaluation(problem, compiled.tiles(problem, self.n_samples))
        value = evaluation(x, gradient)
        if evaluation.memory.inputs.nbytes <= _SMALL:
            _FREE[self] = parts, evaluation
        return value


# The memory that each potential was evaluated in last, beside what the potential was made of; a thread takes it out while it
# uses it. What is larger than 256 KiB takes longer to pass through than to make, and is given back.
_FREE: weakref.WeakKeyDictionary[KernelPotential, tuple[tuple[Any, ...], compiled.Evaluation]] = (
    weakref.WeakKeyDictionary()
)
_SMALL = 1 << 18


class Radial(KernelPotential):
    """U(w) = (|w|² − 1)²/10 + 2/25, the potential of GU's Figures 3–6.

    One neuron with activation z² on the twelve icosahedron vertices with label 3/5 has exactly this loss.

    Parameters
    ----------
    n_params : int
        Dimension of w; 3 in the paper.
    """

    def __init__(self, n_params: int = 3) -> None:
        self.n_params = checks.integer(n_params, "n_params", minimum=1)

    def problem(self, dtype: str = "float64") -> layout.Problem:
        return layout.analytic(layout.RADIAL, np.empty((0, 0)), dtype)

    def specification(self) -> dict[str, Any]:
        """Return the kind and the dimension."""
        return {"kind": "radial", "n_params": self.n_params}

    def __repr__(self) -> str:
        return f"Radial(n_params={self.n_params})"


class Harmonic(KernelPotential):
    """U(x) = ½⟨x, Ax⟩.

    Parameters
    ----------
    A : array_like, shape (P, P)
        Symmetric matrix.
    """

    def __init__(self, A: ArrayLike) -> None:
        self.A = owned(checks.array(A, "A", ndim=2), A)
        if self.A.shape[0] == 0 or self.A.shape[0] != self.A.shape[1] or not np.array_equal(self.A, self.A.T):
            raise ValueError(f"A must be a symmetric matrix, got {checks.describe(self.A)}")
        self.n_params = self.A.shape[0]

    def problem(self, dtype: str = "float64") -> layout.Problem:
        return layout.analytic(layout.HARMONIC, self.A, dtype)

    def specification(self) -> dict[str, Any]:
        """Return the kind and the dimension."""
        return {"kind": "harmonic", "n_params": self.n_params}

    def __repr__(self) -> str:
        return f"Harmonic({self.n_params}×{self.n_params})"


class Compiled(KernelPotential):
    """A potential given by two functions that numba compiles; runs step through it without Python.

    Parameters
    ----------
    value : callable
        x of shape (P,) ↦ U(x), a number. A function that numba compiles: arithmetic, `math`, loops over x; functions that it calls
        must be jitted.
    gradient : callable
        x, out, both of shape (P,) ↦ None: writes ∇U(x) into `out`.
    n_params : int
        P.

    Raises
    ------
    TypeError
        If an argument is not a function, refers to an object whose content cannot be hashed, or cannot be compiled.
    ValueError
        If `gradient` is not that of `value`, compared at three random points with differences of U; or a number is out of range.

    Notes
    -----
    The machine code is kept on disk by what the functions are made of, and a checkpoint knows them by a digest of it: to resume, they must
    be given again. No GPU runs them; without the compiler, and for `backend="reference"`, they are called as Python functions.

    Examples
    --------
    >>> import noetherlite as nl
    >>> def value(x):
    ...     return 0.25 * (x[0] ** 2 + x[1] ** 2 - 1) ** 2
    >>> def gradient(x, out):
    ...     force = x[0] ** 2 + x[1] ** 2 - 1
    ...     out[0], out[1] = force * x[0], force * x[1]
    >>> U = nl.potentials.Compiled(value, gradient, 2)
    >>> U.gradient([2.0, 0.0])
    array([6., 0.])
    """

    def __init__(
        self,
        value: Function[[Float64Array], float],
        gradient: Function[[Float64Array, Float64Array], None],
        n_params: int,
    ) -> None:
        checks.function(value, "value")
        checks.function(gradient, "gradient")
        self.n_params = checks.integer(n_params, "n_params", minimum=1)
        functions = Analytic(getattr(value, "py_func", value), getattr(gradient, "py_func", gradient))
        try:
            self._digest = digest(functions)
        except UnidentifiedError as error:
            raise TypeError(f"value and gradient must be functions whose content can be hashed: {error}") from None
        self._functions, self._number = functions, number(POTENTIALS, functions)
        self._verify()

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, (*self._functions, self.n_params)  # another process has other numbers

    def _verify(self) -> None:
        """Compare the gradient with central differences of U along a random direction, at three random points."""
        rng = np.random.default_rng(0)
        for _ in range(3):
            x, direction = rng.standard_normal((2, self.n_params))
            try:
                slope = float(self.gradient(x) @ direction)
                ahead, behind = (self.value(x + s * _STEP * direction) for s in (1, -1))
            except numba.core.errors.NumbaError as error:
                raise TypeError(f"value and gradient must be functions that numba compiles: {error}") from None
            expected, size = (ahead - behind) / (2 * _STEP), np.abs(self.gradient(x)) @ np.abs(direction)
            if not abs(slope - expected) <= _MISMATCH * (size + abs(expected)):  # NaN, too
                raise ValueError(
                    f"gradient is not that of value: at x={x.round(3).tolist()} along {direction.round(3).tolist()} "
                    f"it says {slope:.6g}, and differences of value say {expected:.6g}"
                )

    def problem(self, dtype: str = "float64") -> layout.Problem:
        return layout.analytic(layout.GIVEN + self._number, np.empty((0, 0)), dtype)

    def specification(self) -> dict[str, Any]:
        """Return the kind, the dimension, and the digest of the functions, which are not saved."""
        return {"kind": "compiled", "n_params": self.n_params, "functions": self._digest}

    def __repr__(self) -> str:
        return f"Compiled(n_params={self.n_params})"


# Differences of U over 2e-5 have an error of 1e-10 |∇³U| and ε|U|/1e-5; a wrong gradient differs by more than a thousandth.
_STEP = 1e-5
_MISMATCH = 1e-3


class Callable:
    """A potential given by a Python function; runs step through it in Python, everything else is the same.

    Parameters
    ----------
    value_and_gradient : callable
        x of shape (P,) ↦ (U(x), ∇U(x) of shape (P,)).
    n_params : int
        P.
    """

    def __init__(self, value_and_gradient: Function[[Float64Array], tuple[float, ArrayLike]], n_params: int) -> None:
        checks.function(value_and_gradient, "value_and_gradient")
        self._function = value_and_gradient
        self.n_params = checks.integer(n_params, "n_params", minimum=1)

    def value(self, x: ArrayLike) -> float:
        """Return U(x) for x of shape (P,)."""
        return self.value_and_gradient(x)[0]

    def gradient(self, x: ArrayLike) -> Float64Array:
        """Return ∇U(x) of shape (P,)."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Float64Array]:
        """Return U(x) and ∇U(x) of shape (P,).

        Raises
        ------
        TypeError, ValueError
            If the function does not return a real number and real numbers of shape (P,).
        """
        x = checks.shaped(x, "x", (self.n_params,))
        returned = self._function(x.astype(np.float64))
        expected = f"value_and_gradient must return a number and an array of shape ({self.n_params},)"
        try:
            value, gradient = returned
        except (TypeError, ValueError):
            raise TypeError(f"{expected}, got {checks.describe(returned)}") from None
        number = checks.numbers(value, "the value of value_and_gradient")
        out = np.array(
            checks.numbers(gradient, "the gradient of value_and_gradient"), np.float64
        )  # it may fill one buffer
        if number.ndim != 0 or out.shape != (self.n_params,):
            raise ValueError(f"{expected}, got {checks.describe(value)} and shape {out.shape}")
        U = float(number)
        return U, out if math.isfinite(U) else np.full(self.n_params, np.nan)

    def specification(self) -> dict[str, Any]:
        """Return the kind and the dimension; the function itself is not saved."""
        return {"kind": "callable", "n_params": self.n_params}

    def __repr__(self) -> str:
        return f"Callable(n_params={self.n_params})"
