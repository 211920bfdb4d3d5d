"""Starting up: compiled code is kept where it can be, found again, shared by processes, and never asked for loudly."""

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest

import noetherlite as nl
from noetherlite._cli.main import main
from noetherlite._run import warmup

PACKAGE = Path(nl.__file__).parent
pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")

# The smallest kernels, of the three files that most are in: they are kept in the way of all others.
SMALL = """
import sys, time
import numpy as np
import noetherlite as nl
from noetherlite._kernels.cpu import analytic, steps
time.sleep(max(0.0, float(sys.argv[1]) - time.time()))
U, x0 = nl.potentials.Radial(3), [1.4, 0.1, -0.2]
x, v = np.array(x0), np.zeros(3)
v[0] = steps.largest(U.gradient(x))
print(U.value(x0).hex(), nl.potentials.Harmonic(np.eye(3)).value(x0).hex(), *(a.hex() for a in (*x, *v)))
print(sum(sum(f.stats.cache_misses.values()) for f in (analytic.radial, analytic.harmonic, steps.largest)))
print(analytic.radial.stats.cache_path)
"""


def start(code, *arguments, **environment):
    """Start a process in which every warning is an error; -P: the working directory does not hide another copy."""
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", code, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process):
    """Return the lines that a process printed, after checking that it ended well and said nothing else."""
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    return out.splitlines()


