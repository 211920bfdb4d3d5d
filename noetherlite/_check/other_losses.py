"""Gradients of another loss: of some of the samples, or of a network with a normalisation that U does not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._base.types import Float64Array
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .case import Case, explained

_NUMBERS = 1 << 22  # most numbers in the gradients sample by sample
# Largest cosine between a normalised neuron's weights and its gradient; the ε of the normalisation makes it differ from zero.
_LEVEL = 1e-3
_USUAL = 0.05  # least cosine of ∇U for which a smaller one is evidence


def some_samples(U: Potential, cases: Sequence[Case]) -> str:
    """Recognise mean gradients of some of the samples; the gradients of the samples must be linearly independent."""
    if not isinstance(U, NetworkPotential) or not 1 < U.n_samples < U.n_params:
        return ""
    if U.n_samples * U.n_params > _NUMBERS or any(case.batch is not None for case in cases):
        return ""
    batches = []
    for case in cases:
        columns = np.stack([U.network.potential(U.X[[i]], U.y[[i]]).gradient(case.point) for i in range(U.n_samples)])
        share = np.linalg.lstsq(columns.T, case.got, rcond=None)[0]
        batch = np.flatnonzero(share > share.max() / 2)
        remainder = float(np.linalg.norm(columns[batch].mean(axis=0) - case.got))
        if not explained(remainder, float(np.linalg.norm(case.got - case.want)), case.noise):
            return ""
        batches.append(batch)
    if not batches:
        return ""
    sizes = sorted({len(batch) for batch in batches})
    size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    if len(batches) > 1 and all(np.array_equal(batch, batches[0]) for batch in batches):
        return f"every step is along the gradient of the same {size} of the {U.n_samples} samples"
    return f"every step is along the gradient of {size} of the {U.n_samples} samples: minibatches (then batches= or minibatches=True)"


def normalised(U: Potential, cases: Sequence[Case]) -> str:
    """Recognise layers whose gradient is orthogonal to the weights of every neuron, which is so where their length is divided out."""
    if not isinstance(U, NetworkPotential) or not cases:
        return ""
    layers = []
    for layer in range(1, U.network.n_layers):
        got, want = (_along(U, layer, [(c.point, getattr(c, of)) for c in cases]) for of in ("got", "want"))
        if got <= _LEVEL and want >= _USUAL:
            layers.append(layer)
    if not layers:
        return ""
    names = ", ".join(f"W{layer}" for layer in layers)
    return f"no step changes the length of any neuron's weights in {names} to first order, as with batch normalisation, which divides it out: no gradient of U"


def _along(U: NetworkPotential, layer: int, pairs: Sequence[tuple[Float64Array, Float64Array]]) -> float:
    """Return the cosine between a layer's weights (with biases), neuron by neuron, and their gradients, over all neurons."""
    products, sizes = [], []
    for x, gradient in pairs:
        weights, gradients = U.network.unpack(x), U.network.unpack(gradient)
        names = [name for name in (f"W{layer}", f"b{layer}") if name in weights]
        w, g = (
            np.concatenate([a[name].reshape(a[name].shape[0], -1) for name in names], axis=1)
            for a in (weights, gradients)
        )
        products.append((w * g).sum(axis=1))
        sizes.append(np.linalg.norm(w, axis=1) * np.linalg.norm(g, axis=1))
    size = float(np.linalg.norm(sizes))
    return float(np.linalg.norm(products)) / size if size > 0 else np.inf
