"""Finite groups: what is a symmetry, what of the data is found, that runs commute with it, and that fixed points stay fixed."""

import numpy as np
import pytest
from problems import EPS

import noetherlite as nl
from noetherlite._motion.algorithms import ALGORITHMS
from noetherlite._symmetry.automorphisms import TOLERANCE, automorphisms

SQUARE = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
XOR = np.array([0, 1, 1, 0])


def named(U):
    return {s.name: s for s in nl.discrete_symmetries(U)}


def points(U, n=3):
    return np.random.default_rng(1).normal(size=(n, U.n_params))


def every_map(symmetry):
    return list(np.ndindex(*symmetry.shape))


POTENTIALS = {
    "tanh": (lambda: nl.Network([2, 4, 3, 2], "tanh").potential(SQUARE, XOR), ["permutation:1", "sign:1", "permutation:2", "sign:2", "data"]),
    "square": (
        lambda: nl.Network([2, 3, 1], "polynomial(2)", loss="mse").potential(SQUARE, 2.0 * XOR[:, None] - 1),
        ["permutation:1", "sign:1", "data"],
    ),
    "relu": (
        lambda: nl.Network([3, 4, 2], "relu", loss="mse").potential(np.eye(3), np.ones((3, 2))),
        ["permutation:1", "data"],
    ),
    "swish": (lambda: nl.Network([2, 3, 3, 2], "swish").potential(SQUARE[:3], [0, 0, 1]), ["permutation:1", "permutation:2"]),
    "one layer": (lambda: nl.Network([2, 2], []).potential(SQUARE, XOR), ["data"]),
}  # fmt: skip


@pytest.mark.parametrize("case", POTENTIALS)
def test_the_potential_does_not_change(case):
    make, names = POTENTIALS[case]
    U = make()
    assert list(named(U)) == names
    for symmetry in named(U).values():
        for index in every_map(symmetry):
            for x in points(U):
                image = symmetry.apply(x, *index)
                assert np.linalg.norm(image) == pytest.approx(np.linalg.norm(x), rel=1e-14)
                assert U.value(image) == pytest.approx(U.value(x), rel=1e3 * EPS)
                # ∇U(Px) = P∇U(x)
                gradient = U.gradient(x)
                expected, atol = symmetry.apply(gradient, *index), 1e3 * EPS * np.abs(gradient).max()
                np.testing.assert_allclose(U.gradient(image), expected, atol=atol)


def test_what_is_no_symmetry_is_not_listed():
    """Relu has no sign flips; a flip of a relu neuron, and a permutation of unequal samples, do change U."""
    net = nl.Network([2, 3, 2], "relu")
    U = net.potential(SQUARE, XOR)
    assert "sign:1" not in named(U)
    assert "data" not in named(net.potential(SQUARE + np.array([[0.3, 0], [0, 0], [0, 0], [0, 0]]), [0, 1, 1, 1]))
    flip = named(nl.Network([2, 3, 2], "tanh").potential(SQUARE, XOR))["sign:1"]
    x = points(U, 1)[0]
    assert abs(U.value(flip.apply(x, 0)) - U.value(x)) > 1e-3
    assert nl.discrete_symmetries(nl.potentials.Radial(3)) == []


def test_the_group_of_the_data():
    """Orders of known groups: square, XOR with labels and with targets, heptagon, simplex, cube, icosahedron."""
    angles = 2 * np.pi * np.arange(7) / 7
    cube = np.array(np.meshgrid(*[[-1.0, 1]] * 3)).reshape(3, -1).T
    ico = nl.datasets.icosahedron().X

    def order(X, y, loss="mse"):
        net = nl.Network([X.shape[1], 2 if loss == "nll" else np.shape(y)[1]], [], loss=loss)
        data = named(net.potential(X, y)).get("data")
        return 1 if data is None else data.order

    assert order(SQUARE, np.zeros((4, 1))) == 8
    assert order(SQUARE, XOR, "nll") == 8  # classes may be exchanged
    assert order(SQUARE, XOR[:, None].astype(float)) == 4  # targets 0 and 1 may not
    assert order(SQUARE, 2.0 * XOR[:, None] - 1) == 8  # targets −1 and 1 may, by f ↦ −f
    assert order(np.c_[np.cos(angles), np.sin(angles)], np.zeros((7, 1))) == 14
    assert order(np.eye(6), np.zeros((6, 1))) == 720
    assert order(cube, np.zeros((8, 1))) == 48
    assert order(ico, np.zeros((12, 1))) == 120
    # copies of one sample more than of another; one sample moved by more, and by less, than round-off
    assert order(np.vstack([SQUARE, SQUARE[:1]]), np.zeros((5, 1))) == 2
    for shift, expected in ((1e-9, 2), (1e-15, 8)):
        assert order(SQUARE * [[1 + shift], [1], [1], [1]], np.zeros((4, 1))) == expected
    assert order(nl.datasets.glyphs(n=64, rng=0).X, np.zeros((64, 1))) == 1


