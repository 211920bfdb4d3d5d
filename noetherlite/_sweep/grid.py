"""The members of a sweep: their parameters, as JSON values, and their seeds, which depend on the member's index alone."""

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
        values = {name: _parameter_values(name, entry) for name, entry in grid.items()}
        combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    elif isinstance(grid, Iterable) and not isinstance(grid, str):
        combinations = [_member_parameters(i, entry) for i, entry in enumerate(grid)]
    else:
        raise TypeError(
            f"grid must be a mapping of names to sequences, or a sequence of mappings; got {checks.describe(grid)}"
        )
    if not combinations or not combinations[0]:
        raise ValueError(f"grid must have at least one member with one parameter, got {checks.describe(grid)}")
    for i, parameters in enumerate(combinations):
        if list(parameters) != list(combinations[0]):
            raise ValueError(
                f"grid[{i}] must have the names {list(combinations[0])} of grid[0], got {list(parameters)}"
            )
    for name in combinations[0]:
        checks.instance(name, "a name in grid", str, "a string, the name of an argument of the function")
    if "rng" in combinations[0]:
        raise ValueError("grid must have no parameter 'rng': a member's seed is made from the rng of the sweep")
    return combinations


def _parameter_values(name: Any, values: Any) -> list[Any]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"grid[{name!r}] must be a sequence of values, got {checks.describe(values)}")
    return [_as_json(value, f"grid[{name!r}][{i}]") for i, value in enumerate(values)]


def _member_parameters(i: int, parameters: Any) -> dict[str, Any]:
    if not isinstance(parameters, Mapping):
        raise TypeError(f"grid[{i}] must be a mapping of names to values, got {checks.describe(parameters)}")
    return {name: _as_json(value, f"grid[{i}][{name!r}]") for name, value in parameters.items()}


def _as_json(value: Any, name: str) -> Any:
    """Return a value as JSON would return it, so that it is the same whether or not it was read from a file."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or type(value) in _SCALARS:
        return value
    if isinstance(value, list | tuple):
        return [_as_json(item, f"{name}[{i}]") for i, item in enumerate(value)]
    raise TypeError(
        f"{name} must be a number, a string, a truth value, None or a list of these, got {checks.describe(value)}"
    )


def check_signature(function: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Raise TypeError if `function` does not accept a member's parameters and `rng` as keywords."""
    checks.function(function, "function")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have no signature
        return
    try:
        signature.bind(**parameters, rng=None)
    except TypeError as error:
        names = ", ".join([*parameters, "rng"])
        raise TypeError(
            f"function must accept {names} as keywords, got {describe(function)}{signature}: {error}"
        ) from None


def describe(function: Callable[..., Any]) -> str:
    """Return a function's module and name, with bound arguments as text: the same in every process."""
    if isinstance(function, functools.partial):
        bound = [
            *map(_describe_value, function.args),
            *(f"{name}={_describe_value(v)}" for name, v in function.keywords.items()),
        ]
        return f"{describe(function.func)}({', '.join(bound)})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _describe_value(value: object) -> str:
    """Return a value as text without an address; `_base.identity` compares contents."""
    if identity.is_plain(value):
        return repr(value)
    shape = getattr(value, "shape", None)
    return f"<{type(value).__qualname__}{f' {shape}' if isinstance(shape, tuple) else ''}>"


def sequence(rng: Any) -> np.random.SeedSequence:
    """Return the seed of a sweep; the members' seeds are its children."""
    if isinstance(rng, np.random.SeedSequence):
        return rng
    return np.random.SeedSequence(checks.integer(rng, "rng", minimum=0))


def child(parent: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """Return the i-th child that a new copy of `parent` would spawn."""
    return np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, i), pool_size=parent.pool_size)
