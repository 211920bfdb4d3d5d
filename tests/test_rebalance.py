"""Rebalancing: the same function with the charges asked for, or an error that names the neuron."""

import itertools

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl
from noetherlite._problem.network import Network
from noetherlite._symmetry.rebalance import rebalance
from noetherlite._symmetry.scaling import NeuronScaling

ACTIVATIONS = ["linear", "relu", "leaky_relu(0.1)", "polynomial(2)", "repu(2.5)", "swish"]


def charges(net, theta, name):
    return NeuronScaling(net, int(name.removeprefix("scaling:"))).quantity(theta)


@pytest.mark.parametrize(("activation", "bias"), list(itertools.product(ACTIVATIONS, [True, False])))
@pytest.mark.parametrize("widths", [(3, 4, 2), (2, 4, 3, 2), (2, 3, 3, 3, 3, 1)])
@pytest.mark.uncounted
def test_charges_are_met_and_the_function_stays(activation, bias, widths):
    rng = np.random.default_rng(0)
    net = Network(widths, activation, bias=bias, loss="mse")
    theta = net.init(rng, bias_std=0.5)
    before = theta.copy()
    X = rng.normal(size=(20, widths[0]))
    targets = {f"scaling:{h}": 2 * rng.normal(size=n) for h, n in enumerate(widths[1:-1], start=1)}
    moved = rebalance(net, theta, targets)
    np.testing.assert_array_equal(theta, before)
    assert abs(moved - theta).max() > 0.1
    f = net.predict(theta, X)
    np.testing.assert_allclose(net.predict(moved, X), f, atol=1e-12 * np.abs(f).max())
    for name, target in targets.items():
        np.testing.assert_allclose(charges(net, moved, name), target, atol=1e-11 * (moved @ moved))


def test_one_layer_to_round_off_and_by_a_formula():
    net = Network([2, 1, 1], "relu", bias=False, loss="mse")
    theta = np.array([3.0, 4.0, 2.0])  # |w| = 5, |u| = 2: balanced where both are √10
    balanced = rebalance(net, theta, {"scaling:1": 0.0})
    np.testing.assert_allclose(balanced, theta * np.sqrt([0.4, 0.4, 2.5]), rtol=4 * EPS)
    for target in (-1e6, -3.0, 1e-9, 0.0, 2.5, 1e6):
        moved = rebalance(net, theta, {"scaling:1": target})
        np.testing.assert_allclose(charges(net, moved, "scaling:1"), target, atol=100 * EPS * (moved @ moved))
        np.testing.assert_allclose(np.sqrt(moved[:2] @ moved[:2]) * moved[2], 10.0, rtol=100 * EPS)


def test_balancing_minimises_the_parameters():
    net = Network([3, 4, 4, 2], "relu", loss="mse")
    theta = net.init(rng=1, bias_std=0.5)
    small = rebalance(net, theta, {"scaling:1": 0.0, "scaling:2": 0.0})
    rng = np.random.default_rng(2)
    for h in (1, 2):
        other = NeuronScaling(net, h).apply(small, 0.1 * rng.normal(size=4))
        assert small @ small < other @ other
    np.testing.assert_array_equal(rebalance(net, small, {"scaling:1": 0.0, "scaling:2": 0.0}), small)


def test_layers_that_are_not_named_keep_their_parameters():
    net = Network([2, 3, 3, 3, 1], "swish", loss="mse")
    theta = net.init(rng=3, bias_std=0.5)
    arrays = net.unpack(rebalance(net, theta, {"scaling:1": 1.0}))
    for name, old in net.unpack(theta).items():
        assert np.array_equal(arrays[name], old) == (name not in ("W1", "b1", "beta1", "W2"))
    np.testing.assert_array_equal(rebalance(net, theta, {}), theta)


def dead(**blocks):
    net = Network([2, 3, 1], "relu", bias=False, loss="mse")
    arrays = net.unpack(net.init(rng=4))
    for name, neuron in blocks.items():
        arrays[name][neuron if name == "W1" else (slice(None), neuron)] = 0.0
    return net, net.pack(arrays)


@pytest.mark.parametrize(
    ("blocks", "target", "message"),
    [
        ({"W2": 1}, 0.0, "neuron 1 cannot reach 0: its outgoing parameters are all zero, so its charge stays positive"),
        ({"W2": 1}, [5.0, -1.0, -5.0], "neuron 1 cannot reach -1: its outgoing"),
        ({"W1": 2}, [0.0, 0.0, 3.0], "neuron 2 cannot reach 3: its incoming .* stays negative"),
        ({"W1": 0, "W2": 0}, 1.0, "neuron 0 cannot reach 1: its incoming and outgoing .* stays zero"),
    ],
)
def test_targets_that_a_dead_neuron_cannot_reach(blocks, target, message):
    net, theta = dead(**blocks)
    with pytest.raises(ValueError, match=rf"targets\['scaling:1'\]: {message}"):
        rebalance(net, theta, {"scaling:1": target})


