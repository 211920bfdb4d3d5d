"""The table of algorithms: what configurations, files and recordings may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._base import checks
from .base import Algorithm
from .conformal_leapfrog import ConformalLeapfrog
from .gradient_descent import GD
from .heavy_ball import HeavyBall
from .leapfrog import Leapfrog
from .nesterov import NAGD

ALGORITHMS: dict[str, type[Algorithm]] = {
    kind.__name__: kind for kind in (GD, HeavyBall, Leapfrog, NAGD, ConformalLeapfrog)
}


def specified(specification: Mapping[str, Any]) -> Algorithm:
    """Return the algorithm that `Algorithm.specification` describes."""
    settings = dict(specification)
    return ALGORITHMS[checks.one_of(settings.pop("name"), "algorithm", ALGORITHMS)](**settings)
