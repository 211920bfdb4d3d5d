"""The tangent kernel: against the Jacobian, what it predicts, its infinite-width limit, and how that is approached."""

import dataclasses
import itertools
import math
import tracemalloc

import numpy as np
import pytest
from problems import ACTIVATIONS, EPS, point, refusals

import noetherlite as nl
from noetherlite import ntk
from noetherlite._problem.activations import parse
from noetherlite._theory import ntk_kernel, ntk_limit
from noetherlite._theory.ntk_limit import _moments


def jacobian(net, theta, X):
    return net.jacobian(theta, X).reshape(-1, net.n_params)


# --- the kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 6, 256], ids=lambda n: f"blocks of {n}")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, ["swish", "relu"], ["tanh", "swish"]], ids=str)
def test_kernel_is_the_product_of_jacobians(activation, bias, rows, monkeypatch):
    monkeypatch.setattr(ntk_kernel, "_ROWS", rows)
    rng = np.random.default_rng(5)
    net = nl.Network([3, 5, 4, 2], activation, bias=bias)
    theta, X1, X2 = point(net, rng), rng.normal(size=(11, 3)), rng.normal(size=(4, 3))
    J1, J2 = jacobian(net, theta, X1), jacobian(net, theta, X2)
    size1, size2 = np.linalg.norm(J1, axis=1), np.linalg.norm(J2, axis=1)
    # ⟨J_r, J_c⟩ rounds to some eps |J_r||J_c|; what J itself has lost by cancellation, the largest rows show.
    tolerance = 64 * EPS * max(size1.max(), size2.max()) ** 2
    K = ntk.kernel(net, theta, X1)
    np.testing.assert_allclose(K, J1 @ J1.T, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_allclose(ntk.kernel(net, theta, X1, X2), J1 @ J2.T, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ntk.kernel(net, theta, X2, X1), J2 @ J1.T, rtol=0, atol=tolerance)


def test_every_kind_of_parameter_counts():
    """Negative control: without its columns for W, b or β, JJᵀ is another matrix."""
    rng = np.random.default_rng(6)
    net = nl.Network([3, 5, 2], "swish")
    theta, X = point(net, rng), rng.normal(size=(6, 3))
    K, J = ntk.kernel(net, theta, X), jacobian(net, theta, X)
    for block in net.blocks:
        rest = np.delete(J, np.arange(block.start, block.stop), axis=1)
        assert np.abs(K - rest @ rest.T).max() > 1e-3 * np.abs(K).max()


@pytest.mark.parametrize("bias", [True, False])
def test_kernel_without_hidden_layers(bias):
    net = nl.Network([3, 2], bias=bias)
    X = np.random.default_rng(7).normal(size=(5, 3))
    K = ntk.kernel(net, net.init(0), X)
    np.testing.assert_allclose(K, np.kron(X @ X.T + bias, np.eye(2)), rtol=0, atol=64 * EPS * np.abs(K).max())


def peak(function):
    tracemalloc.start()
    out = function()
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return out, used / 8  # in numbers


@pytest.mark.parametrize(
    ("widths", "activation", "N", "other"),
    [
        ([8, 400, 300, 1], "relu", 64, 0),  # few samples, many parameters
        ([8, 400, 300, 1], "swish", 64, 40),
        ([8, 64, 64, 2], "swish", 700, 0),  # many blocks
        ([8, 64, 64, 3], "tanh", 700, 500),
    ],
)
def test_a_kernel_takes_little_memory(widths, activation, N, other):
    rng = np.random.default_rng(8)
    net = nl.Network(widths, activation, loss="mse")
    theta, X1 = net.init(rng), rng.normal(size=(N, 8))
    X2 = rng.normal(size=(other, 8)) if other else None
    ntk.kernel(net, theta, X1[:2])  # what the first call alone imports
    K, used = peak(lambda: ntk.kernel(net, theta, X1, X2))
    B, hidden = max(256, *widths[1:]), sum(widths[1:])
    promised = B * (12 * hidden + 2 * widths[0] + 4 * B)
    slack = 4096  # Python's own objects
    assert K.size < used < K.size + promised + slack
    if N == 64:
        rows = K.shape[0] + (0 if X2 is None else K.shape[1])
        assert used < 0.25 * rows * net.n_params
        J, whole = peak(lambda: jacobian(net, theta, X1))  # negative control: this one is stored whole
        assert whole >= J.size


# --- predictions -----------------------------------------------------------------------------------------------------

DYNAMICS = {
    "GF": nl.GF,
    "ND": nl.ND,
    "NAGF": nl.NAGF,
    "gradient flow with friction": nl.Dynamics(0.0, 2.5, 0.0),
    "massive": nl.Dynamics(3.0, 0.0, 0.0),
    "alpha 1/2": nl.Dynamics(1.0, 0.0, 0.5),
    "alpha 7.3, massive": nl.Dynamics(2.0, 0.0, 7.3),
    "heavy ball": nl.Dynamics(1.0, 0.7, 0.0),
    "all of it": nl.Dynamics(0.6, 0.4, 3.0),
}


@pytest.mark.parametrize("dynamics", DYNAMICS.values(), ids=DYNAMICS)
@pytest.mark.parametrize("bias", [True, False])
def test_prediction_is_exact_for_a_linear_model(dynamics, bias):
    """A network without hidden layers is its own linearisation: its continuous training gives u(t), and so N."""
    rng = np.random.default_rng(9)
    net = nl.Network([4, 3], bias=bias, loss="mse")
    X, y, theta = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), net.init(1)
    t = np.array([0.0, 0.3, 1.0, 4.0, 12.0])
    flow = nl.reference_flow(net.potential(X, y), dynamics, theta, t)
    u = np.array([net.predict(x, X) - y for x in flow.x])
    K = ntk.kernel(net, theta, X)
    predicted = ntk.predict(K, u[0], t, dynamics)
    assert predicted.shape == (5, 6, 3)
    # the reference has the tolerances 1e-12 and 1e-13 per step, and takes some hundred steps
    np.testing.assert_allclose(predicted, u, rtol=0, atol=1e-10 * np.abs(u).max())
    flat = ntk.predict(K, u[0].ravel(), t, dynamics, n_samples=6)
    np.testing.assert_array_equal(flat.reshape(u.shape), predicted)
    wrong = ntk.predict(K, u[0].ravel(), t, dynamics)  # negative control: N = 18
    np.testing.assert_array_equal(wrong, ntk.predict(K, u[0].ravel(), t, dynamics, n_samples=18))
    assert np.abs(wrong.reshape(u.shape) - u).max() > 0.01 * np.abs(u).max()


