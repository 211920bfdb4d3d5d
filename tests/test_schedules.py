"""Learning rates that change from step to step: as an array, as a function, resumed, beside PyTorch's, with their exact laws."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from problems import BACKENDS, EPS, configuration, problem, refusals, verdicts
from symplectic_euler import SymplecticEuler
from torch_steps import torch_steps

import noetherlite as nl
from noetherlite._check.clock import first_step
from noetherlite._cli.config import Config
from noetherlite._cli.toml_file import ConfigError
from noetherlite._motion.recorded import gains

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 60
WARM_UP = [0.05 * min(k / 10, 1.0) * (1 + math.cos(math.pi * k / STEPS)) / 2 for k in range(STEPS)]  # 0 at first
ZERO_IN_THE_MIDDLE = [0.1, 0.0, 0.1, 0.1]
SCHEDULED = [
    nl.GD(WARM_UP, weight_decay=0.1),
    nl.HeavyBall(WARM_UP, 0.9, 0.5, first_step_damped=False, weight_decay=0.1),
    nl.Nesterov(WARM_UP, 0.8),
    nl.Adam(WARM_UP, weight_decay=0.1),
    nl.RMSProp(WARM_UP),
    nl.AdaGrad(WARM_UP, 0.1),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", SCHEDULED, ids=lambda a: type(a).__name__)
def test_steps_are_pytorchs_and_the_laws_hold(algorithm, backend):
    x = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, STEPS, lr=WARM_UP)[0][-1]
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert verdicts(run) == {"holds"}
    factor = 0.5 if isinstance(algorithm, nl.HeavyBall) else 1.0
    np.testing.assert_allclose(run.t, factor * np.concatenate([[0.0], np.cumsum(WARM_UP)]), rtol=8 * EPS)


def by_hand(algorithm, rates, t0):
    """Kick, drift and kick with friction between, or Nesterov's steps, each of its own h = √s."""
    x, v, t, decay = X0, np.zeros_like(X0), t0, algorithm.weight_decay
    m, gamma, alpha = algorithm.dynamics.mass, algorithm.dynamics.gamma, algorithm.dynamics.alpha

    def force(x):
        return U.gradient(x) + decay * x

    def slowed(start, end):
        return math.exp(-gamma / m * (end - start)) * (start / end) ** (alpha / m)

    for h in np.sqrt(rates):
        if isinstance(algorithm, nl.NAGD):
            beta = (t - h) / (t + (alpha - 1) * h) if h else 1.0
            v = beta * v - h * force(x + beta * h * v)
            x = x + h * v
        elif h:
            v = slowed(t, t + h / 2) * v - h / (2 * m) * force(x) if t else v - h / (2 * m) * force(x)
            x = x + h * v
            v = slowed(t + h / 2, t + h) * (v - h / (2 * m) * force(x))
        t += h
    return x, v


SECOND_ORDER = [
    nl.Leapfrog(WARM_UP, weight_decay=0.1),
    nl.ConformalLeapfrog(WARM_UP, mass=2.0, gamma=0.3, alpha=1.5, weight_decay=0.1),
    nl.NAGD(WARM_UP, weight_decay=0.1),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", SECOND_ORDER, ids=lambda a: type(a).__name__)
def test_second_order_steps_have_a_time_step_each(algorithm, backend):
    t0 = 0.5 if algorithm.singular_start else 0.0
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend, t0=t0)
    x, v = by_hand(algorithm, WARM_UP, t0)
    assert np.abs(run.x - x).max() <= 64 * STEPS * EPS * np.abs(x).max()
    assert np.abs(run.v - v).max() <= 64 * STEPS * EPS * max(np.abs(v).max(), np.abs(x).max())
    assert verdicts(run) == {"holds"}
    np.testing.assert_allclose(run.t, t0 + np.concatenate([[0.0], np.cumsum(np.sqrt(WARM_UP))]), rtol=8 * EPS)


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (lambda rates: nl.Leapfrog(rates), 2),
        (lambda rates: nl.ConformalLeapfrog(rates, gamma=0.3, alpha=3.0), 2),
        (lambda rates: nl.NAGD(rates), 1),
    ],
)
def test_the_order_is_kept_with_steps_that_differ(make, order):
    """h of a smooth function of time: the end and the continuous law approach the flow's, once or twice as fast."""
    ends, laws = [], []
    for n in (40, 80, 160):
        h = 2 / n * (1 + 0.5 * np.sin(2 * np.pi * (np.arange(n) + 0.5) / n))
        run = nl.integrate(U, make(h**2), X0, n, backend="reference", t0=1.0)
        ends.append(run.x)
        laws.append(np.abs(run.laws["scaling:1"].residual[-1]).max())
    ratio = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1] - ends[2])
    assert 0.8 * 2**order < ratio < 1.25 * 2**order
    assert 0.8 * 2**order < laws[1] / laws[2] < 1.25 * 2**order


