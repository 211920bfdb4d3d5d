"""Laws of gradient flow that are not affine: found on orthogonal samples, or given; orders in the learning rate; what is none."""

import numpy as np
import pytest
from problems import EPS, point

import noetherlite as nl

KNOWN = ["tanh", "logistic", "exp", "softsign", "elu(1.0)", "elu(0.5)", "celu(0.5)"]


def orthogonal(n, n_0, rng, bias=False):
    """Samples of several lengths, orthogonal to each other, with a 1 behind them where there is a bias."""
    Q = np.linalg.qr(rng.normal(size=(n_0 + bias, n_0 + bias)))[0][:n]
    if not bias:
        return Q * rng.uniform(0.5, 2.0, (n, 1))
    return Q[:, :-1] / Q[:, -1:]


def problem(activation, bias=False, loss="mse", widths=(5, 3, 2), n=4, seed=0):
    rng = np.random.default_rng(seed)
    net = nl.Network(widths, activation, bias=bias, loss=loss)
    X = orthogonal(n, widths[0], rng, bias)
    y = rng.integers(0, widths[-1], n) if loss == "nll" else rng.normal(size=(n, widths[-1]))
    return net.potential(X, y), 0.5 * point(net, rng)


def round_off(law, run):
    """Of Σ⟨g, Δ⟩: in each step every entry of Δ = x′ − x has a few roundings of x."""
    return 4 * EPS * sum((np.abs(law.field(x)) @ np.abs(x)).max() for x in run.params)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", KNOWN)
def test_gradient_flow_conserves_them(activation, bias):
    U, x = problem(activation, bias)
    (law,) = nl.invariants(U)
    law.verify(U)
    flow = nl.reference_flow(U, nl.GF, x, np.linspace(0, 2, 5)) if activation != "elu(0.5)" else None
    if flow is not None:
        Q = np.array([law.quantity(x) for x in flow.x])
        moved = np.abs(flow.x[-1] - x).max()
        assert moved > 0.1
        np.testing.assert_allclose(Q, Q[:1].repeat(5, axis=0), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("widths", "loss", "activations"),
    [
        ((5, 3, 4, 2), "nll", ["tanh", "relu"]),
        ((5, 3, 2), "nll", ["logistic"]),
        ((5, 3, 3, 1), "mse", ["tanh", "gelu"]),
    ],
)
def test_laws_hold_whatever_layers_come_after(widths, loss, activations):
    U, x = problem(activations, bias=True, loss=loss, widths=widths)
    (law,) = nl.invariants(U)
    law.verify(U)
    run = nl.integrate(U, nl.GD(0.05), x, 40, batch_size=2, rng=0, record_params=True)
    record = law.record(U, run.params)
    assert np.abs(record.exact).max() <= round_off(law, run)
    assert np.abs(record.residual).max() > 1e-6


def test_orders_in_the_learning_rate():
    """Over the same time the drift is of first order, and of second where the bend of the field is taken away."""
    U, x = problem("tanh")
    (law,) = nl.invariants(U)
    drifts, rests = [], []
    rates = [0.04, 0.02, 0.01, 0.005]
    for lr in rates:
        run = nl.integrate(U, nl.GD(lr), x, round(2 / lr), record_params=True)
        record = law.record(U, run.params)
        assert np.abs(record.exact).max() <= round_off(law, run)
        drifts.append(np.linalg.norm(record.residual[-1]))
        rests.append(np.linalg.norm(record.second_order[-1]))
    slope = [np.polyfit(np.log(rates), np.log(values), 1)[0] for values in (drifts, rests)]
    assert abs(slope[0] - 1) < 0.15
    assert abs(slope[1] - 2) < 0.15


def test_one_neuron_by_hand():
    net = nl.Network([1, 1, 1], "tanh", bias=False, loss="mse")
    U = net.potential([[2.0]], [[0.5]])
    (law,) = nl.invariants(U)
    w, u = 0.3, 0.7
    assert law.quantity([w, u])[0] == pytest.approx(u**2 / 2 - np.sinh(2 * w) ** 2 / 2 / 4, rel=8 * EPS)


def test_none_where_samples_are_not_orthogonal():
    U, x = problem("tanh")
    X = U.X.copy()
    X[0] += 1e-6 * X[1]
    near = U.network.potential(X, U.y)
    assert nl.invariants(near) == []
    (law,) = nl.invariants(U)
    with pytest.raises(ValueError, match="'orthogonal samples:1' is no invariant"):
        law.verify(near)
    X[0] = 0  # orthogonal to all others, and without any length to divide by
    assert nl.invariants(U.network.potential(X, U.y)) == []
    crowded = nl.datasets.gaussian_classes(n=9, n_features=5, n_classes=2, rng=0)
    assert nl.invariants(nl.Network([5, 3, 2], "tanh").potential(crowded)) == []
    assert nl.invariants(nl.Network([5, 3, 2], "gelu", bias=False, loss="mse").potential(U.X, U.y)) == []
    assert nl.invariants(nl.potentials.Radial(2)) == []
    flow = nl.reference_flow(U.network.potential(U.X + 0.3, U.y), nl.GF, x, np.linspace(0, 2, 5))
    assert np.ptp([law.quantity(x) for x in flow.x], axis=0).max() > 1e-3


