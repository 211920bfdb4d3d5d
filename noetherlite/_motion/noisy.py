"""Algorithms with noise: what Langevin dynamics of all kinds share."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from .base import Algorithm, no_gradients
from .settings import NOT_NEGATIVE


@dataclass(frozen=True, repr=False)
class Noisy(Algorithm, abstract=True):
    """An algorithm whose steps have noise of the temperature T."""

    temperature: float = field(default=1.0, metadata=NOT_NEGATIVE)

    has_noise = True
    is_linear = False  #: the noise of other coordinates is another
    gain = math.inf
    implies_gradients = False  #: noise is added to them
    implied_gradients = no_gradients
    starts_anywhere = False  #: they depend on the noise of their number

    @property
    def without_noise(self) -> Algorithm:
        """The algorithm at T = 0."""
        return dataclasses.replace(self, temperature=0.0)

    @property
    def constants(self) -> tuple[float, ...]:
        """T."""
        return (self.temperature,)
