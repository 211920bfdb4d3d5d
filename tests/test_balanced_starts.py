"""Starts with chosen charges: balanced, λ-balanced, orthogonal, scaled; their functions, and what cannot be."""

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl

LINEAR = [  # widths for λ > 0, for λ < 0 reversed, and for λ = 0 also a bottleneck and a bulge
    ([4, 3, 2], (0.5, 0.0)),
    ([4, 3, 5], (0.5,)),
    ([5, 4, 4, 3, 6], (0.3, 2.0)),
    ([2, 3, 4], (-0.5,)),
    ([6, 3, 4, 4, 5], (-0.3,)),
    ([5, 20, 3], (0.0,)),
    ([5, 2, 7, 4], (0.0,)),
]
CASES = [(widths, value) for widths, values in LINEAR for value in values]
NEURONS = [
    ("relu", 0.0),
    ("leaky_relu(0.1)", 1.5),
    ("polynomial(3)", 0.3),
    ("repu(1.5)", -0.4),
    ("swish", 0.3),
    ("abs", -2.0),
]


def laws(net, kind):
    """The symmetries of the hidden layers of one kind."""
    X = np.random.default_rng(0).normal(size=(5, net.widths[0]))
    U = net.potential(X, np.zeros((5, net.widths[-1])))
    return [s for s in nl.symmetries(U) if s.name.startswith(kind)]


def misses(net, theta, kind, value):
    """The largest |2Q − λ| of each layer in units of the squares that it is a difference of."""
    out = []
    for law in laws(net, kind):
        wanted = value * (np.eye(law.shape[0]) if kind == "linear" else 1.0)
        out.append(np.abs(2 * law.quantity(theta) - wanted).max() / (theta @ theta))
    assert out
    return out


def same_function(net, one, other):
    X = np.random.default_rng(1).normal(size=(7, net.widths[0]))
    f = net.predict(other, X)
    return np.abs(net.predict(one, X) - f).max() / np.abs(f).max()


@pytest.mark.parametrize(("widths", "value"), CASES)
def test_linear_layers_begin_with_the_charge(widths, value):
    net = nl.Network(widths, "linear", loss="mse")
    drawn, started = net.init(3), net.init(3, balance=value)
    assert max(misses(net, started, "linear", value)) <= 64 * EPS
    assert min(misses(net, drawn, "linear", value)) > 1e-3
    moved = started.copy()
    for h in range(1, len(widths), 2):  # every second matrix, so that the charge of every layer moves
        net.unpack(moved)[f"W{h}"][:] *= 1 + 2.0**-30
    assert min(misses(net, moved, "linear", value)) > 64 * EPS
    assert same_function(net, started, drawn) <= 64 * EPS * len(widths)


@pytest.mark.parametrize(("activation", "value"), NEURONS)
def test_neurons_begin_with_the_charge(activation, value):
    net = nl.Network([4, 8, 6, 2], activation, loss="mse")
    drawn, started = net.init(3, bias_std=0.1), net.init(3, bias_std=0.1, balance=value)
    assert max(misses(net, started, "scaling", value)) <= 64 * EPS
    assert min(misses(net, drawn, "scaling", value)) > 1e-2
    moved = started.copy()
    net.unpack(moved)["W2"][:] *= 1 + 2.0**-30
    assert min(misses(net, moved, "scaling", value)) > 64 * EPS
    assert same_function(net, started, drawn) <= 1e4 * EPS
    if value == 0:
        np.testing.assert_allclose(started, nl.rebalance(net, drawn, "minimal norm"), rtol=1e-9)


def test_layers_without_a_charge_stay():
    net = nl.Network([4, 5, 5, 5, 2], ["relu", "tanh", "abs"], loss="mse")
    theta = net.init(0, balance=-1.0)
    assert max(misses(net, theta, "scaling", -1.0)) <= 64 * EPS
    assert same_function(net, theta, net.init(0)) <= 1e3 * EPS


