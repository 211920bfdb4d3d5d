"""LaTeX of the terms of laws, in the subset that matplotlib's mathtext supports."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .._motion.dynamics import Dynamics

Formula = tuple[str, str]  # a law in LaTeX, and its place in the paper


@dataclass(frozen=True)
class DynamicsNotation:
    """The coefficients of a dynamics as LaTeX."""

    name: str  # the paper's name of the dynamics
    mass: str  # m, "" for 1 and "0" for 0
    friction: str  # c(t), "" for none
    factor: str  # μ(t), "" for 1

    @property
    def first_order(self) -> bool:
        """Whether m = 0."""
        return self.mass == "0"

    def conserved(self, charge: str) -> str:
        """Return the equation that μ times a charge is constant."""
        return rf"{self.factor}{group(charge, self.factor)} = \mathrm{{const}}"

    def balanced(self, charge: str, source: str) -> str:
        """Return the equation that μ times a charge changes at the rate μ times a source."""
        moving = group(charge, self.factor) if self.factor else charge
        return rf"\frac{{d}}{{dt}}[{self.factor}{moving}] = {self.factor}{group(source, self.factor)}"


# (motion, layer, whether there are biases, whether it is the law of the whole layer) ↦ formula
Entry = Callable[[DynamicsNotation, str, bool, bool], Formula]
GENERAL = DynamicsNotation("general", "m", "c", r"\mu ")


def written(d: Dynamics) -> DynamicsNotation:
    """Return the coefficients of a dynamics as LaTeX."""
    if d.mass == 0:
        return DynamicsNotation(d.name, "0", number(d.gamma), "")
    mass = "" if d.mass == 1 else number(d.mass)
    parts = [number(d.gamma)] * (d.gamma > 0) + [rf"\frac{{{number(d.alpha)}}}{{t}}"] * (d.alpha > 0)
    friction = f"({' + '.join(parts)})" if len(parts) > 1 else "".join(parts)
    power, rate = d.alpha / d.mass, d.gamma / d.mass
    factors = [] if power == 0 else ["t"] if power == 1 else [f"t^{braced(number(power))}"]
    if rate > 0:
        factors += ["e^{t}" if rate == 1 else f"e^{{{number(rate)}t}}"]
    return DynamicsNotation(d.name, mass, friction, r"\,".join(factors))


def number(value: float) -> str:
    r"""Return a number: 2.5, 10^{-5}, 2.5\times10^{-5}."""
    digits, _, exponent = f"{value:g}".partition("e")
    if not exponent:
        return digits
    return (rf"{digits}\times" if digits != "1" else "") + f"10^{{{int(exponent)}}}"


def braced(text: str) -> str:
    """Return an index or an exponent, in braces if it is longer than a letter."""
    return text if len(text) == 1 else f"{{{text}}}"


def following(h: str) -> str:
    """Return the number of the next layer."""
    return str(int(h) + 1) if h.isdigit() else f"{h}+1"


def weights(h: str) -> str:
    """Return the weights of a layer."""
    return f"W_{braced(h)}"


def transposed(matrix: str) -> str:
    """Return the transpose of a matrix."""
    return rf"{matrix}^{{\top}}"


def dot(symbol: str) -> str:
    """Return the time derivative of an array with an index."""
    letter, index = symbol.split("_", 1)
    return rf"\dot{{{letter}}}_{index}"


def still(template: str) -> str:
    """Return a template "{}x_i" without dots: x_i."""
    return template.replace("{}", "")


def dotted(template: str) -> str:
    """Return a template "{}x_i" with dots: its time derivative."""
    return re.sub(r"\{\}(\\beta|\w)", lambda m: rf"\dot{{{m[1]}}}", template)


def summed(terms: list[tuple[str, str]], write: Callable[[str], str]) -> str:
    """Return a sum of terms (sign with coefficient, template), each written by `write`."""
    out = ""
    for sign, template in terms:
        out += f" {sign[0]} {sign[1:]}{write(template)}"
    return out.removeprefix(" + ")


def group(expression: str, factor: str = "(") -> str:
    """Return the expression, in parentheses if it is a sum that follows a factor."""
    return f"({expression})" if factor and re.search(r" [+-] ", expression) else expression
