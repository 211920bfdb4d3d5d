"""Training in the span of the inputs: the same run, laws included, up to round-off."""

import functools

import numpy as np
import problems
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._run import reduction

STEPS = 21  # four epochs of the minibatches below; the tolerance grows with them
# Without the compiler, where each takes seconds, the first two reach all lines that the others do.
ALGORITHMS = [
    nl.GD(0.05),
    nl.NAGD(1e-3),
    *(
        pytest.param(algorithm, marks=pytest.mark.needs_jit)
        for algorithm in (nl.Leapfrog(1e-3), nl.ConformalLeapfrog(1e-3, 2.0, 0.3), nl.HeavyBall(0.02))
    ),
]
REDUCED = {"input_reduction": True, "backend": "cpu"}


def data(n, n_inputs, rank=None, outputs=3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_inputs))
    if rank is not None:
        X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n_inputs)) / np.sqrt(rank)
    return X, rng.integers(0, outputs, n)


def both(net, X, y, algorithm, **options):
    U, x0 = net.potential(X, y), net.init(rng=1, bias_std=0.2)
    options = {"record_every": 7, "record_params": True, "backend": "cpu", **options}
    return [nl.integrate(U, algorithm, x0, STEPS, input_reduction=reduced, **options) for reduced in (False, True)]


assert_same_run = functools.partial(problems.assert_same_to_round_off, steps=STEPS)


@pytest.mark.parametrize("blas", [False, True])
@pytest.mark.parametrize("activation", ["relu", "linear(0.7)", pytest.param("swish", marks=pytest.mark.needs_jit)])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_samples_as_coordinates(algorithm, activation, blas, monkeypatch):
    from noetherlite._kernels.cpu import tiles

    monkeypatch.setattr(tiles, "BLAS_FROM", 0 if blas else 10**9)
    plain, reduced = both(nl.Network([30, 12, 8, 3], activation=activation), *data(19, 30), algorithm)
    assert reduced.specification["arguments"]["input_reduction"] == {"coordinates": "samples", "n": 19}
    assert "19 coordinates of the samples instead of 30 inputs" in reduced.message
    assert_same_run(plain, reduced)


@pytest.mark.parametrize(
    ("blas", "batch_size", "tile"), [(False, 9, 8), (False, 18, 24), (True, 9, 128), (True, 8, 128)]
)
@pytest.mark.parametrize(
    "algorithm",
    [nl.GD(0.05, grad_accumulation=2), pytest.param(nl.NAGD(1e-3), marks=pytest.mark.needs_jit)],
    ids=lambda a: type(a).__name__,
)
def test_samples_as_coordinates_of_minibatches(algorithm, blas, batch_size, tile, monkeypatch):
    from noetherlite._kernels.cpu import tiles

    # of our own loops several tiles, the last of which is not full, or one that is larger than all of the data; with BLAS samples
    # that fill vectors, whose product with XXᵀ is not by BLAS, and others
    monkeypatch.setattr(tiles, "BLAS_FROM", 0 if blas else 10**9)
    monkeypatch.setattr(tiles, "TILE", tile)
    net = nl.Network([30, 12, 8, 3])
    plain, reduced = both(net, *data(19, 30), algorithm, batch_size=batch_size, rng=2)
    assert reduced.specification["arguments"]["input_reduction"] == {"coordinates": "samples", "n": 19}
    assert_same_run(plain, reduced)
    # the control: other minibatches make another run
    _, other = both(net, *data(19, 30), algorithm, batch_size=batch_size, rng=3)
    with pytest.raises(AssertionError):
        assert_same_run(plain, other)


@pytest.mark.parametrize("batch_size", [None, 11])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_rank_as_coordinates(algorithm, batch_size):
    net = nl.Network([30, 12, 8, 3], activation="leaky_relu(0.1)")
    plain, reduced = both(net, *data(50, 30, rank=7), algorithm, batch_size=batch_size, rng=2)
    assert reduced.specification["arguments"]["input_reduction"] == {"coordinates": "rank", "n": 7}
    assert_same_run(plain, reduced)


