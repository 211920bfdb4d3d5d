"""Closed forms against DOP853, against runs, and against each other; orders of the modified equation."""

import numpy as np
import pytest
from problems import EPS, problem

import noetherlite as nl
from noetherlite import exact, potentials

RNG = np.random.default_rng(0)


def balanced(n_0, n_1, n_2, charge):
    """Layers with W_1W_1ᵀ − W_2ᵀW_2 = charge·I, for n_1 ≤ n_0, n_2."""
    orthonormal = [np.linalg.qr(RNG.normal(size=(n, n_1)))[0] for n in (n_0, n_2)]
    a = 0.5 + max(charge, 0.0)
    return np.sqrt(a) * orthonormal[0].T, np.sqrt(a - charge) * orthonormal[1]


@pytest.mark.parametrize("charge", [0.0, 0.7, -0.4])
def test_balanced_layers(charge):
    W1, W2 = balanced(4, 2, 3, charge)
    target, t = RNG.normal(size=(3, 4)), np.array([0.0, 0.3, 1.0, 3.0])
    U = potentials.MatrixFactorization(target, 2)
    flow = nl.reference_flow(U, nl.GF, np.concatenate([W1.ravel(), W2.ravel()]), t)
    closed = exact.two_layer_linear(W1, W2, target, t)
    np.testing.assert_allclose(closed.product, U.product(flow.x), atol=1e-11)
    first, second = U.matrices(flow.x)
    np.testing.assert_allclose(closed.incoming, np.swapaxes(first, 1, 2) @ first, atol=1e-11)
    np.testing.assert_allclose(closed.outgoing, second @ np.swapaxes(second, 1, 2), atol=1e-11)
    with pytest.raises(ValueError, match="W1 and W2 must be balanced"):
        exact.two_layer_linear(W1 + 1e-3 * RNG.normal(size=W1.shape), W2, target, t)


@pytest.mark.parametrize("charge", [0.0, 0.7])
@pytest.mark.parametrize("n_1", [2, 3])
def test_balanced_layers_after_a_long_time(n_1, charge):
    """Modes of different rates keep their digits, where their exponentials differ by more than a double has."""
    rng = np.random.default_rng(n_1)
    incoming, outgoing = (np.linalg.qr(rng.normal(size=(n, n_1)))[0] for n in (4, 3))
    W1, W2 = np.sqrt(0.5 + charge) * incoming.T, np.sqrt(0.5) * outgoing
    u, _, v = np.linalg.svd(rng.normal(size=(3, 4)), full_matrices=False)
    target, t = u * [3.0, 1.0, 0.1] @ v, [30.0, 3.0, 0.0]
    closed = exact.two_layer_linear(W1, W2, target, t)
    U = potentials.MatrixFactorization(target, n_1)
    flow = nl.reference_flow(U, nl.GF, np.concatenate([W1.ravel(), W2.ravel()]), t[::-1])
    np.testing.assert_allclose(closed.product, U.product(flow.x)[::-1], atol=1e-11)
    with pytest.raises(ValueError, match="t must hold times below"):
        exact.two_layer_linear(W1, W2, target, [1e5])


