"""The catalogue of losses: what is known of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base import checks
from .._base.complete import require
from .._base.types import Array, ArrayLike, Float64Array, IntArray
from .._kernels import functions, layout
from .._kernels.jit import inlined


class Loss(ABC):
    """U = (1/N) Σ ℓ(f, y) of outputs f (N, n_L).

    A new one is a subclass with all of these members, and its line in `LOSSES` (`docs/extending.md`).

    Attributes
    ----------
    functions : functions.Loss
        ℓ and ∂ℓ/∂f of numbers for kernels, and of arrays for the oracle.
    parameter : float
        Their c.
    fewest_outputs : int
        Least n_L that makes sense.
    shift_invariant : bool
        Whether a constant that is added to all outputs changes nothing, so that translations of them are symmetries.
    saturates : bool
        Whether ∂ℓ/∂f is a difference of numbers up to 1, whose round-off stays where the difference fades.
    """

    parameter = 1.0
    fewest_outputs = 1
    shift_invariant = False
    saturates = False

    def __init_subclass__(cls) -> None:
        require(cls, "loss")

    @property
    @abstractmethod
    def functions(self) -> functions.Loss:
        """ℓ and ∂ℓ/∂f."""

    @property
    def code(self) -> int:
        """The kernels' number."""
        return functions.number(functions.LOSSES, self.functions)

    @abstractmethod
    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> Array | IntArray:
        """Return y, or raise a ValueError or TypeError that says what is wrong with it."""

    @abstractmethod
    def blank(self, n_samples: int, n_outputs: int) -> Array | IntArray:
        """Return a y for where only f is wanted."""

    @abstractmethod
    def arrays(self, y: NDArray[Any], dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return the kernels' labels (N,) and targets (N, n_L), of which the one that is not used is empty."""

    @abstractmethod
    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return numbers of the size that outputs should have."""

    def vectors(self, y: NDArray[Any], n_outputs: int) -> Float64Array | None:
        """Return the targets as vectors y_s (N, n_L), if ℓ(Sf, Sy) = ℓ(f, y) for every orthogonal S that permutes them; else None."""
        return None

    def also_counted(self, n_samples: int, n_outputs: int) -> dict[float, str]:
        """Return by which factors besides N other programs multiply this loss, and how they come to them."""
        return {}


def _half_squares(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    difference = f - y
    return 0.5 * (difference * difference), difference


def _minus_log_softmax(c: float, f: Array, labels: IntArray) -> tuple[Array, Array]:
    rows, top = np.arange(len(f)), f.real.max(axis=1, keepdims=True)
    e = np.exp(f - top)
    total = e.sum(axis=1, keepdims=True)
    delta = e / total
    delta[rows, labels] -= 1
    return np.log(total[:, 0]) + top[:, 0] - f[rows, labels], delta


class MeanSquaredError(Loss):
    """U = (1/2N) Σ |f − y|² for targets y (N, n_L)."""

    functions = functions.Loss(
        value=inlined(lambda c, f, y: 0.5 * (f - y) * (f - y)),
        slope=inlined(lambda c, f, y: f - y),
        arrays=_half_squares,
    )

    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> Array:
        """Return targets (N, n_L)."""
        return checks.shaped(y, "y", (n_samples, n_outputs))

    def blank(self, n_samples: int, n_outputs: int) -> Float64Array:
        """Return zeros (N, n_L)."""
        return np.zeros((n_samples, n_outputs))

    def arrays(self, y: NDArray[Any], dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return no labels, and y."""
        return np.empty(0, np.int64), layout.plain(y, dtype)

    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets."""
        return y

    def vectors(self, y: NDArray[Any], n_outputs: int) -> Float64Array:
        """Return the targets: |f − y|² is invariant under all orthogonal S."""
        return np.asarray(y, np.float64)

    def also_counted(self, n_samples: int, n_outputs: int) -> dict[float, str]:
        """Return the factors of a sum, of no ½, and of a mean over outputs."""
        return {
            2.0 * n_samples: f"there are {n_samples} samples, and the loss has a ½",
            2.0: "as where the ½ of the loss is left out",
            2.0 / n_outputs: f"2/{n_outputs}, as where squares are averaged over samples and outputs",
        }


class NegativeLogLikelihood(Loss):
    """U = (1/N) Σ −log softmax(f)_y for integer labels y (N,)."""

    functions = functions.Loss(value=None, slope=None, arrays=_minus_log_softmax)
    fewest_outputs = 2
    shift_invariant = True
    saturates = True

    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> IntArray:
        """Return labels (N,) in 0 … n_L − 1."""
        return checks.labels(y, "y", n_samples=n_samples, n_classes=n_outputs)

    def blank(self, n_samples: int, n_outputs: int) -> IntArray:
        """Return zeros (N,)."""
        return np.zeros(n_samples, np.int64)

    def arrays(self, y: NDArray[Any], dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return y, and no targets."""
        return layout.plain(y, "int64"), np.empty((0, 0), dtype)

    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return 1, at which softmax is neither even nor saturated."""
        return np.ones(1)

    def vectors(self, y: NDArray[Any], n_outputs: int) -> Float64Array:
        """Return unit vectors e_y: S permutes classes."""
        return np.asarray(np.eye(n_outputs)[y])


LOSSES: dict[str, Loss] = {"mse": MeanSquaredError(), "nll": NegativeLogLikelihood()}
