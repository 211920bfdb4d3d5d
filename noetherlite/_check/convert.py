"""Conversion of parameters between θ and the layouts of other frameworks, as plain arrays; no framework is imported.

Everything `np.asarray` takes is accepted, and JAX's and PyTorch's arrays of any floating-point type (also those that track
gradients or live on a device). θ is float64 and represents their numbers exactly, bfloat16 and float16 included, so that
`nl.check` can read off their precision. Gradients have the layout of parameters and are converted by the same functions. Arrays
may have leading axes, as those that `jax.lax.scan` stacks; θ then has the shape (..., P). A list of recordings becomes (R, P) by

    np.stack([nl.convert.from_torch(net, state) for state in recorded])

Weights are (out, in) in PyTorch and Equinox, as here, and (in, out) in Flax and Keras.

The order of a mapping is not taken as the order of the layers: JAX and safetensors sort names, PyTorch and Flax list modules
in the order of their creation. Layers are ordered by the numbers in their names, at every depth ("blocks.2.fc1",
"blocks.10.fc1"; "linear", "linear_1"), and by shapes where these leave one order; otherwise `order` is required. Names may
mislead and architectures differ: `like` compares the network's outputs with the model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.precision import of_dtype, precision, smallest
from .._base.types import ArrayLike, Float64Array
from .._problem.blocks import Block
from .._problem.network import Network
from . import layers as _layers
from .layers import Leaf

_NAMES = {"W": "weight", "b": "bias", "beta": "beta"}
_ROUNDINGS = 4  # per layer: its inputs, weights, sum and activation
_RESOLUTION = 0.1  # largest tolerance that can show a difference, relative to the largest output
_ENTRIES = 2**22  # entries of a block of the Jacobian


def from_torch(
    network: Network,
    state_dict: Mapping[str, Any],
    *,
    order: Sequence[str] | None = None,
    like: tuple[ArrayLike, Any] | None = None,
) -> Float64Array:
    """Return θ from a PyTorch `state_dict`, or from any mapping of its names, such as gradients by `named_parameters`.

    Parameters
    ----------
    network : Network
        The same architecture.
    state_dict : mapping of str to array_like
        "<layer>.weight" (out, in), "<layer>.bias" (out,) and, where β is trained, "<module>.beta".
    order : sequence of str, optional
        Names of the modules with parameters, from the input to the output, for example ["inner", "readout"]. By default the
        order follows from numbers in the names and from shapes.
    like : pair of array_like, optional
        Inputs X (N, n_0) and the model's outputs (N, n_L) at them, before any softmax. The network with the returned
        parameters must have the same outputs, to their precision. This detects a wrong order of layers, transposed square
        weights, residual connections, and other activations.

    Returns
    -------
    ndarray, shape (..., P)

    Raises
    ------
    TypeError, ValueError
        If an array is missing, not expected, not finite, without numbers (meta, sparse, None), or of another shape; if the
        order of the layers is ambiguous; if the outputs differ from those in `like`, or are too coarse for a comparison. The
        message names the arrays.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 1], loss="mse")
    >>> theta = net.init(rng=0)
    >>> state = nl.convert.to_torch(net, theta)
    >>> list(state)
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> bool((nl.convert.from_torch(net, state, like=([[1, 2]], net.predict(theta, [[1, 2]]))) == theta).all())
    True
    """
    _is_network(network)
    checks.instance(state_dict, "state_dict", Mapping, "a mapping of names to arrays")
    return _same_outputs(network, _join(network, _layers.leaves(state_dict), transposed=False, order=order), like)


def to_torch(network: Network, theta: ArrayLike, *, order: Sequence[str] | None = None) -> dict[str, Float64Array]:
    """Return the arrays of θ (P,) under the names of `torch.nn.Sequential(Linear, activation, Linear, …)`.

    `order` has the names of a model's modules from the input to the output, those of a trained β among them.
    """
    _is_network(network)
    return {f"{module}.{_NAMES[kind]}": a for module, kind, a in _modules(network, theta, order)}


def from_flax(
    network: Network,
    tree: Any,
    *,
    order: Sequence[str] | None = None,
    like: tuple[ArrayLike, Any] | None = None,
) -> Float64Array:
    """Return θ from a Flax tree {"params": {"Dense_0": {"kernel": (in, out), "bias": (out,)}, …}}.

    Any tree of such arrays is taken, nested or flat: `nnx.state(model, nnx.Param)`, Haiku's {"linear": {"w": …, "b": …}},
    {"W1": …, "b1": …}, lists of pairs (weight, bias), scikit-learn's ``{"coefs": mlp.coefs_, "intercepts": mlp.intercepts_}``,
    Keras' {v.path: v for v in model.weights}. "params" may be left out. `order`, `like`, returns and errors as `from_torch`.
    """
    _is_network(network)
    name, prefix = "tree", ""
    if isinstance(tree, Mapping) and "params" in tree:
        if tree.get("batch_stats"):
            raise ValueError("tree['batch_stats'] is not expected; a Network has no batch normalisation")
        name, prefix, tree = "tree['params']", "params.", tree["params"]
    layers = isinstance(tree, list | tuple) and not any(hasattr(layer, "shape") for layer in tree)
    if not (layers or isinstance(tree, Mapping)):
        raise TypeError(
            f"{name} must be a mapping of names to arrays, or a sequence of layers, got {checks.describe(tree)}"
        )
    return _same_outputs(network, _join(network, _layers.leaves(tree, prefix), transposed=True, order=order), like)


def to_flax(network: Network, theta: ArrayLike, *, order: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return θ (P,) as a Flax tree with the names that `nn.compact` gives: Dense_0, Dense_1, …; β as Swish_0, ….

    `order` has the names of a model's modules, as in `to_torch`; "a.b" is module b inside of a.
    """
    _is_network(network)
    swishes = (f"Swish_{i}" for i in range(network.n_layers))
    names = order if order is not None else [next(swishes) if beta else f"Dense_{h - 1}" for h, beta in _slots(network)]
    params: dict[str, Any] = {}
    arrays = {
        (*module.split("."), "kernel" if kind == "W" else _NAMES[kind]): np.ascontiguousarray(a.T)
        for module, kind, a in _modules(network, theta, names)
    }
    for path, a in arrays.items():
        layer = params
        for i, part in enumerate(path[:-1], start=1):
            if path[:i] in arrays:
                raise ValueError(
                    f"order has a module {'.'.join(path[:i])!r}, which is the name of an array of another one"
                )
            layer = layer.setdefault(part, {})
        layer[path[-1]] = a
    return {"params": params}


