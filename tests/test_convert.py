"""θ to the layouts of other frameworks and back; what does not fit is named. With PyTorch and JAX where these are installed."""

import numpy as np
import pytest
from problems import point

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
def test_there_and_back(framework, net):
    back, there = pair(framework)
    theta = point(net, np.random.default_rng(0))
    np.testing.assert_array_equal(back(net, there(net, theta)), theta)
    held = theta.copy()
    moved = there(net, theta)
    for leaf in leaves(moved):
        leaf[:] = 0  # copies: θ is not touched
    np.testing.assert_array_equal(theta, held)


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
    np.testing.assert_array_equal(
        convert.from_equinox(bare, [Linear(W1, None), Linear(W2, None)]), np.concatenate([W1.ravel(), W2.ravel()])
    )


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


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: convert.from_torch(NET, KERAS), TypeError, "state_dict must be a mapping"),
        (lambda: convert.from_flax(NET, {"params": KERAS}), TypeError, r"tree\['params'\] must be a mapping"),
        (lambda: convert.from_keras(NET, TORCH), TypeError, "weights must be a sequence"),
        (lambda: convert.from_equinox(NET, TORCH), TypeError, "layers must be a sequence"),
        (lambda: convert.from_keras(NET, KERAS[:-1]), ValueError, "weights has 3 arrays; expected 4, for W1, b1, W2, b2"),
        (lambda: convert.from_torch(NET, dict(list(TORCH.items())[:2])), ValueError, r"1 arrays for W.*'0.weight'"),
        (lambda: convert.from_torch(NET, TORCH | {"4.running_mean": THETA}), ValueError, "4.running_mean is not expected"),
        (
            lambda: convert.from_torch(NET, TORCH | {"0.weight": TORCH["0.weight"].T}),
            ValueError,
            r"0.weight must have shape \(5, 3\) for W1, got \(3, 5\)",
        ),
        (
            lambda: convert.from_keras(NET, [KERAS[0].T, *KERAS[1:]]),
            ValueError,
            r"weights\[0\] must have shape \(3, 5\) for W1, got \(5, 3\)",
        ),
        (
            lambda: convert.from_torch(NET, TORCH | {"2.bias": np.array([0.0, np.nan])}),
            ValueError,
            r"2.bias must be finite, got nan at index \(1,\)",
        ),
        (
            lambda: convert.from_torch(NET, TORCH | {"2.bias": np.zeros((7, 2))}),
            ValueError,
            r"2.bias has leading axes \(7,\); expected those of 0.weight, \(\)",
        ),
        (lambda: convert.from_torch(NET, TORCH | {"2.bias": ["a", "b"]}), TypeError, "2.bias must hold real numbers"),
        (lambda: convert.to_torch(NET, THETA[1:]), ValueError, "theta must have shape"),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_model_in_pytorch_computes_the_same():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = nl.Network([3, 5, 4, 2], "tanh")
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    ).double()
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
    torch.manual_seed(seed)
    net = nl.Network([3, 16, 16, 2], "relu")
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    ).float()
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
