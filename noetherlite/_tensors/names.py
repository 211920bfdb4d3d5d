"""Names of laws, made from the tensors they tie together, in the words of transformers, norms and layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .law import Law, Member

_QUERY = ("q", "query", "q_proj", "wq", "to_q", "q_attn", "w_q", "query_proj")
_KEY = ("k", "key", "k_proj", "wk", "to_k", "w_k", "key_proj")
_VALUE = ("v", "value", "v_proj", "wv", "to_v", "w_v", "value_proj")
_FUSED = ("c_attn", "qkv", "qkv_proj", "query_key_value", "in_proj", "in_proj_weight", "wqkv")
_LEAVES = ("weight", "bias", "kernel", "scale", "embedding", "gamma", "beta")
_LAYER = re.compile(r"(?:^|[._])(\d+)(?:[._]|$)")


def named(law: Law) -> str:
    """Return a name for a law."""
    layer = _layer_of(law.tensors)
    modules = list(dict.fromkeys(_module(m.tensor) for m in law.members))
    return _attention_name(law, layer) or _norm_name(law, modules) or _kind_name(law, modules)


def _module(tensor: str) -> str:
    head, _, leaf = tensor.rpartition(".")
    return head if head and leaf in _LEAVES else tensor


def _layer_of(tensors: Sequence[str]) -> str:
    """Return " of layer 3" where all tensors have that number, in the first place where one has any."""
    numbers = [match.group(1) if (match := _LAYER.search(name)) else "" for name in tensors]
    return f" of layer {numbers[0]}" if numbers[0] and len(set(numbers)) == 1 else ""


def _is_module(member: Member, names: Sequence[str]) -> bool:
    return any(word in names for word in _module(member.tensor).lower().split(".")[-1:])


def _attention_name(law: Law, layer: str) -> str:
    if law.kind not in ("gl", "complex", "rotate", "scale") or len(law.members) < 2:
        return ""
    heads = len(law.blocks) > 1 and law.acting is not None
    copies = law.size // law.blocks[law.acting] if heads and law.acting is not None else 1
    plural = f"{copies} {'pairs' if law.kind == 'complex' else 'heads'}" if copies > 1 else "one head"
    members = law.members
    fused = [m for m in members if _is_module(m, _FUSED)]
    queries, keys, values = (any(_is_module(m, words) for m in members) for words in (_QUERY, _KEY, _VALUE))
    if (queries and keys and not values) or (fused and len(fused) == len(members)):
        pair = "queries and keys"
    elif (values and not (queries or keys)) or (fused and law.kind != "scale"):
        pair = "values and output"
    else:
        return ""
    return f"{pair}{layer}{f' ({plural})' if law.kind != 'scale' else ''}"


def _norm_name(law: Law, modules: Sequence[str]) -> str:
    """Return the name of a law between a norm's gain and the layers that read it."""
    vector = [m for m in law.members if len(m.leg.splits) == 1]
    gain = [m for m in vector if m.coefficient > 0 and not m.tensor.endswith(("bias", "beta"))]
    acted_on = {_module(m.tensor) for m in law.members if m.coefficient > 0}
    if law.kind == "scale" and len(gain) == 1 and len(modules) > 1 and len(acted_on) == 1:
        return f"gain of {_module(gain[0].tensor)} with its readers"
    return ""


def _kind_name(law: Law, modules: Sequence[str]) -> str:
    shown = " and ".join(modules[:2]) + (f" and {len(modules) - 2} more" if len(modules) > 2 else "")
    parts = {m.leg.part for m in law.members if m.leg.part}
    cut = f" (entries {', '.join(f'{p[1]}:{p[2]}' for p in sorted(parts))})" if len(law.members) == 1 and parts else ""
    word = {
        "scale": "scaling of" if len(law.members) == 1 else "neurons between",
        "whole": "scaling of the whole of",
        "translate": "shift of",
        "null": "no gradient in",
        "gl": "linear maps between" if len(modules) > 1 else "linear maps of",
        "rotate": "rotations of",
        "complex": "complex numbers between",
    }[law.kind]
    return f"{word} {law.members[0].tensor if len(law.members) == 1 else shown}{cut}"
