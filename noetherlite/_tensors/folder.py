"""Parameters and gradients that a run leaves in files: which belong together, and in what order they were written."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .states import aligned
from .trees import leaves
from .weights_file import SUFFIXES, read

_PARAMS, _GRADS = ("params", "parameters", "weights", "model"), ("grads", "gradients", "grad", "gradient")
_WORD = {word: kind for kind, words in (("params", _PARAMS), ("grads", _GRADS)) for word in words}


@dataclass(frozen=True)
class Pair:
    """Files of one step."""

    label: str  # what their names have in common
    # params, grads: one file, where it holds both
    params: Path
    grads: Path

    @property
    def step(self) -> int | None:
        """The last number of the label."""
        numbers = re.findall(r"\d+", self.label)
        return int(numbers[-1]) if numbers else None

    def read(self, names: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and gradients with these names.

        OSError, RuntimeError or ValueError if a file cannot be read, or has no such tensors.
        """
        if self.params != self.grads:
            trees = read(self.params), read(self.grads)
        else:
            tree = read(self.params)
            trees = _part(tree, "params", self.params), _part(tree, "grads", self.grads)
        x, g = (
            aligned(dict(leaves(tree)), names, str(path))
            for tree, path in zip(trees, (self.params, self.grads), strict=True)
        )
        return x, g


def _part(tree: Any, kind: str, path: Path) -> dict[str, Any]:
    """Return the entries `params.NAME`, or `grads.NAME`, of a file that holds both."""
    words = [word for word, word_kind in _WORD.items() if word_kind == kind]
    entries = {key.replace("/", "."): leaf for key, leaf in leaves(tree)}
    part = {key.partition(".")[2]: leaf for key, leaf in entries.items() if key.partition(".")[0] in words}
    if not part:
        raise ValueError(
            f"{path} has no entries {kind}.NAME; a file of both must have params.NAME and grads.NAME, or give two files,"
            " params_1.safetensors and grads_1.safetensors"
        )
    return part


class Folder:
    """A folder that files of a run appear in.

    Attributes
    ----------
    growing : bool
        Whether files had changed at the last look.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise NotADirectoryError(20, "Not a folder", str(path))
        self.path, self.growing = path, False
        self._returned: set[Pair] = set()
        self._sizes: dict[Path, tuple[int, float]] = {}

    def new(self, finished: bool = False) -> list[Pair]:
        """Return the pairs that were not returned before, in the order of the numbers in their names.

        Parameters
        ----------
        finished : bool
            Whether nothing is being written any more. Otherwise files must be as they were at the call before.
        """
        previous, self._sizes = self._sizes, self._file_sizes()
        self.growing = not finished and self._sizes != previous
        settled = [path for path, size in self._sizes.items() if finished or previous.get(path) == size]
        new = [pair for pair in _pairs(settled, self.path) if pair not in self._returned]
        self._returned.update(new)
        return new

    def _file_sizes(self) -> dict[Path, tuple[int, float]]:
        sizes = {}
        for path in self.path.rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                status = path.stat()
                sizes[path] = status.st_size, status.st_mtime
        return sizes


def _pairs(paths: list[Path], root: Path) -> list[Pair]:
    """Return pairs of files whose names differ by the words for parameters and gradients alone; files without are both."""
    by_label: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in paths:
        words = re.split(r"([._/-]|(?<=[a-z])(?=\d))", path.relative_to(root).with_suffix("").as_posix())
        kinds = [_WORD[word.lower()] for word in words if word.lower() in _WORD]
        rest = "".join(word for word in words if word.lower() not in _WORD).strip("._/-")
        by_label[rest][kinds[-1] if kinds else "both"] = path
    pairs = []
    for label, files in by_label.items():
        if {"params", "grads"} <= set(files):
            pairs.append(Pair(label, files["params"], files["grads"]))
        elif "both" in files:
            pairs.append(Pair(label, files["both"], files["both"]))
    return sorted(pairs, key=lambda pair: _numeric_key(pair.label))


def _numeric_key(text: str) -> list[tuple[int, int, str]]:
    """Return a key by which 9 comes before 10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]
