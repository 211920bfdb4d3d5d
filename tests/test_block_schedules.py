"""Schedules by block: PyTorch's groups with LambdaLR, the exact laws, the metric where ratios are constant, files and configurations."""

import dataclasses

import numpy as np
import pytest
from problems import BACKENDS, EPS, problem, streamed, verdicts
from torch_steps import torch_steps

import noetherlite as nl

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200
WARM_UP, FALLING = nl.schedule("cosine", 0.05, STEPS, warm_up=10), nl.schedule("linear", 0.03, STEPS, end=0.01)
CHANGING = {"W1": WARM_UP, "b1": 0.02, "W2": lambda k: 0.03 / (1 + k / 50), "rest": FALLING}
CONSTANT = {"W1": WARM_UP, "b1": 0.5 * WARM_UP, "rest": 0.25 * WARM_UP}
KINDS = [nl.GD, nl.HeavyBall, nl.Nesterov, nl.Adam]


def each_step(rate):
    return np.broadcast_to([rate(k) for k in range(STEPS)] if callable(rate) else rate, STEPS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rates", [CHANGING, CONSTANT], ids=["changing", "constant"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.uncounted
def test_steps_are_pytorchs_and_the_laws_hold(kind, rates, backend):
    algorithm = kind(rates, weight_decay=0.1)
    x = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, STEPS, NET.blocks, lr=rates)[0][-1]
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert verdicts(run) == {"holds"}
    largest = np.max([each_step(rate) for rate in rates.values()], axis=0)
    np.testing.assert_allclose(run.t, np.concatenate([[0.0], np.cumsum(largest)]), rtol=8 * EPS)


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", KINDS)
def test_the_laws_hold_over_ten_thousand_steps_of_minibatches(kind):
    n = 10_000
    rates = {"W1": 0.01 * (1 + np.sin(np.arange(n))), "b1": 0.0, "rest": np.linspace(0.02, 0.001, n)}
    run = nl.integrate(U, kind(rates, weight_decay=0.1), X0, n, record_every=1000, batch_size=5, rng=0)
    assert verdicts(run) == {"holds"}
    assert np.array_equal(NET.unpack(run.x)["b1"], NET.unpack(X0)["b1"])


def test_quantities_have_the_metric_of_constant_ratios():
    """Their drift is of first order in the rate there; of ratios that change, Q itself is moved at any rate."""
    drifts = []
    for rates in (CONSTANT, {**CONSTANT, "W1": 0.05}):
        for share in (1.0, 0.5):
            finer = {k: np.repeat(share * np.broadcast_to(r, STEPS), round(1 / share)) for k, r in rates.items()}
            run = nl.integrate(U, nl.GD(finer), X0, round(STEPS / share), backend="reference")
            drifts.append(np.abs(run.laws["scaling:1"].residual[-1]).max())
    assert 1.8 < drifts[0] / drifts[1] < 2.2
    assert 0.8 < drifts[2] / drifts[3] < 1.2


def test_a_block_with_a_rate_of_zero_in_some_steps_is_not_frozen():
    """It may have a velocity, which one without any other rate may not."""
    velocity = np.full(U.n_params, 0.1)
    run = nl.integrate(U, nl.HeavyBall({"W1": [0.0, 0.1, 0.1], "rest": 0.1}), X0, 3, velocity=velocity)
    assert verdicts(run) == {"holds"}
    with pytest.raises(ValueError, match="velocity must be zero for W1, which lr=0 freezes"):
        nl.integrate(U, nl.HeavyBall({"W1": 0.0, "rest": [0.1, 0.1, 0.2]}), X0, 3, velocity=velocity)


def test_a_frozen_block_beside_a_warm_up_from_zero_is_frozen():
    for kind in (nl.GD, nl.Leapfrog):
        run = nl.integrate(U, kind({"W1": 0.0, "rest": WARM_UP}), X0, 20, backend="reference")
        assert "scaling:1" not in run.laws  # it would move W1
        assert verdicts(run) <= {"holds"}


