"""The verb check: compare a recording of any framework with the laws."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .._base import checks
from .._base.files import arrays
from .._base.types import Array, Float64Array
from .._motion.base import Algorithm
from .._motion.dynamics import Dynamics
from .._problem import datasets
from .._problem.network import Network, NetworkPotential
from .._run.trajectory import stored_specification
from . import say
from .config import Config
from .laws import dynamics_flag, network, network_flags, network_flags_given

_NOTES = """FILE is an .npz file, never unpickled, with
  t        times, shape (R,): kη for gradient descent, kh for second order
  params   parameters in the layout of this library, shape (R, P); or
  W1, b1, W2, … (and beta1, … of swish)    those of each layer, stacked over the records: (R, n_1, n_0), (R, n_1), …
  exp_avg, exp_avg_sq, momentum_buffer    what PyTorch's optimiser keeps under these names, as params, shape (R, P)
  header   of a run's own file: the key of the noise of SGLD and BAOAB is read from it
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
        notes=_NOTES,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the recording")
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG.toml", help="take network, data and algorithm from its sections"
    )
    network_flags(parser)
    dynamics_flag(parser)
    parser.add_argument("--data", type=Path, metavar="DATA.npz", help="X and y (default: those in FILE)")


def _check(options: argparse.Namespace) -> int:
    from .._check.check import check

    recording = arrays(options.file)
    U, motion, minibatches = _claimed_problem(options, recording)
    if "t" not in recording:
        raise ValueError(f"{options.file} holds {_array_names(recording)}; expected t, the times of its records")
    pauses = isinstance(motion, Algorithm) and motion.has_schedule  # where rates are zero, as at the start of a warm-up
    t: Float64Array = checks.array(recording["t"], "t", ndim=1) if pauses else checks.times(recording["t"])  # type: ignore[assignment]
    params = _recorded_parameters(U.network, recording, options.file)
    every, between = _spacing(motion, t)
    if isinstance(motion, Algorithm) and between:
        steps = np.diff(t) / motion.dt
        if not motion.rates and not np.allclose(steps, np.maximum(np.round(steps), 1), rtol=1e-6):
            raise ValueError(
                f"{options.file}: its records are {t[1] - t[0]:g} apart, and a step of {motion} takes {motion.dt:g}: is it a run of "
                "another learning rate? --dynamics beside --config compares it with the flow alone"
            )
        if minibatches:
            raise ValueError(
                f"{options.file}: runs by minibatches are checked step by step, and here there are steps of {motion.dt:g} "
                "between the records; record every step"
            )
        if not motion.starts_anywhere:
            raise ValueError(
                f"{options.file}: every step of {motion} is needed, and here there are steps of {motion.dt:g} between the records"
            )
        evenly = np.allclose(np.diff(t[:-1]), t[1] - t[0], rtol=1e-6)  # the last interval of a run may be shorter
        if not (evenly or motion.weight_decay or motion.has_schedule) and motion.is_linear:
            every, motion = 1, motion.dynamics  # steps are replayed from row to row by one number of them only
    names = motion.states if isinstance(motion, Algorithm) else ()
    states: dict[str, Any] = {name: recording[name] for name in names if name in recording}
    if isinstance(motion, Algorithm) and motion.has_noise:
        states["noise_key"] = stored_specification(options.file).get("arguments", {}).get("batch_key")
    report = check(U, params, t, motion, minibatches=minibatches, every=every, **states)
    broken = [row.name for row in report.rows if row.verdict == "broken"]
    answer = {
        "verdict": report.verdict,
        "ok": report.ok,
        "broken": broken,
        "not decidable": [row.name for row in report.rows if row.verdict == "not decidable"],
        "findings": report.findings,
        "limits": report.limits,
        "rows": [
            {"name": row.name, "verdict": row.verdict, "where": row.where, "ratio": max(row.tally.worst[0], 0.0)}
            for row in report.rows
        ],
    }
    say.result(options, answer, str(report))
    return say.BROKEN if broken else say.FINE


def _spacing(motion: Dynamics | Algorithm, t: Float64Array) -> tuple[int, bool]:
    """Return the number of an algorithm's steps from row to row, and whether there are several, or parts of one."""
    if not isinstance(motion, Algorithm) or t.size < 2:
        return 1, False
    if motion.rates:
        times = motion.times(0.0, np.arange(len(motion.rates) + 1))
        every = max(int(np.argmin(np.abs(times - t[1])) - np.argmin(np.abs(times - t[0]))), 1)
        return every, every > 1
    return max(round(float(t[1] - t[0]) / motion.dt), 1), not np.allclose(np.diff(t), motion.dt, rtol=1e-6)


def _claimed_problem(
    options: argparse.Namespace, recording: dict[str, Any]
) -> tuple[NetworkPotential, Dynamics | Algorithm, bool]:
    """Return the potential, the algorithm or dynamics, and whether minibatches were used, as flags or configuration say."""
    flags = [*network_flags_given(options), *(["--data"] if options.data else [])]
    if options.config is None:
        if options.dynamics is None:
            raise say.UsageError("--dynamics is needed, for example --dynamics gf, or --config")
        if options.widths is None:
            raise say.UsageError("--widths is needed, for example --widths 784,128,10, or --config")
        net = network(options)
        if options.data is None and not {"X", "y"} <= set(recording):
            raise say.UsageError(f"--data is needed: {options.file} holds {_array_names(recording)}, not X and y")
        data = datasets.npz(options.file if options.data is None else options.data)
        return net.potential(data), options.dynamics, False
    if flags:
        raise say.UsageError(f"--config has what {flags[0]} says: give one of the two")
    config = Config(options.config)
    U, algorithms = config.problem()
    config.finish()
    assert U  # `finish` has raised if it is missing
    assert algorithms
    if len(algorithms) > 1 and options.dynamics is None:
        raise say.UsageError(
            f"{options.config}: [algorithm] lr lists {len(algorithms)} rates; expected the recording's, or --dynamics"
        )
    return U, options.dynamics or algorithms[0], config.minibatches


def _recorded_parameters(net: Network, recording: dict[str, Any], path: Path) -> Array:
    """Return params (R, P) of a recording, joined from the arrays of its layers if these are stored separately."""
    if "params" in recording:
        params: Array = recording["params"]
        return params
    names = [block.name for block in net.blocks]
    missing = [name for name in names if name not in recording]
    if missing:
        raise ValueError(
            f"{path} holds {_array_names(recording)}; expected params, which a run keeps with record_params = true, or {', '.join(names)}, "
            "stacked over the records"
        )
    records = recording["t"].size
    for block in net.blocks:
        if recording[block.name].shape != (records, *block.shape):
            raise ValueError(
                f"{path}: {block.name} must have shape {(records, *block.shape)}, a row for each time, got {recording[block.name].shape}"
            )
    return np.concatenate([recording[name].reshape(records, -1) for name in names], axis=1)


def _array_names(recording: dict[str, Any]) -> str:
    """Return the names of a file's arrays as text, without those of a saved run's laws."""
    return ", ".join(name for name in recording if "/" not in name) or "nothing"