@pytest.mark.parametrize(
    ("alpha", "formula"),
    [
        (0, np.cos),
        (2, lambda z: np.sin(z) / z),
        (4, lambda z: 3 * (np.sin(z) - z * np.cos(z)) / z**3),
        (6, lambda z: 15 * ((3 - z**2) * np.sin(z) - 3 * z * np.cos(z)) / z**5),
    ],
)
def test_bessel_functions_of_half_order_are_elementary(alpha, formula):
    t = np.geomspace(0.5, 1e4, 300)
    u = ntk.predict([[4.0]], [1.0], t, nl.Dynamics(1.0, 0.0, alpha))[:, 0]
    # z itself is known to eps z, on which u depends with |u′| ≤ 1
    np.testing.assert_allclose(u, formula(2 * t), rtol=0, atol=EPS * (500 + 2 * t.max()))


@pytest.mark.parametrize("dynamics", [nl.GF, nl.ND, nl.NAGF, nl.Dynamics(2, 0.5, 0), nl.Dynamics(1, 0.5, 2.0)])
def test_parameters_of_the_linearised_network_have_its_residual_and_obey_its_equation(dynamics):
    net = nl.Network([3, 4, 2], "tanh", loss="mse")
    rng = np.random.default_rng(4)
    X, y, x, t = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), net.init(rng=2), np.linspace(0.0, 6.0, 61)
    J = net.jacobian(x, X).reshape(10, -1)
    u0 = net.predict(x, X) - y
    moved = ntk.predict_parameters(net, x, X, y, t, dynamics) - x
    u = ntk.predict(ntk.kernel(net, x, X), u0, t, dynamics).reshape(61, 10)
    np.testing.assert_allclose(u0.ravel() + moved @ J.T, u, rtol=0, atol=1e-9)
    assert np.abs(u - u0.ravel()).max() > 0.1
    # minimal norm: what moves lies in the span of the gradients of the outputs
    outside = moved - np.linalg.lstsq(J.T, moved.T, rcond=None)[0].T @ J
    assert np.abs(outside).max() <= 1e-9
    flow = nl.reference_flow(nl.potentials.Callable(lambda d: linearised(d, J, u0.ravel()), len(x)), dynamics, 0 * x, t)
    np.testing.assert_allclose(moved, flow.x, rtol=0, atol=1e-7)


def linearised(moved, J, u0):
    """U and ∇U of the linearised network, 5 samples."""
    u = u0 + J @ moved
    return u @ u / 10, J.T @ u / 5


def test_parameters_of_the_linearised_network_need_mse():
    with pytest.raises(ValueError, match="net must have the loss 'mse', got 'nll'"):
        ntk.predict_parameters(nl.Network([2, 2]), np.zeros(6), np.eye(2), [0, 1], 1.0, nl.GF)
    net = nl.Network([2, 1], loss="mse")
    with pytest.raises(ValueError, match="t must hold times >= 0"):
        ntk.predict_parameters(net, np.zeros(3), np.eye(2), [[0.0], [1]], -1.0, nl.GF)
    assert ntk.predict_parameters(net, np.zeros(3), np.eye(2), [[0.0], [1]], 1.0, nl.GF).shape == (3,)


