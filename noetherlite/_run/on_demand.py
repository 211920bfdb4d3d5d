"""What a trajectory has that is computed when it is first asked for, as that takes longer than many a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np


class Unread:
    """An attribute's value that is computed when it is first asked for."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read


def unread(read: Callable[[], Any]) -> Any:
    """Return a value for an attribute that is computed when it is first asked for."""
    return Unread(read)


class OnDemand:
    """Base class of an object whose attributes may be `unread`; copies and pickles of it have them read."""

    def _put_off(self) -> None:
        """Take the values that are unread out of the attributes, so that `__getattr__` is asked for them."""
        own = vars(self)
        own["_unread"] = {name: value for name, value in own.items() if isinstance(value, Unread)}
        for name in own["_unread"]:
            del own[name]

    def part(self, name: str, part: Callable[[Any], Any]) -> Any:
        """Return part(attribute), unread if the attribute is."""
        return unread(lambda: part(getattr(self, name))) if name in vars(self)["_unread"] else part(getattr(self, name))

    def _as_read(self, name: str, value: Any) -> Any:
        """Return an attribute's value as the object shows it."""
        return value

    if not TYPE_CHECKING:  # where it would hide misspelt names

        def __getattr__(self, name: str) -> Any:
            waiting = vars(self).get("_unread", {})
            if name not in waiting:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            with np.errstate(under="ignore"):
                vars(self)[name] = self._as_read(name, waiting[name].read())
            waiting.pop(name, None)  # with what it is read from
            return vars(self)[name]

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with all of them read."""
        for name in list(vars(self)["_unread"]):
            getattr(self, name)
        return dict(vars(self))
