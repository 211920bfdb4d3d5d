"""Symmetries: orthogonal to gradients, groups that leave U alone, found where they hold and refused where they do not."""

import itertools

import numpy as np
import problems
import pytest
from algorithms import five
from problems import EPS, refusals

from noetherlite import datasets, potentials
from noetherlite._kernels import reference, reference_laws, schedule
from noetherlite._kernels.cpu import laws as cpu_laws
from noetherlite._kernels.cpu.placed import Placed
from noetherlite._motion.gradient_descent import GD
from noetherlite._motion.leapfrog import Leapfrog
from noetherlite._problem.network import Network
from noetherlite._run.integrate import integrate
from noetherlite._symmetry.affine import Symmetry
from noetherlite._symmetry.find import TOLERANCE, _isotropic, symmetries, symmetry_defect
from noetherlite._symmetry.linear_layer import LinearLayer
from noetherlite._symmetry.records import table
from noetherlite._symmetry.rotation import DataRotation
from noetherlite._symmetry.scaling import NeuronScaling
from noetherlite._symmetry.time_translation import Time
from noetherlite._symmetry.translation import OutputTranslation

ACTIVATIONS = ["linear(0.7)", "relu", "leaky_relu(0.1)", "polynomial(2)", "polynomial(3)", "repu(3)", "swish"]
HOMOGENEOUS = list(itertools.product(ACTIVATIONS, ["mse", "nll"], [True, False]))


def potential(activation, loss, bias=True, widths=(3, 4, 3, 2)):
    return problems.problem(activation, loss, bias, widths)[1]


def point(U, seed=2):
    return problems.point(U.network, np.random.default_rng(seed))


def families(U):
    return [s for s in symmetries(U) if s.name != "time"]


def all_kinds():
    """One potential for each kind of family, with two of a user's own."""
    rotating = Network([3, 2, 1], "polynomial(2)", loss="mse").potential(datasets.icosahedron())
    nll, swish = potential("linear(0.7)", "nll"), potential("swish", "mse")
    skew = Symmetry([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]], name="turn")
    valley = potentials.Harmonic([[1.0, -1.0], [-1.0, 1.0]])
    return {
        "scaling": (swish, NeuronScaling(swish.network, 1)),
        "linear": (nll, LinearLayer(nll.network, 2)),
        "rotation": (rotating, DataRotation(rotating.network)),
        "translation:b": (nll, OutputTranslation(nll.network, "b")),
        "translation:W": (nll, OutputTranslation(nll.network, "W")),
        "skew": (potentials.Radial(3), skew),
        "shift": (valley, Symmetry(np.zeros((2, 2)), [1.0, 1.0], name="shift")),
    }


KINDS = all_kinds()


def start(U, seed=2):
    return point(U, seed) if hasattr(U, "network") else np.random.default_rng(seed).normal(size=U.n_params)


RELU = potential("relu", "mse")


# --- every symmetry is one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("activation", "loss", "bias"), HOMOGENEOUS)
def test_generators_are_orthogonal_to_the_gradient(activation, loss, bias):
    U = potential(activation, loss, bias)
    for s in families(U):
        for seed in range(3):
            x = point(U, seed)
            gradient, g = U.gradient(x), s.generator(x)
            size = np.linalg.norm(g, axis=1) * np.linalg.norm(gradient)
            assert np.all(np.abs(g @ gradient) <= 8 * EPS * size)
            wrong = g + 1e-9 * np.random.default_rng(seed).normal(size=g.shape)
            assert np.any(np.abs(wrong @ gradient) > 8 * EPS * size)


