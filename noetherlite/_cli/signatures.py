"""The keys of a section of a configuration, from the signature of the function that it is passed to."""

from __future__ import annotations

import collections.abc
import datetime
import inspect
import re
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._base import checks
from .._base.types import ArrayLike

_TYPE_NAMES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text in quotes",
    list: "a list",
}
# Of functions that have been asked for: to evaluate their annotations takes as long as all else of the program's parser.
_PARAMETERS: weakref.WeakKeyDictionary[Callable[..., Any], Mapping[str, inspect.Parameter]] = (
    weakref.WeakKeyDictionary()
)
# Valid values of required keys, used in place of invalid ones.
_VALID: dict[str, Any] = {"lr": 1.0, "steps": 0, "widths": [2, 2], "n": 3}


def keys(function: Callable[..., Any], skip: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function or class that a section may set."""
    if function not in _PARAMETERS:
        _PARAMETERS[function] = inspect.signature(function, eval_str=True).parameters
    return {name: p for name, p in _PARAMETERS[function].items() if name not in skip}


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    allowed: Mapping[str, inspect.Parameter],
) -> tuple[Any, list[str]]:
    """Return function(**arguments) and the errors of `arguments`; the result is None if there are any.

    `allowed` are the parameters, with their types. A refused value is replaced by a valid one, so that one call finds the
    errors of all keys.
    """
    values, errors = dict(arguments), []
    replaced = set()

    def replace(key: str) -> None:
        values[key] = _valid_value(allowed[key], arguments.get(key))
        replaced.add(key)

    for key in arguments:
        if key not in allowed:
            errors.append(unknown(f"{key} = {shown(values.pop(key))}", key, allowed, "key"))
        elif expected := _expected_type(allowed[key].annotation, arguments[key]):
            errors.append(f"{key} = {shown(arguments[key])}: expected {expected}")
            replace(key)
    for key, parameter in allowed.items():
        if parameter.default is parameter.empty and key not in values:
            errors.append(f"{key} is missing; expected {_expected_type(parameter.annotation, None)}")
            replace(key)
    while not any(value is inspect.Parameter.empty for value in values.values()):
        try:
            result = function(**values)
            return None if errors else result, errors
        except (ValueError, TypeError, OSError, OverflowError, MemoryError) as error:
            key = _key_of_error(str(error), values)
            if key not in replaced:
                errors.append(str(error) or type(error).__name__)
            if not key or key in replaced:
                break
            replace(key)
    return None, errors


def unknown(subject: str, word: str, choices: Iterable[str], kind: str) -> str:
    """Return the error message for an unknown word."""
    choices = list(choices)
    return f"{subject}: unknown {kind}{checks.suggestion(word, choices)}; expected {', '.join(choices) or 'none'}"


def shown(value: object) -> str:
    """Return a value as TOML writes it, shortened where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    text = '"' + value.replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def printable(text: str) -> str:
    """Return `text` in one line and without control characters, which a file must not send to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _key_of_error(message: str, values: Mapping[str, Any]) -> str:
    """Return the key that an error names, '' if none: messages begin with the argument's name."""
    word = re.match(r"\w+", message)
    return word[0] if word and word[0] in values else ""


def _valid_value(parameter: inspect.Parameter, value: object) -> Any:
    """Return a valid value of a parameter, so that the other keys can be checked; `empty` of one that has none, such as a path."""
    if parameter.default is not parameter.empty:
        return parameter.default
    return [2] * max(2, len(value)) if isinstance(value, list) else _VALID.get(parameter.name, parameter.empty)


def _expected_type(hint: Any, value: object) -> str:
    """Return the types expected instead of that of `value`, in words; '' if its type is right."""
    kinds = _allowed_types(hint)
    if not kinds or type(value) in kinds or (type(value) is int and float in kinds):
        return ""
    return " or ".join(_TYPE_NAMES[kind] for kind in kinds)


def _allowed_types(hint: Any) -> list[type]:
    """Return the types of TOML values that an annotation allows; [] if it allows any."""
    if hint == ArrayLike:
        return [float, list]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _allowed_types(part)]
    if typing.get_origin(hint) in (collections.abc.Sequence, list, tuple):
        return [list]
    return [hint] if hint in _TYPE_NAMES else []
