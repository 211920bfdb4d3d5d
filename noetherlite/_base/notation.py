"""Conversion of the LaTeX of `formulas` to Unicode text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Sequence

_SYMBOLS = {
    r"\alpha": "α", r"\beta ": "β", r"\beta": "β", r"\gamma": "γ", r"\mu ": "μ", r"\mu": "μ", r"\xi": "ξ", r"\eta": "η", r"\lambda": "λ", r"\tau": "τ", r"\sigma": "σ", r"\rho ": "ρ", r"\rho": "ρ", r"\Delta": "Δ", r"\nabla ": "∇",
    r"\sum": "Σ", r"\langle ": "⟨", r"\rangle": "⟩", r"\|": "‖", r"^{\top}": "ᵀ", "^2": "²", "^3": "³", "-": "−",
    r"\times": "×", r"\int ": "∫", r"\to ": "→ ", r"\,": " ",
}  # fmt: skip
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(latex: str) -> str:
    """Return a LaTeX formula as Unicode text; only the commands that `formulas` uses are converted."""
    text = latex.replace(r"\frac{1}{2}", "½")
    text = re.sub(r"10\^\{(-?\d+)\}", lambda m: "10" + m[1].translate(_RAISED), text)
    text = re.sub(r"\\mathrm\{(\w+)\}", r"\1", text)
    for command, mark in ((r"\\dot", "\u0307"), (r"\\ddot", "\u0308")):
        text = re.sub(command + r"\{(\\?\w+)\}", rf"\1{mark}", text)
    for command, symbol in _SYMBOLS.items():
        text = text.replace(command, symbol)
    text = re.sub(r"\\frac\{(d.?)\}\{(dt.?)\}", r"\1/\2", text)
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: f"({_parenthesised(m[1])}/{_parenthesised(m[2])})", text)
    text = re.sub(r"\\sqrt\{(\w)\}", r"√\1", re.sub(r"\^\{(\w)\}", r"^\1", text))
    return unicodedata.normalize("NFC", text.strip())


def _parenthesised(part: str) -> str:
    return f"({part})" if re.search("[+−]", part) else part


def width(text: str) -> int:
    """Return the number of columns of `text`; combining characters take none."""
    return sum(not unicodedata.combining(character) for character in text)


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Return the rows of a table as lines: columns two spaces apart, as wide as their widest cell; those in `right` are right-aligned."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]

    def padded(j: int, cell: str) -> str:
        blank = " " * (widths[j] - width(cell))
        return blank + cell if j in right else cell + blank

    return ["  ".join(map(padded, range(len(row)), row)).rstrip() for row in rows]