@pytest.mark.parametrize(("activation", "loss", "bias"), HOMOGENEOUS)
def test_groups_leave_the_potential_unchanged(activation, loss, bias):
    U = potential(activation, loss, bias)
    x = point(U)
    for s in families(U):
        strength = 0.3 * np.random.default_rng(3).normal(size=s.shape)
        moved = s.apply(x, strength)
        assert np.abs(moved - x).max() > 0.01
        assert abs(U.value(moved) - U.value(x)) <= 100 * EPS * max(1.0, U.value(x))
        if s.symmetric and s.name.startswith("scaling"):
            wrong = x + 1.001 * (moved - x)
            assert abs(U.value(wrong) - U.value(x)) > 1e-9 * U.value(x)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_act_and_their_derivative_is_the_generator(kind):
    U, s = KINDS[kind]
    x = start(U)
    rng = np.random.default_rng(4)
    strength, h = rng.normal(size=s.shape), 1e-5
    np.testing.assert_array_equal(s.apply(x, 0.0), x)
    derivative = (s.apply(x, h * strength) - s.apply(x, -h * strength)) / (2 * h)
    expected = strength.ravel() @ s.generator(x)
    np.testing.assert_allclose(derivative, expected, atol=20 * (h**2 + EPS / h) * np.linalg.norm(x))
    assert np.linalg.norm(derivative - 1.001 * expected) > 1e-4 * np.linalg.norm(expected)
    np.testing.assert_allclose(s.apply(s.apply(x, strength), -strength), x, atol=100 * EPS * np.exp(3.0))
    assert abs(U.value(s.apply(x, strength)) - U.value(x)) <= 1000 * EPS * max(1.0, U.value(x))


# --- quantity, charge, source -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["polynomial(2)", "repu(3)"])
def test_norms_of_scalings_of_other_degrees(activation):
    net = Network([2, 3, 2], activation)
    U, x = net.potential(datasets.two_moons(8, rng=0)), net.init(rng=0, bias_std=0.5)
    s = next(s for s in symmetries(U) if s.name == "scaling:1")
    np.testing.assert_allclose(s.norm(x), np.linalg.norm(s.generator(x), axis=1), rtol=10 * EPS)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_generator_before_anything_cancels(kind):
    U, s = KINDS[kind]
    x, xi = start(U), s.generator(np.zeros(U.n_params))
    G = np.stack([s.generator(e) - xi for e in np.eye(U.n_params)], axis=-1)  # (components, P, P)
    sizes = reference_laws.generators(table([s], U.n_params, "float64"), x)
    np.testing.assert_allclose(sizes, (np.abs(G) @ np.abs(x) + np.abs(xi)).sum(axis=1), rtol=100 * EPS)
    assert (sizes > 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_charge_and_source_are_those_of_the_generator(kind):
    U, s = KINDS[kind]
    rng = np.random.default_rng(5)
    x, v, zero = start(U), rng.normal(size=U.n_params), np.zeros(U.n_params)
    g = s.generator(x)
    np.testing.assert_allclose(s.charge(x, v).ravel(), g @ v, atol=50 * EPS * np.linalg.norm(v))
    np.testing.assert_allclose(s.source(v).ravel(), (s.generator(v) - s.generator(zero)) @ v, atol=50 * EPS * (v @ v))
    np.testing.assert_allclose(s.norm(x).ravel(), np.linalg.norm(g, axis=1), rtol=10 * EPS)
    assert s.n_generators == g.shape[0]


@pytest.mark.parametrize("kind", KINDS)
def test_charge_is_the_derivative_of_quantity(kind):
    U, s = KINDS[kind]
    x, v = start(U), np.random.default_rng(6).normal(size=U.n_params)
    if not s.symmetric:
        assert np.isnan(s.quantity(x)).all()
        return
    h = 0.5  # Q is quadratic: its central difference is exact
    derivative = (s.quantity(x + h * v) - s.quantity(x - h * v)) / (2 * h)
    charge = s.charge(x, v)
    if kind == "linear":  # the matrix Q belongs to the symmetric part of the generators
        charge = (charge + charge.T) / 2
    np.testing.assert_allclose(derivative, charge, atol=200 * EPS * np.linalg.norm(v) * np.linalg.norm(x))
    assert np.abs(derivative - 1.000001 * charge).max() > 200 * EPS * np.linalg.norm(v) * np.linalg.norm(x)


@pytest.mark.parametrize("kind", KINDS)
def test_many_points_at_once(kind):
    U, s = KINDS[kind]
    x, v = np.random.default_rng(7).normal(size=(2, 5, U.n_params))
    for many, one in (
        (s.charge(x, v), [s.charge(a, b) for a, b in zip(x, v, strict=True)]),
        (s.source(v), [s.source(b) for b in v]),
        (s.quantity(x), [s.quantity(a) for a in x]),
    ):
        assert many.shape == (5, *s.shape)
        np.testing.assert_allclose(many, one, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_have_the_same_forms(kind):
    U, s = KINDS[kind]
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, U.n_params))
    laws = table([s], U.n_params, "float64")
    compiled = np.empty(s.n_generators)
    placed, addresses = Placed(laws), cpu_laws.addresses_of_forms("float64", with_matrices=True)
    cpu_laws.forms(addresses, schedule.PAIR, placed.address, a, b, compiled)
    np.testing.assert_allclose(compiled, s.pair(a, b).ravel(), atol=1e-13)
    np.testing.assert_allclose(reference.pair(laws, a, b), s.pair(a, b).ravel(), atol=1e-13)
    cpu_laws.forms(addresses, schedule.CHARGE, placed.address, a, b, compiled)
    np.testing.assert_allclose(compiled, s.charge(a, b).ravel(), atol=1e-13)
    np.testing.assert_allclose(reference.translation(laws, b), s.translation(b).ravel(), atol=1e-13)