@pytest.mark.parametrize(
    ("blocks", "target"), [({"W2": 1}, 2.0), ({"W1": 2}, -2.0), ({"W1": 0, "W2": 0}, [0.0, 3.0, -3.0])]
)
def test_targets_that_a_dead_neuron_can_reach(blocks, target):
    net, theta = dead(**blocks)
    moved = rebalance(net, theta, {"scaling:1": target})
    np.testing.assert_allclose(charges(net, moved, "scaling:1"), np.broadcast_to(target, 3), atol=1e-13)


def test_targets_that_cannot_be_met_together():
    net = Network([1, 1, 1, 1], "relu", bias=False, loss="mse")
    theta = np.array([0.0, 1.0, 1.0])  # Q_1 = −½b² = −1 fixes b² = 2, and then Q_2 = ½(b² − c²) < 1
    for alone in ({"scaling:1": -1.0}, {"scaling:2": 5.0}):
        assert np.isfinite(rebalance(net, theta, alone)).all()
    with pytest.raises(ValueError, match=r"not met after .*'scaling:\d', neuron 0 is off by .* together"):
        rebalance(net, theta, {"scaling:1": -1.0, "scaling:2": 5.0})


def test_targets_that_doubles_cannot_compute():
    net = Network([2, 3, 1], "polynomial(4)", loss="mse")
    theta = net.init(rng=0)
    moved = rebalance(net, theta, {"scaling:1": 1e100})
    np.testing.assert_allclose(net.predict(moved, np.eye(2)), net.predict(theta, np.eye(2)), rtol=1e-10)
    with pytest.raises(ValueError, match=r"1e\+160.* would leave the range of a double"):
        rebalance(net, theta, {"scaling:1": 1e160})


NET = Network([2, 3, 3, 2], ["relu", "tanh"])


test_bad_input = refusals(
    [
        ({"targets": {"scaling:2": 0.0}}, "'scaling:2' is not a symmetry.*'tanh' is not homogeneous"),
        ({"targets": {"scalin:1": 0.0}}, r"targets='scalin:1' is not known \(did you mean"),
        ({"targets": {"linear:1": 0.0}}, "'linear:1' is not a symmetry.*'relu' is not linear"),
        ({"targets": {"rotation": 0.0}}, "targets='rotation' is not known.*one of 'scaling:1'"),
        ({"targets": {3: 0.0}}, "targets=3 is not known"),
        ({"targets": {"scaling:1": [1.0, 2.0]}}, r"targets\['scaling:1'\] .* shape \(3,\), got \(2,\)"),
        ({"targets": {"scaling:1": np.nan}}, r"targets\['scaling:1'\] must be finite"),
        ({"targets": {"scaling:1": "x"}}, TypeError, r"targets\['scaling:1'\] must hold real numbers"),
        ({"targets": ["scaling:1"]}, TypeError, "targets must map names"),
        ({"theta": np.ones(5)}, "theta must have shape"),
        ({"network": "net"}, TypeError, "network must be a Network, got 'net'"),
        ({"network": Network([2, 2]), "theta": np.ones(6)}, "has no scalings"),
    ],
    lambda changed: rebalance(**{"network": NET, "theta": np.ones(29), "targets": {"scaling:1": 0.0}, **changed}),
)


LINEAR = nl.Network([4, 3, 3, 5], ["linear", "linear"], loss="mse")


