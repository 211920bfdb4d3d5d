"""Package versions, stored in every saved file."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

UNKNOWN = "unknown"


def version() -> str:
    """Return the installed version of noetherlite."""
    return _of("noetherlite")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results may depend on."""
    names = ("noetherlite", "numpy", "numba", "scipy")
    return {"python": platform.python_version(), **{name: _of(name) for name in names}}


def _of(name: str) -> str:
    """Return a package's version, "unknown" without metadata: a folder on the path, a frozen program."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN
