"""Random parameters at which a potential shows what it depends on: neither saturated, nor dead, nor on one side of its kinks."""

from __future__ import annotations

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import reference
from .network import NetworkPotential
from .potentials import Potential

_REACH = 0.5  # how far beyond the two samples a kink may lie, in units of their distance


def random_point(U: Potential, rng: np.random.Generator, zero_biases: bool = False) -> Float64Array:
    """Return generic parameters x of shape (P,), fitted to the scales of a network's data.

    A network's layers are scaled one after the other so that pre-activations have size 1 on its data, and outputs the size
    of the targets. Biases put every neuron's kink between, or a little beside, two of the samples, or a sample and the
    origin; with `zero_biases` all kinks go through the origin, as where training usually starts. Other potentials do not
    say what their scale is: x is normal there, of several sizes around 1.
    """
    if isinstance(U, NetworkPotential):
        return _amid(U, rng, zero_biases)
    return np.asarray(rng.standard_normal(U.n_params) * np.exp(rng.uniform(-1, 1)))


def _amid(U: NetworkPotential, rng: np.random.Generator, zero_biases: bool) -> Float64Array:
    net, problem = U.network, U.problem()
    x = net.init(rng) * rng.uniform(0.5, 1.5, net.n_params)
    a, last = U.X, net.n_layers
    with np.errstate(over="ignore", invalid="ignore"):  # pre-activations that are not finite are left as they are
        for h, (W, b, beta) in enumerate(reference.layers(problem, x), start=1):
            size = _size(a @ W.T)
            W *= (_target(U) if h == last else 1.0) / size
            z = a @ W.T
            if b is not None:
                b[:] = 0.0 if zero_biases else -_kinks(z, rng)
                z = z + b
            if h < last:
                code, c = problem.activation[h - 1], problem.parameter[h - 1]
                a = reference.sigma(code, c if beta is None else beta, z)
    return x


def _size(values: Array) -> float:
    """Return the root mean square, or 1 where it is of no use as a unit."""
    top = float(np.abs(values).max())
    size = top * float(np.sqrt(np.mean((values / top) ** 2))) if 0 < top < np.inf else 1.0
    return size if np.isfinite(1 / size) else 1.0


def _target(U: NetworkPotential) -> float:
    return _size(np.asarray(U.network.loss_function.aimed_at(U.y), np.float64))


def _kinks(z: Array, rng: np.random.Generator) -> Float64Array:
    """Return a value for each column of pre-activations z (N, n): on the line through two rows, or a row and 0."""
    rows, columns = np.vstack([z, np.zeros(z.shape[1])]), np.arange(z.shape[1])
    first = rng.integers(0, len(rows), columns.size)
    second = (first + rng.integers(1, len(rows), columns.size)) % len(rows)
    start, end = rows[first, columns], rows[second, columns]
    out = start + rng.uniform(-_REACH, 1 + _REACH, columns.size) * (end - start)
    # where the two do not differ, as in a layer that no signal reaches, any value is as good
    return np.where(start == end, start + rng.standard_normal(columns.size), out)
