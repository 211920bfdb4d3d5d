"""Points of an orbit that gradients choose: where SGD's noise moves no charge, and where the gradient has a wanted norm (theory §11)."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.floating import underflowing, unit
from .._base.types import ArrayLike, Float64Array
from .._kernels import reference
from .._problem.network import Network, NetworkPotential
from .linear_layer import LinearLayer
from .orbit_moves import movable, riccati
from .scaling import NeuronScaling

_SWEEPS = 10_000
_STILL = 64 * float(np.finfo(np.float64).eps)  # the largest move, as a logarithm, of a last sweep
_BISECTIONS = 200
_LARGEST_EXPONENT = 300.0  # of what entries are multiplied by: squares are numbers still
# Shares of |∇U|² that count as the least square of a direction in a linear layer, one after the other, and the sweeps with each.
_FLOORS, _SWEEPS_OF_A_FLOOR = 4.0 ** -np.arange(15), 100


@underflowing
def noise_equilibrium(U: NetworkPotential, theta: ArrayLike) -> Float64Array:
    """Return parameters of the same function where the noise of minibatches moves no charge on average.

    A step of SGD changes Q by ½η²⟨g, Gg⟩ on average, g the gradient of the minibatch: the covariance Σ of its noise contributes ½η² tr(GΣ).
    For a neuron of degree p this vanishes after (w, b, u) ↦ (e^s w, e^s b, e^{−ps} u), s = ln(tr Σ_wb / p tr Σ_u)/2(p + 1) [1]_; for a linear
    layer after A with AᵀA = C_U⁻¹ # C_W, the geometric mean of C_U = E[∇_Uᵀ∇_U] and C_W = E[∇_W∇_Wᵀ + ∇_b∇_bᵀ].

    Parameters
    ----------
    U : NetworkPotential
        The loss of a network on its samples, whose gradients are the noise. Its size falls out, and with it that of the minibatches.
    theta : array_like, shape (P,)
        Parameters; they are not modified.

    Returns
    -------
    ndarray, shape (P,)
        Parameters of the same function. Of their orbit these have the least noise, tr Σ, which is a convex function of the logarithms.

    Raises
    ------
    TypeError
        If U is not the potential of a network.
    ValueError
        If the network has neither scalings nor linear layers, the noise of a neuron's incoming or outgoing weights alone vanishes, or that of a
        linear layer has too low a rank.

    Notes
    -----
    Layers that share weights are solved in turn until none moves. N P numbers are stored.

    References
    ----------
    .. [1] L. Ziyin, M. Wang, H. Li, L. Wu, "Parameter symmetry and noise equilibrium of stochastic gradient descent", NeurIPS 2024.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([3, 4, 1], "relu", loss="mse")
    >>> data = nl.datasets.linear_regression(n=30, noise=1.0, rng=0)
    >>> U, theta = net.potential(data), net.init(rng=0)
    >>> x = nl.noise_equilibrium(U, theta)
    >>> bool(abs(U.value(x) - U.value(theta)) < 1e-14)
    True
    """
    network, start = _checked(U, theta)
    layers = _layers(network)
    problem = U.problem()
    with np.errstate(over="ignore", invalid="ignore"):
        each = np.stack([reference.value_and_gradient(problem, start, slice(s, s + 1))[1] for s in range(U.n_samples)])
        x, noise = start, _of_size_one(each - each.mean(axis=0))[0]
    for _ in range(_SWEEPS):
        largest = 0.0
        for layer in layers:
            x, noise, moved = _balance(layer, x, noise)
            largest = max(largest, moved)
        if largest <= _STILL * len(x):
            return x
    raise ValueError(f"theta: layers that share weights still move by {largest:.1g} after {_SWEEPS} sweeps")


@underflowing
def teleport(U: NetworkPotential, theta: ArrayLike, gradient_norm: float) -> Float64Array:
    """Return parameters of the same function where the gradient has a wanted norm.

    Scalings of neurons, and matrices A of linear layers, (W_h, b_h, W_{h+1}) ↦ (AW_h, Ab_h, W_{h+1}A⁻¹), move θ along its orbit, and the loss stays.
    On a straight line of logarithms of A = e^{sX}, X symmetric, |∇U|² is a sum of exponentials of s, hence convex. The way is the line from the least
    |∇U| of the orbit through θ [1]_: towards it for a smaller norm, away from it for a larger one. For a linear layer the least is at
    AᵀA = C_U⁻¹ # C_W, the geometric mean of C_U = ∇_Uᵀ∇_U and C_W = ∇_W∇_Wᵀ + ∇_b∇_bᵀ. Where these are singular it is a limit that no A reaches.
    Rotations of inputs and of neurons are orthogonal and translations leave ∇U as it is: none of them changes |∇U|.

    Parameters
    ----------
    U : NetworkPotential
        The loss of a network with homogeneous or linear activations, or swish with trained β.
    theta : array_like, shape (P,)
        Parameters; they are not modified.
    gradient_norm : float
        |∇U|, positive.

    Returns
    -------
    ndarray, shape (P,)

    Raises
    ------
    TypeError
        If U is not the potential of a network.
    ValueError
        If the norm is smaller than the least of the orbit, or within 10⁻⁴ of a limit that is not reached (the message has it), the network has
        neither scalings nor linear layers, ∇U vanishes, or a neuron's incoming or outgoing gradient alone does.

    References
    ----------
    .. [1] B. Zhao, N. Dehmamy, R. Walters, R. Yu, "Symmetry teleportation for accelerated optimization", NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([3, 4, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=30, n_features=3, n_classes=2, rng=0))
    >>> x = nl.teleport(U, net.init(rng=0), 2.0)
    >>> round(float(np.linalg.norm(U.gradient(x))), 12)
    2.0
    """
    network, start = _checked(U, theta)
    wanted = checks.real(gradient_norm, "gradient_norm", minimum=0.0, strict=True)
    layers = _layers(network)
    with np.errstate(over="ignore", invalid="ignore"):
        gradient, size = _of_size_one(reference.value_and_gradient(U.problem(), start)[1])
    if not gradient.any():
        raise ValueError("theta is a critical point: ∇U = 0 on its whole orbit")
    floors = _FLOORS if any(isinstance(layer, LinearLayer) for layer in layers) else [0.0]
    least = [np.zeros(layer.shape) for layer in layers]

    def norm(way: float) -> float:
        return size * float(np.linalg.norm(_moved(layers, gradient, [-way * s for s in least])))

    for floor in floors:
        least = _to_the_minimum(layers, gradient, floor, least)
        if reached := norm(1.0) <= wanted * (1 + _STILL):
            break
    if not reached:
        raise ValueError(f"gradient_norm={wanted:g} is less than the least of this orbit, {norm(1.0):g}")
    if not any(s.any() for s in least):  # θ is the minimum: all directions are alike
        least = [np.ones(s.shape) if s.ndim == 1 else np.eye(len(s)) for s in least]
    inside, outside = (1.0, 0.0) if wanted <= norm(0.0) else (0.0, -1.0)
    steepest = max(_steepness(layer, s) for layer, s in zip(layers, least, strict=True))
    while norm(outside) < wanted:
        if -2 * outside * steepest > _LARGEST_EXPONENT:
            raise ValueError(f"gradient_norm={wanted:g} is beyond the range of a double on this orbit")
        inside, outside = outside, 2 * outside
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        inside, outside = (inside, middle) if norm(middle) >= wanted else (middle, outside)
    return _moved(layers, start, [outside * s for s in least])


def _checked(U: object, theta: ArrayLike) -> tuple[Network, Float64Array]:
    if not isinstance(U, NetworkPotential):
        raise TypeError(
            f"U must be the potential of a network, for example net.potential(data), got {checks.describe(U)}"
        )
    return U.network, checks.shaped(theta, "theta", (U.n_params,)).astype(np.float64)


def _of_size_one(gradients: Float64Array) -> tuple[Float64Array, float]:
    """Return gradients divided by a power of two, and that: their squares are doubles then, and no digit is another."""
    if not np.isfinite(gradients).all():
        raise ValueError("theta has gradients beyond the range of a double; scale it, or the data")
    size = unit(gradients)
    return gradients / size, size


def _layers(network: Network) -> list[NeuronScaling | LinearLayer]:
    layers = movable(network)
    if not layers:
        raise ValueError(f"U must be of a network with scalings or linear layers, got {network!r}")
    return layers


def _balance(
    layer: NeuronScaling | LinearLayer, x: Float64Array, noise: Float64Array
) -> tuple[Float64Array, Float64Array, float]:
    """Return x and its noise (N, P) after the group element that balances a layer, and the size of its logarithm."""
    if isinstance(layer, NeuronScaling):
        s = _balancing_strength(layer, noise)
        return layer.apply(x, s), np.stack([layer.apply(g, -s) for g in noise]), float(np.abs(s).max())
    C_W, C_U = (np.sum(part, axis=0) for part in zip(*(layer.grams(g) for g in noise), strict=True))
    for matrix, name in ((C_W, f"W{layer.h}"), (C_U, f"W{layer.h + 1}")):
        rank = int(np.linalg.matrix_rank(matrix, hermitian=True))
        if rank < len(matrix):
            raise ValueError(
                f"theta: the noise of {name} has rank {rank}, fewer than the {len(matrix)} neurons of {layer.name!r}"
            )
    values, vectors = np.linalg.eigh(riccati(C_U, C_W, 0.0))
    A, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    moved = np.stack([layer.transformed(g, inverse, A) for g in noise])  # A is symmetric
    return layer.transformed(x, A, inverse), moved, float(np.abs(np.log(values)).max()) / 2


def _balancing_strength(layer: NeuronScaling, vectors: Float64Array) -> Float64Array:
    """Return s of each neuron, at which Σ|g_wb|² = p Σ|g_u|² + Σ g_β² of the vectors scaled by −s; 0 where all vanish."""
    incoming, outgoing, beta = (np.sum(part, axis=0) for part in zip(*map(layer.squares, vectors), strict=True))
    p = layer.degree
    other = p * outgoing + beta
    alone = (incoming == 0) != (other == 0)
    if alone.any():
        i = int(np.argmax(alone))
        side = "outgoing" if incoming[i] == 0 else "incoming"
        raise ValueError(f"theta: {layer.name!r}, neuron {i}: gradients of its {side} parameters alone do not vanish")
    with np.errstate(over="ignore"):
        ratio = np.divide(incoming, other, out=np.ones_like(incoming), where=incoming > 0)
    if not ((ratio > 0) & (ratio < np.inf)).all():
        raise ValueError(
            f"theta: {layer.name!r}: gradients of a neuron's weights differ beyond the range of a double; rebalance it"
        )
    return np.asarray(np.log(ratio) / (2 * (p + 1)))


def _to_the_minimum(
    layers: list[NeuronScaling | LinearLayer], gradient: Float64Array, floor: float, start: list[Float64Array]
) -> list[Float64Array]:
    """Return the strengths for each layer at which |∇U|² + floor |∇U(θ)|² Σ tr(M + M⁻¹) is least, M = AᵀA of linear layers."""
    total, size = list(start), float(gradient @ gradient)
    gradient = _moved(layers, gradient, [-s for s in total])
    for _ in range(_SWEEPS_OF_A_FLOOR if floor else _SWEEPS):
        largest = 0.0
        for i, layer in enumerate(layers):
            if isinstance(layer, NeuronScaling):
                step = _balancing_strength(layer, gradient[None])
                gradient = layer.apply(gradient, -step)
            else:
                bare = layer.apply(gradient, total[i])
                step = _least_of_a_linear_layer(layer, bare, floor * size) - total[i]
                gradient = layer.apply(bare, -(total[i] + step))
            total[i] = total[i] + step
            largest = max(largest, float(np.abs(step).max()))
        if largest <= _STILL * len(gradient):
            break
    return total


def _least_of_a_linear_layer(layer: LinearLayer, gradient: Float64Array, floor: float) -> Float64Array:
    """Return the symmetric X, A = e^X, at which the part of |∇U|² in this layer is least, with a floor below its squares."""
    C_W, C_U = (C + floor * np.eye(len(C)) for C in layer.grams(gradient))
    values, vectors = np.linalg.eigh(riccati(C_U, C_W, 0.0))
    values = np.maximum(values, np.finfo(np.float64).eps * values[-1])
    return np.asarray((vectors * (np.log(values) / 2)) @ vectors.T)


def _moved(layers: list[NeuronScaling | LinearLayer], x: Float64Array, strengths: list[Float64Array]) -> Float64Array:
    """Return x moved by group elements; of their negatives, the gradient at the point moved by them, as strengths are symmetric."""
    for layer, s in zip(layers, strengths, strict=True):
        x = layer.apply(x, s)
    return x


def _steepness(layer: NeuronScaling | LinearLayer, strength: Float64Array) -> float:
    """Return the largest exponent of what entries are multiplied by."""
    if isinstance(layer, NeuronScaling):
        return layer.degree * float(np.abs(strength).max())
    return float(np.abs(np.linalg.eigvalsh(strength)).max())
