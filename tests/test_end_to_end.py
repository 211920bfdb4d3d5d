"""Networks of linear layers by their end-to-end map: the same run, laws included, up to round-off."""

import numpy as np
import problems
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._kernels import reference, schedule
from noetherlite._kernels.cpu import factored, tiles
from noetherlite._run import checkpoint_file, end_to_end
from noetherlite._run.plan import Plan
from noetherlite._symmetry.find import watched

STEPS = 21
# Without the compiler, where each takes seconds, the first reaches all lines that the others do.
ALGORITHMS = [
    nl.GD(0.02),
    *(
        pytest.param(algorithm, marks=pytest.mark.needs_jit)
        for algorithm in (nl.Leapfrog(1e-3), nl.NAGD(1e-3), nl.Adam(1e-3), nl.HeavyBall(0.01, weight_decay=0.1))
    ),
]


def linear(loss="nll", n=40, widths=(4, 9, 7, 3), activation="linear(0.7)", bias=True, **weights):
    net = nl.Network(list(widths), activation=activation, bias=bias, loss=loss)
    X, y = problems.data(net, n, np.random.default_rng(0))
    return net, net.potential(X + 2, y, **weights)  # the samples are not centred


def both(net, U, algorithm, **options):
    options = {"record_every": 7, "record_params": True, "backend": "cpu", **options}
    x0 = net.init(rng=1, bias_std=0.2 if net.bias else 0.0)
    return [nl.integrate(U, algorithm, x0, STEPS, input_reduction=reduced, **options) for reduced in (False, None)]


def is_end_to_end(run):
    entry = run.specification["arguments"]["input_reduction"]
    return entry is not None and entry["coordinates"] == "end-to-end"


@pytest.mark.parametrize("loss", ["nll", pytest.param("mse", marks=pytest.mark.needs_jit)])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_the_run_is_the_same(algorithm, loss):
    net, U = linear(loss)
    plain, reduced = both(net, U, algorithm)
    assert is_end_to_end(reduced)
    assert "all layers multiplied to one, by 3 rows instead of 40 samples" in reduced.message
    problems.assert_same_to_round_off(plain, reduced, STEPS)
    # the control: with one sample elsewhere it is another run
    U.X[0] += 0.1
    with pytest.raises(AssertionError):
        problems.assert_same_to_round_off(plain, both(net, U, algorithm)[1], STEPS)


@pytest.mark.needs_jit
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
        # 37 and 50 are no multiples of a vector's length nor of four; one output, one neuron, more outputs than rows of a block
        ({"n": 60, "widths": (37, 50, 37, 5)}, {}),
        ({"n": 60, "widths": (37, 50, 37, 5)}, {"dtype": "float32"}),
        ({"n": 20, "widths": (1, 2, 1), "loss": "mse"}, {}),
        ({"n": 20, "widths": (9, 1, 8, 1), "loss": "mse"}, {}),
        ({"widths": (4, 9, 5, 6, 7, 3)}, {}),
        ({}, {"dtype": "float32"}),
        ({}, {"batch_size": 11, "rng": 3}),
        ({}, {"batch_size": 11, "rng": 3, "dtype": "float32"}),
    ],
    ids=str,
)
def test_with_every_option(options, run):
    net, U = linear(**options)
    plain, reduced = both(net, U, nl.Leapfrog(1e-3), **run)
    assert is_end_to_end(reduced)
    eps = float(np.finfo(run.get("dtype", "float64")).eps)
    problems.assert_same_to_round_off(plain, reduced, STEPS, eps)


@pytest.mark.parametrize("kind", ["usual", "constant", "repeated", "of two scales", "far away", "fewer than inputs"])
def test_the_gradient_for_samples_of_every_kind(kind):
    net, U = linear(n=15, widths=(20, 9, 2)) if kind == "fewer than inputs" else linear(n=50, widths=(4, 3, 2))
    if kind == "constant":
        U.X[:, 1] = 3.0
    elif kind == "repeated":
        U.X[:, 1] = U.X[:, 2]
    elif kind == "of two scales":
        U.X[:, 1] *= 1e-100
    elif kind == "far away":
        U.X[:, 1] += 1e9
    x0 = net.init(rng=1, bias_std=0.2)
    whole, ends = (
        nl.integrate(U, nl.GD(1.0), x0, 1, input_reduction=reduced, backend="cpu") for reduced in (False, None)
    )
    assert is_end_to_end(ends)
    assert (np.abs(ends.x - whole.x) <= 8 * (U.n_samples + sum(net.widths)) * EPS * sizes(net, U, x0)).all()


