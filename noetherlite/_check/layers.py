"""The layer of each array in a tree of parameters, by the numbers in names and by shapes; ambiguity is an error.

Frameworks sort trees by name, number modules in the order of creation and list them in that of registration, so the order of
a mapping is not that of the layers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .._base import checks
from .._problem.blocks import Block

# Names of leaves in the frameworks, with the kind of block.
KINDS = {
    "weight": "W", "weights": "W", "kernel": "W", "w": "W", "coefs": "W",
    "bias": "b", "biases": "b", "b": "b", "intercepts": "b",
    "beta": "beta",
}  # fmt: skip
_ATTRIBUTES = ("weight", "kernel", "bias", "beta")  # of a layer that is an object
_MOST_SETS = 64  # sets of first layers that are followed; with more the order counts as ambiguous

Path = tuple[str, ...]
Key = tuple[tuple[str, int], ...]  # the texts of a path, each with the number after it


class Leaf(NamedTuple):
    """An array of a tree, with its full name, its layer and its kind."""

    name: str
    layer: Path
    kind: str  # "W", "b" or "beta"
    value: Any


def leaves(tree: Any, prefix: str = "") -> list[Leaf]:
    """Return the arrays of nested mappings and sequences; `prefix` precedes their names in messages.

    A path is split at "." and "/". In a sequence, layers are mappings, objects with `weight`, pairs (weight, bias) or
    arrays without bias.
    """
    out: list[Leaf] = []
    for path, value in _walk(tree, ()):
        name = prefix + ".".join(path)
        layer, kind = _kind(path, name)
        out.append(Leaf(name, layer, kind, value))
    names: dict[tuple[Path, str], str] = {}
    for leaf in out:
        other = names.setdefault((leaf.layer, leaf.kind), leaf.name)
        if other != leaf.name:
            raise ValueError(f"{other} and {leaf.name} are both {leaf.kind} of one layer; expected one of them")
    return out


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _walk(item, (*path, *_segments(name)))
    elif isinstance(value, list | tuple) and not any(_stem(part) in KINDS for part in path):
        for i, layer in enumerate(value):
            yield from _walk(_parts(layer), (*path, str(i)))
    elif isinstance(value, list | tuple) and any(len(getattr(a, "shape", ())) for a in value):
        for i, a in enumerate(value):  # {"weights": [W1, W2], "biases": [b1, b2]}
            yield (*path, str(i)), a
    else:
        yield path, value


def _parts(layer: Any) -> Mapping[Any, Any]:
    """Return an entry of a sequence of layers as a mapping, without parts that are None."""
    if isinstance(layer, Mapping):
        return layer
    if isinstance(layer, tuple | list):
        names = ("weight", "bias", *map(str, range(2, len(layer))))
        parts = dict(zip(names, layer, strict=False))
    elif hasattr(layer, "shape"):
        parts = {"weight": layer}
    else:
        parts = {name: getattr(layer, name) for name in _ATTRIBUTES if hasattr(layer, name)}
    return {name: a for name, a in parts.items() if a is not None}


def _segments(name: Any) -> Path:
    """Return ("net", "0", "weight") for "net.0.weight" and for ("net", 0, "weight")."""
    if isinstance(name, tuple):
        return tuple(part for piece in name for part in _segments(piece))
    return tuple(re.split(r"[./]", str(name)))


def _stem(part: str) -> str:
    return part.rstrip("0123456789").rstrip("_").lower()


def _kind(path: Path, name: str) -> tuple[Path, str]:
    """Return the layer and the kind of a leaf: (("net", "0"), "W") for net.0.weight, (("1",), "W") for W1."""
    if "parametrizations" in path:
        raise ValueError(
            f"{name} is what PyTorch computes a weight from; expected the weight (remove_parametrizations)"
        )
    for i in range(len(path) - 1, max(len(path) - 3, -1), -1):
        stem = _stem(path[i])
        if stem in KINDS:
            number = re.findall(r"\d+$", path[i])
            return (*path[:i], *number, *path[i + 1 :]), KINDS[stem]
    raise ValueError(f"{name} is not expected; parameters are called {', '.join(map(repr, KINDS))}")


def arranged(layers: Sequence[Path], shapes: Mapping[Path, tuple[int, ...]], blocks: Sequence[Block]) -> list[Path]:
    """Return layers, whose arrays have these shapes, in the order of the blocks, which are as many.

    ValueError if names and shapes admit several orders, or none.
    """
    precedes = [[_precedes(a, b) for a in layers] for b in layers]
    fitting = _orders([sum(1 << i for i, p in enumerate(row) if p) for row in precedes],
                      [[shapes[layer] == block.shape for layer in layers] for block in blocks])  # fmt: skip
    if len(fitting) == 1:
        return [layers[i] for i in fitting[0]]
    listed = ", ".join(f"{label(layer)!r} {shapes[layer]}" for layer in sorted(layers))
    if fitting:
        raise ValueError(
            f"the order of the layers {listed} does not follow from their names and shapes;"
            " give their names from the input to the output, order=[…]"
        )
    by_number = sorted(range(len(layers)), key=lambda j: sum(map(bool, precedes[j])))
    if all(precedes[b][a] for a, b in itertools.pairwise(by_number)):
        # the order is unique; the caller compares the shapes and names the wrong one
        return [layers[j] for j in by_number]
    expected = ", ".join(f"{block.name} {block.shape}" for block in blocks)
    raise ValueError(
        f"the layers {listed} fit {expected} in no order that agrees with the numbers in their names; if their numbers are not"
        " the order, give their names from the input to the output, order=[…]"
    )


def sequence(value: Any, name: str, expected: str) -> list[Any]:
    """Return the entries of a sequence; TypeError for others: mappings, whose order is not that of the layers, and single arrays."""
    if isinstance(value, Mapping) or hasattr(value, "shape"):
        raise TypeError(f"{name} must be {expected}, got {checks.describe(value)}")
    return checks.items(value, name, expected)


def in_given_order(leaves: Sequence[Leaf], order: Sequence[str]) -> list[Path]:
    """Return the layers of the leaves in the order that the caller gives, which must name each layer once."""
    order = sequence(order, "order", "a sequence of names of layers")
    ordered = [_segments(name) for name in order]
    layers = list(dict.fromkeys(leaf.layer for leaf in leaves))
    if sorted(ordered) != sorted(layers):
        names = [label(layer) for layer in layers]
        raise ValueError(f"order must name each of {names} once, got {checks.describe(order)}")
    return ordered


def label(layer: Path) -> str:
    """Return a layer's name, as `order` takes it."""
    return ".".join(layer)


