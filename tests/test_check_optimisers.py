"""`check` of recordings of every optimiser, with PyTorch's steps and states: schedules, clipping, minibatches, what is recorded and what not."""

from dataclasses import replace

import numpy as np
import pytest
from algorithms import DECAYS, RATES, start
from problems import configuration, problem, refusals, streamed
from torch_steps import torch_steps

import noetherlite as nl
from noetherlite._cli.main import main

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200
WARM_UP = np.minimum(np.arange(STEPS) / 20, 1) * np.linspace(1, 0.1, STEPS)  # the first rate is zero
BATCHES = [np.random.default_rng(k).permutation(12)[:5] for k in range(STEPS)]


def recorded(a, steps=STEPS, dtype="float64", batches=None, gradient=None):
    """PyTorch's rows and states: those of row k are from before step k."""
    of_step = (lambda x, k: U.part(batches[k]).gradient(x)) if batches is not None else lambda x, k: U.gradient(x)
    rows, states = torch_steps(a, gradient or of_step, X0, steps, dtype=dtype)
    squares = {nl.RMSProp: "square_avg", nl.AdaGrad: "sum"}.get(type(a), "exp_avg_sq")
    states["exp_avg_sq"] = states[squares]
    return rows, {name: states[name] for name in a.states if a.momentum or not name.startswith("momentum")}


def trained(a, steps, x0=X0, **options):
    """The library's run, with its rows."""
    return nl.integrate(U, a, x0, steps, record_params=True, backend="reference", laws=None, **options)


CASES = [
    nl.Adam(0.003),
    nl.Adam(0.003 * WARM_UP, (0.8, 0.99), 1e-6, weight_decay=0.1, clip=0.2, decoupled=False),
    nl.Adam(0.003, weight_decay=0.1),
    nl.RMSProp(0.003 * WARM_UP, weight_decay=0.1),
    nl.AdaGrad(0.05, 0.1, weight_decay=0.1, clip=0.2),
    nl.Nesterov(0.05 * WARM_UP, 0.9, weight_decay=0.1, clip=0.2),
    nl.HeavyBall(0.05 * WARM_UP, 0.9, 0.5, first_step_damped=False, weight_decay=0.1, clip=0.2),
    nl.HeavyBall(0.05 * WARM_UP, 0.0, weight_decay=0.1, clip=0.2),
]


@pytest.mark.parametrize(("dtype", "batches"), [("float64", None), ("float32", BATCHES)], ids=["all", "minibatches"])
@pytest.mark.parametrize("algorithm", CASES, ids=str)
def test_pytorchs_steps_are_recognised(algorithm, batches, dtype):
    rows, states = recorded(algorithm, STEPS if dtype == "float64" else STEPS // 4, dtype, batches)
    report = nl.check(U, rows, dynamics=algorithm, batches=batches, **states)
    assert report.ok, str(report)
    assert {"scaling:1", "W1"} <= {row.name for row in report.rows}
    assert ("step of W1" in report.motion) == bool(states)
    finest = max(row.tally.finest[1] / row.tally.finest[0] for row in report.motion.values())
    assert finest > (1e7 if dtype == "float64" else 100)
    # without the samples: the laws, from what the averages imply, and the steps
    if batches is not None:
        report = nl.check(U, rows, dynamics=algorithm, minibatches=True, **states)
        assert report.ok
        assert "W1" not in report.motion
        assert ("step of W1" in report.motion) == bool(states)


WRONG = [
    (nl.Adam(0.003), {"lr": 0.003003}, "every step is 0.999 times as long as the algorithm's"),
    (nl.Adam(0.003), {"betas": (0.91, 0.999)}, ""),
    (nl.Adam(0.003), {"betas": (0.9, 0.998)}, "step of W1: not the algorithm's"),
    (nl.Adam(0.003), {"eps": 1e-4}, "step of W1: not the algorithm's"),
    (nl.Adam(0.003, weight_decay=0.1, decoupled=False), {"weight_decay": 0.0}, "a weight decay of 0.1 that is not declared"),
    (nl.Adam(0.003, weight_decay=0.1, decoupled=False), {"decoupled": True}, "a weight decay of 0.1 that is not declared"),
    (nl.Adam(0.003, weight_decay=0.1), {"decoupled": False}, "no weight decay, where 0.1 is declared"),
    (nl.RMSProp(0.003), {"lr": 0.006}, "every block moves 0.5 times as far as U asks"),
    (nl.RMSProp(0.003), {"smoothing": 0.98}, "step of W1: not the algorithm's"),
    (nl.AdaGrad(0.05, 0.1), {"eps": 1e-3}, ""),
    (nl.Nesterov(0.05), {"lr": 0.1}, "every step is 0.5 times as long"),
    (nl.HeavyBall(0.05), {"momentum": 0.8}, ""),
    (nl.GD(0.05, clip=0.2), {"clip": None}, "gradients longer than 0.2 are clipped to that length"),
    (nl.GD(0.05), {"clip": 0.2}, "every block moves"),
    (nl.GD(0.05 * (1 + WARM_UP)), {"lr": 0.05}, "a schedule of the learning rate"),
    (nl.GD(0.05 * (1 + WARM_UP)), {"lr": 0.05 * (1 + WARM_UP[::-1])}, "every block moves"),
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "settings", "words"), WRONG, ids=lambda value: str(value))
def test_another_setting_is_broken_and_named(algorithm, settings, words):
    ball = nl.HeavyBall(algorithm.lr, 0.0, clip=algorithm.clip) if isinstance(algorithm, nl.GD) else algorithm
    rows, states = recorded(ball, steps=30)
    states = states if ball is algorithm else {}
    assert nl.check(U, rows, dynamics=algorithm, **states).ok
    report = nl.check(U, rows, dynamics=replace(algorithm, **settings), **states)
    assert report.verdict == "broken"
    assert words in "; ".join(report.findings), report.findings


