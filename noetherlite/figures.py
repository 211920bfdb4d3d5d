"""The paper's figures, and those of this library's experiments."""

from ._show.figures import (
    FIGURES,
    batch_size,
    discretisation,
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    ntk_widths,
    save,
)

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
