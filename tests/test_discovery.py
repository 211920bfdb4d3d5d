"""Discovery: every symmetry that theory knows is found without being told, nothing else is, and the rest is named new."""

from collections import Counter

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl
from noetherlite._symmetry.find import TOLERANCE


def potential(widths, activation, *, bias=True, loss="mse", n=20, x_size=1.0, y_size=1.0):
    rng = np.random.default_rng(7)
    X = x_size * rng.standard_normal((n, widths[0]))
    y = rng.integers(0, widths[-1], n) if loss == "nll" else y_size * rng.standard_normal((n, widths[-1]))
    return nl.Network(widths, activation, bias=bias, loss=loss).potential(X, y)


def rank(rows):
    return np.linalg.matrix_rank(np.reshape(rows, (len(rows), -1)), rtol=1e-9)


def spans(generators, fields):
    """Whether the (G, ξ) `fields` are linear combinations of the generators."""
    return rank(generators) == rank(np.concatenate([generators, fields])) == len(generators)


def translation(U, **arrays):
    """The generator (0, ξ) with ξ given by its non-zero arrays."""
    zero = U.network.unpack(np.zeros(U.n_params))
    out = np.zeros((1, U.n_params, U.n_params + 1))
    out[0, :, -1] = U.network.pack({name: zero[name] + arrays.get(name, 0.0) for name in zero})
    return out


# --- what theory knows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("widths", "r"), [([2, 2, 2], 2), ([2, 3, 2], 3), ([3, 1, 4], 1), ([4, 3, 3], 3)])
def test_linear_layers_have_gl(widths, r):
    discovery = nl.discover(potential(widths, "linear", bias=False))
    assert discovery.dimension == r**2
    assert set(discovery.labels) == {"linear:1" if r > 1 else "scaling:1"}
    assert len(discovery.new) == 0


def test_a_chain_of_linear_layers():
    discovery = nl.discover(potential([2, 2, 2, 2], "linear(0.7)", bias=False))
    assert Counter(discovery.labels) == {"linear:1": 4, "linear:2": 4}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.1)", "repu(2)", "polynomial(3)", "swish"])
@pytest.mark.parametrize("bias", [True, False])
def test_homogeneous_neurons_have_one_scaling_each(activation, bias):
    discovery = nl.discover(potential([2, 3, 2], activation, bias=bias))
    assert discovery.labels == ("scaling:1",) * 3
    assert discovery.rank == 3


def test_two_layers_of_neurons():
    discovery = nl.discover(potential([2, 2, 3, 1], "relu", n=30))
    assert Counter(discovery.labels) == {"scaling:1": 2, "scaling:2": 3}


@pytest.mark.parametrize("widths", [[2, 3, 1], [2, 3, 2], [2, 2, 2, 1]])
@pytest.mark.parametrize("activation", ["tanh", "swish(1.0)"])
def test_other_activations_have_none(widths, activation):
    U = potential(widths, activation)
    discovery = nl.discover(U)
    assert discovery.dimension == discovery.rank == 0
    assert discovery.generators.shape == (0, U.n_params, U.n_params + 1)
    assert discovery.singular_values.min() > 1e-3  # nothing is even close to a symmetry
    assert discovery.gap > 1e12


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_softmax_translations_and_their_multiples(activation):
    U = potential([2, 3, 2], activation, loss="nll")
    discovery = nl.discover(U)
    columns = np.eye(3)
    assert spans(discovery.generators, translation(U, b2=1.0))
    assert all(spans(discovery.generators, translation(U, W2=columns[j])) for j in range(3))
    # 1 + 3 translations ξ and the fields x_j ξ: P + 1 affine fields each
    P, scalings = U.n_params, 3 if activation == "relu" else 0
    assert discovery.dimension == 4 * (P + 1) + scalings
    assert discovery.rank == 4 + scalings
    assert len(discovery.new) == 0
    assert Counter(discovery.labels)["translation:b"] == 1
    assert Counter(discovery.labels)["translation:W"] == 3
    assert not spans(discovery.generators, translation(U, b2=[1.0, 0.0]))  # negative control


