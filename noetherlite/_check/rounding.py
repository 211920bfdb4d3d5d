"""The round-off of a gradient beyond ε|∇U|: where the loss is ill-conditioned, saturated, or has a kink nearby."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._base.types import Float64Array, IntArray
from .._problem.network import NetworkPotential
from .._problem.potentials import Potential
from .rows import ROUND_OFF

_TRIALS = 16  # random points within round-off of a record; each lies on either side of a kink with even odds
_PROBES = 4  # of these, those that measure the conditioning: the smallest change counts, as only some cross a kink


class Rounding:
    """Gradients of U, on all samples or on some, and their change when their argument is rounded at ε.

    `eps` is machine ε of the forward and backward pass; `clip` is what is done to a gradient before it is compared.
    """

    def __init__(
        self, U: Potential, eps: float, clip: Callable[[Float64Array], Float64Array] = lambda gradient: gradient
    ) -> None:
        self.U, self.eps, self.clip = U, eps, clip
        self._relabelled: tuple[Potential, Potential] | None = None  # a potential, and the same with other labels

    def of(self, batch: IntArray | None) -> Potential:
        """Return the potential on these samples; None means all."""
        U = self.U
        if batch is None or not isinstance(U, NetworkPotential):
            return U
        return U.part(batch)

    def nearest(
        self, x: Float64Array, expected: Float64Array, recorded: Float64Array, noise: float, batch: IntArray | None
    ) -> tuple[Float64Array, float]:
        """Return, of the gradients at points within round-off of x, the one nearest to `recorded`, and its noise.

        Where a sample lies on a kink of relu, the record does not determine its side; random points have either. The noise
        is `noise` plus twice the smallest change of the gradient among these points, which is not zero with many samples
        near kinks, or with terms that cancel.
        """
        V = self.of(batch)
        rng = np.random.default_rng(0)
        saturation = self.saturation(V, x, expected)
        best, distance = expected, float(np.linalg.norm(recorded - expected))
        smallest_change = np.inf
        for trial in range(_TRIALS):
            gradient = self.clip(V.gradient(x * (1 + ROUND_OFF * self.eps * rng.uniform(-1, 1, x.size))))
            if not np.isfinite(gradient).all():
                continue
            if trial < _PROBES:
                smallest_change = min(smallest_change, float(np.linalg.norm(gradient - expected)))
            if np.linalg.norm(recorded - gradient) < distance:
                best, distance = gradient, float(np.linalg.norm(recorded - gradient))
            if trial + 1 >= _PROBES and distance <= noise + 2 * smallest_change + saturation:
                break
        return best, noise + 2 * (smallest_change if np.isfinite(smallest_change) else 0.0) + saturation

    def saturation(self, V: Potential, x: Float64Array, expected: Float64Array) -> float:
        """Return the effect of errors of ε in softmax(f) − y on the gradient, estimated by the gradient for other labels."""
        if not isinstance(V, NetworkPotential) or not V.network.loss_function.saturates:
            return 0.0
        if self._relabelled is None or self._relabelled[0] is not V:
            others = V.network.loss_function.others(V.y, V.network.widths[-1])
            self._relabelled = V, V.part(slice(None), others)
        other = self.clip(self._relabelled[1].gradient(x))
        return ROUND_OFF * self.eps * float(np.linalg.norm(other - expected))
