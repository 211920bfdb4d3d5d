"""Algorithms with noise: what Langevin dynamics of all kinds share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from .base import Algorithm, Gradients


@dataclass(frozen=True, repr=False)
class Noisy(Algorithm, abstract=True):
    """An algorithm whose steps have noise of the temperature T."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "temperature", checks.real(self.temperature, "temperature", minimum=0.0))

    @property
    def has_noise(self) -> bool:
        """True."""
        return True

    @property
    def without_noise(self) -> Algorithm:
        """The algorithm at T = 0."""
        return dataclasses.replace(self, temperature=0.0)

    @property
    def constants(self) -> tuple[float, ...]:
        """T."""
        return (self.temperature,)

    @property
    def is_linear(self) -> bool:
        """False: the noise of other coordinates is another."""
        return False

    @property
    def gain(self) -> float:
        """Infinite: positions do not give the gradient back."""
        return float("inf")

    @property
    def implies_gradients(self) -> bool:
        """False: noise is added to them."""
        return False

    @property
    def starts_anywhere(self) -> bool:
        """False: they depend on the noise of their number."""
        return False

    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Return none."""
        return np.arange(0), x[:0], x[:0]
