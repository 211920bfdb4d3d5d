"""Yoshida, ImplicitMidpoint, RK4, ProjectedGD: steps against independent ones, their exact laws, what they keep, and what they do not."""

import dataclasses

import numpy as np
import pytest
from algorithms import INTEGRATORS, start
from problems import BACKENDS, EPS, miscomputed, problem, refusals, streamed, times, verdicts
from scipy.optimize import root

import noetherlite as nl
from noetherlite._kernels import pointwise
from noetherlite._motion import runge_kutta
from noetherlite._motion.yoshida import WEIGHTS

NET, U, X0 = problem(["swish", "linear(0.7)"], loss="nll", widths=(3, 4, 3, 3), n=12)
STEPS = 20


def velocity(algorithm, x=X0):
    return 0.1 * np.cos(np.arange(x.size)) if algorithm.has_velocity else None


# --- steps ---------------------------------------------------------------------------------------------------------


def a_step_of(algorithm, x, v, t):
    """A step by its textbook, with SciPy's solver for the implicit ones: (x', v')."""

    def force(y):
        return U.gradient(y) + algorithm.weight_decay * y

    h, m = algorithm.dt, algorithm.dynamics.mass
    if isinstance(algorithm, nl.Yoshida):
        mu = algorithm.dynamics.integrating_factor
        for w in WEIGHTS[algorithm.order]:
            middle, end = t + 0.5 * w * h, t + w * h
            v = v * mu(t) / mu(middle) - 0.5 * w * h / m * force(x)
            x = x + w * h * v
            v, t = (v - 0.5 * w * h / m * force(x)) * mu(middle) / mu(end), end
        return x, v
    if isinstance(algorithm, nl.ProjectedGD):
        targets = {s.name: s.quantity(X0) for s in nl.symmetries(U) if s.name.startswith("scaling")}
        return nl.rebalance(NET, x - h * force(x), targets), v
    if isinstance(algorithm, nl.RK4):
        k1 = force(x)
        k2 = force(x - h / 2 * k1)
        k3 = force(x - h / 2 * k2)
        k4 = force(x - h * k3)
        return x - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), v
    if m == 0:
        return root(lambda z: z - x + h * force((x + z) / 2), x, tol=1e-14).x, v

    def equations(z):
        to, fast = np.split(z, 2)
        return np.concatenate([to - x - h * (v + fast) / 2, fast - v + h * force((x + to) / 2)])

    return tuple(np.split(root(equations, np.concatenate([x, v]), tol=1e-14).x, 2))


