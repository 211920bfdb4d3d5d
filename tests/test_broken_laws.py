"""Laws under finite steps, minibatches, weight decay and momentum (theory §10): exact recursions and predictions."""

import dataclasses

import numpy as np
import pytest
from problems import BACKENDS, EPS, problem, refusals

import noetherlite as nl
from noetherlite._theory import charge_flow

LAMBDA = 0.3
LAWS = {"scaling:1", "scaling:2", "linear:2", "translation:b", "translation:W"}


def layers(seed=0):
    """A potential with scalings, a linear layer, and both translations, smooth so that orders can be fitted."""
    net = nl.Network([3, 5, 4, 3], ["swish", "linear"])
    U = net.potential(nl.datasets.gaussian_classes(n=40, n_features=3, n_classes=3, rng=0))
    return U, net.init(rng=seed, bias_std=0.3)


def recorded(U, algorithm, x0, steps, **options):
    return nl.integrate(U, algorithm, x0, steps, record_params=True, laws=None, **options).params


# --- weight decay ---


@pytest.mark.parametrize(
    "algorithm",
    [
        nl.GD(0.05),
        nl.HeavyBall(0.02, 0.8, 0.1),
        nl.Leapfrog(1e-3),
        nl.NAGD(1e-3),
        nl.ConformalLeapfrog(1e-3, gamma=0.3),
    ],
    ids=lambda a: type(a).__name__,
)
def test_weight_decay_is_a_quadratic_potential(algorithm):
    _, U, x0 = problem("swish")
    decayed = dataclasses.replace(algorithm, weight_decay=LAMBDA)

    def with_square(x):
        value, gradient = U.value_and_gradient(x)
        return value + 0.5 * LAMBDA * (x @ x), gradient + LAMBDA * x

    steps = 30
    decayed_run = nl.integrate(U, decayed, x0, steps)
    callable_run = nl.integrate(nl.potentials.Callable(with_square, U.n_params), algorithm, x0, steps)
    np.testing.assert_allclose(decayed_run.x, callable_run.x, rtol=0, atol=steps**2 * 100 * EPS)
    np.testing.assert_allclose(decayed_run.energy, callable_run.energy, rtol=steps * 100 * EPS)
    without = nl.integrate(U, algorithm, x0, steps)
    assert np.abs(decayed_run.x - without.x).max() > 1e-3
    np.testing.assert_array_equal(decayed_run.loss[0], without.loss[0])  # the loss is U alone


@pytest.mark.needs_jit
def test_energy_of_leapfrog_with_decay_is_bounded():
    _, U, x0 = problem("swish")
    errors = [
        np.ptp(nl.integrate(U, nl.Leapfrog(lr, weight_decay=LAMBDA), x0, round(2 / np.sqrt(lr))).energy)
        for lr in (1e-3, 2.5e-4)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)  # second order: it is the energy that is conserved


def test_sgd_with_decay_obeys_kunins_recursion():
    """Q' = (1 − ηλ)²Q + η²B(g, g), by hand, for every hidden neuron, with minibatches."""
    _, U, x0 = problem("relu", n=12)
    lr, size = 0.05, 4
    x = recorded(U, nl.GD(lr, weight_decay=LAMBDA), x0, 60, batch_size=size, rng=0)
    g = -(x[1:] - (1 - lr * LAMBDA) * x[:-1]) / lr
    scaling = nl.symmetries(U)[0]
    Q = scaling.quantity(x)
    predicted = (1 - lr * LAMBDA) ** 2 * Q[:-1] + 0.5 * lr**2 * scaling.source(g)
    bound = 100 * EPS * np.abs(x).max() ** 2
    np.testing.assert_allclose(Q[1:], predicted, rtol=0, atol=bound)
    assert np.abs(Q[1:] - (1 - lr * LAMBDA) ** 2 * Q[:-1]).max() > 1e6 * bound  # the control: the noise term is needed


