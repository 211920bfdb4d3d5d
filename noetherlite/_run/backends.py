"""What evaluates and advances runs: compiled kernels, NumPy or a GPU, and the memory they need."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base.types import Array
from .._kernels import layout, reference
from .._kernels.cpu import compiled
from .._kernels.cpu import team as cpu_team
from . import device

if TYPE_CHECKING:
    from .._problem.potentials import Potential
    from .plan import Plan


class Engine:
    """Memory in which the runs of a plan are evaluated, one after the other, by a team of `members` threads."""

    def __init__(self, plan: Plan, members: int) -> None:
        self.plan = plan
        if not plan.compiled or plan.on_device or plan.problem is None:
            return
        N, n = plan.n_samples, plan.drawn
        full = n == N
        self.everything = compiled.tiles(plan.problem, N, members if full else 1)
        if plan.problem.kind == layout.NETWORK:
            compiled.load(plan.problem, np.arange(N), self.everything)
        self.held = self.everything if full else compiled.tiles(plan.problem, n, members)

    def advance(
        self,
        algorithm: layout.Algorithm,
        laws: layout.Laws,
        batches: layout.Batches,
        state: layout.State,
        records: layout.Records,
    ) -> tuple[Callable[[int], None], Callable[[], None]]:
        """Return n_steps ↦ None, which advances the run of these arrays, and what to call before they are looked at."""
        plan = self.plan
        if plan.on_device:
            fleet = device.Fleet(plan, [algorithm], layout.views(state, None), [batches], layout.views(records, None))
            return fleet, fleet.bring
        if not plan.compiled:
            return reference.Run(self._evaluate, algorithm, laws, batches, state, records).advance, _nothing
        arguments = (plan.problem, self.held, self.everything, algorithm, laws, batches, state, records)
        team, present = self.held.team, self.held.z.shape[0]

        def advance(n_steps: int) -> None:
            if present == 1 or n_steps < 2:
                compiled.advance(*arguments, n_steps)
                return
            others = [threading.Thread(target=compiled.advance, args=(*arguments, -m)) for m in range(1, present)]
            team[cpu_team.OPEN] = cpu_team.CLOSED
            for thread in others:
                thread.start()
            try:
                compiled.advance(*arguments, n_steps)
            finally:
                team[cpu_team.OPEN] = cpu_team.HOME
                for thread in others:
                    thread.join()

        return advance, _nothing

    def _evaluate(self, x: Array, chosen: Any) -> tuple[float, Array]:
        if self.plan.problem is None:
            return _own_function(self.plan.U, x)
        return reference.value_and_gradient(self.plan.problem, x, chosen)


def _own_function(U: Potential, x: Array) -> tuple[float, Array]:
    """Return U(x) and ∇U(x) of a user's function, NaN where x or U is beyond all numbers: the run ends there, and says so."""
    if np.isfinite(x).all():
        with contextlib.suppress(OverflowError, FloatingPointError):
            return U.value_and_gradient(x)
    return np.nan, np.full_like(x, np.nan)


def _nothing() -> None:
    """Do nothing: the host's arrays are those that kernels work on."""
