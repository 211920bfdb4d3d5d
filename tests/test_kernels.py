"""The compiled kernels against the NumPy oracle, from the scalar functions up, on both paths of the dense products."""

import gc
import itertools
import operator
import os
import re
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from llvmlite.binding import llvm_version_info
from numba.core import event, ir
from numba.core.compiler import Flags
from numba.core.targetconfig import TargetConfig
from problems import EPS, data

import noetherlite as nl
from noetherlite._kernels import functions, jit, layout, pipeline, pointwise, reference, schedule
from noetherlite._kernels.cpu import compiled, intrinsics, laws, layers, loops, matrices, placed, rules, tiles
from noetherlite._kernels.discrete_laws import FROM_CHARGE, FROM_QUANTITY
from noetherlite._kernels.rules import Move
from noetherlite._problem.catalogue import CATALOGUE
from noetherlite._symmetry.records import table
from noetherlite._symmetry.rotation import DataRotation

ACTIVATIONS = [
    "linear",
    "linear(0.7)",
    "relu",
    "leaky_relu(0.1)",
    "polynomial(3)",
    "repu(1.5)",
    "swish",
    "swish(1.0)",
    "tanh",
]


# --- scalar functions ---


def test_exp_is_accurate_to_two_roundings():
    z = np.random.default_rng(0).uniform(-690, 700, 20_000)
    values = np.array([pointwise.exp(value) for value in z])
    assert np.abs(values / np.exp(z) - 1).max() <= 2 * EPS


@pytest.mark.needs_jit
def test_exp_at_the_ends_of_its_range():
    assert pointwise.exp(0.0) == 1.0
    assert pointwise.exp(-701.0) == 0.0
    assert pointwise.exp(-np.inf) == 0.0
    assert pointwise.exp(-699.0) >= np.finfo(np.float64).tiny  # never subnormal
    assert pointwise.exp(1e4) == pointwise.exp(709.0) > 1e307
    assert np.isnan(pointwise.exp(np.nan))


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", CATALOGUE)
def test_activations_let_nan_through(name):
    assert np.isnan(functions.ACTIVATIONS[CATALOGUE[name].code].value(2.0, np.nan))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 257, 512])
def test_shuffle_is_a_permutation_and_a_function_of_key_and_epoch(n):
    def shuffled(key, epoch, before=-1):
        order = np.full(n, before)
        pointwise.shuffle(np.uint64(key), epoch, order)
        return order

    assert np.array_equal(np.sort(shuffled(3, 0)), np.arange(n))
    assert np.array_equal(shuffled(3, 5), shuffled(3, 5, before=7))
    if n > 7:
        assert not np.array_equal(shuffled(3, 5), shuffled(3, 6))
        assert not np.array_equal(shuffled(3, 5), shuffled(4, 5))


def test_shuffle_is_uniform():
    counts = np.zeros((5, 5))
    order = np.empty(5, np.int64)
    for epoch in range(20_000):
        pointwise.shuffle(np.uint64(1), epoch, order)
        counts[np.arange(5), order] += 1
    # Each count is binomial with mean 4000 and standard deviation 57: five of them either way.
    assert np.abs(counts - 4000).max() < 5 * np.sqrt(20_000 * 0.2 * 0.8)


# --- register-blocked products ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("m", [1, 3, 4, 6, 9])
def test_small_products_equal_numpy(n, m, dtype):
    rng = np.random.default_rng(n * 100 + m)
    for vectors in (1, 2, 3):
        T = vectors * intrinsics.LANES * 8 // np.dtype(dtype).itemsize
        W, A, D = (rng.standard_normal(shape).astype(dtype) for shape in ((n, m), (m, T), (n, T)))
        b, tolerance = rng.standard_normal(n).astype(dtype), 8 * max(n, m, T) * np.finfo(dtype).eps
        x, Z = np.concatenate([W.ravel(), b]), np.full((n, T), np.nan, dtype)
        layers.combine(x, 0, m, 1, n * m, n, m, A.ravel(), 0, T, Z.reshape(-1), 0)
        np.testing.assert_allclose(Z, W @ A + b[:, None], atol=tolerance, rtol=0)
        U = np.full((m, T), np.nan, dtype)
        layers.combine(x, 0, 1, m, -1, m, n, D.ravel(), 0, T, U.reshape(-1), 0)
        np.testing.assert_allclose(U, W.T @ D, atol=tolerance, rtol=0)
        G = np.ones((n, m), dtype)
        for present in (1, 0):
            layers.correlate(not present, D.ravel(), 0, A.ravel(), 0, n, m, T, G.reshape(-1), 0)
            np.testing.assert_allclose(G, present + D @ A.T, atol=tolerance, rtol=0)