def test_generators_generate_the_group():
    """All products of the generators, enumerated, are as many as the order says."""
    for X in (SQUARE, nl.datasets.icosahedron().X):
        group = automorphisms(X, np.zeros((len(X), 1)), np.zeros(len(X), np.int64))
        elements = {tuple(range(len(X)))}
        fresh = elements
        while fresh:
            fresh = {tuple(g[list(e)]) for e in fresh for g in group.generators} - elements
            elements = elements | fresh
        assert len(elements) == group.order


def test_too_many_samples_that_are_alike():
    angles = 2 * np.pi * np.arange(5000) / 5000
    X = np.c_[np.cos(angles), np.sin(angles)]
    with pytest.raises(ValueError, match="5000 samples that moments do not tell apart; expected at most 4096"):
        nl.discrete_symmetries(nl.Network([2, 1], [], loss="mse").potential(X, np.zeros((5000, 1))))
    X = np.random.default_rng(0).normal(size=(5000, 2))
    assert nl.discrete_symmetries(nl.Network([2, 1], [], loss="mse").potential(X, np.zeros((5000, 1)))) == []


def made(algorithm):
    """An algorithm without noise: single paths with noise do not commute, as it knows no symmetry."""
    return ALGORITHMS[algorithm](lr=0.01).without_noise


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_commutes(algorithm):
    """run(Px_0) = P run(x_0), to the round-off that 100 steps make; a map that is no symmetry does not commute."""
    U = POTENTIALS["tanh"][0]()
    # With biases of zero the last gradient would be zero, and its sign that of round-off.
    x0 = U.network.init(rng=0, bias_std=0.5)

    def end(x):
        return nl.integrate(U, made(algorithm), x, steps=100, record_every=100).x

    x = end(x0)
    for name, symmetry in named(U).items():
        index = (0, 2) if name == "permutation:1" else [0] * len(symmetry.shape)
        expected = symmetry.apply(x, *index)
        np.testing.assert_allclose(end(symmetry.apply(x0, *index)), expected, atol=100 * 100 * EPS, err_msg=name)
    other = x0[::-1].copy()  # orthogonal too
    assert np.abs(end(other) - x[::-1]).max() > 1e-3


def equal_neurons():
    """A potential, the exchange of neurons, and parameters where the first two are equal."""
    U = POTENTIALS["tanh"][0]()
    exchange = named(U)["permutation:1"]
    return U, exchange, exchange.nearest(U.network.init(rng=0), 0, 1)


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_fixed_subspace_is_invariant(algorithm):
    """Two equal neurons stay equal, to the bit where both are summed alike; from beside it the distance need not fall."""
    U, exchange, x0 = equal_neurons()
    assert exchange.distance(x0)[0, 1] == 0
    x = nl.integrate(U, made(algorithm), x0, steps=200, record_every=200).x
    assert exchange.distance(x)[0, 1] <= 200 * EPS
    assert exchange.distance(x)[0, 2] > 0.1


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", [nl.SGLD(0.01, 0.1), nl.BAOAB(0.01, 0.1)], ids=str)
def test_noise_leaves_a_fixed_subspace(algorithm):
    """Negative control of the two above: two equal neurons get different noise."""
    U, exchange, x0 = equal_neurons()
    assert exchange.distance(nl.integrate(U, algorithm, x0, steps=20, rng=0).x)[0, 1] > 1e-3


def test_distance_and_nearest():
    """The distance is that of x to the nearest fixed point; the nearest is fixed; x − nearest is orthogonal to it."""
    for make, _ in POTENTIALS.values():
        U = make()
        for symmetry in named(U).values():
            x = points(U, 1)[0]
            distance = symmetry.distance(x)
            assert distance.shape == symmetry.shape
            for index in every_map(symmetry):
                nearest = symmetry.nearest(x, *index)
                np.testing.assert_allclose(symmetry.apply(nearest, *index), nearest, atol=1e-14)
                assert abs((x - nearest) @ nearest) < 1e-13
                assert distance[index] == pytest.approx(np.linalg.norm(x - nearest), abs=1e-14)


def test_wrong_generators():
    symmetry = named(POTENTIALS["tanh"][0]())["permutation:1"]
    x = np.zeros(symmetry.n_params)
    for index, message in (((0,), "names no generator"), ((0, 4), r"index\[1\]"), ((0, 1.5), r"index\[1\]")):
        with pytest.raises((ValueError, TypeError), match=message):
            symmetry.apply(x, *index)
    assert TOLERANCE < 1e-11