def test_translations_decay_like_the_weights():
    """(1 − ηλ)^k Q_0, whatever the batches."""
    U, x0 = layers()
    run = nl.integrate(U, nl.GD(0.1, weight_decay=LAMBDA), x0, 100, batch_size=8, rng=0)
    for name in ("translation:b", "translation:W"):
        Q = run.laws[name].quantity
        exact = (1 - 0.1 * LAMBDA) ** run.step[:, None] * Q[0]
        np.testing.assert_allclose(Q, exact, rtol=0, atol=100 * 20 * EPS * np.abs(x0).max())


def test_rotations_survive_weight_decay():
    ball = nl.Network([3, 4, 1], "polynomial(2)", loss="mse").potential(nl.datasets.icosahedron())
    rng = np.random.default_rng(0)
    x0, v0 = 0.5 * rng.standard_normal((2, ball.n_params))
    law = nl.integrate(ball, nl.Leapfrog(1e-4, weight_decay=LAMBDA), x0, 500, velocity=v0).laws["rotation"]
    assert np.abs(law.residual).max() < 500 * 20 * EPS * np.abs(law.charge).max()
    for algorithm in (nl.GD(0.01, weight_decay=LAMBDA), nl.HeavyBall(0.01, weight_decay=LAMBDA)):
        residual = nl.integrate(ball, algorithm, x0, 500).laws["rotation"].residual
        assert np.isfinite(residual).all()
        assert np.abs(residual).max() < 500 * 20 * EPS
    scaling = nl.integrate(ball, nl.GD(0.01, weight_decay=LAMBDA), x0, 500).laws["scaling:1"]
    assert np.abs(scaling.residual).max() > 1e-3  # while those of scalings do not


# --- heavy ball ---


def test_heavy_ball_obeys_its_recursions():
    """Q' = Q − 2ηb + η²w and C' = b − ηw with b = βC + (1 − a)λQ, w = B(u', u') for the frameworks' buffer u (Q, C unhalved)."""
    _, U, x0 = problem("relu", n=12)
    lr, beta, a = 0.03, 0.8, 0.25
    x = recorded(U, nl.HeavyBall(lr, beta, a, weight_decay=LAMBDA), x0, 60, batch_size=4, rng=0)
    u = -np.diff(x, axis=0) / lr
    scaling = nl.symmetries(U)[0]
    Q, C = scaling.pair(x, x)[1:-1], scaling.pair(x[1:-1], u[:-1])
    b, w = beta * C + (1 - a) * LAMBDA * Q, scaling.pair(u[1:], u[1:])
    bound = 100 * EPS * np.abs(x).max() ** 2 / lr
    np.testing.assert_allclose(scaling.pair(x, x)[2:], Q - 2 * lr * b + lr**2 * w, rtol=0, atol=bound)
    np.testing.assert_allclose(scaling.pair(x[2:], u[1:]), b - lr * w, rtol=0, atol=bound)
    assert np.abs(scaling.pair(x, x)[2:] - (Q - 2 * lr * b)).max() > 1e6 * bound  # the control


def test_heavy_ball_without_memory_is_gradient_descent():
    _, U, x0 = problem("swish")
    for decay in (0.0, LAMBDA):
        ball, plain = (
            nl.integrate(U, a, x0, 100, batch_size=4, rng=1)
            for a in (nl.HeavyBall(0.05, 0.0, weight_decay=decay), nl.GD(0.05, weight_decay=decay))
        )
        np.testing.assert_array_equal(ball.x, plain.x)
        np.testing.assert_array_equal(ball.laws["scaling:1"].quantity, plain.laws["scaling:1"].quantity)


def test_dampening_is_a_smaller_rate():
    _, U, x0 = problem("swish")
    damped, slower = (nl.integrate(U, a, x0, 50) for a in (nl.HeavyBall(0.5, 0.7, 0.75), nl.HeavyBall(0.125, 0.7)))
    np.testing.assert_array_equal(damped.x, slower.x)
    np.testing.assert_array_equal(damped.t, slower.t)


