"""Architectures composed of blocks, for `nl.count_laws`: evaluated in float64 too, without any framework."""

from __future__ import annotations

from ._arch.attention import Attention
from ._arch.block import Block, Chain, Residual
from ._arch.gated import Experts, SwiGLU
from ._arch.layers import Activation, Convolution, Dense, Embedding, LowRank
from ._arch.model import Model
from ._arch.norms import BatchNorm, LayerNorm, RMSNorm
from ._arch.transformer import MLP, PRESETS, Conv1d, Transformer

__all__ = [
    "MLP",
    "PRESETS",
    "Activation",
    "Attention",
    "BatchNorm",
    "Block",
    "Chain",
    "Conv1d",
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
    "Transformer",
]
