"""Which array is which layer's: told by numbers and shapes, asked for otherwise, never guessed from the order of a mapping."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EPS, refusals

import noetherlite as nl
from noetherlite import convert
from noetherlite._check.convert import _slots

SQUARE = nl.Network([4] * 4, "relu", loss="mse")


def drawn(net):
    return net.init(rng=0, bias_std=1.0)


def arrays(net, theta, transposed=False):
    """[(W1, b1), (W2, b2), …]"""
    parts = net.unpack(theta)
    layers = range(1, net.n_layers + 1)
    return [(parts[f"W{h}"].T if transposed else parts[f"W{h}"], parts[f"b{h}"]) for h in layers]


def named(net, theta, names):
    """A state dict with these names of modules."""
    pairs = zip(names, arrays(net, theta), strict=True)
    return {f"{name}.{leaf}": a for name, pair in pairs for leaf, a in zip(("weight", "bias"), pair, strict=True)}


# --- the order that frameworks and files give a mapping -----------------------------------------------------------------


@pytest.mark.parametrize("by", ["hand", "jax"])
def test_flax_modules_in_a_module_as_jax_sorts_them(by):
    net = nl.Network([4] * 13, "relu", loss="mse")
    theta = drawn(net)
    layers = convert.to_flax(net, theta)["params"]
    layers = pytest.importorskip("jax").tree.map(np.asarray, layers) if by == "jax" else dict(sorted(layers.items()))
    assert list(layers)[2] == "Dense_10"
    np.testing.assert_array_equal(convert.from_flax(net, {"params": {"MLP_0": layers}}), theta)


def test_a_state_dict_as_safetensors_sorts_it():
    net = nl.Network([4] * 8, "relu", loss="mse")
    theta = drawn(net)
    state = dict(sorted(convert.to_torch(net, theta).items()))
    assert list(state)[2] == "10.bias"
    np.testing.assert_array_equal(convert.from_torch(net, state), theta)


NAMES = {
    "numbers": lambda i: f"{2 * i}",
    "in a module": lambda i: f"model.net.{2 * i}",
    "in attributes": lambda i: f"fc{i + 1}",
    "in modules": lambda i: f"module.blocks.{i // 2}.fc{i % 2}",
    "of Haiku and Keras": lambda i: f"linear_{i}" if i else "linear",
    "of Haiku's MLP": lambda i: f"mlp/~/linear_{i}",
    "with words after them": lambda i: f"layer{i}_dense",
}


@settings(max_examples=60, deadline=None)
@given(
    names=st.sampled_from(sorted(NAMES)),
    depth=st.integers(1, 13),
    activation=st.sampled_from(["relu", "swish"]),
    how=st.sampled_from(["sorted", "reversed", "shuffled"]),
    data=st.data(),
)
@pytest.mark.uncounted
def test_round_trips_through_every_reordering(names, depth, activation, how, data):
    net = nl.Network([3] * (depth + 1), activation, loss="mse")
    theta = drawn(net) * np.linspace(0.5, 1.5, net.n_params)
    modules = [NAMES[names](i) for i in range(len(_slots(net)))]
    state = convert.to_torch(net, theta, order=modules)
    keys = {"sorted": sorted, "reversed": lambda k: k[::-1], "shuffled": lambda k: data.draw(st.permutations(k))}
    state = {name: state[name] for name in keys[how](list(state))}
    np.testing.assert_array_equal(convert.from_torch(net, state), theta)
    np.testing.assert_array_equal(convert.from_torch(net, state, order=modules), theta)
    flat = {tuple(re.split(r"[./]", name)): a.T for name, a in state.items()}
    np.testing.assert_array_equal(convert.from_flax(net, flat), theta)
    np.testing.assert_array_equal(convert.from_flax(net, {"params": nested(flat)}), theta)


def nested(flat):
    tree = {}
    for path, a in flat.items():
        module = tree
        for part in path[:-1]:
            module = module.setdefault(part, {})
        module[path[-1]] = a
    return tree


@pytest.mark.parametrize("make", [convert.to_torch, convert.to_flax])
def test_names_of_a_model_are_written_and_read(make):
    back = {convert.to_torch: convert.from_torch, convert.to_flax: convert.from_flax}[make]
    theta, order = drawn(SQUARE), ["z.inner", "m", "a.out"]
    moved = make(SQUARE, theta, order=order)
    np.testing.assert_array_equal(back(SQUARE, moved, order=order), theta)
    other = back(SQUARE, moved, order=order[::-1])
    assert not np.array_equal(other, theta)
    for wrong in (order[:2], [*order[:2], "m"]):
        with pytest.raises(ValueError, match="order must hold 3 different names of modules"):
            make(SQUARE, theta, order=wrong)
    for wrong in ("abc", dict.fromkeys(order), [["a"], ["b"], ["c"]], [None, None, None]):
        with pytest.raises(TypeError, match="order must be a sequence of names of modules, got "):
            make(SQUARE, theta, order=wrong)
    np.testing.assert_array_equal(back(SQUARE, make(SQUARE, theta, order=[4, 2, 3]), order=[4, 2, 3]), theta)


@pytest.mark.parametrize("order", [["a", "a.kernel", "b"], ["a.kernel", "a", "b"]])
def test_a_module_with_the_name_of_an_array_hides_none(order):
    with pytest.raises(ValueError, match=r"order has a module 'a\.kernel', which is the name of an array"):
        convert.to_flax(SQUARE, drawn(SQUARE), order=order)


# --- where names do not tell --------------------------------------------------------------------------------------------


def test_names_without_an_order_are_asked_for():
    theta, order = drawn(SQUARE), ["inner", "middle", "readout"]
    state = named(SQUARE, theta, order)
    for tree in (state, dict(sorted(state.items())), dict(reversed(state.items()))):
        words = r"'inner' \(4, 4\).*'middle'.*'readout'.*does not follow from.*order=\[…\]"
        with pytest.raises(ValueError, match=words):
            convert.from_torch(SQUARE, tree)
        np.testing.assert_array_equal(convert.from_torch(SQUARE, tree, order=order), theta)


def test_numbered_and_unnumbered_names_mixed():
    theta, order = drawn(SQUARE), ["hidden_1", "hidden_2", "out"]
    tree = {n: {"kernel": W, "bias": b} for n, (W, b) in zip(order, arrays(SQUARE, theta, True), strict=True)}
    for mixed in (tree, {"out": tree["out"], **tree}):
        with pytest.raises(ValueError, match=r"'hidden_1' \(4, 4\).*'out' \(4, 4\).*order=\[…\]"):
            convert.from_flax(SQUARE, {"params": mixed})
        np.testing.assert_array_equal(convert.from_flax(SQUARE, {"params": mixed}, order=order), theta)


@pytest.mark.parametrize(
    ("widths", "names"),
    [
        ([4, 4, 4, 2], ["hidden_1", "hidden_2", "out"]),  # the last one by its shape, the first two by their numbers
        ([3, 5, 2], ["z", "a"]),
        (
            [4, 4, 3, 4, 4],
            ["encoder.0", "encoder.2", "decoder.0", "decoder.2"],
        ),  # both (4, 4), told by their neighbours
        ([4, 6, 4, 6, 4], ["h.0.up", "h.0.down", "h.1.up", "h.1.down"]),
        ([4, 4, 4], ["Dense", "Dense_1"]),
    ],
)
def test_shapes_and_numbers_together(widths, names):
    net = nl.Network(widths, "relu", loss="mse")
    theta = drawn(net)
    state = named(net, theta, names)
    for order in (sorted(state), sorted(state, reverse=True)):
        np.testing.assert_array_equal(convert.from_torch(net, {name: state[name] for name in order}), theta)


def test_an_order_that_shapes_leave_open_is_not_guessed():
    net = nl.Network([4, 6, 4, 6, 4], "relu", loss="mse")
    state = named(net, drawn(net), ["up_a", "down_a", "up_b", "down_b"])
    with pytest.raises(ValueError, match=r"'up_a' \(6, 4\).*does not follow from"):
        convert.from_torch(net, state)
    long = nl.Network([3] * 40, "relu", loss="mse")  # 39! orders
    with pytest.raises(ValueError, match="does not follow from"):
        convert.from_torch(long, named(long, drawn(long), ["x" * (i + 1) for i in range(39)]))


def test_numbers_against_the_shapes():
    net = nl.Network([3, 5, 2], "relu")
    with pytest.raises(ValueError, match=r"fc1.weight must have shape \(5, 3\) for W1, got \(2, 5\)"):
        convert.from_torch(net, named(net, drawn(net), ["fc2", "fc1"]))
    wide = nl.Network([3, 5, 5, 2], "relu")
    state = named(wide, drawn(wide), ["fc2", "a", "fc1"])
    with pytest.raises(ValueError, match=r"'a' \(5, 5\).*fit W1 \(5, 3\).*in no order that agrees with the numbers"):
        convert.from_torch(wide, state)
    np.testing.assert_array_equal(convert.from_torch(wide, state, order=["fc2", "a", "fc1"]), drawn(wide))


test_bad_order = refusals(
    [
        (["a", "b"], ValueError, r"order must name each of \['a', 'b', 'c'\] once, got \['a', 'b'\]"),
        (["a", "b", "b"], ValueError, "order must name each of"),
        ("abc", TypeError, "order must be a sequence of names"),
        (["a", "b", 3], ValueError, "order must name each of"),
    ],
    lambda order: convert.from_torch(SQUARE, named(SQUARE, drawn(SQUARE), "abc"), order=order),
)


def test_two_arrays_for_one_parameter():
    state = named(SQUARE, drawn(SQUARE), "123")
    with pytest.raises(ValueError, match=r"1\.weight and 1\.kernel are both W of one layer"):
        convert.from_torch(SQUARE, state | {"1.kernel": state["1.weight"]})


def test_trees_of_other_kinds():
    theta = drawn(SQUARE)
    pairs = arrays(SQUARE, theta, transposed=True)
    weights, biases = zip(*pairs, strict=True)
    numbered = {f"{kind}{h}": a for h, pair in enumerate(pairs, 1) for kind, a in zip("Wb", pair, strict=True)}
    trees = [
        pairs,
        [pairs[0], (), pairs[1], (), pairs[2]],
        [{"w": W, "b": b} for W, b in pairs],
        {"layers": [{"kernel": W, "bias": b} for W, b in pairs]},
        dict(sorted(numbered.items())),
        {"coefs": weights, "intercepts": biases},
        {"biases": list(biases), "weights": list(weights)},
        {"params": {f"dense_{i + 7}/{leaf}": a for i in (2, 0, 1) for leaf, a in zip(("kernel", "bias"), pairs[i], strict=True)}},
    ]  # fmt: skip
    for tree in trees:
        np.testing.assert_array_equal(convert.from_flax(SQUARE, tree), theta)
    np.testing.assert_array_equal(convert.from_equinox(SQUARE, arrays(SQUARE, theta)), theta)


def test_batch_normalisation_is_not_overlooked():
    tree = convert.to_flax(SQUARE, drawn(SQUARE)) | {"batch_stats": {"BatchNorm_0": {"mean": np.zeros(4)}}}
    with pytest.raises(ValueError, match=r"batch_stats.* is not expected"):
        convert.from_flax(SQUARE, tree)


# --- the model's outputs ------------------------------------------------------------------------------------------------

X = np.random.default_rng(1).normal(size=(7, 4))


def outputs(theta, dtype=np.float64, residual=0.0, order=(0, 1, 2), transpose=()):
    """relu layers in NumPy at this precision, with the mistakes asked for."""
    a = X.astype(dtype)
    layers = arrays(SQUARE, theta)
    for k, i in enumerate(order):
        W, b = (part.astype(dtype) for part in layers[i])
        z = a @ (W if i in transpose else W.T) + b
        a = np.maximum(z, 0) + residual * a if k < 2 else z
    return a


def convertible(theta, dtype):
    theta = theta.astype(dtype).astype(np.float64)
    return theta, [
        (convert.from_torch, convert.to_torch(SQUARE, theta)),
        (convert.from_flax, convert.to_flax(SQUARE, theta)),
        (convert.from_equinox, convert.to_equinox(SQUARE, theta)),
        (convert.from_keras, convert.to_keras(SQUARE, theta)),
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_outputs_of_the_model(dtype):
    theta, ways = convertible(drawn(SQUARE), dtype)
    right = outputs(theta, dtype)
    assert np.abs(right - SQUARE.predict(theta, X.astype(dtype))).max() > 0 or dtype == np.float64
    for back, moved in ways:
        np.testing.assert_array_equal(back(SQUARE, moved, like=(X.astype(dtype), right)), theta)
        for spoilt in ({"residual": 1.0}, {"order": (1, 0, 2)}, {"transpose": (1,)}):
            with pytest.raises(ValueError, match=r"differs from the model: output \d of sample \d is"):
                back(SQUARE, moved, like=(X.astype(dtype), outputs(theta, dtype, **spoilt)))


def test_outputs_are_told_apart_to_round_off():
    theta, ways = convertible(drawn(SQUARE), np.float64)
    for back, moved in ways:
        with pytest.raises(ValueError, match="differs from the model"):
            back(SQUARE, moved, like=(X, outputs(theta) * (1 + 1000 * EPS)))


def test_outputs_of_stacked_parameters():
    thetas = np.stack([drawn(SQUARE), SQUARE.init(rng=1)])
    states = [convert.to_torch(SQUARE, theta) for theta in thetas]
    stacked = {name: np.stack([state[name] for state in states]) for name in states[0]}
    both = np.stack([SQUARE.predict(theta, X) for theta in thetas])
    np.testing.assert_array_equal(convert.from_torch(SQUARE, stacked, like=(X, both)), thetas)
    with pytest.raises(ValueError, match="differs from the model"):
        convert.from_torch(SQUARE, stacked, like=(X, both[::-1]))


def test_the_outputs_of_a_model_in_bfloat16():
    torch = pytest.importorskip("torch")
    theta, order = drawn(SQUARE), ["a", "b", "c"]
    state = {name: torch.from_numpy(a).bfloat16() for name, a in named(SQUARE, theta, order).items()}
    inputs = torch.from_numpy(X).bfloat16()

    def model(order):
        a = inputs
        for i, name in enumerate(order):
            z = torch.nn.functional.linear(a, state[f"{name}.weight"], state[f"{name}.bias"])
            a = torch.relu(z) if i < 2 else z
        return a

    recovered = convert.from_torch(SQUARE, state, order=order, like=(inputs, model(order)))
    assert 0 < np.abs(recovered - theta).max() < 2**-8 * np.abs(theta).max()
    with pytest.raises(ValueError, match="differs from the model"):
        convert.from_torch(SQUARE, state, order=order, like=(inputs, model(order[::-1])))


def test_few_outputs_in_bfloat16_are_judged_by_their_format():
    """Their last bits are all zero by chance, as those of simple numbers are."""
    torch = pytest.importorskip("torch")
    net, w = nl.Network([1, 1], bias=False, loss="mse"), torch.tensor([[1 + 2**-7]], dtype=torch.bfloat16)
    theta = convert.from_torch(net, {"weight": w}, like=(w, w * w))
    np.testing.assert_array_equal(theta, [1 + 2**-7])
    with pytest.raises(ValueError, match="differs from the model"):
        convert.from_torch(net, {"weight": w}, like=(w, w * w * 1.125))


def test_outputs_below_what_half_precision_resolves():
    net, w = nl.Network([1, 2], bias=False, loss="mse"), np.array([[1e-4], [1.0]])
    out = (w @ [[1e-4]]).T.astype(np.float16)
    assert out[0, 0] == 0
    convert.from_torch(net, {"weight": w}, like=([[1e-4]], [[1e-8, 1e-4]]))
    convert.from_torch(net, {"weight": w}, like=([[1e-4]], out))
    with pytest.raises(ValueError, match="differs from the model"):
        convert.from_torch(net, {"weight": w}, like=([[1e-4]], 2 * out))


test_bad_outputs = refusals(
    [
        (X, TypeError, "like must be a pair"),
        ((X[:, :3], X), ValueError, r"like\[0\] must have 4 columns"),
        ((X, X[:5]), ValueError, r"like\[1\] must have shape \(7, 4\), got \(5, 4\)"),
        ((X, np.full((7, 4), np.nan)), ValueError, r"like\[1\] must be finite"),
    ],
    lambda like: convert.from_torch(SQUARE, convert.to_torch(SQUARE, drawn(SQUARE)), like=like),
)


def test_outputs_that_cannot_tell():
    theta = np.zeros(SQUARE.n_params)
    with pytest.raises(ValueError, match=r"like\[1\] is too coarse: outputs of up to 0"):
        convert.from_torch(SQUARE, convert.to_torch(SQUARE, theta), like=(X, np.zeros((7, 4))))
