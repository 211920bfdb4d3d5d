"""Weights of samples and of classes: U = Σ_s w_s ℓ_s / Σ_s w_s."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array, IntArray
from .._kernels import functions, layout
from .losses import CrossEntropy, Loss, NegativeLogLikelihood


class Weights(NamedTuple):
    """The factors of the losses of the samples, divided by their mean over all samples."""

    relative: Float64Array  # (N,): w_s / mean(w)
    classes: Float64Array | None  # (n_L,): weights inside Σ_i y_i log softmax(f)_i

    def of(self, samples: Any) -> Weights:
        """Return the weights of some of the samples, relative to the mean over all."""
        return self._replace(relative=self.relative[samples])

    def enter(self, problem: layout.Problem) -> layout.Problem:
        """Return the kernels' description with these weights: a column more of the targets, which labels become too."""
        record, y = functions.LOSSES[problem.loss], problem.targets
        if problem.labels.size:
            record, y = CrossEntropy.functions, np.eye(problem.widths[-1])[problem.labels]
        if self.classes is not None:
            y = _shares(y, self.classes)[0]
        return problem._replace(
            loss=functions.number(functions.LOSSES, record._replace(weighted=True)),
            labels=np.empty(0, np.int64),
            targets=layout.plain(np.c_[y, self.relative], str(problem.X.dtype)),
        )


def _shares(y: Array, classes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return c_i y_i / Σ_i c_i y_i and Σ_i c_i y_i of probabilities y (N, n_L): −Σ_i c_i y_i log p_i is a cross-entropy too."""
    weighted = classes * y
    total = weighted.sum(axis=1)
    seen = total > 0
    return np.where(seen[:, None], weighted / np.where(seen, total, 1.0)[:, None], y), total


def weights(
    loss: Loss,
    y: Array | IntArray,
    n_outputs: int,
    sample_weight: ArrayLike | None,
    class_weight: ArrayLike | None,
) -> Weights | None:
    """Return the weights of checked y, or None where there are none.

    With weights v_s of samples and c_i of classes, U = Σ_s v_s ℓ_s / D: ℓ_s = −Σ_i c_i y_si log p_si for y as the loss
    has them, smoothed too, D = Σ_s v_s c_{y_s} for labels and Σ_s v_s for probabilities, as in PyTorch's
    CrossEntropyLoss(weight=c); Σ_s v_s without class weights. ValueError or TypeError if a shape is wrong, a weight is
    negative or not finite, all are zero, or the loss knows no classes.
    """
    if sample_weight is None and class_weight is None:
        return None
    of_samples = np.ones(len(y)) if sample_weight is None else _checked(sample_weight, "sample_weight", len(y))
    divisor = of_samples
    classes = None
    if class_weight is not None:
        if not isinstance(loss, NegativeLogLikelihood | CrossEntropy):
            raise ValueError(
                f"class_weight needs a loss of classes ('nll', 'nll(c)' or 'cross_entropy'), got loss={loss.example!r}; "
                "sample_weight fits every loss"
            )
        classes = _checked(class_weight, "class_weight", n_outputs)
        labels, targets = loss.arrays(y, n_outputs, "float64")
        probabilities = np.eye(n_outputs)[labels] if labels.size else targets
        if np.ndim(y) == 1:
            divisor = divisor * classes[y]
        of_samples = of_samples * _shares(probabilities, classes)[1]
    if not divisor.sum() > 0:
        raise ValueError("sample_weight and class_weight leave no sample with a weight > 0")
    return Weights(of_samples / divisor.mean(), classes)


def _checked(value: ArrayLike, name: str, n: int) -> Float64Array:
    out = checks.shaped(value, name, (n,)).astype(np.float64)
    if (wrong := np.flatnonzero(out < 0)).size:
        raise ValueError(f"{name} must hold numbers >= 0, got {out[wrong[0]]:g} at index {wrong[0]}")
    return out
