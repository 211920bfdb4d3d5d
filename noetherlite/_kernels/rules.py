"""What an algorithm gives to the kernels: its update rules, of one coordinate, and its exact laws, of one component.

Kernels go over the coordinates and the components, on the CPU and on GPUs; the functions of numbers are the algorithm's own and
stand in its file. All of them are compiled for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .jit import scalar


class Coordinate(NamedTuple):
    """What an update rule reads of one coordinate i."""

    x: float
    v: float
    g: float  # of ∇U + λx, at the point of the last evaluation
    y: float
    moment: float  # the algorithm's own, such as the average of the gradient's squares; 0 where it has none
    share: float  # of its rate, relative to the largest; 1 for rules that are not `by_block`
    decay: float  # of its λ, likewise


class Component(NamedTuple):
    """What a law reads of one component: the forms of the step, in the order of the slots in schedule.py, and its sums."""

    square: float
    pull: float  # 0 without weight decay; with an ascent all of ⟨g(x), ∇U + λx⟩
    moved: float
    cross: float
    symmetric: bool  # whether G is
    origin: float
    integral: float
    balance: float
    source: float
    charge: float


class Form(NamedTuple):
    """A form of two vectors that a law reads, see schedule.py."""

    slot: int
    what: int
    a: int
    b: int
    skew: bool = False  # read only where G is not symmetric; only laws with such forms are told whether it is


class Move(NamedTuple):
    """An update of the vectors, coordinate by coordinate."""

    coefficients: Callable[..., Any]  # algorithm, step ↦ c, the same for all coordinates
    rule: Callable[..., Any]  # c, Coordinate ↦ the new values, a tuple
    writes: tuple[str, ...]  # what they are of: fields of Coordinate
    moment: bool = False  # whether it reads or writes the moment
    by_block: bool = False  # whether it reads share and decay
    outside: bool = False  # whether it leaves out the coordinates of the matrices that are orthogonalised


class Law(NamedTuple):
    """An entry into the sums of the laws, component by component."""

    coefficients: Callable[..., Any]  # algorithm, step ↦ c, the same for all components
    rule: Callable[..., Any]  # c, Component ↦ the new values, a tuple
    writes: tuple[str, ...]  # what they are of: fields of Component
    forms: tuple[Form, ...]  # beside ⟨g(x), x⟩, which weight decay takes


class Projection(NamedTuple):
    """A change of x by all of it and the laws, as one thread makes it; runs without laws leave it out."""

    rule: Callable[..., Any]  # laws, x, what the laws are measured from (K,), shares of the rates (P,) or empty ↦ None


class Orthogonalisation(NamedTuple):
    """Each matrix of y becomes the orthogonal one that is near it, as `orthogonal.py` says."""

    eps: int  # which of the algorithm's constants is ε


Rule = Move | Law | Projection | Orthogonalisation


class Method(NamedTuple):
    """All that kernels need to know of an algorithm beyond its numbers.

    Parameters
    ----------
    start : Law
        What the laws are measured from.
    rules : tuple of Move, Law, Projection and Orthogonalisation
        Those of a step.
    step : callable
        schedule.Phases ↦ the rows of a step, which order the rules and the evaluations of the gradient.
    plain : callable
        reference.Run, t ↦ None: the step from time t on in plain NumPy, written for reading.
    looks_ahead : bool
        Whether the first gradient is that of the first step; else there is one of the start.
    has_moment : bool
        Whether it keeps a moment beside x and v.
    update : callable, optional
        The step of x and of what the algorithm keeps, in NumPy; see `_motion/averaged.py`.
    """

    start: Law
    rules: tuple[Rule, ...]
    step: Callable[[Any], Any]
    plain: Callable[[Any, float], None]
    looks_ahead: bool = False
    has_moment: bool = False
    update: Callable[..., Any] | None = None

    def number(self, rule: Rule) -> int:
        """Return the number of a rule, by which rows name it; that of the start is 0."""
        return self.all_rules.index(rule)

    @property
    def forms(self) -> list[Form]:
        """Those that its laws read."""
        return [form for rule in self.all_rules if isinstance(rule, Law) for form in rule.forms]

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """The start's and those of a step."""
        return (self.start, *self.rules)


def place(writes: tuple[str, ...], name: str) -> tuple[bool, int]:
    """Return whether a rule writes what has this name, and where among its values."""
    return (True, writes.index(name)) if name in writes else (False, 0)


# What is written is known when these are compiled, and the rest of them is left out.


@scalar
def share_of(shares, block, first, i):
    """Return a coordinate's share of the rate; where blocks have schedules, the shares of a step begin at `first`."""
    share = 1.0
    if shares.size > 0:
        share = shares[first + block[i]] if block.size > 0 else shares[i]
    return share


@scalar
def decay_of(decays, i):
    """Return a coordinate's share of the decay."""
    return decays[i] if decays.size > 0 else 1.0


def coordinate_of(move: Move) -> Callable[..., None]:
    """Return c, x, v, g, y, moment, shares, first, block, decays, i ↦ None, which applies a rule to coordinate i.

    c are the rule's coefficients; x, v, g, y are (P,), moment, block and decays (P,) or empty, shares (P,), or a step's shares by
    block after those of the step before, which begin at `first` where `block` is not empty.
    """
    rule, has_moment, by_block = move.rule, move.moment, move.by_block
    in_moment, at_moment = place(move.writes, "moment")
    (in_x, at_x), (in_v, at_v), (in_y, at_y) = (place(move.writes, name) for name in "xvy")

    def visit(c, x, v, g, y, moment, shares, first, block, decays, i):
        share = share_of(shares, block, first, i) if by_block else 1.0
        decay = decay_of(decays, i) if by_block else 1.0
        new = rule(c, Coordinate(x[i], v[i], g[i], y[i], moment[i] if has_moment else 0.0, share, decay))
        if in_x:
            x[i] = new[at_x]
        if in_v:
            v[i] = new[at_v]
        if in_y:
            y[i] = new[at_y]
        if in_moment:
            moment[i] = new[at_moment]

    return visit


def component_of(law: Law) -> Callable[..., None]:
    """Return c, forms (4 numbers), symmetric, origin, integral, balance, source, charge (K,) each, j ↦ None: a law's component j."""
    rule = law.rule
    (in_origin, at_origin), (in_integral, at_integral) = place(law.writes, "origin"), place(law.writes, "integral")
    (in_balance, at_balance), (in_source, at_source) = place(law.writes, "balance"), place(law.writes, "source")
    in_charge, at_charge = place(law.writes, "charge")

    def visit(c, forms, symmetric, origin, integral, balance, source, charge, j):
        square, pull, moved, cross = forms
        sums = origin[j], integral[j], balance[j], source[j], charge[j]
        new = rule(c, Component(square, pull, moved, cross, symmetric, *sums))
        if in_origin:
            origin[j] = new[at_origin]
        if in_integral:
            integral[j] = new[at_integral]
        if in_balance:
            balance[j] = new[at_balance]
        if in_source:
            source[j] = new[at_source]
        if in_charge:
            charge[j] = new[at_charge]

    return visit
