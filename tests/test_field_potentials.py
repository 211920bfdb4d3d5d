"""Potentials of the literature: gradients by complex step and differences, symmetries with controls, known minima and biases."""

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl
from noetherlite import potentials

RNG = np.random.default_rng(0)


def complex_vectors():
    return RNG.normal(size=(9, 3)) + 1j * RNG.normal(size=(9, 3))


MASK = np.array([[True, False, True, True], [True, True, False, False], [False, True, True, True]])
CASES = {
    "factorization": potentials.MatrixFactorization(RNG.normal(size=(3, 4)), 2),
    "deep": potentials.MatrixFactorization(RNG.normal(size=(3, 2)), [3, 2]),
    "sensing": potentials.MatrixSensing(RNG.normal(size=(5, 2, 3)), RNG.normal(size=5), 2),
    "completion": potentials.MatrixCompletion(RNG.normal(size=(3, 4)), MASK, 2),
    "phase, real": potentials.PhaseRetrieval(RNG.normal(size=(7, 3)), RNG.uniform(size=7)),
    "phase, complex": potentials.PhaseRetrieval(complex_vectors(), RNG.uniform(size=9)),
    "tensor": potentials.TensorDecomposition(RNG.normal(size=(2, 3, 2)), 2),
    "tensor of order 4": potentials.TensorDecomposition(RNG.normal(size=(2, 2, 1, 2)), 1),
    "diagonal": potentials.DiagonalLinear(RNG.normal(size=(3, 5)), RNG.normal(size=3)),
    "log-sum-exp": potentials.LogSumExp(np.c_[RNG.normal(size=(6, 2)), np.zeros(6)]),
    "erf": potentials.CommitteeMachine(RNG.normal(size=(2, 4)), 3),
    "erf, readout": potentials.CommitteeMachine(
        RNG.normal(size=(1, 3)), 2, teacher_readout=[0.7], trained_readout=True
    ),
    "relu": potentials.CommitteeMachine(RNG.normal(size=(2, 4)), 3, "relu"),
    "relu, readout": potentials.CommitteeMachine(RNG.normal(size=(1, 3)), 2, "relu", trained_readout=True),
}
# symmetries: of GL(n) n², of each tensor component order − 1, of coordinates 1, of the complement of a teacher rotations
COUNTS = {
    "factorization": 4, "deep": 13, "sensing": 4, "completion": 4, "phase, real": 0, "phase, complex": 1, "tensor": 4, "tensor of order 4": 3,
    "diagonal": 5, "log-sum-exp": 1, "erf": 1, "erf, readout": 1, "relu": 1, "relu, readout": 3,
}  # fmt: skip