@pytest.mark.parametrize(
    "algorithm", [nl.Adam(0.003), nl.RMSProp(0.003), nl.Nesterov(0.05), nl.HeavyBall(0.05)], ids=str
)
def test_a_wrong_gradient_is_found_in_the_averages(algorithm):
    def spoilt(x, k):
        gradient = U.gradient(x)
        NET.unpack(gradient)["W1"][2] *= 1 + 1e-4
        return gradient

    rows, states = recorded(algorithm, steps=40, gradient=spoilt)
    report = nl.check(U, rows, dynamics=algorithm, **states)
    assert report.laws["scaling:1"].verdict == "broken"
    assert report.laws["scaling:1"].tally.beyond.tolist() == [False, False, True, False]
    assert report.motion["W1"].neurons == (2,)
    assert (
        report.motion["W2"].verdict == report.motion["step of W1"].verdict == "holds"
    )  # the optimiser is not to blame


@pytest.mark.parametrize("algorithm", [nl.Adam(0.003), nl.HeavyBall(0.05), nl.Nesterov(0.05)], ids=str)
def test_what_goes_wrong_once_is_told_as_such(algorithm):
    """One longer step, one block left out of one, and averages of another β: not every step is wrong, and no other optimiser took them."""
    rows, states = recorded(algorithm, steps=30)
    name = next(iter(states))
    rest = replace(algorithm, lr=algorithm.lr * np.where(np.arange(30) == 20, 1.001, 1.0))
    (finding,) = nl.check(U, rows, dynamics=rest, **states).findings
    assert finding.startswith(
        "the steps of every block are 0.999 times as long as the algorithm's, at 1 of 30 steps (from row 20)"
    )
    b1 = next(block.part for block in NET.blocks if block.name == "b1")
    for values in (rows, *states.values()):
        values[21:, b1] = values[20, b1]
    words = nl.check(U, rows[:22], dynamics=algorithm, **{n: s[:22] for n, s in states.items()}).findings
    assert words == ["b1 does not move: left out of the step (1 of 21 steps, from row 20)"]
    rows, states = recorded(
        replace(algorithm, **({"betas": (0.9 - 1e-4, 0.999)} if name == "exp_avg" else {"momentum": 0.9 - 1e-4})),
        steps=30,
    )
    assert "optimiser" not in "; ".join(nl.check(U, rows, dynamics=algorithm, **states).findings)


