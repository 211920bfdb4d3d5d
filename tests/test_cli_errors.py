"""No argument gives a traceback; a bug of ours says how to report it; every example of every --help runs."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import configuration, leave_unrendered
from test_cli import verbs

import noetherlite as nl
from noetherlite._cli import main as cli
from noetherlite._cli import paper
from noetherlite._cli.main import _parser, main
from noetherlite._show import figures

pytestmark = pytest.mark.usefixtures("unrendered")
ROOT = Path(__file__).parent.parent
SMALL = configuration('name = "GD"\nlr = 0.01', "steps = 8\nrecord_params = true", "widths = [4, 8, 3]", 30, 4)


# --- bugs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch):
    def fail(*_):
        return {}["a\x1b[31m key"]

    monkeypatch.setattr(paper, "_tables", fail)
    monkeypatch.setattr("noetherlite._symmetry.formulas.tables", fail)


def test_a_bug_says_how_to_report_it(broken, capsys):
    assert main(["tables"]) == 1
    error = capsys.readouterr().err
    assert "this is a bug, and not a fault of yours: KeyError" in error
    assert f"noetherlite {nl.__version__}, Python {sys.version.split()[0]}" in error
    assert "\x1b" not in error
    assert "Traceback" not in error
    traceback = Path(re.search(r"the traceback in (.*\.txt)", error)[1])
    assert "in fail\n" in traceback.read_text("utf-8")
    traceback.unlink()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_traceback_is_printed_where_it_is_wanted(how, broken, capsys, monkeypatch):
    if how == "environment":
        monkeypatch.setenv("NOETHERLITE_DEBUG", "1")
    assert main(["tables", *(["--traceback"] if how == "option" else [])]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last)")
    assert "noetherlite-" not in error  # no file is left
    assert main(["laws", "--widths", "4,x", *(["--traceback"] if how == "option" else [])]) == 2
    assert capsys.readouterr().err.startswith("Traceback (most recent call last)")


def test_where_no_file_can_be_written_the_option_is_named(broken, capsys, monkeypatch):
    monkeypatch.setattr(cli.tempfile, "NamedTemporaryFile", lambda *_, **__: os.stat("/none/of/that"))
    assert main(["tables"]) == 1
    assert "which --traceback prints" in capsys.readouterr().err


def test_numbers_beyond_the_kernels_integers(tmp_path, capsys):
    (tmp_path / "it.toml").write_text(SMALL.replace("steps = 8", f"steps = 8\nrecord_every = {10**20}"))
    assert main(["run", str(tmp_path / "it.toml"), "--out", str(tmp_path)]) == 2
    assert "record_every=100000000000000000000 is out of range" in capsys.readouterr().err
    (tmp_path / "it.toml").write_text(SMALL.replace("steps = 8", f"steps = 8\nrecord_every = {10**18}"))
    assert main(["run", str(tmp_path / "it.toml"), "--out", str(tmp_path), "--no-progress"]) == 0
    assert nl.load(tmp_path / "it").step.tolist() == [0, 8]


# --- streams ---------------------------------------------------------------------------------------------------------


def shell(command, **options):
    line = command.replace("noetherlite", f"{shlex.quote(sys.executable)} -m noetherlite", 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, **options)


@pytest.mark.needs_jit  # not for its own sake: three programs start
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.slow
def test_streams_that_are_closed_or_full():
    for command, code, error in (
        ("noetherlite tables > /dev/full", 1, "noetherlite: [Errno 28] No space left on device\n"),
        ("noetherlite tables >&-", 0, ""),
        ("noetherlite run none.toml 2>&-", 2, ""),
    ):
        done = shell(command)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", error), command


@pytest.mark.needs_jit  # as above
@pytest.mark.parametrize(
    ("arguments", "errors_too", "codes"),
    [(["tables"], False, [1]), (["--help"], False, [0, 1, 2]), (["run", "none.toml"], True, [2])],
)
def test_output_that_nobody_reads_is_no_error(arguments, errors_too, codes):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "noetherlite", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=writer if errors_too else subprocess.PIPE, check=False)
    os.close(writer)
    assert not done.stderr
    assert done.returncode in codes  # argparse says nothing of help that nobody reads


def closed(stream):
    stream.close()
    return stream


@pytest.mark.parametrize("make", [lambda: None, io.StringIO, lambda: io.TextIOWrapper(io.BytesIO())])
@pytest.mark.parametrize("arguments", [["laws", "--widths", "2,3,2"], ["laws", "--widths", "2,3,2", "--json"]])
def test_a_program_that_has_no_standard_output_or_has_closed_it(arguments, make, monkeypatch, capsys):
    """Where there is none, as under pythonw, nothing is said; what is closed is said on standard error, if that is open."""
    out, err = (make() and closed(make()) for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    assert main(arguments) == (0 if out is None else 1)
    said = "" if out is None else r"noetherlite: I/O operation on closed file\.?\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    monkeypatch.setattr("sys.stderr", err)
    assert main(arguments) == (0 if out is None else 1)


# --- results of earlier runs -----------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.toml").write_text(SMALL)
    return tmp_path


@pytest.mark.needs_jit
def test_results_of_another_run_are_kept(here, capsys):
    assert main(["run", "it.toml", "--no-progress"]) == 0
    assert main(["run", "it.toml", "--no-progress"]) == 0  # the same run: what is there is written again
    before = (here / "out" / "it.npz").read_bytes()
    (here / "it.toml").write_text(SMALL.replace("0.01", "0.02"))
    capsys.readouterr()
    assert main(["run", "it.toml", "--no-progress"]) == 1
    printed = capsys.readouterr()
    assert "--force writes over them" in printed.err
    assert printed.out == ""
    assert (here / "out" / "it.npz").read_bytes() == before
    assert main(["run", "it.toml", "--no-progress", "--dry-run"]) == 0
    assert main(["run", "it.toml", "--no-progress", "--out", "other"]) == 0
    assert main(["run", "it.toml", "--no-progress", "--force"]) == 0
    assert (here / "out" / "it.npz").read_bytes() != before
    np.savez(here / "out" / "it.npz", mine=np.eye(2))
    assert main(["run", "it.toml", "--no-progress"]) == 1


@pytest.mark.needs_jit
def test_resume_keeps_results_of_another_run(here, capsys):
    (here / "it.toml").write_text(SMALL.replace("steps = 8", "steps = 8\ncheckpoint_every = 2"))
    assert main(["run", "it.toml", "--no-progress"]) == 0
    assert main(["resume", "out/it.ckpt", "--no-progress"]) == 0
    (here / "it.toml").write_text(SMALL)
    assert main(["run", "it.toml", "--no-progress", "--out", "new"]) == 0
    for steps, code in ((8, 0), (9, 1)):
        (here / "it.toml").write_text(SMALL.replace("steps = 8", f"steps = {steps}"))
        assert main(["run", "it.toml", "--no-progress", "--out", "new", "--force"]) == 0
        assert main(["resume", "out/it.ckpt.npz", "--no-progress", "--out", "new"]) == code
    assert "new/it.npz has results of another run" in capsys.readouterr().err
    assert main(["resume", "out/it.ckpt.npz", "--no-progress", "--out", "new", "--force"]) == 0


def test_what_a_run_says_of_its_configuration_is_what_it_read(here, monkeypatch):
    edited = SMALL.replace("0.01", "5.0")
    write = lambda folder, name: (folder.mkdir(), Path("it.toml").write_text(edited))  # noqa: E731
    monkeypatch.setattr(cli.run, "_check_writable", write)
    assert main(["run", "it.toml", "--no-progress"]) == 0
    assert nl.load("out/it").specification["configuration"] == SMALL


def test_results_that_could_not_be_written_are_no_surprise_after_the_run(here, monkeypatch, capsys):
    monkeypatch.setattr(cli.run, "integrate", None)  # no run is started
    Path("out/it.npz").mkdir(parents=True)
    assert main(["run", "it.toml", "--no-progress", "--force"]) == 1
    assert "out/it.npz: Is a directory" in capsys.readouterr().err
    Path("elsewhere").mkdir()
    Path("elsewhere/it.npz").symlink_to(here / "nowhere" / "it.npz")
    assert main(["run", "it.toml", "--no-progress", "--out", "elsewhere"]) == 1
    assert "nowhere: there is no such folder" in capsys.readouterr().err


def test_run_says_that_it_leaves_a_sweep_aside(here, capsys):
    (here / "it.toml").write_text(SMALL + '[sweep]\n"algorithm.lr" = [0.1]\n')
    assert main(["run", "it.toml", "--no-progress"]) == 0
    hint = "[sweep] is left aside; `noetherlite sweep it.toml` trains its members"
    assert hint in capsys.readouterr().out.splitlines()[0]
    assert main(["run", "it.toml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["note"] == hint


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["algorithm.lr", "los"], "did you mean 'loss'"),
        (["algorithm.lrr", "loss"], "did you mean 'algorithm.lr'"),
        (["algorithm.lr", "status"], "column 'status' must hold one number a member"),
        (["network.widths", "loss"], "column 'network.widths' must hold one number a member"),
        (["loss", "scaling:2 residual"], "did you mean 'scaling:1 residual'"),
    ],
)
def test_columns_are_looked_at_before_the_work(columns, words, here, capsys):
    (here / "it.toml").write_text(SMALL + '[sweep]\n"algorithm.lr" = [0.1]\n"network.widths" = [[4, 3, 3]]\n')
    assert main(["sweep", "it.toml", "--no-progress", "--plot", *columns]) == 2
    assert words in capsys.readouterr().err
    assert not (here / "out").exists()


@pytest.mark.parametrize("widths", ["784x128x10", "4,,3", "4 8 3", "4.5,3", "", "1e3,2", "-4,3", "99999999999,2", "4"])
def test_widths_that_are_none(widths, capsys):
    assert main(["laws", f"--widths={widths}"]) == 2
    error = capsys.readouterr().err
    assert "widths" in error
    assert "invalid literal" not in error


# --- names that are nearly right -------------------------------------------------------------------------------------


def test_names_that_are_nearly_right():
    net = nl.Network([2, 3, 2])
    run = nl.integrate(net.potential(np.eye(2), [0, 1]), nl.GD(0.1), net.init(rng=0), 2)
    with pytest.raises(KeyError, match=r"no law 'scaling' .did you mean 'scaling:1'.*'translation:b'"):
        run.laws["scaling"]
    with pytest.raises(KeyError, match="no law 3; there are"):
        run.laws[3]
    with pytest.raises(TypeError, match="item assignment"):
        run.laws["scaling:1"] = None
    assert run.laws.get("scaling") is None
    assert {**run.laws} == run.laws
    with pytest.raises(ValueError, match="did you mean 'tanh'"):
        nl.Network([2, 3, 2], activation=np.tanh)
    with pytest.raises(ValueError, match="activation=3 is not known"):
        nl.Network([2, 3, 2], activation=3)
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        nl.Network([2, 2], activation="rellu")  # with no layer that would have it


@pytest.mark.parametrize("kind", ["loss", "energy", "law", "sweep"])
def test_lines_take_either_name_of_a_property(kind):
    pytest.importorskip("matplotlib")
    run = nl.integrate(nl.potentials.Radial(2), nl.Leapfrog(0.1), [1.4, 0.1], 3)
    runs = nl.sweep(lambda a, rng: {"x": a}, {"a": [1, 2]})
    draw = {
        "loss": run.plot_loss,
        "energy": run.plot_energy,
        "law": lambda **style: run.plot_law("rotation", **style) if "rotation" in run.laws else run.plot_loss(**style),
        "sweep": lambda **style: runs.plot("a", "x", **style),
    }[kind]
    for style in ({"c": "red", "lw": 3, "ls": ":"}, {"color": "red", "linewidth": 3, "linestyle": ":"}):
        line = draw(**style).lines[0]
        assert (line.get_color(), line.get_linewidth(), line.get_linestyle()) == ("red", 3, ":")


# --- examples --------------------------------------------------------------------------------------------------------


def examples(verb):
    parser = _parser()._subparsers._group_actions[0].choices[verb]
    return [line.strip() for line in parser.epilog.partition("examples:\n")[2].splitlines() if line.strip()]


OF_ALL = re.findall(r"^  (noetherlite \S.*?)(?:\s{2,}.*)?$", _parser().epilog, re.MULTILINE)
EXAMPLES = [*dict.fromkeys(line for lines in [*map(examples, verbs()), OF_ALL] for line in lines)]
OF_MACHINES = ("warmup",)  # which tests/test_startup.py runs: it compiles for a minute
RUNS = {"out/gradient_descent.npz": "gradient_descent", "out/newtonian.npz": "newtonian"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The files that examples name: configurations of the repository, recordings and checkpoints of small runs."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "examples").symlink_to(ROOT / "examples")
    for name in ("my", "long"):
        (folder / f"{name}.toml").write_text(SMALL.replace("steps = 8", "steps = 8\ncheckpoint_every = 4"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        leave_unrendered(monkeypatch)  # `unrendered` begins later, with each test
        for config in ("long.toml", *(f"examples/{name}.toml" for name in RUNS.values())):
            assert main(["run", config, "--no-progress"]) == 0
        assert main(["sweep", "examples/sweep.toml", "--no-progress"]) == 0
    (folder / "results").symlink_to("out/sweep")
    recorded = nl.load(folder / "out" / "long.npz")
    net = nl.Network([4, 8, 3])
    data = nl.datasets.gaussian_classes(n=30, n_features=4)
    np.savez(folder / "data.npz", X=data.X, y=data.y)
    U = net.potential(data)
    for name, run in (
        ("gf", recorded),
        ("nagf", nl.integrate(U, nl.NAGD(1e-4), net.init(rng=0), 8, record_params=True)),
    ):
        np.savez(folder / f"{name}.npz", t=run.t, params=run.params, X=data.X, y=data.y)
    weights = net.unpack(net.init(rng=0, bias_std=1))

    def gradient(params):
        return net.unpack(U.gradient(net.pack(params)))

    nl.tensors.dump(nl.scan(gradient, weights).laws(), folder / "laws.json")
    grads = gradient(weights)
    np.savez(folder / "weights.npz", **weights)
    (folder / "dumps").mkdir()
    np.savez(folder / "dumps" / "params_100.npz", **weights)
    np.savez(folder / "dumps" / "grads_100.npz", **grads)
    for name, factor in (("adam", 0.1), ("adam_next", 0.19)):
        np.savez(folder / f"{name}.npz", **{f"{n}.exp_avg": factor * g for n, g in grads.items()})
    return folder


@pytest.mark.needs_jit
@pytest.mark.parametrize("line", EXAMPLES)
@pytest.mark.uncounted
def test_every_example_of_every_help_runs(line, prepared, monkeypatch, capsys, request):
    monkeypatch.chdir(prepared)
    words = shlex.split(line.partition("|")[0])[1:]
    assert words
    if words[0] in OF_MACHINES:
        return
    if "--dask" in words:
        distributed = pytest.importorskip("distributed")
        cluster = distributed.LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=None)
        request.addfinalizer(cluster.close)  # else its threads work beside all tests that follow
        words[words.index("--dask") + 1] = cluster.scheduler_address
    if words[:2] == ["check", "recording.npz"]:
        words[1] = f"{words[words.index('--dynamics') + 1]}.npz"
    if words[0] in ("figure", "figures"):  # drawn in tests/test_figures.py
        monkeypatch.setattr(figures, "save", lambda number, folder, **options: {"runs": {}})
    code = main([*words, "--force"] if words[0] in ("run", "resume") else words)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    if "--json" in words:
        json.loads(printed.out)


# --- any arguments ---------------------------------------------------------------------------------------------------

FLAGS = sorted(
    {flag for verb in verbs() for flag in _parser()._subparsers._group_actions[0].choices[verb]._option_string_actions}
)
# What takes long or writes where it is not asked to is left out; what is wrong with it shows before it begins.
QUICK = ["tables", "laws", "report", "check", "audit", "run", "resume", "sweep", "figure"]
VALUES = st.one_of(
    st.sampled_from(
        ["it.toml", "none.toml", "data.npz", "bad.npz", ".", "-", "", "2,3,2", "relu", "gf", "1,0,0", "nll", "latex"]
    ),
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(verb=st.sampled_from(QUICK), words=st.lists(st.one_of(st.sampled_from(FLAGS), VALUES), max_size=5))
@pytest.mark.uncounted
def test_no_arguments_give_a_traceback(verb, words, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("any")
    (folder / "it.toml").write_text(SMALL)
    np.savez(folder / "data.npz", X=np.eye(2), y=[0, 1])
    (folder / "bad.npz").write_bytes(b"PK\3\4 nothing")
    arguments = [verb, *(word for word in words if word not in ("--dask", "--mpi", "--workers"))]
    before = os.getcwd()
    os.chdir(folder)
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    finally:
        os.chdir(before)
    error = capsys.readouterr().err
    assert code in (0, 1, 2, 3), (arguments, error)
    assert "a bug" not in error, (arguments, error)
    assert ("Traceback" in error) <= ("--traceback" in arguments), (arguments, error)
