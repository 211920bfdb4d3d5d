"""θ to the layouts of other frameworks and back; what does not fit is named. With PyTorch and JAX where these are installed."""

import itertools
import os

import numpy as np
import pytest
from problems import point, refusals

import noetherlite as nl
from noetherlite import convert

FRAMEWORKS = ["torch", "flax", "equinox", "keras"]
NETS = [
    nl.Network([3, 5, 4, 2], "relu"),
    nl.Network([3, 5, 4, 2], ["swish", "tanh"], loss="mse"),
    nl.Network([3, 4, 4, 2], "swish", bias=False),
    nl.Network([2] * 13, "relu"),  # layer 10 comes after layer 9
    nl.Network([3, 2]),
]


def pair(framework):
    return getattr(convert, f"from_{framework}"), getattr(convert, f"to_{framework}")


@pytest.mark.parametrize("net", NETS, ids=str)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_conversions_invert_each_other_and_copy(framework, net):
    read, write = pair(framework)
    theta = point(net, np.random.default_rng(0))
    before, tree = theta.copy(), write(net, theta)
    np.testing.assert_array_equal(read(net, tree), theta)
    for leaf in leaves(tree):
        leaf[:] = 0
    np.testing.assert_array_equal(theta, before)


def leaves(tree):
    if isinstance(tree, np.ndarray):
        return [tree]
    return [leaf for part in (tree.values() if isinstance(tree, dict) else tree) for leaf in leaves(part)]


def test_layouts():
    net = nl.Network([3, 5, 2], "swish", loss="mse")
    theta = net.init(rng=0, bias_std=1.0)
    parts = net.unpack(theta)
    torch = convert.to_torch(net, theta)
    assert list(torch) == ["0.weight", "0.bias", "1.beta", "2.weight", "2.bias"]
    np.testing.assert_array_equal(torch["2.weight"], parts["W2"])
    flax = convert.to_flax(net, theta)["params"]
    assert set(flax) == {"Dense_0", "Swish_0", "Dense_1"}
    np.testing.assert_array_equal(flax["Dense_0"]["kernel"], parts["W1"].T)
    np.testing.assert_array_equal(convert.to_equinox(net, theta)[1]["weight"], parts["W2"])
    assert [a.shape for a in convert.to_keras(net, theta)] == [(3, 5), (5,), (5,), (5, 2), (2,)]


def test_names_and_order_of_others():
    net = nl.Network([3, 5, 2], "relu")
    theta = net.init(rng=0, bias_std=1.0)
    W1, b1, W2, b2 = (net.unpack(theta)[name] for name in ("W1", "b1", "W2", "b2"))
    named = {"hidden.weight": W1, "hidden.bias": b1, "readout.weight": W2, "readout.bias": b2}
    np.testing.assert_array_equal(convert.from_torch(net, named), theta)
    # jax.tree sorts keys: bias before kernel, and layers by name
    tree = {"Dense_1": {"bias": b2, "kernel": W2.T}, "Dense_0": {"bias": b1, "kernel": W1.T}}
    np.testing.assert_array_equal(convert.from_flax(net, tree), theta)
    np.testing.assert_array_equal(convert.from_equinox(net, [(W1, b1), (W2, b2)]), theta)

    class Linear:
        def __init__(self, weight, bias):
            self.weight, self.bias = weight, bias

    np.testing.assert_array_equal(convert.from_equinox(net, (Linear(W1, b1), Linear(W2, b2))), theta)
    bare = nl.Network([3, 5, 2], "relu", bias=False)
    theta = convert.from_equinox(bare, [Linear(W1, None), Linear(W2, None)])
    np.testing.assert_array_equal(theta, np.concatenate([W1.ravel(), W2.ravel()]))


def test_no_recordings_are_no_rows():
    state = {name: a[None][:0] for name, a in TORCH.items()}
    assert convert.from_torch(NET, state).shape == (0, NET.n_params)


