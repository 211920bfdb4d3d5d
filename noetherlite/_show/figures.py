"""The figures of Głuch & Urbanke (2021), redrawn: each function returns (matplotlib Figure, dict of the numbers in it)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._base import checks
from .._base.files import replacing, write_text
from .._base.types import Seed
from .figures_radial import figure5, figure6, orbit_figure
from .figures_training import training_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure1(
    *, n_samples: int = 512, steps: int = 1000, lr: float = 0.02, rng: Seed = 0, progress: bool = False
) -> tuple[Figure, dict[str, Any]]:
    """GU's Figure 1: a ReLU network 784–128–64–10 trained by gradient descent, leapfrog and NAGD up to the same time.

    Left axes: how far the layers' squared norms have moved since the start; under gradient flow all by the same. Right axes,
    on their own scale: the defect of GU's law (Table 3) between W_1 and W_2 for that dynamics, which stays near zero.

    Parameters
    ----------
    n_samples : int
        Training images: Kuzushiji-MNIST where it is found (train split, else test split), else `datasets.glyphs`.
    steps : int
        Steps of gradient descent, up to t = steps·lr; the other two take round(steps·√lr), which reach the same time.
    lr : float
        Learning rate of all three.
    rng : int, SeedSequence or Generator
        Seeds the choice of images and the initial parameters.
    progress : bool
        Show a progress bar per algorithm.

    Returns
    -------
    figure : matplotlib.figure.Figure
    numbers : dict
        "dataset", "n_samples", "network", "lr", "steps", "time", and for each algorithm under "runs" its "steps", the arrays "t", "loss",
        "squared_norms" |W_h|² + |b_h|² (R, 3) and "law" (R,), how far |W_h|² + |b_h|² moved in units of |W_{h+1}|²
        ("speed_ratios", shape (2,), p under gradient flow), and the largest "discrete_residual", which is round-off.
    """
    return training_figure("relu", n_samples=n_samples, steps=steps, lr=lr, rng=rng, progress=progress)


def figure2(
    *, n_samples: int = 512, steps: int = 2000, lr: float = 0.001, rng: Seed = 0, progress: bool = False
) -> tuple[Figure, dict[str, Any]]:
    """GU's Figure 2: as Figure 1 with activations of degree 2, polynomial(2) in layer 1 and repu(2) in layer 2.

    Under gradient flow a layer moves twice as fast as the next (GU §4.2). Parameters and returns are those of `figure1`; the
    law is |W_1|² + |b_1|² − 2|W_2|².
    """
    return training_figure(
        ["polynomial(2)", "repu(2)"], n_samples=n_samples, steps=steps, lr=lr, rng=rng, progress=progress
    )


def figure3() -> tuple[Figure, dict[str, Any]]:
    """GU's Figure 3: Newtonian dynamics in the potential (|w|² − 1)²/10 + 2/25 stays in the plane perpendicular to M = w × ẇ.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The orbit from its start S, from two angles and in its plane, the unit sphere of minima, and the way of gradient flow
        from S: a segment of the ray through S, as there M = 0.
    numbers : dict
        The start, "t0" and under "runs" for "ND" and "GF" the arrays "t", "w", "loss" and "angular_momentum", and the
        "largest difference from the neuron": the same run for one neuron with activation z² on the twelve icosahedron
        vertices, whose loss is this potential; "largest distance from the plane", and "largest distance of gradient flow from
        its segment".
    """
    return orbit_figure("ND", "Newtonian dynamics (ND)")


def figure4() -> tuple[Figure, dict[str, Any]]:
    """GU's Figure 4: Nesterov's flow in the same potential, from the same start at a small positive t; returns as `figure3`."""
    return orbit_figure("NAGF", "Nesterov's accelerated gradient flow (NAGF)")


FIGURES: dict[int, Callable[..., tuple[Figure, dict[str, Any]]]] = {
    1: figure1,
    2: figure2,
    3: figure3,
    4: figure4,
    5: figure5,
    6: figure6,
}


def save(number: int, folder: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    """Draw a figure and write figure<N>.png, .pdf and .json (its numbers) into `folder`; return the numbers.

    Parameters
    ----------
    number : int
        1 to 6.
    folder : path-like
        Created if it does not exist. Every file appears complete or not at all.
    **options
        Passed to the figure's function.

    Raises
    ------
    ValueError
        If there is no such figure.
    OSError
        If the folder cannot be written.
    """
    number = checks.integer(number, "number", minimum=1, maximum=len(FIGURES))
    target = checks.path(folder, "folder")
    target.mkdir(parents=True, exist_ok=True)
    figure, numbers = FIGURES[number](**options)
    from matplotlib import rc_context

    # TrueType fonts: venues refuse the Type 3 fonts that are matplotlib's default.
    for suffix in ("png", "pdf"):
        with replacing(target / f"figure{number}.{suffix}") as file, rc_context({"pdf.fonttype": 42}):
            figure.savefig(file, format=suffix, dpi=200)
    write_text(target / f"figure{number}.json", json.dumps(numbers, default=_as_json, indent=1))
    return numbers


def _as_json(value: Any) -> Any:
    """Return a NumPy array or number as Python lists and numbers, for JSON."""
    return value.tolist()
