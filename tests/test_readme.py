"""What README and the pages say: programs run and print what stands beside them, links and paths lead to files, facts are the project's."""

import contextlib
import io
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from noetherlite._cli.main import _parser

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [
    *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")),
    *(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/theory/*.md")]),
    "benchmarks/RESULTS.md",
]


def blocks(text, language):
    """The code blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def page(name):
    """The text of a page, with the parts of README that it includes in their places."""
    text = (ROOT / name).read_text("utf-8")
    pattern = r"```\{include\} \.\./README\.md\n:start-after: (.*)\n:end-before: (.*)\n```"
    return re.sub(pattern, lambda part: README.partition(part[1])[2].partition(part[2])[0], text)


def run(program, scope):
    """Run a program; it prints the lines that stand in it as comments of their own, and numbers of the sizes beside `print`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, scope)
    lines = printed.getvalue().splitlines()
    told = re.findall(r"^# (.+)$", program, re.MULTILINE)
    assert not told or lines == told
    sizes = re.findall(r"print.*# (\d+e[-+]\d+):", program)
    for line, size in zip(lines, sizes, strict=bool(sizes)):
        # to a factor of three: round-off is that of this machine
        assert float(size) / 3 < float(line) < 3 * float(size)
    return len(told) + len(sizes)


# --- programs ------------------------------------------------------------------------------------------------------------

# Pages all of whose programs run, with how many lines and numbers they state.
PROGRAMS = {"README.md": (2, 3), "docs/five_minutes.md": (5, 9), "docs/choose.md": (1, 5), "docs/faq.md": (1, 1)}


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_print_what_the_page_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope, programs = {}, blocks(page(name), "python")
    stated = sum(run(program, scope) for program in programs)
    assert (len(programs), stated) == PROGRAMS[name]
    if name == "docs/five_minutes.md":
        assert (tmp_path / "bounds.png").stat().st_size > 0


def test_a_wrong_statement_is_found():
    """Negative control."""
    assert run("print(2)\n# 2", {}) == run("print(2e-16)  # 3e-16: round-off", {}) == 1
    for program in ("print(2)\n# 3", "print(2e-16)  # 9e-16: round-off", "# 3"):
        with pytest.raises(AssertionError):
            run(program, {})


# --- README's form -------------------------------------------------------------------------------------------------------


def test_readme_is_short():
    assert len(README.split()) <= 600
    assert len(blocks(README, "python")) == 2
    assert len(re.findall(r"(?<!!)\[[^\]]*\]\([^)]+\)", README)) == 8


def test_readme_has_two_commands():
    """One does the main job, on data of the package; the other is the tests', which .ci/run runs in its environments."""
    job, tests = blocks(README, "bash")
    fresh = "python3 -m venv .venv && .venv/bin/pip install "
    verb = re.fullmatch(re.escape(fresh) + r"\. && \.venv/bin/noetherlite (.*)\n", job)
    options = _parser().parse_args(shlex.split(verb[1]))
    assert (options.number, options.out) == (1, Path("out"))
    assert tests == fresh + '".[test]" && .venv/bin/pytest -n auto --dist worksteal\n'
    assert re.search(r'/bin/pytest"$', (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)


def test_facts_are_true():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    stated = re.search(r"^Python ≥ ([\d.]+) · (\w+) licence · typed$", README, re.MULTILINE)
    assert project["requires-python"] == f">={stated[1]}"
    assert project["license"] == stated[2]
    assert (ROOT / "LICENSE").read_text("utf-8").startswith(f"{stated[2]} License")
    assert (ROOT / "noetherlite/py.typed").is_file()


# --- links and paths -----------------------------------------------------------------------------------------------------


def lost_links(name, text):
    """The links to files, from a page of that name, that lead nowhere; what Sphinx makes is its tests' to check."""
    links = re.findall(r"\]\(([^)#\s]+)", text)
    here = [link for link in links if not link.startswith("http") and not re.match(r"(\.\./)?(gallery|api)/", link)]
    return [link for link in here if not (ROOT / name).parent.joinpath(link).exists()]


def lost_paths(text):
    """The paths of files of the project that a text names and that do not exist."""
    named = re.findall(
        r"(?<![\w./-])(?:noetherlite|tests|examples|benchmarks|docs|_(?!build)[a-z]+)/[\w/]*\w+\.\w+", text
    )
    return [path for path in named if not (ROOT / path).exists() and not (ROOT / "noetherlite" / path).exists()]


@pytest.mark.parametrize("name", PAGES)
def test_links_and_paths_lead_to_files(name):
    text = (ROOT / name).read_text("utf-8")
    assert not lost_links(name, text)
    assert not lost_paths(text)


def test_lost_links_and_paths_are_found():
    """Negative control."""
    assert lost_links("docs/index.md", "[a](theory.md) [b](nowhere.md) [c](https://a.b)") == ["nowhere.md"]
    gone = ["noetherlite/algorithms.py", "_kernels/cpu_steps.py", "tests/test_nothing.py"]
    assert lost_paths(f"`{'`, `'.join(gone)}`, `noetherlite/_run/plan.py`, `_run/plan.py`") == gone


def test_the_pictures_are_drawn_and_show_all_rooms():
    """docs/_pictures.py draws what stands in docs/, and the house has the rooms of the package, lowest last."""
    import importlib.util

    from test_package import ROOMS

    spec = importlib.util.spec_from_file_location("_pictures", ROOT / "docs" / "_pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    assert list(pictures.ROOMS) == ROOMS[::-1]
    for name, draw in pictures.PICTURES.items():
        assert (ROOT / "docs" / name).read_text("utf-8") == draw(), f"{name} is stale: python docs/_pictures.py"
    named = re.findall(r"\w+\.py", " ".join(files for _, files in [*pictures.BEFORE, *pictures.LOOP, pictures.AFTER]))
    assert named
    assert all((ROOT / "noetherlite/_run" / file).is_file() for file in [*named, "drive.py"])


def test_names_of_files_fit_into_their_boxes():
    number = r'="([\d.]+)"'
    box = re.compile(
        rf'<rect x{number} y{number} width{number}.*\n.*\n<text x{number} y{number} class="small name">(.*)</text>'
    )
    boxes = box.findall((ROOT / "docs" / "walk.svg").read_text("utf-8"))
    assert len(boxes) == 6
    for left, _, width, start, _, names in boxes:
        assert float(start) + 6.62 * len(names) < float(left) + float(
            width
        )  # a letter of 11 pixels, and of monospaced fonts
