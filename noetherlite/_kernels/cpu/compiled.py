"""The compiled run: potential, update rule, exact discrete law and records in one call, no Python between steps."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from .. import layout, noise, pointwise, schedule
from ..jit import addressed, compiled, inlined, little_collecting, merged
from ..layout import EVALUATIONS, PHASE, STEPS_DONE
from ..rules import Method
from ..schedule import OP, VECTOR, A, B, C
from . import loops
from .analytic import address_of_potential, function_of
from .factored import address_of_form
from .intrinsics import window
from .laws import Forms
from .layers import copy
from .network import OUTER
from .placed import (
    Placed,
    address_of_code,
    algorithm_at,
    batches_at,
    float64_at,
    laws_at,
    none_at,
    problem_at,
    program_at,
    records_at,
    state_at,
    tiles_at,
)
from .rules import addresses_of_rules, settle
from .steps import ascend, attribute, clip, combine, decayed, form, gather, multiply, slot, undecayed, weigh, write
from .tiles import Tiles, of_rows
from .tiles import empty as tiles


class Run(NamedTuple):
    """Where all lies that a run reads and writes: addresses, without the compiler the things themselves."""

    problem: Any
    tiles: Any  # those a step is evaluated on
    all_tiles: Any  # those of all samples, the same for the full batch
    algorithm: Any
    laws: Any
    batches: Any
    program: Any
    state: Any
    records: Any
    potential: Any  # the compiled function of the potential
    forms: Forms
    rules: Any  # those of the algorithm
    noise: Any  # what NOISE, ATTRIBUTE, FACTORED, STRETCH and the phases of `prepare` call, if the program has them
    attribute: Any
    prepare: Any
    factored: Any
    stretch: Any


@functools.lru_cache(maxsize=64)
@little_collecting
def addresses(kind: int, method: Method, dtype: str) -> dict[str, Any]:
    """Return the addresses of the compiled functions of a kind of potential and of an algorithm."""
    return {"potential": address_of_potential(kind, dtype), "rules": addresses_of_rules(method, dtype)}


@functools.lru_cache(maxsize=64)
def addresses_of_rare(program: schedule.Kind, dtype: str) -> dict[str, Any]:
    """Return the addresses of what few runs need, 0 where a program does not; inside of `advance` all would compile it."""
    i, vector, rows = numba.int64, numba.typeof(np.empty(0, dtype)), schedule.program(program, schedule.at_once).rows
    ops, row, forms = rows[:, OP].tolist(), numba.typeof(rows[0]), numba.typeof(Forms(0, 0, 0, 0))
    return {
        "noise": address_of_code(noise.draw, (numba.uint64, i, vector)) if schedule.NOISE in ops else 0,
        "attribute": address_of_code(attribute, (forms, i, i, i, vector)) if schedule.ATTRIBUTE in ops else 0,
        "factored": address_of_form(dtype) if schedule.FACTORED in ops else 0,
        "prepare": 0 if _PREPARED.isdisjoint(ops) else address_of_code(prepare, (row, i, i, i, i, i, vector)),
    }


# Samples whose inputs are copied one after the other, and doubles in a line of the cache.
_FEW, _LINE = 64, 8


@compiled
def load_at(problem_address, chosen, tiles_address, x):
    """Copy the samples with indices `chosen` into tiles; x says what the parameters' numbers are."""
    problem, memory = problem_at(problem_address, x), tiles_at(tiles_address, x)
    T, n = memory.inputs.shape[2], problem.widths[0]
    by_sample = memory.blas != 0 and memory.chosen.size > 0
    for s in range(memory.chosen.size):
        memory.chosen[s] = chosen[s]
        if by_sample:
            copy(window(problem.X, chosen[s] * n, n), window(memory.inputs, s * n, n))
    # Of many samples a few inputs at a time, whose rows then stay in the cache.
    some = n if T <= _FEW else np.int64(_LINE)
    for tile in range(memory.inputs.shape[0]):
        for first in range(0, 0 if by_sample else n, some):
            for s in range(T):
                sample = chosen[min(tile * T + s, memory.n - 1)]
                for j in range(first, min(first + some, n)):
                    memory.inputs[tile, j, s] = problem.X[sample, j]
        for s in range(T):
            sample = chosen[min(tile * T + s, memory.n - 1)]
            if problem.labels.size > 0:
                memory.labels[tile, s] = problem.labels[sample]
            for j in range(problem.targets.shape[1]):
                memory.targets[tile, j, s] = problem.targets[sample, j]


