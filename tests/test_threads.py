"""Several threads on one gradient: the same numbers for any number of them, late and absent ones included."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import noetherlite as nl
from noetherlite._base import threads
from noetherlite._kernels import jit as kernels_jit
from noetherlite._kernels.cpu import compiled, placed, tiles
from noetherlite._kernels.cpu import team as cpu_team
from noetherlite._kernels.cpu.laws import addresses_of_forms, forms
from noetherlite._kernels.cpu.network import network
from noetherlite._kernels.schedule import CHARGE, PAIR, QUANTITY
from noetherlite._run import backends
from noetherlite._symmetry.records import table

jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="threads need compiled code")


def problem(n=300, activation="relu"):
    net = nl.Network([24, 32, 32, 3], activation=activation)
    data = nl.datasets.gaussian_classes(n=n, n_features=24, n_classes=3, rng=0)
    return net, net.potential(data)


@pytest.mark.parametrize(("n", "parts"), [(40, 1), (100, 1), (300, 2), (600, 4), (5000, 16)])
def test_parts_depend_on_the_problem_alone(n, parts):
    net, U = problem(n)
    for members in (1, 3, 64):
        memory = compiled.tiles(U.problem(), n, members)
        assert len(memory.values) == parts
        assert memory.z.shape[0] == min(members, parts)
        covered = memory.inputs.shape[0] * memory.inputs.shape[2]
        assert n <= covered < n + memory.inputs.shape[2]
    assert U.problem().widths[0] == net.widths[0]


def assert_same_runs(runs):
    for run in runs[1:]:
        for field in ("x", "v", "loss", "energy"):
            np.testing.assert_array_equal(getattr(run, field), getattr(runs[0], field))
        for name, law in run.laws.items():
            np.testing.assert_array_equal(law.discrete_residual, runs[0].laws[name].discrete_residual)


@jit
@pytest.mark.parametrize("batch_size", [None, 201])
@pytest.mark.parametrize("algorithm", [nl.GD(0.05), nl.Leapfrog(1e-3), nl.NAGD(1e-3)])
def test_results_do_not_depend_on_the_number_of_threads(algorithm, batch_size):
    net, U = problem(450, "swish")
    x0 = net.init(rng=1)
    options = {"record_every": 7, "batch_size": batch_size, "rng": 3}
    assert_same_runs([nl.integrate(U, algorithm, x0, 40, n_threads=n, **options) for n in (1, 2, 5)])


@jit
@pytest.mark.parametrize("batch_size", [None, 32, 201])
def test_nor_do_those_in_the_samples_coordinates(batch_size):
    net = nl.Network([400, 24, 16, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=300, n_features=400, n_classes=3, rng=0))
    x0 = net.init(rng=1)
    options = {"batch_size": batch_size, "rng": 3, "input_reduction": True}
    runs = [nl.integrate(U, nl.GD(0.05), x0, 20, n_threads=n, **options) for n in (1, 2, 5)]
    assert_same_runs(runs)
    # the control: other minibatches, or without them another order of the sums, make another run
    other = nl.integrate(
        U, nl.GD(0.05), x0, 20, n_threads=1, **options | {"rng": 4, "input_reduction": batch_size is not None}
    )
    with pytest.raises(AssertionError):
        assert_same_runs([*runs, other])


def wide_layers():
    """Return linear layers whose forms are some 700,000 multiplications, with samples enough for a team."""
    net = nl.Network([40, 72, 61, 6], "linear")
    return net, net.potential(nl.datasets.gaussian_classes(n=3000, n_features=40, n_classes=6, rng=0))


@jit
@pytest.mark.parametrize("algorithm", [nl.GD(0.05), nl.Leapfrog(1e-3), nl.NAGD(1e-3)])
def test_nor_do_laws_whose_forms_are_shared(algorithm, monkeypatch):
    (net, U), shares, worth_sharing = wide_layers(), [], backends.worth_sharing
    monkeypatch.setattr(backends, "worth_sharing", lambda laws: shares.append(worth_sharing(laws)) or shares[-1])
    x0 = net.init(rng=1)
    runs = [nl.integrate(U, algorithm, x0, 12, n_threads=n, record_every=5) for n in (1, 2, 5)]
    assert shares == [True, True]  # one thread is not asked
    assert_same_runs(runs)
    for name, law in runs[0].laws.items():
        for field in ("quantity", "charge", "source_integral"):
            for run in runs[1:]:
                np.testing.assert_array_equal(getattr(run.laws[name], field), getattr(law, field))
    assert not worth_sharing(table(nl.symmetries(problem()[1])[:2], problem()[0].n_params, "float64"))  # scalings


@jit
def test_a_thread_takes_its_part_of_a_form():
    net, U = wide_layers()
    laws = [s for s in nl.symmetries(U) if s.name.startswith("linear:")]
    a, b = net.init(rng=1), net.init(rng=2)
    described, memory = (
        placed.Placed(table(laws, a.size, "float64")),
        compiled.Memory(U.problem(), U.n_samples, U.n_samples, 2),
    )
    alone = addresses_of_forms("float64", with_matrices=True)
    shared = alone._replace(tiles=memory.placed_tiles.address)
    team, seen = memory.tiles.team, cpu_team._SEEN + cpu_team._LINE  # the evaluation that member 1 has seen
    member = threading.Thread(target=network, args=(memory.placed.address, memory.placed_tiles.address, 1, a, a[:0]))
    out, expected = (np.full(sum(law.n_generators for law in laws), np.nan) for _ in range(2))
    try:
        member.start()
        for _ in range(100_000):
            for what, left, right in ((PAIR, a, a), (PAIR, a, b), (QUANTITY, b, b), (CHARGE, b, a)):
                forms(alone, what, described.address, left, right, expected)
                out[:] = np.nan
                forms(shared, what, described.address, left, right, out)
                np.testing.assert_array_equal(out, expected)
            if team[seen] > 0:
                break
    finally:
        team[cpu_team.OPEN] = cpu_team.HOME
        member.join()
    assert team[seen] > 0


@pytest.mark.needs_jit
def test_parts_sum_to_the_gradient_of_one_part(monkeypatch):
    net, U = problem(300)
    x = net.init(rng=2, bias_std=0.1)
    shared, value = U.gradient(x), U.value(x)
    monkeypatch.setattr(tiles, "MOST_PARTS", 1)
    U = problem(300)[1]  # without the memory of the evaluations before
    alone = U.gradient(x)
    scale = 300 * np.finfo(float).eps * np.abs(alone).max()
    np.testing.assert_allclose(shared, alone, atol=scale, rtol=0)
    assert value == pytest.approx(U.value(x), rel=300 * np.finfo(float).eps)
    # the order of the sum is another: the test would else compare a thing to itself
    assert not np.array_equal(shared, alone)


@jit
def test_threads_that_evaluate_one_potential_do_not_share_its_memory():
    net, U = problem(60)
    points = [net.init(rng=seed) for seed in range(8)]
    expected = [problem(60)[1].gradient(x) for x in points]

    def evaluate(k):
        return all(np.array_equal(U.gradient(points[k]), expected[k]) for _ in range(300))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(evaluate, range(8)))


@jit
def test_a_team_whose_helpers_never_come_finishes():
    net, U = problem(300)
    x, described = net.init(rng=2), U.problem()
    memory = compiled.tiles(described, 300, members=4)
    gradient = np.empty_like(x)
    assert compiled.Evaluation(described, memory)(x, gradient) == U.value(x)
    np.testing.assert_array_equal(gradient, U.gradient(x))


@jit
def test_every_part_is_claimed_once_however_many_ask():
    team = np.zeros(cpu_team.SIZE, np.int64)
    rounds, parts, members = 400, 7, 3
    counts = np.zeros((members, parts), np.int64)
    team[cpu_team.OPEN] = cpu_team.CLOSED

    @kernels_jit.compiled  # keeps it on disk, as long as it and what it calls stay as they are
    def take(team, claimed, member):
        part = 0 if member == 0 else cpu_team.next_part(team, parts, member, members)
        while part >= 0:
            claimed[part] += 1
            cpu_team.deliver(team, part, member)
            part = cpu_team.next_part(team, parts, member, members)

    @kernels_jit.compiled
    def lead(team, claimed, member):  # a number in its place would be a type of its own, and compiled once more
        for _ in range(rounds):
            cpu_team.publish(team, True)
            take(team, claimed, member)
            cpu_team.gather(team, parts)

    lead(team, counts[0], 0)  # compiles, alone
    team[cpu_team.OPEN] = cpu_team.HOME
    take(team, counts[1], 1)  # compiles, and goes home at once
    assert counts[1].sum() == 0
    counts[:] = 0
    team[cpu_team.OPEN] = cpu_team.CLOSED
    others = [threading.Thread(target=take, args=(team, counts[m], m)) for m in range(1, members)]
    for thread in others:
        thread.start()
    lead(team, counts[0], 0)
    team[cpu_team.OPEN] = cpu_team.HOME
    for thread in others:
        thread.join(timeout=30)
        assert not thread.is_alive()
    np.testing.assert_array_equal(counts.sum(axis=0), rounds)


@jit
def test_helpers_go_home_when_the_leader_is_stopped():
    net, U = problem(300)

    def stop(snapshot):
        return snapshot.step >= 20

    before = threading.active_count()
    run = nl.integrate(U, nl.GD(0.1), net.init(rng=0), 1000, record_every=10, callback=stop, n_threads=3)
    assert (run.status, run.step[-1]) == ("stopped", 20)
    diverging = nl.integrate(U, nl.GD(1e308), net.init(rng=0), 1000, n_threads=3)
    assert diverging.status == "diverged"
    assert threading.active_count() == before


def test_numba_setting_is_the_default(monkeypatch):
    from noetherlite._base.threads import threads

    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 5)
    assert threads(None) == (1 if numba.config.DISABLE_JIT else 5)


@pytest.mark.parametrize("value", [0, -1, 1.5, "two"])
def test_bad_number_of_threads(value):
    net, U = problem(40)
    with pytest.raises((ValueError, TypeError), match="n_threads"):
        nl.integrate(U, nl.GD(0.1), net.init(rng=0), 1, n_threads=value)


@jit
@pytest.mark.parametrize(("long_step", "shared"), [(1, True), (1 << 24, False)])
def test_a_call_of_one_step_is_shared_if_the_step_is_long(monkeypatch, long_step, shared):
    net, U = problem(300)
    x0, start, calls = net.init(rng=0), threading.Thread.start, []

    def counted(thread):
        calls.append(thread)
        start(thread)

    monkeypatch.setattr(backends, "_LONG_STEP", long_step)
    monkeypatch.setattr(threading.Thread, "start", counted)
    x = nl.integrate(U, nl.GD(0.1), x0, 1, n_threads=2).x
    assert bool(calls) == shared
    np.testing.assert_array_equal(x, nl.integrate(U, nl.GD(0.1), x0, 1, n_threads=1).x)


@jit
def test_ctrl_c_between_the_starts_of_two_threads_leaves_none_waiting(monkeypatch):
    net, U = problem(600)
    x0, start, calls = net.init(rng=0), threading.Thread.start, []

    def pressed(thread):
        if "network" in str(thread._target):
            calls.append(thread)
            if len(calls) == 2:
                raise KeyboardInterrupt
        start(thread)

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", pressed)
    assert nl.integrate(U, nl.GD(0.1), x0, 40, n_threads=3).status == "stopped"
    assert len(calls) == 2
    assert threading.active_count() == before
    monkeypatch.setattr(threading.Thread, "start", start)
    run = nl.integrate(U, nl.GD(0.1), x0, 40, n_threads=3)
    np.testing.assert_array_equal(run.x, nl.integrate(U, nl.GD(0.1), x0, 40, n_threads=1).x)


@jit
def test_many_python_threads_run_at_once():
    net, U = problem(300)
    x0 = net.init(rng=0)
    expected = nl.integrate(U, nl.GD(0.1), x0, 50, n_threads=1).x
    with ThreadPoolExecutor(4) as pool:
        for x in pool.map(lambda _: nl.integrate(U, nl.GD(0.1), x0, 50, n_threads=2).x, range(4)):
            np.testing.assert_array_equal(x, expected)


@jit
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_runs_too():
    code = """
