"""An ensemble is its runs, bit for bit, for any number of threads."""

import functools
import re
from collections import deque

import numpy as np
import pytest
from problems import assert_same

import noetherlite as nl

E, STEPS = 5, 23
ALGORITHMS = [nl.GD(0.05), nl.Leapfrog(1e-3), nl.NAGD(1e-3), nl.ConformalLeapfrog(1e-3, 2.0, 0.1), nl.HeavyBall(0.02)]


def problem(activation="swish"):
    net = nl.Network([4, 6, 5, 3], activation=activation)
    U = net.potential(nl.datasets.gaussian_classes(n=40, n_features=4, n_classes=3, rng=0))
    return net, U, np.stack([net.init(rng=e) for e in range(E)])


@functools.cache
def single_runs(algorithm, batch_size):
    """The runs of five members, each alone."""
    _, U, X0 = problem()
    options = {"record_every": 5, "record_params": True, "batch_size": batch_size}
    seeds = np.random.SeedSequence(9).spawn(E)
    return [nl.integrate(U, algorithm, x, STEPS, rng=seed, **options) for x, seed in zip(X0, seeds, strict=True)]


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_every_member_is_the_single_run(algorithm, batch_size, n_threads):
    _, U, X0 = problem()
    options = {"record_every": 5, "record_params": True, "batch_size": batch_size}
    runs = nl.ensemble(U, algorithm, X0, STEPS, rng=9, n_threads=n_threads, **options)
    assert len(runs) == E
    assert runs.loss.shape == (E, 6)
    assert runs.x.shape == X0.shape
    for e, alone in enumerate(single_runs(algorithm, batch_size)):
        assert_same(runs[e], alone)
    assert_same(runs[-1], runs[E - 1])
    assert runs.n_gradients == sum(runs[e].n_gradients for e in range(E))


def test_members_differ():
    _, U, X0 = problem()
    runs = nl.ensemble(U, nl.GD(0.1), X0, STEPS)
    assert len(np.unique(runs.loss[:, -1])) == E
    assert not np.array_equal(runs.laws["scaling:1"].quantity[0], runs.laws["scaling:1"].quantity[1])


@pytest.mark.parametrize("kind", [nl.GD, nl.Leapfrog, nl.NAGD])
def test_every_member_has_its_own_learning_rate(kind):
    _, U, X0 = problem()
    algorithms = [kind(1e-3 * (e + 1)) for e in range(E)]
    runs = nl.ensemble(U, algorithms, np.stack([X0[0]] * E), STEPS, record_every=4)
    for e, algorithm in enumerate(algorithms):
        alone = nl.integrate(U, algorithm, X0[0], STEPS, record_every=4)
        np.testing.assert_array_equal(runs[e].t, alone.t)
        np.testing.assert_array_equal(runs[e].x, alone.x)
        np.testing.assert_array_equal(runs[e].laws["scaling:1"].residual, alone.laws["scaling:1"].residual)
        assert runs[e].specification["algorithm"] == alone.specification["algorithm"]


def test_velocities_and_a_late_start():
    U = nl.potentials.Radial(2)
    X0, V = np.array([[1.4, 0.1], [0.9, 0.2]]), np.array([[0.1, 0.5], [0.0, -0.3]])
    algorithm = nl.ConformalLeapfrog(1e-4, 1.0, 0.2, 3.0)
    runs = nl.ensemble(U, algorithm, X0, 50, velocity=V, t0=1.0, record_params=True)
    for e in range(2):
        assert_same(runs[e], nl.integrate(U, algorithm, X0[e], 50, velocity=V[e], t0=1.0, record_params=True))


def test_a_member_that_diverges_leaves_the_others_alone():
    net = nl.Network([2, 4, 1], activation="polynomial(3)", loss="mse")
    U = net.potential(np.eye(2), np.ones((2, 1)))
    X0 = np.stack([net.init(rng=0), 40 * net.init(rng=1), net.init(rng=2)])
    runs = nl.ensemble(U, nl.GD(0.05), X0, 30, record_every=1)
    assert [m.status for m in runs.members] == ["completed", "diverged", "completed"]
    assert runs.status == "diverged"
    assert "1 diverged" in runs.message
    alone = [nl.integrate(U, nl.GD(0.05), x, 30) for x in X0]
    for e in range(3):
        np.testing.assert_array_equal(runs[e].loss, alone[e].loss)
        assert runs[e].message == alone[e].message
    reached = len(alone[1].loss)
    assert np.isnan(runs.loss[1, reached:]).all()
    assert np.isnan(runs.laws["scaling:1"].quantity[1, reached:]).all()


def test_the_reference_backend_and_python_potentials():
    _, U, X0 = problem()
    compiled, plain = (nl.ensemble(U, nl.Leapfrog(1e-3), X0, 10, backend=b) for b in ("cpu", "reference"))
    np.testing.assert_allclose(compiled.x, plain.x, atol=1e-13)
    bowl = nl.potentials.Callable(lambda x: (0.5 * float(x @ x), x.copy()), 2)
    runs = nl.ensemble(bowl, nl.GD(0.1), [[1.0, 2.0], [3.0, 4.0]], 10)
    np.testing.assert_allclose(runs.x, 0.9**10 * np.array([[1.0, 2.0], [3.0, 4.0]]), rtol=1e-14)