# --- matrices of laws ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 20), (4, 8), (6, 5), (9, 9), (12, 19), (35, 8), (40, 30)])
def test_matrices_of_laws_equal_numpy(n, m, dtype):
    """Sums of products of rows and of columns, in doubles, in whole and below the diagonal; packed, and where rows are long."""
    rng = np.random.default_rng(n)
    A, B = (np.concatenate([[np.nan], rng.standard_normal(n * m + n), [np.nan]]).astype(dtype) for _ in range(2))
    rows, columns = ([v[1 : 1 + n * m].astype(np.float64).reshape(shape) for v in (A, B)] for shape in ((n, m), (m, n)))
    bias = [v[1 + n * m : -1].astype(np.float64) for v in (A, B)]
    for a, b, half in ((A, B, False), (A, A, True)):
        other = int(a is not b)
        left, right, upper, lower = rows[0], rows[other], columns[0], columns[other]
        want = left @ right.T - 2 * upper.T @ lower + np.outer(bias[0], bias[other])
        size = np.abs(left) @ np.abs(right).T + 2 * np.abs(upper).T @ np.abs(lower)
        bound = 2 * (m + 1) * EPS * (size + np.abs(np.outer(bias[0], bias[other])))
        at = 1 + n * m
        for packed, parts in itertools.product((True, False), (1, 2, 4)):
            out = np.full(n * n, np.nan)
            borders = [matrices.first_column(part, parts, n, half) for part in range(parts + 1)]
            for first, last in itertools.pairwise(borders):
                matrices.products(-2.0, a, 1, b, 1, m, a, 1, at, b, 1, at, m * packed, n, half, first, last, out)
                if not packed:
                    matrices.add_products_of_rows(a, 1, b, 1, n, n, m, half, first, last, out)
            if half:
                matrices.mirror(n, out)
            assert (np.abs(out.reshape(n, n) - want) <= bound).all()
            assert not (np.abs(out.reshape(n, n) - 1.001 * want) <= bound).all()  # the control


@pytest.mark.parametrize("law", ["linear:1", "rotation"])
def test_the_form_of_a_vector_with_itself_is_that_of_its_copy(law):
    net = nl.Network([5, 12, 3], "linear(1)")
    family = next(s for s in nl.symmetries(net.potential(np.ones((2, 5)), [0, 1])) if s.name == "linear:1")
    family = family if law == "linear:1" else DataRotation(net)
    v = net.init(rng=0)
    described = placed.Placed(table([family], v.size, "float64"))
    once, twice = (np.full(family.n_generators, np.nan) for _ in range(2))
    addresses = laws.addresses_of_forms("float64", with_matrices=True)
    laws.forms(addresses, schedule.PAIR, described.address, v, v, once)
    laws.forms(addresses, schedule.PAIR, described.address, v, v.copy(), twice)
    size = family.norm(v).max() ** 2
    assert np.abs(once - twice).max() <= 16 * EPS * size
    assert np.array_equal(once, once.reshape(family.shape).T.ravel())
    assert np.abs(once).max() > 0.1 * size or (law == "rotation" and not once.any())


@pytest.mark.parametrize("what", [schedule.PAIR, schedule.CHARGE, schedule.QUANTITY, schedule.GENERATOR])
def test_the_scaling_of_a_linear_layer_is_the_diagonal_of_its_law(what):
    """The same numbers; without that law scalings are summed by themselves, to round-off the same."""
    net = nl.Network([5, 12, 9, 3], "linear(1)")
    families = {s.name: s for s in nl.symmetries(net.potential(np.ones((2, 5)), [0, 1]))}
    a, b = (net.init(rng=seed, bias_std=1.0) for seed in (0, 1))

    def forms(*names):
        chosen = [families[name] for name in names]
        out = np.full(sum(s.n_generators for s in chosen), np.nan)
        described = placed.Placed(table(chosen, a.size, "float64"))
        addresses = laws.addresses_of_forms("float64", with_matrices="linear:2" in names)
        laws.forms(addresses, what, described.address, a, b, out)
        return np.split(out, np.cumsum([s.n_generators for s in chosen])[:-1])

    of_first, of_second, matrix = forms("scaling:1", "scaling:2", "linear:2")
    np.testing.assert_array_equal(of_second, matrix.reshape(9, 9).diagonal())
    for alone, together in zip(forms("scaling:1", "scaling:2"), (of_first, of_second), strict=True):
        assert np.abs(alone - together).max() <= 32 * EPS * np.abs(a).sum() * np.abs(b).max()
        assert np.abs(alone).min() > 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "q"), [(1, 5), (3, 5), (8, 5), (13, 5), (16, 5), (131, 19)])
