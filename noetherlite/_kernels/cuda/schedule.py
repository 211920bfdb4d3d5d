"""A run as a list of phases, for a device whose threads must meet between them.

The GPU's kernels know how a phase is done by any number of threads; which phases make a step of an algorithm, and in
what order, is written here once. A block of threads that trains a network of its own reads the list and meets at a
barrier where a row says so; for a network that is given the whole device the host reads the same list and launches a
kernel a row.

A row is (op, a, b, c, vector, meet). Vectors are x, v, the gradient and y, slots hold what a form is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import layout

# What a phase does, with its a, b, c.
FORWARD, LOSS, TOTAL, BACKWARD, ANALYTIC, ENERGY, SHUFFLE, FINISH = range(8)
FORM, SETTLE, UPDATE, COUNT, NORMS, WRITE, CHECK = range(8, 15)
# Update rules, and what a step's forms are settled into.
DESCEND, MOMENTUM, DRAG_KICK_DRIFT, KICK_DRAG, LOOK_AHEAD = range(5)
ORIGIN, OF_GD, OF_HEAVY_BALL, OF_DRIFT, OF_KICK, OF_NAGD = range(6)
# Vectors.
X, V, G, Y = range(4)
# Forms.
PAIR, CHARGE, QUANTITY, GENERATOR = range(4)
SLOTS = 4
# Samples that a pass is over: those of the minibatch, or all.
BATCH, ALL = range(2)
OP, A, B, C, VECTOR, MEET = range(6)


class Row(NamedTuple):
    """One phase, and whether threads meet after it."""

    op: int
    a: int
    b: int
    c: int
    vector: int
    meet: int


class Program(NamedTuple):
    """The rows of a run: those that make its start, a step, and a record, one after the other."""

    rows: NDArray[np.int64]  # (n, 6)
    step: int  # where a step's rows begin
    record: int  # where a record's rows begin


def _row(op: int, a: int = 0, b: int = 0, c: int = 0, vector: int = X, meet: bool = True) -> Row:
    return Row(op, a, b, c, vector, int(meet))


def _passes(problem: layout.Problem, n_tiles: int, which: int, vector: int, backward: bool) -> list[Row]:
    """Return U(vector) and, with `backward`, its gradient."""
    if problem.kind != layout.NETWORK:
        return [_row(ANALYTIC, vector=vector), _row(ENERGY, which, vector=vector)]
    layers = range(len(problem.offsets))
    rows = []
    for tile in range(n_tiles):
        rows += [_row(FORWARD, h, tile, which, vector) for h in layers]
        rows += [_row(LOSS, tile, which), _row(TOTAL, tile, which, meet=not backward)]
        rows += [_row(BACKWARD, h, tile, which, vector) for h in reversed(layers) if backward]
    return rows


def _met(parts: Sequence[list[Row]]) -> list[Row]:
    """Return the rows of all parts, the last of them with a meeting after it."""
    rows = [row for part in parts for row in part]
    return [*rows[:-1], rows[-1]._replace(meet=1)] if rows else []


def program(
    problem: layout.Problem,
    algorithm: layout.Algorithm,
    laws: layout.Laws,
    *,
    minibatches: bool,
    batch_tiles: int,
    all_tiles: int,
) -> Program:
    """Return the rows of a run's start, its steps and its records."""
    kind, decays, some = algorithm.kind, algorithm.weight_decay != 0, len(laws.kind) > 0
    moves = kind != layout.GD

    def evaluate(vector: int) -> list[Row]:
        """∇U + λx at a vector; the run ends there if U is not finite."""
        shuffle = [_row(SHUFFLE)] if minibatches else []
        passes = _passes(problem, batch_tiles, BATCH, vector, backward=True)
        return [*shuffle, *passes, _row(FINISH, vector=vector)]

    def form(what: int, a: int, b: int, slot: int) -> list[Row]:
        return [_row(FORM, what, 4 * a + b, slot, meet=False)] if some else []

    def settle(how: int, *forms: list[Row]) -> list[Row]:
        return [*_met(forms), _row(SETTLE, how)] if some else []

    def pull(vector: int) -> list[Row]:
        """⟨g(x), x⟩, which weight decay needs, before the vector moves."""
        return _met([form(CHARGE, vector, vector, 1)]) if decays else []

    start = [] if kind == layout.NAGD else evaluate(X)
    if kind == layout.GD:
        start += settle(ORIGIN, form(QUANTITY, X, X, 0))
        orthogonal = form(CHARGE, X, G, 2) if laws.some_skew else []
        step = [*pull(X), *settle(OF_GD, form(PAIR, G, G, 0), orthogonal), _row(UPDATE, DESCEND), *evaluate(X)]
    else:
        start += settle(ORIGIN, form(CHARGE, X, V, 0), form(PAIR, V, V, 2))
        moved = form(CHARGE, X, V, 2), form(PAIR, V, V, 0)
        if kind == layout.HEAVY_BALL:
            step = [*pull(X), _row(UPDATE, MOMENTUM), *settle(OF_HEAVY_BALL, *moved), *evaluate(X)]
        elif kind == layout.CONFORMAL:
            step = [*pull(X), _row(UPDATE, DRAG_KICK_DRIFT), *settle(OF_DRIFT, form(PAIR, V, V, 0)), *evaluate(X)]
            step += [*pull(X), _row(UPDATE, KICK_DRAG), *settle(OF_KICK, form(PAIR, V, V, 0))]
        else:  # y, where the gradient was wanted, then holds the velocity before
            step = [_row(UPDATE, LOOK_AHEAD), *evaluate(Y), *pull(Y), _row(UPDATE, MOMENTUM)]
            step += settle(OF_NAGD, *moved, form(PAIR, Y, V, 3))

    step.append(_row(COUNT))

    known = kind != layout.NAGD and not minibatches
    record = [] if known else [*_passes(problem, all_tiles, ALL, X, backward=False), _row(CHECK, ALL)]
    record += [*form(QUANTITY, X, X, 0), *form(CHARGE, X, V if moves else G, 1), *form(GENERATOR, X, X, 2), _row(NORMS)]
    record += [_row(WRITE, BATCH if known else ALL)]
    start = start or [_row(NORMS)]  # a part has a row at least
    rows: NDArray[Any] = np.array([*start, *step, *record], np.int64)
    return Program(rows, len(start), len(start) + len(step))