def from_equinox(network: Network, layers: Sequence[Any], *, like: tuple[ArrayLike, Any] | None = None) -> Float64Array:
    """Return θ from a list of layers with `weight` (out, in) and `bias`, for example `model.layers` of an Equinox MLP.

    Layers are objects with these attributes (and `beta` where it is trained), mappings, or pairs (weight, bias), from the
    input to the output; a bias that is None is no bias. `like`, returns and errors as `from_torch`.
    """
    _is_network(network)
    layers = _layers.sequence(layers, "layers", "a sequence of layers")
    return _same_outputs(network, _join(network, _layers.leaves(layers, "layers."), transposed=False), like)


def to_equinox(network: Network, theta: ArrayLike) -> list[dict[str, Float64Array]]:
    """Return θ (P,) as a list of {"weight": (out, in), "bias": (out,)}, with "beta" where it is trained."""
    _is_network(network)
    out: list[dict[str, Float64Array]] = [{} for _ in range(network.n_layers)]
    for name, a in _copies(network, theta).items():
        kind, h = _split(name)
        out[h - 1][_NAMES[kind]] = a
    return out


def from_keras(network: Network, weights: Sequence[Any], *, like: tuple[ArrayLike, Any] | None = None) -> Float64Array:
    """Return θ from the list that `model.get_weights()` gives in Keras: kernel (in, out), bias (out,), kernel, ….

    A trained β comes after the bias of its layer. A subclassed model lists its layers in the order in which they were set as
    attributes, which may differ from that of its `call`: see `like`. `like`, returns and errors as `from_torch`.
    """
    _is_network(network)
    weights = _layers.sequence(weights, "weights", "a sequence of arrays")
    if len(weights) != len(network.blocks):
        raise ValueError(
            f"weights has {len(weights)} arrays; expected {len(network.blocks)}, for {_names(network.blocks)}"
        )
    parts = [(b, f"weights[{i}]", a) for i, (b, a) in enumerate(zip(network.blocks, weights, strict=True))]
    return _same_outputs(network, _concatenated([_part(b, name, a, transposed=True) for b, name, a in parts]), like)