@pytest.mark.parametrize("charge", [0.0, 0.4, -0.3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_becomes_balanced(charge, bias):
    """Q = cI after a matrix of GL(n), at the same function; scalings of its neurons alone leave the other entries."""
    net = nl.Network([4, 3, 5], "linear", bias=bias, loss="mse")
    theta, X = net.init(rng=1, bias_std=0.5), np.eye(4)
    law = next(s for s in nl.symmetries(net.potential(X, np.ones((4, 5)))) if s.name == "linear:1")
    moved = nl.rebalance(net, theta, {"linear:1": charge})
    np.testing.assert_allclose(law.quantity(moved), charge * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(net.predict(moved, X), net.predict(theta, X), atol=1e-12)
    scaled = law.quantity(nl.rebalance(net, theta, {"scaling:1": charge}))
    assert np.abs(scaled - charge * np.eye(3)).max() > 0.01
    np.testing.assert_allclose(np.diag(scaled), charge, atol=1e-12)


def test_the_geometric_mean_of_a_balanced_layer():
    """A symmetric A is the root of P⁻¹ # R, with P # R = P^½(P^{−½}RP^{−½})^½P^½ by another formula: A P A = A⁻¹ R A⁻¹."""
    net = nl.Network([4, 3, 5], "linear", bias=False, loss="mse")
    theta = net.init(rng=2)
    W, U = (net.unpack(theta)[name] for name in ("W1", "W2"))
    moved = net.unpack(nl.rebalance(net, theta, {"linear:1": 0}))
    A = moved["W1"] @ np.linalg.pinv(W)
    np.testing.assert_allclose(A, A.T, atol=1e-12)
    P, R = W @ W.T, U.T @ U
    # P⁻¹ # R = P⁻¹(PR)^½
    values, vectors = np.linalg.eig(P @ R)
    mean = np.linalg.inv(P) @ (vectors * np.sqrt(values)) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(A @ A, mean.real, atol=1e-11)
    # the smallest parameters of the function
    assert sum((a**2).sum() for a in moved.values()) < sum((a**2).sum() for a in (W, U))
    singular = np.linalg.svd(U @ W, compute_uv=False)[:3]
    assert (moved["W1"] ** 2).sum() == pytest.approx(singular.sum())


def test_linear_layers_that_share_weights():
    theta, X = LINEAR.init(rng=3, bias_std=0.1), np.eye(4)
    moved = nl.rebalance(LINEAR, theta, {"linear:1": 0.0, "linear:2": 0.0})
    laws = {s.name: s for s in nl.symmetries(LINEAR.potential(X, np.ones((4, 5))))}
    for law in (laws["linear:1"], laws["linear:2"]):
        np.testing.assert_allclose(law.quantity(moved), 0, atol=1e-11)
    np.testing.assert_allclose(LINEAR.predict(moved, X), LINEAR.predict(theta, X), atol=1e-11)


@pytest.mark.parametrize(
    ("widths", "targets", "message"),
    [
        ([2, 3, 3], {"linear:1": 0.0}, r"targets\['linear:1'\]: the layer cannot reach 0 .*: weights W1 have rank 2"),
        ([3, 3, 2], {"linear:1": -1.0}, "W2 have rank 2"),
        ([3, 3, 2], {"linear:1": 0.0}, "W2 have rank 2"),
        ([3, 3, 3], {"linear:1": [0.0, 1.0]}, r"targets\['linear:1'\]"),
        ([3, 3, 3], {"linear:1": 0.0, "scaling:1": 0.0}, "targets name layer 1 twice"),
    ],
)
def test_linear_targets_that_cannot_be(widths, targets, message):
    net = nl.Network(widths, "linear", bias=False, loss="mse")
    with pytest.raises((ValueError, TypeError), match=message):
        nl.rebalance(net, net.init(rng=0), targets)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-150, 1e-80, 1e80, 1e150])
def test_weights_whose_products_are_no_doubles(scale):
    net = nl.Network([3, 2, 2], "linear", loss="mse")
    theta, X = net.init(0), np.eye(3)
    for targets in ("minimal norm", {"linear:1": scale**2}):
        moved = nl.rebalance(net, scale * theta, targets)
        np.testing.assert_allclose(net.predict(moved, X), net.predict(scale * theta, X), rtol=1e-13)
    assert nl.rebalance(net, theta, {"linear:1": 1e200}).max() > 1e99  # c² is no double


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-80, 1e-150, 1e150])
def test_weights_that_differ_beyond_the_range_are_named(scale):
    net = nl.Network([2, 2, 1], "relu", bias=False, loss="mse")
    theta = net.pack({"W1": scale * np.ones((2, 2)), "W2": np.ones((1, 2)) / scale})
    with pytest.raises(ValueError, match=r"targets\['scaling:1'\]: squares of .* neuron 0, or its target, differ"):
        nl.rebalance(net, theta, {"scaling:1": 0.0})
    with pytest.raises(ValueError, match="weights W1 have rank 1"):
        nl.rebalance(nl.Network([2, 2, 2], "linear", bias=False), np.ones(8), {"linear:1": 0.0})


def test_a_rank_that_is_enough_for_one_sign():
    net = nl.Network([2, 3, 3], "linear", bias=False, loss="mse")
    theta = net.init(rng=0)
    moved = nl.rebalance(net, theta, {"linear:1": -0.2})
    W, U = (net.unpack(moved)[name] for name in ("W1", "W2"))
    np.testing.assert_allclose(0.5 * (W @ W.T - U.T @ U), -0.2 * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(net.predict(moved, np.eye(2)), net.predict(theta, np.eye(2)), atol=1e-12)