def test_stacked_arrays_and_lists_of_recordings():
    net = nl.Network([3, 5, 2], "relu")
    thetas = np.random.default_rng(0).standard_normal((4, net.n_params))
    states = [convert.to_torch(net, theta) for theta in thetas]
    np.testing.assert_array_equal(np.stack([convert.from_torch(net, state) for state in states]), thetas)
    stacked = {name: np.stack([state[name] for state in states]) for name in states[0]}
    np.testing.assert_array_equal(convert.from_torch(net, stacked), thetas)
    layers = [convert.to_flax(net, theta)["params"] for theta in thetas]
    tree = {d: {n: np.stack([layer[d][n] for layer in layers]) for n in layers[0][d]} for d in layers[0]}
    np.testing.assert_array_equal(convert.from_flax(net, {"params": tree}), thetas)


NET = nl.Network([3, 5, 2], "relu")
THETA = NET.init(rng=0)
TORCH, KERAS = convert.to_torch(NET, THETA), convert.to_keras(NET, THETA)


def torch_with(name, array):
    return convert.from_torch(NET, TORCH | {name: array})


test_bad_input = refusals(
    [
        (lambda: convert.from_torch(NET, KERAS), TypeError, "state_dict must be a mapping"),
        (lambda: convert.from_flax(NET, {"params": KERAS}), TypeError, r"tree\['params'\] must be a mapping"),
        (lambda: convert.from_keras(NET, TORCH), TypeError, "weights must be a sequence"),
        (lambda: convert.from_equinox(NET, TORCH), TypeError, "layers must be a sequence"),
        (lambda: convert.from_keras(NET, KERAS[:-1]), ValueError, "weights has 3 arrays; expected 4, for W1, b1, W2, b2"),
        (lambda: convert.from_torch(NET, dict(list(TORCH.items())[:2])), ValueError, r"1 arrays for W.*'0.weight'"),
        (lambda: convert.from_torch(NET, TORCH | {"4.running_mean": THETA}), ValueError, "4.running_mean is not expected"),
        (lambda: torch_with("0.weight", TORCH["0.weight"].T), r"0.weight must have shape \(5, 3\) for W1, got \(3, 5\)"),
        (lambda: convert.from_keras(NET, [KERAS[0].T, *KERAS[1:]]), r"weights\[0\] must have shape \(3, 5\) for W1, got \(5, 3\)"),
        (lambda: torch_with("2.bias", np.array([0.0, np.nan])), r"2.bias must be finite, got nan at index \(1,\)"),
        (lambda: torch_with("2.bias", np.zeros((7, 2))), r"2.bias has leading axes \(7,\); expected those of 0.weight, \(\)"),
        (lambda: torch_with("2.bias", ["a", "b"]), TypeError, "2.bias must hold real numbers"),
        (lambda: convert.to_torch(NET, THETA[1:]), "theta must have shape"),
        (lambda: convert.from_keras(NET, THETA), TypeError, "weights must be a sequence of arrays, got an array"),
        (lambda: convert.from_equinox(NET, [(W, b, 0) for W, b in zip(KERAS[::2], KERAS[1::2], strict=True)]), r"layers\.0\.2 is not expected"),
        (lambda: convert.from_torch(NET, TORCH | {"0.parametrizations.weight.original": 1}), "is what PyTorch computes a weight from"),
    ]
)  # fmt: skip


def torch_model(torch, net, activation, seed=0):
    torch.manual_seed(seed)
    layers = [part for a, b in itertools.pairwise(net.widths) for part in (torch.nn.Linear(a, b), activation())]
    return torch.nn.Sequential(*layers[:-1])


def test_a_model_in_pytorch_computes_the_same():
    torch = pytest.importorskip("torch")
    net = nl.Network([3, 5, 4, 2], "tanh")
    model = torch_model(torch, net, torch.nn.Tanh).double()
    theta = convert.from_torch(net, model.state_dict())
    X, y = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20) % 2
    np.testing.assert_allclose(net.predict(theta, X), model(torch.from_numpy(X)).detach().numpy(), atol=1e-14)
    np.testing.assert_array_equal(convert.from_torch(net, dict(model.named_parameters())), theta)
    torch.nn.functional.cross_entropy(model(torch.from_numpy(X)), torch.from_numpy(y)).backward()
    gradient = convert.from_torch(net, {name: p.grad for name, p in model.named_parameters()})
    nl.testing.assert_gradient(net.potential(X, y), gradient, theta)
    other = net.init(rng=1)
    arrays = zip(model.state_dict(), convert.to_torch(net, other).values(), strict=True)
    model.load_state_dict({name: torch.from_numpy(a) for name, a in arrays})
    np.testing.assert_array_equal(convert.from_torch(net, model.state_dict()), other)


