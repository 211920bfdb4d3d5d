"""Numbers of the literature, derived here a second time from its formulas: kernels, charges with decay, flows, stability."""

import numpy as np
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite.potentials import Callable, Harmonic

# --- tangent kernels of relu at infinite width: Cho & Saul 2009, Jacot et al. 2018, as neural-tangents computes them ---


def over_the_half_planes(angle, n=40):
    """E[relu(z)relu(z′)] and P(z, z′ > 0) for unit variances at this angle, in polar coordinates, by Gauss and Legendre's rule.

    The radius integrates to ∫ r³ e^{−r²/2} dr = 2; both are positive for directions from angle − π/2 to π/2.
    """
    points, weights = np.polynomial.legendre.leggauss(n)
    half = (np.pi - angle) / 2
    t = angle / 2 + half * points
    return 2 / (2 * np.pi) * half * np.sum(weights * np.cos(t) * np.cos(t - angle)), (np.pi - angle) / (2 * np.pi)


@pytest.mark.parametrize("bias_std", [0.0, 0.3])
@pytest.mark.parametrize("scheme", ["lecun", "he"])
def test_relu_kernels_by_quadrature(scheme, bias_std):
    """The recursion over three hidden layers, the variance of a weight 1/fan_in or 2/fan_in."""
    widths = [3, 40, 20, 30, 1]
    X = np.random.default_rng(0).normal(size=(4, 3))
    kernel = nl.ntk.infinite_width(nl.Network(widths, "relu", loss="mse"), X, scheme=scheme, bias_std=bias_std)
    for i, x in enumerate(X):
        for j, other in enumerate(X):
            A, x_square, other_square = x @ other, x @ x, other @ other
            K = A + 1  # the 1 is the gradient by a bias
            for n, below in zip(widths[1:-1], widths[:-2], strict=True):
                v, after = ({"lecun": 1, "he": 2}[scheme] / fan_in for fan_in in (below, n))
                one, two, both = (v * a + bias_std**2 for a in (x_square, other_square, A))
                angle = np.arccos(np.clip(both / np.sqrt(one * two), -1, 1))
                product, positive = over_the_half_planes(angle)
                A, x_square, other_square = n * np.sqrt(one * two) * product, n * one / 2, n * two / 2
                K = after * n * positive * K + A + 1
            # between equal inputs the angle is uncertain by √ε, and the kernel is linear in it
            assert abs(kernel[i, j] - K) <= (1e3 * EPS if i != j else 4 * np.sqrt(EPS)) * K


def test_relu_kernels_with_he_weights_have_whole_numbers_on_the_diagonal():
    """He et al. 2015: E[relu²] is half of the variance, so |a_h|²/n_h stays |x|²/n_0, and every layer adds its own share."""
    widths, x = [2, 64, 32, 16, 1], np.array([[3.0, 4.0]])
    K = nl.ntk.infinite_width(nl.Network(widths, "relu", bias=False, loss="mse"), x, scheme="he")
    assert abs(K.item() - 25 * (1 + (64 + 32 + 16) / 2)) < 100 * EPS * K.item()


# --- charges with weight decay and momentum: Kunin et al. 2021, "Neural Mechanics", Table 1 and equations (18) to (20) ---


@pytest.mark.parametrize(("beta", "decay"), [(0.0, 0.5), (0.5, 0.2), (0.9, 2.0)])
def test_a_translation_is_a_damped_oscillator(beta, decay):
    """Σb of a softmax has no gradient: Q_{k+1} = (1 + β − hλ)Q_k − βQ_{k−1}, as each root of r² − (1 + β − hλ)r + β = 0 does.

    In continuous time it is ½h(1 + β)Q̈ + (1 − β)Q̇ + λQ = 0. One step of it from rest ends where the recursion does up to h³.
    """
    h, steps = 0.1, 30
    net = nl.Network([2, 3], "linear")
    U = net.potential(np.random.default_rng(0).normal(size=(6, 2)), np.arange(6) % 3)
    x0 = net.init(rng=0, bias_std=1.0)
    run = nl.integrate(U, nl.HeavyBall(h, beta, weight_decay=decay), x0, steps, record_params=True, backend="reference")
    sums = run.params[:, net.block("b1").start :].sum(axis=1)
    roots = np.roots([1, -(1 + beta - h * decay), beta]).astype(complex)
    first = np.array([1, 1 - h * decay]) * sums[0]  # at rest: one step of decay
    weights = np.linalg.solve(np.vander(roots, 2, increasing=True).T, first)
    exact = (weights * roots[None] ** np.arange(steps + 1)[:, None]).sum(axis=1)
    assert np.abs(exact.imag).max() <= 100 * EPS * abs(sums[0])
    np.testing.assert_allclose(sums, exact.real, rtol=0, atol=100 * EPS * steps * abs(sums[0]))


def test_a_scaling_grows_with_the_noise_and_falls_with_the_decay():
    """|θ|² of scale-invariant parameters: |θ_{k+1}|² = (1 − hλ)²|θ_k|² + h²|g|², as ⟨θ, g⟩ = 0; the equilibrium of a rotation.

    For U = ½(angle of θ)² with |g| = angle/|θ|; at a constant angle the fixed point is |θ|⁴ = h² angle²/(1 − (1 − hλ)²).
    """

    def turning(x):  # a constant pull on the angle: U = angle, |g| = 1/|x|
        return float(np.arctan2(x[1], x[0])), np.array([-x[1], x[0]]) / (x @ x)

    h, decay = 0.1, 0.5
    run = nl.integrate(Callable(turning, 2), nl.GD(h, weight_decay=decay), [1.0, 0.0], 400, record_params=True)
    square = (run.params**2).sum(axis=1)
    expected = (1 - h * decay) ** 2 * square[:-1] + h**2 / square[:-1]
    np.testing.assert_allclose(square[1:], expected, rtol=16 * EPS)
    np.testing.assert_allclose(square[-1] ** 2, h**2 / (1 - (1 - h * decay) ** 2), rtol=1e3 * EPS)


