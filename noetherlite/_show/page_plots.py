"""Plots of report pages: inline SVG without a library, with the numbers drawn beside it for the pointer."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._base.types import Float64Array, IntArray

_WIDTH, _HEIGHT = 460.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 10.0, 38.0
_MOST_POINTS = 400  # of a curve
_MARKED = 60  # points up to which each has a mark


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of one curve, and what they are the mean of: from `low` to `high`, where that is given."""

    x: Float64Array
    y: Float64Array
    low: Float64Array | None = None
    high: Float64Array | None = None

    def shown(self, log_x: bool, log_y: bool) -> Curve | None:
        """Return the points that axes can show, not too many; None where there are none. A logarithmic axis has no zero."""
        arrays = [a for a in (self.x, self.y, self.low, self.high) if a is not None]
        there = np.isfinite(arrays).all(axis=0) & ((self.x > 0) | (not log_x))
        there &= np.all([(a > 0) | (not log_y) for a in arrays[1:]], axis=0)
        if not there.any():
            return None
        kept = np.flatnonzero(there)[_thinned(self.y[there])]
        return Curve(*(a[kept] for a in arrays))


@dataclass(frozen=True)
class Axis:
    """A range of numbers along one side of the plot.

    Attributes
    ----------
    low, high : float
        Ends, as logarithms where `logarithmic`.
    start, stop : float
        Their places in the picture.
    logarithmic : bool
        Whether places are those of the logarithms.
    """

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Float64Array, start: float, stop: float, logarithmic: bool) -> Axis:
        """Return the axis that shows all finite values."""
        shown = np.log10(values) if logarithmic else values
        low, high = float(shown.min()), float(shown.max())
        margin = 0.04 * (high - low) or max(0.5, abs(high) * 1e-3)
        return cls(low - margin, high + margin, start, stop, logarithmic)

    def place(self, values: Float64Array) -> Float64Array:
        """Return where values lie in the picture."""
        shown = np.log10(values) if self.logarithmic else values
        return np.asarray(self.start + (shown - self.low) / (self.high - self.low) * (self.stop - self.start))

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and labels: powers of ten, 1, 2 and 5 of them, or equal distances, as the range is wide."""
        span = self.high - self.low
        if self.logarithmic and span > 1.5:
            powers = np.arange(np.floor(self.low), np.ceil(self.high) + 1, max(1, round(span / 5)))
            return [(self._at(p), f"1e{p:.0f}") for p in powers if self.low <= p <= self.high]
        if self.logarithmic and span > 0.7:
            decades = np.arange(np.floor(self.low), np.ceil(self.high) + 1)
            powers = np.sort(np.concatenate([decades + np.log10(f) for f in (1, 2, 5)]))
            return [(self._at(p), f"{10**p:.3g}") for p in powers if self.low <= p <= self.high]
        low, high = (10**self.low, 10**self.high) if self.logarithmic else (self.low, self.high)
        step = 10 ** np.floor(np.log10((high - low) / 4))
        step *= next(f for f in (1, 2, 5, 10) if (high - low) / (f * step) <= 6)
        marks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        return [(self._at(np.log10(m) if self.logarithmic else m), f"{m + 0.0:.6g}") for m in marks]

    def _at(self, shown: float) -> float:
        return self.start + (shown - self.low) / (self.high - self.low) * (self.stop - self.start)


def plot(
    title: str, xlabel: str, ylabel: str, curves: Mapping[str, Curve], *, log_x: bool = False, log_y: bool = False
) -> str:
    """Return a figure with one curve for each label; '' where there is nothing finite to show."""
    found = {label: curve.shown(log_x, log_y) for label, curve in curves.items()}
    kept = {label: curve for label, curve in found.items() if curve is not None}
    if not kept:
        return ""
    heights = [a for c in kept.values() for a in (c.y, c.low, c.high) if a is not None]
    across = Axis.over(np.concatenate([c.x for c in kept.values()]), _LEFT, _WIDTH - _RIGHT, log_x)
    up = Axis.over(np.concatenate(heights), _HEIGHT - _BOTTOM, _TOP, log_y)
    parts = [_frame(across, up, xlabel, ylabel)]
    drawn = []
    for i, (label, c) in enumerate(kept.items()):
        px = across.place(c.x).round(1)
        parts.append(_drawn(i, px, c, up))
        drawn.append({"label": label, "px": px.tolist(), "x": _short(c.x), "y": _short(c.y)})
        if c.low is not None and c.high is not None:
            drawn[-1] |= {"low": _short(c.low), "high": _short(c.high)}
    data = html.escape(json.dumps({"xlabel": xlabel, "curves": drawn}))
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 26 10"><polyline class="s{i % 6}" points="0,5 26,5"/></svg> {html.escape(k)}</span>'
        for i, k in enumerate(kept)
    )
    return (
        f'<figure data-curves="{data}"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg class="plot" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
        f'<div class="keys">{keys}</div><div class="values note" aria-live="polite"></div></figure>'
    )


def _drawn(i: int, px: Float64Array, c: Curve, up: Axis) -> str:
    """Return the i-th curve at places px: a line, marks where points are few, and what they are the mean of."""
    py = up.place(c.y).round(1)
    points = " ".join(f"{a:g},{b:g}" for a, b in zip(px, py, strict=True))
    out = f'<polyline class="s{i % 6}" points="{points}"/>'
    if c.low is not None and c.high is not None:
        ends = zip(px, up.place(c.low).round(1), up.place(c.high).round(1), strict=True)
        out += f'<path class="s{i % 6} spread" d="{" ".join(f"M{x:g} {a:g}V{b:g}" for x, a, b in ends if a != b)}"/>'
    if px.size <= _MARKED:
        out += "".join(f'<circle class="f{i % 6}" cx="{a:g}" cy="{b:g}" r="2.5"/>' for a, b in zip(px, py, strict=True))
    return out


def _frame(across: Axis, up: Axis, xlabel: str, ylabel: str) -> str:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    out = [f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>']
    for place, label in across.ticks():
        out.append(f'<line class="tick" x1="{place:.1f}" x2="{place:.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(f'<text x="{place:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>')
    for place, label in up.ticks():
        out.append(f'<line class="tick" x1="{left}" x2="{right}" y1="{place:.1f}" y2="{place:.1f}"/>')
        out.append(f'<text x="{left - 5}" y="{place + 4:.1f}" text-anchor="end">{label}</text>')
    middle = (left + right) / 2
    out.append(f'<text x="{middle}" y="{bottom + 31}" text-anchor="middle">{html.escape(xlabel)}</text>')
    height = (top + bottom) / 2
    out.append(
        f'<text x="12" y="{height}" text-anchor="middle" transform="rotate(-90 12 {height})">{html.escape(ylabel)}</text>'
    )
    out.append(f'<line class="hair" visibility="hidden" x1="0" x2="0" y1="{top}" y2="{bottom}"/>')
    return "".join(out)


def _thinned(y: Float64Array) -> IntArray:
    """Return the indices of at most `_MOST_POINTS` points, the smallest and the largest of every stretch among them."""
    if y.size <= _MOST_POINTS:
        return np.arange(y.size)
    kept = {0, y.size - 1}
    for stretch in np.array_split(np.arange(y.size), _MOST_POINTS // 2 - 1):
        kept |= {int(stretch[y[stretch].argmin()]), int(stretch[y[stretch].argmax()])}
    return np.array(sorted(kept))


def _short(values: Float64Array) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
