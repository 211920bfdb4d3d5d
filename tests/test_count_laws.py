"""Counting laws: the arithmetic against Python's integers, brackets against matrices, counts against theory §9."""

import copy
import itertools
import pickle
import re

import numpy as np
import pytest
from problems import refusals

import noetherlite as nl
from noetherlite._kernels import modular
from noetherlite._kernels.modular import PRIME
from noetherlite._theory import counting
from noetherlite._theory.brackets import Fields, Samples, Span, bracket, residue

EDGES = [0, 1, 2, 2**30, 2**31 - 1, 2**31, 2**60, PRIME - 2, PRIME - 1]


def network(widths, activation="linear", bias=False):
    return nl.Network(widths, activation, bias=bias, loss="mse")


def residues(rng, *shape):
    return rng.integers(0, PRIME, shape, dtype=np.uint64)


# --- exact arithmetic ----------------------------------------------------------------------------------------------------


def test_arithmetic_in_the_prime_field():
    rng = np.random.default_rng(0)
    numbers = EDGES + [int(n) for n in residues(rng, 40)]
    for a, b in itertools.product(numbers, numbers):
        x, y = np.uint64(a), np.uint64(b)
        assert int(modular.add(x, y)) == (a + b) % PRIME
        assert int(modular.subtract(x, y)) == (a - b) % PRIME
        assert int(modular.multiply(x, y)) == a * b % PRIME
    assert all(int(modular.inverse(np.uint64(a))) == pow(a, -1, PRIME) for a in numbers if a)
    assert int(residue(0.7)) * 2**60 % PRIME == int(0.7 * 2**60) % PRIME  # 0.7 is a multiple of 2^-60 as a float
    assert int(residue(-1.5)) * 2 % PRIME == PRIME - 3


def test_jets_multiply_like_polynomials_without_squares():
    rng = np.random.default_rng(1)
    a, b, out = residues(rng, 8), residues(rng, 8), residues(rng, 8)
    expected = [int(n) for n in out]
    for S, T in itertools.product(range(8), range(8)):
        if not S & T:
            expected[S | T] = (expected[S | T] + int(a[S]) * int(b[T])) % PRIME
    modular.add_product(a, b, out)
    assert out.tolist() == expected