def test_linear_layer_contains_scaling_and_angular_momenta():
    U = potential("linear", "mse")
    x, v = point(U), point(U, 3)
    scaling, linear = NeuronScaling(U.network, 1), LinearLayer(U.network, 1)
    np.testing.assert_allclose(np.diag(linear.charge(x, v)), scaling.charge(x, v), atol=1e-14)
    np.testing.assert_allclose(np.diag(linear.quantity(x)), scaling.quantity(x), atol=1e-14)
    source = linear.source(v)
    np.testing.assert_allclose(source, source.T, atol=1e-14)
    assert abs(linear.charge(x, v) - linear.charge(x, v).T).max() > 0.1


def test_time_is_energy():
    U = potential("relu", "mse")
    x, v = np.stack([point(U), point(U, 3)]), np.stack([point(U, 4), point(U, 5)])
    time = symmetries(U)[-1]
    assert (time.name, time.shape, time.n_generators) == ("time", (1,), 1)
    expected = [[0.5 * b @ b + U.value(a)] for a, b in zip(x, v, strict=True)]
    np.testing.assert_allclose(time.charge(x, v), expected, rtol=4 * EPS)
    np.testing.assert_allclose(Time(U, mass=3.0).charge(x[0], v[0]), 1.5 * v[0] @ v[0] + U.value(x[0]), rtol=4 * EPS)
    np.testing.assert_allclose(time.source(v)[:, 0], -np.sum(v**2, axis=1))
    assert np.isnan(time.quantity(x)).all()
    assert time.quantity(x).shape == (2, 1)
    np.testing.assert_array_equal(time.generator(x[0]), np.zeros((1, U.n_params)))
    run = integrate(U, Leapfrog(1e-2), x[0], 5, velocity=v[0], record_params=True)
    np.testing.assert_allclose(run.energy[-1], time.charge(run.x, run.v)[0], rtol=4 * EPS)


# --- what is found -----------------------------------------------------------------------------------------------

SCALED = ["scaling:1", "scaling:2"]
BOTH = ["scaling:1", "linear:1", "scaling:2", "linear:2"]
OUTPUT = ["translation:b", "translation:W"]


@pytest.mark.parametrize(
    ("activation", "loss", "expected"),
    [
        *[(a, "mse", SCALED) for a in ACTIVATIONS[1:]],
        *[(a, "nll", SCALED + OUTPUT) for a in ACTIVATIONS[1:]],
        ("linear", "mse", BOTH),
        ("linear(0.7)", "nll", BOTH + OUTPUT),
        ("polynomial(1)", "mse", BOTH),
        (["linear", "relu"], "mse", ["scaling:1", "linear:1", "scaling:2"]),
        (["tanh", "swish"], "mse", ["scaling:2"]),
        ("tanh", "mse", []),
        ("swish(1.0)", "nll", OUTPUT),
    ],
)
def test_the_symmetries_of_an_activation_and_a_loss(activation, loss, expected):
    U = potential(activation, loss)
    assert [s.name for s in symmetries(U)] == [*expected, "time"]
    if loss == "nll":
        without_bias = families(potential(activation, loss, bias=False))
        assert [s.name for s in without_bias] == [name for name in expected if name != "translation:b"]


