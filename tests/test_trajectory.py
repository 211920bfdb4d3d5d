"""Results of a run, saved and loaded: complete or not at all."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from problems import problem

from noetherlite import GD, NAGD, Leapfrog, Network, datasets, integrate, load, potentials
from noetherlite._run import outcome
from noetherlite._run.trajectory import LAW_ARRAYS
from noetherlite._symmetry.records import LawRecord


@pytest.fixture(scope="module")
def run():
    _, U, x0 = problem("swish", "nll")
    return integrate(U, NAGD(1e-3), x0, 20, record_every=6, record_params=True, batch_size=4, rng=0)


def assert_same(a, b):
    for f in dataclasses.fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)  # NaN where NaN
        elif f.name == "laws":
            assert list(x) == list(y)
            for name in x:
                assert_same(x[name], y[name])
        else:
            assert x == y, f.name


def rewrite(path, **changes):
    """Save the archive again with other members; None removes one."""
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})


def header(path, **changes):
    with np.load(path) as stored:
        return np.array(json.dumps(json.loads(str(stored["header"])) | changes))


# --- round trip ----------------------------------------------------------------------------------------------------


def test_round_trip_is_bit_identical(run, tmp_path):
    assert run.laws
    assert run.params is not None
    path = run.save(tmp_path / "run.npz")
    assert path == tmp_path / "run.npz"
    assert_same(load(path), run)


def of_network(activation, algorithm, steps, **options):
    _, U, x0 = problem(activation)
    return integrate(U, algorithm, x0, steps, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: integrate(potentials.Radial(3), GD(0.1), [1.0, 0.2, 0], 5),
        lambda: integrate(potentials.Radial(3), GD(5.0), [2.0, 1, 0], 500),
        lambda: integrate(potentials.Radial(3), GD(0.1), [1e100, 0, 0], 5),
        lambda: of_network("tanh", Leapfrog(0.1), 3, dtype="float32", record_params=True),
        lambda: of_network("linear", GD(0.1), 5, callback=lambda s: s.step == 2),
        lambda: integrate(potentials.Callable(lambda x: (x @ x / 2, x), 2), GD(0.1), [1.0, 2.0], 3),
    ],
    ids=["analytic", "diverged", "diverged at once", "float32", "stopped", "callable"],
)
def test_round_trip_of_every_ending(make, tmp_path):
    run = make()
    assert_same(load(run.save(tmp_path / "a")), run)


@pytest.mark.parametrize(
    ("given", "written"),
    [("run.npz", "run.npz"), ("run", "run.npz"), ("run.v2", "run.v2.npz"), ("a b.ckpt.npz", "a b.ckpt.npz")],
)
@pytest.mark.parametrize("kind", [str, lambda p: p], ids=["str", "Path"])
def test_suffix(run, tmp_path, given, written, kind):
    assert run.save(kind(tmp_path / given)) == tmp_path / written
    assert [p.name for p in tmp_path.iterdir()] == [written]
    assert_same(load(kind(tmp_path / written)), run)


def test_save_replaces(run, tmp_path):
    path = integrate(potentials.Radial(3), GD(0.1), [1.0, 0.2, 0], 5).save(tmp_path / "a.npz")
    run.save(path)
    assert_same(load(path), run)


# --- files that are not what they should be ---------------------------------------------------------------------------


def corrupt(path):
    content = bytearray(path.read_bytes())
    with np.load(path) as stored:
        content[bytes(content).index(stored["x"].tobytes())] ^= 0xFF
    path.write_bytes(content)


def plain_array(path):
    with path.open("wb") as file:
        np.save(file, np.arange(3))


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "corrupt": corrupt,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("t,loss\n0,1\n"),
    "foreign": lambda path: np.savez(path, a=np.arange(3)),
    "foreign header": lambda path: np.savez(path, header=np.array('{"format": "something else", "schema": 1}')),
    "header of another kind": lambda path: np.savez(path, header=np.array("[1, 2]")),
    "not JSON": lambda path: rewrite(path, header=np.array("{")),
    "plain array": plain_array,
    "pickled": lambda path: rewrite(path, x=np.array([{"a": 1}], dtype=object)),
    "missing": lambda path: rewrite(path, loss=None),
    "missing law": lambda path: rewrite(path, **{"laws/scaling:1/charge": None}),
    "unknown status": lambda path: rewrite(path, header=header(path, status="fine")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(run, tmp_path, damage):
    path = run.save(tmp_path / "run.npz")
    DAMAGE[damage](path)
    with pytest.raises(ValueError, match=r"path=.*run\.npz|status="):
        load(path)


def test_newer_schema_is_refused(run, tmp_path):
    path = run.save(tmp_path / "run.npz")
    rewrite(path, header=header(path, schema=99))
    with pytest.raises(ValueError, match=r"run\.npz.* has format 99; this version reads up to 1"):
        load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        load(tmp_path / "nothing.npz")


# --- saving that fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["OSError", "Ctrl-C"])
@pytest.mark.parametrize("exists", [True, False], ids=["over a file", "anew"])
def test_failed_save_leaves_what_was_there(run, tmp_path, monkeypatch, error, exists):
    path = tmp_path / "run.npz"
    before = run.save(path).read_bytes() if exists else None

    def fail(file, **arrays):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(type(error)):
        run.save(path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"run.npz": before} if exists else {})


def test_the_page_on_files_names_every_array_of_a_law():
    page = (Path(__file__).parent.parent / "docs/files.md").read_text("utf-8")
    assert not [name for name in LAW_ARRAYS if not re.search(f"[`/]{name}`", page)]


def test_save_needs_the_name_of_a_file(run):
    with pytest.raises(ValueError, match="path must be that of a file, got ''"):
        run.save("")


def test_save_into_a_missing_folder(run, tmp_path):
    with pytest.raises(FileNotFoundError):
        run.save(tmp_path / "nowhere" / "run.npz")


# --- the object ------------------------------------------------------------------------------------------------------


def test_a_trajectory_cannot_be_changed(run):
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.loss = np.zeros(3)
    with pytest.raises(TypeError, match="does not support item assignment"):
        run.laws["scaling:1"] = None
    with pytest.raises(TypeError, match="does not support item assignment"):
        run.specification["potential"] = {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.laws["scaling:1"].charge = np.zeros(3)


def test_repr_is_short(run):
    assert repr(run) == (
        "Trajectory(NAGD, completed after 20 steps, 5 records, laws ['scaling:1', 'scaling:2', 'translation:b', 'translation:W'])"
    )
    assert len(repr(run.laws["scaling:1"])) < 200
    assert "scaling:1" in repr(run.laws["scaling:1"])


def test_shapes_of_the_laws(run):
    law = run.laws["scaling:1"]
    assert isinstance(law, LawRecord)
    for f in dataclasses.fields(law):
        if f.name not in ("name", "t"):
            assert getattr(law, f.name).shape == (5, 5), f.name  # records, neurons
    _, U, x0 = problem("linear(0.7)")
    linear = integrate(U, GD(0.1), x0, 3).laws["linear:2"]
    assert linear.charge.shape == (4, 4, 4)
    assert np.isnan(linear.source_integral).all()


def test_specification_says_how_to_repeat_the_run(run):
    json.dumps(dict(run.specification))
    assert run.specification["algorithm"] == {"name": "NAGD", "lr": 1e-3, "weight_decay": 0.0, "alpha": 3.0}
    assert run.specification["arguments"]["batch_size"] == 4
    assert run.specification["arguments"]["steps"] == 20
    assert run.specification["potential"]["network"]["widths"] == [3, 5, 4, 2]
    assert run.specification["versions"]["noetherlite"]


@pytest.mark.parametrize(("widths", "waiting"), [([3, 4, 2], True), ([90, 100, 2], False)])
def test_small_runs_put_off_what_large_ones_have_at_once(monkeypatch, widths, waiting):
    """A large run would keep all of its vectors for that: its trajectory waits with the laws alone."""
    asked = []
    blown_up = outcome.blown_up
    monkeypatch.setattr(outcome, "blown_up", lambda *arguments: asked.append(1) or blown_up(*arguments))
    net = Network(widths)
    U = net.potential(datasets.gaussian_classes(n=5, n_features=widths[0], n_classes=2, rng=0))
    run = integrate(U, GD(0.1), net.init(rng=0), 3, input_reduction=False)
    assert len(asked) == (0 if waiting else 1)
    assert (set(vars(run)["_unread"]) == {"laws"}) is not waiting
    assert run.message == "completed 3 steps"
    assert run.status == "completed"
    assert len(asked) == 1
    assert run.t.tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert "message" not in vars(run)["_unread"]
