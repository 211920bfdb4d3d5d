"""Data sets drawn at random: classes, curves, and the targets whose learning theory studies."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._base import checks
from .._base.types import ArrayLike, Float64Array, Seed
from .dataset import Dataset, balanced_labels

__all__ = [
    "gaussian_classes",
    "index_model",
    "linear_regression",
    "sparse_parity",
    "spirals",
    "two_moons",
    "xor_clusters",
]


def gaussian_classes(
    n: int = 100, n_features: int = 2, n_classes: int = 3, separation: float = 3.0, rng: Seed = 0
) -> Dataset:
    """Draw samples from isotropic Gaussian clouds of unit variance, one for each class.

    Parameters
    ----------
    n : int, default 100
        Number of samples. The classes are as equal in number as `n` allows, in random order.
    n_features : int, default 2
        Dimension of the inputs.
    n_classes : int, default 3
        Number of classes.
    separation : float, default 3.0
        Distance of each class mean from the origin, in a random direction; not negative.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of means, order and samples.

    Returns
    -------
    Dataset
        X of shape (n, n_features), y of shape (n,) with labels 0 to n_classes - 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or `rng` cannot be used.
    """
    n = checks.integer(n, "n", minimum=1)
    n_features = checks.integer(n_features, "n_features", minimum=1)
    n_classes = checks.integer(n_classes, "n_classes", minimum=1)
    separation = checks.real(separation, "separation", minimum=0.0)
    generator = checks.generator(rng)
    np.empty((n, n_features))  # a MemoryError for what is far too large, before a minute's work and not after it
    directions = generator.normal(size=(n_classes, n_features))
    means = separation * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    labels = balanced_labels(n, n_classes, generator)
    return Dataset(means[labels] + generator.normal(size=(n, n_features)), labels, "gaussian-classes")


def two_moons(n: int = 200, noise: float = 0.1, rng: Seed = 0) -> Dataset:
    """Draw two interleaving half circles in the plane, one for each class.

    Class 0 lies on (cos φ, sin φ), class 1 on (1 − cos φ, ½ − sin φ), φ uniform in [0, π].

    Parameters
    ----------
    n : int, default 200
        Number of samples. The classes are as equal in number as `n` allows, in random order.
    noise : float, default 0.1
        Standard deviation of the normal noise of both coordinates; not negative.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of order, angles and noise.

    Returns
    -------
    Dataset
        X of shape (n, 2), y of shape (n,) with labels 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or `rng` cannot be used.
    """
    n, noise = checks.integer(n, "n", minimum=1), checks.real(noise, "noise", minimum=0.0)
    generator = checks.generator(rng)
    labels = balanced_labels(n, 2, generator)
    angle = generator.uniform(0, np.pi, n)
    upper, lower = (np.cos(angle), np.sin(angle)), (1 - np.cos(angle), 0.5 - np.sin(angle))
    points = np.where(labels == 0, upper, lower).T
    return Dataset(points + noise * generator.normal(size=(n, 2)), labels, "two-moons")


def spirals(n: int = 200, n_classes: int = 2, turns: float = 1.0, noise: float = 0.02, rng: Seed = 0) -> Dataset:
    """Draw intertwined Archimedean spirals in the plane, one for each class.

    A point of class c is r (cos φ, sin φ) with φ = 2π (r · turns + c/n_classes), r = √u with u uniform in [0, 1].

    Parameters
    ----------
    n : int, default 200
        Number of samples. The classes are as equal in number as `n` allows, in random order.
    n_classes : int, default 2
        Number of spirals.
    turns : float, default 1.0
        How often each goes round the origin; positive.
    noise : float, default 0.02
        Standard deviation of the normal noise of both coordinates; not negative.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of order, radii and noise.

    Returns
    -------
    Dataset
        X of shape (n, 2), y of shape (n,) with labels 0 to n_classes − 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or `rng` cannot be used.

    Notes
    -----
    Two spirals are the task of Lang and Witbrock, "Learning to tell two spirals apart" (1988), which no linear classifier solves.
    """
    n, n_classes = checks.integer(n, "n", minimum=1), checks.integer(n_classes, "n_classes", minimum=1)
    turns, noise = checks.real(turns, "turns", minimum=0.0, strict=True), checks.real(noise, "noise", minimum=0.0)
    generator = checks.generator(rng)
    labels = balanced_labels(n, n_classes, generator)
    radius = np.sqrt(generator.uniform(size=n))
    angle = 2 * np.pi * (radius * turns + labels / n_classes)
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return Dataset(points + noise * generator.normal(size=(n, 2)), labels, "spirals")


def xor_clusters(n: int = 200, n_features: int = 2, separation: float = 3.0, rng: Seed = 0) -> Dataset:
    """Draw four Gaussian clouds of unit variance, of which opposite ones have the same class.

    Class 0 has the means ±separation e_1, class 1 the means ±separation e_2.

    Parameters
    ----------
    n : int, default 200
        Number of samples. The clouds are as equal in number as `n` allows, in random order.
    n_features : int, default 2
        Dimension of the inputs, at least 2; all but two are noise.
    separation : float, default 3.0
        Distance of the means from the origin; not negative.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of order and samples.

    Returns
    -------
    Dataset
        X of shape (n, n_features), y of shape (n,) with labels 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or `rng` cannot be used.
    """
    n, n_features = checks.integer(n, "n", minimum=1), checks.integer(n_features, "n_features", minimum=2)
    separation, generator = checks.real(separation, "separation", minimum=0.0), checks.generator(rng)
    X = generator.normal(size=(n, n_features))
    clouds = balanced_labels(n, 4, generator)
    X[np.arange(n), clouds % 2] += np.where(clouds < 2, separation, -separation)
    return Dataset(X, clouds % 2, "xor-clusters")


def sparse_parity(n: int = 512, n_features: int = 20, k: int = 3, rng: Seed = 0) -> Dataset:
    """Draw vertices of the cube {−1, 1}^d, labelled by the parity of their first k coordinates.

    Parameters
    ----------
    n : int, default 512
        Number of samples, independent and uniform.
    n_features : int, default 20
        Dimension d of the inputs.
    k : int, default 3
        Number of coordinates that matter, from 1 to d.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of the samples.

    Returns
    -------
    Dataset
        X of shape (n, n_features) with entries ±1, y of shape (n,): 0 where x_1 ⋯ x_k = 1, and 1 where it is −1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or `rng` cannot be used.

    Notes
    -----
    The correlation of the label with every function of fewer than k coordinates is zero: gradient methods stay on a plateau [1]_.

    References
    ----------
    .. [1] B. Barak et al., "Hidden progress in deep learning: SGD learns parities near the computational limit", NeurIPS 2022.
    """
    n, n_features = checks.integer(n, "n", minimum=1), checks.integer(n_features, "n_features", minimum=1)
    k, generator = checks.integer(k, "k", minimum=1, maximum=n_features), checks.generator(rng)
    X = generator.choice([-1.0, 1.0], size=(n, n_features))
    return Dataset(X, (X[:, :k].prod(axis=1) < 0).astype(np.int64), f"sparse-parity-{k}")


def index_model(
    n: int = 512,
    n_features: int = 20,
    n_directions: int = 1,
    link: int | Callable[[Float64Array], ArrayLike] = 2,
    noise: float = 0.0,
    rng: Seed = 0,
) -> Dataset:
    """Draw normal inputs and a target that depends on a few directions of them: a single- or multi-index model.

    y = g(⟨u_1, x⟩, …, ⟨u_r, x⟩) + noise, with u_1 … u_r random and orthonormal.

    Parameters
    ----------
    n : int, default 512
        Number of samples.
    n_features : int, default 20
        Dimension d of the inputs.
    n_directions : int, default 1
        Number r of directions, from 1 to d.
    link : int or callable, default 2
        g: a function of an array of shape (n, r) with one value a row; or a degree k ≥ 1, for Σ_i He_k(⟨u_i, x⟩)/√(r k!), which has
        variance 1 and information exponent k [1]_.
    noise : float, default 0.0
        Standard deviation of the normal noise of the target; not negative.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of directions, inputs and noise.

    Returns
    -------
    Dataset
        X of shape (n, n_features), y of shape (n, 1).

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, `link` returns something else, or `rng` cannot be used.

    References
    ----------
    .. [1] G. Ben Arous, R. Gheissari, A. Jagannath, "Online stochastic gradient descent on non-convex losses from
       high-dimensional inference", JMLR 22 (2021).
    """
    n, n_features = checks.integer(n, "n", minimum=1), checks.integer(n_features, "n_features", minimum=1)
    n_directions = checks.integer(n_directions, "n_directions", minimum=1, maximum=n_features)
    noise, generator = checks.real(noise, "noise", minimum=0.0), checks.generator(rng)
    if not callable(link):
        link = _hermite(checks.integer(link, "link", minimum=1, maximum=_HIGHEST), n_directions)
    directions = np.linalg.qr(generator.normal(size=(n_features, n_directions)))[0]
    X = generator.normal(size=(n, n_features))
    y = checks.shaped(link(X @ directions), "link(…)", (n,)) + noise * generator.normal(size=n)
    return Dataset(X, y[:, None], f"{'single' if n_directions == 1 else 'multi'}-index")


_HIGHEST = 20  # degree of a Hermite polynomial, whose values of normal numbers are then below 1e10


def _hermite(k: int, r: int) -> Callable[[Float64Array], Float64Array]:
    """Return z (n, r) ↦ Σ_i He_k(z_i)/√(r k!), by He_{j+1} = z He_j − j He_{j−1}."""

    def link(z: Float64Array) -> Float64Array:
        before, value = np.zeros_like(z), np.ones_like(z)
        for j in range(k):
            before, value = value, z * value - j * before
        return np.asarray(value.sum(axis=1) / math.sqrt(r * math.factorial(k)))

    return link


def linear_regression(
    n: int = 200, spectrum: ArrayLike = (1.0, 0.5, 0.25), noise: float = 0.0, rng: Seed = 0
) -> Dataset:
    """Draw normal inputs with a covariance of chosen eigenvalues, and linear targets.

    x ~ N(0, V diag(λ) Vᵀ) with V random and orthogonal, y = ⟨w, x⟩ + noise, w normal with E|w|² = 1.

    Parameters
    ----------
    n : int, default 200
        Number of samples.
    spectrum : array_like of shape (d,), default (1, 0.5, 0.25)
        Eigenvalues λ of the covariance, not negative; for example ``np.arange(1, 101.0) ** -1.5`` for a power law.
    noise : float, default 0.0
        Standard deviation of the normal noise of the target; not negative.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of V, w, inputs and noise.

    Returns
    -------
    Dataset
        X of shape (n, d), y of shape (n, 1).

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or `rng` cannot be used.
    """
    n, noise = checks.integer(n, "n", minimum=1), checks.real(noise, "noise", minimum=0.0)
    eigenvalues, generator = checks.array(spectrum, "spectrum", ndim=1), checks.generator(rng)
    if eigenvalues.size == 0 or (eigenvalues < 0).any():
        raise ValueError(f"spectrum={checks.describe(spectrum)} is out of range; expected one or more numbers >= 0")
    d = eigenvalues.size
    basis = np.linalg.qr(generator.normal(size=(d, d)))[0]
    X = generator.normal(size=(n, d)) * np.sqrt(eigenvalues) @ basis.T
    w = generator.normal(size=d) / math.sqrt(d)
    return Dataset(X, (X @ w + noise * generator.normal(size=n))[:, None], "linear-regression")
