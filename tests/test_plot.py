"""Plots draw what the records hold, into the Axes they are given, and change nothing else."""

import itertools

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pytest

import noetherlite as nl
from noetherlite import plot


@pytest.fixture(scope="module")
def run():
    net = nl.Network([3, 4, 2], loss="nll")
    data = nl.datasets.gaussian_classes(n=12, n_features=3, n_classes=2, rng=0)
    return nl.integrate(net.potential(data), nl.Leapfrog(1e-3), net.init(rng=0), 20)


def new_axes():
    return mpl.figure.Figure().subplots()


@pytest.mark.parametrize("draw", [plot.loss, plot.energy, plot.residuals])
def test_given_axes_are_used_and_returned(run, draw):
    ax = new_axes()
    assert draw(run, ax) is ax
    assert ax.get_xlabel() == "time $t$"
    assert ax.lines


def test_lines_hold_the_records(run):
    assert np.array_equal(run.plot_loss().lines[0].get_ydata(), run.loss)
    assert np.array_equal(run.plot_energy().lines[0].get_ydata(), run.energy)
    lines = run.plot_law("scaling:1", "charge").lines
    assert len(lines) == 4
    assert np.array_equal([line.get_ydata() for line in lines], run.laws["scaling:1"].charge.T)
    assert {line.get_label() for line in run.plot_residuals().lines} == set(run.laws)


@pytest.mark.parametrize("record", ["one record", "a short time"])
def test_what_is_short_can_be_read(record):
    """One record is no line, and is marked; numbers of many digits below an axis do not overlap."""
    U, lr = nl.potentials.Harmonic(np.eye(2)), 2e-3
    run = nl.integrate(U, nl.GD(lr), np.ones(2), 0 if record == "one record" else 10, backend="reference")
    for ax in (run.plot_loss(), run.plot_energy()):
        ax.figure.draw_without_rendering()
        assert {line.get_marker() for line in ax.lines} == ({"o"} if record == "one record" else {"None"})
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert len(boxes) > 3
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_residuals_that_are_all_zero_are_said_to_be():
    net = nl.Network([2, 3, 2], "relu")
    U = net.potential(np.ones((4, 2)), [0, 1, 1, 0])
    for bias, texts in ((-100.0, ["nothing above 0"]), (1.0, [])):  # of neurons that never fire, and the control
        theta = net.init(rng=0)
        net.unpack(theta)["b1"][:] = bias
        run = nl.integrate(U, nl.GD(0.1), theta, 20, laws=["scaling:1"])
        ax = run.plot_residuals()
        assert [text.get_text() for text in ax.texts] == texts
        assert ax.get_xlim()[1] >= run.t[-1]
    assert not nl.integrate(U, nl.GD(0.1), theta, 20, laws=None).plot_residuals().texts
    assert not nl.integrate(U, nl.GD(0.1), 1e200 * theta, 20).plot_residuals().texts  # nothing recorded


@pytest.mark.filterwarnings("error")
def test_many_laws_leave_room_for_their_lines():
    net = nl.Network([2] * 14, "linear")
    U, x = net.potential(np.eye(2), [0, 1]), net.init(rng=0)
    run = nl.integrate(U, nl.GD(0.1), x, 2, record_params=True, backend="reference")
    for ax in (run.plot_residuals(), nl.check(U, run.params, dynamics=nl.GD(0.1)).plot()):
        ax.figure.draw_without_rendering()
        legend, every = ax.get_legend(), len(ax.lines)
        assert every > 20
        assert (legend.get_title().get_text(), len(legend.get_texts())) == (f"highest of {every}", 10)
        highest = max(ax.lines, key=lambda line: np.fmax.reduce(line.get_ydata()))
        assert highest.get_label() in {text.get_text() for text in legend.get_texts()}


def test_long_names_stay_in_the_picture():
    law = nl.Symmetry([[0, -1], [1, 0]], name="rotation in the plane of both coordinates, about the origin")
    U, observe = nl.potentials.Radial(2), {"the length of x, by which its distance from the origin is meant": np.sum}
    run = nl.integrate(U, nl.Leapfrog(0.1), [1.0, 0.5], 3, laws=[law], observe=observe, backend="reference")
    for ax in (run.plot_law(law.name), run.plot_residuals(), run.plot_observed(*observe)):
        ax.figure.draw_without_rendering()
        for text in (ax.title, ax.yaxis.label):
            assert not text.get_text() or ax.figure.bbox.padded(1).fully_contains(*text.get_window_extent().min)
        assert ax.get_window_extent().width > 0.6 * ax.figure.bbox.width


