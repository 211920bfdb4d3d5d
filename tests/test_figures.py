"""The paper's figures: their numbers, and the claim each makes."""

import itertools
import json
import re

import numpy as np
import pytest
from problems import EPS

from noetherlite import figures
from noetherlite._show import figures_training


@pytest.fixture
def glyphs_only(monkeypatch, tmp_path):
    monkeypatch.setenv("NOETHERLITE_DATA", str(tmp_path))


@pytest.mark.needs_jit
# Degree, steps and learning rate: times of 6 and 1, at which the norms have moved.
@pytest.mark.parametrize(
    ("number", "p", "steps", "lr"), [(1, 1, 300, 0.02), pytest.param(2, 2, 1000, 0.001, marks=pytest.mark.slow)]
)
def test_training_figures_show_moving_norms_and_laws_that_hold(number, p, steps, lr, glyphs_only):
    figure, numbers = figures.FIGURES[number](n_samples=64, steps=steps, lr=lr)
    assert numbers["dataset"] == "glyphs"
    assert len(figure.axes) == 6  # three panels, each with a right axis of its own
    assert set(numbers["runs"]) == {"GD", "Leapfrog", "NAGD"}
    assert numbers["runs"]["GD"]["steps"] == steps
    for run in numbers["runs"].values():
        assert run["status"] == "completed"
        assert run["loss"][-1] < run["loss"][0]
        assert abs(run["t"][-1] - steps * lr) <= np.sqrt(lr)  # equal times, up to half a step
        moved = np.abs(run["squared_norms"][-1] - run["squared_norms"][0])
        # Norms are of order 100: the exact law holds to a few hundred roundings of them, the continuous one to O(dt).
        assert run["discrete_residual"] < 1e3 * EPS * run["squared_norms"].max()
        assert np.abs(run["law"]).max() > 1e3 * run["discrete_residual"]
        assert np.abs(run["law"]).max() < 0.1 * moved.max()
    # The point of Figure 2: under gradient descent a layer moves p times as fast as the next, up to O(learning rate).
    gd = numbers["runs"]["GD"]
    assert (np.abs(gd["squared_norms"][-1] - gd["squared_norms"][0]) > 0.02).all()
    assert gd["speed_ratios"] == pytest.approx([p, p], rel=0.02)
    # negative control: the other dynamics has another law
    assert numbers["runs"]["Leapfrog"]["speed_ratios"][0] != pytest.approx(p, rel=0.2)


@pytest.mark.needs_jit
def test_the_norms_are_drawn_as_changes_that_can_be_seen(glyphs_only):
    figure, numbers = figures.figure2(n_samples=16, steps=200)
    norms = numbers["runs"]["GD"]["squared_norms"]
    for h, line in enumerate(figure.axes[0].lines):
        assert np.array_equal(line.get_ydata(), norms[:, h] - norms[0, h])
    low, high = figure.axes[0].get_ylim()
    assert np.ptp(figure.axes[0].lines[0].get_ydata()) > 0.4 * (high - low)


def test_data_are_named_in_the_figure(glyphs_only):
    figure, _ = figures.figure1(n_samples=16, steps=2)
    assert "glyphs" in figure.get_suptitle()


@pytest.mark.uncounted
def test_orbits_stay_in_their_plane_and_equal_those_of_the_neuron():
    for number, name in ((3, "ND"), (4, "NAGF")):
        figure, numbers = figures.FIGURES[number]()
        # 1600 steps of round-off on numbers of order one.
        assert numbers["largest distance from the plane"] < 1600 * EPS
        assert numbers["largest distance of gradient flow from its segment"] < 1600 * EPS
        assert numbers["t0"] < 1  # small against the period of 7
        run, flow = numbers["runs"][name], numbers["runs"]["GF"]
        assert run["largest difference from the neuron"] < 1600 * EPS
        ray = np.array(numbers["start"]) / np.linalg.norm(numbers["start"])
        beside = np.abs(run["w"] - np.outer(run["w"] @ ray, ray)).max()
        # It does go somewhere: round the sphere, or beside the segment of gradient flow until friction has stopped that.
        assert np.ptp(run["w"], axis=0).min() > 0.3 if name == "ND" else beside > 0.05
        assert np.linalg.norm(flow["w"][-1]) == pytest.approx(1)
        space = figure.axes[0]
        assert {"$S$", "$M$"} <= {text.get_text() for text in space.texts}
        named = {text.get_text() for text in figure.legends[0].get_texts()}
        assert {"minima $|w|=1$", r"plane $\perp M$", "GF: a segment of the ray through $S$"} <= named