CONVERGED = [a for a in INTEGRATORS if not a.is_implicit or a.iterations > 2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", CONVERGED, ids=str)
def test_steps_are_the_textbooks(algorithm, backend):
    x, v = X0, velocity(algorithm)
    run = nl.integrate(U, algorithm, X0, STEPS, velocity=v, backend=backend, **start(algorithm))
    for k in range(STEPS):
        x, v = a_step_of(algorithm, x, v, run.t[k])
    allowed = 64 * STEPS * algorithm.gradients_per_step * EPS * np.abs(x).max()
    assert np.abs(run.x - x).max() <= allowed
    assert algorithm.dynamics.mass == 0 or np.abs(run.v - v).max() <= allowed
    other = dataclasses.replace(algorithm, lr=1.001 * algorithm.lr)  # the control
    run = nl.integrate(U, other, X0, STEPS, velocity=velocity(other), backend=backend, **start(other))
    assert np.abs(run.x - x).max() > allowed


def test_weights_satisfy_the_order_conditions():
    """Σw = 1, Σw³ = 0; Σw⁵ = 0 of order 6 alone, which is the control."""
    for order, weights in WEIGHTS.items():
        w = np.array(weights)
        assert np.array_equal(w, w[::-1])
        assert abs(w.sum() - 1) <= 4 * EPS
        assert abs((w**3).sum()) <= 8 * EPS * np.abs(w**3).sum()
        fifth = abs((w**5).sum()) / np.abs(w**5).sum()
        assert fifth <= 8 * EPS if order == 6 else fifth > 0.01


# --- laws ----------------------------------------------------------------------------------------------------------


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", INTEGRATORS, ids=str)
def test_the_exact_law_holds_over_ten_thousand_steps(algorithm):
    small = dataclasses.replace(algorithm, lr=algorithm.lr / 10)
    for batch in (5, None) if algorithm.is_implicit else (5,):
        run = nl.integrate(U, small, X0, 10_000, record_every=1000, batch_size=batch, rng=0, **start(algorithm))
        assert np.ptp(run.loss) > 1e-2 * run.loss[0]
        assert verdicts(run) == {"holds"}
        for law in run.laws.values():
            assert np.abs(law.discrete_residual).max() <= law.tolerance.max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_implicit_midpoint_keeps_every_quantity_and_the_others_do_not(backend):
    """The control is that RK4 and gradient descent do not."""
    drift = {}
    for algorithm in (nl.ImplicitMidpoint(0.2, iterations=30), nl.RK4(0.2), nl.GD(0.2)):
        run = nl.integrate(U, algorithm, X0, 100, backend=backend)
        assert verdicts(run) == {"holds"}
        drift[type(algorithm)] = max(law.largest("residual") for law in run.laws.values())
    assert drift[nl.ImplicitMidpoint] <= 8 * 100 * EPS * np.abs(X0).sum()
    assert drift[nl.RK4] > 1e-7
    assert drift[nl.GD] > 1e-3


@pytest.mark.parametrize(
    "algorithm", [nl.Yoshida(0.02), nl.Yoshida(0.02, 6), nl.ImplicitMidpoint(0.02, "ND", 40)], ids=str
)
def test_angular_momenta_are_kept_outright_and_runs_can_be_reversed(algorithm):
    data = nl.datasets.icosahedron()
    net = nl.Network([3, 2, 1], "polynomial(2)", bias=False, loss="mse")
    potential, x = net.potential(data), net.init(rng=0)
    v = velocity(algorithm, x)
    run = nl.integrate(potential, algorithm, x, 50, velocity=v, backend="reference")
    assert run.laws["rotation"].largest("residual") <= 8 * 350 * EPS
    assert np.abs(run.laws["rotation"].charge).max() > 0.01
    assert run.laws["scaling:1"].largest("residual") > 1e-9
    back = nl.integrate(potential, algorithm, run.x, 50, velocity=-run.v, backend="reference")
    assert np.abs(back.x - x).max() <= 64 * 350 * EPS
    assert np.abs(back.v + v).max() <= 64 * 350 * EPS
    damped = nl.Yoshida(0.02, gamma=0.1)  # the control
    run = nl.integrate(potential, damped, x, 50, velocity=v, backend="reference")
    assert np.abs(nl.integrate(potential, damped, run.x, 50, velocity=-run.v, backend="reference").x - x).max() > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_projected_descent_stays_on_the_levels_of_scalings_at_the_loss_of_descent(backend):
    """The control is all that it does not project: translations of W_L, the matrix of the linear layer, and everything without it."""
    run, descent = (nl.integrate(U, a, X0, 50, backend=backend) for a in (nl.ProjectedGD(0.1), nl.GD(0.1)))
    for name in ("scaling:1", "scaling:2"):
        assert run.laws[name].largest("residual") <= 64 * EPS * np.abs(run.laws[name].quantity).max()
        assert descent.laws[name].largest("residual") > 1e-4
    for name in ("linear:2", "translation:W"):
        assert run.laws[name].largest("residual") > 1e-5
    assert verdicts(run) == {"holds"}
    one = [nl.integrate(U, kind(0.1), X0, 1, backend=backend) for kind in (nl.ProjectedGD, nl.GD)]
    assert abs(one[0].loss[1] - one[1].loss[1]) <= 8 * EPS * one[0].loss[1]
    assert np.abs(one[0].x - one[1].x).max() > 1e-6


BLOCKS = {"W1": 0.02, "b2": 0.03, "rest": 0.05}


@pytest.mark.parametrize("backend", BACKENDS)
def test_rates_by_block_are_a_metric_of_the_levels(backend):
    """By hand: Q with the weights of each block over its share of the rate. The control is the Q without."""
    kinds = (nl.ProjectedGD, nl.GD)
    run, descent = (nl.integrate(U, kind(BLOCKS, weight_decay={"W2": 0.1}), X0, 50, backend=backend) for kind in kinds)

    def levels(x, shares):
        W1, b1, W2, b2, W3, beta = (NET.unpack(x)[k] for k in ("W1", "b1", "W2", "b2", "W3", "beta1"))
        first = (W1**2).sum(1) / shares["W1"] + b1**2 - (W2**2).sum(0) - beta**2
        return 0.5 * first, 0.5 * ((W2**2).sum(1) + b2**2 / shares["b2"] - (W3**2).sum(0))

    shares = {"W1": 0.4, "b2": 0.6}
    for k in (0, 1):
        at_start, at_end, unprojected = (levels(x, shares)[k] for x in (X0, run.x, descent.x))
        quantity, atol = run.laws[f"scaling:{k + 1}"].quantity, 64 * EPS * np.abs(at_start).max()
        np.testing.assert_allclose(quantity[[0, -1]], [at_start, at_end], rtol=0, atol=atol)
        np.testing.assert_allclose(at_end, at_start, rtol=0, atol=atol)
        assert np.abs(unprojected - at_start).max() > 1e-4
        without = [levels(x, {"W1": 1.0, "b2": 1.0})[k] for x in (X0, run.x)]
        assert np.abs(without[1] - without[0]).max() > 1e-4
    assert verdicts(run) == {"holds"}
    one = [nl.integrate(U, kind(BLOCKS), X0, 1, backend=backend) for kind in kinds]
    assert abs(one[0].loss[1] - one[1].loss[1]) <= 8 * EPS * one[0].loss[1]
    # a projection onto scaling:1 would not leave W1 alone
    frozen = nl.integrate(U, nl.ProjectedGD({"W1": 0, "rest": 0.05}), X0, 50, backend=backend)
    assert np.array_equal(NET.unpack(frozen.x)["W1"], NET.unpack(X0)["W1"])
    assert "scaling:1" not in frozen.laws
    assert frozen.laws["scaling:2"].largest("residual") <= 64 * EPS * np.abs(frozen.laws["scaling:2"].quantity).max()


def test_checks_know_the_levels_of_rates_by_block():
    algorithm = nl.ProjectedGD(BLOCKS)
    rows = nl.integrate(U, algorithm, X0, 10, record_params=True).params
    assert nl.check(U, rows, dynamics=algorithm).verdict == "holds"
    assert nl.check(U, rows, dynamics=nl.ProjectedGD({**BLOCKS, "b2": 0.9 * BLOCKS["b2"]})).verdict == "broken"


def test_a_neuron_that_cannot_reach_its_level_is_left_alone():
    net = nl.Network([2, 2, 1], "relu", loss="mse")
    potential, x = net.potential(np.eye(2), [[1.0], [2.0]]), net.init(rng=0)
    parts = net.unpack(x)
    parts["W1"][0], parts["b1"][0], parts["W2"][0, 0] = 0, 0, 0
    for backend in ("reference", "auto"):
        run = nl.integrate(potential, nl.ProjectedGD(0.1), net.pack(parts), 20, backend=backend)
        assert run.status == "completed"
        assert run.laws["scaling:1"].largest("residual") <= 64 * EPS
        assert not net.unpack(run.x)["W1"][0].any()


def test_a_law_without_one_of_its_terms_is_broken(monkeypatch):
    """Negative control: RK4's law with the wrong weight of a stage."""

    def plain(run, t):
        before = run.state.gradient.copy()
        runge_kutta._plain(run, t)
        run.state.balance[:] += 1e-6 * run.pair(before, before)

    monkeypatch.setattr(nl.RK4, "method", runge_kutta.METHOD._replace(plain=plain))
    run = nl.integrate(U, nl.RK4(0.1), X0, STEPS, backend="reference")
    assert run.laws["scaling:1"].verdict == "broken"
    assert run.laws["translation:b"].verdict == "holds"


# --- the solver ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["GF", nl.ND], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_residual_of_the_solver_is_told_and_is_in_the_law(backend, dynamics):
    """Few iterations, then too large a step for any number of them."""
    residuals, drift = [], []
    for iterations in (2, 5, 40):
        run = nl.integrate(U, nl.ImplicitMidpoint(0.1, dynamics, iterations), X0, STEPS, backend=backend)
        assert verdicts(run) == {"holds"}
        assert f"its equations solved to {run.solver_residual:.1e}" in run.message
        residuals.append(run.solver_residual)
        drift.append(run.laws["scaling:1"].largest("residual"))
    assert residuals[0] > 10 * residuals[1] > 1e3 * residuals[2]
    assert residuals[2] <= 8 * EPS * np.abs(X0).max()
    assert dynamics == nl.ND or drift[0] > 10 * drift[1] > 1e3 * drift[2]
    far = nl.integrate(U, nl.ImplicitMidpoint(1.0, dynamics), X0, STEPS, backend=backend)  # it does not converge
    assert far.solver_residual > 0.01
    assert f"its equations solved to {far.solver_residual:.1e}" in far.message
    assert verdicts(far) == {"holds"}
    assert far.laws["scaling:1"].largest("residual") > 1e-3


def test_iterations_that_overflow_end_the_run():
    U = nl.potentials.Harmonic(np.diag([1.0, 1e200]))
    run = nl.integrate(U, nl.ImplicitMidpoint(1.0), [1.0, 1.0], 5, backend="reference")
    assert (run.status, run.solver_residual) == ("diverged", np.inf)
    assert np.isfinite(run.loss).all()
    assert "at step 1, in the iterations that solve its equations" in run.message


def test_an_ensemble_and_a_file_have_the_residuals_of_each(tmp_path):
    algorithms = [nl.ImplicitMidpoint(lr, iterations=3) for lr in (0.1, 0.2)]
    runs = nl.ensemble(U, algorithms, [X0, X0], 5, backend="reference")
    alone = [nl.integrate(U, a, X0, 5, backend="reference").solver_residual for a in algorithms]
    assert runs.solver_residual.tolist() == alone
    assert [runs[e].solver_residual for e in range(2)] == alone
    assert nl.load(runs.save(tmp_path / "runs")).solver_residual.tolist() == alone
    assert nl.load(runs[1].save(tmp_path / "run")).solver_residual == alone[1]
    explicit = nl.integrate(U, nl.RK4(0.1), X0, 5, backend="reference")
    assert explicit.solver_residual is nl.load(explicit.save(tmp_path / "run")).solver_residual is None


# --- the rest of a run ---------------------------------------------------------------------------------------------


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    "algorithm", [nl.ImplicitMidpoint(0.1), nl.ImplicitMidpoint(0.01, "ND"), nl.RK4(0.1), nl.Yoshida(0.01)], ids=str
)
def test_the_first_layer_in_the_span_of_the_inputs_is_the_same_run(algorithm):
    _, potential, x = problem("relu", loss="nll", widths=(20, 4, 3), n=5)
    runs = [nl.integrate(potential, algorithm, x, STEPS, input_reduction=reduce) for reduce in (True, False)]
    assert np.abs(runs[0].x - runs[1].x).max() <= 64 * STEPS * 20 * EPS * np.abs(x).max()
    assert {law.verdict for run in runs for law in run.laws.values()} == {"holds"}


