"""Runs whose numbers become infinite, and runs that come to their end though they blew up: nothing recorded is lost, and it is said."""

import json
import pickle
import warnings

import numpy as np
import pytest
from problems import EPS, configuration
from test_checkpoint import ALGORITHMS, problem

import noetherlite as nl
from noetherlite._cli import main as cli
from noetherlite._run.trajectory import BLEW_UP

STEPS = 20


def run_all(name, U, x0, steps, **options):
    """The run alone, and as the only member of an ensemble."""
    algorithm, t0 = ALGORITHMS[name]
    alone = nl.integrate(U, algorithm, x0, steps, t0=t0, **options)
    return alone, nl.ensemble(U, algorithm, [x0], steps, t0=t0, **options)[0]


def looked_at(run, tmp_path):
    """Everything that shows a run works on its records, however few there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert str(len(run.t)) in repr(run)
        assert "<table>" in run._repr_html_()
        for name, law in run.laws.items():
            assert name in repr(law)
            assert "<table>" in law._repr_html_()
            assert run.plot_law(name) is not None
        for draw in (run.plot_loss, run.plot_energy, run.plot_residuals):
            assert draw() is not None
        assert ("no loss was recorded" in nl.report(run)) == (len(run.t) == 0)
        back = nl.load(run.save(tmp_path / "run"))
    np.testing.assert_array_equal(back.loss, run.loss)
    assert back.message == run.message


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_start_whose_loss_is_not_finite(tmp_path, name, backend, dtype):
    net, U = problem("relu")
    x0 = net.init(rng=0) * 1e200
    for run in run_all(name, U, x0, STEPS, backend=backend, dtype=dtype, record_params=True):
        assert (run.status, len(run.t)) == ("diverged", 0)
        assert run.message.startswith("the loss stopped being finite at step ")
        assert run.params.shape == (0, net.n_params)
        assert all(law.residual.shape[0] == 0 for law in run.laws.values())
    if backend == "auto":
        looked_at(run, tmp_path)


@pytest.mark.parametrize("finite", [0, 1])
def test_the_page_of_an_ensemble_of_which_nothing_was_recorded(finite):
    net, U = problem("relu")
    x0 = net.init(rng=0)
    runs = nl.ensemble(U, nl.GD(0.1), [1e200 * x0, x0 if finite else 1e200 * x0], STEPS, backend="reference")
    assert ("no loss was recorded" in nl.report(runs)) == (not finite)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_gradient_that_stops_being_finite(tmp_path, name):
    """The loss is finite to the end: the run goes on until its parameters are not, and keeps its records."""
    U = nl.potentials.Callable(lambda x: (1.0, np.where(abs(x) > 1.2, np.nan, -x)), 2)
    alone, member = run_all(name, U, [1.19, 0.5], 500, laws=None, velocity=None)
    for run in (alone, member):
        assert run.status == "diverged"
        assert 0 < len(run.t) < 500
        assert run.message.startswith("the loss stopped being finite at step ")
        np.testing.assert_array_equal(run.loss, 1.0)
    looked_at(alone, tmp_path)


@pytest.mark.parametrize("error", [OverflowError, FloatingPointError])
def test_a_function_that_overflows(error):
    def value_and_gradient(x):
        if abs(x).max() > 2:
            raise error("too large")
        return 1.0, -x

    run = nl.integrate(nl.potentials.Callable(value_and_gradient, 1), nl.GD(0.5), [1.0], STEPS)
    assert (run.status, run.step[-1]) == ("diverged", 1)


def test_a_function_with_a_mistake_in_it_raises():
    """The control: what is not about large numbers is the user's to see."""

    def value_and_gradient(x):
        raise KeyError("W1")

    with pytest.raises(KeyError):
        nl.integrate(nl.potentials.Callable(value_and_gradient, 1), nl.GD(0.5), [1.0], STEPS)