def test_one_layer_and_other_potentials():
    assert [s.name for s in symmetries(potential([], "nll", widths=(3, 2)))] == [*OUTPUT, "time"]
    assert [s.name for s in symmetries(potentials.Radial(3))] == ["time"]


def unclaimed(data):
    return datasets.Dataset(data.X, data.y, data.name)


@pytest.mark.parametrize(
    ("data", "widths", "activation", "bias"),
    [
        (datasets.icosahedron(), (3, 1, 1), "polynomial(2)", False),
        (datasets.icosahedron(), (3, 4, 2, 1), ["polynomial(2)", "linear"], True),
        (datasets.icosahedron([0.3, -1.0], [1.0, 2.0]), (3, 2, 1), "polynomial(2)", True),
        (datasets.icosahedron(), (3, 2, 1), "linear", True),
        (datasets.polygon(5), (2, 3, 1), "polynomial(2)", True),
        (datasets.polygon(7), (2, 3, 1), "polynomial(3)", True),
    ],
)
def test_rotation_is_found_claimed_or_not(data, widths, activation, bias):
    net = Network(widths, activation, bias=bias, loss="mse")
    for claimed in (data, unclaimed(data)):
        U = net.potential(claimed)
        assert "rotation" in [s.name for s in symmetries(U)]
        assert symmetry_defect(U, "rotation") < 10 * EPS
        assert list(integrate(U, GD(1e-3), point(U), 1, laws=["rotation"]).laws) == ["rotation"]


@pytest.mark.parametrize(
    ("data", "widths", "activation"),
    [
        (unclaimed(datasets.icosahedron()), (3, 2, 1), "relu"),
        (unclaimed(datasets.icosahedron()), (3, 2, 1), "polynomial(3)"),  # degree 6 > 5
        (unclaimed(datasets.polygon(4)), (2, 2, 1), "polynomial(2)"),  # degree 4 > 3
        (datasets.Dataset(np.random.default_rng(0).normal(size=(40, 3)), np.ones((40, 1))), (3, 2, 1), "polynomial(2)"),
        (datasets.Dataset(np.zeros((4, 1)), np.ones((4, 1))), (1, 2, 1), "relu"),  # one input: nothing to rotate
    ],
)
def test_rotation_is_not_found_where_it_does_not_hold(data, widths, activation):
    assert "rotation" not in [s.name for s in symmetries(Network(widths, activation, loss="mse").potential(data))]


def test_a_claim_is_measured_even_where_the_moments_say_nothing():
    whole = datasets.icosahedron()
    half = whole.X[whole.X @ [1.0, 0.1, 0.01] > 0]  # one of each antipodal pair: enough for z² without biases
    net = Network([3, 2, 1], "polynomial(2)", bias=False, loss="mse")
    data = datasets.Dataset(half, np.full((6, 1), 0.6), "half", rotation_invariant=True)
    assert "rotation" in [s.name for s in symmetries(net.potential(data))]


def test_a_claim_is_true_where_round_off_of_one_point_is_large():
    """∇U is a small difference of large terms at one of the points; a rotation that is off by as much at all of them is none."""
    net = Network([3, 1, 9, 4, 1], ["linear", "linear(0.7)", "linear(0.7)"], loss="mse")
    data = datasets.icosahedron()
    U = net.potential(data)
    assert 1e-13 < symmetry_defect(U, "rotation") < 1e-9  # 4e-12 and more, as processors round
    assert "rotation" in [s.name for s in symmetries(U)]
    assert "rotation" in integrate(U, GD(0.1), point(U), 1, laws=["rotation"]).laws
    off = datasets.Dataset(data.X + 1e-9 * np.eye(12, 3), data.y, rotation_invariant=True)
    with pytest.raises(ValueError, match="claim rotation_invariant"):
        symmetries(net.potential(off))


