"""Tolerances of laws for round-off, and findings of broken laws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._base.floating import rms
from .._base.types import Array, Float64Array
from .law import Law
from .round_off import MANY, relative

_TINY = float(np.finfo(float).tiny)


def scaled(law: Law, x: Mapping[str, Array], g: Mapping[str, Array]) -> tuple[Float64Array, Float64Array]:
    """Return a law's defect and its scale."""
    return law.total(x, g), scale_of(law, x, g)


def scale_of(law: Law, x: Mapping[str, Array], g: Mapping[str, Array]) -> Float64Array:
    """Return the scale of a law's defect.

    For a gradient that should be zero, it is the root mean square of the largest gradient.
    """
    if law.kind == "null":
        return np.full(law.size, max(float(rms(gradient)) for gradient in g.values()))
    return law.scale(x, g)


def ratio(defect: Float64Array, scale: Float64Array) -> Float64Array:
    """Return |defect|/scale, 0 where all terms are zero."""
    return np.asarray(np.abs(defect) / divisors(scale))


def divisors(scale: Float64Array) -> Float64Array:
    """Return the divisor of a defect: its scale, infinity where that is zero."""
    return np.where(scale > 0, np.maximum(scale, _TINY), np.inf)


def allowance(law: Law, eps: float, summands: int | None = None) -> float:
    """Return the ratio that round-off allows, of gradients that are sums of so many terms, or of few.

    Signs of rounding errors are as good as random: sums of n have √n of them, and a norm of n entries √n/n of that. A gradient that
    should vanish is nothing but round-off, of terms that may be much larger than the gradients it is compared with.
    """
    terms = max(math.prod(m.leg.seen_shape) / m.leg.size for m in law.members)
    return relative(eps, max(summands or 0, MANY if law.kind == "null" else 0)) * (1 + math.log2(1 + terms) / 8)


def limit(law: Law, eps: float, summands: int | None = None) -> float:
    """Return the ratio beyond which a law is broken: where the number of summands is not known, what 2²⁰ would allow."""
    return allowance(law, eps, MANY if summands is None else summands)


def leeway(law: Law, eps: float, summands: int | None = None) -> float:
    """Return limit/allowance of a law: 1 if the number of summands is known."""
    return limit(law, eps, summands) / allowance(law, eps, summands)


def judge(law: Law, params: Mapping[str, Array], grads: Mapping[str, Array], eps: float) -> tuple[Float64Array, float]:
    """Return |defect|/scale of every component for a gradient, and the ratio that round-off allows."""
    return ratio(*scaled(law, params, grads)), allowance(law, eps)


def largest(ratios: Float64Array) -> tuple[float, tuple[int, ...]]:
    """Return the largest ratio and where it is."""
    worst = int(np.argmax(ratios))
    return float(ratios.reshape(-1)[worst]), tuple(int(k) for k in np.unravel_index(worst, ratios.shape))


@dataclass(frozen=True)
class Finding:
    """One law that broke.

    Attributes
    ----------
    law : Law
        The law.
    step : int or None
        The step, counted in calls, at which it was first seen broken; None of checkpoints.
    where : tuple of int
        The component that is furthest off: (entry,), or (block, row, column).
    ratio, tolerance : float
        |defect| relative to |c||X||G|, and what round-off allows.
    reason : str
        What kind of fault looks like that, where the terms tell.
    subject : str
        In what it broke: "gradient" or "averaged gradient".
    """

    law: Law
    step: int | None
    where: tuple[int, ...]
    ratio: float
    tolerance: float
    reason: str = ""
    subject: str = "gradient"

    def __str__(self) -> str:
        place = ""
        if math.prod(self.law.blocks or (self.law.size,)) > 1 and self.where:
            inside = ", ".join(map(str, self.where))
            place = f", component {inside}" if len(self.where) == 1 else f", block {self.where[0]}"
        subject = "" if self.subject == "gradient" else f" in the {self.subject}"
        since = "" if self.step is None else f" since step {self.step}"
        text = (
            f"{self.law.name or self.law.formula} is broken{subject}{since}{place}: {self.ratio:.1e} of its terms,"
            f" where round-off allows {self.tolerance:.0e}"
        )
        return f"{text}; {self.reason}" if self.reason else text
