"""Verdicts of `check` on correct recordings and recordings of wrong gradients; refusals of all else."""

import numpy as np
import pytest
from problems import EPS, miscomputed, problem, refusals, times

import noetherlite as nl
from noetherlite._base.precision import precision
from noetherlite._check.forces import Forces
from noetherlite._check.implied import implied

ALGORITHMS = [
    (nl.GD(0.02), 0.0),
    (nl.Leapfrog(4e-4), 0.0),
    (nl.NAGD(4e-4), 0.0),
    (nl.NAGD(4e-4, alpha=5), 0.6),
    (nl.ConformalLeapfrog(4e-4, mass=2, gamma=0.3, alpha=3), 0.5),
    (nl.ConformalLeapfrog(4e-4, gamma=0.5), 0.0),
]
# Algorithms whose steps are checked; their records alone are not those of the flow, for the decay or for the memory.
STEPPED = [
    *ALGORITHMS,
    (nl.HeavyBall(4e-3, 0.8, 0.1), 0.0),
    (nl.GD(0.02, weight_decay=0.1), 0.0),
    (nl.HeavyBall(4e-3, 0.8, weight_decay=0.1), 0.7),
    (nl.NAGD(4e-4, weight_decay=0.1), 0.0),
    (nl.ConformalLeapfrog(4e-4, mass=2, gamma=0.3, alpha=3, weight_decay=0.1), 0.5),
]


def recorded(U, algorithm, x, steps=200, t0=0.0, every=1, **options):
    run = nl.integrate(U, algorithm, x, steps, t0=t0, record_every=every, record_params=True, laws=None, **options)
    assert run.status == "completed"
    return run


def verdicts(report):
    return {row.name: row.verdict for row in report.rows}


def broken(report):
    return {name for name, verdict in verdicts(report).items() if verdict == "broken"}


# --- correct recordings ------------------------------------------------------------------------------------------------


every_step = pytest.mark.parametrize(("algorithm", "t0"), STEPPED, ids=str)


@every_step
@pytest.mark.parametrize("activation", ["relu", "linear", "swish", "polynomial(2)", "tanh"])
def test_every_step_of_an_algorithm_holds_to_round_off(algorithm, t0, activation):
    _, U, x = problem(activation, loss="nll", widths=(3, 6, 4, 3))
    run = recorded(U, algorithm, 0.7 * x, t0=t0)
    report = nl.check(U, run.params, run.t, algorithm)
    assert report.ok, str(report)
    assert all(row.order == 0 for row in report.rows)
    # decided to seven digits: 4ε·gain·|x|/|∇U| with gain 4/h² = 1e4, and a block whose force is a hundredth of |x|
    assert max(float((row.tolerance / row.scale).min()) for row in report.rows) < 1e-7
    # and not a loose one: what is left reaches a hundredth of it somewhere
    assert max(row.ratio.max() for row in report.rows) > 0.01


@every_step
def test_the_implied_gradient_is_the_gradient(algorithm, t0):
    _, U, x = problem("tanh")
    run = recorded(U, algorithm, x, 20, t0=t0)
    seen = implied(algorithm, Forces(U, algorithm), run.params, t0)
    expected = np.array([U.gradient(point) for point in seen.points])
    allowed = EPS * (algorithm.gain * np.linalg.norm(seen.points, axis=1) + np.linalg.norm(expected, axis=1))
    assert (np.linalg.norm(seen.gradient - expected, axis=1) <= allowed).all()
    assert allowed.max() < 1e-9 * np.linalg.norm(expected, axis=1).max()


@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall, nl.Leapfrog, nl.NAGD, nl.ConformalLeapfrog])
def test_weight_decay_that_is_not_told_of_is_found(kind):
    _, U, x = problem("relu", loss="nll", widths=(3, 6, 4, 3))
    run = recorded(U, kind(1e-3, weight_decay=1e-3), x)
    assert nl.check(U, run.params, run.t, kind(1e-3, weight_decay=1e-3)).ok
    untold = nl.check(U, run.params, run.t, kind(1e-3))
    assert {"scaling:1", "scaling:2", "translation:W", *untold.motion} <= broken(untold)


