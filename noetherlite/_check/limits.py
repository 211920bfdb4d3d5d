"""Sentences about what a check of steps did not cover."""

from __future__ import annotations

import numpy as np

from .implied import Steps
from .noise import FALSE_ALARM, BlockByChance, NoiseSteps
from .rows import ALIKE, blocks_of, distinct
from .steps import StepCheck


def limits(checker: StepCheck) -> list[str]:
    """Return sentences about the steps and laws that were not checked, and why."""
    out = []
    if not checker.motion:
        out.append(_without_motion(checker))
    if checker.pending is not None:
        out.append(_first_step(checker, checker.pending))
    replay = checker.replay
    if replay is not None and replay.solved:
        out.append(
            "the steps to row 1 were not checked, and those that follow less sharply: the velocity is not recorded (velocity= takes it) "
            "and was solved from them, with an error that is assumed to be at most twice its size"
        )
    if replay is not None and replay.lost:
        shown = ", ".join(map(str, replay.lost[:8])) + (", …" if len(replay.lost) > 8 else "")
        out.append(
            f"steps from row{'s' if len(replay.lost) > 1 else ''} {shown} were not checked, nor those to the next: "
            "with the velocity that the rows before give, they lead to numbers that are not finite"
        )
    if checker.noise is not None:
        out.append(_by_chance(checker.noise))
    known_start = checker.t0 == 0 or checker.velocity is not None
    if replay is None and checker.noise is None and checker.algorithm.fewest_rows(known_start) > 2:
        out.append("the first step was not checked: the velocity at row 0 is not recorded")
    if checker.averages is not None and checker.averages.late:
        out.append(
            f"row 0 has other averages than {checker.algorithm} starts with: what it starts with was not checked, and steps are "
            "counted from there (t= has the times of rows that are not from the start)"
        )
    if checker.averages is not None and checker.averages.in_bfloat16:
        names = ", ".join(sorted(checker.averages.in_bfloat16))
        out.append(
            f"the steps of {names} are multiples of numbers of bfloat16, in which torch.optim.Muon iterates: they were checked up to "
            "what round-off of that precision makes of an iteration"
        )
    if not checker.families:
        out.append("no law was checked: none is known of this potential, or none was asked for")
    return out


def _without_motion(checker: StepCheck) -> str:
    """Return the sentence about errors that laws do not detect: a multiple of the gradient, and blocks on which no symmetry acts."""
    rng = np.random.default_rng(0)
    x, untested = rng.standard_normal(checker.U.n_params), []
    for block in blocks_of(checker.U):
        v = np.zeros(checker.U.n_params)
        v[block.part] = rng.standard_normal(block.stop - block.start)
        if not any(np.any(s.charge(x, v)) for s in checker.families):
            untested.append(block.name)
    blocks = f", and any error in {', '.join(untested)}" if untested else ""
    return (
        "the motion was not checked, as the batches are not known (batches= has their indices): the laws do not detect "
        f"a wrong scale of the loss or of the rate, other data, errors with the same symmetries{blocks}"
    )


def _by_chance(noise: NoiseSteps) -> str:
    """Return the sentence about verdicts by chance."""
    tallies = [row.tally.finest for row in noise.rows()[1] if isinstance(row, BlockByChance) and row.of_noise]
    least = max((2 * tolerance for tolerance, _ in tallies), default=np.inf)
    unseen = f", nor a temperature that is wrong by less than {least:.1g} of it" if least < 1 else ""
    return (
        f"the noise is not known (noise_key= takes the key of a run of this library), and verdicts are by chance: a right recording of these {noise.n} "
        f"vectors is called broken with a probability of {FALSE_ALARM:g}. Noise of another distribution with the same variance, or correlated in time or "
        f"between parameters, is not seen{unseen}"
    )


def _first_step(checker: StepCheck, first: Steps) -> str:
    start = "the first step was not checked: it is not one from rest"
    if first.expected is not None:
        recorded, expected = first.recorded[0], first.expected[0]
        square = float(expected @ expected)
        factor = float(recorded @ expected) / square if square > 0 else np.inf
        alike = square > 0 and np.linalg.norm(recorded - factor * expected) <= ALIKE[0] * abs(factor) * square**0.5
        undamped = checker.algorithm.undamped_first_step
        if alike and undamped > 1 and abs(factor / undamped - 1) <= ALIKE[0]:
            return f"{start}, but {distinct(undamped, 1.0)} times as long: PyTorch leaves the dampening out of it; all others were"
        if alike:
            return f"{start}, but {distinct(factor, 1.0)} times as long; all others were"
    return f"{start}, as where the clock of a recording starts later than the run, or with velocity=; all others were"