def test_what_an_optimiser_starts_with_is_checked_or_said_not_to_be():
    rows, states = recorded(nl.AdaGrad(0.05, 0.5), steps=10)
    assert not any(
        "starts with" in limit for limit in nl.check(U, rows, dynamics=nl.AdaGrad(0.05, 0.5), **states).limits
    )
    report = nl.check(U, rows, dynamics=nl.AdaGrad(0.05, 0.3), **states)
    assert "row 0 has other averages than AdaGrad" in report.limits[0]
    with pytest.raises(ValueError, match=r"exp_avg_sq must be at least 0\.7, as AdaGrad.* adds up squares, got 0\.5"):
        nl.check(U, rows, dynamics=nl.AdaGrad(0.05, 0.7), **states)
    with pytest.raises(ValueError, match=r"exp_avg_sq must be at least 0, .* got -1"):
        nl.check(U, rows, dynamics=nl.Adam(0.05), exp_avg=0 * rows, exp_avg_sq=0 * rows - 1)


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", [nl.Adam(0.1), nl.Muon(0.1)], ids=str)
def test_parameters_that_pass_zero_are_given_the_round_off_of_the_step(algorithm):
    """β^k of the kernels and of NumPy differ by round-off, which 1 − β^k amplifies; a parameter near zero does not hide it."""
    for seed in range(10):
        net = nl.Network([1, 1, 1], "swish", bias=False, loss="mse")
        potential = net.potential(np.random.default_rng(seed).normal(size=(1, 1)), [[1.0]])
        run = nl.integrate(potential, algorithm, net.init(rng=seed), 40, record_params=True)
        report = nl.check(potential, run.params, run.t, algorithm)
        assert {row.verdict for row in report.rows if row.name.startswith("step of")} == {"holds"}, str(report)
        assert nl.check(potential, run.params, dynamics=replace(algorithm, lr=0.1 * (1 + 1e-9))).verdict == "broken"


RUNS = [
    (nl.Lion(0.001, weight_decay=0.1), "exp_avg"),
    (nl.SignGD(0.001, 0.9, weight_decay=0.1), "exp_avg"),
    (nl.SignGD(0.001), ""),
    (nl.Adam(0.003), "exp_avg"),
    (nl.RMSProp(0.003), "exp_avg_sq"),
    (nl.AdaGrad(0.05), "exp_avg_sq"),
]


@pytest.mark.parametrize(("algorithm", "name"), RUNS, ids=str)
def test_positions_alone_are_not_decidable_but_their_steps_are(algorithm, name):
    """Signs included: what is not decidable is the gradient, of which they are all that can be recovered."""
    run = trained(algorithm, 25)
    report = nl.check(U, run.params, run.t, algorithm)
    assert report.verdict == "not decidable"
    assert {row.verdict for row in report.laws.values()} == {"not decidable"}
    assert report.motion["W1"].verdict == "not decidable"
    assert report.motion["step of W1"].verdict == "holds"
    said = f"do not tell the gradients of {algorithm}" + (f": {name}= takes" if name else ", but their signs at most")
    assert said in report.limits[0]
    other = replace(algorithm, lr=1.001 * algorithm.lr)
    assert nl.check(U, run.params, dynamics=other).verdict == "broken"
    # unknown samples: nothing says what the steps should be
    blind = nl.check(U, run.params, run.t, algorithm, minibatches=True)
    assert {row.verdict for row in blind.rows} == {"not decidable"}


@pytest.mark.parametrize(
    ("algorithm", "beta"), [(nl.Lion(0.001, weight_decay=0.1), 0.99), (nl.SignGD(0.001, 0.9), 0.9)]
)
@pytest.mark.uncounted
def test_averages_of_signs_imply_gradients(algorithm, beta):
    """The peer: the rules in NumPy. PyTorch has neither."""
    x, m, rows, averages = X0.copy(), np.zeros_like(X0), [X0], [np.zeros_like(X0)]
    for k in range(STEPS):
        g = U.part(BATCHES[k]).gradient(x)
        mixed = 0.9 * m + 0.1 * g if isinstance(algorithm, nl.Lion) else beta * m + (1 - beta) * g
        m, x = beta * m + (1 - beta) * g, x - 0.001 * (np.sign(mixed) + algorithm.weight_decay * x)
        rows, averages = [*rows, x], [*averages, m]
    rows, averages = np.array(rows), np.array(averages)
    assert nl.check(U, rows, dynamics=algorithm, batches=BATCHES, exp_avg=averages).ok
    assert nl.check(U, rows, dynamics=algorithm, minibatches=True, exp_avg=averages).ok
    report = nl.check(U, rows, dynamics=algorithm, batches=BATCHES[::-1], exp_avg=averages)
    assert report.motion["W1"].verdict == "broken"
    assert report.motion["step of W1"].verdict == "holds"


