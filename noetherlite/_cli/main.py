"""The command line: dispatch to the verbs, exit codes, and errors in one line."""

from __future__ import annotations

import argparse
import functools
import io
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

from .._base.versions import version
from . import audit, check, laws, machine, paper, report, run, say, sweep, watch
from .signatures import printable

# Errors caused by a value, a file or the machine, whose message is for the user; any other exception is a bug.
_EXPECTED_ERRORS = (ValueError, TypeError, OSError, RuntimeError, MemoryError)

_EPILOG = f"""examples:
  noetherlite run examples/gradient_descent.toml      train as the file says, and watch the laws
  noetherlite resume out/long.ckpt.npz                go on with a run that was interrupted
  noetherlite sweep examples/sweep.toml --workers 4 --plot algorithm.lr loss
                                                      train for all combinations of parameters, on 4 processes
  noetherlite check recording.npz --widths 4,8,3 --dynamics gf
                                                      hold a recording of any framework against the laws
  noetherlite audit weights.npz --optimizer adam.npz  hold a checkpoint of any framework against the laws
  noetherlite watch laws.json --from dumps --once  hold parameters and gradients in files against the laws
  noetherlite report out/gradient_descent.npz         one page of a run, to send and to open from disk
  noetherlite laws --widths 784,128,10 --activation relu --dynamics nagf
                                                      what is conserved, and why
  noetherlite figure 1 --out out                      GU's Figure 1: norms move, laws hold
  noetherlite figures --out out                       all six figures, as PNG, PDF and JSON
  noetherlite tables --format latex                   the paper's five tables of dynamics and laws
  noetherlite warmup                                  compile now what the first run would else wait for
  noetherlite info                                    versions, threads, where data are looked for

`noetherlite VERB --help` has more.

{say.CODES}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with `arguments` (by default the program's own) and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.closed:
        sys.stdout.reconfigure(errors="replace")  # on terminals that cannot show the symbols of formulas
    words = sys.argv[1:] if arguments is None else arguments
    debugging = "--traceback" in words or os.environ.get("NOETHERLITE_DEBUG", "0") not in ("", "0")
    try:
        return _run_verb(words)
    except BrokenPipeError:  # the reader closed the pipe, as in `noetherlite tables | head`
        _discard_output()
        return say.FAILED
    except KeyboardInterrupt:
        say.complain("interrupted")
        return say.INTERRUPTED
    except Exception as error:
        return _report_error(error, debugging)


def _run_verb(arguments: Sequence[str]) -> int:
    """Run a verb and return its exit code, after flushing standard output."""
    try:
        options = _parser().parse_args(arguments)
        result: int = options.run(options)
    except SystemExit:  # of --help, or for wrong arguments
        _flush_output()
        raise
    _flush_output()
    return result


def _flush_output() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_output() -> None:
    """Redirect standard output to the null device, so that Python's flush at exit does not fail again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # standard output is closed, or is no file
        sys.stdout = io.StringIO()


def _report_error(error: Exception, debugging: bool) -> int:
    """Print an error in one line, or how to report it if it is a bug; return the exit code."""
    traceback_text = "".join(traceback.format_exception(error))
    if debugging:
        say.complain(traceback_text)
    if isinstance(error, say.UsageError):
        say.complain(*str(error).splitlines())
        return say.WRONG
    if isinstance(error, OSError):  # possibly of standard output, such as a full disk
        try:
            _flush_output()
        except OSError:
            _discard_output()
    if isinstance(error, _EXPECTED_ERRORS):
        say.complain(_one_line(error))
        return say.FAILED
    machine = f"noetherlite {version()}, Python {platform.python_version()} on {platform.platform()}"
    say.complain(
        f"this is a bug, and not a fault of yours: {type(error).__name__}: {_one_line(error)}",
        f"please report it, with the command, this line ({machine}) and the traceback{'' if debugging else _write_traceback(traceback_text)}",
    )
    return say.FAILED


def _write_traceback(text: str) -> str:
    """Write a traceback to a temporary file; return the end of the sentence that says where."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="noetherlite-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError:
        return ", which --traceback prints"
    return f" in {file.name}"


def _one_line(error: Exception) -> str:
    """Return an error in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return printable(" ".join(str(error).splitlines())) or type(error).__name__


@functools.cache  # to make it takes longer than most verbs, for programs that call `main` again
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="noetherlite",
        description="Conserved quantities of neural-network training, to round-off.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"noetherlite {version()}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for module in (run, sweep, check, audit, watch, report, laws, paper, machine):
        module.add(verbs)
    return parser
