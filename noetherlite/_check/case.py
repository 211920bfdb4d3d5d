"""A wrong step with the data around it, and the criterion by which a cause explains it."""

from __future__ import annotations

from dataclasses import dataclass

from .._base.types import Float64Array

# Largest relative remainder of an explained error: the first where round-off is as large as the remainder, the second elsewhere.
EXPLAINED = 0.02
EXACT = 1e-6


@dataclass(frozen=True)
class Case:
    """One wrong step."""

    record: int  # row of the recording from which the step is taken
    # rows, batches: that row, the one before it (if `has_previous`) and the next, with their minibatches
    rows: Float64Array
    batches: tuple[object, ...]
    has_previous: bool
    # point, recorded, expected: shape (P,): where the gradient was taken, the gradient that the step implies, and ∇U
    point: Float64Array
    recorded: Float64Array
    expected: Float64Array
    noise: float  # round-off of |recorded|

    @property
    def here(self) -> int:
        """Index in `rows` of the row from which the step is taken."""
        return int(self.has_previous)

    @property
    def batch(self) -> object:
        """The samples of the gradient; None for all samples, and where they are not known."""
        return self.batches[self.here]


def explained(remainder: float, error: float, noise: float) -> bool:
    """Return whether a cause that leaves this remainder of an error explains it."""
    return remainder <= EXPLAINED * error and remainder <= max(2 * noise, EXACT * error)
