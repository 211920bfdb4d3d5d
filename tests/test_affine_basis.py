"""Networks of linear layers on an affine basis of their samples: the same run, laws included, up to round-off."""

import numpy as np
import problems
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._kernels.cpu import tiles
from noetherlite._run import affine_basis, checkpoint_file
from noetherlite._run.affine_basis import AffineBasis

STEPS = 21
# Without the compiler, where each takes seconds, the first reaches all lines that the others do.
ALGORITHMS = [
    nl.GD(0.02),
    *(
        pytest.param(algorithm, marks=pytest.mark.needs_jit)
        for algorithm in (nl.Leapfrog(1e-3), nl.NAGD(1e-3), nl.Adam(1e-3), nl.HeavyBall(0.01, weight_decay=0.1))
    ),
]


@pytest.fixture
def always(monkeypatch):
    """Bases are used where they can be, however little they save."""
    monkeypatch.setattr(affine_basis, "_PART", np.inf)
    monkeypatch.setattr(affine_basis, "_WORTH", 0)
    monkeypatch.setattr(affine_basis, "_FIXED", 0)


def linear(loss="nll", n=40, widths=(4, 9, 7, 3), activation="linear(0.7)", bias=True, **weights):
    net = nl.Network(list(widths), activation=activation, bias=bias, loss=loss)
    X, y = problems.data(net, n, np.random.default_rng(0))
    return net, net.potential(X + 2, y, **weights)  # the samples are not centred


def both(net, U, algorithm, **options):
    options = {"record_every": 7, "record_params": True, "backend": "cpu", **options}
    x0 = net.init(rng=1, bias_std=0.2 if net.bias else 0.0)
    return [nl.integrate(U, algorithm, x0, STEPS, input_reduction=reduced, **options) for reduced in (False, None)]


def is_on_a_basis(run):
    entry = run.specification["arguments"]["input_reduction"]
    return entry is not None and entry["coordinates"] == "affine"


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("loss", ["nll", pytest.param("mse", marks=pytest.mark.needs_jit)])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_the_run_is_the_same(algorithm, loss):
    net, U = linear(loss)
    plain, reduced = both(net, U, algorithm)
    assert is_on_a_basis(reduced)
    assert "an affine basis of 5 points instead of 40 samples" in reduced.message
    problems.assert_same_to_round_off(plain, reduced, STEPS)
    # the control: with one sample elsewhere it is another run
    U.X[0] += 0.1
    with pytest.raises(AssertionError):
        problems.assert_same_to_round_off(plain, both(net, U, algorithm)[1], STEPS)


@pytest.mark.needs_jit
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("options", "run"),
    [
        ({"bias": False}, {}),
        ({"sample_weight": np.linspace(0, 3, 40)}, {}),
        ({"class_weight": [1.0, 2.0, 5.0]}, {}),
        ({"loss": "huber(0.5)"}, {}),
        ({"activation": ["linear", "polynomial(1)"]}, {}),
        ({}, {"velocity": np.full(139, 0.1), "t0": 1.0}),
        ({"n": 300, "widths": (33, 9, 3)}, {"laws": ["linear:1", "translation:b"]}),
        ({}, {"dtype": "float32"}),
    ],
    ids=str,
)
def test_with_every_option(options, run):
    net, U = linear(**options)
    plain, reduced = both(net, U, nl.Leapfrog(1e-3), **run)
    assert is_on_a_basis(reduced)
    eps = float(np.finfo(run.get("dtype", "float64")).eps)
    problems.assert_same_to_round_off(plain, reduced, STEPS, eps)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["usual", "constant", "repeated", "of two scales", "far away", "one feature"])
def test_samples_are_affine_combinations_of_the_points(kind, dtype):
    _, U = linear(widths=(1 if kind == "one feature" else 4, 3, 2), n=50)
    if kind == "constant":
        U.X[:, 1] = 3.0
    elif kind == "repeated":
        U.X[:, 1] = U.X[:, 2]
    elif kind == "of two scales":
        U.X[:, 1] *= 1e-100
    elif kind == "far away":
        U.X[:, 1] += 1e9
    basis = AffineBasis(U, dtype)
    C, P, n = basis.readout.X, basis.P, U.X.shape[1]
    assert C.shape[1] == len(P) == tiles.whole_vectors(n + 1, dtype)
    assert not C[:, n + 1 :].any()
    # Householder's reflections round each column in its own size
    tolerance = 16 * n * EPS
    assert (np.abs(C @ P - U.X).max(axis=0) <= tolerance * np.abs(U.X).max(axis=0)).all()
    assert np.abs(C.sum(axis=1) - 1).max() <= tolerance
    assert np.abs(C[:, : n + 1].T @ C[:, : n + 1] / 50 * (n + 1) - np.eye(n + 1)).max() <= tolerance


