"""The base class of symmetries of a hidden layer."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Self

from .._base import checks
from .._base.products import lengths
from .._base.types import Array, Float64Array
from .._problem.network import Network
from .blocks import required
from .family import Family


class Hidden(Family, abstract=True):
    """Base class of the symmetries of hidden layer h, with its blocks W_h, b_h, β_h and W_{h+1} of θ."""

    def __init__(self, network: Network, h: int) -> None:
        self.h = checks.integer(h, "h", minimum=1, maximum=network.n_layers - 1)
        self.network, self.n_params = network, network.n_params
        self._W, self._U = required(network, f"W{h}"), required(network, f"W{h + 1}")
        self._b, self._beta = network.block(f"b{h}"), network.block(f"beta{h}")

    @classmethod
    def of(cls, network: Network) -> list[Self]:
        """Return one for each hidden layer."""
        return [cls(network, h) for h in range(1, network.n_layers)]

    @abstractmethod
    def incoming_quantity(self, W: Array) -> Float64Array:
        """Return the part of Q by the incoming weights W (n_h, m), for any m; shape (n_generators,)."""

    def least_norm(self, x: Array) -> Array:
        """Return |W_h|/√n_h: every row of W_h is in the fields of a neuron or more."""
        return lengths(x[..., self._W.start : self._W.stop]) / math.sqrt(self._W.shape[0])

    def _where(self) -> tuple[int, ...]:
        n, m = self._W.shape
        b, beta = (-1 if block is None else block.start for block in (self._b, self._beta))
        return (n, self._W.start, m, b, beta, self._U.start, self._U.shape[0])