def test_what_does_not_fit_is_refused():
    for kind in (nl.Leapfrog, nl.NAGD):
        words = f"lr must have schedules that keep the ratios between blocks for {kind.__name__}"
        with pytest.raises(ValueError, match=words):
            nl.integrate(U, kind(CHANGING), X0, STEPS)
        run = nl.integrate(U, kind({k: 0.1 * r for k, r in CONSTANT.items()}), X0, STEPS, backend="reference")
        assert verdicts(run) == {"holds"}
    with pytest.raises(ValueError, match="lr's block='W7'"):
        nl.integrate(U, nl.GD({"W7": WARM_UP, "rest": 0.1}), X0, 3)
    for kind in (nl.GD, nl.HeavyBall):
        with pytest.raises(ValueError, match="ratios between blocks that change in all runs or in none"):
            nl.ensemble(U, [kind(0.1), kind(CHANGING)], [X0, X0], 3)
    with pytest.raises(ValueError, match="lr must be > 0 in one step at least; the function gives 0 for step 0 to 0"):
        nl.integrate(U, nl.GD({"W1": lambda k: 0.1 * k, "rest": 0.1}), X0, 1)
    with pytest.raises(ValueError, match="lr has 2 rates"):
        nl.integrate(U, nl.GD({"W1": [0.1, 0.2], "rest": 0.1}), X0, 3)


@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall])
def test_checks_and_drifts_take_constant_ratios(kind):
    run = nl.integrate(U, kind(CONSTANT), X0, 20, record_params=True, backend="reference")
    assert nl.check(U, run.params, dynamics=kind(CONSTANT)).ok
    assert nl.check(U, run.params, dynamics=kind({**CONSTANT, "b1": 0.51 * WARM_UP})).verdict == "broken"
    for rates in (CONSTANT, CHANGING):
        law = nl.drift(U, kind(rates, weight_decay=0.1), X0, 40)["scaling:1"]
        np.testing.assert_allclose(law.change, sum(law.parts.values()), rtol=0, atol=1e3 * EPS)


@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall])
def test_checks_take_ratios_that_change(kind):
    """From positions; the controls: one rate of one block, the step before a row, a gradient, and what a rate of zero must not move."""
    algorithm, options = kind(CHANGING, weight_decay=0.1), {"record_params": True, "backend": "reference"}
    run = nl.integrate(U, algorithm, X0, 40, **options)
    full = {name: each_step(rate) for name, rate in CHANGING.items()}
    report = nl.check(U, run.params, dynamics=algorithm)
    assert report.ok, str(report)
    assert report.motion["W1"].tally.n == 40 - (1 if kind is nl.GD else 2)  # W1 begins at a rate of 0
    assert streamed(U, kind(full, weight_decay=0.1), run.params).ok
    for rates, verdict in ((full, "holds"), ({**full, "b1": full["W2"]}, "broken")):
        assert nl.check(U, run.params[10:], run.t[10:], kind(rates, weight_decay=0.1)).verdict == verdict
    wrong = full["W2"].copy()
    wrong[20] *= 1 + 1e-9
    report = nl.check(U, run.params, dynamics=kind({**full, "W2": wrong}, weight_decay=0.1))
    assert report.verdict == report.motion["W2"].verdict == "broken"
    noisy = nl.integrate(U, algorithm, X0, 40, batch_size=5, rng=0, **options)
    assert nl.check(U, noisy.params, dynamics=algorithm, minibatches=True).ok
    assert nl.check(U, noisy.params, dynamics=kind(FALLING, weight_decay=0.1), minibatches=True).verdict == "broken"
    moved = run.params.copy()
    moved[1:, 0] += 1e-9  # W1 in its first step
    assert nl.check(U, moved, dynamics=algorithm).motion["W1"].verdict == "broken"
    with pytest.raises(ValueError, match="every must be 1 with HeavyBall"):
        nl.check(U, run.params[::2], dynamics=algorithm, every=2)


@pytest.mark.parametrize(
    "algorithm",
    [nl.Adam(CHANGING, weight_decay=0.1), nl.Nesterov(CHANGING), nl.SAM(nl.GD(CHANGING), 0.1)],
    ids=["Adam", "Nesterov", "SAM"],
)
def test_checks_of_optimisers_take_ratios_that_change(algorithm):
    """With its states, stepped by the rule that tests/test_optimisers.py compares with PyTorch's; the control: another schedule of a block."""
    rows, averages = [X0], [0 * X0]
    for k in range(1, 31):
        run = nl.integrate(U, algorithm, X0, k, backend="reference")
        rows.append(run.x)
        averages.append(-run.v)
    states = {"exp_avg": averages} if isinstance(algorithm, nl.Adam) else {}
    assert nl.check(U, rows, dynamics=algorithm, **states).ok
    claimed = dataclasses.replace(algorithm, lr={**CHANGING, "W2": 0.03})
    assert nl.check(U, rows, dynamics=claimed, **states).verdict == "broken"
