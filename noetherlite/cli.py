"""The command line: one verb a capability, in `_cli`; exit codes for shells, errors in one line, JSON for machines."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from ._cli import check, laws, machine, paper, report, run, say, sweep
from .version import version

_EPILOG = f"""examples:
  noetherlite run examples/gradient_descent.toml      train as the file says, and watch the laws
  noetherlite resume out/long.ckpt.npz                go on with a run that was interrupted
  noetherlite sweep examples/sweep.toml --workers 4 --plot algorithm.lr loss
                                                      train for all combinations of parameters, on 4 processes
  noetherlite check recording.npz --widths 4,8,3 --dynamics gf
                                                      hold a recording of any framework against the laws
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # formulas where the terminal has no such letters
    options = _parser().parse_args(arguments)
    try:
        result: int = options.run(options)
        sys.stdout.flush()
    except say.UsageError as error:
        for line in str(error).splitlines():
            print(f"noetherlite: {line}", file=sys.stderr)
        return say.WRONG
    except BrokenPipeError:  # whoever reads the output has seen enough, as in `noetherlite tables | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return say.FAILED
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        print(f"noetherlite: {_told(error)}", file=sys.stderr)
        return say.FAILED
    except KeyboardInterrupt:
        print("noetherlite: interrupted", file=sys.stderr)
        return say.INTERRUPTED
    return result


def _told(error: Exception) -> str:
    """Return an error in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).splitlines()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="noetherlite",
        description="Conserved quantities of neural-network training, to round-off.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"noetherlite {version()}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for module in (run, sweep, check, report, laws, paper, machine):
        module.add(verbs)
    return parser