def test_a_false_claim_is_refused_with_the_defect():
    U = Network([3, 2, 1], "relu", loss="mse").potential(datasets.icosahedron())
    with pytest.raises(ValueError, match=r"'icosahedron' claim rotation_invariant=True.*= 0\.\d+ at random points"):
        symmetries(U)
    x = point(U)
    with pytest.raises(ValueError, match="claim rotation_invariant"):
        integrate(U, GD(0.1), x, 1)
    assert integrate(U, GD(0.1), x, 1, laws=None).status == "completed"
    assert list(integrate(U, GD(0.1), x, 1, laws=["scaling:1"]).laws) == ["scaling:1"]
    single = datasets.Dataset(np.ones((3, 1)), np.ones((3, 1)), rotation_invariant=True)
    assert [s.name for s in symmetries(Network([1, 1], [], loss="mse").potential(single))] == ["time"]


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "loss", "law", "reason"),
    [
        ("tanh", "nll", "scaling:1", "'tanh' is not homogeneous"),
        ("swish(1.0)", "mse", "scaling:2", "not homogeneous"),
        ("relu", "mse", "linear:1", "'relu' is not linear"),
        ("relu", "mse", "translation:b", "needs loss='nll' or loss='cross_entropy', the network has 'mse'"),
        ("relu", "mse", "translation:W", "needs loss='nll'"),
        ("relu", "mse", "rotation", ""),
    ],
)
def test_names_of_symmetries_that_do_not_hold(activation, loss, law, reason):
    U = potential(activation, loss)
    assert symmetry_defect(U, law) > 1e-3
    with pytest.raises(ValueError, match=rf"{law}' is not a symmetry.*{reason}.*= 0\.\d+ at random points"):
        integrate(U, GD(0.1), point(U), 1, laws=[law])


test_laws_refuses = refusals(
    [
        ("scalin:1", ValueError, r"did you mean 'scaling:1'\?.*expected one of 'all', 'scaling:1'"),
        (["scaling:4"], ValueError, "laws='scaling:4' is not known"),
        (["time"], ValueError, r"every run records in Trajectory\.energy"),
        (["scaling:1", "scaling:1"], ValueError, "names a symmetry twice"),
        ([3], TypeError, "laws must hold names and symmetries, got 3"),
        ([Symmetry(np.eye(2))], ValueError, "'affine' acts on 2 parameters, the potential has 39"),
    ],
    lambda laws: integrate(RELU, GD(0.1), point(RELU), 1, laws=laws),
)


def central(x):
    r = np.sqrt(x @ x)
    return -1 / r, x / r**3


def test_a_users_symmetry_is_verified_also_in_python():
    U = potentials.Callable(central, 3)
    turn = Symmetry([[0, -1, 0], [1, 0, 0], [0, 0, 0]], name="turn")
    assert symmetry_defect(U, turn) < 10 * EPS
    assert list(integrate(U, Leapfrog(1e-3), np.ones(3), 2, laws=[turn]).laws) == ["turn"]
    assert integrate(U, Leapfrog(1e-3), np.ones(3), 2).laws == {}
    almost = Symmetry(turn.G + 1e-6 * np.eye(3), name="almost")
    assert 1e-6 < symmetry_defect(U, almost) < 1e-5
    with pytest.raises(ValueError, match=r"'almost' is not a symmetry of Callable.*= \d\.\d*e-06 at"):
        integrate(U, Leapfrog(1e-3), np.ones(3), 2, laws=[almost])


def test_defect_of_names_families_and_time():
    U = potential("relu", "mse")
    assert symmetry_defect(U, "scaling:1") == symmetry_defect(U, NeuronScaling(U.network, 1)) < 10 * EPS < TOLERANCE
    assert symmetry_defect(U, "time") == 0
    assert symmetry_defect(U, "rotation", rng=1) != symmetry_defect(U, "rotation", rng=2)
    assert symmetry_defect(U, "rotation", rng=1) == symmetry_defect(U, "rotation", rng=np.random.default_rng(1))


def test_defect_where_the_potential_is_flat_or_undefined():
    turn = Symmetry([[0, -1], [1, 0]])
    assert symmetry_defect(potentials.Harmonic(np.zeros((2, 2))), turn) == 0
    nowhere = potentials.Callable(lambda x: (np.nan, x), 2)
    with pytest.raises(ValueError, match="cannot be measured"):
        symmetry_defect(nowhere, turn)


