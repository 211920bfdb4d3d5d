"""Architectures that are used often: multilayer perceptrons, convolutions in one dimension, transformers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from .._base import checks
from .attention import Attention
from .block import Block, Chain, Residual
from .gated import SwiGLU
from .layers import ACTIVATIONS, Activation, Convolution, Dense, Embedding
from .model import Model
from .norms import LayerNorm, RMSNorm

# Arguments of `Transformer` for models that everybody knows, biases of their layers included.
PRESETS: dict[str, dict[str, Any]] = {
    "gpt2": {
        "d": 768, "heads": 12, "head_width": 64, "layers": 12, "mlp": "gelu", "mlp_width": 3072, "eps": 1e-5, "embed": 50257,
        "vocab": 50257, "tied": True, "causal": True, "positions_learned": 1024, "tokens": True,
    },
    "llama-7b": {
        "d": 4096, "heads": 32, "head_width": 128, "layers": 32, "mlp": "swiglu", "mlp_width": 11008, "norm": "rms", "eps": 1e-6,
        "bias": False, "rope": True, "embed": 32000, "vocab": 32000, "causal": True, "tokens": True,
    },
}  # fmt: skip
MLPS = (*ACTIVATIONS, "swiglu")
NORMS: dict[str | None, Any] = {"layer": LayerNorm, "rms": RMSNorm}


class MLP(Chain):
    """Linear maps with one activation between them, at every position.

    Parameters
    ----------
    widths : sequence of int
        Features in, hidden ones, and out.
    activation : str
        Of `Activation`.
    gate : {None, "silu"}
        "silu": a SwiGLU layer instead, of widths (d, hidden, d); the activation is not used.
    bias : bool
        Whether the linear maps have biases.

    Raises
    ------
    ValueError, TypeError
        If there are fewer than two widths, one is not a positive integer, or a name is not known.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.count_laws(nl.arch.MLP([2, 3, 2], "gelu"))
    <LawCount 0, gradient flow, certified>
    """

    def __init__(
        self, widths: Sequence[int], activation: str = "relu", gate: str | None = None, bias: bool = False
    ) -> None:
        sizes = _integers(widths, "widths")
        if len(sizes) < 2:
            raise ValueError(f"widths is {checks.describe(widths)}; expected two numbers or more")
        checks.boolean(bias, "bias")
        checks.one_of(activation, "activation", ACTIVATIONS)
        if gate is not None:
            checks.one_of(gate, "gate", ("silu",))
            if len(sizes) != 3 or sizes[0] != sizes[2] or bias:
                raise ValueError(
                    f"widths is {checks.describe(widths)}; expected (d, hidden, d), without biases, with a gate"
                )
            super().__init__(SwiGLU(sizes[0], sizes[1]))
            return
        layers = [(Dense(n, m, bias), Activation(activation)) for n, m in itertools.pairwise(sizes)]
        super().__init__(*itertools.chain.from_iterable(layers[:-1]), layers[-1][0])


class Conv1d(Chain):
    """Convolutions in one dimension with one activation between them.

    Parameters
    ----------
    channels : sequence of int
        Channels in, hidden ones, and out.
    kernels : sequence of int
        Sizes of the kernels, one fewer.
    activation : str
        Of `Activation`.

    Raises
    ------
    ValueError, TypeError
        If the numbers do not fit, or the activation is not known.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.count_laws(nl.arch.Conv1d([1, 2, 1], [3, 3], "linear"))
    <LawCount 4, gradient flow, certified>
    """

    def __init__(self, channels: Sequence[int], kernels: Sequence[int], activation: str = "relu") -> None:
        channels, kernels = _integers(channels, "channels"), _integers(kernels, "kernels")
        checks.one_of(activation, "activation", ACTIVATIONS)
        if len(kernels) != len(channels) - 1 or not kernels:
            raise ValueError(f"kernels has {len(kernels)} sizes, channels {len(channels)}; expected one kernel fewer")
        maps = [Convolution(n, m, k) for (n, m), k in zip(itertools.pairwise(channels), kernels, strict=True)]
        between = [(layer, Activation(activation)) for layer in maps]
        super().__init__(*itertools.chain.from_iterable(between[:-1]), maps[-1])


class Transformer(Model):
    """Embedding, layers of attention and an MLP, each behind a norm and inside a residual connection, a norm, a linear map to logits.

    Parameters
    ----------
    d, heads, head_width, layers : int
        Features of the stream, heads and their width, number of layers.
    mlp : str
        "swiglu" or a name of `Activation`.
    mlp_width : int
        Hidden features of the MLP.
    norm : {"layer", "rms", None}
        Norm before attention, MLP and logits; None for none.
    eps : float
        ε of the norms.
    bias : bool
        Whether attention and MLP have biases; a SwiGLU has none.
    embed, vocab : int
        Features in and out.
    loss : {"nll", "mse", "any"}
        Loss.
    kv_heads, rope, qk_norm, causal
        As in `Attention`.
    final_norm, residual, tied : bool
        Whether there is a norm before the logits; whether layers have residual connections; whether the logits use the embedding's
        weights (`embed` = `vocab`).
    positions_learned, tokens
        As in `Embedding`.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer or a name is not known.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.arch.Transformer(mlp="swiglu", norm="rms", bias=False, rope=True).n_params
    66
    """

    def __init__(
        self,
        d: int = 3,
        heads: int = 1,
        head_width: int = 2,
        layers: int = 1,
        mlp: str = "gelu",
        mlp_width: int = 2,
        norm: str | None = "layer",
        eps: float = 0.0,
        bias: bool = True,
        embed: int = 2,
        vocab: int = 3,
        loss: str = "nll",
        kv_heads: int | None = None,
        rope: bool = False,
        qk_norm: bool = False,
        causal: bool = False,
        final_norm: bool = True,
        residual: bool = True,
        tied: bool = False,
        positions_learned: int = 0,
        tokens: bool = False,
    ) -> None:
        checks.one_of(mlp, "mlp", MLPS)
        for name, size in (("embed", embed), ("vocab", vocab), ("mlp_width", mlp_width), ("layers", layers)):
            checks.integer(size, name, minimum=1)
        for name, flag in (("final_norm", final_norm), ("residual", residual), ("tied", tied)):
            checks.boolean(flag, name)
        if tied and embed != vocab:
            raise ValueError(f"embed is {embed}, vocab {vocab}; expected equal numbers for tied weights")
        norms: list[Block] = [] if norm is None else [NORMS[checks.one_of(norm, "norm", ("layer", "rms"))](d, eps)]
        around = Residual if residual else Chain
        attention = Attention(d, heads, head_width, kv_heads, None, bias, causal, rope, qk_norm, eps)
        gated = mlp == "swiglu"
        hidden = SwiGLU(d, mlp_width) if gated else MLP([d, mlp_width, d], mlp, bias=bias)
        layer = [around(*norms, attention), around(*norms, hidden)]
        head = Dense(d, vocab, tied="embedding.W" if tied else "")
        super().__init__(
            Embedding(embed, d, positions_learned, tokens),
            *layer * layers,
            *(norms if final_norm else []),
            head,
            loss=loss,
        )


def _integers(values: Sequence[int], name: str) -> list[int]:
    """Return positive integers."""
    return [checks.integer(n, name, minimum=1) for n in checks.items(values, name, "a sequence of integers")]