def test_prediction_near_the_start_is_its_series():
    t = np.geomspace(1e-12, 1e-4, 50)
    for alpha in (0.0, 1.0, 3.0, 60.0, 100.0, 300.0):
        u = ntk.predict([[1.0]], [1.0], t, nl.Dynamics(1.0, 0.0, alpha))[:, 0]
        np.testing.assert_allclose(u, 1 - t**2 / (2 * (1 + alpha)), rtol=0, atol=1e-15)


@pytest.mark.uncounted
def test_closed_form_and_numerical_solution_meet(monkeypatch):
    t, dynamics = np.array([0.0, 1.0, 30.0]), nl.Dynamics(1.0, 0.0, 100.0)
    K, u0 = np.diag([0.0, 1.0, 9.0]), np.ones(3)
    closed = ntk.predict(K, u0, t, dynamics, n_samples=1)
    monkeypatch.setattr(ntk_kernel, "_LARGEST_CLOSED", 0.0)
    np.testing.assert_allclose(ntk.predict(K, u0, t, dynamics, n_samples=1), closed, rtol=0, atol=1e-11)
    np.testing.assert_allclose(closed[:, 0], 1.0, rtol=4 * EPS)
    assert np.abs(closed[2, 1:]).max() < 0.9


def test_times_may_be_one_number_or_in_any_order():
    K, u0 = np.diag([1.0, 2.0]), [[1.0], [2.0]]
    for dynamics in (nl.NAGF, nl.Dynamics(1.0, 1.0, 1.0)):
        u = ntk.predict(K, u0, [2.0, 0.0, 2.0, 1.0], dynamics)
        np.testing.assert_array_equal(u[0], u[2])
        np.testing.assert_array_equal(u[1], u0)
        one = ntk.predict(K, u0, 1.0, dynamics)
        assert one.shape == (2, 1)
        np.testing.assert_allclose(one, u[3], atol=1e-11)


# --- infinite width --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.1, 1.0), (0.7, 0.7)])
def test_moments_are_gaussian_integrals(low, high):
    """In polar coordinates of (z, z′) only an integral over the angle is left; between the kinks it is trigonometric."""
    one, other = 1.7, 0.4
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for angle in (0.0, 0.3, np.pi / 2, 2.9, np.pi):
        kinks = np.sort(np.mod([np.pi / 2, 3 * np.pi / 2, angle + np.pi / 2, angle - np.pi / 2], 2 * np.pi))
        ends = np.concatenate([[kinks[-1] - 2 * np.pi], kinks])
        products = derivatives = 0.0
        for a, b in itertools.pairwise(ends):
            phi, w = 0.5 * (a + b + (b - a) * nodes), 0.5 * (b - a) * weights
            z, other_z = np.cos(phi), np.cos(phi - angle)
            slope, other_slope = np.where(z > 0, high, low), np.where(other_z > 0, high, low)
            products += np.sqrt(one * other) / np.pi * w @ (slope * z * other_slope * other_z)  # ∫ r³e^{−r²/2} = 2
            derivatives += w @ (slope * other_slope) / (2 * np.pi)
        covariance = np.array(np.cos(angle) * np.sqrt(one * other))
        moments = _moments(covariance, np.array(one), np.array(other), low, high)
        # arccos loses half of the digits next to 0 and π
        np.testing.assert_allclose(moments, [products, derivatives], rtol=0, atol=1e-8)


SAMPLES = np.random.default_rng(11).normal(size=(5, 3))


