"""The verb check: a recording of any framework held against the laws."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .._base import checks
from .._base.files import arrays
from .._base.types import Array
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics
from .._problem import datasets
from .._problem.network import Network, NetworkPotential
from . import say
from .config import Config
from .laws import dynamics_flag, network, network_flags

_MORE = """FILE is an .npz file, never unpickled, with
  t        times, shape (R,): kη for gradient descent, kh for second order
  params   parameters in the layout of this library, shape (R, P); or
  W1, b1, W2, … (and beta1, … of swish)    those of each layer, stacked over the records: (R, n_1, n_0), (R, n_1), …
  X, y     the training data, unless --data or --config gives them
A file that `noetherlite run` wrote with record_params = true is one.

"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "check",
        _check,
        help="hold a recorded trajectory of any framework against the laws and its gradient",
        examples="out/newtonian.npz --config examples/newtonian.toml\n"
        "recording.npz --widths 4,8,3 --activation relu --dynamics nagf --data data.npz\n"
        "recording.npz --widths 4,8,3 --dynamics gf --json | jq .broken",
        more=_MORE,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the recording")
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG.toml", help="take network, data and algorithm from its sections"
    )
    network_flags(parser, required=False)
    dynamics_flag(parser, default=None)
    parser.add_argument("--data", type=Path, metavar="DATA.npz", help="X and y (default: those in FILE)")


def _check(options: argparse.Namespace) -> int:
    from .._check.check import check

    held = arrays(options.file)
    U, followed, minibatches = _claim(options, held)
    if "t" not in held:
        raise ValueError(f"{options.file} holds {_names(held)}; expected t, the times of its records")
    t, params = checks.times(held["t"]), _parameters(U.network, held, options.file)
    every = 1
    if isinstance(followed, Algorithm) and not np.allclose(np.diff(t), followed.dt, rtol=1e-6):
        if minibatches:
            raise ValueError(
                f"{options.file}: runs by minibatches are checked step by step, and here there are steps of {followed.dt:g} "
                "between the records; record every step"
            )
        if followed.weight_decay:
            every = max(round(float(t[1] - t[0]) / followed.dt), 1) if t.size > 1 else 1  # a flow has no decay: replay
        else:
            followed = followed.dynamics  # there are steps between the records
    report = check(U, params, t, followed, minibatches=minibatches, every=every)
    broken = [row.name for row in report.rows if row.verdict == "broken"]
    if options.json:
        rows = [
            {
                "name": row.name,
                "verdict": row.verdict,
                "where": row.where,
                "ratio": max(row.tally.worst[0], 0.0),
            }
            for row in report.rows
        ]
        undecided = [row.name for row in report.rows if row.verdict == "not decidable"]
        say.answer(
            {
                "verdict": report.verdict,
                "ok": report.ok,
                "broken": broken,
                "not decidable": undecided,
                "findings": report.findings,
                "limits": report.limits,
                "rows": rows,
            }
        )
    else:
        print(report)
    return say.BROKEN if broken else say.FINE


def _claim(options: argparse.Namespace, held: dict[str, Any]) -> tuple[NetworkPotential, Dynamics | Algorithm, bool]:
    """Return what the recording is said to be: a potential, what follows it, and whether by minibatches."""
    flags = [name for name in ("widths", "activation", "no_bias", "loss", "data") if getattr(options, name)]
    if options.config is None:
        if options.dynamics is None:
            raise say.UsageError("--dynamics is needed, for example --dynamics gf, or --config")
        if options.widths is None:
            raise say.UsageError("--widths is needed, for example --widths 784,128,10, or --config")
        net = network(options)
        if options.data is None and not {"X", "y"} <= set(held):
            raise say.UsageError(f"--data is needed: {options.file} holds {_names(held)}, not X and y")
        data = datasets.npz(options.file if options.data is None else options.data)
        return net.potential(data), options.dynamics, False
    if flags:
        raise say.UsageError(f"--config has what --{flags[0].replace('_', '-')} says: give one of the two")
    config = Config(options.config)
    U, algorithms = config.problem()
    config.finish()
    assert U  # what is missing has left an error
    assert algorithms
    if len(algorithms) > 1 and options.dynamics is None:
        raise say.UsageError(
            f"{options.config}: [algorithm] lr lists {len(algorithms)} rates; expected the recording's, or --dynamics"
        )
    return U, options.dynamics or algorithms[0], config.minibatches


def _parameters(net: Network, held: dict[str, Any], path: Path) -> Array:
    """Return params (R, P) of a recording, put together from its layers where it has them apart."""
    if "params" in held:
        params: Array = held["params"]
        return params
    names = [block.name for block in net.blocks]
    missing = [name for name in names if name not in held]
    if missing:
        raise ValueError(
            f"{path} holds {_names(held)}; expected params, which a run keeps with record_params = true, or {', '.join(names)}, "
            "stacked over the records"
        )
    records = held["t"].size
    for block in net.blocks:
        if held[block.name].shape != (records, *block.shape):
            raise ValueError(
                f"{path}: {block.name} must have shape {(records, *block.shape)}, a row for each time, got {held[block.name].shape}"
            )
    return np.concatenate([held[name].reshape(records, -1) for name in names], axis=1)


def _names(held: dict[str, Any]) -> str:
    """Return the names of the arrays of a file, without those of the laws of a saved run."""
    return ", ".join(name for name in held if "/" not in name) or "nothing"
