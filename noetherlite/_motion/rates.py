"""Learning rates and decays: a number; a schedule, which is an array or a function of the step; or one for each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Float64Array


class Schedule(float):
    """The largest rate of a schedule, a float that knows all of them; NaN where only a run does.

    Parameters
    ----------
    each : tuple of float
        One for each step.
    function : callable, optional
        Of the step, to be evaluated by a run; `each` is then empty.
    """

    each: tuple[float, ...]
    function: Callable[[int], Any] | None

    def __new__(cls, each: tuple[float, ...], function: Callable[[int], Any] | None = None) -> Schedule:
        """Return the largest."""
        largest = super().__new__(cls, max(each, default=math.nan))
        largest.each, largest.function = each, function
        return largest

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return the arguments of the constructor, for copies and pickles."""
        return self.each, self.function

    def later(self, step: int) -> Schedule:
        """Return the rates from a step on; the largest is that of all."""
        schedule = float.__new__(Schedule, self)
        schedule.each, schedule.function = self.each[step:], self.function
        return schedule

    def over(self, steps: int) -> Any:
        """Return the `lr` of a run of so many steps, where functions are evaluated."""
        return self if self.function is None else evaluated(self.function, steps)

    def written(self) -> Any:
        """Return the rates as JSON has them; itself where they are not known."""
        return list(self.each) if self.each else self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and (self.each, self.function) == (other.each, other.function)

    def __hash__(self) -> int:
        return hash((self.each, self.function))


REST = "rest"


