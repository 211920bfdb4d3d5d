"""The table of a network's symmetries (theory §4)."""

from __future__ import annotations

import functools

from .._problem.network import Network
from .family import Family
from .linear_layer import LinearLayer
from .rotation import DataRotation
from .scaling import NeuronScaling
from .translation import OutputTranslation

# By the first part of the name, which is all that a recorded law stores of its symmetry.
FAMILIES: dict[str, type[Family]] = {
    "scaling": NeuronScaling,
    "linear": LinearLayer,
    "rotation": DataRotation,
    "translation": OutputTranslation,
}


def catalogue(network: Network) -> list[Family]:
    """Return all families whose parameters the network has, hidden layer by hidden layer, then those of the whole network.

    Those that are not symmetries of this network say why in `objection`.
    """
    return list(_families(network))


@functools.lru_cache(maxsize=64)
def _families(network: Network) -> tuple[Family, ...]:
    families = [s for kind in FAMILIES.values() for s in kind.of(network)]
    return tuple(sorted(families, key=lambda s: getattr(s, "h", network.n_layers)))
