"""A run as a list of phases, read by the CPU's loop, by blocks of the GPU's threads, and by the host for one large network.

Kernels know how a phase is done, by one thread or by any number of them; which phases make a step of an algorithm, and in
what order, is written here once. A block of threads that trains a network of its own meets at a barrier where a row says
so; for a network that is given the whole device the host launches a kernel a row; one thread of a CPU has nobody to meet.

A row is (op, a, b, c, vector, meet). Vectors are x, v, the gradient and y, slots hold what a form is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import layout

# What a phase does; in brackets what a, b and c are, and `vector` where it is not x.
FORWARD, LOSS, TOTAL, BACKWARD = range(4)  # (layer, tile, samples; at), (tile, samples), (tile, samples), as FORWARD
ANALYTIC, ENERGY = range(4, 6)  # ∇U (; at) and U (samples; at) of the potentials without data
PASS = 6  # U and its gradient in one phase (samples, vector for the gradient; at)
SHUFFLE, FINISH = range(7, 9)  # the minibatch that is due; ∇U + λx (; at), and the end if U is not finite
FORM, SETTLE = range(9, 11)  # (form, second vector, slot; first vector), (law): slots into the sums
UPDATE, COUNT = range(11, 13)  # (rule), a step is done
ATTRIBUTE = 13  # what of the drift of Q the step that is due makes
CHECK, NORMS, WRITE = range(14, 17)  # the end if U is not finite (samples); sizes of vectors; a record (samples)
# Rules of UPDATE.
DESCEND, MOMENTUM, DRAG_KICK_DRIFT, KICK_DRAG, LOOK_AHEAD, UNDECAYED = range(6)
# What SETTLE enters: the start, or the exact discrete law of a step or half of one.
ORIGIN, OF_GD, OF_HEAVY_BALL, OF_DRIFT, OF_KICK, OF_NAGD = range(6)
# Vectors; NOWHERE for a gradient that is not wanted.
X, V, G, Y = range(4)
NOWHERE = -1
# Forms: B(a, b), the charge B(a, b) + T(b), the quantity ½B(a, b) + T(b), and |g_c(a)|.
PAIR, CHARGE, QUANTITY, GENERATOR = range(4)
# Slots, and what SETTLE reads from each: B(d, d) or B(v, v), ⟨g(x), x⟩, the charge (at the start of gradient descent the
# quantity), B(v, v') of the velocities before and after.
SLOTS = layout.SLOTS
SQUARE, PULL, MOVED, CROSS = range(SLOTS)
# What WRITE reads from each.
RECORDED_QUANTITY, RECORDED_CHARGE, RECORDED_SIZE = range(3)
# Samples that a pass is over: those of the minibatch, or all.
BATCH, ALL = range(2)
# Columns of a row.
OP, A, B, C, VECTOR, MEET = range(6)
COLUMNS = 6


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


# Samples, vector, whether the gradient is wanted and where ↦ the rows of a pass.
Passes = Callable[[int, int, int], list[Row]]


def _row(op: int, a: int = 0, b: int = 0, c: int = 0, vector: int = X, meet: bool = True) -> Row:
    return Row(op, a, b, c, vector, int(meet))


def whole(samples: int, vector: int, into: int) -> list[Row]:
    """Return U(vector) and its gradient as one phase."""
    return [_row(PASS, samples, into, vector=vector)]


def by_layers(problem: layout.Problem, batch_tiles: int, all_tiles: int) -> Passes:
    """Return what returns U(vector), and its gradient where it is wanted, layer by layer and tile by tile."""

    def passes(samples: int, vector: int, into: int) -> list[Row]:
        if problem.kind != layout.NETWORK:
            return [_row(ANALYTIC, vector=vector), _row(ENERGY, samples, vector=vector)]
        layers, backward = range(len(problem.offsets)), into != NOWHERE
        rows = []
        for tile in range(batch_tiles if samples == BATCH else all_tiles):
            rows += [_row(FORWARD, h, tile, samples, vector) for h in layers]
            rows += [_row(LOSS, tile, samples), _row(TOTAL, tile, samples, meet=not backward)]
            rows += [_row(BACKWARD, h, tile, samples, vector) for h in reversed(layers) if backward]
        return rows

    return passes


def _met(parts: Sequence[list[Row]]) -> list[Row]:
    """Return the rows of all parts, the last of them with a meeting after it."""
    rows = [row for part in parts for row in part]
    return [*rows[:-1], rows[-1]._replace(meet=1)] if rows else []


class Kind(NamedTuple):
    """What of a run decides which phases it has."""

    algorithm: int
    decays: bool  # weight decay is not 0
    laws: bool  # there are some
    skew: bool  # the G of one of them is not symmetric
    minibatches: bool
    parts: bool  # the drift of Q is attributed


def kind_of(algorithm: layout.Algorithm, laws: layout.Laws, minibatches: bool, parts: bool = False) -> Kind:
    """Return the kind of a run."""
    return Kind(
        algorithm.kind, algorithm.weight_decay != 0, len(laws.kind) > 0, bool(laws.some_skew), minibatches, parts
    )


def program(kind: Kind, passes: Passes) -> Program:
    """Return the rows of a run's start, its steps and its records."""
    algorithm = kind.algorithm
    moves = algorithm != layout.GD

    def evaluate(vector: int) -> list[Row]:
        """∇U + λx at a vector; the run ends there if U is not finite."""
        shuffle = [_row(SHUFFLE)] if kind.minibatches else []
        return [*shuffle, *passes(BATCH, vector, G), _row(FINISH, vector=vector)]

    def form(what: int, a: int, b: int, slot: int) -> list[Row]:
        return [_row(FORM, what, b, slot, vector=a, meet=False)] if kind.laws else []

    def settle(how: int, *forms: list[Row]) -> list[Row]:
        return [*_met(forms), _row(SETTLE, how)] if kind.laws else []

    def pull(vector: int) -> list[Row]:
        """⟨g(x), x⟩, which weight decay needs, before the vector moves."""
        return _met([form(CHARGE, vector, vector, PULL)]) if kind.decays else []

    start = [] if algorithm == layout.NAGD else evaluate(X)
    step: list[Row] = []
    if kind.parts:
        step += passes(ALL, X, Y) if kind.minibatches else [_row(UPDATE, UNDECAYED)]
        step += [_row(ATTRIBUTE)]
    if algorithm == layout.GD:
        start += settle(ORIGIN, form(QUANTITY, X, X, MOVED))
        orthogonal = form(CHARGE, X, G, MOVED) if kind.skew else []
        step += [*pull(X), *settle(OF_GD, form(PAIR, G, G, SQUARE), orthogonal), _row(UPDATE, DESCEND), *evaluate(X)]
    else:
        start += settle(ORIGIN, form(CHARGE, X, V, MOVED), form(PAIR, V, V, SQUARE))
        source, moved = form(PAIR, V, V, SQUARE), form(CHARGE, X, V, MOVED)
        if algorithm == layout.HEAVY_BALL:
            step += [*pull(X), _row(UPDATE, MOMENTUM), *settle(OF_HEAVY_BALL, moved, source), *evaluate(X)]
        elif algorithm == layout.CONFORMAL:
            step += [*pull(X), _row(UPDATE, DRAG_KICK_DRIFT), *settle(OF_DRIFT, source), *evaluate(X)]
            step += [*pull(X), _row(UPDATE, KICK_DRAG), *settle(OF_KICK, source)]
        else:  # y, where the gradient was wanted, then holds the velocity before
            step += [_row(UPDATE, LOOK_AHEAD), *evaluate(Y), *pull(Y), _row(UPDATE, MOMENTUM)]
            step += settle(OF_NAGD, moved, source, form(PAIR, Y, V, CROSS))

    step.append(_row(COUNT))

    known = algorithm != layout.NAGD and not kind.minibatches
    record = [] if known else [*passes(ALL, X, NOWHERE), _row(CHECK, ALL)]
    record += [*form(QUANTITY, X, X, RECORDED_QUANTITY), *form(CHARGE, X, V if moves else G, RECORDED_CHARGE)]
    record += [*form(GENERATOR, X, X, RECORDED_SIZE), _row(NORMS), _row(WRITE, BATCH if known else ALL)]
    start = start or [_row(NORMS)]  # a part has a row at least
    rows: NDArray[Any] = np.array([*start, *step, *record], np.int64)
    return Program(rows, len(start), len(start) + len(step))