def test_minibatches_keep_the_laws():
    _, U, x = problem("relu", loss="nll", widths=(3, 6, 4, 3), n=40)
    run = recorded(U, nl.GD(0.05), x, batch_size=8, rng=0)
    report = nl.check(U, run.params, run.t, nl.GD(0.05), minibatches=True)
    assert report.ok
    assert set(report.laws) == {"scaling:1", "scaling:2", "translation:b", "translation:W"}
    assert report.motion == {}
    whole = nl.check(U, run.params, run.t, nl.GD(0.05))
    assert broken(whole) == set(whole.motion)


@pytest.mark.parametrize("given", [False, True], ids=["differences", "velocity"])
@pytest.mark.parametrize(
    "dynamics", [nl.GF, nl.ND, nl.NAGF, nl.Dynamics(2.0, 0.5, 1.0), nl.Dynamics(0.0, 2.0, 0.0)], ids=str
)
def test_the_flow_itself_holds(dynamics, given):
    if given and dynamics.mass == 0:
        pytest.skip("gradient flow has no velocity of its own")
    _, U, x = problem("tanh", loss="nll", widths=(3, 5, 3))
    flow = nl.reference_flow(U, dynamics, x, np.linspace(0, 3, 200) ** 1.2, rtol=1e-11, atol=1e-12)
    report = nl.check(U, flow.x, flow.t, dynamics, velocity=flow.v if given else None)
    assert report.ok, str(report)
    assert all(row.order == 1 for row in report.rows)


@pytest.mark.parametrize("every", [1, 5, 25])
@pytest.mark.parametrize(("algorithm", "t0"), ALGORITHMS, ids=str)
@pytest.mark.parametrize("activation", ["relu", "linear", "polynomial(2)", "swish"])
def test_a_correct_recording_is_never_called_broken(algorithm, t0, activation, every):
    _, U, x = problem(activation, loss="nll", widths=(3, 6, 4, 3))
    run = recorded(U, algorithm, x, 400, t0=t0, every=every)
    report = nl.check(U, run.params, run.t, algorithm.dynamics)
    assert not broken(report), str(report)
    assert not report.findings


def test_gradient_descent_makes_a_quarter_of_the_tolerance():
    # Records at uneven rates, one step each: the trapezoidal sum is half of what left and right sums differ by; two
    # records of slack make it a quarter.
    net, U, x = problem("tanh", loss="mse", widths=(3, 5, 2))
    rates = np.linspace(0.01, 0.03, 100)
    path = [x]
    for rate in rates:
        path.append(path[-1] - rate * U.gradient(path[-1]))
    report = nl.check(U, np.array(path), np.concatenate([[0.0], np.cumsum(rates)]), nl.GF)
    for block in net.blocks:
        ratio = report.motion[block.name].ratio
        assert 0.15 < ratio.max() <= 0.25 + 1e-12


def test_rotations_of_the_inputs_hold():
    net = nl.Network([3, 2, 1], "polynomial(2)", loss="mse")
    U = net.potential(nl.datasets.icosahedron())
    for algorithm in (nl.GD(0.01), nl.Leapfrog(1e-3)):
        run = recorded(U, algorithm, net.init(rng=0, bias_std=0.5), 300)
        exact = nl.check(U, run.params, run.t, algorithm)
        assert exact.laws["rotation"].verdict == "holds"
        rough = nl.check(U, run.params[::3], run.t[::3], algorithm.dynamics)
        assert rough.laws["rotation"].verdict == "holds"
        assert rough.laws["rotation"].order == 1


