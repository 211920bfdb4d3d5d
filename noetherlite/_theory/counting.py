"""The number of conservation laws that hold for every data set: P minus the dimension of a Lie algebra, exactly (theory §9)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from .._arch.block import Block
from .._arch.model import Model
from .._base import checks
from .._base.floating import underflowing
from .._base.types import ArrayLike, Float64Array, Seed
from .._kernels import modular
from .._kernels.modular import PRIME
from .._problem.network import Network
from .._symmetry.linear_layer import LinearLayer
from .._symmetry.scaling import NeuronScaling
from .brackets import Bracketed, Fields, Residues, Samples, Span, check_activations, residues, samples_at

FLOWS = ("gradient", "momentum")
ALL_PATTERNS = "every activation pattern occurs"
_DEEPEST = 12  # a bracket of depth d costs 3^d; the deepest closure met so far has depth 11
_LARGEST_COORDINATE = 2**20  # of the integer point where the known laws are differentiated: exact in float64


class LawCount(int):
    """The number of independent conservation laws: an int with its certificate.

    Attributes
    ----------
    count, upper : int
        The number: dimension of the state minus that of the closure. It is an upper bound, under the `assumption` if
        there is one.
    lower : int
        Rank of the differentials of the laws that are theorems: a lower bound.
    assumption : str
        "every activation pattern occurs", or '' if nothing is assumed.
    n_samples : int
        Number of inputs for which it holds, near given parameters; 0 for every data set.
    by_name : dict of str to int
        Number of the `lower` laws that each symmetry of an architecture adds to those named before it; {} for a Network.
    certified : bool
        Whether the two bounds meet and nothing is assumed. This is a proof: both are ranks of integer matrices, which ranks
        modulo a prime bound from below.
    closed : bool
        Whether brackets of the next depth added nothing at the random point. Then `upper` is the exact number, even if
        `lower` is smaller, except with a probability below 1e-9.
    depths : tuple of int
        Dimension of the span of all brackets up to depth 1, 2, …; it ends where `lower` is reached.
    n_dimensions : int
        P for gradient flow, 2P with momentum.
    flow : str
        "gradient" or "momentum".
    """

    lower: int
    closed: bool
    depths: tuple[int, ...]
    n_dimensions: int
    flow: str
    assumption: str
    n_samples: int
    by_name: dict[str, int]

    def __new__(
        cls,
        flow: str,
        n_dimensions: int,
        depths: tuple[int, ...],
        lower: int,
        closed: bool,
        assumption: str = "",
        n_samples: int = 0,
        by_name: Mapping[str, int] | None = None,
    ) -> Self:
        """Make the count `n_dimensions` − the last of `depths`."""
        count = super().__new__(cls, n_dimensions - depths[-1])
        count.flow, count.n_dimensions, count.depths = flow, n_dimensions, depths
        count.lower, count.closed = lower, closed
        count.assumption, count.n_samples, count.by_name = assumption, n_samples, dict(by_name or {})
        return count

    def __getnewargs__(self) -> tuple[Any, ...]:
        numbers = self.flow, self.n_dimensions, self.depths, self.lower, self.closed
        return (*numbers, self.assumption, self.n_samples, self.by_name)

    @property
    def count(self) -> int:
        """The number of laws."""
        return int(self)

    @property
    def upper(self) -> int:
        """An upper bound of the number of laws."""
        return int(self)

    @property
    def certified(self) -> bool:
        """Whether `lower` and `upper` meet, with nothing assumed."""
        return self.lower == self.upper and not self.assumption

    @property
    def method(self) -> str:
        """A sentence on the method, validity and certainty of the number."""
        closure = (
            f"{self.n_dimensions} dimensions − {self.depths[-1]} of the closure, by brackets to depth {len(self.depths)} "
            "modulo 2^61 − 1"
        )
        if self.n_samples:
            closure += f", for {self._inputs} near the given parameters"
        if self.lower == self.upper:
            known = "as many laws are known"
            return f"{closure}; {known} if {self.assumption}" if self.assumption else f"{closure}; certified: {known}"
        under = f"; assumed that {self.assumption}" if self.assumption else ""
        if self.closed:
            return f"{closure}; {self.lower} laws are known, and the closure is complete but for a chance below 1e-9{under}"
        return f"{closure}; {self.lower} laws are known, and the closure is not complete: an upper bound{under}"

    @property
    def _inputs(self) -> str:
        return f"{self.n_samples} input{'' if self.n_samples == 1 else 's'}"

    def __repr__(self) -> str:
        parts = [f"{int(self)}, {self.flow} flow"]
        if self.n_samples:
            parts.append(self._inputs)
        if self.lower < self.upper:
            parts.append(f"at least {self.lower}" + ("" if self.closed else ", upper bound"))
        elif not self.assumption:
            parts.append("certified")
        if self.assumption:
            parts.append(f"if {self.assumption}")
        return f"<LawCount {', '.join(parts)}>"

    def __str__(self) -> str:
        return str(int(self))


@underflowing
def count_laws(
    net: Network | Model | Block,
    flow: str = "gradient",
    rng: Seed = 0,
    memory: float = 2.0**32,
    *,
    theta: ArrayLike | None = None,
    X: ArrayLike | None = None,
) -> LawCount:
    """Count the independent conservation laws that hold for every data set and every loss, near a generic point.

    With parameters and inputs: the laws that hold for these inputs, whatever the targets and the loss, near θ.

    Parameters
    ----------
    net : Network, arch.Model or arch.Block
        The activations of a Network are linear, relu, leaky_relu, polynomial, or repu of an integer degree; its loss is not
        used. Of an architecture (theory §14) the loss counts: "nll" has translations of the logits.
    flow : {"gradient", "momentum"}
        "gradient": functions h(θ) constant under θ̇ = −∇U. "momentum": functions h(t, θ, θ̇) constant under
        mθ̈ + c(t)θ̇ + ∇U = 0, m > 0; their number is the same for every friction c. For an architecture also "mirror":
        under the mirror flow of the entropy, θ̇ = −θ ⊙ ∇U.
    rng : int, SeedSequence or Generator
        Source of the random point and fields; the result depends on it with a probability below 1e-9.
    memory : float
        Limit in bytes; about 8P² are used, with momentum 32P².
    theta, X : array_like, shapes (P,) and (N, n_0), optional
        Parameters and inputs, given together: only the activation patterns of the inputs at θ count then, and only the span
        of the inputs. Time grows with N.

    Returns
    -------
    LawCount
        An int with bounds, a flag `certified`, what is assumed, and the dimensions it comes from.

    Raises
    ------
    TypeError
        If `net` is not a network.
    ValueError
        If the flow is not known, an activation is not piecewise polynomial, one of degree above 1 comes after a
        piecewise one, the network is too large for `memory`, θ is given without X or X without θ, or θ lies on a kink.

    Notes
    -----
    A function is conserved if its differential vanishes on the fields of the flow, hence on all their Lie brackets; by
    Frobenius' theorem the number of independent ones is the codimension of the span of the brackets [1]_. The fields
    are ∇_θ⟨c, f(θ; x)⟩ for all x, c and activation patterns; with momentum they act on the velocities, and the free
    motion is added to them [2]_. Right-normed brackets of random fields are evaluated at a random point modulo
    p = 2⁶¹ − 1. If a random bracket lies in the span of the earlier ones, so do all of its depth, except with small
    probability; a depth that adds nothing is the last. Ranks modulo p never exceed the true ones.

    The known laws are those of neuron scalings and linear layers (of their antisymmetric parts, with momentum). Between two
    layers of width one, without biases and piecewise activations, the network is one scalar function s of the weights
    in between, which move along ∇s only: k weights have k − 1 local laws. With momentum and one linear layer in between,
    s = ⟨u, w⟩ has the rotations of u + w and of u − w. A network with scalar input and output is such a case.

    Every activation pattern is taken to occur in the data. For a single piecewise layer this is a theorem if the layers
    below are linear and either have more than one neuron each (inputs included) or there are biases: the kinks are then
    different hyperplanes of the inputs, and data on both sides of each determine the field of its neuron. For other networks
    it is an assumption, which `assumption` names, and false on open sets of parameters: where W_2 > 0, all neurons of the
    second layer of [2, 3, 2, 2] without biases are on or off together, and there is one more law. Scalar inputs without
    biases have two patterns only. Give θ and X to count for the patterns that do occur.

    References
    ----------
    .. [1] S. Marcotte, R. Gribonval and G. Peyré, "Abide by the Law and Follow the Flow: Conservation Laws for Gradient
       Flows", NeurIPS 2023.
    .. [2] S. Marcotte, R. Gribonval and G. Peyré, "Keep the Momentum: Conservation Laws beyond Euclidean Gradient Flows",
       ICML 2024.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.count_laws(nl.Network([2, 3, 2], "linear", bias=False))
    <LawCount 6, gradient flow, certified>
    >>> nl.count_laws(nl.Network([2, 3, 2], "relu"), flow="momentum")
    <LawCount 0, momentum flow, certified>
    >>> nl.count_laws(nl.Network([2, 3, 2, 2], "relu", bias=False))
    <LawCount 5, gradient flow, if every activation pattern occurs>
    >>> nl.count_laws(nl.Network([1, 2, 1], "relu", bias=False, loss="mse"), theta=[1, -1, 2, 3], X=[[1.0], [-1.0]])
    <LawCount 2, gradient flow, 2 inputs, certified>
    """
    if isinstance(net, Model | Block):
        from .model_counting import count  # which imports this file

        return count(net, flow, rng, memory, theta, X)
    checks.instance(net, "net", Network, "a Network or an architecture of nl.arch")
    check_activations(net)
    momentum = checks.one_of(flow, "flow", FLOWS) == "momentum"
    check_memory(net.n_params, momentum, memory)
    samples = _samples_near(net, theta, X)
    fields, generator = Fields(net, momentum, samples), checks.generator(rng)
    theorems = Span(fields.size)
    x, p = generator.integers(1, _LARGEST_COORDINATE, (2, net.n_params)).astype(np.float64)
    for differential in _known_differentials(net, fields, x, p):
        theorems.add(differential)
    depths, closed = bracket_closure(
        fields, fields.size - theorems.dimension, generator, residues(generator, fields.size)
    )
    assumed, n_samples = (_assumption(net), 0) if samples is None else ("", len(samples.inputs))
    return LawCount(flow, fields.size, depths, theorems.dimension, closed, assumed, n_samples)


def check_memory(n_params: int, momentum: bool, memory: float) -> None:
    """Raise if the closure of n_params parameters does not fit."""
    if (needed := 8.0 * (n_params * (1 + momentum)) ** 2) > checks.real(memory, "memory", minimum=0.0):
        raise ValueError(
            f"net has {n_params} parameters; counting takes {needed / 1e9:.3g} GB, more than "
            f"memory={memory / 1e9:.3g} GB; expected a smaller network or a larger memory"
        )


def _samples_near(net: Network, theta: ArrayLike | None, X: ArrayLike | None) -> Samples | None:
    """Return the inputs X with their activation patterns at θ; None without θ and X."""
    if (theta is None) != (X is None):
        missing, other = ("X", "theta") if X is None else ("theta", "X")
        raise ValueError(f"{missing} must be given with {other}: patterns are those of inputs at parameters")
    if theta is None or X is None:
        return None
    point = checks.shaped(theta, "theta", (net.n_params,)).astype(np.float64)
    return samples_at(net, point, net.inputs(X).astype(np.float64))


def _assumption(net: Network) -> str:
    """Return the assumption under which arbitrary gates stand for activation patterns, '' where that is a theorem."""
    piecewise = [h for h, a in enumerate(net.activations, start=1) if a.is_piecewise]
    if not piecewise:
        return ""
    h = piecewise[0]
    linear_below = all(a.degree == 1 for a in net.activations[: h - 1])
    kinks_differ = net.bias or min(net.widths[:h]) > 1
    return "" if len(piecewise) == 1 and linear_below and kinks_differ else ALL_PATTERNS


def bracket_closure(
    fields: Bracketed, largest: int, rng: np.random.Generator, point: Residues
) -> tuple[tuple[int, ...], bool]:
    """Return the dimensions of the spans of brackets up to depth 1, 2, …, and whether the last is that of the closure.

    The span cannot exceed `largest` dimensions.
    """
    span, dimensions = Span(fields.size), []
    for depth in range(1, _DEEPEST + 1):
        previous = span.dimension
        if previous < largest:
            span.extend(fields.brackets(rng, point, depth), largest, fields.patience)
        dimensions.append(span.dimension)
        if span.dimension in (previous, largest):
            return tuple(dimensions), True
    return tuple(dimensions), False


# --- known laws ------------------------------------------------------------------------------------------------------


def _known_differentials(net: Network, fields: Fields, x: Float64Array, p: Float64Array) -> Iterator[Residues]:
    """Yield the differentials of the laws that are theorems at integer positions x and momenta p, in the field.

    The differential of Q is Gx for symmetric G; that of ⟨Gx, p⟩ is (−Gp, Gx) for skew G.
    """
    for h in range(1, net.n_layers):
        linear, scaling = LinearLayer(net, h), NeuronScaling(net, h)
        if not linear.objection:
            n, sign = net.widths[h], -1 if fields.momentum else 1
            at_x, at_p = (linear.generator(point).reshape(n, n, -1) for point in (x, p))
            for i, j in itertools.combinations_with_replacement(range(n), 2):
                yield _differential(fields, at_x[i, j] + sign * at_x[j, i], at_p[i, j] + sign * at_p[j, i])
        elif not fields.momentum and not scaling.objection:
            yield from map(_residues_of, scaling.generator(x))
    for a, b in _scalar_segments(net):
        if not fields.momentum:
            yield from _orthogonal_to(_segment_gradient(fields, a, b, _residues_of(x)))
        elif b == a + 2 and fields.degrees[a] == 1:
            yield from _opposite_rotations(fields, a, x, p)


def _differential(fields: Fields, at_x: Float64Array, at_p: Float64Array) -> Residues:
    return _residues_of(np.concatenate([-at_p, at_x]) if fields.momentum else at_x)


def _scalar_segments(net: Network) -> Iterator[tuple[int, int]]:
    """Yield the layers (a, b) of width one between which the network is one scalar function of the weights."""
    ones = [h for h, width in enumerate(net.widths) if width == 1]
    for a, b in itertools.pairwise(ones):
        if not net.bias and not any(net.activations[h - 1].is_piecewise for h in range(a + 1, b)):
            yield a, b


def _segment_gradient(fields: Fields, a: int, b: int, theta: Residues) -> Residues:
    """Return ∇s for the function s of the weights between layers a and b, zero elsewhere."""
    neurons_before, one = fields.widths[1 : a + 1].sum(), np.ones(1, np.uint64)
    gates = fields.gates[neurons_before : neurons_before + fields.widths[a + 1 : b].sum()]
    gradient = np.zeros((fields.n_params, 1), np.uint64)
    modular.add_gradient(
        fields.widths[a : b + 1], fields.offsets[a:b], fields.degrees[a:b], gates, one, one, theta[:, None], gradient
    )
    return np.asarray(gradient[:, 0])


def _orthogonal_to(g: Residues) -> Iterator[Residues]:
    """Yield g_k e_j − g_j e_k, a basis of the complement of g within the span of its nonzero coordinates."""
    moved = np.flatnonzero(g)
    for j in moved[1:]:
        vector = np.zeros_like(g)
        vector[j], vector[moved[0]] = g[moved[0]], np.uint64(PRIME) - g[j]
        yield vector


def _opposite_rotations(fields: Fields, a: int, x: Float64Array, p: Float64Array) -> Iterator[Residues]:
    """Yield the differentials for w ↦ Tu, u ↦ Tw, T skew, which preserves ⟨u, w⟩: u + w and u − w rotate oppositely."""
    n, w, u = fields.widths[a + 1], fields.offsets[a, 0], fields.offsets[a + 1, 0]
    for i, j in itertools.combinations(range(n), 2):
        vectors = []
        for v in (x, p):
            rotated = np.zeros_like(v)
            rotated[[w + i, w + j]] = v[u + j], -v[u + i]
            rotated[[u + i, u + j]] = v[w + j], -v[w + i]
            vectors.append(rotated)
        yield _differential(fields, *vectors)


def _residues_of(integers: Float64Array) -> Residues:
    """Return the residues of integers given as floats."""
    return np.asarray(integers.astype(np.int64) % PRIME, dtype=np.uint64)
