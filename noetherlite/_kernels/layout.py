"""The plain tuples of arrays that kernels understand, and the integer codes in them.

Everything above the kernels (networks, algorithms, symmetries) is translated into these tuples once, before a run;
the NumPy oracle, the CPU kernels and the GPU kernels all read the same ones.

Shapes: L layers of widths n_0 … n_L, N samples, P parameters, K law components, T samples in a tile.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

# Potentials; those of functions.POTENTIALS are GIVEN and the numbers after it. A LINEAR_NETWORK has an outer problem, see below.
NETWORK, LINEAR_NETWORK, RADIAL, HARMONIC, GIVEN = range(5)

# The loss where only the outputs are wanted; activations and losses have their numbers from functions.py.
NO_LOSS = -1

# What an algorithm's exact laws balance: the quantity, as there is no velocity; the charge; the charge times μ(t).
OF_Q, OF_J, OF_MU_J = range(3)

# Laws.
SCALING, LINEAR_LAYER, ROTATION, TRANSLATION, AFFINE = range(5)

# Phase of a run: nothing is done, not even the first gradient; under way; ended by what is not finite.
NEW, RUNNING, DIVERGED = range(3)


_CONSTANT = np.empty(0)
_NO_LAYERS = np.zeros(1, np.int64)
_NO_BLOCKS = np.empty(0, np.int64)
_NO_MATRICES = np.empty((0, 4), np.int64)
# Numbers of its own that an algorithm has at the most.
N_CONSTANTS = 6


class Problem(NamedTuple):
    """A potential U(x): a network with its data, or an analytic one."""

    kind: int  # NETWORK, LINEAR_NETWORK, RADIAL, HARMONIC, or GIVEN + n for number n of functions.POTENTIALS
    widths: NDArray[np.int64]  # (L+1,)
    offsets: NDArray[np.int64]  # (L, 3): where W_h, b_h, β_h start in θ; −1 where absent
    activation: NDArray[np.int64]  # (L−1,): numbers of σ_h in functions.ACTIVATIONS; the last layer has none
    in_place: NDArray[np.int64]  # (L−1,): 1 where σ′_h is a function of σ_h, whose value then takes the place of z_h
    parameter: NDArray[Any]  # (L,): c of σ_h, and of the loss
    compiled: NDArray[
        Any
    ]  # (L, 3): addresses of the CPU's loops over σ_h, σ′_h and ∂σ_h/∂β, and of the loss; else empty
    loss: int  # its number in functions.LOSSES, or NO_LOSS
    X: NDArray[Any]  # (N, n_0)
    labels: NDArray[np.int64]  # (N,) for a loss of labels, else empty
    targets: NDArray[Any]  # (N, n_L) for a loss of targets, else empty; a column more, of weights, where it is weighted
    matrix: NDArray[Any]  # (P, P) for HARMONIC, else empty
    dual: int  # where C starts in x if layer 1 is in sample coordinates, see below; else −1


# Sample coordinates of layer 1. From rest W_1 = W_1(0) + CX with C of shape (n_1, N), and all that the
# samples see of it is Z = W_1 Xᵀ, whose gradient is D XXᵀ where that of C is D = ∂U/∂z_1. So x holds Z in the place of
# W_1, of a network with N inputs, and C at its end, and X holds XXᵀ: one product instead of the two that W_1 takes,
# and ⟨w, v⟩ of two vectors in the span is Σ_s z_s(w) c_s(v). Of a minibatch D is 0 but for the samples in it.

# A LINEAR_NETWORK, whose layers are all linear, is evaluated by its end-to-end map: x ↦ Px + c is a network of one layer, the outer
# problem, whose U(P, c) and gradient make those of all layers.


class Algorithm(NamedTuple):
    """An update rule; times are t_k = t0 + k h."""

    law: int  # OF_Q, OF_J or OF_MU_J
    h: float  # time per step
    mass: float
    gamma: float
    alpha: float
    t0: float
    weight_decay: float  # λ of U + ½λ|x|²
    momentum: float  # β of a velocity that every step multiplies by β, else 0
    constants: tuple[float, ...] = (0.0,) * N_CONSTANTS  # numbers that its own rules read
    clip: float = np.inf  # the largest |∇U| of a step
    rates: NDArray[np.float64] = _CONSTANT  # (steps,): the time per step of each, or empty where it is h
    times: NDArray[np.float64] = _CONSTANT  # (steps,): when each begins, or empty where that is t0 + k h
    metric: int = 0  # 1: `shares` multiply the gradient, and the laws are those of the metric 1/`shares`
    # (P,): a coordinate's rate over the largest, or empty; (steps · blocks,) where `block` (P,) says a coordinate's block
    shares: NDArray[np.float64] = _CONSTANT
    block: NDArray[np.int64] = _NO_BLOCKS
    decays: NDArray[np.float64] = _CONSTANT  # (P,): a coordinate's λ, likewise
    ascent: float = 0.0  # ρ: gradients are taken at x + ρ∇U/|∇U|; 0 at x
    pull: float = 0.0  # what the laws multiply ⟨g(x), x⟩ by: λ, or 1 where the forces at x + ρ∇U/|∇U| are in it
    accumulated: int = 1  # minibatches of a gradient
    # (n, 4): start, rows and columns of those that are orthogonalised, and their place in `work`
    matrices: NDArray[np.int64] = _NO_MATRICES
    borders: NDArray[np.int64] = _NO_BLOCKS  # coordinates before which the rate or λ is another

    def shares_at(self, step: int) -> Any:
        """Return the coordinates' rates over the largest in a step, shape (P,); 1 where they are the same."""
        if self.block.size:
            return self.shares.reshape(self.rates.size, -1)[step, self.block]
        return self.shares if self.shares.size else 1.0


