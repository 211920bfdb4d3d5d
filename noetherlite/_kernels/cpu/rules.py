"""The rules of an algorithm as loops over coordinates and components, compiled when a run uses them and called by address."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from .. import layout, schedule
from ..discrete_laws import first_share
from ..forms import mirrored
from ..jit import addressed, inlined, inside, looped
from ..layout import STEPS_DONE
from ..rules import Component, Coordinate, Law, Method, Move, Orthogonalisation, Projection, Rule, decay_of, share_of
from .entries import FORMS, SUMS, VECTORS, entries, set_entries
from .orthogonal import orthogonalise
from .placed import address_of_code, algorithm_at, float64_at, laws_at, state_at
from .steps import slot


@functools.cache
def loop(rule: Rule, dtype: str) -> Any:
    """Return the compiled function of a rule for parameters of this dtype: addresses of algorithm, laws and state ↦ 0.0.

    That of a Law: addresses of algorithm and state, whether G is symmetric, the first component and that after the last ↦ 0.0.
    """
    if isinstance(rule, Projection):
        return addressed(_of_all(rule, dtype))
    if isinstance(rule, Orthogonalisation):
        return addressed(_of_matrices(rule, dtype))
    if isinstance(rule, Move) and rule.outside:
        return looped(_over_others(rule, dtype))
    return looped(_over_coordinates(rule, dtype)) if isinstance(rule, Move) else _over_components(rule)


def _of_all(projection: Projection, dtype: str) -> Any:
    rule, number = projection.rule, np.empty(0, dtype)

    def of_all(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        rule(laws_at(laws_address, number), state.x, state.origin, algorithm.shares)
        return 0.0

    return of_all


def _of_coordinate(move: Move) -> Any:
    """Return c, state, share, decay, i ↦ None, which applies a rule to coordinate i."""
    rule, write = inside(move.rule), set_entries(*(VECTORS[name] for name in move.writes))
    read = entries(*(place for name, place in VECTORS.items() if name != "moment"), "moment" if move.moment else None)

    def visit(c, state, share, decay, i):
        write(state, i, rule(c, Coordinate(*read(state, i), share, decay)))

    return inlined(visit)


def _over_coordinates(move: Move, dtype: str) -> Any:
    coefficients, visit, by_block = move.coefficients, _of_coordinate(move), move.by_block
    number = np.empty(0, dtype)  # says what the parameters are

    def over_coordinates(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        c = coefficients(algorithm, state.counts[STEPS_DONE])
        for i in range(state.x.size):
            visit(c, state, 1.0, 1.0, i)
        return 0.0

    def over_blocks(algorithm_address, laws_address, state_address):
        """Apply the rule to the coordinates of one rate and decay after the other: loops in which these are chosen are not vectorised."""
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        c = coefficients(algorithm, state.counts[STEPS_DONE])
        first, borders = first_share(algorithm, state.counts[STEPS_DONE]), algorithm.borders
        begin, P = np.int64(0), state.x.size
        for part in range(borders.size + 1):
            end = borders[part] if part < borders.size else P
            share, decay = share_of(algorithm.shares, algorithm.block, first, begin), decay_of(algorithm.decays, begin)
            for i in range(begin, end):
                visit(c, state, share, decay, i)
            begin = end
        return 0.0

    return over_blocks if by_block else over_coordinates


def _over_others(move: Move, dtype: str) -> Any:
    coefficients, visit, by_block = move.coefficients, _of_coordinate(move), move.by_block
    number = np.empty(0, dtype)

    def over_others(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        c, matrices = coefficients(algorithm, state.counts[STEPS_DONE]), algorithm.matrices
        first = first_share(algorithm, state.counts[STEPS_DONE])
        i, n = 0, matrices.shape[0]
        for l in range(n + 1):
            for j in range(i, matrices[l, 0] if l < n else state.x.size):
                share = share_of(algorithm.shares, algorithm.block, first, j) if by_block else 1.0
                visit(c, state, share, decay_of(algorithm.decays, j) if by_block else 1.0, j)
            i = matrices[l, 0] + matrices[l, 1] * matrices[l, 2] if l < n else state.x.size
        return 0.0

    return over_others


def _of_matrices(rule: Orthogonalisation, dtype: str) -> Any:
    eps, number = rule.eps, np.empty(0, dtype)

    def of_matrices(algorithm_address, laws_address, state_address):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        orthogonalise(algorithm.matrices, algorithm.constants[eps], state.y, state.work)
        return 0.0

    return of_matrices


@functools.cache
def _over_components(law: Law) -> Any:
    """Return the compiled loop of a law, the same for parameters of any dtype, as its sums are doubles."""
    coefficients, rule, number = law.coefficients, inside(law.rule), np.empty(0)
    forms, sums, write = entries(*FORMS), entries(*SUMS), set_entries(*law.writes)

    def over_components(algorithm_address, state_address, symmetric, first, last):
        algorithm, state = algorithm_at(algorithm_address, number), state_at(state_address, number)
        c, decay = coefficients(algorithm, state.counts[STEPS_DONE]), algorithm.weight_decay
        ascends = algorithm.ascent > 0
        for j in range(first, last):
            square, pull, moved, cross = forms(state, j)
            lost = pull if decay != 0 else 0.0
            if ascends:
                lost = decay * lost - cross
            write(state, j, rule(c, Component(square, lost, moved, cross, symmetric != 0, *sums(state, j))))
        return 0.0

    return looped(over_components)


@inlined
def symmetrise(laws, a):
    """Leave the symmetric part of what is a matrix, which alone is in Q."""
    for l in range(laws.kind.size):
        start = laws.start[l]
        for j in range(laws.start[l + 1] - start):
            k = mirrored(laws, l, j)
            if k > j:
                a[start + j] = a[start + k] = 0.5 * (a[start + j] + a[start + k])


@inlined
def settle(rule, algorithm_address, laws_address, state_address, x):
    """Enter a step into the sums of all laws at once, or of those with the same kind of G, one after the other.

    `rule` is the address of a law's loop, x (P,) the state's.
    """
    algorithm, laws, state = algorithm_at(algorithm_address, x), laws_at(laws_address, x), state_at(state_address, x)
    if algorithm.ascent > 0 and algorithm.law == layout.OF_Q:
        symmetrise(laws, slot(state, schedule.CROSS))
    l, n = 0, laws.kind.size
    while l < n:
        symmetric, after = laws.symmetric[l], l + 1 if laws.some_skew != 0 else n
        while after < n and laws.symmetric[after] == symmetric:
            after += 1
        float64_at(rule, (algorithm_address, state_address, symmetric, laws.start[l], laws.start[after]))
        l = after


def address_of_rule(rule: Rule, dtype: str) -> Any:
    """Return the address of a rule's function, compiled or read from disk if need be; the same for both dtypes if it is a law's."""
    return address_of_code(loop(rule, dtype), (numba.int64,) * (5 if isinstance(rule, Law) else 3))


@functools.cache
def addresses_of_rules(method: Method, dtype: str) -> Any:
    """Return the addresses of an algorithm's rules in the order of their numbers."""
    addresses = [address_of_rule(rule, dtype) for rule in method.all_rules]
    return tuple(addresses) if numba.config.DISABLE_JIT else np.array(addresses, np.int64)
