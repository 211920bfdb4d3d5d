"""The paper's figures, and those of this library's experiments."""

from ._show.figures import FIGURES, figure1, figure2, figure3, figure4, save
from ._show.figures_broken import batch_size, discretisation
from ._show.figures_ntk import ntk_widths
from ._show.figures_radial import figure5, figure6

__all__ = [
    "FIGURES",
    "batch_size",
    "discretisation",
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "figure6",
    "ntk_widths",
    "save",
]
