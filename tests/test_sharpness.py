"""Hessian–vector products against differences of gradients and known Hessians; sharpness, and what it means for gradient descent."""

import math

import numpy as np
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._problem.catalogue import CATALOGUE

DATA = nl.datasets.gaussian_classes(20, n_features=3, rng=0)
TARGETS = np.random.default_rng(0).normal(size=(20, 2))
CASES = {
    "tanh": nl.Network([3, 5, 4, 3], "tanh").potential(DATA),
    "swish, trained": nl.Network([3, 5, 3], "swish").potential(DATA),
    "relu": nl.Network([3, 5, 4, 3], "relu").potential(DATA),
    "leaky": nl.Network([3, 5, 3], "leaky_relu(0.2)").potential(DATA),
    "cubic": nl.Network([3, 4, 2], "polynomial(3)", loss="mse").potential(DATA.X, TARGETS),
    "repu": nl.Network([3, 4, 2], "repu(2)", loss="mse").potential(DATA.X, TARGETS),
    "linear": nl.Network([3, 4, 2], "linear", loss="mse").potential(DATA.X, TARGETS),
    "radial": nl.potentials.Radial(4),
}


def cubic(z):
    return z * z * z


def three_squares(z):
    return 3 * z * z


def point(U, seed=0):
    return np.random.default_rng(seed).normal(size=U.n_params)


def dense(U, x):
    return np.array([nl.hessian_product(U, x, e) for e in np.eye(U.n_params)])


@pytest.mark.parametrize("case", CASES)
def test_products_against_differences_of_gradients(case):
    """To the error of central differences, h²|∇⁴U| + ε|∇U|/h ≈ 1e-9, and symmetric to round-off."""
    U = CASES[case]
    x, v, h = point(U), point(U, 1), 1e-5
    product = nl.hessian_product(U, x, v)
    differences = (U.gradient(x + h * v) - U.gradient(x - h * v)) / (2 * h)
    size = np.abs(product).max()
    assert np.abs(product - differences).max() < 1e-6 * size
    assert np.abs(product - 1.001 * differences).max() > 1e-4 * size
    H = dense(U, x)
    assert np.abs(H - H.T).max() < 1e3 * EPS * np.abs(H).max()
    np.testing.assert_allclose(H @ v, product, atol=1e3 * EPS * size)


@pytest.mark.parametrize("name", CATALOGUE)
def test_products_of_every_activation(name):
    """In smooth regions; at weights of 1000 too, where exponentials of complex numbers are not."""
    net = nl.Network([3, 4, 2], CATALOGUE[name].examples[-1], loss="mse")
    U, x = net.potential(DATA.X, TARGETS), point(net)
    v, h = point(net, 1), 1e-7
    differences = (U.gradient(x + h * v) - U.gradient(x - h * v)) / (2 * h)
    assert np.abs(nl.hessian_product(U, x, v) - differences).max() < 1e-5 * np.abs(differences).max()
    far = 1000 * x if name != "exp" else x
    assert np.isfinite(nl.hessian_product(U, far, v)).all()


def test_known_hessians():
    """Harmonic: A. Radial: 0.4 ((|x|² − 1) 1 + 2xxᵀ), sharpness 0.4 (3|x|² − 1)."""
    A = np.array([[2.0, 1, 0], [1, 3, -1], [0, -1, 5]])
    np.testing.assert_array_equal(dense(nl.potentials.Harmonic(A), [1e-3, 2, 3]), A)
    x = point(CASES["radial"])
    expected = 0.4 * ((x @ x - 1) * np.eye(4) + 2 * np.outer(x, x))
    np.testing.assert_allclose(dense(CASES["radial"], x), expected, atol=8 * EPS * (x @ x))
    np.testing.assert_allclose(nl.sharpness(CASES["radial"], x), [0.4 * (3 * x @ x - 1)], rtol=8 * EPS)


def test_products_at_any_scale():
    """Nothing is subtracted: the product is right for x and v of any size, and 0 for v = 0."""
    U = nl.potentials.Harmonic(np.diag([1.0, 2.0]))
    for size in (1e-200, 1e-8, 1e8, 1e150):
        for step in (1e-100, 1.0, 1e100):
            np.testing.assert_allclose(
                nl.hessian_product(U, [size, size], [step, step]), [step, 2 * step], rtol=4 * EPS
            )
    np.testing.assert_array_equal(nl.hessian_product(U, [1.0, 1.0], [0.0, 0.0]), [0, 0])
    np.testing.assert_array_equal(nl.hessian_product(U, [0.0, 0.0], [1.0, 0.0]), [1, 0])


def test_lanczos_against_the_whole_hessian():
    U = nl.Network([3, 12, 5, 3], "tanh").potential(DATA)
    assert U.n_params > 64
    xs = np.array([point(U, seed) for seed in range(3)])
    values = nl.sharpness(U, xs, k=3)
    for row, x in zip(values, xs, strict=True):
        np.testing.assert_allclose(row, np.linalg.eigvalsh(dense(U, x))[::-1][:3], rtol=1e-8)
    assert values.shape == (3, 3)
    assert nl.sharpness(U, xs[0]).shape == (1,)
    assert nl.sharpness(U, xs[0], k=U.n_params).shape == (U.n_params,)


@pytest.mark.needs_jit
@pytest.mark.parametrize(("factor", "stable"), [(0.98, True), (1.02, False)])
def test_gradient_descent_is_stable_below_two_over_eta(factor, stable):
    """From beside a minimum GD comes back where the sharpness is below 2/η, and not where it is above."""
    U = nl.potentials.Radial(3)
    bottom = np.array([1.0, 0, 0])
    eta = factor * 2 / nl.sharpness(U, bottom)[0]
    run = nl.integrate(U, nl.GD(eta), bottom * (1 + 1e-6), 500, record_every=500)
    assert (abs(np.linalg.norm(run.x) - 1) < 1e-9) == stable


def test_functions_have_no_hessian():
    U = nl.potentials.Callable(lambda x: (0.5 * x @ x, x), 2)
    for call in (lambda: nl.sharpness(U, [1.0, 1.0]), lambda: nl.hessian_product(U, [1.0, 1.0], [1.0, 0.0])):
        with pytest.raises(TypeError, match="is given as a function"):
            call()
    net = nl.Network([1, 2, 2], nl.Activation.custom(cubic, three_squares))
    custom = net.potential(np.ones((1, 1)), [0])
    with pytest.raises(TypeError, match=r"has the activation custom:cubic.*no second derivative"):
        nl.hessian_product(custom, net.init(rng=0), net.init(rng=0))
    for size in (abs, math.fabs):

        def value(x, size=size):
            return size(x[0]) ** 3

        def gradient(x, out, size=size):
            out[0] = 3 * size(x[0]) * x[0]

        with pytest.raises(TypeError, match="functions are not those of complex numbers"):
            nl.sharpness(U := nl.potentials.Compiled(value, gradient, 1), [1.0])
        by_differences = nl.exact.modified_field(U, [2.0], 0.01, order=1)
        np.testing.assert_allclose(by_differences, -12 - 0.005 * 12 * 12, rtol=1e-9)
    with pytest.raises(ValueError, match=r"x must have shape \(4,\) or \(R, 4\), got \(3,\)"):
        nl.sharpness(CASES["radial"], [1.0, 2, 3])