@pytest.mark.parametrize("seed", range(5))
def test_single_precision_of_pytorch_passes(seed):
    torch = pytest.importorskip("torch")
    net = nl.Network([3, 16, 16, 2], "relu")
    model = torch_model(torch, net, torch.nn.ReLU, seed)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)).astype(np.float32), rng.integers(0, 2, 50)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    recorded = [convert.from_torch(net, model.state_dict())]
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        optimiser.step()
        recorded.append(convert.from_torch(net, model.state_dict()))
    report = nl.check(net.potential(X, y), recorded, 0.1 * np.arange(101), nl.GD(0.1))
    assert report.ok, str(report)


def test_arrays_of_jax():
    jax = pytest.importorskip("jax")
    net = nl.Network([3, 5, 2], "relu")
    theta = net.init(rng=0).astype(np.float32)
    tree = jax.tree.map(jax.numpy.asarray, convert.to_flax(net, theta))
    np.testing.assert_array_equal(convert.from_flax(net, tree), theta)


def test_arrays_of_half_precision_are_converted_exactly():
    jax = pytest.importorskip("jax")
    for dtype in (jax.numpy.bfloat16, jax.numpy.float16):
        tree = jax.tree.map(lambda a, dtype=dtype: jax.numpy.asarray(a, dtype), convert.to_flax(NET, THETA))
        theta = convert.from_flax(NET, tree)
        assert theta.dtype == np.float64
        assert 0 < np.abs(theta - THETA).max() < 0.01
        again = convert.from_flax(NET, jax.tree.map(np.asarray, tree))  # ml_dtypes' bfloat16, as NumPy holds it
        np.testing.assert_array_equal(again, theta)
        np.testing.assert_array_equal(np.asarray(jax.numpy.asarray(theta, dtype)).astype(np.float64), theta)
        short = NET.predict(jax.numpy.asarray(theta, dtype), np.eye(3))
        np.testing.assert_array_equal(short, NET.predict(theta, np.eye(3)))


def tensors(torch, dtype):
    return {name: torch.from_numpy(a).to(dtype) for name, a in TORCH.items()}


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float8_e4m3fn"])
def test_tensors_of_any_floating_point_type(name):
    torch = pytest.importorskip("torch")
    state = tensors(torch, getattr(torch, name))
    theta = convert.from_torch(NET, {key: a.requires_grad_(name != "float8_e4m3fn") for key, a in state.items()})
    for key, a in convert.to_torch(NET, theta).items():
        assert torch.equal(torch.from_numpy(a), state[key].detach().double())


def test_tensors_without_numbers_are_named():
    torch = pytest.importorskip("torch")
    state = tensors(torch, torch.float64)
    for wrong, words in [
        (state["2.bias"].to("meta"), "cannot be read .*meta"),
        (state["2.bias"].to_sparse(), "cannot be read .*[Ss]parse"),
        (state["2.bias"].to(torch.complex64), "must hold real numbers"),
        (None, "is None; expected an array"),
    ]:
        with pytest.raises(TypeError, match=f"^2.bias .*{words}"):
            convert.from_torch(NET, state | {"2.bias": wrong})


def test_arrays_of_jax_without_numbers_are_named():
    jax = pytest.importorskip("jax")
    tree = jax.tree.map(jax.numpy.asarray, convert.to_flax(NET, THETA))
    with pytest.raises(TypeError, match=r"^params.Dense_0.bias .*cannot be read .*Tracer"):
        jax.jit(lambda tree: convert.from_flax(NET, tree))(tree)
    tree["params"]["Dense_1"]["bias"].delete()
    with pytest.raises(TypeError, match=r"^params.Dense_1.bias .*cannot be read .*deleted"):
        convert.from_flax(NET, tree)


