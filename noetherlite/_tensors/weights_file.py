"""Checkpoints of models and optimisers read from files; nothing is unpickled but what PyTorch calls weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._base import files
from .._base.types import Array
from .trees import Tree

INSTALL = 'pip install "noetherlite[safetensors]"'
_TORCH = (".pt", ".pth", ".bin")
SUFFIXES = (".npz", ".safetensors", *_TORCH)


def read(path: str | Path) -> Tree:
    """Read the tensors of a file: .npz, .safetensors, or what PyTorch saved (.pt, .pth, .bin).

    Parameters
    ----------
    path : str or Path
        The file. PyTorch's are read by `torch.load(weights_only=True)`, where it is installed.

    Returns
    -------
    mapping of str to array_like, or nested ones
        As `nl.tensors.audit` and `nl.watch` take it; bfloat16 is kept.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    RuntimeError
        If the package that reads it is not installed.
    ValueError
        If it is of another kind, damaged, or holds Python objects.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, noetherlite as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "weights.npz"
    ...     np.savez(path, a=np.ones(3))
    ...     print(nl.tensors.read(path)["a"])
    [1. 1. 1.]
    """
    path = files.present(path)
    if path.suffix == ".npz":
        return files.arrays(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _TORCH:
        return _read_torch(path)
    raise ValueError(f"path={str(path)!r} must end in .npz, .safetensors, {', '.join(_TORCH)}")


@dataclass(frozen=True)
class _Bfloat16:
    """Numbers that NumPy has no type for: the upper halves of float32."""

    bits: Array
    dtype = "bfloat16"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return (self.bits.astype(np.uint32) << 16).view(np.float32)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        import safetensors
    except ModuleNotFoundError:
        raise RuntimeError(f"{path} needs the package safetensors: {INSTALL}") from None
    arrays: dict[str, Any] = {}
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                narrow = file.get_slice(name).get_dtype() == "BF16"
                arrays[name] = _read_bfloat16(path, name) if narrow else file.get_tensor(name)
    except (safetensors.SafetensorError, TypeError) as error:
        raise ValueError(f"path={str(path)!r} is not a readable .safetensors file: {error}") from None
    return arrays


def _read_bfloat16(path: Path, name: str) -> _Bfloat16:
    """Read one tensor from where the header, which `safe_open` has checked, says that it lies."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        file.seek(8 + length + entry["data_offsets"][0])
        bits = np.frombuffer(file.read(2 * math.prod(entry["shape"])), "<u2")
    return _Bfloat16(bits.reshape(entry["shape"]))


def _read_torch(path: Path) -> Tree:
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        import torch
    except ModuleNotFoundError:
        raise RuntimeError(f"{path} needs PyTorch, which wrote it; or save it as .safetensors") from None
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, for a damaged file or one with other objects than tensors
        raise ValueError(
            f"path={str(path)!r} is not a file of tensors that torch.load(weights_only=True) reads:"
            f" {str(error).partition(chr(10))[0][:200] or type(error).__name__}"
        ) from None
    return tree
