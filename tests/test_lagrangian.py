"""Noether's theorem itself: invariance, charges, groups and generators, and the action."""

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl
from noetherlite import lagrangian as lg

ROTATION = np.array([[0.0, -1.0], [1.0, 0.0]])


def free(t, x, v):
    return 0.5 * (v @ v)


def central(t, x, v):
    return 0.5 * (v @ v) - 0.1 * (x @ x - 1) ** 2


def ramp(t, x, v):  # does not depend on x[0]
    return 0.5 * (v @ v) - np.sin(x[1])


def nesterov(t, x, v):
    return t**3 * central(t, x, v)


def shift(t, x):
    return 0.0 * t, np.array([1.0, 0.0]) + 0 * x


def turn(t, x):
    return 0.0 * t, ROTATION @ x


def wait(t, x):
    return 1.0 + 0 * t, 0 * x


def points():
    rng = np.random.default_rng(0)
    return [(float(rng.uniform(1, 2)), rng.standard_normal(2), rng.standard_normal(2)) for _ in range(5)]


@pytest.mark.parametrize(
    ("L", "generator", "invariant"),
    [
        (free, shift, True),
        (free, turn, True),
        (free, wait, True),
        (ramp, shift, True),
        (ramp, turn, False),
        (central, turn, True),
        (central, shift, False),
        (central, wait, True),
        (nesterov, turn, True),
        (nesterov, wait, False),
    ],
)
def test_rund_trautmann_vanishes_exactly_for_symmetries(L, generator, invariant):
    defects = [abs(lg.rund_trautmann(L, generator, *p)) for p in points()]
    assert (max(defects) < 64 * EPS) if invariant else (min(defects) > 1e-3)


@pytest.mark.parametrize(
    ("L", "generator", "dynamics"), [(central, turn, nl.ND), (central, wait, nl.ND), (nesterov, turn, nl.NAGF)]
)
def test_charges_are_constant_along_the_flow(L, generator, dynamics):
    start, t = (np.array([1.2, 0.1]), np.array([0.3, 0.4])), np.linspace(1, 6, 11)
    U = nl.potentials.Callable(lambda x: (0.1 * (x @ x - 1) ** 2, 0.4 * (x @ x - 1) * x), 2)
    flow = nl.reference_flow(U, dynamics, start[0], t, velocity=start[1], t0=1.0)
    charges = [lg.noether_charge(L, generator, *p) for p in zip(flow.t, flow.x, flow.v, strict=True)]
    assert np.ptp(charges) < 1e-9 * max(np.abs(charges)) * 6**dynamics.alpha
    wrong = [lg.noether_charge(L, shift, *p) for p in zip(flow.t, flow.x, flow.v, strict=True)]
    assert np.ptp(wrong) > 0.1


def test_charges_are_the_known_ones():
    t, x, v = 2.0, np.array([1.0, 2.0]), np.array([3.0, 5.0])
    assert lg.noether_charge(free, shift, t, x, v) == 3.0
    assert lg.noether_charge(central, turn, t, x, v) == pytest.approx(x[0] * v[1] - x[1] * v[0], rel=8 * EPS)
    assert lg.noether_charge(central, wait, t, x, v) == pytest.approx(-(17.0 + 0.1 * 16), rel=8 * EPS)
    assert lg.hamiltonian(central, t, x, v) == pytest.approx(17.0 + 0.1 * 16, rel=8 * EPS)
    np.testing.assert_allclose(lg.momentum(nesterov, t, x, v), 8 * v, rtol=8 * EPS)


def test_generator_of_a_group():
    def turned(e, t, x):
        return t, np.array([[np.cos(e), -np.sin(e)], [np.sin(e), np.cos(e)]]) @ x

    tau, xi = lg.generator_of(turned)(1.0, np.array([2.0, 3.0]))
    assert tau == 0
    np.testing.assert_allclose(xi, [-3.0, 2.0], rtol=0, atol=1e-13)
    for p in points():
        assert abs(lg.rund_trautmann(central, lg.generator_of(turned), *p)) < 1e-12
        assert abs(lg.rund_trautmann(ramp, lg.generator_of(turned), *p)) > 1e-3


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.5, 3.0])
def test_so2_round_trip(angle):
    M = lg.group_from_generator(ROTATION, angle)
    np.testing.assert_allclose(M, [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], atol=8 * EPS)
    np.testing.assert_allclose(lg.generator_from_group(M), angle * ROTATION, atol=64 * EPS)


