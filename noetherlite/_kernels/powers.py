"""Powers and the logarithm without branches or calls, in the way of `elementary`, and as exact.

z = 2^k m with √½ ≤ m < √2 and log m = 2 artanh(s), s = (m − 1)/(m + 1). A power needs its logarithm to ten digits more than a
number has: as a sum of two numbers, the first of half as many digits, so that products of two such are exact (after fdlibm's pow).
"""

from __future__ import annotations

import math

import numpy as np

from .elementary import is_single, quotient
from .jit import scalar
from .pointwise import LN2_HIGH, LN2_LOW

# 1.5·2^52, as a number and its bits: an integer added to the bits is one added to the number.
_ROUND, _ROUND_BITS, _ROUND_SINGLE = 6755399441055744.0, 0x4338000000000000, np.float32(12582912.0)
_ROOT_HALF, _ROOT_HALF_SINGLE = 0x3FE6A09E667F3BCD, np.int32(0x3F3504F3)  # bits of √½
_f = np.float32


@scalar
def _exponent(z):
    """Return k and m with z = 2^k m, √½ ≤ m < √2, for z > 0."""
    number = type(z)
    if is_single(z):
        small = z < _f(2.0**-126)
        bits = _f(_f(z) * _f(2.0**24) if small else _f(z)).view(np.int32)
        k = np.int32((bits - _ROOT_HALF_SINGLE) >> 23)
        m = np.int32(bits - np.int32(k << 23)).view(np.float32)
        return number(_f(k) - (_f(24) if small else _f(0))), number(m)
    small = z < 2.0**-1022
    bits = np.float64(z * 2.0**54 if small else z).view(np.int64)
    k = np.int64((bits - _ROOT_HALF) >> 52)
    m = np.int64(bits - (k << 52)).view(np.float64)
    exponent = np.int64(k + _ROUND_BITS).view(np.float64) - _ROUND
    return number(exponent - (54.0 if small else 0.0)), number(m)


@scalar
def log(z):
    """The logarithm of a double z > 0: k ln 2 + log m, with log m = f − f²/2 + s(f²/2 + 2 artanh(s)/s − 2), f = m − 1, s = f/(2 + f)."""
    k, m = _exponent(z)
    f = m - 1.0
    s = f / (2.0 + f)
    w, half = s * s, 0.5 * f * f
    rest = (w * w * _series(w) + w) * (2 / 3)
    value = k * LN2_HIGH - ((half - (s * (half + rest) + k * LN2_LOW)) - f)
    return value if z < math.inf else z


@scalar
def _half_of_digits(z):
    """Return z with the last half of its digits set to 0."""
    number = type(z)
    if is_single(z):
        return number(np.int32(_f(z).view(np.int32) & np.int32(-4096)).view(np.float32))
    return number(np.int64(np.float64(z).view(np.int64) & -4294967296).view(np.float64))


@scalar
def _series(w):
    """Return (3 artanh(s)/s − 3 − w)/w² of w = s²."""
    number = type(w)
    if is_single(w):
        p = (_f(0.35139757) * w + _f(0.42820132)) * w + _f(0.60000234)
    else:
        p = 0.1980117446202485 * w + 0.19884449021056672
        p = (p * w + 0.2308017240811491) * w + 0.27272675678400665
        p = (p * w + 0.33333333791062414) * w + 0.4285714285507757
        p = p * w + 0.6000000000000356
    return number(p)


@scalar
def _log2(z):
    """Return the logarithm to base 2 of z > 0 as a sum of two numbers, the first of half as many digits."""
    number = type(z)
    k, m = _exponent(z)
    f, inverse = m - number(1), quotient(number(1), m + number(1))
    s = f * inverse
    first = _half_of_digits(s)
    t = _half_of_digits(m + number(1))
    rest = ((f - first * t) - first * (m - (t - number(1)))) * inverse  # first + rest is (m − 1)/(m + 1)
    square, w = first * first, s * s
    r = w * w * _series(w) + rest * (first + s)
    three = number(3)
    t = _half_of_digits(three + square + r)
    low = r - ((t - three) - square)
    u, v = first * t, rest * t + low * s
    high = _half_of_digits(u + v)  # high + low = 3 artanh(s)
    low = v - (high - u)
    if is_single(z):
        c, c_high, c_low = _f(0.96179670), _f(0.961669921875), _f(1.2677205e-04)
    else:
        c, c_high, c_low = 0.9617966939259756, 0.9617962837219238, 4.102040517767816e-07  # 2/(3 ln 2) and its parts
    u, v = number(c_high) * high, number(c_low) * high + low * number(c)
    total = _half_of_digits((u + v) + k)
    return total, v - ((total - k) - u)


@scalar
def _twice_power_of_two(f):
    """Return 2·2^f for |f| ≤ ½."""
    number = type(f)
    if is_single(f):
        q = _f(0.0003091275) * f + _f(0.0026783338)
        q = (q * f + _f(0.019236155)) * f + _f(0.11100716)
        q = (q * f + _f(0.48045301)) * f + _f(1.3862944)
    else:
        q = 8.931057947107006e-10 * f + 1.4147895748666899e-08
        q = (q * f + 2.035597138465842e-07) * f + 2.6430868570044836e-06
        q = (q * f + 3.0505468073414833e-05) * f + 0.00030807060918421265
        q = (q * f + 0.0026667116292328954) * f + 0.01923625821518471
        q = (q * f + 0.11100821732964587) * f + 0.4804530139182027
        q = q * f + 1.3862943611198906
    return number(q) * f + number(2)


@scalar
def _half_of_power_of_two(n):
    """Return n, rounded to an integer, and 2^n/2."""
    number = type(n)
    if is_single(n):
        rounded = _f(n) + _ROUND_SINGLE
        half = np.int32((_f(rounded).view(np.int32) + np.int32(126)) << 23).view(np.float32)
        return number(rounded - _ROUND_SINGLE), number(half)
    rounded = n + _ROUND
    return number(rounded - _ROUND), number(
        np.int64((np.float64(rounded).view(np.int64) + 1022) << 52).view(np.float64)
    )


@scalar
def power(z, p):
    """z^p for z ≥ 0 and p ≥ 0, both of the same precision; 0 below the smallest normal numbers, and where z < 0."""
    number = type(z)
    most = number(128) if is_single(z) else number(1024)
    first, rest = _log2(z if z > number(0) else number(1))
    p_first = _half_of_digits(p)
    high, low = p_first * first, (p - p_first) * first + p * rest
    exponent = high + low
    n, half = _half_of_power_of_two(number(0) if abs(exponent) > most else exponent)
    value = half * _twice_power_of_two((high - n) + low)
    value = number(0) if exponent < number(3) - most else (number(math.inf) if exponent >= most else value)
    value = value if z < number(math.inf) else z
    value = number(0) if z <= number(0) else value
    return number(1) if p == number(0) else value