@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall, nl.Nesterov, nl.Adam, nl.Leapfrog])
def test_a_constant_schedule_is_the_number(kind):
    runs = [nl.integrate(U, kind(lr), X0, 20, backend="reference") for lr in (0.01, [0.01] * 20, lambda k: 0.01)]
    for run in runs[1:]:
        assert np.array_equal(run.x, runs[0].x)
        for name, law in run.laws.items() if kind is not nl.Leapfrog else ():
            assert np.array_equal(law.discrete_residual, runs[0].laws[name].discrete_residual)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("kind", "lr"), [(nl.GD, 0.02), (nl.Leapfrog, 1e-3), (nl.ConformalLeapfrog, 1e-3), (nl.NAGD, 1e-3)]
)
def test_the_law_holds_over_ten_thousand_steps_and_the_last_rate_counts(kind, lr):
    rates, options = lr * (1 + np.sin(np.arange(10_000.0))), {"record_every": 1000, "batch_size": 4, "rng": 0}
    run = nl.integrate(U, kind(rates), X0, 10_000, **options)
    assert verdicts(run) == {"holds"}
    assert np.isfinite(run.laws["scaling:1"].tolerance).any()
    other = nl.integrate(U, kind([*rates[:-1], 0.0]), X0, 10_000, **options)
    assert not np.array_equal(other.x, run.x)  # negative control: every rate is used
    assert np.array_equal(other.loss[:-1], run.loss[:-1])


@pytest.mark.needs_jit
def test_a_step_at_a_rate_of_zero_moves_nothing():
    run = nl.integrate(U, nl.GD(ZERO_IN_THE_MIDDLE), X0, 4, record_params=True)
    assert nl.check(U, run.params, dynamics=nl.GD(ZERO_IN_THE_MIDDLE)).ok
    moved = nl.integrate(U, nl.GD(0.1), run.params[2] + 1e-3, 2, record_params=True).params
    report = nl.check(U, np.r_[run.params[:2], moved], dynamics=nl.GD(ZERO_IN_THE_MIDDLE))
    assert report.verdict == "broken"
    assert "at 1 of 4 steps (from row 1)" in report.findings[0]
    paused = nl.GD([0.1, 0.1, 0.0, 0.0])
    rows = nl.integrate(U, paused, X0, 4, record_every=2, record_params=True).params
    assert nl.check(U, rows, dynamics=paused, every=2).ok
    rows[2] += 1e-3
    assert nl.check(U, rows, dynamics=paused, every=2).motion["W1"].first == (1,)


def test_rows_of_a_schedule_are_judged_by_the_smaller_of_two_rates():
    """A gradient is a second difference of positions, of which each has been divided by the rate of its step."""
    of_step = gains(nl.HeavyBall([1.0, 0.01, 1.0]), np.arange(3))
    np.testing.assert_allclose(of_step, [nl.HeavyBall(lr).gain for lr in (1.0, 0.01, 0.01)])
    np.testing.assert_allclose(
        gains(nl.GD([1.0, 0.01, 1.0]), np.arange(3)), [nl.GD(lr).gain for lr in (1.0, 0.01, 1.0)]
    )


def test_times_in_single_precision_find_their_step():
    algorithm = nl.GD(np.linspace(0.1, 0.05, 1000))
    t = float(np.float32(algorithm.times(0.0, 777)))
    assert first_step(algorithm, t, float(np.finfo(np.float32).eps)) == 777
    with pytest.raises(ValueError, match="t must begin with a time of the schedule"):
        first_step(algorithm, t, EPS)


