"""Networks: the layout of θ, initialisation, evaluation."""

import math

import numpy as np
import pytest
from problems import ACTIVATIONS, EPS, problem, refusals

from noetherlite._kernels import reference
from noetherlite._problem.activations import parse
from noetherlite._problem.initial import SCHEMES
from noetherlite._problem.network import Network


def plain_forward(net, theta, X):
    """f(θ; X) by the formulas, one sample at a time."""
    arrays, out = net.unpack(theta), []
    for x in X:
        a = x
        for h in range(1, net.n_layers + 1):
            z = arrays[f"W{h}"] @ a + arrays.get(f"b{h}", 0)
            a = z if h == net.n_layers else plain_sigma(net.activations[h - 1], z, arrays.get(f"beta{h}"))
        out.append(a)
    return np.array(out)


def plain_sigma(activation, z, beta):
    c = activation.parameter if beta is None else beta
    return {
        "linear": lambda: c * z,
        "relu": lambda: np.maximum(z, 0),
        "leaky_relu": lambda: np.maximum(z, 0) + c * np.minimum(z, 0),
        "polynomial": lambda: z**c,
        "repu": lambda: np.maximum(z, 0) ** c,
        "swish": lambda: 0.5 * z * (1 + np.tanh(0.5 * c * z)),
        "tanh": lambda: np.tanh(z),
        "erf": lambda: np.array([math.erf(v) for v in z]),
        "gelu": lambda: np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in z]),
        "gelu_tanh": lambda: z / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
        "softplus": lambda: np.logaddexp(0, z),
        "logistic": lambda: 0.5 * (1 + np.tanh(0.5 * z)),
        "sin": lambda: np.exp(1j * z).imag,
        "cos": lambda: np.exp(1j * z).real,
        "elu": lambda: np.maximum(z, 0) + c * np.expm1(np.minimum(z, 0)),
        "celu": lambda: np.maximum(z, 0) + c * np.expm1(np.minimum(z, 0) / c),
        "softsign": lambda: np.sign(z) * (1 - 1 / (1 + np.abs(z))),
        "hard_tanh": lambda: np.clip(z, -1, 1),
        "abs": lambda: np.hypot(z, 0),
        "exp": lambda: np.exp(z),
        "gaussian": lambda: np.exp(-np.square(z)),
    }[activation.name]()


# --- layout --------------------------------------------------------------------------------------------------------


def test_layout():
    net = Network([2, 3, 4, 5], ["swish", "relu"], bias=True)
    shapes = {"W1": (3, 2), "b1": (3,), "beta1": (3,), "W2": (4, 3), "b2": (4,), "W3": (5, 4), "b3": (5,)}
    assert [(b.name, b.shape) for b in net.blocks] == list(shapes.items())
    assert [b.start for b in net.blocks] == [0, 6, 9, 12, 24, 28, 48]
    assert net.n_params == 53
    assert net.block("beta1").stop == 12
    assert net.block("beta2") is None


def test_layout_without_biases_or_hidden_layers():
    net = Network([2, 3, 4], "swish", bias=False)
    assert [b.name for b in net.blocks] == ["W1", "beta1", "W2"]
    net = Network([3, 2], "swish")
    assert [b.name for b in net.blocks] == ["W1", "b1"]
    assert (net.n_params, net.n_layers, net.activations) == (8, 1, ())


def test_unpack_gives_views():
    net = Network([2, 3, 2], "swish")
    theta = np.arange(net.n_params, dtype=float)
    arrays = net.unpack(theta)
    assert list(arrays) == [b.name for b in net.blocks]
    assert all(np.shares_memory(a, theta) for a in arrays.values())
    # together they are θ, rows of W first
    np.testing.assert_array_equal(np.concatenate([a.ravel() for a in arrays.values()]), theta)
    arrays["W1"][2, 1] = -1
    assert theta[5] == -1


@pytest.mark.parametrize("activation", ["relu", "swish"])
@pytest.mark.parametrize("bias", [True, False])
def test_pack_inverts_unpack(activation, bias):
    net = Network([2, 3, 2], activation, bias=bias)
    theta = np.random.default_rng(0).standard_normal(net.n_params)
    again = net.pack(net.unpack(theta))
    np.testing.assert_array_equal(again, theta)
    assert not np.shares_memory(again, theta)


def test_pack_names_what_is_missing_or_unknown():
    net = Network([2, 3, 2])
    arrays = net.unpack(net.init(rng=0))
    with pytest.raises(ValueError, match=r"missing entries \['b2'\].*unknown ones \['B2'\]"):
        net.pack({"B2" if k == "b2" else k: a for k, a in arrays.items()})
    with pytest.raises(ValueError, match=r"W1 must have shape \(3, 2\), got \(2, 3\)"):
        net.pack(arrays | {"W1": arrays["W1"].T})


