"""Array aliases used in signatures; shapes are given in the docstrings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.integer[Any]]
AnyArray: TypeAlias = NDArray[Any]
Float64Array: TypeAlias = NDArray[np.float64]
Seed: TypeAlias = int | np.random.SeedSequence | np.random.Generator | None

__all__ = ["AnyArray", "Array", "ArrayLike", "BoolArray", "Float64Array", "IntArray", "Seed"]