def test_a_schedule_changes_the_step():
    for kind in (nl.RK4, nl.ImplicitMidpoint):
        run = nl.integrate(U, kind([0.05, 0.1]), X0, 2, backend="reference", record_params=True)
        for k, lr in enumerate((0.05, 0.1)):
            one = nl.integrate(U, kind(lr), run.params[k], 1, backend="reference")
            assert np.array_equal(one.x, run.params[k + 1])
    run, x, v = nl.integrate(U, nl.ImplicitMidpoint([0.01, 0.02], "ND"), X0, 2, backend="reference"), X0, 0 * X0
    for lr in (0.01, 0.02):
        one = nl.integrate(U, nl.ImplicitMidpoint(lr, "ND"), x, 1, velocity=v, backend="reference")
        x, v = one.x, one.v
    assert np.array_equal(run.x, x)
    assert np.array_equal(run.v, v)
    assert run.t[-1] == np.sqrt(0.01) + np.sqrt(0.02)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("dynamics", ["GF", "ND"])
def test_all_iterations_of_a_step_take_the_same_minibatch(dynamics, accumulated, backend):
    """A step with a minibatch is one with all samples of the potential that has these alone; the control are other minibatches."""
    algorithm = nl.ImplicitMidpoint(0.01 if dynamics == "ND" else 0.05, dynamics, 8, grad_accumulation=accumulated)
    single, size = dataclasses.replace(algorithm, grad_accumulation=1), 5 if accumulated == 1 else 3
    options = {"batch_size": size, "rng": 0, "record_params": True, "backend": backend}
    run = nl.integrate(U, algorithm, X0, STEPS, velocity=velocity(algorithm), **options)
    assert run.n_gradients == accumulated * (1 + 8 * STEPS)
    key, order, drawn = np.uint64(run.specification["arguments"]["batch_key"]), np.arange(12), []
    while len(drawn) < accumulated * STEPS:
        pointwise.shuffle(key, len(drawn) // (12 // size), order)
        drawn += list(order[: 12 // size * size].reshape(-1, size).copy())
    batches = [np.concatenate(drawn[k * accumulated : (k + 1) * accumulated]) for k in range(STEPS)]
    x, v, laws = X0, velocity(algorithm), {"laws": None, "backend": "reference"}
    for batch in batches:
        one = nl.integrate(U.part(batch), single, x, 1, velocity=v, **laws)
        x, v = one.x, one.v if algorithm.has_velocity else None
    allowed = 64 * STEPS * 8 * EPS * np.abs(x).max()
    assert np.abs(run.x - x).max() <= allowed
    other = nl.integrate(U.part(batches[0]), single, run.params[-2], 1, **laws).x
    assert np.abs(run.x - other).max() > 1e3 * allowed
    if backend == "reference":
        start_of = {"velocity": velocity(algorithm)} if algorithm.has_velocity else {}
        assert nl.check(U, run.params, dynamics=algorithm, batches=batches, **start_of).ok
        report = nl.check(U, run.params, dynamics=algorithm, batches=batches[::-1], **start_of)
        assert report.verdict == report.motion["W1"].verdict == "broken"
        if not start_of:
            assert nl.check(U, run.params, dynamics=algorithm, minibatches=True).ok


LEVELS = "laws must have {} too for ProjectedGD"
test_wrong_arguments_are_refused = refusals(
    [
        (lambda: nl.Yoshida(0.1, 5), "order must be one of 4, 6; got 5"),
        (lambda: nl.integrate(U, nl.Yoshida(0.1, alpha=1.0), X0, 1, t0=0.1), r"t0 must be > 0\.111 for Yoshida.*got t0=0\.1"),
        (lambda: nl.ImplicitMidpoint(0.1, "NAGF"), r"dynamics must be nl\.GF or nl\.ND.*NAGF"),
        (lambda: nl.ImplicitMidpoint(0.1, iterations=1), "iterations=1 is out of range; expected an integer >= 2"),
        (lambda: nl.integrate(U, nl.ProjectedGD(0.1), X0, 1, laws=None), LEVELS.format(r"\['scaling:1', 'scaling:2'\]")),
        (lambda: nl.integrate(U, nl.ProjectedGD(0.1), X0, 1, laws=["scaling:1"]), LEVELS.format(r"\['scaling:2'\]")),
        (lambda: nl.drift(U, nl.ProjectedGD(0.1), X0, 1, laws=["scaling:1"]), LEVELS.format(r"\['scaling:2'\]")),
        (lambda: nl.ProjectedGD({"W1": [0.1, 0.2], "rest": 0.1}), "lr must have schedules that keep the ratios between blocks for ProjectedGD"),
    ]
)  # fmt: skip


# --- check ---------------------------------------------------------------------------------------------------------


REPLAYED = [nl.Yoshida(0.01), nl.ImplicitMidpoint(0.01, "ND", 6), nl.RK4(0.05)]


@pytest.mark.parametrize("algorithm", REPLAYED, ids=str)
def test_recordings_of_every_step_are_checked_by_taking_the_steps_again(algorithm):
    """The controls: a rate one percent off, another method of the same flow, and a gradient one percent off in a block."""
    run = nl.integrate(U, algorithm, X0, STEPS // 2, record_params=True, backend="reference")
    report = nl.check(U, run.params, run.t, algorithm)
    assert report.ok
    assert {row.verdict for row in report.laws.values()} == {"holds"}
    assert not nl.check(U, run.params, dynamics=dataclasses.replace(algorithm, lr=1.01 * algorithm.lr)).ok
    other = nl.Leapfrog(algorithm.lr) if algorithm.has_velocity else nl.GD(algorithm.lr)
    assert not nl.check(U, run.params, run.t, other).ok

    wrong = miscomputed(U, times(1.01, "W2"))
    bad = nl.integrate(wrong, algorithm, X0, STEPS // 2, record_params=True)
    report = nl.check(U, bad.params, bad.t, algorithm)
    assert not report.ok
    assert "W2" in str(report)


@pytest.mark.needs_jit
@pytest.mark.slow
def test_recordings_of_projected_descent_are_checked_by_taking_the_steps_again():
    """The controls: a rate, a ρ, a block's gradient, a descent that is not projected, and levels other than those of the start."""
    batches = [np.random.default_rng(k).permutation(9)[:4] for k in range(STEPS)]
    for algorithm, wrong in (
        (nl.ProjectedGD(0.05, weight_decay=0.1, clip=0.3), {"lr": 0.05005}),
        (nl.ProjectedGD(np.linspace(0.05, 0.01, STEPS)), {"lr": 0.05}),
        (nl.SAM(nl.ProjectedGD(0.05), 0.1), {"sam": 0.1001}),
        (nl.ProjectedGD({"W1": 0.02, "rest": 0.05}), {"lr": {"W1": 0.0202, "rest": 0.05}}),
        (nl.ImplicitMidpoint(np.linspace(0.01, 0.005, STEPS), "ND", 6), {"lr": 0.01}),
    ):
        run = nl.integrate(U, algorithm, X0, STEPS // 2, record_params=True, backend="reference")
        for every in (1, 2):
            rows = run.params[::every]
            assert nl.check(U, rows, dynamics=algorithm, every=every).ok
            other = dataclasses.replace(algorithm, **wrong)
            assert nl.check(U, rows, dynamics=other, every=every).verdict == "broken"
        assert streamed(U, algorithm, run.params).ok
    algorithm, x, rows = nl.ProjectedGD(0.05), X0.copy(), [X0]
    for batch in batches:
        x = nl.integrate(U.part(batch), algorithm, x, 1, backend="reference").x
        rows.append(x)
    assert nl.check(U, rows, dynamics=algorithm, batches=batches).ok
    assert nl.check(U, rows, dynamics=algorithm, batches=batches[::-1]).verdict == "broken"
    with pytest.raises(ValueError, match="minibatches must be False with ProjectedGD"):
        nl.check(U, rows, dynamics=algorithm, minibatches=True)
    descent = nl.integrate(U, nl.GD(0.05), X0, STEPS // 2, record_params=True, backend="reference")
    report = nl.check(U, descent.params, dynamics=algorithm)
    assert report.laws["scaling:1"].verdict == report.motion["W1"].verdict == "broken"
    rows = nl.integrate(U, algorithm, X0, STEPS // 2, record_params=True, backend="reference").params
    later = nl.integrate(U, algorithm, 1.001 * rows[10], STEPS // 2, record_params=True, backend="reference").params
    report = nl.check(U, np.concatenate([rows[:10], later]), dynamics=algorithm)
    assert report.motion["W1"].tally.n_off > 10  # not only the step that left the levels


def test_recordings_of_several_gradients_a_step_and_of_minibatches_are_refused():
    run = nl.integrate(U, nl.RK4(0.05), X0, STEPS // 2, record_params=True, backend="reference")
    with pytest.raises(ValueError, match="minibatches must be False with RK4"):
        nl.check(U, run.params, run.t, nl.RK4(0.05), minibatches=True)
    with pytest.raises(ValueError, match=r"batches.* not supported for RK4.*4 gradients per step"):
        nl.check(U, run.params, run.t, nl.RK4(0.05), batches=[[0]] * STEPS)


def test_recordings_are_compared_at_the_point_where_the_solver_ended():
    """The iterations need not have converged to the midpoint; the controls: another rate, and one iteration more."""
    for algorithm in (
        nl.ImplicitMidpoint(0.3, iterations=4),
        nl.ImplicitMidpoint(0.3 * np.linspace(1, 0.5, STEPS), iterations=3, weight_decay=0.1, clip=0.3),
        nl.ImplicitMidpoint({"W1": 0.2, "rest": 0.3}, iterations=4, weight_decay={"W2": 0.1}),
    ):
        run = nl.integrate(U, algorithm, X0, STEPS, record_params=True, backend="reference")
        assert run.solver_residual > 1e-6
        report = nl.check(U, run.params, run.t, algorithm)
        assert report.ok, str(report)
        assert streamed(U, algorithm, run.params).ok
        for wrong in ({"lr": 0.2997}, {"iterations": algorithm.iterations + 1}):
            assert nl.check(U, run.params, dynamics=dataclasses.replace(algorithm, **wrong)).verdict == "broken"
    algorithm = nl.ImplicitMidpoint(0.3, iterations=4)
    run = nl.integrate(U, algorithm, X0, STEPS, batch_size=5, rng=0, record_params=True, backend="reference")
    report = nl.check(U, run.params, run.t, algorithm, minibatches=True)
    assert report.verdict == "not decidable"
    assert "may not have converged" in str(report)
    assert not report.findings
