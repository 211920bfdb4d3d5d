"""A check of the classes in a table: a class without an abstract member fails at its definition, with the member's name."""

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
    """Raise TypeError with their names if a class lacks abstract members; `what` is its noun in the message."""
    if names := lacking(cls):
        raise TypeError(f"{cls.__name__} lacks what every {what} has: {', '.join(names)}")
