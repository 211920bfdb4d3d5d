"""Sweeps: numbers depend on parameters and places alone, failures stay apart, nothing that is done is done again."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from problems import refusals
from sweep_tasks import die, draw, executions, fail, leave_a_mark, part_of_an_ensemble, threads

import noetherlite as nl
from noetherlite._base import threads as _threads

GRID = {"a": [1, 2, 3], "b": [0.5, 0.25]}


class Backwards(Executor):
    """Computes at the first result that is waited for, the last member first; cancels some of them."""

    def __init__(self, cancelled=()):
        self.waiting, self.cancelled = [], cancelled

    def submit(self, function, *arguments):
        future = Future()
        self.waiting.append((future, function, arguments))
        if len(self.waiting) == 6:
            for i, (waiting, call, given) in reversed([*enumerate(self.waiting)]):
                if i in self.cancelled:
                    waiting.set_exception(CancelledError())
                else:
                    waiting.set_result(call(*given))
        return future


def assert_same(one, other):
    assert one.parameters == other.parameters
    assert [m.error for m in one] == [m.error for m in other]
    for a, b in zip(one.results, other.results, strict=True):
        assert (a is None) == (b is None)
        for name in a or ():
            assert type(a[name]) is type(b[name]), name
            np.testing.assert_array_equal(a[name], b[name])


# --- grids and seeds -------------------------------------------------------------------------------------------------


def test_a_grid_is_a_product_and_its_members_have_the_children_of_the_seed():
    runs = nl.sweep(draw, GRID, rng=7)
    assert runs.parameters == [{"a": a, "b": b} for a in (1, 2, 3) for b in (0.5, 0.25)]
    assert (len(runs), runs.status, runs.message) == (6, "completed", "6 members: 6 done")
    for member, seed in zip(runs, np.random.SeedSequence(7).spawn(6), strict=True):
        generator = np.random.default_rng(seed)
        assert member.result["drawn"] == generator.standard_normal()
        np.testing.assert_array_equal(member.result["array"], generator.standard_normal((2, 3)))
    assert len(set(runs.column("drawn"))) == 6


def test_a_sequence_of_mappings_and_a_seed_sequence():
    parent = np.random.SeedSequence(7, spawn_key=(3,))
    runs = nl.sweep(draw, nl.sweep(draw, GRID).parameters, rng=parent)
    assert parent.n_children_spawned == 0
    expected = [np.random.default_rng(s).standard_normal() for s in np.random.SeedSequence(7, spawn_key=(3,)).spawn(6)]
    assert runs.column("drawn").tolist() == expected
    assert not set(expected) & set(nl.sweep(draw, GRID, rng=7).column("drawn"))


@pytest.mark.parametrize("executor", [2, "threads", "backwards"])
def test_every_executor_gives_the_same_numbers(executor, tmp_path):
    alone = nl.sweep(draw, GRID, rng=7)
    with ThreadPoolExecutor(3) as pool:
        given = {"threads": pool, "backwards": Backwards()}.get(executor, executor)
        assert_same(nl.sweep(draw, GRID, given, tmp_path / "new", rng=7), alone)
    assert_same(nl.load_sweep(tmp_path / "new"), alone)


def test_parameters_come_as_they_come_back_from_a_file():
    seen = []

    def keep(value, rng):
        seen.append(value)
        return {}

    runs = nl.sweep(keep, {"value": [np.float64(0.1), np.int64(3), (4, 5), np.arange(2), None, True, "text"]})
    assert seen == [0.1, 3, [4, 5], [0, 1], None, True, "text"]
    assert [type(v) for v in seen] == [float, int, list, list, type(None), bool, str]
    assert json.loads(json.dumps(runs.parameters)) == runs.parameters


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [None, 1])
def test_failures_are_kept_apart_with_their_parameters(executor, tmp_path):
    grid = {"how": ["raise", "exit", "local exception", "no mapping", "object", "list", "none", "not at all"]}
    runs = nl.sweep(fail, grid, executor, tmp_path)
    assert runs.status == "completed"
    assert runs.message == "8 members: 7 failed, 1 done"
    assert runs.results == [None] * 7 + [{"x": 1}]
    assert [m.parameters["how"] for m in runs.failures] == grid["how"][:-1]
    words = ["ZeroDivisionError: the reason", "SystemExit: leaving", "Unpicklable: text", "must be a mapping", "'x'"]
    for failure, word in zip(runs.failures, words, strict=False):
        assert word in failure.error
    assert "in fail\n" in runs.failures[0].traceback
    assert "how='raise': ZeroDivisionError: the reason\n" in runs.summary()
    assert_same(nl.load_sweep(tmp_path), runs)


def test_a_function_that_cannot_be_pickled_fails_for_every_member_and_breaks_nothing():
    runs = nl.sweep(lambda a, b, rng: {}, GRID, 1)
    assert runs.message == "6 members: 6 failed"
    assert "pickle" in runs.failures[0].error


def test_a_function_of_a_prompt_is_refused_before_processes_look_for_it():
    code = (
        "import noetherlite as nl\ndef f(i, rng): return {'i': i}\nprint(nl.sweep(f, {'i': [1]}).message, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + "nl.sweep(f, {'i': [1]}, 2)"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "1 member: 1 done\n"
    assert "ValueError: function __main__.f is defined at a prompt" in done.stderr
    assert "SpawnProcess" not in done.stderr


def test_what_an_executor_cancels_is_not_computed_and_the_rest_is_delivered():
    runs = nl.sweep(draw, GRID, Backwards(cancelled=(1, 4)))
    assert [m.index for m in runs if m.result is None] == [1, 4]
    assert (runs.status, runs.failures) == ("stopped", [])
    assert runs.message == "6 members: 4 done, 2 not computed; stopped by an executor that cancelled members"


def test_a_worker_that_is_killed_stops_the_sweep_and_the_next_call_goes_on(tmp_path):
    victims = {"i": [0, 1, 2], "victim": [1]}
    runs = nl.sweep(die, victims, 1, tmp_path)
    assert runs.status == "stopped"
    assert runs[1].result is None
    assert "terminated abruptly" in runs.message
    assert runs.failures == []
    loaded = {m.index for m in nl.load_sweep(tmp_path) if m.result}
    assert loaded == {m.index for m in runs if m.result}


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    grid = {"i": range(5), "folder": [str(marks)]}
    first = nl.sweep(leave_a_mark, grid, out=tmp_path / "out", rng=3)
    (tmp_path / "out" / "000002.npz").unlink()
    second = nl.sweep(leave_a_mark, grid, 1, out=tmp_path / "out", rng=3)
    assert executions(marks) == {0: 1, 1: 1, 2: 2, 3: 1, 4: 1}
    assert_same(first, second)


def test_a_failed_member_is_tried_again(tmp_path):
    (tmp_path / "marks").touch()  # a file, where a folder should be
    grid = {"i": range(2), "folder": [str(tmp_path / "marks")]}
    assert len(nl.sweep(leave_a_mark, grid, out=tmp_path / "out").failures) == 2
    (tmp_path / "marks").unlink()
    (tmp_path / "marks").mkdir()
    assert nl.sweep(leave_a_mark, grid, out=tmp_path / "out").failures == []
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000000.npz", "000001.npz", "sweep.json"]


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch):
    def half(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="No space left"):
        nl.sweep(draw, GRID, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_a_file_says_how_to_compute_its_member_again(tmp_path):
    runs = nl.sweep(draw, GRID, out=tmp_path, rng=7)
    with np.load(tmp_path / "000004.npz", allow_pickle=False) as stored:
        header = json.loads(str(stored["header"]))
    again = draw(**header["parameters"], rng=np.random.SeedSequence(**header["seed"]))
    assert again["drawn"] == runs[4].result["drawn"]
    assert header["versions"]["noetherlite"] == nl.__version__
    assert json.loads((tmp_path / "sweep.json").read_text())["function"] == "sweep_tasks.draw"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"function": partial(draw, b=1), "grid": {"a": [1]}}, "its function is sweep_tasks.draw"),
        ({"grid": {"a": [1, 2, 4], "b": [0.5, 0.25]}}, "its member 4 is {'a': 3, 'b': 0.5}, not {'a': 4, 'b': 0.5}"),
        ({"grid": {"a": [1, 2], "b": [0.5, 0.25]}}, "its number of members is 6, not 4"),
        ({"rng": 8}, "its seed is {'entropy': 7"),
    ],
)
def test_a_folder_of_another_sweep_is_refused_and_kept(arguments, words, tmp_path):
    before = nl.sweep(draw, GRID, out=tmp_path, rng=7)
    with pytest.raises(ValueError, match="holds another sweep") as error:
        nl.sweep(**{"function": draw, "grid": GRID, "rng": 7, **arguments}, out=tmp_path)
    assert words in str(error.value)
    assert_same(nl.load_sweep(tmp_path), before)


def test_what_is_bound_to_a_function_is_part_of_the_sweep(tmp_path):
    nl.sweep(partial(draw, b=1), {"a": [1]}, out=tmp_path)
    assert nl.sweep(partial(draw, b=1), {"a": [1]}, out=tmp_path).status == "completed"
    with pytest.raises(ValueError, match=r"function is sweep_tasks.draw\(b=1\), not sweep_tasks.draw\(b=2\)"):
        nl.sweep(partial(draw, b=2), {"a": [1]}, out=tmp_path)


def test_of_two_long_descriptions_the_difference_is_shown(tmp_path):
    nl.sweep(partial(draw, b="x" * 500 + "first" + "y" * 500), {"a": [""]}, out=tmp_path)
    with pytest.raises(ValueError, match=r"…x+firsty+…, not …x+secondy+…;") as error:
        nl.sweep(partial(draw, b="x" * 500 + "second" + "y" * 500), {"a": [""]}, out=tmp_path)
    assert len(str(error.value)) < 600


def manifest(change):
    """Write the text that `change` makes of the manifest's."""
    return lambda folder: (folder / "sweep.json").write_text(change((folder / "sweep.json").read_text()))