def test_a_model_of_flax_nnx():
    nnx = pytest.importorskip("flax.nnx")
    jax = pytest.importorskip("jax")

    class MLP(nnx.Module):
        def __init__(self, widths, rngs):
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(widths)])
            self.dropout = nnx.Dropout(0.0, rngs=rngs)

        def __call__(self, x):
            for layer in self.layers[:-1]:
                x = jax.nn.relu(layer(x))
            return self.layers[-1](self.dropout(x))

    net = nl.Network([2] * 13, "relu")
    model = MLP(net.widths, nnx.Rngs(0))
    for layer in model.layers:
        layer.bias[...] = jax.random.normal(jax.random.key(1), 2)
    X = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    state = nnx.state(model, nnx.Param)
    theta = convert.from_flax(net, state, like=(X, model(X)))
    pure = nnx.to_pure_dict(state)
    np.testing.assert_array_equal(convert.from_flax(net, pure), theta)
    texts = {"layers": dict(sorted((str(i), layer) for i, layer in pure["layers"].items()))}
    assert list(texts["layers"])[1:3] == ["1", "10"]
    np.testing.assert_array_equal(convert.from_flax(net, texts), theta)


def test_a_model_of_flax_linen():
    linen = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")

    class Backwards(linen.Module):
        """Constructs its layers in another order than it calls them: Dense_0 is the last."""

        @linen.compact
        def __call__(self, x):
            layers = [linen.Dense(4) for _ in range(4)]
            for layer in layers[:0:-1]:
                x = linen.relu(layer(x))
            return layers[0](x)

    net = nl.Network([4] * 5, "relu")
    X = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    variables = Backwards().init(jax.random.key(0), X)
    out = Backwards().apply(variables, X)
    with pytest.raises(ValueError, match="another order of the layers"):
        convert.from_flax(net, variables, like=(X, out))
    theta = convert.from_flax(net, variables, order=[f"Dense_{i}" for i in (3, 2, 1, 0)], like=(X, out))
    np.testing.assert_allclose(net.predict(theta, X), out, atol=1e-5)


def test_a_model_of_equinox():
    eqx = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")
    model = eqx.nn.MLP(3, 2, 5, 2, key=jax.random.key(0))
    net = nl.Network([3, 5, 5, 2], "relu")
    X = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    convert.from_equinox(net, model.layers, like=(X, jax.vmap(model)(X)))
    half = jax.tree.map(lambda a: a.astype(jax.numpy.bfloat16) if eqx.is_array(a) else a, model)
    assert np.abs(convert.from_equinox(net, half.layers) - convert.from_equinox(net, model.layers)).max() < 0.01


def test_a_model_of_scikit_learn():
    network = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    few = {"max_iter": 300, "tol": 1.0, "n_iter_no_change": 5}
    model = network.MLPRegressor(hidden_layer_sizes=(5, 5), activation="tanh", solver="sgd", random_state=0, **few).fit(
        X, y
    )
    net = nl.Network([3, 5, 5, 2], "tanh", loss="mse")
    convert.from_flax(net, {"coefs": model.coefs_, "intercepts": model.intercepts_}, like=(X, model.predict(X)))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # Keras' own
def test_a_model_of_keras():
    pytest.importorskip("jax")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)

    class Model(keras.Model):
        """Sets its layers in another order than it calls them."""

        def __init__(self):
            super().__init__()
            self.last, self.first = keras.layers.Dense(3), keras.layers.Dense(3, "tanh")

        def call(self, x):
            return self.last(self.first(x))

    net = nl.Network([3, 3, 3], "tanh")
    X = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    model = keras.Sequential([keras.layers.Dense(3, "tanh"), keras.layers.Dense(3)])
    like = (X, np.asarray(model(X)))
    theta = convert.from_keras(net, model.get_weights(), like=like)
    np.testing.assert_array_equal(convert.from_keras(net, model.weights), theta)
    named = {v.path: v for v in reversed(model.weights)}
    np.testing.assert_array_equal(convert.from_flax(net, named, like=like), theta)
    np.testing.assert_array_equal(convert.from_flax(net, model.layers, like=like), theta)
    other = Model()
    like = (X, np.asarray(other(X)))
    weights = other.get_weights()
    with pytest.raises(ValueError, match="another order of the layers"):
        convert.from_keras(net, weights, like=like)
    convert.from_keras(net, [*weights[2:], *weights[:2]], like=like)
