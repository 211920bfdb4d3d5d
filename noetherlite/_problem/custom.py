"""Activations made of a user's two functions of one number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.errors import NumbaError

from .._base import checks
from .._kernels import fingerprint
from .._kernels.jit import inlined
from .kind import Array, Kind

_settings: Any = numba.config
# Made in this process, by name.
CUSTOM: dict[str, Kind] = {}
PREFIX = "custom:"

# Where f′ is compared with differences of f: 0.01 away at least from multiples of ½, where kinks tend to be.
_POINTS = -3.87 + 0.2503 * np.arange(32)
_STEP = 1e-3
# The difference of fourth order is off by h⁴ f⁽⁵⁾/30 and by ε f/h, 1e-13 each for f of order one.
_AGREEMENT = 1e-8


def register(f: Any, df: Any) -> str:
    """Return the name of the activation with these functions, which says their content, after checking one against the other."""
    for function, name in ((f, "f"), (df, "df")):
        if not callable(function):
            raise TypeError(f"{name} must be a function of one number, got {checks.describe(function)}")
    content = hashlib.sha256((fingerprint.of(f) + fingerprint.of(df)).encode()).hexdigest()[:12]
    name = f"{PREFIX}{getattr(f, '__name__', 'f').strip('<>')}:{content}"
    if name not in CUSTOM:
        CUSTOM[name] = _kind(name, _plain(f), _plain(df))
    return name


def _plain(function: Any) -> Callable[[float], float]:
    plain: Callable[[float], float] = getattr(function, "py_func", function)  # of a function that numba has compiled
    return plain


def _kind(name: str, f: Callable[[float], float], df: Callable[[float], float]) -> Kind:
    _check(f, df)
    sigma, slope = inlined(f), inlined(df)
    return Kind(
        examples=(name,),
        sigma=lambda c, z: sigma(z),
        d_sigma=lambda c, z, a: slope(z),
        sigma_array=lambda c, z: _of_array(f, df, z),
        d_sigma_array=lambda c, z: np.vectorize(df, otypes=[z.real.dtype])(z.real),
        analytic=False,
    )


def _of_array(f: Callable[[float], float], df: Callable[[float], float], z: Array) -> Array:
    """Return f(z), of complex z to first order in the imaginary part: a step for derivatives."""
    value = np.asarray(np.vectorize(f, otypes=[z.real.dtype])(z.real))
    if not np.iscomplexobj(z):
        return value
    return np.asarray(value + 1j * z.imag * np.vectorize(df, otypes=[z.real.dtype])(z.real))


def _check(f: Callable[[float], float], df: Callable[[float], float]) -> None:
    for function, name in ((f, "f"), (df, "df")):
        if not _settings.DISABLE_JIT:
            try:
                numba.njit((numba.float64,))(function)
            except NumbaError as error:
                raise TypeError(f"{name} is not compiled by numba: {str(error).strip().splitlines()[-1]}") from error
        values = [function(float(z)) for z in _POINTS]
        if not all(isinstance(v, int | float | np.floating) and np.isfinite(v) for v in values):
            raise ValueError(f"{name} must return finite numbers, got {values[0]!r} at z={_POINTS[0]:g} and others")
    if not np.isnan(f(float("nan"))):
        raise ValueError(
            "f(nan) must be nan, so that a run that has diverged shows it; write `0.0 if z < 0 else z` for relu"
        )
    value, slope = np.array([[function(z) for z in _POINTS] for function in (f, df)])
    h = _STEP
    near = [np.array([f(z + k * h) for z in _POINTS]) for k in (-2, -1, 1, 2)]
    difference = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * h)
    off = np.abs(slope - difference)
    worst = int(np.argmax(off))
    if off[worst] > _AGREEMENT * (1 + np.abs(value).max() + np.abs(slope).max()):
        raise ValueError(
            f"df is not the derivative of f: at z={_POINTS[worst]:g} it is {slope[worst]:g}, and differences of f give "
            f"{difference[worst]:g}"
        )
