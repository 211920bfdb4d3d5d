"""The cache of machine code: one folder for each set of sources, compiler versions and processor.

numba identifies a function by its source file, but its machine code contains all functions that it calls and the constants of
their files. Here a folder's name is a digest of all kernels' sources, of the versions and settings of the compilers, and of the
processor; within the folder a function has its fingerprint, which covers functions passed in from elsewhere. A file begins with the
digest of its content; a damaged file counts as absent. Every function and signature has a file of its own, which is written
atomically, so that processes that write simultaneously need no lock.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching, registry, serialize

from .._base.files import replacing
from . import fingerprint

# Age in seconds after which an unused folder is removed when a new one is made beside it: 60 days.
_UNUSED = 60 * 86400.0
# numba's settings that change machine code; those of the processor are part of its description.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "DISABLE_INTEL_SVML")
_FOLDER_NAME = re.compile(r"noetherlite-[0-9a-f]{16}")
_DIGEST = hashlib.sha256
# These members of numba have no types.
_dumps: Any = serialize.dumps
_FunctionCache: Any = caching.FunctionCache

# Reasons why machine code could not be stored; at most the first.
_refusals: list[str] = []


def _digest_of(folder: str) -> str:
    """Return a digest of the names and contents of the Python files in a folder and its folders."""
    digest = _DIGEST()
    for path in sorted(Path(folder).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _sources() -> str | None:
    """Return the digest of all kernels' sources; None if they are no files, as in a zip archive."""
    with contextlib.suppress(OSError):
        return _digest_of(os.path.dirname(__file__))
    return None


# At import and not at the first compilation: an upgrade in between would change the files, but not the code of this process.
_SOURCES = _sources()


@functools.cache
def _name(target: tuple[str, ...]) -> str:
    """Return the name of the folder for a target (numba's "magic tuple": kind of machine, processor, its features)."""
    settings = [getattr(numba.config, name, None) for name in _SETTINGS]
    versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__)
    return f"noetherlite-{_DIGEST(repr((_SOURCES, versions, settings, target)).encode()).hexdigest()[:16]}"


def refusal() -> str | None:
    """Return why machine code could not be stored in this process; None if it was stored, or none was compiled."""
    return _refusals[0] if _refusals else None


class Files:
    """The machine code of one function, one file per signature and target, with the interface of numba's index and data files.

    Parameters
    ----------
    place : str
        numba's cache folder, in which the folders of this library are made.
    base : str
        Prefix of the file names: module, function, line, Python version.
    stamp : object
        numba's stamp of the source file of the function, which need not be one of the kernels'.
    """

    def __init__(self, place: str, base: str, stamp: object) -> None:
        self._place, self._base, self._stamp = Path(place), base, stamp

    def folder(self, target: tuple[str, ...]) -> Path:
        """Return the folder for a target."""
        return self._place / _name(target)

    def load(self, key: tuple[Any, ...]) -> Any:
        """Return the data saved for a key (signature, target, …); None if there is none, or the file is damaged."""
        path = self._path(key)
        _use(path.parent)
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        digest, content = stored[: _DIGEST().digest_size], stored[_DIGEST().digest_size :]
        if digest != _DIGEST(content).digest():
            return None
        saved_key, data = pickle.loads(content)
        return data if saved_key == (key, self._stamp) else None

    def save(self, key: tuple[Any, ...], data: Any) -> None:
        """Store data for a key; if that fails, warn once."""
        path, content = self._path(key), _dumps(((key, self._stamp), data))
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove_unused(path.parent)
            with replacing(path) as file:
                file.write(_DIGEST(content).digest() + content)
        except OSError as error:
            if self.load(key) is None:  # else another process has stored the same and, on Windows, has the file open
                _warn_once(path.parent, error)

    def flush(self) -> None:
        """Remove the function's code for all signatures."""
        for path in self._place.glob(f"noetherlite-*/{self._base}.*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, key: tuple[Any, ...]) -> Path:
        return self.folder(key[1]) / f"{self._base}.{_DIGEST(repr(key).encode()).hexdigest()[:16]}.nbc"


def adopt(cache: Any) -> Any:
    """Redirect a cache of numba to `Files`, and return it; without a fingerprint of the function, return one that stores nothing."""
    implementation, function = cache._impl, cache._py_func
    try:
        fingerprint.of(function)
    except TypeError:
        return caching.NullCache()
    if _SOURCES is None:
        return caching.NullCache()
    cache._index_key = lambda sig, codegen: (sig, codegen.magic_tuple(), fingerprint.of(function))
    cache._cache_file = Files(cache.cache_path, implementation.filename_base, implementation.locator.get_source_stamp())
    implementation.locator.ensure_cache_path = lambda: None  # `save` makes the folder, and warns if it cannot
    return cache


class Cache(caching._Cache):
    """The cache of one function for the CPU; its folder is determined on first use, not at import."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @functools.cached_property
    def _opened(self) -> Any:
        try:
            return adopt(_FunctionCache(self._function))
        except RuntimeError:  # numba's "no locator available": neither the package's nor the user's cache is writable
            return caching.NullCache()

    @property
    def cache_path(self) -> str | None:
        """The folder for this machine's processor; None if no folder can be written."""
        files = getattr(self._opened, "_cache_file", None)
        target = registry.cpu_target.target_context.codegen().magic_tuple()
        return None if files is None else str(files.folder(target))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature; None if it is not in the cache."""
        return self._opened.load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the compiled function."""
        self._opened.save_overload(sig, data)

    def enable(self) -> None:
        """Enable the cache."""
        self._opened.enable()

    def disable(self) -> None:
        """Disable the cache."""
        self._opened.disable()

    def flush(self) -> None:
        """Remove the stored code."""
        self._opened.flush()


@functools.cache
def _use(folder: Path) -> None:
    """Set the modification time of a folder to now, once per process, to mark it as used. New files do the same."""
    with contextlib.suppress(OSError):  # it does not exist yet, or is another user's
        os.utime(folder)


def _remove_unused(new: Path) -> None:
    """Remove folders of this library beside a new one that have not been used for long.

    A process that still needs one compiles its code again. Folders that contain anything else than machine code, or have
    another name, are not removed.
    """
    for folder in new.parent.iterdir():
        if _FOLDER_NAME.fullmatch(folder.name) and not folder.is_symlink():
            with contextlib.suppress(OSError):  # another process may be removing it, or it is another user's
                if time.time() - folder.stat().st_mtime > _UNUSED and _is_code(folder):
                    shutil.rmtree(folder)


def _is_code(folder: Path) -> bool:
    return all(path.suffix in (".nbc", ".tmp") and path.is_file() for path in folder.iterdir())


def _warn_once(folder: Path, error: OSError) -> None:
    if not _refusals:
        _refusals.append(f"{folder}: {error.strerror or error}")
        warnings.warn(
            f"compiled code cannot be stored in {folder} ({error.strerror or error}), so that every start compiles again; "
            "NUMBA_CACHE_DIR names another folder",
            RuntimeWarning,
            stacklevel=2,
        )
