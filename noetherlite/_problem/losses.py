"""The catalogue of losses: what is known of each."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._base import checks
from .._base.complete import require
from .._base.types import Array, ArrayLike, Float64Array, IntArray
from .._kernels import elementary, functions, layout, pointwise
from .._kernels.jit import inlined


class Loss(ABC):
    """U = (1/N) Σ ℓ(f, y) of outputs f (N, n_L).

    A new one is a subclass with all of these members, and its line in `LOSSES` (`docs/extending.md`).
    """

    parameter: float  # c of "huber(c)" and of "nll(c)", as they are written; else not used
    example: ClassVar[str]  # how it is written
    fewest_outputs = 1  # least n_L that makes sense
    shift_invariant = False  # whether a constant added to all outputs changes nothing: translations are symmetries
    saturates = (
        False  # whether ∂ℓ/∂f is a difference of numbers up to 1, whose round-off remains when the difference vanishes
    )

    def __init__(self, parameter: float = 1.0) -> None:
        self.parameter = parameter

    def __init_subclass__(cls) -> None:
        require(cls, "loss")

    @property
    @abstractmethod
    def functions(self) -> functions.Loss:
        """ℓ and ∂ℓ/∂f of numbers for kernels, and of arrays for the oracle."""

    def constant(self, n_outputs: int) -> float:
        """Return the kernels' c."""
        return self.parameter

    @property
    def code(self) -> int:
        """The kernels' number."""
        return functions.number(functions.LOSSES, self.functions)

    @abstractmethod
    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> Array | IntArray:
        """Return y, or raise a ValueError or TypeError that says what is wrong with it."""

    @abstractmethod
    def blank(self, n_samples: int, n_outputs: int) -> Array | IntArray:
        """Return a placeholder for y, for evaluations of f alone."""

    @abstractmethod
    def arrays(self, y: NDArray[Any], n_outputs: int, dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return the kernels' labels (N,) and targets (N, n_L), of which the one that is not used is empty."""

    @abstractmethod
    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return numbers of the typical size of trained outputs."""

    def vectors(self, y: NDArray[Any], n_outputs: int) -> Float64Array | None:
        """Return the targets as vectors y_s (N, n_L), if ℓ(Sf, Sy) = ℓ(f, y) for every orthogonal S that permutes them; else None."""
        return None

    def others(self, y: NDArray[Any], n_outputs: int) -> NDArray[Any]:
        """Return other targets or labels of the same kind, of a loss that saturates."""
        raise NotImplementedError

    def also_counted(self, n_samples: int, n_outputs: int) -> dict[float, str]:
        """Return the factors other than N by which other programs multiply this loss, each with its reason."""
        return {}


class _OfTargets:
    """The base of losses of real targets y (N, n_L)."""

    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> Array:
        """Return targets (N, n_L)."""
        return checks.shaped(y, "y", (n_samples, n_outputs))

    def blank(self, n_samples: int, n_outputs: int) -> Float64Array:
        """Return zeros (N, n_L)."""
        return np.zeros((n_samples, n_outputs))

    def arrays(self, y: NDArray[Any], n_outputs: int, dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return no labels, and y."""
        return np.empty(0, np.int64), layout.plain(y, dtype)

    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets."""
        return y

    def also_counted(self, n_samples: int, n_outputs: int) -> dict[float, str]:
        """Return the factor of a mean over outputs."""
        return {1.0 / n_outputs: f"1/{n_outputs}, as where the loss is averaged over samples and outputs"}


class _OfSigns(_OfTargets):
    """The base of losses of margins yf: labels y = ±1 (N, n_L), for one output also (N,)."""

    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> Array:
        """Return labels ±1 (N, n_L)."""
        given = checks.numpy_array(y, "y")
        if given.ndim == 1 and n_outputs == 1:
            given = given[:, None]
        out = checks.shaped(given, "y", (n_samples, n_outputs))
        if (wrong := np.argwhere(np.abs(out) != 1)).size:
            raise ValueError(f"y must hold -1 or 1, got {float(out[tuple(wrong[0])])!r} at {tuple(wrong[0].tolist())}")
        return out


# --- ℓ and ∂ℓ/∂f of arrays, for the oracle; complex f is a step for derivatives ---


def _half_squares(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    difference = f - y
    return 0.5 * c * (difference * difference), c * difference


def _huber(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    difference = f - y
    sign, near = np.sign(difference.real), np.abs(difference.real) <= c
    value = np.where(near, difference**2 / 2, c * (sign * difference - c / 2))
    return value, np.where(near, difference, c * sign)


def _logistic(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    margin = y * f
    small = np.exp(np.where(margin.real > 0, -margin, margin))  # e^−|yf|
    value = np.where(margin.real > 0, 0, -margin) + np.log1p(small)
    return value, -y * np.where(margin.real > 0, small, 1) / (1 + small)


def _exponential(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    value = np.exp(-y * f)
    return value, -y * value


def _squared_hinge(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    short = 1 - y * f
    short = np.where(short.real > 0, short, 0)
    return short**2, -2 * y * short


def _minus_log_softmax(c: float, f: Array, labels: IntArray) -> tuple[Array, Array]:
    rows, top = np.arange(len(f)), f.real.max(axis=1, keepdims=True)
    e = np.exp(f - top)
    total = e.sum(axis=1, keepdims=True)
    delta = e / total
    delta[rows, labels] -= 1
    return np.log(total[:, 0]) + top[:, 0] - f[rows, labels], delta


def _cross_entropy(c: float, f: Array, y: Array) -> tuple[Array, Array]:
    top = f.real.max(axis=1, keepdims=True)
    e = np.exp(f - top)
    total = e.sum(axis=1, keepdims=True)
    return np.log(total[:, 0]) - (y * (f - top)).sum(axis=1), e / total - y


class MeanSquaredError(_OfTargets, Loss):
    """U = (1/2N) Σ |f − y|² for targets y (N, n_L)."""

    example = "mse"
    functions = functions.Loss(
        value=inlined(lambda c, f, y: 0.5 * c * (f - y) * (f - y)),
        slope=inlined(lambda c, f, y: c * (f - y)),
        arrays=_half_squares,
    )

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


class MeanOfSquares(MeanSquaredError):
    """U = (1/N n_L) Σ |f − y|², the mean over samples and outputs that PyTorch takes."""

    example = "mse_mean"

    def constant(self, n_outputs: int) -> float:
        """Return 2/n_L, by which this is larger than `MeanSquaredError`."""
        return 2.0 / n_outputs

    def also_counted(self, n_samples: int, n_outputs: int) -> dict[float, str]:
        """Return the factors of the sum over outputs, with a ½ and without."""
        return {
            n_outputs / 2.0: f"{n_outputs}/2, as where squares are summed over outputs and halved",
            float(n_outputs): "as where squares are summed over outputs",
        }


class Huber(_OfTargets, Loss):
    """U = (1/N) Σ h(f − y), h(d) = ½d² for |d| ≤ c and c(|d| − ½c) beyond, for targets y (N, n_L)."""

    example = "huber(1.0)"
    functions = functions.Loss(
        value=inlined(lambda c, f, y: 0.5 * (f - y) * (f - y) if abs(f - y) <= c else c * (abs(f - y) - 0.5 * c)),
        slope=inlined(lambda c, f, y: c if f - y > c else (-c if f - y < -c else f - y)),
        arrays=_huber,
    )


class Logistic(_OfSigns, Loss):
    """U = (1/N) Σ log(1 + e^(−yf)) for labels y = ±1 (N, n_L)."""

    example = "logistic"
    saturates = True
    functions = functions.Loss(
        value=inlined(lambda c, f, y: elementary.softplus(np.float64(-y * f))),
        slope=inlined(lambda c, f, y: -y * elementary.logistic(np.float64(-y * f))),
        arrays=_logistic,
    )

    def others(self, y: NDArray[Any], n_outputs: int) -> NDArray[Any]:
        """Return the other labels."""
        return -y


class Exponential(_OfSigns, Loss):
    """U = (1/N) Σ e^(−yf) for labels y = ±1 (N, n_L)."""

    example = "exponential"
    functions = functions.Loss(
        value=inlined(lambda c, f, y: pointwise.exp(-y * f)),
        slope=inlined(lambda c, f, y: -y * pointwise.exp(-y * f)),
        arrays=_exponential,
    )


class SquaredHinge(_OfSigns, Loss):
    """U = (1/N) Σ max(0, 1 − yf)² for labels y = ±1 (N, n_L)."""

    example = "squared_hinge"
    functions = functions.Loss(
        value=inlined(lambda c, f, y: 0.0 if y * f > 1 else (1 - y * f) * (1 - y * f)),
        slope=inlined(lambda c, f, y: 0.0 if y * f > 1 else -2 * y * (1 - y * f)),
        arrays=_squared_hinge,
    )


class NegativeLogLikelihood(Loss):
    """U = (1/N) Σ −log softmax(f)_y for integer labels y (N,)."""

    example = "nll"
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

    def arrays(self, y: NDArray[Any], n_outputs: int, dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return y, and no targets."""
        return layout.plain(y, "int64"), np.empty((0, 0), dtype)

    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return 1, at which softmax is neither even nor saturated."""
        return np.ones(1)

    def vectors(self, y: NDArray[Any], n_outputs: int) -> Float64Array:
        """Return unit vectors e_y: S permutes classes."""
        return np.asarray(np.eye(n_outputs)[y])

    def others(self, y: NDArray[Any], n_outputs: int) -> NDArray[Any]:
        """Return the next labels."""
        return (y + 1) % n_outputs


class SmoothedLikelihood(NegativeLogLikelihood):
    """U = (1/N) Σ_s −Σ_i q_i log softmax(f)_i with q = (1 − c) e_y + c/n_L: labels y (N,), smoothed."""

    example = "nll(0.1)"
    functions = functions.Loss(value=None, slope=None, arrays=_cross_entropy)

    def arrays(self, y: NDArray[Any], n_outputs: int, dtype: str) -> tuple[NDArray[np.int64], Array]:
        """Return no labels, and q (N, n_L)."""
        q = (1 - self.parameter) * np.eye(n_outputs)[y] + self.parameter / n_outputs
        return np.empty(0, np.int64), layout.plain(q, dtype)


class CrossEntropy(_OfTargets, Loss):
    """U = (1/N) Σ_s −Σ_i y_i log softmax(f)_i for probabilities y (N, n_L), which sum to 1."""

    example = "cross_entropy"
    functions = functions.Loss(value=None, slope=None, arrays=_cross_entropy)
    fewest_outputs = 2
    shift_invariant = True
    saturates = True

    def checked(self, y: ArrayLike, n_samples: int, n_outputs: int) -> Array:
        """Return probabilities (N, n_L)."""
        out = checks.shaped(y, "y", (n_samples, n_outputs))
        off = np.maximum(np.abs(out.sum(axis=1) - 1), -out.min(axis=1, initial=0.0))
        allowed = 4 * n_outputs * np.finfo(np.float32 if out.dtype == np.float32 else np.float64).eps
        if off.max(initial=0.0) > allowed:
            row = int(off.argmax())
            raise ValueError(
                f"y must hold probabilities that sum to 1 in each row, got {out[row].tolist()} in row {row}"
            )
        return out

    def aimed_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return 1, at which softmax is neither even nor saturated."""
        return np.ones(1)

    def others(self, y: NDArray[Any], n_outputs: int) -> NDArray[Any]:
        """Return each class's probability for the next one."""
        return np.roll(y, 1, axis=1)

    def also_counted(self, n_samples: int, n_outputs: int) -> dict[float, str]:
        """Return nothing: a mean over classes is not in use."""
        return {}


def _between_0_and_1(value: float, text: str) -> float:
    value = checks.real(value, f"the parameter of loss {text!r}", minimum=0.0, strict=True)
    if value >= 1:
        raise ValueError(f"loss={text!r}: the smoothing must lie in 0 < c < 1")
    return value


def _threshold(value: float, text: str) -> float:
    return checks.real(value, f"the parameter of loss {text!r}", minimum=0.0, strict=True)


LOSSES: dict[str, Loss] = {
    loss.example: loss
    for loss in (
        MeanSquaredError(),
        NegativeLogLikelihood(),
        MeanOfSquares(),
        CrossEntropy(),
        Logistic(),
        Exponential(),
        SquaredHinge(),
    )
}
# Those that are written with a number, and what it may be.
WITH_PARAMETER = {"nll": (SmoothedLikelihood, _between_0_and_1), "huber": (Huber, _threshold)}
EXAMPLES = (*LOSSES, *(kind.example for kind, _ in WITH_PARAMETER.values()))


def parse(text: str) -> tuple[str, Loss]:
    """Return a loss, and how it is written.

    ValueError or TypeError if the name is not known (the message lists the known ones) or the parameter is missing or
    out of range.
    """
    if isinstance(text, str) and text in LOSSES:
        return text, LOSSES[text]
    match = re.fullmatch(r"\s*([a-z_]+)\s*\(\s*([^()]*?)\s*\)\s*", text) if isinstance(text, str) else None
    if match is None or match[1] not in WITH_PARAMETER:
        return parse(checks.one_of(text, "loss", EXAMPLES))  # which raises
    kind, checked = WITH_PARAMETER[match[1]]
    try:
        value = checked(float(match[2]), text)
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(
            f"loss={text!r}: {match[2]!r} is not a number; expected for example {kind.example!r}"
        ) from None
    return f"{match[1]}({value:g})", kind(value)