class PerBlock(float):
    """The largest of the numbers of the blocks, a float that knows all of them.

    Parameters
    ----------
    each : mapping of str to float
        By the names of the blocks, "rest" for those that are not named.
    """

    each: dict[str, float]

    def __new__(cls, each: Mapping[str, float]) -> PerBlock:
        """Return the largest."""
        largest = super().__new__(cls, max(each.values()))
        largest.each = dict(each)
        return largest

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return the arguments of the constructor, for copies and pickles."""
        return (self.each,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PerBlock) and self.each == other.each

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.each.items())))

    def frozen(self, blocks: Sequence[Any]) -> list[Any]:
        """Return the blocks whose number is 0."""
        return [block for block in blocks if self.each.get(block.name, self.each.get(REST, 1.0)) == 0]

    def shares(self, name: str, blocks: Sequence[Any]) -> Float64Array:
        """Return the numbers of all coordinates, relative to the largest; `blocks` have a name, a start and a stop."""
        if not blocks:
            raise ValueError(f"{name} by block needs the potential of a Network, whose blocks have names")
        names, out = [block.name for block in blocks], np.zeros(blocks[-1].stop)
        for key in self.each:
            if key != REST:
                checks.one_of(key, f"{name}'s block", names)
        missing = [key for key in names if key not in self.each]
        if missing and REST not in self.each:
            raise ValueError(f'{name} lacks {missing}; expected all of {names}, or "rest" for those not named')
        for block in blocks:
            out[block.start : block.stop] = self.each.get(block.name, self.each.get(REST, 0.0)) / self
        return out


class BlockSchedules(Schedule):
    """Rates by block, at least one of them a schedule; itself the schedule of the largest rate in every step.

    Parameters
    ----------
    blocks : mapping of str to float
        By the names of the blocks: numbers, and a `Schedule` at least.
    """

    blocks: dict[str, float]

    def __new__(cls, blocks: Mapping[str, float]) -> BlockSchedules:
        """Return the largest."""
        schedules = [rate for rate in blocks.values() if isinstance(rate, Schedule)]
        pending = next((rate.function for rate in schedules if rate.function is not None), None)
        steps = 0 if pending else min(len(rate.each) for rate in schedules)
        table = np.array([_of_steps(rate, steps) for rate in blocks.values()])
        out: Any = super().__new__(cls, tuple(table.max(axis=0).tolist()), pending)
        out.blocks = dict(blocks)
        return out  # type: ignore[no-any-return]

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.blocks,)

    def later(self, step: int) -> BlockSchedules:
        later = float.__new__(BlockSchedules, self)
        later.each, later.function = self.each[step:], self.function
        later.blocks = {k: rate.later(step) if isinstance(rate, Schedule) else rate for k, rate in self.blocks.items()}
        return later

    def over(self, steps: int) -> Any:
        if self.function is None:
            return self
        return {k: rate.over(steps) if isinstance(rate, Schedule) else rate for k, rate in self.blocks.items()}

    def written(self) -> Any:
        if not self.each:
            return self
        return {k: rate.written() if isinstance(rate, Schedule) else rate for k, rate in self.blocks.items()}

    @property
    def ratios(self) -> dict[str, Float64Array]:
        """The rates of every step over the largest of it, (steps,) by block; 1 where that is 0."""
        largest = np.array(self.each)
        return {
            k: np.divide(_of_steps(rate, largest.size), largest, out=np.ones(largest.size), where=largest > 0)
            for k, rate in self.blocks.items()
        }

    @property
    def constant(self) -> PerBlock | None:
        """The ratios, where those of all steps are the same up to round-off; else None."""
        moving = np.array(self.each) > 0
        if self.each and not moving.any():  # the rest of a schedule that ends with a pause
            return PerBlock(dict.fromkeys(self.blocks, 1.0))
        each = {k: ratio[moving] for k, ratio in self.ratios.items()}
        same = all(np.ptp(ratio) <= _SAME * ratio.max() for ratio in each.values())
        return PerBlock({k: float(ratio[0]) for k, ratio in each.items()}) if same else None

    def frozen(self, blocks: Sequence[Any]) -> list[Any]:
        """Return the blocks that have no rate but 0."""
        if not self.each:  # functions, which are not known yet
            return PerBlock(
                {k: float(isinstance(rate, Schedule) or rate > 0) for k, rate in self.blocks.items()}
            ).frozen(blocks)
        return PerBlock({k: max(_of_steps(rate, len(self.each))) for k, rate in self.blocks.items()}).frozen(blocks)

    def table(self, blocks: Sequence[Any]) -> tuple[Float64Array, Any]:
        """Return the shares (steps · blocks,) of all steps, and the block of every coordinate (P,)."""
        shares = PerBlock(dict.fromkeys(self.blocks, 1.0)).shares("lr", blocks)  # refused if a name is not known
        each, block = self.ratios, np.zeros(shares.size, np.int64)
        for b, of in enumerate(blocks):
            block[of.start : of.stop] = b
        rows = [each.get(of.name, each.get(REST, np.empty(0))) for of in blocks]
        return np.stack(rows, axis=1).ravel(), block

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockSchedules) and self.blocks == other.blocks

    def __hash__(self) -> int:
        return hash(tuple(sorted((k, hash(rate)) for k, rate in self.blocks.items())))


_SAME = 16 * float(np.finfo(np.float64).eps)


def _of_steps(rate: float, steps: int) -> Float64Array:
    """Return the rates of so many steps."""
    return np.array(rate.each[:steps]) if isinstance(rate, Schedule) else np.full(steps, float(rate))


def by_block(values: Mapping[str, Any], name: str) -> PerBlock:
    """Return numbers >= 0 by block.

    TypeError or ValueError unless there is one at least, by the name of a block.
    """
    if not values or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{name} must have a number for each block by its name, got {checks.describe(values)}")
    return PerBlock({k: checks.real(v, f"{name}[{k!r}]", minimum=0.0) for k, v in values.items()})


def decay(value: Any) -> float:
    """Return a `weight_decay` as a number, which is a `PerBlock` where blocks have their own; 0 for those not named."""
    if isinstance(value, PerBlock):
        return value
    if isinstance(value, Mapping):
        each = by_block(value, "weight_decay")
        return PerBlock({REST: 0.0, **each.each}) if each > 0 else 0.0
    return checks.real(value, "weight_decay", minimum=0.0)


def read(lr: Any) -> float:
    """Return an `lr` as a number, a `Schedule` where it is not the same for all steps, `PerBlock` where it is not for all blocks.

    Raises
    ------
    TypeError, ValueError
        Unless it is a number > 0, a 1-dimensional array of numbers >= 0 that are not all 0, a function, or a mapping of
        blocks to numbers >= 0, of which 0 freezes a block.
    """
    if isinstance(lr, Schedule | PerBlock):
        return lr
    if isinstance(lr, Mapping):
        if any(_is_schedule(rate) or np.ndim(rate) > 0 for rate in lr.values()):
            named = {
                k: checks.real(v, f"lr[{k!r}]", minimum=0.0) if np.ndim(v) == 0 and not _is_schedule(v) else read(v)
                for k, v in lr.items()
            }
            return BlockSchedules(named)
        by_name = by_block(lr, "lr")
        if not by_name > 0:
            raise ValueError(f"lr must have a rate > 0 for one block at least, got {checks.describe(lr)}")
        return by_name
    if callable(lr):
        return Schedule((), lr)
    if isinstance(lr, list | tuple | np.ndarray) and np.ndim(lr) > 0:
        each = checks.array(lr, "lr", ndim=1)
        if each.size == 0 or each.min() < 0 or each.max() == 0:
            raise ValueError(f"lr must have a rate >= 0 for each step, and one > 0; got {checks.describe(lr)}")
        return Schedule(tuple(each.tolist()))
    return checks.real(lr, "lr", minimum=0.0, strict=True)


def _is_schedule(rate: Any) -> bool:
    return callable(rate) or isinstance(rate, Schedule)


def evaluated(function: Callable[[int], Any], steps: int) -> Float64Array:
    """Return the rates that a function of the step gives a run of so many steps; ValueError if all are 0."""
    each = [checks.real(function(k), f"lr({k})", minimum=0.0) for k in range(max(steps, 1))]
    if max(each) == 0:
        raise ValueError(f"lr must be > 0 in one step at least; the function gives 0 for step 0 to {len(each) - 1}")
    return np.array(each)
