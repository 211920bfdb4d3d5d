"""What README says: its programs run and print what stands beside them, its links lead to files, its facts are the project's."""

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_jit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def tour():
    """The programs of the five minutes, one after the other."""
    text = README.partition("<!-- tour -->")[2].partition("<!-- end of tour -->")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_tour_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope, numbers = {}, 0
    assert len(tour()) >= 4
    for program in tour():
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(program, scope)
        lines = printed.getvalue().splitlines()
        told = re.findall(r"^# (.+)$", program, re.MULTILINE)
        assert not told or lines == told
        sizes = re.findall(r"print.*# (\d+e[-+]\d+):", program)
        for line, size in zip(lines, sizes, strict=False):
            # to a factor of three: round-off is that of this machine
            assert float(size) / 3 < float(line) < 3 * float(size)
            numbers += 1
    assert numbers == 2
    assert (tmp_path / "bounds.png").stat().st_size > 0


PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/RESULTS.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith("http")]
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_badges_are_true():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    stated = re.search(r"\[Python ≥ ([\d.]+)\]\(pyproject.toml\) · \[(\w+) licence\]", README)
    assert project["requires-python"] == f">={stated[1]}"
    assert project["license"] == stated[2]
    assert (ROOT / "LICENSE").read_text("utf-8").startswith(f"{stated[2]} License")