@pytest.mark.parametrize("bias_std", [None, 0.0, 0.7])
@pytest.mark.parametrize("scheme", ["lecun", "he", "xavier", "ntk"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.3)", "linear(0.7)"])
def test_mean_kernel_of_one_hidden_layer_is_the_limit_at_any_width(activation, scheme, bias_std):
    net = nl.Network([3, 6, 2], activation, bias=bias_std is not None, loss="mse")
    std = bias_std or 0.0
    seeds = np.random.default_rng(12).integers(2**63, size=400)
    kernels = np.array([ntk.kernel(net, net.init(int(s), scheme, std), SAMPLES) for s in seeds])
    error = kernels.std(axis=0, ddof=1) / np.sqrt(len(seeds))
    limit = ntk.infinite_width(net, SAMPLES, scheme=scheme, bias_std=std)
    # 55 different entries in each of 36 cases: 5 standard errors happen by chance once in a thousand such tests.
    assert (np.abs(kernels.mean(axis=0) - limit) <= 5 * error + 1e-13).all()
    other = ntk.infinite_width(net, SAMPLES, scheme="he" if scheme != "he" else "lecun", bias_std=std)
    assert (np.abs(kernels.mean(axis=0) - other) > 5 * error).any()  # negative control: other variances


def slope(study, widths, distances):
    """Exponent of distance against width and its standard error, from the scatter of the seeds."""
    return dataclasses.replace(study, widths=np.array(widths)).exponent(np.array(distances))


@pytest.mark.parametrize(
    ("hidden", "activation", "bias_std"),
    [(1, "relu", 0.5), (2, "relu", None), (3, "relu", 0.3), (2, "leaky_relu(0.2)", 0.0), (4, "linear", 0.2)],
)
@pytest.mark.uncounted
def test_kernel_approaches_its_limit_like_one_over_the_root_of_width(hidden, activation, bias_std, study):
    widths, seeds = [64, 128, 256, 512], 12
    std, distances, wrong = bias_std or 0.0, [], []
    for n in widths:
        net = nl.Network([3, *[n] * hidden, 1], activation, bias=bias_std is not None, loss="mse")
        limit = ntk.infinite_width(net, SAMPLES, scheme="ntk", bias_std=std)
        other = ntk.infinite_width(net, SAMPLES, scheme="he", bias_std=std)
        kernels = [ntk.kernel(net, net.init(1000 * n + s, "ntk", std), SAMPLES) for s in range(seeds)]
        distances.append([np.linalg.norm(K - limit) / np.linalg.norm(limit) for K in kernels])
        wrong.append([np.linalg.norm(K - other) / np.linalg.norm(other) for K in kernels])
    p, error = slope(study, widths, distances)
    assert error < 0.15
    assert abs(p + 0.5) < 4 * error
    p, error = slope(study, widths, wrong)  # negative control: this limit is not approached
    assert abs(p) < 0.25
    assert abs(p + 0.5) > 4 * error


def test_limit_and_kernel_agree_where_pre_activations_vanish():
    """A sample of zeros stays at the kink, where σ′(0) is the slope below, and on it every other kernel is exact."""
    X = np.vstack([np.zeros(3), SAMPLES])
    for activation in ("relu", "leaky_relu(0.3)"):
        for bias in (True, False):
            net = nl.Network([3, 400_000, 1], activation, bias=bias, loss="mse")
            K, limit = ntk.kernel(net, net.init(13), X), ntk.infinite_width(net, X)
            np.testing.assert_allclose(K[0], limit[0], rtol=0, atol=0.02)
            assert np.abs(limit[1:, 1:]).min() > 1
    net = nl.Network([3, 8, 8, 1], "relu", bias=False, loss="mse")
    assert not ntk.infinite_width(net, X)[0].any()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.3)"])
def test_limit_between_two_sets_is_a_block_of_the_limit_on_both(activation):
    net = nl.Network([3, 7, 9, 5, 2], activation, loss="mse")
    whole = ntk.infinite_width(net, SAMPLES, bias_std=0.2)
    np.testing.assert_array_equal(whole, whole.T)
    assert np.linalg.eigvalsh(whole)[0] > -EPS * 100 * np.abs(whole).max()
    np.testing.assert_allclose(
        ntk.infinite_width(net, SAMPLES[:2], SAMPLES[2:], bias_std=0.2), whole[:4, 4:], rtol=1e-13
    )
    np.testing.assert_allclose(ntk.infinite_width(net, SAMPLES, SAMPLES.copy(), bias_std=0.2), whole, rtol=1e-7)


# --- the width study -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    return ntk.width_study(widths=(16, 32, 64, 128), n_seeds=8)


def test_study_has_the_shape_of_its_arguments(study):
    assert study.dynamics == ("GF", "ND", "NAGF")
    for values in (study.movement, study.drift, study.gap, study.limit_gap):
        assert values.shape == (3, 4, 8)
        assert (values > 0).all()
    assert study.distance.shape == (4, 8)
    again = ntk.width_study(widths=(16, 32), n_seeds=2, steps=3, rng=5)
    same = ntk.width_study(widths=(16, 32), n_seeds=2, steps=3, rng=5)
    np.testing.assert_array_equal(again.gap, same.gap)
    assert len(np.unique(study.distance)) == study.distance.size  # all seeds are independent


def test_wide_networks_move_less_and_stay_closer_to_their_linearisation(study):
    for values, slowest in ((study.movement, -0.2), (study.drift, -0.3), (study.gap, -0.3), (study.limit_gap, -0.2)):
        p, error = study.exponent(values)
        assert (p + 4 * error < 0).all()
        assert (p - 4 * error < slowest).all()
    p, error = study.exponent(study.distance)
    assert abs(p + 0.5) < 4 * error


