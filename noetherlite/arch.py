"""Architectures composed of blocks, for `nl.count_laws`: evaluated in float64 too, without any framework."""

from __future__ import annotations

from ._arch.attention import Attention
from ._arch.block import Block, Chain, Residual
from ._arch.layers import Activation, Convolution, Dense, Embedding, Experts, LowRank, SwiGLU
from ._arch.model import Model
from ._arch.norms import BatchNorm, LayerNorm, RMSNorm

__all__ = [
    "Activation",
    "Attention",
    "BatchNorm",
    "Block",
    "Chain",
    "Convolution",
    "Dense",
    "Embedding",
    "Experts",
    "LayerNorm",
    "LowRank",
    "Model",
    "RMSNorm",
    "Residual",
    "SwiGLU",
]