def test_a_symmetry_of_ones_own_and_a_choice_of_laws():
    U = nl.potentials.Radial(2)
    turn = nl.Symmetry([[0, -1], [1, 0]], name="turn")
    run = recorded(U, nl.Leapfrog(1e-2), [1.0, 0.5], velocity=[0.0, 1.0])
    report = nl.check(U, run.params, run.t, nl.Leapfrog(1e-2), laws=[turn])
    assert report.ok
    assert list(report.laws) == ["turn"]
    assert list(report.motion) == ["x"]
    both = nl.check(U, run.params[::2], run.t[::2], nl.ND, laws=[turn, "time"])
    assert set(both.laws) == {"turn", "time"}
    assert not broken(both)


def test_steps_are_recognised_without_naming_the_algorithm():
    _, U, x = problem("relu", loss="nll", widths=(3, 6, 4, 3))
    for algorithm in (nl.GD(0.1), nl.Leapfrog(1e-3), nl.NAGD(1e-3), nl.ConformalLeapfrog(1e-3, 2.0, 0.1)):
        run = recorded(U, algorithm, x)
        assert nl.check(U, run.params, run.t, algorithm.dynamics).laws["scaling:1"].order == 0
        assert nl.check(U, run.params[::2], run.t[::2], algorithm.dynamics).laws["scaling:1"].order == 1


def test_energy_is_checked_where_it_is_asked_for():
    _, U, x = problem("tanh", loss="mse")
    run = recorded(U, nl.Leapfrog(1e-4), x)
    report = nl.check(U, run.params, run.t, nl.ND, laws=["time"])
    assert verdicts(report)["time"] == "holds"


# --- planted bugs ----------------------------------------------------------------------------------------------------


DROPPED_BIAS = times(0, "b1")
BUGS = [
    # (bug, what breaks: blocks' motions and laws, component of the first, words)
    (DROPPED_BIAS, {"b1", "scaling:1"}, None, "b1 does not move: its gradient is missing"),
    (times(0, "b1", 3), {"b1", "scaling:1"}, 3, "b1 does not move: its gradient is missing (neuron 3 of 6)"),
    (
        times(0.9, "W2", 1),
        {"W2", "scaling:1", "scaling:2"},
        None,
        "W2 moves 0.9 times as far as U asks (neuron 1 of 4)",
    ),
    (times(-1, "W3"), {"W3", "scaling:2"}, None, "W3 moves -1 times as far as U asks"),
]


@pytest.mark.parametrize("algorithm", [nl.GD(0.02), nl.Leapfrog(4e-4), nl.NAGD(4e-4)], ids=str)
@pytest.mark.parametrize(("bug", "names", "neuron", "words"), BUGS, ids=[words for *_, words in BUGS])
def test_a_wrong_gradient_is_found_and_named(algorithm, bug, names, neuron, words):
    _, U, x = problem("leaky_relu(0.1)", loss="nll", widths=(3, 6, 4, 3), n=30)
    run = recorded(miscomputed(U, bug), algorithm, x, 100)
    report = nl.check(U, run.params, run.t, algorithm)
    assert not report.ok
    assert broken(report) == names
    assert report.findings == [words]
    assert words in str(report)
    if neuron is not None:
        row = report.laws["scaling:1"]
        assert np.flatnonzero((row.ratio > 1).any(axis=0)).tolist() == [neuron]
        assert f"layer 1, neuron {neuron}, t = " in row.where
        assert report.motion["b1"].entry == (neuron,)


@pytest.mark.parametrize("algorithm", [nl.GD(2e-3), nl.Leapfrog(1e-4), nl.NAGD(1e-4)], ids=str)
@pytest.mark.uncounted
def test_a_dropped_bias_is_found_between_records(algorithm):
    _, U, x = problem("leaky_relu(0.1)", loss="nll", widths=(3, 6, 4, 3), n=30)
    run = recorded(miscomputed(U, DROPPED_BIAS), algorithm, x, 2000, every=4)
    report = nl.check(U, run.params, run.t, algorithm.dynamics)
    assert broken(report) >= {"b1", "scaling:1"}
    assert broken(report) <= {"b1", "scaling:1", "time"}
    assert report.findings[0].startswith("b1 does not move: its gradient is missing")


