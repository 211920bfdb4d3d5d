"""The rules of an algorithm as loops over coordinates and components, compiled when a run uses them and called by address."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from .. import layout, schedule
from ..discrete_laws import first_share
from ..forms import mirrored
from ..jit import addressed, inlined, merged
from ..layout import STEPS_DONE
from ..rules import Component, Law, Method, Move, Orthogonalisation, Projection, Rule, coordinate_of, place
from ..schedule import CROSS, MOVED, PULL, SQUARE
from .intrinsics import APART, element, set_element
from .orthogonal import orthogonalise
from .placed import address_of_code, algorithm_at, laws_at, state_at
from .steps import slot

# The arrays that a law reads, beside the slots.
ORIGIN, INTEGRAL, BALANCE, SOURCE, CHARGE = range(layout.SLOTS, APART)


@functools.cache
def loop(rule: Rule, dtype: str) -> Any:
    """Return the compiled function of a rule for parameters of this dtype: addresses of algorithm, laws and state ↦ 0.0."""
    if isinstance(rule, Projection):
        return addressed(_of_all(rule, dtype))
    if isinstance(rule, Orthogonalisation):
        return addressed(_of_matrices(rule, dtype))
    if isinstance(rule, Move) and rule.outside:
        return addressed(_over_others(rule, dtype))
    return addressed(_over_coordinates(rule, dtype) if isinstance(rule, Move) else _over_components(rule, dtype))


def _of_all(projection: Projection, dtype: str) -> Any:
    rule, number = projection.rule, np.empty(0, dtype)

    def of_all(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        rule(laws_at(laws_address, number), state.x, state.origin, algorithm.shares)
        return 0.0

    return of_all


def _over_coordinates(move: Move, dtype: str) -> Any:
    coefficients, visit = move.coefficients, inlined(coordinate_of(move))
    number = np.empty(0, dtype)  # says what the parameters are

    def over_coordinates(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        c = coefficients(algorithm, state.counts[STEPS_DONE])
        x, v, g, y, moment = state.x, state.v, state.gradient, state.y, state.moment
        shares, block, decays = algorithm.shares, algorithm.block, algorithm.decays
        first = first_share(algorithm, state.counts[STEPS_DONE])
        for i in range(x.size):
            visit(c, x, v, g, y, moment, shares, first, block, decays, i)
        return 0.0

    return over_coordinates


def _over_others(move: Move, dtype: str) -> Any:
    coefficients, visit = move.coefficients, inlined(coordinate_of(move))
    number = np.empty(0, dtype)

    def over_others(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        c, matrices = coefficients(algorithm, state.counts[STEPS_DONE]), algorithm.matrices
        x, v, g, y, moment = state.x, state.v, state.gradient, state.y, state.moment
        shares, block, decays = algorithm.shares, algorithm.block, algorithm.decays
        first = first_share(algorithm, state.counts[STEPS_DONE])
        i, n = 0, matrices.shape[0]
        for l in range(n + 1):
            for j in range(i, matrices[l, 0] if l < n else x.size):
                visit(c, x, v, g, y, moment, shares, first, block, decays, j)
            i = matrices[l, 0] + matrices[l, 1] * matrices[l, 2] if l < n else x.size
        return 0.0

    return over_others


def _of_matrices(rule: Orthogonalisation, dtype: str) -> Any:
    eps, number = rule.eps, np.empty(0, dtype)

    def of_matrices(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        orthogonalise(algorithm.matrices, algorithm.constants[eps], state.y, state.work)
        return 0.0

    return of_matrices


@merged
def symmetrise(laws, a):
    """Leave the symmetric part of what is a matrix, which alone is in Q."""
    for l in range(laws.kind.size):
        start = laws.start[l]
        for j in range(laws.start[l + 1] - start):
            k = mirrored(laws, l, j)
            if k > j:
                a[start + j] = a[start + k] = 0.5 * (a[start + j] + a[start + k])


def _over_components(law: Law, dtype: str) -> Any:
    coefficients, rule = law.coefficients, law.rule
    number, by_symmetry = np.empty(0, dtype), any(form.skew for form in law.forms)
    (in_origin, at_origin), (in_integral, at_integral) = place(law.writes, "origin"), place(law.writes, "integral")
    (in_balance, at_balance), (in_source, at_source) = place(law.writes, "balance"), place(law.writes, "source")
    in_charge, at_charge = place(law.writes, "charge")

    def over_components(algorithm_address, laws_address, state_address):
        algorithm, laws = algorithm_at(algorithm_address, number), laws_at(laws_address, number)
        state = state_at(state_address, number)
        c, decay = coefficients(algorithm, state.counts[STEPS_DONE]), algorithm.weight_decay
        ascends = algorithm.ascent > 0
        square, pull = slot(state, schedule.SQUARE), slot(state, schedule.PULL)
        moved, cross = slot(state, schedule.MOVED), slot(state, schedule.CROSS)
        origin, integral, balance = state.origin, state.integral, state.balance
        source, charge = state.source, state.charge
        if ascends and algorithm.law == layout.OF_Q:
            symmetrise(laws, cross)
        l, n = 0, laws.kind.size
        while l < n:  # all laws at once, or those with the same kind of G, one after the other
            symmetric, after = laws.symmetric[l], l + 1 if by_symmetry else n
            while after < n and laws.symmetric[after] == symmetric:
                after += 1
            for j in range(laws.start[l], laws.start[after]):
                lost = element(PULL, pull, j) if decay != 0 else 0.0
                if ascends:
                    lost = decay * lost - element(CROSS, cross, j)
                forms = element(SQUARE, square, j), lost, element(MOVED, moved, j), element(CROSS, cross, j)
                sums = (
                    element(ORIGIN, origin, j),
                    element(INTEGRAL, integral, j),
                    element(BALANCE, balance, j),
                    element(SOURCE, source, j),
                    element(CHARGE, charge, j),
                )
                new = rule(c, Component(*forms, symmetric != 0, *sums))
                if in_origin:
                    set_element(ORIGIN, origin, j, new[at_origin])
                if in_integral:
                    set_element(INTEGRAL, integral, j, new[at_integral])
                if in_balance:
                    set_element(BALANCE, balance, j, new[at_balance])
                if in_source:
                    set_element(SOURCE, source, j, new[at_source])
                if in_charge:
                    set_element(CHARGE, charge, j, new[at_charge])
            l = after
        return 0.0

    return over_components


@functools.cache
def addresses_of_rules(method: Method, dtype: str) -> Any:
    """Return the addresses of an algorithm's rules in the order of their numbers, compiled or read from disk if need be."""
    words = (numba.int64, numba.int64, numba.int64)
    addresses = [address_of_code(loop(rule, dtype), words) for rule in method.all_rules]
    return tuple(addresses) if numba.config.DISABLE_JIT else np.array(addresses, np.int64)
