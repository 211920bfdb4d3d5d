"""The hand-written gradient against complex step, central differences and the oracle; all sizes, both precisions."""

import numpy as np
import pytest
from problems import ACTIVATIONS, EPS, LOSSES, data, point

from noetherlite import GD, Network, integrate
from noetherlite._kernels import reference

EPS32 = float(np.finfo(np.float32).eps)
MIXED = [
    ["relu", "swish"],
    ["tanh", "leaky_relu(0.2)"],
    ["swish", "polynomial(2)", "repu(1.5)"],
    ["swish(0.5)", "linear(2)", "swish"],
]
EVERY_ACTIVATION = [*ACTIVATIONS, *MIXED]


def seed_of(*case):
    """A seed that is the same in every process, unlike hash()."""
    return list(repr(case).encode())


def random_problem(activation, loss, bias, seed, n=None):
    """A random architecture with one to three hidden layers, as `activation` allows."""
    rng = np.random.default_rng(seed)
    hidden = int(rng.integers(1, 4)) if isinstance(activation, str) else len(activation)
    if activation == "exp":
        hidden = 1  # an exponential of an exponential soon leaves the range of doubles
    widths = [int(w) for w in rng.integers(1, 8, hidden + 1)] + [int(rng.integers(2, 5))]
    net = Network(widths, activation, bias=bias, loss=loss)
    U = net.potential(*data(net, int(rng.integers(5, 30)) if n is None else n, rng))
    theta = 0.7 * point(net, rng)  # powers of powers stay within a few orders of magnitude of one
    return net, U, theta


def complex_step(described, theta):
    """∇U without cancellation: Im U(θ + iεe_j)/ε, exact to round-off away from kinks."""
    out = np.empty(theta.size)
    for i in range(theta.size):
        shifted = theta.astype(complex)
        shifted[i] += 1e-200j
        out[i] = reference.network_value(described, shifted).imag / 1e-200
    return out


def scale(net, described, theta):
    """The unit of round-off: the sum over samples of |∂U/∂f|·|∂f/∂θ|, so that cancellation counts as it must."""
    f = reference.forward(described, theta, described.X)[0][-1]
    delta = reference.loss(described, f)[1]
    terms = np.einsum("si,sip->p", np.abs(delta) + np.abs(f).max() / len(f), np.abs(net.jacobian(theta, described.X)))
    return terms.max()


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", EVERY_ACTIVATION, ids=str)
def test_gradient_three_ways(activation, loss, bias):
    net, U, theta = random_problem(activation, loss, bias, seed_of(activation, loss, bias))
    described, value = U.problem(), U.value(theta)
    value2, gradient = U.value_and_gradient(theta)
    oracle_value, oracle = reference.value_and_gradient(described, theta)
    assert value == value2
    assert value == pytest.approx(oracle_value, rel=100 * EPS)
    assert np.abs(oracle).max() > 0
    # A few hundred operations per entry, each off by ε of a term.
    bound = 300 * EPS * scale(net, described, theta)
    np.testing.assert_allclose(gradient, complex_step(described, theta), rtol=0, atol=bound)
    np.testing.assert_allclose(gradient, oracle, rtol=0, atol=bound)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", EVERY_ACTIVATION, ids=str)
def test_gradient_by_central_differences(activation, loss, bias):
    """Independent of the oracle: the compiled value alone."""
    net, U, theta = random_problem(activation, loss, bias, seed_of("differences", activation, loss, bias))
    gradient, step = U.gradient(theta), EPS ** (1 / 3)
    worst = curvature = 0.0
    for i in range(net.n_params):
        e = np.zeros(net.n_params)
        e[i] = step
        near = (U.value(theta + e) - U.value(theta - e)) / (2 * step)
        far = (U.value(theta + 2 * e) - U.value(theta - 2 * e)) / (4 * step)
        worst = max(worst, abs(near - gradient[i]))
        curvature = max(curvature, abs(far - near))
    # Truncation is a third of what doubling the step changes (step²·U‴/6 against 4 step²·U‴/6); U's round-off adds ε U/step.
    assert worst <= curvature + 30 * EPS * (1 + U.value(theta)) / step
    # and that bound is small: a wrong gradient cannot hide below it
    assert curvature < 1e-6 * (1 + np.abs(gradient).max())


