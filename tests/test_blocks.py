"""Rates and decays by block: PyTorch's parameter groups, position forms, the exact laws with their metric, what is conserved."""

import numpy as np
import pytest
from algorithms import BLOCKS, DECAYS, RATES
from problems import BACKENDS, EPS, problem, refusals, verdicts
from torch_steps import torch_steps

import noetherlite as nl
from noetherlite._symmetry.records import refuse_mixed

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200


def each(values):
    """The number of every coordinate."""
    return np.concatenate([np.full(b.stop - b.start, values.get(b.name, values.get("rest", 0.0))) for b in NET.blocks])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", BLOCKS[:7], ids=lambda a: f"{type(a).__name__}-{getattr(a, 'decoupled', '')}")
def test_steps_are_those_of_pytorchs_groups(algorithm, backend):
    x = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, STEPS, NET.blocks)[0][-1]
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()


def recurrence(algorithm, steps):
    """The second-order methods in their position forms, with s = lr_i of every coordinate."""
    s, decay, h = each(RATES), each(DECAYS), np.sqrt(0.02)

    def force(x):
        return U.gradient(x) + decay * x

    before, x = X0, X0
    for k in range(steps):
        if isinstance(algorithm, nl.NAGD):
            y = x + (k - 1) / (k + 2) * (x - before)
            new = y - s * force(y)
        else:
            m, gamma = algorithm.dynamics.mass, algorithm.dynamics.gamma
            rho = np.exp(-gamma * h / m)  # half a kick before a half step of friction, and half a kick after it
            kick = s / (2 * m) * force(x)
            new = x - kick if k == 0 else x + rho * (x - before - kick) - kick
        before, x = x, new
    return x


@pytest.mark.parametrize("algorithm", BLOCKS[-3:], ids=lambda a: type(a).__name__)
def test_second_order_steps_are_their_recurrences(algorithm):
    run = nl.integrate(U, algorithm, X0, 30, backend="reference")
    assert np.abs(run.x - recurrence(algorithm, 30)).max() <= 1e4 * EPS * np.abs(run.x).max()


@pytest.mark.parametrize("dynamics", ["RK4", "GF", "ND"])
def test_integrators_by_block_are_those_in_other_coordinates(dynamics):
    """The peer: one rate for x/√share, in which the metric is that of all coordinates alike."""
    root = np.sqrt(each(RATES) / 0.02)
    V = nl.potentials.Callable(lambda z: (U.value(root * z), root * U.gradient(root * z)), U.n_params)
    make = nl.RK4 if dynamics == "RK4" else lambda lr: nl.ImplicitMidpoint(lr, dynamics)
    options = {"backend": "reference", "laws": None}
    by_block = nl.integrate(U, make(RATES), X0, 30, **options)
    one = nl.integrate(V, make(0.02), X0 / root, 30, **options)
    allowed = 64 * 30 * EPS * np.abs(by_block.x).max()
    assert np.abs(by_block.x - root * one.x).max() <= allowed
    assert np.abs(nl.integrate(U, make(0.02), X0, 30, **options).x - by_block.x).max() > 1e6 * allowed  # the control


@pytest.mark.needs_jit
def test_the_implicit_midpoint_rule_keeps_the_quantities_of_the_metric():
    run = nl.integrate(U, nl.ImplicitMidpoint(RATES), X0, 2000, record_every=100)
    law, steps = run.laws["scaling:1"], 2000
    assert law.verdict == "holds"
    assert np.abs(law.residual).max() <= 64 * steps * EPS * np.abs(law.quantity).max()
    other = nl.integrate(U, nl.GD(RATES), X0, steps, record_every=100).laws["scaling:1"]
    assert np.abs(other.residual).max() > 1e-4  # the control
    decayed = nl.integrate(U, nl.ImplicitMidpoint(RATES, "ND", weight_decay=DECAYS), X0, 200)
    assert verdicts(decayed) == {"holds"}


