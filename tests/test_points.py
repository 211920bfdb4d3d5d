"""Random points explore what a potential depends on, at every scale of the data: kinks are crossed, nothing is saturated."""

import itertools

import numpy as np
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._problem.points import random_point
from noetherlite._symmetry.find import TOLERANCE

SCALES = [1e-6, 1e-3, 0.1, 1.0, 255.0, 1e5]


def square(scale, **options):
    """The corners of a square: averages of polynomials up to degree 3 are those over the circle, others are not."""
    return nl.datasets.polygon(4, radii=(scale,), **options)


def unclaimed(data):
    """Return the arrays alone, without what their data set says of its invariances."""
    return data.X, data.y


def names(U):
    return [s.name for s in nl.symmetries(U)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.1)", "tanh", "swish", "repu(2)", "polynomial(2)"])
def test_a_square_is_no_circle_at_any_scale(activation, scale):
    for widths in ([2, 1, 1], [2, 5, 1], [2, 3, 3, 1]):
        U = nl.Network(widths, activation, loss="mse").potential(*unclaimed(square(scale)))
        assert "rotation" not in names(U)
        assert nl.symmetry_defect(U, "rotation") > 2**10 * TOLERANCE
        turned = nl.Network(widths, "linear", loss="mse").potential(*unclaimed(square(scale)))
        assert "rotation" in names(turned)  # the test can fail: here the loss has degree 2 in the inputs


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("target", [1e-6, 0.6, 1e9])
def test_a_rotation_that_is_one_is_found_at_any_scale(scale, target):
    data = nl.datasets.icosahedron(radii=(scale,), label=target)
    U = nl.Network([3, 1, 1], "polynomial(2)", bias=False, loss="mse").potential(data)
    assert names(U) == ["scaling:1", "rotation", "time"]
    U = nl.Network([2, 1, 1], "polynomial(2)", loss="mse").potential(*unclaimed(square(scale, label=target)))
    assert "rotation" not in names(U)  # degree 4 on a square: also where large targets hide the square of the output


def test_a_claim_of_invariance_is_refused_where_only_kinks_speak_against_it():
    data = square(0.1)
    assert data.rotation_invariant
    with pytest.raises(ValueError, match="claim rotation_invariant=True, but U"):
        nl.symmetries(nl.Network([2, 1, 1], "relu", loss="mse").potential(data))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 255.0])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("widths", [(2, 1, 1), (2, 4, 3, 2)])
def test_kinks_lie_amid_the_data(widths, offset, scale):
    rng = np.random.default_rng(0)
    net = nl.Network(widths, "relu", loss="mse")
    U = net.potential(scale * (offset + rng.normal(size=(30, 2))), rng.normal(size=(30, widths[-1])))
    crossed = np.zeros(sum(widths[1:-1]), bool)
    for k in range(8):
        theta = random_point(U, rng, zero_biases=k == 0)
        arrays, a, mixed = net.unpack(theta), U.X, []
        for h in range(1, net.n_layers):
            z = a @ arrays[f"W{h}"].T + arrays[f"b{h}"]
            assert np.sqrt(np.mean((a @ arrays[f"W{h}"].T) ** 2)) == pytest.approx(1, abs=100 * EPS)
            mixed.append((z > 0).any(axis=0) & (z < 0).any(axis=0))
            a = np.maximum(z, 0)
        assert (k > 0) == any(arrays[f"b{h}"].any() for h in range(1, net.n_layers + 1))
        crossed |= np.concatenate(mixed)
    assert crossed.all()


@pytest.mark.parametrize("activation", ["relu", "polynomial(3)", "tanh", "swish"])
def test_degenerate_data_give_finite_points(activation):
    """One sample, inputs or targets that are all zero, pixels of a byte: parameters and gradients stay finite."""
    for X, y in itertools.product((np.ones((1, 2)), np.zeros((3, 2)), np.full((2, 2), 255.0)), (0.0, 1e-300, 1e5)):
        U = nl.Network([2, 1, 3, 1], activation, loss="mse").potential(X, np.full((len(X), 1), y))
        for seed in range(3):
            x = random_point(U, np.random.default_rng(seed))
            assert np.isfinite(x).all()
            assert np.isfinite(U.gradient(x)).all()


def test_a_wrong_derivative_at_a_kink_is_seen_with_small_inputs():
    """A backward pass that takes relu for the identity is right on one side of the kink, where tiny inputs used to lie."""
    rng = np.random.default_rng(1)
    X, y = 1e-3 * rng.normal(size=(8, 2)), rng.normal(size=(8, 1))
    U, wrong = (nl.Network([2, 1, 1], a, loss="mse").potential(X, y) for a in ("relu", "linear"))
    nl.testing.assert_gradient(U, U.gradient)
    for seed in range(5):
        with pytest.raises(AssertionError, match="is wrong at point"):
            nl.testing.assert_gradient(U, wrong.gradient, rng=seed)


def test_discover_finds_no_rotation_of_a_square():
    for scale in (1e-3, 0.1, 255.0):
        U = nl.Network([2, 1, 1], "relu", loss="mse").potential(*unclaimed(square(scale)))
        assert nl.discover(U).labels == ("scaling:1",)


def test_what_is_measured_says_so():
    U = nl.Network([3, 1, 1], "polynomial(2)", bias=False, loss="mse").potential(nl.datasets.icosahedron())
    scaling, rotation, time = nl.symmetries(U)
    assert (scaling.measured, rotation.measured, time.measured) == (False, True, False)
    assert "by measurement" in repr(rotation)
    assert "measurement" not in repr(scaling)
    assert "a measurement at random parameters" in rotation._repr_html_()
    assert "a theorem" in scaling._repr_html_()
    assert nl.Symmetry([[0, -1], [1, 0]]).measured
