"""Points of an orbit that gradients choose: formulas, minima, SGD ensembles, and what cannot be."""

import numpy as np
import pytest
from problems import EPS, problem, refusals

import noetherlite as nl
from noetherlite._kernels import reference

CASES = [("relu", True), ("relu", False), ("polynomial(2)", True), ("swish", True), ("repu(1.5)", False)]


def symmetries(U, beginning):
    """Those whose names begin so."""
    return [s for s in nl.symmetries(U) if s.name.startswith(beginning)]


def noise(U, x):
    """The gradients of the samples less their mean."""
    each = np.stack([reference.value_and_gradient(U.problem(), x, slice(s, s + 1))[1] for s in range(U.n_samples)])
    return each - each.mean(axis=0)


def spread(U, x):
    """The trace of the covariance of the samples' gradients."""
    return (noise(U, x) ** 2).sum()


def noise_of_charges(U, x, law):
    """⟨g, Gg⟩ of every component, summed over the noise of the samples."""
    return sum(law.pair(g, g) for g in noise(U, x))


@pytest.mark.parametrize(("activation", "bias"), CASES)
def test_noise_moves_no_charge_at_its_equilibrium(activation, bias):
    net, U, x = problem(activation, bias=bias, widths=(3, 4, 3, 2), n=15)
    point = nl.noise_equilibrium(U, x)
    np.testing.assert_allclose(net.predict(point, U.X), net.predict(x, U.X), rtol=0, atol=1e-12 * 50)
    laws = symmetries(U, "scaling")
    assert laws
    for law in laws:
        size = spread(U, point)
        assert np.abs(noise_of_charges(U, point, law)).max() <= 1e-11 * size
        assert np.abs(noise_of_charges(U, x, law)).max() > 1e-3 * spread(U, x)


def test_one_neuron_by_the_formula():
    net, U, x = problem("polynomial(2)", bias=True, widths=(3, 1, 2), n=15)
    variance = net.unpack((noise(U, x) ** 2).sum(axis=0))
    p = 2
    s = np.log((variance["W1"].sum() + variance["b1"].sum()) / (p * variance["W2"].sum())) / (2 * (p + 1))
    (law,) = symmetries(U, "scaling")
    np.testing.assert_allclose(nl.noise_equilibrium(U, x), law.apply(x, [s]), rtol=64 * EPS)


def test_it_is_the_least_noise_of_the_orbit():
    _, U, x = problem("relu", widths=(3, 4, 3, 2), n=15)
    point = nl.noise_equilibrium(U, x)
    least, rng = spread(U, point), np.random.default_rng(0)
    assert least < 0.99 * spread(U, x)
    for law in symmetries(U, "scaling"):
        for _ in range(5):
            assert spread(U, law.apply(point, 0.01 * rng.normal(size=law.shape))) > least


def test_a_linear_layer_by_the_geometric_mean():
    net, U, x = problem("linear", bias=True, widths=(4, 3, 3), n=20)
    point = nl.noise_equilibrium(U, x)
    np.testing.assert_allclose(net.predict(point, U.X), net.predict(x, U.X), rtol=0, atol=1e-12)
    (law,) = symmetries(U, "linear")
    size = spread(U, point)
    assert np.abs(noise_of_charges(U, point, law)).max() <= 1e-11 * size
    assert np.abs(noise_of_charges(U, x, law)).max() > 1e-2 * size


def teleported(U, x, norm, rel=1e-11):
    """Return a point with a gradient of this norm, after checking that it has it and the loss of x."""
    point = nl.teleport(U, x, norm)
    assert np.linalg.norm(U.gradient(point)) == pytest.approx(norm, rel=rel)
    assert U.value(point) == pytest.approx(U.value(x), rel=rel)
    return point


@pytest.mark.parametrize(("activation", "bias"), CASES)
@pytest.mark.parametrize("factor", [0.999, 1.5, 30.0])
def test_a_gradient_of_wanted_norm(activation, bias, factor):
    _, U, x = problem(activation, bias=bias, widths=(3, 4, 3, 2), n=15)
    wanted = factor * np.linalg.norm(U.gradient(x))
    point = teleported(U, x, wanted)
    assert np.abs(point - x).max() > 1e-5