# --- what a drift is made of ---


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize(
    "algorithm",
    [
        nl.GD(0.05),
        nl.GD(0.05, weight_decay=LAMBDA),
        nl.HeavyBall(0.02, 0.8, 0.2),
        nl.HeavyBall(0.02, weight_decay=LAMBDA),
    ],
    ids=str,
)
@pytest.mark.uncounted
def test_parts_add_up_to_the_whole(algorithm, batch_size, backend):
    U, x0 = layers()
    steps = 200
    run = nl.drift(U, algorithm, x0, steps, record_every=7, batch_size=batch_size, rng=0, backend=backend)
    plain = nl.integrate(U, algorithm, x0, steps, record_every=7, batch_size=batch_size, rng=0, backend=backend)
    np.testing.assert_array_equal(run.x, plain.x)
    assert set(run) == set(plain.laws) == LAWS
    bound = steps * 20 * EPS * np.abs(x0).max() ** 2 * U.n_params
    for name, law in run.items():
        np.testing.assert_array_equal(law.quantity, plain.laws[name].quantity)
        assert law.change.shape == law.lr.shape == law.second_order.shape == law.quantity.shape
        np.testing.assert_allclose(sum(law.parts.values()), law.change, rtol=0, atol=bound)
    law = run["scaling:1"]
    assert np.abs(law.lr).max() > 1e-4
    # what is not there has no part, to the last bit; what is there has one
    assert law.noise.any() == (batch_size is not None)
    assert law.decay.any() == (algorithm.weight_decay > 0)
    assert law.momentum.any() == isinstance(algorithm, nl.HeavyBall)
    assert not np.allclose(law.change, law.lr + law.noise, rtol=0, atol=1e-6) or isinstance(algorithm, nl.GD)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("decay", [0.0, LAMBDA])
@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_parts_add_up_whatever_the_velocity_at_the_start(beta, decay, batch_size, backend):
    """Of scalings, linear layers and translations; J of a linear layer is then no symmetric matrix, and Q̇ its symmetric part."""
    U, x0 = layers()
    steps, v0 = 12, np.random.default_rng(1).standard_normal(U.n_params)
    algorithm = nl.HeavyBall(0.02, beta, weight_decay=decay)
    options = {"batch_size": batch_size, "rng": 0, "velocity": v0, "backend": backend}
    run = nl.drift(U, algorithm, x0, steps, **options)
    plain = nl.integrate(U, algorithm, x0, steps, **options)
    assert set(run) == LAWS
    bound = steps * 20 * EPS * max(np.abs(x0).max(), np.abs(run.x).max(), 1.0) ** 2 * U.n_params
    for law in run.values():
        np.testing.assert_allclose(sum(law.parts.values()), law.change, rtol=0, atol=bound)
        slope = (law.second_order[1] - law.second_order[0]) / algorithm.dt
        assert np.abs(slope).max() < 10  # it starts with Q̇, not with a jump
    J, second = plain.laws["linear:2"].charge[0], run["linear:2"].second_order
    # negative control: with J in the place of Q̇ the parts are off by hβ of this a step
    assert np.abs(J - J.T).max() > 1
    np.testing.assert_allclose(second, np.swapaxes(second, 1, 2), rtol=0, atol=bound)


def test_both_backends_attribute_alike():
    U, x0 = layers()
    a, b = (
        nl.drift(U, nl.HeavyBall(0.02, weight_decay=LAMBDA), x0, 40, batch_size=8, rng=0, backend=backend)
        for backend in ("cpu", "reference")
    )
    for name, law in a.items():
        for part in ("quantity", *law.parts, "first_order", "second_order"):
            np.testing.assert_allclose(getattr(law, part), getattr(b[name], part), rtol=0, atol=40**2 * 100 * EPS)


@pytest.mark.needs_jit
def test_noise_falls_like_the_variance_of_a_mean():
    _, numbers = nl.figures.batch_size(seeds=6)
    for name in ("GD", "HeavyBall"):
        column = numbers[name]["columns"].index("noise")
        B, noise = numbers["batch_size"][:-1], numbers[name]["mean"][:-1, column]
        ratio = noise / ((64 - B) / (63.0 * B))
        assert ratio.max() / ratio.min() < 1.5
        assert numbers[name]["mean"][-1, column] == 0
        assert noise.max() / noise.min() > 40


# --- predictions in continuous time (Kunin et al. 2021) ---