class Laws(NamedTuple):
    """The bilinear forms B(a, b) = ⟨Ga, b⟩ and linear ones T(b) = ⟨ξ, b⟩ of the symmetries being watched."""

    kind: NDArray[np.int64]  # (n,)
    start: NDArray[np.int64]  # (n+1,): components of law l are start[l] … start[l+1]
    where: NDArray[np.int64]  # (n, 8): where in x their entries lie, rows of forms.LawBlock
    degree: NDArray[Any]  # (n,): p
    G: NDArray[Any]  # (m, P, P) of the user's symmetries
    xi: NDArray[Any]  # (m, P)
    symmetric: NDArray[np.int64]  # (n,): 1 where G is symmetric, so that a quantity Q exists
    some_skew: int  # 1 where one of them is not
    Z0: NDArray[Any]  # (n_1, N): Z at the start, for sample coordinates; else empty


class Batches(NamedTuple):
    """Minibatches: evaluation number e takes `size` samples from a shuffle that is a function of (key, epoch); the key is the noise's, too."""

    size: int  # N for the full batch
    key: np.uint64
    order: NDArray[np.int64]  # (N,), scratch


# The integrating factor μ may be any number, beyond those of a double too. What a law sums with it is therefore kept divided
# by μ at the present time: from one time to the next it fades by the ratio μ(t)/μ(t'), as the velocity does.


class State(NamedTuple):
    """All that changes during a run; saving these arrays saves the run."""

    x: NDArray[Any]  # (P,)
    v: NDArray[Any]  # (P,)
    gradient: NDArray[Any]  # (P,), ∇U + λx of the last evaluation
    moment: NDArray[Any]  # (P,), what the algorithm keeps beside v, or empty where that is nothing
    y: NDArray[Any]  # (P,), scratch: where a gradient is wanted that is not at x; with an ascent, the way there
    work: NDArray[Any]  # (P,) or more, scratch of phases, or empty where none needs it
    counts: NDArray[np.int64]  # (3,): steps done, gradient evaluations, phase
    loss: NDArray[Any]  # (1,): value of the last evaluation
    origin: NDArray[np.float64]  # (K,): Q(t_0), or J(t_0) μ(t_0)/μ
    integral: NDArray[np.float64]  # (K,): ∫ μS ds/μ; ∫ J ds for mass 0
    balance: NDArray[np.float64]  # (K,): what the exact discrete law predicts, summed
    source: NDArray[np.float64]  # (K,): S at the present step
    charge: NDArray[np.float64]  # (K,): J at the present step
    scratch: NDArray[np.float64]  # (SLOTS, K): forms of the step, see schedule.py
    sizes: NDArray[np.float64]  # (2, K): LARGEST and FORCE, the largest at any record
    parts: NDArray[np.float64]  # (5, K): the drift of Q, attributed, or (0, K) when not wanted


