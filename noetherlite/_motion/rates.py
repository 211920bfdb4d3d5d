"""Schedules of the learning rate: a number, an array, or a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Float64Array


class Rates(NamedTuple):
    """What an `lr` says."""

    largest: float  # NaN where only a run knows
    each: tuple[float, ...]  # one for each step; none where it is constant
    function: Callable[[int], Any] | None = None  # of the step, to be evaluated by a run


def read(lr: Any) -> Rates:
    """Return what an `lr` says.

    Raises
    ------
    TypeError, ValueError
        Unless it is a number > 0, a 1-dimensional array of numbers >= 0 that are not all 0, or a function.
    """
    if callable(lr):
        return Rates(math.nan, (), lr)
    if isinstance(lr, list | tuple | np.ndarray) and np.ndim(lr) > 0:
        each = checks.array(lr, "lr", ndim=1)
        if each.size == 0 or each.min() < 0 or each.max() == 0:
            raise ValueError(f"lr must have a rate >= 0 for each step, and one > 0; got {checks.describe(lr)}")
        return Rates(float(each.max()), tuple(each.tolist()))
    return Rates(checks.real(lr, "lr", minimum=0.0, strict=True), ())


def evaluated(function: Callable[[int], Any], steps: int) -> Float64Array:
    """Return the rates that a function of the step gives a run of so many steps."""
    each = [checks.real(function(k), f"lr({k})", minimum=0.0) for k in range(max(steps, 1))]
    return np.array(each)
