"""Every example runs to its end and says something; those of other frameworks, where these are installed."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_jit

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))

NEEDS = {"any_model": "torch", "check_torch": "torch", "check_jax": "jax"}


def is_missing(path):
    package = NEEDS.get(path.stem)
    return package is not None and importlib.util.find_spec(package) is None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path, tmp_path):
    command = [sys.executable, "-W", "error", str(path)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stdout.startswith("skipped: ") == is_missing(path), done.stdout
    if is_missing(path):
        pytest.skip(done.stdout.strip())


@pytest.mark.parametrize("stem", NEEDS)
def test_example_says_what_it_lacks(stem, tmp_path):
    code = (
        f"import runpy, sys; sys.modules[{NEEDS[stem]!r}] = None; "
        f"runpy.run_path({str(Path(EXAMPLES[0]).parent / (stem + '.py'))!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("skipped: this example needs")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_begins_with_a_title(path):
    """The gallery of the documentation shows it."""
    _, title, line, blank, text, *_ = ast.get_docstring(ast.parse(path.read_text("utf-8")), clean=False).splitlines()
    assert line == "=" * len(title) > ""
    assert not blank
    assert text


def test_there_are_examples():
    assert EXAMPLES
