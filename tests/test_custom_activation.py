"""Activations of a user's two functions: runs, files, and what is refused."""

import math

import numba
import numpy as np
import pytest
from problems import EPS, data, point, refusals, verdicts

import noetherlite as nl
from noetherlite._kernels import reference

WIDTH = 0.7


def hat(z):
    return (1 - z * z) * math.exp(-z * z / 2)


def d_hat(z):
    return z * (z * z - 3) * math.exp(-z * z / 2)


def narrow(z):
    return math.tanh(z / WIDTH)


def d_narrow(z):
    return (1 - math.tanh(z / WIDTH) ** 2) / WIDTH


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    net = nl.Network([3, 4, 4, 2], [nl.Activation.custom(hat, d_hat), "linear"])
    X, y = data(net, 9, rng)
    return net.potential(X, y), point(net, rng)


def test_gradients_by_complex_step_and_by_the_oracle(case):
    U, x = case
    described, gradient = U.problem(), U.gradient(x)
    step = [reference.network_value(described, x + 1e-200j * e).imag / 1e-200 for e in np.eye(x.size)]
    assert np.abs(gradient - step).max() <= 300 * EPS * max(1.0, np.abs(gradient).max())
    assert np.abs(gradient - reference.value_and_gradient(described, x)[1]).max() <= 300 * EPS


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_and_laws(case, dtype):
    U, x = case
    by_numpy = nl.integrate(U, nl.GD(0.05), x, 20, backend="reference")
    run = nl.integrate(U, nl.GD(0.05), x, 20, dtype=dtype)
    assert np.abs(run.x - by_numpy.x).max() <= 64 * 20 * np.finfo(dtype).eps * np.abs(x).max()
    assert "linear:2" in run.laws
    assert "scaling:1" not in run.laws
    assert verdicts(run) == {"holds"}


def test_a_name_says_the_content(monkeypatch):
    name = str(nl.Activation.custom(narrow, d_narrow))
    assert name.startswith("custom:narrow:")
    assert nl.Activation.custom(narrow, d_narrow) == nl.Activation(name)
    assert nl.Network([1, 2, 1], name, loss="mse").activations[0].name == name
    monkeypatch.setitem(globals(), "WIDTH", 0.8)
    assert str(nl.Activation.custom(narrow, d_narrow)) != name


def test_a_checkpoint_goes_on_with_the_same_functions_alone(case, tmp_path):
    U, x = case
    path = tmp_path / "run.npz"
    nl.integrate(U, nl.GD(0.05), x, 10, checkpoint=path)
    assert U.network.specification()["activation"][0].startswith("custom:hat:")
    other = nl.Network(U.network.widths, [nl.Activation.custom(narrow, d_narrow), "linear"])
    with pytest.raises((nl.CheckpointError, ValueError), match="custom:"):
        nl.resume(path, potential=other.potential(U.X, U.y))


def plain_object(z):
    return z * SETTING.scale


class Setting:
    scale = 2.0


SETTING = Setting()


test_wrong_functions_are_refused = refusals(
    [
        ((hat, hat), "df is not the derivative of f: at z="),
        ((hat, lambda z: 1.0001 * z * (z * z - 3) * math.exp(-z * z / 2)), "df is not the derivative of f"),
        ((lambda z: z if z > 0 else 0.0, lambda z: 1.0 if z > 0 else 0.0), "nan"),
        ((lambda z: z, lambda z: 1e308 * 1e308), "df must return finite numbers"),
        ((3, d_hat), TypeError, "f must be a function of one number"),
        ((hat, None), TypeError, "df must be a function of one number"),
        ((plain_object, hat), TypeError, "content can be told"),
    ],
    lambda functions: nl.Activation.custom(*functions),
)


@pytest.mark.needs_jit
def test_what_numba_does_not_compile_is_refused():
    with pytest.raises(TypeError, match="f is not compiled by numba"):
        nl.Activation.custom(lambda z: float(str(z)[::-1] and z) if z else z, d_hat)


@pytest.mark.needs_jit
def test_functions_that_numba_has_compiled_are_taken(case):
    U, x = case
    net = nl.Network(U.network.widths, [nl.Activation.custom(numba.njit(hat), numba.njit(d_hat)), "linear"])
    assert net.potential(U.X, U.y).value(x) == U.value(x)


def test_a_name_alone_is_not_enough():
    with pytest.raises(ValueError, match=r"only a digest is known; expected nl\.Activation\.custom"):
        nl.Network([1, 2, 1], "custom:f:0123456789ab", loss="mse")


test_wrong_activations_are_refused = refusals(
    [(("relux",), "name='relux' is not known"), (("leaky_relu",), "parameter=None"), (("relu", 2.0), "takes none")],
    lambda arguments: nl.Activation(*arguments),
)
