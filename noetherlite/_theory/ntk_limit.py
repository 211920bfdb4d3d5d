"""The tangent kernel of infinitely wide networks with piecewise linear activations, or some smooth ones (theory §7)."""

from __future__ import annotations

import math

import numpy as np

from .._base import checks
from .._base.floating import in_range, rangeless
from .._base.types import ArrayLike, Float64Array
from .._problem.activations import Activation, such_as
from .._problem.network import Network
from .._problem.normal_means import geometric_mean


@rangeless
def infinite_width(
    net: Network,
    X1: ArrayLike,
    X2: ArrayLike | None = None,
    *,
    scheme: str = "lecun",
    bias_std: float = 0.0,
    parametrization: str = "standard",
) -> Float64Array:
    """Return the limit of the tangent kernel, at θ drawn by ``net.init``, as the hidden layers widen.

    Parameters
    ----------
    net : Network
        Its hidden activations may be any of the catalogue, except swish with trained β and user-defined functions.
    X1 : array_like, shape (N1, n_0)
        Inputs.
    X2 : array_like, shape (N2, n_0), optional
        Other inputs; X1 by default.
    scheme : {"lecun", "he", "xavier", "ntk", "orthogonal"}
        Variance v_h of the entries of W_h, as in ``net.init``.
    bias_std : float
        Standard deviation of the biases, ≥ 0, as in ``net.init``; unused without biases.
    parametrization : {"standard", "ntk"}
        "ntk": the kernel with the rates of `nl.parametrization(net, "ntk")`, Σ_b lr_b J_b J_bᵀ over the blocks: A_h/n_h takes the place of the A_h
        that is added to K, which then tends to a limit.

    Returns
    -------
    ndarray, shape (N1 n_L, N2 n_L)
        Sample-major, a multiple of the identity between the outputs of two samples.

    Raises
    ------
    TypeError
        If `net` is not a network, or an array does not hold real numbers.
    ValueError
        If an activation is none of these, or an argument is out of range; the message names it.

    Notes
    -----
    In wide layers the pre-activations are Gaussian and independent between neurons, and sums over neurons are n_h times
    expectations. With A_0 = ⟨x, x′⟩ and K_1 = A_0 + 1, for h = 1 … L − 1

        Σ_h = v_h A_{h−1} + σ_b²,  A_h = n_h E[σ(z)σ(z′)],  K_{h+1} = v_{h+1} n_h E[σ′(z)σ′(z′)] K_h + A_h + 1,

    with expectations over (z, z′) ~ N(0, Σ_h), K = K_L, and the 1 and σ_b with biases only (Jacot et al. 2018 [1]_, in this library's
    parametrisation). At the angle φ between two inputs, cos φ = Σ(x, x′)/√(Σ(x, x)Σ(x′, x′)), the arc-cosine kernels of
    Cho & Saul 2009 [2]_ give E[relu(z)relu(z′)] = √(Σ(x, x)Σ(x′, x′)) (sin φ + (π − φ) cos φ)/2π and
    P(z > 0, z′ > 0) = (π − φ)/2π; those of erf (Williams 1997), sin, cos, exp and gaussian are closed forms too. For powers of degree p
    E[relu(z)^p relu(z′)^p] = (4Σ(x, x)Σ(x′, x′))^{p/2} Γ(p + 1)/2π ∫ (sin(T + t) sin(T − t))^p dt over |t| < T = (π − φ)/2, and for hard_tanh an
    integral over an angle remains: both are summed to 1e-13 of the size, of hard_tanh for variances up to 1e4 (above 1e10 it is refused).
    Expectations of tanh, GELU, softplus and the logistic function are sums over 64² points of Gauss and Hermite's rule where no variance is
    above 1, right to 1e-7 for tanh and to 1e-12 for the others. Those of swish(β) are by the trapezoidal rule, with more points where β²
    times the variance is larger, to 1e-10. All others are in polar coordinates, whose angles are cut where z or z′ changes sign: those of elu, celu and
    softsign to 1e-9 for variances from 0 to 100, those of the first four to 1e-6 from 1 to 100.

    Weights here have variance ∝ 1/width and no factor in front, so entries of K grow with the widths, which are those of
    `net`; the ratio to them tends to 1. For one hidden layer this is the mean of the kernel at any width. Between
    samples of `X1` and `X2` that are equal up to rounding, φ is uncertain by 1e-8, the root of machine epsilon.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel and C. Hongler, "Neural Tangent Kernel: Convergence and Generalization in Neural
       Networks", NeurIPS 2018.
    .. [2] Y. Cho and L. K. Saul, "Kernel Methods for Deep Learning", NeurIPS 2009.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([2, 4096, 1], "relu", bias=False, loss="mse")
    >>> X = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> K = nl.ntk.kernel(net, net.init(rng=0), X)
    >>> bool(np.abs(K / nl.ntk.infinite_width(net, X) - 1).max() < 0.1)
    True
    """
    checks.instance(net, "net", Network, "a Network")
    first = net.inputs(X1, "X1")
    second = first if X2 is None else net.inputs(X2, "X2")
    activations = [_check_activation(activation) for activation in net.activations]
    variance = [net.weight_std(h, scheme) ** 2 for h in range(1, net.n_layers + 1)]
    bias_std = checks.real(bias_std, "bias_std", minimum=0.0)
    bias_term, bias_variance = (1.0, bias_std * bias_std) if net.bias else (0.0, 0.0)

    # A_h between the samples and, for the angles, of each sample with itself.
    A = first @ second.T
    squares = [A.diagonal()] * 2 if X2 is None else [(X**2).sum(axis=1) for X in (first, second)]
    by_width = checks.one_of(parametrization, "parametrization", ("standard", "ntk")) == "ntk"
    K = A / (net.widths[0] if by_width else 1) + bias_term
    for v, v_next, n, activation in zip(variance, variance[1:], net.widths[1:], activations, strict=False):
        one, other = (v * s + bias_variance for s in squares)
        products, derivatives = _expectations(v * A + bias_variance, one[:, None], other, activation)
        A, squares = n * products, [n * _expectations(s, s, s, activation)[0] for s in (one, other)]
        K = v_next * n * derivatives * K + A / (n if by_width else 1) + bias_term
    if X2 is None:
        K = (K + K.T) / 2  # the errors of sums over points for (x, x′) and (x′, x) differ
    return in_range(np.asarray(np.kron(K, np.eye(net.widths[-1])), dtype=np.float64))


