"""The exact discrete laws of symmetries under an algorithm, as formulas (theory §6, §10)."""

from __future__ import annotations

from .._base.notation import plain
from .._motion.base import Algorithm, Terms
from .affine import Symmetry
from .catalogue import FAMILIES


def exact_law(name: str, algorithm: Algorithm, has_quantity: bool = True) -> str:
    """Return the exact discrete law of a symmetry under an algorithm, in Unicode.

    A name is all that a record stores of a symmetry; one in no catalogue is taken for a `Symmetry`. `has_quantity`: whether G is
    symmetric, so that there is a quantity Q.
    """
    family = FAMILIES.get(name.partition(":")[0], Symmetry)
    decays = algorithm.coupled_decay > 0 and (family.still or not family.skew)  # else ⟨g(x), x⟩ = ⟨Gx, x⟩ = 0
    return plain(algorithm.exact_law(Terms(family.still, family.skew, has_quantity, decays)))


def legend(algorithm: Algorithm) -> str:
    """Return a sentence that defines the letters in the exact laws of an algorithm."""
    meanings = {"k": "the step", "g(x) = Gx + ξ": "the symmetry's generator", **algorithm.letters()}
    if algorithm.weight_decay:
        meanings["λ"] = f"{algorithm.weight_decay:g}, the weight decay"
    return f"In the exact laws {'; '.join(f'{letter} is {what}' for letter, what in meanings.items())}."
