"""`scan`: the laws of a model from its gradients at random points, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks, html
from .._base.floating import underflowing, unit
from .._base.types import Seed
from .hypotheses import Shapes
from .law import Law
from .measure import Draw, Measurements
from .names import named
from .points import enlarged, random_point, small_weights
from .round_off import COARSE
from .search import Search, draws_needed
from .trees import Tree, matched, named_arrays
from .views import splits_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW, _MOST_DRAWS = 3, 64
_SPREAD = 0.1
_ORDER = ("gl", "complex", "rotate", "scale", "whole", "translate", "null")  # in which laws are listed
_LARGE = 10_000_000  # parameters, beyond which no more draws are taken than were asked for


@dataclass(frozen=True, repr=False)
class Scan:
    """The result of `scan`.

    Attributes
    ----------
    relations : list of Law
        One per symmetry, none implied by another; each has `.kind`, `.group`, `.name`, `.members`, `.residual` and `.gap`.
    n_draws : int
        Number of gradients that were used.
    eps : float
        Machine ε of the numbers.
    limits : tuple of str
        What was not searched for, and why.
    """

    relations: list[Law]
    shapes: dict[str, tuple[int, ...]]
    n_draws: int
    eps: float
    limits: tuple[str, ...] = ()

    def laws(self) -> list[Law]:
        """Return the laws, to be watched or saved."""
        return list(self.relations)

    @property
    def free(self) -> list[str]:
        """Names of tensors that no law reaches."""
        reached = {name for law in self.relations for name in law.tensors}
        return [name for name in self.shapes if name not in reached]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot which tensors each law ties together: a row a tensor, a column a law."""
        from .plots import incidence

        return incidence(self.relations, list(self.shapes), ax)

    def _rows(self) -> list[tuple[str, str, str, str, float]]:
        return [(law.name, law.kind, law.group, law.formula, law.residual) for law in self.relations]

    def __str__(self) -> str:
        n_params = sum(int(np.prod(shape)) for shape in self.shapes.values())
        lines = [
            f"{len(self.relations)} laws of {len(self.shapes)} tensors, {n_params} parameters,"
            f" from {self.n_draws} gradients of precision {self.eps:.0e}"
        ]
        for name, kind, group, formula, residual in self._rows():
            lines.append(f"{name}\n    {kind}, {group}: {formula} = 0   ({residual:.0e} of its terms)")
        if self.free:
            lines.append(f"no law reaches {', '.join(self.free)}")
        return "\n".join([*lines, *self.limits])

    def __repr__(self) -> str:
        return f"<Scan: {len(self.relations)} laws of {len(self.shapes)} tensors>"

    def _repr_html_(self) -> str:
        return html.table(
            f"{len(self.relations)} laws", self._rows(), ("name", "kind", "group", "identity", "residual")
        )


