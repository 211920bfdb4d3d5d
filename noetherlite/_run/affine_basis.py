"""Networks of linear layers on an affine basis of their samples: an affine function is known from its values at n_0 + 1 points.

Samples X (N, n_0) are affine combinations X = CP of points P (r, n_0), r = n_0 + 1, so that the outputs are f(X) = C f(P). A pass
takes r points through the layers, and all N samples only through two products by C, of f(P) and of ∂U/∂f, and the loss. Parameters
and laws are those of the network, and U is the same function of them up to round-off.
"""

from __future__ import annotations

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout
from .._kernels.cpu import tiles
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Potential

# A basis pays if a gradient takes at the most this part of its time, and if the run saves twice the work of finding it: a factorisation, a
# tenth as fast as the products of a pass, and what takes as long as so many operations of these whatever the size.
_PART, _WORTH, _FIXED = 0.8, 20, 40_000_000
# How much longer an operation takes with as few samples as there are points, and the part of a shared gradient that is not shared
# (`benchmarks/RESULTS.md`, Scaling).
_SLOWER, _SERIAL = 1.5, 0.4


class AffineBasis:
    """Points whose affine combinations the samples of a potential are, filled up by zeros to whole vectors of numbers of `dtype`.

    Attributes
    ----------
    n : int
        r, without those that fill up.
    P : ndarray, shape (r, n_0)
        The points. Each column is one of X, rotated and scaled, so that small features are as exact as large ones.
    readout : NetworkPotential
        U as a function of f(P), the weights of a network of one layer. Its inputs are the samples' coordinates C (N, r): CP = X,
        each row has the sum 1, and CᵀC = (N/r) I.
    """

    def __init__(self, U: NetworkPotential, dtype: str) -> None:
        network, (N, n) = U.network, U.X.shape
        self.n, self._network, self._dtype = n + 1, network, dtype
        Q, R = np.linalg.qr(np.c_[np.ones(N), np.asarray(U.X, np.float64)])
        # C = √(N/r) QH, with the reflection H that exchanges the diagonal and the first axis, or its opposite: C times the diagonal is
        # √(N/r) times the first column of Q, which is the same for all samples, so that rows sum to 1.
        scale, normal = np.sqrt(N / self.n), np.full(self.n, -(self.n**-0.5))
        normal[0] += np.sign(Q[0, 0])
        more = tiles.whole_vectors(self.n, dtype) - self.n
        self.P = np.pad(_reflected(R[:, 1:].T / scale, normal).T, ((0, more), (0, 0)))
        C = np.pad(_reflected(scale * Q, normal), ((0, 0), (0, more)))
        one_layer = Network([len(self.P), network.widths[-1]], [], False, network.loss)
        self.readout = NetworkPotential(one_layer, C, U.y, **U.given_weights)

    def __str__(self) -> str:
        return f"an affine basis of {self.n} points instead of {self.readout.n_samples} samples"

    def describe(self) -> dict[str, object]:
        """Return the entry of a specification."""
        return {"coordinates": "affine", "n": self.n}

    def problems(self) -> tuple[layout.Problem, layout.Problem]:
        """Return the network on the points, and the outer problem that is their loss."""
        problem = self._network.problem(self.P, None, self._dtype)
        return problem._replace(loss=layout.OF_POINTS), self.readout.problem(self._dtype)


def choose(U: Potential, steps: int, drawn: int, dtype: str) -> AffineBasis | None:
    """Return the basis for a run of so many steps, of gradients of `drawn` samples, if it has one and that pays, else None.

    Samples are shared by threads, points are not. Whether there are threads does not matter, as last bits would depend on it.
    """
    if not isinstance(U, NetworkPotential) or drawn < len(U.X) or not all(a.is_linear for a in U.network.activations):
        return None
    (N, n), widths = U.X.shape, np.array(U.network.widths)
    sizes, r = widths[1:] * widths[:-1], tiles.whole_vectors(n + 1, dtype)
    if sizes.max() >= tiles.BLAS_FROM:
        return None  # the readout would be slower, whose coordinates fill more than a cache
    whole = _shared(6 * N * int(sizes.sum()), N)
    reduced = _SLOWER * 6 * r * int(sizes.sum()) + _shared(6 * N * r * int(widths[-1]), N)
    pays = reduced <= _PART * whole and steps * (whole - reduced) >= _WORTH * 4 * N * n * n + _FIXED
    return AffineBasis(U, dtype) if pays else None


def _shared(flops: int, N: int) -> float:
    """Return the operations of N samples by which the time of a gradient is counted if threads share it."""
    return flops * (_SERIAL + (1 - _SERIAL) / tiles.number_of_parts(flops, N))


def _reflected(A: Float64Array, normal: Float64Array) -> Float64Array:
    """Return the rows of A reflected at the plane with this normal."""
    return A - np.outer(A @ normal, normal * (2 / (normal @ normal)))