def test_members_of_an_ensemble_have_schedules_of_their_own():
    algorithms = [nl.GD(0.1), nl.GD(WARM_UP), nl.GD(np.array(WARM_UP) / 2)]
    members = nl.ensemble(U, algorithms, np.stack([X0] * 3), STEPS)
    for e, algorithm in enumerate(algorithms):
        alone = nl.integrate(U, algorithm, X0, STEPS)
        assert np.array_equal(members.x[e], alone.x)
        assert np.array_equal(members.t[e], alone.t)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("linear", {"end": 0.01}), ("cosine", {"end": 0.01}), ("step", {"every": 7}), ("constant", {})],
)
@pytest.mark.parametrize("warm_up", [0, 5])
def test_named_schedules_are_optaxs(kind, options, warm_up):
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    with jax.enable_x64(True):
        rest = {
            "linear": lambda: optax.linear_schedule(0.1, 0.01, STEPS - warm_up),
            "cosine": lambda: optax.cosine_decay_schedule(0.1, STEPS - warm_up, alpha=0.1),
            "step": lambda: optax.exponential_decay(0.1, 7, 0.1, staircase=True),
            "constant": lambda: optax.constant_schedule(0.1),
        }[kind]()
        peer = optax.join_schedules([optax.linear_schedule(0.0, 0.1, max(warm_up, 1)), rest], [warm_up])
        wanted = [float(peer(k)) for k in range(STEPS)]
    rates = nl.schedule(kind, 0.1, STEPS, warm_up=warm_up, **options)
    np.testing.assert_allclose(rates, wanted, rtol=0, atol=8 * EPS)


def test_a_configuration_has_schedules_and_blocks(tmp_path):
    path = tmp_path / "run.toml"

    def job(lr):
        text = f'name = "Leapfrog"\nlr = {lr}\nweight_decay = {{ W1 = 0.1 }}'
        path.write_text(configuration(text, 'steps = 20\nbackend = "reference"'), "utf-8")
        return Config(path).job()

    scheduled = job('{ schedule = "cosine", peak = 0.01, warm_up = 5 }').algorithm
    assert scheduled == nl.Leapfrog(nl.schedule("cosine", 0.01, 20, warm_up=5), weight_decay={"W1": 0.1})
    assert job("{ W1 = 0.1, rest = 0.01 }").algorithm.lr == nl.Leapfrog({"W1": 0.1, "rest": 0.01}).lr
    assert len(job('[0.1, { schedule = "linear", peak = 0.01 }]').algorithm) == 2
    for wrong, message in (
        ("{ W7 = 0.1, rest = 0.1 }", "lr's block='W7' is not known"),
        ("{ W1 = 0.1 }", r"lr lacks \['b1'"),
        ('{ schedule = "cosin", peak = 0.1 }', "lr: kind='cosin' is not known"),
        ('{ schedule = "cosine", peak = 0.1, warmup = 3 }', "lr: warmup = 3: unknown key"),
        ('{ schedule = "step", peak = 0.1 }', "lr: every must be given"),
    ):
        with pytest.raises(ConfigError, match=message):
            job(wrong)


test_what_is_no_schedule_is_refused = refusals(
    [
        (lambda: nl.integrate(U, nl.GD([0.1, 0.1, 0.1]), X0, 4), "lr has 3 rates, one for each step; expected 4 or more"),
        (lambda: SymplecticEuler([0.1, 0.1]), "lr must be a number for SymplecticEuler"),
        *((lambda wrong=wrong: nl.GD(wrong), "lr") for wrong in ([], [0.1, -0.1], [0.0, 0.0], [0.1, np.nan])),
        (lambda: nl.integrate(U, nl.GD(lambda k: 1 - k), X0, 4), r"lr\(2\)=-1"),
        (lambda: nl.check(U, [X0, X0, X0], dynamics=nl.GD([0.1])), "lr has 1 rates, one for each step; expected 2 or more"),
        (lambda: nl.drift(U, nl.GD([0.1, 0.1]), X0, 3), "lr has 2 rates, one for each step; expected 3 or more"),
    ]
)  # fmt: skip


def test_schedules_are_compared_copied_and_shown():
    changed = dataclasses.replace(nl.GD(WARM_UP), weight_decay=0.1)  # which keeps the schedule
    assert changed == nl.GD(WARM_UP, weight_decay=0.1) != nl.GD([*WARM_UP[:-1], 0.0], weight_decay=0.1)
    assert copy.deepcopy(changed) == pickle.loads(pickle.dumps(changed)) == changed
    assert changed != nl.GD(max(WARM_UP), weight_decay=0.1)
    assert "60 rates" in repr(nl.GD(WARM_UP))
    assert "function" in repr(nl.GD(lambda k: 0.1))