@pytest.mark.parametrize("activation", ["linear(2)", "polynomial(2)", "polynomial(3)", "relu", "repu(2)"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_the_network(activation, bias):
    """At small integers float64 is exact, and the gates are what σ does at that sample."""
    rng = np.random.default_rng(2)
    net = network([2, 3, 2] if activation == "repu(2)" else [2, 3, 2, 2], activation, bias)
    theta, x, c = (rng.integers(-3, 4, n).astype(float) for n in (net.n_params, 2, 2))
    fields = Fields(net, momentum=False)
    drawn = fields.random(rng, drift=False)
    patterns, a, arrays = [], x, net.unpack(theta)
    for h in range(1, net.n_layers):
        z = arrays[f"W{h}"] @ a + (arrays[f"b{h}"] if bias else 0)
        patterns.append(z > 0)
        power = 1 if activation == "relu" else int(activation[-2])
        a = 2 * z if activation == "linear(2)" else np.where(z > 0, z, 0 if "re" in activation else z) ** power
    gates = np.concatenate(patterns).astype(np.uint64) if "re" in activation else drawn.samples.gates[0]
    samples = Samples(counting._residues_of(x)[None], gates[None])
    field = drawn._replace(samples=samples, outputs=counting._residues_of(c)[None])
    expected = np.einsum("i,ip->p", c, net.jacobian(theta, x[None])[0])
    assert np.abs(expected).max() > 0
    at_theta = fields.at(field, counting._residues_of(theta)[:, None])[:, 0]
    assert np.array_equal(at_theta, counting._residues_of(expected))


def matrix(fields, field):
    """The matrix of a field that is linear in the state, in Python's integers."""
    unit = np.eye(fields.size, dtype=np.uint64)
    return np.stack([fields.at(field, unit[:, [j]])[:, 0] for j in range(fields.size)], axis=1).astype(object)


@pytest.mark.parametrize("momentum", [False, True])
def test_brackets_of_linear_fields_are_commutators(momentum):
    rng = np.random.default_rng(3)
    fields = Fields(network([2, 3, 2]), momentum)
    chain = [fields.random(rng, drift=k > 0) for k in range(4)]
    point = residues(rng, fields.size)
    expected = matrix(fields, chain[0])
    for field in chain[1:]:
        Y = matrix(fields, field)
        expected = (expected @ Y - Y @ expected) % PRIME
    value = expected @ point.astype(object) % PRIME
    assert any(value)
    assert bracket(fields.at, chain, point[:, None])[:, 0].tolist() == value.tolist()


def test_brackets_of_polynomial_fields_obey_jacobi():
    """[a,[b,c]] + [b,[c,a]] + [c,[a,b]] = 0, which no term alone is, with second derivatives in all of them."""
    rng = np.random.default_rng(4)
    fields = Fields(network([2, 2, 2, 2], "polynomial(2)"), momentum=False)
    a, b, c = (fields.random(rng, drift=False) for _ in range(3))
    point = residues(rng, fields.size)[:, None]
    terms = [bracket(fields.at, chain, point) for chain in ((c, b, a), (a, c, b), (b, a, c))]
    assert all(term.any() for term in terms)
    assert not (np.sum([term.astype(object) for term in terms], axis=0) % PRIME).any()
    assert not bracket(fields.at, (a, a), point).any()


def test_the_span_has_the_rank():
    rng = np.random.default_rng(5)
    factors = rng.integers(-5, 6, (9, 4)), rng.integers(-5, 6, (4, 7))
    rows = factors[0] @ factors[1]
    span = Span(7)
    added = [span.add(counting._residues_of(row)) for row in rows]
    assert span.dimension == sum(added) == np.linalg.matrix_rank(rows.astype(float)) == 4
    assert not span.add(np.zeros(7, np.uint64))
    # in float64 these two would be parallel, as 2^60 + 1 rounds to 2^60
    near = Span(2)
    assert near.add(np.array([2**60, 2**60], np.uint64))
    assert near.add(np.array([2**60, 2**60 + 1], np.uint64))
    assert not near.add(np.array([1, 5], np.uint64))  # full


# --- the known truths of theory §9 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "r", "m"), list(itertools.product((1, 2, 3), (1, 2, 3, 5, 8), (1, 2, 4))))
def test_two_linear_layers(n, r, m):
    N = n + m
    laws = nl.count_laws(network([n, r, m]))
    assert laws == (r * (r + 1) // 2 if r <= N else N * (2 * r - N + 1) // 2)
    assert laws.certified


@pytest.mark.parametrize(
    ("n", "r", "m"),
    [
        pytest.param(*c, marks=[pytest.mark.needs_jit] * (c[1] > 3))
        for c in itertools.product((1, 2), (1, 2, 3, 6, 9), (1, 2))
        if c[::2] != (1, 1)
    ],
)
def test_two_linear_layers_with_momentum(n, r, m):
    N = n + m
    laws = nl.count_laws(network([n, r, m]), flow="momentum")
    assert laws == (r * (r - 1) // 2 if r <= 2 * N else 2 * N * r - N * (2 * N + 1))
    assert laws.certified


@pytest.mark.parametrize("widths", [(2, 3, 2, 2), (3, 2, 4, 2), (1, 4, 3, 2), (2, 3, 3, 3, 2), (5, 2, 3, 4, 1)])
def test_deeper_linear_networks_have_the_rank_of_the_balances(widths):
    """The rank of the differentials of W_hW_hᵀ − W_{h+1}ᵀW_{h+1} in float64, at a random point."""
    net = network(widths)
    theta = np.random.default_rng(6).standard_normal(net.n_params)
    rows = []
    for h in range(1, net.n_layers):
        for i, j in itertools.combinations_with_replacement(range(widths[h]), 2):
            rows.append(np.zeros(net.n_params))
            W, V = net.unpack(theta)[f"W{h}"], net.unpack(theta)[f"W{h + 1}"]
            part = net.unpack(rows[-1])
            part[f"W{h}"][i] += W[j]
            part[f"W{h}"][j] += W[i]
            part[f"W{h + 1}"][:, i] -= V[:, j]
            part[f"W{h + 1}"][:, j] -= V[:, i]
    laws = nl.count_laws(net)
    assert laws == np.linalg.matrix_rank(np.array(rows))
    assert laws.certified


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "widths",
    [(2, 3, 2), (1, 4, 1), pytest.param((3, 9, 2), marks=pytest.mark.needs_jit), (2, 3, 4, 2), (3, 4, 1, 2, 3), (2, 2)],
)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.1)"])
def test_relu_networks_have_one_law_a_neuron_and_none_with_momentum(widths, bias, activation):
    net = network(widths, activation, bias)
    laws, with_momentum = nl.count_laws(net), nl.count_laws(net, flow="momentum")
    assert laws == laws.lower == sum(widths[1:-1])
    assert with_momentum == with_momentum.lower == 0
    theorem = len(widths) == 2 or (len(widths) == 3 and (bias or widths[0] > 1))  # every pattern occurs in some data
    assert laws.certified == with_momentum.certified == theorem
    assert laws.assumption == with_momentum.assumption == ("" if theorem else "every activation pattern occurs")


@pytest.mark.parametrize("activation", ["polynomial(2)", "polynomial(3)", "repu(2)", ["polynomial(2)", "relu"]])
def test_other_degrees(activation):
    widths = [2, 3, 2] if isinstance(activation, str) else [2, 3, 2, 2]
    laws = nl.count_laws(network(widths, activation, bias=True))
    assert laws == sum(widths[1:-1])
    assert laws.certified == isinstance(activation, str)


def test_biases_add_no_laws_to_linear_networks():
    """(b_1, b_2) ↦ (b_1 + v, b_2 − W_2v) is a symmetry, but not one whose charge is the derivative of a quantity."""
    assert nl.count_laws(network([2, 3, 2], bias=True)) == 6
    assert nl.count_laws(network([2, 3, 2], bias=True), flow="momentum") == 3


# --- patterns that do not occur ----------------------------------------------------------------------------------------------


def start(net, positive=()):
    """Random parameters with the given arrays made positive."""
    theta = np.random.default_rng(11).standard_normal(net.n_params)
    for name in positive:
        array = net.unpack(theta)[name]
        array[:] = np.abs(array)
    return theta


INPUTS = np.random.default_rng(12).standard_normal((60, 2))
SCALARS = np.linspace(-2, 3, 20)[:, None]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.1)", "repu(2)"])
def test_where_W2_is_positive_a_deep_network_has_a_law_more(activation):
    """With a_1 ≥ 0 and W_2 > 0 no neuron of layer 2 is off beside one that is on: its outputs are one scalar function each.

    For leaky ReLU a_1 takes both signs, and so does z_2: nothing is special there.
    """
    net = network([2, 3, 2, 2], [activation, "relu"])
    generic, special = start(net), start(net, ["W2"])
    assert nl.count_laws(net, theta=generic, X=INPUTS) == 5
    laws = nl.count_laws(net, theta=special, X=INPUTS)
    assert laws == (5 if "leaky" in activation else 6)
    assert laws.lower == 5
    assert laws.certified == ("leaky" in activation)
    assert not nl.count_laws(net).certified


def test_scalar_inputs_without_biases_show_two_patterns():
    """[1, 4, 1]: neurons with w > 0 see x > 0 only and follow one field, the others another: 8 − 2 laws, or 8 − 1."""
    net = network([1, 4, 1], "relu")
    theta = start(net)
    net.unpack(theta)["W1"][:, 0] = [1.0, -2.0, 0.5, -0.3]
    assert nl.count_laws(net, theta=theta, X=SCALARS) == 6
    assert nl.count_laws(net, theta=np.abs(theta), X=SCALARS) == 7
    unaware = nl.count_laws(net)
    assert (unaware, unaware.certified) == (4, False)
    biased = network([1, 4, 1], "relu", bias=True)  # negative control: kinks at four places
    laws = nl.count_laws(biased, theta=start(biased), X=np.linspace(-9, 9, 99)[:, None])
    assert (laws, laws.certified) == (4, True)
    assert nl.count_laws(biased).certified


@pytest.mark.parametrize("momentum", ["gradient", pytest.param("momentum", marks=pytest.mark.needs_jit)])
def test_enough_data_show_what_all_data_do(momentum):
    for widths, activation, bias in [
        ([2, 3, 2], "relu", True),
        ([2, 3, 2], "linear", False),
        ([2, 2, 2], "repu(2)", False),
    ]:
        net = network(widths, activation, bias)
        for_all, for_these = nl.count_laws(net, momentum), nl.count_laws(net, momentum, theta=start(net), X=INPUTS)
        assert (int(for_these), for_these.certified) == (int(for_all), True)


def test_a_network_has_the_laws_of_its_data_too():
    """Of one sample on a linear network: weights beyond the sample's direction stay, the rest is a network on a scalar."""
    net = network([3, 2, 2])
    laws = nl.count_laws(net, theta=start(net), X=np.eye(3)[:1])
    assert laws == nl.count_laws(network([1, 2, 2])) + 2 * 2
    assert laws.n_samples == 1


@pytest.mark.parametrize(
    ("widths", "activation", "bias", "theorem"),
    [
        ([3, 3, 3, 2], ["linear", "relu"], False, True),
        ([3, 3, 3, 2], ["relu", "linear"], False, True),
        ([3, 1, 3, 2], ["linear", "relu"], False, False),  # one number reaches the kinks, and these are all at 0
        ([3, 1, 3, 2], ["linear", "relu"], True, True),
        ([3, 3, 3, 2], ["polynomial(2)", "relu"], True, False),  # a sum of squares may have one sign
        ([1, 3, 2], "relu", False, False),
        ([1, 3, 2], "relu", True, True),
        ([3, 3, 3, 2], "relu", True, False),
        ([3, 3, 3, 2], "polynomial(2)", False, True),
    ],
)
def test_what_is_assumed_is_named(widths, activation, bias, theorem):
    laws = nl.count_laws(network(widths, activation, bias))
    assert laws.lower == laws
    assert laws.certified == theorem
    for text in (repr(laws), laws.method, laws.assumption):
        assert ("every activation pattern occurs" in text) != theorem
        assert not ("certified" in text and not theorem)


def test_where_no_signal_arrives_there_is_no_kink():
    """There z_2 is 0 at all parameters nearby."""
    silent = network([2, 2, 2, 2], "relu")
    off = -np.abs(start(silent))
    assert nl.count_laws(silent, theta=off, X=[[1.0, 1.0]]) == silent.n_params


# --- traps: scalar input and output ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["linear", "polynomial(2)"])
@pytest.mark.parametrize("widths", [(1, 3, 1), (1, 2, 2, 1), (1, 3, 2, 3, 1)])
def test_a_scalar_network_has_a_single_field(widths, activation):
    net = network(widths, activation)
    laws = nl.count_laws(net)
    assert laws == net.n_params - 1
    assert laws.depths == (1,)
    assert laws.certified
    biased = network(widths, activation, bias=True)  # negative control
    assert nl.count_laws(biased) < biased.n_params - 1


@pytest.mark.parametrize("widths", [(1, 2, 2, 1, 2), (3, 1, 2, 3, 1), (2, 1, 2, 2, 1, 2)])
def test_a_scalar_stretch_inside_a_network_is_one_too(widths):
    """Between layers of width one the weights follow ∇s alone: more laws than the balances, and all are known."""
    net = network(widths)
    laws = nl.count_laws(net)
    a, b = [h for h, width in enumerate(widths) if width == 1][-2:]
    stretch = sum(n * m for n, m in itertools.pairwise(widths[a : b + 1]))
    bottlenecks = sum(width == 1 for width in widths[1:-1])
    assert laws == stretch - 1 + bottlenecks
    assert laws.certified


@pytest.mark.parametrize("r", [1, 2, 3, 4, 6])
def test_scalar_networks_with_momentum(r):
    """u·w = (|a|² − |b|²)/2 for a, b = (u ± w)/√2: the angular momenta of a and of b, 2r − 3 each when r ≥ 2."""
    laws = nl.count_laws(network([1, r, 1]), flow="momentum")
    assert laws == (4 * r - 6 if r > 1 else 0)
    assert laws.certified
    formula = r * (r - 1) // 2 if r <= 4 else 4 * r - 10
    assert laws != formula or r == 1


# --- what it says ------------------------------------------------------------------------------------------------------------


def test_a_count_has_its_certificate():
    laws = nl.count_laws(network([2, 3, 2]))
    assert (laws.count, laws.lower, laws.upper, laws.certified, laws.closed) == (6, 6, 6, True, True)
    assert laws.n_dimensions - laws.depths[-1] == 6
    assert laws.depths == (4, 6)  # ∇ of the entries of the product, and their first brackets
    assert "certified" in laws.method
    assert repr(laws) == "<LawCount 6, gradient flow, certified>"
    assert str(laws) == f"{laws:d}" == "6"
    for twin in (copy.copy(laws), pickle.loads(pickle.dumps(laws))):
        assert (twin, twin.depths, twin.method) == (laws, laws.depths, laws.method)
    local = nl.count_laws(network([1, 2, 1], "relu"), theta=[1, -1, 2, 3], X=[[1.0], [-1.0]])
    assert repr(local) == "<LawCount 2, gradient flow, 2 inputs, certified>"
    assert "for 2 inputs near the given parameters" in local.method
    one = nl.count_laws(network([1, 2, 1], "relu"), theta=[1, -1, 2, 3], X=[[1.0]])
    assert ", 1 input, " in repr(one)
    assert "for 1 input near the given parameters" in one.method
    assert repr(pickle.loads(pickle.dumps(local))) == repr(local)


def test_without_known_laws_the_closure_still_counts(monkeypatch):
    monkeypatch.setattr(counting, "_known_differentials", lambda *_: iter(()))
    laws = nl.count_laws(network([2, 3, 3, 2]))
    assert laws == 12
    assert laws.depths[-1] == laws.depths[-2]  # one depth more adds nothing
    assert (laws.lower, laws.certified, laws.closed) == (0, False, True)
    assert "0 laws are known, and the closure is complete" in laws.method
    monkeypatch.setattr(counting, "_DEEPEST", 2)
    cut = nl.count_laws(network([2, 3, 3, 2]))
    assert cut > laws
    assert (cut.certified, cut.closed) == (False, False)
    assert "upper bound" in cut.method
    assert "upper bound" in repr(cut)


def test_known_laws_hold():
    """Their differentials vanish on brackets: a wrong known law would prove too much."""
    rng = np.random.default_rng(7)
    cases = [([2, 3, 2], "linear", True), ([2, 3, 2, 1], "relu", True), ([1, 2, 2, 1, 2], "linear(0.5)", False)]
    for (widths, activation, bias), momentum in itertools.product(cases, (False, True)):
        net = network(widths, activation, bias)
        fields = Fields(net, momentum)
        x, p = rng.integers(1, 2**20, (2, net.n_params))
        state = np.concatenate([x, p] if momentum else [x]).astype(np.uint64)[:, None]
        known = [row.astype(object) for row in counting._known_differentials(net, fields, x * 1.0, p * 1.0)]
        for depth in (1, 2, 3):
            chain = [fields.random(rng, drift=k > 0) for k in range(depth)]
            value = bracket(fields.at, chain, state)[:, 0].astype(object)
            assert all(row @ value % PRIME == 0 for row in known)
            assert value.any()
        assert bool(known) or (momentum and activation == "relu")


def test_the_seed_does_not_matter():
    net = network([2, 4, 3, 2])
    counts = [nl.count_laws(net, rng=seed) for seed in (0, 1, np.random.default_rng(2))]
    assert len({(int(c), c.lower, c.depths) for c in counts}) == 1


def test_the_factor_of_linear_activations_does_not_matter():
    assert nl.count_laws(network([2, 3, 3, 2], "linear(0.3)")) == nl.count_laws(network([2, 3, 3, 2])) == 12


def test_plot():
    laws = nl.count_laws(network([2, 3, 3, 2]))
    ax = nl.plot.closure(laws, label="2-3-3-2")
    assert ax.lines[0].get_ydata().tolist() == list(laws.depths)
    assert set(ax.lines[1].get_ydata()) == {laws.n_dimensions - laws.lower}
    assert nl.plot.closure(laws, ax) is ax


# --- bad input -----------------------------------------------------------------------------------------------------------------


SHORT = network([2, 3, 2], "relu", bias=True)
THETA, ON_A_KINK = start(SHORT), start(SHORT)
SHORT.unpack(ON_A_KINK)["b1"][2] = 0
test_bad_input = refusals(
    [
        (lambda: nl.count_laws([2, 3, 2]), TypeError, "net must be a Network"),
        (lambda: nl.count_laws(SHORT, flow="momentun"), r"flow='momentun' is not known .did you mean 'momentum'"),
        (
            lambda: nl.count_laws(network([2, 3, 2, 2], ["relu", "polynomial(2)"])),
            r"'polynomial\(2\)' of layer 2 comes after 'relu' of layer 1",
        ),
        (lambda: nl.count_laws(network([2, 6, 3]), memory=1000), r"net has 30 parameters.*more than memory=1e-06 GB"),
        (lambda: nl.count_laws(SHORT, theta=THETA), "X must be given with theta"),
        (lambda: nl.count_laws(SHORT, X=INPUTS), "theta must be given with X"),
        (lambda: nl.count_laws(SHORT, theta=THETA[1:], X=INPUTS), "theta must have shape"),
        (lambda: nl.count_laws(SHORT, theta=THETA, X=SCALARS), "X must have 2 columns"),
        (
            lambda: nl.count_laws(SHORT, theta=ON_A_KINK, X=[[1.0, 1.0], [0.0, 0.0]]),
            "theta lies on a kink: sample 1 has pre-activation 0 in neuron 2 of layer 1",
        ),
    ]
)

test_activations_that_are_not_piecewise_polynomial_are_refused = refusals(
    [
        (name, f"'{re.escape(name)}' of layer 1 is not piecewise polynomial; expected 'linear'")
        for name in ("tanh", "swish", "swish(1)", "repu(1.5)")
    ],
    lambda name: nl.count_laws(network([2, 3, 2], name)),
)


def test_piecewise_activations():
    from noetherlite._problem.activations import EXAMPLES, parse

    assert {parse(text).name for text in EXAMPLES if parse(text).is_piecewise} == {"relu", "leaky_relu", "repu", "abs"}
