"""GU's bounds hold along the flows, and would not if they were much tighter."""

import numpy as np
import pytest

import noetherlite as nl
from noetherlite import bounds

# U = log(1 + e^{−ax}) for a product ax: a one-neuron classifier; G = diag(1, −1) scales the two factors.
T = np.linspace(0.1, 12.0, 100)


def value_and_gradient(x):
    a, w = x
    e = np.exp(-a * w)
    return float(np.log1p(e)), -e / (1 + e) * np.array([w, a])


CLASSIFIER = nl.potentials.Callable(value_and_gradient, 2)
START = np.array([0.05, 3.0])


def measured(alpha):
    """Return U_0, Q − Q(0) and Q̇ along the flow with friction α/t from rest."""
    flow = nl.reference_flow(CLASSIFIER, nl.Dynamics(1, 0, alpha), START, T)
    Q = 0.5 * (flow.x[:, 0] ** 2 - flow.x[:, 1] ** 2)
    Q0 = 0.5 * (START[0] ** 2 - START[1] ** 2)
    return CLASSIFIER.value(START), Q - Q0, flow.x[:, 0] * flow.v[:, 0] - flow.x[:, 1] * flow.v[:, 1], flow


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0, 5.0])
def test_bounds_hold_and_are_not_idle(alpha):
    U0, change, rate, _ = measured(alpha)
    quantity, charge = bounds.quantity_bound(U0, T, alpha), bounds.charge_bound(U0, T, alpha)
    assert (np.abs(change) <= quantity).all()
    assert (np.abs(rate) <= charge).all()
    # Tightened by these factors they fail. For ND they are nearly reached; friction takes energy away that they count.
    factor = {0.0: 1.2, 1.0: 6, 3.0: 14, 5.0: 23}[alpha]
    assert (np.abs(change) > quantity / factor).any()
    assert (np.abs(rate) > charge / factor).any()


@pytest.mark.parametrize("dynamics", [nl.ND, nl.NAGF, nl.Dynamics(1.0, 0.3, 0.0), nl.Dynamics(2.0, 0.0, 0.0)])
def test_mean_speed_is_bounded(dynamics):
    flow = nl.reference_flow(CLASSIFIER, dynamics, START, T)
    bound = bounds.mean_speed_bound(CLASSIFIER.value(START), 2, dynamics.mass)
    assert (np.abs(flow.v).mean(axis=1) <= bound).all()
    if dynamics == nl.ND:
        assert np.abs(flow.v).mean(axis=1).max() > bound / 2


def test_bounds_hold_for_a_network_and_its_layer_sum():
    net = nl.Network([4, 8, 3], activation="relu")
    U = net.potential(nl.datasets.gaussian_classes(n=40, n_features=4, n_classes=3, rng=0))
    for algorithm, alpha in ((nl.Leapfrog(1e-4), 0.0), (nl.NAGD(1e-4), 3.0)):
        run = nl.integrate(U, algorithm, net.init(rng=0), 1000)
        law, limit = run.laws["scaling:1"], bounds.quantity_bound(run.loss[0], run.t, alpha)
        change = law.quantity - law.quantity[0]
        # At t = 0 both sides vanish; the algorithm's own error is far below the gap elsewhere.
        assert (np.abs(change) <= limit[:, None] + 1e-14).all()
        assert (np.abs(change.sum(axis=1)) <= limit + 1e-14).all()


def test_energy_never_grows():
    for alpha in (0.0, 3.0):
        U0, _, _, flow = measured(alpha)
        energy = nl.Dynamics(1, 0, alpha).energy(flow.v, [CLASSIFIER.value(x) for x in flow.x])
        assert (np.diff(energy) <= 1e-11).all()
        assert energy[0] <= U0 + 1e-11


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bounds.charge_bound(-1.0, 1.0), "U0=-1.0"),
        (lambda: bounds.quantity_bound(1.0, [-1.0]), "t must hold"),
        (lambda: bounds.quantity_bound(1.0, 1.0, alpha=-3), "alpha=-3"),
        (lambda: bounds.mean_speed_bound(1.0, 0), "n_params=0"),
        (lambda: bounds.mean_speed_bound(1.0, 3, mass=0.0), "mass=0.0"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