@underflowing
def scan(
    gradient: Callable[[dict[str, Any]], Tree],
    params: Tree,
    *,
    rng: Seed = 0,
    draws: int | None = None,
    spread: float | None = None,
    views: dict[str, dict[str, Any]] | None = None,
) -> Scan:
    """Find all symmetries of a loss that act on axes of its tensors, from gradients at random points.

    Nothing of the model is known but its tensors' names and shapes. A symmetry of the loss is a linear relation between
    contractions of parameters with their gradients; all are found at once as a null space, with a gap of singular values that
    tells them from what only nearly holds.

    Parameters
    ----------
    gradient : callable
        A function {name: array} ↦ {name: ∂U/∂array}, of one fixed batch; in any framework. With dropout if the runs to be watched
        have it: its masks take some symmetries away. It is given arrays of the dtypes of `params`.
    params : mapping, or nested ones, of str to array_like
        Parameters near which the points lie. Trees are flattened to dotted names.
    rng : int, SeedSequence or Generator
        Source of the points.
    draws : int, optional
        Number of gradients. Three are enough for most relations, those between whole tensors need more than there are tensors. By
        default as many as every relation needs, up to 64; three with more than ten million parameters. `limits` says what the
        number was too small for.
    spread : float, optional
        How far the points lie from `params`, relative to the root mean square of each tensor. By default 0.1; matrices that are
        much smaller than 1/√inputs, as an initialiser may leave them, are scaled to that before, and `limits` says so. The laws
        are those of the model, not of the point.
    views : mapping, optional
        {"attn.c_attn.weight": {"axis": 0, "shape": (3, heads, width)}}: axes that are several. Equal parts of fused axes, heads,
        groups of heads and pairs of rotary positions are tried without being told.

    Returns
    -------
    Scan
        `print` it; ``.relations``, ``.laws()``, ``.plot()``, ``.limits``.

    Raises
    ------
    TypeError, ValueError
        If names or shapes of gradients do not match, an array is None, sparse or not finite, or numbers are coarser than float32.

    Notes
    -----
    Symmetries that mix parameters of different tensors with each other's values, such as a norm's shift with its readers' biases,
    do not act on axes and are not looked for. What holds at random points to round-off is a measurement, not a proof.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([3, 4, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    >>> def gradient(params):
    ...     return net.unpack(U.gradient(net.pack(params)))
    >>> print(nl.scan(gradient, net.unpack(net.init(rng=0, bias_std=1))).relations[0].formula)
    W1[0] + b1[0] − W2[1]
    """
    if not callable(gradient):
        raise TypeError(f"gradient must be a function of params, got {checks.describe(gradient)}")
    if draws is not None:
        draws = checks.integer(draws, "draws", minimum=2)
    distance = _SPREAD if spread is None else checks.real(spread, "spread", minimum=0, strict=True)
    start, eps = named_arrays(params, "params")
    small = small_weights(start)
    start = enlarged(start, small) if spread is None else start
    shapes = Shapes(splits_of({name: x.shape for name, x in start.items()}, views))
    large = sum(x.size for x in start.values()) > _LARGE
    count = draws or (_FEW if large else min(max(_FEW, draws_needed(shapes)), _MOST_DRAWS))
    generator = checks.generator(rng)
    pairs = []
    for _ in range(count):
        point = random_point(start, distance, generator)
        grads, grads_eps = named_arrays(gradient({name: x.copy() for name, x in point.items()}), "gradient(params)")
        pairs.append((point, {name: g.copy() for name, g in matched(point, grads).items()}))
        eps = max(eps, grads_eps)
    return _search(shapes, pairs, eps, _about_points(small, spread))


@underflowing
def scan_pairs(pairs: Iterable[tuple[Tree, Tree]], *, views: dict[str, dict[str, Any]] | None = None) -> Scan:
    """Find the symmetries of a loss from recorded pairs of parameters and gradients.

    Parameters
    ----------
    pairs : iterable of (params, grads)
        As in `scan`. The parameters should be in general position: recorded points of one run satisfy relations, such as that
        of a balanced start, which are no laws.
    views : mapping, optional
        As in `scan`.

    Returns
    -------
    Scan

    Raises
    ------
    TypeError, ValueError
        As `scan`, and if there are fewer than two pairs or their names or shapes differ.
    """
    recorded: list[Draw] = []
    eps = 0.0
    if not isinstance(pairs, Iterable):
        raise TypeError(f"pairs must be pairs of parameters and gradients, got {checks.describe(pairs)}")
    for k, pair in enumerate(pairs):
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"pairs[{k}] must be a pair of parameters and gradients, got {checks.describe(pair)}")
        x, g = pair
        params, params_eps = named_arrays(x, f"pairs[{k}][0]")
        grads, grads_eps = named_arrays(g, f"pairs[{k}][1]")
        if recorded and {n: a.shape for n, a in params.items()} != {n: a.shape for n, a in recorded[0][0].items()}:
            raise ValueError(f"pairs[{k}] must have the names and shapes of pairs[0]")
        recorded.append((params, matched(params, grads)))
        eps = max(eps, params_eps, grads_eps)
    if len(recorded) < 2:
        raise ValueError(f"pairs must have at least two entries, got {len(recorded)}")
    shapes = Shapes(splits_of({name: a.shape for name, a in recorded[0][0].items()}, views))
    return _search(shapes, recorded, eps)


