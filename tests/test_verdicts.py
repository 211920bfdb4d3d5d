"""The record of a law: its scale, its tolerance and its verdict, also where the integrating factor is no double."""

import dataclasses

import numpy as np
import pytest
from problems import BACKENDS, EPS, verdicts

import noetherlite as nl

NET = nl.Network([2, 3, 2], "relu")
U = NET.potential(np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2)
X0 = NET.init(rng=0)
FADED = [  # μ overflows, underflows, and leaves the range at either end
    (nl.ConformalLeapfrog(1e-4, mass=0.01, gamma=1.0), 0.0),
    (nl.ConformalLeapfrog(1e-4, mass=0.005, alpha=3), 0.1),
    (nl.NAGD(1e-4, alpha=300), 0.0),
]
backends = pytest.mark.parametrize("backend", ["cpu", "reference"])


def run(algorithm, t0=0.0, steps=800, **options):
    return nl.integrate(U, algorithm, X0, steps, t0=t0, record_every=50, **options)


@backends
@pytest.mark.parametrize(("algorithm", "t0"), FADED, ids=str)
def test_laws_hold_where_the_integrating_factor_is_no_double(algorithm, t0, backend):
    trajectory = run(algorithm, t0, backend=backend)
    with np.errstate(all="ignore"):
        mu = algorithm.dynamics.integrating_factor(trajectory.t)
        assert np.abs(np.log2(mu[1:])).max() > 512
    assert (algorithm.dynamics.law_weight(trajectory.t) == 1).all()
    for law in trajectory.laws.values():
        assert np.isfinite(law.residual).all()
        assert law.verdict == "holds"
        # negative control: what a wrong gradient would leave is seen
        assert dataclasses.replace(law, discrete_residual=law.discrete_residual + 1e-6).verdict == "broken"
    # the residual is that of r/μ: it shrinks with the step, and it is not zero
    residual = np.abs(trajectory.laws["scaling:1"].residual).max()
    assert 0 < residual < 0.1 * trajectory.laws["scaling:1"].largest("scale")


@pytest.mark.parametrize(("algorithm", "t0"), FADED[:2], ids=str)
def test_steps_of_strong_friction_are_checked(algorithm, t0):
    trajectory = nl.integrate(U, algorithm, X0, 300 if t0 else 800, t0=t0, laws=None, record_params=True)
    assert nl.check(U, trajectory.params, trajectory.t, algorithm).findings == []
    rows = nl.check(U, trajectory.params[::4], trajectory.t[::4], algorithm.dynamics).laws.values()
    assert all(np.isfinite([row.residual, row.tolerance, row.scale]).all() for row in rows)


@backends
def test_records_divided_by_the_integrating_factor_are_the_same_law(backend, monkeypatch):
    """An ordinary run's record, and the one it would have if μ were out of range, differ by the factor μ."""
    algorithm, t0 = nl.ConformalLeapfrog(1e-3, mass=0.7, gamma=0.3, alpha=2.0), 0.5
    weighted = run(algorithm, t0, backend=backend)
    assert weighted.laws  # are read when they are first asked for
    monkeypatch.setattr("noetherlite._motion.dynamics._LARGEST_WEIGHT", 1.0)
    divided = run(algorithm, t0, backend=backend)
    mu = algorithm.dynamics.integrating_factor(weighted.t)[:, None]
    for name, law in weighted.laws.items():
        size = np.abs(law.charge).max() + np.abs(law.source_integral).max()
        for what in ("residual", "discrete_residual", "source_integral", "scale"):
            other = mu * getattr(divided.laws[name], what)
            np.testing.assert_allclose(other, getattr(law, what), rtol=1e3 * EPS, atol=800 * 8 * EPS * size * mu.max())
    assert weighted.laws["scaling:1"].largest("residual") > 1e-6


def test_integrating_factors_and_their_ratios():
    strong = nl.Dynamics(0.01, 1.0, 0.05)
    t = np.array([0.5, 6.0, 20.0])
    with np.errstate(all="raise"):
        assert np.isinf(strong.integrating_factor(20.0))
        ratio = strong.fading(t, t + 0.01)
    np.testing.assert_allclose(ratio, (t / (t + 0.01)) ** 5 * np.exp(-1), rtol=2 * 20 / 0.01 * EPS)  # of the times
    assert nl.NAGF.fading(0.0, 1.0) == 0
    assert nl.NAGF.fading(0.0, 0.0) == 1
    assert nl.ND.fading(0.0, 1e300) == 1
    assert np.isnan(nl.GF.fading(0.0, 1.0))
    mixed = nl.Dynamics(0.001, 1.0, 1.0)  # t^1000 e^{1000 t} = 1 at t = 0.567…, though its factors are 0 and ∞ near it
    assert 0.1 < mixed.integrating_factor(0.5671432904097838) < 10


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    "algorithm",
    [nl.GD(0.1), nl.HeavyBall(0.02), nl.Leapfrog(0.01), nl.NAGD(0.01), nl.ConformalLeapfrog(2.5e-3, alpha=3)],
    ids=lambda a: type(a).__name__,
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_every_law_of_a_right_run_holds(algorithm, dtype, batch_size):
    t0 = 30.0 if algorithm.dynamics.alpha and algorithm.singular_start else None
    trajectory = run(algorithm, t0, 200, dtype=dtype, batch_size=batch_size, rng=0, backend="cpu")
    assert verdicts(trajectory) == {"holds"}


