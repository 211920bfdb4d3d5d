"""Algorithms with noise: what Langevin dynamics of all kinds share."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from .._base.types import Float64Array
from .._kernels.discrete_laws import no_coefficients
from .._kernels.jit import scalar
from .._kernels.rules import Coordinate, Move
from .base import Algorithm, Gradients, no_gradients
from .settings import NOT_NEGATIVE


@scalar
def _spread(_: float, at: Coordinate) -> tuple[float, ...]:
    """Return √share ξ, the noise in the metric M = 1/share: its covariance is M⁻¹."""
    return (math.sqrt(at.share) * at.y,)


SPREAD = Move(no_coefficients, _spread, ("y",), by_block=True)


@dataclass(frozen=True, repr=False)
class Noisy(Algorithm, abstract=True):
    """An algorithm whose steps have noise of the temperature T."""

    temperature: float = field(default=1.0, metadata=NOT_NEGATIVE)

    has_noise = True
    is_linear = False  #: the noise of other coordinates is another
    implies_gradients = False  #: noise is added to them
    implied_gradients = no_gradients
    starts_anywhere = False  #: they depend on the noise of their number
    takes_schedule = True
    takes_blocks = True

    @property
    def without_noise(self) -> Algorithm:
        """The algorithm at T = 0."""
        return dataclasses.replace(self, temperature=0.0)

    @property
    def constants(self) -> tuple[float, ...]:
        """T."""
        return (self.temperature,)

    # --- for `check` --------------------------------------------------------------------------------------------------

    rows_of_noise: ClassVar[int] = 2
    """Rows that imply a vector of independent numbers; the last of them begins the next ones."""
    noise_needs_gradients: ClassVar[bool] = False
    """Whether they do along g(x) only with ∇U, as it is taken where the noise has moved x already."""

    @abstractmethod
    def noise_of(self, h: float) -> float:
        """Return σ, the factor of the normal numbers of a step that takes the time h."""

    @abstractmethod
    def gradients_with(
        self, x: Float64Array, numbers: Float64Array, t0: float, velocity: Float64Array | None
    ) -> Gradients:
        """Return the gradients that positions (R, P) imply together with the normal numbers (R − 1, P), as `implied_gradients`."""

    @abstractmethod
    def implied_noise(self, x: Float64Array, force: Float64Array, h: Float64Array) -> tuple[Float64Array, float, float]:
        """Return the noise that positions and gradients imply.

        Parameters
        ----------
        x : ndarray, shape (rows_of_noise, P)
            Positions.
        force : ndarray, shape (rows_of_noise − 1, P)
            ∇U + λx at all but the last.
        h : ndarray, shape (rows_of_noise − 1,)
            Times of the steps.

        Returns
        -------
        numbers : ndarray, shape (P,)
            N(0, 1) each, whatever x[0] is.
        per_length, per_force : float
            What a unit of x, and of the last of `force`, adds to them.
        """
