"""All wires of a model, and the symmetries of tensors that are used in two places."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from .._base.types import IntArray
from .wires import EVERYTHING, LINEAR, Generator, Leg, Wire, constant, gathered


@dataclass
class Wiring:
    """The wires of a model, as its blocks are walked through."""

    wires: list[Wire] = field(default_factory=list)
    shared: list[IntArray] = field(default_factory=list)  # tensors that are used twice
    tokens: list[tuple[IntArray, IntArray]] = field(
        default_factory=list
    )  # embeddings of one-hot tokens and of positions

    def wire(
        self, name: str, size: int, *writers: Leg, actions: frozenset[str] = EVERYTHING, turning: Wire | None = None
    ) -> Wire:
        """Return a new wire, which turns with the wire `turning`."""
        wire = Wire(name, size, list(writers), actions=actions, turning=turning)
        self.wires.append(wire)
        return wire

    def join(self, stream: Wire, branch: Wire) -> None:
        """Make the wire `branch` a part of `stream`."""
        if branch is not stream:
            stream.join(branch)
            self.wires = [wire for wire in self.wires if wire is not branch]

    def close(self) -> Shared:
        """Settle what acts on each wire, once all blocks are connected, and return what acts on tensors with two uses."""
        for wire in reversed(self.wires):
            wire.hand_over()
        shared = Shared(
            [index for index in self.shared if all("shift" in wire.actions for wire in self._written(index))],
            [pair for index in self.shared for pair in self._compensating(index)],
            [pair for pair in self.tokens if self._blind_behind(*pair)],
        )
        for index, wire in itertools.product(self.shared, self.wires):
            wire.let_go(index)
        return shared

    def _written(self, index: IntArray) -> list[Wire]:
        return [wire for wire in self.wires if any(leg.of(index) for leg in wire.writers)]

    def _compensating(self, index: IntArray) -> Iterator[tuple[IntArray, Wire, Wire]]:
        """Yield a tensor, the wire that it writes to and may be multiplied on, and the one that it reads from."""
        read = [wire for wire in self.wires if any(leg.of(index) for leg in wire.readers)]
        for stream, behind in itertools.product(self._written(index), read):
            if "whole" in stream.actions and behind.actions & LINEAR - {"rotate"} and stream.is_free and behind.is_free:
                yield index, Wire("", 0, list(stream.writers)), Wire("", 0, list(behind.writers), list(behind.readers))

    def _blind_behind(self, W: IntArray, p: IntArray) -> bool:
        """Return whether the wires that the embeddings W of tokens write to, but not p, do not see a multiple of (1, …, 1)."""
        stream = self._written(p)
        return all("shift" in wire.actions for wire in self._written(W) if wire not in stream)

    def generators(self, n_params: int) -> Iterator[Generator]:
        """Yield the generators of all symmetries."""
        yield from self.close().generators(n_params)
        for wire in self.wires:
            yield from wire.generators(n_params)

    def counts(self, momentum: bool) -> dict[str, int]:
        """Return how many independent laws each wire has near a generic point, by formula."""
        shared = self.close()
        found = {"shared tensors": shared.count(self.wires, momentum)}
        for wire in self.wires:
            found[wire.name] = found.get(wire.name, 0) + wire.count(momentum)
        return {name: number for name, number in found.items() if number}


@dataclass
class Shared:
    """What acts on tensors that are used twice, and on those of tokens and positions that are added.

    Attributes
    ----------
    shifted : list
        Tensors that one number may be added to: all wires that they write to do not see a multiple of (1, …, 1).
    multiplied : list
        Tensors that may be multiplied by a number, with all that writes to their first wire: it is compensated on the wire that
        they read.
    opposite : list
        Embeddings of one-hot tokens and of positions: a vector added to all of these and subtracted from all of those.
    """

    shifted: list[IntArray]
    multiplied: list[tuple[IntArray, Wire, Wire]]
    opposite: list[tuple[IntArray, IntArray]]

    def generators(self, n_params: int) -> Iterator[Generator]:
        """Yield the generators."""
        for index in self.shifted:
            yield constant("tied: shift", index.ravel(), n_params)
        for index, stream, behind in self.multiplied:
            entries = [(leg.index.ravel(), 1) for leg in stream.writers]
            entries += [(leg.index.ravel(), -1) for leg in behind.writers]
            entries += [(leg.index.ravel(), 1) for leg in behind.readers if not leg.of(index)]
            yield gathered("tied: whole", [(rows, rows, c) for rows, c in entries], "symmetric")
        for W, p in self.opposite:
            for of_tokens, of_positions in zip(W, p.T, strict=True):
                yield constant("tokens against positions: shift", of_tokens, n_params, minus=of_positions)

    def count(self, wires: list[Wire], momentum: bool) -> int:
        """Return how many of the laws are independent of each other and of those of the wires."""
        shifts = len(self.shifted)
        for W, p in self.opposite:  # their sum over all components is known where each column may be shifted
            known = any(leg.of(p) and "shift" in wire.actions for wire in wires for leg in wire.writers)
            shifts += len(W) - known
        return 2 * shifts if momentum else shifts + len(self.multiplied)
