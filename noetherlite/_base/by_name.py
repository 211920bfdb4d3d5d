"""Read-only dictionaries of results, whose KeyError suggests the nearest name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from . import checks

T = TypeVar("T")


class ByName(dict[str, T]):
    """A read-only dict; JSON, pickle and copy treat it as a dict. `kind` is the noun for a value in messages: "law"."""

    def __init__(self, entries: Mapping[str, T], kind: str) -> None:
        super().__init__(entries)
        self._kind = kind

    def __missing__(self, name: object) -> NoReturn:
        hint = checks.suggestion(name, self) if isinstance(name, str) else ""
        known = ", ".join(map(repr, self)) or "none"
        raise KeyError(f"there is no {self._kind} {name!r}{hint}; there are {known}")

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__!r} object does not support item assignment; dict(...) of it is a copy that does"
        )

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**self, **other}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[str, T], str]]:
        """Return the constructor and its arguments: unpickling cannot fill an empty read-only dict."""
        return type(self), (dict(self), self._kind)
