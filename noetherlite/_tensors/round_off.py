"""The round-off of laws: of sums over samples and positions, and of terms that cancel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from .._base.precision import EPSILON
from .._base.types import Float64Array

_NUMBERS = 8  # multiples of ε times the scale of a law that a correct gradient may leave; transformers leave two
COARSE = 1e-6  # ε above which sums are near zero by chance
MANY = 1 << 20  # summands: as many are assumed of gradients that should vanish, and no gradient is taken to have more
_GROWTH = 8  # of round-off between two checks; what grows by more is a fault
_MOST = 256  # times the tolerance, at most, that round-off may have grown to
_ALL = slice(None)


def relative(eps: float, summands: int) -> float:
    """Return the round-off of a gradient relative to its size; 0 summands stand for some thousands, which libraries sum in blocks.

    That of a sum of N terms, one after the other, has the standard deviation ε√N/√24 relative to the sum: N roundings of partial
    sums S_k of size √(k/N) |S_N|, whose signs are as good as random, each uniform within ε|S_k|/2. Five of these are allowed. What
    is narrower than single precision is summed in single precision.
    """
    return _NUMBERS * eps + min(eps, EPSILON["float32"]) * math.sqrt(summands)


def many_summands(excess: float) -> str:
    """Return a text with the number of summands that would explain a ratio of `excess` times the tolerance for few."""
    count = math.ceil((_NUMBERS * (excess - 1)) ** 2)
    return f"round-off is as large if gradients sum over {count:,} samples and positions or more; give summands"


def verdict(ratio: float, tolerance: float, limit: float = 0.0) -> str:
    """Return "holds", "broken", or "not decidable": up to the limit, and where nothing was checked, of which the tolerance is zero."""
    if tolerance == 0 or tolerance < ratio <= limit:
        return "not decidable"
    return "holds" if ratio <= tolerance else "broken"


class RoundOffHistory:
    """The round-off of laws in a run so far, and what it may be in the next check.

    A gradient near a minimum is a sum of terms that cancel, and its round-off is that of the terms, which are not known. It grows
    gradually while they do, or while what it is compared with shrinks; a fault comes from one check to the next.
    """

    def __init__(self, n_laws: int) -> None:
        # by law: the ratio that was largest relative to what was allowed, what was allowed, and what is broken
        self.worst, self.tolerance, self.limit = np.zeros(n_laws), np.zeros(n_laws), np.zeros(n_laws)
        self._level = np.zeros(n_laws)  # the largest ratio within the limit, in tolerances of one check
        self._factor = np.ones(n_laws)  # tolerances of one check that are allowed

    def allowed(self, tolerances: Float64Array, which: Sequence[int] | slice = _ALL) -> Float64Array:
        """Return the ratios that are allowed some laws now, from the tolerances of a single check."""
        return tolerances * self._factor[which]

    def add(
        self,
        ratios: Float64Array,
        tolerances: Float64Array,
        limits: Float64Array,
        which: Sequence[int] | slice = _ALL,
    ) -> None:
        """Take the ratios of a check into account; those beyond their limits are no round-off."""
        worst, tolerance, level = self.worst[which], self.tolerance[which], self._level[which]
        allowed = self.allowed(tolerances, which)
        larger = ratios * tolerance >= worst * allowed
        if larger.any():
            self.worst[which], self.tolerance[which], self.limit[which] = np.where(
                larger, (ratios, allowed, limits), (worst, tolerance, self.limit[which])
            )
        if (ratios > level * tolerances).any():
            self._level[which] = np.where(ratios <= limits, np.maximum(level, ratios / tolerances), level)
            self._factor[which] = np.clip(_GROWTH * self._level[which], 1, _MOST)

    def verdicts(self) -> Iterator[tuple[float, float, str]]:
        """Yield worst ratio, tolerance and verdict of every law."""
        for worst, tolerance, limit in zip(*np.stack([self.worst, self.tolerance, self.limit]).tolist(), strict=True):
            yield worst, tolerance, verdict(worst, tolerance, limit)
