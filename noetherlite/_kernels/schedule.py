"""A run as a list of phases, read by the CPU's loop, by blocks of the GPU's threads, and by the host for one large network.

Kernels know how a phase is done, by one thread or by any number of them; which phases make a step of an algorithm, and in
what order, is written here once. A block of threads that trains a network of its own meets at a barrier where a row says
so; for a network that is given the whole device the host launches a kernel a row; one thread of a CPU has nobody to meet.

A row is (op, a, b, c, vector, meet). Vectors are x, v, the gradient and y, slots hold what a form is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import layout
from .orthogonal import STEPS
from .rules import Form, Law, Method, Move, Orthogonalisation, Projection

# What a phase does; in brackets what a, b and c are, and `vector` where it is not x.
FORWARD, LOSS, TOTAL, BACKWARD = range(4)  # (layer, tile, samples; at), (tile, samples), (tile, samples), as FORWARD
ANALYTIC, ENERGY = range(4, 6)  # ∇U (; at) and U (samples; at) of the potentials without data
PASS = 6  # U and its gradient in one phase (samples, vector for the gradient; at)
SHUFFLE, FINISH = range(
    7, 9
)  # the minibatch that is due, after going back (minibatches); ∇U + λx (; at), and the end if U is not finite
FORM, SETTLE = range(9, 11)  # (form, second vector, slot; first vector), (rule): slots into the sums
UPDATE, COUNT = range(11, 13)  # (rule), a step is done
ATTRIBUTE = 13  # what of the drift of Q the step that is due makes
CHECK, NORMS, WRITE = range(14, 17)  # the end if U is not finite (samples); sizes of vectors; a record (samples)
GRADIENT_NORM, CLIP = range(19, 21)  # the size of ∇U; ∇U no longer than the algorithm says
NOISE = 21  # y: normal numbers of the step
UNDECAYED, STRETCH = range(17, 19)  # ∇U of the last gradient (; into); all steps up to a record, as one function
ASCEND, RETURN = range(22, 24)  # y = x + ρ∇U/|∇U|, and y less x
SCALE, WEIGH = range(24, 26)  # M⁻¹ of the gradient; WORK = a vector by M or by shares of λ (which)
GATHER = 26  # ∇U and those of the minibatches before (number); the last makes their mean
ORTHOGONALISE = 27  # a stage for the matrices of y (stage, number of the iteration)
FACTORED = 28  # B(∇U, b) from the factors of the gradient, after its pass (, b, slot)
# Vectors; NOWHERE for a gradient that is not wanted.
X, V, G, Y, WORK = range(5)
NOWHERE = -1
# Forms: B(a, b), the charge B(a, b) + T(b), the quantity ½B(a, b) + T(b), and |g_c(a)|.
PAIR, CHARGE, QUANTITY, GENERATOR = range(4)
# Slots, and what most laws have in each: B(d, d) or B(v, v), ⟨g(x), x⟩ (all of them), the charge (at the start of gradient
# descent the quantity), B(d, v) of the velocity after the step.
SLOTS = layout.SLOTS
SQUARE, PULL, MOVED, CROSS = range(SLOTS)
# What WRITE reads from each; the first may hold what the next step reads.
RECORDED_QUANTITY, RECORDED_CHARGE, RECORDED_SIZE = range(1, SLOTS)
# What WEIGH multiplies by.
BY_METRIC, BY_DECAY = range(2)
# Stages of an orthogonalisation where threads share it: |M| row by row, M/(|M| + ε), then A = MMᵀ, B = bA + cA², aM + BM, and their end.
SIZES, NORMALISED, GRAM, POLYNOMIAL, PRODUCT, SCALED = range(6)
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


# Forms that a linear network makes of the factors of its gradient: the first a step after the gradient, the other at once.
_OF_GRADIENT, _WITH_GRADIENT = Form(SQUARE, PAIR, G, G), Form(CROSS, PAIR, G, V)
# Samples, vector, whether the gradient is wanted and where ↦ the rows of a pass.
Passes = Callable[[int, int, int], list[Row]]


def _row(op: int, a: int = 0, b: int = 0, c: int = 0, vector: int = X, meet: bool = True) -> Row:
    return Row(op, a, b, c, vector, int(meet))


def at_once(samples: int, vector: int, into: int) -> list[Row]:
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


class Kind(NamedTuple):
    """What of a run decides which phases it has."""

    method: Method
    has_velocity: bool
    decays: bool  # weight decay is not 0
    laws: bool  # there are some
    skew: bool  # the G of one of them is not symmetric
    minibatches: bool
    parts: bool  # the drift of Q is attributed
    clips: bool  # gradients have a largest norm
    metric: bool = False  # rates differ between coordinates, and the laws have their metric
    decay_differs: bool = False  # λ differs between coordinates
    ascends: bool = False  # gradients are taken at x + ρ∇U/|∇U|
    accumulated: int = 1  # minibatches of a gradient
    matrices: bool = False  # there are some to orthogonalise
    in_stages: bool = False  # threads share that
    factored: bool = False  # B(∇U, b) comes from the factors of the gradient

    @property
    def may_be_factored(self) -> bool:
        """Whether a law reads B(∇U, ∇U) or B(∇U, v) of gradients that are used as they are."""
        changed = self.decays or self.clips or self.metric or self.ascends or self.accumulated > 1
        reads = not {_OF_GRADIENT, _WITH_GRADIENT}.isdisjoint(self.method.forms)
        return reads and not (changed or self.parts)

    @property
    def works(self) -> bool:
        """Whether phases need the vector WORK."""
        return self.metric or self.decay_differs or self.ascends or self.accumulated > 1


def kind_of(
    method: Method, algorithm: layout.Algorithm, laws: layout.Laws, minibatches: bool, parts: bool = False
) -> Kind:
    """Return the kind of a run."""
    clips = math.isfinite(algorithm.clip)
    has_velocity, decays = algorithm.law != layout.OF_Q, algorithm.weight_decay != 0
    return Kind(
        method,
        has_velocity,
        decays,
        len(laws.kind) > 0,
        bool(laws.some_skew),
        minibatches,
        parts,
        clips,
        bool(algorithm.metric),
        algorithm.decays.size > 0,
        algorithm.ascent > 0,
        algorithm.accumulated if minibatches else 1,
        len(algorithm.matrices) > 0,
    )


class Phases:
    """What makes the rows of a run, which an algorithm puts in order.

    Parameters
    ----------
    kind : Kind
        The run's.
    passes : Passes
        The rows of a gradient.
    """

    def __init__(self, kind: Kind, passes: Passes) -> None:
        self._kind, self.passes = kind, passes

    def evaluate(self, vector: int, again: bool = False) -> list[Row]:
        """∇U + λx at a vector, `again` of the minibatches of the last evaluation; the run ends there if U is not finite."""
        kind, n = self._kind, self._kind.accumulated
        rows = self._gradient(vector, n if again else 0)
        if kind.ascends:
            rows += [_row(GRADIENT_NORM), _row(ASCEND), *self._gradient(Y, n - 1 or None), _row(RETURN)]
        rows += [_row(GRADIENT_NORM), _row(CLIP)] if kind.clips else []
        rows += [_row(FINISH, vector=vector), *([_row(SCALE)] if kind.metric else [])]
        made = kind.factored and _OF_GRADIENT in kind.method.forms
        return [*rows, *([_row(FACTORED, 0, G, SQUARE, G)] if made else [])]

    def _gradient(self, vector: int, back: int | None) -> list[Row]:
        """∇U, the mean of those of the minibatches that are due after going `back` so many; None for the one that was drawn."""
        n, rows = self._kind.accumulated, []
        for i in range(n):
            if self._kind.minibatches and back is not None:
                rows.append(_row(SHUFFLE, back if i == 0 else 0))
            rows += [*self.passes(BATCH, vector, G), *([_row(GATHER, i, n)] if n > 1 else [])]
        return rows

    def noise(self, spread: Move) -> list[Row]:
        """Normal numbers of the step in y; in a metric they are then `spread` by it."""
        return [_row(NOISE, vector=Y), *(self.move(spread) if self._kind.metric else [])]

    def form(self, what: int, a: int, b: int, slot: int) -> list[Row]:
        """A form of two vectors, in the metric, if there are laws; threads do not meet after it, where there is no metric."""
        if not self._kind.laws:
            return []
        if self._kind.factored and Form(slot, what, a, b) == _OF_GRADIENT:
            return []  # made after the pass
        if self._kind.factored and Form(slot, what, a, b) == _WITH_GRADIENT:
            return [_row(FACTORED, 0, b, slot, a, meet=False)]
        if self._kind.metric and what != GENERATOR:
            return [_row(WEIGH, BY_METRIC, vector=b), _row(FORM, what, WORK, slot, vector=a)]
        return [_row(FORM, what, b, slot, vector=a, meet=False)]

    def pull(self, vector: int) -> list[Row]:
        """⟨g(x), x⟩, which weight decay needs, before the vector moves; with an ascent also B(δ, ∇U) of the way δ."""
        kind, rows = self._kind, []
        if not kind.laws:
            return []
        if kind.decays:
            rows += [_row(WEIGH, BY_DECAY, vector=vector)] if kind.decay_differs else []
            rows += [_row(FORM, CHARGE, WORK if kind.decay_differs else vector, PULL, vector=vector)]
        if kind.ascends:
            rows += [_row(UNDECAYED, vector=WORK), _row(FORM, PAIR, WORK, CROSS, vector=Y)]
        return rows

    def move(self, rule: Move) -> list[Row]:
        """An update of the vectors."""
        return [_row(UPDATE, self._kind.method.number(rule))]

    def orthogonalise(self, rule: Orthogonalisation) -> list[Row]:
        """The matrices of y made orthogonal, if there are some: a row, or one for each stage that ends where threads meet."""
        kind = self._kind
        if not kind.matrices or not kind.in_stages:
            return [_row(UPDATE, kind.method.number(rule))] if kind.matrices else []
        stages = [(stage, i) for i in range(STEPS) for stage in (GRAM, POLYNOMIAL, PRODUCT)]
        return [_row(ORTHOGONALISE, *at) for at in [(SIZES, 0), (NORMALISED, 0), *stages, (SCALED, STEPS)]]

    def project(self, rule: Projection) -> list[Row]:
        """A change of x by the laws, if there are some."""
        return [_row(UPDATE, self._kind.method.number(rule))] if self._kind.laws else []

    def settle(self, law: Law) -> list[Row]:
        """The forms that a law reads, and what it makes of them."""
        if not self._kind.laws:
            return []
        forms = [self.form(f.what, f.a, f.b, f.slot) for f in law.forms if self._kind.skew or not f.skew]
        return [*_meeting([row for rows in forms for row in rows]), _row(SETTLE, self._kind.method.number(law))]


def _meeting(rows: list[Row]) -> list[Row]:
    """Return rows after the last of which threads meet."""
    return [*rows[:-1], rows[-1]._replace(meet=1)] if rows else []


def program(kind: Kind, passes: Passes) -> Program:
    """Return the rows of a run's start, its steps and its records."""
    p, method = Phases(kind, passes), kind.method
    start = [*([] if method.looks_ahead else p.evaluate(X)), *p.settle(method.start)]
    step: list[Row] = []
    if kind.parts:
        step += passes(ALL, X, Y) if kind.minibatches else [_row(UNDECAYED, vector=Y)]
        step += [_row(ATTRIBUTE)]
    step += [*method.step(p), _row(COUNT)]
    known = not method.looks_ahead and not kind.minibatches and not kind.ascends
    record = [] if known else [*passes(ALL, X, NOWHERE), _row(CHECK, ALL)]
    record += p.form(QUANTITY, X, X, RECORDED_QUANTITY)
    record += p.form(CHARGE, X, V if kind.has_velocity else G, RECORDED_CHARGE)
    record += [*p.form(GENERATOR, X, X, RECORDED_SIZE), _row(NORMS), _row(WRITE, BATCH if known else ALL)]
    start = start or [_row(NORMS)]  # a part has a row at least
    rows: NDArray[Any] = np.array([*start, *step, *record], np.int64)
    return Program(rows, len(start), len(start) + len(step))


def stretched(program: Program) -> Program:
    """Return a program with one row in the place of those of a step, which takes all steps up to the next record."""
    rows = [*program.rows[: program.step], _row(STRETCH), *program.rows[program.record :]]
    return Program(np.array(rows, np.int64), program.step, program.step + 1)
