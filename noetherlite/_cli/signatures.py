"""What a section of a configuration may hold, read from the signature of the function that it is passed to."""

from __future__ import annotations

import collections.abc
import datetime
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._base import checks
from .._base.types import ArrayLike

_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text in quotes",
    list: "a list",
}
# Harmless values of required keys.
_HARMLESS: dict[str, Any] = {"lr": 1.0, "steps": 0, "widths": [2, 2], "n": 3}


def keys(function: Callable[..., Any], skip: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function or class that a section may set."""
    return {name: p for name, p in inspect.signature(function, eval_str=True).parameters.items() if name not in skip}


def call(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    allowed: Mapping[str, inspect.Parameter],
) -> tuple[Any, list[str]]:
    """Return function(**given) and what is wrong with `given`; the result is None where anything is.

    `allowed` are the parameters, with their types. A value that is refused is noted and a harmless one put in its place, so that
    one call finds the errors of all keys.
    """
    values, errors = dict(given), []
    replaced = set()

    def replace(key: str) -> None:
        values[key] = _stand_in(allowed[key], given.get(key))
        replaced.add(key)

    for key in given:
        if key not in allowed:
            errors.append(unknown(f"{key} = {shown(values.pop(key))}", key, allowed, "key"))
        elif expected := _expected(allowed[key].annotation, given[key]):
            errors.append(f"{key} = {shown(given[key])}: expected {expected}")
            replace(key)
    for key, parameter in allowed.items():
        if parameter.default is parameter.empty and key not in values:
            errors.append(f"{key} is missing; expected {_expected(parameter.annotation, None)}")
            replace(key)
    while True:
        try:
            made = function(**values)
            return None if errors else made, errors
        except (ValueError, TypeError, OSError, OverflowError, MemoryError) as error:
            key = _culprit(str(error), values)
            if key not in replaced:
                errors.append(str(error) or type(error).__name__)
            if not key or key in replaced:
                return None, errors
            replace(key)


def unknown(what: str, word: str, known: Iterable[str], kind: str) -> str:
    """Return the error for a word that is not known."""
    known = list(known)
    return f"{what}: unknown {kind}{checks.suggestion(word, known)}; expected {', '.join(known) or 'none'}"


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


def _culprit(message: str, values: Mapping[str, Any]) -> str:
    """Return the key that an error is about, '' if none: messages begin with the argument's name."""
    word = re.match(r"\w+", message)
    return word[0] if word and word[0] in values else ""


def _stand_in(parameter: inspect.Parameter, given: object) -> Any:
    """Return a harmless value, which lets the other keys of a section be looked at."""
    if parameter.default is not parameter.empty:
        return parameter.default
    return [2] * max(2, len(given)) if isinstance(given, list) else _HARMLESS.get(parameter.name)


def _expected(hint: Any, value: object) -> str:
    """Return what is expected in the place of `value`, or '' where its type is right."""
    kinds = _kinds(hint)
    if not kinds or type(value) in kinds or (type(value) is int and float in kinds):
        return ""
    return " or ".join(_WORDS[kind] for kind in kinds)


def _kinds(hint: Any) -> list[type]:
    """Return the types of TOML values that an annotation allows; none where it says nothing of them."""
    if hint == ArrayLike:
        return [float, list]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _kinds(part)]
    if typing.get_origin(hint) in (collections.abc.Sequence, list, tuple):
        return [list]
    return [hint] if hint in _WORDS else []