def test_unpack_refuses_another_length():
    with pytest.raises(ValueError, match=r"theta must have shape \(17,\), got \(16,\)"):
        Network([2, 3, 2]).unpack(np.zeros(16))


def test_equality_and_specification():
    net = Network([2, 3, 2], ["leaky_relu(0.1)"], loss="mse")
    assert Network(**net.specification()) == net
    assert hash(Network(**net.specification())) == hash(net)
    assert Network([2, 3, 2], "relu", loss="mse") != net


test_bad_networks = refusals(
    [
        ({"widths": [3]}, ValueError, "too short"),
        ({"widths": 3}, TypeError, "widths must be a sequence"),
        ({"widths": [3, 0, 2]}, ValueError, r"widths\[1\]=0"),
        ({"widths": [3, 2.0]}, TypeError, r"widths\[1\] must be an integer"),
        ({"widths": [3, 4, 2], "activation": ["relu", "relu"]}, ValueError, "activation has 2 entries"),
        ({"widths": [3, 2], "loss": "mes"}, ValueError, "did you mean 'mse'"),
        ({"widths": [3, 1], "loss": "nll"}, ValueError, "at least 2 outputs"),
        ({"widths": [3, 2], "bias": 1}, TypeError, "bias must be True or False, got 1"),
    ],
    lambda arguments: Network(**arguments),
)


# --- initialisation ------------------------------------------------------------------------------------------------

N_IN, N_HIDDEN, N_OUT = 120, 150, 80


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "polynomial(2)", "swish"])
def test_std_of_the_schemes(activation, scheme):
    net = Network([N_IN, N_HIDDEN, N_OUT], activation)
    arrays = net.unpack(net.init(rng=3, scheme=scheme, bias_std=0.3))
    # E[σ(g)²]: ½ for relu, E[g⁴] = 3 for z², and the quadrature that test_activations.py checks
    moment = {"relu": 0.5, "polynomial(2)": 3.0}.get(activation) or parse(activation).second_moment()
    expected = {
        "lecun": (1 / N_IN, 1 / N_HIDDEN),
        "he": (2 / N_IN, 2 / N_HIDDEN),
        "xavier": (2 / (N_IN + N_HIDDEN), 2 / (N_HIDDEN + N_OUT)),
        "ntk": (1 / N_IN, 1 / (N_HIDDEN * moment)),
        "orthogonal": (1 / max(N_IN, N_HIDDEN), 1 / max(N_HIDDEN, N_OUT)),
    }[scheme]
    for name, variance in zip(["W1", "W2"], expected, strict=True):
        W = arrays[name]
        # the relative standard error of a variance from n normal draws is √(2/n); five of them
        assert W.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / W.size))
        assert abs(W.mean()) < 5 * np.sqrt(variance / W.size)
    assert arrays["b1"].std() == pytest.approx(0.3, rel=5 / np.sqrt(2 * N_HIDDEN))
    assert "beta1" not in arrays or (arrays["beta1"] == 1).all()


def test_ntk_scheme_keeps_unit_variance():
    net = Network([200, 400, 400, 400], "relu", bias=False)
    X = np.random.default_rng(0).choice([-1.0, 1.0], (50, 200))  # |x|² = n_0 exactly
    f = net.predict(net.init(rng=1, scheme="ntk"), X)
    assert f.var() == pytest.approx(1, rel=0.2)


def test_biases_are_zero_by_default():
    net = Network([3, 4, 2])
    arrays = net.unpack(net.init(rng=0))
    assert not np.concatenate([arrays["b1"], arrays["b2"]]).any()


@pytest.mark.parametrize(
    "seed", [lambda s: s, np.random.SeedSequence, np.random.default_rng], ids=["int", "SeedSequence", "Generator"]
)
def test_init_is_reproducible(seed):
    net = Network([3, 4, 2])
    first, second, other = (net.init(rng=seed(s)) for s in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert first.dtype == np.float64


def test_init_advances_a_generator_and_leaves_global_state_alone():
    net, rng = Network([3, 4, 2]), np.random.default_rng(0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - that is the point
    assert (net.init(rng=rng) != net.init(rng=rng)).any()
    assert (net.init() != net.init()).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


test_bad_init = refusals(
    [
        ({"scheme": "glorot"}, ValueError, "scheme='glorot'"),
        ({"bias_std": -1}, ValueError, "bias_std=-1"),
        ({"rng": "seed"}, TypeError, "rng must be a seed"),
        ({"rng": -1}, ValueError, "rng must be a seed"),
    ],
    lambda arguments: Network([3, 4, 2]).init(**arguments),
)


# --- evaluation ----------------------------------------------------------------------------------------------------


def scale_of(a):
    return np.abs(a).max()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, ["swish", "relu"], ["tanh", "polynomial(3)"]], ids=str)
