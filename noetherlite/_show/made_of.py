"""What a run was made of, from its specification: a file may hold a run of another version, or of functions that no file holds."""

from __future__ import annotations

from typing import Any

from .._motion.algorithms import specified
from .._motion.base import Algorithm
from .._problem.network import Network
from .._run.trajectory import Trajectory
from .._symmetry.catalogue import catalogue
from .._symmetry.family import Family


def algorithm_entry(run: Trajectory) -> dict[str, Any] | None:
    """Return the specification of the algorithm, of the first network in an ensemble."""
    algorithm = run.specification.get("algorithm")
    return algorithm[0] if isinstance(algorithm, list) else algorithm


def algorithm_of(run: Trajectory) -> Algorithm | None:
    """Return the algorithm, of the first network in an ensemble; None if it is not known."""
    try:
        return specified(algorithm_entry(run) or {})
    except (KeyError, ValueError, TypeError):  # unknown to this version
        return None


def symmetries_of(run: Trajectory) -> dict[str, Family]:
    """Return the symmetries of the run's network by name; {} if the specification has no network."""
    spec = run.specification.get("potential", {}).get("network")
    try:
        symmetries = catalogue(Network(**spec)) if spec else []
        # Rotations are symmetries of some data only, which a run measures.
        return {s.name: s for s in symmetries if not s.objection and (not s.condition or s.name in run.laws)}
    except (KeyError, ValueError, TypeError):  # unknown to this version
        return {}