import multiprocessing, numpy as np, noetherlite as nl
def run():
    net = nl.Network([24, 32, 32, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=300, n_features=24, n_classes=3, rng=0))
    return nl.integrate(U, nl.GD(0.1), net.init(rng=0), 20, n_threads=2).x
here = run()
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert np.array_equal(here, pool.apply(run))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def helpers():
    """Two threads that wait until the test has ended."""
    done = threading.Event()
    waiting = [threading.Thread(target=done.wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    yield waiting
    done.set()
    for thread in waiting:
        thread.join()


@pytest.mark.skipif(threads._processor is None, reason="threads cannot be given processors here")
def test_helpers_are_kept_off_the_processor_of_the_thread_that_leads(helpers, monkeypatch):
    allowed = os.sched_getaffinity(0)
    monkeypatch.setattr(threads, "_processor", lambda: min(allowed))
    threads.keep_apart(helpers)
    expected = allowed - {min(allowed)} or allowed
    assert [os.sched_getaffinity(helper.native_id) for helper in helpers] == [expected, expected]
    assert os.sched_getaffinity(0) == allowed


def test_threads_are_left_alone_where_they_cannot_be_given_processors(helpers, monkeypatch):
    def refuse(thread, processors):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    threads.keep_apart(helpers)
    monkeypatch.setattr(threads, "_processor", None)
    monkeypatch.delattr(os, "sched_setaffinity")
    threads.keep_apart(helpers)