def test_rotations_of_isotropic_data():
    spheres = nl.datasets.icosahedron(radii=(1.0, 2.0))
    ball = nl.discover(nl.Network([3, 2, 1], "polynomial(2)", loss="mse").potential(spheres))
    assert Counter(ball.labels) == {"rotation": 3, "scaling:1": 2}
    # degree 4 in the input is within the 7-gon's reach, but not within the square's
    net = nl.Network([2, 2, 1], "polynomial(2)", loss="mse")
    counts = [Counter(nl.discover(net.potential(nl.datasets.polygon(n))).labels)["rotation"] for n in (4, 7)]
    assert counts == [0, 1]
    kinked = nl.discover(nl.Network([2, 2, 1], "relu", loss="mse").potential(nl.datasets.polygon(7)))
    assert kinked.labels == ("scaling:1",) * 2


# --- beyond the catalogue ----------------------------------------------------------------------------------------------


def test_linear_layers_with_biases_have_more_than_gl():
    """b_1 ↦ b_1 + v, b_2 ↦ b_2 − W_2 v leaves W_2(W_1 x + b_1) + b_2 alone: r generators that no catalogue entry has."""
    U = potential([2, 3, 2], "linear")
    discovery = nl.discover(U)
    assert Counter(discovery.labels) == {"linear:1": 9, "new": 3}
    net = U.network
    b1, b2, W2 = net.block("b1"), net.block("b2"), net.block("W2")
    for j in range(3):
        field = np.zeros((1, U.n_params, U.n_params + 1))
        field[0, b1.start + j, -1] = 1.0
        for i in range(2):
            field[0, b2.start + i, W2.start + 3 * i + j] = -1.0
        assert spans(discovery.generators, field)


def test_fewer_samples_than_inputs():
    """Rows of W_1 may move along directions that no sample has: genuine symmetries of this data set."""
    n_samples, widths = 2, [3, 2, 2]
    U = potential(widths, "relu", n=n_samples)
    discovery = nl.discover(U)
    missing = widths[1] * (widths[0] + 1 - n_samples)  # of the columns of (X, 1), for every neuron
    count = Counter(discovery.labels)
    assert count["scaling:1"] == 2
    assert count["new translation"] == missing
    assert discovery.rank == 2 + missing
    v = np.linalg.svd(np.column_stack([U.X, np.ones(n_samples)]))[2][-1]
    neuron = np.array([[1.0], [0.0]])
    assert spans(discovery.generators, translation(U, W1=neuron * v[:3], b1=neuron[:, 0] * v[3]))
    assert nl.discover(potential(widths, "relu", n=20)).dimension == 2  # negative control: enough samples


def test_a_dead_input():
    X = np.random.default_rng(0).standard_normal((20, 2)) * [1.0, 0.0]
    U = nl.Network([2, 2, 1], "tanh", loss="mse").potential(X, X[:, :1])
    discovery = nl.discover(U)
    assert Counter(discovery.labels) == {"new translation": 2, "new multiple of a translation": 2 * U.n_params}
    assert all(spans(discovery.generators, translation(U, W1=[[0, i], [0, 1 - i]])) for i in (0, 1))


def test_potentials_that_are_no_networks():
    assert nl.discover(nl.potentials.Radial(3)).labels == ("new",) * 3
    # |(x_1, 2x_2)|² turns along ellipses; x_3 does not enter, so x_j ∂_3 and ∂_3 are symmetries, too
    discovery = nl.discover(nl.potentials.Harmonic(np.diag([1.0, 4.0, 0.0])))
    assert Counter(discovery.labels) == {"new": 1, "new translation": 1, "new multiple of a translation": 3}
    ellipse = np.zeros((1, 3, 4))
    ellipse[0, 0, 1], ellipse[0, 1, 0] = -2.0, 0.5
    assert spans(discovery.generators, ellipse)
    constant = nl.discover(nl.potentials.Callable(lambda x: (1.0, np.zeros(2)), 2))
    assert constant.dimension == 6


# --- what it rests on --------------------------------------------------------------------------------------------------


def test_generators_hold_at_points_they_were_not_found_from():
    U = potential([2, 3, 2], "linear")
    discovery = nl.discover(U, rng=0)
    x = U.network.init(rng=99, bias_std=1.0)
    fields, gradient = discovery.generators @ np.append(x, 1.0), U.gradient(x)
    norms = np.linalg.norm(fields, axis=1) * np.linalg.norm(gradient)
    assert np.max(np.abs(fields @ gradient) / norms) < TOLERANCE
    assert discovery.defect < TOLERANCE
    assert discovery.rank == np.linalg.matrix_rank(fields, rtol=1e-9)


