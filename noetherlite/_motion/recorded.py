"""Requirements of a recording of an algorithm's steps, the rates of a schedule and clipping included."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np

from .._base.types import BoolArray, Float64Array, IntArray
from .base import Algorithm
from .rates import Schedule

NO_RATE = float(np.finfo(np.float64).eps)  # of the largest rate: what a rate of zero counts as where it is divided by


def from_step(algorithm: Algorithm, step: int) -> Algorithm:
    """Return the algorithm whose first rate is that of a step; itself without a schedule."""
    if not isinstance(algorithm.lr, Schedule) or step == 0:
        return algorithm
    later = copy.copy(algorithm)
    object.__setattr__(later, "lr", algorithm.lr.later(step))
    return later


def gains(algorithm: Algorithm, steps: IntArray, followed: bool = False) -> Float64Array:
    """Return the gain at each of these steps; with a velocity that is not `followed`, positions of the step before enter too."""
    if not algorithm.rates:
        return np.full(len(steps), algorithm.gain * algorithm.largest_metric)
    rates = np.maximum(algorithm.rates, NO_RATE * algorithm.lr)
    of_two = algorithm.has_velocity and not followed
    least = np.minimum(rates[steps], rates[np.maximum(steps - 1, 0)]) if of_two else rates[steps]
    gain = {rate: dataclasses.replace(algorithm, lr=float(rate)).gain for rate in np.unique(least)}
    return np.array([gain[rate] for rate in least]) * algorithm.largest_metric


def intervals(algorithm: Algorithm, x: Float64Array) -> tuple[Float64Array, BoolArray]:
    """Return the divisor of the displacement of each step of positions (R, P), and whether that displacement says nothing.

    That is the time per step, shape (R − 1,); where a schedule has a rate of zero, at which nothing may move, one of round-off.
    """
    h = algorithm.step_times(len(x) - 1)
    if not algorithm.rates:
        return h, np.zeros(len(h), dtype=bool)
    return np.maximum(h, NO_RATE * algorithm.dt), (h == 0) & (x[1:] == x[:-1]).all(axis=1)


def clipped(algorithm: Algorithm, gradient: Float64Array) -> Float64Array:
    """Return ∇U no longer than the algorithm's `clip`."""
    if algorithm.clip is None:
        return gradient
    return np.asarray(gradient * min(1.0, algorithm.clip / (float(np.linalg.norm(gradient)) + 1e-6)))
