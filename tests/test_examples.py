"""Every example runs to its end and says something; those of other frameworks, where these are installed."""

import ast
import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_jit

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))

# What trains for more than a few seconds.
SLOW = {
    "any_model", "broken_laws", "check_jax", "check_torch", "count_laws", "discover", "edge_of_stability", "figures", "flax_adam",
    "hugging_face", "keras_jax", "neuron_collapse", "noise_equilibrium", "ntk", "resnet",
}  # fmt: skip
NEEDS = dict.fromkeys(["any_model", "check_torch", "resnet"], "torch")
NEEDS |= {"check_jax": "jax", "flax_adam": "optax", "hugging_face": "transformers", "keras_jax": "keras"}


def is_missing(path):
    package = NEEDS.get(path.stem)
    return package is not None and importlib.util.find_spec(package) is None


def run(path):
    """Run an example as a program, in this process."""
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW)) for p in EXAMPLES], ids=lambda p: p.stem
)
def test_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if path.stem == "sweep":  # whose function other processes import
        said = subprocess.run(
            [sys.executable, "-W", "error", str(path)], capture_output=True, encoding="utf-8", check=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        ).stdout  # fmt: skip
    else:
        monkeypatch.setattr(sys, "argv", [str(path)])
        run(path)
        said = capsys.readouterr().out
    assert said.strip()
    assert ": False" not in said  # of what an example claims, as "same parameters: True"
    assert said.startswith("skipped: ") == is_missing(path), said
    if is_missing(path):
        pytest.skip(said.strip())


@pytest.mark.parametrize("stem", NEEDS)
def test_example_says_what_it_lacks(stem, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, NEEDS[stem], None)
    run(EXAMPLES[0].parent / f"{stem}.py")
    assert capsys.readouterr().out.startswith("skipped: this example needs")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_begins_with_a_title(path):
    """The gallery of the documentation shows it."""
    _, title, line, blank, text, *_ = ast.get_docstring(ast.parse(path.read_text("utf-8")), clean=False).splitlines()
    assert line == "=" * len(title) > ""
    assert not blank
    assert text


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} > SLOW