def sizes(net, U, x):
    """Return what a gradient is made of, before anything cancels; ∂U/∂f is (1 + |f|)/N at the most, with the round-off of f."""
    layers = reference.layers(U.problem(), np.abs(x))
    inputs = [np.abs(U.X)]
    for W, b, _ in layers:
        inputs.append(inputs[-1] @ W.T + (0 if b is None else b))
    signal, out = (1 + inputs[-1]) / U.n_samples, np.abs(x)
    for (W, _, _), (dW, db, _), a in zip(
        layers[::-1], reference.layers(U.problem(), out)[::-1], inputs[-2::-1], strict=True
    ):
        upstream = signal @ W
        dW += signal.T @ a
        if db is not None:
            db += signal.sum(axis=0)
        signal = upstream
    return out


@pytest.mark.needs_jit
def test_results_do_not_depend_on_the_number_of_threads():
    # 3,000 samples of 64 inputs, which are shared by threads in several parts
    net, U = linear(n=3000, widths=(64, 20, 10))
    assert len(tiles.empty(end_to_end.EndToEnd(U).problems("float64")[1], U.n_samples).values) > 2
    x0 = net.init(rng=1)
    runs = [nl.integrate(U, nl.GD(0.05), x0, 30, n_threads=n, record_every=7) for n in (1, 2, 5)]
    assert all(map(is_end_to_end, runs))
    for run in runs[1:]:
        problems.assert_same(run, runs[0])
    problems.assert_same_to_round_off(*both(net, U, nl.GD(0.05)), STEPS)


@pytest.mark.needs_jit
def test_an_ensemble_is_its_runs():
    net, U = linear(n=100)
    starts = np.stack([net.init(rng=k) for k in range(5)])
    together = nl.ensemble(U, nl.GD(0.02), starts, 30, record_every=10, n_threads=2)
    for run, x0 in zip(together, starts, strict=True):
        assert is_end_to_end(run)
        problems.assert_same(run, nl.integrate(U, nl.GD(0.02), x0, 30, record_every=10))


@pytest.mark.needs_jit
@pytest.mark.parametrize("batches", [{}, {"batch_size": 7, "rng": 1}], ids=["all samples", "minibatches"])
def test_a_stopped_run_goes_on(tmp_path, batches):
    net, U = linear()
    options = {"at": 12, "record_every": 4, **batches}
    for algorithm in (nl.GD(0.02), nl.Leapfrog(1e-3)):
        whole = problems.assert_resumes(tmp_path / "a", U, algorithm, net.init(rng=0), 40, **options)
        assert is_end_to_end(whole)
    header, _ = checkpoint_file.read(tmp_path / "a.npz")
    assert header["arguments"]["by_end_to_end"]


@pytest.mark.needs_jit
def test_the_memory_of_one_run_is_not_used_for_another():
    """A potential whose samples have changed, runs of other precisions and of all layers, in turns."""
    net, U = linear()
    x0 = net.init(rng=0)

    def runs():
        kinds = ({}, {"dtype": "float32"}, {"input_reduction": False}, {"batch_size": 8, "rng": 0})
        return [nl.integrate(U, nl.GD(0.02), x0, 5, **options).x for options in kinds]

    first = runs()
    for one, other in zip(first, runs(), strict=True):
        np.testing.assert_array_equal(one, other)
    single = nl.integrate(U, nl.GD(0.02), x0, 5, dtype="float32").x
    U.X[:] = U.X[::-1] + 1
    assert np.abs(nl.integrate(U, nl.GD(0.02), x0, 5, dtype="float32").x - single).max() > 1e-3
    for one, other in zip(first, runs(), strict=True):
        assert np.abs(one - other).max() > 1e-6


