"""The number of laws of a model by formula, and what that proves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEAST = "a lower bound: with one-hot tokens there are at least these laws; that there are no more is proved for inputs of any kind alone"


class KnownLaws(dict[str, int]):
    """Numbers of independent laws that the wiring gives, by wire: a dict, with their sum; the model has no fewer.

    Attributes
    ----------
    total : int
        The sum.
    n_params : int
        P, the number of trained parameters.
    flow : {"gradient", "momentum"}
        The flow.
    tokens : bool
        Whether inputs are one-hot.
    limit : str
        Why no exact count tells whether there are more: one-hot inputs; "" for others.
    """

    def __init__(self, by_wire: Mapping[str, int], n_params: int, flow: str, tokens: bool) -> None:
        super().__init__(by_wire)
        self.n_params, self.flow, self.tokens = n_params, flow, tokens

    @property
    def total(self) -> int:
        """The number of laws of all wires."""
        return sum(self.values())

    @property
    def limit(self) -> str:
        """The reason for which no exact count tells whether there are more, "" if there is none."""
        return _LEAST if self.tokens else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return KnownLaws, (dict(self), self.n_params, self.flow, self.tokens)

    def __repr__(self) -> str:
        return f"<KnownLaws: {self._summary()}>"

    def __str__(self) -> str:
        names = [*self, "all"]
        width = max(map(len, names))
        lines = [
            f"{name:<{width}}  {number:>12,}" for name, number in zip(names, [*self.values(), self.total], strict=True)
        ]
        return "\n".join([*lines, self._summary(), *([self.limit] if self.limit else [])])

    def _summary(self) -> str:
        least = "at least " if self.limit else ""
        return f"{least}{self.total:,} laws of {self.n_params:,} parameters, {self.flow} flow, by formula"
