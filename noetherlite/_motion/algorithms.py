"""The table of algorithms: what configurations, files and recordings may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._base import checks
from .adagrad import AdaGrad
from .adam import Adam
from .baoab import BAOAB
from .base import Algorithm
from .conformal_leapfrog import ConformalLeapfrog
from .exponentiated_gradient import ExponentiatedGradient
from .gradient_descent import GD
from .heavy_ball import HeavyBall
from .implicit_midpoint import ImplicitMidpoint
from .langevin import SGLD
from .leapfrog import Leapfrog
from .lion import Lion
from .muon import Muon
from .nesterov import NAGD
from .nesterov_momentum import Nesterov
from .projected_descent import ProjectedGD
from .rmsprop import RMSProp
from .runge_kutta import RK4
from .sign_descent import SignGD
from .steepest_descent import SteepestDescent
from .yoshida import Yoshida

ALGORITHMS: dict[str, type[Algorithm]] = {
    kind.__name__: kind
    for kind in (
        GD,
        HeavyBall,
        Leapfrog,
        NAGD,
        ConformalLeapfrog,
        Yoshida,
        ImplicitMidpoint,
        RK4,
        ProjectedGD,
        Nesterov,
        Adam,
        RMSProp,
        AdaGrad,
        Lion,
        Muon,
        SignGD,
        SteepestDescent,
        ExponentiatedGradient,
        SGLD,
        BAOAB,
    )
}
# What algorithms of other libraries are here, by their names in small letters.
ELSEWHERE = {"sgd": "'GD' with batch_size= of the run, and with momentum 'HeavyBall' or 'Nesterov'"}


def specified(specification: Mapping[str, Any]) -> Algorithm:
    """Return the algorithm that `Algorithm.specification` describes."""
    settings = dict(specification)
    return ALGORITHMS[checks.one_of(settings.pop("name"), "algorithm", ALGORITHMS)](**settings)