def test_a_compiled_run_tends_to_the_closed_form():
    """GD on whitened data, at three rates: the distance to the closed form falls in proportion to the rate."""
    W1, W2 = balanced(3, 2, 2, 0.0)
    X = np.linalg.qr(RNG.normal(size=(9, 3)))[0] * 3
    y = X @ RNG.normal(size=(3, 2))
    net = nl.Network([3, 2, 2], "linear", bias=False, loss="mse")
    end = exact.two_layer_linear(W1, W2, y.T @ X / 9, [2.0]).product[0]
    x0 = net.pack({"W1": W1, "W2": W2})
    distance = []
    for lr in (0.02, 0.01, 0.005):
        W = net.unpack(nl.integrate(net.potential(X, y), nl.GD(lr), x0, round(2 / lr), laws=None).x)
        distance.append(np.abs(W["W2"] @ W["W1"] - end).max())
    np.testing.assert_allclose(np.log2(np.divide(distance[:-1], distance[1:])), 1, atol=0.05)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_decoupled_modes(depth):
    s, a0, t = np.array([2.0, 0.7]), np.array([0.1, 0.3]), np.array([0.0, 0.5, 1.0, 4.0])
    modes = exact.decoupled_modes(s, a0, t, depth)
    if depth == 1:
        expected = s + (a0 - s) * np.exp(-t)[:, None]
    else:
        U = potentials.MatrixFactorization(np.diag(s), [2] * (depth - 1))
        layers = [np.diag(a0 ** (1 / depth)).ravel()] * depth
        flow = nl.reference_flow(U, nl.GF, np.concatenate(layers), t)
        expected = np.diagonal(U.product(flow.x), axis1=1, axis2=2)
    np.testing.assert_allclose(modes, expected, atol=2e-11)
    assert exact.decoupled_modes(s, a0, [1e4], depth) == pytest.approx(s[None], rel=1e-12)
    if depth == 2:  # two closed forms of one flow
        w = np.diag(np.sqrt(a0))
        product = exact.two_layer_linear(w, w, np.diag(s), t).product
        np.testing.assert_allclose(modes, np.diagonal(product, axis1=1, axis2=2), atol=1e-13)


@pytest.mark.parametrize("depth", [3, 4, 7])
def test_decoupled_modes_next_to_their_ends(depth):
    s = 2.0
    rate = depth * s ** (2 - 2 / depth)  # of the last stretch, s − a ∝ e^{−rate t}
    gaps, t = s * 10.0 ** np.linspace(-15.5, -7, 60), np.linspace(0.0, 3.0, 7) / rate
    for gap in gaps:
        start = s - gap
        a = exact.decoupled_modes([s], start, t, depth)[:, 0]
        assert a == pytest.approx(s - (s - start) * np.exp(-rate * t), rel=4 * EPS, abs=gap * 1e-6)
    late = np.linspace(14.0, 34.0, 101) / rate
    gap = s - exact.decoupled_modes([s], 1.0, late, depth)[:, 0]
    assert gap == pytest.approx(gap[0] * np.exp(-rate * (late - late[0])), rel=1e-5, abs=8 * EPS)
    for start in 10.0 ** np.linspace(-300.0, -20.0, 60):  # it takes about start^{2/depth − 1} to leave
        assert exact.decoupled_modes([s], start, t, depth)[:, 0] == pytest.approx(start, rel=1e-4)


def test_orders_of_the_modified_equation():
    """Distances of gradient descent to the flows of order 0, 1, 2 fall with powers 1, 2, 3 of the rate."""
    _, U, x0 = problem("tanh", loss="mse", widths=(2, 3, 1), n=8)
    rates = np.array([0.1, 0.05, 0.025])
    distances = np.empty((3, 3))
    for i, lr in enumerate(rates):
        end = nl.integrate(U, nl.GD(lr), x0, round(2 / lr), laws=None).x
        for order in (0, 1, 2):
            distances[order, i] = np.linalg.norm(exact.modified_flow(U, x0, lr, [2.0], order)[0] - end)
    slopes = np.log2(distances[:, 1] / distances[:, 2])
    np.testing.assert_allclose(slopes, [1, 2, 3], atol=0.1)


def test_the_modified_field_of_a_quadratic_and_a_cubic():
    """For ½hx², x ↦ (1 − ηh)x: the field is log(1 − ηh)x/η to second order; a cubic has a third derivative."""
    U, eta, h = potentials.Harmonic([[2.0]]), 0.01, 2.0
    assert exact.modified_field(U, [1.0], eta)[0] == pytest.approx(-h - eta * h**2 / 2 - eta**2 * h**3 / 3, rel=1e-12)
    cubic = potentials.Callable(lambda x: (x[0] ** 3 / 6, [x[0] ** 2 / 2]), 1)  # g = x²/2, H = x, ∇³U = 1
    x, g = 1.5, 1.125
    second = -(x**2 * g / 3 + g**2 / 12)
    assert exact.modified_field(cubic, [x], 1.0)[0] == pytest.approx(-g - 0.5 * x * g + second, rel=1e-11)
    assert exact.modified_field(cubic, [0.0], 1.0)[0] == 0
    np.testing.assert_array_equal(exact.modified_gradient(cubic, [x], 0.5), -exact.modified_field(cubic, [x], 0.5))


