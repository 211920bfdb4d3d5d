"""Schedules of the learning rate: a number, an array, or a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Float64Array


class Schedule(float):
    """The largest rate of a schedule, a float that knows all of them; NaN where only a run does.

    Parameters
    ----------
    each : tuple of float
        One for each step.
    function : callable, optional
        Of the step, to be evaluated by a run; `each` is then empty.
    """

    each: tuple[float, ...]
    function: Callable[[int], Any] | None

    def __new__(cls, each: tuple[float, ...], function: Callable[[int], Any] | None = None) -> Schedule:
        """Return the largest."""
        largest = super().__new__(cls, max(each, default=math.nan))
        largest.each, largest.function = each, function
        return largest

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return what copies are made of."""
        return self.each, self.function

    def later(self, step: int) -> Schedule:
        """Return the rates from a step on; the largest is that of all."""
        schedule = float.__new__(Schedule, self)
        schedule.each, schedule.function = self.each[step:], self.function
        return schedule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and (self.each, self.function) == (other.each, other.function)

    def __hash__(self) -> int:
        return hash((self.each, self.function))


def read(lr: Any) -> float:
    """Return an `lr` as a number, which is a `Schedule` where it is not the same for all steps.

    Raises
    ------
    TypeError, ValueError
        Unless it is a number > 0, a 1-dimensional array of numbers >= 0 that are not all 0, or a function.
    """
    if isinstance(lr, Schedule):
        return lr
    if callable(lr):
        return Schedule((), lr)
    if isinstance(lr, list | tuple | np.ndarray) and np.ndim(lr) > 0:
        each = checks.array(lr, "lr", ndim=1)
        if each.size == 0 or each.min() < 0 or each.max() == 0:
            raise ValueError(f"lr must have a rate >= 0 for each step, and one > 0; got {checks.describe(lr)}")
        return Schedule(tuple(each.tolist()))
    return checks.real(lr, "lr", minimum=0.0, strict=True)


def evaluated(function: Callable[[int], Any], steps: int) -> Float64Array:
    """Return the rates that a function of the step gives a run of so many steps."""
    each = [checks.real(function(k), f"lr({k})", minimum=0.0) for k in range(max(steps, 1))]
    return np.array(each)
