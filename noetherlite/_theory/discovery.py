"""All affine symmetries of a potential, computed numerically and compared with the catalogue (theory §8)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._base import checks
from .._base.floating import norm, rms, underflowing, unit
from .._base.types import Float64Array, Seed
from .._problem.network import NetworkPotential
from .._problem.points import random_point
from .._problem.potentials import Potential, is_potential
from .._symmetry.affine import Symmetry
from .._symmetry.family import Family
from .._symmetry.find import TOLERANCE, known_symmetries

_OVERSAMPLING = 2  # points per unknown; 1 would be enough without round-off
_CHECKS = 16  # fresh points at which the generators are tested
_INDEPENDENT = 1e-6  # sine of the least angle of a generator to the span of others: far above round-off
_FAILURES = 100  # consecutive points without a finite gradient after which sampling fails
_LEAST_PRODUCT = 1e-303  # 10^5 times the least double with all digits
_TINY = float(np.finfo(np.float64).tiny)
_WORKSPACE = 12  # arrays of n × n numbers in memory during the factorisations


@dataclass(frozen=True, eq=False, repr=False)
class Discovery:
    """The affine symmetries x ↦ x + ε(Gx + ξ) of a potential.

    Attributes
    ----------
    dimension : int
        Number of linearly independent generators (G, ξ).
    generators : ndarray, shape (dimension, P, P + 1)
        A basis, orthonormal in units of the parameters in which the data have size 1; `generators[k][:, :P]` is G and
        `generators[k][:, P]` is ξ.
    labels : tuple of str, length dimension
        Origin of each generator: the name of the catalogue's symmetry whose span, with that of the earlier ones, contains
        it; "multiple of " a translation; or "new …".
    singular_values : ndarray, shape (P(P + 1),)
        Of the sampled map, decreasing, relative to the first.
    gap : float
        The smallest singular value above the tolerance over the largest below it (at least round-off), on which the
        dimension depends; it is reliable from 1e6 on.
    defect : float
        Largest |⟨g, ∇U⟩|/(|g||∇U|) of the generators at fresh points.
    rank : int
        Number of directions that the generators span at one generic point.
    """

    generators: Float64Array
    labels: tuple[str, ...]
    singular_values: Float64Array
    gap: float
    defect: float
    rank: int

    @property
    def dimension(self) -> int:
        """Number of linearly independent generators."""
        return len(self.generators)

    @property
    def new(self) -> Float64Array:
        """The generators that the catalogue does not explain, shape (n_new, P, P + 1)."""
        return self.generators[[label.startswith("new") for label in self.labels]]

    def symmetry(self, k: int) -> Symmetry:
        """Return generator k as a symmetry, whose law `integrate(..., laws=[...])` then watches."""
        k = checks.integer(k, "k", minimum=0, maximum=self.dimension - 1)
        return Symmetry(self.generators[k][:, :-1], self.generators[k][:, -1], name=f"{self.labels[k]} ({k})")

    def __repr__(self) -> str:
        return f"<Discovery, dimension {self.dimension}, {len(self.new)} new, gap {self.gap:.0e}>"

    def __str__(self) -> str:
        lines = [f"{'explained by':34} generators"]
        lines += [f"{label:34} {count:10}" for label, count in Counter(self.labels).items()]
        lines += [f"{'all':34} {self.dimension:10}   ({self.rank} directions at a generic point)"]
        return "\n".join([*lines, f"singular-value gap {self.gap:.0e}, defect at fresh points {self.defect:.0e}"])


@underflowing
def discover(U: Potential, rng: Seed = 0, memory: float = 2.0**32) -> Discovery:
    """Compute all affine symmetries of a potential: the (G, ξ) with ⟨Gx + ξ, ∇U(x)⟩ = 0 for all x.

    They are the null space of a linear map, which is sampled at 2P(P + 1) random points and factorised. Nothing is assumed
    about U; afterwards the null space is compared with the catalogue (`symmetries`).

    Parameters
    ----------
    U : Potential
        Any potential. Symmetries by the data count too, such as translations along inputs that are zero in all samples.
    rng : int, SeedSequence or Generator
        Source of the points: a network's random parameters, scaled so that the inputs of every layer and the outputs have
        the size of the data; for other potentials normal x of several sizes around 1.
    memory : float
        Limit in bytes; about 96 P²(P + 1)² are needed.

    Returns
    -------
    Discovery
        The generators, their origin, and the singular values.

    Raises
    ------
    TypeError
        If U is not a potential.
    ValueError
        If the factorisation needs more than `memory`, ∇U is not finite at any of the points, or inputs and targets are so large or
        small that it is beyond the range of a double.

    Notes
    -----
    Row k of the sampled matrix is the outer product of ∇U(x_k) and (x_k, 1), divided by its norm; columns are scaled to
    equal norms, so that neither large gradients nor large parameters decide. The dimension is the number of singular
    values below `symmetries.TOLERANCE` times the largest.

    With a translation ξ, every ℓ(x)ξ with ℓ linear is a symmetry too. These multiples count in the dimension, as they are
    affine fields, but not in `rank`, as they have the same direction; under gradient flow they give no further law. For a softmax output with n inputs of the last layer there are (n + 1)(P + 1) of both.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.Network([2, 2, 2], "relu", loss="mse").potential([[1, 2], [3, -1], [-2, 1.0]], [[1, 0], [0, 1], [1, 1.0]])
    >>> print(nl.discover(U).labels)
    ('scaling:1', 'scaling:1')
    """
    is_potential(U)
    P, memory = U.n_params, checks.real(memory, "memory", minimum=0.0)
    unknowns = P * (P + 1)
    needed = 8.0 * _WORKSPACE * unknowns**2
    if needed > memory:
        raise ValueError(
            f"U has {P} parameters, so (G, ξ) has {unknowns} unknowns and finding them takes {needed / 1e9:.3g} GB, more "
            f"than memory={memory / 1e9:.3g} GB; expected a smaller network or a larger memory"
        )
    # The computation uses units in which the data have size 1; `to_parameters` converts (G, ξ) to the parameters' units.
    sizes = _parameter_units(U)
    to_parameters = np.outer(sizes, 1 / np.append(sizes, 1.0))
    points = _gradients(U, sizes, checks.generator(rng))
    values, null = _null_space(points, unknowns)
    labels, basis = _explain(U, null, to_parameters)
    generators = basis.reshape(-1, P, P + 1)
    controls = [next(points) for _ in range(_CHECKS)] if len(generators) else []
    nonzero, null_values = values[: unknowns - len(basis)], values[unknowns - len(basis) :]
    return Discovery(
        generators=generators * to_parameters,
        labels=labels,
        singular_values=values,
        gap=float(nonzero.min(initial=1.0) / null_values.max(initial=np.finfo(np.float64).eps)),
        defect=max((_defect(generators, x, gradient) for x, gradient in controls), default=0.0),
        rank=int(np.linalg.matrix_rank(generators @ controls[0][0], rtol=_INDEPENDENT)) if controls else 0,
    )


# --- sampling ------------------------------------------------------------------------------------------------------


def _parameter_units(U: Potential) -> Float64Array:
    """Return units of the parameters, in which a network's inputs have size 1 and its outputs that of the targets."""
    sizes = np.ones(U.n_params)
    if isinstance(U, NetworkPotential):
        arrays = U.network.unpack(sizes)
        spread = rms(U.X, axis=0)
        arrays["W1"] /= np.where(spread > 0, spread, 1.0)
        target = float(rms(U.network.loss_function.aimed_at(U.y)))
        target = target if target > 0 else 1.0
        with np.errstate(over="ignore"):
            products = target * target * spread[spread > 0]  # of the size of ∂U/∂W_1
        if ((products < _LEAST_PRODUCT) | (products > 1 / _LEAST_PRODUCT)).any():
            raise ValueError(
                f"U has inputs of the size {spread.max():.1g} and targets of the size {target:.1g}, whose gradients are beyond the "
                "range of a double; scale them"
            )
        for name in {f"W{U.network.n_layers}", f"b{U.network.n_layers}"} & set(arrays):
            arrays[name] *= target
    return sizes


