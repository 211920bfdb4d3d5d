"""The exact law of every optimiser that averages gradients: Adam, AdamW, Lion, Muon, SGD with momentum (theory §13)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import Array, Float64Array
from .finding import Finding, allowance, largest, leeway, ratio, scaled
from .law import SHIFTS, Law
from .round_off import RoundOffHistory


@dataclass(frozen=True)
class Averaging:
    """The average of gradients in an optimiser, m' = β m + a(∇U(x) + λx), independent of how m' is used.

    Attributes
    ----------
    beta : float
        β, 0 ≤ β < 1: of Adam and AdamW the first of `betas`, of Lion the second, of SGD and Muon `momentum`.
    weight : float
        a: by default 1 − β, as of Adam, AdamW and Lion; 1 for SGD, less its dampening. Only with `decay` it matters: PyTorch does not
        dampen the first step, so that a watch of both is given `state` from the second call on.
    decay : float
        λ of a decay that enters the average: weight_decay of SGD and Adam. 0 where decay is decoupled, as in AdamW and Lion.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.tensors.Averaging(0.5)
    Averaging(beta=0.5, weight=0.5, decay=0.0)
    >>> sgd = nl.tensors.Averaging(0.9, weight=1, decay=1e-4)
    """

    beta: float
    weight: float | None = None
    decay: float = 0.0

    def __post_init__(self) -> None:
        beta = checks.real(self.beta, "beta", minimum=0)
        if beta >= 1:
            raise ValueError(f"beta must be below 1, got {beta:g}")
        weight = 1 - beta if self.weight is None else checks.real(self.weight, "weight", minimum=0, strict=True)
        decay = checks.real(self.decay, "decay", minimum=0)
        for name, value in (("beta", beta), ("weight", weight), ("decay", decay)):
            object.__setattr__(self, name, value)

    @property
    def enlarged(self) -> float:
        """The ratio of the gradients to their average if they are independent: √((1 + β)/(1 − β))."""
        return math.sqrt((1 + self.beta) / (1 - self.beta))

    def defect(
        self, law: Law, x: Mapping[str, Array], m: Mapping[str, Array], m_next: Mapping[str, Array]
    ) -> tuple[Float64Array, Float64Array]:
        """Return the defect of the exact law of one step, and its scale.

        ⟨g(x), m'⟩ − β⟨g(x), m⟩ − aλ⟨g(x), x⟩ is zero for the averages m and m' before and after the step whose gradient was
        taken at x. As ⟨g(x_k), m_k⟩ = ⟨g(x_{k−1}), m_k⟩ + ⟨GΔ_k, m_k⟩, this is the law C_k = β(C_{k−1} + ⟨GΔ_k, m_k⟩) +
        aλ⟨g(x_k), x_k⟩ of C_k = ⟨g(x_k), m_{k+1}⟩, whatever rule gave Δ_k = x_k − x_{k−1} (theory §13).

        Parameters
        ----------
        law : Law
            The symmetry.
        x, m, m_next : mapping of str to ndarray
            For all members of the law.

        Returns
        -------
        tuple of ndarray
            As `Law.defect`.
        """
        defect, scale = scaled(law, x, m_next)
        previous, size = scaled(law, x, m)
        defect, scale = defect - self.beta * previous, scale + self.beta * size
        if self.decay:
            assert self.weight is not None
            decay_term, size = law.defect(x, x)
            share = self.weight * self.decay
            defect, scale = defect - share * decay_term, scale + share * size
        return defect, scale

    def judge(
        self,
        law: Law,
        x: Mapping[str, Array],
        m: Mapping[str, Array],
        m_next: Mapping[str, Array],
        eps: float,
        summands: int | None = None,
    ) -> tuple[Float64Array, float]:
        """Return |defect|/scale of every component for one step, and the ratio that round-off allows."""
        return ratio(*self.defect(law, x, m, m_next)), allowance(law, eps, summands)

    def judge_sum(
        self, law: Law, m: Mapping[str, Array], eps: float, summands: int | None = None
    ) -> tuple[Float64Array, float] | None:
        """Return the same for one average alone; None for laws that do not constrain it.

        ⟨ξ, m⟩ = 0 at all times for translations, if the average began at zero and no decay enters it. Round-off is that of the
        gradients, of which the average may be much smaller.
        """
        if law.kind not in SHIFTS or self.decay:
            return None
        return ratio(*scaled(law, m, m)), self.enlarged * allowance(law, eps, summands)


def averaging_of(value: object) -> Averaging:
    """Return the Averaging that `averaging=` gives: itself, or by its β."""
    if isinstance(value, Averaging):
        return value
    return Averaging(checks.real(value, "averaging", minimum=0))


class AverageCheck:
    """The laws of averages between consecutive calls; keeps a copy of parameters and averages of the last one."""

    def __init__(self, laws: Sequence[Law], averaging: Averaging, summands: int | None) -> None:
        self._laws, self._averaging, self._summands = laws, averaging, summands
        self._last: tuple[int, dict[str, Array], dict[str, Array]] | None = None
        self.levels = RoundOffHistory(len(laws))

    def check(
        self, step: int, x: Mapping[str, Array], m: Mapping[str, Array], eps: float, broken: Sequence[Law]
    ) -> list[Finding]:
        """Return findings of the laws that the averages break, except those in `broken`."""
        last = self._last
        new = []
        judged: dict[int, tuple[Float64Array, float]] = {}
        for i, law in enumerate(self._laws):
            result = self._averaging.judge_sum(law, m, eps, self._summands)
            if result is None and last and last[0] == step - 1:
                result = self._averaging.judge(law, last[1], last[2], m, eps, self._summands)
            if result is not None:
                judged[i] = result
        places, worst = [*judged], [largest(ratios) for ratios, _ in judged.values()]
        tolerances = np.array([tolerance for _, tolerance in judged.values()])
        more = np.array([leeway(self._laws[i], eps, self._summands) for i in places])
        limits = np.maximum(self.levels.allowed(tolerances, places), tolerances * more)
        self.levels.add(np.array([size for size, _ in worst]), tolerances, limits, places)
        for i, (size, index), most in zip(places, worst, limits.tolist(), strict=True):
            if size > most and self._laws[i] not in broken:
                new.append(Finding(self._laws[i], step, index, size, most, WHY, "averaged gradient"))
        self._last = (step, _copy_arrays(x), _copy_arrays(m))
        return new


WHY = (
    "the average has something that the gradient has not: clipping tensor by tensor, weight decay, another β,"
    " or a step between that was not watched"
)


def _copy_arrays(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}
