"""`noetherlite watch`: parameters and gradients in files held against laws; and the page of a watch."""

import json
from pathlib import Path

import numpy as np
import pytest
from models import mlp

import noetherlite as nl
from noetherlite._cli.main import main
from noetherlite._tensors.folder import Folder


@pytest.fixture(scope="module")
def problem():
    """Parameters, their gradient, and the laws."""
    model = mlp([3, 4, 3], "relu")
    return model.params, model.gradient(model.params), nl.scan(model.gradient, model.params, draws=6).laws()


@pytest.fixture
def run(problem, tmp_path, monkeypatch):
    """A folder with laws, and a function that writes a step in two files."""
    monkeypatch.chdir(tmp_path)
    params, grads, laws = problem
    nl.tensors.dump(laws, "laws.json")
    (tmp_path / "run").mkdir()

    def write(names, factor=1.0):
        for name, arrays in zip(names, (params, grads | {"0.bias": factor * grads["0.bias"]}), strict=True):
            path = tmp_path / "run" / name
            path.parent.mkdir(exist_ok=True)
            np.savez(path, **{f"module.{key}": array for key, array in arrays.items()})

    return write


WORDS = ["watch", "laws.json", "--from", "run"]


def test_a_verdict_for_every_step_in_order(run, capsys):
    run(("params_9.npz", "grads_9.npz"))
    run(("params_100.npz", "grads_100.npz"), factor=0.5)
    run(("params_20.npz", "grads_20.npz"))
    assert main([*WORDS, "--once"]) == 3
    out = capsys.readouterr().out
    assert [out.index(f"\n{k}: " if k > 9 else f"{k}: ") for k in (9, 20, 100)] == sorted(
        out.index(f"\n{k}: " if k > 9 else f"{k}: ") for k in (9, 20, 100)
    )
    assert "20: all laws hold" in out
    assert "broken since step 100" in out
    assert "3 of 3 steps checked" in out


def test_the_number_of_summands_is_told(run, capsys):
    """A defect that sums over many samples would leave is not decidable without their number."""
    run(("params_1.npz", "grads_1.npz"), factor=1 + 1e-13)
    assert main([*WORDS, "--once"]) == 0
    assert "not decidable: " in capsys.readouterr().out
    assert main([*WORDS, "--once", "--summands", "1000000"]) == 0
    assert "not decidable: " not in capsys.readouterr().out
    assert main([*WORDS, "--once", "--summands", "16"]) == 3


def test_correct_steps_end_with_0(run, capsys):
    run(("step_1/params.npz", "step_1/grads.npz"))
    run(("step_2/model.npz", "step_2/gradients.npz"))
    assert main([*WORDS, "--once", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["step"], line["ok"], line["broken"]) for line in lines] == [(1, True, []), (2, True, [])]


def test_one_file_may_hold_both(problem, run, capsys):
    params, grads, _ = problem
    both = {f"params.{k}": x for k, x in params.items()} | {f"grads.{k}": g for k, g in grads.items()}
    np.savez("run/5.npz", **both)
    assert main([*WORDS, "--once"]) == 0
    assert "5: all laws hold" in capsys.readouterr().out


def test_files_are_read_when_they_have_stopped_growing(run, tmp_path):
    folder = Folder(tmp_path / "run")
    run(("params_1.npz", "grads_1.npz"))
    assert folder.new() == []
    assert [pair.step for pair in folder.new()] == [1]
    assert folder.new() == []
    run(("params_2.npz", "grads_2.npz"))
    assert [pair.step for pair in folder.new(finished=True)] == [2]


def test_it_ends_when_nothing_comes_or_by_ctrl_c(run, monkeypatch, capsys):
    run(("params_1.npz", "grads_1.npz"), factor=2)
    assert main([*WORDS, "--timeout", "0.02", "--poll", "0.01"]) == 3
    capsys.readouterr()

    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    assert main([*WORDS, "--poll", "0.01"]) == 1  # nothing was read yet


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda: np.savez("run/grads_1.npz", other=np.ones(3)), "has no"),
        (lambda: np.savez("run/grads_1.npz", **{"0.weight": np.full((4, 3), np.nan)}), "has no"),
        (lambda: Path("run/grads_1.npz").write_bytes(b"no archive"), "grads_1.npz"),
    ],
)
def test_what_cannot_be_read_is_said_and_ends_with_1(run, capsys, damage, said):
    run(("params_1.npz", "grads_1.npz"))
    damage()
    assert main([*WORDS, "--once"]) == 1
    out = capsys.readouterr().out
    assert "1: not checked: " in out
    assert said in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--once", "--timeout", "3"], 2, "--timeout"),
        (["--once", "--page", "none/page.html"], 2, "--page none/page.html: there is no such folder"),
        (["--once"], 1, "has no files of parameters and gradients"),
    ],
)
def test_wrong_words_are_named(run, capsys, words, code, said):
    assert main([*WORDS, *words]) == code
    assert said in capsys.readouterr().err


def test_no_such_folder(run, capsys):
    assert main(["watch", "laws.json", "--from", "nowhere", "--once"]) == 1
    assert "nowhere: Not a folder" in capsys.readouterr().err


def test_the_page_of_a_watch(problem, run, capsys, tmp_path):
    params, grads, laws = problem
    watch = nl.watch(laws)
    assert "nothing checked" in nl.report(watch)
    watch(params, grads)
    good = nl.report(watch)
    assert "none broken" in good
    assert ">broken<" not in good
    watch(params, grads | {"0.bias": 0 * grads["0.bias"]})
    bad = nl.report(watch, title="<b>")
    assert ">broken<" in bad
    assert "gets no gradient: detached?" in bad
    assert "&lt;b&gt;" in bad
    assert "would go unseen" in bad
    run(("params_1.npz", "grads_1.npz"))
    assert main([*WORDS, "--once", "--page", "it.html"]) == 0
    assert "Watch of" in (tmp_path / "it.html").read_text("utf-8")