@pytest.mark.parametrize(("widths", "scale"), [([6, 6, 6], 1.0), ([6, 4, 9], 0.3)])
def test_orthogonal_weights(widths, scale):
    net = nl.Network(widths, "linear", loss="mse")
    theta = net.init(0, scheme="orthogonal", scale=scale)
    for W in net.unpack(theta).values():
        if W.ndim == 2:
            few = W if len(W) <= len(W.T) else W.T
            assert np.abs(few @ few.T - scale**2 * np.eye(len(few))).max() <= 16 * EPS * scale**2
            bent = few.copy()
            bent[0, 0] += 2.0**-40
            assert np.abs(bent @ bent.T - scale**2 * np.eye(len(few))).max() > 16 * EPS * scale**2
    assert max(misses(net, theta, "linear", 0.0)) <= 16 * EPS  # 4 neurons: as few as layers on both sides have
    narrow = nl.Network([6, 6, 2], "linear", loss="mse")
    assert min(misses(narrow, narrow.init(0, scheme="orthogonal"), "linear", 0.0)) > 0.01


@pytest.mark.parametrize("scheme", ["lecun", "he", "xavier", "ntk"])
def test_the_mean_charge_of_what_is_drawn(scheme):
    """Mean ± 5 standard errors over 4000 neurons, against the documented one; with biases of twice the variance it is far away."""
    net, p = nl.Network([20, 4000, 10], "polynomial(2)", loss="mse"), 2
    (law,) = laws(net, "scaling")
    Q = 2 * law.quantity(net.init(0, scheme=scheme, bias_std=0.4))
    V1, V2 = (net.weight_std(h, scheme) ** 2 for h in (1, 2))
    error = 5 * Q.std() / 4000**0.5
    assert abs(Q.mean() - (20 * V1 + 0.16 - p * 10 * V2)) < error
    assert abs(Q.mean() - (20 * V1 + 0.32 - p * 10 * V2)) > error


def test_charges_decide_what_gradient_flow_keeps():
    net = nl.Network([3, 3, 2], "linear", bias=False, loss="mse")
    rng = np.random.default_rng(0)
    U = net.potential(rng.normal(size=(8, 3)), rng.normal(size=(8, 2)))
    flow = nl.reference_flow(U, nl.GF, net.init(0, balance=0.5), np.linspace(0, 5, 6))
    (law,) = laws(net, "linear")
    assert np.abs(2 * law.quantity(flow.x) - 0.5 * np.eye(3)).max() < 1e-10
    assert np.abs(flow.x[-1] - flow.x[0]).max() > 0.1


def start(widths, activation, balance, bias_std=0.0):
    return nl.Network(widths, activation, loss="mse").init(0, balance=balance, bias_std=bias_std)


test_charges_that_no_start_has_are_refused = refusals(
    [
        (lambda: start([3, 4, 2], "linear", 0.5), r"balance=0.5 of linear layers needs widths n_0 ≥ … ≥ n_\{L−1\}, got \[3, 4, 2\]"),
        (lambda: start([4, 3, 2], "linear", -0.5), "balance=-0.5 of linear layers needs widths n_1 ≤ … ≤ n_L"),
        (lambda: start([4, 3, 2], "tanh", 0), "balance=0 needs hidden layers that are linear or homogeneous, got .'tanh'"),
        (lambda: start([4, 2], "relu", 0), "balance=0 needs hidden layers"),
        (lambda: start([4, 3, 3, 2], ["relu", "linear"], 0), "nl.rebalance takes them together"),
        (lambda: start([4, 3, 2], "linear", 0, bias_std=0.1), "bias_std must be 0 where balance=0"),
        (lambda: start([4, 3, 2], "relu", "zero"), TypeError, "balance must be a real number, got 'zero'"),
        (lambda: start([4, 3, 2], "relu", float("inf")), "balance=inf"),
    ]
)  # fmt: skip