def place(problem: layout.Problem, minibatches: bool = False, outer: Placed | None = None) -> Placed:
    """Return a problem as kernels take it, with the addresses of the loops that its network calls, and of its outer problem."""
    if problem.kind in (layout.NETWORK, layout.LINEAR_NETWORK):
        of_outer: tuple[Any, ...] = (0, 0)
        if outer is not None:
            potential = address_of_potential(layout.NETWORK, str(problem.X.dtype))
            of_outer = outer.address, potential
        problem = problem._replace(compiled=loops.addresses(problem, minibatches, of_outer))
    return Placed(problem)


class Memory:
    """A problem and the memory of a run's passes, for one run after another.

    Parameters
    ----------
    problem : Problem
        The potential.
    n_samples, drawn : int
        Samples, and how many of them a gradient is of.
    members : int
        Threads that share a gradient at the most.
    outer : Problem, optional
        The outer problem of a linear network, which has the samples.

    Attributes
    ----------
    tiles, all_tiles : Tiles
        Memory for a step, and for all samples; the same for the full batch.
    """

    def __init__(
        self, problem: layout.Problem, n_samples: int, drawn: int, members: int, outer: layout.Problem | None = None
    ) -> None:
        self.problem, self._sizes = problem, (n_samples, drawn, members)
        full = drawn == n_samples
        self._of_samples: Memory | None = None
        if outer is None:
            self.all_tiles = tiles(problem, n_samples, members if full else 1)
            self.tiles = self.all_tiles if full else tiles(problem, drawn, members)
            self.placed = place(problem, not full)
        else:
            samples = self._of_samples = Memory(outer, n_samples, drawn, members)
            self.all_tiles = of_rows(problem, samples.placed_all_tiles.address)
            self.tiles = self.all_tiles if full else of_rows(problem, samples.placed_tiles.address)
            self.placed = place(problem, outer=samples.placed)
        self.placed_all_tiles = Placed(self.all_tiles)
        self.placed_tiles = self.placed_all_tiles if full else Placed(self.tiles)
        self._number = np.empty(0, problem.X.dtype)
        self._read: dict[str, Placed] = {}

    @property
    def shared(self) -> Memory:
        """That of the samples, whose tiles are shared by threads: of the outer problem, or this one."""
        return self._of_samples or self

    def place(self, name: str, fields: Any) -> Any:
        """Return where what a run reads lies, which often is what the run before has read."""
        placed = self._read.get(name)
        if placed is None or placed.group is not fields:
            placed = self._read[name] = Placed(fields)
        return placed.address

    @property
    def nbytes(self) -> int:
        """Bytes of its samples, and of what is beside them."""
        return sum(memory.tiles.inputs.nbytes + memory.all_tiles.inputs.nbytes for memory in {self, self.shared})

    def fits(
        self, problem: layout.Problem, n_samples: int, drawn: int, members: int, outer: layout.Problem | None = None
    ) -> bool:
        """Return whether it is of these arrays, whatever is in them now, and of these sizes."""
        sizes = n_samples, drawn, members
        same = self._sizes == sizes and all(map(_is_same, problem, self.problem))
        return same and (outer is None or self.shared.fits(outer, *sizes))

    def load(self, order: NDArray[np.int64]) -> None:
        """Copy all samples in this order."""
        memory = self.shared
        if memory.problem.kind == layout.NETWORK:
            load_at(memory.placed.address, order, memory.placed_all_tiles.address, memory._number)


