"""All wires of a model, and the symmetries of tensors that are used in two places."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from .._base.types import IntArray
from .wires import EVERYTHING, LINEAR, Generator, Leg, Wire, constant


@dataclass
class Wiring:
    """The wires of a model, as its blocks are walked through."""

    wires: list[Wire] = field(default_factory=list)  # all wires so far
    # tensors that are used a second time, with the wire that they read there and the one that they write to
    shared: list[tuple[IntArray, Wire, Wire]] = field(default_factory=list)
    # embeddings of one-hot tokens, and of the positions that are added
    tokens: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    # constants that are added to one stream, of which what lies between does not see a multiple of (1, …, 1)
    added: list[tuple[Leg, Leg]] = field(default_factory=list)

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
            for wire in self.wires:
                wire.turning = stream if wire.turning is branch else wire.turning
            self.shared = [
                (W, stream if behind is branch else behind, stream if out is branch else out)
                for W, behind, out in self.shared
            ]

    def add(self, stream: Wire, branch: Wire) -> None:
        """Make the output of a residual block, the wire `branch`, a part of `stream`."""
        if branch is not stream and "shift" in stream.actions and branch.actions == EVERYTHING:
            constants, more = ([leg for leg in w.writers if leg.is_bias or leg.is_positions] for w in (stream, branch))
            self.added += itertools.product(constants[:1], more)
        self.join(stream, branch)

    def close(self) -> Shared:
        """Settle what acts on each wire, once all blocks are connected, and return the translations of tensors with two uses."""
        for wire in reversed(self.wires):
            wire.hand_over()
        shared = Shared(
            [W for W, _, _ in self.shared if all("shift" in wire.actions for wire in self._written(W))],
            [pair for pair in self.tokens if self._blind_behind(*pair)],
            [
                (a.index, b.index)
                for a, b in self.added
                if not all("shift" in w.actions for w in self._written(a.index))
            ],
        )
        merged = [(W, wire) for W, behind, out in self.shared for wire in self._merged(W, behind, out)]
        for (W, _, _), wire in itertools.product(self.shared, self.wires):
            wire.let_go(W)
        for (merged_tensor, wire), (W, _, _) in itertools.product(merged, self.shared):
            if W is not merged_tensor:
                wire.let_go(W)
        self.wires += [wire for _, wire in merged]
        return shared

    def _written(self, index: IntArray) -> list[Wire]:
        return [wire for wire in self.wires if any(leg.of(index) for leg in wire.writers)]

    def _merged(self, W: IntArray, behind: Wire, out: Wire) -> Iterator[Wire]:
        """Yield the wire that acts on a tensor which writes to one wire and reads the wire `behind`, whose sides it exchanges.

        Both allow the action; or the first does not see a common factor of its writers, and the second compensates for it.
        """
        if not behind.is_free:
            return
        others = [leg for leg in behind.readers if not leg.of(W)]
        for stream in self._written(W):
            if stream is out:  # of W as it reads, where another matrix would have to act on it
                continue
            both = stream.actions & behind.actions & LINEAR
            if stream is behind:  # A acts on the writer, A⁻ᵀ on the reader, which are one: A is orthogonal
                yield Wire("tied", stream.size, list(stream.writers), others, both & {"rotate"})
            elif stream.is_free:
                readers = [] if "whole" in stream.actions else stream.readers
                yield Wire("tied", behind.size, [*stream.writers, *others], [*readers, *behind.writers], both)

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
        """Return the number of independent laws of each wire near a generic point, by formula."""
        shared = self.close()
        numbers = {"shared tensors": shared.count(self.wires, momentum)}
        for wire in self.wires:
            numbers[wire.name] = numbers.get(wire.name, 0) + wire.count(momentum, self._shifted_legs(wire))
        return {name: number for name, number in numbers.items() if number}

    def _shifted_legs(self, wire: Wire) -> int:
        """Return the number of columns that a wire's readers have less, as sums over them, or biases, are laws by themselves."""
        blind = [leg for other in self.wires if "shift" in other.actions for leg in other.writers]
        blind += [leg for other in self.wires if "null" in other.actions for leg in other.writers if leg.is_bias]
        return sum(any(one.index.flat[0] == leg.index.flat[0] for one in blind) for leg in wire.readers)


@dataclass
class Shared:
    """The translations of tensors that are used twice, and of those of tokens and positions that are added."""

    # tensors that one number may be added to: all wires that they write to do not see a multiple of (1, …, 1)
    shifted: list[IntArray]
    # embeddings of one-hot tokens and of positions: a vector added to all of these and subtracted from all of those
    opposite: list[tuple[IntArray, IntArray]]
    # constants of one stream: one number added to all entries of these and subtracted from all of those
    exchanged: list[tuple[IntArray, IntArray]]

    def generators(self, n_params: int) -> Iterator[Generator]:
        """Yield the generators."""
        for index in self.shifted:
            yield constant("tied: shift", index.ravel(), n_params)
        for W, p in self.opposite:
            for of_tokens, of_positions in zip(W, p.T, strict=True):
                yield constant("tokens against positions: shift", of_tokens, n_params, minus=of_positions)
        for one, other in self.exchanged:
            yield constant("constants of a stream: shift", one.ravel(), n_params, minus=other.ravel())

    def count(self, wires: list[Wire], momentum: bool) -> int:
        """Return the number of laws that are independent of each other and of those of the wires."""
        shifts = len(self.shifted) + len(self.exchanged)
        for W, p in self.opposite:  # their sum over all components is known where each column may be shifted
            known = any(leg.of(p) and "shift" in wire.actions for wire in wires for leg in wire.writers)
            shifts += len(W) - known
        return 2 * shifts if momentum else shifts
