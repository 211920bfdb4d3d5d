"""Potentials compiled from functions, and long runs of few parameters, whose steps are one function."""

import pickle

import numba
import numpy as np
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._kernels.cpu import placed, stretch
from noetherlite._motion.algorithms import ALGORITHMS

X0 = np.array([1.4, 0.1, -0.2])
SCALE = 0.4


def value(x):
    square = x[0] * x[0] + x[1] * x[1] + x[2] * x[2]
    return 0.25 * SCALE * (square - 1) ** 2 + 0.08


def gradient(x, out):
    square = x[0] * x[0] + x[1] * x[1] + x[2] * x[2]
    for i in range(3):
        out[i] = SCALE * (square - 1) * x[i]


def falls(x):  # without end
    return -(x[0] ** 4)


def falling(x, out):
    out[0] = -4 * x[0] ** 3


U = nl.potentials.Compiled(value, gradient, 3)
TURN = nl.Symmetry([[0, -1, 0], [1, 0, 0], [0, 0, 0]], name="turn")


@pytest.fixture
def always(monkeypatch):
    """Stretches for runs of any length."""
    monkeypatch.setattr(stretch, "LONG", 1)


def run(algorithm, steps=60, potential=U, **arguments):
    options = {"record_every": 7, "record_params": True, "backend": "cpu", "rng": 0, **arguments}
    return nl.integrate(potential, algorithm, X0[: potential.n_params], steps, **options)


def test_it_is_the_potential_of_its_functions():
    radial = nl.potentials.Radial(3)
    for x in np.random.default_rng(0).normal(size=(5, 3)):
        assert U.value(x) == pytest.approx(radial.value(x), rel=4 * EPS)
        np.testing.assert_allclose(U.gradient(x), radial.gradient(x), rtol=8 * EPS)
    np.testing.assert_allclose(nl.sharpness(U, X0), nl.sharpness(radial, X0), rtol=8 * EPS)
    jitted = nl.potentials.Compiled(numba.njit(value), numba.njit(gradient), 3)
    assert jitted.specification() == U.specification()
    again = pickle.loads(pickle.dumps(U))
    assert again.specification() == U.specification()
    assert again.value(X0) == U.value(X0)


def test_a_symmetry_of_it_is_watched():
    law = run(nl.Leapfrog(0.01), laws=[TURN]).laws["turn"]
    assert law.verdict == "holds"
    with pytest.raises(ValueError, match="'shear' is not a symmetry"):
        run(nl.Leapfrog(0.01), laws=[nl.Symmetry([[0, 1, 0], [0, 0, 0], [0, 0, 0]], name="shear")])


def test_functions_that_do_not_fit():
    def twice(x, out):
        for i in range(3):
            out[i] = 2 * SCALE * (x[0] ** 2 + x[1] ** 2 + x[2] ** 2 - 1) * x[i]

    def not_compiled(x):
        return x.of_no_array

    with pytest.raises(ValueError, match="gradient is not that of value: at x="):
        nl.potentials.Compiled(value, twice, 3)
    with pytest.raises(TypeError, match="value must be callable"):
        nl.potentials.Compiled(1.0, gradient, 3)
    if not numba.config.DISABLE_JIT:
        with pytest.raises(TypeError, match="must be functions that numba compiles"):
            nl.potentials.Compiled(not_compiled, gradient, 3)
    with pytest.raises(ValueError, match="whose functions are compiled for the CPU"):
        run(nl.GD(0.1), backend="cuda")


