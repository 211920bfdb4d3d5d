"""Formulas: the rows of the paper's tables, in LaTeX that parses and in text."""

import functools
import itertools
import re

import numpy as np
import pytest
from problems import refusals

from noetherlite import datasets
from noetherlite._motion.dynamics import GF, NAGF, ND, Dynamics
from noetherlite._problem.network import Network
from noetherlite._symmetry.affine import Symmetry
from noetherlite._symmetry.find import symmetries
from noetherlite._symmetry.formulas import NAMES, law, tables

DYNAMICS = [GF, ND, NAGF, Dynamics(2.0, 0.5, 3.0), Dynamics(1.0, 1.0, 1.0), Dynamics(1.0, 0.0, 12.0), Dynamics(0, 2, 0)]
TURN = Symmetry([[0, -1], [1, 0]])
SHEAR = Symmetry([[0, 1], [0, 0]], [1, 0])


def catalogue():
    data = datasets.icosahedron()
    networks = [
        Network([3, 2, 2, 1], ["linear", "polynomial(2)"], loss="mse").potential(data.X, data.y),
        Network([3, 2, 1], "linear", bias=False, loss="mse").potential(data),
        Network([2, 3, 2], "swish").potential(np.eye(2), [0, 1]),
    ]
    affine = TURN, SHEAR, Symmetry(np.eye(2)), Symmetry(np.zeros((1, 1)), [1.0])
    return [*(s for U in networks for s in symmetries(U)), *affine]


@functools.cache
def parse(formula):
    """Parse LaTeX as matplotlib does, each formula once; raise ValueError if it does not."""
    from matplotlib.mathtext import MathTextParser

    MathTextParser("path").parse(formula)


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=str)
@pytest.mark.parametrize("symmetry", [*NAMES, "scaling:12", "swish:2", "linear:9", *catalogue()], ids=str)
def test_every_formula_parses_and_reads(symmetry, dynamics):
    scaling = not isinstance(symmetry, Symmetry) and re.match("scaling|swish", getattr(symmetry, "name", str(symmetry)))
    for summed in (False, True) if scaling else (False,):
        entry = law(symmetry, dynamics, summed=summed)
        parse(f"${entry.formula('latex')}$")
        text = entry.formula()
        assert str(entry) == text
        assert not re.search(r"[\\$]|\{\}", text)
        assert "=" in text
        assert entry.source
        assert entry.dynamics == dynamics.name