def test_the_least_gradient_of_the_orbit():
    _, U, x = problem("relu", widths=(3, 4, 3, 2), n=15)
    with pytest.raises(ValueError, match="is less than the least of this orbit, ") as caught:
        nl.teleport(U, x, 1e-3)
    least = float(str(caught.value).rsplit(" ", 1)[1])
    point = nl.teleport(U, x, least * (1 + 1e-5))
    rng = np.random.default_rng(0)
    for law in symmetries(U, "scaling"):
        for _ in range(5):
            other = law.apply(point, 0.3 * rng.normal(size=law.shape))
            assert np.linalg.norm(U.gradient(other)) > least
    again = nl.teleport(U, point, 2 * least)  # from near the minimum too
    assert np.linalg.norm(U.gradient(again)) == pytest.approx(2 * least, rel=1e-11)


LINEAR = [
    ("linear", True, (4, 3, 3)),
    ("linear", False, (4, 5, 3)),
    ("linear", True, (4, 5, 6, 3)),
    (["relu", "linear"], True, (3, 4, 4, 2)),
]


@pytest.mark.parametrize(("activation", "bias", "widths"), LINEAR)
@pytest.mark.parametrize("factor", [0.95, 1.5, 30.0])
def test_a_linear_layer_moves_along_its_matrices(activation, bias, widths, factor):
    net, U, x = problem(activation, bias=bias, widths=widths, n=15)
    wanted = factor * np.linalg.norm(U.gradient(x))
    point = teleported(U, x, wanted)
    h = len(widths) - 2  # the last hidden layer: W ↦ AW with a symmetric A, which is not diagonal
    for name, side in ((f"W{h}", "incoming"), (f"W{h + 1}", "outgoing")):
        before, after = net.unpack(x)[name], net.unpack(point)[name]
        A = after @ np.linalg.pinv(before) if side == "incoming" else np.linalg.pinv(before) @ after
        assert np.abs(A - np.diag(np.diag(A))).max() > 1e-4


def least_square(U, x):
    """The least |∇U|² on the orbit of the matrices of the only hidden layer: 2 tr (C_W^½ C_U C_W^½)^½ and what they do not move."""
    at = U.network.unpack(U.gradient(x))
    C_W, C_U = at["W1"] @ at["W1"].T + np.outer(at["b1"], at["b1"]), at["W2"].T @ at["W2"]
    values, vectors = np.linalg.eigh(C_W)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return 2 * np.sqrt(np.maximum(np.linalg.eigvalsh(root @ C_U @ root), 0)).sum() + (at["b2"] ** 2).sum()


@pytest.mark.parametrize("widths", [(4, 3, 3), (3, 6, 2)])  # a minimum, and a limit that no matrix reaches
def test_the_least_gradient_of_a_linear_layer(widths):
    _, U, x = problem("linear", widths=widths, n=15)
    least = np.sqrt(least_square(U, x))
    assert least < 0.9 * np.linalg.norm(U.gradient(x))
    teleported(U, x, least * (1 + 1e-4), rel=1e-8)
    with pytest.raises(ValueError, match="is less than the least of this orbit"):
        nl.teleport(U, x, least * (1 - 2.0**-20))
    (scaling,) = symmetries(U, "scaling")
    for strength in np.random.default_rng(0).normal(size=(5, *scaling.shape)):
        assert np.linalg.norm(U.gradient(scaling.apply(x, strength))) > least


def test_rotations_and_translations_change_no_norm():
    """They are no ways to another norm: the first is orthogonal, the second leaves the gradient as it is."""
    data = nl.datasets.icosahedron()
    U = nl.Network([3, 4, 1], "polynomial(2)", bias=False, loss="mse").potential(data)
    x, rng = U.network.init(rng=0), np.random.default_rng(1)
    (turn,) = symmetries(U, "rotation")
    norm = np.linalg.norm(U.gradient(x))
    strength = rng.normal(size=turn.shape)
    assert np.linalg.norm(U.gradient(turn.apply(x, strength))) == pytest.approx(norm, rel=1e-13)
    V = nl.Network([3, 4, 2], "tanh").potential(rng.normal(size=(9, 3)), rng.integers(0, 2, 9))
    z = V.network.init(rng=2)
    (shift,) = symmetries(V, "translation:b")
    np.testing.assert_allclose(V.gradient(shift.apply(z, 0.7)), V.gradient(z), rtol=0, atol=1e-14)
    (scale,) = symmetries(U, "scaling")
    assert abs(np.linalg.norm(U.gradient(scale.apply(x, 0.7))) - norm) > 0.01 * norm


def test_the_least_parameters():
    net, _, x = problem("relu", widths=(3, 4, 3, 2))
    point = nl.rebalance(net, x, "minimal norm")
    np.testing.assert_array_equal(point, nl.rebalance(net, x, {"scaling:1": 0.0, "scaling:2": 0.0}))
    linear, _, z = problem("linear", widths=(3, 3, 3))
    np.testing.assert_array_equal(nl.rebalance(linear, z, "minimal norm"), nl.rebalance(linear, z, {"linear:1": 0.0}))
    with pytest.raises(TypeError, match="or be 'minimal norm', got 'smallest'"):
        nl.rebalance(net, x, "smallest")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("scale", [1e-150, 1e-80, 1e80])
