"""A network's loss where every kinked neuron has a given slope on every sample: smooth in θ, and equal to U on one pattern.

σ(z) = max(z, 0) + a min(z, 0) has slope a or 1. With the slopes s held, a = sz, the loss U_s is smooth; where s fits the
signs of the pre-activations, U_s = U, ∇U_s = ∇U. A kink k is a sample and a neuron; all kinks form a matrix (N, H), with the
neurons of the kinked layers one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .._base.types import Array, Float64Array
from .._kernels import reference
from .._problem.activations import Activation
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .normals import Block, Normals

_Blocks = list[tuple[Array, Array | None, Array | None]]  # W, b and β of each layer


class Pass(NamedTuple):
    """What one evaluation gives."""

    gradient: Float64Array  # ∇U_s, shape (P,)
    upstream: Float64Array  # ∂U_s/∂a of the kinked neurons, shape (N, H): the slope's weight in ∇U_s


def is_kinked(activation: Activation) -> bool:
    """Whether σ′ jumps at 0."""
    return activation.name in ("relu", "leaky_relu") or str(activation) == "repu(1)"


class GatedLoss:
    """U_s of a network with kinked activations.

    Attributes
    ----------
    shape : tuple of int
        (N, H).
    low : ndarray, shape (H,)
        Slope of each neuron where its pre-activation is negative.
    depth : int
        Number of kinked layers.
    n_params : int
        P.
    calls : int
        Evaluations of gradients so far.
    """

    def __init__(self, U: NetworkPotential) -> None:
        net = U.network
        self.problem, self.calls = U.problem(), 0
        self._kinked = [h for h, a in enumerate(net.activations, start=1) if is_kinked(a)]
        self._columns, start = {}, 0
        for h in self._kinked:
            self._columns[h] = slice(start, start + net.widths[h])
            start += net.widths[h]
        low = [np.full(net.widths[h], net.activations[h - 1].constant % 1) for h in self._kinked]  # 1 of repu(1): none
        self.low = np.concatenate(low)
        self._layer = np.repeat(self._kinked, [net.widths[h] for h in self._kinked])
        self._neuron = np.concatenate([np.arange(net.widths[h]) for h in self._kinked])
        self.shape = (U.n_samples, start)
        self.depth, self.n_params = len(self._kinked), U.n_params

    def name(self, kink: tuple[int, int]) -> tuple[int, int, int]:
        """Return (sample, layer, neuron) of a kink (row, column)."""
        return int(kink[0]), int(self._layer[kink[1]]), int(self._neuron[kink[1]])

    def evaluate(self, x: Array, slopes: Float64Array) -> Pass:
        """Return ∇U_s and what the kinks need."""
        self.calls += 1
        blocks = reference.layers(self.problem, x)
        zs, activations = self._forward(blocks, slopes, self.problem.X)
        delta, upstream = reference.loss(self.problem, zs[-1])[1], np.empty(self.shape)
        gradient = np.zeros(x.size)
        out = reference.layers(self.problem, gradient)
        for h, signal, above, d_beta in self._signals(blocks, slopes, zs, {len(zs): delta}):
            dW, db, dbeta = out[h - 1]
            dW[:] = signal.T @ activations[h - 1]
            if db is not None:
                db[:] = signal.sum(axis=0)
            if dbeta is not None and d_beta is not None:
                dbeta[:] = d_beta.sum(axis=0)
            if h in self._columns:
                upstream[:, self._columns[h]] = above
        return Pass(gradient, upstream)

    def kinks(self, x: Array, slopes: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return z and the size of what it is summed from, both of shape (N, H).

        The size is 0 where z = 0 for all parameters nearby: without a bias, and with no signal from the layer below.
        """
        blocks = reference.layers(self.problem, x)
        zs, activations = self._forward(blocks[:-1], slopes, self.problem.X)
        sizes, below = [], self.problem.X
        for h, (W, b, _) in enumerate(blocks[:-1], start=1):
            signal = _lengths(below)
            if b is not None:  # a bias alone, on its way through zero, has the size of what others are summed from
                signal = np.full_like(signal, signal.max())
            size = signal[:, None] * _lengths(W)
            if h in self._columns:
                sizes.append(size if b is None else size + np.abs(b) + np.finfo(np.float64).tiny)
                below = sizes[-1] * slopes[:, self._columns[h]]
            elif h < len(zs):
                below = activations[h]
        return self._gather(zs), np.concatenate(sizes, axis=1)

    def pre_activations(self, x: Array) -> Float64Array:
        """Return the true z of the kinked neurons, with the slopes that their own signs give."""
        return self._gather(reference.forward(self.problem, x, self.problem.X)[0])

    def rates(self, x: Array, v: Array, slopes: Float64Array) -> Float64Array:
        """Return ż of shape (N, H) where θ moves with velocity v."""
        blocks = reference.layers(self.problem, x)
        zs, activations = self._forward(blocks, slopes, self.problem.X)
        out, moved = [], np.zeros_like(self.problem.X)
        moving = zip(blocks, reference.layers(self.problem, v), strict=True)
        for h, ((W, b, beta), (dW, db, d_beta)) in enumerate(moving, start=1):
            rate = activations[h - 1] @ dW.T + moved @ W.T
            out.append(rate if b is None else rate + db)
            if h < len(zs):
                moved = self._slope(h, beta, zs[h - 1], slopes) * out[-1]
                if beta is not None:
                    moved = moved + reference.d_sigma_d_beta(beta, zs[h - 1]) * d_beta
        return self._gather(out)

    def normals(self, x: Array, slopes: Float64Array, kinks: Sequence[tuple[int, int]]) -> Normals:
        """Return ∇z of K kinks."""
        samples, columns = np.array(kinks, np.int64).reshape(-1, 2).T
        layers, neurons = self._layer[columns], self._neuron[columns]
        held = slopes[samples]
        blocks = reference.layers(self.problem, x)[: layers.max(initial=1)]
        zs, activations = self._forward(blocks, held, self.problem.X[samples])
        seeds = {}
        for h in set(layers.tolist()):
            seeds[h] = np.zeros_like(zs[h - 1])
            seeds[h][layers == h, neurons[layers == h]] = 1.0
        signals = self._signals(blocks, held, zs, seeds)
        return Normals(
            x.size,
            [Block(self.problem.offsets[h - 1], delta, activations[h - 1], d_beta) for h, delta, _, d_beta in signals],
        )

    def _gather(self, zs: list[Array]) -> Float64Array:
        return np.concatenate([zs[h - 1] for h in self._kinked], axis=1)

    def _slope(self, h: int, beta: Array | None, z: Array, slopes: Float64Array) -> Array:
        if h in self._columns:
            return slopes[:, self._columns[h]]
        c = self.problem.parameter[h - 1] if beta is None else beta
        return reference.d_sigma(self.problem.activation[h - 1], c, z)

    def _forward(self, blocks: _Blocks, slopes: Float64Array, X: Array) -> tuple[list[Array], list[Array]]:
        """Return z_h and a_(h−1) of the layers h of `blocks`."""
        zs: list[Array] = []
        activations = [X]
        for h, (W, b, beta) in enumerate(blocks, start=1):
            z = activations[-1] @ W.T
            zs.append(z if b is None else z + b)
            if h == len(blocks):
                break
            if h in self._columns:
                activations.append(slopes[:, self._columns[h]] * zs[-1])
            else:
                c = self.problem.parameter[h - 1] if beta is None else beta
                activations.append(reference.sigma(self.problem.activation[h - 1], c, zs[-1]))
        return zs, activations

    def _signals(
        self, blocks: _Blocks, slopes: Float64Array, zs: list[Array], seeds: dict[int, Array]
    ) -> Iterator[tuple[int, Array, Array | None, Array | None]]:
        """Yield h, ∂/∂z_h, ∂/∂a_h and ∂/∂β_h (or None) sample by sample, from the last layer of `zs` to 1.

        `seeds` are what the function differentiated depends on directly, by layer.
        """
        above: Array | None = None
        for h in range(len(zs), 0, -1):
            beta, z = blocks[h - 1][2], zs[h - 1]
            delta = seeds.get(h, np.zeros_like(z))
            if above is not None:
                delta = delta + above * self._slope(h, beta, z, slopes)
            d_beta = None if above is None or beta is None else above * reference.d_sigma_d_beta(beta, z)
            yield h, delta, above, d_beta
            above = delta @ blocks[h - 1][0] if h > 1 else None


def _lengths(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def kinked(U: Potential) -> bool:
    """Whether U is a network's loss with kinks."""
    return isinstance(U, NetworkPotential) and any(map(is_kinked, U.network.activations))
