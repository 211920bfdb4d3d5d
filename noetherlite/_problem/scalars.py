"""Activations of numbers that take more than a line, and their derivatives; `catalogue` says what such functions may use."""

from __future__ import annotations

import math
from typing import Any

from .._kernels import elementary, powers
from .._kernels.jit import scalar

CUBIC, SCALE = 0.044715, math.sqrt(2 / math.pi)  # of GELU's approximation by tanh
_HALF_ROOT, _NORMAL = math.sqrt(0.5), math.sqrt(0.5 / math.pi)


def repu(c: float, z: float) -> Any:
    """Return max(z, 0)^c."""
    number = type(z)
    value = z * z if c == 2 else powers.power(z, number(c))
    return number(0) if z < 0 else value


def d_repu(c: float, z: float, a: float) -> Any:
    """Return the derivative c max(z, 0)^(c−1)."""
    number = type(z)
    value = number(c) * (z if c == 2 else powers.power(z, number(c - 1)))
    return value if z > 0 else number(0)


@scalar
def _ratio(a: float, z: float) -> Any:
    """Return s of a = z s(z), s(0) = ½, without computing it anew."""
    number = type(z)
    return number(0.5) if abs(z) < number(1e-30) else elementary.quotient(a, z)


def d_swish(c: float, z: float, a: float) -> Any:
    """Return the derivative s + ca(1 − s), s = a/z."""
    number = type(z)
    s = _ratio(a, z)
    return s + number(c) * a * (number(1) - s)


def swish_by_beta(c: float, z: float) -> Any:
    """Return the derivative by c, z²s(1 − s), s = logistic(cz): z²e/(1 + e)² with e = e^−|cz|, where s near 1 would cancel."""
    e = elementary.exp(-abs(c * z))
    part = elementary.quotient(z, type(z)(1) + e)
    return part * e * part


def gelu(c: float, z: float) -> Any:
    """Return zΦ(z), Φ the distribution function of N(0, 1)."""
    number = type(z)
    return number(0.5) * z * (number(1) + elementary.erf(number(_HALF_ROOT) * z))


def d_gelu(c: float, z: float, a: float) -> Any:
    """Return the derivative Φ + zΦ′, Φ = a/z."""
    number = type(z)
    return _ratio(a, z) + number(_NORMAL) * z * elementary.exp(number(-0.5) * z * z)


def gelu_tanh(c: float, z: float) -> Any:
    """Return z(1 + tanh t)/2, t = √(2/π)(z + 0.044715 z³)."""
    number = type(z)
    return number(0.5) * z * (number(1) + elementary.tanh(number(SCALE) * (z + number(CUBIC) * z * z * z)))


def d_gelu_tanh(c: float, z: float, a: float) -> Any:
    """Return the derivative s + 2a(1 − s)t′, s = a/z = (1 + tanh t)/2."""
    number = type(z)
    s = _ratio(a, z)
    inner = number(SCALE) * (number(1) + number(3 * CUBIC) * z * z)
    return s + number(2) * a * (number(1) - s) * inner