def test_general_round_trip():
    A = 0.3 * np.random.default_rng(1).standard_normal((4, 4))
    np.testing.assert_allclose(lg.generator_from_group(lg.group_from_generator(A, 1.0)), A, atol=256 * EPS)


@pytest.mark.parametrize("M", [np.diag([1.0, -1.0]), -np.eye(2), np.diag([1.0, 0.0])])
def test_a_reflection_a_half_turn_and_a_projection_have_no_real_principal_logarithm(M):
    with pytest.raises(ValueError, match="no real principal logarithm"):
        lg.generator_from_group(M)


def test_the_action_is_stationary_on_leapfrogs_path_and_not_beside_it():
    U = nl.potentials.Radial(2)
    run = nl.integrate(U, nl.Leapfrog(0.01), [1.3, 0.2], 20, velocity=[0.1, 0.4], record_params=True)
    # ∂action/∂x = −(x_{k+1} − 2x_k + x_{k−1})/h − h∇U: differences of x of order 1, over h = 0.1.
    assert np.abs(lg.action_gradient(central, run.t, run.params)).max() < 64 * EPS / 0.1
    beside = run.params + 1e-3 * np.sin(run.t)[:, None]
    assert np.abs(lg.action_gradient(central, run.t, beside)).max() > 1e-5


test_bad_input = refusals(
    [
        (lambda: lg.action(free, [0.0, 1.0], np.zeros((3, 2))), "path must have shape"),
        (lambda: lg.momentum(free, 0.0, [1.0, 2.0], [1.0]), "v must have shape"),
        (lambda: lg.group_from_generator(np.zeros((2, 3)), 1.0), "A must be a square"),
        (lambda: lg.group_from_generator(np.zeros((2, 2)), np.nan), "strength=nan"),
        (lambda: lg.generator_from_group(np.zeros((2, 3))), "M must be a square"),
        (lambda: lg.generator_from_group(np.zeros((0, 0))), "M must be a square"),
        (lambda: lg.hamiltonian(free, np.nan, [1.0], [1.0]), "t=nan"),
        (lambda: lg.action(free, [0.0, 1.0], [[0.0, 1.0], [1.0]]), TypeError, "path must be an array"),
        (lambda: lg.generator_of(wait)(0.0, ["a"]), TypeError, "x must hold numbers"),
        (lambda: lg.generator_of(wait)(0.0, [np.nan]), ValueError, "x must be finite"),
    ]
)


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (lambda t, x: (1j, x), TypeError, "must return a number and an array"),
        (lambda t, x: (0.0, 1j * x), TypeError, "must return a number and an array"),
        (lambda t, x: (np.nan, x), ValueError, "must return finite numbers"),
        (lambda t, x: (0.0, np.inf * x), ValueError, "must return finite numbers"),
        (lambda t, x: None, TypeError, "must return a number and an array"),
    ],
)
def test_what_generators_and_groups_return_is_checked(returned, error, words):
    L, x = central, np.ones(2)
    for use in (lg.rund_trautmann, lg.noether_charge):
        with pytest.raises(error, match=f"generator {words}"):
            use(L, returned, 0.0, x, x)
    with pytest.raises(error, match=f"group {words}"):
        lg.generator_of(lambda e, t, x: returned(t, x))(0.0, x)


@pytest.mark.parametrize(
    "use", [lg.momentum, lg.hamiltonian, lambda L, t, x, v: lg.action_gradient(L, [0.0, 1.0, 3.0], [x] * 3)]
)
def test_a_lagrangian_that_is_complex_at_real_arguments_is_refused(use):
    """Its imaginary part would be taken for a derivative, of the size 1e100."""
    with pytest.raises(TypeError, match="L must return a number, real at real arguments"):
        use(lambda t, x, v: (1 + 1j) * (v @ v), 0.0, [1.0], [1.0])


def test_a_generator_of_a_group_takes_sequences():
    tau, xi = lg.generator_of(lambda e, t, x: (t + e, x + e * t))(2, [0, 1])
    np.testing.assert_allclose([tau, *xi], [1, 2, 2], rtol=0, atol=1e-13)


def test_a_lagrangian_that_is_not_finite_has_no_momentum_of_zero():
    with pytest.raises(ValueError, match="L must be finite, got nan"):
        lg.momentum(lambda t, x, v: np.nan, 0.0, [1.0], [1.0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-18, 1e18])
def test_the_logarithm_of_a_matrix_whose_determinant_is_no_double(size):
    np.testing.assert_allclose(lg.generator_from_group(size * np.eye(20)), np.log(size) * np.eye(20), rtol=1e-14)
