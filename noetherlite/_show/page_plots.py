"""Plots of report pages: inline SVG without a library, with the plotted values as data for the script."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._base.types import Float64Array, IntArray

_WIDTH, _HEIGHT = 460.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 10.0, 38.0
_MOST_POINTS = 400  # of a curve
_MARKED = 60  # points up to which each has a mark
_LARGEST = 1e300  # of a number that is drawn: ranges of larger ones may be none


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of one curve and, for means, the range from `low` to `high` of the values."""

    x: Float64Array
    y: Float64Array
    low: Float64Array | None = None
    high: Float64Array | None = None

    def shown(self, log_x: bool, log_y: bool) -> Curve | None:
        """Return the points that the axes can show, thinned to `_MOST_POINTS`; None if there are none."""
        arrays = [a for a in (self.x, self.y, self.low, self.high) if a is not None]
        drawable = (np.abs(arrays) < _LARGEST).all(axis=0) & ((self.x > 0) | (not log_x))
        drawable &= np.all([(a > 0) | (not log_y) for a in arrays[1:]], axis=0)
        if not drawable.any():
            return None
        points = np.flatnonzero(drawable)[_thinned(self.y[drawable])]
        return Curve(*(a[points] for a in arrays))


@dataclass(frozen=True)
class Axis:
    """A range of numbers along one side of the plot."""

    # low, high: ends, as logarithms where `logarithmic`
    low: float
    high: float
    # start, stop: positions of the ends in the picture
    start: float
    stop: float
    logarithmic: bool  # whether the axis is logarithmic

    @classmethod
    def over(cls, values: Float64Array, start: float, stop: float, logarithmic: bool) -> Axis:
        """Return the axis that shows all finite values."""
        shown = np.log10(values) if logarithmic else values
        low, high = float(shown.min()), float(shown.max())
        margin = 0.04 * (high - low) or max(0.5, abs(high) * 1e-3)
        return cls(low - margin, high + margin, start, stop, logarithmic)

    def place(self, values: Float64Array) -> Float64Array:
        """Return the positions of values in the picture."""
        return np.asarray(self._at(np.log10(values) if self.logarithmic else values))

    def ticks(self) -> list[tuple[float, str]]:
        """Return positions and labels: powers of ten, their multiples by 1, 2 and 5, or equal steps, depending on the range."""
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

    def _at(self, shown: Any) -> Any:
        return self.start + (shown - self.low) / (self.high - self.low) * (self.stop - self.start)


def plot(
    title: str, xlabel: str, ylabel: str, curves: Mapping[str, Curve], *, log_x: bool = False, log_y: bool = False
) -> str:
    """Return a figure with one curve for each label; '' where there is nothing finite to show."""
    shown_curves = {label: curve.shown(log_x, log_y) for label, curve in curves.items()}
    visible = {label: curve for label, curve in shown_curves.items() if curve is not None}
    if not visible:
        return ""
    heights = [a for c in visible.values() for a in (c.y, c.low, c.high) if a is not None]
    x_axis = Axis.over(np.concatenate([c.x for c in visible.values()]), _LEFT, _WIDTH - _RIGHT, log_x)
    y_axis = Axis.over(np.concatenate(heights), _HEIGHT - _BOTTOM, _TOP, log_y)
    parts = [_frame_svg(x_axis, y_axis, xlabel, ylabel)]
    drawn = []
    for i, (label, c) in enumerate(visible.items()):
        px = x_axis.place(c.x).round(1)
        parts.append(_curve_svg(i, px, c, y_axis))
        drawn.append({"label": label, "px": px.tolist(), "x": _rounded(c.x), "y": _rounded(c.y)})
        if c.low is not None and c.high is not None:
            drawn[-1] |= {"low": _rounded(c.low), "high": _rounded(c.high)}
    data = html.escape(json.dumps({"xlabel": xlabel, "curves": drawn}))
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 26 10"><polyline class="s{i % 6}" points="0,5 26,5"/></svg> {html.escape(k)}</span>'
        for i, k in enumerate(visible)
    )
    return (
        f'<figure data-curves="{data}"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg class="plot" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
        f'<div class="keys">{keys}</div><div class="values note" aria-live="polite"></div></figure>'
    )


def _curve_svg(i: int, px: Float64Array, c: Curve, y_axis: Axis) -> str:
    """Return the SVG of the i-th curve at positions px: a line, marks if points are few, and ranges of means."""
    py = y_axis.place(c.y).round(1)
    points = " ".join(f"{a:g},{b:g}" for a, b in zip(px, py, strict=True))
    svg = f'<polyline class="s{i % 6}" points="{points}"/>'
    if c.low is not None and c.high is not None:
        ends = zip(px, y_axis.place(c.low).round(1), y_axis.place(c.high).round(1), strict=True)
        svg += f'<path class="s{i % 6} spread" d="{" ".join(f"M{x:g} {a:g}V{b:g}" for x, a, b in ends if a != b)}"/>'
    if px.size <= _MARKED:
        svg += "".join(f'<circle class="f{i % 6}" cx="{a:g}" cy="{b:g}" r="2.5"/>' for a, b in zip(px, py, strict=True))
    return svg


def _frame_svg(x_axis: Axis, y_axis: Axis, xlabel: str, ylabel: str) -> str:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    parts = [f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>']
    for place, label in x_axis.ticks():
        parts.append(f'<line class="tick" x1="{place:.1f}" x2="{place:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text x="{place:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>')
    for place, label in y_axis.ticks():
        parts.append(f'<line class="tick" x1="{left}" x2="{right}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{left - 5}" y="{place + 4:.1f}" text-anchor="end">{label}</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 31}" text-anchor="middle">{html.escape(xlabel)}</text>')
    height = (top + bottom) / 2
    parts.append(
        f'<text x="12" y="{height}" text-anchor="middle" transform="rotate(-90 12 {height})">{html.escape(ylabel)}</text>'
    )
    parts.append(f'<line class="hair" visibility="hidden" x1="0" x2="0" y1="{top}" y2="{bottom}"/>')
    return "".join(parts)


def _thinned(y: Float64Array) -> IntArray:
    """Return the indices of at most `_MOST_POINTS` points, the smallest and the largest of every stretch among them."""
    if y.size <= _MOST_POINTS:
        return np.arange(y.size)
    indices = {0, y.size - 1}
    for stretch in np.array_split(np.arange(y.size), _MOST_POINTS // 2 - 1):
        indices |= {int(stretch[y[stretch].argmin()]), int(stretch[y[stretch].argmax()])}
    return np.array(sorted(indices))


def _rounded(values: Float64Array) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
