"""The anchor: the one identity that sees the absolute scale of a gradient, from the logits of a cross-entropy (theory §12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Array, IntArray
from .causes import is_integer
from .finding import Finding, limit
from .law import Law, Member
from .legs import Leg
from .trees import all_finite, array_of

_ROWS = 256  # of logits that are widened to double precision at a time


@dataclass(frozen=True)
class Anchor:
    """The head that makes logits z = Uh + b, whose gradient they fix: ⟨U, ∂L/∂U⟩ + ⟨b, ∂L/∂b⟩ = ⟨z, ∂L/∂z⟩.

    For a cross-entropy, ∂L/∂z is the softmax less the label, divided by the number of labels.

    Attributes
    ----------
    weight : str
        Name of U, which must not be tied to the embedding.
    bias : str, optional
        Name of b.
    reduction : {"mean", "sum"}
        How the loss adds up its labels.
    ignored : int
        Label of what does not count.

    Examples
    --------
    >>> import noetherlite as nl
    >>> anchor = nl.tensors.Anchor("lm_head.weight")
    """

    weight: str
    bias: str | None = None
    reduction: str = "mean"
    ignored: int = -100

    def __post_init__(self) -> None:
        checks.instance(self.weight, "weight", str, "the name of a tensor")
        if self.bias is not None:
            checks.instance(self.bias, "bias", str, "the name of a tensor")
        checks.one_of(self.reduction, "reduction", ("mean", "sum"))
        checks.integer(self.ignored, "ignored", minimum=-(2**63))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its tensors."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def judge(
        self,
        x: Mapping[str, Array],
        g: Mapping[str, Array],
        logits: Any,
        labels: Any,
        eps: float,
        summands: int | None = None,
    ) -> tuple[float, float, float]:
        """Return the defect of the identity relative to its terms, what round-off allows, and the ratio of both sides.

        Parameters
        ----------
        x, g : mapping of str to ndarray
            The head and its gradient.
        logits : array_like, shape (..., classes)
            z, as the loss sees them.
        labels : array_like of int, shape (...)
            Classes.
        eps : float
            Machine ε of the computation; that of the logits where it is larger.
        summands : int, optional
            Number of samples, times positions, that the gradient sums.

        Raises
        ------
        TypeError, ValueError
            If logits are not finite, or labels are no integers below their last size, in the shape of the others.
        """
        z, logits_eps = array_of(logits, "logits")
        if not all_finite(z):
            raise ValueError("logits has entries that are not finite")
        classes = _checked_labels(labels, z, self.ignored)
        z = z.reshape(-1, z.shape[-1])
        law = self.law(x)
        from_gradient, size = float(law.total(x, g)[0]), float(law.scale(x, g)[0])
        count = int((classes != self.ignored).sum()) if self.reduction == "mean" else 1
        from_logits = 0.0
        for start in range(0, len(z), _ROWS):
            terms, sizes = _logit_terms(z[start : start + _ROWS], classes[start : start + _ROWS], self.ignored)
            from_logits, size = from_logits + terms / count, size + sizes / count
        ratio = abs(from_gradient - from_logits) / size if size else 0.0
        tolerance = limit(law, max(eps, logits_eps), summands)
        return ratio, tolerance, from_gradient / from_logits if from_logits else np.inf

    def law(self, x: Mapping[str, Array]) -> Law:
        """Return ⟨U, ∂L/∂U⟩ + ⟨b, ∂L/∂b⟩ as the law of a common scaling of U and b."""
        legs = [Leg(name, tuple((n,) for n in x[name].shape), ()) for name in self.names]
        return Law("whole", tuple(Member(leg, 1.0) for leg in legs), name=f"absolute scale, by {self.weight}")

    def finding(self, x: Mapping[str, Array], step: int, ratio: float, tolerance: float, factor: float) -> Finding:
        """Return the finding of a broken identity."""
        multiple, fraction = is_integer(factor), is_integer(1 / factor) if factor else 0
        hint = ": summed where it is averaged?" if multiple else ": divided once too often?" if fraction else ""
        reason = f"the gradient of {self.weight}, and of what is locked to it, is {factor:.4g} times what the logits ask for{hint}"
        return Finding(self.law(x), step, (), ratio, tolerance, reason)


class AnchorCheck:
    """An anchor in the calls of a watch: the worst ratio and what was allowed."""

    def __init__(self, anchor: Anchor, summands: int | None) -> None:
        self.anchor, self._summands = anchor, summands
        self.law: Law | None = None
        self.worst, self.tolerance = 0.0, 0.0
        self._broken = False

    def check(
        self, step: int, x: Mapping[str, Array], g: Mapping[str, Array], logits: Any, labels: Any, eps: float
    ) -> list[Finding]:
        """Return a finding where the identity is broken for the first time."""
        self.law = self.anchor.law(x)
        ratio, tolerance, factor = self.anchor.judge(x, g, logits, labels, eps, self._summands)
        if ratio * self.tolerance >= self.worst * tolerance:
            self.worst, self.tolerance = ratio, tolerance
        if ratio <= tolerance or self._broken:
            return []
        self._broken = True
        return [self.anchor.finding(x, step, ratio, tolerance, factor)]


def _logit_terms(z: Array, classes: IntArray, ignored: int) -> tuple[float, float]:
    """Return Σ⟨p − y, z⟩ over the rows whose label is not ignored, p their softmax, and the size of its terms.

    A softmax has the relative round-off of its exponent, z less the largest.
    """
    counted = classes != ignored
    z, classes = z[counted].astype(np.float64), classes[counted]
    shifted = z - z.max(axis=1, keepdims=True, initial=-np.inf)
    p = np.exp(shifted)
    p /= p.sum(axis=1, keepdims=True)
    label_logits = np.take_along_axis(z, classes[:, None], axis=1)
    size = (p * (1 - shifted) * np.abs(z)).sum() + np.abs(label_logits).sum()
    return float((p * z).sum() - label_logits.sum()), float(size)


def _checked_labels(labels: Any, z: Array, ignored: int) -> IntArray:
    classes: Array = checks.numpy_array(labels, "labels")
    if classes.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {checks.describe(classes)}")
    if classes.shape != z.shape[:-1]:
        raise ValueError(f"labels must have the shape {z.shape[:-1]} of logits without classes, got {classes.shape}")
    counted = classes[classes != ignored]
    if not counted.size or counted.min() < 0 or counted.max() >= z.shape[-1]:
        raise ValueError(f"labels must be classes from 0 to {z.shape[-1] - 1}, or {ignored} for what does not count")
    return classes.reshape(-1).astype(np.int64)
