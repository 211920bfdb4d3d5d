"""The memory of a run is what the formula says, and recorded parameters that are too large for it go to a file."""

import gc
import tracemalloc

import numpy as np
import pytest
from problems import refusals

import noetherlite as nl
from noetherlite._base import limits
from noetherlite._run.plan import Plan
from noetherlite._run.runs import Runs

# What Python's own objects take: in a run, and in each network of an ensemble.
OBJECTS, OBJECTS_EACH = 1 << 17, 1 << 12


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """What other tests have left behind is not gone through by every collection of garbage here."""
    gc.collect()
    gc.freeze()


def peak(function):
    """Return the peak of memory in a second call, and what it returned; the first compiles and imports.

    The laws of a run, which are read when they are first asked for, are part of it.
    """
    function()
    gc.collect()
    tracemalloc.start()
    try:
        result = function()
        getattr(result, "laws", None)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def problem(widths, n, loss="nll", rank=None, activation="relu"):
    rng = np.random.default_rng(0)
    net = nl.Network(widths, activation=activation, loss=loss)
    X = rng.standard_normal((n, widths[0]))
    if rank is not None:
        X[:, rank:] = X[:, :rank] @ rng.standard_normal((rank, widths[0] - rank))
    y = rng.integers(0, widths[-1], n) if loss == "nll" else rng.standard_normal((n, widths[-1]))
    return net.potential(X, y), net.init(rng=0)


SMALL, MIDDLE, LARGE = [4, 8, 8, 3], [64, 64, 32, 10], [784, 256, 128, 10]


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("widths", "n", "steps", "options"),
    [
        (SMALL, 32, 5, {}),
        (SMALL, 32, 3000, {}),
        (SMALL, 32, 20000, {"record_every": 10}),
        (SMALL, 32, 3000, {"laws": None}),
        (MIDDLE, 20000, 2, {"laws": None}),
        (MIDDLE, 20000, 2, {"laws": None, "n_threads": 4}),
        (MIDDLE, 20000, 2, {"laws": None, "loss": "mse"}),
        (MIDDLE, 20000, 2, {"laws": None, "dtype": "float32"}),
        (MIDDLE, 20000, 2, {"laws": None, "batch_size": 500}),
        (MIDDLE, 64, 300, {"laws": ["scaling:1"], "record_params": True}),
        (LARGE, 64, 3, {"input_reduction": False}),
        (LARGE, 64, 3, {"input_reduction": False, "laws": None, "dtype": "float32"}),
        (LARGE, 64, 3, {"input_reduction": False, "laws": None, "algorithm": nl.Adam(1e-4)}),
        *(
            ([784, 32, 10], 64, 200, {"laws": None, "algorithm": algorithm})  # whose inputs are not reduced
            for algorithm in (nl.Lion(1e-4), nl.HeavyBall(1e-4, 0.9, weight_decay=0.1))
        ),
        (LARGE, 64, 3, {"input_reduction": True}),
        (LARGE, 64, 3, {"input_reduction": True, "laws": None, "batch_size": 32}),
        (LARGE, 784, 3, {"input_reduction": True, "laws": None}),
        (LARGE, 900, 3, {"input_reduction": True, "laws": None, "rank": 8}),
        (MIDDLE, 32, 100, {"input_reduction": True, "laws": None, "record_params": True}),
        # by the end-to-end map
        ([10, 32, 32, 3], 2000, 3000, {"activation": "linear", "laws": ["scaling:1"], "loss": "mse"}),
        ([300, 400, 10], 20, 3, {"activation": "linear", "laws": None}),
        ([300, 400, 10], 2000, 3, {"activation": "linear", "laws": None, "batch_size": 500}),
        ([10, 32, 32, 3], 2000, 3000, {"activation": "linear", "laws": ["scaling:1"], "dtype": "float32"}),
        pytest.param(SMALL, 32, 3000, {"laws": None, "observe": {"W": np.copy}}, id="observe"),
        (MIDDLE, 64, 2, {"laws": None, "record_sharpness": 1}),
        (MIDDLE, 2000, 2, {"laws": None, "record_sharpness": 1, "loss": "mse"}),
        (MIDDLE, 64, 1, {"laws": None, "record_sharpness": 10}),
        (SMALL, 32, 40, {"networks": 64}),
        (SMALL, 32, 40, {"networks": 64, "record_params": True, "laws": None}),
        (MIDDLE, 2000, 2, {"networks": 8, "n_threads": 2, "laws": None}),
    ],
    ids=str,
)
def test_formula_against_tracemalloc(widths, n, steps, options):
    options = dict(options)
    kind = {name: options.pop(name) for name in ("loss", "rank", "activation") if name in options}
    U, x0 = problem(widths, n, **kind)
    expected = nl.memory(U, steps, **options)
    networks, algorithm = options.pop("networks", None), options.pop("algorithm", nl.Leapfrog(1e-4))
    if networks is None:
        seen, _ = peak(lambda: nl.integrate(U, algorithm, x0, steps, rng=0, **options))
    else:
        starts = np.tile(x0, (networks, 1))
        seen, _ = peak(lambda: nl.ensemble(U, algorithm, starts, steps, rng=0, **options))
    assert seen - OBJECTS - OBJECTS_EACH * (networks or 0) <= expected <= 1.2 * seen


@pytest.mark.needs_jit
def test_every_argument_counts():
    """Negative control: the formula sees what the comparison above varies."""
    U, _ = problem(MIDDLE, 4000)
    plain = nl.memory(U, 20, n_threads=1)
    for options in (
        {"networks": 2}, {"record_every": 2}, {"record_params": True}, {"laws": None}, {"laws": ["scaling:1"]},
        {"record_sharpness": 1}, {"observe": {"sum": np.sum}}, {"batch_size": 10}, {"dtype": "float32"}, {"n_threads": 2}, {"input_reduction": True},
    ):  # fmt: skip
        assert nl.memory(U, 20, **{"n_threads": 1, **options}) != plain, options
    assert nl.memory(U, 2000, n_threads=1) > 1.9 * nl.memory(U, 1000, n_threads=1) - 2**20


