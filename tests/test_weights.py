"""Weights of samples and classes: PyTorch, complex steps and the oracle; minibatches, symmetries, checkpoints, and what is refused."""

import numpy as np
import pytest
from problems import EPS, verdicts
from test_losses import EXAMPLES, TRANSLATED, assert_gradients_three_ways, problem_of

import noetherlite as nl

CLASSES = np.array([2.0, 0.5, 0.0, 1.25])


def weighted(loss, widths=(3, 5, 4), n=37, activation="tanh", classes=True):
    """Return U with weights of samples and, where the loss has classes, of these; and θ."""
    net, U, x = problem_of(loss, widths, n, activation)
    samples = np.random.default_rng(5).uniform(0, 3, n)
    samples[1] = 0.0
    of_classes = {"class_weight": CLASSES[: widths[-1]]} if classes and loss in TRANSLATED else {}
    return net.potential(U.X, U.y, sample_weight=samples, **of_classes), x


@pytest.mark.parametrize("loss", EXAMPLES)
def test_gradients_three_ways(loss):
    assert_gradients_three_ways(*weighted(loss))


@pytest.mark.parametrize("loss", EXAMPLES)
def test_weights_of_samples_are_those_of_a_mean(loss):
    U, x = weighted(loss, classes=False)
    v = U.given_weights["sample_weight"]
    each = [U.network.loss_value(x, U.X[[s]], U.y[[s]]) for s in range(U.n_samples)]
    assert U.value(x) == pytest.approx(v @ each / v.sum(), rel=64 * EPS)
    assert U.value(x) != pytest.approx(np.mean(each), rel=1e-6)
    scaled = U.network.potential(U.X, U.y, sample_weight=8 * v)
    assert scaled.value(x) == U.value(x)
    twice = np.arange(U.n_samples).repeat(2)
    counted = U.network.potential(U.X, U.y, sample_weight=np.full(U.n_samples, 2.0))
    assert counted.value(x) == pytest.approx(U.network.loss_value(x, U.X[twice], U.y[twice]), rel=64 * EPS)


@pytest.mark.parametrize("loss", TRANSLATED)
def test_class_weights_are_pytorchs(loss):
    torch = pytest.importorskip("torch")
    net, plain, x = problem_of(loss)
    U = net.potential(plain.X, plain.y, class_weight=CLASSES)
    f = torch.tensor(net.predict(x, U.X), requires_grad=True)
    smoothing = 0.1 if loss == "nll(0.1)" else 0.0
    criterion = torch.nn.CrossEntropyLoss(torch.tensor(CLASSES), label_smoothing=smoothing)
    value = criterion(f, torch.tensor(U.y))
    value.backward()
    assert U.value(x) == pytest.approx(value.item(), rel=64 * EPS)
    assert U.value(x) != pytest.approx(plain.value(x), rel=1e-3)
    last = net.block("b2")
    np.testing.assert_allclose(U.gradient(x)[last.start : last.stop], f.grad.numpy().sum(axis=0), rtol=0, atol=64 * EPS)


def test_minibatches_average_to_the_whole():
    U, x = weighted("nll", n=36)
    epoch = np.random.default_rng(0).permutation(36).reshape(4, 9)
    mean = np.mean([U.part(batch).gradient(x) for batch in epoch], axis=0)
    np.testing.assert_allclose(mean, U.gradient(x), rtol=0, atol=64 * EPS)
    alone = [U.network.potential(U.X[b], U.y[b], sample_weight=U.weights.relative[b]).gradient(x) for b in epoch]
    assert np.abs(np.mean(alone, axis=0) - U.gradient(x)).max() > 1e-3  # PyTorch's, divided by each minibatch's weights


