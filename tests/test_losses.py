"""Losses: values and gradients against PyTorch and by complex step, runs against the oracle, symmetries, and what is refused."""

import numpy as np
import pytest
from problems import EPS, point, refusals, verdicts

import noetherlite as nl
from noetherlite._kernels import reference
from noetherlite._problem.losses import EXAMPLES, LOSSES, parse

SIGNS, SOFT = ("logistic", "exponential", "squared_hinge"), "cross_entropy"
TRANSLATED = ("nll", "nll(0.1)", SOFT)
OTHERS = [name for name in EXAMPLES if name not in ("mse", "nll")]


def problem_of(loss, widths=(3, 5, 4), n=37, activation="tanh"):
    rng = np.random.default_rng(3)
    net = nl.Network(widths, activation, loss=loss)
    X, shape = rng.standard_normal((n, widths[0])), (n, widths[-1])
    if loss.startswith("nll"):
        y = rng.integers(0, widths[-1], n)
    elif loss in SIGNS:
        y = rng.choice([-1.0, 1.0], shape)
    elif loss == SOFT:
        y = rng.dirichlet(np.ones(widths[-1]), n)
    else:
        y = 2 * rng.standard_normal(shape)
    return net, net.potential(X, y), point(net, rng)


def assert_gradients_three_ways(U, x):
    """By the kernels, the oracle and complex steps."""
    value, gradient = U.value_and_gradient(x)
    described = U.problem()
    oracle_value, oracle = reference.value_and_gradient(described, x)
    step = [reference.network_value(described, x + 1e-200j * e).imag / 1e-200 for e in np.eye(x.size)]
    size = 64 * U.n_samples * EPS * max(np.abs(oracle).max(), 1.0)
    assert abs(value - oracle_value) <= size
    assert np.abs(gradient - oracle).max() <= size
    assert np.abs(gradient - step).max() <= size
    assert np.abs(gradient).max() > 1e6 * size  # so that a wrong sign or factor shows


@pytest.mark.parametrize("loss", EXAMPLES)
def test_gradients_three_ways(loss):
    assert_gradients_three_ways(*problem_of(loss)[1:])


def torch_loss(loss, f, y):
    import torch
    from torch.nn import functional as F

    f, y = torch.tensor(f, requires_grad=True), torch.tensor(y)
    value = {
        "mse": lambda: 0.5 * F.mse_loss(f, y, reduction="sum") / len(f),
        "mse_mean": lambda: F.mse_loss(f, y),
        "huber(1.0)": lambda: F.huber_loss(f, y, reduction="sum") / len(f),
        "nll": lambda: F.cross_entropy(f, y),
        "nll(0.1)": lambda: F.cross_entropy(f, y, label_smoothing=0.1),
        "cross_entropy": lambda: F.cross_entropy(f, y),
        "logistic": lambda: F.soft_margin_loss(f, y, reduction="sum") / len(f),
        "exponential": lambda: torch.exp(-y * f).sum() / len(f),
        "squared_hinge": lambda: F.relu(1 - y * f).square().sum() / len(f),
    }[loss]()
    value.backward()
    return value.item(), f.grad.numpy()


@pytest.mark.parametrize("loss", EXAMPLES)
def test_pytorch_agrees(loss):
    pytest.importorskip("torch")
    net, U, x = problem_of(loss)
    f = net.predict(x, U.X)
    value, slope = torch_loss(loss, f, U.y)
    assert U.value(x) == pytest.approx(value, rel=64 * EPS)
    last = net.block("b2")
    np.testing.assert_allclose(U.gradient(x)[last.start : last.stop], slope.sum(axis=0), rtol=0, atol=64 * EPS)


@pytest.mark.parametrize("loss", OTHERS)
def test_runs_are_the_oracles_and_their_laws_hold(loss):
    _, U, x = problem_of(loss, (3, 4, 3), 11, "relu")
    options = {"batch_size": 4, "rng": 1, "record_every": 5}
    by_numpy = nl.integrate(U, nl.GD(0.01), x, 20, backend="reference", **options)
    for dtype, eps in (("float64", EPS), ("float32", np.finfo(np.float32).eps)):
        run = nl.integrate(U, nl.GD(0.01), x, 20, dtype=dtype, **options)
        assert np.abs(run.x - by_numpy.x).max() <= 64 * 20 * eps * np.abs(x).max()
        assert verdicts(run) == {"holds"}


@pytest.mark.parametrize("loss", EXAMPLES)
def test_translations_of_outputs_are_found_where_they_hold(loss):
    net, U, x = problem_of(loss)
    names = {s.name for s in nl.symmetries(U)}
    assert ("translation:b" in names) == (loss in TRANSLATED)
    moved = x.copy()
    b = net.block("b2")
    moved[b.start : b.stop] += 0.3
    assert (abs(U.value(moved) - U.value(x)) <= 64 * EPS) == (loss in TRANSLATED)


def test_smoothing_is_a_mean_of_labels_and_the_even_distribution():
    net, U, x = problem_of("nll(0.1)")
    even = nl.Network(net.widths, "tanh", loss=SOFT).potential(U.X, np.full((U.n_samples, 4), 0.25))
    plain = nl.Network(net.widths, "tanh").potential(U.X, U.y)
    assert U.value(x) == pytest.approx(0.9 * plain.value(x) + 0.1 * even.value(x), rel=16 * EPS)


def test_one_output_takes_signs_in_a_row():
    net = nl.Network([2, 3, 1], loss="logistic")
    X, y = np.random.default_rng(0).standard_normal((5, 2)), np.array([1, -1, 1, 1, -1])
    x = net.init(rng=0)
    assert net.potential(X, y).value(x) == net.potential(X, y[:, None]).value(x)


def test_far_margins_neither_overflow_nor_vanish():
    net = nl.Network([1, 1], loss="logistic", bias=False)
    value, slope = net.value_and_gradient([1.0], [[-1e4], [1e4]], [1, 1])
    assert value == pytest.approx(5e3, rel=EPS)
    assert slope[0] == pytest.approx(5e3, rel=EPS)


@pytest.mark.parametrize("loss", OTHERS)
def test_names_are_kept(loss):
    net, _, _ = problem_of(loss)
    again = nl.Network(**net.specification())
    assert again == net
    assert again.loss_function.constant(4) == net.loss_function.constant(4)
    assert parse("huber( 2 )")[0] == "huber(2)"


test_wrong_losses_are_refused = refusals(
    [
        ("nll(1)", "loss.*0 < c < 1"),
        ("nll(0)", "loss.*> 0"),
        ("huber(-1)", "loss.*> 0"),
        ("huber(a)", "loss.*'a' is not a number"),
        ("huber", "loss.*did you mean 'huber"),
        ("mse(2)", "loss.*expected one of"),
        (3, "loss.*expected one of"),
    ],
    lambda loss: nl.Network([2, 2], loss=loss),
)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("logistic", [[1.0, 0.0]], r"y must hold -1 or 1, got 0.0 at \(0, 1\)"),
        ("logistic", [1.0], "y must be 2-dimensional"),
        ("cross_entropy", [[0.5, 0.6]], "sum to 1 in each row, got .* in row 0"),
        ("cross_entropy", [[1.5, -0.5]], "sum to 1 in each row"),
        ("nll(0.1)", [2], "y"),
    ],
)
def test_wrong_targets_are_refused(loss, y, message):
    with pytest.raises(ValueError, match=message):
        nl.Network([1, 2], loss=loss).potential([[1.0]], y)


def test_each_loss_is_in_the_table_by_its_name():
    assert all(loss.example == name for name, loss in LOSSES.items())