POSITIVE = np.abs(X0) + 0.01


@pytest.mark.parametrize(
    ("algorithm", "x0"),
    [
        (nl.SteepestDescent(0.02, p=1.5, weight_decay=0.1), X0),
        (nl.SteepestDescent(0.02 * WARM_UP, p=3.0, clip=0.2), X0),
        (nl.ExponentiatedGradient(0.02 * WARM_UP, weight_decay=0.1), POSITIVE),
        (nl.ExponentiatedGradient(0.02, 0.8), POSITIVE),
    ],
    ids=str,
)
def test_positions_tell_the_gradients_of_other_flows(algorithm, x0):
    run = trained(algorithm, 60, x0)
    assert nl.check(U, run.params, run.t, algorithm).ok
    other = replace(algorithm, lr=1.001 * np.array(algorithm.rates or algorithm.lr))
    assert nl.check(U, run.params, dynamics=other).verdict == "broken"
    if isinstance(algorithm, nl.ExponentiatedGradient):
        run = trained(algorithm, 60, x0 * (x0 > 0.2))
        report = nl.check(U, run.params, run.t, algorithm)  # a coordinate that is zero says nothing
        assert report.laws["scaling:1"].verdict == "not decidable"
        assert report.motion["step of W1"].verdict == "holds"


SLOWER = np.linspace(0.01, 0.002, 40)
OTHERS = [
    (nl.GD(RATES, weight_decay=DECAYS), {"lr": {**RATES, "b1": 0.00501}}),
    (
        nl.HeavyBall(RATES, 0.9, 0.5, first_step_damped=False, weight_decay=DECAYS, clip=0.2),
        {"weight_decay": {"W1": 0.1}},
    ),
    (nl.Nesterov(RATES, 0.8, weight_decay=DECAYS), {"lr": {**RATES, "W1": 0.01}}),
    (nl.Adam(RATES, weight_decay=DECAYS, decoupled=False), {"weight_decay": {"W1": 0.101, "b2": 0.3}}),
    (nl.Adam(RATES, weight_decay=DECAYS), {"weight_decay": {"W1": 0.11, "b2": 0.3}}),
    (nl.Leapfrog(RATES), {"lr": 0.01}),
    (nl.SAM(nl.GD(0.05, weight_decay=0.1), 0.1), {"sam": 0.1001}),
    (nl.SAM(nl.HeavyBall(0.05, clip=0.2), 0.1), {"sam": 0.0}),
    (nl.SAM(nl.Adam(0.003), 0.1), {"sam": 0.2}),
    (nl.Leapfrog(0.01 * WARM_UP[:40]), {"lr": SLOWER}),
    (nl.NAGD(0.01 * WARM_UP[:40], weight_decay=0.1), {"alpha": 3.1}),
    (nl.ConformalLeapfrog(SLOWER, mass=2.0, gamma=0.5), {"gamma": 0.51}),
    (nl.ConformalLeapfrog(SLOWER, alpha=3.0), {"lr": SLOWER[::-1]}),
]


