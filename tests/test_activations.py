"""The catalogue of activations: spelling, homogeneity, moments."""

import math

import numpy as np
import pytest
from problems import EPS
from scipy import integrate as quadrature

from noetherlite._kernels import reference
from noetherlite._problem.activations import Activation, parse
from noetherlite._problem.catalogue import EXAMPLES

SPELLINGS = {
    "linear": Activation("linear", 1.0),
    "linear(0.7)": Activation("linear", 0.7),
    "linear(-2)": Activation("linear", -2.0),
    "relu": Activation("relu"),
    "leaky_relu(0.1)": Activation("leaky_relu", 0.1),
    "polynomial(1)": Activation("polynomial", 1.0),
    "polynomial(2)": Activation("polynomial", 2.0),
    "polynomial(3)": Activation("polynomial", 3.0),
    "repu(1.5)": Activation("repu", 1.5),
    "repu(3)": Activation("repu", 3.0),
    "swish": Activation("swish"),
    "swish(1.3)": Activation("swish", 1.3),
    "tanh": Activation("tanh"),
    "silu": Activation("swish", 1.0),
    "sigmoid": Activation("logistic"),
    "elu": Activation("elu", 1.0),
    "celu(0.5)": Activation("celu", 0.5),
    "gelu_tanh": Activation("gelu_tanh"),
    "  repu ( 2.5 ) ": Activation("repu", 2.5),
}
DEGREES = {
    "linear(0.7)": 1,
    "relu": 1,
    "leaky_relu(0.1)": 1,
    "polynomial(2)": 2,
    "polynomial(3)": 3,
    "repu(1.5)": 1.5,
    "repu(2)": 2,
    "swish": 1,
    "abs": 1,
}


def sigma(activation, z, beta=None):
    a = parse(activation)
    return reference.sigma(a.code, a.constant if beta is None else beta, z)


@pytest.mark.parametrize(("text", "expected"), SPELLINGS.items())
def test_parse(text, expected):
    activation = parse(text)
    assert activation == expected
    assert parse(str(activation)) == activation
    assert parse(activation) is activation


@pytest.mark.parametrize("scale", [0.3, 2.7])
@pytest.mark.parametrize(("text", "degree"), DEGREES.items())
def test_degree_is_the_homogeneity_measured(text, degree, scale):
    assert parse(text).degree == degree
    z = np.linspace(-3, 3, 41)
    # swish is homogeneous with β, which scales inversely
    beta = 0.8 if text == "swish" else None
    scaled = sigma(text, scale * z, None if beta is None else beta / scale)
    expected = scale**degree * sigma(text, z, beta)
    # a power and two products: a few roundings each
    np.testing.assert_allclose(scaled, expected, rtol=20 * EPS, atol=0)
    # negative control: another degree is visibly wrong
    assert np.abs(scaled - scale ** (degree + 0.01) * sigma(text, z, beta)).max() > 1e-4


@pytest.mark.parametrize("text", ["tanh", "swish(1.3)", "elu", "hard_tanh", "exp", "sin"])
def test_no_degree_without_homogeneity(text):
    assert parse(text).degree is None
    z = np.array([-3.0, -1.0, -0.4, 0.4, 1.0, 3.0])
    # were it homogeneous, the ratio would be the same everywhere
    assert np.ptp(sigma(text, 2 * z) / sigma(text, z)) > 0.1


@pytest.mark.parametrize("text", ["swish", "swish(1.0)", "relu", "linear"])
def test_only_plain_swish_is_trainable(text):
    assert parse(text).trainable == (text == "swish")


@pytest.mark.parametrize("text", [*dict.fromkeys([*DEGREES, *EXAMPLES, "linear(-2)", "swish(1.3)", "swish(40)"])])
def test_second_moment(text):
    beta = 1.0 if text == "swish" else None

    def integrand(g):
        return float(sigma(text, np.array(g), beta)) ** 2 * math.exp(-g * g / 2) / math.sqrt(2 * math.pi)

    # kinks are ends of intervals; beyond 14 lies less than 1e-30
    expected = sum(quadrature.quad(integrand, *ends, epsabs=1e-14)[0] for ends in [(-14, -1), (-1, 0), (0, 1), (1, 14)])
    assert parse(text).second_moment() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("text", ["mish", "Relu", "relu()x", "", 3, None])
def test_unknown_activation_lists_the_known(text):
    with pytest.raises(ValueError, match="activation=") as caught:
        parse(text)
    for known in ["linear", "relu", "leaky_relu(0.1)", "polynomial(2)", "repu(3)", "swish", "swish(1.0)", "tanh"]:
        assert repr(known) in str(caught.value)


@pytest.mark.parametrize("text", EXAMPLES)
def test_parity_and_jumps_of_the_slope_are_those_measured(text):
    a = parse(text)
    c, z = 1.0 if a.trainable else a.constant, np.array([0.3, 0.9, 1.7])
    right, left = a.kind.sigma_array(c, z), a.kind.sigma_array(c, -z)
    parity = int(np.allclose(left, right)) - int(np.allclose(left, -right))
    assert a.parity == parity
    edges = np.array([-1.0, 0.0, 1.0])
    jumps = a.kind.d_sigma_array(c, edges + 1e-9) - a.kind.d_sigma_array(c, edges - 1e-9)
    assert (np.abs(jumps).max() > 1e-3) == (a.is_kinked or a.has_other_kinks)


@pytest.mark.parametrize(("text", "name"), [("polynominal(2)", "polynomial"), ("ReLU", "relu"), ("SiLU", "silu")])
def test_misspelt_activation_gets_a_suggestion(text, name):
    with pytest.raises(ValueError, match=rf"did you mean '{name}'\?"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repu(0.5)", ">= 1"),
        ("polynomial(0)", ">= 1"),
        ("polynomial(2.5)", "integer p"),
        ("polynomial(nan)", "finite"),
        ("leaky_relu(0)", "> 0"),
        ("leaky_relu(-0.1)", "> 0"),
        ("leaky_relu(1)", "0 < a < 1"),
        ("leaky_relu(1.5)", "0 < a < 1"),
        ("linear(inf)", "finite"),
        ("repu", "needs its parameter"),
        ("polynomial", "needs its parameter"),
        ("leaky_relu", "needs its parameter"),
        ("relu(2)", "takes no parameter"),
        ("tanh(1)", "takes no parameter"),
        ("repu(two)", "not a number"),
        ("repu()", "not a number"),
    ],
)
def test_bad_parameter(text, message):
    with pytest.raises(ValueError, match="activation") as caught:
        parse(text)
    assert message in str(caught.value)
    assert text in str(caught.value)
