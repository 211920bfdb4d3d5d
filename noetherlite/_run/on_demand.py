"""Laws of a run that are read from the kernels' records when they are first asked for: that takes longer than many a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from .._base.by_name import ByName
from .._symmetry.records import LawRecord


def unread(read: Callable[[], Mapping[str, LawRecord]]) -> Mapping[str, LawRecord]:
    """Return laws for a Trajectory that are read when they are first asked for."""
    return cast("Mapping[str, LawRecord]", read)


class OnDemand:
    """Base class of an object with an attribute `laws` that may be `unread`; copies and pickles of it have it read."""

    def _take_laws(self, laws: Any) -> None:
        if callable(laws):
            vars(self)["_read_laws"] = laws
            vars(self).pop("laws", None)
        else:
            vars(self)["laws"] = ByName(laws, "law")

    if not TYPE_CHECKING:  # where it would hide misspelt names

        def __getattr__(self, name: str) -> Any:
            read = vars(self).get("_read_laws")
            if name != "laws" or read is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            self._take_laws(read())
            vars(self).pop("_read_laws", None)  # with the records that it reads
            return vars(self)["laws"]

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with the laws read."""
        laws = self.laws  # type: ignore[attr-defined]
        return {"laws": laws, **{name: value for name, value in vars(self).items() if name != "_read_laws"}}