@pytest.mark.parametrize(("algorithm", "settings"), OTHERS, ids=str)
def test_rates_by_block_sharpness_awareness_and_schedules_of_second_order(algorithm, settings):
    run = trained(algorithm, 20, **start(algorithm))
    states = {}
    if isinstance(algorithm, nl.Adam):
        states["exp_avg"] = np.array([-trained(algorithm, k).v for k in range(21)])
    report = nl.check(U, run.params, run.t, algorithm, **states)
    assert report.ok, str(report)
    t = run.t if algorithm.singular_start else None
    other = replace(algorithm, **settings)
    if "lr" in settings:
        t = other.times(start(algorithm).get("t0", 0.0), np.arange(21))
    assert nl.check(U, run.params, t, other, **states).verdict == "broken"
    if algorithm.starts_anywhere:
        assert nl.check(U, run.params[::5], run.t[::5], algorithm, every=5).ok
        t = t if t is None else t[::5]
        assert nl.check(U, run.params[::5], t, other, every=5).verdict == "broken"
    if algorithm.sam:
        with pytest.raises(ValueError, match="batches must be given"):
            nl.check(U, run.params, dynamics=algorithm, minibatches=True)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_buffer_tells_an_undamped_first_step_from_a_velocity(decay):
    """The rate of that step is 0, so that rows 0 and 1 are equal."""
    ball = nl.HeavyBall(np.minimum(np.arange(12), 4) * 0.01, 0.9, 0.5, first_step_damped=False, weight_decay=decay)
    recorded, states = torch_steps(ball, lambda x, k: U.gradient(x), X0, 12)
    buffers = {"momentum_buffer": states["momentum_buffer"]}
    assert nl.check(U, recorded, dynamics=ball, **buffers).verdict == "holds"
    declared = replace(ball, first_step_damped=True)
    (finding,) = nl.check(U, recorded, dynamics=declared, **buffers).findings
    assert finding.startswith("the first step is 2 times as long as the others: PyTorch leaves")
    # a wrong gradient at a rate of 0 is in the buffer only, and no row is repeated
    recorded, states = torch_steps(ball, lambda x, k: (3 if k == 0 else 1) * U.gradient(x), X0, 12)
    report = nl.check(U, recorded, dynamics=ball, momentum_buffer=states["momentum_buffer"])
    assert report.verdict == "broken"
    assert "repeat" not in report.findings[0]


@pytest.mark.parametrize("base", [nl.GD(0.05), nl.Adam(0.003, weight_decay=0.1)], ids=str)
def test_an_ascent_may_be_divided_by_a_little_more_than_the_gradient(base):
    """The peer: PyTorch's optimisers behind an ascent by ρ∇U/(|∇U| + 10⁻¹²), as programs have it."""

    def uphill(x, k):
        gradient = U.gradient(x)
        return U.gradient(x + 0.1 / (np.linalg.norm(gradient) + 1e-12) * gradient)

    rows, states = torch_steps(base, uphill, X0, 20)
    states = {"exp_avg": states["exp_avg"]} if isinstance(base, nl.Adam) else {}
    assert nl.check(U, rows, dynamics=nl.SAM(base, 0.1), **states).ok
    assert nl.check(U, rows, dynamics=nl.SAM(base, 0.1 + 1e-9), **states).verdict == "broken"
    if isinstance(base, nl.GD):
        assert nl.check(U, rows[::4], dynamics=nl.SAM(base, 0.1), every=4).ok
        assert nl.check(U, rows[::4], dynamics=nl.SAM(base, 0.1 + 1e-9), every=4).verdict == "broken"


def test_a_frozen_block_must_not_move_between_rows_either():
    algorithm = nl.HeavyBall({"W1": 0.0, "rest": 0.02})
    rows = trained(algorithm, 20, record_every=4).params
    assert nl.check(U, rows, dynamics=algorithm, every=4).motion["W2"].verdict == "holds"
    rows[3:, :2] += 1e-9
    assert nl.check(U, rows, dynamics=algorithm, every=4).motion["W1"].verdict == "broken"


def test_accumulated_gradients_are_those_of_all_their_samples():
    """The peer: the mean of the gradients of two minibatches is that of the six samples in both."""
    x, rows, batches = X0.copy(), [X0], []
    for k in range(40):
        batches.append(np.random.default_rng(k).permutation(12)[:6])
        x = x - 0.05 * 0.5 * (U.part(batches[k][:3]).gradient(x) + U.part(batches[k][3:]).gradient(x))
        rows.append(x)
    algorithm = nl.GD(0.05, grad_accumulation=2)
    assert nl.check(U, rows[::4], dynamics=algorithm, batches=batches, every=4).ok
    assert nl.check(U, rows, dynamics=algorithm, batches=batches).ok
    assert nl.check(U, rows, dynamics=algorithm, batches=[batch[:3] for batch in batches]).verdict == "broken"


