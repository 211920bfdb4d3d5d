"""Elementary functions without branches or calls, so that LLVM vectorises loops over them; for CPU and GPU alike.

Where |z| < 2^20 each is within two units in the last place of the exact value (`tests/test_elementary.py`, against mpmath);
NaN stays NaN. Numbers of single precision are computed in single precision, by shorter polynomials; sine and cosine alone in
doubles. Coefficients that are no factorials were fitted by weighted least squares at Chebyshev's points in 50 digits.
They are compiled strictly: what adds a large number and takes it away again rounds to an integer, unless sums are reordered.
"""

from __future__ import annotations

import math

import numpy as np

from . import pointwise
from .jit import rounded, scalar
from .pointwise import LOG2_E, exponential_tail, remainder

# 1.5·2^52: z + _ROUND is z rounded to an integer, which its last bits hold; and that of single precision.
_ROUND, _ROUND_SINGLE = 6755399441055744.0, np.float32(12582912.0)
# π/2 in three parts, the first two of 33 bits: their multiples by n < 2^20 are exact.
_PI_HALF, _PI_HALF_2, _PI_HALF_3 = 1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21
_f = np.float32


@rounded
def quotient(a, b):
    """a/b to half a unit in the last place; on a GPU functions whose operations may be contracted divide single numbers to two units."""
    return a / b


@scalar
def is_single(z):
    """Whether z is of single precision; a constant of what is compiled, so that LLVM leaves the other branch out."""
    number = type(z)
    return number(1) + number(2.0**-30) == number(1)


@scalar
def _reduced(z):
    """Return 2^n and r with z = n ln 2 + r, |r| ≤ ½ ln 2."""
    number = type(z)
    if is_single(z):
        rounded = _f(z) * _f(LOG2_E) + _ROUND_SINGLE
        n = rounded - _ROUND_SINGLE
        r = (_f(z) - n * _f(0.693359375)) - n * _f(-2.12194440e-4)
        return number(np.int32((_f(rounded).view(np.int32) + np.int32(127)) << 23).view(np.float32)), number(r)
    rounded = z * LOG2_E + _ROUND
    n = rounded - _ROUND
    power = np.int64((np.float64(rounded).view(np.int64) + 1023) << 52).view(np.float64)
    return number(power), number(remainder(z, n))


@scalar
def _parts(z):
    """Return 2^n and e^r − 1 of that n and r."""
    number = type(z)
    power, r = _reduced(z)
    if is_single(z):
        tail = _f(0.0013935767) * r + _f(0.008369235)
        tail = (tail * r + _f(0.041666456)) * r + _f(0.16666515)
        tail = tail * r + _f(0.5)
    else:
        tail = exponential_tail(r)
    return power, number(tail) * (r * r) + r


@scalar
def exp(z):
    """e^z. Below −87 it is 0 in single precision, above 88 it keeps the value there; in doubles see `pointwise.exp`."""
    number = type(z)
    if is_single(z):
        vanishes = z < number(-87)
        power, p = _parts(number(-87) if vanishes else (number(88) if z > number(88) else z))
        return number(0) if vanishes else power * p + power
    return number(pointwise.exp(z))


@scalar
def expm1(z):
    """e^z − 1 = 2^n (e^r − 1) + (2^n − 1). Below −40 it is −1, above 709 (88 in single precision) it keeps the value there."""
    number = type(z)
    most = number(88) if is_single(z) else number(709)
    power, p = _parts(number(-40) if z < number(-40) else (most if z > most else z))
    return power * p + (power - number(1))


