"""A step that is off, with what is needed to tell why, and when a cause is said to explain it."""

from __future__ import annotations

from dataclasses import dataclass

from .._base.types import Float64Array

# What a cause may leave: this part of what is off where round-off hides the rest, and else next to nothing.
EXPLAINED = 0.02
EXACT = 1e-6


@dataclass(frozen=True)
class Case:
    """One step that is off: the rows around it and their batches, where the gradient was taken, and what it was."""

    record: int
    rows: Float64Array
    batches: tuple[object, ...]
    has_previous: bool
    point: Float64Array
    got: Float64Array
    want: Float64Array
    noise: float

    @property
    def here(self) -> int:
        """Index in `rows` of the row from which the step is taken."""
        return int(self.has_previous)

    @property
    def batch(self) -> object:
        """The samples of the gradient; None where they are all, or not known."""
        return self.batches[self.here]


def explained(left: float, off: float, noise: float) -> bool:
    """Return whether a cause that leaves this much of what is off is the cause."""
    return left <= EXPLAINED * off and left <= max(2 * noise, EXACT * off)
