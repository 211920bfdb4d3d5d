"""The verbs run and resume: a configuration or a checkpoint in; a trajectory, its plots and a table of its laws out."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate, plot
from ..checkpoint import CheckpointError, unfinished
from ..ensemble import ensemble
from ..network import Network
from ..resume import resume
from ..simulate import integrate
from ..trajectory import Trajectory
from . import say
from .config import ALGORITHMS, MEMBERS, NOT_IN_DATA, NOT_IN_RUN, PLOTS, SOURCES, Config, Output, file_name
from .signatures import keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CODES = {"completed": say.FINE, "diverged": say.BROKEN, "stopped": say.INTERRUPTED}


def add(verbs: Any) -> None:
    """Add the verbs."""
    run = say.verb(
        verbs,
        "run",
        _run,
        help="train as a configuration file says, and watch the laws",
        examples="examples/gradient_descent.toml\nexamples/nesterov.toml --out results --no-progress\n"
        "my.toml --dry-run\nmy.toml --json | jq .laws",
        more=_sections(),
    )
    run.add_argument("config", metavar="CONFIG.toml", type=Path, help="what to run; see examples/")
    run.add_argument("--dry-run", action="store_true", help="only check the file, and say what would be run")
    run.add_argument("--overwrite", action="store_true", help="start again where a checkpoint could be gone on with")
    outputs(run, "out")
    go_on = say.verb(
        verbs,
        "resume",
        _resume,
        help="go on with a run from its checkpoint, as if it had not been interrupted",
        examples="out/long.ckpt.npz\nout/long.ckpt.npz --config long.toml --json",
        more="A run writes checkpoints where its configuration has checkpoint_every under [run].\n\n",
    )
    go_on.add_argument("file", metavar="FILE", type=Path, help="the checkpoint")
    go_on.add_argument(
        "--config",
        metavar="CONFIG.toml",
        type=Path,
        help="the run's configuration, for data that were too large for the checkpoint, and for its plots",
    )
    outputs(go_on, None)


def outputs(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options about where results go."""
    said = default or "that of FILE"
    parser.add_argument(
        "--out", type=Path, default=default, metavar="DIR", help=f"folder to write to (default: {said})"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def _sections() -> str:
    """Return what a configuration may hold, for --help."""
    data = {f"[data] source = {name!r}": keys(make, NOT_IN_DATA) for name, make in SOURCES.items()}
    rules = {f"[algorithm] name = {name!r}": keys(make) for name, make in ALGORITHMS.items()}
    rows: dict[str, Iterable[str]] = {
        "[network]": keys(Network),
        **data,
        "[initial]": [*keys(Network.init, ("self",)), "or path, an .npz file with x, and v for a velocity"],
        **rules,
        "[run]": [*keys(integrate, NOT_IN_RUN), *MEMBERS],
        "[output]": keys(Output),
    }
    table = say.columns((name, " ".join(what)) for name, what in rows.items())
    return f"""sections and keys of a configuration, explained in examples/ and, as they are those of the library, there:
{table}
  A list for lr trains a network with each; members = 16 trains 16 networks from different starts.
  Paths are relative to the configuration file.

"""


def _run(options: argparse.Namespace) -> int:
    job = Config(options.config).job()
    several = job.start.ndim == 2
    title = (
        f"{job.output.name}: {job.U.network} on {job.U.dataset}, {job.U.n_samples} samples; {_validate.describe(job.algorithm)}, "
        f"{f'{len(job.start)} networks, ' if several else ''}{job.arguments['steps']} steps, {job.n_bytes / 1e6:.3g} MB"
    )
    if options.dry_run:
        if options.json:
            say.answer({"name": job.output.name, "laws": job.laws, "bytes": job.n_bytes, "run": title})
        else:
            print(f"{title}\nlaws: {', '.join(job.laws) or 'none'}")
        return say.FINE
    if not options.json:
        print(title, flush=True)
    _writable(options.out)
    checkpoint = None
    if "checkpoint_every" in job.arguments:
        checkpoint = options.out / f"{job.output.name}.ckpt.npz"
        if checkpoint.exists() and not options.overwrite and unfinished(checkpoint):
            raise FileExistsError(
                f"{checkpoint} is of a run that can go on by `noetherlite resume {checkpoint}`; --overwrite starts again"
            )
        job.arguments["checkpoint"] = checkpoint
    run: Any = ensemble if several else integrate
    start = partial(run, job.U, job.algorithm, job.start, **job.arguments)
    return _finish(start, options, job.output, checkpoint)


def _resume(options: argparse.Namespace) -> int:
    job = None if options.config is None else Config(options.config).job()
    stem = re.sub(r"\.ckpt(\.previous)?\.npz$", "", options.file.name)
    # The run must not be written over its checkpoint.
    name = file_name(stem if stem != options.file.name else f"{options.file.stem}-resumed")
    options.out = options.out or options.file.parent
    _writable(options.out)
    go_on = partial(resume, options.file, potential=None if job is None else job.U)
    return _finish(go_on, options, Output(name) if job is None else replace(job.output, name=name), options.file)


def _finish(
    start: Callable[..., Trajectory], options: argparse.Namespace, output: Output, checkpoint: Path | None
) -> int:
    """Run, write the run and its plots, say how it went, and return the exit code."""
    failure = None
    try:
        trajectory = start(progress=not options.no_progress)
    except CheckpointError as error:
        trajectory, failure = error.trajectory, error
    if options.config is not None:  # what a report tells of how to repeat the run
        told = {"command": f"noetherlite run {options.config}", "configuration": options.config.read_text("utf-8")}
        trajectory = replace(trajectory, specification={**trajectory.specification, **told})
    report = summary(trajectory)
    files = report["files"] = [str(trajectory.save(options.out / output.name))]
    if failure is not None:
        raise failure
    for wanted in output.plots:
        file = options.out / f"{output.name}-{wanted.replace(':', '-')}.png"
        say.draw(partial(_paint, trajectory, wanted), file)
        files.append(str(file))
    if trajectory.status == "stopped":
        report["resume"] = None if checkpoint is None else f"noetherlite resume {checkpoint}"
    if options.json:
        say.answer(report)
    else:
        _print(report)
    return _CODES[trajectory.status]


def _paint(trajectory: Trajectory, wanted: str, axes: Axes) -> None:
    if wanted in PLOTS:
        getattr(plot, wanted)(trajectory, axes)
    else:
        plot.law(trajectory, wanted, ax=axes)


def _writable(folder: Path) -> None:
    """Raise an OSError before the run rather than after it where nothing can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def summary(trajectory: Trajectory) -> dict[str, Any]:
    """Return what there is to say of a run, or of all runs of an ensemble together, ready for JSON."""
    loss = np.atleast_2d(trajectory.loss)
    finite = [row[np.isfinite(row)] for row in loss if np.isfinite(row).any()]  # runs may not have begun
    return {
        "status": trajectory.status,
        "message": trajectory.message,
        "loss": {"start": _range(row[0] for row in finite), "end": _range(row[-1] for row in finite)},
        "laws": {
            name: {
                "components": int(np.prod(law.quantity.shape[law.t.ndim :])),
                "residual": law.largest("residual"),
                "discrete_residual": law.largest("discrete_residual"),
            }
            for name, law in trajectory.laws.items()
        },
    }


def _range(values: Iterable[float]) -> list[float]:
    """Return the smallest and the largest of values, if there are any."""
    held = [float(value) for value in values]
    return [min(held), max(held)] if held else []


def _print(report: dict[str, Any]) -> None:
    start, end = (
        " … ".join(f"{v:.4g}" for v in dict.fromkeys(report["loss"][key])) or "none" for key in ("start", "end")
    )
    print(f"{report['message']}; loss {start} → {end}")
    if report["laws"]:
        head = ("law", "components", "max |residual|", "max |discrete residual|")
        rows = [
            (name, str(law["components"]), f"{law['residual']:.1e}", f"{law['discrete_residual']:.1e}")
            for name, law in report["laws"].items()
        ]
        print(say.columns([head, *rows], right=(1, 2, 3)))
    print(f"wrote {', '.join(report['files'])}")
    if "resume" in report:
        print(f"go on by {report['resume'] or 'nothing: [run] has no checkpoint_every'}")
