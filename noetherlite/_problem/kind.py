"""An entry of the catalogue of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .._kernels import functions
from .._kernels.jit import inlined

Array = NDArray[Any]


class Pieces(NamedTuple):
    """σ(z) = high·z^degree for z > 0 and low·z^degree for z < 0."""

    degree: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Kind:
    """All facts of the activations of one name."""

    examples: tuple[str, ...]  # how it may be written
    # sigma, d_sigma: σ(c, z) and σ′(c, z, a) of numbers, a = σ(c, z); c is the parameter
    sigma: functions.Scalar
    d_sigma: functions.Scalar
    # sigma_array, d_sigma_array: (c, z) ↦ σ and (c, z) ↦ σ′ of arrays, the oracle's
    sigma_array: Callable[[Any, Array], Array]
    d_sigma_array: Callable[[Any, Array], Array]
    # whether σ′ is a function of σ alone, so that z is not kept: d_sigma then gets a in the place of z
    in_place: bool = False
    # (c, c as written, the activation as written) ↦ c, or a ValueError; None if σ has no parameter
    parameter: Callable[[float, str, str], float] | None = None
    default: float | None = None  # c if none is written; None if σ then has no fixed parameter
    required: bool = False  # whether c must be written
    # d_parameter, d_parameter_array: (c, z) ↦ ∂σ/∂c of numbers and of arrays, where c is trained, one per neuron,
    # if none is written; σ(c/λ, λz) = λσ(c, z) then
    d_parameter: functions.Scalar | None = None
    d_parameter_array: Callable[[Any, Array], Array] | None = None
    pieces: Callable[[float], Pieces] | None = None  # c ↦ σ on both sides of 0, if it is a power there
    # {"", "hermite", "trapezoidal", "split"}: the rule by which E[σ(z)σ(z′)] of normal (z, z′) is summed: Gauss
    # and Hermite's where variances are small; the trapezoidal one, for σ with poles at ±iπ/c; one that is split at 0,
    # where σ may be another analytic function on either side
    mean_rule: str = ""
    # (Σ(x, x′), Σ(x, x), Σ(x′, x′)) ↦ E[σ(z)σ(z′)] and E[σ′(z)σ′(z′)] of normal (z, z′), where they have a closed
    # form
    expectations: Callable[[Array, Array, Array], tuple[Array, Array]] | None = None
    # over_slope, over_slope_integral: (c, z) ↦ σ/σ′ and ∫_0^z σ/σ′ of arrays, where they are known: what gradient
    # flow conserves on orthogonal samples is made of them
    over_slope: Callable[[Any, Array], Array] | None = None
    over_slope_integral: Callable[[Any, Array], Array] | None = None
    analytic: bool = True  # whether σ is analytic for all z, so that the trapezoidal rule converges exponentially
    # c ↦ whether σ′ jumps somewhere; only for σ without `pieces`, which decide otherwise
    kinked: Callable[[float], bool] | None = None
    # 1 if σ(−z) = σ(z), −1 if σ(−z) = −σ(z), else 0; only for σ without `pieces`, which decide otherwise
    parity: int = 0
    # flops that σ and σ′ of one number count as in the decision whether threads share the samples
    flops: int = 0
    identity: float | None = None  # c with which σ(z) = z, if there is one

    def __post_init__(self) -> None:
        if (self.d_parameter is None) != (self.d_parameter_array is None):
            raise TypeError(
                f"activation {self.examples[0]!r} needs both of d_parameter and d_parameter_array, or neither"
            )

    @cached_property
    def code(self) -> int:
        """The kernels' number."""
        return functions.number(
            functions.ACTIVATIONS,
            functions.Sigma(
                inlined(self.sigma),
                inlined(self.d_sigma),
                None if self.d_parameter is None else inlined(self.d_parameter),
                self.in_place,
                self.sigma_array,
                self.d_sigma_array,
                self.d_parameter_array,
                self.flops,
                self.identity,
            ),
        )

    @property
    def example(self) -> str:
        """The first with a parameter."""
        return next(e for e in self.examples if "(" in e)
