"""Programs that let NumPy raise for every floating-point error, and data and weights near the ends of a double's range."""

import numpy as np
import pytest
from calls import CALLS, SLOW, right_call

import noetherlite as nl

X = np.random.default_rng(0).normal(size=(5, 2))
TARGETS = {"nll": np.array([0, 1, 0, 1, 1]), "mse": np.random.default_rng(1).normal(size=(5, 2))}
SCALES = [1e-300, 1e-200, 1e200, 1e300]
scales = pytest.mark.parametrize("scale", SCALES)


NOT_ALONE = {"kmnist", "arch.Model"}  # it needs files; it takes its blocks by position


@pytest.mark.parametrize("call", [name for name in CALLS if name not in SLOW and name not in NOT_ALONE])
def test_every_public_operation_where_numpy_raises(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, arguments = right_call(call)
    with np.errstate(all="raise"):
        function(**arguments)


def operations(net, U, theta, inputs):
    """Functions of a network on its data, by name."""
    yield "symmetries", lambda: nl.symmetries(U)
    yield "defect", lambda: nl.symmetry_defect(U, nl.symmetries(U)[0])
    yield "discover", lambda: nl.discover(U)
    yield "value", lambda: U.value_and_gradient(theta)
    yield "predict", lambda: net.predict(theta, inputs)
    yield "kernel", lambda: nl.ntk.kernel(net, theta, inputs)
    yield "limit", lambda: nl.ntk.infinite_width(net, inputs, scheme="ntk")
    yield "drift", lambda: nl.drift(U, nl.GD(0.1), theta, 3, backend="reference")
    yield "run and report", lambda: followed(U, theta)
    yield "scan", lambda: nl.scan(lambda p: net.unpack(U.gradient(net.pack(p))), net.unpack(theta), draws=3)
    if net.activations[0].name == "relu":
        yield "count", lambda: nl.count_laws(net, theta=theta, X=inputs)
        yield "rebalance", lambda: nl.rebalance(net, theta, {"scaling:1": np.zeros(3)})


def followed(U, theta):
    run = nl.integrate(U, nl.GD(0.1), theta, 3, record_params=True, backend="reference")
    nl.report(run)
    run.plot_residuals()
    if np.isfinite(run.params).all() and len(run.params) > 1:
        nl.check(U, run.params, dynamics=nl.GD(0.1))


@pytest.mark.needs_jit  # NumPy, in the place of compiled code, warns of overflow
@pytest.mark.parametrize("scale", [1e-300, 1e200])
@pytest.mark.parametrize(
    ("activation", "loss", "what"),
    [
        ("relu", "mse", "X"),
        ("relu", "mse", "theta"),
        ("relu", "mse", "y"),
        ("tanh", "nll", "X"),
        ("tanh", "nll", "theta"),
    ],
)
def test_near_the_ends_of_the_range(activation, loss, what, scale):
    """Every operation gives a result, or says by a ValueError what is beyond the range."""
    net = nl.Network([2, 3, 2], activation, loss=loss)
    theta, inputs, y = net.init(rng=0, bias_std=0.5), X, TARGETS[loss]
    theta, inputs, y = (a * scale if name == what else a for name, a in (("theta", theta), ("X", inputs), ("y", y)))
    U = net.potential(inputs, y)
    faults = []
    for name, operation in operations(net, U, theta, inputs):
        try:
            with np.errstate(all="raise"):
                operation()
        except ValueError as error:
            if not any(word in str(error) for word in ("range of a double", "finite")):
                faults.append(f"{name}: {error}")
        except Exception as error:
            faults.append(f"{name}: {error!r}")
    assert not faults, "\n".join(faults)


@scales
def test_symmetries_are_told_from_others_at_any_scale(scale):
    """A defect is that of the same network on data of size 1, also if squares of numbers over- or underflow."""
    net = nl.Network([2, 3, 2], "relu", loss="mse")
    U, ordinary = (net.potential(s * X, TARGETS["mse"]) for s in (scale, 1.0))
    assert [s.name for s in nl.symmetries(U)] == [s.name for s in nl.symmetries(ordinary)]
    assert nl.symmetry_defect(U, "scaling:1") < 1e-13
    mixing = np.zeros((U.n_params, U.n_params))
    mixing[0, -1] = 1.0  # W_1 moves by a bias of the last layer, which is in other units
    for none in ("linear:1", "rotation", nl.Symmetry(mixing)):
        expected = nl.symmetry_defect(ordinary, none)
        assert expected > 0.1
        assert nl.symmetry_defect(U, none) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scans_find_the_same_laws_at_any_scale_of_the_gradients(scale):
    net = nl.Network([2, 3, 2], "relu", loss="mse")
    U, params = net.potential(X, TARGETS["mse"]), net.unpack(net.init(rng=0, bias_std=0.5))

    def gradient(p):
        return net.unpack(U.gradient(net.pack(p)))

    def scaled(p):
        return {name: scale * g for name, g in gradient(p).items()}

    scan, expected = (nl.scan(function, params) for function in (scaled, gradient))
    assert [law.formula for law in scan.relations] == [law.formula for law in expected.relations]
    assert scan.relations


@scales
def test_kernels_scale_with_their_inputs_or_say_that_they_cannot(scale):
    net = nl.Network([2, 4, 1], "relu", bias=False, loss="mse")
    theta = net.init(rng=0)
    K = nl.ntk.kernel(net, theta, X)
    if scale > 1:
        with pytest.raises(ValueError, match="K is beyond the range of a double"):
            nl.ntk.kernel(net, theta, scale * X)
        with pytest.raises(ValueError, match="K is beyond the range of a double"):
            nl.ntk.infinite_width(net, scale * X)
    half = np.sqrt(scale)  # whose square is a double
    np.testing.assert_allclose(nl.ntk.kernel(net, theta, half * X), scale * K, rtol=1e-12)