def test_style_is_passed_on(run):
    assert plot.law(run, "scaling:1", color="black").lines[0].get_color() == "black"


def test_global_settings_stay(run):
    before = dict(mpl.rcParams)
    run.plot_loss()
    run.plot_residuals()
    assert dict(mpl.rcParams) == before


def test_unknown_names_are_refused(run):
    with pytest.raises(ValueError, match="name='scaling:9' is not known"):
        run.plot_law("scaling:9")
    with pytest.raises(ValueError, match=r"what='residul' is not known.*residual"):
        run.plot_law("scaling:1", "residul")
    with pytest.raises(ValueError, match="name='translation:b' is not known; expected one of 'scaling:1'"):
        plot.bounds(run, "translation:b", nl.ND)  # of which the bound says nothing


def test_bounds_are_drawn_over_what_they_bound(run):
    ax = plot.bounds(run, "scaling:1", nl.ND)
    *_, layer, limit = ax.lines
    assert (layer.get_ydata() <= limit.get_ydata()).all()
    assert np.array_equal(limit.get_ydata(), run.loss[0] * run.t[1:] ** 2)
    with pytest.raises(ValueError, match="trajectory must have records after its start"):
        plot.bounds(nl.integrate(nl.potentials.Radial(2), nl.Leapfrog(0.1), [1.0, 0.0], 0), "scaling:1", nl.ND)
    with pytest.raises(ValueError, match="no such bound"):
        plot.bounds(run, "scaling:1", nl.GF)
    moving = nl.integrate(nl.potentials.Radial(2), nl.Leapfrog(1e-3), [1.0, 0.0], 3, velocity=[0.0, 1.0],
                          laws=[nl.Symmetry([[0, -1], [1, 0]])])  # fmt: skip
    with pytest.raises(ValueError, match="start from rest"):
        plot.bounds(moving, "affine", nl.ND)
    U, x = run_of_degree(3), [2.0, 0.0]
    for algorithm in (nl.GD(1e-3), nl.NAGD(1e-3), nl.Leapfrog(1e-3, weight_decay=0.1)):
        other = nl.integrate(U, algorithm, x, 3)
        with pytest.raises(
            ValueError, match=rf"trajectory must be of an algorithm for .*, got {type(algorithm).__name__}"
        ):
            plot.bounds(other, "scaling:1", nl.ND)


def test_minibatches_have_no_bound():
    U = nl.Network([1, 2, 1], loss="mse").potential([[1.0], [2.0]], [[1.0], [0.0]])
    run = nl.integrate(U, nl.Leapfrog(1e-3), np.ones(U.n_params), 3, batch_size=1, rng=0)
    with pytest.raises(ValueError, match=r"of full batches.*got batch_size=1"):
        plot.bounds(run, "scaling:1", nl.ND)


def run_of_degree(p):
    net = nl.Network([1, 1, 1], f"polynomial({p})", bias=False, loss="mse")
    return net.potential([[1.0]], [[1.0]])


def test_the_bound_of_a_degree_is_as_many_times_as_large():
    run = nl.integrate(run_of_degree(3), nl.Leapfrog(1e-4), [2.0, 0.0], 300)
    ax = plot.bounds(run, "scaling:1", nl.ND)
    *_, layer, limit = ax.lines
    assert (layer.get_ydata() <= limit.get_ydata()).all()
    assert (layer.get_ydata() > limit.get_ydata() / 3).any()  # the bound of degree 1 is passed
    assert limit.get_label() == "$3U_0t^2$"


def test_an_ensemble_has_a_line_of_loss_for_every_run_and_is_else_plotted_run_by_run():
    U = nl.potentials.Radial(2)
    runs = nl.ensemble(U, [nl.Leapfrog(1e-4), nl.Leapfrog(4e-4)], [[1.4, 0.1], [0.3, 0.2]], 20, laws=None)
    lines = runs.plot_loss().get_lines()
    for e, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), runs.t[e])
        np.testing.assert_array_equal(line.get_ydata(), runs.loss[e])
    assert len(lines) == 2
    for draw in (runs.plot_energy, runs.plot_residuals):
        with pytest.raises(ValueError, match="ensemble of 2"):
            draw()
    assert runs[1].plot_energy().get_lines()