def test_exponents_and_their_errors(study):
    rng = np.random.default_rng(14)
    x = study.widths[:, None]
    p, error = study.exponent(np.broadcast_to(3 * x**-0.75, (4, 8)))
    np.testing.assert_allclose([p, error], [-0.75, 0.0], atol=100 * EPS)
    many = 3 * x**-0.75 * np.exp(0.2 * rng.normal(size=(500, 4, 8)))
    p, error = study.exponent(many)
    true = 0.2 / np.sqrt(8 * np.log(study.widths).var() * 4)  # of a least-squares slope
    assert abs((error**2).mean() / true**2 - 1) < 0.15  # the mean of 500 χ²/7 scatters by 2.4 %
    assert abs(p.std() / true - 1) < 0.15
    assert abs(p.mean() + 0.75) < 4 * true / np.sqrt(500)


def test_gap_is_of_second_order_in_time_and_the_limits_of_first():
    """The linearised network has the network's own first step: a wrong kernel or normalisation would not."""
    first = ntk.width_study(widths=(32, 64), n_seeds=3, steps=1, lr=1e-3, activation="linear")
    second = ntk.width_study(widths=(32, 64), n_seeds=3, steps=1, lr=5e-4, activation="linear")
    np.testing.assert_allclose(first.gap / second.gap, 4, rtol=0.02)
    np.testing.assert_allclose(first.limit_gap / second.limit_gap, 2, rtol=0.02)
    np.testing.assert_allclose(first.movement / second.movement, 2, rtol=0.02)


def test_study_of_data_of_ones_own():
    data = nl.Dataset(SAMPLES, SAMPLES[:, :2] ** 2, "mine")
    study = ntk.width_study(data, (8, 12), n_seeds=2, hidden_layers=1, activation="leaky_relu(0.1)", steps=5, rng=1)
    assert study.settings["dataset"] == "mine"
    assert study.settings["network"]["widths"] == [3, 12, 2]


@pytest.mark.filterwarnings("error")
def test_exponents_of_other_arrays(study):
    assert np.isnan(study.exponent(0 * study.gap)).all()
    for wrong, error in ((study.gap[0, 0], ValueError), (study.gap[:, :1], ValueError), ("gap", TypeError)):
        with pytest.raises(error, match="values must h"):
            study.exponent(wrong)


def test_figure_shows_the_study(study):
    figure, numbers = nl.figures.ntk_widths(study)
    assert len(figure.axes) == 4
    assert all(ax.get_yscale() == "log" for ax in figure.axes)
    p, error = study.exponent(study.gap)
    assert numbers["exponents"]["gap"] == {n: (p[i], error[i]) for i, n in enumerate(study.dynamics)}
    assert set(numbers["exponents"]["limit_gap"]) == {"GF", "ND", "NAGF", "K(0)"}
    np.testing.assert_array_equal(numbers["drift"], study.drift)


# --- bad input -------------------------------------------------------------------------------------------------------

NET = nl.Network([3, 4, 2], "relu", loss="mse")
THETA = NET.init(0)


test_bad_input = refusals(
    [
        (lambda: ntk.kernel("net", THETA, SAMPLES), TypeError, "net must be a Network, got 'net'"),
        (lambda: ntk.kernel(NET, THETA[1:], SAMPLES), ValueError, r"theta must have shape \(26,\), got \(25,\)"),
        (lambda: ntk.kernel(NET, THETA * np.nan, SAMPLES), ValueError, "theta must be finite, got nan at index"),
        (lambda: ntk.kernel(NET, THETA, SAMPLES[:, :2]), ValueError, "X1 must have 3 columns, one per input, got 2"),
        (lambda: ntk.kernel(NET, THETA, SAMPLES, SAMPLES[:, :2]), ValueError, "X2 must have 3 columns"),
        (lambda: ntk.kernel(NET, THETA, SAMPLES[0]), ValueError, "X1 must be 2-dimensional"),
        (lambda: ntk.kernel(NET, THETA, SAMPLES, SAMPLES * np.inf), ValueError, "X2 must be finite"),
        (lambda: ntk.kernel(NET, THETA, SAMPLES[:0]), ValueError, "X1 holds no samples"),
        (lambda: ntk.kernel(NET, THETA, [["a", "b", "c"]]), TypeError, "X1 must hold real numbers"),
        (lambda: ntk.predict(np.eye(3), np.ones(2), [0.0], nl.GF), ValueError, r"kernel must have shape \(2, 2\), got"),
        (lambda: ntk.predict(np.eye(2) * np.nan, np.ones(2), 0.0, nl.GF), ValueError, "kernel must be finite"),
        (lambda: ntk.predict([[1, 2], [0, 1]], np.ones(2), 0.0, nl.GF), ValueError, "kernel must be symmetric"),
        (lambda: ntk.predict(np.diag([1, -1]), np.ones(2), 0.0, nl.GF), ValueError, "kernel must be positive semi-def"),
        (lambda: ntk.predict(np.eye(1), [], 0.0, nl.GF), ValueError, "u0 must hold at least one number"),
        (lambda: ntk.predict(np.eye(1), 1.0, 0.0, nl.GF), ValueError, "u0 must be 1-dimensional or 2-dim"),
        (lambda: ntk.predict(np.eye(1), [1.0], [1.0, -2.0], nl.GF), ValueError, "t must hold times >= 0, got -2"),
        (lambda: ntk.predict(np.eye(1), [1.0], [np.nan], nl.GF), ValueError, "t must be finite"),
        (lambda: ntk.predict(np.eye(1), [1.0], 1.0, "GF"), TypeError, "dynamics must be a Dynamics"),
        (lambda: ntk.predict(np.eye(1), [1.0], 1.0, nl.GF, 0), ValueError, "n_samples=0 is out of range"),
        (lambda: ntk.infinite_width(3, SAMPLES), TypeError, "net must be a Network"),
        (lambda: ntk.infinite_width(nl.Network([3, 4, 2], "swish"), SAMPLES), ValueError, "net has the activation 'swish'"),
        (lambda: ntk.infinite_width(NET, SAMPLES, SAMPLES[:, :1]), ValueError, "X2 must have 3 columns"),
        (lambda: ntk.infinite_width(NET, SAMPLES, scheme="hee"), ValueError, r"scheme='hee' .* \(did you mean 'he'\?\)"),
        (lambda: ntk.infinite_width(NET, SAMPLES, bias_std=-1), ValueError, "bias_std=-1 is out of range"),
        (lambda: ntk.width_study(3), TypeError, "data must be a Dataset with targets"),
        (lambda: ntk.width_study(nl.datasets.glyphs(4)), TypeError, "data must be a Dataset with targets"),
        (lambda: ntk.width_study(widths=(4, 2)), ValueError, "widths must be two or more increasing integers"),
        (lambda: ntk.width_study(widths=(4,)), ValueError, "widths must be two or more increasing"),
        (lambda: ntk.width_study(widths=(4, 5.0)), TypeError, r"widths\[1\] must be an integer"),
        (lambda: ntk.width_study(widths=3), TypeError, "widths must be a sequence of integers, got 3"),
        (lambda: ntk.width_study(n_seeds=1), ValueError, "n_seeds=1 is out of range"),
        (lambda: ntk.width_study(hidden_layers=0), ValueError, "hidden_layers=0 is out of range"),
        (lambda: ntk.width_study(lr=2), ValueError, "lr=2 is out of range"),
        (lambda: ntk.width_study(steps=0), ValueError, "steps=0 is out of range"),
        (lambda: ntk.width_study(widths=(4, 5), activation="swish"), ValueError, r"has the activation 'swish'"),
    ]
)  # fmt: skip


# --- friction in closed form, and tanh ---


@pytest.mark.parametrize(
    ("square", "gamma", "mass"), [(1, 0.25, 1), (4, 4, 1), (4, 3.75, 1), (0.0625, 5, 1), (0, 1, 2)]
)
def test_damped_oscillators_solve_their_equation_for_long_times(square, gamma, mass):
    """Against the exponentials of their matrix, by halving and squaring; critically damped where γ² = 4mω²."""
    from scipy.linalg import expm

    A = np.array([[0.0, 1.0], [-square / mass, -gamma / mass]])
    times = np.array([0.0, 0.5, 3.0, 40.0])
    predicted = ntk.predict([[square]], [1.0], times, nl.Dynamics(mass, gamma, 0))[:, 0]
    np.testing.assert_allclose(predicted, [expm(A * t)[0, 0] for t in times], rtol=0, atol=1e3 * EPS)


def test_weak_friction_over_many_periods():
    t, friction = 2.0e4, 5e-5
    frequency = np.sqrt((1 - friction) * (1 + friction))
    exact = np.exp(-friction * t) * (np.cos(frequency * t) + friction * np.sin(frequency * t) / frequency)
    predicted = ntk.predict([[1.0]], [1.0], t, nl.Dynamics(1, 2 * friction, 0))[0]
    assert abs(predicted - exact) < 4 * t * EPS  # the rounding of the phase; DOP853 was off by 3e-10


def test_what_has_decayed_is_zero_without_a_warning():
    with np.errstate(all="raise"):
        for dynamics in (nl.GF, nl.Dynamics(1, 0.5, 0)):
            assert not ntk.predict(np.diag([1.0, 2.0]), np.ones((2, 1)), [1e6], dynamics).any()


OTHERS = [
    "swish(2)",
    "gaussian",
    "softsign",
    "hard_tanh",
    "elu(0.5)",
    "celu(0.5)",
    "polynomial(3)",
    "repu(2)",
    "repu(1.5)",
]