def test_on_request_it_raises_and_loses_nothing():
    net, U = problem("relu")
    recorded = nl.integrate(U, nl.GD(1e12), net.init(rng=0), STEPS)
    assert recorded.status == "diverged"
    with pytest.raises(nl.DivergenceError, match=r"stopped being finite at step .*trajectory") as caught:
        nl.integrate(U, nl.GD(1e12), net.init(rng=0), STEPS, on_divergence="raise")
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # as it comes from a pool of processes
        np.testing.assert_array_equal(error.trajectory.loss, recorded.loss)
    assert nl.integrate(U, nl.GD(0.1), net.init(rng=0), 5, on_divergence="raise").status == "completed"


@pytest.mark.parametrize("algorithm", [nl.GD(0.1, weight_decay=0.1), nl.HeavyBall(0.1, 0.9)])
def test_the_drift_of_a_run_that_diverges_at_once(algorithm):
    net, U = problem("relu")
    drift = nl.drift(U, algorithm, net.init(rng=0) * 1e200, STEPS)
    assert (drift.status, len(drift.t)) == ("diverged", 0)
    assert drift["scaling:1"].change.shape == (0, 6)
    assert "scaling:1" in repr(drift["scaling:1"])


# --- runs that blow up, and come to their end ---


@pytest.fixture(scope="module")
def wild():
    """A learning rate at which the loss rises from 0.7 to 6e34 and comes down again, and the same problem."""
    net, U = problem("relu")
    return U, net.init(rng=0), nl.integrate(U, nl.GD(30.0), net.init(rng=0), 300)


def test_a_loss_that_rises_by_orders_is_told(wild):
    U, x0, run = wild
    assert run.status == "completed"
    assert run.loss.max() > run.loss[0] / EPS**0.5
    rise = f"from {run.loss[0]:.3g} to {run.loss.max():.3g}"
    assert run.message == f"completed 300 steps, {BLEW_UP}: the loss rose {rise}"
    assert BLEW_UP in repr(run)
    assert BLEW_UP in run._repr_html_()
    many = nl.ensemble(U, [nl.GD(30.0), nl.GD(0.1)], [x0, x0], 300)
    assert many.message == f"2 completed, {BLEW_UP}: 1"
    assert [BLEW_UP in m.message for m in many.members] == [True, False]
    assert many.members[0].message == run.message


def test_round_off_tells_what_happened_between_records(wild):
    """No record has the large loss, but the exact laws carry its round-off to the end."""
    U, x0, _ = wild
    run = nl.integrate(U, nl.GD(30.0), x0, 300, record_every=300)
    assert run.loss.max() < run.loss[0] / EPS**0.5
    assert f"{BLEW_UP}: round-off in the exact law of 'scaling:1' rose to" in run.message


@pytest.mark.parametrize("name", ALGORITHMS)
def test_ordinary_runs_do_not_blow_up(name):
    """The control, at small and at large starts, and with a loss that rises tenfold and comes down (the edge of stability)."""
    net, U = problem("relu")
    for scale in (1e-3, 1.0, 30.0):
        for run in run_all(name, U, scale * net.init(rng=0), 300):
            assert BLEW_UP not in run.message
    edge = nl.integrate(U, nl.GD(10.0), net.init(rng=0), 300)
    assert edge.loss.max() > 2 * edge.loss[0]
    assert BLEW_UP not in edge.message


@pytest.mark.parametrize(("lr", "code"), [(0.1, 0), (30.0, 3), (1e12, 3)])
def test_the_command_line_says_so(tmp_path, capsys, lr, code):
    text = configuration(f'name = "GD"\nlr = {lr}', "steps = 300", "widths = [4, 6, 3]", 40, 4)
    (tmp_path / "wild.toml").write_text(text)
    arguments = ["run", str(tmp_path / "wild.toml"), "--out", str(tmp_path), "--no-progress", "--json"]
    assert cli.main(arguments) == code
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["status"] == ("diverged" if lr == 1e12 else "completed")
    assert (BLEW_UP in report["message"]) == (lr == 30.0)
    assert err == (f"noetherlite: warning: {report['message']}\n" if lr == 30.0 else "")
    assert nl.load(tmp_path / "wild.npz").loss.size > 1