@scalar
def tanh(z):
    """Tanh by H(r) = r coth(r/2), a series in r², of 2|z| = n ln 2 + r: e^r = (H + r)/(H − r).

    r/H with r = 2|z| where |z| < 0.55, else 1 − 2/(e^2|z| + 1) = 1 − (H − r)/D, D = ½(2^n − 1)(H + r) + H.
    """
    number = type(z)
    a = abs(z)
    near = a < number(0.55)
    y = number(40) if a > number(20) else number(2) * a
    power, r = _reduced(number(0) if near else y)
    r = y if near else r
    w = r * r
    if is_single(z):
        H = _f(-1.5271532e-06) * w + _f(6.5997745e-05)
        H = (H * w + _f(-0.0027777136)) * w + _f(0.16666666)
    else:
        H = -5.9184007045999e-13 * w + 2.657582790307152e-11
        H = (H * w - 1.056611079456229e-09) * w + 4.1753354958890626e-08
        H = (H * w - 1.6534390881525153e-06) * w + 6.613756612264458e-05
        H = (H * w - 0.0027777777777761125) * w + 0.1666666666666666
    H = number(H) * w + number(2)
    half = number(0.5)
    ratio = quotient(r if near else r - H, (half * power - half) * (H + r) + H)
    return math.copysign(ratio if near else number(1) + ratio, z)


@scalar
def logistic(z):
    """1/(1 + e^−z) as q = e/(1 + e), e = e^z; where e < 1 with what the rounding of 1 + e leaves out, as 1/(1 + e) = 1 − q."""
    one, e = type(z)(1), exp(z)
    denominator = one + e
    q = quotient(e, denominator)
    return q - q * ((one - denominator) + e) * (one - q) if e < one else q


@scalar
def log1p(u):
    """log(1 + u) for 0 ≤ u ≤ 1: 2 artanh(s) with s = u/(2 + u), a series in s²."""
    number = type(u)
    s = quotient(u, number(2) + u)
    w = s * s
    if is_single(u):
        p = _f(0.2802219) * w + _f(0.27999416)
        p = (p * w + _f(0.40021703)) * w + _f(0.6666641)
    else:
        p = 0.1701407312718496 * w + 0.08342413409623695
        p = p * w + 0.12105593898521366
        p = p * w + 0.1330102942685409
        p = p * w + 0.15386556348837152
        p = p * w + 0.1818174404750957
        p = p * w + 0.22222223968122323
        p = p * w + 0.2857142854783396
        p = p * w + 0.4000000000015799
        p = p * w + 0.666666666666663
    # 2s = u − us: so that the rounding of s counts little.
    return u - s * (u - w * number(p))


@scalar
def softplus(z):
    """log(1 + e^z) = max(z, 0) + log1p(e^−|z|)."""
    number = type(z)
    return (number(0) if z < number(0) else z) + log1p(exp(-abs(z)))


@scalar
def _erf_near(w):
    """Return erf(z)/z − 1 of w = z² ≤ 1 in single precision, erf(z)/z in doubles."""
    number = type(w)
    if is_single(w):
        p = _f(7.91990169e-05) * w + _f(-0.000803065428)
        p = (p * w + _f(0.005190725904)) * w + _f(-0.026855124161)
        p = (p * w + _f(0.112836182117)) * w + _f(-0.376126289368)
        p = p * w + _f(0.128379166126)
    else:
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
    return number(p)


@scalar
def _erf_far(t):
    """Return log(1 − erf(1 + t)) for 0 ≤ t ≤ 5, and ≤ 3 in single precision."""
    number = type(t)
    if is_single(t):
        q = _f(0.00017646054) * t + _f(-0.0017879994)
        q = (q * t + _f(0.009833017)) * t + _f(-0.041461296)
        q = (q * t + _f(-0.8431304)) * t + _f(-2.6389654)
        q = q * t + _f(-1.8496056)
    else:
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
    return number(q)


@scalar
def erf(z):
    """The error function: z P(z²) for |z| ≤ 1, else 1 − e^Q(|z| − 1) with the sign of z."""
    number = type(z)
    a, one, most = abs(z), number(1), number(4) if is_single(z) else number(6)
    p = _erf_near(a * a if a < one else one)
    q = _erf_far((most if a > most else a) - one)
    near = z * p + z if is_single(z) else z * p
    return near if a < one else math.copysign(one - exp(q), z)


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
