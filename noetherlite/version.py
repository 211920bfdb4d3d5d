"""Versions that go into every saved file."""

from __future__ import annotations

import functools
import platform
from importlib import metadata


def version() -> str:
    """Return the installed version of noetherlite."""
    return metadata.version("noetherlite")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that numbers may depend on."""
    names = ("noetherlite", "numpy", "numba", "scipy")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