@pytest.mark.needs_jit
def test_every_network_has_an_order_of_its_minibatches():
    """All networks share the order of the samples without minibatches."""
    U, _ = problem(MIDDLE, 4000)

    def more(**options):
        three, two = (nl.memory(U, 20, networks=E, n_threads=1, laws=None, **options) for E in (3, 2))
        return three - two

    assert more(batch_size=10) == more() + 8 * U.n_samples


MOMENTS = {
    **dict.fromkeys([nl.Adam, nl.RMSProp, nl.AdaGrad], 1),
    **dict.fromkeys([nl.Lion, nl.SignGD, nl.Nesterov, nl.HeavyBall, nl.GD], 0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("networks", [None, 3])
@pytest.mark.parametrize("kind", MOMENTS, ids=lambda kind: kind.__name__)
def test_a_second_moment_is_counted_as_it_is_allocated(kind, networks, dtype):
    U, x0 = problem(SMALL, 8)
    options = {"networks": networks, "laws": None, "dtype": dtype}
    more = nl.memory(U, 4, algorithm=kind(0.01), **options) - nl.memory(U, 4, algorithm=nl.Leapfrog(0.01), **options)
    plan = Plan(U, [], batch_size=None, backend="auto", dtype=dtype, steps=4, reduce=False)
    E = networks or 1
    records = plan.records(E, 4, 1, with_params=False)
    runs = Runs(plan, (kind(0.01),) * E, np.tile(x0, (E, 1)), np.zeros((E, x0.size)), 0.0, records, ())
    assert more == runs.state.moment.nbytes == MOMENTS[kind] * E * x0.size * np.dtype(dtype).itemsize


@pytest.mark.parametrize("U", [nl.potentials.Radial(3), nl.potentials.Callable(lambda x: (x @ x / 2, x), 3)], ids=repr)
@pytest.mark.uncounted
def test_potentials_without_a_network(U):
    seen, _ = peak(lambda: nl.integrate(U, nl.Leapfrog(1e-4), [1.0, 0.1, -0.2], 5000))
    assert seen - OBJECTS <= nl.memory(U, 5000) <= 1.2 * seen


test_bad_arguments = refusals(
    [
        ({"steps": -1}, "steps=-1"),
        ({"steps": 10, "networks": 0}, "networks=0"),
        ({"steps": 10, "record_every": 0}, "record_every=0"),
        ({"steps": 10, "dtype": "float16"}, "dtype="),
        ({"steps": 10, "laws": "scalng:1"}, "laws="),
    ],
    lambda options: nl.memory(problem(SMALL, 8)[0], **options),
)


# --- parameters in a file ----------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(limits, "PARAMS_IN_MEMORY", 1 << 18)


def test_large_parameters_are_in_a_file(monkeypatch, tmp_path):
    U, x0 = problem(MIDDLE, 64)

    def run(steps=1000):
        return nl.integrate(U, nl.Leapfrog(1e-4), x0, steps, record_params=True, laws=["scaling:1"])

    in_memory, expected = peak(run)
    formula = nl.memory(U, 1000, record_params=True, laws=["scaling:1"])
    monkeypatch.setattr(limits, "PARAMS_IN_MEMORY", 1 << 18)
    in_file, from_file = peak(run)
    size = expected.params.nbytes
    assert in_memory > size > 200 * (1 << 18)
    assert in_memory - in_file == pytest.approx(size, abs=OBJECTS)
    assert formula - nl.memory(U, 1000, record_params=True, laws=["scaling:1"]) == size
    np.testing.assert_array_equal(from_file.params, expected.params)
    np.testing.assert_array_equal(from_file.params[-1], from_file.x)
    saving, path = peak(lambda: from_file.save(tmp_path / "run.npz"))
    assert saving < size / 2  # NumPy writes pieces of 16 MiB
    np.testing.assert_array_equal(nl.load(path).params, expected.params)
    # what fits stays in memory
    few, _ = peak(lambda: run(2))
    assert few < in_file


@pytest.mark.usefixtures("little_memory")
def test_a_run_cut_short_keeps_the_rows_it_wrote():
    U, x0 = problem(MIDDLE, 64)
    run = nl.integrate(U, nl.GD(0.1), x0, 300, record_params=True, callback=lambda s: s.step == 7)
    assert run.status == "stopped"
    assert run.params.shape == (8, U.n_params)
    np.testing.assert_array_equal(run.params[-1], run.x)


@pytest.mark.needs_jit
@pytest.mark.usefixtures("little_memory")
def test_ensembles_have_their_parameters_in_a_file_too():
    U, x0 = problem(MIDDLE, 64)
    starts = np.stack([x0, 1.1 * x0])

    def run():
        algorithms = [nl.GD(0.1), nl.GD(1e300)]  # the second diverges
        return nl.ensemble(U, algorithms, starts, 100, record_params=True, laws=None, n_threads=1)

    seen, runs = peak(run)
    assert seen < runs.params.nbytes / 2
    assert [m.status for m in runs.members] == ["completed", "diverged"]
    alone = nl.integrate(U, nl.GD(0.1), x0, 100, record_params=True, laws=None)
    np.testing.assert_array_equal(runs[0].params, alone.params)
    reached = np.isfinite(runs.loss[1])
    assert 0 < reached.sum() < 10
    np.testing.assert_array_equal(np.isnan(runs.params[1]).all(axis=1), ~reached)