class Evaluation:
    """A problem and the memory of its passes, for one point after another: to make both takes longer than a small pass.

    Parameters
    ----------
    problem : Problem
        The potential. Its samples are read for every point anew, so that what is done to its arrays meanwhile counts.
    memory : Tiles
        Memory for all of its samples; used by one thread at a time.
    """

    def __init__(self, problem: layout.Problem, memory: Tiles) -> None:
        self.problem, self.memory = problem, memory
        self._problem, self._tiles = place(problem), Placed(memory)
        self._samples, self._number = np.arange(memory.n), np.empty(0, problem.X.dtype)

    def __call__(self, x: NDArray[Any], gradient: NDArray[Any]) -> float:
        """Return U(x) and write ∇U(x), unless `gradient` is empty."""
        if self.problem.kind == layout.NETWORK:
            load_at(self._problem.address, self._samples, self._tiles.address, self._number)
        potential = function_of(self.problem.kind)
        return float(potential(self._problem.address, self._tiles.address, 0, x, gradient))


def predict(problem: layout.Problem, x: NDArray[Any]) -> NDArray[Any]:
    """Return f(x; X) of shape (N, n_L) for the inputs of a problem."""
    N, n = len(problem.X), int(problem.widths[-1])
    problem = problem._replace(loss=layout.NO_LOSS, targets=np.zeros((N, n), x.dtype))
    memory = tiles(problem, N)
    Evaluation(problem, memory)(x, x[:0])
    return memory.targets.transpose(0, 2, 1).reshape(-1, n)[:N]


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two fields of problems are the same number, the same array, or both empty."""
    if isinstance(a, np.ndarray):
        return a is b or a.size == b.size == 0
    return bool(a == b)


@inlined
def draw(back, problem, tiles, batches, state):
    """Go `back` minibatches, and copy the one that is due into the tiles."""
    before = pointwise.minibatch(state.counts[EVALUATIONS], batches.size, batches.order.size)[0]
    state.counts[EVALUATIONS] -= back
    epoch, first = pointwise.minibatch(state.counts[EVALUATIONS], batches.size, batches.order.size)
    if first == 0 or epoch != before:
        pointwise.shuffle(batches.key, epoch, batches.order)
    network = problem_at(problem, state.x)
    if network.kind == layout.LINEAR_NETWORK:
        problem, tiles = network.compiled[network.widths.size - 2, OUTER], tiles_at(tiles, state.x).outer
    load_at(problem, window(batches.order, first, batches.size), tiles, state.x)


@inlined
def judge(loss, state):
    """Call the run diverged if a loss is not finite."""
    if not math.isfinite(loss):
        state.counts[PHASE] = layout.DIVERGED


@merged
def vector_of(state, code):
    """Return x, v, the gradient or y, or an empty vector for NOWHERE."""
    if code == schedule.X:
        return state.x
    if code == schedule.V:
        return state.v
    if code == schedule.G:
        return state.gradient
    if code == schedule.WORK:
        return state.work
    return window(state.y, 0, state.y.size if code == schedule.Y else 0)


# Phases that few runs have: they would make `advance` take a third longer to compile.
_PREPARED = {
    schedule.SHUFFLE,
    schedule.GATHER,
    schedule.CLIP,
    schedule.SCALE,
    schedule.WEIGH,
    schedule.ASCEND,
    schedule.RETURN,
    schedule.UNDECAYED,
}


@addressed
def prepare(row, problem_address, tiles_address, algorithm_address, batches_address, state_address, x):
    """Do a phase of `_PREPARED`: take samples for a gradient, or change one, or weigh what the laws read.

    `row` (COLUMNS,) is the phase, x (P,) the state's.
    """
    algorithm, state = algorithm_at(algorithm_address, x), state_at(state_address, x)
    op, a, at = row[OP], row[A], vector_of(state, row[VECTOR])
    if op == schedule.SHUFFLE:
        draw(a, problem_address, tiles_address, batches_at(batches_address, x), state)
    elif op == schedule.GATHER:
        gather(a, row[B], state)
    elif op == schedule.CLIP:
        clip(algorithm.clip, state.gradient)
    elif op == schedule.SCALE:
        multiply(algorithm.shares, state.gradient, state.gradient)
    elif op == schedule.WEIGH:
        weigh(algorithm, a, at, state.work)
    elif op == schedule.ASCEND:
        ascend(algorithm.ascent, x, state.gradient, state.y)
    elif op == schedule.RETURN:
        combine(1.0, state.y, -1.0, x, state.y)
    elif op == schedule.UNDECAYED:
        undecayed(algorithm, state.gradient, x, at)


@compiled
def advance(run, x, n_steps):
    """Take `n_steps` steps, recording on the way; the first call also makes and records the start.

    `run` is a Run, x (P,) its state's x.
    """
    problem, algorithm, laws = problem_at(run.problem, x), algorithm_at(run.algorithm, x), laws_at(run.laws, x)
    batches, program = batches_at(run.batches, x), program_at(run.program, x)
    state, records = state_at(run.state, x), records_at(run.records, x)
    fresh = state.counts[PHASE] == layout.NEW
    i, r, loss_of_all = -1 if fresh else 0, 0 if fresh else program.step, 0.0
    if fresh:
        state.counts[PHASE] = layout.RUNNING
    if run.factored != 0:  # S, which a step may read of the one before, is in its slot, and between calls in the state
        copy(state.source, slot(state, schedule.SQUARE))
    while i < n_steps and state.counts[PHASE] == layout.RUNNING:
        row = window(program.rows, r * schedule.COLUMNS, schedule.COLUMNS)
        op, a, at = row[OP], row[A], vector_of(state, row[VECTOR])
        if op == schedule.PASS:
            samples = run.tiles if a == schedule.BATCH else run.all_tiles
            value = float64_at(run.potential, (run.problem, samples, np.int64(0), at, vector_of(state, row[B])))
            if a == schedule.BATCH:
                state.loss[0] = value
            else:
                loss_of_all = value
        elif op == schedule.FORM:
            form(run.forms, run.laws, a, at, vector_of(state, row[B]), slot(state, row[C]))
        elif op == schedule.UPDATE:
            float64_at(run.rules[a], (run.algorithm, run.laws, run.state))
        elif op == schedule.SETTLE:
            settle(run.rules[a], run.algorithm, run.laws, run.state, x)
        elif op == schedule.FINISH:
            if algorithm.weight_decay != 0:
                decayed(algorithm, state.gradient, 1.0, at, state.gradient)
            state.counts[EVALUATIONS] += 1
            judge(state.loss[0], state)
        elif op == schedule.COUNT:
            state.counts[STEPS_DONE] += 1
        elif op == schedule.STRETCH:
            done = state.counts[STEPS_DONE]
            n = min(n_steps - i, records.last - done, records.every - done % records.every)
            float64_at(run.stretch, (run.algorithm, run.problem, run.state, n))
            i += n - 1
        elif op == schedule.NOISE:
            none_at(run.noise, (batches.key, state.counts[STEPS_DONE], at))
        elif op == schedule.ATTRIBUTE:
            none_at(run.attribute, (run.forms, run.laws, run.algorithm, run.state, x))
        elif op == schedule.FACTORED:
            factors = run.forms, run.laws, run.problem, run.tiles, at
            none_at(run.factored, (*factors, vector_of(state, row[B]), slot(state, row[C])))
        elif op == schedule.CHECK:
            judge(loss_of_all, state)
        elif op == schedule.WRITE:
            write(problem, algorithm, laws, state, records, state.loss[0] if a == schedule.BATCH else loss_of_all)
        elif run.prepare != 0:
            none_at(run.prepare, (row, run.problem, run.tiles, run.algorithm, run.batches, run.state, x))
        r, over = pointwise.next_row(r, program, state.counts[STEPS_DONE], records.every, records.last)
        i += over
    if run.factored != 0:
        copy(slot(state, schedule.SQUARE), state.source)