@pytest.mark.parametrize(
    ("activation", "width", "seeds", "largest"),
    [("tanh", 400, 100, 0.01), *[(a, 100, 60, 0.05) for a in ("erf", "sin", "cos", "exp", "abs", "gelu", "softplus")]]
    + [(a, 400, 60, 0.05) for a in OTHERS],
)
def test_infinite_width_against_the_mean(activation, width, seeds, largest):
    """One hidden layer: the limit is the mean of the kernel at any width, here to five standard errors; wide where tails are heavy."""
    net = nl.Network([3, width, 1], activation, loss="mse")
    X = np.array([[0.6, 0.3, -0.2], [0.5, -0.7, 0.4]])
    many = np.array([ntk.kernel(net, net.init(seed, "ntk"), X) for seed in range(seeds)])
    error = many.std(axis=0, ddof=1) / math.sqrt(seeds)
    limit = ntk.infinite_width(net, X, scheme="ntk")
    assert (np.abs(many.mean(axis=0) - limit) < 5 * error).all()
    assert (error < largest * np.abs(limit).max()).all()


@pytest.mark.parametrize("activation", ["erf", "gelu", *OTHERS])
def test_expectations_obey_prices_theorem_and_end_in_moments(activation):
    """∂E[σ(z)σ(z′)]/∂ρ = ss′ E[σ′(z)σ′(z′)]; at ρ = 1 and s = s′ = 1 the first is E[σ²], which `second_moment` sums in one dimension."""
    kind, one = parse(activation), np.ones((1, 1))
    same = ntk_limit._expectations(one, one, one, kind)[0]
    assert same[0, 0] == pytest.approx(kind.second_moment(), rel=1e-11)
    for s, other in ((0.3, 0.8), (1.0, 1.0), (2.0, 0.5)):
        for rho in (-0.7, 0.0, 0.5):
            step = 1e-3 * np.array([1, -1, 2, -2, 0])
            covariance = ((rho + step) * s * other)[:, None]
            value, slope = ntk_limit._expectations(covariance, s**2 + 0 * covariance, other**2 + 0 * covariance, kind)
            a, b, c, d, _ = value[:, 0] / 1e-3
            assert (8 * (a - b) - (c - d)) / 12 == pytest.approx(s * other * slope[-1, 0], rel=1e-8, abs=1e-9)


def test_expectations_where_a_variance_is_zero():
    for activation in OTHERS:
        kind, none, one = parse(activation), np.zeros((1, 1)), np.ones((1, 1))
        sigma, slope = (
            float(f(kind.constant, np.zeros(1))[0]) for f in (kind.kind.sigma_array, kind.kind.d_sigma_array)
        )
        value, derivative = ntk_limit._expectations(none, none, none, kind)
        assert (value[0, 0], derivative[0, 0]) == pytest.approx((sigma**2, slope**2), abs=1e-12)
        assert np.isfinite(ntk_limit._expectations(none, none, one, kind)).all()


