"""The files of configurations: their text, their content, and what identifies the files that they name."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any

from .._base.files import present
from .say import UsageError

LARGEST = 1 << 16  # bytes: tomllib takes quadratic time for some texts
# The keys of [data] that are arguments of `Network.potential`, and their types.
WEIGHTS: dict[str, Parameter] = {
    name: Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kinds)
    for name, kinds in {"sample_weight": list | str, "class_weight": list}.items()
}
# The keys of [data] and [initial] that are paths, relative to the configuration, and all keys that name files.
PATHS = ("path", "inputs", "targets")
_FILES = (*PATHS, "sample_weight")


class ConfigError(UsageError):
    """A configuration that cannot be used; one line for each error."""


def read(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file."""
    return parse(path, text(path))


def text(path: Path) -> str:
    """Return the text of a configuration."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: longer than {LARGEST} bytes, which no configuration is")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})") from None


def parse(path: Path, content: str) -> dict[str, Any]:
    """Return the content of TOML text; `path` is for error messages."""
    try:
        return tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def digests(path: Path, content: Mapping[str, Any], grid: Mapping[str, Sequence[Any]] | None = None) -> dict[str, str]:
    """Return the SHA-256 of the files that a configuration names, or the values of a sweep's grid, by path."""
    keys = [(section, key) for key in _FILES for section in ("data", "initial")]
    named = [values.get(key) for section, key in keys if isinstance(values := content.get(section), dict)]
    named += [value for section, key in keys for value in (grid or {}).get(f"{section}.{key}", ())]
    files = [name for name in named if name and isinstance(name, str)]  # weights may also be listed
    return {name: hashlib.sha256(present(path.parent / name).read_bytes()).hexdigest() for name in files}