@pytest.mark.parametrize("activation", ["tanh", "relu", "swish"])
def test_a_wrong_gradient_is_seen(activation):
    """Negative control: one entry off by one part in 10⁹ is far outside the tolerance used above."""
    net, U, theta = random_problem(activation, "mse", True, 5)
    gradient = U.gradient(theta)
    i = np.abs(gradient).argmax()
    bound = 300 * EPS * scale(net, U.problem(), theta)
    assert abs(gradient[i] * (1 + 1e-9) - complex_step(U.problem(), theta)[i]) > bound


@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 260])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["relu", "swish", "tanh"])
def test_tile_boundaries(activation, loss, n):
    rng = np.random.default_rng(n)
    net = Network([3, 6, 5, 3], activation, loss=loss)
    U, theta = net.potential(*data(net, n, rng)), point(net, rng)
    value, gradient = U.value_and_gradient(theta)
    oracle_value, oracle = reference.value_and_gradient(U.problem(), theta)
    assert value == pytest.approx(oracle_value, rel=100 * EPS)
    np.testing.assert_allclose(gradient, oracle, rtol=0, atol=300 * EPS * scale(net, U.problem(), theta))


@pytest.mark.parametrize("widths", [(1, 1, 2), (1, 9, 2), (17, 1, 2), (16, 8, 3), (9, 33, 5), (33, 31, 17, 2)], ids=str)
def test_odd_widths(widths):
    """Blocked loops have remainders in every direction."""
    rng = np.random.default_rng(0)
    net = Network(widths, "swish", loss="nll")
    U, theta = net.potential(*data(net, 21, rng)), point(net, rng)
    oracle = reference.value_and_gradient(U.problem(), theta)[1]
    np.testing.assert_allclose(U.gradient(theta), oracle, rtol=0, atol=300 * EPS * scale(net, U.problem(), theta))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_blas_path(activation, loss):
    from noetherlite._kernels.cpu import compiled

    rng = np.random.default_rng(3)
    net = Network([110, 100, 100, 10], activation, loss=loss)
    U, theta = net.potential(*data(net, 37, rng)), point(net, rng)
    described = U.problem()
    assert compiled.tiles(described, 37).blas == 1
    value, gradient = U.value_and_gradient(theta)
    oracle_value, oracle = reference.value_and_gradient(described, theta)
    bound = 300 * EPS * scale(net, described, theta)
    assert value == pytest.approx(oracle_value, rel=300 * EPS)
    np.testing.assert_allclose(gradient, oracle, rtol=0, atol=bound)
    # entries of every block by complex step; all 22,000 would take long
    chosen = [b.start + k for b in net.blocks for k in (0, (b.stop - b.start) // 2, b.stop - b.start - 1)]
    for i in chosen:
        shifted = theta.astype(complex)
        shifted[i] += 1e-200j
        assert abs(reference.network_value(described, shifted).imag / 1e-200 - gradient[i]) < bound
    f = reference.forward(described, theta, U.X)[0][-1]
    np.testing.assert_allclose(net.predict(theta, U.X), f, rtol=0, atol=300 * EPS * np.abs(f).max())


@pytest.mark.parametrize("n", [5, 64, 65])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32(activation, loss, n):
    rng = np.random.default_rng(n)
    net = Network([3, 6, 5, 3], activation, loss=loss)
    # numbers that both precisions hold exactly
    X, y = data(net, n, rng)
    U = net.potential(X.astype(np.float32), y if loss == "nll" else y.astype(np.float32))
    theta = (0.7 * point(net, rng)).astype(np.float32)
    run = integrate(U, GD(1.0), theta, steps=0, dtype="float32", laws=None)
    gradient = U.gradient(theta)
    assert run.v.dtype == np.float32
    bound = 300 * EPS32 * scale(net, U.problem(), theta.astype(float))
    np.testing.assert_allclose(-run.v, gradient, rtol=0, atol=bound)
    assert run.loss[0] == pytest.approx(U.value(theta), rel=100 * EPS32)
    # it is float32 that computes: round-off of this size cannot come from float64
    assert np.abs(-run.v - gradient).max() > EPS * np.abs(gradient).max()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_extreme_logits(dtype):
    """log-sum-exp neither overflows nor loses the smallest probabilities' sign."""
    net = Network([1, 3], loss="nll", bias=False)
    U = net.potential([[1.0], [1.0]], [0, 2])
    theta = np.array([500.0, 0.0, -300.0])
    run = integrate(U, GD(1e-3), theta, steps=0, dtype=dtype, laws=None)
    # U = ½(0 + 800), and the softmax is (1, 0, 0) up to e^{−500}
    assert run.loss[0] == pytest.approx(400, rel=1e-6)
    np.testing.assert_allclose(-run.v, [0.5, 0.0, -0.5], atol=1e-6)
