"""Exponentiated gradient and ℓ_p steepest descent: laws of their flows, exact discrete forms, and who has none."""

import numpy as np
import pytest
from problems import EPS, problem
from scipy.integrate import solve_ivp

import noetherlite as nl
from noetherlite import arch

compiled = pytest.mark.needs_jit
# a nonnegative matrix of rank 2 as the product of two that stay positive: U = ½|W2 W1 X − Y|²/N with X the identity
RANK = 2
NET = nl.Network([4, RANK, 3], "linear", bias=False, loss="mse")
_rng = np.random.default_rng(0)
TARGET = _rng.uniform(0.2, 1, (4, RANK)) @ _rng.uniform(0.2, 1, (RANK, 3))
U = NET.potential(np.eye(4), TARGET)
X0 = _rng.uniform(0.3, 0.9, NET.n_params)


def sums(size, net=NET):
    """Σw + b − Σu of every neuron, of |x| what the mirror flow of the entropy keeps."""
    parts = net.unpack(size)
    return parts["W1"].sum(axis=1) - parts["W2"].sum(axis=0) + parts.get("b1", 0)


def change_of_sums(x, net=NET):
    """The changes of `sums` from the first row of x, of shape (R, P), to its last."""
    return sums(np.abs(x[-1]), net) - sums(np.abs(x[0]), net)


def divergence(x, following):
    """KL(x‖x') of every coordinate, without its sign: x log(x/x') − x + x'."""
    x, following = np.abs(x), np.abs(following)
    return x * np.log(x / following) - x + following


# --- exponentiated gradient ---------------------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_step_changes_the_sums_by_their_divergences(batch_size):
    """(Σw' − Σu') − (Σw − Σu) = KL(w‖w') − KL(u‖u') over ten thousand steps: of NMF, and of neurons with biases and signs."""
    net, potential, x0 = problem("relu", loss="nll", widths=(3, 4, 3), n=12)
    for network, of, start, steps in ((NET, U, X0, 10_000), (net, potential, x0, 2_000)):
        options = {"record_params": True, "batch_size": batch_size, "rng": 0}
        x = nl.integrate(of, nl.ExponentiatedGradient(0.02), start, steps, **options).params
        assert (np.sign(x) == np.sign(start)).all()
        made = sums(divergence(x[:-1], x[1:]).sum(axis=0), network)
        change = change_of_sums(x, network)
        allowed = 8 * steps * EPS * network.n_params * np.abs(x).max()
        assert np.abs(change - made).max() < allowed
        assert np.abs(change).max() > 1e3 * allowed  # the law says something


def test_with_momentum_the_sums_have_no_such_law():
    """Negative control, and so for a network whose neurons have no scaling."""
    tanh = problem("tanh", loss="nll", widths=(3, 4, 3), n=12)
    for (net, potential, x0), momentum in (((NET, U, X0), 0.5), (tanh, 0.0)):
        algorithm = nl.ExponentiatedGradient(0.02, momentum)
        x = nl.integrate(potential, algorithm, x0, 100, record_params=True, backend="reference").params
        assert np.abs(change_of_sums(x, net) - sums(divergence(x[:-1], x[1:]).sum(axis=0), net)).max() > 1e-4


@compiled
def test_matrix_factorisation_has_r_laws_and_none_with_momentum():
    """The sums move by O(η) to a fixed time; with inertia they move however small the steps are. Counted: r, and gl(r) is no more."""

    def moved(algorithm, steps):
        x = nl.integrate(U, algorithm, X0, steps, record_params=True, record_every=steps).params
        return np.abs(change_of_sums(x)).max()

    first = [moved(nl.ExponentiatedGradient(2 / n), n) for n in (200, 400, 800)]
    assert first[0] / first[1] == pytest.approx(2, rel=0.05)
    assert first[1] / first[2] == pytest.approx(2, rel=0.05)
    # β = 1 − h and η = h²/(1 − β) = h: log x'' + log x' = −∇U as h → 0
    inertia = [moved(nl.ExponentiatedGradient(4 / n, 1 - 4 / n), n) for n in (400, 800, 1600)]
    assert inertia[2] == pytest.approx(inertia[1], rel=0.05)
    assert inertia[2] > 10 * first[2]
    assert int(nl.count_laws(arch.MLP([4, RANK, 3], "linear", bias=False), "mirror")) == RANK
    run = nl.integrate(U, nl.ExponentiatedGradient(1e-3), X0, 2000, record_every=2000)
    assert np.abs(run.laws["linear:1"].residual).max() > 1e-2  # the matrix of gradient flow is not kept