# --- conserved quantities of gradient flow beyond scalings: Zhao et al. 2023, "Symmetries, flat minima, …", section 4 ---


@pytest.mark.parametrize(
    ("activation", "integral"), [("linear", lambda v: v**2 / 2), ("tanh", lambda v: np.sinh(v) ** 2 / 2)]
)
def test_the_quantity_of_one_neuron_and_one_sample(activation, integral):
    """½u² − ∫σ/σ′ dv for f = uσ(vx) at x = 1: for tanh the integral is that of sinh cosh, ½ sinh²v."""
    net = nl.Network([1, 1, 1], activation, bias=False, loss="mse")
    U = net.potential([[1.0]], [[2.0]])
    flow = nl.reference_flow(U, nl.GF, [0.4, 0.9], np.linspace(0, 3, 7))
    v, u = flow.x.T
    quantity = u**2 / 2 - integral(v)
    scale = (u**2 / 2 + integral(v)).max()
    assert np.ptp(v) > 0.5  # it has moved
    assert np.ptp(quantity) <= 1e-10 * scale  # a hundred times the tolerance of the integration
    other = {"linear": lambda v: np.sinh(v) ** 2 / 2, "tanh": lambda v: v**2 / 2}[activation]
    assert np.ptp(u**2 / 2 - other(v)) > 1e-2 * scale  # the control: the other's is none


# --- the edge of stability: Cohen et al. 2021; thresholds of the sharpness in units of 1/lr ---


@pytest.mark.parametrize(
    ("make", "threshold"),
    [
        (nl.GD, 2.0),
        (lambda lr: nl.HeavyBall(lr, 0.5), 2 * (1 + 0.5)),
        (lambda lr: nl.HeavyBall(lr, 0.9, dampening=0.9), 2 * (1 + 0.9) / (1 - 0.9)),
        (nl.Leapfrog, 4.0),
        (lambda lr: nl.GD(lr, weight_decay=1.0), 1.0),
    ],
    ids=["GD", "heavy ball", "damped heavy ball", "leapfrog", "GD with decay"],
)
def test_a_quadratic_is_stable_up_to_its_threshold(make, threshold):
    """U = ½x², of sharpness 1: a rate of 0.95 thresholds stays bounded, and one of 1.05 grows without bounds."""
    for factor, is_stable in ((0.95, True), (1.05, False)):
        (x,) = nl.integrate(Harmonic([[1.0]]), make(factor * threshold), [1.0], 300, backend="reference").x
        assert abs(x) < 20 if is_stable else abs(x) > 1e8


def test_gradient_descent_at_the_edge_has_period_two():
    run = nl.integrate(Harmonic([[4.0]]), nl.GD(0.5), [1.5], 9, record_params=True, backend="reference")
    np.testing.assert_array_equal(run.params[:, 0], 1.5 * (-1.0) ** np.arange(10))


@pytest.mark.parametrize("rate", [0.05, 2.2])
def test_a_quartic_ends_where_it_is_flat_enough(rate):
    """f = uv, U = ½(uv − 1)²: minima have the sharpness u² + v² = √(D² + 4), where D = v² − u² is kept by gradient flow.

    Gradient descent shrinks D by 1 − lr²(uv − 1)² a step, and can stay only at minima with a sharpness below 2/lr.
    """
    net = nl.Network([1, 1, 1], "linear", bias=False, loss="mse")
    U, x0 = net.potential([[1.0]], [[1.0]]), np.array([0.1, 2.5])
    D = x0[1] ** 2 - x0[0] ** 2
    lr = rate / np.sqrt(D**2 + 4)  # in units of the sharpness where the flow ends
    run = nl.integrate(U, nl.GD(lr), x0, 400, backend="reference")
    end = np.sqrt((D * np.prod(1 - 2 * lr**2 * run.loss[:-1])) ** 2 + 4)
    assert abs(run.x.prod() - 1) < 1e-6
    assert abs((run.x**2).sum() / end - 1) < 1e-6
    assert end < 2 / lr
    assert (np.sqrt(D**2 + 4) < 2 / lr) == (rate < 2)  # the control: the large rate could not stay where the flow ends


# --- committee machines: Saad & Solla 1995, "On-line learning in soft committee machines", the symmetric plateau ---


@pytest.mark.parametrize("K", [2, 3, 5])
def test_the_symmetric_plateau_of_committee_machines(K):
    """Students that are all alike rest at R = 1/√(K(2K − 1)), Q = 1/(2K − 1), with the error (K/π)(π/6 − K arcsin 1/2K)."""
    U = nl.potentials.CommitteeMachine(teacher=np.eye(K), width=K, activation="erf")
    R = 1 / np.sqrt(K * (2 * K - 1))
    plateau = np.full(K * K, R)
    assert U.value(plateau) == pytest.approx(K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K))), rel=1e-12)
    assert np.abs(U.gradient(plateau)).max() <= 16 * K * EPS
    assert np.abs(U.gradient(1.1 * plateau)).max() > 1e-3  # the control
    run = nl.integrate(U, nl.GD(0.2), np.full(K * K, 0.1), 2000, record_every=2000)
    assert run.loss[-1] == pytest.approx(U.value(plateau), rel=1e-9)