def _gradients(
    U: Potential, sizes: Float64Array, rng: np.random.Generator
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Yield (x, 1) and ∇U in units of `sizes`, at random points where the gradient is finite."""
    failures = 0
    while failures < _FAILURES:
        x = random_point(U, rng) / sizes
        if isinstance(U, NetworkPotential):
            # layers of different sizes, as equal ones might show symmetries that do not hold in general
            for block in U.network.blocks:
                x[block.part] *= np.exp(rng.uniform(-0.7, 0.7))
        gradient = U.gradient(x * sizes)
        if np.isfinite(gradient).all():
            failures = 0
            yield np.append(x, 1.0), gradient * sizes
        else:
            failures += 1
    raise ValueError(f"U cannot be sampled: ∇U of {U!r} is not finite at {failures} random points in a row")


def _null_space(
    points: Iterator[tuple[Float64Array, Float64Array]], unknowns: int
) -> tuple[Float64Array, Float64Array]:
    """Return the relative singular values of (G, ξ) ↦ ⟨Gx + ξ, ∇U(x)⟩ and an orthonormal basis of its null space, in rows.

    The matrix is stored as its triangular factor R, to which blocks of rows are added.
    """
    R = np.zeros((0, unknowns))
    for _ in range(_OVERSAMPLING):
        rows = [_sample_row(x, gradient) for x, gradient in itertools.islice(points, unknowns)]
        R = np.asarray(np.linalg.qr(np.concatenate([R, np.array(rows)]), mode="r"))
    # A column that is pure round-off is a symmetry, and must not be scaled up to size 1.
    norms = np.linalg.norm(R, axis=0)
    scale = np.where(norms > TOLERANCE * norms.max(), norms, max(norms.max(), _TINY))
    _, values, V = np.linalg.svd(R / scale)
    values /= max(values[0], _TINY)
    return values, np.linalg.qr((V[values <= TOLERANCE] / scale).T)[0].T


def _sample_row(x: Float64Array, gradient: Float64Array) -> Float64Array:
    size = norm(gradient)
    return np.outer(gradient / size if size > 0 else gradient, x / norm(x)).ravel()


def _defect(generators: Float64Array, x: Float64Array, gradient: Float64Array) -> float:
    fields, gradient = generators @ (x / unit(x)), gradient / unit(gradient)
    product = np.linalg.norm(fields, axis=1) * np.linalg.norm(gradient)
    return float(np.max(np.abs(fields @ gradient) / np.where(product > 0, product, 1.0)))


# --- comparison with the catalogue -----------------------------------------------------------------------------------


def _explain(U: Potential, null: Float64Array, to_parameters: Float64Array) -> tuple[tuple[str, ...], Float64Array]:
    """Return a label for each generator, and a basis of the null space in which each row belongs to one label."""
    P = U.n_params
    labels: list[str] = []
    taken: Float64Array = np.zeros((0, len(null)))  # rows: orthonormal coordinates in the basis `null`

    def take(label: str, candidates: Float64Array) -> None:
        nonlocal taken
        inside = candidates @ null.T
        added = _orthonormal(inside - inside @ taken.T @ taken)
        labels.extend([label] * len(added))
        taken = np.concatenate([taken, added])

    translations: list[tuple[str, Float64Array]] = []
    # A linear layer's symmetries include its neurons' scalings, so it comes first, unless it has an objection.
    for family in sorted(known_symmetries(U), key=lambda f: (bool(f.objection), -f.n_generators)):
        candidates = (affine(family) / to_parameters).reshape(family.n_generators, -1)
        candidates /= np.ldexp(1.0, np.frexp(np.abs(candidates).max(axis=1, keepdims=True))[1] - 1)
        candidates = candidates[_in_null_space(candidates, null)]
        candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
        take(family.name, candidates)
        if family.still:
            translations.append((family.name, candidates))
    for name, candidates in translations:
        take(f"multiple of {name}", _multiples(candidates, P))
    constant = _translations_in(null, P)
    take("new translation", constant)
    take("new multiple of a translation", _multiples(constant, P))
    take("new", null)
    return tuple(labels), np.asarray(taken @ null, dtype=np.float64)


def affine(family: Family) -> Float64Array:
    """Return (G_c, ξ_c) of a family's components, shape (n_generators, P, P + 1), from its fields at 0 and at unit vectors."""
    P = family.n_params
    shift = family.generator(np.zeros(P))
    columns = [family.generator(unit) - shift for unit in np.eye(P)]
    return np.stack([*columns, shift], axis=-1)


def _in_null_space(candidates: Float64Array, null: Float64Array) -> NDArray[np.bool_]:
    """Return a mask of the generators (rows) that lie in the null space; zero rows do not."""
    outside = np.linalg.norm(candidates - candidates @ null.T @ null, axis=1)
    return np.asarray(outside < _INDEPENDENT * np.linalg.norm(candidates, axis=1))


def _multiples(translations: Float64Array, P: int) -> Float64Array:
    """Return the fields x_j ξ for each translation ξ and each parameter j, in rows."""
    xi = translations.reshape(-1, P, P + 1)[:, :, P]
    fields = np.zeros((len(xi), P, P, P + 1))
    for j in range(P):
        fields[:, j, :, j] = xi
    return fields.reshape(-1, P * (P + 1))


def _translations_in(null: Float64Array, P: int) -> Float64Array:
    """Return an orthonormal basis of the combinations of rows of `null` with G = 0, the translations."""
    G = null.reshape(-1, P, P + 1)[:, :, :P].reshape(-1, P * P)
    values, vectors = np.linalg.eigh(G @ G.T)
    return np.asarray(vectors[:, values < _INDEPENDENT**2].T @ null)


def _orthonormal(rows: Float64Array) -> Float64Array:
    """Return an orthonormal basis of the span of rows of about unit size, without directions of round-off."""
    if rows.size == 0:
        return np.zeros((0, rows.shape[1]))
    _, values, V = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(V[values > _INDEPENDENT * max(1.0, values[0])])
