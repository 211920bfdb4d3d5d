"""Runs that are killed, or interrupted, at every boundary of their steps go on bit for bit; what is not a run's state is refused."""

import os
import threading

import numpy as np
import pytest
from test_checkpoint import ALGORITHMS, assert_same, problem

import noetherlite as nl
from noetherlite._kernels import layout, reference
from noetherlite._motion.algorithms import specified
from noetherlite._run import checkpoint, checkpoint_file, drive
from noetherlite._run.backends import CpuBackend, NumPy

STEPS = 5
TOO_LARGE = 1e6  # a rate with which relu networks diverge within these steps


@pytest.fixture
def one_step_a_call(monkeypatch):
    monkeypatch.setattr(drive.Pace, "adapt", lambda self, taken, elapsed: None)


class Files:
    """Collects what a kill would find: a checkpoint is written whenever `save` is called, as another thread could at any time."""

    def __init__(self, path, monkeypatch):
        self.path, self.contents, self.writer = path.with_suffix(".npz"), [], None
        monkeypatch.setattr(os, "fsync", lambda handle: None)  # a killed process loses nothing that it has written
        init = checkpoint.CheckpointWriter.__init__

        def known(writer, *arguments):
            init(writer, *arguments)
            self.writer = writer

        monkeypatch.setattr(checkpoint.CheckpointWriter, "__init__", known)

    def save(self):
        self.writer.save()
        self.contents.append(self.path.read_bytes())

    def assert_all_go_on(self, whole, monkeypatch):
        monkeypatch.undo()
        assert len(self.contents) > 2 * STEPS
        monkeypatch.setattr(os, "fsync", lambda handle: None)
        for content in dict.fromkeys(self.contents):
            self.path.write_bytes(content)
            assert_same(nl.resume(self.path, n_threads=1, checkpoint_every=2 * STEPS), whole)
            # What the others write at their ends, which takes a third of their time, nobody reads.
            monkeypatch.setattr(checkpoint_file, "write", lambda *_: None)


def around(monkeypatch, owner, name, act):
    """Do `act` before and after every call of owner.name."""
    real = getattr(owner, name)

    def wrapped(*arguments):
        act()
        result = real(*arguments)
        act()
        return result

    monkeypatch.setattr(owner, name, wrapped)


def around_advances(monkeypatch, act):
    """Do `act` before and after every call that advances a run: the start is made and recorded, then a step a call."""
    for kind in (CpuBackend, NumPy):
        around(monkeypatch, kind, "advance", act)


def starts(net, kind):
    """Five members with rates of their own; of the diverging ones one begins where its gradient is not finite, one where it is 0."""
    rates = [0.01 * 1.3**e for e in range(5)]
    X0 = np.stack([net.init(rng=e) for e in range(5)])
    if kind == "diverging":
        rates[1] = rates[3] = TOO_LARGE
        X0[2] = 1e200
        X0[4] = 0
    return rates, X0


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", ["converging", "diverging"])
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.uncounted
def test_an_ensemble_that_is_killed_anywhere(tmp_path, monkeypatch, one_step_a_call, name, batch_size, kind):
    """A lane writes the file while the others are anywhere in their steps, before their start among it."""
    net, U = problem("relu")
    algorithm, t0 = ALGORITHMS[name]
    rates, X0 = starts(net, kind)
    rules = [specified({**algorithm.specification(), "lr": lr}) for lr in rates]
    options = {"t0": t0, "record_every": 2, "batch_size": batch_size, "rng": 1, "n_threads": 1, "record_params": True}
    whole = nl.ensemble(U, rules, X0, STEPS, **options)
    assert {m.status for m in whole.members} == ({"completed", "diverged"} if kind == "diverging" else {"completed"})
    files = Files(tmp_path / "a", monkeypatch)
    around_advances(monkeypatch, files.save)
    assert_same(nl.ensemble(U, rules, X0, STEPS, checkpoint=files.path, checkpoint_every=1, **options), whole)
    files.assert_all_go_on(whole, monkeypatch)


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.uncounted
def test_a_run_that_is_killed_inside_of_its_steps(tmp_path, monkeypatch, one_step_a_call, name, batch_size):
    """Before and after every gradient, also the first, and before and after every record, of the readable backend."""
    net, U = problem()
    algorithm, t0 = ALGORITHMS[name]
    options = {"t0": t0, "record_every": 2, "batch_size": batch_size, "rng": 1, "backend": "reference"}
    X0 = np.stack([net.init(rng=e) for e in range(2)])
    whole = nl.ensemble(U, algorithm, X0, STEPS, **options)
    files = Files(tmp_path / "a", monkeypatch)
    around(monkeypatch, reference, "value_and_gradient", files.save)
    around(monkeypatch, reference.Run, "_record", files.save)
    nl.ensemble(U, algorithm, X0, STEPS, checkpoint=files.path, checkpoint_every=1, **options)
    files.assert_all_go_on(whole, monkeypatch)


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.uncounted
def test_ctrl_c_in_any_gradient(tmp_path, one_step_a_call, monkeypatch, name, batch_size):
    """KeyboardInterrupt in the middle of a step: the step has not been taken, and the run goes on from before it."""
    net, U = problem()
    algorithm, t0 = ALGORITHMS[name]
    options = {"t0": t0, "record_every": 2, "batch_size": batch_size, "rng": 1, "backend": "reference"}
    whole = nl.integrate(U, algorithm, net.init(rng=0), STEPS, **options)
    evaluate, calls = reference.value_and_gradient, []
    for n in range(STEPS + 2):
        calls.clear()

        def pressed(*arguments, n=n):
            value = evaluate(*arguments)
            calls.append(value)
            if len(calls) == n + 1:
                raise KeyboardInterrupt
            return value

        monkeypatch.setattr(reference, "value_and_gradient", pressed)
        try:
            half = nl.integrate(U, algorithm, net.init(rng=0), STEPS, checkpoint=tmp_path / "a", **options)
        except KeyboardInterrupt:
            assert n < 2  # nothing was recorded that could be returned
        else:
            assert (half.status == "stopped") == (len(calls) == n + 1)
            assert np.isfinite(half.loss).all()
            assert all(np.isfinite(law.charge).all() for law in half.laws.values())
        monkeypatch.setattr(reference, "value_and_gradient", evaluate)
        assert_same(nl.resume(tmp_path / "a"), whole)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_first_gradient_that_is_not_finite(tmp_path, batch_size, backend):
    """Such a run has begun, and ended, without a record."""
    net, U = problem("relu")
    options = {"batch_size": batch_size, "rng": 1, "backend": backend, "checkpoint": tmp_path / "a"}
    whole = nl.integrate(U, nl.GD(0.1), np.full(net.n_params, 1e200), STEPS, **options)
    assert (whole.status, whole.n_gradients, len(whole.t)) == ("diverged", 1, 0)
    assert_same(nl.resume(tmp_path / "a"), whole)


