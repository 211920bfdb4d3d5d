"""The parts of a drift, for every algorithm: they add up, are as they are called, and are zero where they must be."""

import dataclasses

import numpy as np
import pytest
from problems import EPS, problem
from symplectic_euler import SymplecticEuler

import noetherlite as nl
from noetherlite._motion.algorithms import ALGORITHMS
from noetherlite._theory import drift as module

NET = nl.Network([3, 5, 4, 3], ["swish", "linear"])
U = NET.potential(nl.datasets.gaussian_classes(n=24, n_features=3, n_classes=3, rng=0))
X0 = NET.init(rng=0, bias_std=0.3)
LAWS = {"scaling:1", "scaling:2", "linear:2", "translation:b", "translation:W"}
STEPS = 12
WARM_UP = 0.02 * np.minimum(np.arange(STEPS) / 6, 1)
DECAY = 0.3
BY_BLOCK = {"W2": 0.01, "rest": 0.02}
CASES = [
    nl.GD(WARM_UP),
    nl.GD(0.02, clip=0.2, weight_decay=DECAY),
    nl.HeavyBall(lambda k: WARM_UP[k], clip=0.2, weight_decay=DECAY),
    nl.HeavyBall(0.02, 0.8, 0.5, first_step_damped=False, weight_decay=DECAY),
    nl.Nesterov(0.02, 0.8, weight_decay=DECAY),
    nl.Leapfrog(1e-3, weight_decay=DECAY),
    nl.NAGD(1e-3, clip=0.2),
    nl.ConformalLeapfrog(1e-3, gamma=0.3, weight_decay=DECAY),
    nl.Adam(WARM_UP, weight_decay=DECAY, decoupled=False),
    nl.Adam(0.003, (0.8, 0.99), weight_decay=DECAY, clip=0.2),
    nl.RMSProp(0.003, weight_decay=DECAY),
    nl.AdaGrad(0.02, 0.1),
    nl.Lion(0.003, weight_decay=DECAY),
    nl.Muon(WARM_UP, 0.9, weight_decay=DECAY),
    nl.SignGD(0.003),
    nl.SignGD(WARM_UP, 0.9, weight_decay=DECAY),
    nl.ExponentiatedGradient(WARM_UP, 0.8, weight_decay=DECAY),
    nl.SteepestDescent(0.003, 3.0),
    nl.SGLD(WARM_UP, 0.01, weight_decay=DECAY),
    nl.BAOAB(1e-3, 0.01, weight_decay=DECAY),
    nl.Leapfrog(1e-3 * (1 + WARM_UP)),
    nl.NAGD(1e-3 * (1 + WARM_UP), weight_decay=DECAY),
    nl.GD(BY_BLOCK, weight_decay={"W2": DECAY}),
    nl.HeavyBall(BY_BLOCK, 0.8, weight_decay={"W2": DECAY}),
    nl.Adam(BY_BLOCK, weight_decay={"W2": DECAY}),
    nl.SAM(nl.GD(0.02, weight_decay=DECAY), 0.2),
    nl.SAM(nl.Adam(0.003), 0.2),
    nl.ProjectedGD(WARM_UP, weight_decay=DECAY),
    nl.SAM(nl.ProjectedGD(0.02, clip=0.5), 0.2),
    nl.ProjectedGD(BY_BLOCK, weight_decay={"W2": DECAY}),
    nl.SGLD(BY_BLOCK, 0.01, weight_decay=DECAY),
    nl.BAOAB({"W2": 1e-3 * (1 + WARM_UP), "rest": 2e-3 * (1 + WARM_UP)}, 0.01, weight_decay={"W2": DECAY}),
    nl.ImplicitMidpoint(WARM_UP, weight_decay=DECAY),
    nl.ImplicitMidpoint(0.01 * (1 + WARM_UP), "ND", weight_decay=DECAY),
    SymplecticEuler(1e-3, weight_decay=DECAY),  # an algorithm of one's own has a drift without another word
]
AVERAGED = (nl.Adam, nl.RMSProp, nl.AdaGrad, nl.Lion, nl.Muon, nl.SignGD, nl.ExponentiatedGradient, nl.SteepestDescent)


def bound(run, steps=STEPS):
    """Round-off of Q and of what is added to it at every step: ε, summands and the size of the terms."""
    return steps * 20 * EPS * max(np.abs(X0).max(), np.abs(run.x).max(), 1.0) ** 2 * U.n_params


