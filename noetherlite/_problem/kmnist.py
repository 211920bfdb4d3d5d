"""The files of Kuzushiji-MNIST: their places, sizes and digests, and the checks before their use."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._base import checks
from . import idx

BASE_URL = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"


@dataclass(frozen=True)
class OfficialFile:
    """The facts of one file: sizes in bytes, SHA-256 in hexadecimal.

    `plain_sha256` is the checksum of the uncompressed content, None where it is not known.
    """

    name: str
    shape: tuple[int, ...]
    gzip_size: int
    gzip_sha256: str
    plain_sha256: str | None = None

    @property
    def plain_size(self) -> int:
        """Length of the uncompressed content: magic number, dimensions, one byte per entry."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


# (images, labels) of each split. Checksums and sizes of the .gz files as in the checksum table of TensorFlow Datasets;
# those of the test split were computed anew from the files, which also carry the MD5 sums that torchvision lists.
FILES: dict[str, tuple[OfficialFile, OfficialFile]] = {
    "train": (
        OfficialFile(
            "train-images-idx3-ubyte",
            shape=(60000, 28, 28),
            gzip_size=18165135,
            gzip_sha256="51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        OfficialFile(
            "train-labels-idx1-ubyte",
            shape=(60000,),
            gzip_size=29497,
            gzip_sha256="e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
    ),
    "test": (
        OfficialFile(
            "t10k-images-idx3-ubyte",
            shape=(10000, 28, 28),
            gzip_size=3041136,
            gzip_sha256="edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            plain_sha256="76fbd229ce87db80dd281af5e6670de4ad0e42fb30a7bd643972994c47c1f42e",
        ),
        OfficialFile(
            "t10k-labels-idx1-ubyte",
            shape=(10000,),
            gzip_size=5120,
            gzip_sha256="20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            plain_sha256="a11dc742be8e781a40a92f53d6a4957e7b7d36df2faa097659131ebfd8fd60c6",
        ),
    ),
}


def available(split: str) -> int:
    """Return the number of samples of a split."""
    return FILES[split][1].shape[0]


def load(split: str, root: str | os.PathLike[str] | None, *, download: bool) -> tuple[NDArray[np.uint8], ...]:
    """Return the images (N, 28, 28) and labels (N,) of a split, checked; see `datasets.kmnist`."""
    base = data_folder(root)
    # The subfolder comes first: MNIST's files have the same names, and may lie beside it.
    folders = (base / "kmnist", base)
    located = [_locate(file, folders) for file in FILES[split]]
    if None in located and not download:
        missing = [file for file, path in zip(FILES[split], located, strict=True) if path is None]
        raise FileNotFoundError(_how_to_get(missing, folders))
    paths = [path or _fetch(file, folders[0]) for file, path in zip(FILES[split], located, strict=True)]
    return tuple(_read(file, path) for file, path in zip(FILES[split], paths, strict=True))


def data_folder(root: str | os.PathLike[str] | None) -> Path:
    """Return the folder `root`, else $NOETHERLITE_DATA, else the user's cache folder of this library."""
    if root is None:
        root = os.environ.get("NOETHERLITE_DATA") or _user_cache() / "noetherlite"
    try:
        return checks.path(root, "root").expanduser()
    except TypeError:
        raise TypeError(f"root must be the path of a folder, got {checks.describe(root)}") from None


def _user_cache() -> Path:
    """Return the folder where this platform keeps what a program can fetch again."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache"  # relative: to be ignored, says the convention


def _locate(file: OfficialFile, folders: tuple[Path, ...]) -> Path | None:
    """Return the first file in `folders` that can be checked, the gzipped form preferred; None if there is none."""
    names = [f"{file.name}.gz"] if file.plain_sha256 is None else [f"{file.name}.gz", file.name]
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _fetch(file: OfficialFile, folder: Path) -> Path:
    """Download the gzipped `file` into `folder`, checked or not at all, and return its path."""
    name = f"{file.name}.gz"
    try:
        import pooch  # here: it brings the network with it, which few programs need
    except ImportError:
        raise ImportError('download=True needs the package pooch: pip install "noetherlite[data]"') from None
    pooch.get_logger().setLevel("WARNING")  # the progress bar says what is downloaded
    try:
        bar = sys.stderr is not None and not sys.stderr.closed
        pooch.retrieve(BASE_URL + name, f"sha256:{file.gzip_sha256}", name, folder, progressbar=bar)
    except (OSError, ValueError) as error:
        raise OSError(f"{name} could not be downloaded from {BASE_URL + name} to {folder / name}: {error}") from error
    return folder / name


def _read(file: OfficialFile, path: Path) -> NDArray[np.uint8]:
    """Return the array in `path` after comparing its length and checksum with the official ones."""
    gzipped = path.suffix == ".gz"
    size, sha256 = (file.gzip_size, file.gzip_sha256) if gzipped else (file.plain_size, file.plain_sha256)
    with path.open("rb") as stream:
        data = stream.read(size + 1)
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != size or digest != sha256:
        length = f"{len(data)} bytes" if len(data) <= size else f"more than {size} bytes"
        raise ValueError(
            f"{path} is not the official file {path.name} of Kuzushiji-MNIST: it has {length}, expected {size}; "
            f"the SHA-256 of what was read is {digest}, expected {sha256}. Move it away and fetch it again"
        )
    return idx.parse(gzip.decompress(data) if gzipped else data, str(path))


def _how_to_get(missing: list[OfficialFile], folders: tuple[Path, ...]) -> str:
    """Return an advice about files that were not found."""
    lines = [
        f"{', '.join(f'{file.name}.gz' for file in missing)} of Kuzushiji-MNIST not found in "
        f"{' or '.join(map(str, folders))}. Call kmnist(..., download=True), or put what {BASE_URL} offers there, "
        "or name the folder that has it by root= or the environment variable NOETHERLITE_DATA"
    ]
    for file in missing:
        for folder in folders:
            if (folder / file.name).is_file():
                lines.append(f"{folder / file.name} was not used: only the .gz form of this file can be checked")
    return ". ".join(lines)
