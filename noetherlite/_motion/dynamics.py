"""The continuous dynamics m ẍ + c(t) ẋ + ∇U(x) = 0 with friction c(t) = γ + α/t (GU (22))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array

_LARGEST_WEIGHT = 2.0**512  # half of the exponents of a double


@dataclass(frozen=True)
class Dynamics:
    """General dynamics m ẍ + (γ + α/t) ẋ + ∇U(x) = 0.

    Parameters
    ----------
    mass : float
        m ≥ 0. With m = 0 the equation is first order (gradient flow) and needs γ > 0 and α = 0.
    gamma : float
        Constant friction γ ≥ 0.
    alpha : float
        Coefficient α ≥ 0 of the friction α/t that fades with time; Nesterov's flow has α = 3.

    Raises
    ------
    ValueError
        If a parameter is negative or not finite, or if m = 0 without γ > 0 and α = 0.

    Notes
    -----
    For m > 0 this is the Euler–Lagrange equation of L = μ(t)(½ m |ẋ|² − U(x)) with integrating factor
    μ(t) = exp ∫ c/m dt = t^{α/m} e^{γt/m} (GU (23)).
    """

    mass: float = 1.0
    gamma: float = 0.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mass", "gamma", "alpha"):
            object.__setattr__(self, name, checks.real(getattr(self, name), name, minimum=0.0))
        if self.mass == 0 and not (self.gamma > 0 and self.alpha == 0):
            raise ValueError(
                f"mass=0 is gradient flow and needs gamma > 0 and alpha = 0, got gamma={self.gamma:g}, alpha={self.alpha:g}"
            )

    @property
    def name(self) -> str:
        """The paper's name of this dynamics ('GF', 'ND', 'NAGF'), else 'general'."""
        return {(0.0, 1.0, 0.0): "GF", (1.0, 0.0, 0.0): "ND", (1.0, 0.0, 3.0): "NAGF"}.get(
            (self.mass, self.gamma, self.alpha), "general"
        )

    def friction(self, t: ArrayLike) -> Float64Array:
        """Return c(t) = γ + α/t, shape of `t`; infinite at t = 0 when α > 0."""
        time = _numbers(t, "t")
        if self.alpha == 0:
            return np.full(time.shape, self.gamma)
        with np.errstate(divide="ignore"):
            return np.asarray(self.gamma + self.alpha / time)

    def integrating_factor(self, t: ArrayLike) -> Float64Array:
        """Return μ(t) = t^{α/m} e^{γt/m}, shape of `t`; infinite or 0 beyond the range of a double.

        NaN for m = 0, which has none. `fading` computes ratios of μ at any times.
        """
        time = _numbers(t, "t")
        if self.mass == 0:
            return np.full(time.shape, np.nan)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            power, growth = time ** (self.alpha / self.mass), np.exp(self.gamma / self.mass * time)
            product = power * growth
            if not np.isnan(product).any():
                return np.asarray(product)
            # 0 · ∞: both factors are out of range, though μ may be in it
            exponent = self.alpha / self.mass * np.log(time) + self.gamma / self.mass * time
            return np.where(np.isnan(product), np.exp(exponent), product)

    def law_weight(self, t: ArrayLike) -> Float64Array:
        """Return the factor of the charges in a law's record at the times t of a run, shape (..., R).

        It is μ(t), or 1 if μ leaves 2^±512 during the run: records are then divided by the present μ(t). μ(0) = 0, at a
        start from rest, is no such case. It is 1 for m = 0.
        """
        time = _numbers(t, "t")
        if self.mass == 0:
            return np.ones_like(time)
        mu = self.integrating_factor(time)
        in_range = ((mu >= 1 / _LARGEST_WEIGHT) & (mu <= _LARGEST_WEIGHT)) | (time == 0)
        return np.where(in_range.all(axis=-1, keepdims=True), mu, 1.0)

    def fading(self, t: ArrayLike, later: ArrayLike) -> Float64Array:
        """Return μ(t)/μ(later) ≤ 1 for times t ≤ later, the factor by which friction reduces a velocity; NaN for m = 0.

        It is computed from the difference of the times, and so is accurate where μ itself over- or underflows.
        """
        start, end = _numbers(t, "t"), _numbers(later, "later")
        shape = _common_shape(t=start, later=end)
        if self.mass == 0:
            return np.full(shape, np.nan)
        with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
            exponent = self.gamma / self.mass * (start - end)
            if self.alpha > 0:
                shift = np.where(start == end, 0.0, (start - end) / end)
                exponent = exponent + self.alpha / self.mass * np.log1p(shift)
            return np.asarray(np.exp(exponent))

    def lagrangian(self, t: ArrayLike, v: ArrayLike, potential_value: ArrayLike) -> Float64Array:
        """Return L = μ(t)(½m|v|² − U) for velocities of shape (..., P) (GU (23)); NaN for m = 0, which has none."""
        mu, kinetic, value = self.integrating_factor(t), self._kinetic(v), _numbers(potential_value, "potential_value")
        _common_shape(t=mu, v=kinetic, potential_value=value)
        return np.asarray(mu * (kinetic - value))

    def energy(self, v: ArrayLike, potential_value: ArrayLike) -> Float64Array:
        """Return E = ½m|v|² + U for velocities of shape (..., P)."""
        kinetic, value = self._kinetic(v), _numbers(potential_value, "potential_value")
        _common_shape(v=kinetic, potential_value=value)
        return np.asarray(kinetic + value)

    def energy_rate(self, t: ArrayLike, v: ArrayLike) -> Float64Array:
        """Return Ė = −c(t)|v|² ≤ 0 for velocities of shape (..., P) (GU (35)); zero at rest, also for infinite c."""
        square, friction = (_numbers(v, "v") ** 2).sum(axis=-1), self.friction(t)
        _common_shape(t=friction, v=square)
        with np.errstate(invalid="ignore"):  # a flow from rest at t = 0 has |v| ∝ t, so that c|v|² → 0
            return np.where(square == 0, 0.0, -friction * square)

    def _kinetic(self, v: ArrayLike) -> Float64Array:
        return np.asarray(0.5 * self.mass * (_numbers(v, "v") ** 2).sum(axis=-1))


def _common_shape(**arrays: Array) -> tuple[int, ...]:
    """Return the shape that arguments, velocities without their last axis, are broadcast to; ValueError if there is none."""
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{' and '.join(arrays)} must have shapes that fit together, got {shapes}") from None


def _numbers(value: ArrayLike, name: str) -> Float64Array:
    return checks.numbers(value, name).astype(np.float64, copy=False)


GF = Dynamics(mass=0.0, gamma=1.0, alpha=0.0)
"""Gradient flow ẋ = −∇U (GU (27))."""

ND = Dynamics(mass=1.0, gamma=0.0, alpha=0.0)
"""Newtonian dynamics ẍ = −∇U (GU (25))."""

NAGF = Dynamics(mass=1.0, gamma=0.0, alpha=3.0)
"""Nesterov's accelerated gradient flow ẍ + (3/t) ẋ + ∇U = 0 (GU (26))."""