def test_predict(activation, bias):
    net, U, theta = problem(activation, bias=bias, n=11)
    expected = plain_forward(net, theta, U.X)
    f = net.predict(theta, U.X)
    assert f.shape == (11, 2)
    # three layers of a handful of sums and a power: well within a hundred roundings of the largest output
    np.testing.assert_allclose(f, expected, rtol=0, atol=100 * EPS * scale_of(expected))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 64, 65, 130])
def test_predict_at_tile_boundaries(n):
    net, U, theta = problem("tanh", n=n)
    expected = plain_forward(net, theta, U.X)
    np.testing.assert_allclose(net.predict(theta, U.X), expected, rtol=0, atol=100 * EPS * scale_of(expected))


@pytest.mark.parametrize("loss", ["mse", "nll"])
def test_without_hidden_layers(loss):
    net, U, theta = problem([], loss, widths=(3, 2))
    arrays = net.unpack(theta)
    f = U.X @ arrays["W1"].T + arrays["b1"]
    np.testing.assert_allclose(net.predict(theta, U.X), f, rtol=0, atol=20 * EPS * scale_of(f))
    if loss == "mse":
        expected = ((f - U.y) ** 2).sum() / (2 * U.n_samples)
    else:
        expected = np.mean(np.log(np.exp(f).sum(axis=1)) - f[np.arange(len(f)), U.y])
    assert U.value(theta) == pytest.approx(expected, rel=100 * EPS)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobian_against_complex_step(activation, bias):
    net, U, theta = problem(activation, bias=bias, n=4)
    described = U.problem()
    columns = []
    for i in range(net.n_params):
        shifted = theta.astype(complex)
        shifted[i] += 1e-200j  # no subtraction, hence no cancellation
        columns.append(reference.forward(described, shifted, U.X)[0][-1].imag / 1e-200)
    expected = np.stack(columns, axis=-1)
    J = net.jacobian(theta, U.X)
    assert J.shape == (4, 2, net.n_params)
    np.testing.assert_allclose(J, expected, rtol=0, atol=200 * EPS * scale_of(expected))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobian_contracts_to_the_gradient(activation):
    net, U, theta = problem(activation)
    residual = (net.predict(theta, U.X) - U.y) / U.n_samples
    gradient = np.einsum("si,sip->p", residual, net.jacobian(theta, U.X))
    np.testing.assert_allclose(U.gradient(theta), gradient, rtol=0, atol=300 * EPS * scale_of(gradient))


def test_network_shortcuts_agree_with_the_potential():
    net, U, theta = problem("relu")
    value, gradient = net.value_and_gradient(theta, U.X, U.y)
    assert value == net.loss_value(theta, U.X, U.y) == U.value(theta)
    np.testing.assert_array_equal(gradient, U.gradient(theta))
    np.testing.assert_array_equal(gradient, net.gradient(theta, U.X, U.y))


# --- inputs --------------------------------------------------------------------------------------------------------


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def strided(a):
    wide = np.full([2 * n for n in a.shape], np.nan)
    wide[tuple(slice(None, None, 2) for _ in a.shape)] = a
    return wide[tuple(slice(None, None, 2) for _ in a.shape)]


FORMS = {
    "read-only": read_only,
    "strided": strided,
    "fortran": np.asfortranarray,
    "list": lambda a: a.tolist(),
    "float32": lambda a: a.astype(np.float32),
    "big-endian": lambda a: a.astype(">f8"),
    "reversed": lambda a: a[::-1].copy()[::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_input(form):
    net, U, theta = problem("tanh")
    # numbers that float32 holds exactly, so that every form means the same
    theta, X, y = (a.astype(np.float32).astype(float) for a in (theta, U.X, U.y))
    expected = [net.predict(theta, X), *net.value_and_gradient(theta, X, y), net.jacobian(theta, X)]
    given = [FORMS[form](a) for a in (theta, X, y)]
    answers = [net.predict(*given[:2]), *net.value_and_gradient(*given), net.jacobian(*given[:2])]
    for a, b in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.float64


@pytest.mark.parametrize("loss", ["mse", "nll"])
def test_inputs_are_not_modified(loss):
    net, U, theta = problem("swish", loss)
    X, y = U.X.copy(), U.y.copy()
    given = theta.copy(), X.copy(), y.copy()
    net.predict(given[0], given[1])
    net.value_and_gradient(*given)
    net.jacobian(given[0], given[1])
    for a, b in zip(given, (theta, X, y), strict=True):
        np.testing.assert_array_equal(a, b)


SMALL = Network([3, 4, 2])
test_bad_inputs = refusals(
    [
        ((function, X), words)
        for function in (SMALL.predict, SMALL.jacobian)
        for X, words in (
            (np.zeros((4, 5)), "X must have 3 columns, one per input, got 5"),
            (np.zeros((0, 3)), "X holds no samples"),
            (np.zeros(3), "X must be 2-dimensional"),
            (np.full((2, 3), np.inf), "X must be finite"),
        )
    ],
    lambda case: case[0](SMALL.init(rng=0), case[1]),
)
