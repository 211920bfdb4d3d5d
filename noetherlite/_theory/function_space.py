"""Gradient flow of two-layer ReLU networks in function space: equations for the products of the layers alone."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.floating import underflowing, units
from .._base.types import ArrayLike, Float64Array
from .._motion.flow import solve_smooth
from .._motion.kinks import Limits
from .._problem.network import NetworkPotential
from .._symmetry.scaling import NeuronScaling


@underflowing
def neuron_products(U: NetworkPotential, x: ArrayLike) -> Float64Array:
    """Return z_j = u_jv_jᵀ of every hidden neuron of a two-layer network, shape (n_1, n_2, n_0) or (n_1, n_2, n_0 + 1).

    Parameters
    ----------
    U : NetworkPotential
        The loss of a network with one hidden layer of relu (or another activation of degree 1), and no output bias that moves it:
        v_j is the incoming row of neuron j, with its bias appended if the network has biases; u_j is its outgoing column.
    x : array_like, shape (P,)
        Parameters.

    Raises
    ------
    TypeError, ValueError
        If U is not of such a network, or x does not fit.
    """
    net = _two_layers(U).network
    arrays = net.unpack(checks.shaped(x, "x", (U.n_params,)).astype(np.float64))
    v = np.column_stack([arrays["W1"], arrays["b1"]]) if net.bias else arrays["W1"]
    return np.asarray(np.einsum("oj,ji->joi", arrays["W2"], v))


@underflowing
def function_space_velocity(z: ArrayLike, charge: ArrayLike, force: ArrayLike) -> Float64Array:
    """Return ż_j of z_j = u_jv_jᵀ under gradient flow, from z_j, the conserved |u_j|² − |v_j|², and ∂U/∂z_j.

    Parameters
    ----------
    z : array_like, shape (n_1, n_2, m)
        Products of rank one, as of `neuron_products`.
    charge : array_like, shape (n_1,)
        λ_j = |u_j|² − |v_j|², −2Q_j of the law "scaling:1".
    force : array_like, shape (n_1, n_2, m)
        E_j = ∂U/∂z_j at fixed activation pattern; the gradient of U is E_jv_j with respect to u_j, E_jᵀu_j with respect to v_j.

    Returns
    -------
    ndarray, shape (n_1, n_2, m)
        −(2E_jz_jᵀz_j/(s_j + λ_j) + 2z_jz_jᵀE_j/(s_j − λ_j)), s_j = √(λ_j² + 4‖z_j‖²). At z_j = 0 it is 0: the limit for λ_j = 0, and for
        other λ_j what is known, as the direction of the u_j or v_j that is left has been lost.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Notes
    -----
    u̇ = −Ev and v̇ = −Eᵀu make ż = −(E vvᵀ + uuᵀE). With s = |u|² + |v|² and ‖z‖ = |u||v|, vvᵀ = zᵀz/|u|² and uuᵀ = zzᵀ/|v|²: the
    function moves by itself, without the parameters, once the charges are known.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> u, v, E = np.array([2.0]), np.array([1.0, 1.0]), np.array([[1.0, 0.0]])
    >>> exact = -(E @ np.outer(v, v) + np.outer(u, u) @ E)
    >>> z = np.outer(u, v)[None]
    >>> bool(np.allclose(nl.exact.function_space_velocity(z, [u @ u - v @ v], E[None]), exact))
    True
    """
    products = checks.array(z, "z", ndim=3).astype(np.float64)
    balance = checks.shaped(charge, "charge", products.shape[:1]).astype(np.float64)
    E = checks.shaped(force, "force", products.shape).astype(np.float64)
    u2, v2, unit = _squares(products, balance)
    by_v, by_u = np.einsum("joi,jpi,jpk->jok", E, unit, unit), np.einsum("joi,jpi,jpk->jok", unit, unit, E)
    return np.asarray(-(v2[:, None, None] * by_v + u2[:, None, None] * by_u))


def _squares(z: Float64Array, charge: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return |u|², |v|² and ẑ = z/‖z‖, with uuᵀ = |u|²ẑẑᵀ and vvᵀ = |v|²ẑᵀẑ, for which squares of z and λ need be no doubles."""
    flat = z.reshape(len(z), -1)
    scale = units(flat)
    lengths = np.sqrt(((flat / scale) ** 2).sum(axis=1, keepdims=True))
    unit = np.divide(flat / scale, lengths, out=np.zeros_like(flat), where=lengths > 0).reshape(z.shape)
    norms = (scale * lengths)[:, 0]
    # (s + |λ|)/2, and the smaller one as ‖z‖² over it, without a difference
    larger = 0.5 * (np.abs(charge) + np.hypot(charge, 2 * norms))
    smaller = norms * np.divide(norms, larger, out=np.zeros_like(norms), where=larger > 0)
    return np.where(charge >= 0, larger, smaller), np.where(charge >= 0, smaller, larger), unit