def to_keras(network: Network, theta: ArrayLike) -> list[Float64Array]:
    """Return θ (P,) as the list that `model.set_weights` takes in Keras."""
    _is_network(network)
    return [np.ascontiguousarray(a.T) for a in _copies(network, theta).values()]


# --- from others: arrays in the order of the blocks ----------------------------------------------------------------------

Part = tuple[Block, str, Float64Array]  # a block, the name of its array, and the array as (..., size)


def _is_network(network: object) -> None:
    checks.instance(network, "network", Network, "a Network")


def _join(
    network: Network, leaves: Sequence[Leaf], transposed: bool, order: Sequence[str] | None = None
) -> Float64Array:
    """Return θ from leaves: the leaves of one kind, in the order of their layers, are the network's blocks of that kind."""
    blocks_of_kind = {kind: [b for b in network.blocks if _split(b.name)[0] == kind] for kind in _NAMES}
    for kind, blocks in blocks_of_kind.items():
        names = [leaf.name for leaf in leaves if leaf.kind == kind]
        if len(names) != len(blocks):
            raise ValueError(
                f"{len(names)} arrays for {kind} were given, {names}; expected {len(blocks)}, for {_names(blocks) or 'no block'}"
            )
    read = {leaf.name: _array(leaf.value, leaf.name) for leaf in leaves}
    ordered = None if order is None else _layers.in_given_order(leaves, order)
    name_of = {(leaf.layer, leaf.kind): leaf.name for leaf in leaves}
    placed: list[_layers.Path] = []
    parts = []
    for kind, blocks in blocks_of_kind.items():
        candidates = [leaf for leaf in leaves if leaf.kind == kind]
        if ordered is not None:
            layers = [layer for layer in ordered if (layer, kind) in name_of]
        elif kind != "W" and {leaf.layer for leaf in candidates} <= set(placed):
            layers = [layer for layer in placed if (layer, kind) in name_of]  # in one module with its weights
        else:
            ndim = 2 if kind == "W" else 1
            shapes = {leaf.layer: read[leaf.name].shape[-ndim:][:: -1 if transposed else 1] for leaf in candidates}
            layers = _layers.arranged([leaf.layer for leaf in candidates], shapes, blocks)
        placed = placed or layers
        for block, layer in zip(blocks, layers, strict=True):
            name = name_of[layer, kind]
            parts.append(_part(block, name, read[name], transposed))
    return _concatenated(parts)


def _part(block: Block, name: str, value: Any, transposed: bool) -> Part:
    shape = block.shape[::-1] if transposed else block.shape
    a = _array(value, name)
    if a.shape[a.ndim - len(shape) :] != shape:
        raise ValueError(f"{name} must have shape {shape} for {block.name}, got {a.shape}")
    if transposed and len(shape) == 2:
        a = np.swapaxes(a, -1, -2)
    return block, name, a.reshape(*a.shape[: a.ndim - len(shape)], block.stop - block.start)


def _concatenated(parts: list[Part]) -> Float64Array:
    parts = sorted(parts, key=lambda part: part[0].start)
    _, first, a = parts[0]
    lead = a.shape[:-1]
    for _, name, a in parts:
        if a.shape[:-1] != lead:
            raise ValueError(f"{name} has leading axes {a.shape[:-1]}; expected those of {first}, {lead}")
    return np.concatenate([a for _, _, a in parts], axis=-1)


def _array(value: Any, name: str) -> Float64Array:
    if value is None:
        raise TypeError(f"{name} is None; expected an array (a gradient is None where the loss does not depend on it)")
    return np.asarray(checks.array(value, name, ndim=tuple(range(1, 5))), dtype=np.float64)


