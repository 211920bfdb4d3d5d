"""The members of a sweep: their parameters, as JSON has them, and their seeds, which depend on their places alone."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .._base import checks, identity

_SCALARS = (bool, int, float, str)


def members(grid: Any) -> list[dict[str, Any]]:
    """Return the parameters of each member; in a Cartesian product the last name varies fastest."""
    if isinstance(grid, Mapping):
        values = {name: _values(name, given) for name, given in grid.items()}
        found = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    elif isinstance(grid, Iterable) and not isinstance(grid, str):
        found = [_member(i, given) for i, given in enumerate(grid)]
    else:
        raise TypeError(
            f"grid must be a mapping of names to sequences, or a sequence of mappings; got {checks.describe(grid)}"
        )
    if not found or not found[0]:
        raise ValueError(f"grid must have at least one member with one parameter, got {checks.describe(grid)}")
    for i, parameters in enumerate(found):
        if list(parameters) != list(found[0]):
            raise ValueError(f"grid[{i}] must have the names {list(found[0])} of grid[0], got {list(parameters)}")
    if "rng" in found[0]:
        raise ValueError("grid must have no parameter 'rng': a member's seed is made from the rng of the sweep")
    return found


def _values(name: Any, given: Any) -> list[Any]:
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"grid[{name!r}] must be a sequence of values, got {checks.describe(given)}")
    return [_plain(value, f"grid[{name!r}][{i}]") for i, value in enumerate(given)]


def _member(i: int, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"grid[{i}] must be a mapping of names to values, got {checks.describe(given)}")
    return {name: _plain(value, f"grid[{i}][{name!r}]") for name, value in given.items()}


def _plain(value: Any, name: str) -> Any:
    """Return a value as it comes back from JSON, so that it is the same whether it was kept in a file or not."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or type(value) in _SCALARS:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    raise TypeError(
        f"{name} must be a number, a string, a truth value, None or a list of these, got {checks.describe(value)}"
    )


def accepted(function: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Raise a TypeError if `function` cannot be called by a member's parameters and an rng."""
    if not callable(function):
        raise TypeError(f"function must be callable, got {checks.describe(function)}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some that are written in C have none
        return
    try:
        signature.bind(**parameters, rng=None)
    except TypeError as error:
        names = ", ".join([*parameters, "rng"])
        raise TypeError(
            f"function must accept {names} as keywords, got {describe(function)}{signature}: {error}"
        ) from None


def describe(function: Callable[..., Any]) -> str:
    """Return where a function is defined and, in words, what is bound to it: the same in every process."""
    if isinstance(function, functools.partial):
        bound = [*map(_words, function.args), *(f"{name}={_words(v)}" for name, v in function.keywords.items())]
        return f"{describe(function.func)}({', '.join(bound)})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _words(value: object) -> str:
    """Return a value as text, which holds no address; its content is told from another's by `_identity`."""
    if identity.is_plain(value):
        return repr(value)
    shape = getattr(value, "shape", None)
    return f"<{type(value).__qualname__}{f' {shape}' if isinstance(shape, tuple) else ''}>"


def sequence(rng: Any) -> np.random.SeedSequence:
    """Return the seed of a sweep, of which every member's is a child."""
    if isinstance(rng, np.random.SeedSequence):
        return rng
    return np.random.SeedSequence(checks.integer(rng, "rng", minimum=0))


def child(parent: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """Return the i-th child that a new copy of `parent` would spawn."""
    return np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, i), pool_size=parent.pool_size)