@pytest.mark.parametrize("loss", ["mse", "nll", "cross_entropy"])
def test_runs_are_the_oracles_and_their_laws_hold(loss):
    U, x = weighted(loss, (3, 4, 3), 11, "relu")
    options = {"batch_size": 4, "rng": 1, "record_every": 5}
    by_numpy = nl.integrate(U, nl.GD(0.01), x, 20, backend="reference", **options)
    run = nl.integrate(U, nl.GD(0.01), x, 20, **options)
    assert np.abs(run.x - by_numpy.x).max() <= 64 * 20 * EPS * np.abs(x).max()
    assert verdicts(run) == {"holds"}
    assert ("translation:b" in run.laws) == (loss in TRANSLATED)


@pytest.mark.needs_jit
def test_a_checkpoint_and_input_reduction_keep_the_weights(tmp_path):
    U, x = weighted("nll", (40, 5, 4), 6)
    options = {"steps": 12, "laws": ["translation:b"]}
    whole = nl.integrate(U, nl.GD(0.05), x, input_reduction=False, **options)
    path = tmp_path / "run.ckpt.npz"
    stop = {"callback": lambda at: at.step == 5}
    nl.integrate(U, nl.GD(0.05), x, checkpoint=path, **stop, **options)
    np.testing.assert_array_equal(nl.resume(path).x, whole.x)
    reduced = nl.integrate(U, nl.GD(0.05), x, input_reduction=True, **options)
    np.testing.assert_allclose(reduced.x, whole.x, rtol=0, atol=64 * 40 * 12 * EPS)
    plain = nl.integrate(U.network.potential(U.X, U.y), nl.GD(0.05), x, **options)
    assert np.abs(plain.x - whole.x).max() > 1e-3
    with pytest.raises(ValueError, match="weights=None"):
        nl.resume(path, potential=U.network.potential(U.X, U.y))


def test_check_knows_the_weights():
    U, x = weighted("nll", (3, 4, 4), 12, "relu")
    run = nl.integrate(U, nl.GD(0.01), x, 30, record_params=True)
    assert nl.check(U, run.params, dynamics=nl.GD(0.01)).verdict == "holds"
    plain = U.network.potential(U.X, U.y)
    assert nl.check(plain, run.params, dynamics=nl.GD(0.01)).verdict == "broken"


def test_maps_of_the_data_keep_the_weights():
    square, y = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]), [[1.0], [-1], [-1], [1]]
    net = nl.Network([2, 3, 1], "tanh", loss="mse")

    def order(net, y, **weights):
        symmetries = nl.discrete_symmetries(net.potential(square, y, **weights))
        return max((s.order for s in symmetries if s.name == "data"), default=1)

    assert order(net, y) == order(net, y, sample_weight=[3.0] * 4) == 8
    assert order(net, y, sample_weight=[1, 2, 2, 1]) == 4
    assert order(net, y, sample_weight=[1, 2, 3, 4]) == 1
    assert 1 < order(nl.Network([2, 3, 2], "tanh"), [0, 1, 1, 0], class_weight=[1, 2]) < 8


@pytest.mark.parametrize(
    ("loss", "weights", "message"),
    [
        ("mse", {"sample_weight": [1.0]}, r"sample_weight must have shape \(37,\)"),
        ("mse", {"sample_weight": -np.ones(37)}, "sample_weight must hold numbers >= 0, got -1 at index 0"),
        ("mse", {"sample_weight": np.zeros(37)}, "leave no sample"),
        ("mse", {"sample_weight": np.full(37, np.nan)}, "sample_weight must be finite"),
        ("mse", {"class_weight": CLASSES}, "class_weight needs a loss of classes"),
        ("nll", {"class_weight": [1.0, 2.0]}, r"class_weight must have shape \(4,\)"),
        ("nll", {"class_weight": [0.0] * 4}, "leave no sample"),
    ],
)
def test_wrong_weights_are_refused(loss, weights, message):
    net, U, _ = problem_of(loss)
    with pytest.raises(ValueError, match=message):
        net.potential(U.X, U.y, **weights)
