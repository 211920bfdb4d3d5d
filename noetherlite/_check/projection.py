"""The levels onto which an algorithm projects its steps: those of the scaling laws at the start."""

from __future__ import annotations

import numpy as np

from .._base.types import Float64Array
from .._kernels.reference_laws import pair, projected
from .._problem.potentials import Potential
from .._run.frozen import levels
from .._symmetry.records import table
from .forces import Forces


class ScalingLevels:
    """The levels of all scaling laws of a potential that move no frozen block, in the metric of the rates."""

    def __init__(self, U: Potential, forces: Forces) -> None:
        self._laws = table(levels(U, forces.algorithm), U.n_params, "float64")
        self._forces, self._levels = forces, np.empty(0)

    def start(self, x: Float64Array) -> None:
        """Set the levels to those of a point."""
        self._levels = 0.5 * pair(self._laws, x, self._forces.of_displacement(x))

    def onto(self, x: Float64Array) -> Float64Array:
        """Return x with every hidden neuron scaled to its level."""
        return projected(self._laws, x, self._levels, self._forces.numbers.shares) if np.isfinite(x).all() else x