def test_an_invariant_of_two_functions():
    def value_and_gradient(x):
        e = x[0] * np.exp(x[1]) - 2
        return e * e / 2, e * np.exp(x[1]) * np.array([1, x[0]])

    U = nl.potentials.Callable(value_and_gradient, 2)
    law = nl.Invariant(lambda x: np.array([x[0], -1.0]), lambda x: x[0] ** 2 / 2 - x[1])
    assert law.defects(U)[0] < 1e-14
    law.verify(U)
    with pytest.raises(ValueError, match="is not the gradient of its quantity"):
        nl.Invariant(lambda x: np.array([x[0], -1.0]), lambda x: x[0] ** 2 / 2 + x[1]).verify(U)
    with pytest.raises(ValueError, match="is no invariant"):
        nl.Invariant(lambda x: np.array([x[0], 1.0]), lambda x: x[0] ** 2 / 2 + x[1]).verify(U)
    with pytest.raises(ValueError, match="must have 1 components"):
        nl.Invariant(lambda x: np.array([x[0], -1.0]), lambda x: x).verify(U)
    with pytest.raises(ValueError, match=r"must return shape \(n, 2\)"):
        nl.Invariant(lambda x: np.ones(3), lambda x: 0.0).verify(U)
    with pytest.raises(TypeError, match="quantity of 'invariant' must hold real numbers, got 1j"):
        nl.Invariant(lambda x: x, lambda x: 1j).quantity([1.0, 2.0])
    with pytest.raises(TypeError, match=r"field of 'invariant' must hold real numbers.*complex128"):
        nl.Invariant(lambda x: 1j * x, lambda x: 0.0).field([1.0, 2.0])


MOMENTUM = [(nl.Leapfrog, {}, 2), (nl.ConformalLeapfrog, {"gamma": 0.5}, 2), (nl.NAGD, {}, 1)]


@pytest.mark.parametrize(("kind", "options", "order"), MOMENTUM, ids=lambda v: getattr(v, "__name__", None))
def test_with_momentum_a_balance_law_holds(kind, options, order):
    """⟨g, ∇U⟩ = 0 at every gradient, to round-off; the balance with its source to the algorithm's order; Q itself moves."""
    U, x = problem("tanh")
    (law,) = nl.invariants(U)
    defects = []
    for steps in (50, 100):
        algorithm = kind((2.0 / steps) ** 2, **options)
        run = nl.integrate(U, algorithm, x, steps, record_params=True, laws=None, backend="reference")
        record = law.record(U, run.params, algorithm)
        defects.append(np.abs(record.residual[-1]).max())
        size = sum(np.abs(law.field(x)).sum(axis=1).max() * np.abs(x).max() for x in run.params) / algorithm.dt
        assert np.abs(record.exact).max() <= 16 * EPS * size
        moved = np.abs(record.quantity - record.quantity[0]).max()
        assert moved > 1e3 * 16 * EPS * size  # momentum keeps no Q
        wrong = nl.Invariant(lambda x: law.field(x) * (1 + 1e-3 * np.arange(x.size)), law.quantity)
        assert np.abs(wrong._with_momentum(run.params, algorithm, 0.0).exact).max() > 1e3 * 16 * EPS * size
    assert np.log2(defects[0] / defects[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (nl.Adam(0.1), "no law is known of its positions"),
        (nl.Leapfrog(0.1, weight_decay=0.1), "one constant rate and no weight decay"),
    ],
)
def test_algorithms_without_a_known_law_are_refused(algorithm, message):
    U, x = problem("tanh")
    with pytest.raises(ValueError, match=message):
        nl.invariants(U)[0].record(U, np.tile(x, (3, 1)), algorithm)


def test_the_drift_of_gradient_descent_is_proportional_to_its_rate():
    """Whitened inputs, tanh: rates a factor of ten apart at the same time, drifts a factor of ten apart to O(η)."""
    U, x = problem("tanh")
    drift = []
    for lr in (0.01, 0.001):
        run = nl.integrate(U, nl.GD(lr), x, round(2 / lr), record_every=round(2 / lr), record_params=True, laws=None)
        Q = [nl.invariants(U)[0].quantity(p) for p in run.params]
        drift.append(Q[-1] - Q[0])
    np.testing.assert_allclose(drift[0] / drift[1], 10, rtol=0.1)


def test_what_is_no_number_is_no_invariant():
    U = nl.potentials.Radial(2)
    for field, quantity in ((lambda x: np.nan * x, lambda x: 0.0), (lambda x: 0 * x, lambda x: np.nan)):
        with pytest.raises(ValueError, match=r"not finite|not the gradient of its quantity"):
            nl.Invariant(field, quantity).verify(U)
