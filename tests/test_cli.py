"""The command line: what it writes and says, and how it fails."""

import json
import subprocess
import sys

import pytest

import noetherlite as nl
from noetherlite.cli import main


def test_figure_writes_files_and_says_which_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))
    options = ["--samples", "16", "--steps", "4", "--seed", "1", "--no-progress"]
    assert main(["figure", "1", "--out", str(tmp_path / "out"), *options]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["figure1.json", "figure1.pdf", "figure1.png"]
    printed = capsys.readouterr()
    assert "glyphs, 16 samples" in printed.out
    assert printed.err == ""
    assert json.loads((tmp_path / "out" / "figure1.json").read_text())["steps"] == 4


def test_json_output_is_json(tmp_path, capsys):
    assert main(["figure", "4", "--out", str(tmp_path), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["figure"] == 4
    assert len(report["files"]) == 3


@pytest.mark.parametrize("shape", ["text", "latex", "markdown"])
def test_tables_prints_all_five(shape, capsys):
    assert main(["tables", "--format", shape]) == 0
    printed = capsys.readouterr().out
    assert all(f"Table {n}" in printed for n in range(1, 6))


def test_info_names_versions_and_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))
    assert main(["info", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["versions"]["noetherlite"] == nl.__version__
    assert report["Kuzushiji-MNIST"] == {"train": "not found", "test": "not found"}
    assert main(["info"]) == 0
    assert "Kuzushiji-MNIST: train not found" in capsys.readouterr().out


def test_progress_bar_goes_to_standard_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))
    assert main(["figure", "1", "--out", str(tmp_path / "out"), "--samples", "16", "--steps", "4"]) == 0
    printed = capsys.readouterr()
    assert "step" in printed.err
    assert "step/s" not in printed.out


@pytest.mark.parametrize(
    "arguments", [["figure", "7"], ["figure", "one"], ["nonsense"], [], ["figure", "1", "--stepz"]]
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_options_a_figure_does_not_take_are_refused(capsys):
    assert main(["figure", "3", "--lr", "1"]) == 2
    assert "--lr" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--lr", "-1"], "lr=-1.0"), (["--steps", "-5"], "steps=-5"), (["--samples", "0"], "n=0")],
)
def test_bad_values_fail_in_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))
    assert main(["figure", "1", "--out", str(tmp_path / "out"), "--no-progress", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_fails_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["figure", "3", "--out", str(tmp_path / "file" / "out")]) == 1
    assert "file" in capsys.readouterr().err


def test_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "noetherlite", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"noetherlite {nl.__version__}"