def errors(make, sizes, duration):
    """Largest errors of the formulas of first and second order, over all laws, for steps of the given sizes."""
    U, x0 = layers()
    out, kinds = [], set()
    for h in sizes:
        algorithm, time = make(h)
        run = nl.drift(U, algorithm, x0, round(duration / time))
        assert run.status == "completed"
        kinds |= {law.damping for name, law in run.items() if name.startswith("scaling")}
        out.append([max(np.abs(getattr(law, f) - law.quantity).max() for law in run.values()) for f in FORMULAS])
    return np.array(out).T, kinds


FORMULAS = ("first_order", "second_order")


def order(sizes, values):
    return np.polyfit(np.log(sizes), np.log(values), 1)[0]


@pytest.mark.needs_jit
def test_orders_for_gradient_descent():
    sizes = 0.04 * 0.5 ** np.arange(5)
    (first, second), _ = errors(lambda h: (nl.GD(h, weight_decay=LAMBDA), h), sizes, 2.0)
    assert order(sizes, first) == pytest.approx(1, abs=0.15)
    assert order(sizes, second) == pytest.approx(2, abs=0.15)
    assert second[-1] < 0.1 * first[-1]


# √h is the unit of time where momentum is 1 − c√h: the oscillator's constants then do not depend on h.
@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("kind", "c", "decay"),
    [
        ("overdamped", 2.0, lambda beta, h: 0.1),
        ("underdamped", 0.5, lambda beta, h: 1.0),
        ("critically damped", 1.0, lambda beta, h: (1 - beta) ** 2 / (4 * h * (1 + beta))),
    ],
)
def test_orders_for_the_heavy_ball(kind, c, decay):
    def make(root):
        h, beta = root**2, 1 - c * root
        return nl.HeavyBall(h, beta, weight_decay=decay(beta, h)), root

    sizes = 0.2 * 0.5 ** np.arange(5)
    (first, second), kinds = errors(make, sizes, 2.0)
    assert kinds == {kind}
    assert order(sizes, second) == pytest.approx(2, abs=0.25)
    # without inertia it is another motion, however small the steps
    assert abs(order(sizes, first)) < 0.3
    assert first.min() > 1e-2


@pytest.mark.needs_jit
def test_fixed_momentum_is_first_order():
    sizes = 0.0025 * 0.5 ** np.arange(4)
    (first, second), _ = errors(lambda h: (nl.HeavyBall(h, 0.8, 0.25, weight_decay=LAMBDA), 0.75 * h), sizes, 2.0)
    assert order(sizes, second) == pytest.approx(1, abs=0.15)
    assert second.max() < 0.02 * first.max()


@pytest.mark.parametrize("every", [1, 7])
def test_the_oscillator_against_its_solution(every):
    """Without drive, from rest, the closed forms of the three kinds of damping."""
    for lr, beta, decay in ((0.01, 0.5, 0.1), (0.01, 0.9, 5.0), (0.02, 0.9, 0.01 / (4 * 0.02 * 1.9))):
        algorithm = nl.HeavyBall(lr, beta, weight_decay=decay)
        m, friction, spring = charge_flow.constants(algorithm, 2.0)
        step = np.append(np.arange(0, 200, every), 200)
        none = np.zeros((step.size - 1, 1))
        rate = np.array([2.0 * decay / (2 * beta)])  # so that Q̇(0) = 0
        Q = charge_flow.second_order(algorithm, 2.0, step, np.ones(1), rate, none)[:, 0]
        t, gamma, w2 = step * algorithm.dt, friction / (2 * m), spring / m
        kind = charge_flow.damping(algorithm, 2.0)
        if kind == "critically damped":
            exact = np.exp(-gamma * t) * (1 + gamma * t)
        else:
            root = np.sqrt(complex(gamma**2 - w2))
            exact = (np.exp(-gamma * t) * (np.cosh(root * t) + gamma / root * np.sinh(root * t))).real
        np.testing.assert_allclose(Q, exact, rtol=0, atol=1e-11)
    assert kind == "critically damped"


# --- figures, and what is refused ---


