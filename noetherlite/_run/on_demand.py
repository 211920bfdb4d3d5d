"""Attributes of a trajectory that are computed when they are first read, as that takes longer than many a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._base.by_name import ByName


class Unread:
    """A value that is computed when it is first asked for, and then kept."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute: Callable[[], Any] | None = compute

    def read(self) -> Any:
        """Return the value."""
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        return self._value


def part(value: Any, of: Callable[[Any], Any]) -> Any:
    """Return of(value), unread if the value is."""
    return Unread(lambda: of(value.read())) if isinstance(value, Unread) else of(value)


class OnDemand:
    """Base class of an object whose attributes may be `Unread`; copies and pickles of it have them read.

    Mappings are shown as a `ByName`, with the noun for what is in them.
    """

    _nouns: ClassVar[Mapping[str, str]] = {"laws": "law", "specification": "entry", "observed": "observable"}

    def _put_off(self) -> None:
        """Take the values that are unread out of the attributes, so that reading them calls `__getattr__`."""
        attributes = vars(self)
        waiting = {name: value for name, value in attributes.items() if isinstance(value, Unread)}
        for name in waiting:
            del attributes[name]
        for name in self._nouns:
            if name in attributes:
                attributes[name] = self._as_shown(name, attributes[name])
        attributes["_unread"] = waiting

    def later(self, name: str) -> Any:
        """Return an attribute, unread if it is."""
        return Unread(lambda: getattr(self, name)) if name in vars(self)["_unread"] else getattr(self, name)

    def _as_shown(self, name: str, value: Any) -> Any:
        return ByName(value, self._nouns[name]) if name in self._nouns else value

    if not TYPE_CHECKING:  # where it would hide misspelt names

        def __getattr__(self, name: str) -> Any:
            waiting = vars(self).get("_unread", {})
            if name not in waiting:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            with np.errstate(under="ignore"):
                vars(self)[name] = self._as_shown(name, waiting[name].read())
            waiting.pop(name, None)  # frees the arrays that it was computed from
            return vars(self)[name]

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with all of them read."""
        for name in list(vars(self)["_unread"]):
            getattr(self, name)
        return dict(vars(self))
