"""Flows that `check` cannot resolve are called undecidable and not broken: oscillations, fast friction, hidden rounding."""

import tracemalloc

import numpy as np
import pytest
from problems import miscomputed, problem, times

import noetherlite as nl
from noetherlite._check import check, flow_path, rows


def network(seed, activation="relu", loss="mse"):
    rng = np.random.default_rng(seed)
    net = nl.Network([5, 12, 12, 3], activation, loss=loss)
    targets = rng.standard_normal((30, 3)) if loss == "mse" else rng.integers(0, 3, 30)
    return net, net.potential(rng.standard_normal((30, 5)), targets)


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", [nl.GD(0.3), nl.NAGD(0.2), nl.Leapfrog(0.3)], ids=str)
def test_an_oscillation_with_the_period_of_the_records_is_not_called_broken(algorithm):
    seen = 0
    for seed in range(6):
        net, U = network(seed)
        run = nl.integrate(U, algorithm, net.init(rng=seed), 200, record_every=2, record_params=True, laws=None)
        if run.status != "completed":
            continue
        seen += 1
        report = nl.check(U, run.params, run.t, algorithm.dynamics)
        assert report.verdict == "not decidable", str(report)
        assert not report.findings
        assert any("too far apart" in limit or "times spacing" in limit for limit in report.limits)
    assert seen >= 3


def test_a_wrong_gradient_of_a_resolved_flow_is_still_found():
    net, U = network(0)
    wrong = miscomputed(U, times(0, "b1"))
    run = nl.integrate(wrong, nl.GD(2e-3), net.init(rng=0), 1000, record_every=4, record_params=True, laws=None)
    report = nl.check(U, run.params, run.t, nl.GF)
    assert report.verdict == "broken"
    assert report.findings[0].startswith("b1 does not move: its gradient is missing")


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.uncounted
def test_an_integrating_factor_beyond_all_numbers(every):
    # γt/m = 1000 at the end: μ = e^1000 is infinite, its ratios are not
    _, U, x = problem("tanh", loss="nll", widths=(3, 5, 3))
    algorithm = nl.ConformalLeapfrog(1e-4, mass=0.01, gamma=1.0)
    run = nl.integrate(U, algorithm, x, 1000, record_params=True, laws=None, record_every=every)
    assert algorithm.gamma * run.t[-1] / algorithm.mass > 709
    assert nl.check(U, run.params, run.t, algorithm, every=every).verdict == "holds"
    flow = nl.check(U, run.params[::4], run.t[::4], algorithm.dynamics)
    assert flow.verdict != "broken"
    assert all(np.isfinite(row.residual).all() for row in flow.laws.values())
    # and a power of t that is zero in double precision, 0.1^600
    slow = nl.ConformalLeapfrog(1e-5, mass=0.005, alpha=3)
    run = nl.integrate(U, slow, x, 300, t0=0.1, record_params=True, laws=None)
    assert nl.check(U, run.params, run.t, slow).verdict == "holds"
    spoilt = run.params.copy()
    spoilt[100:] += 1e-7
    assert nl.check(U, spoilt, run.t, slow).verdict == "broken"


@pytest.mark.needs_jit
def test_hidden_steps_in_single_precision_round_too():
    s = np.float32(1e-5)
    for seed in range(3):
        net, U = network(seed, loss="nll")
        x = net.init(rng=seed).astype(np.float32)
        before, rows = x, [x]
        for k in range(400):
            y = x + np.float32(max(k - 1, 0) / (k + 2)) * (x - before)
            before, x = x, y - s * U.gradient(y).astype(np.float32)
            if k % 10 == 9:
                rows.append(x)
        rows = np.array(rows)
        assert rows.dtype == np.float32
        assert nl.check(U, rows, 10 * np.sqrt(1e-5) * np.arange(len(rows)), nl.NAGF).verdict != "broken"
        assert nl.check(U, rows, dynamics=nl.NAGD(1e-5), every=10).verdict != "broken"


FLOWS = pytest.mark.parametrize("dynamics", [nl.GF, nl.Dynamics(mass=1.0, gamma=0.1)], ids=["GF", "second order"])
UNEVEN = np.cumsum(0.1 + 0.01 * (np.arange(200) % 2))  # of no algorithm's steps
STRAIGHT = 1e-3 * np.arange(200)[:, None]  # follows nothing, so that rows are gone through again


def in_pieces(monkeypatch, size):
    for module in (check, flow_path, rows):
        monkeypatch.setattr(module, "_PIECE", size)


@FLOWS
def test_the_memory_beside_a_recording_is_a_part_of_it(dynamics, monkeypatch):
    U = nl.potentials.Callable(lambda x: (0.5 * x @ x, x.copy()), 2000)
    rows = 1 + STRAIGHT * np.random.default_rng(0).standard_normal(2000)
    in_pieces(monkeypatch, rows.size // 20)  # as of a recording of ten megabytes
    tracemalloc.start()
    report = nl.check(U, rows, UNEVEN, dynamics)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.verdict == "broken"
    assert peak < rows.nbytes


@FLOWS
def test_pieces_change_no_number(dynamics, monkeypatch):
    _, U, x = problem("relu", loss="nll", widths=(3, 5, 2), n=6)
    rows = x + STRAIGHT * np.random.default_rng(0).standard_normal(x.size)
    whole = nl.check(U, rows[:60], UNEVEN[:60], dynamics)
    in_pieces(monkeypatch, 7 * x.size)
    parts = nl.check(U, rows[:60], UNEVEN[:60], dynamics)
    assert parts.findings == whole.findings
    sums = 60 * np.finfo(float).eps  # as many terms in another order
    for one, row in zip(parts.rows, whole.rows, strict=True):
        assert (one.verdict, one.first, one.where) == (row.verdict, row.first, row.where)
        size = max(float(row.scale.max()), float(np.abs(row.residual).max()))
        for name in ("residual", "tolerance", "scale"):
            np.testing.assert_allclose(getattr(one, name), getattr(row, name), rtol=sums, atol=sums * size)
