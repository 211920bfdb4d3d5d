"""Parameters between θ and the layouts of other frameworks, as plain arrays; none of those frameworks is imported.

Everything `np.asarray` takes is accepted: NumPy and JAX arrays, PyTorch tensors (also those that track gradients or live on
a device). Gradients have the layout of parameters, and the same functions convert them. Arrays may have leading axes, as
those that `jax.lax.scan` stacks; θ then has the shape (..., P). A list of recordings becomes (R, P) by

    np.stack([nl.convert.from_torch(net, state) for state in recorded])

Weights are (out, in) in PyTorch and Equinox, as here, and (in, out) in Flax and Keras.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _validate
from ._types import ArrayLike, Float64Array
from .network import Network

# What a leaf is called in one framework or another, and the kind of block it is.
_LEAVES = {"weight": "W", "kernel": "W", "bias": "b", "beta": "beta"}

Leaf = tuple[str, str, Any]  # (where it was found, "W", "b" or "beta", the array)


def from_torch(network: Network, state_dict: Mapping[str, Any]) -> Float64Array:
    """Return θ from a PyTorch `state_dict`, or from any mapping of its names, such as gradients by `named_parameters`.

    Parameters
    ----------
    network : Network
        The same architecture.
    state_dict : mapping of str to array_like
        "<layer>.weight" (out, in), "<layer>.bias" (out,) and, where β is trained, "<module>.beta", layers in the order of
        the mapping, whatever they are called.

    Returns
    -------
    ndarray, shape (..., P)

    Raises
    ------
    TypeError, ValueError
        If an array is missing, not expected, not finite, or of another shape; the message has its name.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 1], loss="mse")
    >>> theta = net.init(rng=0)
    >>> state = nl.convert.to_torch(net, theta)
    >>> list(state)
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> bool((nl.convert.from_torch(net, state) == theta).all())
    True
    """
    return _join(network, _leaves(_mapping(state_dict, "state_dict"), ""), transposed=False)


def to_torch(network: Network, theta: ArrayLike) -> dict[str, Float64Array]:
    """Return the arrays of θ (P,) under the names of `torch.nn.Sequential(Linear, activation, Linear, …)`.

    For a model with names of its own: `dict(zip(model.state_dict(), to_torch(network, theta).values()))`.
    """
    names = {"W": "weight", "b": "bias", "beta": "beta"}
    out = {}
    for name, a in _copies(network, theta).items():
        kind, h = _split(name)
        out[f"{2 * h - 2 + (kind == 'beta')}.{names[kind]}"] = a
    return out


def from_flax(network: Network, tree: Mapping[str, Any]) -> Float64Array:
    """Return θ from a Flax tree {"params": {"Dense_0": {"kernel": (in, out), "bias": (out,)}, …}}.

    Layers come in the order of the numbers at the end of their names, Dense_10 after Dense_9; those without numbers in the
    order of the mapping. "params" may be left out. Returns and errors as `from_torch`.
    """
    tree = _mapping(tree, "tree")
    return _join(network, _leaves(_mapping(tree.get("params", tree), "tree['params']"), ""), transposed=True)


def to_flax(network: Network, theta: ArrayLike) -> dict[str, dict[str, dict[str, Float64Array]]]:
    """Return θ (P,) as a Flax tree with the names that `nn.compact` gives: Dense_0, Dense_1, …; β as Swish_0, …."""
    layers: dict[str, dict[str, Float64Array]] = {}
    swishes = 0
    for name, a in _copies(network, theta).items():
        kind, h = _split(name)
        if kind == "beta":
            layers[f"Swish_{swishes}"] = {"beta": a}
            swishes += 1
        else:
            layer = layers.setdefault(f"Dense_{h - 1}", {})
            layer["kernel" if kind == "W" else "bias"] = np.ascontiguousarray(a.T)
    return {"params": layers}


def from_equinox(network: Network, layers: Sequence[Any]) -> Float64Array:
    """Return θ from a list of layers with `weight` (out, in) and `bias`, for example `model.layers` of an Equinox MLP.

    Layers are objects with these attributes (and `beta` where it is trained), mappings, or pairs (weight, bias); a bias
    that is None is no bias. Returns and errors as `from_torch`.
    """
    if isinstance(layers, Mapping | str) or not isinstance(layers, Sequence):
        raise TypeError(f"layers must be a sequence of layers, got {_validate.describe(layers)}")
    leaves = []
    for i, layer in enumerate(layers):
        if isinstance(layer, Mapping):
            parts = dict(layer)
        elif isinstance(layer, tuple | list):
            parts = dict(zip(("weight", "bias"), layer, strict=False))
        else:
            parts = {name: getattr(layer, name) for name in _LEAVES if hasattr(layer, name)}
        leaves += _leaves({name: a for name, a in parts.items() if a is not None}, f"layers[{i}].")
    return _join(network, leaves, transposed=False)


def to_equinox(network: Network, theta: ArrayLike) -> list[dict[str, Float64Array]]:
    """Return θ (P,) as a list of {"weight": (out, in), "bias": (out,)}, with "beta" where it is trained."""
    names = {"W": "weight", "b": "bias", "beta": "beta"}
    out: list[dict[str, Float64Array]] = [{} for _ in range(network.n_layers)]
    for name, a in _copies(network, theta).items():
        kind, h = _split(name)
        out[h - 1][names[kind]] = a
    return out


def from_keras(network: Network, weights: Sequence[Any]) -> Float64Array:
    """Return θ from the list that `model.get_weights()` gives in Keras: kernel (in, out), bias (out,), kernel, ….

    With trained β it comes after the bias of its layer. Returns and errors as `from_torch`.
    """
    if isinstance(weights, Mapping | str) or not isinstance(weights, Sequence):
        raise TypeError(f"weights must be a sequence of arrays, got {_validate.describe(weights)}")
    kinds = [_split(b.name)[0] for b in network.blocks]
    if len(weights) != len(kinds):
        raise ValueError(f"weights has {len(weights)} arrays; expected {len(kinds)}, for {_names(network)}")
    leaves = [(f"weights[{i}]", kind, a) for i, (kind, a) in enumerate(zip(kinds, weights, strict=True))]
    return _join(network, leaves, transposed=True)


def to_keras(network: Network, theta: ArrayLike) -> list[Float64Array]:
    """Return θ (P,) as the list that `model.set_weights` takes in Keras."""
    return [np.ascontiguousarray(a.T) for a in _copies(network, theta).values()]


def _leaves(tree: Mapping[str, Any], where: str) -> list[Leaf]:
    """Return the arrays of a tree, modules in the order of the numbers at the end of their names."""
    out: list[Leaf] = []
    for name in sorted(tree, key=_number) if where == "" and _nested(tree) else tree:
        held = tree[name]
        if isinstance(held, Mapping):
            out += _leaves(held, f"{where}{name}.")
            continue
        last = str(name).rpartition(".")[2]
        if last not in _LEAVES:
            raise ValueError(f"{where}{name} is not expected; parameters are called {', '.join(map(repr, _LEAVES))}")
        out.append((f"{where}{name}", _LEAVES[last], held))
    return out


def _nested(tree: Mapping[str, Any]) -> bool:
    return any(isinstance(held, Mapping) for held in tree.values())


def _number(name: str) -> int:
    found = re.search(r"\d+$", name)
    return int(found[0]) if found else 0


def _join(network: Network, leaves: Sequence[Leaf], transposed: bool) -> Float64Array:
    """Return θ: the n-th array of each kind is the network's n-th block of that kind."""
    found: dict[str, list[Leaf]] = {"W": [], "b": [], "beta": []}
    for leaf in leaves:
        found[leaf[1]].append(leaf)
    parts = []
    for kind, held in found.items():
        blocks = [b for b in network.blocks if _split(b.name)[0] == kind]
        if len(held) != len(blocks):
            names = [name for name, _, _ in held]
            raise ValueError(
                f"{len(held)} arrays for {kind} were given, {names}; expected {len(blocks)}, for {_names(network)}"
            )
        for block, (name, _, value) in zip(blocks, held, strict=True):
            shape = block.shape[::-1] if transposed else block.shape
            a = _array(value, name)
            if a.shape[a.ndim - len(shape) :] != shape:
                raise ValueError(f"{name} must have shape {shape} for {block.name}, got {a.shape}")
            if transposed and kind == "W":
                a = np.swapaxes(a, -1, -2)
            parts.append((block.start, name, a.reshape(*a.shape[: a.ndim - len(shape)], -1)))
    parts.sort(key=lambda part: part[0])
    lead = parts[0][2].shape[:-1]
    for _, name, a in parts:
        if a.shape[:-1] != lead:
            raise ValueError(f"{name} has leading axes {a.shape[:-1]}; expected those of {parts[0][1]}, {lead}")
    return np.concatenate([a for _, _, a in parts], axis=-1)


def _array(value: Any, name: str) -> Float64Array:
    if hasattr(value, "detach"):  # a PyTorch tensor, which NumPy takes only without gradient and from the CPU
        value = value.detach().cpu()
    return np.asarray(_validate.array(value, name, ndim=tuple(range(1, 5))), dtype=np.float64)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to arrays, got {_validate.describe(value)}")
    return value


def _copies(network: Network, theta: ArrayLike) -> dict[str, Float64Array]:
    return {name: np.array(a, np.float64) for name, a in network.unpack(np.asarray(theta)).items()}


def _split(name: str) -> tuple[str, int]:
    """Return ("W", 2) for "W2"."""
    kind = name.rstrip("0123456789")
    return kind, int(name[len(kind) :])


def _names(network: Network) -> str:
    return ", ".join(b.name for b in network.blocks)
