"""Sweeps on MPI: a program under mpiexec whose further processes are workers, by mpi4py.futures."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sweep_tasks import part_of_an_ensemble

MPIEXEC = shutil.which("mpiexec")
pytestmark = [
    pytest.mark.skipif(MPIEXEC is None, reason="mpiexec is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed"),
]


def mpiexec(n, *arguments):
    """Run a Python program, the first of n processes, with workers in the others."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path))),
        # Open MPI refuses to start more processes than there are cores, and anything for root, unless it is told to.
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [MPIEXEC, "-n", str(n), sys.executable, "-m", "mpi4py.futures", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_sweep_under_mpiexec(tmp_path):
    """Three processes: one that leads, two that compute; failures apart, restarts, ensembles split."""
    done = mpiexec(3, str(Path(__file__).with_name("sweep_mpi.py")), str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["message"] == "12 members: 12 done"
    assert report["drawn"] == [np.random.default_rng(s).random() for s in np.random.SeedSequence(3).spawn(12)]
    assert report["executions"] == [1] * 12
    assert report["leader computed"] is False
    assert report["workers"] == 2
    assert report["threads"] == [1, 1]
    assert report["failed"] == "3 members: 2 failed, 1 done"
    with np.load(tmp_path / "ensemble.npz") as split:
        for name, expected in part_of_an_ensemble(0, 7, None).items():
            np.testing.assert_array_equal(split[name], expected)


def test_the_command_line(tmp_path):
    example = Path(__file__).parent.parent / "examples" / "sweep.toml"
    arguments = ["-m", "noetherlite", "sweep", str(example), "--mpi", "--json", "--no-progress", "--out", str(tmp_path)]
    done = mpiexec(3, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["message"] == "12 members: 12 done"
    alone = mpiexec(1, *arguments)
    assert alone.returncode == 1
    assert "--mpi has no processes to train on" in alone.stderr
