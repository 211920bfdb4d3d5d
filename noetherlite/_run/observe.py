"""Functions of the parameters that runs record beside the loss and the laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike
from .._problem.points import random_point
from .._problem.potentials import Potential
from .._problem.sharpness import sharpness, sharpness_bytes

SHARPNESS = "sharpness"

Observe = Mapping[str, Callable[[Array], ArrayLike]]


class Observables:
    """The functions x (P,) ↦ number or array that are evaluated at every record.

    Each is evaluated once at x, a start, to learn the shape of its values. `record_sharpness` is the number k of the largest
    eigenvalues of the Hessian, under the name "sharpness". ValueError or TypeError if an argument is wrong, or U has no Hessian.
    """

    def __init__(self, U: Potential, x: Array, observe: Observe | None, record_sharpness: int | None) -> None:
        self.named: dict[str, Callable[[Array], ArrayLike]] = {}
        if observe is not None:
            checks.instance(observe, "observe", Mapping, "a mapping of names to functions of the parameters")
            for name, function in observe.items():
                checks.instance(name, "a name in observe", str, "a string")
                checks.function(function, f"observe[{name!r}]")
                self.named[name] = function
        self.record_sharpness = record_sharpness
        self._functions = dict(self.named)
        if record_sharpness is not None:
            if SHARPNESS in self.named:
                raise ValueError(f"observe={list(self.named)} has a function of the name that record_sharpness takes")
            k = checks.integer(record_sharpness, "record_sharpness", minimum=1, maximum=U.n_params)
            sharpness(U, x, k)  # for its own objections to U
            self._functions[SHARPNESS] = lambda x: _sharpness(U, x, k)
        self.shapes = {name: self._value(name, x).shape for name in self._functions}

    def empty(self, E: int, rows: int) -> dict[str, Array]:
        """Return arrays of NaN for the values of E runs."""
        return {name: np.full((E, rows, *shape), np.nan) for name, shape in self.shapes.items()}

    def values(self, x: Array) -> dict[str, Array]:
        """Return the value of every function at x, each of which is given a copy.

        ValueError or TypeError if a value is no real number or array, or of another shape than the first.
        """
        out = {}
        for name, shape in self.shapes.items():
            out[name] = self._value(name, x)
            if out[name].shape != shape:
                raise ValueError(f"observe[{name!r}] returned shape {out[name].shape}, and {shape} at the start")
        return out

    def _value(self, name: str, x: Array) -> Array:
        value: Any = np.asarray(self._functions[name](x.copy()))
        if value.dtype.kind not in "fiub":
            raise TypeError(
                f"observe[{name!r}] must return a real number or an array of them, got {checks.describe(value)}"
            )
        return np.asarray(value, np.float64)


def _sharpness(U: Potential, x: Array, k: int) -> Array:
    """Return the k largest eigenvalues, from the same start of Lanczos' method everywhere; NaN where they do not converge."""
    try:
        return sharpness(U, np.asarray(x, np.float64), k)
    except ValueError:  # a run is worth more than one of its numbers
        return np.full(k, np.nan)


def observed_bytes(U: Potential, observe: Observe | None, record_sharpness: int | None) -> tuple[int, int]:
    """Return the bytes of the observables of a record, and those that their evaluation takes for a while.

    The shapes of what functions return are found at random parameters.
    """
    seen = observe is not None
    shapes = Observables(U, random_point(U, np.random.default_rng(0)), observe, None).shapes if seen else {}
    numbers = sum(math.prod(shape) for shape in shapes.values())
    if record_sharpness is None:
        return 8 * numbers, 0
    k = checks.integer(record_sharpness, "record_sharpness", minimum=1, maximum=U.n_params)
    return 8 * (numbers + k), sharpness_bytes(U, k)
