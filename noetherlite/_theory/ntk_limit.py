"""The tangent kernel of infinitely wide networks with piecewise linear activations, or some smooth ones (theory §7)."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.floating import in_range, rangeless
from .._base.types import ArrayLike, Float64Array
from .._problem.activations import Activation, such_as
from .._problem.network import Network


@rangeless
def infinite_width(
    net: Network,
    X1: ArrayLike,
    X2: ArrayLike | None = None,
    *,
    scheme: str = "lecun",
    bias_std: float = 0.0,
) -> Float64Array:
    """Return the limit of the tangent kernel, at θ drawn by ``net.init``, as the hidden layers widen.

    Parameters
    ----------
    net : Network
        Its hidden activations must be relu, leaky_relu, abs, linear, erf, sin, cos, exp, tanh, gelu, gelu_tanh, softplus or
        logistic.
    X1 : array_like, shape (N1, n_0)
        Inputs.
    X2 : array_like, shape (N2, n_0), optional
        Other inputs; X1 by default.
    scheme : {"lecun", "he", "xavier", "ntk"}
        Variance v_h of the entries of W_h, as in ``net.init``.
    bias_std : float
        Standard deviation of the biases, ≥ 0, as in ``net.init``; unused without biases.

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
    P(z > 0, z′ > 0) = (π − φ)/2π; those of erf (Williams 1997), sin, cos and exp are closed forms too. Expectations of tanh,
    GELU, softplus and the logistic function are sums over 64² points of Gauss and Hermite's rule, for variances up to 1 right
    to 1e-7 for tanh and to 1e-12 for the others.

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
    if not isinstance(net, Network):
        raise TypeError(f"net must be a Network, got {checks.describe(net)}")
    first = net.inputs(X1, "X1")
    second = first if X2 is None else net.inputs(X2, "X2")
    activations = [_check_activation(activation) for activation in net.activations]
    variance = [net.weight_std(h, scheme) ** 2 for h in range(1, net.n_layers + 1)]
    bias_variance = checks.real(bias_std, "bias_std", minimum=0.0) ** 2 if net.bias else 0.0
    bias_term = 1.0 if net.bias else 0.0

    # A_h between the samples and, for the angles, of each sample with itself.
    A = first @ second.T
    squares = [A.diagonal()] * 2 if X2 is None else [(X**2).sum(axis=1) for X in (first, second)]
    K = A + bias_term
    for v, v_next, n, activation in zip(variance, variance[1:], net.widths[1:], activations, strict=False):
        one, other = (v * s + bias_variance for s in squares)
        products, derivatives = _expectations(v * A + bias_variance, one[:, None], other, activation)
        A, squares = n * products, [n * _expectations(s, s, s, activation)[0] for s in (one, other)]
        K = v_next * n * derivatives * K + A + bias_term
    if X2 is None:
        K = (K + K.T) / 2  # the errors of Gauss and Hermite's rule for (x, x′) and (x′, x) differ
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
    if activation.pieces is None:
        return _by_quadrature(_cosine(covariance, one, other), np.sqrt(one), np.sqrt(other), activation)
    return _moments(covariance, one, other, activation.pieces.low, activation.pieces.high)


def _cosine(covariance: Float64Array, one: Float64Array, other: Float64Array) -> Float64Array:
    size = np.sqrt(one * other)
    return np.clip(np.divide(covariance, size, out=np.zeros_like(size), where=size > 0), -1.0, 1.0)


def _by_quadrature(
    cosine: Float64Array, one: Float64Array, other: Float64Array, activation: Activation
) -> tuple[Float64Array, Float64Array]:
    """Return the two for a smooth σ; `one` and `other` are standard deviations."""
    kind, c = activation.kind, activation.constant
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    products, derivatives = np.zeros_like(cosine), np.zeros_like(cosine)
    across = np.sqrt(1 - cosine**2)[..., None] * points
    for point, weight in zip(points, weights, strict=True):
        z, others = one * point, other[..., None] * (cosine[..., None] * point + across)
        products += weight * kind.sigma_array(c, z) * (kind.sigma_array(c, others) @ weights)
        derivatives += weight * kind.d_sigma_array(c, z) * (kind.d_sigma_array(c, others) @ weights)
    return products, derivatives


def _moments(
    covariance: Float64Array, one: Float64Array, other: Float64Array, low: float, high: float
) -> tuple[Float64Array, Float64Array]:
    """Return the two for σ(z) = low z + (high − low) relu(z), σ′(0) = low."""
    size = np.sqrt(one * other)
    moving = size > 0  # where the variance is zero, z stays at the kink
    cosine = _cosine(covariance, one, other)
    angle = np.arccos(cosine)
    relu = size * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    both = np.where(moving, (np.pi - angle) / (2 * np.pi), 0.0)
    either = 0.5 * ((one > 0) * 1.0 + (other > 0))
    step = high - low
    return low * high * covariance + step**2 * relu, low**2 + low * step * either + step**2 * both
