"""What a check of steps did not see, in words."""

from __future__ import annotations

import numpy as np

from .implied import Steps
from .rows import ALIKE, blocks_of, distinct
from .steps import Stepwise


def limits(seen: Stepwise) -> list[str]:
    """Return what was not checked of the steps, and why."""
    out = []
    if not seen.motion:
        out.append(_without_motion(seen))
    if seen.pending is not None:
        out.append(_first_step(seen, seen.pending))
    replay = seen.replay
    if replay is not None and replay.solved:
        out.append(
            "the steps to row 1 were not checked, and those that follow less sharply: they gave the velocity, which is not recorded "
            "(velocity= takes it); that it is within twice its size of what they gave is assumed"
        )
    if replay is not None and replay.lost:
        shown = ", ".join(map(str, replay.lost[:8])) + (", …" if len(replay.lost) > 8 else "")
        out.append(
            f"steps from row{'s' if len(replay.lost) > 1 else ''} {shown} were not checked, nor those to the next: "
            "with the velocity that the rows before give they lead to what is not finite"
        )
    if replay is None and _needs_velocity(seen):
        out.append("the first step was not checked: the velocity at row 0 is not recorded")
    if not seen.families:
        out.append("no law was checked: none is known of this potential, or none was asked for")
    return out


def _needs_velocity(seen: Stepwise) -> bool:
    return seen.algorithm.fewest_rows(seen.t0 == 0 or seen.velocity is not None) > 2


def _without_motion(seen: Stepwise) -> str:
    """Return what laws alone do not see: a multiple of the gradient, and blocks on which no symmetry acts."""
    rng = np.random.default_rng(0)
    x, unseen = rng.standard_normal(seen.U.n_params), []
    for block in blocks_of(seen.U):
        v = np.zeros(seen.U.n_params)
        v[block.start : block.stop] = rng.standard_normal(block.stop - block.start)
        if not any(np.any(s.charge(x, v)) for s in seen.families):
            unseen.append(block.name)
    blind = f", and what is done to {', '.join(unseen)}" if unseen else ""
    return (
        "the motion was not checked, as the batches are not known (batches= has their indices): the laws do not see the "
        f"scale of the loss or of the rate, other data, nor any error that keeps the symmetries{blind}"
    )


def _first_step(seen: Stepwise, first: Steps) -> str:
    start = "the first step was not checked: it is not one from rest"
    if first.want is not None:
        got, want = first.got[0], first.want[0]
        square = float(want @ want)
        factor = float(got @ want) / square if square > 0 else np.inf
        alike = square > 0 and np.linalg.norm(got - factor * want) <= ALIKE[0] * abs(factor) * square**0.5
        undamped = seen.algorithm.undamped_first_step
        if alike and undamped > 1 and abs(factor / undamped - 1) <= ALIKE[0]:
            return f"{start}, but {distinct(undamped, 1.0)} times as long: PyTorch leaves the dampening out of it; all others were"
        if alike:
            return f"{start}, but {distinct(factor, 1.0)} times as long; all others were"
    return f"{start}, as where the clock of a recording starts later than the run, or with velocity=; all others were"
