"""The verb laws for today's architectures: the number of laws of known models, and the table of exact counts."""

from __future__ import annotations

import argparse
import re
from collections import Counter

from .._arch.known_laws import KnownLaws
from .._arch.transformer import PRESETS, Transformer
from .._base import checks
from . import say


def count_known(options: argparse.Namespace, flow: str) -> int:
    """Print the laws of a known model by where they come from."""
    with say.judging_arguments():
        model = Transformer(**PRESETS[checks.one_of(options.model, "--model", PRESETS)])
    known = model.known_laws(flow)
    by_kind = Counter[str]()  # of all layers together
    for wire, laws in known.items():
        by_kind[re.sub(r"\s*\d+", "", wire)] += laws
    every = KnownLaws(by_kind, model.n_params, flow, known.tokens)
    numbers = {"parameters": model.n_params, "flow": flow, "laws": every.total, "by wire": dict(every)}
    report = {"model": options.model, **numbers, "lower bound": bool(every.limit), "limit": every.limit}
    say.result(options, report, f"{options.model}:\n{every}")
    return say.FINE


def print_table(options: argparse.Namespace) -> int:
    """Count all architectures of the documentation's table, and print it as rows of Markdown."""
    from .._theory import count_table

    if not options.json:
        print(count_table.HEADER)
    answer = []
    for row, count in count_table.counted(count_table.rows()):
        if options.json:
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
    if options.json:
        say.answer(answer)
    return say.FINE