def test_scalings_equal_numpy(n, q, dtype):
    """⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ of each neuron, and |w_a| + |b_a| + p|u_a|; whole vectors of neurons and those that are left."""
    net = nl.Network([9, n, q], "repu(3)")
    family = next(s for s in nl.symmetries(net.potential(np.ones((2, 9)), [0, 1])) if s.name == "scaling:1")
    a, b = (net.init(rng=seed, bias_std=1.0).astype(dtype) for seed in (0, 1))
    described, (out, sizes) = placed.Placed(table([family], a.size, dtype)), np.full((2, n), np.nan)
    addresses = laws.addresses_of_forms(dtype, with_matrices=False)
    laws.forms(addresses, schedule.PAIR, described.address, a, b, out)
    laws.forms(addresses, schedule.GENERATOR, described.address, a, a, sizes)
    (W, bias, U), (V, shift, T) = (
        [net.unpack(v.astype(np.float64))[name] for name in ("W1", "b1", "W2")] for v in (a, b)
    )
    terms = np.concatenate([(W * V).T, [bias * shift], -3 * U * T])
    bound = 2 * len(terms) * EPS * np.abs(terms).sum(axis=0)
    assert (np.abs(out - terms.sum(axis=0)) <= bound).all()
    assert not (np.abs(out - terms[:-1].sum(axis=0)) <= bound).any()  # the control: without the last outgoing weight
    absolute = np.concatenate([np.abs(W).T, [np.abs(bias)], 3 * np.abs(U)])
    assert (np.abs(sizes - absolute.sum(axis=0)) <= len(absolute) * EPS * sizes).all()
    assert not (np.abs(sizes - absolute[:-1].sum(axis=0)) <= len(absolute) * EPS * sizes).any()


# --- whole gradients ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("widths", [[4, 9, 8, 3], [97, 97, 5, 2]], ids=["loops", "BLAS"])
def test_the_identity_is_left_out_and_its_loops_would_change_no_bit(widths, dtype, monkeypatch):
    net = nl.Network(widths, ["linear", "relu"], loss="mse")
    X, y = data(net, 20, np.random.default_rng(0))
    problem, x = net.potential(X, y).problem(dtype), net.init(rng=1, bias_std=0.1).astype(dtype)

    def gradient():
        g = np.full_like(x, np.nan)
        return compiled.Evaluation(problem, tiles.empty(problem, 20))(x, g), g

    assert not loops.addresses(problem)[0].any()
    assert all(loops.addresses(problem)[1, :2])  # the control: ReLU is called
    without = gradient()
    known = [sigma._replace(identity=None) for sigma in functions.ACTIVATIONS]
    monkeypatch.setattr(loops, "ACTIVATIONS", known)
    assert all(loops.addresses(problem)[0, :2])
    assert without[0] == gradient()[0]
    assert np.array_equal(without[1], gradient()[1])


