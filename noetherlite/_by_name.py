"""Mappings of names to results that cannot be changed, and that know what a name they do not have may mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from . import _validate

T = TypeVar("T")


class ByName(Mapping[str, T]):
    """A mapping that is read only; like a dict otherwise, also for pickle and copy.

    Parameters
    ----------
    held : mapping of str to T
        What it holds, in its order.
    kind : str
        What its values are, for errors: "law".
    """

    def __init__(self, held: Mapping[str, T], kind: str) -> None:
        self._held, self._kind = dict(held), kind

    def __getitem__(self, name: str) -> T:
        try:
            return self._held[name]
        except KeyError:
            hint = _validate.suggestion(name, self._held) if isinstance(name, str) else ""
            known = ", ".join(map(repr, self._held)) or "none"
            raise KeyError(f"there is no {self._kind} {name!r}{hint}; there are {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __or__(self, other: Mapping[str, T]) -> dict[str, T]:
        return {**self._held, **other}

    def __repr__(self) -> str:
        return repr(self._held)