def test_the_quantities_are_those_of_the_metric_and_conserved_by_the_flow():
    """Q = ½⟨x, MGx⟩, and exactly Q' − Q = ½lr²⟨∇U, GM⁻¹∇U⟩."""
    M, s = 0.02 / each(RATES), next(f for f in nl.symmetries(U) if f.name == "scaling:1")
    drifts, plain = [], []
    for lr in (1.0, 0.5):
        rates = {name: lr * rate for name, rate in RATES.items()}
        run = nl.integrate(U, nl.GD(rates), X0, round(100 / lr), record_params=True, backend="reference")
        law = run.laws["scaling:1"]
        Q = 0.5 * s.pair(run.params, M * run.params)
        np.testing.assert_allclose(law.quantity, Q, rtol=0, atol=32 * EPS * np.abs(Q).max())
        g = np.array([U.gradient(x) for x in run.params[:-1]])
        made = 0.5 * (lr * 0.02) ** 2 * s.pair(g / M, g)
        assert np.abs(np.diff(law.quantity, axis=0) - made).max() <= 64 * EPS * np.abs(Q).max()
        drifts.append(np.abs(law.residual[-1]).max())
        plain.append(np.abs(s.pair(run.x, run.x) - s.pair(X0, X0)).max())
    assert 1.9 < drifts[0] / drifts[1] < 2.1  # of first order
    assert plain[0] > 3 * drifts[0]  # negative control: without the metric it is not conserved
    assert 0.9 < plain[0] / plain[1] < 1.1


@pytest.mark.parametrize("algorithm", [nl.GD(0.01), nl.HeavyBall(0.01), nl.Adam(0.01), nl.Leapfrog(0.01)], ids=str)
def test_the_same_for_all_blocks_is_the_number(algorithm):
    same = type(algorithm)({b.name: 0.01 for b in NET.blocks}, weight_decay={"rest": 0.1})
    runs = [nl.integrate(U, a, X0, 20, backend="reference") for a in (same, type(algorithm)(0.01, weight_decay=0.1))]
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=16 * EPS)
    for name, law in runs[0].laws.items():
        np.testing.assert_allclose(law.quantity, runs[1].laws[name].quantity, atol=64 * EPS)


@pytest.mark.needs_jit
def test_members_of_an_ensemble_have_rates_of_their_own():
    algorithms = [nl.HeavyBall(rates, weight_decay=DECAYS) for rates in (RATES, {"W2": 0.1, "rest": 0.01})]
    members = nl.ensemble(U, algorithms, np.stack([X0, X0]), 21)
    for e, one in enumerate(algorithms):
        alone = nl.integrate(U, one, X0, 21)
        assert np.array_equal(members.x[e], alone.x)
    assert alone.specification["algorithm"]["lr"] == {"W2": 0.1, "rest": 0.01}
    assert alone.specification["algorithm"]["weight_decay"] == {"rest": 0.0, **DECAYS}


MIXING = nl.Symmetry(np.ones((U.n_params,) * 2), np.zeros(U.n_params), "mixed")
test_what_has_no_blocks_is_refused = refusals(
    [
        (lambda: nl.integrate(U, nl.GD({"W1": 0.1}), X0, 1), "lr lacks"),
        (lambda: nl.integrate(U, nl.GD({"W9": 0.1, "rest": 0.1}), X0, 1), "lr's block"),
        (lambda: nl.integrate(U, nl.GD({}), X0, 1), "lr must have"),
        (lambda: nl.GD({"W1": -1, "rest": 1.0}), r"lr\['W1'\]=-1"),
        (lambda: nl.integrate(nl.potentials.Radial(2), nl.GD({"W1": 0.1}), [1.0, 0.0], 1), "lr by block needs the potential of a Network"),
        (lambda: refuse_mixed([MIXING], nl.GD(RATES).kernel(0.0, NET.blocks)), "lr by block must be the same"),
        (lambda: nl.integrate(U, nl.GD(RATES), X0, 1, input_reduction=True), "input_reduction=True is not possible here"),
    ]
)  # fmt: skip


def test_rates_by_block_are_shown():
    assert "'W1': 0.02" in repr(nl.GD(RATES))
