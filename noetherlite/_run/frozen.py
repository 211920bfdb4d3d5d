"""Blocks that a rate of 0 freezes: which laws are left, which of them a projection needs, and which starts are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._base.types import Float64Array
from .._motion.base import Algorithm
from .._motion.rates import BlockSchedules, PerBlock
from .._problem.blocks import blocks_of
from .._problem.potentials import Potential
from .._symmetry.family import Family
from .._symmetry.find import scalings, watched


def blocks(U: Potential, algorithm: Algorithm) -> list[Any]:
    """Return the blocks that the algorithm leaves as they are."""
    return algorithm.lr.frozen(blocks_of(U)) if isinstance(algorithm.lr, PerBlock | BlockSchedules) else []


def laws_left(
    families: list[Family], frozen: Sequence[Any], n_params: int, laws: object, algorithm: Algorithm
) -> list[Family]:
    """Return the families that move no frozen block; the law in (x, m) of averaged gradients needs all of ∇U, and has it.

    ValueError if `laws` names one that does.
    """
    if not frozen or not algorithm.makes_metric:
        return families
    out, ones = [], np.ones(n_params)
    for family in families:
        touched = [b.name for b in frozen if np.any(family.norm_within(ones, b.part) > 0)]
        if not touched:
            out.append(family)
        elif laws != "all":
            raise ValueError(f"laws: {family.name!r} moves {', '.join(touched)}, which lr=0 freezes")
    return out


def levels(U: Potential, algorithm: Algorithm) -> list[Family]:
    """Return the families of the scalings onto whose levels steps may be projected: those that move no frozen block."""
    return laws_left(watched(U, scalings(U)), blocks(U, algorithm), U.n_params, "all", algorithm)


def refuse_levels_lacking(U: Potential, algorithm: Algorithm, families: Sequence[Family], laws: object) -> None:
    """Raise ValueError if an algorithm projects onto levels of laws that a run does not watch."""
    if algorithm.projects and (lacking := sorted({s.name for s in levels(U, algorithm)} - {s.name for s in families})):
        raise ValueError(
            f"laws must have {lacking} too for {algorithm}, which projects onto their levels; got {laws!r}"
        )


def refuse_motion(frozen: Sequence[Any], v: Float64Array) -> None:
    """Raise ValueError if a frozen block has an initial velocity."""
    moving = [b.name for b in frozen if v[..., b.part].any()]
    if moving:
        raise ValueError(f"velocity must be zero for {', '.join(moving)}, which lr=0 freezes")