@pytest.mark.parametrize(
    ("name", "dynamics", "summed", "text", "source"),
    [
        ("scaling", GF, False, "|w_i|² + b_i² − p|u_i|² = const", "GU Table 3, (31), (36), (37)"),
        ("scaling:1", GF, True, "‖W_1‖_F² + |b_1|² − p‖W_2‖_F² = const", "GU Table 3, (31), (36), (37)"),
        ("scaling", ND, False, "½d²/dt²(|w_i|² + b_i² − p|u_i|²) = |ẇ_i|² + ḃ_i² − p|u̇_i|²", "GU Table 3"),
        ("swish:2", NAGF, True, "½(d²/dt² + (3/t) d/dt)(‖W_2‖_F² + |b_2|² − ‖W_3‖_F² − |β_2|²) = ‖Ẇ_2‖_F² + |ḃ_2|² − ‖Ẇ_3‖_F² − |β̇_2|²", "GU Table 3"),
        ("linear", GF, False, "W_hW_hᵀ + b_hb_hᵀ − W_{h+1}ᵀW_{h+1} = const", "GU Table 4, (42)"),
        ("linear:1", NAGF, False, "d/dt[t³(Ẇ_1W_1ᵀ + ḃ_1b_1ᵀ − W_2ᵀẆ_2)] = t³(Ẇ_1Ẇ_1ᵀ + ḃ_1ḃ_1ᵀ − Ẇ_2ᵀẆ_2)", "GU Table 4, (41), (43)"),
        ("rotation", GF, False, "W_1ᵀẆ_1 − Ẇ_1ᵀW_1 = 0", "GU Table 5"),
        ("rotation", ND, False, "W_1ᵀẆ_1 − Ẇ_1ᵀW_1 = const", "GU Table 5, (47), (48)"),
        ("translation:b", NAGF, False, "t³Σ_i ḃ_{L,i} = const", "theory §4.4, not in GU"),
        ("translation:W", GF, False, "Σ_i W_{L,ij} = const", "theory §4.4, not in GU"),
        ("time", ND, False, "½|ẋ|² + U = const", "GU §7"),
        ("time", NAGF, False, "d/dt(½|ẋ|² + U) = −(3/t)|ẋ|²", "GU (35)"),
        ("rotation", Dynamics(2, 0.5, 3), False, "t^{1.5} e^{0.25t}(W_1ᵀẆ_1 − Ẇ_1ᵀW_1) = const", "GU Table 5, (47), (48); general dynamics after GU (17)"),
        (TURN, NAGF, False, "t³⟨Gx, ẋ⟩ = const", "GU (16), (17)"),
        (SHEAR, ND, False, "d/dt[⟨Gx + ξ, ẋ⟩] = ⟨Gẋ, ẋ⟩", "GU (16), (17)"),
        (SHEAR, GF, False, "⟨Gx + ξ, ẋ⟩ = 0", "GU (16), (17)"),
        (Symmetry(np.eye(2)), GF, False, "½⟨x, Gx⟩ = const", "GU (16), (17)"),
        (Symmetry([[0.0]], [1.0]), ND, False, "⟨ξ, ẋ⟩ = const", "GU (16), (17)"),
    ],
)  # fmt: skip
def test_rows_of_the_tables(name, dynamics, summed, text, source):
    import unicodedata

    entry = law(name, dynamics, summed=summed)
    assert entry.formula("text") == unicodedata.normalize("NFC", text)
    assert entry.source == source


def test_a_symmetrys_own_degree_biases_and_layer_are_written():
    U = Network([3, 2, 2, 1], ["relu", "polynomial(2)"], bias=False, loss="mse").potential(np.ones((1, 3)), [[1.0]])
    first, second = symmetries(U)[:2]
    assert law(first, GF).formula() == "|w_i|² − |u_i|² = const"
    assert law(second, GF).formula() == "|w_i|² − 2|u_i|² = const"
    assert law(second, GF, summed=True).formula("latex") == r"\|W_2\|_F^2 - 2\|W_3\|_F^2 = \mathrm{const}"
    assert law(second, GF).name == "scaling:2"


def test_tables_hold_every_entry_in_every_format():
    text, latex, markdown = (tables(format) for format in ("text", "latex", "markdown"))
    assert tables() == text
    for number, (out, entry) in itertools.product(range(1, 6), ((text, "Table {}."), (markdown, "**Table {}."))):
        assert entry.format(number) in out
    for name, dynamics in itertools.product(NAMES, (GF, ND, NAGF)):
        entry = law(name, dynamics)
        assert entry.formula("text") in text
        assert entry.formula("latex") in latex
        assert entry.source in text
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 6
    bars = None
    for row in markdown.splitlines():
        if row.startswith("|"):  # bars inside formulas would break the columns
            bars = row.count("|") if bars is None else bars
            assert row.count("|") == bars
        else:
            bars = None
    assert not re.search(r"[\\$]", text)