def test_every_algorithm_is_here():
    """A new algorithm is drifted in its own tests, or here: all that are in the table can be."""
    for name, kind in ALGORITHMS.items():
        assert hasattr(kind, "settled"), name
        assert hasattr(kind, "without_decay"), name


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("algorithm", CASES, ids=str)
def test_parts_add_up_to_the_whole(algorithm, batch_size):
    options = {"record_every": 7, "batch_size": batch_size, "rng": 0, "backend": "reference"}
    run, plain = (f(U, algorithm, X0, STEPS, **options) for f in (nl.drift, nl.integrate))
    np.testing.assert_array_equal(run.x, plain.x)
    np.testing.assert_array_equal(run.t, plain.t)
    assert set(run) == LAWS
    for name, law in run.items():
        np.testing.assert_array_equal(law.quantity, plain.laws[name].quantity)
        np.testing.assert_allclose(sum(law.parts.values()), law.change, rtol=0, atol=bound(run))
        assert law.damping == "unknown"
        assert np.isnan(law.second_order).all()
    law = run["scaling:1"]
    is_present = {name: np.abs(part).max() > 1e3 * bound(run) for name, part in law.parts.items()}
    assert is_present["lr"]
    # of a step without decay and velocity the implicit midpoint keeps Q, whatever the samples are
    assert is_present["noise"] == (algorithm.has_noise or (batch_size is not None and not algorithm.is_implicit))
    assert is_present["decay"] == (algorithm.weight_decay > 0)
    # a velocity that carries nothing over leaves nothing to momentum, though that is measured and not left out
    forgets = isinstance(algorithm, nl.GD | nl.RMSProp | nl.AdaGrad | nl.SGLD | nl.SteepestDescent) or algorithm in (
        nl.SignGD(0.003),
        nl.ImplicitMidpoint(WARM_UP, weight_decay=DECAY),
    )
    assert is_present["momentum"] == (not forgets)
    # a step along the gradient at x is orthogonal to g(x); a preconditioned one, or one along the gradient of another point, is not
    assert is_present["direction"] == (isinstance(algorithm, AVERAGED) or algorithm.sam > 0 or algorithm.is_implicit)
    assert is_present["projection"] == algorithm.projects
    for name in (name for name, seen in is_present.items() if seen):  # the control: none can be left out
        others = sum(part for other, part in law.parts.items() if other != name)
        assert np.abs(others - law.change).max() > 100 * bound(run)


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize(
    "algorithm", [nl.GD(0.05, weight_decay=DECAY), nl.HeavyBall(0.02, 0.8, 0.2, weight_decay=DECAY)]
)
def test_the_formulas_of_the_kernels_are_the_same_parts(algorithm, batch_size, monkeypatch):
    v0 = np.random.default_rng(1).standard_normal(U.n_params) if algorithm.has_velocity else None
    options = {"batch_size": batch_size, "rng": 0, "backend": "reference", "velocity": v0}
    by_formula = nl.drift(U, algorithm, X0, STEPS, **options)
    monkeypatch.setattr(module, "_in_kernels", lambda algorithm: False)
    by_steps = nl.drift(U, algorithm, X0, STEPS, **options)
    for name, law in by_formula.items():
        for part, values in law.parts.items():
            np.testing.assert_allclose(by_steps[name].parts[part], values, rtol=0, atol=bound(by_steps))
        assert not np.isnan(law.first_order).any() or name == "affine"