def test_a_checkpoint_knows_its_functions(tmp_path):
    def other(x):
        return 0.25 * SCALE * (x[0] * x[0] + x[1] * x[1] + x[2] * x[2] - 1) ** 2 + 0.08

    path = tmp_path / "checkpoint"
    whole = run(nl.GD(0.1))
    run(nl.GD(0.1), checkpoint=path, callback=lambda snapshot: snapshot.step == 28)
    with pytest.raises(ValueError, match=r"potential must be given to resume .*: a Python function is not saved"):
        nl.resume(path)
    with pytest.raises(ValueError, match="functions="):
        nl.resume(path, potential=nl.potentials.Compiled(other, gradient, 3))
    np.testing.assert_array_equal(nl.resume(path, potential=U).params, whole.params)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("GD", "NAGD") else pytest.mark.slow) for name in ALGORITHMS]
)
def test_a_stretch_of_steps_is_the_steps(name, monkeypatch):
    """The same as the steps one by one, to the round-off of 60 steps, with weight decay; bit for bit if it is interrupted."""
    algorithm = ALGORITHMS[name](lr=0.01, weight_decay=0.1)
    one_by_one = run(algorithm)
    monkeypatch.setattr(stretch, "LONG", 1)
    taken = run(algorithm)
    np.testing.assert_array_equal(taken.step, one_by_one.step)
    for attribute in ("params", "loss", "energy"):
        expected = getattr(one_by_one, attribute)
        np.testing.assert_allclose(getattr(taken, attribute), expected, atol=60 * 8 * EPS * np.abs(expected).max())
    halves = run(algorithm, callback=lambda snapshot: None)  # a call for every record
    np.testing.assert_array_equal(halves.params, taken.params)
    every = run(algorithm, record_every=1)
    np.testing.assert_array_equal(every.params[taken.step], taken.params)


@pytest.mark.needs_jit
@pytest.mark.parametrize("owned", [False, True])
def test_steps_count_no_references(owned, always, monkeypatch):
    """Counting those to arrays takes twice as long as a step; with owners, as the control, it is seen."""

    def with_owner(context, builder, kind, data, shape):
        array = array_at(context, builder, kind, data, shape)
        return builder.insert_value(array, builder.bitcast(data, array.type.elements[0]), 0)

    array_at = placed.array_at
    if owned:
        monkeypatch.setattr(placed, "array_at", with_owner)
    stretches, compiling = [], stretch.stretch
    monkeypatch.setattr(stretch, "stretch", lambda *facts: stretches.append(facts) or compiling(*facts))
    run(nl.Leapfrog(0.01))
    steps = compiling.__wrapped__(*stretches[0])
    afresh = numba.jit(**steps.targetoptions)(steps.py_func)  # of code from the cache numba shows no assembly
    afresh.compile((numba.int64,) * 4)
    assert ("NRT_decref" in next(iter(afresh.inspect_asm().values()))) == owned


def test_other_potentials_and_precisions_in_stretches(always):
    A = np.diag([1.0, 2, 3]) + 0.1
    for potential in (nl.potentials.Harmonic(A), nl.potentials.Radial(3)):
        rows, expected = (run(nl.GD(0.05), potential=potential, backend=b).params for b in ("cpu", "reference"))
        np.testing.assert_allclose(rows, expected, rtol=0, atol=60 * 8 * EPS)
    single = run(nl.GD(0.05), dtype="float32")
    assert single.params.dtype == np.float32
    np.testing.assert_allclose(single.params, run(nl.GD(0.05)).params, atol=60 * 8 * np.finfo(np.float32).eps)


@pytest.mark.needs_jit
def test_an_ensemble_is_its_runs(always):
    starts = X0 * np.array([[1.0], [0.9], [0.8]])
    together = nl.ensemble(U, nl.GD(0.1), starts, 60)
    for x0, member in zip(starts, together, strict=True):
        np.testing.assert_array_equal(member.x, nl.integrate(U, nl.GD(0.1), x0, 60).x)


@pytest.mark.needs_jit
def test_what_diverges_ends_at_the_same_step(monkeypatch):
    fall = nl.potentials.Compiled(falls, falling, 1)
    ends = []
    for long in (stretch.LONG, 1):
        monkeypatch.setattr(stretch, "LONG", long)
        ends.append(run(nl.GD(0.1), 1000, fall, on_divergence="record"))
    assert ends[0].message == ends[1].message != ""
    np.testing.assert_array_equal(ends[0].step, ends[1].step)


@pytest.mark.needs_jit
def test_long_runs_and_only_they_are_stretched(monkeypatch):
    monkeypatch.setattr(stretch, "stretch", lambda *arguments: pytest.fail("not to be compiled"))
    run(nl.GD(0.1), stretch.LONG - 1, record_every=10**6)
    run(nl.GD(0.1), stretch.LONG, laws=[TURN], record_every=10**6)
    with pytest.raises(pytest.fail.Exception, match="not to be compiled"):
        run(nl.GD(0.1), stretch.LONG, record_every=10**6)