class Records(NamedTuple):
    """What a run writes at step 0, every `every` steps and at its last step; R rows."""

    every: int
    last: int  # the run's last step, recorded whatever `every` is
    step: NDArray[np.int64]  # (R,)
    loss: NDArray[np.float64]  # (R,)
    excess: NDArray[np.float64]  # (R,): what the energy has beyond the loss, ½ m |v|² + ½ λ |x|²
    quantity: NDArray[np.float64]  # (R, K)
    charge: NDArray[np.float64]  # (R, K)
    integral: NDArray[np.float64]  # (R, K)
    discrete: NDArray[np.float64]  # (R, K)
    params: NDArray[Any]  # (R, P), or (0, P) when not wanted
    parts: NDArray[np.float64]  # (R, 5, K), or (0, 5, K) when not wanted


# Forms that a step needs at a time.
SLOTS = 4

# What makes the drift of Q, and beside them ∫ B(ẋ, ẋ) ds.
LR, NOISE, DECAY, MOMENTUM, SOURCE = range(5)
N_PARTS = 5

STEPS_DONE, EVALUATIONS, PHASE = range(3)

# Sizes of a law's terms, before what cancels in them, from |g_c| = Σ_i |g_c(x)_i|: the LARGEST is |g_c| max|x| for gradient
# descent, whose law is one of Q, and |g_c| max|v| for the others; the FORCE is |g_c| max|∇U|.
LARGEST, FORCE = range(2)


_Group = TypeVar("_Group", State, Records)


def views(group: _Group, index: int | None) -> _Group:
    """Return the views group[index] of every array: a run's out of many, or with a leading axis where the index is None."""
    arrays: dict[str, Any] = {name: a[index] for name, a in group._asdict().items() if isinstance(a, np.ndarray)}
    return group._replace(**arrays)


# Small arrays are fields of one block of memory, which takes a third of the time; up to so many bytes, as any of them keeps it all.
_BLOCK = 1 << 14
_LINE = 64  # of a cache: where a field begins

_Fields = dict[str, tuple[Any, tuple[int, ...]]]  # types and shapes


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros that start on a cache line: vectors of a whole line would else straddle two of them."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    out: NDArray[Any] = raw[start : start + size].view(dtype).reshape(shape)
    return out


