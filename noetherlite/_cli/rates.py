"""Entries of a configuration in the place of a number: a schedule of learning rates, and rates or decays by block."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import numpy as np

from .._motion.base import Algorithm
from .._motion.schedule import schedule
from .._problem.network import NetworkPotential
from .signatures import call, keys

_BY_BLOCK = ("lr", "weight_decay")


def read(rate: Any, steps: Any, errors: list[str]) -> Any:
    """Return the rate that [algorithm] lr gives, and add its errors: a table with the key `schedule` is a call of `nl.schedule`.

    Parameters
    ----------
    rate : object
        One value of lr.
    steps : object
        Those of [run], which a schedule has if it does not say how many.
    errors : list of str
        Of the configuration.
    """
    if not isinstance(rate, Mapping):
        return rate
    if "schedule" not in rate:
        return {name: read(one, steps, errors) for name, one in rate.items()}
    given = {"kind" if key == "schedule" else key: value for key, value in rate.items()}
    rates, faults = call(schedule, {"steps": steps, **given}, keys(schedule))
    errors += [f"[algorithm] lr: {error}" for error in faults]
    return 1.0 if faults else rates


def objections(algorithms: list[Algorithm], U: NetworkPotential | None) -> list[str]:
    """Return an error if blocks are named that the network does not have."""
    try:
        for algorithm in algorithms:
            if U is not None:
                algorithm.shares(U.network.blocks)
    except ValueError as error:
        return [f"[algorithm] {error}"]
    return []


def allowed(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return parameters with their types, but for tables of blocks and arrays of rates, which the algorithm itself judges."""
    judged = {name for name in _BY_BLOCK if isinstance(values.get(name), Mapping | np.ndarray)}
    return {name: p.replace(annotation=Any) if name in judged else p for name, p in parameters.items()}