def test_a_bug_in_few_steps_is_found():
    _, U, x = problem("tanh", loss="nll", widths=(3, 6, 4, 3), n=30)
    path, largest = [x], 0.9 * np.linalg.norm(U.gradient(x))
    for _ in range(100):
        gradient = U.gradient(path[-1])
        path.append(path[-1] - 0.1 * gradient * min(1.0, largest / np.linalg.norm(gradient)))  # clipped
    report = nl.check(U, np.array(path), 0.1 * np.arange(101), nl.GD(0.1))
    assert broken(report) == set(report.motion)
    assert 0 < (report.motion["W1"].ratio > 1).mean() < 0.1


def test_a_sample_on_a_kink_is_not_a_bug():
    # One neuron, one sample with z = 0 at the start: PyTorch and we take relu'(0) = 0, another may take 1.
    net = nl.Network([1, 1, 1], "relu", loss="mse")
    U = net.potential(np.array([[1.0]]), np.array([[2.0]]))
    start = net.pack({"W1": [[0.5]], "b1": [-0.5], "W2": [[1.0]], "b2": [0.1]})
    other = net.pack({"W1": [[-1.9]], "b1": [-1.9], "W2": [[0.0]], "b2": [-1.9]})  # ∇U on the other side
    path = [start, start - 0.1 * other]
    for _ in range(30):
        path.append(path[-1] - 0.1 * U.gradient(path[-1]))
    assert nl.check(U, np.array(path), 0.1 * np.arange(32), nl.GD(0.1)).ok
    path[1] = start - 0.1 * 1.5 * other
    for k in range(2, 32):
        path[k] = path[k - 1] - 0.1 * U.gradient(path[k - 1])
    assert not nl.check(U, np.array(path), 0.1 * np.arange(32), nl.GD(0.1)).ok


@pytest.mark.parametrize("algorithm", [nl.GD(1e-3), nl.Leapfrog(1e-5), nl.NAGD(1e-5)], ids=str)
def test_a_missing_1_over_n_breaks_no_symmetry_but_the_motion_and_time(algorithm):
    _, U, x = problem("leaky_relu(0.1)", loss="nll", widths=(3, 6, 4, 3), n=30)

    def total(parts):
        for a in parts.values():
            a *= 30

    run = recorded(miscomputed(U, total), algorithm, x, 100)
    report = nl.check(U, run.params, run.t, algorithm)
    assert broken(report) == set(report.motion)
    (finding,) = report.findings
    assert finding.startswith("every block moves 30 times as far as U asks (there are 30 samples)")
    rough = nl.check(U, run.params, run.t, algorithm.dynamics)
    assert {"time", "W3", "b3"} <= broken(rough) <= {"time", *rough.motion}
    assert "times as far as U asks" in rough.findings[0]


def test_a_wrong_time_axis_shows_in_the_law_of_time():
    _, U, x = problem("tanh", loss="mse")
    run = recorded(U, nl.GD(0.01), x)
    assert "time" in broken(nl.check(U, run.params, 2 * run.t, nl.GF, laws=["time"]))
    assert nl.check(U, run.params, 2 * run.t, nl.GD(0.02)).motion["W1"].factor == pytest.approx(0.5, rel=1e-9)


def test_the_wrong_dynamics_is_not_taken_for_the_right_one():
    _, U, x = problem("tanh", loss="mse")
    run = recorded(U, nl.NAGD(4e-4), x, 400)
    assert not broken(nl.check(U, run.params, run.t, nl.NAGF))
    assert broken(nl.check(U, run.params, run.t, nl.ND))
    assert broken(nl.check(U, run.params, run.t, nl.GF))