def test_the_tables_are_grouped_as_the_papers():
    """Table 1 has the Lagrangians; Tables 2 and 3 have every activation, swish too, without biases and with them."""
    first, *scalings, _, _, _ = tables().split("\n\n")
    assert "c = γ + α/t, μ(t) = e^{∫c dt/m} = t^{α/m}e^{γ t/m}" in first
    for heading in ("Lagrangian", "t³(½|ẋ|² − U(x))", "½|ẋ|² − U(x)", "μ((m/2)|ẋ|² − U(x))"):
        assert heading in first
    for number, table, bias in zip((2, 3), scalings, (False, True), strict=True):
        rows = table.splitlines()[3:]
        assert len(rows) == 8  # two kinds of activation, four dynamics
        assert all(("b_i" in row) == bias for row in rows)
        assert all(f"GU Table {number}" in row for row in rows)
        assert sum("β_i" in row.partition("  GF ")[2] for row in rows) == 1
        assert [row.split()[0] for row in rows] == ["degree"] * 4 + ["swish,"] * 4
    U = Network([3, 2, 1], "swish", bias=False, loss="mse").potential(np.ones((1, 3)), [[1.0]])
    assert law(symmetries(U)[0], GF).source.startswith("GU Table 2")


@pytest.mark.uncounted
def test_every_formula_in_the_tables_parses():
    formulas = re.findall(r"\$[^$]+\$", tables("latex"))
    assert len(formulas) > 40
    for formula in formulas:
        parse(formula)


test_bad_input = refusals(
    [
        (lambda: law("scalings", GF), ValueError, r"symmetry='scalings' is not known \(did you mean 'scaling'"),
        (lambda: law("scaling:0", GF), ValueError, "symmetry='scaling:0' is not known"),
        (lambda: law(3, GF), TypeError, "symmetry must be a symmetry or its name, got 3"),
        (lambda: law("time", "GF"), TypeError, "dynamics must be a Dynamics such as nl.NAGF, got 'GF'"),
        (lambda: law("rotation", GF, summed=True), ValueError, "summed=True is for scalings only"),
        (lambda: law("rotation", GF).formula("html"), ValueError, "format='html' is not known"),
        (lambda: tables("html"), ValueError, "format='html' is not known; expected one of 'text', 'latex', 'markdown'"),
    ]
)


def test_tables_2_and_3_are_without_and_with_biases():
    for activation in ("relu", "swish"):
        for bias, table in ((False, "GU Table 2"), (True, "GU Table 3")):
            s = symmetries(Network([2, 3, 2], activation, bias=bias).potential(datasets.gaussian_classes(8, 2, 2)))[0]
            assert law(s, ND).source == table


def test_a_coefficient_of_one_is_not_written():
    assert str(law("scaling:1", Dynamics(1, 1, 0))).startswith("½(d²/dt² + d/dt)(")
    assert str(law("scaling:1", Dynamics(1, 2, 0))).startswith("½(d²/dt² + 2 d/dt)(")
    assert str(law("scaling:1", Dynamics(1, 0, 0))).startswith("½d²/dt²(")
    assert str(law("scaling:1", Dynamics(2.5, 0, 0))).startswith("½(2.5 d²/dt²)(")  # not ½2.5


def test_large_and_small_coefficients_are_written_as_powers_of_ten():
    for name in NAMES:
        for dynamics in (Dynamics(1e-5, 0, 0), Dynamics(2.5, 1e-7, 3e10), Dynamics(0, 2e-6, 0)):
            formula = law(name, dynamics)
            parse(f"${formula.latex}$")
            assert not re.search(r"\de[-−+]", formula.latex + formula.formula())
    factor = "t^{1.2×10¹⁰} e^{4×10⁻⁸t}"
    assert law("rotation", Dynamics(2.5, 1e-7, 3e10)).formula() == f"{factor}(W_1ᵀẆ_1 − Ẇ_1ᵀW_1) = const"
    assert law("time", Dynamics(1e-5, 0, 0)).formula() == "(10⁻⁵/2)|ẋ|² + U = const"
    assert law("rotation", Dynamics(1, 1, 0)).latex.startswith("e^{t}(W")


def test_one_generator_is_written_in_the_singular():
    scalings = (symmetries(Network([2, n, 2], "relu").potential(np.eye(2), [0, 1]))[0] for n in (1, 2))
    assert [repr(s).partition(", ")[2] for s in scalings] == ["1 generator>", "2 generators>"]