_NODES = 64


def _check_activation(activation: Activation) -> Activation:
    """Return the activation; raise ValueError if its expectations are not known."""
    if not activation.has_limit:
        raise ValueError(
            f"net has the activation {str(activation)!r}, for which no infinite-width kernel is known here; expected "
            f"one such as {such_as(lambda a: a.has_limit)}"
        )
    return activation


def _expectations(
    covariance: Float64Array, one: Float64Array, other: Float64Array, activation: Activation
) -> tuple[Float64Array, Float64Array]:
    """Return E[σ(z)σ(z′)] and E[σ′(z)σ′(z′)], z of variance `one`, z′ of variance `other`."""
    if activation.kind.expectations is not None:
        return activation.kind.expectations(covariance, one, other)
    pieces = activation.pieces
    if pieces is not None and pieces.degree == 1:
        return _moments(covariance, one, other, pieces.low, pieces.high)
    cosine, one, other = _cosine(covariance, geometric_mean(one, other)), np.sqrt(one), np.sqrt(other)
    if pieces is not None:
        return _of_powers(cosine, one * other, *pieces)
    if activation.kind.mean_rule == "split" or (
        activation.kind.mean_rule == "hermite" and max(one.max(initial=0.0), other.max(initial=0.0)) > 1
    ):
        return _split_at_zero(cosine, one, other, activation)
    return _by_quadrature(cosine, one, other, activation)


def _cosine(covariance: Float64Array, size: Float64Array) -> Float64Array:
    return np.clip(np.divide(covariance, size, out=np.zeros_like(size), where=size > 0), -1.0, 1.0)


def _by_quadrature(
    cosine: Float64Array, one: Float64Array, other: Float64Array, activation: Activation
) -> tuple[Float64Array, Float64Array]:
    """Return the two for a smooth σ; `one` and `other` are standard deviations."""
    kind, c = activation.kind, activation.constant
    if kind.mean_rule == "trapezoidal":
        points, weights = _trapezoidal(abs(c) * max(one.max(initial=0.0), other.max(initial=0.0)))
    else:
        points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    products, derivatives = np.zeros_like(cosine), np.zeros_like(cosine)
    across = np.sqrt(1 - cosine**2)[..., None] * points
    for point, weight in zip(points, weights, strict=True):
        z, others = one * point, other[..., None] * (cosine[..., None] * point + across)
        products += weight * kind.sigma_array(c, z) * (kind.sigma_array(c, others) @ weights)
        derivatives += weight * kind.d_sigma_array(c, z) * (kind.d_sigma_array(c, others) @ weights)
    return products, derivatives


def _trapezoidal(steepness: float) -> tuple[Float64Array, Float64Array]:
    """Return points and weights for a normal variable and a function with poles at ±iπ/steepness: an error of e^(−2π²/(step · steepness))."""
    if not steepness <= _STEEPEST:
        raise ValueError(
            f"net has a swish whose β times the size of its z is {steepness:.3g}, beyond {_STEEPEST:g}; scale X1, X2 or β"
        )
    step = min(0.5, 2 * np.pi**2 / (_DIGITS * steepness)) if steepness > 0 else 0.5
    points = step * np.arange(-np.ceil(_FARTHEST / step), np.ceil(_FARTHEST / step) + 1)
    return points, np.exp(-(points**2) / 2)


