"""The conserved polynomials of a flow: an ansatz for all data sets, solved modulo the prime 2⁶¹ − 1 (theory §14)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .._arch.block import Block
from .._arch.model import Model
from .._base import checks
from .._base.types import ArrayLike, Float64Array, IntArray, Seed
from .._kernels import modular
from .._kernels.modular import PRIME
from .._problem.network import Network
from .brackets import Bracketed, Fields, Residues, Span, check_activations
from .formula_text import formula
from .model_fields import ModelFields

_MOST_MONOMIALS = 3000  # the time grows with the cube, to a minute or two
_LARGEST_DENOMINATOR = 10**4
_PATIENCE = 16  # equations in a row that follow from the others

Monomial = tuple[int, ...]


@dataclass(frozen=True)
class ConservedPolynomial:
    """A polynomial in the parameters that a flow conserves whatever the data and the loss.

    Attributes
    ----------
    terms : dict of tuple of int to int
        Coefficients of monomials, which are named by the numbers of their parameters; from P on those of the momenta.
    text : str
        The polynomial as a formula.
    n_variables : int
        P, or 2P with momentum.
    degree : int
        Its degree.
    """

    terms: Mapping[Monomial, int]
    text: str
    n_variables: int

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return max(map(len, self.terms))

    def value(self, theta: ArrayLike) -> float:
        """Return the polynomial at θ of shape (P,), or at (θ, p) of shape (2P,) with momentum.

        Parameters
        ----------
        theta : array_like
            The point.

        Returns
        -------
        float
            The value.
        """
        x = self._point(theta)
        return math.fsum(float(c) * math.prod(float(x[i]) for i in m) for m, c in self.terms.items())

    def gradient(self, theta: ArrayLike) -> Float64Array:
        """Return the derivatives at θ.

        Parameters
        ----------
        theta : array_like
            The point, as in `value`.

        Returns
        -------
        array
            In the shape of the point.
        """
        x = self._point(theta)
        out = np.zeros_like(x)
        for monomial, coefficient in self.terms.items():
            for k, i in enumerate(monomial):
                out[i] += float(coefficient) * math.prod(float(x[j]) for j in monomial[:k] + monomial[k + 1 :])
        return out

    def _point(self, theta: ArrayLike) -> Float64Array:
        x = checks.shaped(theta, "theta", (self.n_variables,)).astype(np.float64)
        with np.errstate(over="ignore"):
            bound = np.abs(x).max(initial=0.0) ** self.degree * self.degree * sum(map(abs, self.terms.values()))
        if not np.isfinite(bound):
            raise ValueError("theta has entries whose products are beyond the range of a double; scale them")
        return x

    def __str__(self) -> str:
        return self.text


def conserved_polynomials(
    net: Network | Model | Block, degree: int = 2, flow: str = "gradient", rng: Seed = 0
) -> list[ConservedPolynomial]:
    """Find the polynomials that are conserved for every data set and every loss: an ansatz, solved in exact arithmetic.

    Parameters
    ----------
    net : Network, arch.Model or arch.Block
        As in `count_laws`.
    degree : int
        The largest degree, 1 to 4.
    flow : {"gradient", "momentum"}
        Gradient flow, or momentum without friction: polynomials in θ, or in (θ, p).
    rng : int, SeedSequence or Generator
        Source of random points; the result depends on it with a probability below 1e-9.

    Returns
    -------
    list of ConservedPolynomial
        Functionally independent ones, of lowest degree first.

    Raises
    ------
    TypeError
        If `net` is neither a network nor an architecture.
    ValueError
        If the ansatz has more than 3000 monomials, a coefficient is no fraction of small numbers, or an activation is none that
        `count_laws` takes.

    Notes
    -----
    h is conserved if ⟨∇h, Y⟩ = 0 at all points for all fields Y of the flow. Random points and fields give linear equations for the
    coefficients of h. Every polynomial is tested on new ones afterwards.

    Examples
    --------
    >>> import noetherlite as nl
    >>> for law in nl.conserved_polynomials(nl.arch.Conv1d([1, 2, 1], [3, 3], "linear")):
    ...     print(str(law).replace("conv1d.convolution", "W"))
    ⟨W1.W[0,0,:], W2.W[0,1,:]⟩ − ⟨W1.W[1,0,:], W2.W[0,0,:]⟩
    |W1.W[0,0,:]|² − |W2.W[0,0,:]|²
    ⟨W1.W[0,0,:], W1.W[1,0,:]⟩ − ⟨W2.W[0,0,:], W2.W[0,1,:]⟩
    |W1.W[1,0,:]|² − |W2.W[0,1,:]|²
    """
    checks.integer(degree, "degree", minimum=1, maximum=4)
    momentum = checks.one_of(flow, "flow", ("gradient", "momentum")) == "momentum"
    generator = checks.generator(rng)
    fields, names = _fields_of(net, flow, generator)
    size = fields.size
    if (count := math.comb(size + degree, degree) - 1) > _MOST_MONOMIALS:
        raise ValueError(
            f"degree={degree} has {count} monomials of {size} variables; expected at most {_MOST_MONOMIALS}"
        )
    point, conserved, independent = None, list[ConservedPolynomial](), Span(size)
    motions = fields.motions(generator)
    for highest in range(1, degree + 1):
        monomials = _monomials(size, highest)
        for vector in _solutions(monomials, size, motions):
            terms = _integers({m: _fraction(int(c)) for m, c in zip(monomials, vector, strict=True) if c})
            if point is None:
                point = next(motions)[0][0]
            if independent.add(_differential(terms, point)):
                conserved.append(ConservedPolynomial(terms, formula(terms, names, momentum), size))
    _check(conserved, motions)
    return conserved


def _fields_of(net: object, flow: str, rng: np.random.Generator) -> tuple[Bracketed, dict[str, IntArray]]:
    """Return the fields of a network or an architecture, and the numbers of the parameters of each tensor."""
    if isinstance(net, Network):
        check_activations(net)
        names = net.unpack(np.arange(net.n_params, dtype=np.float64))
        return Fields(net, flow == "momentum"), {name: array.astype(np.int64) for name, array in names.items()}
    if not isinstance(net, Model | Block):
        raise TypeError(f"net must be a Network or an architecture of nl.arch, got {checks.describe(net)}")
    model = net if isinstance(net, Model) else Model(net)
    return ModelFields(model, flow, rng), model.index


def _monomials(size: int, degree: int) -> list[Monomial]:
    """Return the monomials of degree 1 … degree."""
    return [m for d in range(1, degree + 1) for m in itertools.combinations_with_replacement(range(size), d)]


def _solutions(monomials: list[Monomial], size: int, motions: Iterator[tuple[Residues, Residues]]) -> Residues:
    """Return the coefficients of polynomials h with ⟨∇h, Y⟩ = 0 at all points, one a row."""
    number = {m: k for k, m in enumerate(monomials)}
    by_degree = [list(group) for _, group in itertools.groupby(monomials, key=len)]
    steps = [
        [np.array(part) for part in zip(*((number[m], number.get(m[:-1], 0), m[-1]) for m in group), strict=True)]
        for group in by_degree
    ]

    def equations() -> Iterator[Residues]:
        for points, values in motions:
            moving = np.stack([points, values], axis=-1)
            jets = np.zeros((len(points), len(monomials), 2), np.uint64)
            jets[:, :size] = moving
            for numbers, parent, last in steps[1:]:  # a monomial is one of a degree less, times its last variable
                flat = [np.ascontiguousarray(a).reshape(-1, 2) for a in (jets[:, parent], moving[:, last])]
                out = np.zeros_like(flat[0])
                modular.multiply_jets(*flat, out)
                jets[:, numbers] = out.reshape(len(points), -1, 2)
            yield from jets[..., 1]

    span = Span(len(monomials))
    span.extend(equations(), len(monomials), _PATIENCE)
    return span.orthogonal()


def _fraction(residue: int) -> Fraction:
    """Return the fraction of small numbers that is a residue, by the extended Euclidean algorithm."""
    (r, s), (t, u) = (PRIME, residue), (0, 1)
    while s > _LARGEST_DENOMINATOR:
        (r, s), (t, u) = (s, r % s), (u, t - r // s * u)
    if not 0 < abs(u) <= _LARGEST_DENOMINATOR:
        raise ValueError(
            f"net has a conserved polynomial with a coefficient that is no fraction of numbers ≤ {_LARGEST_DENOMINATOR}"
        )
    return Fraction(s, u)


def _integers(terms: dict[Monomial, Fraction]) -> dict[Monomial, int]:
    """Return the multiple of a polynomial whose coefficients are integers without a common factor, the first positive."""
    multiple = math.lcm(*(c.denominator for c in terms.values()))
    common = math.gcd(*(int(c * multiple) for c in terms.values()))
    sign = 1 if next(iter(terms.values())) > 0 else -1
    return {m: int(c * multiple) // common * sign for m, c in terms.items()}


def _differential(terms: Mapping[Monomial, int], point: Residues) -> Residues:
    """Return the derivatives of a polynomial at a point modulo p."""
    x, out = [int(v) for v in point], [0] * len(point)
    for monomial, c in terms.items():
        for k, i in enumerate(monomial):
            out[i] += c * math.prod(x[j] for j in monomial[:k] + monomial[k + 1 :])
    return np.array([v % PRIME for v in out], np.uint64)


def _check(polynomials: list[ConservedPolynomial], motions: Iterator[tuple[Residues, Residues]]) -> None:
    """Assert ⟨∇h, Y⟩ = 0 on points and fields that were not used."""
    for points, values in itertools.islice(motions, 3):
        for h in polynomials:
            differential = _differential(h.terms, points[0])
            assert not sum(int(a) * int(b) for a, b in zip(differential, values[0], strict=True)) % PRIME, str(h)