def point(U):
    return np.random.default_rng(1).normal(size=U.n_params)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_the_derivative_of_the_value(case):
    U = CASES[case]
    x = point(U)
    value, gradient = U.value_and_gradient(x)
    assert U.value(x) == value
    assert np.array_equal(U.gradient(x), gradient)

    def differences(function):
        step = EPS ** (1 / 3)
        return np.array([(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(x.size)])

    np.testing.assert_allclose(gradient, differences(U.value), atol=1e-8 * (1 + abs(value)), rtol=0)
    steps = np.array([U.evaluate(x + 1e-30j * e)[0].imag / 1e-30 for e in np.eye(x.size)])  # without cancellation
    np.testing.assert_allclose(gradient, steps, atol=64 * EPS * np.abs(gradient).max(), rtol=0)
    hessian = np.array([nl.hessian_product(U, x, e) for e in np.eye(x.size)])
    np.testing.assert_allclose(hessian, differences(U.gradient), atol=1e-8 * (1 + np.abs(hessian).max()), rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_symmetries_hold_and_others_do_not(case):
    U = CASES[case]
    symmetries = nl.symmetries(U)
    assert symmetries[-1].name == "time"
    assert len(symmetries) - 1 == COUNTS[case] == len({s.name for s in symmetries[:-1]})
    for s in symmetries[:-1]:
        assert nl.symmetry_defect(U, s.name) < 1e-13
        x = point(U)
        assert U.value(s.apply(x, 0.3)) == pytest.approx(U.value(x), rel=1e-12)
        broken = s.G + 0.5 * np.eye(U.n_params)  # a dilation, which no potential here allows
        assert nl.symmetry_defect(U, nl.Symmetry(broken, s.xi)) > 1e-3


def test_all_symmetries_are_known():
    """Discovery, which knows nothing, finds as many and gives them the names."""
    for case in ("phase, complex", "erf, readout", "relu, readout", "tensor of order 4"):
        discovery = nl.discover(CASES[case])
        assert discovery.dimension == COUNTS[case], case
        assert not [label for label in discovery.labels if label.startswith("new")], case
    assert nl.discover(potentials.MatrixFactorization(np.diag([2.0, 1.0]), 1)).labels == ("linear1[0,0]",)


def test_runs_record_their_laws():
    for case in ("factorization", "diagonal", "relu, readout"):
        U = CASES[case]
        for algorithm in (nl.GD(0.01), nl.NAGD(0.001)):
            run = nl.integrate(U, algorithm, 0.3 * point(U), 200, record_every=50)
            assert len(run.laws) == COUNTS[case]
            assert all(law.holds for law in run.laws.values())


def test_a_checkpoint_knows_the_data(tmp_path):
    """A run is resumed with its potential alone: another target has the same sizes."""
    U = CASES["factorization"]
    path = tmp_path / "run.npz"
    nl.integrate(U, nl.GD(0.01), point(U), 20, checkpoint=path, checkpoint_every=5)
    assert nl.resume(path, potential=U).status == "completed"
    other = potentials.MatrixFactorization(U.target + 1e-9, 2)
    with pytest.raises(ValueError, match="its data have another SHA-256"):
        nl.resume(path, potential=other)
    with pytest.raises(ValueError, match=r"potential must be given.*a matrix factorization is not made"):
        nl.resume(path)


def test_known_minima():
    target = np.diag([3.0, 2.0, 1.0])
    assert potentials.MatrixFactorization(target, 2).minimum == pytest.approx(0.5)
    assert potentials.MatrixFactorization(target, [3, 1]).minimum == pytest.approx(0.5 * (4 + 1))
    U = potentials.MatrixFactorization(target, 1)
    run = nl.reference_flow(U, nl.GF, [0.3, 0.2, 0.1, 0.2, 0.1, 0.3], [30.0], rtol=1e-10)
    assert U.value(run.x[-1]) == pytest.approx(U.minimum, rel=1e-9)
    np.testing.assert_allclose(U.product(run.x[-1]), np.diag([3.0, 0, 0]), atol=1e-6)
    assert potentials.MatrixSensing(np.ones((2, 2, 2)), [1.0, 3.0], 2).minimum == pytest.approx(0.5)
    assert np.isnan(CASES["completion"].minimum)
    assert potentials.MatrixCompletion(target, np.ones((3, 3), bool), 3).minimum == 0
    assert CASES["diagonal"].minimum == 0
    assert potentials.DiagonalLinear([[1.0], [1.0]], [1.0, 3.0]).minimum == pytest.approx(0.5)
    same = potentials.CommitteeMachine(np.eye(2, 3), 2, "relu")
    assert same.minimum == 0
    assert abs(same.value(np.eye(2, 3)[::-1].ravel())) < 1e-15
    assert np.isnan(potentials.CommitteeMachine(np.eye(2, 3), 1).minimum)


def test_whitened_data_of_a_linear_network():
    """The loss of a deep linear network on whitened inputs is a matrix factorisation plus a constant."""
    X = np.linalg.qr(RNG.normal(size=(12, 3)))[0] * np.sqrt(12)
    y = RNG.normal(size=(12, 2))
    net = nl.Network([3, 2, 2], "linear", bias=False, loss="mse")
    U, V = net.potential(X, y), potentials.MatrixFactorization(y.T @ X / 12, 2)
    x, z = RNG.normal(size=(2, net.n_params))
    np.testing.assert_allclose(U.gradient(x), V.gradient(x), atol=1e-13)
    assert U.value(x) - V.value(x) == pytest.approx(U.value(z) - V.value(z), rel=1e-12)


def test_population_risk_against_samples():
    """Closed forms against means over 2·10⁵ inputs, within five standard errors; half of the risk is far outside."""
    from scipy.special import erf

    X = np.random.default_rng(2).normal(size=(200_000, 4))
    for case, sigma in (("erf", lambda z: erf(z / np.sqrt(2))), ("relu", lambda z: np.maximum(z, 0))):
        U, x = CASES[case], point(CASES[case])
        losses = 0.5 * (sigma(X @ x.reshape(3, 4).T).sum(axis=1) - sigma(X @ U.teacher.T).sum(axis=1)) ** 2
        error = 5 * losses.std() / np.sqrt(len(X))
        assert abs(losses.mean() - U.value(x)) < error
        assert abs(0.5 * losses.mean() - U.value(x)) > error


def test_implicit_bias_of_diagonal_networks():
    """The dual variable moves in the row space of X; the limit is no such solution for another start."""
    U = CASES["diagonal"]
    x0 = np.concatenate([np.full(5, 0.3), np.full(5, 0.1)])
    x = nl.reference_flow(U, nl.GF, x0, [60.0], rtol=1e-11).x[-1]
    assert U.value(x) < 1e-12
    moved = U.mirror(x) - U.mirror(x0)
    basis = np.linalg.svd(U.X)[2][:3]
    assert np.linalg.norm(moved - basis.T @ (basis @ moved)) < 1e-7 * np.linalg.norm(moved)
    beta = U.coefficients(x) - U.coefficients(x0)  # which would move there without the mirror
    assert np.linalg.norm(beta - basis.T @ (basis @ beta)) > 0.1 * np.linalg.norm(beta)


def test_implicit_bias_on_separable_data():
    A = np.array([[1.0, 0.2], [0.3, 1.0], [2.0, 2.0]])
    U = potentials.LogSumExp(A)
    best = U.max_margin()
    angles = np.linspace(0, 2 * np.pi, 100_001)
    margins = (A @ np.array([np.cos(angles), np.sin(angles)])).min(axis=0)
    assert margins.max() <= (A @ best).min() < margins.max() + 2e-4  # the grid is 6e-5 wide
    assert U.minimum == -np.inf
    x = nl.reference_flow(U, nl.GF, [0.5, -0.5], [1e3], rtol=1e-8).x[-1]
    assert x @ best / np.linalg.norm(x) > 1 - 1e-3
    both = potentials.LogSumExp([[1.0], [-1.0]])
    assert np.isnan(both.minimum)
    with pytest.raises(ValueError, match="A is not separable"):
        both.max_margin()


test_wrong_arguments_are_named = refusals(
    [
        (lambda: potentials.MatrixFactorization([1.0], 2), ValueError, "target"),
        (lambda: potentials.MatrixFactorization(np.eye(2), 0), ValueError, r"hidden\[0\]"),
        (lambda: potentials.MatrixSensing(np.ones((2, 2, 2)), [1.0], 2), ValueError, "y must have shape"),
        (lambda: potentials.MatrixCompletion(np.eye(2), np.ones((2, 2)), 1), ValueError, "mask must be a matrix of bool"),
        (lambda: potentials.PhaseRetrieval(np.eye(2), [1.0, -1.0]), ValueError, "y must hold intensities"),
        (lambda: potentials.TensorDecomposition(np.eye(2), 1), ValueError, "order 3"),
        (lambda: potentials.DiagonalLinear(np.eye(2), [1.0]), ValueError, "y must have shape"),
        (lambda: potentials.LogSumExp([[np.nan]]), ValueError, "A"),
        (lambda: potentials.CommitteeMachine(np.eye(2), 1, "tanh"), ValueError, "activation"),
        (lambda: potentials.CommitteeMachine(np.eye(2), 1, teacher_readout=[1.0]), ValueError, "teacher_readout"),
    ]
)  # fmt: skip


def test_data_are_not_shared():
    target = np.eye(2)
    U = potentials.MatrixFactorization(target, 1)
    target[:] = 7
    assert U.minimum == pytest.approx(0.5)
    assert repr(U) == "MatrixFactorization(widths=[2, 1, 2])"
