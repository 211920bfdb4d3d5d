"""Transformation of parameters along the orbit of a symmetry to given charges, at unchanged function (theory §11)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import ArrayLike, Float64Array
from .._problem.network import Network
from .scaling import NeuronScaling

# Tolerance of the charges relative to the squares that they are differences of, for scalings of order one.
_ROUND_OFF = 64 * float(np.finfo(np.float64).eps)
_SWEEPS = 10_000
_NEWTON_STEPS = 200
_LARGEST_EXPONENT = 300.0  # p log λ of a search; e^{2·300} is still a number
_COMPUTABLE = 600.0  # p log λ of a result: activations are λ^p times as large, and the range of a double is e^{709}


@underflowing
def rebalance(network: Network, theta: ArrayLike, targets: Mapping[str, ArrayLike]) -> Float64Array:
    """Return parameters of the same function with given charges Q.

    Every neuron is scaled, (w, b, u) ↦ (λw, λb, λ^{−p}u) [β ↦ β/λ], by the one λ > 0 with
    ½(λ²(|w|² + b²) − pλ^{−2p}|u|² [− λ^{−2}β²]) = Q.

    Parameters
    ----------
    network : Network
        A network with homogeneous activations, or swish with trained β, in the layers named.
    theta : array_like, shape (P,)
        Its parameters; they are not modified.
    targets : mapping of str to array_like
        "scaling:h" ↦ Q of each neuron of hidden layer h, a number or an array of shape (n_h,); 0 balances. Charges of a
        layer that is not named change if a neighbouring layer is named.

    Returns
    -------
    ndarray, shape (P,)
        Parameters of the same function with these charges, to round-off.

    Raises
    ------
    TypeError
        If `network` is not a network, or `targets` not a mapping to real numbers.
    ValueError
        If a name is unknown or its activation has no scaling; if a shape is wrong or a number not finite; if a neuron
        cannot reach its target because its incoming or outgoing parameters are all zero; if layers that share a
        weight matrix cannot meet their targets together; or if the activations λ^p a of the result would not be doubles.

    Notes
    -----
    W_{h+1} is in the charges of layers h and h+1, so layers are solved in turn until all charges are met. The sum of all
    squares of the parameters is a convex function of the log λ and its derivatives are the charges [1]_: these sweeps
    are its minimisation coordinate by coordinate, and balancing (all targets 0) finds the smallest parameters.

    References
    ----------
    .. [1] P. Stock et al., "Equi-normalization of neural networks", ICLR 2019.

    Examples
    --------
    >>> import noetherlite as nl, numpy as np
    >>> net = nl.Network([2, 3, 3, 1], "relu", loss="mse")
    >>> theta = net.init(rng=0)
    >>> balanced = nl.rebalance(net, theta, {"scaling:1": 0.0, "scaling:2": 0.0})
    >>> bool(np.allclose(net.predict(balanced, np.eye(2)), net.predict(theta, np.eye(2)), rtol=1e-13))
    True
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {checks.describe(network)}")
    start = checks.shaped(theta, "theta", (network.n_params,)).astype(np.float64)
    layers = _layers(network, targets)
    with np.errstate(over="ignore"):
        if not np.isfinite(np.square(start).sum()):
            raise ValueError("theta has weights whose squares are beyond the range of a double; scale them")
    for layer, target in layers:
        _check_reachable(layer, target, start)
    exponents = [np.zeros(layer.shape) for layer, _ in layers]

    def transformed() -> Float64Array:
        x = start.copy()
        for (layer, _), exponent in zip(layers, exponents, strict=True):
            x = layer.apply(x, exponent)
        return x

    x = transformed()
    for sweep in itertools.count():
        misses = [_miss(layer, target, x) for layer, target in layers]
        # a relative rounding ε of an exponent s is one of |s|ε in λ = e^s, and of p|s|ε in λ^{−p}
        stretch = max(
            (layer.degree * np.abs(s).max() for (layer, _), s in zip(layers, exponents, strict=True)), default=0
        )
        met = all(miss.max() <= _ROUND_OFF * (1 + stretch) for miss in misses)
        if met and stretch <= _COMPUTABLE:
            return x
        if met or stretch > _LARGEST_EXPONENT or sweep == _SWEEPS:
            break
        for (layer, target), exponent in zip(layers, exponents, strict=True):
            step = _exponent(layer, target, x)
            exponent += step
            x = layer.apply(x, step)
        x = transformed()  # always from the start, so that round-off does not accumulate
    if met or len(layers) == 1:
        raise ValueError(
            f"targets={dict(targets)!r} need a λ with λ^p = e^±{stretch:.0f}, by which activations would leave the range of a double"
        )
    worst = int(np.argmax([miss.max() for miss in misses]))
    layer, miss = layers[worst][0], misses[worst]
    raise ValueError(
        f"targets are not met after {sweep} sweeps over {[layer.name for layer, _ in layers]}: {layer.name!r}, neuron "
        f"{int(miss.argmax())} is off by {miss.max():.2g} of its squares; layers that share weights may be unable to "
        "meet these targets together"
    )


