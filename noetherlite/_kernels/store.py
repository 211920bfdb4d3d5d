"""Where machine code is kept: in a folder of exactly the sources, compilers and processor that it was made of.

numba knows a function by the file it is written in, but the code of a function holds that of all functions it calls and the
constants of their files. Here a folder's name is a digest of all kernels' sources, of the versions and settings of what compiles
them, and of the processor; in the folder a function has its fingerprint, which says what was handed in from elsewhere. A file begins with the digest of its own bytes: what is damaged counts as absent. No two functions and
no two signatures share a file, and files appear complete, so that processes which write at the same moment need no lock.
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

# A folder that no process has used for so many seconds is removed, when another is made beside it: 60 days.
_UNUSED = 60 * 86400.0
# numba's settings that change machine code; those of the processor are part of its description.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "DISABLE_INTEL_SVML")
_OURS = re.compile(r"noetherlite-[0-9a-f]{16}")
_DIGEST = hashlib.sha256
# Untyped.
_dumps: Any = serialize.dumps
_FunctionCache: Any = caching.FunctionCache

# Why machine code could not be kept, the first time.
_refusals: list[str] = []


def _digest_of(folder: str) -> str:
    """Return a digest of the names and contents of the Python files in a folder and its folders."""
    digest = _DIGEST()
    for path in sorted(Path(folder).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _sources() -> str | None:
    """Return the digest of all kernels' sources, None where they are no files, as in a zip archive."""
    with contextlib.suppress(OSError):
        return _digest_of(os.path.dirname(__file__))
    return None


# Now and not when something is compiled: an upgrade may come in between, and this process has the sources of before.
_SOURCES = _sources()


@functools.cache
def _name(target: tuple[str, ...]) -> str:
    """Return the name of the folder for a target (numba's "magic tuple": kind of machine, processor, its features)."""
    settings = [getattr(numba.config, name, None) for name in _SETTINGS]
    versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__)
    return f"noetherlite-{_DIGEST(repr((_SOURCES, versions, settings, target)).encode()).hexdigest()[:16]}"


def refusal() -> str | None:
    """Return why machine code could not be kept in this process, None where it was, or none was made."""
    return _refusals[0] if _refusals else None


class Files:
    """The machine code of one function, a file for each signature and target; what numba takes for its index and data.

    Parameters
    ----------
    place : str
        The folder that numba has chosen; the folders of this library are in it.
    base : str
        What the files' names begin with: module, function, line, Python.
    stamp : object
        numba's of the function's own file, which need not be one of the kernels'.
    """

    def __init__(self, place: str, base: str, stamp: object) -> None:
        self._place, self._base, self._stamp = Path(place), base, stamp

    def folder(self, target: tuple[str, ...]) -> Path:
        """Return the folder for a target."""
        return self._place / _name(target)

    def load(self, key: tuple[Any, ...]) -> Any:
        """Return what was saved for a key (signature, target, …); None where there is nothing, or it is damaged."""
        path = self._path(key)
        _use(path.parent)
        try:
            kept = path.read_bytes()
        except OSError:
            return None
        own, content = kept[: _DIGEST().digest_size], kept[_DIGEST().digest_size :]
        if own != _DIGEST(content).digest():
            return None
        of, data = pickle.loads(content)
        return data if of == (key, self._stamp) else None

    def save(self, key: tuple[Any, ...], data: Any) -> None:
        """Keep data for a key; where that cannot be, say so once."""
        path, content = self._path(key), _dumps(((key, self._stamp), data))
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove_unused(path.parent)
            with replacing(path) as file:
                file.write(_DIGEST(content).digest() + content)
        except OSError as error:
            if self.load(key) is None:  # else another process has kept the same, and holds the file open on Windows
                _say_once(path.parent, error)

    def flush(self) -> None:
        """Forget the function's code in all signatures."""
        for path in self._place.glob(f"noetherlite-*/{self._base}.*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, key: tuple[Any, ...]) -> Path:
        return self.folder(key[1]) / f"{self._base}.{_DIGEST(repr(key).encode()).hexdigest()[:16]}.nbc"


def adopt(cache: Any) -> Any:
    """Let a cache of numba's keep its files here; return it, or one that keeps nothing where content cannot be told."""
    implementation, function = cache._impl, cache._py_func
    try:
        fingerprint.of(function)
    except TypeError:
        return caching.NullCache()
    if _SOURCES is None:
        return caching.NullCache()
    cache._index_key = lambda sig, codegen: (sig, codegen.magic_tuple(), fingerprint.of(function))
    cache._cache_file = Files(cache.cache_path, implementation.filename_base, implementation.locator.get_source_stamp())
    implementation.locator.ensure_cache_path = lambda: None  # `save` makes the folder, and says where it cannot
    return cache


class Cache(caching._Cache):
    """The cache of one function for the CPU, which looks for its folder when it is first needed: not at the import."""

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
        """The folder for this machine's processor; None where no folder can be written."""
        files = getattr(self._opened, "_cache_file", None)
        target = registry.cpu_target.target_context.codegen().magic_tuple()
        return None if files is None else str(files.folder(target))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, None where it is not there."""
        return self._opened.load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function."""
        self._opened.save_overload(sig, data)

    def enable(self) -> None:
        """Keep files."""
        self._opened.enable()

    def disable(self) -> None:
        """Keep none."""
        self._opened.disable()

    def flush(self) -> None:
        """Forget what is kept."""
        self._opened.flush()


@functools.cache
def _use(folder: Path) -> None:
    """Note, once in a process, that a folder is in use: its time of change is now. New files do the same."""
    with contextlib.suppress(OSError):  # there is none yet, or it is another user's
        os.utime(folder)


def _remove_unused(new: Path) -> None:
    """Remove folders of ours beside a new one that have not been used for long.

    Should a process still have use for one, it finds its code absent and compiles it again. A folder that holds anything else
    than machine code, and whatever has another name, stays.
    """
    for folder in new.parent.iterdir():
        if _OURS.fullmatch(folder.name) and not folder.is_symlink():
            with contextlib.suppress(OSError):  # another process may be removing it, or it is another user's
                if time.time() - folder.stat().st_mtime > _UNUSED and _is_code(folder):
                    shutil.rmtree(folder)


def _is_code(folder: Path) -> bool:
    return all(path.suffix in (".nbc", ".tmp") and path.is_file() for path in folder.iterdir())


def _say_once(folder: Path, error: OSError) -> None:
    if not _refusals:
        _refusals.append(f"{folder}: {error.strerror or error}")
        warnings.warn(
            f"compiled code cannot be kept in {folder} ({error.strerror or error}), so that every start compiles again; "
            "NUMBA_CACHE_DIR names another folder",
            RuntimeWarning,
            stacklevel=2,
        )