@pytest.mark.parametrize("n", [pytest.param(3, marks=pytest.mark.lengthy), pytest.param(8, marks=pytest.mark.slow)])
def test_processes_start_at_once_in_an_empty_shared_cache(tmp_path, n):
    together = str(time.time() + 2 + n / 2)  # all wait for the same moment, to collide as well as they can
    processes = [start(SMALL, together, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(n)]
    answers = [answer(p) for p in processes]
    assert len({numbers for numbers, _, _ in answers}) == 1
    assert sum(int(compiled) for _, compiled, _ in answers) > 3  # they did collide: more than one of them compiled
    assert not list(tmp_path.rglob("*.tmp.*"))
    numbers, compiled, where = answer(start(SMALL, "0", NUMBA_CACHE_DIR=str(tmp_path)))
    assert (numbers, compiled) == (answers[0][0], "0")
    assert Path(where).is_relative_to(tmp_path)


RUN_EVERYTHING = """
import numpy as np
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import noetherlite as nl
    X = np.random.default_rng(0).standard_normal((300, 24))
    for activation, loss in (("relu", "nll"), ("linear", "mse"), (["swish", "tanh"], "nll")):
        net = nl.Network([24, 32, 32, 3], activation=activation, loss=loss)
        U = net.potential(X, np.arange(300) % 3 if loss == "nll" else X[:, :3])
        x0 = net.init(rng=0)
        net.predict(x0, X), U.value(x0), U.gradient(x0)
        for algorithm in (nl.GD(0.1), nl.Leapfrog(1e-3), nl.NAGD(1e-3), nl.ConformalLeapfrog(1e-3, gamma=1.0)):
            for dtype in ("float64", "float32"):
                nl.integrate(U, algorithm, x0, 3, dtype=dtype, n_threads=2, record_params=True)
        nl.integrate(U, nl.GD(0.1), x0, 3, batch_size=7, rng=0)
        nl.integrate(U, nl.GD(0.1), x0, 3, input_reduction=True)
        nl.ensemble(U, nl.GD(0.1), [x0, x0], 3)
    wide = nl.Network([24, 400, 3])
    nl.integrate(wide.potential(X, np.arange(300) % 3), nl.GD(0.1), wide.init(rng=0), 2)
    nl.integrate(nl.potentials.Radial(3), nl.Leapfrog(0.1), [1.0, 0, 0], 3, laws=[nl.Symmetry([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])])
    nl.integrate(nl.potentials.Harmonic(np.eye(2)), nl.Leapfrog(0.1), [1.0, 0], 3, dtype="float32")
print(sorted({e.data["dispatcher"].__name__ for _, e in recorder.buffer}))
"""


@pytest.mark.lengthy
def test_after_a_warm_up_nothing_is_compiled_any_more():
    list(warmup.warmup())  # in the cache that the tests share
    assert answer(start(RUN_EVERYTHING)) == ["[]"]


def test_warm_up_says_what_it_did(capsys, tmp_path):
    assert main(["warmup"]) == 0
    first = capsys.readouterr().out
    assert first.count("\n") == 5
    assert f"kept in {warmup.folder()}" in first
    assert main(["warmup", "--json"]) == 0  # a second time in one process: nothing is left to do
    assert gc.isenabled()  # searching for garbage goes on
    report = json.loads(capsys.readouterr().out)
    assert [step["compiled"] for step in report["steps"]] == [0, 0, 0, 0]
    assert Path(report["folder"]).is_dir()


def test_a_second_process_compiles_for_single_precision(monkeypatch):
    """It counts among the last step's functions, and ends with a warm-up that is broken off; none where nothing is to be done."""
    monkeypatch.setattr(warmup.threads, "threads", lambda n: 2)
    started, start_now = [], warmup._start
    monkeypatch.setattr(warmup, "_start", lambda dtype: started.append(start_now(dtype)) or started[-1])
    for compiled, expected in ((1, [1, 1, 1, 8]), (0, [0, 0, 0, 0])):
        monkeypatch.setattr(warmup, "_time_step", lambda what, function, n=compiled: warmup.Step(what, 0.0, n))
        monkeypatch.setattr(warmup, "_BESIDE", "import sys; assert sys.argv[1] == 'float32'; print(7)")
        assert [step.compiled for step in warmup.warmup()] == expected
    assert len(started) == 1
    monkeypatch.setattr(warmup, "_time_step", lambda what, function: warmup.Step(what, 0.0, 1))
    monkeypatch.setattr(warmup, "_BESIDE", "import time; time.sleep(600)")
    steps = warmup.warmup()
    next(steps), next(steps)
    assert started[1].poll() is None
    steps.close()
    assert started[1].poll() is not None


@pytest.mark.lengthy
def test_compiled_functions_are_counted(tmp_path):
    code = "from noetherlite._run import warmup\nstep = next(warmup.warmup())\nprint(step.compiled, warmup.folder())"
    for expected in ("2", "0"):
        (line,) = answer(start(code, NUMBA_CACHE_DIR=str(tmp_path)))
        count, folder = line.split()
        assert count == expected
        assert Path(folder).is_relative_to(tmp_path)


def test_warm_up_without_a_compiler_fails_in_one_line():
    process = start("from noetherlite._cli.main import main; raise SystemExit(main(['warmup']))", NUMBA_DISABLE_JIT="1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "noetherlite: NUMBA_DISABLE_JIT is set: there is nothing to compile\n"


# --- folders that cannot be written: a folder below a file cannot even be made, also by root ---------------------------


@pytest.fixture
def nowhere(tmp_path):
    """A copy of the package and an environment in which no folder for compiled code can be made."""
    copy = tmp_path / "site" / "noetherlite"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (copy, *(f for f in copy.rglob("*") if f.is_dir())):
        (folder / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    below = str(tmp_path / "file" / "below")
    environment = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"), below)
    return {**environment, "PYTHONPATH": str(copy.parent)}


def files(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


FIRST_STEP = """
from noetherlite._cli import main
from noetherlite._run import warmup
warmup.warmup = lambda: [warmup._time_step("potentials without data", warmup._evaluate_analytic)]
raise SystemExit(main.main(["warmup"]))
"""


@pytest.mark.lengthy
def test_runs_quietly_where_nothing_can_be_written(nowhere, tmp_path):
    before = files(tmp_path)
    numbers, _, where = answer(start(SMALL, "0", **nowhere))
    assert where == "None"
    assert files(tmp_path) == before
    assert numbers == answer(start(SMALL, "0"))[0]


def test_warm_up_says_that_nothing_is_kept(nowhere):
    first, last = answer(start(FIRST_STEP, **nowhere))
    assert first.endswith("2 functions compiled")
    assert last == "not kept: there is no folder to write to, and every start compiles again"


def test_an_unusable_cache_folder_gives_way_to_the_next(nowhere, tmp_path):
    environment = {**nowhere, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    where = answer(start(SMALL, "0", **environment))[2]
    assert sys.platform != "linux" or Path(where).is_relative_to(tmp_path / "cache")
    assert Path(where).is_dir()


@pytest.mark.lengthy
def test_warm_up_does_not_claim_what_could_not_be_kept(tmp_path):
    """A file stands where the folder should be made: the place is there, and nothing can be kept in it."""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    _, _, where = answer(start(SMALL, "0", **environment))
    shutil.rmtree(where)
    Path(where).write_text("")
    process = start("import warnings; warnings.simplefilter('default')\n" + FIRST_STEP, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("not kept: ")
    assert where in out.splitlines()[-1]
    assert err.count("RuntimeWarning: compiled code cannot be stored in") == 1  # of two functions


# --- whose code it is ---------------------------------------------------------------------------------------------------


@pytest.mark.lengthy
def test_an_upgrade_brings_its_own_numbers(tmp_path):
    """The file of an algorithm is changed by one line, as an upgrade in place does; the loop made of it is in a file as it was."""
    copy = tmp_path / "site" / "noetherlite"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import noetherlite as nl
from noetherlite._kernels import layout
from noetherlite._kernels.cpu.placed import Placed
from noetherlite._kernels.cpu.rules import loop
from noetherlite._motion.heavy_ball import MOVE
state = layout.views(layout.new_states(1, 3, 0, "float64"), 0)
state.v[:], state.gradient[:] = 1.0, 0.1
numbers, arrays, step = Placed(nl.HeavyBall(0.3).kernel(0.0)), Placed(state), loop(MOVE, "float64")
step(numbers.address, 0, arrays.address)
print(*(a.hex() for a in (*state.x, *state.v)), sum(step._of_python.stats.cache_misses.values()))
"""

    def numbers(root):
        return answer(start(code, NUMBA_CACHE_DIR=root, PYTHONPATH=str(copy.parent)))

    shared, other = str(tmp_path / "shared"), str(tmp_path / "other")
    before = numbers(shared)
    assert before[0].endswith(" 1")
    assert numbers(shared) == [before[0].removesuffix("1") + "0"]  # found
    file = copy / "_motion" / "heavy_ball.py"
    source, line = file.read_text(), "v = c.beta * at.v - c.kick * at.g\n"
    assert source.count(line) == 1
    stamp = file.stat()
    file.write_text(source.replace(line, line.replace("- c.kick", "+ c.kick")))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    shutil.rmtree(copy / "_motion" / "__pycache__", ignore_errors=True)  # Python's own, which looks at times and sizes
    after = numbers(shared)
    assert after == numbers(other)  # where nothing was kept before
    assert after != before
