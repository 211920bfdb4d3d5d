"""Elementary functions of doubles without branches or calls, so that LLVM vectorises loops over them; for CPU and GPU alike.

Where |z| < 2^20 each is within two units in the last place of the exact value (`tests/test_elementary.py`, against mpmath);
NaN stays NaN. Coefficients that are no factorials were fitted by weighted least squares at Chebyshev's points in 50 digits.
They are compiled strictly: what adds a large number and takes it away again rounds to an integer, unless sums are reordered.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import scalar
from .pointwise import LOG2_E, exp, exponential_tail, remainder

# 1.5·2^52: z + _ROUND is z rounded to an integer, which its last bits hold.
_ROUND = 6755399441055744.0
# π/2 in three parts, the first two of 33 bits: their multiples by n < 2^20 are exact.
_PI_HALF, _PI_HALF_2, _PI_HALF_3 = 1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21


@scalar
def _parts(z):
    """Return 2^n and e^r − 1 with z = n ln 2 + r, |r| ≤ ½ ln 2: Taylor's series of degree 13."""
    rounded = z * LOG2_E + _ROUND
    n = rounded - _ROUND
    r = remainder(z, n)
    power = np.int64((np.float64(rounded).view(np.int64) + 1023) << 52).view(np.float64)
    return power, exponential_tail(r) * (r * r) + r


@scalar
def expm1(z):
    """e^z − 1 = 2^n (e^r − 1) + (2^n − 1). Below −40 it is −1, above 709 it keeps the value there."""
    z = np.float64(z)
    power, p = _parts(-40.0 if z < -40.0 else (709.0 if z > 709.0 else z))
    return power * p + (power - 1.0)


@scalar
def tanh(z):
    """z + z w P(w)/Q(w), w = z², for |z| < 0.625 (Cephes' rational function), else 1 − 2e/(1 + e) with e = e^(−2|z|)."""
    z = np.float64(z)
    a = abs(z)
    near = a < 0.625
    w = a * a if near else 0.0
    P = (-9.64399179425052238628e-1 * w - 9.92877231001918586564e1) * w - 1.61468768441708447952e3
    Q = ((w + 1.12811678491632931402e2) * w + 2.23548839060100448583e3) * w + 4.84406305325125486048e3
    power, p = _parts(-40.0 if a > 20.0 else -2.0 * a)
    e = power * p + power
    ratio = (w * P if near else -2.0 * e) / (Q if near else 1.0 + e)
    return math.copysign(a + a * ratio if near else 1.0 + ratio, z)


@scalar
def logistic(z):
    """1/(1 + e^−z), as e/(1 + e) with e = e^z where z < 0; what the roundings of the quotient leave out is added."""
    z = np.float64(z)
    e = exp(-abs(z))
    numerator, denominator = e if z < 0.0 else 1.0, 1.0 + e
    left_out = (1.0 - denominator) + e
    inverse = 1.0 / denominator
    quotient = numerator * inverse
    return quotient + ((numerator - quotient * denominator) - quotient * left_out) * inverse


@scalar
def log1p(u):
    """log(1 + u) for 0 ≤ u ≤ 1: 2 artanh(s) with s = u/(2 + u), a series in s²."""
    u = np.float64(u)
    s = u / (2.0 + u)
    w = s * s
    p = 0.1701407312718496
    p = p * w + 0.08342413409623695
    p = p * w + 0.12105593898521366
    p = p * w + 0.1330102942685409
    p = p * w + 0.15386556348837152
    p = p * w + 0.1818174404750957
    p = p * w + 0.22222223968122323
    p = p * w + 0.2857142854783396
    p = p * w + 0.4000000000015799
    p = p * w + 0.666666666666663
    # 2s = u − us: so that the rounding of s counts little.
    return u - s * (u - w * p)


@scalar
def softplus(z):
    """log(1 + e^z) = max(z, 0) + log1p(e^−|z|)."""
    z = np.float64(z)
    return (0.0 if z < 0.0 else z) + log1p(exp(-abs(z)))


@scalar
def erf(z):
    """The error function: z P(z²) for |z| ≤ 1, else 1 − e^Q(|z| − 1) with the sign of z."""
    z = np.float64(z)
    a = abs(z)
    w = a * a if a < 1.0 else 1.0
    p = -7.798543850549947e-10
    p = p * w + 1.3721520406351094e-08
    p = p * w - 1.6208829856810202e-07
    p = p * w + 1.6447471190594618e-06
    p = p * w - 1.4924740785377576e-05
    p = p * w + 0.00012055295112667001
    p = p * w - 0.0008548325982543225
    p = p * w + 0.005223977607269946
    p = p * w - 0.026866170643256995
    p = p * w + 0.1128379167094513
    p = p * w - 0.37612638903183543
    p = p * w + 1.1283791670955126
    t = (6.0 if a > 6.0 else a) - 1.0
    q = 1.0305267765735484e-12
    q = q * t - 2.8608882469579202e-11
    q = q * t + 3.660080614374357e-10
    q = q * t - 2.849581657658107e-09
    q = q * t + 1.4849384331745716e-08
    q = q * t - 5.185047792207241e-08
    q = q * t + 9.713692640519622e-08
    q = q * t + 1.4353832208517946e-07
    q = q * t - 2.0605669406249576e-06
    q = q * t + 9.60960724352212e-06
    q = q * t - 2.715957480596495e-05
    q = q * t + 2.6278094448532506e-05
    q = q * t + 0.0002373224078962554
    q = q * t - 0.0019779025510959767
    q = q * t + 0.010033825371928505
    q = q * t - 0.04156109804159179
    q = q * t - 0.8431072563586866
    q = q * t - 2.638967514234788
    q = q * t - 1.8496055099332482
    return z * p if a < 1.0 else math.copysign(1.0 - exp(q), z)


@scalar
def _sine(z, quarter):
    """sin(z + quarter π/2) = ± sin r or ± cos r with z = n π/2 + r, |r| ≤ π/4."""
    rounded = z * (2 / math.pi) + _ROUND
    n = rounded - _ROUND
    first = z - n * _PI_HALF  # exact
    second = first - n * _PI_HALF_2
    r = second - n * _PI_HALF_3
    low = ((second - r) - n * _PI_HALF_3) + ((first - second) - n * _PI_HALF_2)  # what roundings have left out of r
    w = r * r
    s = -1 / 1307674368000
    s = s * w + 1 / 6227020800
    s = s * w - 1 / 39916800
    s = s * w + 1 / 362880
    s = s * w - 1 / 5040
    s = s * w + 1 / 120
    s = s * w - 1 / 6
    c = 1 / 20922789888000
    c = c * w - 1 / 87178291200
    c = c * w + 1 / 479001600
    c = c * w - 1 / 3628800
    c = c * w + 1 / 40320
    c = c * w - 1 / 720
    c = c * w + 1 / 24
    c = c * w - 0.5
    which = np.float64(rounded).view(np.int64) + quarter
    value = (c * w - r * low) + 1.0 if which & 1 else (s * (w * r) + low) + r
    return -value if which & 2 else value


@scalar
def sin(z):
    """Sine; beyond 2^20 as exact as z itself: an error of its last place is as large."""
    return _sine(np.float64(z), 0)


@scalar
def cos(z):
    """Cosine, likewise."""
    return _sine(np.float64(z), 1)