@pytest.mark.parametrize("blas", [False, True])
@pytest.mark.parametrize("loss", ["mse", "nll"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_entry_of_the_gradient_is_written_anew(activation, loss, blas, monkeypatch):
    monkeypatch.setattr(tiles, "BLAS_FROM", 0 if blas else 10**9)
    net = nl.Network([5, 6, 7, 3], activation=activation, loss=loss)
    x = net.init(rng=2, bias_std=0.3)
    problem = net.potential(*data(net, 19, np.random.default_rng(1))).problem()
    memory = compiled.tiles(problem, 19)
    assert memory.blas == blas
    gradient = np.full(net.n_params, 1e3)  # what the last step left must not matter
    value = compiled.Evaluation(problem, memory)(x, gradient)
    expected_value, expected = reference.value_and_gradient(problem, x)
    assert value == pytest.approx(expected_value, rel=64 * EPS)
    np.testing.assert_allclose(gradient, expected, atol=64 * EPS * np.abs(expected).max(), rtol=0)
    assert compiled.Evaluation(problem, memory)(x, np.empty(0)) == value


def test_both_paths_of_the_products_agree_along_a_run(monkeypatch):
    net = nl.Network([5, 6, 3], activation="swish")
    U, ends = net.potential(nl.datasets.gaussian_classes(n=40, n_features=5, n_classes=3, rng=0)), []
    for threshold in (0, 10**9):
        monkeypatch.setattr(tiles, "BLAS_FROM", threshold)
        ends.append(nl.integrate(U, nl.NAGD(1e-3), net.init(rng=0), 50, batch_size=11, rng=3).x)
    np.testing.assert_allclose(ends[0], ends[1], atol=50 * 64 * EPS, rtol=0)


def test_padding_samples_count_for_nothing():
    # 9 samples fill two vectors of 8: the other 7 repeat the last one and must not weigh in.
    net = nl.Network([2, 3, 2])
    U, x = net.potential(nl.datasets.gaussian_classes(n=9, n_features=2, n_classes=2, rng=0)), net.init(rng=1)
    parts = [net.gradient(x, U.X[[i]], U.y[[i]]) for i in range(9)]
    np.testing.assert_allclose(U.gradient(x), np.mean(parts, axis=0), atol=64 * EPS, rtol=0)


@pytest.mark.needs_jit
def test_a_loss_that_is_not_finite_stays_visible():
    net = nl.Network([2, 3, 1], activation="polynomial(3)", loss="mse")
    x = net.init(rng=0) * 1e80
    assert not np.isfinite(net.loss_value(x, np.ones((1, 2)), np.ones((1, 1))))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="is itself run without the compiler")
@pytest.mark.lengthy
def test_kernels_run_without_the_compiler():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    chosen = "small_products and 3-5 or written_anew or both_paths"
    # Without the compiler NumPy warns of the products modulo 2^64 that the shuffle is made of.
    quiet = ["-W", "ignore:overflow encountered in scalar:RuntimeWarning"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *quiet, __file__, "-k", chosen]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="counts the compiled kernels' allocations")
@pytest.mark.parametrize("widths", [[4, 8, 8, 3], [110, 100, 3]], ids=["loops", "BLAS"])
@pytest.mark.parametrize("algorithm", [nl.GD(1e-3), nl.NAGD(1e-3), nl.ConformalLeapfrog(1e-3, gamma=0.1)], ids=str)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_step_allocates_nothing(widths, algorithm, batch_size, monkeypatch):
    from numba.core.runtime import _nrt_python, rtsys

    from noetherlite._run import drive

    net = nl.Network(widths, activation="swish")
    rng = np.random.default_rng(0)
    U = net.potential(rng.standard_normal((20, widths[0])), rng.integers(0, 3, 20))

    def allocations(steps):
        before = rtsys.get_allocation_stats().mi_alloc
        nl.integrate(U, algorithm, net.init(rng=0), steps, batch_size=batch_size, rng=0, record_every=5)
        return rtsys.get_allocation_stats().mi_alloc - before

    # A call wraps each array it is given, and slow machines make more calls of so many steps: here all are taken in one.
    monkeypatch.setattr(drive.Pace, "__init__", lambda pace: setattr(pace, "steps", 4000))
    _nrt_python.memsys_enable_stats()
    try:
        allocations(3)  # compiles
        assert allocations(4000) == allocations(400)
    finally:
        _nrt_python.memsys_disable_stats()


# --- tuples by address ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_placed_tuple_reads_as_it_was_given(dtype):
    @numba.njit
    def read(run, x):
        problem, algorithm = placed.problem_at(run[0], x), placed.algorithm_at(run[1], x)
        batches, state = placed.batches_at(run[2], x), placed.state_at(run[3], x)
        state.scratch[1, 2] = problem.X[1, 0]
        return problem.X[1, 0], problem.dual, algorithm.mass, algorithm.t0, batches.key, batches.order[2], state.v[1]

    problem = layout.analytic(layout.NETWORK, np.empty((0, 0)), dtype)
    problem = problem._replace(X=np.arange(6, dtype=dtype).reshape(3, 2), dual=7)
    algorithm = layout.Algorithm(layout.OF_Q, 0.5, 2, 0.0, 0.0, 0.25, 0.0, 0.0)  # type: ignore[arg-type]  # 2 for 2.0
    batches = layout.Batches(1, np.uint64(2**64 - 3), np.array([5, 6, 7]))
    state = layout.views(layout.new_states(2, 3, 4, dtype), 1)
    state.v[1] = 0.125
    memory = [placed.Placed(group) for group in (problem, algorithm, batches, state)]
    assert read(tuple(one.address for one in memory), np.empty(0, dtype)) == (2.0, 7, 2.0, 0.25, 2**64 - 3, 7, 0.125)
    assert state.scratch[1, 2] == 2.0
    assert np.count_nonzero(state.scratch) == 1  # and nothing beside it was written


