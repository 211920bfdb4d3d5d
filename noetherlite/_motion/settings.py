"""Settings of every algorithm: rates, weight decay, and the treatment of gradients before a step."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .._base import checks
from .._base.types import Float64Array
from . import rates as schedules


def checked(check: Callable[..., Any], **limits: Any) -> dict[str, Callable[..., Any]]:
    """Return the `metadata` of a field: the function of `checks`, and its limits, that a value has to pass."""
    return {"check": partial(check, **limits)}


NOT_NEGATIVE, POSITIVE = checked(checks.real, minimum=0.0), checked(checks.real, minimum=0.0, strict=True)
FRACTION, BOOLEAN = checked(checks.fraction), checked(checks.boolean)


@dataclass(frozen=True, repr=False)
class Settings:
    """Settings of every algorithm; the base class of `Algorithm`."""

    # Any: an array, a function of the step or a dict of blocks, which become a float that knows them. (Annotations are no text in this
    # file, as the constructors of subclasses in other files, which do not import these names, have them too.)
    lr: float | Any
    weight_decay: float | Any = field(default=0.0, kw_only=True)
    clip: float | None = field(default=None, kw_only=True)
    grad_accumulation: int = field(default=1, kw_only=True, metadata=checked(checks.integer, minimum=1))
    sam: float = field(default=0.0, kw_only=True, metadata=NOT_NEGATIVE)

    has_metric: ClassVar[bool] = True
    """Whether rates by block multiply the gradient, so that they are a metric of its dynamics, and not only its steps."""
    takes_changing_ratios: ClassVar[bool] = False
    """Whether the ratios of blocks' rates may differ from step to step."""
    takes_sam: ClassVar[bool] = False
    """Whether all gradients are taken at x, and may be taken at x + ρ∇U/|∇U|."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", schedules.read(self.lr))
        if self.has_schedule and not self.takes_schedule:
            raise ValueError(f"lr must be a number for {type(self).__name__}, all of whose steps take the same time")
        if self.clip is not None:
            object.__setattr__(self, "clip", checks.real(self.clip, "clip", minimum=0.0, strict=True))
        object.__setattr__(self, "weight_decay", schedules.decay(self.weight_decay))
        for f in dataclasses.fields(self):
            if "check" in f.metadata:
                object.__setattr__(self, f.name, f.metadata["check"](getattr(self, f.name), f.name))
        if self.ratios_change and not self.takes_changing_ratios:
            raise ValueError(
                f"lr must have schedules that keep the ratios between blocks for {type(self).__name__}, as these are a metric, "
                "or masses, of its dynamics"
            )
        if self.has_blocks and not self.takes_blocks:
            raise ValueError(f"lr and weight_decay must be numbers for {type(self).__name__}, the same for all blocks")
        if self.sam and not self.takes_sam:
            raise ValueError(f"sam must be 0 for {type(self).__name__}, which does not take its gradients at x alone")

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._settings().items() if name not in self._left_out}
        if self.has_schedule:
            shown["lr"] = f"<{f'{len(self.rates)} rates' if self.rates else 'function of the step'}>"
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def specification(self) -> dict[str, Any]:
        """Return the name and the parameters, ready for JSON."""
        left_out, settings = self._left_out - {"weight_decay"}, self._settings()
        return {"name": type(self).__name__, **{name: settings[name] for name in settings if name not in left_out}}

    def _settings(self) -> dict[str, Any]:
        """Return the settings by name, as numbers, lists and dicts."""
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        by_block = {name: dict(a.each) for name, a in settings.items() if isinstance(a, schedules.PerBlock)}
        return settings | ({"lr": self.lr.written()} if isinstance(self.lr, schedules.Schedule) else {}) | by_block

    def over(self, steps: int) -> Any:
        """Return the algorithm of a run of so many steps, a function of the step evaluated.

        ValueError if there are fewer rates than steps.
        """
        if isinstance(self.lr, schedules.Schedule) and self.lr.function is not None:
            return type(self)(**{**self._settings(), "lr": self.lr.over(steps)})
        if 0 < len(self.rates) < steps:
            raise ValueError(f"lr has {len(self.rates)} rates, one for each step; expected {steps} or more")
        return self

    def differs_by_lr(self, other: "Settings") -> bool:
        """Return whether `other` differs from this algorithm in its rate at most."""
        return type(self) is type(other) and {**self._settings(), "lr": 0} == {**other._settings(), "lr": 0}

    def shares(self, blocks: Sequence[Any]) -> tuple[Float64Array, Float64Array]:
        """Return the rates and the decays of all coordinates, relative to the largest, empty where all are the same.

        Blocks have a name, a start and a stop. ValueError if blocks are named that are not among them, or have no rate.
        """
        lr: Any = self.lr
        if isinstance(lr, schedules.BlockSchedules):
            lr.table(blocks)  # refused where names do not fit
            lr = lr.constant or 1.0
        rates, decays = (
            part.shares(name, blocks) if isinstance(part, schedules.PerBlock) else np.empty(0)
            for name, part in (("lr", lr), ("weight_decay", self.weight_decay))
        )
        return rates, decays

    @property
    def ratios_change(self) -> bool:
        """Whether the ratios of the rates of blocks differ from step to step; False as long as functions are not evaluated."""
        return isinstance(self.lr, schedules.BlockSchedules) and bool(self.lr.each) and self.lr.constant is None

    @property
    def makes_metric(self) -> bool:
        """Whether rates by block are a metric, as they are of all algorithms with `has_metric` at constant ratios."""
        return self.has_metric and not self.ratios_change

    @property
    def largest_metric(self) -> float:
        """The largest entry of the metric that rates by block make, 1 where there is none."""
        lr = self.lr.constant if isinstance(self.lr, schedules.BlockSchedules) else self.lr
        if not isinstance(lr, schedules.PerBlock) or not self.has_metric:
            return 1.0
        return lr / min(rate for rate in lr.each.values() if rate > 0)

    @property
    def needs_work(self) -> bool:
        """Whether its kernels need one more vector of memory."""
        return self.has_blocks or self.sam > 0 or self.grad_accumulation > 1

    def work(self, n_params: int, blocks: Sequence[Any]) -> int:
        """Return the number of numbers that kernels work in beside the vectors, where the potential has these blocks."""
        return n_params if self.needs_work else 0

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates of each step; empty where they are the same."""
        return self.lr.each if isinstance(self.lr, schedules.Schedule) else ()

    @property
    def _schedule(self) -> Callable[[int], Any] | None:
        return self.lr.function if isinstance(self.lr, schedules.Schedule) else None

    @property
    def has_schedule(self) -> bool:
        """Whether the rate may differ from step to step."""
        return isinstance(self.lr, schedules.Schedule)

    @property
    def takes_schedule(self) -> bool:
        """Whether the rate may change from step to step: its law is one of single steps, whatever time they take."""
        return False

    @property
    def has_blocks(self) -> bool:
        """Whether blocks have rates or decays of their own."""
        by_name = schedules.PerBlock, schedules.BlockSchedules
        return isinstance(self.lr, by_name) or isinstance(self.weight_decay, schedules.PerBlock)

    @property
    def takes_blocks(self) -> bool:
        """Whether blocks may have rates and decays of their own."""
        return False

    @property
    def _left_out(self) -> set[str]:
        """The keyword arguments that have their default values."""
        return {f.name for f in dataclasses.fields(self) if f.kw_only and getattr(self, f.name) == f.default}
