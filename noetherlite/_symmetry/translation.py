"""Translation of the outputs."""

from __future__ import annotations

from typing import Self

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout
from .._problem.losses import LOSSES
from .._problem.network import Network
from .blocks import required
from .family import Family, KernelLaw
from .written import DynamicsNotation, Entry, Formula, dotted, still


class OutputTranslation(Family):
    """One constant added to all logits leaves softmax unchanged: ξ = all of b_L, or column j of W_L (theory §4.4).

    Parameters
    ----------
    network : Network
        Its loss must depend on differences of outputs only, as "nll" does; otherwise `objection` is set.
    block : {"b", "W"}
        Which parameters move: the last bias, or each column of the last weight matrix.

    Raises
    ------
    ValueError
        If `block` is "b" and the network has no biases.
    """

    symmetric = True
    still = True
    skew = True
    quantity_degree = 1.0
    reducible = True

    def __init__(self, network: Network, block: str) -> None:
        block = checks.one_of(block, "block", ("b", "W"))
        if not network.loss_function.shift_invariant:
            fitting = " or ".join(f"loss={name!r}" for name, loss in LOSSES.items() if loss.shift_invariant)
            self.objection = f"it needs {fitting}, the network has {network.loss!r}"
        self.network, self.n_params = network, network.n_params
        self._block = required(network, f"{block}{network.n_layers}")
        self.name = f"translation:{block}"
        self.shape = (1,) if block == "b" else (self._block.shape[1],)

    @classmethod
    def of(cls, network: Network) -> list[Self]:
        """Return one for each of the last layer's blocks."""
        return [cls(network, block) for block in (("b", "W") if network.bias else ("W",))]

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return 0: G = 0."""
        return np.zeros((*np.shape(a)[:-1], *self.shape))

    def translation(self, b: Array) -> Float64Array:
        """Return Σ_i b_L[i], or the column sums of W_L."""
        return np.asarray(self._block.of(b).sum(axis=-len(self._block.shape))).reshape(*np.shape(b)[:-1], *self.shape)

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return ξ of each component, shape (n_generators, P), for any x."""
        self._point(x)
        out = np.zeros((self.n_generators, self.n_params))
        columns = np.eye(self.n_generators)
        for j in range(self.n_generators):
            self._block.of(out[j])[:] = columns[j]
        return out

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x + Σ_c strength_c ξ_c."""
        out = self._point(x).astype(np.float64)
        self._block.of(out)[:] += self._strength(strength)
        return out

    def least_norm(self, x: Array) -> Array:
        """Return √n_L."""
        return np.full(x.shape[:-1], self._block.shape[0] ** 0.5)

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return √n_L for every component."""
        self._point(x)
        return np.full(self.shape, self._block.shape[0] ** 0.5, dtype=np.float64)

    def norms(self, x: Float64Array) -> Float64Array:
        return np.full((len(x), *self.shape), self._block.shape[0] ** 0.5)

    def norm_within(self, x: Array, block: slice) -> Float64Array:
        """Return √n_L for the block that is translated, zero for others."""
        return np.asarray(self.norm(x) * (block.start == self._block.start))

    def kernel(self) -> KernelLaw:
        return KernelLaw(
            layout.TRANSLATION, (self.n_generators, self._block.start, self._block.shape[0], -1, -1, -1, 0)
        )

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        return {
            "translation:b": lambda motion, *_: entry(motion, "b"),
            "translation:W": lambda motion, *_: entry(motion, "W"),
        }

    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law of the sum of the biases, or of a column of weights."""
        return entry(motion, self.name[-1])


def entry(motion: DynamicsNotation, block: str) -> Formula:
    """Return the law of the sum of the biases, or of a column of weights."""
    entry = r"\sum_i {}b_{L,i}" if block == "b" else r"\sum_i {}W_{L,ij}"
    source = "theory §4.4, not in GU"
    if motion.first_order:
        return rf"{still(entry)} = \mathrm{{const}}", source
    return rf"{motion.factor}{dotted(entry)} = \mathrm{{const}}", source
