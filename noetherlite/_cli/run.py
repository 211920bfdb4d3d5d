"""The verbs run and resume: a configuration or a checkpoint in; a trajectory, its plots and a table of its laws out."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks
from .._base.files import present, writable
from .._base.types import Array
from .._motion.algorithms import ALGORITHMS
from .._problem.network import Network
from .._run.checkpoint import CheckpointError, begun_as, unfinished
from .._run.ensemble import ensemble
from .._run.integrate import integrate
from .._run.resume import resume
from .._run.trajectory import BLEW_UP, Trajectory, stored_specification
from .._show import plots
from .._symmetry.records import VERDICTS
from . import say, settings, toml_file
from .config import MEMBERS, NOT_IN_DATA, NOT_IN_RUN, PLOTS, SOURCES, Config, Output, file_name
from .signatures import keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Entries that identify the run of a file: the text of its configuration, and digests of the files that it names.
_ORIGIN = ("configuration", "files")
_CODES = {"completed": say.FINE, "diverged": say.BROKEN, "stopped": say.INTERRUPTED}


def add(verbs: Any) -> None:
    """Add the verbs."""
    run = say.verb(
        verbs,
        "run",
        _run,
        help="train as a configuration file says, and watch the laws",
        examples="examples/gradient_descent.toml\nexamples/nesterov.toml --out results --no-progress\n"
        "my.toml --dry-run\nmy.toml --json | jq .laws\n"
        "my.toml --set algorithm.lr=0.1 --set output.name=fast",
        notes=_describe_sections(),
    )
    run.add_argument("config", metavar="CONFIG.toml", type=Path, help="what to run; see examples/")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="settings",
        help="another value of a key, as in TOML: --set algorithm.lr=0.1 --set run.steps=2000; may be repeated",
    )
    run.add_argument("--dry-run", action="store_true", help="only check the file, and say what would be run")
    add_output_options(run, "out")
    go_on = say.verb(
        verbs,
        "resume",
        _resume,
        help="go on with a run from its checkpoint, as if it had not been interrupted",
        examples="out/long.ckpt.npz\nout/long.ckpt.npz --config long.toml --json",
        notes="A run writes checkpoints where its configuration has checkpoint_every under [run].\n\n",
    )
    go_on.add_argument("file", metavar="FILE", type=Path, help="the checkpoint")
    go_on.add_argument(
        "--config",
        metavar="CONFIG.toml",
        type=Path,
        help="the run's configuration, for data that were too large for the checkpoint, and for its plots",
    )
    go_on.add_argument(
        "--steps",
        type=say.at_least(1),
        metavar="N",
        help="steps of the whole run, if more than it had: a finished run goes on",
    )
    add_output_options(go_on, None)


def add_output_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options of the output folder and of existing results."""
    default_text = default or "that of FILE"
    parser.add_argument(
        "--out", type=say.folder, default=default, metavar="DIR", help=f"folder to write to (default: {default_text})"
    )
    parser.add_argument(
        "--force",
        "--overwrite",
        action="store_true",
        help="write over results of another run, and start again where a checkpoint could be gone on with",
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def _describe_sections() -> str:
    """Return the sections and keys of a configuration, for --help."""
    data = {f"[data] source = {name!r}": keys(make, NOT_IN_DATA) for name, make in SOURCES.items()}
    data["[data]"] = toml_file.WEIGHTS
    algorithms = {f"[algorithm] name = {name!r}": keys(make) for name, make in ALGORITHMS.items()}
    rows: dict[str, Iterable[str]] = {
        "[network]": keys(Network),
        **data,
        "[initial]": [*keys(Network.init, ("self",)), "or path, an .npz file with x, and v for a velocity"],
        **algorithms,
        "[run]": [*keys(integrate, NOT_IN_RUN), *MEMBERS],
        "[output]": keys(Output),
    }
    table = say.columns((name, " ".join(section_keys)) for name, section_keys in rows.items())
    return f"""sections and keys of a configuration, explained in examples/ and, as they are those of the library, there:
{table}
  A list for lr trains a network with each; members = 16 trains 16 networks from different starts.
  lr = {{schedule = "cosine", peak = 0.1, warm_up = 10}} is a schedule (nl.schedule), lr = {{W1 = 0.1, rest = 0.01}} a rate by block.
  Paths are relative to the configuration file.

results are DIR/NAME.npz and its plots; NAME is that of [output], or the configuration's. Results of the same configuration are
written again, those of another only with --force.

"""


def _run(options: argparse.Namespace) -> int:
    text = toml_file.text(options.config)
    values = settings.parsed(options.settings)
    content = settings.changed(toml_file.parse(options.config, text), values)
    job = Config(options.config, content=content).job()
    several = job.start.ndim == 2
    title = (
        f"{job.output.name}: {job.U.network} on {job.U.dataset}, {job.U.n_samples} samples; {checks.describe(job.algorithm)}, "
        f"{f'{len(job.start)} networks, ' if several else ''}{job.arguments['steps']} steps, {job.n_bytes / 1e6:.3g} MB"
    )
    note = (
        f"[sweep] is left aside; `noetherlite sweep {options.config}` trains its members" if "sweep" in content else ""
    )
    if options.dry_run:
        report = {"name": job.output.name, "laws": job.laws, "bytes": job.n_bytes, "run": title}
        lines = [title, f"laws: {', '.join(job.laws) or 'none'}", note]
        say.result(options, {**report, **({"note": note} if note else {})}, "\n".join(filter(None, lines)))
        return say.FINE
    origin = _origin(options.config, content, text, options.settings)
    checkpoint = None
    if "checkpoint_every" in job.arguments:
        checkpoint = options.out / f"{job.output.name}.ckpt.npz"
        if checkpoint.exists() and not options.force and unfinished(checkpoint):
            raise FileExistsError(
                f"{checkpoint} is of a run that can go on by `noetherlite resume {checkpoint}`; --force starts again"
            )
        job.arguments["checkpoint"] = checkpoint
    _refuse_to_overwrite(
        options, job.output.name, lambda specification: all(specification.get(k) == origin.get(k) for k in _ORIGIN)
    )
    if not options.json:
        print(f"{title}{f'; {note}' if note else ''}", flush=True)
    _check_writable(options.out, job.output.name)
    run: Any = ensemble if several else integrate
    start = partial(run, job.U, job.algorithm, job.start, **job.arguments)
    return _run_and_report(start, options, job.output, checkpoint, origin)


def _origin(path: Path, content: Mapping[str, Any], text: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Return what says of a run how it was started: by which command, from which configuration and files."""
    command = shlex.join(["noetherlite", "run", str(path), *(word for change in changes for word in ("--set", change))])
    text += "".join(f"\n# --set {change}" for change in changes)
    files = toml_file.digests(path, content)
    return {"command": command, "configuration": text, **({"files": files} if files else {})}


def _resume(options: argparse.Namespace) -> int:
    job, origin = None, {}
    if options.config is not None:
        text = toml_file.text(options.config)
        content = toml_file.parse(options.config, text)
        job, origin = Config(options.config, content=content).job(), _origin(options.config, content, text)
    options.file = present(options.file)
    stem = re.sub(r"\.ckpt(\.previous)?\.npz$", "", options.file.name)
    # The run must not be written over its checkpoint.
    name = file_name(stem if stem != options.file.name else f"{options.file.stem}-resumed")
    options.out = options.out or options.file.parent
    started = _refuse_to_overwrite(options, name, partial(begun_as, options.file))
    # The results of the run until it was interrupted say best how it was started; with more steps it is another run.
    origin = {} if options.steps else {key: started[key] for key in ("command", *_ORIGIN) if key in started} or origin
    _check_writable(options.out, name)
    go_on = partial(resume, options.file, potential=None if job is None else job.U, steps=options.steps)
    output = Output(name) if job is None else replace(job.output, name=name)
    return _run_and_report(go_on, options, output, options.file, origin)


def _refuse_to_overwrite(
    options: argparse.Namespace, name: str, is_same: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, Any]:
    """Return the specification of the results that will be overwritten, empty if there are none of the same run.

    FileExistsError if there are others, without --force.
    """
    target = options.out / f"{name}.npz"
    if not target.exists():
        return {}
    if is_same(specification := stored_specification(target)):
        return specification
    if not options.force:
        raise FileExistsError(
            f"{target} has results of another run, or of another state of its configuration; --force writes over them, "
            "--out DIR puts the new ones elsewhere"
        )
    return {}


def _run_and_report(
    start: Callable[..., Trajectory],
    options: argparse.Namespace,
    output: Output,
    checkpoint: Path | None,
    origin: Mapping[str, Any],
) -> int:
    """Run, write the run and its plots, say how it went, and return the exit code; `told` says how to repeat the run."""
    failure = None
    try:
        trajectory = start(progress=not options.no_progress)
    except CheckpointError as error:
        trajectory, failure = error.trajectory, error
    if origin:
        trajectory = replace(trajectory, specification={**trajectory.specification, **origin})
    report = summary(trajectory)
    files = report["files"] = [str(trajectory.save(options.out / f"{output.name}.npz"))]
    if failure is not None:
        raise failure
    for name in output.plots:
        file = options.out / f"{output.name}-{name.replace(':', '-')}.png"
        say.draw(partial(_plot, trajectory, name), file)
        files.append(str(file))
    if trajectory.status == "stopped":
        report["resume"] = None if checkpoint is None else f"noetherlite resume {checkpoint}"
    say.result(options, report, "\n".join(_lines(report)))
    if BLEW_UP in trajectory.message:
        print(f"noetherlite: warning: {trajectory.message}", file=sys.stderr)
        return say.BROKEN
    broken = any(law["verdict"] == "broken" for law in report["laws"].values())
    return say.BROKEN if broken and trajectory.status == "completed" else _CODES[trajectory.status]


def _plot(trajectory: Trajectory, name: str, axes: Axes) -> None:
    if name in PLOTS:
        getattr(plots, name)(trajectory, axes)
    elif name in trajectory.observed:
        trajectory.plot_observed(name, axes)
    else:
        plots.law(trajectory, name, ax=axes)


def _check_writable(folder: Path, name: str) -> None:
    """Make the folder; raise OSError, before the run, if no file, or not that of the results, can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    writable(folder / f"{name}.npz")


def summary(trajectory: Trajectory) -> dict[str, Any]:
    """Return the report of a run, or of all runs of an ensemble together, ready for JSON."""
    loss = np.atleast_2d(trajectory.loss)
    finite = [row[np.isfinite(row)] for row in loss if np.isfinite(row).any()]  # without runs that were not started
    return {
        "status": trajectory.status,
        "message": trajectory.message,
        "loss": {"start": _extremes(row[0] for row in finite), "end": _extremes(row[-1] for row in finite)},
        "observed": {name: _ends(values, loss.shape) for name, values in trajectory.observed.items()},
        "laws": {
            name: {
                "components": int(np.prod(law.quantity.shape[law.t.ndim :])),
                "residual": law.largest("residual"),
                "discrete_residual": law.largest("discrete_residual"),
                "verdict": law.verdict,
            }
            for name, law in trajectory.laws.items()
        },
    }


def _extremes(values: Iterable[float]) -> list[float]:
    """Return [smallest, largest] of values, [] if there are none."""
    numbers = [float(value) for value in values]
    return [min(numbers), max(numbers)] if numbers else []


def _ends(values: Array, records: tuple[int, ...]) -> dict[str, list[float]]:
    """Return the extremes of an observable's first and last values that are known."""
    known = [row[np.isfinite(row).all(axis=1)] for row in values.reshape(*records, -1)]
    return {
        name: _extremes(value for row in known if len(row) for value in row[i])
        for name, i in (("start", 0), ("end", -1))
    }


def _describe_verdicts(laws: dict[str, dict[str, Any]]) -> str:
    """Return the verdicts as text: "all laws hold", or the names by verdict; '' without laws."""
    named = {verdict: [name for name, law in laws.items() if law["verdict"] == verdict] for verdict in VERDICTS}
    if len(named["holds"]) == len(laws):
        return "; all laws hold" if laws else ""
    return "".join(f"; {verdict}: {', '.join(names)}" for verdict, names in named.items() if names)


def _course(values: Mapping[str, list[float]]) -> str:
    """Return first and last values as text."""
    return " → ".join(" … ".join(dict.fromkeys(f"{v:.4g}" for v in values[key])) or "none" for key in ("start", "end"))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['message']}; loss {_course(report['loss'])}{_describe_verdicts(report['laws'])}"
    yield from (f"{name} {_course(values)}" for name, values in report["observed"].items())
    if report["laws"]:
        head = ("law", "components", "max |residual|", "max |discrete residual|", "verdict")
        rows = [
            (name, str(law["components"]), f"{law['residual']:.1e}", f"{law['discrete_residual']:.1e}", law["verdict"])
            for name, law in report["laws"].items()
        ]
        yield say.columns([head, *rows], right=(1, 2, 3))
    yield f"wrote {', '.join(report['files'])}"
    if "resume" in report:
        yield f"go on by {report['resume'] or 'nothing: [run] has no checkpoint_every'}"