test_bad_input = refusals(
    [
        (lambda U, s: symmetries(3), TypeError, "U must be a potential"),
        (lambda U, s: symmetry_defect(None, s), TypeError, "U must be a potential"),
        (lambda U, s: symmetry_defect(U, "scaling:9"), ValueError, "symmetry='scaling:9' is not known"),
        (lambda U, s: symmetry_defect(U, Symmetry(np.eye(3))), ValueError, "symmetry: 'affine' acts on 3 parameters"),
        (lambda U, s: symmetry_defect(U, s, rng="x"), TypeError, "rng must be a seed"),
        (lambda U, s: NeuronScaling(U.network, 3), ValueError, "h=3 is out of range"),
        (lambda U, s: LinearLayer(U.network, 0), ValueError, "h=0 is out of range"),
        (lambda U, s: OutputTranslation(U.network, "c"), ValueError, "block='c' is not known"),
        (lambda U, s: OutputTranslation(Network([2, 2], bias=False), "b"), ValueError, "has no parameters b1"),
        (lambda U, s: s.charge(np.ones(3), np.ones(3)), ValueError, r"x must have shape \(\.\.\., 39\)"),
        (lambda U, s: s.source(3.0), ValueError, r"v must have shape \(\.\.\., 39\), got \(\)"),
        (lambda U, s: s.generator(np.ones(3)), ValueError, r"x must have shape \(39,\)"),
        (lambda U, s: s.apply(np.ones(39), np.ones(3)), ValueError, r"strength must be a number or have shape \(4,\)"),
        (lambda U, s: Symmetry(np.ones((2, 3))), ValueError, r"G must be a square matrix \(P, P\), got \(2, 3\)"),
        (lambda U, s: Symmetry(np.eye(2), np.ones(3)), ValueError, r"xi must have shape \(2,\)"),
        (lambda U, s: Symmetry([[np.nan]]), ValueError, "G must be finite"),
        (lambda U, s: Time(U, mass=-1.0), ValueError, "mass=-1.0 is out of range"),
    ],
    lambda call: call(RELU, NeuronScaling(RELU.network, 1)),
)


# --- exact discrete laws -----------------------------------------------------------------------------------------

ALGORITHMS = {name: case for name, case in five(2e-3, 2e-4).items() if name != "HeavyBall"}


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_discrete_laws_hold_to_round_off_over_ten_thousand_steps(kind, algorithm):
    U, s = KINDS[kind]
    method, t0 = ALGORITHMS[algorithm]
    moving = {} if algorithm in ("GD", "NAGD") else {"velocity": 0.2 * start(U, 3)}
    run = integrate(U, method, 0.5 * start(U), 10_000, t0=t0, laws=[s], record_every=500, **moving)
    assert run.status == "completed"
    law = run.laws[s.name]
    factor = method.dynamics.integrating_factor(run.t) if algorithm == "Conformal" else np.ones(run.t.size)
    scale = max(1.0, np.abs(factor).max()) * max(1.0, np.abs(run.x).max() ** 2)
    assert np.abs(law.discrete_residual).max() < 1e-11 * scale
    if s.symmetric and kind not in ("translation:b", "translation:W", "shift"):
        assert np.abs(law.residual).max() > 1e-10  # the continuous law has an error of the step's size: not the same


def test_rotations_are_left_out_with_minibatches_and_refused_by_name():
    net = Network([3, 1, 1], activation="polynomial(2)", bias=False, loss="mse")
    U = net.potential(datasets.icosahedron())
    x = net.init(rng=0)
    assert set(integrate(U, GD(1e-3), x, 2).laws) == {"scaling:1", "rotation"}
    assert set(integrate(U, GD(1e-3), x, 2, batch_size=4, rng=0).laws) == {"scaling:1"}
    with pytest.raises(ValueError, match="not of minibatches"):
        integrate(U, GD(1e-3), x, 2, batch_size=4, rng=0, laws=["rotation"])


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e150, 1e307])
def test_isotropic_inputs_are_found_at_any_scale(scale):
    """Sums of squares, and of the largest inputs themselves, are beyond the range of a double."""
    X = datasets.icosahedron().X
    rings = np.concatenate([X, X, X]) / np.abs(X).max() * scale
    assert _isotropic(rings)
    assert not _isotropic(rings * [1, 1, 1.001])
    assert not _isotropic(rings + 0.001 * scale)