@pytest.mark.parametrize("widths", [(4, 9, 7, 3), (20, 12, 16, 5, 9, 2), (3, 2, 1), (5, 40, 41, 10)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_the_form_of_the_gradient_by_its_factors(widths, bias, monkeypatch):
    """Against the form of the gradient itself, for numbers of rows and columns that fill vectors and blocks, or do not."""
    net, U = linear(widths=widths, bias=bias, n=60, loss="mse" if widths[-1] == 1 else "nll", activation="linear(-1.3)")
    x0, lr = net.init(rng=2), 0.02
    form = lr**2 / 2 * sizes(net, U, x0).max() ** 2 * net.n_params
    compare_with_factors(U, x0, nl.GD(lr), form, monkeypatch)


@pytest.mark.parametrize("n", [2, 9, 40])
def test_the_form_of_the_gradient_and_the_velocity_by_its_factors(n, monkeypatch):
    """Of layers and of the rotation of the inputs, which is skew, for neurons that fill vectors and blocks, or do not."""
    net = nl.Network([3, n, 2 * n, 1], "linear", loss="mse")
    U = net.potential(nl.datasets.icosahedron())
    assert {"linear:1", "rotation"} <= {s.name for s in nl.symmetries(U)}
    x0, v0, algorithm = net.init(rng=2), net.init(rng=3), nl.NAGD(0.02)
    terms = [algorithm.lr * sizes(net, U, x0).max(), np.abs(x0).max() + algorithm.dt * np.abs(v0).max()]
    form = sum(terms) * np.abs(v0).max() * net.n_params  # h²B(∇U, v) and J, which is summed with it
    compare_with_factors(U, x0, algorithm, form, monkeypatch, velocity=v0, t0=algorithm.dt)


def compare_with_factors(U, x0, algorithm, form, monkeypatch, **start):
    """Compare a step whose law is summed by the factors of the gradient with one whose law, of terms as large as `form`, is summed without."""

    def run():
        return nl.integrate(U, algorithm, x0, 1, backend="cpu", **start)

    by_factors = run()
    monkeypatch.setattr(factored, "pays", lambda problem, laws: False)
    by_gradient = run()
    same = []
    for name, law in by_factors.laws.items():
        difference = law.discrete_residual - by_gradient.laws[name].discrete_residual
        assert np.abs(difference).max() <= 8 * (U.n_samples + sum(U.network.widths)) * EPS * form
        assert law.verdict == by_gradient.laws[name].verdict
        same.append(not difference.any())
    np.testing.assert_array_equal(by_factors.x, by_gradient.x)
    assert not all(same) or U.n_params < 20  # they were used; sums of few numbers may have the same bits


def test_which_runs_take_the_factors():
    def taken(algorithm, laws="all", batch_size=None, **options):
        _, U = linear(**options)
        plan = Plan(
            U,
            watched(U, laws, minibatches=False),
            batch_size=batch_size,
            backend="cpu",
            dtype="float64",
            steps=5,
            reduce=None,
        )
        kernel = algorithm.kernel(1.0, U.network.blocks)
        kind = schedule.kind_of(algorithm.method, kernel, plan.laws, minibatches=batch_size is not None)
        return kind.may_be_factored and factored.pays(plan.problem, plan.laws)

    assert taken(nl.GD(0.02))
    assert taken(nl.GD(0.02), batch_size=10)
    assert taken(nl.NAGD(0.02))
    assert not taken(nl.GD(0.02), laws=["scaling:1"])  # no law of matrices
    assert not taken(nl.GD(0.02), widths=(4, 5, 3))  # hardly more neurons than outputs
    assert not taken(nl.GD(0.02), activation=["linear", "relu"])
    # gradients that are changed before they are used, and laws that read another form
    for algorithm in (nl.GD(0.02, weight_decay=0.1), nl.GD(0.02, clip=1.0), nl.SAM(nl.GD(0.02)), nl.Leapfrog(0.02)):
        assert not taken(algorithm)


def test_it_is_chosen_where_it_is_shorter():
    def chosen(drawn=None, **options):
        _, U = linear(**options)
        return end_to_end.choose(U, drawn or U.n_samples)

    small = {"widths": (10, 32, 32, 3), "n": 100}
    assert chosen(**small).describe() == {"coordinates": "end-to-end", "n": 3}
    assert chosen(**small, drawn=32) is not None  # minibatches
    assert chosen(**small, drawn=3) is None  # of as many samples as outputs
    assert chosen(**small, activation=["linear", "relu"]) is None  # not a network of linear layers
    assert chosen(widths=(10, 32, 32, 40), n=30, loss="mse") is None  # more outputs than samples
    assert chosen(widths=(10, 3), n=1000) is None  # a network of one layer is its own end-to-end map
    assert chosen(widths=(10, 2, 10), n=1000, loss="mse") is None  # the map has more numbers than the layers
    assert end_to_end.choose(nl.potentials.Radial(2), 1) is None
