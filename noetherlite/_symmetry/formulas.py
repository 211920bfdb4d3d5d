"""The laws as formulas: one per symmetry and dynamics, with its place in the paper (GU Tables 1–5).

Formulas are written once, in LaTeX, by the symmetries themselves; `notation.plain` turns them into plain Unicode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from .._base import checks
from .._base.notation import aligned, plain, width
from .._motion.dynamics import GF, NAGF, ND, Dynamics
from .catalogue import FAMILIES
from .family import Family, NoetherSymmetry
from .hidden import Hidden
from .time_translation import Time
from .written import GENERAL, written

_KINDS: list[type[NoetherSymmetry]] = [*FAMILIES.values(), Time]
_NAMED = {name: entry for kind in _KINDS for name, entry in kind.entries().items()}
_OF_LAYERS = [name for kind in FAMILIES.values() if issubclass(kind, Hidden) for name in kind.entries()]
_SUMMABLE = [name for kind in FAMILIES.values() if kind.summable for name in kind.entries()]
NAMES = tuple(_NAMED)
FORMATS = ("text", "latex")


@dataclass(frozen=True)
class Law:
    """The law of a symmetry under a dynamics, as a formula.

    Attributes
    ----------
    name : str
        The symmetry's name, for example "scaling:1".
    dynamics : str
        "GF", "ND", "NAGF" or "general".
    latex : str
        The formula in LaTeX, without dollar signs.
    source : str
        Table and equation numbers in GU, or the section of the theory notes for laws that GU does not have.
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
        For scalings: the law summed over the neurons of the layer, instead of that of neuron i.

    Returns
    -------
    Law
        Its `formula("text")` and `formula("latex")`, and its `source`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the name is unknown, or `summed` is set for a symmetry that is no scaling.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.law("linear:1", nl.GF).formula()
    'W_1W_1ᵀ + b_1b_1ᵀ − W_2ᵀW_2 = const'
    >>> nl.law("rotation", nl.NAGF).formula("latex")
    't^3(W_1^{\\top}\\dot{W}_1 - \\dot{W}_1^{\\top}W_1) = \\mathrm{const}'
    """
    checks.instance(dynamics, "dynamics", Dynamics, "a Dynamics such as nl.NAGF")
    summed = checks.boolean(summed, "summed")
    motion = written(dynamics)
    if isinstance(symmetry, NoetherSymmetry):
        name, summable = symmetry.name, isinstance(symmetry, Family) and symmetry.summable
        entry = partial(symmetry.formula, motion, summed)
    else:
        kind, h = _named(symmetry)
        name, summable = symmetry, kind in _SUMMABLE
        entry = partial(_NAMED[kind], motion, h, True, summed)
    if summed and not summable:
        raise ValueError(f"summed=True is for scalings only, got symmetry={checks.describe(symmetry)}")
    latex, source = entry()
    if motion.name == "general" and "not in GU" not in source:
        source += "; general dynamics after GU (17)"
    return Law(name, motion.name, latex, source)


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


def _named(name: object) -> tuple[str, str]:
    """Return the kind and the layer of a symmetry's name."""
    if not isinstance(name, str):
        raise TypeError(f"symmetry must be a symmetry or its name, got {checks.describe(name)}")
    match = re.fullmatch(rf"({'|'.join(_OF_LAYERS)}):([1-9]\d*)", name)
    return (match[1], match[2]) if match else (checks.one_of(name, "symmetry", NAMES), "h")


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
    """Return title, head and rows of each table; formulas are between dollar signs."""
    motions = [*(written(d) for d in (GF, ND, NAGF)), GENERAL]

    def rows(kind: str, *sums: bool, bias: bool = True) -> list[list[str]]:
        out = []
        for motion in motions:
            entries = [_NAMED[kind](motion, "h", bias, s) for s in sums]
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
        rule = ["-" * max(map(width, column)) for column in zip(*cells, strict=True)]
        return "\n".join([title, *aligned([cells[0], rule, *cells[1:]])])
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
    """Return a cell with the formulas between dollar signs converted to Unicode."""
    return re.sub(r"\$([^$]*)\$", lambda m: plain(m[1]), cell)