def test_the_split_rule_has_relus_closed_form():
    cosine = np.array([[-1.0, -0.4, 0.0, 0.99, 1.0]])
    one, other = np.full((1, 5), 2.0), np.full((1, 5), 0.3)
    split = ntk_limit._split_at_zero(cosine, one, other, parse("leaky_relu(0.3)"))
    closed = _moments(cosine * one * other, one**2, other**2, 0.3, 1.0)
    for a, b in zip(split, closed, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("activation", ["erf", "sin", "cos", "exp"])
def test_closed_forms_are_what_the_quadrature_gives(activation):
    kind = parse(activation)
    one, other = np.array([[0.1], [1.0]]) + np.zeros(2), np.array([0.2, 0.7]) + np.zeros((2, 1))
    for cosine in (-0.9, 0.0, 0.6, 1.0):
        covariance = cosine * np.sqrt(one * other)
        closed = kind.kind.expectations(covariance, one, other)
        summed = ntk_limit._by_quadrature(np.full((2, 2), cosine), np.sqrt(one), np.sqrt(other), kind)
        for a, b in zip(closed, summed, strict=True):
            assert np.abs(a - b).max() <= 1e-10


FAR = [nl.GF, nl.ND, nl.NAGF, nl.Dynamics(1, 0, 0.5), nl.Dynamics(1, 2, 0), nl.Dynamics(1, 50, 0)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dynamics", FAR, ids=str)
@pytest.mark.parametrize("t", [1e154, 1e200, 1.7e308])
def test_at_absurd_times_modes_without_force_have_stayed_and_others_are_bounded(dynamics, t):
    u = ntk.predict(np.diag([2.0, 8.0, 0.0]), [1.0, 2.0, 3.0], t, dynamics)
    assert u[2] == 3.0
    assert (np.abs(u[:2]) <= ([1.0, 2.0] if dynamics == nl.ND else 1e-30)).all()


@pytest.mark.filterwarnings("error")
def test_rates_whose_squares_are_no_doubles():
    np.testing.assert_array_equal(ntk.predict(np.eye(2), [1.0, 2.0], 1e10, nl.Dynamics(1, 1e300, 0)), [1.0, 2.0])
    light, none = (ntk.predict(np.eye(2), [1.0, 2.0], 1.0, nl.Dynamics(m, 1, 0)) for m in (1e-300, 0))
    np.testing.assert_allclose(light, none, rtol=1e-15)


@pytest.mark.parametrize("dynamics", [nl.GF, nl.ND, nl.Dynamics(1, 1, 1), nl.Dynamics(1, 0, 200)], ids=str)
def test_no_times_are_no_rows(dynamics):
    assert ntk.predict(np.eye(2), [1.0, 2.0], [], dynamics).shape == (0, 2)


@pytest.mark.parametrize("activation", ["tanh", "logistic", "softplus", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("variance", [2.0, 30.0, 400.0])
def test_the_limit_where_pre_activations_are_large(activation, variance):
    """Gauss and Hermite's rule has no point where the slope of tanh is not zero: the mean of its square came out as half of itself."""
    kind = parse(activation).kind
    z = np.linspace(-12, 12, 200_001) * math.sqrt(variance)
    weight = np.exp(-(z**2) / (2 * variance))
    weight /= weight.sum()
    net = nl.Network([1, 5, 1], activation, bias=False, loss="mse")
    (K,) = ntk.infinite_width(net, [[math.sqrt(variance)]])
    expected = (kind.sigma_array(1.0, z) ** 2 @ weight) * 5 + (kind.d_sigma_array(1.0, z) ** 2 @ weight) * variance
    np.testing.assert_allclose(K, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4, 1e8, 1e120])
def test_closed_forms_keep_their_digits_at_any_variance(size):
    """E[σ²] and E[σ′²] of z of variance s²; for sin and cos beyond e^−2s² both are ½."""
    s, root = size, math.hypot(1, 2 * size)
    fading = math.exp(-2 * s * s) if s < 100 else 0.0
    known = {
        "erf": (1 - 4 / math.pi * math.atan2(1, root), 4 / math.pi / root),
        "gaussian": (1 / root, (2 * s / root) ** 2 / root),
        "sin": ((1 - fading) / 2, (1 + fading) / 2),
        "cos": ((1 + fading) / 2, (1 - fading) / 2),
    }
    for activation, (square, slope) in known.items():
        net = nl.Network([1, 5, 1], activation, bias=False, loss="mse")
        for other in (None, [[size]]):
            (K,) = ntk.infinite_width(net, [[size]], other)
            assert K[0] == pytest.approx(5 * square + s * slope * s, rel=1e-12), activation


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.3)", "gelu", "elu", "tanh"])
@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_the_limit_where_products_of_variances_are_no_doubles(activation, size):
    X = np.array([[1.0, 0.5], [-0.3, 2.0], [1.0, 0.5]])
    net = nl.Network([2, 5, 1], activation, bias=False, loss="mse")
    # all are of degree 1 near zero and, apart from tanh, far from it
    if size > 1 and activation == "tanh":
        K = ntk.infinite_width(net, size * X)  # of the signs, beside the share of what is near zero
        assert K[0, 2] == pytest.approx(K[0, 0])
        assert K[0, 0] >= 5 * (1 - 1e-6)
    else:
        K, near = ntk.infinite_width(net, size * X), ntk.infinite_width(net, (1e-8 if size < 1 else 1e8) * X)
        np.testing.assert_allclose(K / size**2, near * (1e16 if size < 1 else 1e-16), rtol=1e-6)


def test_a_limit_that_cannot_be_had_is_refused():
    for bias in (False, True):
        net = nl.Network([2, 5, 1], "relu", bias=bias, loss="mse")
        with pytest.raises(ValueError, match="bias_std=-1 is out of range"):
            ntk.infinite_width(net, np.eye(2), bias_std=-1)
    with pytest.raises(ValueError, match="K is beyond the range of a double"):
        ntk.infinite_width(net, np.eye(2), bias_std=1e200)
    with pytest.raises(ValueError, match="net has a hard_tanh whose z are of the size"):
        ntk.infinite_width(nl.Network([2, 5, 1], "hard_tanh", loss="mse"), 1e8 * np.eye(2))
    for scale in (1e100, 1e200):
        with pytest.raises(ValueError, match="net has a swish whose β times"):
            ntk.infinite_width(nl.Network([2, 5, 1], "silu", loss="mse"), scale * np.eye(2))
