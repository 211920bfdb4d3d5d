"""Surroundings of a program: no standard error, no metadata, a limit of memory, NumPy's own settings."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._base import limits, progress, threads
from noetherlite._base.versions import version
from noetherlite._cli.main import main

NET = nl.Network([2, 3, 2])
X = np.random.default_rng(0).normal(size=(20, 2))
U = NET.potential(X, np.arange(20) % 2)
THETA = NET.init(rng=0)


# --- standard error -----------------------------------------------------------------------------------------------------


class Closed:
    closed = True


@pytest.mark.parametrize("nobody", [None, Closed()])
def test_progress_where_there_is_no_standard_error(nobody, monkeypatch):
    whole = nl.integrate(U, nl.GD(0.1), THETA, 5)
    monkeypatch.setattr(sys, "stderr", nobody)
    run = nl.integrate(U, nl.GD(0.1), THETA, 5, progress=True)
    np.testing.assert_array_equal(run.loss, whole.loss)
    runs = nl.ensemble(U, nl.GD(0.1), [THETA, THETA], 5, progress=True)
    np.testing.assert_array_equal(runs.loss[1], whole.loss)
    swept = nl.sweep(lambda lr, rng: {"loss": lr}, {"lr": [0.1, 0.2]}, progress=True)
    assert len(swept.members) == 2


def test_a_bar_is_shown_where_there_is_one(capsys):
    with progress.bar(3, "thing") as bar:
        bar.update(2)
    assert "thing" in capsys.readouterr().err


# --- metadata -----------------------------------------------------------------------------------------------------------


def test_a_copy_without_metadata_can_be_used():
    """As it is for a folder on the path that was never installed, and in programs that are frozen into one file."""
    code = """
from importlib import metadata
installed = metadata.version
def version(name):
    if name == "noetherlite":
        raise metadata.PackageNotFoundError(name)
    return installed(name)
metadata.version = version
import noetherlite as nl
print(nl.__version__, nl.integrate(nl.potentials.Callable(lambda x: (0.0, 0 * x), 1), nl.GD(.1), [1.0], 1).specification["versions"])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("unknown {")
    assert f"'numpy': '{np.__version__}'" in done.stdout
    assert version() == nl.__version__


