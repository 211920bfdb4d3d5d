"""Initialisations and parametrisations: orthogonal, scaled; factors in front of weights, and what wide networks tend to."""

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=(6, 1))


def each(net, rates):
    """A rate for every parameter."""
    return np.concatenate([np.full(block.stop - block.start, rates[block.name]) for block in net.blocks])


def trained(net, setup, steps=20):
    U, x = net.potential(X, Y), setup.theta.copy()
    rates = each(net, setup.lr)
    for _ in range(steps):
        x -= rates * U.gradient(x)
    return x


def test_orthogonal_weights():
    net = nl.Network([3, 7, 7, 2], "tanh")
    W = net.unpack(net.init(rng=0, scheme="orthogonal", scale=1.5))
    for name in ("W1", "W2", "W3"):
        tall = W[name] if W[name].shape[0] >= W[name].shape[1] else W[name].T
        np.testing.assert_allclose(tall.T @ tall, 1.5**2 * np.eye(tall.shape[1]), rtol=0, atol=64 * EPS)
    Q = np.array([net.unpack(net.init(rng=seed, scheme="orthogonal"))["W2"] for seed in range(400)])
    assert np.abs(Q.mean(axis=0)).max() < 5 / np.sqrt(7 * 400)  # uniformly distributed: without a sign


def test_scale_multiplies_weights_alone():
    net = nl.Network([3, 4, 2], "swish")
    one, other = (net.unpack(net.init(rng=0, bias_std=0.5, scale=scale)) for scale in (1.0, 0.25))
    for name in one:
        np.testing.assert_array_equal(other[name], one[name] * (0.25 if name.startswith("W") else 1.0))


def test_rates_are_those_of_factors_in_front_of_weights():
    """NTK: W = W̃/√fan-in with W̃ trained at lr; mean field: W_2 = a/n with a trained at lr n."""
    net = nl.Network([3, 5, 1], "tanh", loss="mse")
    U = net.potential(X, Y)
    factors = {
        "ntk": ({"W1": 3**-0.5, "W2": 5**-0.5}, {}),
        "mean_field": ({"W2": 1 / 5}, {"W1": 5.0, "b1": 5.0, "W2": 5.0}),
    }
    for kind, (front, multiples) in factors.items():
        setup = nl.parametrization(net, kind, lr=0.2, rng=0)
        c = each(net, {block.name: front.get(block.name, 1.0) for block in net.blocks})
        rates = 0.2 * each(net, {block.name: multiples.get(block.name, 1.0) for block in net.blocks})
        inner = setup.theta / c
        for _ in range(20):
            inner -= rates * c * U.gradient(c * inner)
        np.testing.assert_allclose(trained(net, setup), c * inner, rtol=0, atol=1e-13)
        assert np.abs(c * inner - setup.theta).max() > 0.01


def test_mean_field_is_mup_with_one_hidden_layer():
    net = nl.Network([3, 50, 1], "relu", loss="mse")
    one, other = (nl.parametrization(net, kind, rng=0) for kind in ("mean_field", "mup"))
    np.testing.assert_array_equal(one.theta, other.theta)
    assert one.lr == other.lr
    assert one.limit != other.limit


def slopes(kind, widths=(32, 64, 128, 256, 512), hidden=2, seeds=6):
    """Exponents of the width in f at the start and in the change of the last features of a trained network."""
    starts, moves = [], []
    for n in widths:
        net = nl.Network([3, *[n] * hidden, 1], "tanh", bias=False, loss="mse")
        setups = [nl.parametrization(net, kind, lr=0.05, rng=seed) for seed in range(seeds)]
        starts.append(np.mean([np.abs(net.predict(s.theta, X)).mean() for s in setups]))
        ends = [trained(net, s, 10) for s in setups]
        moves.append(
            np.mean(
                [np.abs(features(net, x) - features(net, s.theta)).mean() for x, s in zip(ends, setups, strict=True)]
            )
        )
    return tuple(np.polyfit(np.log(widths), np.log(values), 1)[0] for values in (starts, moves))


def features(net, x):
    W = net.unpack(x)
    return np.tanh(np.tanh(X @ W["W1"].T) @ W["W2"].T)


def test_features_move_at_any_width_under_mup_and_ever_less_under_ntk():
    start, moved = slopes("mup")
    assert abs(start + 0.5) < 0.15  # f → 0
    assert abs(moved) < 0.15
    start, moved = slopes("ntk")
    assert abs(start) < 0.15
    assert abs(moved + 0.5) < 0.15


def test_the_kernel_of_ntk_is_the_limit():
    net = nl.Network([3, 60, 2], "relu", loss="mse")
    lr = each(net, nl.parametrization(net, "ntk").lr)
    kernels = []
    for seed in range(100):
        J = net.jacobian(nl.parametrization(net, "ntk", rng=seed, bias_std=0.4).theta, X).reshape(12, -1)
        kernels.append((J * lr) @ J.T)
    error = np.std(kernels, axis=0, ddof=1) / 10
    limit = nl.ntk.infinite_width(net, X, bias_std=0.4, parametrization="ntk")
    assert (np.abs(np.mean(kernels, axis=0) - limit) <= 5 * error + 1e-12).all()
    other = nl.ntk.infinite_width(net, X, bias_std=0.4)
    assert (np.abs(np.mean(kernels, axis=0) - other) > 5 * error).any()
    wide = nl.Network([3, 6000, 2], "relu", loss="mse")
    np.testing.assert_allclose(
        nl.ntk.infinite_width(wide, X, bias_std=0.4, parametrization="ntk"), limit, rtol=1e-12, atol=1e-14
    )


test_wrong_arguments_are_refused = refusals(
    [
        ({"kind": "ntc"}, ValueError, r"kind='ntc'.*did you mean 'ntk'"),
        ({"kind": "ntk", "lr": 0.0}, ValueError, "lr"),
        ({"kind": "ntk", "scheme": "hee"}, ValueError, "scheme='hee'"),
        ({"kind": "mean_field"}, ValueError, "needs one hidden layer"),
    ],
    lambda arguments: nl.parametrization(nl.Network([2, 3, 3, 2]), **arguments),
)


@pytest.mark.parametrize("kind", ["standard", "ntk", "mean_field", "mup"])
def test_a_run_takes_its_rates(kind):
    net = nl.Network([3, 8, 1], "tanh", loss="mse")
    setup = nl.parametrization(net, kind, lr=0.05, rng=0)
    run = nl.integrate(net.potential(X, Y), nl.GD(setup.lr), setup.theta, 20)
    np.testing.assert_allclose(run.x, trained(net, setup), rtol=0, atol=1e-12)
