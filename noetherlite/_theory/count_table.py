"""The table of laws of today's architectures in the documentation: what is counted, and the counts as text (theory §14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .._arch.attention import Attention
from .._arch.block import Block, Chain, Residual
from .._arch.gated import Experts, SwiGLU
from .._arch.layers import Activation, Dense, LowRank
from .._arch.model import Model
from .._arch.norms import BatchNorm, LayerNorm, RMSNorm
from .._arch.transformer import MLP, Conv1d, Transformer
from .counting import LawCount
from .model_counting import count

DISAGREES = "†"  # marks what disagrees with a published statement


class TableRow(NamedTuple):
    """A row: what is counted, under which flow, and the count once it is made."""

    text: str
    model: Model
    flow: str = "gradient"


def _softmaxed(block: Block) -> Model:
    return Model(block, loss="nll")


def _head(**options: object) -> Attention:
    return Attention(3, 1, 2, **{"outputs": 2, **options})  # type: ignore[arg-type]


def _llama(**options: object) -> Transformer:
    return Transformer(**{"mlp": "swiglu", "norm": "rms", "bias": False, "rope": True, **options})  # type: ignore[arg-type]


def rows() -> Iterator[TableRow]:
    """Yield the models of the table."""
    yield TableRow("linear 2-3-2, cross-entropy", _softmaxed(MLP([2, 3, 2], "linear")))
    yield TableRow("linear 3-2-3, cross-entropy", _softmaxed(MLP([3, 2, 3], "linear")))
    for name in ("gelu", "silu", "tanh"):
        for bias in (False, True):
            yield TableRow(f"{name} 2-3-2{', biases' if bias else ''}", Model(MLP([2, 3, 2], name, bias=bias)))
    yield TableRow("gelu 2-2-2-2", Model(MLP([2, 2, 2, 2], "gelu")))
    yield TableRow("gelu 2-3-3, biases, cross-entropy", _softmaxed(MLP([2, 3, 3], "gelu", bias=True)))
    yield TableRow("gelu 2-2-3, biases, cross-entropy", _softmaxed(MLP([2, 2, 3], "gelu", bias=True)), "momentum")
    yield TableRow("relu 2-3-2", Model(MLP([2, 3, 2], "relu")))
    for flow in ("gradient", "momentum"):
        yield TableRow("SwiGLU, d = 2, 3 hidden", Model(SwiGLU(2, 3)), flow)
    yield TableRow("adapter of rank 2 beside a frozen 3 × 3 matrix", Model(LowRank(3, 3, 2)))
    yield from _attention()
    yield from _stacks()
    yield from _transformers()
    for gate in ("softmax", "normalised sigmoid", "sigmoid"):
        mark = DISAGREES if gate == "normalised sigmoid" else ""
        yield TableRow(f"two SwiGLU experts, d = 2, 2 hidden, {gate} gate{mark}", Model(Experts(2, 2, 2, gate)))
    for name in ("relu", "gelu"):
        layers = Dense(2, 2, bias=True), BatchNorm(2), Activation(name), Dense(2, 2, bias=True)
        yield TableRow(f"W, b – BatchNorm – {name} – W, 2-2-2", Model(*layers))
    yield from _convolutions()


def _attention() -> Iterator[TableRow]:
    """Yield single layers of attention, of d = 3 features; r is the width of a head."""
    yield TableRow("attention, one head, r = 2, 2 outputs", Model(_head()))
    yield TableRow("the same, causal", Model(_head(causal=True)))
    yield TableRow("the same, biases", Model(_head(bias=True)))
    yield TableRow("attention, two heads, r = 2", Model(Attention(3, 2, 2)))
    yield TableRow("the same + identity", Model(Residual(Attention(3, 2, 2))))
    yield TableRow("attention, two heads of queries, one of keys and values", Model(Attention(3, 2, 2, kv_heads=1)))
    yield TableRow("RoPE, r = 2, 2 outputs", Model(_head(rope=True)))
    yield TableRow("RoPE, d = 2, r = 4, 4 outputs", Model(Attention(2, 1, 4, outputs=4, rope=True)))
    yield TableRow(
        "RoPE, two heads of queries, one of keys and values", Model(Attention(3, 2, 2, kv_heads=1, rope=True))
    )
    yield TableRow("RoPE, normalised queries and keys, r = 2", Model(_head(rope=True, qk_norm=True)))
    yield TableRow("normalised queries and keys, r = 2", Model(_head(qk_norm=True)))
    yield TableRow("attention, r = 2, 2 outputs", Model(_head()), "momentum")
    yield TableRow("attention, r = 3", Model(Attention(3, 1, 3)), "momentum")
    yield TableRow("RoPE, r = 2, 2 outputs", Model(_head(rope=True)), "momentum")
    yield TableRow("RoPE, d = 2, r = 4, 4 outputs", Model(Attention(2, 1, 4, outputs=4, rope=True)), "momentum")
    yield TableRow("attention, r = 2, 2 outputs, biases", Model(_head(bias=True)), "momentum")


def _stacks() -> Iterator[TableRow]:
    yield TableRow("LayerNorm – attention, r = 2, 2 outputs", Model(LayerNorm(3), _head()))
    yield TableRow("RMSNorm – attention, r = 2, 2 outputs", Model(RMSNorm(3), _head()))
    yield TableRow("LayerNorm – attention, r = 2, 2 outputs, biases", Model(LayerNorm(3), _head(bias=True)))
    attention = Residual(Attention(3, 1, 2))
    hidden: dict[str, tuple[Chain, ...]] = {
        "": (),
        ", each with a gelu MLP": (Residual(MLP([3, 2, 3], "gelu")),),
        ", each with a SwiGLU": (Residual(SwiGLU(3, 2)),),
    }
    for text, layer in hidden.items():
        yield TableRow(f"two layers of attention{text}", Model(attention, *layer, attention, *layer))


def _transformers() -> Iterator[TableRow]:
    """Yield whole transformers, of d = 3 features, one head of width 2, two hidden neurons, two inputs, three classes."""
    for layers, eps in ((1, 0.0), (1, 0.1), (2, 0.0)):
        yield TableRow(
            f"GPT, {layers} layer{'s' * (layers > 1)}, ε {'> 0' if eps else '= 0'}", Transformer(layers=layers, eps=eps)
        )
    yield TableRow("GPT, 1 layer, ε > 0, tied embeddings", Transformer(eps=0.1, embed=3, tied=True))
    for layers, eps in ((1, 0.0), (1, 0.1), (2, 0.0)):
        yield TableRow(
            f"Llama, {layers} layer{'s' * (layers > 1)}, ε {'> 0' if eps else '= 0'}", _llama(layers=layers, eps=eps)
        )
    yield TableRow(
        "like Qwen 3: two heads of queries, one of keys and values, all normalised",
        _llama(heads=2, kv_heads=1, qk_norm=True),
    )
    yield TableRow("GPT, 1 layer, ε = 0", Transformer(), "momentum")
    yield TableRow("Llama, 1 layer, ε = 0", _llama(), "momentum")


def _convolutions() -> Iterator[TableRow]:
    yield TableRow("relu convolutions 2-3-2, kernels 2, 2", Model(Conv1d([2, 3, 2], [2, 2], "relu")))
    for flow in ("gradient", "momentum"):
        yield TableRow("linear convolutions 2-3-2, kernels 2, 2", Model(Conv1d([2, 3, 2], [2, 2], "linear")), flow)
    for c, k in ((2, 2), (2, 3), (3, 3), (3, 2)):
        yield TableRow(
            f"linear convolutions 1-{c}-1, kernels {k}, {k}{DISAGREES}", Model(Conv1d([1, c, 1], [k, k], "linear"))
        )
    yield TableRow("linear convolutions 1-2-1, kernels 3, 2", Model(Conv1d([1, 2, 1], [3, 2], "linear")))
    yield TableRow("linear convolutions 2-2-1, kernels 2, 2", Model(Conv1d([2, 2, 1], [2, 2], "linear")))
    yield TableRow("linear convolutions 2-2-2, kernels 2, 2", Model(Conv1d([2, 2, 2], [2, 2], "linear")))


def counted(rows: Iterator[TableRow], rng: int = 0) -> Iterator[tuple[TableRow, LawCount]]:
    """Yield rows with their counts."""
    for row in rows:
        yield row, count(row.model, row.flow, rng)


def markdown(row: TableRow, law_count: LawCount) -> str:
    """Return a row of the table: the laws, the dimensions that they are of, and what is certain."""
    if law_count.lower < law_count.upper:
        certainty = f"at least {law_count.lower}"
    else:
        certainty = f"if {law_count.assumption}" if law_count.assumption else "certified"
    return f"| {row.text} | {row.flow} | {law_count.count} / {law_count.n_dimensions} | {certainty} |"


HEADER = "| architecture | flow | laws / dimensions | |\n|---|---|---|---|"
