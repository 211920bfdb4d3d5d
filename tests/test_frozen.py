"""Blocks that a rate of 0 freezes: what is left is the run of what moves, with the laws that are left."""

import numpy as np
import pytest
from problems import EPS, problem, verdicts

import noetherlite as nl

FIRST = {"W1": 0, "b1": 0, "rest": 0.05}
ALGORITHMS = [nl.GD, lambda lr: nl.HeavyBall(lr, 0.5, weight_decay=0.1), nl.Leapfrog, lambda lr: nl.NAGD(lr), nl.Adam]


@pytest.mark.parametrize("make", ALGORITHMS)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_is_frozen_stays_and_the_rest_moves_as_on_fixed_features(make, backend):
    net, U, x = problem("relu", widths=(3, 5, 4, 2), n=9)
    options = {"steps": 20, "backend": backend, "record_every": 5, "batch_size": 4, "rng": 1}
    run = nl.integrate(U, make(FIRST), x, **options)
    first_trained = net.block("b1").stop
    np.testing.assert_array_equal(run.x[:first_trained], x[:first_trained])
    arrays = net.unpack(x)
    features = np.maximum(U.X @ arrays["W1"].T + arrays["b1"], 0)
    upper = nl.Network([5, 4, 2], "relu", loss="mse").potential(features, U.y)
    alone = nl.integrate(upper, make(0.05), x[first_trained:], **options)
    np.testing.assert_allclose(run.x[first_trained:], alone.x, rtol=0, atol=1e3 * EPS * np.abs(x).max())
    np.testing.assert_allclose(run.loss, alone.loss, rtol=1e-12)
    assert np.abs(run.x[first_trained:] - x[first_trained:]).max() > 1e-3
    if make is not nl.Adam:
        assert list(run.laws) == ["scaling:2"]
        law, other = run.laws["scaling:2"], alone.laws["scaling:1"]
        np.testing.assert_allclose(law.quantity, other.quantity, rtol=0, atol=1e-12)
        np.testing.assert_allclose(law.tolerance, other.tolerance, rtol=1e-9)
    assert verdicts(run) == {"holds"}


def test_the_law_of_averages_needs_all_of_the_gradient_and_has_it():
    _, U, x = problem("relu", widths=(3, 5, 4, 2), n=9)
    run = nl.integrate(U, nl.Adam(FIRST), x, 30)
    assert {name: law.verdict for name, law in run.laws.items()} == {"scaling:1": "holds", "scaling:2": "holds"}


def test_energy_is_that_of_what_moves():
    _, U, x = problem("tanh", widths=(3, 4, 2), n=9)
    run = nl.integrate(U, nl.Leapfrog({"W1": 0, "rest": 1e-4}), x, 500, record_every=100)
    assert np.isfinite(run.energy).all()
    assert np.ptp(run.energy) < 1e-4 * run.energy[0]
    assert np.ptp(run.loss) > 1e-3 * run.energy[0]


def test_checkpoints_and_ensembles(tmp_path):
    _, U, x = problem("relu", widths=(3, 5, 4, 2), n=9)
    whole = nl.integrate(U, nl.GD(FIRST), x, 12)
    path = tmp_path / "c.npz"
    nl.integrate(U, nl.GD(FIRST), x, 12, checkpoint=path, callback=lambda at: at.step == 5)
    np.testing.assert_array_equal(nl.resume(path).x, whole.x)
    runs = nl.ensemble(U, nl.GD(FIRST), np.stack([x, x / 2]), 12)
    np.testing.assert_array_equal(runs[0].x, whole.x)


def test_what_is_refused():
    _, U, x = problem("relu", widths=(3, 5, 4, 2), n=9)
    with pytest.raises(ValueError, match="laws: 'scaling:1' moves W1, b1, which lr=0 freezes"):
        nl.integrate(U, nl.GD(FIRST), x, 3, laws=["scaling:1"])
    with pytest.raises(ValueError, match="velocity must be zero for W1, b1, which lr=0 freezes"):
        nl.integrate(U, nl.Leapfrog(FIRST), x, 3, velocity=np.ones_like(x))
    with pytest.raises(ValueError, match="lr must have a rate > 0 for one block"):
        nl.GD({"W1": 0.0})
