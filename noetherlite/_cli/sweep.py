"""The verb sweep: a configuration whose [sweep] lists values of its keys, trained for all their combinations."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .._base import checks
from .._run.integrate import integrate
from .._show import plots
from .._sweep.sweep import sweep as _sweep
from . import say, settings
from .config import Config, Job
from .run import summary
from .signatures import printable, shown
from .toml_file import ConfigError, digests, read

_NOTES = """[sweep] lists the values of keys of the other sections; all combinations are trained, each as `noetherlite run` would:

  [sweep]
  "algorithm.lr" = [0.01, 0.1]
  "initial.rng" = [0, 1, 2]

Each is written to DIR when it is done; a second call goes on with what is missing. One numba and one BLAS thread per process
of --workers; of Dask's and MPI's as docs/clusters.md says.

"""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "sweep",
        _run,
        help="train for all combinations of parameters that a configuration lists",
        examples="examples/sweep.toml --workers 4 --plot algorithm.lr loss\n"
        "examples/sweep.toml --dask tcp://127.0.0.1:8786\nexamples/sweep.toml --json | jq .table",
        notes=_NOTES,
    )
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, help="what to run; see examples/sweep.toml")
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument(
        "--workers", type=say.at_least(1), metavar="N", help="train on N processes of this machine (default: this one)"
    )
    workers.add_argument("--dask", metavar="ADDRESS", help="train on the workers of the Dask scheduler at ADDRESS")
    workers.add_argument(
        "--mpi",
        action="store_true",
        help="train on MPI processes, under `mpiexec -n N python -m mpi4py.futures -m noetherlite sweep …`",
    )
    parser.add_argument(
        "--out", type=say.folder, metavar="DIR", help="folder to write to (default: out/NAME, of [output] name)"
    )
    parser.add_argument(
        "--plot", nargs=2, metavar=("X", "Y"), action="append", default=[], help="draw column Y against column X (PNG)"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def _run(options: argparse.Namespace) -> int:
    content = read(options.config)
    grid = _read_grid(options.config, content.pop("sweep", {}))
    name, results = _check_members(options.config, content, grid)
    with say.judging_arguments():
        for x, y in options.plot:
            _check_column(x, {**results, **grid}, int | float | str)
            _check_column(y, {**results, **grid}, int | float)
    out = options.out or Path("out", name)
    # The configuration has only the names of files; their content is part of what identifies the sweep.
    file_digests = digests(options.config, content, grid)
    train = partial(
        _train, str(options.config.absolute()), content, **({"files": file_digests} if file_digests else {})
    )
    with _open_executor(options) as executor:
        runs = _sweep(train, grid, executor, out, progress=not options.no_progress)
    files = []
    for x, y in options.plot:
        files.append(out / (re.sub(r"[^\w.-]+", "-", f"{y}-{x}") + ".png"))
        say.draw(partial(plots.sweep, runs, x, y), files[-1])
    report = {
        "status": runs.status,
        "message": runs.message,
        "table": {name: column.tolist() for name, column in runs.table().items()},
        "failures": [{"parameters": m.parameters, "error": m.error} for m in runs.failures],
        "out": str(out),
        "files": [str(file) for file in files],
    }
    lines = [*map(printable, runs.summary().splitlines()), f"wrote {', '.join(map(str, [out, *files]))}"]
    say.result(options, report, "\n".join(lines))
    if runs.status == "stopped":
        return say.INTERRUPTED
    return say.FAILED if runs.failures else say.FINE


def _read_grid(path: Path, section_values: Any) -> dict[str, list[Any]]:
    """Return the values of each key "section.key"; TOML makes tables of keys that are not in quotes."""
    grid: dict[str, list[Any]] = {}
    flat: dict[str, Any] = {}
    errors = []
    for section, value in section_values.items() if isinstance(section_values, dict) else ():
        flat |= {f"{section}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {section: value}
    for key, values in flat.items():
        if not re.fullmatch(r"(?!sweep\.)\w+\.\w+", key):
            errors.append(f'{key} = {shown(values)}: expected a key of another section, such as "algorithm.lr"')
        elif not isinstance(values, list) or not values:
            errors.append(f"{key} = {shown(values)}: expected a list of values")
        elif any(isinstance(value, dict) for value in values):
            errors.append(
                f"{key} = {shown(values)}: expected no tables, such as a schedule or rates by block, among the values"
            )
        grid[key] = values
    if not flat:
        errors.append('expected lists of values, such as "algorithm.lr" = [0.01, 0.1]')
    if errors:
        raise ConfigError("\n".join(f"{path}: [sweep] {printable(error)}" for error in errors))
    return grid


def _check_members(
    path: Path, content: Mapping[str, Any], grid: Mapping[str, list[Any]]
) -> tuple[str, dict[str, list[Any]]]:
    """Return the sweep's name, and an example value of each result by name.

    Raises ConfigError with the errors of every value, checked with the first value of every other key.
    """
    first = {key: values[0] for key, values in grid.items()}
    changes = [{key: value} for key, values in grid.items() for value in values[1:]]
    errors: dict[str, None] = {}
    results: dict[str, list[Any]] = {"status": ["completed"], "loss at start": [0.0], "loss": [0.0]}
    for change in [{}, *changes]:
        try:
            job = _member_job(path, content, {**first, **change})
        except ConfigError as error:
            errors |= dict.fromkeys(str(error).splitlines())
        else:
            results |= {f"{law} {field}": [0.0] for law in job.laws for field in ("residual", "discrete")}
    if errors:
        raise ConfigError("\n".join(errors))
    return job.output.name, results


def _check_column(name: str, columns: Mapping[str, list[Any]], kind: Any) -> None:
    """Raise ValueError, before the training, if a column cannot be drawn."""
    for value in columns[checks.one_of(name, "--plot", columns)]:
        if not isinstance(value, kind):
            raise ValueError(f"--plot: column {name!r} must hold one number a member, got {checks.describe(value)}")


def _member_job(path: Path, content: Mapping[str, Any], parameters: Mapping[str, Any]) -> Job:
    """Return the run of one member."""
    job = Config(path, content=settings.changed(content, parameters)).job()
    if job.start.ndim == 2:
        raise ConfigError(
            f"{path}: a member of a sweep is one run: expected no [run] members and no list for [algorithm] lr"
        )
    if "checkpoint_every" in job.arguments:
        raise ConfigError(f"{path}: [run] checkpoint_every: expected none in a sweep, which goes on run by run")
    return job


def _train(
    path: str,
    content: Mapping[str, Any],
    rng: object,
    files: Mapping[str, str] = MappingProxyType({}),
    **parameters: Any,
) -> dict[str, Any]:
    """Train one member. Its seeds are in the configuration, so `rng` is not used; `files` are part of the sweep's identity."""
    job = _member_job(Path(path), content, parameters)
    report = summary(integrate(job.U, job.algorithm, job.start, **job.arguments))  # type: ignore[arg-type]
    result = {
        "status": report["status"],
        "loss at start": report["loss"]["start"][0],
        "loss": report["loss"]["end"][-1],
    }
    for name, law in report["laws"].items():
        result |= {f"{name} residual": law["residual"], f"{name} discrete": law["discrete_residual"]}
    return result


@contextmanager
def _open_executor(options: argparse.Namespace) -> Iterator[Executor | int | None]:
    if options.dask is not None:
        try:
            from distributed import Client
        except ImportError:
            raise RuntimeError("--dask needs Dask: pip install 'noetherlite[distributed]'") from None
        with Client(options.dask, set_as_default=False) as client:
            yield client.get_executor(pure=False)
    elif options.mpi:
        try:
            from mpi4py import MPI
            from mpi4py.futures import MPIPoolExecutor
        except (ImportError, RuntimeError):
            raise RuntimeError("--mpi needs MPI and mpi4py: pip install 'noetherlite[mpi]'") from None
        if MPI.COMM_WORLD.size < 2:
            raise RuntimeError(
                "--mpi has no processes to train on: start it by `mpiexec -n N python -m mpi4py.futures -m noetherlite sweep …`"
            )
        with MPIPoolExecutor() as executor:
            yield executor
    else:
        yield options.workers
