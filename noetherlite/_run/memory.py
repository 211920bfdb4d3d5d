"""An estimate of the memory that a run needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._base import checks, limits
from .._base.threads import threads
from .._kernels.cpu import tiles
from .._motion.base import Algorithm
from .._problem.blocks import blocks_of
from .._problem.potentials import Potential, is_potential
from .._symmetry.family import NoetherSymmetry
from .._symmetry.find import watched
from .observe import Observe, observed_bytes
from .plan import Plan, n_records
from .reduction import obstacle


def memory(
    U: Potential,
    steps: int,
    *,
    networks: int | None = None,
    record_every: int = 1,
    record_params: bool = False,
    record_sharpness: int | None = None,
    observe: Observe | None = None,
    laws: str | Sequence[str | NoetherSymmetry] | None = "all",
    batch_size: int | None = None,
    dtype: str = "float64",
    n_threads: int | None = None,
    input_reduction: bool | None = None,
    algorithm: Algorithm | None = None,
) -> int:
    """Return the peak memory of a compiled run from rest, in bytes.

    With P parameters, N samples, laws of K components, κ of them in the largest, R records and s bytes a number (8 or 4):

        a = R (24 + 32K + sP*) + 16P + 8N      records, start, and order of the samples,
        b = 4sP + tiles                        state, and arrays of a gradient,
        c = R (74 + 56K + 10κ) + sP            the `Trajectory` when its laws are read, and the temporary arrays of one law.

    A single run needs a + b + c; an ensemble of E networks on t threads E (a + 2sP) + max(tb, Ec), as the Trajectory is made
    after the runs. P* = P with `record_params`, unless the parameters of all runs exceed 1 GiB, which are kept in a file;
    else P* = 0. The tiles are the samples, transposed and cut into n_T tiles of T ≥ N/n_T samples that form q
    parts, and what m threads that share a gradient need for a pass:

        tiles = s (n_T T (n_0 + n_L) + m T (2 Σ_h n_h + max_h n_h) + (q + 1) P) + 8 n_T T,

    With `observe` and `record_sharpness` of K' numbers, 8 R K' more in a. k eigenvalues of the Hessian need at one point
    8P ν + max(8P (ν + 5 + k), 128P + 16N (n_0 + 2 Σ n_h + 2 max n_h)) more beside b, Lanczos' ν = max(2k + 1, 20) vectors of P numbers and passes of
    complex numbers, or 24P² where all of it is made (P ≤ 64 or k > P/2). What the functions allocate themselves is not counted.

    n_L for "mse" (n_L + 1 with weights) and the last term, labels, for "nll", P where q > 1; twice with minibatches. In float32 the data are
    converted: s N (n_0 + n_L) more. `input_reduction` puts r coordinates in the place of n_0 inputs: fewer parameters in b, and
    8r (N + 3n_1) + 8 (n_0 n_1 + P) + sP more, and 8r n_0 for a basis that is not the samples. An `algorithm` with a second moment, such as
    `Adam`, has sP more in b. Linear layers that are multiplied to one have the tiles of a network of
    one layer, and sr (2n_0 + 2 + 2 Σ_h n_h + 4 max_h n_h + r) more, twice that with minibatches, r = n_L or the multiple of four after it. U itself and code are not counted.

    Parameters
    ----------
    U : Potential
        The potential.
    steps : int
        Steps of the run.
    networks : int, optional
        E, the networks of an `ensemble`; a single run by default.
    record_every, record_params, record_sharpness, observe, laws, batch_size, dtype, n_threads, input_reduction
        As for `integrate` and `ensemble`. Laws given as objects, and "rotation", are verified, and the reduction is chosen, as
        they do: this takes as long as the preparation of a run. Functions are called once, at random parameters, for the shape of their values.
    algorithm : Algorithm, optional
        That of the run, by default one whose inputs can be reduced. `Adam`, `RMSProp` and `AdaGrad` keep a number more for each
        parameter, which is counted where it is given.

    Returns
    -------
    int
        Bytes. The peak measured by tracemalloc is at most 128 KiB + 4 KiB per network higher, for Python objects, and at most
        a sixth lower. Temporary memory of the preparation is not included: a factorisation of the inputs if a
        reduction is considered, and the verification of laws.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.Network([784, 128, 10]).potential(nl.datasets.glyphs(n=64, rng=0))
    >>> short, long = (nl.memory(U, steps, laws=["scaling:1"], input_reduction=False) for steps in (100, 200))
    >>> long - short  # 100 records more, of 128 components
    1264200
    """
    steps = checks.integer(steps, "steps", minimum=0)
    every = checks.integer(record_every, "record_every", minimum=1)
    is_potential(U)
    if algorithm is not None:
        checks.instance(algorithm, "algorithm", Algorithm, "an Algorithm such as nl.GD(0.1)")
    available = threads(n_threads)
    record_params = checks.boolean(record_params, "record_params")
    seen, looking = observed_bytes(U, observe, record_sharpness)
    E = 1 if networks is None else checks.integer(networks, "networks", minimum=1)
    R = n_records(steps, every)
    plan = Plan(
        U,
        watched(U, laws, minibatches=batch_size is not None),
        batch_size=batch_size,
        backend="auto",
        dtype=checks.dtype_name(dtype),
        steps=steps * E,
        records=R * E,
        seen=R * E * bool(seen),
        reduce=input_reduction,
        record_params=record_params,
        obstacle=obstacle(algorithm, moving=False) if algorithm else "",
    )
    available = available if plan.compiled else 1
    lanes = min(available, E)
    components = np.diff(plan.laws.start, prepend=0)
    P, s, K = U.n_params, np.dtype(plan.dtype).itemsize, int(components.sum())
    params = R * s * plan.n_params if record_params else 0
    in_memory = params if E * params <= limits.PARAMS_IN_MEMORY else 0
    streams = 8 * plan.n_samples * (E if plan.batch else 1)  # without minibatches it is one for all
    needs = (algorithm.method.has_moment, algorithm.work(plan.n_params, blocks_of(U))) if algorithm else (False, 0)
    state = plan.state(1, with_moment=needs[0], work=needs[1])
    run = 16 * P + _array_bytes(state) + R * (24 + 32 * K + seen) + in_memory
    result = R * (74 + 56 * K + 10 * int(components.max())) + s * P * (1 if plan.reduction is None else 2)
    common = _converted_bytes(plan) + _reduction_bytes(plan, E * R if record_params else 0)
    return common + streams + E * run + max(lanes * _tile_bytes(plan, available // lanes) + looking, E * result)


def _tile_bytes(plan: Plan, n_threads: int) -> int:
    """Return the bytes of the tiles of one lane."""
    if not plan.compiled or plan.problem is None:
        return 0
    N, n = plan.n_samples, plan.drawn
    problem = plan.outer or plan.problem
    rows = 0 if plan.outer is None else _array_bytes(tiles.of_rows(plan.problem))
    if n == N:
        return rows + _array_bytes(tiles.empty(problem, N, n_threads))
    batch, all_samples = tiles.empty(problem, n, n_threads), tiles.empty(problem, N, 1)
    return 2 * rows + _array_bytes(batch) + _array_bytes(all_samples) + 8 * N  # the order of the samples


def _array_bytes(arrays: tuple[object, ...]) -> int:
    """Return the bytes of the arrays among `arrays`."""
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))


def _converted_bytes(plan: Plan) -> int:
    """Return the bytes of the data converted to float32, of targets with their weights, and of the laws' matrices."""
    data, problem = _array_bytes((plan.laws.G, plan.laws.xi)), plan.outer or plan.problem
    if problem and (plan.dtype != "float64" or getattr(plan.U, "weights", None)):
        data += problem.targets.nbytes
    if problem and plan.dtype != "float64":
        data += problem.X.nbytes
    return data


def _reduction_bytes(plan: Plan, records: int) -> int:
    """Return the bytes of the basis, the reduced inputs, the reduced start, and the conversion back to θ."""
    if plan.reduction is None:
        return 0
    n_0, n_1 = plan.reduction.network.widths[:2]
    basis = 0 if plan.reduction.by_samples else plan.reduction.B.nbytes
    start = 3 * 8 * n_1 * len(plan.reduction.B)
    lift = 8 * (n_0 * n_1 + plan.U.n_params) + records * plan.U.n_params * np.dtype(plan.dtype).itemsize
    return basis + plan.reduction.U.X.nbytes + start + lift