def test_exact_passes_and_differences_agree():
    _, U, x0 = problem("tanh", loss="mse", widths=(2, 3, 1), n=8)
    function = potentials.Callable(U.value_and_gradient, U.n_params)
    exactly, nearly = (exact.modified_field(V, x0, 0.5) for V in (U, function))
    np.testing.assert_allclose(nearly, exactly, atol=1e-9 * np.abs(exactly).max())


def test_sharpness_of_the_flow_solution():
    w, s = np.array([1.5, -0.4, -0.8, 0.3]), 2.0
    solution = exact.scalar_network(w, s)
    assert exact.sharpness_of_flow(w, s) == solution.sharpness
    U = potentials.Callable(
        lambda x: (0.5 * (np.prod(x) - s) ** 2, (np.prod(x) - s) * np.array([np.prod(np.delete(x, i)) for i in range(4)])), 4
    )  # fmt: skip
    x = nl.reference_flow(U, nl.GF, w, [40.0]).x[-1]
    np.testing.assert_allclose(solution.weights, x, atol=1e-9)
    np.testing.assert_allclose(solution.weights**2 - w**2, solution.shift, rtol=1e-12)
    step = 1e-5
    H = np.array([(U.gradient(x + step * e) - U.gradient(x - step * e)) / (2 * step) for e in np.eye(4)])
    assert solution.sharpness == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-6)
    # Kreisler et al.: gradient descent never increases the sharpness of the flow's solution from where it is
    path = nl.integrate(U, nl.GD(0.05), w, 60, record_params=True).params
    sharpness = np.array([exact.scalar_network(p, s).sharpness for p in path])
    assert (np.diff(sharpness) <= 1e-12 * sharpness[0]).all()
    assert sharpness[-1] < sharpness[0] - 1e-3
    assert exact.scalar_network([3.0, 2.0], 1.0).shift < 0
    with pytest.raises(ValueError, match="weights must have a product of the sign"):
        exact.scalar_network([1.0, -1.0], 1.0)


def test_the_norm_of_scale_invariant_weights():
    """The square of the length moves as it should in every step, and comes to the formula's value."""
    rng, eta, decay = np.random.default_rng(3), 0.1, 0.05
    w, squares = rng.normal(size=50), []
    gradients = rng.normal(size=(6000, 50))
    for k, noise in enumerate(gradients):
        direction = noise - (noise @ w) / (w @ w) * w
        moved = (1 - eta * decay) * w - eta * direction / np.linalg.norm(w)
        law = (1 - eta * decay) ** 2 * (w @ w) + eta**2 * (direction @ direction) / (w @ w)
        assert moved @ moved == pytest.approx(law, rel=1e-13)
        w = moved
        if k >= 1000:
            squares.append(w @ w)
    norm = exact.scale_invariant_norm(eta, decay, 49.0)
    assert np.mean(squares) == pytest.approx(norm**2, rel=0.02)
    assert exact.scale_invariant_norm(2 * eta, decay, 49.0) ** 2 > 1.2 * np.mean(squares)


def relu_problem():
    rng = np.random.default_rng(5)
    net = nl.Network([2, 4, 1], "relu", bias=False, loss="mse")
    X = rng.normal(size=(6, 2))
    v = rng.normal(size=(4, 2))
    x0 = net.pack({"W1": v, "W2": (np.linalg.norm(v, axis=1) * [1.5, -1.2, 2.0, -1.1])[None]})
    return net, net.potential(X, np.sin(X[:, :1])), x0


