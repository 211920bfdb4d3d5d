"""The tour in docs/: its cells still run, and what is stored in it is what they print."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_jit

TOUR = Path(__file__).parent.parent / "docs" / "tour.ipynb"
# Runs cells as a notebook does: the value of a last expression is shown.
RUNNER = """
import ast, json, sys
scope = {}
for cell in json.load(sys.stdin):
    body = ast.parse(cell).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) and not cell.endswith(";") else None
    exec(compile(ast.Module(body, []), "cell", "exec"), scope)
    value = eval(compile(last, "cell", "eval"), scope) if last else None
    print(value._repr_html_() if hasattr(value, "_repr_html_") else "" if value is None else repr(value))
    print("--- end of cell")
"""


@pytest.fixture(scope="module")
def cells():
    notebook = json.loads(TOUR.read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def stored(cell, kind):
    return ["".join(out["data"][kind]) for out in cell["outputs"] if kind in out.get("data", {})]


def test_stored_outputs_are_of_one_run_without_errors(cells):
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [out for cell in cells for out in cell["outputs"]]
    assert outputs
    assert {out["output_type"] for out in outputs} <= {"stream", "display_data", "execute_result"}
    assert {out["name"] for out in outputs if out["output_type"] == "stream"} == {"stdout"}
    assert sum(len(stored(cell, "image/png")) for cell in cells) == 2
    assert sum(len(stored(cell, "text/html")) for cell in cells) == 4


def test_no_path_of_a_machine_is_stored():
    text = TOUR.read_text("utf-8")
    assert not [word for word in ("/tmp/", "/home/", "/root/", "/Users/") if word in text]


def test_cells_run_and_show_the_same_tables(cells):
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps([source(cell) for cell in cells]),
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("--- end of cell\n")
    assert len(printed) == len(cells) + 1
    compared = 0
    for cell, text in zip(cells, printed, strict=False):
        if html := stored(cell, "text/html"):
            # Numbers differ in their last digits from machine to machine; what stands around them does not.
            assert skeleton(html[0]) == skeleton(text)
            compared += 1
    assert compared == 4
    assert "b1 does not move" in printed[-2]


def skeleton(text):
    return [word for word in text.replace(">", "> ").replace("<", " <").split() if not any(c.isdigit() for c in word)]


def test_the_runner_shows_last_expressions_only():
    """Negative control: a cell that fails makes the runner fail, and an expression inside a cell is not shown."""
    ran = ["1 + 1\nx = 2\nx"], ["1 / 0"]
    done = [
        subprocess.run([sys.executable, "-c", RUNNER], input=json.dumps(c), capture_output=True, text=True, check=False)
        for c in ran
    ]
    assert done[0].stdout == "2\n--- end of cell\n"
    assert done[1].returncode == 1