# --- what cannot be decided --------------------------------------------------------------------------------------------


def test_at_rest_nothing_is_decided():
    U = nl.potentials.Harmonic(np.diag([1.0, 2.0]))
    report = nl.check(U, np.zeros((5, 2)), np.arange(5.0), nl.GF)
    assert set(verdicts(report).values()) == {"not decidable"}
    assert not report.ok


def test_records_too_far_apart_are_not_called_broken():
    _, U, x = problem("linear", loss="mse", n=20)
    run = recorded(U, nl.GD(0.05), x, 400, every=100)
    report = nl.check(U, run.params, run.t, nl.GF)
    assert not report.ok
    assert not broken(report)


def test_single_precision_is_judged_as_such():
    _, U, x = problem("tanh", loss="nll", widths=(3, 5, 3))
    run = recorded(U, nl.GD(0.1), x, dtype="float32")
    assert run.params.dtype == np.float32
    for params in (run.params, run.params.astype(np.float64)):
        assert nl.check(U, params, run.t, nl.GD(0.1)).ok
    # the same differences would be wrong in double precision
    moved = run.params.astype(np.float64) + 1e-14
    assert broken(nl.check(U, moved, run.t, nl.GD(0.1)))


def test_precision():
    assert precision(np.array([0.1], np.float32)) == precision(np.array([np.float32(0.1)], np.float64)) == 2.0**-23
    assert precision(np.array([0.1])) == precision(np.zeros(3)) == precision([1, 2]) == EPS


# --- the report --------------------------------------------------------------------------------------------------------


def test_table_and_rows():
    _, U, x = problem("relu", loss="nll", widths=(3, 6, 4, 3))
    run = recorded(U, nl.GD(0.1), x, 20)
    report = nl.check(U, run.params, run.t, nl.GD(0.1))
    lines = str(report).splitlines()
    assert lines[0] == "21 records of precision 2e-16, t = 0 to 2: every row one step of GD(lr=0.1)"
    assert [line.split()[0] for line in lines[2 : 2 + len(report.rows)]] == [row.name for row in report.rows]
    assert lines[2 + len(report.rows) :] == ["verdict: holds", *(f"· {limit}" for limit in report.limits)]
    assert repr(report) == "Report(ok)"
    assert repr(report.laws["scaling:2"]) == "CheckRow('scaling:2', holds)"
    row = report.laws["scaling:1"]
    assert row.residual.shape == row.tolerance.shape == row.scale.shape == (20, 6)
    assert row.first == ()
    wrong = nl.check(U, 2 * run.params, run.t, nl.GD(0.1))
    assert "broken" in repr(wrong)


def test_plot():
    _, U, x = problem("relu", loss="nll", widths=(3, 6, 4, 3))
    run = recorded(miscomputed(U, DROPPED_BIAS), nl.GD(0.1), x, 20)
    ax = nl.check(U, run.params, run.t, nl.GD(0.1)).plot()
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == ["scaling:1", "scaling:2", "translation:b", "translation:W", "motion of b1", "tolerance"]
    assert np.nanmax(ax.get_lines()[0].get_ydata()) > 1
    assert np.nanmax(ax.get_lines()[1].get_ydata()) < 1
    assert ax.get_yscale() == "log"
    assert nl.check(U, run.params, run.t, nl.GD(0.1), minibatches=True).plot(ax) is ax


# --- bad input -----------------------------------------------------------------------------------------------------------

U = nl.potentials.Harmonic(np.diag([1.0, 2.0]))
X = np.array([[1.0, 1.0], [0.9, 0.8], [0.81, 0.64], [0.729, 0.512]])
T = 0.1 * np.arange(4)
HOLE = np.where(np.arange(8).reshape(4, 2) == 5, np.nan, X)


