"""The numbers of one row of a report, added step by step, and the rows of steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .._base.types import Float64Array
from .rows import MotionRow, Tally, distinct, ratio

Numbers = tuple[Float64Array, Float64Array, Float64Array, Float64Array]  # t, residual, tolerance, scale


@dataclass
class Series:
    """One row of the report, added step by step: its tally, and the numbers of all steps or of the worst one."""

    tally: Tally = field(default_factory=Tally)
    numbers: list[Numbers] = field(default_factory=list)

    def add(self, store_all: bool, at_the_front: bool, numbers: Numbers) -> None:
        """Add the numbers of steps, at the front or at the end; store all of them, or those of the worst step so far."""
        worst = self.tally.worst[0]
        self.tally.add(*numbers, at_the_front)
        if store_all:
            self.numbers.insert(0 if at_the_front else len(self.numbers), numbers)
        elif self.tally.worst[0] > worst:
            size = ratio(numbers[1], numbers[2]).reshape(numbers[0].size, -1).max(axis=1)
            k = int(np.argmax(size))
            t, residual, tolerance, scale = (a[k : k + 1].copy() for a in numbers)
            self.numbers = [(t, residual, tolerance, scale)]

    def arrays(self, shape: tuple[int, ...]) -> Numbers:
        """Return t, residual, tolerance and scale of the stored steps."""
        if not self.numbers:
            empty = np.empty((0, *shape))
            return np.empty(0), empty, empty, empty
        t, residual, tolerance, scale = (np.concatenate(parts) for parts in zip(*self.numbers, strict=True))
        return t, residual, tolerance, scale


class StepRow(MotionRow):
    """The row of one block's steps: the displacement between rows against that of the optimiser's rule."""

    @property
    def finding(self) -> str:
        """A sentence about the error in this block's steps."""
        if self.proportional and abs(self.factor) > 2 * self.remainder:
            return f"{self.name}: {distinct(self.factor, 1.0)} times as long as the algorithm's{self.share}"
        return f"{self.name}: not the algorithm's, from the averages and the gradient that it had{self.share}"
