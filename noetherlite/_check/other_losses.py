"""Gradients of another loss: of some of the samples, or of a network with a normalisation that U does not have."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from .._base.types import Float64Array
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .._symmetry.scaling import NeuronScaling
from .case import EXPLAINED, Case, explained

_NUMBERS = 1 << 22  # most numbers in the gradients sample by sample
# Largest cosine between a normalised neuron's weights and its gradient; the ε of the normalisation makes it differ from zero.
_LEVEL = 1e-3
_FEWEST_STEPS = 3  # to which one constant per neuron is fitted
_USUAL = 0.05  # least cosine of ∇U for which a smaller one is evidence


def some_samples(U: Potential, cases: Sequence[Case]) -> str:
    """Recognise mean gradients of some of the samples; the gradients of the samples must be linearly independent."""
    if not isinstance(U, NetworkPotential) or not 1 < U.n_samples < U.n_params:
        return ""
    if U.n_samples * U.n_params > _NUMBERS or any(case.batch is not None for case in cases):
        return ""
    batches = []
    for case in cases:
        columns = np.stack([U.part([i]).gradient(case.point) for i in range(U.n_samples)])
        share = np.linalg.lstsq(columns.T, case.recorded, rcond=None)[0]
        if share.max() <= 0:
            return ""
        batch = np.flatnonzero(share > share.max() / 2)
        remainder = float(np.linalg.norm(columns[batch].mean(axis=0) - case.recorded))
        if not explained(remainder, float(np.linalg.norm(case.recorded - case.expected)), case.noise):
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
    """Recognise a normalisation in or after a hidden layer by its effect on the gradient of the layer's parameters."""
    if not isinstance(U, NetworkPotential) or not cases:
        return ""
    for recognise, sentence in (
        (functools.partial(_keeps_length, axis=1), _BATCH_NORMALISED),
        (functools.partial(_keeps_length, axis=None), _LAYER_NORMALISED),
        (_has_shifted_laws, _SHIFTED),
    ):
        if layers := [f"W{layer}" for layer in range(1, U.network.n_layers) if recognise(U, layer, cases)]:
            return sentence.format(", ".join(layers))
    return ""


_BATCH_NORMALISED = (
    "no step changes the length of any neuron's weights in {} to first order, as with batch normalisation, which divides it "
    "out: no gradient of U"
)
_LAYER_NORMALISED = (
    "no step changes the length of {} with its biases to first order, as with layer normalisation, which divides out the scale "
    "of a layer: no gradient of U"
)
_SHIFTED = (
    "the scaling laws of {} are off by what constants added to its neurons make of them, as with batch normalisation in "
    "evaluation mode: no gradient of U"
)


def _keeps_length(U: NetworkPotential, layer: int, cases: Sequence[Case], axis: int | None) -> bool:
    """Return whether no step, but ∇U, changes the length of weights with biases: of neurons (axis 1), or of the layer (None)."""
    recorded = _radial(U, layer, [(c.point, c.recorded) for c in cases], axis)
    expected = _radial(U, layer, [(c.point, c.expected) for c in cases], axis)
    return recorded <= _LEVEL and expected >= _USUAL


def _radial(
    U: NetworkPotential, layer: int, pairs: Sequence[tuple[Float64Array, Float64Array]], axis: int | None
) -> float:
    """Return the cosine between weights with biases and their gradients: neuron by neuron (axis 1), or of the layer (None)."""
    products, sizes = [], []
    for x, gradient in pairs:
        w, g = _with_bias(U, layer, x), _with_bias(U, layer, gradient)
        products.append((w * g).sum(axis=axis))
        sizes.append(np.sqrt((w * w).sum(axis=axis) * (g * g).sum(axis=axis)))
    size = float(np.linalg.norm(sizes))
    return float(np.linalg.norm(products)) / size if size > 0 else np.inf


def _with_bias(U: NetworkPotential, layer: int, x: Float64Array) -> Float64Array:
    """Return (W_h, b_h) with one row per neuron."""
    arrays = U.network.unpack(x)
    names = [name for name in (f"W{layer}", f"b{layer}") if name in arrays]
    return np.concatenate([arrays[name].reshape(arrays[name].shape[0], -1) for name in names], axis=1)


def _has_shifted_laws(U: NetworkPotential, layer: int, cases: Sequence[Case]) -> bool:
    """Return whether the law ⟨g_i, F⟩ = 0 of neuron i has a residual that a constant added to the neuron explains.

    A constant c in σ(z_i + c) makes it −c ∂U/∂b_i, one in σ(z_i) + c makes it −c⟨u_i, ∂U/∂b_{h+1}⟩ (p = 1). The constants
    are fitted over the steps. A residual that is nearly constant over the steps is no evidence.
    """
    law = NeuronScaling(U.network, layer)
    if law.objection or not U.network.bias or len(cases) < _FEWEST_STEPS:
        return False
    parts = [(U.network.unpack(c.point), U.network.unpack(c.recorded)) for c in cases]
    residual = np.array([law.charge(c.point, c.recorded) for c in cases])
    size, variation = (float(np.linalg.norm(a)) for a in (residual, residual - residual.mean(axis=0)))
    noise = max(c.noise * float(np.linalg.norm(law.norm(c.point))) for c in cases)
    for term in (
        np.array([gradient[f"b{layer}"] for _, gradient in parts]),
        np.array([gradient[f"b{layer + 1}"] @ x[f"W{layer + 1}"] for x, gradient in parts]),
    ):
        square = (term * term).sum(axis=0)
        constant = np.divide((residual * term).sum(axis=0), square, out=np.zeros_like(square), where=square > 0)
        remainder = float(np.linalg.norm(residual - constant * term))
        if explained(remainder, size, noise) and remainder <= EXPLAINED * variation:
            return True
    return False