def test_parts_of_adamw_by_hand():
    """Its preconditioner, its decoupled decay and its average, written out."""
    lr, (b1, b2), eps = 0.003, (0.9, 0.99), 1e-8
    algorithm = nl.Adam(lr, (b1, b2), eps, weight_decay=DECAY)
    run = nl.drift(U, algorithm, X0, STEPS, backend="reference")
    x = nl.integrate(U, algorithm, X0, STEPS, record_params=True, backend="reference").params
    scaling = nl.symmetries(U)[0]
    s, expected = np.zeros(U.n_params), np.zeros((4, *scaling.shape))

    def parts(at, moved):
        return scaling.charge(at, moved), 0.5 * scaling.source(moved)

    for k in range(STEPS):
        g = U.gradient(x[k])
        s = b2 * s + (1 - b2) * g**2
        bare = -lr * g / (np.sqrt(s / (1 - b2 ** (k + 1))) + eps)
        first, second = parts(x[k], bare)
        decayed, whole = (sum(parts(x[k], moved)) for moved in (bare - lr * DECAY * x[k], x[k + 1] - x[k]))
        expected += [first, second, decayed - (first + second), whole - decayed]
    law = run["scaling:1"]
    for part, values in zip(("direction", "lr", "decay", "momentum"), expected, strict=True):
        np.testing.assert_allclose(getattr(law, part)[-1], values, rtol=0, atol=bound(run))
        assert np.abs(values).max() > 1e6 * bound(run)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_projection_takes_back_what_gradient_descent_makes_of_scalings_and_nothing_of_translations(batch_size):
    options = {"batch_size": batch_size, "rng": 0, "backend": "reference"}
    run, one = (nl.drift(U, nl.ProjectedGD(0.02, weight_decay=DECAY), X0, steps, **options) for steps in (STEPS, 1))
    descent = nl.drift(U, nl.GD(0.02, weight_decay=DECAY), X0, 1, **options)
    for name, law in one.items():  # its first step is that of gradient descent, and then some
        for part in ("lr", "noise", "decay"):
            np.testing.assert_allclose(getattr(law, part), getattr(descent[name], part), rtol=0, atol=bound(one))
    for name in ("scaling:1", "scaling:2"):
        law = run[name]
        assert np.abs(law.change).max() < bound(run)
        np.testing.assert_allclose(law.projection, -law.lr - law.noise - law.decay, rtol=0, atol=bound(run))
        assert np.abs(law.projection[-1]).min() > 1e6 * bound(run)
    # entries off the diagonal of a linear layer's Q move, as scalings do not commute with the rest of its group
    assert np.abs(run["linear:2"].change[-1]).max() > 1e6 * bound(run)
    np.testing.assert_allclose(np.diagonal(run["linear:2"].change[-1]), 0, atol=bound(run))
    assert np.abs(run["translation:b"].projection).max() < bound(run)  # b_L is on no orbit of a hidden neuron


def test_gradients_that_are_accumulated_are_less_noisy():
    options = {"batch_size": 4, "rng": 0, "backend": "reference"}
    for algorithm in (nl.GD(0.02, weight_decay=DECAY), nl.Adam(0.003)):
        sizes = []
        for n in (1, 6):
            run = nl.drift(U, dataclasses.replace(algorithm, grad_accumulation=n), X0, STEPS, **options)
            for law in run.values():
                np.testing.assert_allclose(sum(law.parts.values()), law.change, rtol=0, atol=bound(run))
            sizes.append(np.abs(run["scaling:1"].noise[-1]).max())
        assert sizes[0] > 100 * max(sizes[1], bound(run))  # six of four are all 24 samples


@pytest.mark.needs_jit
def test_compiled_runs_have_the_same_parts():
    options = {"batch_size": 8, "rng": 0, "record_every": 5}
    a, b = (nl.drift(U, nl.Adam(0.003), X0, STEPS, backend=backend, **options) for backend in ("cpu", "reference"))
    for name, law in a.items():
        for part, values in law.parts.items():
            np.testing.assert_allclose(values, getattr(b[name], part), rtol=0, atol=100 * bound(a))


def test_friction_that_fades_starts_later_and_a_run_that_diverges_has_its_records():
    algorithm = nl.ConformalLeapfrog(1e-3, alpha=3.0)
    with pytest.raises(ValueError, match="t0 must be > 0"):
        nl.drift(U, algorithm, X0, STEPS)
    run = nl.drift(U, algorithm, X0, STEPS, t0=1.0, backend="reference")
    assert run.t[0] == 1.0
    _, V, x0 = problem("relu", n=8)
    wild = nl.drift(V, nl.Nesterov(1e6), x0, 400, backend="reference", record_every=2)
    assert wild.status == "diverged"
    assert wild["scaling:1"].momentum.shape == wild["scaling:1"].quantity.shape
    assert 0 < len(wild.t) < 201


def test_a_drift_without_prediction_is_drawn():
    pytest.importorskip("matplotlib").use("Agg")
    ax = nl.drift(U, nl.Adam(0.003), X0, 5, backend="reference").plot("scaling:1")
    labels = [line.get_label() for line in ax.lines]
    assert "direction" in labels
    assert "continuous-time formula" not in labels