_DIGITS, _FARTHEST = 34.0, 9.0  # e^−34 and e^−40 are below round-off
_STEEPEST = 2000.0  # for which the rule has 60,000 points


def _double_exponential(n: int = 60) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return x, 1 − x and weights of ∫_0^1 f dx by tanh–sinh, which takes singularities at the ends."""
    y = np.linspace(-3.3, 3.3, n)
    bend = np.pi * np.sinh(y)
    return (
        1 / (1 + np.exp(-bend)),
        1 / (1 + np.exp(bend)),
        (y[1] - y[0]) * np.pi * np.cosh(y) / (4 * np.cosh(bend / 2) ** 2),
    )


def _of_powers(
    cosine: Float64Array, size: Float64Array, degree: float, low: float, high: float
) -> tuple[Float64Array, Float64Array]:
    """Return the two for σ(z) = high z^p for z > 0 and low z^p for z < 0, p > 1; `size` is √(Σ(x, x)Σ(x′, x′))."""
    below = low * (-1) ** int(degree) if degree % 1 == 0 else 0.0
    out = []
    for p, sign in ((degree, 1.0), (degree - 1, -1.0)):
        angle = np.arccos(cosine)
        same, opposite = (_arc_cosine(a, p) for a in (angle, np.pi - angle))
        factor = 1.0 if sign > 0 else degree**2
        out.append(factor * size**p * ((high**2 + below**2) * same + 2 * sign * high * below * opposite))
    return out[0], out[1]


def _arc_cosine(angle: Float64Array, p: float) -> Float64Array:
    """Return E[relu(z)^p relu(z′)^p] of z, z′ of variance 1 at an angle: Cho & Saul 2009, for any p ≥ 0."""
    T, total = (np.pi - angle) / 2, np.zeros_like(angle)
    for x, rest, weight in zip(*_double_exponential(), strict=True):
        total += weight * (np.sin(2 * T * x) * np.sin(2 * T * rest)) ** p
    return np.asarray(2**p * math.gamma(p + 1) / (2 * np.pi) * 2 * T * total)


def _split_at_zero(
    cosine: Float64Array, one: Float64Array, other: Float64Array, activation: Activation
) -> tuple[Float64Array, Float64Array]:
    """Return the two for a σ that is analytic on either side of 0, steep as it may be; `one` and `other` are standard deviations.

    With z = s r cos θ and z′ = s′ r cos(θ − φ) the signs change with θ alone. r = exp(y − e^−y) has a trapezoidal rule that converges doubly
    exponentially for what falls like e^(−r²/2).
    """
    kind, c, angle = activation.kind, activation.constant, np.arccos(cosine)
    y = np.linspace(-3.8, 2.6, 72)
    r = np.exp(y - np.exp(-y))
    radial = (y[1] - y[0]) * r * (1 + np.exp(-y)) * r * np.exp(-(r**2) / 2) / (2 * np.pi)
    products, derivatives = np.zeros_like(cosine), np.zeros_like(cosine)
    # Sectors between the zeros of cos θ and cos(θ − φ), of width φ or π − φ: the signs of z and z′ in them, and where they begin.
    sectors = ((-1, 1, np.pi / 2, angle), (1, 1, angle - np.pi / 2, np.pi - angle))
    for sign, sign_other, start, width in sectors:
        for x, _, weight in zip(*_double_exponential(48), strict=True):
            first, second = np.abs(np.cos(start + width * x)), np.abs(np.cos(start + width * x - angle))
            share = width * weight
            for way in (1, -1):  # a sector and the one opposite to it
                z = (way * sign * one * first)[..., None] * r
                others = (way * sign_other * other * second)[..., None] * r
                products += share * ((kind.sigma_array(c, z) * kind.sigma_array(c, others)) @ radial)
                derivatives += share * ((kind.d_sigma_array(c, z) * kind.d_sigma_array(c, others)) @ radial)
    return products, derivatives


def _moments(
    covariance: Float64Array, one: Float64Array, other: Float64Array, low: float, high: float
) -> tuple[Float64Array, Float64Array]:
    """Return the two for σ(z) = low z + (high − low) relu(z), σ′(0) = low."""
    size = geometric_mean(one, other)
    moving = size > 0  # where the variance is zero, z stays at the kink
    cosine = _cosine(covariance, size)
    angle = np.arccos(cosine)
    relu = size * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    both = np.where(moving, (np.pi - angle) / (2 * np.pi), 0.0)
    either = 0.5 * ((one > 0) * 1.0 + (other > 0))
    step = high - low
    return low * high * covariance + step**2 * relu, low**2 + low * step * either + step**2 * both
