"""The numbers that the benchmarks compute from times, and the sizes of their networks."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import peers
import scaling
import workloads

import noetherlite as nl


@pytest.mark.parametrize("exponent", [-0.5, 0.01, 1.0, 1.5])
def test_power_law_recovers_exponents(exponent):
    sizes = np.geomspace(1, 1000, 13)
    exact = scaling.power_law(sizes, 3e-6 * sizes**exponent)
    assert exact.exponent == pytest.approx(exponent, abs=1e-12)
    assert exact.factor == pytest.approx(3e-6)
    assert exact.margin < 1e-7


@pytest.mark.uncounted
def test_the_margin_is_a_95_percent_confidence_interval():
    rng, sizes, hits, trials = np.random.default_rng(0), np.geomspace(1, 1000, 10), 0, 2000
    for _ in range(trials):
        fit = scaling.power_law(sizes, sizes * np.exp(0.1 * rng.standard_normal(sizes.size)))
        hits += abs(fit.exponent - 1) <= fit.margin
    assert abs(hits / trials - 0.95) < 4 * np.sqrt(0.95 * 0.05 / trials)


def test_every_panel_covers_three_decades(monkeypatch):
    monkeypatch.setattr(scaling, "noetherlite", lambda work, algorithm: lambda: None)
    for name, points in scaling.series().items():
        sizes = [p.size for p in points]
        assert sizes == sorted(set(sizes)), name
        assert sizes[-1] >= 1000 * sizes[0], name
        assert all(p.steps >= 10 for p in points)


def test_rows_of_peers_are_told_apart_and_chosen(capsys):
    names = [peers.key(work, name) for work in workloads.WORKLOADS for name in work.methods]
    assert len(set(names)) == len(names)
    options = peers.parser().parse_args(["--workloads", "small", "--activations", "tanh", "--losses", "nll"])
    assert [(work.name, name) for work, name, _ in peers.chosen(options) if work.dtype == "float64"] == [
        ("small", "GD"),
        ("small", "Leapfrog"),
    ]


def test_minibatches_of_the_peers_are_those_of_our_runs():
    work = workloads.TINY._replace(steps=7, batch=10)
    net, X, y, theta = work.problem()
    ours = nl.integrate(net.potential(X, y), nl.GD(0.1), theta[0], work.steps, **work.options()).x

    def descended(drawn):
        x = theta[0].copy()
        for rows in drawn[:-1]:
            x -= 0.1 * net.potential(X[rows], y[rows]).gradient(x)
        return x

    drawn = work.drawn()
    assert np.abs(descended(drawn) - ours).max() < 1e-14
    assert np.abs(descended(drawn[1:]) - ours).max() > 1e-4


def test_ratios_are_of_one_round_and_drawn(tmp_path):
    seconds = {"noetherlite": [1.0, 2.0, 4.0], "jax": [2.0, 8.0, 4.0]}
    row = {"group": 'linear layers, laws="all"', "label": "small", "algorithm": "GD", "seconds": seconds}
    assert peers.ratios(row, "jax") == [1.0, 2.0, 4.0]
    assert peers.ratios(row, "torch") == []
    peers.draw([row], tmp_path / "peers.png")
    assert (tmp_path / "peers.png").stat().st_size > 10_000
