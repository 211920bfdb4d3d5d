"""Schedules by block: PyTorch's groups with LambdaLR, the exact laws, the metric where ratios are constant, files and configurations."""

import numpy as np
import pytest
from problems import EPS, problem

import noetherlite as nl
from noetherlite._kernels import reference

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200
WARM_UP, FALLING = nl.schedule("cosine", 0.05, STEPS, warm_up=10), nl.schedule("linear", 0.03, STEPS, end=0.01)
CHANGING = {"W1": WARM_UP, "b1": 0.02, "W2": lambda k: 0.03 / (1 + k / 50), "rest": FALLING}
CONSTANT = {"W1": WARM_UP, "b1": 0.5 * WARM_UP, "rest": 0.25 * WARM_UP}
KINDS = [nl.GD, nl.HeavyBall, nl.Nesterov, nl.Adam]
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.needs_jit)]


def by_torch(kind, rates, decay):
    """The end of PyTorch's optimiser, a group for each block and a LambdaLR."""
    torch = pytest.importorskip("torch")
    parts = [torch.tensor(X0[b.start : b.stop].copy(), requires_grad=True) for b in NET.blocks]
    groups = [{"params": [p], "lr": 1.0, "weight_decay": decay} for p in parts]
    optimiser = {
        nl.GD: lambda: torch.optim.SGD(groups, 1.0),
        nl.HeavyBall: lambda: torch.optim.SGD(groups, 1.0, 0.9),
        nl.Nesterov: lambda: torch.optim.SGD(groups, 1.0, 0.9, nesterov=True),
        nl.Adam: lambda: torch.optim.AdamW(groups, 1.0),
    }[kind]()

    def factor(rate):
        return rate if callable(rate) else lambda k: float(np.broadcast_to(rate, STEPS)[min(k, STEPS - 1)])

    factors = [factor(rates.get(b.name, rates["rest"])) for b in NET.blocks]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, factors)
    for _ in range(STEPS):
        g = U.gradient(np.concatenate([p.detach().numpy() for p in parts]))
        for p, b in zip(parts, NET.blocks, strict=True):
            p.grad = torch.tensor(g[b.start : b.stop])
        optimiser.step()
        scheduler.step()
    return np.concatenate([p.detach().numpy() for p in parts])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rates", [CHANGING, CONSTANT], ids=["changing", "constant"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_pytorchs_and_the_laws_hold(kind, rates, backend):
    x, run = by_torch(kind, rates, 0.1), nl.integrate(U, kind(rates, weight_decay=0.1), X0, STEPS, backend=backend)
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert {law.verdict for law in run.laws.values()} == {"holds"}
    largest = np.max(
        [np.broadcast_to([r(k) for k in range(STEPS)] if callable(r) else r, STEPS) for r in rates.values()], axis=0
    )
    np.testing.assert_allclose(run.t, np.concatenate([[0.0], np.cumsum(largest)]), rtol=8 * EPS)


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", KINDS)
def test_the_laws_hold_over_ten_thousand_steps_of_minibatches(kind):
    n = 10_000
    rates = {"W1": 0.01 * (1 + np.sin(np.arange(n))), "b1": 0.0, "rest": np.linspace(0.02, 0.001, n)}
    run = nl.integrate(U, kind(rates, weight_decay=0.1), X0, n, record_every=1000, batch_size=5, rng=0)
    assert {law.verdict for law in run.laws.values()} == {"holds"}
    assert np.array_equal(NET.unpack(run.x)["b1"], NET.unpack(X0)["b1"])


@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall])
def test_a_gradient_that_is_not_the_potentials_breaks_the_law(kind, monkeypatch):
    of = reference.value_and_gradient
    monkeypatch.setattr(reference, "value_and_gradient", lambda p, x, s: (of(p, x, s)[0], 1e-6 + of(p, x, s)[1]))
    assert nl.integrate(U, kind(CHANGING), X0, 20, backend="reference").laws["scaling:1"].verdict == "broken"


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


def test_what_does_not_fit_is_refused():
    for kind in (nl.Leapfrog, nl.NAGD):
        with pytest.raises(
            ValueError, match=f"lr must have schedules that keep the ratios between blocks for {kind.__name__}"
        ):
            nl.integrate(U, kind(CHANGING), X0, STEPS)
        run = nl.integrate(U, kind({k: 0.1 * r for k, r in CONSTANT.items()}), X0, STEPS, backend="reference")
        assert {law.verdict for law in run.laws.values()} == {"holds"}
    with pytest.raises(ValueError, match="lr's block='W7'"):
        nl.integrate(U, nl.GD({"W7": WARM_UP, "rest": 0.1}), X0, 3)
    with pytest.raises(ValueError, match="lr has 2 rates"):
        nl.integrate(U, nl.GD({"W1": [0.1, 0.2], "rest": 0.1}), X0, 3)


@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall])
def test_checks_take_constant_ratios_and_drifts_all(kind):
    run = nl.integrate(U, kind(CONSTANT), X0, 20, record_params=True, backend="reference")
    assert nl.check(U, run.params, dynamics=kind(CONSTANT)).ok
    assert nl.check(U, run.params, dynamics=kind({**CONSTANT, "b1": 0.51 * WARM_UP})).verdict == "broken"
    with pytest.raises(ValueError, match="lr must keep the ratios between blocks for a check"):
        nl.check(U, run.params, dynamics=kind(CHANGING))
    for rates in (CONSTANT, CHANGING):
        law = nl.drift(U, kind(rates, weight_decay=0.1), X0, 40)["scaling:1"]
        np.testing.assert_allclose(law.change, sum(law.parts.values()), rtol=0, atol=1e3 * EPS)
