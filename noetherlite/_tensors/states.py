"""Tensors found by the names of a model in checkpoints that may call them a little differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._base import checks
from .trees import Tree, leaves

AVERAGES = ("exp_avg", "momentum_buffer", "mu", "trace")  # what PyTorch and Optax call averaged gradients


def aligned(held: Mapping[str, Any], wanted: Sequence[str], called: str) -> dict[str, Any]:
    """Return the wanted entries by their names, whatever prefix all of them have: "model.", "module.".

    Raises
    ------
    ValueError
        If an entry is missing, or several prefixes are possible.
    """
    if not wanted or all(name in held for name in wanted):
        return {name: held[name] for name in wanted}
    first = wanted[0]
    prefixes = [key.removesuffix(first) for key in held if key.endswith(f".{first}")]
    prefixes = [prefix for prefix in prefixes if all(prefix + name in held for name in wanted)]
    if len(prefixes) > 1:
        raise ValueError(
            f"{called} has {first!r} more than once, under {', '.join(map(repr, prefixes))}: give one part"
        )
    if not prefixes:
        missing = next(name for name in wanted if name not in held)
        raise ValueError(f"{called} has no {missing!r}{checks.suggestion(missing, held)}")
    return {name: held[prefixes[0] + name] for name in wanted}


def averages_in(state: Tree, names: Sequence[str], called: str) -> dict[str, Any]:
    """Return the averaged gradients that an optimiser's state holds, by the names of its parameters as far as they are known.

    Parameters
    ----------
    state : tree
        Averages by the names of parameters; a `state_dict` of an optimiser of PyTorch, or a part of a checkpoint; or entries
        called `NAME.exp_avg`, `exp_avg.NAME`, `0.mu.NAME` and the like, with dots or slashes.
    names : sequence of str
        Names of all parameters in the order of the model, which is what PyTorch counts by where it kept no names.
    called : str
        What the argument is called in messages.

    Raises
    ------
    ValueError
        If there are none, or it cannot be told whose they are.
    """
    own = _of_torch(state)
    if own is not None:
        return _by_number(own, names, called)
    held = {key.replace("/", "."): leaf for key, leaf in leaves(state)}
    out = {name: leaf for key, leaf in held.items() if (name := _named(key))}
    if not out:
        return held
    return out


def _of_torch(tree: Tree) -> Mapping[str, Any] | None:
    """Return the state of an optimiser of PyTorch in a tree, if there is one."""
    if not isinstance(tree, Mapping):
        return None
    if "state" in tree and "param_groups" in tree:
        return tree
    return next((found for part in tree.values() if (found := _of_torch(part)) is not None), None)


def _by_number(optimizer: Mapping[str, Any], names: Sequence[str], called: str) -> dict[str, Any]:
    groups = optimizer["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    if all("param_names" in group for group in groups):
        names = [name for group in groups for name in group["param_names"]]
    elif len(groups) > 1 or len(numbers) != len(names):
        raise ValueError(
            f"{called} counts {len(numbers)} parameters in {len(groups)} groups and has no names for them, and the checkpoint"
            f" has {len(names)} tensors; build the optimizer with model.named_parameters(), or give averages by name"
        )
    out = {}
    for number, name in zip(numbers, names, strict=True):
        slots = optimizer["state"].get(number, {})
        for slot in AVERAGES:
            if slots.get(slot) is not None:
                out[name] = slots[slot]
    if not out:
        raise ValueError(f"{called} has no averaged gradients ({', '.join(AVERAGES)})")
    return out


def _named(key: str) -> str:
    """Return whose average an entry is: what follows the word for it, or what comes before; "" if it is none."""
    parts = key.split(".")
    for slot in AVERAGES:
        if slot in parts:
            place = len(parts) - 1 - parts[::-1].index(slot)
            return ".".join(parts[place + 1 :] or parts[:place]).removeprefix("state.")
    return ""
