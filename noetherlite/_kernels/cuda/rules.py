"""The rules of an algorithm as functions of the GPU, any number of threads going over the coordinates and the components."""

from __future__ import annotations

from typing import Any

from .. import layout, schedule
from ..discrete_laws import first_share
from ..forms import mirrored
from ..rules import Law, Move, Orthogonalisation, Projection, Rule, component_of, coordinate_of
from .jit import device, index
from .laws import total


def numbered(rules: tuple[Rule, ...]) -> Any:
    """Return number, algorithm, step, laws, tables, the run's arrays, first, stride ↦ None, which applies the rule with a number."""
    if not rules:

        @device
        def none(number, algorithm, step, laws, tables, run, first, stride):
            pass

        return none
    head, rest = _loop(rules[0]), numbered(rules[1:])

    @device
    def apply(number, algorithm, step, laws, tables, run, first, stride):
        if number == 0:
            head(algorithm, step, laws, tables, run, first, stride)
        else:
            rest(number - 1, algorithm, step, laws, tables, run, first, stride)

    return apply


@device
def _nothing(algorithm, step, laws, tables, run, first, stride):
    pass


def _loop(rule: Rule) -> Any:
    if isinstance(rule, Orthogonalisation):  # which has rows of its own
        return _nothing
    if isinstance(rule, Projection):
        return _of_all(rule)
    return _over_coordinates(rule) if isinstance(rule, Move) else _over_components(rule)


def _of_all(projection: Projection) -> Any:
    rule = projection.rule

    @device
    def of_all(algorithm, step, laws, tables, run, first, stride):
        if first == 0:
            rule(laws, run.x, run.origin, algorithm.shares)

    return of_all


def _over_coordinates(move: Move) -> Any:
    coefficients, visit, outside = move.coefficients, device(coordinate_of(move)), move.outside

    @device
    def over_coordinates(algorithm, step, laws, tables, run, first, stride):
        c, begin, matrices = coefficients(algorithm, step), first_share(algorithm, step), algorithm.matrices
        shares, block, decays = algorithm.shares, algorithm.block, algorithm.decays
        i, l, n = first, 0, matrices.shape[0] if outside else 0
        while i < run.x.size:
            while l < n and matrices[l, 0] + matrices[l, 1] * matrices[l, 2] <= i:
                l += 1  # it lies before i
            if l == n or i < matrices[l, 0]:
                visit(c, run.x, run.v, run.gradient, run.y, run.moment, shares, begin, block, decays, index(i))
            i += stride

    return over_coordinates


def _over_components(law: Law) -> Any:
    coefficients, visit = law.coefficients, device(component_of(law))
    slots = {form.slot for form in law.forms}
    has_square, has_moved, has_cross = (slot in slots for slot in (schedule.SQUARE, schedule.MOVED, schedule.CROSS))

    @device
    def over_components(algorithm, step, laws, tables, run, first, stride):
        c, decay, ascends = coefficients(algorithm, step), algorithm.weight_decay, algorithm.ascent > 0
        for l in range(laws.kind.size):
            j = first
            while j < laws.start[l + 1] - laws.start[l]:
                at, pieces = index(laws.start[l] + j), run.pieces
                square = total(laws, tables, schedule.SQUARE, l, j, pieces) if has_square else 0.0
                pull = total(laws, tables, schedule.PULL, l, j, pieces) if decay != 0 else 0.0
                moved = total(laws, tables, schedule.MOVED, l, j, pieces) if has_moved else 0.0
                cross = total(laws, tables, schedule.CROSS, l, j, pieces) if has_cross else 0.0
                if ascends:
                    other = mirrored(laws, l, j) if algorithm.law == layout.OF_Q else j
                    way = total(laws, tables, schedule.CROSS, l, j, pieces)
                    pull = decay * pull - 0.5 * (way + total(laws, tables, schedule.CROSS, l, other, pieces))
                forms, symmetric = (square, pull, moved, cross), laws.symmetric[l] != 0
                visit(c, forms, symmetric, run.origin, run.integral, run.balance, run.source, run.charge, at)
                j += stride

    return over_components
