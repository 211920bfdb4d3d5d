"""For the tests of other frameworks' training loops: a problem, the line of a table, and the comparison of a report with it."""

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

import noetherlite as nl

HOLDS, BROKEN, UNDECIDED = "holds", "broken", "not decidable"
LR, STEPS, N, WIDTHS = 0.1, 30, 24, (4, 5, 3)

NET = nl.Network(WIDTHS, "relu", loss="nll")
SQUARES = nl.Network(WIDTHS, "relu", loss="mse")
_rng = np.random.default_rng(0)
X, Y = _rng.standard_normal((N, WIDTHS[0])), _rng.integers(0, WIDTHS[-1], N)
TARGETS = _rng.standard_normal((N, WIDTHS[-1]))
THETA = NET.init(rng=1, bias_std=0.3)
U, U_SQUARES = NET.potential(X, Y), SQUARES.potential(X, TARGETS)
U_TANH = nl.Network(WIDTHS, "tanh", loss="mse").potential(X, TARGETS)  # no law is known of it


def shuffled(size, steps=STEPS, seed=0, drop_last=True):
    """Indices of the batches of so many steps, drawn anew every epoch as a shuffling loader does."""
    rng, out = np.random.default_rng(seed), []
    while len(out) < steps:
        order = rng.permutation(N)
        epoch = [order[i : i + size] for i in range(0, N, size)]
        out += [batch for batch in epoch if len(batch) == size or not drop_last]
    return out[:steps]


def in_order(size, steps=STEPS):
    """Indices of the batches of so many steps of a loader that does not shuffle."""
    return [np.arange(N)[i % N : i % N + size] for i in range(0, size * steps, size)]


class Loop(NamedTuple):
    """A training loop, what it is held against, and what the report must say."""

    name: str
    verdict: str
    words: str
    against: Any
    U: Any
    check: dict
    train: dict


def loop(name, verdict, words="", against=None, U=U, check=None, **train):
    """A line of a table: options for `nl.check` in `check`, those of the loop at the end."""
    return Loop(name, verdict, words, nl.GD(LR) if against is None else against, U, check or {}, train)


def table(loops):
    assert len({loop.name for loop in loops}) == len(loops)
    return pytest.mark.parametrize("loop", loops, ids=[loop.name for loop in loops])


def hold(loop, params):
    """Check the recording of a loop and compare the verdict, and what is said of it, with the table's."""
    options = dict(loop.check)
    report = nl.check(loop.U, params, options.pop("t", None), loop.against, **options)
    said = "\n".join([*report.findings, *report.limits])
    assert report.verdict == loop.verdict, f"{report.verdict}: {said}\n{report}"
    assert report.ok == (loop.verdict == HOLDS)
    assert re.search(loop.words, said), said
    if loop.verdict != BROKEN:
        assert report.findings == []
