"""Functions shared by the verbs: parsers, output as text and JSON, exit codes."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._base import checks
from .._base.axes import blank
from .._base.files import replacing
from .._base.notation import aligned
from .._base.precision import EPSILON

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINE, FAILED, WRONG, BROKEN, INTERRUPTED = 0, 1, 2, 3, 130
CODES = """exit codes:
  0  fine
  1  failed: the reason is on standard error, in one line
  2  wrong arguments, or a configuration with errors: all of them are on standard error
  3  the run diverged or blew up, or a run or a check found a law that is broken
  130  interrupted by Ctrl-C; what was recorded is kept (a watch ends by it as by --timeout)

--traceback, or NOETHERLITE_DEBUG=1 in the environment, says of an error where in the program it arose.
"""


class UsageError(ValueError):
    """Wrong arguments; one line for each error."""


@contextlib.contextmanager
def judging_arguments() -> Iterator[None]:
    """Context in which a ValueError or TypeError says that arguments are wrong."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from None


def at_least(minimum: int) -> Callable[[str], int]:
    """Return the parser of a flag's whole number, at least `minimum`."""

    def parse(text: str) -> int:
        try:
            return checks.integer(int(text), "number", minimum=minimum)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, at least {minimum}") from None

    return parse


def positive(text: str) -> float:
    """Return a flag's number above 0."""
    try:
        return checks.real(float(text), "number", minimum=0, strict=True)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0") from None


def verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int], *, help: str, examples: str, notes: str = ""
) -> argparse.ArgumentParser:
    """Add a verb and return its parser; --help ends with `notes` and `examples`, one a line without "noetherlite VERB"."""
    lines = "\n".join(f"  noetherlite {name} {line}".rstrip() for line in examples.splitlines())
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"{notes}examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON, for machines")
    parser.add_argument("--traceback", action="store_true", help="say of an error where in the program it arose")
    parser.set_defaults(run=run)
    return parser


def precision_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the precision of the computation."""
    parser.add_argument(
        "--precision",
        metavar="NAME",
        type=_precision,
        help=f"of the computation: {', '.join(EPSILON)} (default: the files')",
    )


def _precision(text: str) -> str:
    try:
        return checks.one_of(text, "precision", EPSILON)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def complain(*lines: str) -> None:
    """Print error messages on standard error, if it exists."""
    if sys.stderr is None:  # print(file=None) would write to standard output
        return
    with contextlib.suppress(OSError, ValueError):  # standard error is closed, or a pipe without a reader
        for line in lines:
            print(line if line.startswith("Traceback") else f"noetherlite: {line}", file=sys.stderr)


def folder(text: str) -> Path:
    """Return the path of --out, a folder."""
    if text == "-":
        raise argparse.ArgumentTypeError("'-' is standard output, and several files are written; expected a folder")
    if os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a file; expected a folder")
    return Path(text)


def send(page: str) -> None:
    """Write a page to standard output in UTF-8, independent of the terminal's encoding."""
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(page.encode())
    else:
        sys.stdout.write(page)


def answer(report: object) -> None:
    """Print JSON; NaN and infinities become null."""
    print(json.dumps(_finite_json(report), ensure_ascii=False))


def result(options: argparse.Namespace, report: object, text: str) -> None:
    """Print a result: as JSON where --json asks for it, else as text."""
    if options.json:
        answer(report)
    else:
        print(text, flush=True)


def columns(rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """Return rows of text as aligned columns, indented by two blanks; columns in `right` are right-aligned."""
    return "\n".join(f"  {line}" for line in aligned(list(rows), right))


def draw(paint: Callable[[Axes], object], path: Path, size: tuple[float, float] = (5.0, 3.4)) -> None:
    """Draw by `paint` on axes of a `size` in inches and write a PNG, which appears complete or not at all."""
    figure = blank(size)
    paint(figure.axes[0])
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _finite_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
