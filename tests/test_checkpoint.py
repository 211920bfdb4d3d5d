"""Runs that are stopped, damaged or refused go on bit for bit, or say why they do not."""

import errno
import hashlib
import json
import os
import signal
import threading
import time

import numpy as np
import problems
import pytest
from algorithms import five

import noetherlite as nl
from noetherlite._run import checkpoint, checkpoint_file, drive, reduction
from noetherlite._run.runs import Runs

ALGORITHMS = five(0.1, 1e-2)
STEPS = 60


def problem(activation="swish", n_features=4):
    net = nl.Network([n_features, 6, 3], activation)
    return net, net.potential(nl.datasets.gaussian_classes(n=40, n_features=n_features, n_classes=3, rng=0))


def assert_same(one, other):
    problems.assert_same(one, other)
    assert one.members == other.members
    assert dict(one.specification) == dict(other.specification)


def stopped(path, U, algorithm, x0, at, **options):
    """A run that is stopped at the first record from step `at` on."""
    run = nl.integrate(U, algorithm, x0, STEPS, checkpoint=path, callback=lambda s: s.step >= at, **options)
    assert run.status == "stopped"
    return run


# --- going on ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_goes_on_bit_for_bit(tmp_path, name, batch_size, dtype):
    net, U = problem()
    algorithm, t0 = ALGORITHMS[name]
    options = {"t0": t0, "record_every": 4, "record_params": True, "batch_size": batch_size, "rng": 1, "dtype": dtype}
    whole = problems.assert_resumes(tmp_path / "run", U, algorithm, net.init(rng=0), STEPS, at=24, **options)
    assert_same(nl.resume(tmp_path / "run.npz"), whole)  # it had come to its end
    if batch_size:  # the control: the stream of minibatches is part of it
        other = nl.integrate(U, algorithm, net.init(rng=0), STEPS, **{**options, "rng": 2})
        assert not np.array_equal(other.x, whole.x)


@pytest.mark.parametrize("every", [5, 0.0])
def test_checkpoints_on_the_way_change_nothing(tmp_path, every):
    net, U = problem()
    whole = nl.integrate(U, nl.NAGD(1e-2), net.init(rng=0), STEPS, record_every=7)
    files = {"checkpoint": tmp_path / "a", "checkpoint_every": every}
    assert_same(nl.integrate(U, nl.NAGD(1e-2), net.init(rng=0), STEPS, record_every=7, **files), whole)
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "a.previous.npz"]
    if every == 5:
        _, before = checkpoint_file.read(tmp_path / "a.previous.npz")
        assert before["state/counts"][0, 0] == STEPS  # the last was written twice: at its step, and at the end
    assert_same(nl.resume(tmp_path / "a.previous"), whole)


def reduced(kind, batch_size):
    net = nl.Network([30, 12, 3])
    rng = np.random.default_rng(0)
    X = rng.standard_normal((19 if kind == "samples" else 50, 30))
    options = {"input_reduction": True, "backend": "cpu", "batch_size": batch_size, "rng": 0}
    return net.potential(X, rng.integers(0, 3, len(X))), net.init(rng=0), options


@pytest.mark.parametrize(("kind", "batch_size"), [("samples", None), ("samples", 8), ("rank", 8)])
def test_reduced_inputs(tmp_path, kind, batch_size):
    U, x0, options = reduced(kind, batch_size)
    whole = problems.assert_resumes(tmp_path / "a", U, nl.NAGD(1e-2), x0, STEPS, at=32, record_every=4, **options)
    assert whole.specification["arguments"]["input_reduction"]["coordinates"] == kind


@pytest.mark.parametrize("batch_size", [19, 8])
def test_files_that_do_not_say_which_reduction_go_on(tmp_path, monkeypatch, batch_size):
    U, x0, options = reduced("samples", batch_size)
    with monkeypatch.context() as patch:
        if batch_size == 8:  # which were by rank alone
            patch.setattr(reduction, "_fewer_by_samples", lambda *sizes: False)
        whole = problems.assert_resumes(tmp_path / "a", U, nl.NAGD(1e-2), x0, STEPS, at=32, record_every=4, **options)
        stopped(tmp_path / "a", U, nl.NAGD(1e-2), x0, 32, record_every=4, **options)
    path = tmp_path / "a.npz"
    header, content = checkpoint_file.read(path)
    assert header["arguments"].pop("by_samples") == (batch_size != 8)
    checkpoint_file.write(path, header, content)
    assert_same(nl.resume(path), whole)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("U", [nl.potentials.Radial(2), nl.potentials.Harmonic(np.diag([1.0, 2.0]))], ids=str)
