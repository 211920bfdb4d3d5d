"""The tangent kernel of a network, and the residual of the linearised network (theory §7)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.floating import in_range, rangeless, underflowing, unit
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import reference
from .._motion.dynamics import Dynamics
from .._motion.flow import reference_flow
from .._problem.network import Network
from .._problem.potentials import Callable

# Least number of rows (samples × outputs) of a block of the kernel; the width of the widest layer, if that is more. Forming
# such a block takes longer than its backward passes, whose repetition for every block at most doubles the work.
_ROWS = 256
# Up to this α/m the factors of the Bessel formula, Γ(ν + 1) and J_ν, are far from overflow and underflow.
_LARGEST_CLOSED = 100.0
# Phases and exponents beyond it are taken for it: of the former no digit is known, the latter have decayed, and squares are doubles.
_FARTHEST = 1e150


class _Factor(NamedTuple):
    """∂f/∂(W_h, b_h, β_{h−1}) of the samples of a block: row (s, i) of ∂f/∂W_h is the product signal[s, i] ⊗ below[s]."""

    signal: Array  # ∂f/∂z_h, (N n_L, n_h)
    below: Array  # a_{h−1}, (N, n_{h−1})
    beta: Array | None  # ∂f/∂β_{h−1}, (N n_L, n_{h−1})


@rangeless
def kernel(net: Network, theta: ArrayLike, X1: ArrayLike, X2: ArrayLike | None = None) -> Float64Array:
    """Return the neural tangent kernel K = (∂f/∂θ)(X1) (∂f/∂θ)(X2)ᵀ of a network at θ.

    Parameters
    ----------
    net : Network
        Any network; its loss is not used.
    theta : array_like, shape (P,)
        Parameters; trainable β count as such.
    X1 : array_like, shape (N1, n_0)
        Inputs.
    X2 : array_like, shape (N2, n_0), optional
        Other inputs; X1 by default, and then K is symmetric to the last bit.

    Returns
    -------
    ndarray, shape (N1 n_L, N2 n_L)
        Sample-major: row s n_L + i belongs to output i of sample s, as in ``net.jacobian(theta, X1).reshape(-1, P)``.

    Raises
    ------
    TypeError
        If `net` is not a network, or an array does not hold real numbers.
    ValueError
        If `theta`, `X1` or `X2` is not finite or has another shape; the message names it.

    Notes
    -----
    A row of ∂f/∂W_h is an outer product, so with the hand-written backward pass's signals δ_h = ∂f/∂z_h

        K = Σ_h ⟨δ_h, δ_h′⟩ (⟨a_{h−1}, a_{h−1}′⟩ + 1) [+ ⟨∂f/∂β_h, ∂f/∂β_h′⟩],

    where the 1 is for biases. The Jacobian of N n_L rows and P columns is never formed. K is filled in blocks of B rows and
    columns, B = max(256, n_1, …, n_L) or fewer; besides K itself at most B (12 Σ_h n_h + 2 n_0 + 4 B) numbers are
    stored (h ≥ 1), for any N.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([2, 16, 3], "tanh")
    >>> theta, X = net.init(rng=0), np.eye(2)
    >>> J = net.jacobian(theta, X).reshape(6, net.n_params)
    >>> bool(np.allclose(nl.ntk.kernel(net, theta, X), J @ J.T, rtol=1e-13, atol=1e-13))
    True
    """
    checks.instance(net, "net", Network, "a Network")
    x = checks.shaped(theta, "theta", (net.n_params,))
    first = net.inputs(X1, "X1")
    second = first if X2 is None else net.inputs(X2, "X2")
    outputs = net.widths[-1]
    size = max(1, max(_ROWS, *net.widths[1:]) // outputs)
    K = np.empty((len(first) * outputs, len(second) * outputs))
    for i in range(0, len(first), size):
        row_factors = _factors(net, x, first[i : i + size])
        rows = slice(i * outputs, (i + size) * outputs)
        for j in range(i if X2 is None else 0, len(second), size):
            diagonal = X2 is None and i == j
            column_factors = row_factors if diagonal else _factors(net, x, second[j : j + size])
            columns = slice(j * outputs, (j + size) * outputs)
            K[rows, columns] = _block(row_factors, column_factors, net.bias)
            if X2 is None and i < j:
                K[columns, rows] = K[rows, columns].T
    return in_range(K)


def _factors(net: Network, x: Array, X: Array) -> list[_Factor]:
    """Return the factors of ∂f/∂θ, last layer first."""
    problem = net.problem(X, None, "float64")
    zs, activations = reference.forward(problem, x, X)
    outputs = net.widths[-1]
    each = [np.repeat(z, outputs, axis=0) for z in zs]  # one row per sample and output, as the signals have
    start = np.tile(np.eye(outputs), (len(X), 1))
    return [_Factor(signal, activations[h - 1], beta) for h, signal, beta in reference.signals(problem, x, each, start)]


def _block(first: list[_Factor], second: list[_Factor], bias: bool) -> Float64Array:
    """Return Σ over layers of the products of `first` with those of `second`."""
    K = np.zeros((len(first[0].signal), len(second[0].signal)))
    for one, other in zip(first, second, strict=True):
        inputs = one.below @ other.below.T + (1.0 if bias else 0.0)
        n, m = inputs.shape
        signals = one.signal @ other.signal.T
        signals.reshape(n, len(K) // n, m, -1)[:] *= inputs[:, None, :, None]
        K += signals
        if one.beta is not None and other.beta is not None:
            K += one.beta @ other.beta.T
    return K


@underflowing
def predict(
    kernel: ArrayLike, u0: ArrayLike, t: ArrayLike, dynamics: Dynamics, n_samples: int | None = None
) -> Float64Array:
    """Return the residual u(t) = f − y of the linearised network trained on the loss "mse".

    Parameters
    ----------
    kernel : array_like, shape (M, M)
        The tangent kernel K of the training set, M = N n_L: symmetric and positive semi-definite to round-off.
    u0 : array_like, shape (N, n_L) or (M,)
        Residual at t = 0; the start is at rest.
    t : array_like, shape (R,) or a number
        Times ≥ 0, in any order.
    dynamics : Dynamics
        Any (m, γ, α), for example `nl.GF`, `nl.ND`, `nl.NAGF`.
    n_samples : int, optional
        N in U = (1/2N) Σ|f − y|². By default len(u0), which is right for u0 of shape (N, n_L), or flat with n_L = 1.

    Returns
    -------
    ndarray, shape (R, *u0.shape), or u0.shape for one time
        The residuals.

    Raises
    ------
    TypeError
        If an argument is not of its type.
    ValueError
        If the kernel is not a symmetric positive semi-definite matrix of the size of `u0`, or a time is negative; the
        message names the argument.
    RuntimeError
        If the numerical solution fails.

    Notes
    -----
    The linearised network obeys m ü + (γ + α/t) u̇ + (K/N) u = 0 (theory §7). Along an eigenvector of K/N of eigenvalue
    ω², u(t)/u(0) is

        m = 0 (GF): exp(−ω²t/γ);   γ = 0: Γ(ν+1) (2/z)^ν J_ν(z) with z = ωt/√m, ν = (α/m − 1)/2,

    which is cos z without friction (ND) and 2J_1(z)/z for NAGF; and for α = 0 that of a damped oscillator, with Γ = γ/2m,

        e^{−Γt}(cos Ωt + Γt sin(Ωt)/Ωt) with Ω² = ω²/m − Γ², and cosh, sinh of √(−Ω²)t where that is negative.

    Their error is the rounding of the arguments, ε(1 + z) of u(0). With γ > 0 and α > 0, and for α > 100m, `reference_flow`
    solves the equation of all eigenvalues with a relative tolerance of 1e-12 per step; errors accumulate over the periods, to
    about 1e-10 at z = 10⁴.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> nl.ntk.predict(np.diag([2.0, 8.0]), [1.0, 1.0], [0.0, np.pi], nl.ND).round(12) + 0.0
    array([[ 1.,  1.],
           [-1.,  1.]])
    """
    checks.instance(dynamics, "dynamics", Dynamics, "a Dynamics such as nl.GF")
    start = checks.array(u0, "u0", ndim=(1, 2))
    if start.size == 0:
        raise ValueError(f"u0 must hold at least one number, got shape {start.shape}")
    K = checks.shaped(kernel, "kernel", (start.size, start.size))
    N = len(start) if n_samples is None else checks.integer(n_samples, "n_samples", minimum=1)
    times = checks.instants(t, ndim=(0, 1))
    squares, vectors = _modes(K / N)
    factors = _decay(squares, times.ravel(), dynamics)
    with np.errstate(under="ignore"):  # decayed modes underflow to zero
        u = (factors * (start.ravel() @ vectors)) @ vectors.T
    return np.asarray(u.reshape(*times.shape, *start.shape))


@underflowing
def predict_parameters(
    net: Network, theta: ArrayLike, X: ArrayLike, y: ArrayLike, t: ArrayLike, dynamics: Dynamics
) -> Float64Array:
    """Return the parameters θ(t) of the network linearised at θ and trained on the loss "mse".

    Parameters
    ----------
    net : Network
        A network with the loss "mse".
    theta : array_like, shape (P,)
        Parameters at t = 0; the start is at rest.
    X, y : array_like, shapes (N, n_0) and (N, n_L)
        Inputs and targets.
    t, dynamics
        As for `predict`.

    Returns
    -------
    ndarray, shape (R, P), or (P,) for one time

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As for `predict`, or if the network has another loss.

    Notes
    -----
    mθ̈ + (γ + α/t)θ̇ = −Jᵀu/N with J = ∂f/∂θ at t = 0, so that θ(t) − θ(0) = −Jᵀ Σ_i v_i ⟨v_i, u(0)⟩ (1 − u_i(t)/u_i(0))/λ_i over the eigenvectors
    v_i of K = JJᵀ with eigenvalues λ_i > 0; directions with λ_i = 0 do not move. The residual u(t) is that of `predict`. J is formed:
    N n_L P numbers. Errors are ε√(λ_max/λ_i) of the largest displacement.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([2, 1], bias=False, loss="mse")  # linear: it is its own linearisation
    >>> X, y = np.eye(2), np.array([[2.0], [4.0]])
    >>> nl.ntk.predict_parameters(net, [0.0, 0.0], X, y, [0.0, 1e3], nl.GF).round(12)
    array([[0., 0.],
           [2., 4.]])
    """
    checks.instance(net, "net", Network, "a Network")
    checks.instance(dynamics, "dynamics", Dynamics, "a Dynamics such as nl.GF")
    if net.loss != "mse":
        raise ValueError(f"net must have the loss 'mse', got {net.loss!r}")
    U = net.potential(X, y)
    times = checks.instants(t, ndim=(0, 1))
    x = checks.shaped(theta, "theta", (net.n_params,)).astype(np.float64)
    J = net.jacobian(x, U.X).reshape(-1, net.n_params)
    u0 = (net.predict(x, U.X) - U.y).ravel()
    squares, vectors = _modes(J @ J.T / U.n_samples)
    moving = squares > len(squares) * np.finfo(np.float64).eps * squares.max(initial=0.0)
    squares, vectors = squares[moving], vectors[:, moving]
    gone = 1 - _decay(squares, times.ravel(), dynamics)
    with np.errstate(under="ignore"):
        moved = -(gone * (u0 @ vectors) / squares) @ (vectors.T @ J) / U.n_samples
    return np.asarray((x + moved).reshape(*times.shape, net.n_params))


def _modes(A: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the eigenvalues ω² ≥ 0 and eigenvectors of K/N."""
    # A kernel is a sum of products, symmetric up to their rounding; this is also the error of its zero eigenvalues.
    uncertain = 16 * len(A) * np.finfo(np.float64).eps * np.abs(A).max()
    skew = np.abs(A - A.T).max()
    if skew > uncertain:
        raise ValueError(f"kernel must be symmetric, got entries that differ from their mirror images by {skew:.2g}/N")
    squares, vectors = np.linalg.eigh(A)
    if squares[0] < -uncertain:
        raise ValueError(
            f"kernel must be positive semi-definite, got the eigenvalues {squares[0]:.2g}/N to {squares[-1]:.2g}/N"
        )
    return np.maximum(squares, 0.0), vectors


