"""Samples with their labels or targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, IntArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their labels or targets.

    Parameters
    ----------
    X : array_like of shape (N, n_0)
        Inputs, one sample a row. Kept without a copy if already float64 and C-contiguous.
    y : array_like of shape (N,) or (N, n_L)
        Class labels, non-negative integers of shape (N,), for ``loss="nll"``; or targets, real numbers of shape
        (N, n_L), for ``loss="mse"``.
    name : str, default "custom"
        Name shown in figures and messages.
    rotation_invariant : bool, default False
        Claim that rotating the inputs leaves every potential of interest unchanged, so that the law "rotation" is
        offered. It is not verified here.

    Raises
    ------
    TypeError
        If entries are not real numbers, or `name` or `rotation_invariant` has the wrong type.
    ValueError
        If there are no samples or no inputs, the shapes do not fit, a value is not finite or a label is negative.

    Notes
    -----
    Two data sets are equal only if they are the same object; compare the arrays to compare contents.
    """

    X: Array
    y: Array | IntArray
    name: str = "custom"
    rotation_invariant: bool = False

    def __post_init__(self) -> None:
        checks.instance(self.name, "name", str, "a string")
        checks.instance(self.rotation_invariant, "rotation_invariant", bool | np.bool_, "a bool")
        inputs = checks.array(self.X, "X", ndim=2)
        if 0 in inputs.shape:
            raise ValueError(f"X must hold at least one sample and one input, got shape {inputs.shape}")
        object.__setattr__(self, "X", inputs)
        object.__setattr__(self, "y", _labels_or_targets(self.y, n_samples=len(inputs)))
        object.__setattr__(self, "rotation_invariant", bool(self.rotation_invariant))

    @property
    def n_samples(self) -> int:
        """Number N of samples."""
        return len(self.X)

    def __repr__(self) -> str:
        symmetry = ", rotation_invariant" if self.rotation_invariant else ""
        return f"Dataset({self.name!r}, X {self.X.shape}, y {self.y.shape} {self.y.dtype}{symmetry})"


def _labels_or_targets(value: ArrayLike, *, n_samples: int) -> Array | IntArray:
    """Return labels (N,) as int64 or targets (N, n_L) as float64."""
    y = checks.array(value, "y", ndim=(1, 2))
    if len(y) != n_samples:
        raise ValueError(f"y must have one entry for each of the {n_samples} rows of X, got shape {y.shape}")
    if y.ndim == 2:
        if y.shape[1] == 0:
            raise ValueError(f"y must hold at least one target a row, got shape {y.shape}")
        return y
    raw = checks.numpy_array(value, "y")
    if raw.dtype.kind not in "iu":
        raise TypeError(
            f"y of shape {raw.shape} must hold integer class labels, got dtype {raw.dtype}; "
            f"targets for loss='mse' have shape ({n_samples}, n_L)"
        )
    highest = np.iinfo(np.int64).max
    return checks.labels(raw, "y", n_samples=n_samples, n_classes=highest)


def balanced_labels(n: int, n_classes: int, generator: np.random.Generator) -> IntArray:
    """Return `n` labels in random order, each class as often as any other, or once more."""
    return generator.permutation(np.arange(n, dtype=np.int64) % n_classes)
