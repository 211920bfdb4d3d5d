"""From the LaTeX of `formulas` to plain text."""

from __future__ import annotations

import re
import unicodedata

_SYMBOLS = {
    r"\alpha": "α", r"\beta ": "β", r"\beta": "β", r"\gamma": "γ", r"\mu ": "μ", r"\mu": "μ", r"\xi": "ξ", r"\eta": "η", r"\lambda": "λ", r"\tau": "τ", r"\nabla ": "∇",
    r"\sum": "Σ", r"\langle ": "⟨", r"\rangle": "⟩", r"\|": "‖", r"^{\top}": "ᵀ", "^2": "²", "^3": "³", "-": "−",
    r"\times": "×", r"\int ": "∫", r"\to ": "→ ", r"\,": " ",
}  # fmt: skip


def plain(latex: str) -> str:
    """Return a formula written with the few commands of `formulas` in Unicode."""
    out = latex.replace(r"\frac{1}{2}", "½")
    out = re.sub(r"\\mathrm\{(\w+)\}", r"\1", out)
    for command, mark in ((r"\\dot", "\u0307"), (r"\\ddot", "\u0308")):
        out = re.sub(command + r"\{(\\?\w+)\}", rf"\1{mark}", out)
    for command, symbol in _SYMBOLS.items():
        out = out.replace(command, symbol)
    out = re.sub(r"\\frac\{(d.?)\}\{(dt.?)\}", r"\1/\2", out)
    out = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: f"({_bracket(m[1])}/{_bracket(m[2])})", out)
    out = re.sub(r"\\sqrt\{(\w)\}", r"√\1", re.sub(r"\^\{(\w)\}", r"^\1", out))
    return unicodedata.normalize("NFC", out.strip())


def _bracket(part: str) -> str:
    return f"({part})" if re.search("[+−]", part) else part


def width(text: str) -> int:
    """Return the number of columns `text` takes; combining dots take none."""
    return sum(not unicodedata.combining(character) for character in text)