@pytest.mark.needs_jit
def test_input_reduction_member_by_member():
    net = nl.Network([30, 12, 8, 3])
    data = nl.datasets.gaussian_classes(n=20, n_features=30, n_classes=3, rng=0)
    U, X0 = net.potential(data), np.stack([net.init(rng=e) for e in range(3)])
    options = {"record_every": 5, "record_params": True, "input_reduction": True}
    runs = nl.ensemble(U, nl.Leapfrog(1e-3), X0, 20, **options)
    for e in range(3):
        assert_same(runs[e], nl.integrate(U, nl.Leapfrog(1e-3), X0[e], 20, **options))


def test_saved_and_loaded(tmp_path):
    _, U, X0 = problem()
    runs = nl.ensemble(U, [nl.GD(0.01 * (e + 1)) for e in range(E)], X0, STEPS, record_params=True)
    back = nl.load(runs.save(tmp_path / "runs"))
    assert back.members == runs.members
    for e in range(E):
        assert_same(back[e], runs[e])
    assert "ensemble of 5" in repr(back)


def test_ctrl_c_keeps_what_there_is(monkeypatch):
    _, U, X0 = problem()
    from noetherlite._run import drive

    advance, calls = drive._advance_group, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return advance(*arguments)

    monkeypatch.setattr(drive, "_advance_group", interrupted)
    runs = nl.ensemble(U, nl.GD(0.1), X0, STEPS, n_threads=1)
    assert [m.status for m in runs.members] == ["completed", "completed", "stopped", "stopped", "stopped"]
    assert runs.status == "stopped"
    assert np.isfinite(runs.loss[:2]).all()
    assert np.isnan(runs.loss[3:]).all()


def test_progress(capsys):
    _, U, X0 = problem()
    nl.ensemble(U, nl.GD(0.1), X0, 5, progress=True)
    assert re.search(r"\b\d+/25\b.*step", capsys.readouterr().err)  # steps of all five runs


def test_a_seed_sequence_is_left_as_it_was():
    _, U, X0 = problem()
    sequence = np.random.SeedSequence(4)
    runs = [nl.ensemble(U, nl.GD(0.1), X0, 5, batch_size=8, rng=sequence).x for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    assert sequence.n_children_spawned == 0
    other = nl.ensemble(U, nl.GD(0.1), X0, 5, batch_size=8, rng=5).x
    assert not np.array_equal(runs[0], other)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"X0": np.zeros(4)}, "X0"),
        ({"X0": np.zeros((0, 4))}, "X0 must hold at least one"),
        ({"X0": np.zeros((2, 3))}, "X0 must have shape"),
        ({"X0": np.full((2, 2), np.nan)}, "X0"),
        ({"algorithm": [nl.GD(0.1)]}, "algorithm must be one for all or 2"),
        ({"algorithm": [nl.GD(0.1), nl.Leapfrog(0.1)]}, r"algorithm\[1\]"),
        ({"algorithm": [nl.NAGD(0.1), nl.NAGD(0.1, alpha=4)]}, r"algorithm\[1\]"),
        ({"algorithm": [nl.GD(0.1), 3]}, r"algorithm\[1\]"),
        ({"algorithm": 0.1}, "algorithm must be an Algorithm"),
        ({"velocity": np.zeros(2), "algorithm": nl.Leapfrog(0.1)}, "velocity must be 2-dimensional"),
        ({"velocity": np.zeros((2, 2))}, "velocity is not accepted by GD"),
        ({"steps": -1}, "steps"),
        ({"batch_size": 3}, "batch_size"),
        ({"n_threads": 0}, "n_threads"),
        ({"U": 3}, "U must be a potential"),
    ],
)
def test_bad_input(arguments, words):
    given = {"U": nl.potentials.Radial(2), "algorithm": nl.GD(0.1), "X0": np.ones((2, 2)), "steps": 3}
    with pytest.raises((ValueError, TypeError), match=words):
        nl.ensemble(**{**given, **arguments})


def test_a_single_run_has_no_members():
    run = nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.0, 2.0], 3)
    with pytest.raises(TypeError, match="single run"):
        len(run)
    with pytest.raises(TypeError, match="single run"):
        run[0]
    runs = nl.ensemble(nl.potentials.Radial(2), nl.GD(0.1), [[1.0, 2.0]], 3)
    with pytest.raises(IndexError):
        runs[1]


def test_threads_take_neighbouring_runs_and_then_what_others_have_left():
    """States of neighbouring runs share lines of the cache, for which two threads would wait at every step."""
    from noetherlite._run.drive import _next

    waiting = [deque([1, 2]), deque([3, 4, 5])]
    assert [_next(waiting, lane) for lane in (0, 1, 0, 0, 1, 0)] == [1, 3, 2, 5, 4, None]