def flow(potential, field, x0, duration):
    options = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-12}
    return solve_ivp(lambda _, x: field(x, potential.gradient(x)), (0, duration), x0, **options).y[:, -1]


@compiled
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (nl.ExponentiatedGradient, lambda x, g: -np.abs(x) * g),
        (lambda lr: nl.SteepestDescent(lr, 1.6), lambda x, g: -np.sign(g) * np.abs(g) ** (1 / 0.6)),
    ],
    ids=["exponentiated gradient", "steepest descent"],
)
def test_of_first_order_to_its_flow(make, field):
    exact = flow(U, field, X0, 1.0)
    errors = [np.linalg.norm(nl.integrate(U, make(1 / n), X0, n, laws=None).x - exact) for n in (100, 200, 400)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)
    assert np.linalg.norm(exact - X0) > 0.05


@compiled
def test_exponentiated_gradient_finds_the_factors():
    run = nl.integrate(U, nl.ExponentiatedGradient(0.5), X0, 20_000, laws=None, record_every=20_000)
    assert run.loss[-1] < 1e-12 * run.loss[0]
    assert (run.x > 0).all()
    zero = X0.copy()
    zero[0] = 0
    assert nl.integrate(U, nl.ExponentiatedGradient(0.5), zero, 10, backend="reference").x[0] == 0


# --- steepest descent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.5, 3.0, 10.0])
def test_single_weights_keep_differences_of_powers(p):
    """½(uv − 2)²: A = |w|^q goes to A|1 − ηr/A|^q with the same r for both, exactly; as η → 0 their difference is kept."""
    product, q = nl.potentials.DiagonalLinear([[1.0]], [2.0]), p / (p - 1)
    moved = []
    for lr in (4e-3, 2e-3):
        algorithm = nl.SteepestDescent(lr, p)
        run = nl.integrate(product, algorithm, [1.2, 0.7], round(1.0 / lr), record_params=True, backend="reference")
        A = np.abs(run.params) ** q
        moved.append(abs(np.ptp((A[:, 0] - A[:, 1])[[0, -1]])))
        force = np.array([product.gradient(x) for x in run.params[:-1]])
        r = np.sign(run.params[:-1] * force) * np.abs(run.params[:-1] * force) ** (q - 1)
        following = A[:-1] * np.abs(1 - lr * r[:, [0]] / A[:-1]) ** q  # of both by the r of the first
        assert np.abs(following - A[1:]).max() < 64 * q * EPS * A.max()
        wrong = A[:-1] * np.abs(1 - lr * 1.01 * r[:, [0]] / A[:-1]) ** q
        assert np.abs(wrong - A[1:]).max() > 1e6 * EPS * A.max()
        squares = np.diff(run.params[[0, -1]] ** 2, axis=0)[0]
        assert abs(squares[0] - squares[1]) > 10 * moved[-1] + 1e-3  # gradient descent's law is another
    assert moved[0] / moved[1] == pytest.approx(2, rel=0.1)


def test_p_of_two_is_gradient_descent_and_a_large_p_its_sign():
    for algorithm, other, allowed in (
        (nl.SteepestDescent(0.01, 2.0, weight_decay=0.1), nl.GD(0.01, weight_decay=0.1), 64 * 50 * EPS),
        (nl.SteepestDescent(0.001, 1e9), nl.SignGD(0.001), 1e-8),
    ):
        runs = [nl.integrate(U, a, X0, 50, backend="reference") for a in (algorithm, other)]
        assert np.abs(runs[0].x - runs[1].x).max() <= allowed
    with pytest.raises(ValueError, match="p=1"):
        nl.SteepestDescent(0.1, 1.0)
    with pytest.raises(ValueError, match="momentum=1"):
        nl.ExponentiatedGradient(0.1, 1.0)


def test_a_bowl_is_left_at_the_size_of_a_step():
    """Near the minimum of ½k x² a step is η√(k|x|) for p = 3, so that it ends within η²k."""
    bowl, lr = nl.potentials.Harmonic(np.diag([1.0, 4.0])), 0.01
    run = nl.integrate(bowl, nl.SteepestDescent(lr, 3.0), [1.0, -1.0], 1000, backend="reference", laws=None)
    assert (np.abs(run.x) <= lr**2 * np.array([1.0, 4.0])).all()