@pytest.mark.needs_jit
def test_residuals_fall_with_the_learning_rate():
    _, numbers = nl.figures.discretisation()
    expected = {"GD": 1.0, "HeavyBall": 1.0, "Leapfrog": 1.0, "NAGD": 0.5, "ConformalLeapfrog": 1.0}
    assert set(numbers) == set(expected)
    for name, slope in expected.items():
        slopes = numbers[name]["slope"]
        assert slopes["scaling:1"] == pytest.approx(slope, abs=0.15)
        assert slopes["linear:2"] == pytest.approx(slope, abs=0.15)
        assert slopes["translation:b"] is slopes["translation:W"] is None
        assert (slopes["rotation"] is None) == (name != "NAGD")
    assert numbers["Leapfrog"]["slope"]["energy"] == pytest.approx(1, abs=0.15)


def test_plot_of_a_drift():
    U, x0 = layers()
    run = nl.drift(U, nl.GD(0.05, weight_decay=0.1), x0, 20)
    labels = [line.get_label() for line in run.plot("scaling:1", 2).get_lines()]
    assert labels == ["$Q-Q_0$", "lr", "decay", "continuous-time formula"]
    assert repr(run).startswith("Drift(GD(lr=0.05, weight_decay=0.1), completed 20 steps")
    assert repr(run["scaling:1"]).startswith("LawDrift('scaling:1', max |Q - Q0|")
    assert len(run) == len(LAWS)


def test_a_symmetry_of_ones_own():
    U = nl.potentials.Harmonic(np.diag([1.0, 1.0, 0.0]))
    along = np.array([0.0, 0.0, 1.0])
    shift = nl.Symmetry(np.zeros((3, 3)), along, name="shift")
    stretch = nl.Symmetry(np.outer(along, along), name="stretch")
    both = nl.Symmetry(np.outer(along, along), along, name="both")
    run = nl.drift(U, nl.GD(0.01, weight_decay=LAMBDA), [1.0, 0.5, 0.3], 100, laws=[shift, stretch, both])
    for name in ("shift", "stretch"):
        np.testing.assert_allclose(run[name].second_order, run[name].quantity, rtol=0, atol=1e-4)
    assert np.isnan(run["both"].second_order).all()
    assert run["both"].damping == "unknown"
    np.testing.assert_allclose(sum(run["both"].parts.values()), run["both"].change, rtol=0, atol=100 * 20 * EPS)


def test_a_drift_that_diverges_keeps_what_it_has():
    U, x0 = layers()
    with np.errstate(over="ignore", invalid="ignore"):
        run = nl.drift(U, nl.GD(1e3), x0, 5000)
    assert run.status == "diverged"
    assert run.step.size == run["scaling:1"].lr.shape[0] < 5001


TURN = nl.Symmetry(np.array([[0.0, -1], [1, 0]]), name="turn")
DECAYING = nl.GD(0.1, weight_decay=0.1)
test_bad_input = refusals(
    [
        (lambda U, x0: nl.drift(U, 0.1, x0, 3), TypeError, "algorithm must be an Algorithm"),
        (lambda *_: nl.drift(nl.potentials.Radial(2), nl.GD(0.1), [1.0, 0.0], 3, laws=[TURN]), "'turn' has no quantity Q"),
        *((lambda *_, m=m: nl.HeavyBall(0.1, m), rf"momentum={m:g} is out of range") for m in (1.0, -0.1, np.nan)),
        *((lambda *_, d=d: nl.HeavyBall(0.1, 0.5, d), rf"dampening={d:g} is out of range") for d in (1.0, -0.1, np.nan)),
        (lambda *_: nl.GD(0.1, weight_decay=-1), "weight_decay=-1 is out of range"),
        (lambda U, x0: nl.integrate(U, DECAYING, x0, 3, input_reduction=True, backend="cpu"), "no weight decay"),
        (lambda U, x0: nl.ensemble(U, [nl.GD(0.1), DECAYING], [x0, x0], 3), r"algorithm\[1\].*by its lr only"),
        (lambda *_: nl.figures.batch_size(seeds=1), "seeds"),
    ],
    lambda call: call(*layers()),
)  # fmt: skip