def _block(fields: _Fields) -> np.dtype[np.void] | None:
    """Return the structured type of a block with these fields; None where that is too large for one."""
    sizes = [np.dtype(kind).itemsize * math.prod(shape) for kind, shape in fields.values()]
    ends = np.cumsum([-(-size // _LINE) * _LINE for size in sizes]).tolist()
    if ends[-1] > _BLOCK:
        return None
    formats = list(fields.values())
    return np.dtype({"names": list(fields), "formats": formats, "offsets": [0, *ends[:-1]], "itemsize": ends[-1]})


@functools.lru_cache(maxsize=64)
def _of_states(
    E: int, P: int, K: int, dtype: str, with_parts: bool, with_moment: bool, work: int
) -> tuple[_Fields, np.dtype[np.void] | None]:
    """Return the arrays of the states of E runs, and their block if they share one."""
    parameters, components = (dtype, (E, P)), ("f8", (E, K))
    fields: _Fields = {
        "x": parameters,
        "v": parameters,
        "gradient": parameters,
        "moment": (dtype, (E, P * with_moment)),
        "y": parameters,
        "work": (dtype, (E, work)),
        "counts": ("i8", (E, 3)),
        "loss": ("f8", (E, 1)),
        "origin": components,
        "integral": components,
        "balance": components,
        "source": components,
        "charge": components,
        "scratch": ("f8", (E, SLOTS, K)),
        "sizes": ("f8", (E, 2, K)),
        "parts": ("f8", (E, N_PARTS * with_parts, K)),
    }
    return fields, _block(fields)


def new_states(
    E: int, P: int, K: int, dtype: str, with_parts: bool = False, with_moment: bool = False, work: int = 0
) -> State:
    """Return the states of E runs that have not begun: zeros."""
    fields, together = _of_states(E, P, K, dtype, with_parts, with_moment, work)
    arrays: list[NDArray[Any]]
    if together is None:
        arrays = [aligned(shape, kind) for kind, shape in fields.values()]
    else:
        block = np.zeros((), together)
        arrays = [block[name] for name in fields]
    return State(*arrays)


# The records' arrays that hold NaN in rows that were not written; those of the laws only after `blank`.
OF_LAWS = ("quantity", "charge", "integral", "discrete")
RECORDED = ("loss", "excess", *OF_LAWS)


@functools.lru_cache(maxsize=64)
def _block_of_records(
    E: int, rows: int, K: int, params: tuple[Any, tuple[int, ...]], with_parts: bool
) -> np.dtype[np.void] | None:
    losses, laws = ("f8", (E, rows)), ("f8", (E, rows, K))
    fields = {"step": ("i8", (E, rows)), "loss": losses, "excess": losses, **dict.fromkeys(OF_LAWS, laws)}
    return _block({**fields, "params": params, "parts": ("f8", (E, rows * with_parts, N_PARTS, K))})


def new_records(
    rows: int, K: int, every: int, params: NDArray[Any], last: int = 0, with_parts: bool = False
) -> Records:
    """Return empty records of as many runs as `params` is for; NaN stays where a run that is cut short does not get to.

    The laws' arrays hold anything there until `blank`, as to fill them takes as long as to write them. They share a block of memory,
    of which the system may make large pages.
    """
    E = len(params)
    together = None if params.size else _block_of_records(E, rows, K, (params.dtype, params.shape), with_parts)
    arrays: Sequence[NDArray[Any]]
    if together is None:
        step, losses, laws = np.empty((E, rows), np.int64), np.empty((2, E, rows)), np.empty((len(OF_LAWS), E, rows, K))
        arrays = step, *losses, *laws, params, np.empty((E, rows * with_parts, N_PARTS, K))
    else:
        block = np.zeros((), together)
        arrays = [block[name] for name in together.names or ()]
    records = Records(every, last, *arrays)
    records.step.fill(-1)
    for array in (records.loss, records.excess, records.parts):
        array.fill(np.nan)
    return records


def blank(records: Records) -> None:
    """Set the laws' arrays to NaN in rows that were not written; no run may be writing."""
    if min(records.step[:, -1].tolist()) < 0:  # records are written in order
        unwritten = records.step < 0
        for name in OF_LAWS:
            getattr(records, name)[unwritten] = np.nan


def plain(array: Any, dtype: str) -> NDArray[Any]:
    """Return `array` as the one form kernels are compiled for: C-contiguous, aligned, writable, of `dtype`.

    ValueError if a number of the array is beyond those of `dtype`.
    """
    if type(array) is np.ndarray and array.flags.carray and array.dtype == dtype:
        return array  # most arrays are plain already, and NumPy takes ten times as long to say so
    try:
        with np.errstate(over="raise"):
            return np.require(array, dtype=dtype, requirements=["C", "A", "W"])
    except FloatingPointError:
        raise ValueError(
            f"dtype={dtype!r} does not hold the data: {np.abs(array).max():.3g} is more than {np.finfo(dtype).max:.3g}"
        ) from None


def analytic(kind: int, matrix: Any, dtype: str) -> Problem:
    """Return the description of a potential without network or data."""
    none = np.empty(0, np.int64)
    return Problem(
        kind=kind,
        widths=_NO_LAYERS,
        offsets=np.empty((0, 3), np.int64),
        activation=none,
        in_place=none,
        parameter=np.empty(0, dtype),
        compiled=np.empty((0, 3), np.int64),
        loss=NO_LOSS,
        X=np.empty((1, 0), dtype),
        labels=none,
        targets=np.empty((0, 0), dtype),
        matrix=plain(matrix, dtype),
        dual=-1,
    )