# --- memory -------------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "version 2": ("0::/user.slice/job\n", "user.slice/job/memory.max", "memory.max"),
    "version 2, the group above": ("0::/user.slice/job\n", "user.slice/memory.max", "user.slice/job/memory.max"),
    "version 2, in a container": ("0::/../../docker/1f\n", "memory.max", None),
    "version 1": (
        "5:cpu:/\n4:memory:/slurm/job\n",
        "memory/slurm/job/memory.limit_in_bytes",
        "memory/memory.limit_in_bytes",
    ),
    "version 1, in a container": ("4:memory:/docker/1f\n", "memory/memory.limit_in_bytes", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_limit_of_a_control_group_is_found(layout, tmp_path):
    membership, limited, unlimited = LAYOUTS[layout]
    (tmp_path / "cgroup").write_text(membership)
    mounted = tmp_path / "mounted"
    for name, content in ((unlimited, "max\n"), (limited, "536870912\n")):
        if name:
            (mounted / name).parent.mkdir(parents=True, exist_ok=True)
            (mounted / name).write_text(content)
    (tmp_path / "memory.max").write_text("1\n")  # above what is mounted, and none of a group's
    assert limits.allowed(tmp_path / "cgroup", mounted) == 2.0**29
    (mounted / limited).write_text("max\n")
    assert limits.allowed(tmp_path / "cgroup", mounted) == math.inf


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert limits.allowed(tmp_path / "none", tmp_path) == math.inf


def test_a_run_beyond_the_limit_is_refused_and_not_killed(monkeypatch):
    monkeypatch.setattr(limits, "allowed", lambda: 1e6)
    words = r"the run would hold .* GB and this process's control group may have 0.001 GB"
    with pytest.raises(MemoryError, match=words):
        nl.integrate(U, nl.GD(0.1), THETA, 100_000)
    assert nl.integrate(U, nl.GD(0.1), THETA, 100).status == "completed"


# --- NumPy's settings -----------------------------------------------------------------------------------------------------

TINY = 1e-200  # its square is 0
SWISH = nl.Network([2, 3, 2], "swish", loss="mse")
SMALL = SWISH.potential(X, TINY * X)
MULTIPLES = np.outer([1.0, 0.5, 0.25], TINY * np.ones(3))  # GD's recording of |x|²/2 whose squares underflow

CALLS = {
    "ntk.predict, GF": lambda: nl.ntk.predict(np.diag([1.0, 2.0]), np.ones((2, 1)), [1e6], nl.GF),
    "ntk.predict, NAGF": lambda: nl.ntk.predict(np.diag([1.0, TINY]), np.ones((2, 1)), [1e-5, 1.0], nl.NAGF),
    "ntk.kernel": lambda: nl.ntk.kernel(SWISH, TINY * SWISH.init(rng=0), TINY * X),
    "jacobian": lambda: SWISH.jacobian(TINY * SWISH.init(rng=0), TINY * X),
    "predict": lambda: NET.predict(TINY * THETA, TINY * X),
    "value": lambda: SMALL.value(TINY * SWISH.init(rng=0)),
    "gradient": lambda: SMALL.gradient(TINY * SWISH.init(rng=0)),
    "integrate": lambda: nl.integrate(SMALL, nl.NAGD(0.1), TINY * SWISH.init(rng=0), 5).x,
    "integrate, reference": lambda: (
        nl.integrate(SMALL, nl.NAGD(0.1), TINY * SWISH.init(rng=0), 5, backend="reference").x
    ),
    "ensemble": lambda: nl.ensemble(SMALL, nl.GD(0.1), TINY * np.ones((2, SMALL.n_params)), 5).x,
    "reference_flow": lambda: nl.reference_flow(nl.potentials.Radial(3), nl.GF, TINY * np.ones(3), [0.0, 1.0]).x,
    "check": lambda: nl.check(nl.potentials.Harmonic(np.eye(3)), MULTIPLES, [0.0, 0.5, 1.0], nl.GD(0.5)).ok,
    "drift": lambda: nl.drift(U, nl.GD(0.1), THETA, 5)["scaling:1"].lr,
    "rebalance": lambda: nl.rebalance(NET, THETA, {"scaling:1": 0.0}),
    "charge_bound": lambda: nl.bounds.charge_bound(TINY, [1.0, 1e300]),
    "symmetries": lambda: [s.name for s in nl.symmetries(SMALL)],
    "quantity": lambda: nl.symmetries(U)[0].quantity(TINY * THETA),
    "apply": lambda: nl.Symmetry([[0, TINY], [-TINY, 0]]).apply([TINY, 1.0], TINY),
    "discover": lambda: nl.discover(nl.potentials.Radial(2)).dimension,
}


@pytest.mark.parametrize("call", CALLS)
def test_numbers_do_not_depend_on_numpys_settings(call):
    ordinary = CALLS[call]()
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(CALLS[call](), ordinary)


def test_settings_are_as_they_were_afterwards():
    with np.errstate(all="raise"):
        CALLS["ntk.predict, GF"]()
        with pytest.raises(FloatingPointError):
            np.exp(np.array(-1e6))


# --- what `noetherlite info` says of it -----------------------------------------------------------------------------------


def test_info_names_threads_and_folders(monkeypatch, tmp_path, capsys):
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))
    monkeypatch.setattr(threads.numba.config, "NUMBA_NUM_THREADS", 5)
    assert main(["info", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    compiled = not threads.numba.config.DISABLE_JIT
    assert report["threads"] == {"of runs": 5 if compiled else 1, "OPENBLAS_NUM_THREADS": "3"}
    assert set(report["folders"]) == {"compiled code", "data", "temporary files"}
    assert report["folders"]["data"] == str(tmp_path)
    assert ("noetherlite-" in report["folders"]["compiled code"]) == compiled
    assert main(["info"]) == 0
    assert f"data {tmp_path}" in capsys.readouterr().out
