"""The exact discrete laws of symmetries under an algorithm, as formulas (theory §6, §10)."""

from __future__ import annotations

from .._base.notation import plain
from .._motion.base import Algorithm, Terms


def exact_law(name: str, algorithm: Algorithm, has_quantity: bool = True) -> str:
    """Return the exact discrete law of a symmetry under an algorithm, in Unicode.

    Parameters
    ----------
    name : str
        The symmetry's name: rotations are skew, translations have G = 0, of others nothing is known.
    algorithm : Algorithm
        With its weight decay.
    has_quantity : bool
        Whether G is symmetric, so that there is a quantity Q.
    """
    still, rotation = name.startswith("translation"), name == "rotation"
    decays = algorithm.weight_decay > 0 and not rotation  # ⟨Gx, x⟩ = 0
    return plain(algorithm.exact_law(Terms(still, still or rotation, has_quantity, decays)))


def explained(algorithm: Algorithm) -> str:
    """Return what the letters of the exact laws of an algorithm are."""
    told = {"k": "the step", "g(x) = Gx + ξ": "the symmetry's generator", **algorithm.letters()}
    if algorithm.weight_decay:
        told["λ"] = f"{algorithm.weight_decay:g}, the weight decay"
    return f"In the exact laws {'; '.join(f'{letter} is {what}' for letter, what in told.items())}."