@pytest.mark.needs_jit
@pytest.mark.parametrize("n", [10, 300])
def test_several_parts_and_no_bias(n):
    # 300 samples in 400 inputs: the passes of the samples' coordinates go over two parts
    net = nl.Network([400, 20, 8, 3], bias=False)
    plain, reduced = both(net, *data(n, 400), nl.Leapfrog(1e-3))
    assert reduced.specification["arguments"]["input_reduction"]["n"] == n
    assert_same_run(plain, reduced)


def test_mean_squared_error_and_single_precision():
    rng = np.random.default_rng(3)
    net = nl.Network([30, 12, 2], loss="mse")
    plain, reduced = both(net, rng.standard_normal((9, 30)), rng.standard_normal((9, 2)), nl.GD(0.02), dtype="float32")
    assert reduced.x.dtype == np.float32
    assert_same_run(plain, reduced, eps=float(np.finfo(np.float32).eps))


def test_what_lies_outside_the_span_does_not_move():
    net = nl.Network([30, 12, 3])
    X, y = data(9, 30)
    _, reduced = both(net, X, y, nl.GD(0.1))
    outside = np.linalg.svd(X)[2][9:]
    moved = net.unpack(reduced.x)["W1"] - net.unpack(reduced.params[0])["W1"]
    assert np.abs(moved @ outside.T).max() < 64 * EPS
    assert np.abs(moved).max() > 1e-3
    # the negative control: weight that is given a push outside of the span keeps it
    with pytest.raises(ValueError, match="start from rest"):
        nl.integrate(net.potential(X, y), nl.Leapfrog(0.1), reduced.x, 3, velocity=np.ones(net.n_params), **REDUCED)


def test_repeated_and_zero_inputs():
    net = nl.Network([30, 12, 3])
    X, y = data(9, 30)
    X = np.vstack([X, X, np.zeros((2, 30))])  # a singular matrix of products: nothing is divided by it
    plain, reduced = both(net, X, np.concatenate([y, y, [0, 1]]), nl.Leapfrog(1e-3))
    assert_same_run(plain, reduced)
    for n in (4, 40):  # rank zero
        assert_same_run(*both(net, np.zeros((n, 30)), np.resize(y, n), nl.GD(0.1), laws=["scaling:1"]))


def test_callback_sees_parameters():
    net = nl.Network([30, 12, 3])
    U, x0, seen = net.potential(*data(9, 30)), net.init(rng=0), []
    run = nl.integrate(U, nl.GD(0.1), x0, 10, record_params=True, callback=lambda s: seen.append(s.x), **REDUCED)
    np.testing.assert_allclose(seen, run.params, atol=16 * EPS)
    np.testing.assert_array_equal(seen[-1], run.x)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"laws": ["rotation"]}, "rotation"),
        ({"backend": "reference"}, "compiled"),
        ({"net": nl.Network([2, 1], loss="mse")}, "hidden layer"),
    ],
)
def test_what_cannot_be_reduced_is_said(options, words):
    data = nl.datasets.polygon(8)
    options = dict(options)
    net = options.pop("net", nl.Network([2, 6, 1], activation="polynomial(2)", bias=False, loss="mse"))
    with pytest.raises(ValueError, match=words):
        nl.integrate(net.potential(data), nl.GD(0.1), net.init(rng=0), 3, **{**REDUCED, **options})


def test_user_symmetries_need_all_parameters():
    net = nl.Network([3, 2, 2], activation="linear(1.0)")
    X, y = data(2, 3, outputs=2)
    G = np.zeros((net.n_params, net.n_params))
    scaling = nl.Symmetry(G, name="scaling:1")
    with pytest.raises(ValueError, match="needs W_1 itself"):
        nl.integrate(net.potential(X, y), nl.GD(0.1), net.init(rng=0), 3, laws=[scaling], **REDUCED)


