"""What the benchmarks compute from times, and that their sizes are what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import scaling


@pytest.mark.parametrize("exponent", [-0.5, 0.01, 1.0, 1.5])
def test_power_law_recovers_exponents(exponent):
    sizes = np.geomspace(1, 1000, 13)
    exact = scaling.power_law(sizes, 3e-6 * sizes**exponent)
    assert exact.exponent == pytest.approx(exponent, abs=1e-12)
    assert exact.factor == pytest.approx(3e-6)
    assert exact.margin < 1e-7


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
