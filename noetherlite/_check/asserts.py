"""Assertions for test suites: a gradient against the hand-written one, and a recording against the laws.

Both raise `AssertionError` with the block, entry or neuron of the largest error, and the tolerance with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.floating import underflowing
from .._base.precision import named, of_dtype
from .._base.types import Array, ArrayLike, Float64Array, Seed
from .._motion.base import Algorithm
from .._motion.dynamics import GF, Dynamics
from .._problem.points import random_point
from .._problem.potentials import Potential, is_potential
from .._symmetry.family import NoetherSymmetry
from .._tensors.assertion import assert_symmetric as assert_symmetric
from .check import check
from .rows import blocks_of, distinct
from .verdict import Report

# Tolerance in units of ε times the scale of the gradient; this library and PyTorch differ by 1.
_ROUND_OFF = 32
_DIRECTIONS, _POINTS = 3, 4


@underflowing
def assert_gradient(
    U: Potential,
    gradient: Callable[[Float64Array], ArrayLike] | ArrayLike,
    x: ArrayLike | None = None,
    *,
    rng: Seed = 0,
    precision: str | None = None,
) -> None:
    """Assert that a gradient is ∇U to the precision of its numbers.

    Parameters
    ----------
    U : Potential
        For example `net.potential(data)`.
    gradient : callable or array_like
        A function x (P,) ↦ ∇U (P,), or its values at `x`, in the layout of θ (to which `nl.convert` converts others).
    x : array_like, shape (P,) or (K, P), optional
        Points; by default four random ones. Values need the points at which they were taken.
    rng : int, SeedSequence or Generator
        Source of the random points, and of the directions in which the scale is measured.
    precision : {"float64", "float32", "bfloat16", "float16", "autocast"}, optional
        Precision of the gradient; by default that of its dtype, whatever numbers it holds.

    Raises
    ------
    AssertionError
        If a block is off by more than 32ε(|∇U| + |H (x∘s)|), the largest over random signs s: what relative errors of ε in
        the parameters change, and so what backward-stable evaluations may differ by. ε is that of the gradient's dtype, or of
        `precision`: float32 numbers in an array of float64 need it.
        The message names every block that is off and the entry that is furthest off.
    TypeError, ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=2, n_classes=2, rng=0))
    >>> nl.testing.assert_gradient(U, U.gradient)
    >>> nl.testing.assert_gradient(U, lambda x: 20 * U.gradient(x))
    Traceback (most recent call last):
    ...
    AssertionError: the gradient of NetworkPotential(...
    """
    generator = checks.generator(rng)
    points = _points(U, gradient, x, generator)
    eps = None if precision is None else named(precision).gradient
    if callable(gradient):
        raw = [_read(gradient(np.array(x, np.float64))) for x in points]
    else:
        array = checks.numbers(gradient, "gradient")
        if array.ndim not in (1, 2) or array.shape[-1] != U.n_params:
            raise ValueError(f"gradient must have shape ({U.n_params},) or (K, {U.n_params}), got {array.shape}")
        raw = [(row, of_dtype(gradient)) for row in array.reshape(-1, U.n_params)]
        if len(raw) != len(points):
            raise ValueError(f"gradient has {len(raw)} rows; expected {len(points)}, one for each row of x")
    for k, (point, (value, own_eps)) in enumerate(zip(points, raw, strict=True)):
        given = checks.shaped(value, "gradient", (U.n_params,))
        wrong = _wrong_blocks(U, point, given, own_eps if eps is None else eps, generator)
        if wrong:
            raise AssertionError("\n".join([f"the gradient of {U!r} is wrong at point {k}:", *wrong]))


def _read(gradient: ArrayLike) -> tuple[Array, float]:
    """Return a copy of a gradient, as the function may fill one buffer again and again, and machine ε of its dtype."""
    return np.array(checks.numpy_array(gradient, "gradient")), of_dtype(gradient)


@underflowing
def assert_law_holds(
    U: Potential,
    params: ArrayLike,
    t: ArrayLike | None = None,
    dynamics: Dynamics | Algorithm = GF,
    *,
    laws: str | Sequence[str | NoetherSymmetry] = "all",
    motion: bool = False,
    **options: Any,
) -> Report:
    """Assert that laws hold along a recording, to tolerances small enough to have shown an error.

    Parameters
    ----------
    U, params, t, dynamics
        As `nl.check` takes them.
    laws : "all", or a sequence of names and symmetries
        Which laws, for example "scaling:1".
    motion : bool
        Assert the motion of every block of parameters too.
    **options
        Passed to `nl.check`: `velocity`, `minibatches`, `batches`, `precision`, `every`.

    Returns
    -------
    Report
        The whole check.

    Raises
    ------
    AssertionError
        If a law is broken or cannot be decided; the message has the table of the check.
    """
    motion = checks.boolean(motion, "motion")
    report = check(U, params, t, dynamics, laws=laws, **options)
    rows = report.rows if motion else list(report.laws.values())
    failed = [row for row in rows if row.verdict != "holds"]
    if failed:
        names = ", ".join(f"{row.name} ({row.verdict})" for row in failed)
        raise AssertionError(f"does not hold: {names}\n{report}")
    return report


def _points(U: Potential, gradient: object, x: ArrayLike | None, generator: np.random.Generator) -> list[Array]:
    is_potential(U)
    if x is None:
        if not callable(gradient):
            raise TypeError("x must be given with a gradient that is an array: the point it was taken at")
        return [random_point(U, generator) for _ in range(_POINTS)]
    points = np.atleast_2d(checks.array(x, "x", ndim=(1, 2)))
    if points.shape[1] != U.n_params:
        raise ValueError(f"x must have shape ({U.n_params},) or (K, {U.n_params}), got {np.shape(x)}")
    return list(points)


def _wrong_blocks(U: Potential, x: Array, given: Array, eps: float, rng: np.random.Generator) -> list[str]:
    """Return a line of the message for each block whose error is beyond the tolerance."""
    expected = U.gradient(x)
    changes = [_hessian_times_signs(U, x, expected, rng) for _ in range(_DIRECTIONS)]
    lines = []
    for block in blocks_of(U):
        part = block.part
        difference = np.abs(given[part] - expected[part])
        scale = np.linalg.norm(expected[part]) + max(np.linalg.norm(change[part]) for change in changes)
        tolerance = _ROUND_OFF * eps * float(scale)
        if np.linalg.norm(difference) <= tolerance:
            continue
        i = int(np.argmax(difference))
        entry = ", ".join(map(str, np.unravel_index(i, block.shape)))
        square = float(expected[part] @ expected[part])
        ratio = (
            f", {distinct(float(given[part] @ expected[part]) / square, 1.0)} times ∇U along it" if square > 0 else ""
        )
        lines.append(
            f"  {block.name}: off by {np.linalg.norm(difference):.2g}{ratio}; most at {block.name}[{entry}], "
            f"{distinct(given[part][i], expected[part][i], 6)} instead of {distinct(expected[part][i], given[part][i], 6)}; tolerance {tolerance:.1g} = {_ROUND_OFF} x {eps:.1g} x {scale:.2g}"
        )
    return lines


def _hessian_times_signs(U: Potential, x: Array, gradient: Array, rng: np.random.Generator) -> Array:
    """Return H (x∘s) for random signs s, by a finite difference."""
    step = float(np.finfo(np.float64).eps) ** 0.5
    moved = x * (1 + step * rng.choice([-1.0, 1.0], x.size))
    return np.asarray((U.gradient(moved) - gradient) / step)