@pytest.mark.parametrize("share", [1.0, 1e-6])
@pytest.mark.parametrize("algorithm", [nl.GD(0.1), nl.Leapfrog(0.01), nl.NAGD(0.01), nl.HeavyBall(0.02)], ids=str)
def test_a_wrong_gradient_breaks_a_law(algorithm, share):
    """Negative control: a gradient whose first row of W_1 is `share` too long."""

    wrong = {"by": 0.0}

    def value_and_gradient(x):
        value, gradient = U.value_and_gradient(x)
        gradient[:2] *= 1 + wrong["by"]
        return value, gradient

    V = nl.potentials.Callable(value_and_gradient, U.n_params)
    generator = np.array([nl.symmetries(U)[0].generator(e)[0] for e in np.eye(U.n_params)]).T
    law = nl.Symmetry(generator, name="neuron")
    for by, verdict in ((0.0, "holds"), (share, "broken")):
        wrong["by"] = 0.0  # while the symmetry is verified
        trajectory = nl.integrate(V, algorithm, X0, 100, laws=[law], callback=lambda _, by=by: wrong.update(by=by))
        assert trajectory.laws["neuron"].verdict == verdict


def test_what_was_not_tested_is_not_said_to_hold():
    for algorithm, steps in ((nl.GD(1e-18), 100), (nl.GD(0.1), 0), (nl.Leapfrog(0.01), 0)):
        assert verdicts(run(algorithm, None, steps)) == {"not decidable"}
    flat = nl.integrate(nl.potentials.Harmonic(np.zeros((2, 2))), nl.Leapfrog(0.1), [1.0, 2.0], 5, velocity=[1.0, 0.0],
                        laws=[nl.Symmetry([[0, 1], [-1, 0]], name="turn")])  # fmt: skip
    assert flat.laws["turn"].verdict == "not decidable"


@pytest.mark.parametrize("backend", BACKENDS)
def test_charges_of_float32_runs_are_those_of_their_parameters(backend):
    """Products of float32 numbers are exact in doubles, and so are the records up to the rounding of their sums."""
    net = nl.Network([3, 5, 4, 2], ["swish", "linear"])
    V = net.potential(np.random.default_rng(1).normal(size=(20, 3)), np.arange(20) % 2)
    options = {"dtype": "float32", "record_params": True, "backend": backend}
    trajectory = nl.integrate(V, nl.Leapfrog(0.01), net.init(rng=0), 20, **options)
    for s in nl.symmetries(V):
        if s.name in trajectory.laws:
            params = trajectory.params.astype(np.float64)
            exact = np.array([s.quantity(x) for x in params])
            size = (params**2).sum(axis=1).max() + np.abs(params).sum(axis=1).max()
            np.testing.assert_allclose(trajectory.laws[s.name].quantity, exact, rtol=0, atol=net.n_params * EPS * size)


@pytest.mark.parametrize("algorithm", [nl.GD(0.1), nl.Leapfrog(0.01), nl.HeavyBall(0.1)], ids=str)
def test_a_run_from_a_minimum_breaks_no_law(algorithm):
    """The terms of a gradient that vanishes cancel, and leave a round-off that is relative to them; the control is a wrong gradient."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    net = nl.Network([3, 4, 2], "linear", bias=False, loss="mse")
    U, product = net.potential(X, Y), np.linalg.lstsq(X, Y, rcond=None)[0].T
    left, sizes, right = np.linalg.svd(product, full_matrices=False)
    frame = np.linalg.qr(rng.normal(size=(4, 2)))[0]
    x0 = net.pack({"W1": frame * np.sqrt(sizes) @ right, "W2": left * np.sqrt(sizes) @ frame.T})
    assert 0 < np.linalg.norm(U.gradient(x0)) < 1e-14 < U.value(x0)
    run = nl.integrate(U, algorithm, x0, 50, record_params=True, backend="reference")
    assert {law.verdict for law in run.laws.values()} == {"not decidable"}
    report = nl.check(U, run.params, run.t, algorithm)
    assert report.verdict == "not decidable"
    assert not report.findings
    bent = nl.integrate(U, algorithm, x0 + 0.1 * rng.normal(size=x0.size), 50, backend="reference")
    assert {law.verdict for law in bent.laws.values()} == {"holds"}


def test_equal_rows_where_the_gradient_would_move_them_were_not_copied():
    U = nl.potentials.Harmonic(np.eye(2))
    rows = np.tile([1.0, 2.0], (5, 1))
    for dynamics, t in ((nl.GD(0.1), 0.1 * np.arange(5)), (nl.GF, np.arange(5.0)), (nl.ND, np.arange(5.0))):
        assert "were they copied" in nl.check(U, rows, t, dynamics).findings[0]
        assert "were they copied" not in str(nl.check(U, 0 * rows, t, dynamics).findings)


def test_a_record_that_lost_its_numbers_does_not_hold():
    t, charge = np.arange(3.0), np.ones((3, 1))
    small = np.array([[0.0], [1e-16], [1e-16]])
    record = nl.LawRecord("it", t, charge, charge, charge, small, small)
    assert record.verdict == "holds"
    assert (
        dataclasses.replace(record, discrete_residual=np.array([[0.0], [1e-16], [np.nan]])).verdict == "not decidable"
    )