def _scaled_draws(draws: Sequence[Draw]) -> Sequence[Draw]:
    """Return draws scaled so that squares neither overflow nor underflow; relations are homogeneous in both arrays."""
    scales = [max(unit(a) for draw in draws for a in draw[k].values()) for k in (0, 1)]
    if all(2.0**-300 < scale < 2.0**300 for scale in scales):
        return draws  # not copied, as they may be large
    params_scale, grads_scale = scales
    return [
        ({name: x / params_scale for name, x in p.items()}, {name: g / grads_scale for name, g in q.items()})
        for p, q in draws
    ]


def _about_points(small: Mapping[str, float], spread: float | None) -> list[str]:
    """Return notes on points near parameters of which some are small."""
    if not small:
        return []
    names = ", ".join([*small][:3]) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
    if spread is None:
        return [f"weights were scaled to 1/√inputs, as gradients near small ones are partly round-off: {names}"]
    return [
        f"weights are much smaller than 1/√inputs, so that some gradients may be little but round-off: {names}; laws may be"
        " missing, or sums of others: leave out spread, or give larger params"
    ]


def _search(shapes: Shapes, draws: Sequence[Draw], eps: float, notes: Sequence[str] = ()) -> Scan:
    if eps > COARSE:
        raise ValueError(
            f"params and gradients of precision {eps:.0e} are too coarse to tell laws from chance; expected float64, or float32"
        )
    search = Search(shapes, Measurements(_scaled_draws(draws), eps))
    laws = search.run()
    limits = [*notes, *_near_relations(search, laws)]
    if search.large_nulls:
        limits.append(f"no gradient in {', '.join(search.large_nulls)}, too large for a law")
    if search.skipped:
        limits.append(
            f"relations between more legs than {len(draws)} gradients give equations for, among them those between whole"
            f" tensors, were not looked for; draws={draws_needed(shapes)} would"
        )
    sizes = {name: array.shape for name, array in draws[0][0].items()}
    place = {name: i for i, name in enumerate(sizes)}
    laws.sort(key=lambda law: (_ORDER.index(law.kind), place[law.members[0].tensor]))
    return Scan([replace(law, name=named(law)) for law in laws], sizes, len(draws), eps, tuple(limits))


def _near_relations(search: Search, laws: Sequence[Law]) -> list[str]:
    """Return a sentence for every relation that holds far better than chance, but not to round-off."""
    reached = {law.members[0].tensor for law in laws if len(law.members) == 1}
    worst: dict[str, float] = {}
    for leg, ratio in search.nearly:
        if leg.tensor not in reached:
            worst[leg.tensor] = min(ratio, worst.get(leg.tensor, np.inf))
    tensors_of_laws = {frozenset(law.tensors) for law in laws}
    singles = [frozenset([name]) for name in worst]
    several: dict[frozenset[str], float] = {}
    for legs, ratio in search.nearly_between:
        tensors = frozenset(leg.tensor for leg in legs)
        if tensors not in tensors_of_laws and not any(smaller <= tensors for smaller in [*singles, *several]):
            several[tensors] = ratio
    why = "broken by an ε of a norm, or by a part of the computation in lower precision"
    texts = [
        f"a symmetry of {name} alone nearly holds, to {ratio:.0e} of its terms: {why}" for name, ratio in worst.items()
    ]
    return texts + [
        f"a symmetry of {' and '.join(sorted(tensors))} nearly holds, to {ratio:.0e} of what it could be: {why}"
        for tensors, ratio in several.items()
    ]