@underflowing
def relu_function_flow(
    U: NetworkPotential,
    x0: ArrayLike,
    t: ArrayLike,
    *,
    rtol: float = 1e-9,
    atol: float = 1e-11,
    max_evaluations: int = 100_000,
) -> Float64Array:
    """Return the products z_j(t) of a two-layer network under gradient flow, from the equation in function space alone.

    Parameters
    ----------
    U : NetworkPotential
        The loss of a network without biases, with one hidden layer of degree 1 and one output.
    x0 : array_like, shape (P,)
        Parameters at t = 0, with |u_j| ≥ |v_j| > 0 for every neuron j, so that u_j keeps its sign.
    t : array_like, shape (R,)
        Increasing times ≥ 0.
    rtol, atol : float
        Tolerances of DOP853. Kinks are not located: the error grows at every sample that changes sides.
    max_evaluations : int
        Limit on the number of gradients.

    Returns
    -------
    ndarray, shape (R, n_1, 1, n_0)

    Raises
    ------
    TypeError, ValueError
        If U is not of such a network, or x0 is not as described.
    RuntimeError
        If DOP853 fails, or needs more than `max_evaluations`.

    See Also
    --------
    reference_flow : The flow of the parameters, from kink to kink.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([2, 2, 1], "relu", bias=False, loss="mse")
    >>> U = net.potential([[1.0, 0.0], [0.0, 1.0]], [[1.0], [1.0]])
    >>> z = nl.exact.relu_function_flow(U, [0.5, 0.1, 0.1, 0.5, 1.0, 1.0], [0.0, 50.0])
    >>> bool(np.abs(np.maximum(z[-1, :, 0] @ np.eye(2), 0).sum(axis=0) - 1).max() < 1e-6)
    True
    """
    net = _two_layers(U).network
    if net.bias or net.widths[-1] != 1:
        raise ValueError(f"U must be of a network without biases and with one output, got {net!r}")
    x = checks.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    times = checks.times(t)
    if times.size == 0:
        raise ValueError(f"t must hold at least one time, got {checks.describe(t)}")
    limits = Limits(
        checks.real(rtol, "rtol", minimum=100 * np.finfo(np.float64).eps),
        checks.real(atol, "atol", minimum=0.0, strict=True),
        checks.integer(max_evaluations, "max_evaluations", minimum=1),
    )
    v, u = net.unpack(x)["W1"], net.unpack(x)["W2"][0]
    charge = u**2 - (v**2).sum(axis=1)
    if (charge < 0).any() or not v.any(axis=1).all():
        j = int(np.argmax((charge < 0) | ~v.any(axis=1)))
        raise ValueError(
            f"x0 must have |u_j| >= |v_j| > 0, got |u| = {abs(u[j]):g} and |v| = {np.linalg.norm(v[j]):g} for neuron {j}"
        )
    sign, shape = np.sign(u), (v.shape[0], 1, v.shape[1])

    def velocity(_: float, state: Float64Array) -> Float64Array:
        z = state.reshape(shape)
        # parameters with these products and charges
        readout = sign * np.sqrt(_squares(z, charge)[0])
        incoming = z[:, 0] / readout[:, None]
        gradient = U.gradient(np.concatenate([incoming.ravel(), readout]))
        # ∂U/∂v_j = E_jᵀu_j
        force = net.unpack(gradient)["W1"] / readout[:, None]
        return np.asarray(function_space_velocity(z, charge, force[:, None]).ravel())

    states = solve_smooth(velocity, (u[:, None] * v).ravel(), times, 0.0, limits)
    return states.reshape(-1, *shape)


def _two_layers(U: NetworkPotential) -> NetworkPotential:
    """Return U; raise unless it is of a network with one hidden layer of degree 1."""
    checks.instance(U, "U", NetworkPotential, "a network's potential, for example net.potential(data)")
    net = U.network
    if net.n_layers != 2 or NeuronScaling(net, 1).objection or net.activations[0].degree != 1:
        raise ValueError(f"U must be of a network with one hidden layer of relu, got {net!r}")
    return U
