"""Transformation of parameters along the orbit of a symmetry to given charges, at unchanged function (theory §11)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.types import ArrayLike, Float64Array
from .._problem.balance import ROUND_OFF
from .._problem.network import Network
from .orbit_moves import movable, moves

MINIMAL_NORM = "minimal norm"
_SWEEPS = 10_000
_LARGEST_EXPONENT = 300.0  # p log λ of a search; e^{2·300} is still a number
_COMPUTABLE = 600.0  # p log λ of a result: activations are λ^p times as large, and the range of a double is e^{709}


@underflowing
def rebalance(network: Network, theta: ArrayLike, targets: Mapping[str, ArrayLike] | str) -> Float64Array:
    """Return parameters of the same function with given charges Q.

    Every neuron is scaled, (w, b, u) ↦ (λw, λb, λ^{−p}u) [β ↦ β/λ], by the one λ > 0 with
    ½(λ²(|w|² + b²) − pλ^{−2p}|u|² [− λ^{−2}β²]) = Q. A linear layer is transformed by a matrix A,
    (W_h, b_h, W_{h+1}) ↦ (AW_h, Ab_h, W_{h+1}A⁻¹), with ½(W_hW_hᵀ + b_hb_hᵀ − W_{h+1}ᵀW_{h+1}) = cI.

    Parameters
    ----------
    network : Network
        A network with homogeneous activations, swish with trained β, or linear ones in the layers named.
    theta : array_like, shape (P,)
        Its parameters; they are not modified.
    targets : mapping of str to array_like, or "minimal norm"
        "scaling:h" ↦ Q of each neuron of hidden layer h, a number or an array of shape (n_h,); 0 balances. Charges of a
        layer that is not named change if a neighbouring layer is named. "linear:h" ↦ c, a number: 0 balances the
        layer, and other values make it λ-balanced, λ = 2c. "minimal norm" balances all layers that can be: of all parameters of the
        orbit the result has the least |θ|.

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
        cannot reach its target because its incoming or outgoing parameters are all zero, or a linear layer because they
        have too low a rank; if layers that share a weight matrix cannot meet their targets together; or if the
        activations λ^p a of the result would not be doubles.

    Notes
    -----
    W_{h+1} is in the charges of layers h and h+1, so layers are solved in turn until all charges are met. The sum of all
    squares of the parameters is a convex function of the log λ and its derivatives are the charges [1]_: these sweeps
    are its minimisation coordinate by coordinate, and balancing (all targets 0) finds the smallest parameters.

    For a linear layer M = AᵀA solves MPM − 2cM − R = 0 with P = W_hW_hᵀ + b_hb_hᵀ and R = W_{h+1}ᵀW_{h+1}; for c = 0 it is the
    geometric mean P⁻¹ # R = P^{−½}(P^½RP^½)^½P^{−½}. A is its symmetric root; an orthogonal factor is free.

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
    checks.instance(network, "network", Network, "a Network")
    start = checks.shaped(theta, "theta", (network.n_params,)).astype(np.float64)
    if isinstance(targets, str) and targets == MINIMAL_NORM:
        targets = dict.fromkeys((layer.name for layer in movable(network)), 0.0)
    if not isinstance(targets, Mapping):
        raise TypeError(
            f"targets must map names such as 'scaling:1' to charges, or be {MINIMAL_NORM!r}, got {checks.describe(targets)}"
        )
    layers = moves(network, dict(targets))
    with np.errstate(over="ignore"):
        if not np.isfinite(np.square(start).sum()):
            raise ValueError("theta has weights whose squares are beyond the range of a double; scale them")
    for layer in layers:
        layer.check_reachable(start)

    def transformed() -> Float64Array:
        x = start.copy()
        for layer in layers:
            x = layer.apply(x)
        return x

    x = transformed()
    for sweep in itertools.count():
        misses = [layer.miss(x) for layer in layers]
        exponent = max((layer.exponent for layer in layers), default=0.0)
        rounding = max((layer.rounding for layer in layers), default=1.0)
        met = all(miss.max() <= ROUND_OFF * rounding for miss in misses)
        if met and exponent <= _COMPUTABLE:
            return x
        if met or exponent > _LARGEST_EXPONENT or sweep == _SWEEPS:
            break
        for layer in layers:
            x = layer.improve(x)
        x = transformed()  # always from the start, so that round-off does not accumulate
    if met or len(layers) == 1:
        raise ValueError(
            f"targets={dict(targets)!r} need a λ with λ^p = e^±{exponent:.0f}, by which activations would leave the range of a double"
        )
    worst = int(np.argmax([miss.max() for miss in misses]))
    name, miss = layers[worst].layer.name, misses[worst]
    raise ValueError(
        f"targets are not met after {sweep} sweeps over {[layer.layer.name for layer in layers]}: {name!r}, neuron "
        f"{int(miss.argmax())} is off by {miss.max():.2g} of its squares; layers that share weights may be unable to "
        "meet these targets together"
    )