@pytest.mark.parametrize(
    "algorithm",
    [nl.RK4(0.05, weight_decay=0.1, clip=0.2), nl.Yoshida(0.01), nl.Yoshida(0.01, order=6, weight_decay=0.1)],
    ids=str,
)
def test_a_monitor_takes_steps_of_several_gradients_again(algorithm):
    run = trained(algorithm, 40)
    other = nl.check(U, run.params, dynamics=replace(algorithm, lr=1.001 * algorithm.lr))
    assert other.verdict == "broken"
    assert "bfloat16" not in str(other.findings)  # an error of a tenth of a percent is no rounding
    assert streamed(U, algorithm, run.params).ok
    with pytest.raises(ValueError, match="minibatches must be False"):
        nl.Monitor(U, algorithm, minibatches=True)
    if isinstance(algorithm, nl.Yoshida):
        moving = trained(algorithm, 40, velocity=X0)
        assert nl.check(U, moving.params, dynamics=algorithm, velocity=X0).ok
        assert nl.check(U, moving.params, dynamics=algorithm, velocity=1.001 * X0).verdict == "broken"


def test_noise_is_not_taken_for_a_gradient():
    run = trained(nl.SGLD(0.01, 0.1), 20, rng=0)
    report = nl.check(U, run.params, run.t, nl.SGLD(0.01, 0.1))
    assert report.verdict == "not decidable"
    assert "verdicts are by chance" in report.limits[0]


def test_a_recording_that_begins_later():
    algorithm = nl.Adam(0.003 * WARM_UP)
    rows, states = recorded(algorithm, steps=60)
    t = algorithm.times(0.0, np.arange(61))
    late = {name: values[30:] for name, values in states.items()}
    assert nl.check(U, rows[30:], t[30:], algorithm, **late).ok
    assert nl.check(U, rows[30:], t[25:56], algorithm, **late).verdict == "broken"  # at other rates
    part = nl.check(U, rows[30:], t[30:], algorithm, exp_avg=late["exp_avg"])  # the squares are not known
    assert part.motion["W1"].verdict == part.laws["scaling:1"].verdict == "holds"
    assert "it is not the start of the run" in str(part.limits)
    with pytest.raises(ValueError, match="t must begin with a time of the schedule"):
        nl.check(U, rows[30:], t[30:] + 1, algorithm, **late)
    with pytest.raises(ValueError, match=r"t must be the sums of the rates of Adam.*t\[1\]"):
        nl.check(U, rows, np.linspace(0, t[60], 61), algorithm, **states)
    with pytest.raises(ValueError, match="lr must be an array where the first row is not the start"):
        nl.check(U, rows[30:], t[30:], nl.Adam(lambda k: 0.003), **late)
    assert nl.check(U, rows, dynamics=nl.Adam(lambda k: 0.003 * WARM_UP[k]), **states).ok


@pytest.mark.parametrize(
    "algorithm",
    [
        nl.GD(0.05 * WARM_UP[:60], clip=0.2),
        nl.HeavyBall(0.02 * WARM_UP[:60], clip=0.2),
        nl.RK4(0.05 * WARM_UP[:60], clip=0.2),
        nl.ImplicitMidpoint(0.05 * WARM_UP[:60], clip=0.2),
    ],
)
@pytest.mark.uncounted
def test_schedules_and_clipping_between_rows(algorithm):
    run = trained(algorithm, 60, record_every=5)
    assert nl.check(U, run.params, run.t, algorithm, every=5).ok
    for other in (replace(algorithm, clip=None), replace(algorithm, lr=[*algorithm.rates[:-1], 0.1])):
        assert nl.check(U, run.params, dynamics=other, every=5).verdict == "broken"