def _same_outputs(network: Network, theta: Float64Array, like: tuple[ArrayLike, Any] | None) -> Float64Array:
    """Return θ if the network's outputs equal those in `like`, up to the roundings of every layer in their precision."""
    if like is None:
        return theta
    if not isinstance(like, tuple | list) or len(like) != 2:
        raise TypeError(f"like must be a pair of inputs X and a model's outputs, got {checks.describe(like)}")
    X = np.asarray(network.inputs(like[0], "like[0]"), np.float64)
    raw = checks.to_numpy(like[1], "like[1]")
    shape = (*theta.shape[:-1], X.shape[0], network.widths[-1])
    outputs = checks.shaped(raw, "like[1]", shape).reshape(-1, *shape[-2:])
    eps = max(precision(raw), of_dtype(like[1]))
    # Sums are accumulated in float32 or better; every term of every sum is an entry of J∘θ.
    relative = _ROUNDINGS * eps + max(network.widths) * min(eps, float(np.finfo(np.float32).eps))
    absolute = _ROUNDINGS * network.n_layers * smallest(eps)
    for point, expected in zip(theta.reshape(-1, theta.shape[-1]), outputs, strict=True):
        predicted, allowed = network.predict(point, X), relative * _terms(network, point, X) + absolute
        excess = np.abs(predicted - expected) - allowed
        if (excess > 0).any():
            i, j = (int(k) for k in np.unravel_index(np.argmax(excess), excess.shape))
            raise ValueError(
                f"the network with these parameters differs from the model: output {j} of sample {i} is {predicted[i, j]:.6g}"
                f" instead of {expected[i, j]:.6g}, with a round-off of {allowed[i, j]:.1g}. Possible causes: another order of the layers, transposed"
                " square weights, residual connections, normalisation, another activation"
            )
        if not (allowed < _RESOLUTION * np.abs(expected).max()).any():
            raise ValueError(
                f"like[1] is too coarse: outputs of up to {np.abs(expected).max():.1g} have a round-off of {allowed.min():.1g};"
                " give outputs of higher precision, or that are not zero"
            )
    return theta


def _terms(network: Network, theta: Float64Array, X: Float64Array) -> Float64Array:
    """Return Σ|∂f/∂θ_p θ_p| over all parameters, for every output of every sample (N, n_L), some samples at a time."""
    rows = max(1, _ENTRIES // (network.widths[-1] * network.n_params))
    chunks = [X[i : i + rows] for i in range(0, len(X), rows)]
    return np.concatenate([np.abs(network.jacobian(theta, chunk)) @ np.abs(theta) for chunk in chunks])


# --- to others -----------------------------------------------------------------------------------------------------------


def _slots(network: Network) -> list[tuple[int, bool]]:
    """Return the modules with parameters, from the input to the output, as (h, whether it is the activation with its β)."""
    return list(dict.fromkeys((h, kind == "beta") for kind, h in (_split(b.name) for b in network.blocks)))


def _modules(network: Network, theta: ArrayLike, order: Sequence[str] | None) -> list[tuple[str, str, Float64Array]]:
    """Return (module, kind of block, array) for every block."""
    slots = _slots(network)
    if order is None:
        order = [str(2 * h - 2 + beta) for h, beta in slots]
    names = _layers.sequence(order, "order", expected := "a sequence of names of modules")
    for name in names:
        checks.instance(name, "order", str | int, expected)
    names = list(map(str, names))
    if len(set(names)) != len(slots):
        raise ValueError(f"order must hold {len(slots)} different names of modules, got {checks.describe(order)}")
    named = dict(zip(slots, names, strict=True))
    out = []
    for name, a in _copies(network, theta).items():
        kind, h = _split(name)
        out.append((named[h, kind == "beta"], kind, a))
    return out


def _copies(network: Network, theta: ArrayLike) -> dict[str, Float64Array]:
    numbers = checks.numbers(theta, "theta")
    return {name: np.array(a, np.float64) for name, a in network.unpack(numbers).items()}


def _split(name: str) -> tuple[str, int]:
    """Return ("W", 2) for "W2"."""
    kind = name.rstrip("0123456789")
    return kind, int(name[len(kind) :])


def _names(blocks: Sequence[Block]) -> str:
    return ", ".join(b.name for b in blocks)
