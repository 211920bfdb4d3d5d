"""The end-to-end map of a network whose layers are all linear, by which it is evaluated: f(X) = XPᵀ + c with P = W_L ⋯ W_1.

A pass multiplies the layers by n_L rows instead of N samples, which see one layer alone (`_kernels/cpu/linear_network.py`). Parameters
and laws are those of the network, and U is the same function of them up to round-off.
"""

from __future__ import annotations

import functools
import itertools

from .._kernels import layout
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Potential


class EndToEnd:
    """A linear network as the network of one layer that its samples see.

    Parameters
    ----------
    U : NetworkPotential
        A potential of linear layers.
    """

    def __init__(self, U: NetworkPotential) -> None:
        self._U = U
        self._one_layer = _one_layer(U.network.widths[0], U.network.widths[-1], U.network.loss)

    def __str__(self) -> str:
        return (
            f"all layers multiplied to one, by {self._one_layer.widths[-1]} rows instead of {self._U.n_samples} samples"
        )

    def describe(self) -> dict[str, object]:
        """Return the entry of a specification."""
        return {"coordinates": "end-to-end", "n": self._one_layer.widths[-1]}

    def problems(self, dtype: str) -> tuple[layout.Problem, layout.Problem]:
        """Return the network without samples, and the outer problem, which has them."""
        whole, bare = self._U.problem(dtype), self._one_layer.problem(self._U.X[:0], None, dtype)
        layers = whole._replace(
            kind=layout.LINEAR_NETWORK, loss=layout.NO_LOSS, X=bare.X, labels=bare.labels, targets=bare.targets
        )
        return layers, bare._replace(loss=whole.loss, X=whole.X, labels=whole.labels, targets=whole.targets)


@functools.lru_cache(maxsize=64)
def _one_layer(n_0: int, n: int, loss: str) -> Network:
    return Network([n_0, n], [], True, loss)  # made once, as small runs take a few times as long


def choose(U: Potential, drawn: int) -> EndToEnd | None:
    """Return the end-to-end map for runs of gradients of `drawn` samples if its passes are shorter, else None."""
    if not isinstance(U, NetworkPotential) or not all(a.is_linear for a in U.network.activations):
        return None
    widths = U.network.widths
    layers, n = sum(into * out for into, out in itertools.pairwise(widths)), widths[-1]
    return EndToEnd(U) if n * layers + drawn * n * widths[0] < drawn * layers else None
