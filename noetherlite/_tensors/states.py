"""Tensors of checkpoints by the names of a model, whatever prefix or optimiser slot the checkpoint adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._base import checks
from .trees import Tree, leaves

AVERAGES = ("exp_avg", "momentum_buffer", "mu", "trace")  # what PyTorch and Optax call averaged gradients
_OF_STEPS = "square_avg"  # beside it, in RMSProp, momentum_buffer averages gradients that were divided by their sizes


def aligned(tree: Mapping[str, Any], names: Sequence[str], called: str) -> dict[str, Any]:
    """Return the entries with these names, whatever prefix all have: "model.", "module."; ValueError if one lacks, or several fit."""
    if not names or all(name in tree for name in names):
        return {name: tree[name] for name in names}
    first = names[0]
    prefixes = [key.removesuffix(first) for key in tree if key.endswith(f".{first}")]
    prefixes = [prefix for prefix in prefixes if all(prefix + name in tree for name in names)]
    if len(prefixes) > 1:
        raise ValueError(
            f"{called} has {first!r} more than once, under {', '.join(map(repr, prefixes))}: give one part"
        )
    if not prefixes:
        missing = next(name for name in names if name not in tree)
        raise ValueError(f"{called} has no {missing!r}{checks.suggestion(missing, tree)}")
    return {name: tree[prefixes[0] + name] for name in names}


def shared_names(tree: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names that both trees have, whatever prefix all names of one of them have."""
    if same := [name for name in tree if name in other]:
        return same
    for short, long in ((tree, other), (other, tree)):
        prefixes = (key.removesuffix(name) for name in short for key in long if key.endswith(f".{name}"))
        if prefix := next(prefixes, ""):
            return [name for name in short if prefix + name in long]
    return []


def averages_in(state: Tree, names: Sequence[str], called: str) -> dict[str, Any]:
    """Return the averaged gradients that an optimiser's state holds, by the names of its parameters as far as they are known.

    A state has averages by the names of parameters; or is a `state_dict` of an optimiser of PyTorch, or a part of a checkpoint; or has
    entries called `NAME.exp_avg`, `exp_avg.NAME`, `0.mu.NAME` and the like, with dots or slashes. `names` are all parameters in the
    order of the model, by which PyTorch numbers them if it has no names; `called` is the argument's name in messages. ValueError if
    there are no averages, or their parameters cannot be told.
    """
    torch_state = _torch_state(state)
    if torch_state is not None:
        return _averages_by_number(torch_state, names, called)
    entries = {key.replace("/", "."): leaf for key, leaf in leaves(state)}
    averages = {name: leaf for key, leaf in entries.items() if (name := _parameter_of(key))}
    if not averages:
        return entries
    return averages


def _torch_state(tree: Tree) -> Mapping[str, Any] | None:
    """Return the state of an optimiser of PyTorch that a tree contains, None if it has none."""
    if not isinstance(tree, Mapping):
        return None
    if "state" in tree and "param_groups" in tree:
        return tree
    return next((state for part in tree.values() if (state := _torch_state(part)) is not None), None)


def _averages_by_number(optimizer: Mapping[str, Any], names: Sequence[str], called: str) -> dict[str, Any]:
    groups = optimizer["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    if all("param_names" in group for group in groups):
        names = [name for group in groups for name in group["param_names"]]
    elif len(groups) > 1 or len(numbers) != len(names):
        raise ValueError(
            f"{called} counts {len(numbers)} parameters in {len(groups)} groups and has no names for them, and the checkpoint"
            f" has {len(names)} tensors; build the optimizer with model.named_parameters(), or give averages by name"
        )
    averages = {}
    for number, name in zip(numbers, names, strict=True):
        slots = optimizer["state"].get(number, {})
        if _OF_STEPS in slots:
            raise ValueError(f"{called} is of RMSProp, which keeps no average of gradients, but of what it steps by")
        for slot in AVERAGES:
            if slots.get(slot) is not None:
                averages[name] = slots[slot]
    if not averages:
        raise ValueError(f"{called} has no averaged gradients ({', '.join(AVERAGES)})")
    return averages


def _parameter_of(key: str) -> str:
    """Return whose average an entry is: what follows the word for it, or what comes before; "" if it is none."""
    parts = key.split(".")
    for slot in AVERAGES:
        if slot in parts:
            place = len(parts) - 1 - parts[::-1].index(slot)
            return ".".join(parts[place + 1 :] or parts[:place]).removeprefix("state.")
    return ""