def _precedes(a: Path, b: Path) -> bool:
    """Return whether two names first differ in a number that is smaller in a; linear counts as linear_0."""
    for (text, number), (other, second) in zip(_key(a), _key(b), strict=False):
        if text != other:
            return False
        if number != second:
            return number < second
    return False


def _key(layer: Path) -> Key:
    pieces = [piece for part in layer for piece in re.findall(r"(\D*)(\d*)", part) if any(piece)]
    return tuple((text.strip("_- "), int(number or 0)) for text, number in pieces)


def _orders(before: Sequence[int], fits: Sequence[Sequence[bool]]) -> list[tuple[int, ...]]:
    """Return up to two orders in which layer j comes after those in the set before[j], with fits[i][j] at every place i.

    A set of layers is an integer, one bit per layer. Partial orders of the same set of layers are extended together.
    """
    reached: dict[int, list[tuple[int, ...]]] = {0: [()]}
    for row in fits:
        following: dict[int, list[tuple[int, ...]]] = {}
        for used, orders in reached.items():
            for j, fit in enumerate(row):
                if fit and not used >> j & 1 and not before[j] & ~used:
                    partial = following.setdefault(used | 1 << j, [])
                    partial += [(*order, j) for order in orders]
                    del partial[2:]
        if len(following) > _MOST_SETS:
            return [(), ()]
        reached = following
    return [order for orders in reached.values() for order in orders][:2]