@pytest.mark.parametrize("zeros", [np.arange(24) // 4 % 3 == 1, np.arange(24) % 4 == 2], ids=["intervals", "steps"])
def test_a_velocity_goes_on_at_rates_of_zero_between_rows(zeros):
    """It is what PyTorch's buffer does in a pause of a schedule, and an error in the rows that follow is seen."""
    algorithm = nl.HeavyBall(np.where(zeros, 0.0, 0.02), 0.9)
    rows, _ = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, 24)
    assert nl.check(U, rows[::4], dynamics=algorithm, every=4).ok
    rows[16:] += 1e-9
    assert nl.check(U, rows[::4], dynamics=algorithm, every=4).verdict == "broken"


PAUSES = np.repeat([0.02, 0.0, 0.02, 0.0], 4)


@pytest.mark.parametrize("algorithm", [nl.HeavyBall({"W1": PAUSES, "rest": 0.5 * PAUSES}), nl.NAGD(PAUSES)], ids=str)
def test_nothing_may_move_in_a_pause(algorithm):
    rows = trained(algorithm, 16, record_every=4).params
    assert nl.check(U, rows, dynamics=algorithm, every=4).ok
    rows[2:] += 1e-9
    assert nl.check(U, rows, dynamics=algorithm, every=4).verdict == "broken"


def test_a_first_rate_of_zero_does_not_make_a_start_one_from_rest():
    algorithm = nl.HeavyBall(0.005 * np.minimum(np.arange(16), 4), 0.8)
    rows = trained(algorithm, 16, record_every=2, velocity=0.1 * np.cos(np.arange(U.n_params))).params
    report = nl.check(U, rows, dynamics=algorithm, every=2)
    assert report.verdict == "holds"
    assert "the velocity is not recorded" in report.limits[0]


@pytest.mark.parametrize("small", [1e-9, 0.0])
def test_a_small_rate_between_rows_hides_no_error(small):
    algorithm = nl.GD([0.05, small] * 10)
    run = trained(algorithm, 20, record_every=2)
    assert nl.check(U, run.params, dynamics=algorithm, every=2).ok
    run.params[5:] += 1e-10 * np.sign(U.gradient(run.params[4]))  # one row in ten, 10⁵ times beyond round-off
    assert nl.check(U, run.params, dynamics=algorithm, every=2).verdict == "broken"


def test_a_step_at_a_rate_of_zero_must_not_move():
    rates = np.array([0.05, 0.0, 0.05, 0.05])
    for algorithm in (nl.GD(rates), nl.RK4(rates), nl.ProjectedGD(rates)):
        run = nl.integrate(U, algorithm, X0, 4, record_params=True, backend="reference")
        assert nl.check(U, run.params, dynamics=algorithm).ok
        run.params[2:] += 1e-6
        assert nl.check(U, run.params, dynamics=algorithm).verdict == "broken"


test_states_that_do_not_fit_are_refused = refusals(
    [
        ({"dynamics": nl.GD(0.1), "exp_avg": [X0, X0]}, "exp_avg is not used with GD.*of these states it has none"),
        ({"dynamics": nl.Adam(0.1), "momentum_buffer": [X0, X0]}, "it has exp_avg and exp_avg_sq"),
        ({"dynamics": nl.Adam(0.1), "exp_avg": [X0]}, "exp_avg must have shape"),
        ({"dynamics": nl.Adam(0.1), "exp_avg": [X0, X0 * np.nan]}, "exp_avg"),
        ({"t": [0, 1], "exp_avg": [X0, X0]}, "exp_avg needs an Algorithm"),
        ({"dynamics": nl.HeavyBall(0.1), "momentum_buffer": [X0, X0], "velocity": X0}, "give one of them"),
        ({"dynamics": nl.HeavyBall(0.1), "momentum_buffer": [X0, X0], "every": 2}, "every=2 is not possible with recorded"),
        ({"dynamics": nl.GD([0.1, 0.1]), "t": [0.0, 0.2]}, "t must be the sums"),
        ({"dynamics": nl.GD([0.1]), "t": [0.1, 0.2]}, "lr has 1 rates"),
    ],
    lambda options: nl.check(U, [X0, X0], **options),
)  # fmt: skip


@pytest.mark.parametrize(
    "algorithm", [nl.Adam(0.003 * WARM_UP, clip=0.2), nl.Nesterov(0.05 * WARM_UP, clip=0.2)], ids=str
)
def test_a_monitor_sees_the_same(algorithm):
    if isinstance(algorithm, nl.Adam):
        rows, states = recorded(algorithm, steps=60)
    else:
        rows, states = trained(algorithm, 60).params, {}
    for shift in (0, 1e-6):
        spoilt = rows.copy()
        spoilt[40:] += shift
        one_by_one = streamed(U, algorithm, spoilt, states=states)
        together = nl.check(U, spoilt, dynamics=algorithm, **states)
        assert [row.verdict for row in one_by_one.rows] == [row.verdict for row in together.rows]
        assert one_by_one.ok == (shift == 0)
        assert {row.tally.n for row in one_by_one.rows} <= {59, 60}  # all, those at a rate of zero aside
    with pytest.raises(ValueError, match="lr must be an array with a rate for each step"):
        nl.Monitor(U, nl.Adam(lambda k: 0.1))
    short = nl.Monitor(U, nl.GD([0.1, 0.1]))
    for _ in range(3):
        short.step(X0)
    with pytest.raises(ValueError, match="lr has 2 rates"):
        short.step(X0)


def test_a_monitor_is_given_the_same_states_for_every_row():
    watch = nl.Monitor(U, nl.Adam(0.1))
    watch.step(X0, exp_avg=X0)
    with pytest.raises(ValueError, match="exp_avg and exp_avg_sq must be given for every row or for none"):
        watch.step(X0)
    with pytest.raises(ValueError, match="every=2 is not possible with recorded averages"):
        nl.Monitor(U, nl.HeavyBall(0.1), every=2).step(X0, momentum_buffer=X0)


@pytest.mark.parametrize("algorithm", [nl.Adam(0.1), nl.Nesterov(0.1), nl.SGLD(0.1, 1.0), nl.BAOAB(0.1, 1.0)], ids=str)
def test_a_monitor_of_every_other_row_is_refused_where_check_refuses_it(algorithm):
    """Right recordings of BAOAB were called broken."""
    with pytest.raises(ValueError, match=r"every=2 is not possible with .* record every step"):
        nl.check(U, [X0, X0], dynamics=algorithm, every=2)
    with pytest.raises(ValueError, match=r"every=2 is not possible with .* record every step"):
        nl.Monitor(U, algorithm, every=2)


def test_the_command_takes_recorded_averages(tmp_path, capsys):
    (tmp_path / "run.toml").write_text(
        configuration('name = "Adam"\nlr = 0.003', "steps = 40", 'widths = [3, 4, 3]\nactivation = "swish"'),
        "utf-8",
    )
    data, algorithm = nl.datasets.gaussian_classes(n=12, n_features=3, n_classes=3, rng=0), nl.Adam(0.003)
    V = nl.Network([3, 4, 3], "swish").potential(data)
    x0 = V.network.init(rng=0)
    ends = [nl.integrate(V, algorithm, x0, k, backend="reference", laws=None) for k in range(12)]
    params, averages = np.array([run.x for run in ends]), np.array([-run.v for run in ends])
    recording, t = {"params": params, "exp_avg": averages}, algorithm.times(0.0, np.arange(12))
    arguments = ["check", str(tmp_path / "it.npz"), "--config", str(tmp_path / "run.toml")]
    np.savez(tmp_path / "it.npz", t=t, **recording)
    assert main(arguments) == 0
    assert "verdict: holds" in capsys.readouterr().out
    np.savez(tmp_path / "it.npz", t=t, **recording | {"exp_avg": 1.01 * averages})
    assert main(arguments) == 3
    np.savez(tmp_path / "it.npz", t=t[::2], **{name: values[::2] for name, values in recording.items()})
    assert main(arguments) == 1
    assert "every step of Adam" in capsys.readouterr().err


def test_a_buffer_of_parameter_groups_and_a_frozen_block():
    """The peer: PyTorch's SGD, whose buffer does not know the rates."""
    algorithm = nl.HeavyBall({"W1": 0.02, "b1": 0.0, "rest": 0.01}, 0.9, weight_decay={"W1": 0.1})
    rows, states = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, 60, NET.blocks)
    buffers = states["momentum_buffer"]
    bare, report = (nl.check(U, rows, dynamics=algorithm, **more) for more in ({}, {"momentum_buffer": buffers}))
    assert "scaling:1" not in bare.laws  # it moves b1
    assert {row.name: row.verdict for row in bare.rows if row.verdict != "holds"} == {"b1": "not decidable"}
    assert {row.name: row.verdict for row in report.rows if row.verdict != "holds"} == {"step of b1": "not decidable"}
    moved = np.array(rows)
    moved[30:, NET.block("b1").start] += 1e-9
    for more in ({}, {"momentum_buffer": buffers}):
        assert nl.check(U, moved, dynamics=algorithm, **more).verdict == "broken"
    run = nl.drift(U, algorithm, X0, 60, backend="reference")
    assert set(run) == {"translation:b", "translation:W"}
    assert np.array_equal(NET.unpack(run.x)["b1"], NET.unpack(X0)["b1"])
