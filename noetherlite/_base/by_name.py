"""Dictionaries of results that cannot be changed, and that know what a name they do not have may mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from . import checks

T = TypeVar("T")


class ByName(dict[str, T]):
    """A dict that is read only; any other way like one, for JSON, pickle and copy too.

    Parameters
    ----------
    held : mapping of str to T
        What it holds, in its order.
    kind : str
        What its values are, for errors: "law".
    """

    def __init__(self, held: Mapping[str, T], kind: str) -> None:
        super().__init__(held)
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
        """Return what makes it again, rather than an empty one to be filled."""
        return type(self), (dict(self), self._kind)