def test_a_session_that_does_not_come_to_a_member_keeps_its_records(tmp_path, monkeypatch, one_step_a_call):
    net, U = problem()
    X0 = np.stack([net.init(rng=e) for e in range(3)])
    nl.ensemble(U, nl.GD(0.1), X0, STEPS, checkpoint=tmp_path / "a", n_threads=1)

    def press(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(drive, "_advance_group", press)
    again = nl.resume(tmp_path / "a", n_threads=1)
    assert [m.n_gradients for m in again.members] == [STEPS + 1] * 3
    assert np.isfinite(again.x).all()


# --- files ---


@pytest.fixture
def half(tmp_path):
    net, U = problem()
    X0 = np.stack([net.init(rng=e) for e in range(2)])
    whole = nl.ensemble(U, nl.GD(0.1), X0, STEPS, checkpoint=tmp_path / "a")
    return tmp_path / "a.npz", whole


def test_files_of_the_first_format_are_read(half):
    """They said beside the states which runs had begun."""
    path, whole = half
    header, arrays = checkpoint_file.read(path)
    arrays["begun"] = np.array([False, True])
    arrays["state/counts"][0] = 0, 0, 0  # though its records have a row: another thread had made its start
    arrays["state/counts"][1, layout.PHASE] -= 1
    checkpoint_file.write(path, {**header, "schema": 1}, arrays)
    assert_same(nl.resume(path), whole)


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_state_that_is_not_of_its_run_is_refused(tmp_path, name, batch_size):
    """As a state whose parameters are of another step, or that lacks a gradient, is: a law is off by more than round-off."""
    net, U = problem()
    algorithm, t0 = ALGORITHMS[name]
    path = tmp_path / "a.npz"
    options = {"t0": t0, "record_every": 100, "batch_size": batch_size, "rng": 1, "checkpoint_every": 3}
    nl.integrate(U, algorithm, net.init(rng=0), 6, checkpoint=path, **options)
    header, arrays = checkpoint_file.read(path)
    nl.integrate(U, algorithm, net.init(rng=0), 3, checkpoint=tmp_path / "b", **options)
    _, earlier = checkpoint_file.read(tmp_path / "b.npz")
    whole = nl.resume(path)
    for mixed in (("x",), ("x", "v"), ("balance", "charge")):
        torn = arrays | {f"state/{part}": earlier[f"state/{part}"] for part in mixed}
        checkpoint_file.write(path, header, torn)
        words = r"a.npz' holds a state that its exact laws exclude: at step 6 the .*'scaling:1'"
        with pytest.raises(ValueError, match=words):
            nl.resume(path)
    checkpoint_file.write(path, header, arrays)
    assert_same(nl.resume(path), whole)


def test_a_checkpoint_holds_states_of_one_moment_each(tmp_path, monkeypatch):
    """While it is written, other threads want to enter the states of later steps."""
    net, U = problem()
    X0 = np.stack([net.init(rng=e) for e in range(2)])
    whole = nl.ensemble(U, nl.GD(0.1), X0, STEPS)
    files = Files(tmp_path / "a", monkeypatch)
    nl.ensemble(U, nl.GD(0.1), X0, STEPS, checkpoint=files.path)
    writer, write = files.writer, checkpoint_file.write
    writer._copies = writer.runs.plan.state(2)  # as before the first step
    later = threading.Thread(target=writer.take, args=(slice(0, 2),))

    def meanwhile(*arguments):
        later.start()
        later.join(0.1)
        assert later.is_alive()
        write(*arguments)

    monkeypatch.setattr(checkpoint_file, "write", meanwhile)
    writer.save()
    later.join()
    monkeypatch.undo()
    assert (checkpoint_file.read(files.path)[1]["state/counts"] == 0).all()
    assert (writer._copies.counts[:, 0] == STEPS).all()
    assert_same(nl.resume(files.path), whole)