def test_angular_momentum_is_conserved_with_its_factor_only():
    figure, numbers = figures.figure5()
    for name, run in numbers["runs"].items():
        alpha = {"ND": 0, "NAGF": 3}[name]
        amplification = (run["t"][-1] / run["t"][0]) ** alpha
        assert run["drift"].max() < 1600 * EPS * max(1.0, np.sqrt(amplification))
    nagf = numbers["runs"]["NAGF"]["angular_momentum"]
    assert np.linalg.norm(nagf[-1]) < 0.05 * np.linalg.norm(nagf[0])  # without t³ it decays
    left = figure.axes[0]
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")
    ends = sorted(line.get_ydata()[-1] for line in left.lines)
    assert len(ends) == 3
    assert all(b > 2 * a for a, b in itertools.pairwise(ends))  # no two lines coincide


def test_losses_of_the_three_dynamics_are_ordered():
    figure, numbers = figures.figure6()
    last = {name: run["loss"][-50:].mean() - 0.08 for name, run in numbers["runs"].items()}
    assert last["GF"] < last["NAGF"] < last["ND"]
    assert [len(ax.lines) for ax in figure.axes] == [1, 1, 1]  # a panel each


@pytest.mark.parametrize("lr", [[0.1, 0.2], {"W1": 0.1, "rest": 0.2}, lambda k: 0.1])
def test_the_learning_rate_of_a_figure_is_a_number(lr):
    with pytest.raises(TypeError, match="lr must be a real number"):
        figures.figure1(lr=lr)


def test_saved_files_are_whole(tmp_path):
    numbers = figures.save(3, tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["figure3.json", "figure3.pdf", "figure3.png"]
    assert (tmp_path / "new" / "figure3.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "new" / "figure3.pdf").read_bytes().startswith(b"%PDF")
    stored = json.loads((tmp_path / "new" / "figure3.json").read_text())
    assert np.array_equal(stored["runs"]["ND"]["w"], numbers["runs"]["ND"]["w"])


def kinds_of_font(pdf):
    """The /Subtype of every font in a PDF."""
    return {kind.decode() for kind in re.findall(rb"/Subtype /(Type\d|TrueType|CIDFontType\d)\b", pdf)}


@pytest.mark.lengthy
@pytest.mark.uncounted
def test_pdfs_have_no_type_3_fonts(tmp_path):
    figures.save(6, tmp_path)
    kinds = kinds_of_font((tmp_path / "figure6.pdf").read_bytes())
    assert kinds
    assert "Type3" not in kinds
    # negative control: matplotlib's own default has them
    figure, _ = figures.figure6()
    figure.savefig(tmp_path / "own.pdf")
    assert "Type3" in kinds_of_font((tmp_path / "own.pdf").read_bytes())


@pytest.mark.parametrize("number", [0, 7])
def test_unknown_figures_are_refused(number, tmp_path):
    with pytest.raises(ValueError, match=f"number={number}"):
        figures.save(number, tmp_path)


def test_kmnist_is_preferred_where_it_is_found():
    data = figures_training.find_data(8, 0)
    assert data.name in ("glyphs", "kmnist-train", "kmnist-test")
    assert data.X.shape == (8, 784)
