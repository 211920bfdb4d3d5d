"""Parts of pages that are made from the project itself when the pages are built: what it needs, its command line, its guides."""

from __future__ import annotations

import io
import os
import re
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from noetherlite._cli.main import main

ROOT = Path(__file__).resolve().parent.parent
GUIDES = [
    "features",
    "choose",
    "cross_check",
    "faq",
    "command_line",
    "files",
    "memory_threads",
    "performance",
    "gpu",
    "clusters",
    "how_a_run_works",
    "extending",
]
FOR = {
    "test": "the tests",
    "docs": "these pages",
    "bench": "the benchmark suite",
    "crosscheck": "comparisons with PyTorch and JAX",
    "safetensors": "audits of `.safetensors` files",
    "dev": "all that a change must pass",
    "distributed": "sweeps on a cluster, by Dask",
    "mpi": "sweeps on a cluster, by MPI",
    "cuda": "runs on a GPU",
    "notebook": "the notebook",
}


def write(folder: Path) -> None:
    """Write the parts into `folder`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "requirements": _requirements(project),
        "extras": _extras(project),
        "command_line": _command_line(),
        "guides": _guides(),
    }
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, "utf-8")


def _requirements(project: dict) -> str:
    needed = [f"Python {project['requires-python']}", *project["dependencies"]]
    return "".join(f"- {line.replace('>=', ' ≥ ').replace('  ', ' ')}\n" for line in needed)


def _extras(project: dict) -> str:
    rows = [
        f"| `{extra}` | {', '.join(packages)} | {FOR.get(extra, '')} |"
        for extra, packages in project["optional-dependencies"].items()
    ]
    return "\n".join(["| extra | brings | for |", "|---|---|---|", *rows, ""])


def _guides() -> str:
    """Return a table of contents of the guides there are."""
    there = [name for name in GUIDES if (ROOT / "docs" / f"{name}.md").is_file()]
    return "\n".join(["```{toctree}", ":hidden:", ":caption: Guides", "", *there, "```", ""])


def _command_line() -> str:
    """Return what --help prints, of the program and of every verb."""
    program = _help()
    verbs = re.findall(r"^    (\w[\w-]*)", program.partition("verbs:")[2].partition("\n\n")[0], re.MULTILINE)
    parts = [f"```text\n{program}```\n"]
    parts += [f"### noetherlite {verb}\n\n```text\n{_help(verb)}```\n" for verb in verbs]
    return "\n".join(parts)


def _help(*verb: str) -> str:
    said = io.StringIO()
    with patch.dict(os.environ, COLUMNS="100"), redirect_stdout(said):
        try:
            main([*verb, "--help"])
        except SystemExit as end:
            if end.code:
                raise
    return said.getvalue()
