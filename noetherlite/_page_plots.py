"""Plots of report pages: inline SVG without a library, with the numbers drawn beside it for the pointer."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ._types import Float64Array

_WIDTH, _HEIGHT = 460.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 10.0, 38.0
_MOST_POINTS = 400  # of a curve


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
        """Return places and labels."""
        span = self.high - self.low
        if self.logarithmic:
            step = max(1, round(span / 5))
            decades = np.arange(np.floor(self.low), np.ceil(self.high) + 1, step)
            powers = decades if span > 1.5 else np.concatenate([decades + np.log10(f) for f in (1, 2, 5)])
            inside = powers[(powers >= self.low) & (powers <= self.high)]
            return [(self._at(p), f"1e{p:.0f}" if span > 1.5 else f"{10**p:.3g}") for p in inside]
        step = 10 ** np.floor(np.log10(span / 4))
        step *= next(f for f in (1, 2, 5, 10) if span / (f * step) <= 6)
        marks = np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1) * step
        return [(self._at(m), f"{m + 0.0:.6g}") for m in marks]

    def _at(self, shown: float) -> float:
        return self.start + (shown - self.low) / (self.high - self.low) * (self.stop - self.start)


def plot(
    title: str, xlabel: str, ylabel: str, curves: Mapping[str, tuple[Float64Array, Float64Array]], logarithmic: bool
) -> str:
    """Return a figure with one curve (x, y) for each label; '' where there is nothing finite to show.

    A logarithmic axis has no zero: zeros are left out.
    """
    kept = {}
    for label, (x, y) in curves.items():
        there = np.isfinite(x) & np.isfinite(y) & ((y > 0) | (not logarithmic))
        if there.any():
            kept[label] = _thinned(x[there], y[there])
    if not kept:
        return ""
    across = Axis.over(np.concatenate([x for x, _ in kept.values()]), _LEFT, _WIDTH - _RIGHT, False)
    up = Axis.over(np.concatenate([y for _, y in kept.values()]), _HEIGHT - _BOTTOM, _TOP, logarithmic)
    parts = [_frame(across, up, xlabel, ylabel)]
    drawn = []
    for i, (label, (x, y)) in enumerate(kept.items()):
        px, py = across.place(x).round(1), up.place(y).round(1)
        points = " ".join(f"{a:g},{b:g}" for a, b in zip(px, py, strict=True))
        parts.append(f'<polyline class="s{i % 6}" points="{points}"/>')
        drawn.append({"label": label, "px": px.tolist(), "x": _short(x), "y": _short(y)})
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


def _thinned(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return at most `_MOST_POINTS` points, the smallest and the largest of every stretch among them."""
    if x.size <= _MOST_POINTS:
        return x, y
    kept = {0, x.size - 1}
    for stretch in np.array_split(np.arange(x.size), _MOST_POINTS // 2 - 1):
        kept |= {int(stretch[y[stretch].argmin()]), int(stretch[y[stretch].argmax()])}
    index = sorted(kept)
    return x[index], y[index]


def _short(values: Float64Array) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