def test_input_reduction_is_chosen_where_it_pays():
    def chosen(widths, n, rank=None, steps=1000, drawn=None, **counts):
        net = nl.Network(widths)
        return reduction.choose(net.potential(*data(n, widths[0], rank)), steps, drawn or n, None, **counts)

    assert chosen([200, 64, 3], 100).by_samples
    assert chosen([200, 64, 3], 100, steps=5) is None  # the preparations would cost more
    assert chosen([200, 64, 3], 100, drawn=30).by_samples  # minibatches
    assert chosen([200, 64, 3], 100, steps=7).by_samples
    assert chosen([200, 64, 3], 100, drawn=30, steps=7) is None  # whose steps take less time
    assert chosen([200, 64, 3], 100, drawn=30, steps=7, records=7).by_samples  # and records, of all samples, more
    assert chosen([200, 64, 3], 100, steps=5, records=5) is None  # as all samples' do not
    assert chosen([200, 64, 3], 100, seen=200).by_samples
    assert chosen([200, 64, 3], 100, seen=2000) is None  # θ and ẋ multiplied out in every step
    assert not chosen(
        [200, 64, 3], 190, rank=10, drawn=2, steps=10**6
    ).by_samples  # of few products, and twice the updates
    assert chosen([200, 4, 3], 100) is None  # a small layer
    assert chosen([100, 100, 3], 200) is None  # full rank
    assert not chosen([100, 100, 3], 200, rank=10).by_samples
    assert len(chosen([100, 100, 3], 200, rank=10, drawn=50).B) == 10


@pytest.mark.needs_jit
def test_by_default_only_without_recorded_parameters():
    net = nl.Network([200, 64, 3])
    U, x0 = net.potential(*data(100, 200)), net.init(rng=0)
    steps, options = 60, {"laws": ["scaling:1"]}  # for fewer the preparations would not pay
    plain, reduced = (nl.integrate(U, nl.GD(0.05), x0, steps, record_params=p, **options) for p in (True, False))
    assert plain.specification["arguments"]["input_reduction"] is None
    assert reduced.specification["arguments"]["input_reduction"] == {"coordinates": "samples", "n": 100}
    np.testing.assert_allclose(reduced.x, plain.x, atol=64 * steps * EPS, rtol=0)


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", ["callback", "observe"])
def test_by_default_where_parameters_are_seen_seldom(kind):
    net = nl.Network([200, 64, 3])
    U, x0 = net.potential(*data(100, 200)), net.init(rng=0)
    steps, taken = 60, []
    for every, reduce in ((20, None), (1, None), (20, False)):
        seen = []
        look = {"callback": lambda s, seen=seen: seen.append([s.x, s.v])}  # returns None: the run goes on
        if kind == "observe":
            look = {"observe": {"x": lambda x, seen=seen: float(not seen.append([x]))}}
        run = nl.integrate(U, nl.Leapfrog(0.05), x0, steps, record_every=every, input_reduction=reduce, **look)
        taken.append((run.specification["arguments"]["input_reduction"], np.array(seen)))
    (seldom, reduced), (always, _), (_, plain) = taken
    assert seldom == {"coordinates": "samples", "n": 100}
    assert (always is None) == (kind == "callback")  # which is given velocities, too
    np.testing.assert_allclose(reduced, plain, atol=64 * steps * EPS, rtol=0)
    assert not np.allclose(reduced[1:], plain[:-1], atol=64 * steps * EPS, rtol=0)  # the control: other records


@pytest.mark.needs_jit
def test_real_images():
    try:
        images = nl.datasets.kmnist(n=100, split="test", rng=0)
    except FileNotFoundError:
        images = nl.datasets.glyphs(n=100, rng=0)
    net = nl.Network([784, 32, 16, 10])
    plain, reduced = both(net, images.X, images.y, nl.NAGD(1e-3))
    assert_same_run(plain, reduced)