def entries(**more):
    """Change entries of the manifest."""
    return manifest(lambda text: json.dumps({**json.loads(text), **more}))


def member(write):
    """Write another content into the file of member 1; `write` has its path and the path of member 2."""
    return lambda folder: write(folder / "000001.npz", folder / "000002.npz")


def failed(path, _):
    path.unlink()
    path.with_suffix(".failed.json").write_text("{}")


def no_number(path, _):
    np.savez(path, header=np.load(path)["header"], **{"result/sum": np.zeros(3, dtype=[("x", "f8")])})


MEMBERS = [{"a": a, "b": b} for a in (1, 2, 3) for b in (0.5, 0.25)]
DAMAGED = {
    "no manifest": (lambda folder: (folder / "sweep.json").unlink(), "sweep.json"),
    "manifest": (manifest(lambda _: "[1, 2"), "not the manifest"),
    "list": (manifest(lambda _: "[1, 2]"), "not the manifest"),
    "deep": (manifest(lambda _: "[" * 100_000), "not the manifest"),
    "no members": (entries(parameters=[]), "not the manifest"),
    "newer": (entries(schema=99), "format 99"),
    "other names": (
        entries(parameters=[*MEMBERS[:2], {"a": 1, "c": {"x": 1}}, *MEMBERS[3:]]),
        r"not the manifest .*parameters \(grid\[2\]\['c'\] must be a number",
    ),
    "member": (member(lambda path, _: path.write_bytes(path.read_bytes()[:200])), "000001.npz is damaged"),
    "failed member": (member(failed), "000001.failed.json is damaged"),
    "exchanged": (member(lambda path, other: path.write_bytes(other.read_bytes())), "000001.npz belongs to another"),
    "no number": (member(no_number), r"000001.npz is damaged: .*result\['sum'\] must be a number"),
    "pickle": (
        member(lambda path, _: np.savez(path, header=np.array({"a": 1}, dtype=object))),
        "000001.npz is damaged: .*allow_pickle=False",
    ),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_damaged_folders_are_refused(how, tmp_path):
    damage, words = DAMAGED[how]
    assert nl.sweep(draw, GRID, out=tmp_path).parameters == MEMBERS
    damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        nl.load_sweep(tmp_path)


def test_a_sweep_in_progress_can_be_read(tmp_path):
    nl.sweep(draw, GRID, out=tmp_path)
    (tmp_path / "000005.npz").unlink()
    (tmp_path / ".000005.npz.half.tmp").write_bytes(b"PK")  # being written
    runs = nl.load_sweep(tmp_path)
    assert (runs.status, runs[5].result, runs[5].error) == ("stopped", None, "")
    assert runs.message == "6 members: 5 done, 1 not computed"


# --- interruptions ---------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_is_done_and_cancels_the_rest(tmp_path):
    called = []

    def interrupted(i, rng):
        called.append(i)
        if i == 2:
            raise KeyboardInterrupt
        return {"i": i}

    runs = nl.sweep(interrupted, {"i": range(6)}, out=tmp_path)
    assert runs.message == "6 members: 2 done, 4 not computed; stopped by Ctrl-C"
    assert called == [0, 1, 2]
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == ["000000.npz", "000001.npz"]


@pytest.mark.parametrize("last", [False, True], ids=["under way", "in the last step"])
@pytest.mark.parametrize("run", [nl.integrate, nl.drift])
def test_ctrl_c_in_the_run_of_a_member_ends_the_sweep(run, last, tmp_path):
    """Alone, a run that is stopped returns what it recorded; of a member that would be a result, and never computed again."""

    def member(i, rng):
        calls = itertools.count()

        def gradient(x):
            if i == 1 and next(calls) == (10 if last else 5):
                signal.raise_signal(signal.SIGINT)
            return 0.5 * x @ x, x

        return {"steps": run(nl.potentials.Callable(gradient, 2), nl.GD(0.1), np.ones(2), 10).step[-1]}

    runs = nl.sweep(member, {"i": range(3)}, out=tmp_path)
    assert runs.message == "3 members: 1 done, 2 not computed; stopped by Ctrl-C"
    assert [p.name for p in tmp_path.glob("*.npz")] == ["000000.npz"]


def test_ctrl_c_cancels_what_waits_for_an_executor():
    called = []

    def interrupted(i, rng):
        called.append(i)
        if i == 1:
            raise KeyboardInterrupt
        time.sleep(0.05)
        return {"i": i}

    with ThreadPoolExecutor(1) as pool:
        runs = nl.sweep(interrupted, {"i": range(50)}, pool)
    assert runs.status == "stopped"
    assert runs[0].result == {"i": 0}
    assert len(called) < 50


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("executor", [0, 2])
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
@pytest.mark.slow
def test_an_interrupted_program_goes_on_where_it_was(how, executor, tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, Path(__file__).with_name("sweep_tasks.py"), out, marks, str(executor)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        while len(list(out.glob("*.npz"))) < 2:
            assert program.poll() is None, program.stderr.read()
            time.sleep(0.02)
        if how == "SIGINT":
            os.killpg(program.pid, signal.SIGINT)  # what Ctrl-C in a terminal does: every process is told
        else:
            program.kill()  # its workers have to see by themselves that it is gone
        printed, errors = program.communicate(timeout=60)  # until the last process has closed its end
    saved = {int(path.stem) for path in out.glob("*.npz")}
    assert 2 <= len(saved) < 8
    if how == "SIGINT":
        assert errors == ""
        assert program.returncode == 0
        assert "stopped by Ctrl-C" in printed
    before = executions(marks)
    environment["WITHOUT_PAUSES"] = "1"  # nobody waits for this one to be interrupted
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "8 members: 8 done\n"
    after = executions(marks)
    assert set(after) == set(range(8))
    assert all(after[i] == before[i] == 1 for i in saved)
    assert all(after[i] == before.get(i, 0) + 1 for i in set(after) - saved)


# --- threads ---------------------------------------------------------------------------------------------------------


def test_new_processes_use_one_thread_of_numba_and_of_blas(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    (result,) = nl.sweep(threads, {"i": [0]}, 1).results
    assert result == {"run": 1, "numba": 1, "blas": "1"}
    assert dict(os.environ) == before


def test_runs_of_an_executor_use_one_thread_and_this_process_keeps_its_own(monkeypatch):
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 5)
    with ThreadPoolExecutor(1) as pool:
        assert nl.sweep(threads, {"i": [0]}, pool).column("run") == [_threads.threads(1)]
        assert pool.submit(_threads.threads, None).result() == _threads.threads(5)
    assert nl.sweep(threads, {"i": [0]}).column("run") == [_threads.threads(5)]


@pytest.mark.parametrize("parts", [[(0, 7)], [(0, 3), (3, 4), (4, 7)]])
def test_an_ensemble_split_over_workers_is_the_same_bit_for_bit(parts):
    whole = part_of_an_ensemble(0, 7, None, n_threads=2)
    runs = nl.sweep(part_of_an_ensemble, [{"start": a, "stop": b} for a, b in parts], 2)
    for name, expected in whole.items():
        np.testing.assert_array_equal(np.concatenate([result[name] for result in runs.results]), expected)
    assert len(np.unique(whole["loss"][:, -1])) == 7


# --- tables and plots ------------------------------------------------------------------------------------------------


def mixed(a, b, rng, **more):
    if a == 2:
        raise ValueError("two")
    return {"x": 10.0**a, "word": "ab"[: int(b)], "ok": a > 1, "vector": np.full(2, a)}


def test_columns_and_table():
    runs = nl.sweep(mixed, {"a": [1, 2, 3], "b": [1, 2]})
    assert runs.names == ["a", "b", "x", "word", "ok", "vector"]
    np.testing.assert_array_equal(runs.column("a"), [1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(runs.column("x"), [10, 10, np.nan, np.nan, 1000, 1000])
    assert runs.column("word").tolist() == ["a", "ab", "", "", "a", "ab"]
    assert runs.column("vector").shape == (6, 2)
    assert np.isnan(runs.column("vector")[2:4]).all()
    assert list(runs.table()) == ["a", "b", "x", "word", "ok"]
    with pytest.raises(ValueError, match="did you mean 'word'"):
        runs.column("ward")


def test_columns_of_different_shapes_are_refused():
    runs = nl.sweep(lambda n, rng: {"v": np.zeros(n)}, {"n": [1, 2]})
    with pytest.raises(ValueError, match=r"different shapes: \[\(1,\), \(2,\)\]"):
        runs.column("v")
    assert "v" not in runs.table()
    assert runs.results[1]["v"].shape == (2,)


def test_members_that_differ_in_a_list_can_be_told_apart():
    runs = nl.sweep(lambda widths, lr, rng: {"x": lr * len(widths)}, {"widths": [[2, 3], [2, 4, 3]], "lr": [0.1, 0.2]})
    assert runs.table()["widths"].tolist() == ["[2, 3]"] * 2 + ["[2, 4, 3]"] * 2
    assert "[2, 3]" in runs.summary().splitlines()[2]
    page = nl.report(runs)
    assert "widths = [2, 4, 3]" in page  # a curve for each, not the mean over both
    assert "all members" not in page
    mixed_kinds = nl.sweep(lambda activation, rng: {"x": 1.0}, {"activation": ["relu", ["tanh"]]})
    assert mixed_kinds.table()["activation"].tolist() == ["relu", "['tanh']"]


def test_what_is_no_sequence_of_values_is_named():
    with pytest.raises(TypeError, match=r"grid\['a'\] must be a sequence of values"):
        nl.sweep(mixed, {"a": np.array(3), "b": [1]})
    ragged = nl.sweep(lambda a, rng: {"x": [1, [2]]}, {"a": [1]})
    assert ragged.failures[0].error.startswith("TypeError: result['x'] must be an array")


def test_summary_is_a_table_with_its_failures():
    lines = nl.sweep(mixed, {"a": [1, 2], "b": [1]}).summary().splitlines()
    assert lines[0] == "2 members: 1 done, 1 failed"
    assert lines[1].split() == ["a", "b", "x", "word", "ok"]
    assert lines[2].split() == ["1", "1", "10", "a", "0"]
    assert lines[4] == "failed: a=2, b=1: ValueError: two"
    long = nl.sweep(mixed, {"a": [2], "b": list(range(100))}).summary().splitlines()
    assert [line for line in long if "more" in line] == ["… and 60 more", "… and 60 more failed"]
    assert "100 failed" in repr(nl.sweep(mixed, {"a": [2], "b": list(range(100))}))


def test_notebooks_show_an_escaped_table():
    html = nl.sweep(mixed, {"a": [1, 2], "b": [1], "<i>": ["<script>"]})._repr_html_()
    assert html.count("<tr>") == 3
    assert "2 members: 1 done, 1 failed" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "<i>" not in html


def test_plot_draws_what_is_there_on_fitting_scales():
    runs = nl.sweep(mixed, {"a": [1, 2, 3], "b": [1, 2]})
    ax = runs.plot("a", "x")
    (line,) = ax.lines
    drawn = line.get_xydata()
    assert drawn[np.isfinite(drawn).all(axis=1)].tolist() == [[1, 10], [1, 10], [3, 1000], [3, 1000]]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale(), ax.get_yscale()) == ("a", "x", "linear", "log")
    assert runs.plot("word", "x", ax=ax) is ax
    for x, y in (("a", "word"), ("vector", "x")):
        with pytest.raises(ValueError, match="must hold one number a member"):
            runs.plot(x, y)


def test_progress(capsys):
    nl.sweep(mixed, {"a": [1, 2], "b": [1]}, progress=True)
    printed = capsys.readouterr()
    assert "member" in printed.err
    assert "1 failed" in printed.err
    assert printed.out == ""


# --- bad input -------------------------------------------------------------------------------------------------------


test_bad_input = refusals(
    [
        ({"grid": 3}, TypeError, "grid must be a mapping"),
        ({"grid": "ab"}, TypeError, "grid must be a mapping"),
        ({"grid": {}}, "grid must have at least one"),
        ({"grid": []}, "grid must have at least one"),
        ({"grid": {"a": [], "b": [1]}}, "grid must have at least one"),
        ({"grid": {"a": "text", "b": [1]}}, TypeError, r"grid\['a'\] must be a sequence"),
        ({"grid": {"a": 0.1, "b": [1]}}, TypeError, r"grid\['a'\] must be a sequence"),
        ({"grid": {"a": [1, nl.GD(0.1)], "b": [1]}}, TypeError, r"grid\['a'\]\[1\] must be a number"),
        ({"grid": [{"a": 1, "b": 2}, {"a": 1}]}, r"grid\[1\] must have the names"),
        ({"grid": [{"a": 1, "b": 2}, 3]}, TypeError, r"grid\[1\] must be a mapping"),
        ({"grid": {"a": [1], "rng": [2]}}, "no parameter 'rng'"),
        ({"grid": {"a": [1], "c": [2]}}, TypeError, "function must accept a, c, rng"),
        ({"function": 3}, TypeError, "function must be callable"),
        ({"function": lambda a, b: {}}, TypeError, "function must accept a, b, rng"),
        ({"executor": "dask"}, TypeError, "executor must be"),
        ({"executor": 0}, "executor=0"),
        ({"rng": -1}, "rng=-1"),
        ({"rng": None}, TypeError, "rng must be an integer"),
        ({"rng": np.random.default_rng(0)}, TypeError, "rng must be an integer"),
    ],
    lambda arguments: nl.sweep(**{"function": draw, "grid": GRID, **arguments}),
)