@pytest.mark.needs_jit
@pytest.mark.usefixtures("always")
def test_results_do_not_depend_on_the_number_of_threads():
    # 3,000 samples of 65 coordinates, which are shared by threads in several parts
    net, U = linear(n=3000, widths=(64, 20, 10))
    assert len(tiles.empty(AffineBasis(U, "float64").problems()[1], U.n_samples).values) > 2
    x0 = net.init(rng=1)
    runs = [nl.integrate(U, nl.GD(0.05), x0, 30, n_threads=n, record_every=7) for n in (1, 2, 5)]
    assert all(map(is_on_a_basis, runs))
    for run in runs[1:]:
        problems.assert_same(run, runs[0])
    problems.assert_same_to_round_off(*both(net, U, nl.GD(0.05)), STEPS)


@pytest.mark.needs_jit
@pytest.mark.usefixtures("always")
def test_an_ensemble_is_its_runs():
    net, U = linear(n=100)
    starts = np.stack([net.init(rng=k) for k in range(5)])
    together = nl.ensemble(U, nl.Leapfrog(1e-3), starts, 30, record_every=10, n_threads=2)
    for run, x0 in zip(together, starts, strict=True):
        assert is_on_a_basis(run)
        alone = nl.integrate(U, nl.Leapfrog(1e-3), x0, 30, record_every=10)
        np.testing.assert_array_equal(run.x, alone.x)
        np.testing.assert_array_equal(run.loss, alone.loss)


@pytest.mark.needs_jit
@pytest.mark.usefixtures("always")
def test_a_stopped_run_goes_on(tmp_path):
    net, U = linear()
    whole = problems.assert_resumes(tmp_path / "a", U, nl.Leapfrog(1e-3), net.init(rng=0), 40, at=12, record_every=4)
    assert is_on_a_basis(whole)
    header, _ = checkpoint_file.read(tmp_path / "a.npz")
    assert header["arguments"]["by_affine_basis"]


@pytest.mark.needs_jit
@pytest.mark.usefixtures("always")
def test_the_memory_of_one_run_is_not_used_for_another():
    """A potential whose samples have changed, runs of other precisions and without a basis, in turns."""
    net, U = linear()
    x0 = net.init(rng=0)

    def runs():
        kinds = ({}, {"dtype": "float32"}, {"input_reduction": False}, {"batch_size": 8, "rng": 0})
        return [nl.integrate(U, nl.GD(0.02), x0, 5, **options).x for options in kinds]

    first = runs()
    for one, other in zip(first, runs(), strict=True):
        np.testing.assert_array_equal(one, other)
    U.X[:] = U.X[::-1] + 1
    for one, other in zip(first, runs(), strict=True):
        assert np.abs(one - other).max() > 1e-6


def test_bases_are_chosen_where_they_pay():
    def chosen(steps=1000, drawn=None, **options):
        _, U = linear(**options)
        return affine_basis.choose(U, steps, drawn or U.n_samples, "float64")

    small = {"widths": (10, 32, 32, 3), "n": 100}
    assert chosen(**small).n == 11
    assert chosen(**small, steps=10) is None  # the preparations would cost more
    assert chosen(**small, drawn=32) is None  # minibatches
    assert chosen(**small, activation=["linear", "relu"]) is None  # not a network of linear layers
    assert chosen(widths=(10, 32, 32, 3), n=13) is None  # hardly fewer points than samples
    assert chosen(widths=(200, 32, 3), n=100) is None  # more
    assert chosen(widths=(10, 3), n=1000) is None  # a network of one layer is its own readout
    assert chosen(widths=(64, 64, 32, 10), n=256).n == 65
    assert chosen(widths=(64, 64, 32, 10), n=140) is None  # as samples are shared by threads, and points are not
    assert chosen(widths=(100, 100, 10), n=1000) is None  # layers multiplied by BLAS
    assert affine_basis.choose(nl.potentials.Radial(2), 1000, 1, "float64") is None
