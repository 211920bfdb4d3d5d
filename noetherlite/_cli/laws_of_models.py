"""The verb laws for today's architectures: the number of laws of known models, and the table of exact counts."""

from __future__ import annotations

import re
from collections import Counter

from .._arch.transformer import PRESETS, Transformer
from .._base import checks
from . import say


def count_known(name: str, flow: str, as_json: bool) -> int:
    """Print the laws of a known model by where they come from."""
    try:
        model = Transformer(**PRESETS[checks.one_of(name, "--model", PRESETS)])
    except ValueError as error:
        raise say.UsageError(str(error)) from None
    found = Counter[str]()
    for wire, laws in model.known_laws(flow).items():
        found[re.sub(r"\s*\d+", "", wire)] += laws
    total = sum(found.values())
    if as_json:
        say.answer({"model": name, "parameters": model.n_params, "flow": flow, "laws": total, "by wire": dict(found)})
        return say.FINE
    width = max(map(len, found))
    for wire, laws in found.items():
        print(f"{wire:<{width}}  {laws:>12,}")
    print(f"{f'{name}, {flow} flow':<{width}}  {total:>12,}   of {model.n_params:,} parameters")
    return say.FINE


def print_table(as_json: bool) -> int:
    """Count all architectures of the documentation's table, and print it as rows of Markdown."""
    from .._theory import count_table

    if not as_json:
        print(count_table.HEADER)
    answer = []
    for row, count in count_table.counted(count_table.rows()):
        if as_json:
            answer.append(
                {
                    "architecture": row.text,
                    "flow": row.flow,
                    "laws": count.count,
                    "known": count.lower,
                    "dimensions": count.n_dimensions,
                    "certified": count.certified,
                    "assumption": count.assumption,
                    "by wire": count.by_name,
                }
            )
        else:
            print(count_table.markdown(row, count), flush=True)
    if as_json:
        say.answer(answer)
    return say.FINE
