"""Classes that a table is made of: one that lacks a member fails where it is written, with a message that names it."""

from __future__ import annotations


def lacking(cls: type) -> list[str]:
    """Return the abstract members that a class neither has nor inherits, in alphabetical order.

    Examples
    --------
    >>> from collections.abc import Sized
    >>> lacking(Sized), lacking(list)
    (['__len__'], [])
    """
    return [name for name in dir(cls) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]


def require(cls: type, what: str) -> None:
    """Refuse a class that lacks members; `what` says what it would be.

    Raises
    ------
    TypeError
        With the names of all of them.
    """
    if names := lacking(cls):
        raise TypeError(f"{cls.__name__} lacks what every {what} has: {', '.join(names)}")
