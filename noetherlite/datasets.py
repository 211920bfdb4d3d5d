"""Data to train on: real, drawn, and symmetric ones."""

from ._problem.dataset import Dataset
from ._problem.datasets import glyphs, icosahedron, idx, kmnist, npz, polygon
from ._problem.drawn import (
    gaussian_classes,
    index_model,
    linear_regression,
    sparse_parity,
    spirals,
    two_moons,
    xor_clusters,
)

__all__ = [
    "Dataset",
    "gaussian_classes",
    "glyphs",
    "icosahedron",
    "idx",
    "index_model",
    "kmnist",
    "linear_regression",
    "npz",
    "polygon",
    "sparse_parity",
    "spirals",
    "two_moons",
    "xor_clusters",
]
