"""A network's loss with given slopes of the kinked neurons: smooth in θ, and equal to U on one activation pattern.

σ(z) = max(z, 0) + a min(z, 0) has slope a or 1. With fixed slopes s, σ(z) = sz, the loss U_s is smooth; where s agrees with
the signs of the pre-activations, U_s = U and ∇U_s = ∇U. A kink is a pair of a sample and a neuron; all kinks form a matrix
(N, H), whose H columns are the neurons of the kinked layers, layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base.types import Array, Float64Array
from .._kernels import reference
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .normals import LayerPart, Normals

_Blocks = list[tuple[Array, Array | None, Array | None]]  # W, b and β of each layer
Kink = tuple[int, int]  # row and column of the matrix (N, H)

_COMPLEX_STEP = 1e-30  # h of derivatives Im f(x + ih)/h, which have no cancellation


class GatedLoss:
    """U_s of a network with kinked activations; `shape` is (N, H)."""

    def __init__(self, U: NetworkPotential) -> None:
        net = U.network
        self.problem, self.calls = U.problem(), 0  # evaluations of gradients so far
        # layers with kinks, and the slice of the columns of each
        self.kinked = [h for h, a in enumerate(net.activations, start=1) if a.is_kinked]
        self.columns, start = {}, 0
        for h in self.kinked:
            self.columns[h] = slice(start, start + net.widths[h])
            start += net.widths[h]
        low = [np.full(net.widths[h], pieces.low) for h in self.kinked if (pieces := net.activations[h - 1].pieces)]
        self.low = np.concatenate(low)  # (H,): slopes for negative pre-activations
        # (H,): hidden layer h = 1 … L−1 of each column, and the neuron in it
        self.layer = np.repeat(self.kinked, [net.widths[h] for h in self.kinked])
        self.neuron = np.concatenate([np.arange(net.widths[h]) for h in self.kinked])
        self.shape = (U.n_samples, start)
        self.n_params = U.n_params

    def name(self, kink: Kink) -> tuple[int, int, int]:
        """Return (sample, layer, neuron) of a kink (row, column)."""
        return int(kink[0]), int(self.layer[kink[1]]), int(self.neuron[kink[1]])

    def at(self, x: Array, slopes: Float64Array, rows: NDArray[np.int64] | None = None) -> Gated:
        """Return U_s at the parameters x, on all samples or on those of `rows`."""
        if rows is None:
            return Gated(self, x, slopes, self.problem.X)
        return Gated(self, x, slopes[rows], self.problem.X[rows])

    def pre_activations(self, x: Array) -> Float64Array:
        """Return z of the kinked neurons of the network itself, with slopes by the signs of the pre-activations."""
        return self.gather(reference.forward(self.problem, x, self.problem.X)[0])

    def gather(self, zs: Sequence[Array]) -> Float64Array:
        """Return the matrix (N, H) of a list of arrays by layer."""
        return np.concatenate([zs[h - 1] for h in self.kinked], axis=1)


class Gated:
    """U_s at one θ: one forward pass; derivatives are computed on demand.

    Attributes
    ----------
    zs, activations : list of ndarray
        z_h and a_(h−1) of the layers h, with samples as rows.
    """

    def __init__(self, loss: GatedLoss, x: Array, slopes: Float64Array, X: Array) -> None:
        self.loss, self.x, self.slopes = loss, x, slopes
        self.blocks: _Blocks = reference.layers(loss.problem, x)
        self.zs: list[Array] = []
        self.activations = [X]
        for h, (W, b, beta) in enumerate(self.blocks, start=1):
            z = self.activations[-1] @ W.T
            if b is not None:
                z += b
            self.zs.append(z)
            if h in loss.columns:
                self.activations.append(slopes[:, loss.columns[h]] * z)
            elif h < len(self.blocks):
                c = loss.problem.parameter[h - 1] if beta is None else beta
                self.activations.append(reference.sigma(loss.problem.activation[h - 1], c, z))

    @cached_property
    def z(self) -> Float64Array:
        """Pre-activations z of the kinked neurons, shape (N, H)."""
        return self.loss.gather(self.zs)

    @cached_property
    def sizes(self) -> Float64Array:
        """Sizes of the terms that z is the sum of, shape (N, H): the scale of its round-off.

        The size is 0 where z = 0 for all parameters nearby: without a bias, and with no signal from the layer below.
        """
        sizes, below = [], self.activations[0]
        largest = np.abs(self.x).max()  # weights that pass through zero have the round-off of larger values
        for h, (W, b, _) in enumerate(self.blocks[:-1], start=1):
            signal = _lengths(below)
            if b is not None:  # a bias that passes through zero has the round-off of larger pre-activations
                signal = np.full_like(signal, signal.max())
            size = signal[:, None] * np.maximum(_lengths(W), largest)
            if h in self.loss.columns:
                sizes.append(size if b is None else size + (np.abs(b) + np.finfo(np.float64).tiny))
                below = sizes[-1] * self.slopes[:, self.loss.columns[h]]
            else:
                below = self.activations[h]
        return np.concatenate(sizes, axis=1)

    @cached_property
    def _pass_back(self) -> tuple[Float64Array, Float64Array]:
        """∇U_s and ∂U_s/∂a."""
        self.loss.calls += 1
        delta = reference.loss(self.loss.problem, self.zs[-1])[1]
        gradient, upstream = np.zeros(self.x.size), np.empty(self.loss.shape)
        out = reference.layers(self.loss.problem, gradient)
        for h, signal, above, d_beta in self._signals({len(self.zs): delta}, None):
            dW, db, dbeta = out[h - 1]
            np.matmul(signal.T, self.activations[h - 1], out=dW)
            if db is not None:
                np.add.reduce(signal, axis=0, out=db)
            if dbeta is not None and d_beta is not None:
                dbeta[:] = d_beta.sum(axis=0)
            if h in self.loss.columns:
                upstream[:, self.loss.columns[h]] = above
        return gradient, upstream

    @property
    def gradient(self) -> Float64Array:
        """∇U_s, shape (P,)."""
        return self._pass_back[0]

    @property
    def upstream(self) -> Float64Array:
        """∂U_s/∂a of the kinked neurons, shape (N, H), with which a change of the slope enters ∇U_s."""
        return self._pass_back[1]

    def rates(self, v: Array) -> Float64Array:
        """Return ż of shape (N, H) for θ̇ = v."""
        out, moved = [], np.zeros_like(self.activations[0])
        moving = zip(self.blocks, reference.layers(self.loss.problem, v), strict=True)
        for h, ((W, _, beta), (dW, db, d_beta)) in enumerate(moving, start=1):
            rate = self.activations[h - 1] @ dW.T + moved @ W.T
            out.append(rate if db is None else rate + db)
            if h < len(self.blocks):
                moved = self._slope(h, None) * out[-1]
                if beta is not None:
                    moved = moved + self._by_beta(h, beta, None) * d_beta
        return self.loss.gather(out)

    def curvatures(self, v: Array, kinks: Sequence[Kink]) -> Float64Array:
        """Return z̈ = vᵀ(∇²z)v of K kinks for constant θ̇ = v."""
        rows = np.array([k[0] for k in kinks])
        displaced = Gated(self.loss, self.x + _COMPLEX_STEP * 1j * v, self.slopes[rows], self.activations[0][rows])
        return np.asarray(displaced.rates(v)[np.arange(rows.size), [k[1] for k in kinks]].imag / _COMPLEX_STEP)

    def normals(self, kinks: Sequence[Kink]) -> Normals:
        """Return ∇z of K kinks."""
        samples, columns = np.array(kinks, np.int64).reshape(-1, 2).T
        unit = np.zeros((samples.size, self.loss.shape[1]))
        unit[np.arange(samples.size), columns] = 1.0
        top = self.loss.layer[columns].max(initial=self.loss.kinked[0])
        seeds = {h: unit[:, self.loss.columns[h]] for h in self.loss.kinked if h <= top}
        offsets = self.loss.problem.offsets.tolist()
        return Normals(
            self.x.size,
            [
                LayerPart(offsets[h - 1], delta, self.activations[h - 1][samples], d_beta)
                for h, delta, _, d_beta in self._signals(seeds, samples)
            ],
        )

    def _slope(self, h: int, rows: NDArray[np.int64] | None) -> Array:
        if h in self.loss.columns:
            return self.slopes[:, self.loss.columns[h]] if rows is None else self.slopes[rows, self.loss.columns[h]]
        problem, beta, z = self.loss.problem, self.blocks[h - 1][2], self.zs[h - 1]
        c = problem.parameter[h - 1] if beta is None else beta
        return reference.d_sigma(problem.activation[h - 1], c, z if rows is None else z[rows])

    def _by_beta(self, h: int, beta: Array, rows: NDArray[np.int64] | None) -> NDArray[Any]:
        z = self.zs[h - 1]
        return reference.d_sigma_d_beta(self.loss.problem.activation[h - 1], beta, z if rows is None else z[rows])

    def _signals(
        self, seeds: Mapping[int, Array], rows: NDArray[np.int64] | None
    ) -> Iterator[tuple[int, Array, Array | None, Array | None]]:
        """Yield h, ∂/∂z_h, ∂/∂a_h and ∂/∂β_h (or None) on the samples `rows` (None: all), from the last seeded layer to 1.

        `seeds` are the direct derivatives of the differentiated function by z_h, for some layers h.
        """
        above: Array | None = None
        for h in range(max(seeds, default=1), 0, -1):
            delta, d_beta, beta = seeds.get(h), None, self.blocks[h - 1][2]
            if above is not None:
                through = above * self._slope(h, rows)
                delta = through if delta is None else delta + through
                if beta is not None:
                    d_beta = above * self._by_beta(h, beta, rows)
            assert delta is not None  # the last layer is seeded, the others follow from it
            yield h, delta, above, d_beta
            above = delta @ self.blocks[h - 1][0] if h > 1 else None


def _lengths(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def kinked(U: Potential) -> bool:
    """Return whether U is a network's loss with kinks."""
    return isinstance(U, NetworkPotential) and any(a.is_kinked for a in U.network.activations)


def other_kinks(U: Potential) -> str | None:
    """Return an activation of U whose kinks are others than one at z = 0 between straight lines, None where there is none."""
    if not isinstance(U, NetworkPotential):
        return None
    return next((str(a) for a in U.network.activations if a.has_other_kinks), None)