test_bad_input = refusals(
    [
        (lambda: nl.check(None, X, T), TypeError, "U must be a potential"),
        (lambda: nl.check(U, X, T, "GF"), TypeError, "dynamics must be"),
        (lambda: nl.check(U, X, None), TypeError, "t must hold real numbers"),
        (lambda: nl.check(U, X, T[:-1]), ValueError, "t must have one time for each of the 4 rows of params, got 3"),
        (lambda: nl.check(U, X, T[[0, 2, 1, 3]]), ValueError, r"t must increase, got t\[1\]"),
        (lambda: nl.check(U, X, T[[0, 1, 1, 3]]), ValueError, r"t must increase, got t\[1\]"),
        (lambda: nl.check(U, X, T - 1), ValueError, "t must be non-negative"),
        (lambda: nl.check(U, X, [0, 1, np.nan, 3]), ValueError, r"t must be finite, got nan at index \(2,\)"),
        (lambda: nl.check(U, X[:, :1], T), ValueError, r"params must have shape \(R, 2\).*got \(4, 1\)"),
        (lambda: nl.check(U, X[0], T), ValueError, "params must be 2-dimensional"),
        (lambda: nl.check(U, [[0.0, 1.0], [0.0]], T[:2]), TypeError, "params must be an array of real numbers: .*inhomogeneous"),
        (lambda: nl.testing.assert_gradient(U, {"x": [0.0, 1.0]}, X[0]), TypeError, "gradient must hold real numbers, got {'x'"),
        (lambda: nl.check(U, HOLE, T), ValueError, r"params must be finite, got nan at index \(2, 1\)"),
        (lambda: nl.check(U, X[:1], T[:1]), ValueError, "params must have at least two rows"),
        (lambda: nl.check(U, X[:2], T[:2], nl.ND), ValueError, "params must have at least three rows"),
        (lambda: nl.check(U, X[:2], T[:2], nl.Leapfrog(0.01)), ValueError, "params has 2 rows, too few"),
        (lambda: nl.check(U, X, T, nl.GD(0.2)), ValueError, r"t must advance by 0.2 a row.*t\[1\] - t\[0\] = 0.1"),
        (lambda: nl.check(U, X, T, velocity=X), ValueError, "velocity is not accepted with mass = 0"),
        (lambda: nl.check(U, X, T, nl.ND, velocity=X[1:]), ValueError, r"velocity must have shape \(4, 2\), got \(3, 2\)"),
        (lambda: nl.check(U, X, T, nl.ND, velocity=HOLE), ValueError, "velocity must be finite"),
        (lambda: nl.check(U, X, T, nl.NAGF, velocity=X), ValueError, r"velocity must be zero at t\[0\] = 0"),
        (lambda: nl.check(U, X, T, nl.GD(0.1), velocity=X), ValueError, "velocity is not used with GD"),
        (lambda: nl.check(U, X, T, minibatches=True), ValueError, "minibatches=True needs an Algorithm"),
        (lambda: nl.check(U, X, T, nl.GD(0.1), laws="time"), ValueError, "laws: energy has no exact law"),
        (lambda: nl.check(U, X, T, laws="scaling:1"), ValueError, "laws='scaling:1' is not known"),
    ]
)  # fmt: skip


def test_an_algorithm_without_a_rule_that_can_be_checked_cannot_be_written():
    class Other(nl.GD):
        pass

    assert nl.check(U, X, T, Other(0.1)).laws == {}
    with pytest.raises(TypeError, match=r"Unknown lacks what every algorithm has: .*implied_gradients, .*walk"):

        class Unknown(nl.Algorithm):
            @property
            def dynamics(self):
                return nl.ND


def test_a_gradient_that_is_not_finite_is_reported():
    wall = nl.potentials.Callable(lambda x: (float(x @ x), 2 * x if x[0] < 0.85 else np.full(2, np.nan)), 2)
    with pytest.raises(ValueError, match="params: ∇U is not finite at row 0"):
        nl.check(wall, X, T)
