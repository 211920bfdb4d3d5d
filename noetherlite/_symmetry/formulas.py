"""The laws as formulas: what each symmetry says under each dynamics, with where it stands in the paper (GU Tables 1–5).

Formulas are written once, in LaTeX that matplotlib's mathtext understands; `_notation.plain` turns them into plain Unicode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._base import checks
from .._base.notation import plain, width
from .._motion.dynamics import GF, NAGF, ND, Dynamics
from .catalogue import DataRotation, LinearLayer, NeuronScaling, OutputTranslation
from .family import NoetherSymmetry
from .find import Symmetry, Time

NAMES = ("scaling", "swish", "linear", "rotation", "translation:b", "translation:W", "time")
FORMATS = ("text", "latex")


@dataclass(frozen=True)
class Law:
    """What a symmetry says under a dynamics.

    Attributes
    ----------
    name : str
        The symmetry's name, for example "scaling:1".
    dynamics : str
        "GF", "ND", "NAGF" or "general".
    latex : str
        The formula in LaTeX, without dollar signs.
    source : str
        Table and equation numbers in GU, or the section of the theory notes for what GU does not have.
    """

    name: str
    dynamics: str
    latex: str
    source: str

    def formula(self, format: str = "text") -> str:
        """Return the formula as "text" (Unicode) or "latex" (without dollar signs)."""
        return self.latex if checks.one_of(format, "format", FORMATS) == "latex" else plain(self.latex)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.formula('latex')}$"

    def __str__(self) -> str:
        return self.formula()


@dataclass(frozen=True)
class _Motion:
    """The coefficients of a dynamics as they are written."""

    name: str
    mass: str  # "" for 1, "0" for 0
    friction: str  # "" for none
    factor: str  # μ, "" for 1

    @property
    def first_order(self) -> bool:
        return self.mass == "0"

    def conserved(self, charge: str) -> str:
        return rf"{self.factor}{_group(charge, self.factor)} = \mathrm{{const}}"

    def balanced(self, charge: str, source: str) -> str:
        moving = _group(charge, self.factor) if self.factor else charge
        return rf"\frac{{d}}{{dt}}[{self.factor}{moving}] = {self.factor}{_group(source, self.factor)}"


_GENERAL = _Motion("general", "m", "c", r"\mu ")


def law(symmetry: NoetherSymmetry | str, dynamics: Dynamics, summed: bool = False) -> Law:
    r"""Return the law of a symmetry under a dynamics: the entry of the paper's table.

    Parameters
    ----------
    symmetry : NoetherSymmetry or str
        A symmetry, whose degree p, biases and layer then appear in the formula; or its name, "scaling:1", "swish:1",
        "linear:1" (or without the number, for layer h), "rotation", "translation:b", "translation:W", "time".
    dynamics : Dynamics
        `GF`, `ND`, `NAGF`, or any `Dynamics(m, γ, α)`.
    summed : bool
        For scalings: the law summed over the neurons of the layer, instead of neuron i's.

    Returns
    -------
    Law
        Its `formula("text")` and `formula("latex")`, and its `source`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the name is unknown, or `summed` is asked of a symmetry that is no scaling.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.law("linear:1", nl.GF).formula()
    'W_1W_1ᵀ + b_1b_1ᵀ − W_2ᵀW_2 = const'
    >>> nl.law("rotation", nl.NAGF).formula("latex")
    't^3(W_1^{\\top}\\dot{W}_1 - \\dot{W}_1^{\\top}W_1) = \\mathrm{const}'
    """
    if not isinstance(dynamics, Dynamics):
        raise TypeError(f"dynamics must be a Dynamics such as nl.NAGF, got {checks.describe(dynamics)}")
    summed = checks.boolean(summed, "summed")
    kind, h, p, bias = _read(symmetry)
    if summed and kind not in ("scaling", "swish"):
        raise ValueError(f"summed=True is for scalings only, got symmetry={checks.describe(symmetry)}")
    motion = _motion(dynamics)
    if isinstance(symmetry, Symmetry):
        latex, source = _affine(symmetry, motion)
    else:
        latex, source = _entry(kind, h, p, bias, summed, motion)
    if motion.name == "general" and "not in GU" not in source:
        source += "; general dynamics after GU (17)"
    return Law(symmetry if isinstance(symmetry, str) else symmetry.name, motion.name, latex, source)


def tables(format: str = "text") -> str:
    """Return GU's Tables 1 to 5, with rows for the general dynamics and the laws that GU does not have.

    Parameters
    ----------
    format : {"text", "latex", "markdown"}
        Aligned columns, LaTeX `tabular` environments, or Markdown tables with LaTeX between dollar signs.

    Returns
    -------
    str
        The tables, one below the other.
    """
    format = checks.one_of(format, "format", ("text", "latex", "markdown"))
    return "\n\n".join(_layout(title, head, rows, format) for title, head, rows in _all_tables())


# --- the entries ---------------------------------------------------------------------------------------------------


def _entry(kind: str, h: str, p: str, bias: bool, summed: bool, motion: _Motion) -> tuple[str, str]:
    """Return the formula and the source."""
    if kind in ("scaling", "swish"):
        return _scaling(motion, h, p, bias, kind == "swish", summed)
    if kind == "linear":
        return _linear(motion, h, bias)
    if kind == "rotation":
        return _rotation(motion)
    return _time(motion) if kind == "time" else _translation(motion, kind[-1])


def _scaling(motion: _Motion, h: str, p: str, bias: bool, swish: bool, summed: bool) -> tuple[str, str]:
    u = rf"\|{{}}{_W(_next(h))}\|_F^2" if summed else "|{}u_i|^2"
    terms = [("+", rf"\|{{}}{_W(h)}\|_F^2" if summed else "|{}w_i|^2")]
    terms += [("+", f"|{{}}b_{_index(h)}|^2" if summed else "{}b_i^2")] * bias
    terms += [("-" + ("" if p == "1" else p), u)]
    terms += [("-", rf"|{{}}\beta_{_index(h)}|^2" if summed else r"{}\beta_i^2")] * swish
    squares, speeds = _sum(terms, _still), _sum(terms, _dotted)
    source = "GU Table 3" if bias else "GU Table 2"  # both have all activations, swish too
    if motion.first_order:
        return rf"{squares} = \mathrm{{const}}", f"{source}, (31), (36), (37)"
    operator = r"\frac{d^2}{dt^2}"
    if motion.mass:
        operator = rf"{motion.mass}\,{operator}"
    if motion.friction:
        friction = "" if motion.friction == "1" else rf"{motion.friction}\,"
        operator = rf"({operator} + {friction}\frac{{d}}{{dt}})"
    return rf"\frac{{1}}{{2}}{operator}({squares}) = {motion.mass}{_group(speeds, motion.mass)}", source


def _linear(motion: _Motion, h: str, bias: bool) -> tuple[str, str]:
    W, U, b = _W(h), _W(_next(h)), f"b_{_index(h)}"
    dW, dU, db = (_dot(a) for a in (W, U, b))

    def form(left: tuple[str, str, str], right: tuple[str, str, str]) -> str:
        middle = f" + {left[1]}{_T(right[1])}" if bias else ""
        return f"{left[0]}{_T(right[0])}{middle} - {_T(right[2])}{left[2]}"

    still, moving = (W, b, U), (dW, db, dU)
    if motion.first_order:
        return rf"{form(still, still)} = \mathrm{{const}}", "GU Table 4, (42)"
    return motion.balanced(form(moving, still), form(moving, moving)), "GU Table 4, (41), (43)"


def _rotation(motion: _Motion) -> tuple[str, str]:
    W, dW = "W_1", _dot("W_1")
    if motion.first_order:
        return f"{_T(W)}{dW} - {_T(dW)}{W} = 0", "GU Table 5"
    return motion.conserved(f"{_T(W)}{dW} - {_T(dW)}{W}"), "GU Table 5, (47), (48)"


def _translation(motion: _Motion, block: str) -> tuple[str, str]:
    entry = r"\sum_i {}b_{L,i}" if block == "b" else r"\sum_i {}W_{L,ij}"
    source = "theory §4.4, not in GU"
    if motion.first_order:
        return rf"{_still(entry)} = \mathrm{{const}}", source
    return rf"{motion.factor}{_dotted(entry)} = \mathrm{{const}}", source


def _time(motion: _Motion) -> tuple[str, str]:
    half = r"\frac{1}{2}" if not motion.mass else rf"\frac{{{motion.mass}}}{{2}}"
    energy = r"\,U" if motion.first_order else rf"{half}|\dot{{x}}|^2 + U"
    if not motion.friction:
        return rf"{energy} = \mathrm{{const}}", "GU §7"
    friction = "" if motion.friction == "1" else motion.friction
    return rf"\frac{{d}}{{dt}}{_group(energy)} = -{friction}|\dot{{x}}|^2", "GU (35)"


def _affine(s: Symmetry, motion: _Motion) -> tuple[str, str]:
    field = " + ".join(part for part, there in (("Gx", s.G.any()), (r"\xi", s.xi.any())) if there) or "0"
    source = "GU (16), (17)"
    if motion.first_order and s.symmetric:
        parts = ((r"\frac{1}{2}\langle x, Gx\rangle", s.G.any()), (r"\langle \xi, x\rangle", s.xi.any()))
        return (" + ".join(part for part, there in parts if there) or "0") + r" = \mathrm{const}", source
    charge = rf"\langle {field}, \dot{{x}}\rangle"
    if motion.first_order:
        return rf"{charge} = 0", source
    if np.array_equal(s.G, -s.G.T):
        return rf"{motion.factor}{charge} = \mathrm{{const}}", source
    return motion.balanced(charge, r"\langle G\dot{x}, \dot{x}\rangle"), source


# --- reading the arguments -----------------------------------------------------------------------------------------


def _read(symmetry: NoetherSymmetry | str) -> tuple[str, str, str, bool]:
    """Return kind, layer, degree and whether there are biases."""
    if isinstance(symmetry, NeuronScaling):
        swish = symmetry.network.activations[symmetry.h - 1].trainable
        return "swish" if swish else "scaling", str(symmetry.h), f"{symmetry.degree:g}", symmetry.network.bias
    if isinstance(symmetry, LinearLayer):
        return "linear", str(symmetry.h), "1", symmetry.network.bias
    if isinstance(symmetry, DataRotation | OutputTranslation | Time):
        return symmetry.name, "", "", True
    if isinstance(symmetry, Symmetry):
        return "affine", "", "", True
    if not isinstance(symmetry, str):
        raise TypeError(f"symmetry must be a symmetry or its name, got {checks.describe(symmetry)}")
    match = re.fullmatch(r"(scaling|swish|linear):([1-9]\d*)", symmetry)
    kind, h = match.groups() if match else (checks.one_of(symmetry, "symmetry", NAMES), "h")
    return kind, h, "1" if kind == "swish" else "p", True


def _motion(d: Dynamics) -> _Motion:
    if d.mass == 0:
        return _Motion(d.name, "0", f"{d.gamma:g}", "")
    mass = "" if d.mass == 1 else f"{d.mass:g}"
    parts = [f"{d.gamma:g}"] * (d.gamma > 0) + [rf"\frac{{{d.alpha:g}}}{{t}}"] * (d.alpha > 0)
    friction = f"({' + '.join(parts)})" if len(parts) > 1 else "".join(parts)
    power, rate = d.alpha / d.mass, d.gamma / d.mass
    factor = (
        "" if power == 0 else "t" if power == 1 else f"t^{{{power:g}}}" if power >= 10 or power % 1 else f"t^{power:g}"
    )
    if rate > 0:
        factor += r"\,e^{t}" if rate == 1 else rf"\,e^{{{rate:g}t}}"
    return _Motion(d.name, mass, friction, factor)


# --- writing -------------------------------------------------------------------------------------------------------


def _index(h: str) -> str:
    return h if len(h) == 1 else f"{{{h}}}"


def _next(h: str) -> str:
    return str(int(h) + 1) if h.isdigit() else f"{h}+1"


def _W(h: str) -> str:
    return f"W_{_index(h)}"


def _T(matrix: str) -> str:
    return rf"{matrix}^{{\top}}"


def _dot(symbol: str) -> str:
    letter, index = symbol.split("_", 1)
    return rf"\dot{{{letter}}}_{index}"


def _still(template: str) -> str:
    return template.replace("{}", "")


def _dotted(template: str) -> str:
    return re.sub(r"\{\}(\\beta|\w)", lambda m: rf"\dot{{{m[1]}}}", template)


def _sum(terms: list[tuple[str, str]], write: Callable[[str], str]) -> str:
    out = ""
    for sign, template in terms:
        out += f" {sign[0]} {sign[1:]}{write(template)}"
    return out.removeprefix(" + ")


def _group(expression: str, factor: str = "(") -> str:
    """Return the expression in parentheses if a factor stands before it and it is a sum."""
    return f"({expression})" if factor and re.search(r" [+-] ", expression) else expression


# --- the tables ----------------------------------------------------------------------------------------------------

_ALGORITHMS = {
    "GF": r"GD: $x_{k+1} = x_k - \eta\nabla U(x_k)$, $t = k\eta$",
    "ND": r"leapfrog: $x_{k+1} - 2x_k + x_{k-1} = -h^2\nabla U(x_k)$, $t = kh$",
    "NAGF": r"NAGD: $x_k = y_{k-1} - s\nabla U(y_{k-1})$, $y_k = x_k + \frac{k-1}{k+2}(x_k - x_{k-1})$, $t = k\sqrt{s}$",
    "general": r"conformal leapfrog, $h = \sqrt{s}$",
}
_EQUATIONS = {
    "GF": r"$\dot{x} + \nabla U(x) = 0$",
    "ND": r"$\ddot{x} + \nabla U(x) = 0$",
    "NAGF": r"$\ddot{x} + \frac{3}{t}\dot{x} + \nabla U(x) = 0$",
    "general": r"$m\ddot{x} + c\dot{x} + \nabla U(x) = 0$",
}
_LAGRANGIANS = {
    "GF": r"$e^{t/m}(\frac{m}{2}|\dot{x}|^2 - U(x))$, $m \to 0$",
    "ND": r"$\frac{1}{2}|\dot{x}|^2 - U(x)$",
    "NAGF": r"$t^3(\frac{1}{2}|\dot{x}|^2 - U(x))$",
    "general": r"$\mu (\frac{m}{2}|\dot{x}|^2 - U(x))$",
}
_NUMBERS = {"GF": "GU (27)", "ND": "GU (25)", "NAGF": "GU (26), (20)", "general": "GU (22), (23)"}
_CROSS = {"GF": "", "ND": r"$w\times\dot{w} = \mathrm{const}$", "NAGF": r"$t^3w\times\dot{w} = \mathrm{const}$"}

_Table = tuple[str, list[str], list[list[str]]]


def _all_tables() -> list[_Table]:
    """Return title, head and rows; formulas stand between dollar signs."""
    motions = [*(_motion(d) for d in (GF, ND, NAGF)), _GENERAL]

    def rows(kind: str, *sums: bool, bias: bool = True) -> list[list[str]]:
        out = []
        for motion in motions:
            entries = [_entry(kind, "h", "1" if kind == "swish" else "p", bias, s, motion) for s in sums]
            out.append([motion.name, *(f"${latex}$" for latex, _ in entries), entries[0][1]])
        return out

    def scalings(bias: bool) -> list[list[str]]:
        kinds = {"scaling": "degree $p$", "swish": r"swish, $\beta_i$ trained"}
        return [[label, *row] for kind, label in kinds.items() for row in rows(kind, False, True, bias=bias)]

    rotations = [
        [*row[:2], _CROSS.get(row[0], r"$\mu w\times\dot{w} = \mathrm{const}$"), row[2]]
        for row in rows("rotation", False)
    ]
    further = [[name, *row] for name in NAMES[-3:] for row in rows(name, False)]
    neuron = ["activation", "dynamics", "neuron i", "layer h", "source"]
    return [
        (
            r"Table 1. Dynamics and algorithms; $c = \gamma + \alpha/t$, "
            r"$\mu(t) = e^{\int c\,dt/m} = t^{\alpha/m}e^{\gamma t/m}$",
            ["dynamics", "equation", "Lagrangian", "algorithm", "source"],
            [
                [m.name, *(column[m.name] for column in (_EQUATIONS, _LAGRANGIANS, _ALGORITHMS, _NUMBERS))]
                for m in motions
            ],
        ),
        ("Table 2. Scaling of neurons, homogeneous activations, without biases", neuron, scalings(False)),
        ("Table 3. Scaling of neurons, homogeneous activations, with biases", neuron, scalings(True)),
        ("Table 4. Linear activation in layer h", ["dynamics", "law", "source"], rows("linear", False)),
        ("Table 5. Rotation-invariant data", ["dynamics", "law", "one row w of 3 inputs, (46)", "source"], rotations),
        ("Further laws: softmax outputs, energy", ["symmetry", "dynamics", "law", "source"], further),
    ]


def _layout(title: str, head: list[str], rows: list[list[str]], format: str) -> str:
    if format == "text":
        [title], *cells = [[_unicode(cell) for cell in row] for row in ([title], head, *rows)]
        widths = [max(width(row[j]) for row in cells) for j in range(len(head))]
        lines = ["  ".join(c + " " * (w - width(c)) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]
        return "\n".join([title, lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
    if format == "markdown":
        cells = [
            head,
            ["---"] * len(head),
            *([c.replace(r"\|", r"\Vert ").replace("|", r"\vert ") for c in row] for row in rows),
        ]
        return "\n".join([f"**{title}**", "", *("| " + " | ".join(row) + " |" for row in cells)])
    body = [" & ".join(row) + r" \\" for row in (head, *rows)]
    begin = [rf"\begin{{tabular}}{{{'l' * len(head)}}}", r"\hline", body[0], r"\hline"]
    return "\n".join([f"% {title}", *begin, *body[1:], r"\hline", r"\end{tabular}"])


def _unicode(cell: str) -> str:
    """Return a cell with its formulas, which stand between dollar signs, in Unicode."""
    return re.sub(r"\$([^$]*)\$", lambda m: plain(m[1]), cell)
