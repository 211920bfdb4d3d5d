"""The figure of a width study: how training approaches that of the linearised network (theory §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks
from .._base.axes import COLOURS
from .._theory.ntk_widths import WidthStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (field, panel's title, its axis). The distance of K(0) from K_∞ belongs to no dynamics and is drawn with the last one.
_PANELS = (
    ("movement", "(a) movement of the parameters", r"$|x(t)-x(0)|$"),
    ("drift", "(b) drift of the kernel", r"$|K(t)-K(0)|\;/\;|K(0)|$"),
    ("gap", "(c) distance from the linearised network", r"$|f-f_{\mathrm{lin}}|\;/\;|u(0)|$"),
    ("limit_gap", "(d) distance from infinite width", r"$|f-f_\infty|\;/\;|u(0)|$;  $|K(0)-K_\infty|\;/\;|K_\infty|$"),
)
_MARKERS = ("o", "s", "^", "D")


def ntk_widths(study: WidthStudy) -> tuple[Figure, dict[str, Any]]:
    """Draw the distance of training from that of the linearised network against the width, under GF, ND and NAGF.

    Parameters
    ----------
    study : WidthStudy
        From `ntk.width_study`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Four panels against width: movement of the parameters, drift of the tangent kernel, distance of the network's
        outputs from those of its linearisation, and distances from infinite width; each with fitted exponents.
    numbers : dict
        "settings", "widths", the arrays shown ("movement", "drift", "gap", "limit_gap", "distance"), and under
        "exponents" the pair (exponent, standard error) of every curve.
    """
    from matplotlib.figure import Figure

    checks.instance(study, "study", WidthStudy, "what nl.ntk.width_study returns")
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    numbers: dict[str, Any] = {"settings": study.settings, "widths": study.widths, "exponents": {}}
    for ax, (field, title, label) in zip(figure.subplots(2, 2, sharex=True).flat, _PANELS, strict=True):
        curves = dict(zip(study.dynamics, getattr(study, field), strict=True))
        if field == "limit_gap":
            curves["K(0)"] = study.distance
        numbers["exponents"][field] = {
            name: _draw_curve(ax, study, name, values, i) for i, (name, values) in enumerate(curves.items())
        }
        numbers[field] = getattr(study, field)
        highest = max(float(values[..., 0, :].mean()) for values in curves.values())
        guide = 2.5 * highest * (study.widths / study.widths[0]) ** -0.5
        ax.plot(study.widths, guide, color="0.5", linestyle=":", label=r"$\propto n^p$, $p=-1/2$", zorder=0)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_ylim(bottom=ax.get_ylim()[0] / 6)  # room for the legend below the curves
        ax.set_title(title, fontsize=10)
        ax.set_ylabel(label)
        ax.legend(frameon=False, fontsize=8, loc="lower left", ncols=2, columnspacing=0.8, handlelength=1.6)
    for ax in figure.axes[2:]:
        ax.set_xlabel("width $n$ of the hidden layers")
        ax.set_xticks(study.widths, [str(n) for n in study.widths])
    numbers["distance"] = study.distance
    network = study.settings["network"]
    shape = "–".join(["n" if 0 < h < len(network["widths"]) - 1 else str(n) for h, n in enumerate(network["widths"])])
    figure.suptitle(
        f"{shape}, {network['activation'][0]}; {study.settings['n_samples']} samples of {study.settings['dataset']}; "
        f"{study.settings['steps']} steps at learning rate {study.settings['lr']:g}/λ; "
        f"geometric mean of {study.settings['n_seeds']} seeds ± its standard error",
        fontsize=9,
    )
    return figure, numbers


def _draw_curve(ax: Any, study: WidthStudy, name: str, values: Any, i: int) -> tuple[float, float]:
    """Draw the geometric mean over seeds with its standard error; return the exponent and its error."""
    p, error = (float(a) for a in study.exponent(values))
    logs = np.log(values)
    mean, spread = np.exp(logs.mean(axis=-1)), logs.std(axis=-1, ddof=1) / np.sqrt(logs.shape[-1])
    ends = mean * np.exp([-spread, spread])
    style = {"color": (*COLOURS[:3], COLOURS[6])[i], "marker": _MARKERS[i], "markersize": 4, "capsize": 2}
    ax.errorbar(study.widths, mean, np.abs(ends - mean), label=f"{name}: $p = {p:.2f}\\pm{error:.2f}$", **style)
    return p, error
