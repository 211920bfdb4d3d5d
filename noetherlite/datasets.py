"""Data to train on: real, drawn, and symmetric ones."""

from ._problem.datasets import Dataset, gaussian_classes, glyphs, icosahedron, kmnist, npz, polygon

__all__ = [
    "Dataset",
    "gaussian_classes",
    "glyphs",
    "icosahedron",
    "kmnist",
    "npz",
    "polygon",
]
