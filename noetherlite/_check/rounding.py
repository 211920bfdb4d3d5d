"""What rounding may do to a gradient beyond ε|∇U|: where the loss is badly conditioned, saturated, or has a kink nearby."""

from __future__ import annotations

import numpy as np

from .._base.types import Float64Array, IntArray
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .rows import ROUND_OFF

_TRIALS = 16  # points within round-off of a record that are tried, each on either side of a kink at even odds
_PROBES = 4  # of these, those that measure the conditioning; kinks are crossed by some only, so that the least counts


class Rounding:
    """Gradients of U, of all samples or of some, and what rounding their inputs at ε makes of them.

    Parameters
    ----------
    U : Potential
        The potential.
    eps : float
        Machine ε of the forward and backward pass.
    """

    def __init__(self, U: Potential, eps: float) -> None:
        self.U, self.eps = U, eps

    def of(self, batch: IntArray | None) -> Potential:
        """Return the potential of these samples, or of all."""
        U = self.U
        if batch is None or not isinstance(U, NetworkPotential):
            return U
        return U.network.potential(U.X[batch], U.y[batch])

    def nearest(
        self, x: Float64Array, want: Float64Array, got: Float64Array, noise: float, batch: IntArray | None
    ) -> tuple[Float64Array, float]:
        """Return the gradient within round-off of x that is nearest to `got`, and its noise.

        Where a sample sits on a kink of relu, the record does not tell on which side it was: of points within round-off of x
        one has the gradient of either side. The noise is `noise` and what these points change at least, twice: with many
        samples near kinks, or terms that cancel, all of them change something.
        """
        V = self.of(batch)
        rng = np.random.default_rng(0)
        saturation = self.saturation(V, x, want)
        best, distance = want, float(np.linalg.norm(got - want))
        least = np.inf
        for trial in range(_TRIALS):
            gradient = V.gradient(x * (1 + ROUND_OFF * self.eps * rng.uniform(-1, 1, x.size)))
            if not np.isfinite(gradient).all():
                continue
            if trial < _PROBES:
                least = min(least, float(np.linalg.norm(gradient - want)))
            if np.linalg.norm(got - gradient) < distance:
                best, distance = gradient, float(np.linalg.norm(got - gradient))
            if trial + 1 >= _PROBES and distance <= noise + 2 * least + saturation:
                break
        return best, noise + 2 * (least if np.isfinite(least) else 0.0) + saturation

    def saturation(self, V: Potential, x: Float64Array, want: Float64Array) -> float:
        """Return what errors of ε in softmax(f) − y make of the gradient: of the size of that of other labels."""
        if not isinstance(V, NetworkPotential) or not V.network.loss_function.saturates:
            return 0.0
        other = V.network.potential(V.X, (V.y + 1) % V.network.widths[-1]).gradient(x)
        return ROUND_OFF * self.eps * float(np.linalg.norm(other - want))
