"""`noetherlite sweep`: what it trains, writes and says, and how it refuses."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._cli.main import main

EXAMPLE = Path(__file__).parent.parent / "examples" / "sweep.toml"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function that writes the example, its [sweep] replaced and its other lines edited, and returns the path."""
    monkeypatch.chdir(tmp_path)

    def write(sweep, *edits):
        text = EXAMPLE.read_text("utf-8").partition("[sweep]\n")[0].replace("steps = 400", "steps = 40")
        for pattern, replacement in edits:
            assert re.search(pattern, text)
            text = re.sub(pattern, replacement, text)
        path = tmp_path / "it.toml"
        path.write_text(text + sweep, "utf-8")
        return str(path)

    return write


def test_every_combination_is_the_run_alone(config, tmp_path, capsys):
    path = config('[sweep]\n"algorithm.lr" = [0.05, 0.2]\n"initial.rng" = [0, 4]\n')
    assert main(["sweep", path, "--json", "--no-progress"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert printed.err == ""
    assert report["out"] == "out/it"
    assert report["message"] == "4 members: 4 done"
    assert report["table"]["algorithm.lr"] == [0.05, 0.05, 0.2, 0.2]
    assert report["table"]["status"] == ["completed"] * 4
    net = nl.Network([6, 16, 16, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=60, n_features=6, n_classes=3))
    for i, (lr, seed) in enumerate([(0.05, 0), (0.05, 4), (0.2, 0), (0.2, 4)]):
        alone = nl.integrate(U, nl.GD(lr), net.init(rng=seed), 40, record_every=40)
        assert report["table"]["loss"][i] == alone.loss[-1]
        assert report["table"]["scaling:2 residual"][i] == np.abs(alone.laws["scaling:2"].residual).max()
        assert report["table"]["scaling:1 discrete"][i] == np.abs(alone.laws["scaling:1"].discrete_residual).max()


@pytest.mark.lengthy
def test_processes_plots_and_the_second_call(config, tmp_path, capsys):
    path = config("[sweep]\nalgorithm.lr = [0.05, 0.2]\nnetwork.widths = [[6, 4, 3], [6, 5, 3]]\n", ("laws = .*", ""))
    out = tmp_path / "there"
    assert main(["sweep", path, "--workers", "2", "--out", str(out)]) == 0
    first = capsys.readouterr()
    assert "member" in first.err
    assert first.out.startswith("4 members: 4 done\n")
    assert first.out.endswith(f"wrote {out}\n")
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    assert main(["sweep", path, "--out", str(out), "--no-progress", "--plot", "algorithm.lr", "loss"]) == 0
    second = capsys.readouterr()
    assert second.out == first.out.replace(f"wrote {out}", f"wrote {out}, {out}/loss-algorithm.lr.png")
    assert (out / "loss-algorithm.lr.png").read_bytes().startswith(b"\x89PNG")
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(nl.load_sweep(out)) == 4


def test_runs_that_diverge_are_results(tmp_path, capsys):
    path = tmp_path / "it.toml"
    path.write_text(
        """
[network]
widths = [2, 6, 1]
loss = "mse"
[data]
source = "polygon"
n = 5
[algorithm]
name = "GD"
lr = 0.05
[run]
steps = 40
laws = ["scaling:1"]
[sweep]
"algorithm.lr" = [0.05, 1e6]
"""
    )
    assert main(["sweep", str(path), "--json", "--no-progress", "--out", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["table"]["status"] == ["completed", "diverged"]


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ("", ["[sweep] expected lists of values"]),
        ("[sweep]\n", ["[sweep] expected lists of values"]),
        ("[sweep]\nlr = [0.1]\n", ["[sweep] lr = [0.1]: expected a key of another section"]),
        ('[sweep]\n"algorithm.lr" = 0.1\n', ["[sweep] algorithm.lr = 0.1: expected a list"]),
        ('[sweep]\n"algorithm.lr" = []\n', ["[sweep] algorithm.lr = []: expected a list"]),
        ('[sweep]\n"algorithm.rate" = [0.1]\n', ["unknown key"]),
        ('[sweep]\n"algoritm.lr" = [0.1]\n', ["unknown section (did you mean 'algorithm'?)"]),
        ('[sweep]\n"algorithm.lr" = [0.1, -1.0, "x"]\n', ["lr=-1.0", 'lr = "x"']),
        (
            '[sweep]\n"algorithm.lr" = [0.1, -1.0]\n"network.widths" = [[6, 4, 4, 3], [6, 4, 0, 3]]\n',
            ["lr=-1.0", "widths"],
        ),
        ('[sweep]\n"run.members" = [2]\n', ["a member of a sweep is one run"]),
        ('[sweep]\n"algorithm.lr" = [[0.1, 0.2]]\n', ["a member of a sweep is one run"]),
        ('[sweep]\n"run.checkpoint_every" = [10]\n', ["checkpoint_every"]),
        ('[sweep]\n"sweep.lr" = [0.1]\n', ["[sweep] sweep.lr = [0.1]: expected a key of another section"]),
        (
            '[sweep]\n"algorithm.lr" = [0.1, {schedule = "cosine", peak = 0.1}]\n',
            ["[sweep] algorithm.lr = [0.1, {", "expected no tables"],
        ),
    ],
)
def test_errors_are_told_at_once_before_anything_is_trained(sweep, words, config, tmp_path, capsys):
    assert main(["sweep", config(sweep), "--no-progress"]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert not (tmp_path / "out").exists()


def test_another_configuration_does_not_go_on_in_the_same_folder(config, capsys):
    sweep = '[sweep]\n"algorithm.lr" = [0.05]\n'
    assert main(["sweep", config(sweep), "--no-progress"]) == 0
    assert main(["sweep", config(sweep, ("steps = 40", "steps = 50")), "--no-progress"]) == 1
    error = capsys.readouterr().err
    assert "holds another sweep" in error
    assert "'steps': 40" in error
    assert "'steps': 50" in error


@pytest.mark.parametrize(
    "listed", ['[data]\nsample_weight = "w.npz"', '[sweep]\n"data.sample_weight" = ["w.npz"]'], ids=["data", "sweep"]
)
def test_other_weights_in_a_file_of_the_same_name_are_another_sweep(listed, config, tmp_path, capsys):
    section, line = listed.split("\n")
    edits = [(r"\[data\]", f"[data]\n{line}")] if section == "[data]" else []
    path = config('[sweep]\n"algorithm.lr" = [0.05]\n' + ("" if edits else line + "\n"), *edits)
    weights = np.ones(60)
    np.savez(tmp_path / "w.npz", sample_weight=weights)
    assert main(["sweep", path, "--no-progress"]) == 0
    assert main(["sweep", path, "--no-progress"]) == 0
    weights[7] = 30.0
    np.savez(tmp_path / "w.npz", sample_weight=weights)
    assert main(["sweep", path, "--no-progress"]) == 1
    assert "holds another sweep" in capsys.readouterr().err


def test_a_column_that_is_not_there(config, capsys):
    path = config('[sweep]\n"algorithm.lr" = [0.05]\n')
    assert main(["sweep", path, "--no-progress", "--plot", "algorithm.lr", "los"]) == 2
    assert "did you mean 'loss'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "module"), [(["--dask", "tcp://127.0.0.1:1"], "distributed"), (["--mpi"], "mpi4py")]
)
def test_what_is_not_installed_is_named(option, module, config, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["sweep", config('[sweep]\n"algorithm.lr" = [0.05]\n'), *option]) == 1
    assert f"pip install 'noetherlite[{'mpi' if module == 'mpi4py' else module}]'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--workers", "0"], ["--workers", "2", "--mpi"], ["--workers", "two"]])
def test_wrong_options(options, config, capsys):
    arguments = ["sweep", config('[sweep]\n"algorithm.lr" = [0.05]\n'), *options]
    with pytest.raises(SystemExit) as stop:
        sys.exit(main(arguments))  # a wrong option ends the program, a wrong value is returned
    assert stop.value.code == 2
    assert "workers" in capsys.readouterr().err
