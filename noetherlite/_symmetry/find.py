"""The symmetries of a potential, and the defect of a supposed one.

Scalings, linear layers and output translations follow from the activations and the loss; invariance under rotations depends
on the data and is measured.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from .._base import checks
from .._base.floating import norm, underflowing, unit
from .._base.products import square, times_transposed
from .._base.types import Array, Seed
from .._problem.analytic import Analytic
from .._problem.network import NetworkPotential
from .._problem.points import random_point
from .._problem.potentials import Potential, is_potential
from .affine import Symmetry
from .catalogue import catalogue
from .family import Family, NoetherSymmetry
from .rotation import DataRotation
from .scaling import NeuronScaling
from .time_translation import Time

# A symmetry holds where its defect is below this: 2^14 units of round-off, or 4e-12.
TOLERANCE = 2**14 * float(np.finfo(np.float64).eps)
# Where ∇U is a small difference of large terms round-off is larger, but below this; few points are of that kind.
_LARGEST = math.sqrt(TOLERANCE)
POINTS = 8
_SMALL = 1 << 14  # bytes


def scalings(U: Potential) -> list[str]:
    """Return the names of the scaling symmetries of a potential."""
    families = catalogue(U.network) if isinstance(U, NetworkPotential) else []
    return [s.name for s in families if isinstance(s, NeuronScaling) and not s.objection]


@underflowing
def symmetries(U: Potential, rng: Seed = 0) -> list[NoetherSymmetry]:
    """Return the symmetries of a potential that are in the catalogue; the last is always time.

    Scalings, linear layers and output translations follow from the activations and the loss: they are theorems. Rotations
    depend on the data: if these claim `rotation_invariant`, or their mean is zero and their second moments are isotropic,
    then ⟨W_1A, ∇U⟩ = 0 is measured at 8 random parameters. That is a measurement, not a theorem, as the attribute
    `measured` says: a potential that is invariant at these points only would pass.

    Parameters
    ----------
    U : Potential
        A network's, or one of `nl.potentials` with known symmetries; of others the result is time alone, see `Symmetry`.
    rng : int, SeedSequence or Generator
        Source of the random parameters. They are scaled to the data: pre-activations of size 1 in every layer, outputs of
        the size of the targets, and kinks of neurons among the samples; at one point all biases are zero.

    Returns
    -------
    list of NoetherSymmetry
        In the order "scaling:1", "linear:1", "scaling:2", …, "rotation", "translation:b", "translation:W", "time", as
        far as the potential has them.

    Raises
    ------
    TypeError
        If U is not a potential.
    ValueError
        If the data claim rotation_invariant=True and the potential is not invariant; the message has the defect.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([3, 1, 1], activation="polynomial(2)", bias=False, loss="mse")
    >>> [s.name for s in nl.symmetries(net.potential(nl.datasets.icosahedron()))]
    ['scaling:1', 'rotation', 'time']
    """
    is_potential(U)
    checks.seed(rng)
    return [*_families(U, rng), Time(U)]


def _families(U: Potential, rng: Seed) -> list[Family]:
    """Return the families that hold."""
    holding = [s for s in known_symmetries(U) if not s.objection]
    rotation = next((s for s in holding if isinstance(s, DataRotation)), None)
    if isinstance(U, NetworkPotential) and rotation is not None and not _rotates(U, rotation, rng):
        holding.remove(rotation)
    return holding


@underflowing
def symmetry_defect(U: Potential, symmetry: NoetherSymmetry | str, rng: Seed = 0) -> float:
    """Return max |⟨g(x), ∇U(x)⟩| / Σ_b |g_b(x)||∇_b U(x)| over 8 random points x and all components g of a symmetry.

    It is a measurement: a large defect disproves a symmetry, a small one does not prove it. The sum is over the blocks of a
    network's parameters, W_1, b_1, …, which makes the defect independent of the units of inputs and targets.

    Parameters
    ----------
    U : Potential
        Any potential.
    symmetry : NoetherSymmetry or str
        A symmetry, supposed or known; or, for a network's potential, its name in the catalogue: "scaling:1", "linear:1",
        "rotation", "translation:b", "translation:W", whether it holds or not.
    rng : int, SeedSequence or Generator
        Source of the points: a network's random parameters, fitted to its data as in `symmetries`; for other potentials
        normal x of several sizes around 1.

    Returns
    -------
    float
        Round-off for a symmetry, below `TOLERANCE` unless ∇U is a small difference of large terms at a point; otherwise up to 1; 0
        for time.

    Raises
    ------
    TypeError
        If U is not a potential or `symmetry` is neither a symmetry nor a name.
    ValueError
        If the name is unknown, the symmetry is for another number of parameters, or ∇U is not finite at any point.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.potentials.Radial(2)
    >>> nl.symmetry_defect(U, nl.Symmetry([[0, -1], [1, 0]])) < 1e-15
    True
    >>> nl.symmetry_defect(U, nl.Symmetry([[1, 0], [0, -1]])) > 0.1
    True
    """
    is_potential(U)
    symmetry = _resolve(U, symmetry, "symmetry")
    if not isinstance(symmetry, Family):
        return 0.0  # no potential depends on time
    return max(_defects(U, symmetry, rng))


def _defects(U: Potential, symmetry: Family, rng: Seed = 0) -> list[float]:
    """Return the defect at each of the points where ∇U is finite; ValueError if there are none."""
    generator = checks.generator(rng)
    vector = [slice(0, U.n_params)]
    blocks = [b.part for b in U.network.blocks] if isinstance(U, NetworkPotential) else vector
    defects = []
    for k in range(POINTS):
        x = random_point(U, generator, zero_biases=k == 0)
        gradient = U.gradient(x)
        if np.isfinite(gradient).all():
            gradient = gradient / unit(gradient)
            product = sum(symmetry.norm_within(x, block) * norm(gradient[block]) for block in blocks)
            defects.append(float(np.max(np.abs(symmetry.charge(x, gradient)) / np.where(product > 0, product, 1.0))))
    if not defects:
        raise ValueError(f"the defect of {symmetry.name!r} cannot be measured: ∇U of {U!r} is not finite at random x")
    return defects


def _is_round_off(defects: list[float]) -> bool:
    """Return whether defects are those of a symmetry."""
    return bool(np.median(defects) <= TOLERANCE and max(defects) <= _LARGEST)


def watched(
    U: Potential, laws: str | Sequence[str | NoetherSymmetry] | None, minibatches: bool = False
) -> list[Family]:
    """Return the families that the argument `laws` of `integrate` selects, each one verified.

    With `minibatches`, "all" omits symmetries of the whole data set only. TypeError or ValueError if a name is unknown or comes
    twice, or a symmetry does not hold; the message has the measured defect.
    """
    if laws is None:
        return []
    if isinstance(laws, str):
        if laws == "all":
            return [s for s in _families(U, rng=0) if s.batchwise or not minibatches]
        checks.one_of(laws, "laws", ["all", *(s.name for s in _candidates(U))])
    out = []
    for item in listed(laws):
        s = _resolve(U, item, "laws")
        if not isinstance(s, Family):
            raise ValueError("laws: the law of 'time' is the energy, which every run records in Trajectory.energy")
        if minibatches and not s.batchwise:
            raise ValueError(
                f"laws: {s.name!r} is a symmetry of the whole data set, not of minibatches: drop batch_size"
            )
        theorem = isinstance(item, str) and not s.measured
        if s.objection or not theorem:
            defects = _defects(U, s)
            if s.objection or not _is_round_off(defects):
                reason = f": {s.objection}" if s.objection else ""
                raise ValueError(f"laws: {s.name!r} is not a symmetry of {U!r}{reason}; {_measured(defects)}")
        out.append(s)
    if len({s.name for s in out}) < len(out):
        raise ValueError(f"laws names a symmetry twice: {[s.name for s in out]}")
    return out


def listed(laws: str | NoetherSymmetry | Sequence[str | NoetherSymmetry]) -> list[str | NoetherSymmetry]:
    """Return the argument `laws` as a list."""
    if isinstance(laws, str | NoetherSymmetry):
        return [laws]
    return checks.items(laws, "laws", "'all', or a sequence of names and symmetries")


def _resolve(U: Potential, symmetry: str | NoetherSymmetry, argument: str) -> NoetherSymmetry:
    """Return the symmetry, or that of this name in the catalogue, whether it holds or not."""
    if isinstance(symmetry, NoetherSymmetry):
        if symmetry.n_params != U.n_params:
            raise ValueError(
                f"{argument}: {symmetry.name!r} acts on {symmetry.n_params} parameters, the potential has {U.n_params}"
            )
        return symmetry
    if not isinstance(symmetry, str):
        raise TypeError(f"{argument} must hold names and symmetries, got {checks.describe(symmetry)}")
    candidates = {s.name: s for s in _candidates(U)}
    return candidates[checks.one_of(symmetry, argument, candidates)]


def _candidates(U: Potential) -> list[NoetherSymmetry]:
    """Return the symmetries that can be selected by name, whether they hold or not."""
    return [*known_symmetries(U), Time(U)]


def known_symmetries(U: Potential) -> list[Family]:
    """Return the catalogue of a network, whether its members hold or not, or the symmetries of an analytic potential."""
    if isinstance(U, NetworkPotential):
        return catalogue(U.network)
    if isinstance(U, Analytic):
        return [_theorem(name, generator) for name, generator in U.generators().items()]
    return []


def _theorem(name: str, generator: Array) -> Symmetry:
    """Return the symmetry of a generator (G, ξ) that needs no measurement."""
    symmetry = Symmetry(generator[:, :-1], generator[:, -1], name)
    symmetry.measured = False
    return symmetry


def _rotates(U: NetworkPotential, rotation: DataRotation, rng: Seed) -> bool:
    if not (U.rotation_invariant or _isotropic(U.X)):
        return False
    defects = _defects(U, rotation, rng)
    holds = _is_round_off(defects)
    if U.rotation_invariant and not holds:
        raise ValueError(
            f"the data {U.dataset!r} claim rotation_invariant=True, but U of {U!r} changes when the inputs are rotated: "
            f"{_measured(defects)}. Choose a network for which it is true (see nl.datasets.icosahedron), make the Dataset "
            "with rotation_invariant=False, or name the laws to watch, for example laws=['scaling:1']"
        )
    return holds


def _isotropic(X: Array) -> bool:
    """Whether the inputs have mean zero and second moments proportional to the identity, to round-off."""
    # Small data, of which runs may be shorter than this, are known again by all of their bytes, as arrays may be changed.
    return _of_bytes(X.tobytes(), X.shape, X.dtype.str) if X.nbytes <= _SMALL else _has_isotropic_moments(X)


@functools.lru_cache(maxsize=64)
def _of_bytes(data: bytes, shape: tuple[int, ...], dtype: str) -> bool:
    return _has_isotropic_moments(np.frombuffer(data, dtype).reshape(shape))


def _has_isotropic_moments(X: Array) -> bool:
    scale, n = unit(X), X.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = math.sqrt(square(X.sum(axis=0) / (len(X) * scale)))
    if 2 * TOLERANCE * math.sqrt(n) < mean < math.inf:
        return False  # as of most data, whose moments take as long as several steps
    X = X / scale
    size, mean = square(X) / len(X), math.sqrt(square(X.sum(axis=0) / len(X)))
    if mean > TOLERANCE * math.sqrt(size):
        return False
    moments = times_transposed(X.T, X.T) / len(X)
    return bool(np.abs(moments - size / n * np.eye(n)).max() <= TOLERANCE * size)


def _measured(defects: list[float]) -> str:
    return (
        f"max |⟨g, ∇U⟩|/Σ|g_b||∇_b U| = {max(defects):.2g} at random points (a symmetry has less than {TOLERANCE:.0g})"
    )