@pytest.mark.needs_jit
def test_function_space_of_relu_networks():
    net, U, x0 = relu_problem()
    t = np.linspace(0, 1, 6)
    flow = nl.reference_flow(U, nl.GF, x0, t)
    z = exact.relu_function_flow(U, x0, t)
    expected = np.array([exact.neuron_products(U, x) for x in flow.x])
    np.testing.assert_allclose(z, expected, atol=1e-5)  # kinks are crossed unseen
    assert np.abs(expected[-1] - expected[0]).max() > 0.1
    # the rate at one point, exactly, from the gradient of the parameters
    gradient, arrays = net.unpack(U.gradient(x0)), net.unpack(x0)
    u, v = arrays["W2"][0], arrays["W1"]
    force = gradient["W1"] / u[:, None]
    rate = exact.function_space_velocity(expected[0], u**2 - (v**2).sum(axis=1), force[:, None])
    moving = -(gradient["W2"][0][:, None] * v + u[:, None] * gradient["W1"])
    np.testing.assert_allclose(rate[:, 0], moving, atol=1e-13)
    wrong = exact.function_space_velocity(expected[0], np.zeros(4), force[:, None])  # without the charges
    assert np.abs(wrong[:, 0] - moving).max() > 0.1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scale", "apart"), [(1e-140, 1.0), (1e-100, 1e30), (1.0, 1e-100), (1.0, 1e100), (1e100, 1e-30), (1e150, 1.0)]
)
def test_function_space_where_squares_are_no_doubles(scale, apart):
    u, v, E = np.array([2.0, 1.0]), np.array([1.0, 1.0, 3.0]), np.arange(6.0).reshape(2, 3)
    u, v = scale * apart * u, scale / apart * v
    moving = -(E @ np.outer(v, v) + np.outer(u, u) @ E)
    rate = exact.function_space_velocity(np.outer(u, v)[None], [u @ u - v @ v], E[None])
    np.testing.assert_allclose(rate[0], moving, rtol=1e-14)


def test_wrong_problems_are_refused():
    net, U, _ = relu_problem()
    with pytest.raises(ValueError, match="x0 must have"):
        exact.relu_function_flow(U, net.pack({"W1": np.ones((4, 2)), "W2": np.full((1, 4), 0.1)}), [1.0])
    for widths, bias in (([2, 3, 3, 1], False), ([2, 3, 2], False), ([2, 3, 1], True)):
        other = nl.Network(widths, "relu", bias=bias, loss="mse")
        with pytest.raises(ValueError, match="U must be of a network"):
            exact.relu_function_flow(other.potential(np.ones((2, 2)), np.ones((2, widths[-1]))), other.init(0), [1.0])
    with pytest.raises(TypeError, match="U must be"):
        exact.neuron_products(potentials.Radial(2), [1.0, 1.0])


def test_a_stiff_modified_equation_gives_up():
    with pytest.raises(RuntimeError, match="max_evaluations=100"):
        exact.modified_flow(potentials.Radial(2), [3.0, 1.0], 10.0, [50.0], max_evaluations=100)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: exact.scalar_network([1.0, 2.0, 3.0], 1e300), "weights and target must have squares"),
        (lambda: exact.scalar_network([1e-200, 1.0], 1.0), "weights and target must have squares"),
        (lambda: exact.sharpness_of_flow([1e160, 1e-160], 1.0), "w and s must have squares"),
        (lambda: exact.scale_invariant_norm(1e-300, 1e-300, 1.0), "weight_decay=1e-300 times lr=1e-300"),
    ],
)
def test_what_is_beyond_the_range_of_a_double_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e100])
def test_the_modified_equation_where_squares_of_the_gradient_are_no_doubles(size):
    for U in (potentials.Harmonic(np.diag([1.0, 3.0])), potentials.Callable(lambda x: (0.0, [1, 3] * x), 2)):
        field, usual = exact.modified_field(U, [size, size], 0.1), exact.modified_field(U, [1.0, 1.0], 0.1)
        np.testing.assert_allclose(field / size, usual, rtol=1e-9)