def test_the_gap_is_that_of_the_singular_values():
    discovery = nl.discover(potential([2, 3, 2], "relu"))
    s = discovery.singular_values
    assert s[0] == 1.0
    assert np.all(np.diff(s) <= 0)
    assert discovery.gap == s[-4] / max(s[-3], EPS)
    assert discovery.gap > 1e10


@pytest.mark.parametrize(("x_size", "y_size"), [(1e-6, 1e6), (1e6, 1e-6), ([1e3, 1e-3], 1.0)])
def test_units_do_not_matter(x_size, y_size):
    sizes = {"x_size": np.asarray(x_size), "y_size": y_size}
    assert nl.discover(potential([2, 2, 2], "tanh", **sizes)).dimension == 0
    discovery = nl.discover(potential([2, 2, 2], "linear", **sizes))
    assert Counter(discovery.labels) == {"linear:1": 4, "new": 2}
    assert discovery.defect < TOLERANCE


def test_the_same_seed_gives_the_same_generators():
    U = potential([2, 2, 2], "relu")
    first, again, other = (nl.discover(U, rng=seed) for seed in (3, np.random.default_rng(3), 4))
    assert np.array_equal(first.generators, again.generators)
    assert not np.array_equal(first.singular_values, other.singular_values)
    assert first.labels == other.labels


def test_a_generator_is_a_symmetry_to_watch():
    U = potential([2, 2, 2], "linear", bias=False)
    discovery = nl.discover(U)
    law = discovery.symmetry(1)
    assert law.name == "linear:1 (1)"
    assert nl.symmetry_defect(U, law) < TOLERANCE
    assert np.array_equal(np.column_stack([law.G, law.xi]), discovery.generators[1])
    x = U.network.init(rng=0)
    assert U.value(law.apply(x, 0.3)) == pytest.approx(U.value(x), rel=1e-12)
    assert np.abs(law.apply(x, 0.3) - x).max() > 0.01
    with pytest.raises(ValueError, match=r"k=4 is out of range"):
        discovery.symmetry(4)


def test_text():
    discovery = nl.discover(potential([2, 3, 2], "linear"))
    lines = str(discovery).splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["linear:1", "9"], ["new", "3"], ["all", "12"]]
    assert f"gap {discovery.gap:.0e}" in lines[-1]
    assert repr(discovery).startswith("<Discovery, dimension 12, 3 new, gap")


def test_plot():
    discovery = nl.discover(potential([2, 3, 2], "relu"))
    ax = nl.plot.singular_values(discovery)
    others, null = ax.lines[:2]
    assert np.array_equal(others.get_ydata(), discovery.singular_values[:-3])
    assert null.get_xdata()[-1] == discovery.singular_values.size
    assert len(null.get_xdata()) == 3
    assert nl.plot.singular_values(discovery, ax) is ax


# --- bad input -----------------------------------------------------------------------------------------------------------


LARGE = potential([50, 40, 3], "relu")
P = LARGE.n_params
test_bad_arguments = refusals(
    [
        (lambda: nl.discover(LARGE), rf"U has {P} parameters.*{P * (P + 1)} unknowns.*GB, more than memory=4.29 GB"),
        (lambda: nl.discover(potential([2, 2, 2], "relu"), memory=1e3), r"memory=1e-06 GB"),
        (lambda: nl.discover(nl.Network([2, 2])), TypeError, "U must be a potential"),
        (lambda: nl.discover(nl.potentials.Radial(2), rng="0"), TypeError, "rng must be a seed"),
        (lambda: nl.discover(nl.potentials.Callable(lambda x: (np.nan, x), 2)), r"∇U of .* is not finite at 100 random points"),
    ]
)  # fmt: skip


@pytest.mark.parametrize(("inputs", "targets"), [(1e-150, 1e-150), (1.0, 1e-160), (1e160, 1e100)])
def test_data_whose_gradients_are_no_doubles_are_refused(inputs, targets):
    """They are zero, and every field along them would be a symmetry."""
    U = nl.Network([2, 2, 2], "relu", loss="mse").potential(inputs * np.eye(2), targets * np.eye(2))
    with pytest.raises(ValueError, match="gradients are beyond the range of a double"):
        nl.discover(U)
