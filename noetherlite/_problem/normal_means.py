"""E[σ(z)σ(z′)] and E[σ′(z)σ′(z′)] of normal z, z′ with variances a, b and covariance k, in closed form.

What the kernels of infinitely wide networks are made of.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from .kind import Array

_TINY = 1e-100  # a standard deviation that stands for none
_LARGEST = 1e5  # one beyond which 32 parts do not resolve where z and z′ are both within ±1


def of_erf(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return both expectations for σ = erf (Williams 1997)."""
    size, sine, cosine = _widened(k, a, b)
    return 2 / math.pi * np.arctan2(sine, cosine), 4 / math.pi / (size * cosine)


def of_sin(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return both expectations for σ = sin, from the real part of E[e^{i(z ± z′)}]; exchanged they are those for cos."""
    largest, ratio = np.exp(np.abs(k) - (a + b) / 2), np.expm1(-2 * np.abs(k))  # |k| ≤ (a + b)/2
    return -np.sign(k) * largest * ratio / 2, largest * (1 + ratio / 2)


def of_exp(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return both expectations for σ = exp, which are equal: E[e^{z + z′}]."""
    value = np.exp((a + b) / 2 + k)
    return value, value


def of_gaussian(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return both expectations for σ(z) = e^{−z²}.

    φ(z, z′) e^{−z² − z′²}, φ the normal density of covariance Σ, is a multiple of the normal density with the inverse covariance
    Σ⁻¹ + 2, whose covariance of z and z′ is k/D with D = det(1 + 2Σ).
    """
    size, sine, cosine = _widened(k, a, b)
    return 1 / (size * cosine), 2 * sine / (size * cosine) ** 2 / cosine


def _widened(k: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return √((1 + 2a)(1 + 2b)), and sine and cosine of the angle of which 2k over it is the sine: det(1 + 2Σ) = (size cosine)².

    The difference ab − k² is taken as a product, which does not cancel for z = z′, and is scaled as ab need be no double.
    """
    one, other = 1 + 2 * a, 1 + 2 * b
    size, product = np.sqrt(one) * np.sqrt(other), geometric_mean(a, b)
    apart, together = (2 * np.maximum(product - np.abs(k), 0) / size, 2 * (product + np.abs(k)) / size)  # of ab − k²
    return size, 2 * k / size, np.sqrt(1 / other + 2 * b / other / one + apart * together)


def geometric_mean(one: Array, other: Array) -> Array:
    """Return √(one · other), a product that need be no double: powers of 4 are taken out."""
    k, l = np.frexp(one)[1] // 2, np.frexp(other)[1] // 2
    return np.asarray(np.ldexp(np.sqrt(np.ldexp(one, -2 * k) * np.ldexp(other, -2 * l)), k + l))


def of_hard_tanh(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return both expectations for σ = hard_tanh, z cut at ±1, by Price's theorem: ∂E[f(z)f(z′)]/∂ρ = ss′ E[f′(z)f′(z′)] at fixed standard deviations s, s′.

    With f = σ′, f′ = δ(z + 1) − δ(z − 1), P = E[σ′σ′] grows from erf erf at ρ = 0 by ∫ p dθ along ρ = sin θ; with f = σ, E[σσ′] is
    ss′ ∫ P dρ. The integrand fades where θ nears ±π/2, the faster the less s and s′ differ from each other: Gauss and Legendre's rule in
    32 parts, which halve towards there.
    """
    s, other = np.sqrt(np.maximum(a, _TINY**2)), np.sqrt(np.maximum(b, _TINY**2))
    s, other = np.broadcast_arrays(s, other)
    if (largest := max(s.max(initial=0.0), other.max(initial=0.0))) > _LARGEST:
        raise ValueError(
            f"net has a hard_tanh whose z are of the size {largest:.3g}, beyond {_LARGEST:g}; scale X1, X2 or the weights"
        )
    rho = np.clip(k / (s * other), -1.0, 1.0)
    h, l = 1 / s, 1 / other
    from scipy.special import erf  # here: importing it takes a while

    at_zero = erf(h / math.sqrt(2)) * erf(l / math.sqrt(2))
    grown, moment = np.zeros_like(rho), np.zeros_like(rho)
    edges = math.pi / 2 * (1 - np.r_[2.0 ** -np.arange(32), 0.0])
    sign = np.where(rho < 0, -1.0, 1.0)
    end = np.arcsin(np.abs(rho))
    points, weights = np.polynomial.legendre.leggauss(16)
    with np.errstate(over="ignore", under="ignore"):
        for low, high in itertools.pairwise(edges):
            half = (np.clip(end, low, high) - low) / 2
            for point, weight in zip(points, weights, strict=True):
                theta = low + half * (1 + point)
                rest = 2 * np.sin((math.pi / 2 - theta) / 2) ** 2  # 1 − sin θ
                scale = 1 / (2 * rest * (2 - rest))  # 1/(2 cos²θ)
                near = np.exp(-((h - l) ** 2 + 2 * h * l * rest) * scale)
                far = np.exp(-((h + l) ** 2 - 2 * h * l * rest) * scale)
                p = half * weight * (near - far) / math.pi
                grown += p
                moment += p * (np.abs(rho) - np.sin(theta))
    return sign * s * other * (np.abs(rho) * at_zero + moment), at_zero + grown