def test_gradients_whose_squares_are_no_doubles(activation, scale):
    net = nl.Network([3, 2, 2], activation, loss="mse")
    rng = np.random.default_rng(0)
    U, theta, X = net.potential(rng.normal(size=(9, 3)), rng.normal(size=(9, 2))), scale * net.init(0), np.eye(3)
    moved = nl.noise_equilibrium(U, theta)
    np.testing.assert_allclose(net.predict(moved, X), net.predict(theta, X), rtol=1e-12, atol=0)


@pytest.mark.filterwarnings("error")
def test_gradients_that_are_no_doubles_are_named():
    net = nl.Network([2, 2, 2], "relu", bias=False, loss="mse")
    U, theta = net.potential(np.eye(2), np.ones((2, 2))), np.abs(net.init(0)) + 0.1
    for move in (nl.noise_equilibrium, lambda U, x: nl.teleport(U, x, 1.0)):
        with pytest.raises(ValueError, match="theta has gradients beyond the range of a double"):
            move(U, 1e150 * theta)
        with pytest.raises(ValueError, match=r"theta: 'scaling:1'.*(differ beyond the range|alone do not vanish)"):
            move(U, theta * np.repeat([1e-85, 1e85], 4))


@pytest.mark.slow
@pytest.mark.needs_jit
def test_sgd_drifts_to_the_equilibrium():
    """Q of a neuron in ensembles of SGD against the formula, to five standard errors.

    The stationary mean is off by O(η), which two rates tell: 2Q(η/2) − Q(η) is off by O(η²).
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2)) * [1.5, 0.5]
    y = X @ [1.0, 1.0] + 0.5 * rng.normal(size=100)
    net = nl.Network([2, 1, 1], "linear", bias=False, loss="mse")
    U = net.potential(X, y[:, None])
    x = np.r_[np.linalg.lstsq(X, y, rcond=None)[0], 1.0]
    (law,) = symmetries(U, "scaling")
    expected = float(law.quantity(nl.noise_equilibrium(U, x))[0])
    balanced, means = nl.rebalance(net, x, "minimal norm"), []
    for lr in (0.06, 0.03):
        steps = round(20 / lr**2)
        options = {"batch_size": 1, "rng": 1, "record_every": steps // 40, "laws": ["scaling:1"]}
        runs = nl.ensemble(U, nl.GD(lr), np.tile(balanced, (32, 1)), steps, **options)
        late = runs.laws["scaling:1"].quantity[:, 20:, 0].mean(axis=1)
        means.append((late.mean(), late.std(ddof=1) / 32**0.5))
    (coarse, coarse_error), (fine, fine_error) = means
    error = float(np.hypot(2 * fine_error, coarse_error))
    assert abs(2 * fine - coarse - expected) <= 5 * error
    assert error < 0.01 * expected
    assert abs(expected - law.quantity(balanced)[0]) > 50 * error  # where it began
    assert abs(expected - law.quantity(x)[0]) > 20 * error


def silent(U, x):
    """The parameters with a neuron that nothing reads."""
    out = x.copy()
    U.network.unpack(out)["W3"][:, 1] = 0
    return out


test_what_cannot_be_is_refused = refusals(
    [
        (lambda U, x: nl.noise_equilibrium(nl.potentials.Radial(2), [1.0, 2.0]), TypeError, "U must be the potential of a network"),
        (lambda U, x: nl.teleport(U, x[1:], 1.0), "theta must have shape"),
        (lambda U, x: nl.teleport(U, x, 0.0), "gradient_norm"),
        (lambda U, x: nl.teleport(U, x, 1e300), "beyond the range of a double"),
        (lambda U, x: nl.teleport(U.network.potential(U.X, 0 * U.y), 0 * x, 1.0), "critical point"),
        (lambda U, x: nl.noise_equilibrium(U, silent(U, x)), "theta: 'scaling:2', neuron 1: gradients of its outgoing"),
        (lambda *_: nl.teleport(*problem("tanh")[1:], 1.0), "with scalings or linear layers"),
        (lambda *_: nl.noise_equilibrium(*problem("linear", widths=(3, 4, 1), bias=False)[1:]), "the noise of W1 has rank 1, fewer than the 4 neurons of 'linear:1'"),
    ],
    lambda call: call(*problem("leaky_relu(0.1)")[1:]),
)  # fmt: skip
