"""The command line: what it writes and says, and how it fails."""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from problems import configuration

import noetherlite as nl
from noetherlite._cli import say
from noetherlite._cli.config import Config
from noetherlite._cli.main import _parser, main
from noetherlite._cli.run import summary
from noetherlite._run import checkpoint_file
from noetherlite._run.trajectory import stored_specification
from noetherlite._show import figures, figures_radial

pytestmark = pytest.mark.usefixtures("unrendered")
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.toml"))


@pytest.mark.needs_jit
@pytest.mark.usefixtures("rendered")
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
    assert main(["tables", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_info_names_versions_and_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))
    assert main(["info", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["versions"]["noetherlite"] == nl.__version__
    assert report["Kuzushiji-MNIST"] == {"train": "not found", "test": "not found"}
    assert main(["info"]) == 0
    assert "Kuzushiji-MNIST: train not found" in capsys.readouterr().out


@pytest.mark.needs_jit
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


def error_line(capsys):
    """What was printed on standard error: one line."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("figure 1 --lr -1", "--lr: '-1': expected a number above 0"),
        ("figure 1 --lr nan", "--lr: 'nan': expected a number above 0"),
        ("figure 1 --steps 0", "--steps: '0': expected a whole number, at least 1"),
        ("figure 2 --samples 1e3", "--samples: '1e3': expected a whole number, at least 1"),
        ("figure 2 --seed -1", "--seed: '-1': expected a whole number, at least 0"),
        ("resume it.ckpt.npz --steps -3", "--steps: '-3': expected a whole number, at least 1"),
        ("watch laws.json --from . --poll 0", "--poll: '0': expected a number above 0"),
        ("watch laws.json --from . --timeout -1", "--timeout: '-1': expected a number above 0"),
        ("watch laws.json --from . --summands 0", "--summands: '0': expected a whole number, at least 1"),
        ("watch laws.json --from . --precision autocast", "expected one of 'bfloat16', 'float16'"),
        ("audit it.npz --laws laws.json --precision bf16", "did you mean 'bfloat16'?"),
        ("audit it.npz --laws laws.json --weight 0", "weight=0.0 is out of range"),
    ],
)
def test_wrong_values_of_flags_end_with_2(words, expected, capsys):
    with pytest.raises(SystemExit) as stop:
        sys.exit(main(words.split()))
    assert stop.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_fails_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["figure", "3", "--out", str(tmp_path / "file" / "out")]) == 1
    assert "file" in error_line(capsys)


def test_a_figure_of_runs_that_diverged_ends_with_3(tmp_path, monkeypatch, capsys):
    run = {"loss": [2.0, 1e300], "discrete_residual": 1e99, "status": "diverged"}
    drawn = {"dataset": "glyphs", "n_samples": 8, "runs": {"GD": run}}
    monkeypatch.setattr(figures, "save", lambda *arguments, **options: drawn)
    assert main(["figure", "2", "--lr", "10"]) == main(["figures", "--json"]) == 3
    assert "GD       loss 2 → 1e+300" in capsys.readouterr().out


def test_ctrl_c_ends_a_figure_of_several_runs(tmp_path, monkeypatch, capsys):
    calls = itertools.count()

    def pressed(w):
        if next(calls) == 500:  # of 1600 steps
            signal.raise_signal(signal.SIGINT)
        return 0.5 * w @ w, w

    monkeypatch.setattr(figures_radial, "neuron", lambda: nl.potentials.Callable(pressed, 3))
    figures_radial._orbit_of_neuron.cache_clear()
    assert main(["figure", "5", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr() == ("", "noetherlite: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "noetherlite", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"noetherlite {nl.__version__}"


# --- run ---------------------------------------------------------------------------------------------------------------

CONFIG = configuration(
    'name = "GD"\nlr = 0.1',
    "steps = 20\nrecord_params = true",
    "widths = [4, 5, 3]",
    30,
    4,
    "[initial]\nbias_std = 0.1\n",
)


@pytest.fixture
def config(tmp_path):
    """Return a function that writes CONFIG with replacements, and returns its path."""

    def write(*replacements, name="it.toml"):
        text = CONFIG
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text, "utf-8")
        return str(tmp_path / name)

    return write


def run(path, tmp_path, *options):
    return main(["run", path, "--out", str(tmp_path / "out"), "--no-progress", *options])


def trajectory_of(tmp_path, name="it"):
    """The run that was written into the folder `out`."""
    return nl.load(tmp_path / "out" / f"{name}.npz")


@pytest.mark.needs_jit
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
@pytest.mark.usefixtures("rendered")
def test_example_configurations_run(path, tmp_path, capsys):
    assert run(str(path), tmp_path) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    told = printed.out.splitlines()
    assert told[0].startswith(f"{path.stem}: Network([")
    assert re.match(r"(completed \d+ steps|\d+ completed).*; loss \S+ .*→ \S+", told[1])
    for file in told[-1].removeprefix("wrote ").split(", "):
        assert Path(file).stat().st_size > 0
    written = trajectory_of(tmp_path, path.stem)
    table = [line.split() for line in told[3:-1]]
    assert {row[0] for row in table} == set(written.laws)
    for name, _, residual, discrete, *verdict in table:
        assert " ".join(verdict) == written.laws[name].verdict
        assert float(residual) == float(f"{written.laws[name].largest('residual'):.1e}")
        # Round-off of a few hundred steps; a law that did not hold would leave its residual.
        assert float(discrete) < 1e-12
    assert "nan" not in printed.out


def test_run_is_the_run_of_the_library(config, tmp_path):
    assert run(config(), tmp_path) == 0
    U = nl.Network([4, 5, 3]).potential(nl.datasets.gaussian_classes(n=30, n_features=4, rng=0))
    expected = nl.integrate(U, nl.GD(0.1), U.network.init(rng=0, bias_std=0.1), steps=20, record_params=True)
    written = trajectory_of(tmp_path)
    assert np.array_equal(written.params, expected.params)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["it-loss.png", "it.npz"]


def test_results_have_the_permissions_of_any_new_file(config, tmp_path):
    assert run(config(), tmp_path) == 0
    (tmp_path / "new").write_text("")
    expected = (tmp_path / "new").stat().st_mode
    assert {path.stat().st_mode for path in (tmp_path / "out").iterdir()} == {expected}


def test_run_prints_json(config, tmp_path, capsys):
    assert run(config(), tmp_path, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "completed"
    assert answer["loss"]["start"][0] > answer["loss"]["end"][0]
    assert answer["laws"]["scaling:1"]["components"] == 5
    assert answer["laws"]["scaling:1"]["discrete_residual"] < 1e-14 < answer["laws"]["scaling:1"]["residual"]
    assert answer["files"] == [str(tmp_path / "out" / name) for name in ("it.npz", "it-loss.png")]


def test_an_ensemble_is_summed_up_whatever_became_of_its_runs(config, tmp_path, capsys):
    assert run(config(("steps = 20", "steps = 20\nmembers = 3\ncheckpoint_every = 5")), tmp_path) == 0
    told = capsys.readouterr().out
    written = trajectory_of(tmp_path)
    ends = [" … ".join(f"{v:.4g}" for v in (a.min(), a.max())) for a in (written.loss[:, 0], written.loss[:, -1])]
    assert f"3 completed; loss {ends[0]} → {ends[1]}" in told
    assert main(["resume", str(tmp_path / "out" / "it.ckpt.npz"), "--no-progress"]) == 0
    loss = written.loss.copy()
    loss[1:] = np.nan  # runs that had not begun
    assert summary(replace(written, loss=loss))["loss"]["end"] == [loss[0, -1]] * 2
    loss[:] = np.nan
    assert summary(replace(written, loss=loss))["loss"] == {"start": [], "end": []}


@pytest.mark.needs_jit
@pytest.mark.usefixtures("rendered")
def test_runs_that_diverge_exit_with_3_and_keep_what_was_recorded(config, tmp_path, capsys):
    path = config(
        ("lr = 0.1", "lr = 1e200"), ("true", 'true\n[output]\nplots = ["loss", "energy", "residuals", "scaling:1"]')
    )
    assert run(path, tmp_path, "--json") == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "diverged"
    assert nl.load(tmp_path / "out" / "it.npz").status == "diverged"
    assert run(path, tmp_path) == 3
    assert "stopped being finite at step" in capsys.readouterr().out


def test_a_run_whose_law_is_broken_exits_with_3(config, tmp_path, capsys, monkeypatch):
    module = sys.modules["noetherlite._cli.run"]
    train = module.integrate

    def spoilt(*arguments, **options):
        trajectory = train(*arguments, **options)
        law = trajectory.laws["scaling:1"]
        broken = replace(law, discrete_residual=law.discrete_residual + 1e-8)
        return replace(trajectory, laws={**trajectory.laws, "scaling:1": broken})

    assert run(config(), tmp_path, "--json") == 0
    assert {law["verdict"] for law in json.loads(capsys.readouterr().out)["laws"].values()} == {"holds"}
    monkeypatch.setattr(module, "integrate", spoilt)
    (tmp_path / "out" / "it.npz").unlink()
    assert run(config(), tmp_path) == 3
    told = capsys.readouterr().out
    assert "; broken: scaling:1" in told
    assert "; holds: translation:b, translation:W" in told


def test_dry_run_runs_nothing(config, tmp_path, capsys):
    assert run(config(), tmp_path, "--dry-run") == 0
    assert "laws: scaling:1, translation:b, translation:W" in capsys.readouterr().out
    assert run(config(), tmp_path, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["bytes"] > 0
    assert not (tmp_path / "out").exists()


def test_errors_of_a_configuration_exit_with_2_and_write_nothing(config, tmp_path, capsys):
    path = config(("lr = 0.1", "lr = -1"), ("steps", "step"))
    assert run(path, tmp_path) == 2
    error = capsys.readouterr().err
    assert [line.partition(" [")[0] for line in error.splitlines()] == [f"noetherlite: {path}:"] * 3
    assert not (tmp_path / "out").exists()
    assert run(str(tmp_path / "none.toml"), tmp_path) == 2


def test_a_folder_that_cannot_be_written_fails_before_the_run(config, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr("noetherlite._cli.run._run_and_report", None)
    assert run(config(), tmp_path / "file") == 1
    assert error_line(capsys)


def test_progress_of_a_run_goes_to_standard_error(config, tmp_path, capsys):
    assert main(["run", config(), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "step/s" in printed.err
    assert "step/s" not in printed.out


@pytest.mark.needs_jit
@pytest.mark.slow
def test_interrupted_runs_keep_what_they_recorded(config, tmp_path):
    long = "steps = 100000000\nrecord_every = 100000\ncheckpoint_every = 60.0"
    path = config(("steps = 20\nrecord_params = true", long))
    process = subprocess.Popen(
        [sys.executable, "-m", "noetherlite", "run", path, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = ""
        while not re.search(r"[1-9]\d*/100000000", told):  # steps have been taken
            told += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in out
    assert f"go on by noetherlite resume {tmp_path / 'out' / 'it.ckpt.npz'}" in out
    assert nl.load(tmp_path / "out" / "it.npz").status == "stopped"


# --- resume --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(config, tmp_path):
    """Return a configuration, the checkpoint of its run after half of the steps, and the whole run's trajectory."""
    path = config(("steps = 20", "steps = 20\nbatch_size = 10\nrng = 3\ncheckpoint_every = 5"))
    job = Config(Path(path)).job()
    arguments = {name: value for name, value in job.arguments.items() if name != "checkpoint_every"}
    whole = nl.integrate(job.U, job.algorithm, job.start, **arguments)
    (tmp_path / "out").mkdir()
    checkpoint = tmp_path / "out" / "it.ckpt.npz"
    half = nl.integrate(
        job.U, job.algorithm, job.start, **job.arguments, checkpoint=checkpoint, callback=lambda s: s.step == 10
    )
    assert half.status == "stopped"
    return path, checkpoint, whole


@pytest.mark.parametrize("with_config", [False, True])
def test_resume_goes_on_to_the_same_end(with_config, stopped, tmp_path, capsys):
    path, checkpoint, whole = stopped
    flags = ["--config", path] if with_config else []
    assert main(["resume", str(checkpoint), "--json", "--no-progress", *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["message"] == "completed 20 steps"
    assert answer["files"] == [str(tmp_path / "out" / name) for name in ("it.npz", "it-loss.png")]
    written = trajectory_of(tmp_path)
    assert np.array_equal(written.params, whole.params)
    assert np.array_equal(written.laws["scaling:1"].discrete_residual, whole.laws["scaling:1"].discrete_residual)


def test_a_resumed_run_is_still_that_of_its_configuration(config, tmp_path, capsys):
    path, out = config(("steps = 20", "steps = 20\ncheckpoint_every = 5")), tmp_path / "out"
    checkpoint, changed = str(out / "it.ckpt.npz"), ["--set", "algorithm.lr=0.2"]
    assert run(path, tmp_path, *changed) == 0
    started = stored_specification(out / "it.npz")
    for flags in ([], ["--config", path]):
        assert main(["resume", checkpoint, "--no-progress", *flags]) == 0
        assert stored_specification(out / "it.npz") == started
        assert run(path, tmp_path) == 1  # without the change
        assert run(path, tmp_path, *changed) == 0
    for flags in ([], ["--config", path]):  # a longer run than that of the configuration is not written over
        assert main(["resume", checkpoint, "--no-progress", "--force", "--steps", "40", *flags]) == 0
        assert run(path, tmp_path, *changed) == run(path, tmp_path) == 1
    (out / "it.npz").unlink()  # of a run that was killed, the configuration is the one that is given
    assert main(["resume", checkpoint, "--no-progress", "--config", path]) == 0
    assert stored_specification(out / "it.npz")["configuration"] == Path(path).read_text()


def test_a_run_that_could_go_on_is_not_overwritten_unasked(stopped, tmp_path, capsys):
    path, checkpoint, whole = stopped
    before = checkpoint.read_bytes()
    assert run(path, tmp_path) == 1
    assert f"noetherlite resume {checkpoint}" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    assert run(path, tmp_path, "--overwrite") == 0  # as --force was called
    assert np.array_equal(nl.load(tmp_path / "out" / "it.npz").x, whole.x)
    assert run(path, tmp_path) == 0  # its checkpoint is of a run that has come to its end


def test_a_resumed_run_is_never_written_over_its_checkpoint(stopped, tmp_path, capsys):
    _, checkpoint, whole = stopped
    for name, written in {
        "a.npz": "a-resumed.npz",
        "b.ckpt.previous.npz": "b.npz",
        "c d.1.ckpt.npz": "c-d-1.npz",
    }.items():
        (tmp_path / name).write_bytes(checkpoint.read_bytes())
        assert main(["resume", str(tmp_path / name), "--no-progress"]) == 0
        assert np.array_equal(nl.load(tmp_path / written).x, whole.x)
        assert main(["resume", str(tmp_path / name), "--no-progress", "--out", str(tmp_path / "other")]) == 0
        assert (tmp_path / "other" / written).is_file()


def test_what_cannot_be_resumed_fails_in_one_line(stopped, config, tmp_path, capsys):
    _, checkpoint, _ = stopped
    other = config(("n = 30", "n = 31"), name="other.toml")
    (tmp_path / "text.npz").write_text("text" * 100)
    for arguments, words in (
        ([str(tmp_path / "none.ckpt.npz")], "No such file"),
        ([str(checkpoint), "--config", other], "n_samples=31 (was 30)"),
        ([str(tmp_path / "text.npz")], "not a checkpoint"),
    ):
        assert main(["resume", *arguments, "--no-progress"]) == 1
        assert words in error_line(capsys)


def test_a_checkpoint_that_cannot_be_written_loses_nothing(config, tmp_path, monkeypatch, capsys):
    path = config(("steps = 20", "steps = 20\ncheckpoint_every = 5"))
    write, calls = checkpoint_file.write, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # the first is at the start
            raise OSError(28, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(checkpoint_file, "write", full)
    assert run(path, tmp_path) == 1
    assert "No space left on device" in capsys.readouterr().err
    written = trajectory_of(tmp_path)
    assert (written.status, written.step[-1]) == ("stopped", 10)
    monkeypatch.undo()
    assert main(["resume", str(tmp_path / "out" / "it.ckpt.npz"), "--no-progress"]) == 0
    assert nl.load(tmp_path / "out" / "it.npz").step[-1] == 20


# --- check -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(config, tmp_path):
    """Return the run that `run` wrote for CONFIG, the network and the data."""
    assert run(config(), tmp_path) == 0
    net = nl.Network([4, 5, 3])
    return nl.load(tmp_path / "out" / "it.npz"), net, nl.datasets.gaussian_classes(n=30, n_features=4, rng=0)


def test_check_reads_what_run_wrote(recording, config, tmp_path, capsys):
    capsys.readouterr()
    file = str(tmp_path / "out" / "it.npz")
    assert main(["check", file, "--config", config()]) == 0
    assert "every row one step of GD(lr=0.1)" in capsys.readouterr().out
    assert main(["check", file, "--config", config(), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["verdict"] == "holds"
    assert answer["limits"]
    assert [row["name"] for row in answer["rows"]][:2] == ["scaling:1", "translation:b"]
    assert all(row["ratio"] < 1 for row in answer["rows"])


def test_layers_stacked_over_records_are_put_together(recording, tmp_path, capsys):
    trajectory, net, data = recording
    capsys.readouterr()
    layers = {
        b.name: trajectory.params[:, b.start : b.stop].reshape(-1, *b.shape).astype(np.float32) for b in net.blocks
    }
    np.savez(tmp_path / "layers.npz", t=trajectory.t, X=data.X, y=data.y, **layers)
    flags = ["--widths", "4,5,3", "--activation", "relu", "--dynamics", "GF"]
    assert main(["check", str(tmp_path / "layers.npz"), *flags]) == 0
    assert "precision 1e-07" in capsys.readouterr().out  # float32 was told from float64
    del layers["b2"]
    np.savez(tmp_path / "layers.npz", t=trajectory.t, X=data.X, y=data.y, **layers)
    assert main(["check", str(tmp_path / "layers.npz"), *flags]) == 1
    assert "or W1, b1, W2, b2, stacked over the records" in capsys.readouterr().err
    np.savez(tmp_path / "layers.npz", t=trajectory.t, X=data.X, y=data.y, b2=np.zeros((21, 4)), **layers)
    assert main(["check", str(tmp_path / "layers.npz"), *flags]) == 1
    assert "b2 must have shape (21, 3)" in capsys.readouterr().err


def test_a_broken_law_exits_with_3(recording, config, tmp_path, capsys):
    trajectory, net, data = recording
    params = trajectory.params.copy()
    block = net.block("b1")
    params[:, block.start + 2] = params[0, block.start + 2]  # a bias that is not trained
    np.savez(tmp_path / "bad.npz", t=trajectory.t, params=params)
    np.savez(tmp_path / "data.npz", X=data.X, y=data.y)
    capsys.readouterr()
    assert main(["check", str(tmp_path / "bad.npz"), "--config", config()]) == 3
    flags = ["--widths", "4,5,3", "--dynamics", "1,0,0", "--data", str(tmp_path / "data.npz"), "--json"]
    printed = capsys.readouterr().out
    assert "→ b1 " in printed
    assert main(["check", str(tmp_path / "bad.npz"), *flags]) == 3  # nor is gradient descent Newtonian
    answer = json.loads(capsys.readouterr().out)
    assert not answer["ok"]
    assert answer["broken"]


def test_thinned_records_are_replayed_and_those_of_minibatches_refused(config, tmp_path, capsys):
    for options, code, words in (
        ("record_every = 4", 0, "every row 4 steps of GD"),
        ("record_every = 6", 0, "every row 6 steps of GD"),  # 20 is no multiple
        ("record_every = 4\nbatch_size = 10", 1, "record every step"),
        ("batch_size = 10", 0, "every row one step of GD"),
    ):
        path = config(("lr = 0.1", "lr = 0.001"), ("steps = 20", f"steps = 20\n{options}"))
        assert run(path, tmp_path, "--force") == 0
        capsys.readouterr()
        assert main(["check", str(tmp_path / "out" / "it.npz"), "--config", path]) == code
        assert words in "".join(capsys.readouterr())


def test_a_recording_of_half_the_learning_rate_does_not_pass_for_a_thinned_one(recording, config, tmp_path, capsys):
    path = config(("lr = 0.1", "lr = 0.05"))
    assert main(["check", str(tmp_path / "out" / "it.npz"), "--config", path]) == 3
    assert "every row 2 steps of GD(lr=0.05)" in capsys.readouterr().out


def test_records_at_uneven_steps_are_checked_against_the_flow(recording, config, tmp_path, capsys):
    trajectory, _, _ = recording
    rows = [0, 1, 3, 7, 15]
    np.savez(tmp_path / "uneven.npz", t=trajectory.t[rows], params=trajectory.params[rows])
    capsys.readouterr()
    assert main(["check", str(tmp_path / "uneven.npz"), "--config", config()]) == 0
    assert "GF up to first order" in capsys.readouterr().out


def test_a_recording_of_another_learning_rate_is_not_said_to_hold(recording, config, tmp_path, capsys):
    file, path = str(tmp_path / "out" / "it.npz"), config(("lr = 0.1", "lr = 0.15"))
    assert main(["check", file, "--config", path]) == 1
    assert "its records are 0.1 apart, and a step of GD(lr=0.15) takes 0.15" in capsys.readouterr().err
    assert main(["check", file, "--config", path, "--dynamics", "gf"]) == 0
    assert "every row one step of GD(lr=0.1)" in capsys.readouterr().out


def test_a_config_with_several_rates_does_not_say_which_one_was_recorded(recording, config, tmp_path, capsys):
    file, path = str(tmp_path / "out" / "it.npz"), config(("lr = 0.1", "lr = [0.1, 0.2]"))
    assert main(["check", file, "--config", path]) == 2
    assert "lr lists 2 rates" in capsys.readouterr().err
    assert main(["check", file, "--config", path, "--dynamics", "gf"]) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--dynamics is needed"),
        (["--dynamics", "gf"], "--widths is needed"),
        (["--dynamics", "gf", "--widths", "4,5,3"], "--data is needed"),
        (["--dynamics", "gf", "--widths", "4,x,3"], "'x'"),
        (["--dynamics", "gf", "--widths", "4,5,3", "--activation", "rellu"], "did you mean 'relu'"),
        (["--config", "CONFIG", "--widths", "4,5,3"], "--config has what --widths says"),
    ],
)
def test_check_says_which_arguments_are_missing(flags, words, recording, config, tmp_path, capsys):
    flags = [config() if flag == "CONFIG" else flag for flag in flags]
    assert main(["check", str(tmp_path / "out" / "it.npz"), *flags]) == 2
    assert words in capsys.readouterr().err


def test_check_of_what_is_no_recording_fails_in_one_line(config, tmp_path, capsys):
    for name, arrays in {
        "none": None,
        "t": {"params": np.zeros((2, 43))},
        "objects": {"t": np.array([None, {}])},
    }.items():
        file = tmp_path / f"{name}.npz"
        if arrays is not None:
            np.savez(file, **arrays, allow_pickle=True)
        assert main(["check", str(file), "--config", config()]) == 1
        assert f"{name}.npz" in error_line(capsys)


@pytest.mark.parametrize(
    "arrays",
    [
        {"t": np.array(["a", "b"])},
        {"t": np.zeros(())},
        {"t": np.zeros((2, 2))},
        {"t": np.array([0.0, np.nan])},
        {"t": np.array([1.0, 0.0])},
        {"params": np.zeros(2)},
        {"params": np.full((2, 43), np.inf)},
        {"params": np.zeros((2, 43), complex)},
        {"params": np.zeros((0, 43)), "t": np.zeros(0)},
        {"t": np.zeros(3)},
    ],
    ids=str,
)
def test_recordings_that_make_no_sense_fail_in_one_line(arrays, config, tmp_path, capsys):
    np.savez(tmp_path / "bad.npz", **{"t": np.array([0.0, 0.1]), "params": np.zeros((2, 43)), **arrays})
    assert main(["check", str(tmp_path / "bad.npz"), "--config", config()]) == 1
    assert re.match(r"noetherlite: (t|params)\b", error_line(capsys))


# --- laws --------------------------------------------------------------------------------------------------------------


def test_laws_says_what_is_conserved_and_why(capsys):
    assert main(["laws", "--widths", "784,128,10", "--activation", "relu", "--dynamics", "nagf"]) == 0
    told = capsys.readouterr().out
    assert "scaling:1: Scaling of each neuron" in told
    assert nl.law("translation:b", nl.NAGF).formula() in told
    assert "128 components" in told
    assert "no linear:1: activation 'relu' is not linear" in told
    assert "not counted" in told


def test_laws_are_counted(capsys):
    command = ["laws", "--widths", "2,3,2", "--activation", "linear", "--no-bias", "--json"]
    assert main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["dynamics"]["name"] == "GF"
    assert answer["independent"]["count"] == 6
    assert answer["independent"]["certified"] is True
    assert {law["name"] for law in answer["laws"]} == {
        "scaling:1", "linear:1", "rotation", "translation:W", "time"
    }  # fmt: skip
    assert next(law for law in answer["laws"] if law["name"] == "linear:1")["components"] == 9
    assert main([*command, "--dynamics", "1,0.5,0"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["independent"]["count"] == 3
    assert "e^{0.5t}" in answer["laws"][1]["latex"]


def test_laws_of_known_models(capsys):
    assert main(["laws", "--model", "llama-7b", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["laws"], answer["lower bound"]) == (9_142_272, True)
    assert main(["laws", "--model", "gpt2", "--dynamics", "nagf"]) == 0
    out = capsys.readouterr().out
    assert "at least 694,832 laws of 124,439,808 parameters, momentum flow" in out
    assert "a lower bound: with one-hot tokens there are at least these laws" in out
    assert main(["laws", "--model", "gpt3"]) == 2
    assert "--model='gpt3' is not known" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["laws", "--model", "gpt2", "--widths", "2,3,2"])


@pytest.mark.parametrize("flags", [["--activation", "tanh"], ["--no-bias"], ["--loss", "mse"]])
@pytest.mark.parametrize("what", [["--model", "gpt2"], ["--table"]])
def test_flags_of_networks_are_not_ignored_without_one(what, flags, capsys):
    assert main(["laws", *what, *flags]) == 2
    assert f"{flags[0]} describes a network: expected --widths" in capsys.readouterr().err


def test_a_dynamics_is_not_ignored_beside_the_table(capsys):
    assert main(["laws", "--table", "--dynamics", "gf"]) == 2
    assert "expected no --dynamics" in capsys.readouterr().err


def test_the_table_of_counts(capsys, monkeypatch):
    from noetherlite._theory import count_table

    rows = list(count_table.rows())[:2]
    monkeypatch.setattr(count_table, "rows", lambda: iter(rows))
    assert main(["laws", "--table"]) == 0
    assert "| linear 2-3-2, cross-entropy | gradient | 9 / 12 | certified |" in capsys.readouterr().out
    assert main(["laws", "--table", "--json"]) == 0
    assert [row["laws"] for row in json.loads(capsys.readouterr().out)] == [9, 5]


def test_laws_of_what_cannot_be_counted_says_why(capsys):
    assert main(["laws", "--widths", "2,3,2", "--activation", "tanh", "--loss", "mse"]) == 0
    told = capsys.readouterr().out
    assert "not counted, as net: activation 'tanh'" in told
    assert "no scaling:1: activation 'tanh' is not homogeneous" in told
    assert "no translation:b: it needs loss='nll' or loss='cross_entropy'" in told


@pytest.mark.parametrize("arguments", [["--dynamics", "nag"], ["--dynamics", "1,x,2"], ["--dynamics", "0,1,3"]])
def test_unknown_dynamics_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["laws", "--widths", "2,3,2", *arguments])
    assert stop.value.code == 2
    assert "dynamics" in capsys.readouterr().err


# --- all verbs ---------------------------------------------------------------------------------------------------------


def verbs():
    return re.findall(r"^    (\w+) ", _parser().format_help(), re.MULTILINE)


def test_there_are_the_verbs_that_the_page_names():
    text = (Path(__file__).parent.parent / "docs/command_line.md").read_text("utf-8")
    assert set(re.findall(r"(?:`|^)noetherlite (\w+)", text, re.MULTILINE)) == set(verbs())


@pytest.mark.parametrize("file", ["docs/command_line.md", *(f"examples/{path.name}" for path in EXAMPLES)])
def test_commands_in_texts_can_be_parsed(file):
    root = Path(__file__).parent.parent
    commands = re.findall(r"^(?:#\s+)?noetherlite (.*?)(?:\s{2,}.*)?$", (root / file).read_text("utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        options = _parser().parse_args(shlex.split(command, comments=True))
        if getattr(options, "config", None):
            assert (root / options.config).is_file()


@pytest.mark.parametrize("verb", verbs())
def test_help_has_examples_that_can_be_parsed(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
    assert shown
    for line in shown:
        words = shlex.split(line.partition("|")[0])
        assert words[:2] == ["noetherlite", verb]
        _parser().parse_args(words[1:])
    assert any("--json" in line for line in shown) or verb in ("figures", "tables", "resume")


def test_letters_that_a_terminal_does_not_have_are_replaced():
    command = [sys.executable, "-m", "noetherlite", "laws", "--widths", "2,3,2"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"|w_i|" in done.stdout
    assert done.stdout.isascii()


def test_numbers_that_json_does_not_have_become_null(capsys):
    say.answer({"a": [float("nan"), float("inf"), 1.5], 2: ("x", None)})
    assert json.loads(capsys.readouterr().out) == {"a": [None, None, 1.5], "2": ["x", None]}


def test_columns_line_up_whatever_marks_letters_carry():
    rows = say.columns([("ẇ", "1"), ("long", "10")], right=(1,)).splitlines()
    assert rows == ["  ẇ" + " " * 3 + "   1", "  long  10"]


def test_settings_take_the_place_of_the_configurations(config, tmp_path, capsys):
    path = config()
    changed = ("--set", "algorithm.lr=0.05", "--set", "run.steps = 7", "--set", "output.name=fast")
    assert run(path, tmp_path, *changed) == 0
    written = trajectory_of(tmp_path, "fast")
    specification = written.specification
    assert (specification["algorithm"]["lr"], written.step[-1]) == (0.05, 7)
    assert specification["command"].endswith("--set algorithm.lr=0.05 --set 'run.steps = 7' --set output.name=fast")
    assert "# --set algorithm.lr=0.05" in specification["configuration"]
    assert run(path, tmp_path, *changed) == 0  # the same run again
    capsys.readouterr()
    assert run(path, tmp_path, *changed[:2], *changed[4:]) == 1
    assert "has results of another run" in capsys.readouterr().err


@pytest.mark.usefixtures("rendered")
def test_sharpness_is_said_and_drawn(config, tmp_path, capsys):
    more = ("--set", "run.record_sharpness=2", "--set", 'output.plots=["sharpness"]', "--set", "run.steps=6")
    assert run(config(), tmp_path, *more) == 0
    assert (tmp_path / "out" / "it-sharpness.png").stat().st_size > 1000
    values = trajectory_of(tmp_path).observed["sharpness"]
    first, last = (f"{v[1]:.4g} … {v[0]:.4g}" for v in (values[0], values[-1]))
    assert f"sharpness {first} → {last}" in capsys.readouterr().out
    assert run(config(), tmp_path, *more[2:]) == 2  # without record_sharpness there is nothing to draw
    assert "plots[0]='sharpness' is not known" in capsys.readouterr().err


def test_weights_and_a_balanced_start_are_set(config, tmp_path):
    path, runs = config(), {}
    for name, more in {
        "plain": (),
        "balanced": ("--set", "initial.balance=0.5"),
        "weighted": ("--set", "data.class_weight=[1, 9, 1]"),
    }.items():
        assert run(path, tmp_path, "--set", f"output.name={name}", "--set", "run.steps=0", *more) == 0
        runs[name] = trajectory_of(tmp_path, name)
    charge = {name: r.laws["scaling:1"].quantity[0] for name, r in runs.items()}
    np.testing.assert_allclose(charge["balanced"], 0.25, rtol=1e-13)
    assert np.abs(charge["plain"] - 0.25).max() > 0.01
    assert runs["balanced"].loss[0] == pytest.approx(runs["plain"].loss[0], rel=1e-12)
    assert np.array_equal(charge["weighted"], charge["plain"])
    assert abs(runs["weighted"].loss[0] - runs["plain"].loss[0]) > 1e-3
    assert runs["weighted"].specification["potential"]["weights"] == ["class_weight"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("algorithm.lr", "expected SECTION.KEY=VALUE"),
        ("lr=0.1", "expected SECTION.KEY=VALUE"),
        ("algorithm.lr=fast", "[algorithm] lr"),
        ("algorithm.rate=1", "rate"),
        ("nothing.lr=1", "[nothing]"),
    ],
)
def test_wrong_settings_are_refused(setting, message, config, tmp_path, capsys):
    assert run(config(), tmp_path, "--set", setting) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_finished_run_goes_on(config, tmp_path):
    path = config(("steps = 20", "steps = 10\ncheckpoint_every = 5"))
    assert run(path, tmp_path) == 0
    assert main(["resume", str(tmp_path / "out" / "it.ckpt.npz"), "--steps", "20", "--no-progress"]) == 0
    longer = trajectory_of(tmp_path)
    job = Config(Path(config(("steps = 20", "steps = 20"), name="long.toml"))).job()
    whole = nl.integrate(job.U, job.algorithm, job.start, **job.arguments)
    np.testing.assert_array_equal(longer.x, whole.x)
    assert longer.step.tolist() == whole.step.tolist()
