"""Conserved quantities of gradient flow whose fields are not affine: ⟨g(x), ∇U(x)⟩ = 0 with g = ∇Q (theory §4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._base import checks
from .._base.floating import norm, unit
from .._base.types import Array, ArrayLike, Float64Array
from .._motion.base import Algorithm
from .._problem.network import NetworkPotential
from .._problem.points import random_point
from .._problem.potentials import Potential, is_potential
from .find import TOLERANCE

_POINTS = 4
_STEP = 1e-3  # of differences along a step of a run, in units of the step
_DIFFERENCE = 1e-6  # the error of a difference of first order in √ε, and room
_ORTHOGONAL = 64 * float(np.finfo(np.float64).eps)


class InvariantRecord(NamedTuple):
    """An invariant along a run; R records, n components.

    Attributes
    ----------
    quantity : ndarray, shape (R, n)
        Q(x_k).
    exact : ndarray, shape (R, n)
        Σ_j h⟨g(y_j), ∇U(y_j)⟩ over the steps before, with the gradients that the positions imply at the points y_j where the algorithm takes them;
        for gradient descent it is Σ_j ⟨g(x_j), x_{j+1} − x_j⟩. Round-off, with minibatches too.
    residual : ndarray, shape (R, n)
        Q(x_k) − Q(x_0), of first order in the learning rate at a given time. With momentum the defect of the balance law, μJ less its start and less
        ∫μ⟨ẋ, Dg(x)ẋ⟩ds, of the algorithm's order in the time per step.
    second_order : ndarray, shape (R, n)
        For gradient descent Q(x_k) − Q(x_0) less Σ_j ½⟨Δ_j, Dg(x_j)Δ_j⟩ with Δ_j = x_{j+1} − x_j: of second order. NaN with momentum.
    """

    quantity: Float64Array
    exact: Float64Array
    residual: Float64Array
    second_order: Float64Array


class Invariant:
    """A field g orthogonal to ∇U everywhere that is the gradient of Q, which gradient flow therefore conserves.

    Parameters
    ----------
    field : callable
        x (P,) ↦ g(x), shape (n, P), or (P,) for one component.
    quantity : callable
        x (P,) ↦ Q(x), shape (n,), or a number.
    name : str
        Its name.

    Raises
    ------
    TypeError
        If one is not callable.

    Notes
    -----
    `verify` and `record` measure at random points that ⟨g, ∇U⟩ = 0 and that g = ∇Q, which is evidence and no proof.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.Callable(lambda x: ((x[0] * np.exp(x[1]) - 2) ** 2 / 2, (x[0] * np.exp(x[1]) - 2) * np.exp(x[1]) * np.array([1, x[0]])), 2)
    >>> law = nl.Invariant(lambda x: np.array([x[0], -1.0]), lambda x: x[0] ** 2 / 2 - x[1], "exponential")
    >>> run = nl.integrate(U, nl.GD(0.01), [1.0, 0.3], 50, record_params=True)
    >>> record = law.record(U, run.params)
    >>> bool(np.abs(record.exact).max() < 1e-14), bool(np.abs(record.residual).max() > 100 * np.abs(record.second_order).max())
    (True, True)
    """

    def __init__(
        self, field: Callable[[Array], ArrayLike], quantity: Callable[[Array], ArrayLike], name: str = "invariant"
    ) -> None:
        checks.function(field, "field")
        checks.function(quantity, "quantity")
        checks.instance(name, "name", str, "a string")
        self._field, self._quantity, self.name = field, quantity, name

    def __repr__(self) -> str:
        return f"<Invariant {self.name!r}>"

    def field(self, x: ArrayLike) -> Float64Array:
        """Return g(x), shape (n, P), for x of shape (P,)."""
        x = checks.array(x, "x", ndim=1)
        g = np.atleast_2d(checks.numbers(self._field(x), f"field of {self.name!r}").astype(np.float64))
        if g.ndim != 2 or g.shape[1] != x.size:
            raise ValueError(f"field of {self.name!r} must return shape (n, {x.size}) or ({x.size},), got {g.shape}")
        return g

    def quantity(self, x: ArrayLike) -> Float64Array:
        """Return Q(x), shape (n,), for x of shape (P,)."""
        value = self._quantity(checks.array(x, "x", ndim=1))
        return np.atleast_1d(checks.numbers(value, f"quantity of {self.name!r}").astype(np.float64))

    def defects(self, U: Potential, rng: int = 0) -> tuple[float, float]:
        """Return max |⟨g, ∇U⟩| / Σ_b |g_b||∇_b U| and the largest relative error of g as ∇Q, at random points."""
        is_potential(U)
        generator = checks.generator(rng)
        blocks = U.network.blocks if isinstance(U, NetworkPotential) else ()
        slices = [b.part for b in blocks] or [slice(0, U.n_params)]
        orthogonal, integrable = 0.0, 0.0
        for _ in range(_POINTS):
            x = random_point(U, generator)
            gradient, g = U.gradient(x), self.field(x)
            gradient = gradient / unit(gradient)
            size = sum(np.linalg.norm(g[:, part], axis=1) * norm(gradient[part]) for part in slices)
            if not np.isfinite(g).all():
                raise ValueError(f"field of {self.name!r} is not finite at random points")
            orthogonal = float(np.maximum(orthogonal, np.max(np.abs(g @ gradient) / np.where(size > 0, size, 1.0))))
            v = generator.standard_normal(x.size)
            step = 1e-4 * norm(x) / norm(v)
            one, two = (
                (self.quantity(x + k * step * v) - self.quantity(x - k * step * v)) / (2 * k * step) for k in (1, 2)
            )
            if one.shape != (len(g),):
                raise ValueError(
                    f"quantity of {self.name!r} must have {len(g)} components as its field has, got {one.shape}"
                )
            error = np.abs((4 * one - two) / 3 - g @ v) / (np.linalg.norm(g, axis=1) * norm(v) + np.finfo(float).tiny)
            integrable = float(np.maximum(integrable, error.max()))  # NaN where a value is none
        return orthogonal, integrable

    def verify(self, U: Potential) -> None:
        """Raise ValueError unless gradient flow of U conserves Q, as measured at random points."""
        orthogonal, integrable = self.defects(U)
        if not orthogonal <= TOLERANCE:
            raise ValueError(
                f"{self.name!r} is no invariant of {U!r}: max |⟨g, ∇U⟩|/Σ|g_b||∇_b U| = {orthogonal:.2g} at random points"
            )
        if not integrable <= _DIFFERENCE:
            raise ValueError(f"the field of {self.name!r} is not the gradient of its quantity: off by {integrable:.2g}")

    def record(
        self, U: Potential, params: ArrayLike, algorithm: Algorithm | None = None, t0: float = 0.0
    ) -> InvariantRecord:
        """Return the invariant along successive steps x_0, x_1, … of gradient descent, or of an algorithm with momentum, shape (R, P).

        With momentum Q is not conserved: d/dt(μ⟨g, ẋ⟩) = μ⟨ẋ, Dg(x)ẋ⟩. Nothing of this kind is, unless Dg is skew, and then g is affine (theory §4).

        Parameters
        ----------
        U : Potential
            The potential.
        params : array_like, shape (R, P)
            Positions after each step: `Trajectory.params` with record_every=1.
        algorithm : Algorithm, optional
            That of the run, with one constant rate and no weight decay; gradient descent by default.
        t0 : float
            Time of the first position.

        Raises
        ------
        ValueError, TypeError
            If it is no invariant of U, the shape is wrong, or no law of the algorithm's positions is known: they do not tell its gradients.
        """
        self.verify(U)
        points = np.asarray(checks.array(params, "params", ndim=2), np.float64)
        if points.shape[1] != U.n_params or not len(points):
            raise ValueError(f"params must have shape (R, {U.n_params}), got {points.shape}")
        if algorithm is not None:
            checks.instance(algorithm, "algorithm", Algorithm, "an Algorithm such as nl.Leapfrog(0.01)")
            t0 = checks.real(t0, "t0", minimum=0.0)
            if not algorithm.implies_gradients:
                raise ValueError(
                    f"algorithm={algorithm!r}: no law is known of its positions, which do not tell its gradients"
                )
            if algorithm.rates or algorithm.has_blocks or algorithm.weight_decay:
                raise ValueError(f"algorithm={algorithm!r} must have one constant rate and no weight decay")
            if algorithm.dynamics.mass:
                return self._with_momentum(points, algorithm, t0)
        quantity = np.stack([self.quantity(x) for x in points])
        first, second = np.zeros_like(quantity), np.zeros_like(quantity)
        for k, (x, step) in enumerate(zip(points, np.diff(points, axis=0), strict=False), start=1):
            first[k] = self.field(x) @ step
            second[k] = 0.5 * self._bend(x, step)
        residual = quantity - quantity[0]
        return InvariantRecord(quantity, first.cumsum(axis=0), residual, residual - second.cumsum(axis=0))

    def _with_momentum(self, points: Float64Array, algorithm: Algorithm, t0: float) -> InvariantRecord:
        """Return the record of a momentum method: μJ at the middles of steps, J = ΔQ/h, and the source at their ends, so that the error is O(h²)."""
        h = algorithm.dt
        quantity = np.stack([self.quantity(x) for x in points])
        exact, residual = np.zeros_like(quantity), np.zeros_like(quantity)
        rows, at, gradients = algorithm.implied_gradients(points, t0, None)
        for k, y, gradient in zip(rows, at, gradients, strict=True):
            exact[k + 1] = h * (self.field(y) @ gradient)
        t = algorithm.times(t0, np.arange(len(points)))
        middles, ends = (algorithm.dynamics.law_weight(s)[:, None] for s in (t[:-1] + h / 2, t))
        moment = middles * np.diff(quantity, axis=0) / h
        source = np.zeros_like(moment)
        for k in range(1, len(moment)):
            source[k] = h * ends[k] * self._bend(points[k], (points[k + 1] - points[k - 1]) / 2) / h**2
        residual[1:] = moment - moment[:1] - source.cumsum(axis=0)
        return InvariantRecord(quantity, exact.cumsum(axis=0), residual, np.full_like(quantity, np.nan))

    def _bend(self, x: Array, step: Array) -> Float64Array:
        """Return ⟨Δ, Dg(x)Δ⟩ of a step Δ."""
        change = self.field(x + _STEP * step) - self.field(x - _STEP * step)
        return np.asarray(change @ step / (2 * _STEP))


def invariants(U: Potential) -> list[Invariant]:
    """Return the invariants of a network on orthogonal samples, beyond those of affine symmetries.

    Where the inputs of the samples, with a 1 behind where there are biases, are orthogonal (whitened: N ≤ n_0), gradient flow conserves for
    each neuron of the first hidden layer Q = ½|u|² − Σ_s H(z_s)/(|x_s|² [+ 1]), H = ∫σ/σ′ [1]_: H = ½sinh²z for tanh, z + e^z for the logistic function.

    Parameters
    ----------
    U : Potential
        A network's potential.

    Returns
    -------
    list of Invariant
        "orthogonal samples:1", with a component for each neuron; empty if the samples are not orthogonal, the activation's H is not known
        (known are those of tanh, logistic, exp, softsign, elu, celu), or U is of no network.

    Raises
    ------
    TypeError
        If U is no potential.

    References
    ----------
    .. [1] B. Zhao, I. Ganev, R. Walters, R. Yu, N. Dehmamy, "Symmetries, flat minima, and the conserved quantities of gradient flow", ICLR 2023.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.Network([3, 4, 2], "tanh", bias=False, loss="mse").potential(np.eye(3), np.ones((3, 2)))
    >>> nl.invariants(U)
    [<Invariant 'orthogonal samples:1'>]
    """
    is_potential(U)
    if not isinstance(U, NetworkPotential) or U.network.n_layers < 2:
        return []
    net, kind, c = U.network, U.network.activations[0].kind, U.network.activations[0].constant
    ratio, integral = kind.over_slope, kind.over_slope_integral
    X = np.asarray(U.X, np.float64)
    gram = X @ X.T + float(net.bias)
    squares = gram.diagonal()
    lengths = np.sqrt(np.outer(squares, squares))
    if (
        ratio is None
        or integral is None
        or (np.abs(gram - np.diag(squares)) > _ORTHOGONAL * lengths).any()
        or not squares.all()
    ):
        return []
    n = net.widths[1]

    def pre_activations(x: Array) -> tuple[dict[str, Array], Array]:
        arrays = net.unpack(checks.shaped(x, "x", (net.n_params,)))
        return arrays, X @ arrays["W1"].T + (arrays["b1"] if net.bias else 0.0)

    def field(x: Array) -> Float64Array:
        arrays, z = pre_activations(x)
        share = ratio(c, z) / squares[:, None]
        out = np.zeros((n, net.n_params))
        for i in range(n):
            entries = net.unpack(out[i])
            entries["W1"][i] = -share[:, i] @ X
            entries["W2"][:, i] = arrays["W2"][:, i]
            if net.bias:
                entries["b1"][i] = -share[:, i].sum()
        return out

    def quantity(x: Array) -> Float64Array:
        arrays, z = pre_activations(x)
        return np.asarray(0.5 * (arrays["W2"] ** 2).sum(axis=0) - (integral(c, z) / squares[:, None]).sum(axis=0))

    return [Invariant(field, quantity, "orthogonal samples:1")]