def test_analytic_potentials_and_a_symmetry_of_ones_own(tmp_path, U, backend):
    turn = nl.Symmetry([[0.0, -1.0], [1.0, 0.0]], name="turn")
    laws = [turn] if isinstance(U, nl.potentials.Radial) else None
    options = {"velocity": [0.1, 0.2], "laws": laws, "backend": backend, "record_every": 4}
    whole = problems.assert_resumes(tmp_path / "a", U, nl.Leapfrog(1e-2), [1.4, 0.1], STEPS, at=32, **options)
    assert list(whole.laws) == ([] if laws is None else ["turn"])


def test_a_python_function_is_given_again(tmp_path):
    U = nl.potentials.Callable(lambda w: (0.5 * w @ w, w), 2)
    whole = nl.integrate(U, nl.GD(0.1), [1.0, 2.0], STEPS)
    stopped(tmp_path / "a", U, nl.GD(0.1), [1.0, 2.0], 30)
    with pytest.raises(ValueError, match=r"potential must be given to resume .*a Python function is not saved"):
        nl.resume(tmp_path / "a")
    with pytest.raises(ValueError, match=r"is not that of .*n_params=3 \(was 2\)"):
        nl.resume(tmp_path / "a", nl.potentials.Callable(lambda w: (0.5 * w @ w, w), 3))
    assert_same(nl.resume(tmp_path / "a", U), whole)


def test_large_data_are_known_by_their_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "EMBEDDED", 100)
    net, U = problem()
    whole = nl.integrate(U, nl.GD(0.1), net.init(rng=0), STEPS)
    stopped(tmp_path / "a", U, nl.GD(0.1), net.init(rng=0), 30)
    assert not [name for name in checkpoint_file.read(tmp_path / "a.npz")[1] if name.startswith("data/")]
    with pytest.raises(ValueError, match=r"potential must be given .*larger than a checkpoint takes along"):
        nl.resume(tmp_path / "a")
    X = U.X.copy()
    X[3, 2] += 1e-12
    spoilt = nl.datasets.Dataset(X, U.y, U.dataset)
    with pytest.raises(ValueError, match="its data have another SHA-256"):
        nl.resume(tmp_path / "a", net.potential(spoilt))
    with pytest.raises(TypeError, match="potential must be a potential"):
        nl.resume(tmp_path / "a", net)
    assert_same(nl.resume(tmp_path / "a", U), whole)


