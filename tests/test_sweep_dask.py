"""A sweep on Dask: a scheduler and workers in processes of their own, over TCP, one of them killed on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from sweep_tasks import draw, executions, fail, leave_a_mark, part_of_an_ensemble, threads

import noetherlite as nl
from noetherlite._cli.main import main

distributed = pytest.importorskip("distributed", reason="dask's distributed is not installed")


@contextmanager
def program(module, *options):
    """Run a module as a program until the end of the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", module, *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A client of a scheduler with two workers of one thread each, and the workers' processes, of which the last test kills one."""
    folder = str(tmp_path_factory.mktemp("cluster"))
    file = os.path.join(folder, "scheduler.json")
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    with ExitStack() as stack:
        stack.enter_context(program("distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", file, *here))
        worker = ["--scheduler-file", file, "--nthreads", "1", "--no-nanny", "--local-directory", folder, *here]
        workers = [stack.enter_context(program("distributed.cli.dask_worker", *worker)) for _ in range(2)]
        while not os.path.exists(file):
            time.sleep(0.05)
        client = stack.enter_context(distributed.Client(scheduler_file=file, set_as_default=False))
        client.wait_for_workers(2, timeout=60)
        assert client.scheduler.address.startswith("tcp://127.0.0.1:")
        yield client, workers


def test_numbers_failures_and_threads_are_those_of_a_sweep_without_it(cluster):
    client, _ = cluster
    executor = client.get_executor()
    scheduled, local = (nl.sweep(draw, {"a": [1, 2, 3], "b": [0.5, 0.25]}, who, rng=7) for who in (executor, None))
    for a, b in zip(scheduled.results, local.results, strict=True):
        assert a["drawn"] == b["drawn"]
        np.testing.assert_array_equal(a["array"], b["array"])
    assert (
        nl.sweep(fail, {"how": ["raise", "local exception", "fine"]}, executor).message == "3 members: 2 failed, 1 done"
    )
    assert set(nl.sweep(threads, {"i": range(4)}, executor).column("run")) == {1}

    chunks = [{"start": a, "stop": b} for a, b in [(0, 2), (2, 6), (6, 7)]]
    parts = nl.sweep(part_of_an_ensemble, chunks, executor).results
    for name, expected in part_of_an_ensemble(0, 7, None).items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)
    with pytest.raises(TypeError, match=r"give client.get_executor\(\)"):
        nl.sweep(draw, {"a": [1], "b": [1]}, client)


def test_the_command_line(cluster, tmp_path, capsys):
    client, _ = cluster
    example = str(Path(__file__).parent.parent / "examples" / "sweep.toml")
    options = ["--dask", client.scheduler.address, "--no-progress", "--out", str(tmp_path / "out")]
    assert main(["sweep", example, *options]) == 0
    assert capsys.readouterr().out.startswith("12 members: 12 done\n")


def test_a_worker_that_is_killed_loses_nothing_but_what_it_held(cluster, tmp_path):
    client, workers = cluster
    out, marks = tmp_path / "out", tmp_path / "marks"
    marks.mkdir()
    victim, n = workers[0], 30
    written = []

    def begun():
        """Return the members that the victim has begun."""
        marked = [name.split("-") for name in os.listdir(marks)]
        return {int(i) for i, process, _ in marked if process == str(victim.pid)}

    def kill():
        """Note what is written and let the scheduler forget it; then kill the worker when it has just begun a member."""
        while len(list(out.glob("*.npz"))) < n // 3:
            time.sleep(0.01)
        written.extend(int(path.stem) for path in out.glob("*.npz"))
        time.sleep(0.3)
        before = begun()
        while begun() == before:
            time.sleep(0.001)
        os.kill(victim.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    runs = nl.sweep(
        leave_a_mark, {"i": range(n), "folder": [str(marks)], "seconds": [0.1]}, client.get_executor(), out, rng=3
    )
    killer.join()
    assert victim.wait(30) == -signal.SIGKILL

    assert runs.message == f"{n} members: {n} done"
    assert runs.column("square").tolist() == [i * i for i in range(n)]
    assert runs.column("drawn").tolist() == [
        np.random.default_rng(s).random() for s in np.random.SeedSequence(3).spawn(n)
    ]
    counts = executions(marks)
    twice = {i for i in range(n) if counts[i] > 1}
    assert len(begun() & set(written)) >= 2  # it had done its part
    assert twice  # it was computing
    assert twice <= begun() - set(written)
    assert max(counts.values()) == 2