def of_runs(monkeypatch, bytes_of_a_block, dtype, E, params):
    monkeypatch.setattr(layout, "_BLOCK", bytes_of_a_block)
    layout._of_states.cache_clear()
    layout._block_of_records.cache_clear()
    return layout.new_states(E, 3, 2, dtype, with_moment=True), layout.new_records(4, 2, 5, params, last=14)


@pytest.mark.parametrize("E", [1, 3])
@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_in_one_block_are_those_apart(monkeypatch, E, rows, dtype):
    """Kernels see the same types and numbers, and every array where it lies."""
    params = np.empty((E, rows, 3 * bool(rows)), dtype)
    apart, together = (of_runs(monkeypatch, size, dtype, E, params) for size in (0, 1 << 14))
    assert together[0].x.base is together[0].sizes.base
    assert apart[0].x.base is not apart[0].sizes.base
    for one, other in zip(apart, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert numba.typeof(a) == numba.typeof(b)
        np.testing.assert_array_equal(placed._words_of_first(other), placed.words(other, of_first=True))
        changed = other._replace(loss=other.loss.copy())  # no longer in the block
        np.testing.assert_array_equal(placed._words_of_first(changed), placed.words(changed, of_first=True))
        assert not np.array_equal(placed._words_of_first(changed), placed._words_of_first(other))
    assert [a.tobytes() for a in apart[0]] == [b.tobytes() for b in together[0]]
    for name in ("step", "loss", "excess"):
        np.testing.assert_array_equal(getattr(apart[1], name), getattr(together[1], name))


# --- names of machine code ---


@pytest.mark.needs_jit
def test_functions_made_in_one_place_are_told_apart_by_their_names():
    """Code is linked by names, and numba's own count begins anew in each process whose code is on disk."""

    def made(factor):
        @jit.scalar
        def times(x):
            return factor * x

        return times.py_func.__qualname__

    assert made(2.0) == made(2.0) != made(3.0)
    turned = FROM_CHARGE._replace(writes=FROM_CHARGE.writes[::-1])  # the same numbers, written to other places
    names = {rules.loop(law, "float64").py_func.__qualname__ for law in (FROM_QUANTITY, FROM_CHARGE, turned)}
    assert len(names) == 3


@pytest.mark.needs_jit
def test_laws_are_the_same_code_for_both_dtypes():
    """Their sums are doubles: to compile them twice would take seconds."""
    double, single = (rules.loop(FROM_CHARGE, dtype) for dtype in ("float64", "float32"))
    assert double is single


# --- compiling ---


@pytest.mark.needs_jit
def test_garbage_is_seldom_collected_while_a_function_is_compiled():
    @jit.scalar
    def twice(x):
        return 2 * x

    class Listener(event.Listener):
        def on_start(self, event):
            during.append(gc.get_threshold())

        def on_end(self, event):
            pass

    twice._cache.disable()  # else the second run of this test would find it on disk
    usual, during = gc.get_threshold(), []
    with event.install_listener("numba:compile", Listener()):
        # As Python has it, seldom as it is, never.
        for first, number in ((usual[0], numba.int64), (10 * jit._NEW_OBJECTS, numba.float64), (0, numba.float32)):
            gc.set_threshold(first, *usual[1:])
            twice.compile((number,))
            assert gc.get_threshold() == (first, *usual[1:])
    gc.set_threshold(*usual)
    assert [first for first, *_ in during] == [jit._NEW_OBJECTS, 10 * jit._NEW_OBJECTS, 0]


def test_threads_that_compile_at_the_same_time_leave_the_usual_collection_of_garbage():
    usual, entered, left = gc.get_threshold(), threading.Event(), threading.Event()

    def compile_until_the_other_ends():
        with jit.little_collecting:
            entered.set()
            left.wait()

    other = threading.Thread(target=compile_until_the_other_ends)
    with jit.little_collecting:
        other.start()
        entered.wait()
    seldom = gc.get_threshold()
    left.set()
    other.join()
    assert seldom[0] >= jit._NEW_OBJECTS > usual[0]
    assert gc.get_threshold() == usual


@pytest.mark.needs_jit
@pytest.mark.skipif(llvm_version_info < (16,), reason="LLVM 15 takes Adam's one at a time")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", [nl.Adam, nl.RMSProp, nl.AdaGrad])
def test_rules_divide_and_take_roots_in_vectors(kind, dtype):
    """One number at a time a step of Adam for a minibatch takes twice as long."""
    code = ""
    for move in kind(0.1).method.rules:
        if isinstance(move, Move):
            function = jit.looped(rules._over_coordinates(move, dtype))
            function._cache.disable()  # code that comes from disk cannot be read
            function.compile((numba.int64,) * 3)
            code += next(iter(function.inspect_asm().values()))
    for operation in ("div", "sqrt"):
        assert re.search(rf"{operation}p[ds]\s|f{operation}\s+v\d", code), operation


@pytest.mark.needs_jit
def test_owners_of_arrays_are_counted():
    @jit.compiled
    def last(a, b, n):
        pair, chosen = (a, (n, b)), a
        for i in range(n):
            fresh = np.zeros(3)
            fresh[0] = i
            chosen = fresh if i % 3 == 2 else pair[0] if i % 3 == 0 else pair[1][1]
        return chosen

    last._cache.disable()
    a, b = np.ones(2), np.ones(3)
    references = [sys.getrefcount(array) for array in (a, b)]
    for n, expected in ((0, [1, 1]), (1, [1, 1]), (2, [1, 1, 1]), (3, [2, 0, 0]), (4, [1, 1])):
        for _ in range(5):
            assert last(a, b, n).tolist() == expected
    assert [sys.getrefcount(array) for array in (a, b)] == references
    chosen = last(a, b, 1)
    del a
    assert chosen.tolist() == [1, 1]


@pytest.mark.needs_jit
@pytest.mark.skipif(llvm_version_info < (16,), reason="LLVM 15 loses the mark before it unrolls")
def test_loops_of_products_in_registers_are_not_unrolled():
    """Unrolled a network takes a third longer to compile, and a step no less time."""
    combine = jit.merged(layers.combine.py_func)
    combine._cache.disable()  # code that comes from disk cannot be read
    i, vector = numba.int64, numba.typeof(np.empty(0))
    combine.compile((vector, *[i] * 6, vector, i, i, vector, i))
    code = next(iter(combine.inspect_llvm().values()))
    blocks = [(4, layers.WIDE), (4, 3), (4, 2), (4, 1), (3, 2), (2, 2), (1, 2), (1, 1)]
    products = sum(rows * columns for rows, columns in blocks)
    assert products <= len(re.findall(r"call .*@llvm\.fma\.", code)) < 1.5 * products


@pytest.mark.needs_jit
def test_numba_goes_shorter_ways_only_while_a_kernel_is_compiled():
    @jit.inlined
    def triangle(n):
        total, i = 0, 0
        while i < n:
            i += 1
            total += i
        return total

    @jit.inlined
    def two(n):
        total = triangle(n)
        return 1000 * total + triangle(n + 1)

    @jit.compiled
    def caller(total, i):
        """The variables of all three have the same names."""
        n = two(total)
        return 10 * n + i + total + two(i)

    class Listener(event.Listener):
        def on_start(self, event):
            shared = [hasattr(kind, "__deepcopy__") for kind in (ir.Scope, ir.Loc)]
            during.append([*shared, *(vars(kind)[name] is not method for kind, name, method in others)])
            assert flags.values() == values(flags)

        def on_end(self, event):
            pass

    methods = [(kind, name) for kind, name, _ in pipeline._SHORTER if kind not in (ir.Scope, ir.Loc)]
    others = [(kind, name, vars(kind)[name]) for kind, name in methods]
    during, values, flags = [], TargetConfig.values, Flags()
    flags.nrt = True
    caller._cache.disable()  # else the second run of this test would find it on disk
    with event.install_listener("numba:compile", Listener()):
        assert caller(3, 4) == 10 * 6010 + 4 + 3 + 10015
        numba.njit(lambda x: x)(1)
    assert during == [[True] * 8, [False] * 8]
    assert any(function.typing_key is operator.add for function, *_ in pipeline._resolved)
    passes = caller.overloads[caller.signatures[0]].metadata["pipeline_times"]["nopython"]
    assert not any("nopython_rewrites" in name for name in passes)
    assert any("native_lowering" in name for name in passes)