@rangeless
def _decay(squares: Float64Array, t: Float64Array, dynamics: Dynamics) -> Float64Array:
    """Return u(t)/u(0) of every mode, shape (R, M)."""
    m, gamma, alpha = dynamics.mass, dynamics.gamma, dynamics.alpha
    if m == 0:
        return np.asarray(np.exp(-np.outer(t, squares) / gamma))
    if alpha == 0 and gamma > 0:
        return _damped(np.sqrt(squares / m), 0.5 * gamma / m, t[:, None])
    if gamma == 0 and alpha <= _LARGEST_CLOSED * m:
        z = np.minimum(np.outer(t, np.sqrt(squares / m)), _FARTHEST)
        if alpha == 0:
            return np.asarray(np.cos(z))
        from scipy.special import hyp0f1

        return np.asarray(hyp0f1((alpha / m + 1) / 2, -(z**2) / 4))  # ₀F₁(; ν+1; −z²/4), the formula without its 0/0
    if not t.size:
        return np.empty((0, squares.size))
    U = Callable(lambda x: (0.5 * float(squares @ (x * x)), squares * x), len(squares))
    distinct, index = np.unique(t, return_inverse=True)
    return np.asarray(reference_flow(U, dynamics, np.ones(len(squares)), distinct).x[index])


def _damped(frequency: Float64Array, friction: float, t: Float64Array) -> Float64Array:
    """Return u(t) of ü + 2Γu̇ + ω²u = 0 from u = 1 at rest, shape (R, M), without cancellation."""
    scale = unit(np.append(frequency, friction))
    square = (frequency - friction) / scale * ((frequency + friction) / scale)
    root = scale * np.sqrt(np.abs(square))
    turned, slowed = np.minimum(root * t, _FARTHEST), np.minimum(friction * t, _FARTHEST)
    oscillating = np.exp(-slowed) * (np.cos(turned) + slowed * np.sinc(turned / np.pi))
    # e^{−Γt}(cosh st + Γt sinh(st)/st) with the slower exponential, of rate Γ − s = ω²/(Γ + s), factored out
    decay = 2 * turned
    mean = np.divide(-np.expm1(-decay), decay, out=np.ones_like(decay), where=decay > 0)
    overdamped = np.exp(-(frequency**2) / (friction + root) * t) * (0.5 * (1 + np.exp(-decay)) + slowed * mean)
    return np.where(square > 0, oscillating, overdamped)