def test_data_of_another_name_are_the_same_data(tmp_path):
    """A name is no content: identical data go on, and data that differ in one bit do not."""
    net = nl.Network([4, 6, 3], "swish")
    X, y = np.random.default_rng(0).normal(size=(9, 4)), np.arange(9) % 3
    first, second = (net.potential(nl.Dataset(X, y, name)) for name in ("Monday", "Tuesday"))
    whole = nl.integrate(first, nl.GD(0.1), net.init(rng=0), STEPS, backend="reference")
    stopped(tmp_path / "a", first, nl.GD(0.1), net.init(rng=0), 30, backend="reference")
    with pytest.raises(ValueError, match="its data have another SHA-256"):
        nl.resume(tmp_path / "a", net.potential(nl.Dataset(np.nextafter(X, 9), y, "Monday")))
    resumed = nl.resume(tmp_path / "a", second)
    np.testing.assert_array_equal(resumed.x, whole.x)
    assert resumed.specification["potential"]["dataset"] == "Tuesday"


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_ensembles(tmp_path, batch_size, n_threads):
    net, U = problem()
    X0 = np.stack([net.init(rng=e) for e in range(6)])
    algorithms = [nl.NAGD(1e-3 * (e + 1)) for e in range(6)]
    options = {"record_every": 4, "batch_size": batch_size, "rng": 1, "n_threads": n_threads, "record_params": True}
    whole = nl.ensemble(U, algorithms, X0, STEPS, **options)
    path = tmp_path / "runs.npz"
    pieces, write = [], checkpoint_file.write

    def seen(target, header, arrays):
        write(target, header, arrays)
        pieces.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_file, "write", seen)
        checkpointed = nl.ensemble(U, algorithms, X0, STEPS, checkpoint=path, checkpoint_every=20, **options)
    assert_same(checkpointed, whole)
    assert len(pieces) > 6
    for piece in pieces[:: 1 + len(pieces) // 6]:  # as if it had been killed right after each of these
        path.write_bytes(piece)
        assert_same(nl.resume(path, n_threads=n_threads), whole)


def test_a_run_that_diverged_stays_so(tmp_path):
    net, U = problem("relu")
    whole = nl.integrate(U, nl.GD(1e8), net.init(rng=0), STEPS, checkpoint=tmp_path / "a")
    assert whole.status == "diverged"
    assert_same(nl.resume(tmp_path / "a"), whole)


# --- Ctrl-C ---


def press_at_12(snapshot):
    if snapshot.step == 12:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_at_the_next_record(tmp_path):
    net, U = problem()
    x0 = net.init(rng=0)
    files = {"checkpoint": tmp_path / "a", "checkpoint_every": 5}
    run = nl.integrate(U, nl.GD(0.1), x0, STEPS, record_every=4, callback=press_at_12, **files)
    assert (run.status, run.message) == ("stopped", f"stopped by Ctrl-C after 12 of {STEPS} steps")
    assert run.step[-1] == 12
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same(nl.resume(tmp_path / "a"), nl.integrate(U, nl.GD(0.1), x0, STEPS, record_every=4))


def test_ctrl_c_between_records_goes_on_to_the_next(monkeypatch):
    net, U = problem()
    pressed = []

    def defect(runs, e):
        if runs.state.counts[e, 0] == 10 and not pressed:
            pressed.append(os.kill(os.getpid(), signal.SIGINT))
        return 0.0

    monkeypatch.setattr(Runs, "defect", defect)  # asked for by the progress bar after every call
    monkeypatch.setattr(drive.Pace, "adapt", lambda self, taken, elapsed: None)  # one step a call
    run = nl.integrate(U, nl.GD(0.1), net.init(rng=0), STEPS, record_every=8, progress=True)
    assert pressed
    assert run.step[-1] == 16


def test_ctrl_c_pressed_twice_stops_at_once():
    net, U = problem()

    def press_twice(snapshot):
        if snapshot.step == 8:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second one raises KeyboardInterrupt")

    run = nl.integrate(U, nl.GD(0.1), net.init(rng=0), STEPS, record_every=4, callback=press_twice)
    assert (run.status, run.step[-1]) == ("stopped", 8)


@pytest.mark.needs_jit
@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_stops_an_ensemble(tmp_path, n_threads, monkeypatch):
    net, U = problem()
    X0 = np.stack([net.init(rng=e) for e in range(400)])
    update, pressed = checkpoint.CheckpointWriter.update, []

    def press(writer, group, collect):
        if writer.runs.steps_done(group) == STEPS and not pressed:
            pressed.append(os.kill(os.getpid(), signal.SIGINT))
            time.sleep(0.02)  # the main thread, which receives it, has its turn
        update(writer, group, collect)

    monkeypatch.setattr(checkpoint.CheckpointWriter, "update", press)
    runs = nl.ensemble(U, nl.GD(0.1), X0, STEPS, checkpoint=tmp_path / "a", n_threads=n_threads, record_every=4)
    assert runs.status == "stopped"
    done = [m.status for m in runs.members]
    assert done.count("completed") >= 1
    assert done.count("stopped") >= 1
    monkeypatch.undo()
    assert_same(nl.resume(tmp_path / "a"), nl.ensemble(U, nl.GD(0.1), X0, STEPS, record_every=4))


def test_other_threads_leave_signals_alone():
    net, U = problem()
    statuses = []

    def work():
        statuses.append(nl.integrate(U, nl.GD(0.1), net.init(rng=0), 10).status)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert statuses == ["completed"]


# --- what goes wrong with files ---


@pytest.fixture
def half(tmp_path):
    net, U = problem()
    stopped(tmp_path / "a.npz", U, nl.GD(0.1), net.init(rng=0), 30, checkpoint_every=10)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("remaining", [0, 1, 50, 0.5, -1])
def test_truncated(half, remaining):
    content = half.read_bytes()
    half.write_bytes(content[: int(remaining * len(content)) if isinstance(remaining, float) else remaining])
    expected = r"is not a checkpoint, or was cut short; the checkpoint before it is .*previous"
    with pytest.raises(ValueError, match=expected):
        nl.resume(half)
    assert nl.resume(checkpoint_file.previous(half)).status == "completed"


@pytest.mark.parametrize("where", np.linspace(0.01, 0.99, 9).tolist())
def test_a_flipped_bit_anywhere(half, where):
    content = bytearray(half.read_bytes())
    content[int(where * (len(content) - 100))] ^= 1
    half.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not as it was written: its digest is another; the checkpoint before it"):
        nl.resume(half)


def test_tampered_and_signed_again(half):
    """The digest is no signature: what carries another's is still read with care."""
    content = half.read_bytes()[: -checkpoint_file._TAIL]
    for spoil, message in [
        (lambda c: b"not a zip file", "File is not a zip file"),
        (lambda c: c.replace("checkpoint".encode("utf-32-le"), "whatsoever".encode("utf-32-le")), "Bad CRC-32"),
    ]:
        spoilt = spoil(content)
        half.write_bytes(spoilt + checkpoint_file._MARK + hashlib.sha256(spoilt).hexdigest().encode())
        with pytest.raises(ValueError, match=f"is not a checkpoint: .*{message}"):
            nl.resume(half)


def test_other_files(tmp_path, half):
    net, U = problem()
    run = nl.integrate(U, nl.GD(0.1), net.init(rng=0), 3)
    run.save(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        nl.resume(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="is not a noetherlite trajectory"):
        nl.load(half)
    with pytest.raises(FileNotFoundError):
        nl.resume(tmp_path / "none.npz")
    header, arrays = checkpoint_file.read(half)
    checkpoint_file.write(half, {**header, "schema": 99}, arrays)
    with pytest.raises(ValueError, match="has format 99; this version reads up to 2"):
        nl.resume(half)


def test_a_swapped_checkpoint(tmp_path, half):
    """Of another run: what is given must be its potential."""
    with pytest.raises(ValueError, match=r"is not that of .*a.npz'?.*'relu'.*was.*swish"):
        nl.resume(half, problem("relu")[1])


def test_no_folder(tmp_path):
    net, U = problem()
    with pytest.raises(FileNotFoundError, match="is in a folder that does not exist"):
        nl.integrate(U, nl.GD(0.1), net.init(rng=0), 3, checkpoint=tmp_path / "no" / "a.npz")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="folder that does not exist"):
        nl.integrate(U, nl.GD(0.1), net.init(rng=0), 3, checkpoint=tmp_path / "file" / "a.npz")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written():
    net, U = problem()
    with pytest.raises(OSError, match="/proc/self"):
        nl.integrate(U, nl.GD(0.1), net.init(rng=0), 3, checkpoint="/proc/self/a.npz")


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("where", ["fsync", "replace", "link"])
def test_a_disk_that_fills_up(tmp_path, monkeypatch, where, many):
    net, U = problem()
    x0, path = net.init(rng=0), tmp_path / "a.npz"
    calls = []

    def full(*arguments, **options):
        calls.append(arguments)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    real = getattr(os, where)
    monkeypatch.setattr(os, where, full)
    if where == "link":  # without links it copies, and that fails too
        monkeypatch.setattr("shutil.copyfile", full)
    options = {"record_every": 4, "checkpoint": path, "checkpoint_every": 10}
    start, starts = (nl.ensemble, [x0, x0]) if many else (nl.integrate, x0)
    expected = r"could not be written: .*No space left.*the one before it is intact"
    with pytest.raises(nl.CheckpointError, match=expected) as caught:
        start(U, nl.GD(0.1), starts, STEPS, n_threads=1, **options)
    run = caught.value.trajectory
    assert run.status == "stopped"
    message = run.members[0].message if many else run.message
    assert message.startswith("stopped by a checkpoint that could not be written after ")
    assert run.step.max() >= 8
    monkeypatch.undo()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    assert_same(nl.resume(path), start(U, nl.GD(0.1), starts, STEPS, record_every=4))


def test_bad_input(tmp_path, half):
    net, U = problem()
    x0 = net.init(rng=0)
    with pytest.raises(ValueError, match="needs checkpoint=, where to write"):
        nl.integrate(U, nl.GD(0.1), x0, 3, checkpoint_every=5)
    for every, error in [(0, ValueError), (-1.0, ValueError), (np.nan, ValueError), ("often", TypeError)]:
        with pytest.raises(error, match="checkpoint_every"):
            nl.integrate(U, nl.GD(0.1), x0, 3, checkpoint=tmp_path / "b", checkpoint_every=every)
    nl.ensemble(U, nl.GD(0.1), [x0], 3, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="callback is for single runs"):
        nl.resume(tmp_path / "c", callback=lambda s: None)


def test_the_file_is_plain(half):
    """An .npz that anybody reads, without pickle."""
    with np.load(half, allow_pickle=False) as data:
        assert json.loads(str(data["header"]))["format"] == "noetherlite checkpoint"
        assert data["state/counts"][0, 0] == 30
        assert all(data[name].dtype != object for name in data.files)
