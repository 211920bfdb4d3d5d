"""The paper's figures: their numbers, and the claim each makes."""

import json

import numpy as np
import pytest

from noetherlite import _figures_training, figures

EPS = np.finfo(np.float64).eps


@pytest.fixture
def glyphs_only(monkeypatch, tmp_path):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))


@pytest.mark.parametrize("number", [1, 2])
def test_training_figures_show_moving_norms_and_laws_that_hold(number, glyphs_only):
    figure, numbers = figures.FIGURES[number](n_samples=32, steps=60)
    assert numbers["dataset"] == "glyphs"
    assert len(figure.axes) == 6  # three panels, each with a right axis of its own
    assert set(numbers["runs"]) == {"GD", "Leapfrog", "NAGD"}
    for name, run in numbers["runs"].items():
        assert run["status"] == "completed"
        assert run["loss"][-1] < run["loss"][0]
        moved = np.abs(run["squared_norms"][-1] - run["squared_norms"][0]).max()
        # Norms are of order 100: the exact law holds to a few hundred roundings of them, the continuous one to O(dt).
        assert run["discrete_residual"] < 1e3 * EPS * run["squared_norms"].max()
        assert np.abs(run["law"]).max() > 1e3 * run["discrete_residual"]
        if name != "NAGD":
            assert np.abs(run["law"]).max() < 0.1 * moved


def test_data_are_named_in_the_figure(glyphs_only):
    figure, _ = figures.figure1(n_samples=16, steps=2)
    assert "glyphs" in figure.get_suptitle()


def test_orbits_stay_in_their_plane_and_equal_those_of_the_neuron():
    for number in (3, 4):
        _, numbers = figures.FIGURES[number]()
        # 1600 steps of round-off on numbers of order one.
        assert numbers["largest distance from the plane"] < 1600 * EPS
        run = next(iter(numbers["runs"].values()))
        assert run["largest difference from the neuron"] < 1600 * EPS
        assert np.ptp(run["w"], axis=0).min() > 0.3  # it does go somewhere


def test_angular_momentum_is_conserved_with_its_factor_only():
    _, numbers = figures.figure5()
    for name, run in numbers["runs"].items():
        alpha = {"ND": 0, "NAGF": 3}[name]
        amplification = (run["t"][-1] / run["t"][0]) ** alpha
        assert run["drift"].max() < 1600 * EPS * max(1.0, np.sqrt(amplification))
    nagf = numbers["runs"]["NAGF"]["angular_momentum"]
    assert np.linalg.norm(nagf[-1]) < 0.05 * np.linalg.norm(nagf[0])  # without t³ it decays


def test_losses_of_the_three_dynamics_are_ordered():
    _, numbers = figures.figure6()
    last = {name: run["loss"][-50:].mean() - 0.08 for name, run in numbers["runs"].items()}
    assert last["GF"] < last["NAGF"] < last["ND"]


def test_saved_files_are_whole(tmp_path):
    numbers = figures.save(3, tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["figure3.json", "figure3.pdf", "figure3.png"]
    assert (tmp_path / "new" / "figure3.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "new" / "figure3.pdf").read_bytes().startswith(b"%PDF")
    stored = json.loads((tmp_path / "new" / "figure3.json").read_text())
    assert np.array_equal(stored["runs"]["ND"]["w"], numbers["runs"]["ND"]["w"])


@pytest.mark.parametrize("number", [0, 7])
def test_unknown_figures_are_refused(number, tmp_path):
    with pytest.raises(ValueError, match=f"number={number}"):
        figures.save(number, tmp_path)


def test_kmnist_is_preferred_where_it_is_found():
    data = _figures_training.find_data(8, 0)
    assert data.name in ("glyphs", "kmnist-train", "kmnist-test")
    assert data.X.shape == (8, 784)
