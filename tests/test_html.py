"""Tables for notebooks: what they show, that everything in them is escaped, and that they leave colours to the theme."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from problems import problem

import noetherlite as nl
from noetherlite._base import html

EVIL = "<script>alert('&')</script>"


class Table(HTMLParser):
    """Reads a table; fails where a tag is not closed, or not one of a table."""

    def __init__(self, text):
        super().__init__()
        self.open, self.caption, self.rows, self.styles = [], "", [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in ("table", "caption", "tr", "th", "td")
        self.open.append(tag)
        self.styles += [value for name, value in attributes if name == "style"]
        assert {name for name, _ in attributes} <= {"style"}
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open[-1] == "caption":
            self.caption += text
        else:
            self.rows[-1][-1] += text


def shown(thing):
    return Table(thing._repr_html_())


@pytest.fixture(scope="module")
def run():
    _, U, theta = problem("relu", "nll", widths=(3, 4, 2))
    return nl.integrate(U, nl.NAGD(0.01), theta, steps=20, record_every=5)


def test_table_escapes_everything_in_it():
    text = html.table(EVIL, [(EVIL, EVIL)], head=(EVIL, EVIL))
    assert text.count("script") == 10  # five times opened and closed, as text
    assert "<script" not in text
    table = Table(text)
    assert table.caption == EVIL
    assert table.rows == [[EVIL, EVIL], [EVIL, EVIL]]


def test_no_colours_so_that_dark_themes_are_legible(run):
    for thing in (run, run.laws["scaling:1"], nl.Network([2, 2]), nl.Symmetry([[0, 1], [-1, 0]])):
        styles = shown(thing).styles
        assert styles
        assert not re.search(r"colou?r|background|#|rgb|font", " ".join(styles))


def test_network_shows_each_layer_with_its_arrays():
    net = nl.Network([3, 5, 4, 2], ["swish", "tanh"], bias=False, loss="mse")
    table = shown(net)
    assert f"{net.n_params} parameters" in table.caption
    assert [row[0] for row in table.rows[1:]] == ["1", "2", "3"]
    assert table.rows[1][2:] == ["swish", "W1 (5, 3), beta1 (5,)", "20"]
    assert sum(int(row[-1]) for row in table.rows[1:]) == net.n_params


def test_networks_of_ten_layers_do_not_mix_up_names():
    net = nl.Network([2] * 13, "linear")
    rows = shown(net).rows[1:]
    assert [row[3] for row in rows] == [f"W{h} (2, 2), b{h} (2,)" for h in range(1, 13)]


def test_trajectory_shows_how_it_went_and_its_laws(run):
    table = shown(run)
    assert run.message in table.caption
    assert f"{run.loss[-1]:.4g}" in table.caption
    assert [row[0] for row in table.rows[1:]] == list(run.laws)
    worst = np.abs(run.laws["scaling:1"].residual).max()
    assert table.rows[1][1:3] == ["(4,)", f"{worst:.3g}"]


def test_ensembles_and_empty_trajectories_are_shown(run):
    _, U, theta = problem("relu", "nll", widths=(3, 4, 2))
    many = nl.ensemble(U, nl.GD(0.1), [theta, theta], steps=3, laws=None)
    assert "2 completed, 4 records" in shown(many).caption
    nothing = nl.Trajectory(*[np.empty(0)] * 4, {}, theta, theta, None, "stopped", EVIL, 0)
    assert EVIL in shown(nothing).caption
    assert len(shown(nothing).rows) == 1


def test_a_law_record_shows_every_array_and_nan_where_there_is_none(run):
    rows = dict(shown(run.laws["scaling:1"]).rows[1:])
    assert list(rows) == ["quantity", "charge", "source_integral", "residual", "discrete_residual"]
    _, U, theta = problem("relu", "nll", widths=(3, 4, 2))
    flow = nl.integrate(U, nl.GD(0.1), theta, steps=3)
    assert dict(shown(flow.laws["scaling:1"]).rows[1:])["source_integral"] == "nan"


def test_largest_leaves_out_what_is_not_finite():
    t = np.arange(3.0)
    record = nl.LawRecord("a", t, *[np.array([[1.0], [-3.0], [np.nan]])] * 4, np.full((3, 1), np.nan))
    assert record.largest("residual") == 3.0
    assert np.isnan(record.largest("discrete_residual"))


def test_each_symmetry_shows_its_group_action():
    U = nl.Network([3, 4, 2], "linear").potential(nl.datasets.gaussian_classes(20, 3, 2))
    for s in nl.symmetries(U):
        table = shown(s)
        assert s.name in table.caption
        rows = dict(table.rows)
        assert len(rows["action"]) > 20
        assert rows["components"] == str(s.shape)


def test_names_that_users_give_are_escaped():
    s = nl.Symmetry([[0, 1], [-1, 0]], name=EVIL)
    assert EVIL in shown(s).caption
    run = nl.integrate(nl.potentials.Radial(2), nl.Leapfrog(0.01), [1.0, 0.2], steps=3, laws=[s])
    assert shown(run).rows[1][0] == EVIL
    assert EVIL in shown(run.laws[EVIL]).caption