def _layers(network: Network, targets: Mapping[str, ArrayLike]) -> list[tuple[NeuronScaling, Float64Array]]:
    if not isinstance(targets, Mapping):
        raise TypeError(f"targets must map names such as 'scaling:1' to charges, got {checks.describe(targets)}")
    scalings = {s.name: s for s in (NeuronScaling(network, h) for h in range(1, network.n_layers))}
    out = {}
    for name, value in targets.items():
        if name in scalings and scalings[name].objection:
            raise ValueError(f"targets: {name!r} is not a symmetry of {network!r}: {scalings[name].objection}")
        symmetric_layers = [s.name for s in scalings.values() if not s.objection]
        if not symmetric_layers:
            raise ValueError(f"targets={name!r} is not known; {network!r} has no scalings")
        layer = scalings[checks.one_of(name, "targets", symmetric_layers)]
        target = checks.array(value, f"targets[{name!r}]", ndim=(0, 1))
        if target.ndim == 1 and target.shape != layer.shape:
            raise ValueError(f"targets[{name!r}] must be a number or have shape {layer.shape}, got {target.shape}")
        out[layer.h] = layer, np.broadcast_to(target, layer.shape).astype(np.float64)
    return [out[h] for h in sorted(out)]


def _check_reachable(layer: NeuronScaling, target: Float64Array, x: Float64Array) -> None:
    """Raise if a neuron has no incoming or no outgoing parameters and a target of the sign that these would give."""
    incoming, outgoing, beta = layer.squares(x)
    no_plus, no_minus = incoming == 0, outgoing + beta == 0
    unreachable = (no_plus & (target > 0)) | (no_minus & (target < 0)) | ((no_plus != no_minus) & (target == 0))
    if unreachable.any():
        i = int(np.argmax(unreachable))
        zero = [text for text, is_zero in (("incoming", no_plus[i]), ("outgoing", no_minus[i])) if is_zero]
        sign = "zero" if len(zero) == 2 else "negative" if no_plus[i] else "positive"
        raise ValueError(
            f"targets[{layer.name!r}]: neuron {i} cannot reach {target[i]:g}: its {' and '.join(zero)} parameters are all "
            f"zero, so its charge stays {sign} under every scaling"
        )


def _miss(layer: NeuronScaling, target: Float64Array, x: Float64Array) -> Float64Array:
    """Return |Q − target| in units of the squares that Q is made of, per neuron."""
    incoming, outgoing, beta = layer.squares(x)
    size = 0.5 * (incoming + layer.degree * outgoing + beta)
    return np.abs(layer.quantity(x) - target) / np.where(size > 0, size, 1.0)


def _exponent(layer: NeuronScaling, target: Float64Array, x: Float64Array) -> Float64Array:
    """Return log λ per neuron with f(λ²) = 0, f(y) = Ay − pBy^{−p} − C/y − 2Q.

    f is increasing and concave, so that Newton's iterates increase to the root from any y with f(y) ≤ 0. The initial y is
    such a one, of the root's order of magnitude.
    """
    A, B, C = layer.squares(x)
    p, twice = layer.degree, 2 * target
    free = (A == 0) & (B + C == 0)  # all parameters of the neuron are zero
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        below = np.fmax((p * B / A) ** (1 / (p + 1)), np.sqrt(C / A))
        below = np.fmax(below, twice / A)
        depth = -2 * twice
        by_u = np.fmin((p * B / depth) ** (1 / p), (p * B / (2 * A)) ** (1 / (p + 1)))
        by_beta = np.fmin(C / depth, np.sqrt(C / (2 * A)))
    y = np.where(free, 1.0, np.where(twice < 0, np.fmax(by_u, by_beta), below))
    for _ in range(_NEWTON_STEPS):
        pull_u, pull_beta = p * B * y**-p, C / y
        slope = A + (p * pull_u + pull_beta) / y
        step = -(A * y - pull_u - pull_beta - twice) / np.where(free, 1.0, slope)
        y = y + np.where(free, 0.0, step)
        if np.all(np.abs(step) <= 4 * np.finfo(np.float64).eps * y):
            break
    return np.asarray(0.5 * np.log(y), dtype=np.float64)
