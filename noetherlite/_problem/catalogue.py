"""The catalogue of activations: one entry is all that is known of one, its functions for kernels and oracle included.

A scalar function is compiled for CPU and GPU: it may use `math`, NumPy's types, `_kernels/elementary.py` and `_kernels/powers.py`,
takes numbers of either precision, and lets a NaN pass through (`0.0 if z < 0 else z` does, `z if z > 0 else 0.0` does not). Numbers
it brings are of z's type, `type(z)(0.5)`: beside one of double precision all that follows is computed in doubles. The functions of
arrays are the oracle's, written independently in NumPy; they take complex z where σ is smooth, so that gradients can be
checked by complex step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._base import checks
from .._kernels import elementary, pointwise
from . import normal_means, scalars
from .kind import Array, Kind, Pieces

# --- parameters ---


def _label(text: str) -> str:
    return f"the parameter of activation {text!r}"


def _any(value: float, inside: str, text: str) -> float:
    return checks.real(value, _label(text))


def _positive(value: float, inside: str, text: str) -> float:
    return checks.real(value, _label(text), minimum=0.0, strict=True)


def _slope(value: float, inside: str, text: str) -> float:
    value = checks.real(value, _label(text), minimum=0.0, strict=True)
    if value >= 1:
        raise ValueError(f"activation={text!r}: the parameter, a slope, must lie in 0 < a < 1")
    return value


def _power(value: float, inside: str, text: str) -> float:
    return checks.real(value, _label(text), minimum=1.0)


def _integer_power(value: float, inside: str, text: str) -> float:
    value = _power(value, inside, text)
    if value != int(value):
        raise ValueError(
            f"activation={text!r}: z^p needs an integer parameter p, as z may be negative; repu({inside}) takes any p >= 1"
        )
    return value


# What a function of exponentials counts as where samples are shared out. It takes 50 to 200 flops' time; with this 10-32-32-3 with
# 100 samples is shared by two threads, as measured to be right, and the sums of networks without such functions stay as they are.
_SHARED = 400

# --- functions of arrays of more than a line ---

_LARGE = 700.0  # e^700 is a double


def _exp(z: Array) -> Array:
    """Return e^z, infinite where it is large; of complex z, whose products with infinity are NaN, a number as good as infinite."""
    if np.iscomplexobj(z):
        return np.asarray(np.exp(np.minimum(z.real, _LARGE) + 1j * z.imag))
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(z))


def _size(z: Array) -> Array:
    """Return |z|, continued to complex z near the real axis, where that is no absolute value."""
    return np.where(z.real < 0, -z, z)


def _logistic(z: Array) -> Array:
    return np.asarray(1 / (1 + _exp(-z)))


def _swish_array(c: Any, z: Array) -> Array:
    return np.asarray(z / (1 + _exp(-c * z)))


def _d_swish_array(c: Any, z: Array) -> Array:
    s = _logistic(c * z)
    return np.asarray(s + c * z * s * (1 - s))


def _swish_by_beta_array(c: Any, z: Array) -> Array:
    return np.asarray(z * z * _logistic(c * z) * _logistic(-c * z))


_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def _erf(z: Array) -> Array:
    from scipy import special  # here: importing it takes a while

    return np.asarray(special.erf(z))


def _density(z: Array) -> Array:
    return np.asarray(np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))


def _gelu_tanh_array(z: Array) -> Array:
    return np.asarray(np.tanh(scalars.SCALE * (z + 0.044715 * z**3)))


def _d_gelu_tanh_array(c: Any, z: Array) -> Array:
    t = _gelu_tanh_array(z)
    return np.asarray((1 + t) / 2 + z / 2 * (1 - t**2) * scalars.SCALE * (1 + 3 * 0.044715 * z**2))


def _softplus_array(c: Any, z: Array) -> Array:
    return np.where(z.real > 0, z + np.log1p(_exp(-z)), np.log1p(_exp(z)))


def _expm1_below_zero(z: Array) -> Array:
    """Return e^z − 1 for z < 0, else 0."""
    return np.where(z.real < 0, np.expm1(np.where(z.real < 0, z, 0)), 0)


def _ratio_of_exponential(c: Any, z: Array) -> Array:
    """Return σ/σ′ of z for z > 0 and c(e^{z/c} − 1), or a multiple of it, for z < 0."""
    return np.where(z > 0, z, -c * np.expm1(-np.minimum(z, 0) / c))


def _integral_of_exponential(c: Any, z: Array) -> Array:
    low = np.minimum(z, 0)
    return np.where(z > 0, z**2 / 2, c * low + c**2 * np.expm1(-low / c))


CATALOGUE = {
    "linear": Kind(
        examples=("linear", "linear(0.7)"),
        sigma=lambda c, z: c * z,
        d_sigma=lambda c, z, a: c,
        sigma_array=lambda c, z: np.asarray(c * z),
        d_sigma_array=lambda c, z: np.full_like(z, c),
        in_place=True,
        parameter=_any,
        default=1.0,
        pieces=lambda c: Pieces(1.0, c, c),
        identity=1.0,
    ),
    "relu": Kind(
        examples=("relu",),
        sigma=lambda c, z: 0.0 if z < 0 else z,
        d_sigma=lambda c, z, a: 1.0 if z > 0 else 0.0,
        sigma_array=lambda c, z: np.where(z.real < 0, 0, z),
        d_sigma_array=lambda c, z: np.where(z > 0, 1.0, 0.0),
        in_place=True,
        pieces=lambda _: Pieces(1.0, 0.0, 1.0),
    ),
    "leaky_relu": Kind(
        examples=("leaky_relu(0.1)",),
        sigma=lambda c, z: z if z > 0 else c * z,
        d_sigma=lambda c, z, a: 1.0 if z > 0 else c,
        sigma_array=lambda c, z: np.where(z.real > 0, z, c * z),
        d_sigma_array=lambda c, z: np.where(z > 0, 1.0, c),
        in_place=True,
        parameter=_slope,
        required=True,
        pieces=lambda a: Pieces(1.0, a, 1.0),
    ),
    "polynomial": Kind(
        examples=("polynomial(2)",),
        sigma=lambda c, z: z * z if c == 2 else pointwise.power(z, int(c)),
        d_sigma=lambda c, z, a: c * z if c == 2 else c * pointwise.power(z, int(c) - 1),
        sigma_array=lambda c, z: np.asarray(z ** int(c)),
        d_sigma_array=lambda c, z: np.asarray(c * z ** int(c - 1)),
        parameter=_integer_power,
        required=True,
        pieces=lambda p: Pieces(p, 1.0, 1.0),
    ),
    "repu": Kind(
        examples=("repu(3)",),
        sigma=scalars.repu,
        d_sigma=scalars.d_repu,
        sigma_array=lambda c, z: np.where(z.real < 0, 0, z) ** (int(c) if c == int(c) else c),
        d_sigma_array=lambda c, z: np.where(z > 0, c * np.maximum(z, 0) ** (c - 1), 0.0),
        parameter=_power,
        required=True,
        pieces=lambda p: Pieces(p, 0.0, 1.0),
    ),
    "swish": Kind(
        examples=("swish", "swish(1.0)"),
        flops=_SHARED,
        sigma=lambda c, z: z * elementary.logistic(c * z),
        d_sigma=scalars.d_swish,
        sigma_array=_swish_array,
        d_sigma_array=_d_swish_array,
        d_parameter=scalars.swish_by_beta,
        d_parameter_array=_swish_by_beta_array,
        parameter=_any,
        mean_rule="trapezoidal",
    ),
    "tanh": Kind(
        examples=("tanh",),
        flops=_SHARED,
        over_slope=lambda c, z: np.sinh(z) * np.cosh(z),
        over_slope_integral=lambda c, z: np.sinh(z) ** 2 / 2,
        sigma=lambda c, z: elementary.tanh(z),
        d_sigma=lambda c, z, a: type(a)(1) - a * a,
        sigma_array=lambda c, z: np.tanh(z),
        d_sigma_array=lambda c, z: 1 - np.tanh(z) ** 2,
        in_place=True,
        mean_rule="hermite",
        parity=-1,
    ),
    "erf": Kind(
        examples=("erf",),
        flops=_SHARED,
        expectations=normal_means.of_erf,
        sigma=lambda c, z: elementary.erf(z),
        d_sigma=lambda c, z, a: type(z)(_TWO_OVER_ROOT_PI) * elementary.exp(-z * z),
        sigma_array=lambda c, z: _erf(z),
        d_sigma_array=lambda c, z: _TWO_OVER_ROOT_PI * np.exp(-(z**2)),
        parity=-1,
    ),
    "gelu": Kind(
        examples=("gelu",),
        flops=_SHARED,
        mean_rule="hermite",
        sigma=scalars.gelu,
        d_sigma=scalars.d_gelu,
        sigma_array=lambda c, z: z * (1 + _erf(z / math.sqrt(2))) / 2,
        d_sigma_array=lambda c, z: (1 + _erf(z / math.sqrt(2))) / 2 + z * _density(z),
    ),
    "gelu_tanh": Kind(
        examples=("gelu_tanh",),
        flops=_SHARED,
        mean_rule="hermite",
        sigma=scalars.gelu_tanh,
        d_sigma=scalars.d_gelu_tanh,
        sigma_array=lambda c, z: z * (1 + _gelu_tanh_array(z)) / 2,
        d_sigma_array=_d_gelu_tanh_array,
    ),
    "softplus": Kind(
        examples=("softplus",),
        flops=_SHARED,
        mean_rule="hermite",
        sigma=lambda c, z: elementary.softplus(z),
        d_sigma=lambda c, z, a: elementary.logistic(z),
        sigma_array=_softplus_array,
        d_sigma_array=lambda c, z: _logistic(z),
    ),
    "logistic": Kind(
        examples=("logistic",),
        flops=_SHARED,
        over_slope=lambda c, z: 1 + np.exp(z),
        over_slope_integral=lambda c, z: z + np.expm1(z),
        mean_rule="hermite",
        sigma=lambda c, z: elementary.logistic(z),
        d_sigma=lambda c, z, a: a * (type(a)(1) - a),
        sigma_array=lambda c, z: _logistic(z),
        d_sigma_array=lambda c, z: _logistic(z) * _logistic(-z),
        in_place=True,
    ),
    "sin": Kind(
        examples=("sin",),
        flops=_SHARED,
        expectations=normal_means.of_sin,
        sigma=lambda c, z: elementary.sin(z),
        d_sigma=lambda c, z, a: elementary.cos(z),
        sigma_array=lambda c, z: np.sin(z),
        d_sigma_array=lambda c, z: np.cos(z),
        parity=-1,
    ),
    "cos": Kind(
        examples=("cos",),
        flops=_SHARED,
        expectations=lambda k, a, b: normal_means.of_sin(k, a, b)[::-1],
        sigma=lambda c, z: elementary.cos(z),
        d_sigma=lambda c, z, a: -elementary.sin(z),
        sigma_array=lambda c, z: np.cos(z),
        d_sigma_array=lambda c, z: -np.sin(z),
        parity=1,
    ),
    "elu": Kind(
        examples=("elu", "elu(0.5)"),
        flops=_SHARED,
        over_slope=lambda c, z: _ratio_of_exponential(1.0, z),
        over_slope_integral=lambda c, z: _integral_of_exponential(1.0, z),
        sigma=lambda c, z: z if z > 0 else c * elementary.expm1(z),
        d_sigma=lambda c, z, a: type(a)(1) if a > 0 else a + c,
        sigma_array=lambda c, z: np.where(z.real > 0, z, c * _expm1_below_zero(z)),
        d_sigma_array=lambda c, z: np.where(z > 0, 1.0, c * np.exp(np.minimum(z, 0))),
        in_place=True,
        parameter=_positive,
        default=1.0,
        analytic=False,
        mean_rule="split",
        kinked=lambda c: c != 1,
    ),
    "celu": Kind(
        examples=("celu", "celu(0.5)"),
        flops=_SHARED,
        over_slope=_ratio_of_exponential,
        over_slope_integral=_integral_of_exponential,
        sigma=lambda c, z: z if z > 0 else c * elementary.expm1(z / c),
        d_sigma=lambda c, z, a: type(a)(1) if a > 0 else type(a)(1) + a / c,
        sigma_array=lambda c, z: np.where(z.real > 0, z, c * _expm1_below_zero(z / c)),
        d_sigma_array=lambda c, z: np.exp(np.minimum(z, 0) / c),
        in_place=True,
        parameter=_positive,
        default=1.0,
        analytic=False,
        mean_rule="split",
    ),
    "softsign": Kind(
        examples=("softsign",),
        over_slope=lambda c, z: z * (1 + np.abs(z)),
        over_slope_integral=lambda c, z: z**2 / 2 + np.abs(z) ** 3 / 3,
        sigma=lambda c, z: z / (1 + abs(z)),
        d_sigma=lambda c, z, a: 1 / ((1 + abs(z)) * (1 + abs(z))),
        sigma_array=lambda c, z: z / (1 + _size(z)),
        d_sigma_array=lambda c, z: (1 + _size(z)) ** -2.0,
        analytic=False,
        mean_rule="split",
        parity=-1,
    ),
    "hard_tanh": Kind(
        examples=("hard_tanh",),
        expectations=normal_means.of_hard_tanh,
        sigma=lambda c, z: 1.0 if z > 1 else (-1.0 if z < -1 else z),
        d_sigma=lambda c, z, a: 1.0 if abs(a) < 1 else 0.0,
        sigma_array=lambda c, z: np.where(np.abs(z.real) > 1, np.sign(z.real), z),
        d_sigma_array=lambda c, z: np.where(np.abs(z) < 1, 1.0, 0.0),
        in_place=True,
        analytic=False,
        kinked=lambda _: True,
        parity=-1,
    ),
    "abs": Kind(
        examples=("abs",),
        sigma=lambda c, z: -z if z < 0 else z,
        d_sigma=lambda c, z, a: 1.0 if z > 0 else (-1.0 if z < 0 else 0.0),
        sigma_array=lambda c, z: _size(z),
        d_sigma_array=lambda c, z: np.sign(z.real),
        pieces=lambda _: Pieces(1.0, -1.0, 1.0),
    ),
    "exp": Kind(
        examples=("exp",),
        flops=_SHARED,
        over_slope=lambda c, z: np.ones_like(z),
        over_slope_integral=lambda c, z: z,
        expectations=normal_means.of_exp,
        sigma=lambda c, z: elementary.exp(z),
        d_sigma=lambda c, z, a: a,
        sigma_array=lambda c, z: np.exp(z),
        d_sigma_array=lambda c, z: np.exp(z),
        in_place=True,
    ),
    "gaussian": Kind(
        examples=("gaussian",),
        flops=_SHARED,
        expectations=normal_means.of_gaussian,
        sigma=lambda c, z: elementary.exp(-z * z),
        d_sigma=lambda c, z, a: type(z)(-2) * z * a,
        sigma_array=lambda c, z: np.exp(-(z**2)),
        d_sigma_array=lambda c, z: -2 * z * np.exp(-(z**2)),
        parity=1,
    ),
}
EXAMPLES = tuple(example for kind in CATALOGUE.values() for example in kind.examples)
# Other names, and what they mean.
SYNONYMS = {"silu": "swish(1.0)", "sigmoid": "logistic"}
